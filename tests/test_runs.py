"""A run's folder is never written over, and is gone on with only as it was begun."""

import tomllib
from pathlib import Path

import pytest

from weakspot.errors import OutputError, SettingsError
from weakspot.runs import open_run, to_toml
from weakspot.settings import TrainSettings, as_plain, read_settings


def test_a_new_run_takes_a_new_or_empty_folder(tmp_path: Path):
    assert open_run(tmp_path / "a" / "b", False, {}).folder.is_dir()
    (tmp_path / "empty").mkdir()
    assert open_run(tmp_path / "empty", False, {}).state() == {"identity": {}, "finished": False}


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        open_run(tmp_path, False, {})
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_earlier_run_is_gone_on_with_only_when_asked(tmp_path: Path):
    open_run(tmp_path / "run", False, {"seed": 1})
    with pytest.raises(OutputError, match="--resume"):
        open_run(tmp_path / "run", False, {"seed": 1})
    assert open_run(tmp_path / "run", True, {"seed": 1}).folder == tmp_path / "run"


def test_other_settings_are_named_on_resumption(tmp_path: Path):
    open_run(tmp_path / "run", False, {"seed": 1})
    with pytest.raises(SettingsError, match="seed is 2, but the run was begun with 1"):
        open_run(tmp_path / "run", True, {"seed": 2})


def test_there_is_nothing_to_resume_in_a_foreign_folder(tmp_path: Path):
    with pytest.raises(OutputError, match="holds no run"):
        open_run(tmp_path, True, {})


def test_settings_kept_beside_a_run_give_the_same_settings_again(tmp_path: Path):
    settings = TrainSettings(size=(704, 256), positives=7, recipe="paper")
    path = tmp_path / "settings.toml"
    path.write_text(to_toml(as_plain(settings)))
    assert read_settings(TrainSettings, path) == settings
    assert tomllib.loads(path.read_text())["read"]["orientation"] == "ignore"
