"""Splits: no group on both sides, both labels on each, the same for the same seed."""

import csv
import io
from pathlib import Path

import pytest

from weakspot.data.layouts import Sample
from weakspot.data.splits import (
    Split,
    draw_positives,
    given_split,
    grouped_folds,
    hold_out,
    kolektor_folds,
    merge_groups,
    split_table,
)
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


def groups_of(samples):
    return {sample.group for sample in samples}


def both_labels(samples):
    return {sample.label for sample in samples} == {0, 1}


@pytest.mark.parametrize("seed", range(3))
def test_folds_test_each_picture_once_and_part_no_group(seed):
    samples = made()
    splits = grouped_folds(samples, 4, seed)
    assert sorted(sample.id for split in splits for sample in split.test) == sorted(sample.id for sample in samples)
    for split in splits:
        assert not groups_of(split.train) & groups_of(split.test)
        assert both_labels(split.train)
        assert both_labels(split.test)
        assert abs(sum(sample.label for sample in split.test) - 2.5) <= 1


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.8])
def test_a_hold_out_has_its_share_of_either_label(share):
    samples = made(40)
    split = hold_out(samples, share, 0)
    assert not groups_of(split.train) & groups_of(split.test)
    for label, total in ((0, 140), (1, 20)):
        assert sum(sample.label == label for sample in split.test) == pytest.approx(share * total, abs=4)


def test_one_seed_gives_one_split_and_another_seed_another():
    samples = made(40)
    assert hold_out(samples, 0.25, 1) == hold_out(samples, 0.25, 1)
    assert hold_out(samples, 0.25, 1) != hold_out(samples, 0.25, 2)
    assert grouped_folds(samples, 3, 1) == grouped_folds(samples, 3, 1)
    assert grouped_folds(samples, 3, 1) != grouped_folds(samples, 3, 2)


def test_a_hold_out_works_with_the_fewest_parts():
    samples = [Sample(path=Path(f"{n}.png"), label=int(n < 2), group=str(n)) for n in range(4)]
    split = hold_out(samples, 0.25, 0)
    assert both_labels(split.train)
    assert both_labels(split.test)


def test_groups_that_cannot_be_split_are_named():
    one_bad_part = made(10, bad_every=10)
    with pytest.raises(DataError, match="bad pictures come from 1 groups; 3 are needed"):
        grouped_folds(one_bad_part, 3, 0)
    with pytest.raises(DataError, match="bad pictures come from 1 groups; 2 are needed"):
        hold_out(one_bad_part, 0.25, 0)
    with pytest.raises(DataError, match="share between 0 and 1"):
        hold_out(made(), 1.5, 0)


def test_positives_are_drawn_and_all_good_ones_kept():
    samples = made(40)
    few, more = draw_positives(samples, 5, 3), draw_positives(samples, 10, 3)
    assert sum(sample.label for sample in few) == 5
    assert sum(not sample.label for sample in few) == 140
    assert {sample for sample in few if sample.label} < {sample for sample in more if sample.label}
    assert few == [sample for sample in samples if sample in set(few)]
    assert draw_positives(samples, 5, 4) != few


@pytest.mark.parametrize("n", [0, 21])
def test_more_positives_than_there_are_is_refused_with_their_number(n):
    with pytest.raises(DataError, match="20 are there"):
        draw_positives(made(40), n, 0)


def test_groups_that_share_a_picture_become_one():
    samples = made(5)
    by_group = {sample.group: sample for sample in samples}
    merged = merge_groups(samples, [(by_group["g03"], by_group["g01"]), (by_group["g03"], by_group["g04"])])
    assert [sample.path for sample in merged] == [sample.path for sample in samples]
    assert groups_of(merged) == {"g00", "g01+g03+g04", "g02"}


def test_many_groups_become_one_with_a_short_name():
    samples = made(12)
    merged = merge_groups(samples, zip(samples[:-4:4], samples[4::4], strict=True))
    assert groups_of(merged) == {"g00+11 more"}


def test_a_layouts_own_split_is_taken_or_there_is_none():
    samples = [
        Sample(path=Path(f"{n}.png"), label=n % 2, group=str(n), part=part)
        for n, part in enumerate(("train", "train", "test", "test"))
    ]
    split = given_split(samples)
    assert split is not None
    assert [len(split.train), len(split.test)] == [2, 2]
    assert given_split(made()) is None


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


def test_kolektors_folds_test_every_item_once_and_clean_ones_never_train_on_a_twin():
    twins = {"kos01": "kos26", "kos27": "kos34", "kos38": "kos39"} | {
        "kos26": "kos01",
        "kos34": "kos27",
        "kos39": "kos38",
    }
    leaks = {}
    for which in ("official", "clean"):
        splits = kolektor_folds(kolektor(), which)
        assert sorted(len(split.test) // 2 for split in splits) == [16, 17, 17]
        assert len({sample.id for split in splits for sample in split.test}) == 100
        leaks[which] = sum(
            twins.get(sample.path.parent.name) in {s.path.parent.name for s in split.train}
            for split in splits
            for sample in split.test
        )
    assert leaks["clean"] == 0
    assert leaks["official"] > 0


def test_folds_are_read_from_a_file_too(tmp_path):
    path = tmp_path / "folds.json"
    path.write_text('{"test": [["kos01"], ["kos02"]], "clean_drop_from_training": [["kos03"], []]}')
    splits = kolektor_folds(kolektor(), "clean", path)
    assert [len(split.train) for split in splits] == [96, 98]
    path.write_text("{")
    with pytest.raises(DataError, match="cannot be read as folds"):
        kolektor_folds(kolektor(), "clean", path)


def test_other_data_are_not_taken_for_kolektors():
    with pytest.raises(DataError, match="not KolektorSDD's pictures"):
        kolektor_folds(made(), "official")
