"""The published data, where they lie beside the checkout or are installed: the protocol's counts, the audit's finds."""

import importlib.util
from itertools import combinations
from pathlib import Path

import pytest

from weakspot.data.audit import audit
from weakspot.data.layouts import detect_layout, read_layout
from weakspot.data.splits import kolektor_folds, make_split
from weakspot.settings import ReadSettings

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
KOLEKTOR, TILES = SHARED / "KolektorSDD", SHARED / "magnetic_tile"
with_kolektor = pytest.mark.skipif(not KOLEKTOR.is_dir(), reason="KolektorSDD is not here")
with_tiles = pytest.mark.skipif(not TILES.is_dir(), reason="the magnetic tiles are not here")
with_cells = pytest.mark.skipif(
    importlib.util.find_spec("elpv_dataset") is None, reason="elpv-dataset is not installed"
)


def amounts(samples):
    return sum(sample.label for sample in samples), sum(not sample.label for sample in samples)


@with_kolektor
def test_kolektors_folds_have_the_published_counts_and_clean_ones_no_part_on_both_sides():
    samples = read_layout(KOLEKTOR)
    found = audit(samples, ReadSettings(), masks=False)
    assert detect_layout(KOLEKTOR) == "kolektorsdd"
    assert amounts(samples) == (52, 347)
    official, clean = kolektor_folds(found, "official"), kolektor_folds(found, "clean")
    assert [amounts(split.test) for split in official] == [(18, 117), (18, 118), (16, 112)]
    assert [amounts(split.train) for split in official] == [(34, 230), (34, 229), (36, 235)]
    assert [split.test for split in clean] == [split.test for split in official]
    assert [amounts(split.train)[0] for split in clean] == [31, 31, 34]


@with_kolektor
def test_the_audit_finds_kolektors_twins_and_nothing_else():
    found = audit(read_layout(KOLEKTOR), ReadSettings())
    twins = {tuple(sorted((pair.first.group, pair.second.group))) for pair in found.duplicates}
    assert twins == {("kos01", "kos26"), ("kos27", "kos34"), ("kos38", "kos39")}
    kinds = [pair.kind for pair in found.duplicates]
    assert (kinds.count("identical"), kinds.count("near")) == (16, 8)
    other_order = {(pair.first.path.stem, pair.second.path.stem) for pair in found.duplicates if pair.kind == "near"}
    assert other_order == {(f"Part{part}", f"Part{(part + 6) % 8}") for part in range(8)}
    assert len({sample.group for sample in found.merged()}) == 47
    assert not found.masks
    assert not [cue for cue in found.cues if cue.verdict]


@with_tiles
def test_tiles_near_in_time_or_alike_are_never_parted():
    found = audit(read_layout(TILES), ReadSettings())
    assert amounts(found.samples) == (392, 400)
    merged = found.merged()
    assert len({sample.group for sample in found.samples}) == 184
    assert 170 <= len({sample.group for sample in merged}) < 184
    by_id = {sample.id: sample.group for sample in merged}
    assert all(by_id[pair.first.id] == by_id[pair.second.id] for pair in found.duplicates)
    for seed in range(3):
        split = make_split(found, given=True, hold_out=0.3, split_seed=seed, positives=None, draw_seed=0)
        times = [
            sorted(int(sample.path.stem.split("_num_")[1]) for sample in part) for part in (split.train, split.test)
        ]
        assert min(abs(one - other) for one in times[0] for other in times[1]) > 300


@with_tiles
def test_a_crack_that_was_photographed_again_later_is_one_tile():
    found = audit(
        [sample for sample in read_layout(TILES) if sample.kind == "Crack" or not sample.label], ReadSettings()
    )
    by_time = {int(sample.path.stem.split("_num_")[1]): sample.group for sample in found.merged()}
    assert all(by_time[one] == by_time[other] for one, other in combinations((85602, 86031, 86854, 88149), 2))


@with_cells
def test_elpv_is_found_in_its_package():
    samples = read_layout(Path("elpv"))
    assert amounts(samples) == (313, 588)
    assert len({sample.group for sample in samples}) == 901
    assert samples[0].path.is_file()


@with_cells
def test_cells_of_one_kind_of_module_are_not_taken_for_copies():
    found = audit(read_layout(Path("elpv"), "elpv"), ReadSettings())
    assert not found.unreadable
    assert 1 <= len([pair for pair in found.duplicates if pair.kind == "near"]) <= 10
    assert len(found.merged()) == 901
