"""docs/reliability.md and docs/many.md: figures are those of the records; each test and soak that is named is there."""

import json
import re
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
MANY = (ROOT / "docs" / "many.md").read_text(encoding="utf-8")
TABLE = runpy.run_path(str(ROOT / "scripts" / "reliability_table"))


def test_the_counts_are_those_of_the_records() -> None:
    assert TABLE["written"](PAGE) == PAGE, "run scripts/reliability_table"
    assert TABLE["written_many"](MANY) == MANY, "run scripts/reliability_table"
    kills = json.loads((ROOT / "results" / "soak" / "service.json").read_text())["kills"]
    assert f"| {kills:,} kills, " in PAGE


def test_every_test_and_soak_that_is_named_exists() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    there = set(re.findall(r"^def (test_\w+)", "\n".join(sources), re.MULTILINE))
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) > 40 and named - there == set()
    soaks = set(re.findall(r"`scripts/soak (\w+) \d+`", PAGE))
    assert soaks == {"service", "watch", "kills", "switches", "inspect", "load", "fuzz", "memory"}
    assert all((ROOT / "soaks" / f"{name}.py").exists() for name in soaks)


def test_what_is_missing_is_told_and_what_went_wrong_is_counted(tmp_path: Path) -> None:
    assert PAGE.count(TABLE["MISSING"]) <= TABLE["written"](PAGE, tmp_path).count(TABLE["MISSING"]) == 11
    record = {"switches": 1000, "sent": 5, "answered": 4, "dropped": ["k"], "other": [], "commit": "0123456789"}
    aim = {"what": "p99", "target": "<= 2", "found": 3.0, "met": False}
    (tmp_path / "switches.json").write_text(json.dumps(record | {"targets": [aim]}))
    ready = {"kills": 3, "commit": "0123456789", "seconds_until_ready": {"median": 5, "most": 5.1}}
    (tmp_path / "service.json").write_text(json.dumps(ready))
    made = TABLE["written"](PAGE, tmp_path)
    assert "| 1,000 switches, 5 sent, 4 answered; dropped 1, other 0; at 0123456 |" in made
    assert "| p99 | <= 2 | 3.0 | **missed** |" in made
    assert "ready, median | <= 5 | 5 | met |" in made and "ready, most | <= 5 | 5.1 | **missed** |" in made


def test_the_cores_for_many_pictures_come_from_what_the_workers_judged(tmp_path: Path) -> None:
    record = {"workers": {"2": {"images_a_second": 20.0, "worker_seconds_an_image": 0.09}}}
    (tmp_path / "scaling.json").write_text(json.dumps(record))
    assert "| 2 | 20.0 | 0.09 | 166 |" in TABLE["written_many"](MANY, tmp_path)  # 1,157 a second at 70 % load
    assert TABLE["MISSING"] in TABLE["written_many"](MANY, tmp_path / "none")
