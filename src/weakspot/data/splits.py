"""Which pictures train and which test: one function makes or takes every split, and holds the rule.

The rule: a part is never on both sides. The groups say what is one part; the audit joins those that share a picture.
"""

import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from itertools import product
from typing import Literal

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from weakspot.csv_text import csv_line
from weakspot.data.audit import Audit
from weakspot.data.copies import on_both_sides
from weakspot.data.samples import Sample
from weakspot.errors import DataError, amount, shown

TRIES = 100  # draws, each by a seed that follows from the one given, before a hold-out is called impossible
SHUFFLES = 10  # the same, before fewer folds are made
WORDS = {1: "bad", 0: "good"}


@dataclass(frozen=True)
class Split:
    """Samples that train and samples that test; `name` says how they were parted."""

    name: str
    train: tuple[Sample, ...]
    test: tuple[Sample, ...]


def make_split(
    found: Audit, *, given: bool, hold_out: float, split_seed: int, positives: int | None, draw_seed: int
) -> Split:
    """What trains and what is kept apart, of the pictures that the audit calls readable, in whole merged groups.

    given: take the data's own split where it has a test side, and all labels to train on; else about the share
    `hold_out` of the bad and of the good pictures is drawn by `split_seed`, none for 0, and no bad ones where they show
    fewer than two parts. positives: bad pictures to train on, drawn by `draw_seed`; the draws for 5, 10, 20 … contain
    each other; None: all. Raises DataError where nothing of a label can be used, a side would miss one, or the data's
    own split has a part on both sides.
    """
    samples, unwanted = found.merged(), 1 if positives == 0 else None
    for label, word in WORDS.items():
        reasons = [reason for sample, reason in found.left_out if sample.label == label and label != unwanted]
        if reasons and not any(sample.label == label for sample in samples):
            raise DataError(f"no {word} picture can take part, such as {reasons[0]}")
    taken = _given(samples, needed={0} if positives == 0 else _labels(samples)) if given else None
    split = taken or _own(samples, hold_out, split_seed)
    if given and taken is None and any(sample.part == "test" for sample in samples):
        split = replace(split, name=f"{split.name}; the split that the data give leaves one label to train on")
    _refuse_leaks(split, found)
    if positives == 0 and split.test and not any(sample.label for sample in split.test):
        bad = tuple(sample for sample in samples if sample.label)
        split = Split(split.name.partition(";")[0], split.train, split.test + bad)  # one part of them can test, too
    return with_positives(split, positives, draw_seed)


def kolektor_folds(found: Audit, which: Literal["official", "clean"]) -> list[Split]:
    """KolektorSDD's three published folds by item, of kolektor_folds.json.

    which: "official" as printed, where three parts are on both sides; "clean" drops from training the items that show a
    part of the test once more.
    """
    items = {sample: sample.path.parent.name for sample in found.merged()}
    facts = json.loads(resources.files("weakspot.data").joinpath("kolektor_folds.json").read_text("utf-8"))
    splits = []
    for fold, tested in enumerate(facts["test"]):
        dropped = facts["clean_drop_from_training"][fold] if which == "clean" else []
        train = tuple(sample for sample, item in items.items() if item not in (*tested, *dropped))
        test = tuple(sample for sample, item in items.items() if item in tested)
        splits.append(Split(f"kolektorsdd {which} fold {fold}", train, test))
    if not all(_labels(side) == {0, 1} for split in splits for side in (split.train, split.test)):
        some = shown(", ".join(sorted(set(items.values()))[:5]))
        raise DataError(f"these are not KolektorSDD's pictures (items found: {some} …); read the whole data set")
    for split in splits:
        _refuse_leaks(split, found, published_with_parts_on_both_sides=which == "official")
    return splits


