"""The page of results says what the records say, and nothing else."""

import shutil
from pathlib import Path

from weakspot.experiments.tables import write_tables

HERE = Path(__file__).parents[2]


def test_the_page_of_results_is_made_from_the_records(tmp_path: Path):
    shutil.copytree(HERE / "results", tmp_path / "results")
    made = write_tables(tmp_path / "results").read_text(encoding="utf-8")
    assert made == (HERE / "results" / "README.md").read_text(encoding="utf-8"), (
        "write it anew with `weakspot experiment`; never by hand"
    )
