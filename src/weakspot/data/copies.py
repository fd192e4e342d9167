"""Pictures of the same: which files they are, and which groups they make one."""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from weakspot.data.likeness import near_pairs
from weakspot.data.samples import Sample

MANY = 0.5  # share of the pictures in one family of copies, from which likeness is no longer believed to mean one part


@dataclass(frozen=True)
class Duplicate:
    """Two pictures of the same.

    kind: "identical" (the same bytes) or "near"; distance: in bits of 1024; turn: how the second is turned against the
    first.
    """

    first: Sample
    second: Sample
    kind: str
    distance: int
    turn: str

    @property
    def across_groups(self) -> bool:
        return self.first.group != self.second.group

    @property
    def across_labels(self) -> bool:
        return self.first.label != self.second.label

    def as_dict(self) -> dict[str, Any]:
        return {
            "first": self.first.id, "second": self.second.id, "kind": self.kind, "distance": self.distance,
            "turn": self.turn, "across_groups": self.across_groups, "across_labels": self.across_labels,
        }  # fmt: skip


def find_copies(samples: Sequence[Sample], hashes: Sequence[str], thumbnails: Sequence[np.ndarray]) -> list[Duplicate]:
    """Identical files, each as a pair with the first of its kind; then near pairs among the files that differ."""
    first_of: dict[str, int] = {}
    copies = []
    for place, digest in enumerate(hashes):
        first = first_of.setdefault(digest, place)
        if first != place:
            copies.append(Duplicate(samples[first], samples[place], "identical", 0, ""))
    firsts = list(first_of.values())
    near = near_pairs(np.stack([thumbnails[place] for place in firsts])) if firsts else []
    return copies + [
        Duplicate(samples[firsts[pair.first]], samples[firsts[pair.second]], "near", pair.distance, pair.turn)
        for pair in near
    ]


def believed(copies: Sequence[Duplicate], pictures: int) -> list[Duplicate]:
    """The pairs that mean one part: near ones do not where a family of them holds most of the pictures."""
    near = [(copy.first.id, copy.second.id) for copy in copies if copy.kind == "near"]
    largest = max(map(len, _families({name for pair in near for name in pair}, near)), default=0)
    return list(copies) if largest <= max(8, MANY * pictures) else [copy for copy in copies if copy.kind == "identical"]


def merge_groups(samples: Sequence[Sample], copies: Iterable[Duplicate]) -> list[Sample]:
    """The samples in their order, with groups that share a picture made one, named after all ("kos01+kos26")."""
    groups = {sample.group for sample in samples}
    pairs = [(copy.first.group, copy.second.group) for copy in copies]
    # a copy that takes no part still ties those it resembles
    families = _families(groups.union(*pairs), pairs)
    names = {group: _name([each for each in family if each in groups]) for family in families for group in family}
    return [replace(sample, group=names[sample.group]) for sample in samples]


def on_both_sides(
    samples: Sequence[Sample], copies: Sequence[Duplicate], train: Container[Path], test: Container[Path]
) -> list[tuple[Sample, Sample]]:
    """A training and a test picture for each part that both sides show: of one group if there are such, else copies.

    samples: with their groups as given; copies: those that mean one part; train, test: the sides' paths.
    """
    merged = {sample.path: sample.group for sample in merge_groups(samples, copies)}
    turned = [pair for copy in copies for pair in ((copy.first, copy.second), (copy.second, copy.first))]
    by_group = _shared(samples, {sample.path: sample.group for sample in samples}, train, test)
    by_copy = [(one, other) for one, other in turned if one.path in train and other.path in test]
    pairs: dict[str, tuple[Sample, Sample]] = {}
    for one, other in [*by_group, *by_copy, *_shared(samples, merged, train, test)]:
        pairs.setdefault(merged[one.path], (one, other))
    return list(pairs.values())


def _shared(
    samples: Sequence[Sample], group_of: dict[Path, str], train: Container[Path], test: Container[Path]
) -> list[tuple[Sample, Sample]]:
    trained = {group_of[sample.path]: sample for sample in samples if sample.path in train}
    tested = [sample for sample in samples if sample.path in test and group_of[sample.path] in trained]
    return [(trained[group_of[sample.path]], sample) for sample in tested]


def _families(names: Iterable[str], pairs: Sequence[tuple[str, str]]) -> list[list[str]]:
    """The names, sorted, gathered into families: whatever a chain of pairs connects."""
    ordered = sorted(names)
    place = {name: number for number, name in enumerate(ordered)}
    ends = np.array([[place[one], place[other]] for one, other in pairs], int).reshape(-1, 2).T
    graph = coo_array((np.ones(len(pairs)), (ends[0], ends[1])), shape=(len(ordered),) * 2)
    count, family = connected_components(graph, directed=False) if ordered else (0, [])
    families: list[list[str]] = [[] for _ in range(count)]
    for name, number in zip(ordered, family, strict=True):
        families[number].append(name)
    return families


def _name(groups: list[str]) -> str:
    return "+".join(groups) if len(groups) <= 3 else f"{groups[0]}+{len(groups) - 1} more"