def group_folds(found: Audit, count: int, seed: int) -> list[Split]:
    """Splits of any data in whole merged groups, drawn by the seed: each picture tests in one of them.

    Raises DataError where so many cannot be made with bad and good pictures to train on.
    """
    samples = found.merged()
    labels = np.array([sample.label for sample in samples], int)
    numbers = fold_numbers(labels, [sample.group for sample in samples], count, seed)
    made = int(numbers.max()) + 1
    if made < count:
        what = f"{amount(count, 'fold')} are wanted, the parts allow {made}"
        raise DataError(f"{what}; take --folds {made}, or add parts")
    sides = [
        (
            tuple(sample for sample, number in zip(samples, numbers, strict=True) if number != fold),
            tuple(sample for sample, number in zip(samples, numbers, strict=True) if number == fold),
        )
        for fold in range(count)
    ]
    return [Split(f"fold {fold} of {count} by groups, seed {seed}", *each) for fold, each in enumerate(sides)]


def with_positives(split: Split, n: int | None, seed: int) -> Split:
    """The split with `n` of its bad training pictures, drawn by the seed; 0: none; None: with all of them."""
    bad = [sample for sample in split.train if sample.label]
    if n is None:
        return split
    if not 0 <= n <= len(bad):
        what = f"{n} bad pictures are wanted, {len(bad)} are there to train on"
        raise DataError(f"{what}; take at most {len(bad)} with --positives")
    drawn = {bad[place].path for place in np.random.default_rng(seed).permutation(len(bad))[:n]}
    return replace(split, train=tuple(sample for sample in split.train if not sample.label or sample.path in drawn))


def fold_numbers(
    labels: np.ndarray, groups: Sequence[str], folds: int, seed: int, *, needs_bad: bool = True
) -> np.ndarray:
    """Which fold each picture is held out in (n,): whole groups, bad pictures spread evenly.

    Every fold holds something out, and leaves good pictures to train on, with `needs_bad` bad ones, too: where that
    needs it, there are fewer folds. Raises DataError where not even two can be made.
    """
    good, bad = ({group for group, one in zip(groups, labels, strict=True) if one == label} for label in (0, 1))
    needed, deciding = ({0, 1}, bad) if needs_bad else ({0}, max(good, bad, key=len))
    if len(good) < 2 or (needs_bad and len(bad) < 2):
        counts = f"{amount(len(bad), 'bad part')} and {amount(len(good), 'good part')} to train on"
        why = f"folds need two{' of each' * needs_bad}, for one trains while the other is held out"
        raise DataError(f"{counts}; {why}: add parts, or give folds = 0 and no scores out of fold")
    for numbers in _possible_folds(labels, groups, max(2, min(folds, len(deciding))), seed):
        if all(needed <= set(labels[numbers != fold].tolist()) for fold in set(numbers.tolist())):
            break
    return numbers


def split_table(split: Split) -> str:
    """The split as CSV text: id, label, group, part (train or test), a row for each sample."""
    parts = (("train", split.train), ("test", split.test))
    rows = [(sample.id, sample.label, sample.group, part) for part, samples in parts for sample in samples]
    return "".join(map(csv_line, [("id", "label", "group", "part"), *rows]))


def _refuse_leaks(split: Split, found: Audit, *, published_with_parts_on_both_sides: bool = False) -> None:
    """The rule itself: raise DataError, naming the group or two files, where a part is on both sides."""
    if published_with_parts_on_both_sides:
        return
    sides = ({sample.path for sample in side} for side in (split.train, split.test))
    for one, other in on_both_sides(found.readable, found.same_part, *sides):
        group = f"the group {shown(one.group)} is" if one.group == other.group else "pictures of one part are"
        files = f"{shown(one.id)} trains, {shown(other.id)} tests"
        way_out = 'correct the split, or let weakspot make one of its own: split = "own" in the settings'
        raise DataError(f"split {split.name}: {group} on both sides ({files}); {way_out}")


