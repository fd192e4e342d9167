"""The default beside its rivals: only what was run alike is compared, and where it is behind the page says so."""

from pathlib import Path
from typing import Any

from tests.experiments.test_tables import recorded, summary

HERE = {"experiment": "tiles", "data_fingerprint": "a"}


def of(place: Path, recipe: str, seed: int, ap: float, settings: dict[str, Any] | None = None, **more: Any) -> None:
    """A record of a recipe, its settings those of a run by that seed."""
    drawn = {"recipe": recipe, "split_seed": seed, "draw_seed": seed, "seed": seed, "positives": 10}
    about = HERE | {"recipe": recipe, "weights_seed": seed, "metrics": {"average_precision": ap}} | more
    recorded(place, f"{recipe}-hold_out-seed{seed}", settings=drawn | (settings or {}), **about)


def section(results: Path) -> str:
    summary(results)
    page = (results / "README.md").read_text(encoding="utf-8")
    return page.split("## Is the default above every rival?")[1].split("## Runs")[0]


def test_seeds_that_both_have_are_compared_whatever_experiment_they_are_of(tmp_path: Path):
    for seed, ours, theirs in ((3, 0.9, 0.7), (4, 0.8, 0.7), (5, 0.7, 0.6), (6, 0.1, None)):
        of(tmp_path / "default", "sharp", seed, ours)
        if theirs is not None:
            of(tmp_path / "rivals", "mil_lse", seed, theirs, {"folds": 0, "threshold": {"rule": "best_f1"}})
    told = section(tmp_path)
    assert "| tiles | hold_out | 64×96 | 10 | mil_lse |  | 3 | 0.800 ± 0.100 | 0.667 ± 0.058 | +0.133 |" in told
    assert "The default stands above a rival that sees no masks in 1 of 1 rows. It stands above in all." in told


def test_where_it_is_not_above_the_page_says_so_and_masks_are_apart(tmp_path: Path):
    of(tmp_path / "default", "sharp", 3, 0.8)
    of(tmp_path / "rivals", "patchcore", 3, 0.9)
    of(tmp_path / "rivals", "mil_lse", 3, 0.8)
    of(tmp_path / "rivals", "segdec_masks", 3, 0.95, {"masks": "use"})
    told = section(tmp_path)
    assert "| patchcore |  | 1 | 0.800 | 0.900 | **-0.100** |" in told
    assert "| segdec_masks | yes | 1 | 0.800 | 0.950 | **-0.150** |" in told
    assert "above a rival that sees no masks in 0 of 2 rows; 2 rest on fewer than three seeds." in told
    assert "Not above: mil_lse on tiles, 10 bad; patchcore on tiles, 10 bad.\n" in told


def test_what_was_run_otherwise_is_compared_with_nothing(tmp_path: Path):
    of(tmp_path / "default", "sharp", 3, 0.8)
    otherwise: dict[str, dict[str, Any]] = {
        "pictures": {"data_fingerprint": "b"}, "size": {"size": [64, 64]}, "variant": {"variant": "a"},
        "split": {"split": {"name": "own"}}, "schedule": {"settings": {"schedule": 0.5}},
        "bad": {"settings": {"positives": 5}}, "tested": {"settings": {"hold_out": 0.5}},
        "who": {"settings": {"draw_seed": 7}}, "unranked": {"metrics": {}},
    }  # fmt: skip
    for name, more in otherwise.items():
        of(tmp_path / name, "mil_lse", 3, 0.9, **more)
    of(tmp_path / "masks", "sharp", 3, 0.9, {"masks": "use", "schedule": 0.5})
    assert "No rival is on record yet beside the default" in section(tmp_path)


def test_folds_are_one_figure_and_must_be_the_same(tmp_path: Path):
    for recipe, folds in (("sharp", (0, 1)), ("mil_lse", (0, 1)), ("patchcore", (0,))):
        for fold in folds:
            about = HERE | {"recipe": recipe, "metrics": {"average_precision": 0.5 + 0.2 * fold}}
            recorded(tmp_path / recipe, f"{recipe}-clean-fold{fold}-seed3", **about)
    told = section(tmp_path)
    assert "| mil_lse |  | 1 | 0.600 | 0.600 | **+0.000** |" in told
    assert "patchcore |" not in told


def test_a_run_that_two_experiments_have_counts_once(tmp_path: Path):
    of(tmp_path / "a", "sharp", 3, 0.8)
    of(tmp_path / "b", "sharp", 3, 0.6)
    of(tmp_path / "c", "mil_lse", 3, 0.5)
    assert "| mil_lse |  | 1 | 0.800 | 0.500 | +0.300 |" in section(tmp_path)
