"""Splits: no group on both sides, both labels on each, the same for the same seed."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from weakspot.data.audit import Audit
from weakspot.data.copies import Duplicate, merge_groups
from weakspot.data.layouts import Sample
from weakspot.data.splits import Split, fold_numbers, kolektor_folds, make_split, split_table
from weakspot.errors import DataError


def made(groups=20, per_group=4, bad_every=2):
    """`groups` parts of `per_group` pictures each; of every second part the first picture is bad."""
    return [
        Sample(
            path=Path(f"g{group:02}/{picture}.png"),
            label=int(picture == 0 and group % bad_every == 0),
            group=f"g{group:02}",
        )
        for group in range(groups)
        for picture in range(per_group)
    ]


def audited(samples, *copies):
    """An audit in which all pictures are readable and pairs of places are copies."""
    pairs = [Duplicate(samples[one], samples[other], "near", 9, "") for one, other in copies]
    return Audit(samples=samples, readable=samples, duplicates=pairs)


def split_of(samples, *copies, given=False, hold_out=0.25, split_seed=0, positives=None, draw_seed=0):
    found = audited(samples, *copies)
    return make_split(
        found, given=given, hold_out=hold_out, split_seed=split_seed, positives=positives, draw_seed=draw_seed
    )


def with_parts(*parts, groups=None):
    """A picture for each part, the labels in turn."""
    groups = groups or [str(place) for place in range(len(parts))]
    return [
        Sample(path=Path(f"{place}.png"), label=place % 2, group=group, part=part)
        for place, (part, group) in enumerate(zip(parts, groups, strict=True))
    ]


def groups_of(samples):
    return {sample.group for sample in samples}


def both_labels(samples):
    return {sample.label for sample in samples} == {0, 1}


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.8])
def test_a_hold_out_has_its_share_of_either_label(share):
    split = split_of(made(40), hold_out=share)
    assert not groups_of(split.train) & groups_of(split.test)
    for label, total in ((0, 140), (1, 20)):
        assert sum(sample.label == label for sample in split.test) == pytest.approx(share * total, abs=4)


def test_one_seed_gives_one_split_and_another_seed_another():
    assert split_of(made(40), split_seed=1) == split_of(made(40), split_seed=1)
    assert split_of(made(40), split_seed=1) != split_of(made(40), split_seed=2)


def test_the_split_and_the_draw_of_bad_pictures_have_seeds_of_their_own():
    split, other = (split_of(made(40), positives=3, draw_seed=seed) for seed in (0, 1))
    assert split.test == other.test
    assert split.train != other.train
    assert split.test != split_of(made(40), positives=3, split_seed=1).test


def test_a_split_of_today_is_the_split_of_yesterday():
    """Records and runs name their split by its seed alone."""
    split = split_of(made(40), split_seed=3, positives=5, draw_seed=3)
    assert sorted(groups_of(split.test)) == ["g02", "g03", "g11", "g12", "g17", "g20", "g23", "g30", "g32", "g33"]
    assert [sample.group for sample in split.train if sample.label] == ["g06", "g24", "g28", "g36", "g38"]


def test_a_hold_out_works_with_the_fewest_parts():
    split = split_of([Sample(path=Path(f"{n}.png"), label=int(n < 2), group=str(n)) for n in range(4)])
    assert both_labels(split.train)
    assert both_labels(split.test)


def test_nothing_is_held_out_when_nothing_is_asked_for():
    assert split_of(made(), hold_out=0).test == ()


def test_parts_that_cannot_be_split_are_counted():
    with pytest.raises(DataError, match="good pictures come from 1 part, .*; 2 are needed"):
        split_of([replace(sample, group="one") for sample in made(10) if not sample.label])
    with pytest.raises(DataError, match="share between 0 and 1"):
        split_of(made(), hold_out=1.5)


def few_bad(bad: int, good: int = 8):
    return [Sample(path=Path(f"{n}.png"), label=int(n < bad), group=str(n)) for n in range(bad + good)]


@pytest.mark.parametrize("bad", [0, 1])
def test_without_two_bad_parts_good_ones_alone_are_kept_apart(bad):
    for seed in range(5):
        split = split_of(few_bad(bad), split_seed=seed)
        assert {sample.label for sample in split.test} == {0} and len(split.test) == 2
        assert sum(sample.label for sample in split.train) == bad
    assert split.name.endswith("only good pictures are kept apart, for the bad ones show one part") == (bad == 1)
    one_part = [replace(sample, group="one") if sample.label else sample for sample in few_bad(3)]
    assert sum(sample.label for sample in split_of(one_part).train) == 3


@pytest.mark.parametrize("bad", [2, 3, 4])
def test_of_a_few_bad_parts_at_least_one_is_tested_and_one_trains(bad):
    for seed in range(5):
        split = split_of(few_bad(bad), split_seed=seed)
        assert both_labels(split.train) and both_labels(split.test)


def test_bad_pictures_can_be_left_out_of_training_and_still_test():
    split = split_of(made(40), positives=0)
    assert not any(sample.label for sample in split.train) and any(sample.label for sample in split.test)
    assert split.test == split_of(made(40)).test


def test_the_data_s_own_split_is_taken_where_no_bad_picture_is_to_train():
    samples = [replace(sample, part="test" if sample.label else "train") for sample in with_parts(*[None] * 8)]
    assert split_of(samples, given=True, positives=0).name == "given by the data"
    good = [sample for sample in with_parts("train", "train", "train", "train", "test", "test") if not sample.label]
    assert split_of(good, given=True).name == "given by the data"


def test_a_label_without_readable_pictures_is_named_with_a_reason():
    good, bad = with_parts(None, None)
    found = Audit(samples=[good, bad], readable=[good], unreadable=[(bad, "1.png: cut short")])
    with pytest.raises(DataError, match="no bad picture can take part, such as 1.png: cut short"):
        make_split(found, given=True, hold_out=0.25, split_seed=0, positives=None, draw_seed=0)


def test_copies_are_on_one_side_of_a_hold_out():
    copies = [(0, 4), (4, 40), (8, 44)]
    for seed in range(10):
        split = split_of(made(), *copies, split_seed=seed)
        sides = [{sample.path for sample in side} for side in (split.train, split.test)]
        assert all(len({made()[place].path for place in pair} & sides[0]) != 1 for pair in copies)


def test_a_few_bad_pictures_are_drawn_one_draw_inside_the_next():
    samples = made(40)
    draws = {n: split_of(samples, hold_out=0, positives=n, draw_seed=7).train for n in (5, 10, 20)}
    assert all(sum(sample.label for sample in draw) == n for n, draw in draws.items())
    assert all(sum(not sample.label for sample in draw) == 140 for draw in draws.values())
    assert {s.path for s in draws[5]} < {s.path for s in draws[10]} < {s.path for s in draws[20]}
    assert draws[20] == tuple(samples)


@pytest.mark.parametrize("n", [-1, 21])
def test_more_bad_pictures_than_there_are_cannot_be_drawn(n):
    with pytest.raises(DataError, match="20 are there"):
        split_of(made(40), hold_out=0, positives=n)


def test_the_data_s_own_split_is_taken_unless_another_is_asked_for():
    samples = with_parts("train", "train", "train", "train", "test", "test")
    split = split_of(samples, given=True)
    assert split == Split("given by the data", tuple(samples[:4]), tuple(samples[4:]))
    assert split_of(samples, given=False).name == "hold-out 0.25, seed 0"


def test_the_data_s_own_split_may_test_one_label_alone():
    assert len(split_of(with_parts("train", "train", "test"), given=True).test) == 1


def test_a_training_side_with_one_label_makes_a_split_of_weakspots_own_and_says_so():
    samples = [replace(sample, part="train" if sample.label == 0 else "test") for sample in with_parts(*[None] * 8)]
    split = split_of(samples, given=True)
    assert split.name == "hold-out 0.25, seed 0; the split that the data give leaves one label to train on"
    assert both_labels(split.train)
    assert split_of(with_parts(*["train"] * 8), given=True).name == "hold-out 0.25, seed 0"


def test_a_group_on_both_sides_of_the_data_s_own_split_is_refused_by_name():
    samples = with_parts("train", "train", "test", "test", groups=["a", "b", "c", "a"])
    with pytest.raises(DataError) as error:
        split_of(samples, given=True)
    for said in ("the group a is on both sides", "0.png trains, 3.png tests", 'split = "own"'):
        assert said in str(error.value)
    assert audited(samples).findings[0].text.startswith("1 part on both sides of the split that the data give")
    samples = with_parts(*["train"] * 6, *["test"] * 6, groups=[*"abcdefagchei"])
    split = split_of(samples, given=False)
    assert not groups_of(split.train) & groups_of(split.test)


@pytest.mark.parametrize("copy", [(1, 2), (2, 1)])
def test_a_copy_on_both_sides_of_the_data_s_own_split_is_refused_with_both_files(copy):
    samples = with_parts("train", "train", "test", "test")
    with pytest.raises(DataError, match=r"pictures of one part are on both sides \(1.png trains, 2.png tests\)"):
        split_of(samples, copy, given=True)
    assert next(finding.grade for finding in audited(samples, copy).findings) == "wrong"


def test_a_chain_of_copies_is_one_part_though_its_middle_takes_no_side():
    samples = with_parts("train", "train", "val", "test", "test")
    chained = [*samples[:2], replace(samples[2], part="train"), *samples[3:]]
    with pytest.raises(DataError, match="on both sides"):
        split_of(chained, (1, 2), (2, 3), given=True)


def test_a_picture_on_no_side_of_the_data_s_own_split_is_named():
    with pytest.raises(DataError, match=r"1 picture on neither side .* such as 4.png"):
        split_of(with_parts("train", "train", "test", "test", None), given=True)


def test_groups_that_share_a_picture_become_one():
    samples = made(5)
    place = {sample.group: number for number, sample in enumerate(samples)}
    found = audited(samples, (place["g03"], place["g01"]), (place["g03"], place["g04"]))
    merged = found.merged()
    assert [sample.path for sample in merged] == [sample.path for sample in samples]
    assert groups_of(merged) == {"g00", "g01+g03+g04", "g02"}


def test_many_groups_become_one_with_a_short_name():
    samples = made(12)
    pairs = [(place, place + 4) for place in range(0, 44, 4)]
    assert groups_of(merge_groups(samples, audited(samples, *pairs).duplicates)) == {"g00+11 more"}


def test_a_group_is_held_out_whole_and_bad_pictures_are_spread():
    labels = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    groups = ["a", "a", "b", "b", "c", "c", "d", "d", "e", "f"]
    numbers = fold_numbers(labels, groups, 2, seed=0)
    assert all(len(set(numbers[[i for i, g in enumerate(groups) if g == group]])) == 1 for group in set(groups))
    assert {int(labels[numbers == fold].sum()) for fold in (0, 1)} == {2}


def test_folds_of_today_are_those_of_yesterday():
    samples = made(12, bad_every=3)
    labels, groups = np.array([sample.label for sample in samples]), [sample.group for sample in samples]
    assert fold_numbers(labels, groups, 3, seed=5)[::4].tolist() == [0, 2, 1, 1, 0, 0, 2, 2, 1, 1, 0, 2]


def test_every_fold_holds_something_out_and_leaves_both_labels_to_train_on():
    rng = np.random.default_rng(0)
    for trial in range(300):
        parts = int(rng.integers(2, 9))
        groups = np.repeat(np.arange(parts), rng.integers(1, 12, parts))
        labels = (rng.random(len(groups)) < rng.random(parts)[groups] ** rng.integers(1, 6)).astype(int)
        asked = int(rng.integers(2, 7))
        if min(len(set(groups[labels == label])) for label in (0, 1)) < 2:
            with pytest.raises(DataError, match=r"bad part.* and .* good part.* to train on"):
                fold_numbers(labels, groups.astype(str), asked, trial)
            continue
        numbers = fold_numbers(labels, groups.astype(str), asked, trial)
        assert 2 <= numbers.max() + 1 <= asked
        for fold in range(numbers.max() + 1):
            assert set(labels[numbers != fold]) == {0, 1}
            assert (numbers == fold).any()
            assert not set(groups[numbers == fold]) & set(groups[numbers != fold])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("bad", [0, 1, 2])
def test_where_bad_pictures_are_not_needed_folds_are_made_by_good_parts(bad):
    samples = few_bad(bad)
    labels, groups = np.array([sample.label for sample in samples]), [sample.group for sample in samples]
    numbers = fold_numbers(labels, groups, 3, seed=0, needs_bad=False)
    assert set(numbers) == {0, 1, 2}
    for fold in range(3):
        assert (labels[numbers == fold] == 0).any() and (labels[numbers != fold] == 0).any()


def test_one_good_part_makes_no_folds_though_bad_pictures_are_not_needed():
    with pytest.raises(DataError, match="3 bad parts and 1 good part to train on"):
        fold_numbers(np.array([1, 1, 1, 0, 0]), ["a", "b", "c", "d", "d"], 3, seed=0, needs_bad=False)


def test_one_bad_part_photographed_often_makes_no_folds_and_is_counted():
    labels = np.array([1] * 6 + [0] * 10)
    groups = ["bad"] * 6 + [f"good{place}" for place in range(10)]
    with pytest.raises(DataError, match="1 bad part and 10 good parts to train on"):
        fold_numbers(labels, groups, 3, seed=0)


def test_a_split_is_written_as_a_table():
    samples = [Sample(path=Path(name), label=0, group="a,b") for name in ("x.png", "=cmd.png")]
    rows = list(csv.reader(io.StringIO(split_table(Split("s", (samples[0],), (samples[1],))))))
    assert rows == [["id", "label", "group", "part"], ["x.png", "0", "a,b", "train"], ["'=cmd.png", "0", "a,b", "test"]]


def kolektor():
    return [
        Sample(path=Path(f"kos{item:02}/Part{part}.jpg"), label=int(part == 0), group=f"kos{item:02}+merged")
        for item in range(1, 51)
        for part in range(2)
    ]


def test_twins_that_both_train_are_one_part_so_that_no_inner_fold_parts_them():
    samples = [replace(sample, group=sample.path.parent.name) for sample in kolektor()]
    place = {(sample.path.parent.name, sample.path.name): number for number, sample in enumerate(samples)}
    twins = [(place["kos38", f"Part{part}.jpg"], place["kos39", f"Part{part}.jpg"]) for part in range(2)]
    train = kolektor_folds(audited(samples, *twins), "clean")[2].train  # where both of them train
    groups = {s.group for s in train if s.path.parent.name in ("kos38", "kos39")}
    assert groups == {"kos38+kos39"}


def test_kolektors_folds_test_every_item_once_and_clean_ones_never_train_on_a_twin():
    twins = {"kos01": "kos26", "kos27": "kos34", "kos38": "kos39"} | {
        "kos26": "kos01",
        "kos34": "kos27",
        "kos39": "kos38",
    }
    leaks = {}
    for which in ("official", "clean"):
        splits = kolektor_folds(audited(kolektor()), which)
        assert sorted(len(split.test) // 2 for split in splits) == [16, 17, 17]
        assert len({sample.id for split in splits for sample in split.test}) == 100
        leaks[which] = sum(
            twins.get(sample.path.parent.name) in {s.path.parent.name for s in split.train}
            for split in splits
            for sample in split.test
        )
    assert leaks["clean"] == 0
    assert leaks["official"] > 0


def test_only_the_official_folds_may_have_a_copy_on_both_sides():
    place = {(sample.path.parent.name, sample.path.name): number for number, sample in enumerate(kolektor())}
    found = audited(kolektor(), (place["kos02", "Part0.jpg"], place["kos01", "Part1.jpg"]))
    assert len(kolektor_folds(found, "official")) == 3
    with pytest.raises(DataError, match=r"kos01/Part1.jpg trains, kos02/Part0.jpg tests"):
        kolektor_folds(found, "clean")


def test_other_data_are_not_taken_for_kolektors():
    with pytest.raises(DataError, match="not KolektorSDD's pictures"):
        kolektor_folds(audited(made()), "official")