def _given(samples: list[Sample], needed: set[int]) -> Split | None:
    """The split that the layout or table gives, or None where it gives none with the needed labels to train on."""
    train, test = (tuple(sample for sample in samples if sample.part == part) for part in ("train", "test"))
    if not test or not needed <= _labels(train):
        return None
    nowhere = [sample for sample in samples if sample.part is None]
    if nowhere:
        what = f"{amount(len(nowhere), 'picture')} on neither side of the split that the data give"
        way_out = 'say train or test for each, or split = "own" in the settings'
        raise DataError(f"{what}, such as {shown(nowhere[0].id)}; {way_out}")
    return Split("given by the data", train, test)


def _own(samples: list[Sample], share: float, seed: int) -> Split:
    if share == 0:
        return Split("everything trains", tuple(samples), ())
    if not 0 < share < 1:
        raise DataError(f"a hold-out of {share:g}; needed is a share between 0 and 1, such as 0.25")
    groups = {label: {sample.group for sample in samples if sample.label == label} for label in WORDS}
    if len(groups[0]) < 2:
        what = f"good pictures come from {amount(len(groups[0]), 'part')}, copies counted as one; 2 are needed"
        raise DataError(f"{what} to keep some apart: add good parts, or hold out nothing (hold_out = 0)")
    kept_apart = (1, 0) if len(groups[1]) >= 2 else (0,)
    only = "; only good pictures are kept apart, for the bad ones show one part" if len(groups[1]) == 1 else ""
    for attempt in range(TRIES):
        tested = _drawn(samples, kept_apart, share, np.random.default_rng([seed, attempt]))
        train = tuple(sample for place, sample in enumerate(samples) if place not in tested)
        test = tuple(samples[place] for place in sorted(tested))
        if _labels(train) == _labels(samples) and _labels(test) == set(kept_apart):
            return Split(f"hold-out {share:g}, seed {seed}{only}", train, test)
    what = f"a hold-out of {share:g} leaves a side without good or bad pictures"
    raise DataError(f"{what}; add pictures, give smaller groups, or hold out nothing")


def _drawn(samples: list[Sample], labels: Sequence[int], share: float, rng: np.random.Generator) -> set[int]:
    """Places of whole groups with about `share` of each label, in turn; to those of good ones no bad one belongs."""
    members: dict[str, list[int]] = {}
    for place, sample in enumerate(samples):
        members.setdefault(sample.group, []).append(place)
    order = [members[name] for name in rng.permutation(sorted(members))]
    drawn: set[int] = set()
    for label in labels:
        wanted = max(1, round(share * sum(sample.label == label for sample in samples)))
        for group in order:
            held = sum(samples[place].label == label for place in drawn)
            gain = sum(samples[place].label == label for place in group)
            mixed = any(samples[place].label for place in group)
            if gain and mixed == bool(label) and (held == 0 or abs(held + gain - wanted) <= wanted - held):
                drawn.update(group)
    return drawn


def _possible_folds(labels: np.ndarray, groups: Sequence[str], most: int, seed: int) -> Iterator[np.ndarray]:
    """Numbers (n,) to choose from, the best first: even folds of several shuffles, fewer folds, then halves by chance.

    Without end. Where each needed label has two parts, one in four of those leaves it on either side.
    """
    for count, attempt in product(range(most, 1, -1), range(SHUFFLES)):
        numbers = np.zeros(len(labels), int)
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed + 1_000_003 * attempt)
        with warnings.catch_warnings():  # of a label with fewer pictures than folds, which is no mistake here
            warnings.filterwarnings("ignore", "The least populated class", UserWarning)
            parted = list(splitter.split(labels, labels, groups))
        for number, (_, held_out) in enumerate(parted):
            numbers[held_out] = number
        yield np.unique(numbers, return_inverse=True)[1]
    rng, part_of = np.random.default_rng(seed), np.unique(groups, return_inverse=True)[1]
    while True:
        yield rng.integers(0, 2, part_of.max() + 1)[part_of]


def _labels(samples: Sequence[Sample]) -> set[int]:
    return {sample.label for sample in samples}
