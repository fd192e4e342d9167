"""Which pictures train and which test: whole groups only, so that no part is seen on both sides."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Literal

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from weakspot.csv_text import csv_line
from weakspot.data.samples import Sample
from weakspot.errors import DataError, shown

TRIES = 100  # shuffles, each by a seed that follows from the one given, before a stratified split is called impossible


@dataclass(frozen=True)
class Split:
    """Samples that train and samples that test; `name` says how they were parted."""

    name: str
    train: tuple[Sample, ...]
    test: tuple[Sample, ...]


def grouped_folds(samples: list[Sample], folds: int, seed: int) -> list[Split]:
    """`folds` splits, each group tested in one of them, labels as evenly spread as groups allow (scikit-learn's
    StratifiedGroupKFold).

    Raises DataError where a fold would miss a label.
    """
    _refuse_too_few_groups(samples, folds)
    labels, groups = [sample.label for sample in samples], [sample.group for sample in samples]
    for attempt in range(TRIES):
        cuts = StratifiedGroupKFold(folds, shuffle=True, random_state=seed + 1_000_003 * attempt).split(
            labels, labels, groups
        )
        splits = [_split(f"fold {fold} of {folds}, seed {seed}", samples, test) for fold, (_, test) in enumerate(cuts)]
        if all(_has_both(split.train) and _has_both(split.test) for split in splits):
            return splits
    raise DataError(
        f"{folds} folds with both labels in each cannot be made of these groups; take fewer folds, or give smaller groups"
    )


def hold_out(samples: list[Sample], share: float, seed: int) -> Split:
    """One split with about `share` of the bad and of the good pictures to test on, in whole groups drawn by the seed.

    Raises DataError where a side would miss a label.
    """
    if not 0 < share < 1:
        raise DataError(f"a hold-out of {share:g}; needed is a share between 0 and 1, such as 0.25")
    _refuse_too_few_groups(samples, 2)
    for attempt in range(TRIES):
        rng = np.random.default_rng([seed, attempt])
        split = _split(f"hold-out {share:g}, seed {seed}", samples, _drawn(samples, share, rng))
        if _has_both(split.train) and _has_both(split.test):
            return split
    raise DataError(
        f"a hold-out of {share:g} leaves a side without good or bad pictures; add pictures, give smaller groups, or hold out nothing"
    )


def _drawn(samples: list[Sample], share: float, rng: np.random.Generator) -> np.ndarray:
    """Places of whole groups with about `share` of either label: groups with bad pictures first, then groups of good
    ones."""
    members = _by_group(samples)
    order = [members[name] for name in rng.permutation(sorted(members))]
    drawn: list[int] = []
    for label in (1, 0):
        wanted = max(1, round(share * sum(sample.label == label for sample in samples)))
        for group in order:
            held = sum(samples[place].label == label for place in drawn)
            gain = sum(samples[place].label == label for place in group)
            mixed = any(samples[place].label for place in group)
            if gain and mixed == bool(label) and (held == 0 or abs(held + gain - wanted) <= wanted - held):
                drawn += group
    return np.array(sorted(drawn), dtype=int)


def given_split(samples: list[Sample]) -> Split | None:
    """The split that the layout itself gives (train/ and test/, a table's column), or None where it gives none."""
    test = [place for place, sample in enumerate(samples) if sample.part == "test"]
    if not test or not any(sample.part == "train" for sample in samples):
        return None
    return _split("as given by the data", samples, np.array(test))


def draw_positives(samples: list[Sample], n: int, seed: int) -> list[Sample]:
    """All good samples and `n` bad ones drawn by the seed, in the order given; the draws for 5, 10, 20 … contain each
    other."""
    bad = [place for place, sample in enumerate(samples) if sample.label]
    if not 1 <= n <= len(bad):
        raise DataError(
            f"{n} bad pictures are wanted, {len(bad)} are there to train on; take 1 to {len(bad)} with --positives"
        )
    drawn = {bad[i] for i in np.random.default_rng(seed).permutation(len(bad))[:n]}
    return [sample for place, sample in enumerate(samples) if not sample.label or place in drawn]


def kolektor_folds(
    samples: list[Sample], which: Literal["official", "clean"], folds_file: Path | None = None
) -> list[Split]:
    """KolektorSDD's three published folds by item; `clean` drops from training the items that show a part of the test
    once more.

    folds_file: JSON with "test" and "clean_drop_from_training", lists of item names for each fold; None: those in the
    package.
    """
    if which not in ("official", "clean"):
        raise DataError(f"folds {which!r}; needed is official or clean")
    items = [sample.path.parent.name for sample in samples]  # not the group, which the audit may have merged
    facts = _fold_facts(folds_file)
    splits = []
    for fold, tested in enumerate(facts["test"]):
        dropped = set(facts["clean_drop_from_training"][fold]) if which == "clean" else set()
        train = tuple(
            sample for sample, item in zip(samples, items, strict=True) if item not in tested and item not in dropped
        )
        test = tuple(sample for sample, item in zip(samples, items, strict=True) if item in tested)
        splits.append(Split(f"kolektorsdd {which} fold {fold}", train, test))
    if not all(_has_both(split.train) and _has_both(split.test) for split in splits):
        raise DataError(
            f"these are not KolektorSDD's pictures (items found: {shown(', '.join(sorted(set(items))[:5]))} …); read the whole data set"
        )
    return splits


def merge_groups(samples: list[Sample], pairs_of_same_pictures: Iterable[tuple[Sample, Sample]]) -> list[Sample]:
    """The samples in their order, with groups that share a picture made one, named after all of them
    ("kos01+kos26")."""
    parent = {sample.group: sample.group for sample in samples}

    def first(group: str) -> str:
        while parent[group] != group:
            group = parent[group]
        return group

    for one, other in pairs_of_same_pictures:
        low, high = sorted((first(one.group), first(other.group)))
        parent[high] = low
    united: dict[str, list[str]] = {}
    for group in sorted(parent):
        united.setdefault(first(group), []).append(group)
    names = {group: _united_name(members) for members in united.values() for group in members}
    return [replace(sample, group=names[sample.group]) for sample in samples]


def split_table(split: Split) -> str:
    """The split as CSV text: id, label, group, part (train or test), a row for each sample."""
    parts = (("train", split.train), ("test", split.test))
    rows = [(sample.id, sample.label, sample.group, part) for part, samples in parts for sample in samples]
    return "".join(map(csv_line, [("id", "label", "group", "part"), *rows]))


def _split(name: str, samples: list[Sample], test: np.ndarray) -> Split:
    tested = set(test.tolist())
    train = tuple(sample for place, sample in enumerate(samples) if place not in tested)
    return Split(name, train, tuple(samples[place] for place in sorted(tested)))


def _by_group(samples: list[Sample]) -> dict[str, list[int]]:
    members: dict[str, list[int]] = {}
    for place, sample in enumerate(samples):
        members.setdefault(sample.group, []).append(place)
    return members


def _has_both(samples: tuple[Sample, ...]) -> bool:
    return len({sample.label for sample in samples}) == 2


def _refuse_too_few_groups(samples: list[Sample], needed: int) -> None:
    for label, word in ((1, "bad"), (0, "good")):
        groups = {sample.group for sample in samples if sample.label == label}
        if len(groups) < needed:
            raise DataError(
                f"{word} pictures come from {len(groups)} groups; {needed} are needed to split: add {word} parts, or take fewer folds"
            )


def _fold_facts(folds_file: Path | None) -> dict[str, list[list[str]]]:
    try:
        text = (
            folds_file.read_text("utf-8")
            if folds_file
            else resources.files("weakspot.data").joinpath("kolektor_folds.json").read_text("utf-8")
        )
        facts = json.loads(text)
        return {name: facts[name] for name in ("test", "clean_drop_from_training")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{shown(folds_file)}: cannot be read as folds ({error}); needed are the lists test and clean_drop_from_training"
        ) from None


def _united_name(groups: list[str]) -> str:
    return "+".join(groups) if len(groups) <= 3 else f"{groups[0]}+{len(groups) - 1} more"
