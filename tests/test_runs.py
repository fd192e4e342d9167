"""A run's folder is never written over, is gone on with only as it was begun, and is one process's at a time."""

import subprocess
import sys
from pathlib import Path

import pytest

from weakspot.errors import OutputError, SettingsError
from weakspot.runs import open_run


def begin(folder: Path, identity: dict[str, object] | None = None, **state: object) -> None:
    with open_run(folder, False, identity or {}) as run:
        run.record(**state)


def test_a_new_run_takes_a_new_or_empty_folder_and_remembers_what_was_decided(tmp_path: Path):
    begin(tmp_path / "a" / "b")
    (tmp_path / "empty").mkdir()
    begin(tmp_path / "empty", {"seed": 1}, plan={"size": [64, 64]})
    with open_run(tmp_path / "empty", True, {"seed": 1}) as run:
        assert run.state() == {"identity": {"seed": 1}, "finished": False, "plan": {"size": [64, 64]}}


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        begin(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_earlier_run_is_gone_on_with_only_when_asked(tmp_path: Path):
    begin(tmp_path / "run", {"seed": 1})
    with pytest.raises(OutputError, match="--resume"):
        begin(tmp_path / "run", {"seed": 1})


@pytest.mark.parametrize(("has_trained", "is_left"), [(False, False), (True, True)])
def test_a_run_that_is_refused_before_any_training_is_in_nobodys_way(
    tmp_path: Path, has_trained: bool, is_left: bool
) -> None:
    def refuse() -> None:
        with open_run(tmp_path / "run", False, {"seed": 1}) as run:
            for path in (run.settings, run.split, run.audit, run.history):
                path.write_text("begun")
            run.events.mkdir()
            if has_trained:
                run.trainings.mkdir()
            raise SettingsError("that cannot be")

    with pytest.raises(SettingsError, match="cannot"):
        refuse()
    assert (tmp_path / "run" / "run.json").exists() is is_left
    if not is_left:
        begin(tmp_path / "run", {"seed": 2})


def test_other_settings_are_named_on_resumption(tmp_path: Path):
    begin(tmp_path / "run", {"settings": {"seed": 1}})
    with (
        pytest.raises(SettingsError, match="settings.seed is 2, but the run was begun with 1"),
        open_run(tmp_path / "run", True, {"settings": {"seed": 2}}),
    ):
        pass


def test_there_is_nothing_to_resume_in_a_foreign_folder(tmp_path: Path):
    with pytest.raises(OutputError, match="holds no run"), open_run(tmp_path, True, {}):
        pass


def test_a_damaged_state_is_an_error_that_says_so(tmp_path: Path):
    begin(tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text('{"identity": {')
    with pytest.raises(OutputError, match=r"run\.json: damaged"), open_run(tmp_path / "run", True, {}):
        pass


def test_two_at_once_are_refused_and_a_killed_one_lets_go(tmp_path: Path):
    begin(tmp_path / "run")
    code = (
        "import sys, time; from pathlib import Path; from weakspot.runs import open_run\n"
        "with open_run(Path(sys.argv[1]), True, {}): print('in', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "in\n"
        found = f"process {holder.pid} on .* since .* works on this run"
        with pytest.raises(OutputError, match=found), open_run(tmp_path / "run", True, {}):
            pass
    finally:
        holder.kill()
        holder.wait()
    with open_run(tmp_path / "run", True, {}) as run:
        assert run.folder == tmp_path / "run"


def test_leftovers_of_a_killed_save_are_removed_when_the_run_goes_on(tmp_path: Path):
    begin(tmp_path / "run")
    left = tmp_path / "run" / ".weakspot-0123456789abcdef.tmp"
    left.write_bytes(b"half a model")
    with open_run(tmp_path / "run", True, {}):
        assert not left.exists()


def test_a_folder_in_which_a_run_was_killed_as_it_began_is_as_good_as_empty(tmp_path: Path):
    (tmp_path / ".lock").touch()
    (tmp_path / ".weakspot-0123456789abcdef.tmp").write_bytes(b"half a state")
    begin(tmp_path, {"seed": 1})
