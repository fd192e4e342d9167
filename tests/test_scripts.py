"""scripts/setup: what it installs again and what it leaves alone. A stand-in for Python notes what it is asked to do;
nothing is downloaded."""

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYTHON = """#!/usr/bin/env bash
# -m venv FOLDER puts a copy of this file there; -m pip is written down, and fails where the file `broken` lies
here=$(dirname "$0")
case "$*" in
  --version) echo Python 3.11.0 ;;
  -c*) exit 0 ;;
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && echo venv >>"$NOTES" ;;
  "-m pip "*) echo pip >>"$NOTES"; [ ! -e "$BROKEN" ] ;;
esac
"""


class Checkout:
    """A folder with scripts/setup, a lock and a pyproject, and what setup did in it."""

    def __init__(self, place: Path) -> None:
        self.root, self.notes, self.broken = place / "a folder" / "clone", place / "notes", place / "broken"
        (self.root / "scripts").mkdir(parents=True)
        shutil.copy(ROOT / "scripts" / "setup", self.root / "scripts")
        (self.root / "requirements.lock").write_text("numpy==2.4.6\n")
        (self.root / "requirements-all.lock").write_text("numpy==2.4.6\npytest==9.0\n")
        (self.root / "pyproject.toml").write_text("[project]\n")
        self.python = place / "python"
        self.python.write_text(PYTHON)
        self.python.chmod(0o755)

    def setup(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        variables = (
            os.environ
            | {"PYTHON": str(self.python), "NOTES": str(self.notes), "BROKEN": str(self.broken)}
            | environment
        )
        return subprocess.run(
            [str(self.root / "scripts" / "setup"), *arguments],
            env=variables,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def did(self) -> list[str]:
        """What was done since the last question."""
        did = self.notes.read_text().split() if self.notes.exists() else []
        self.notes.unlink(missing_ok=True)
        return did


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    if shutil.which("bash") is None:
        pytest.skip("no bash here")
    return Checkout(tmp_path)


def test_setup_installs_once_and_then_returns_at_once(checkout: Checkout) -> None:
    assert checkout.setup().returncode == 0
    assert checkout.did() == ["venv", "pip", "pip"]
    again = checkout.setup()
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert checkout.did() == []


def test_setup_all_adds_to_what_is_there_and_is_enough_for_both(checkout: Checkout) -> None:
    assert checkout.setup().returncode == 0
    checkout.did()
    assert checkout.setup("--all").returncode == 0
    assert checkout.did() == ["pip", "pip"]  # into the same .venv
    assert checkout.setup().returncode == checkout.setup("--all").returncode == 0
    assert checkout.did() == []


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_setup_installs_again_when_what_is_wanted_changed(checkout: Checkout, name: str) -> None:
    checkout.setup()
    checkout.did()
    (checkout.root / name).write_text("# changed\n")
    assert checkout.setup().returncode == 0
    assert checkout.did() == ["pip", "pip"]


def test_setup_that_was_interrupted_starts_afresh(checkout: Checkout) -> None:
    checkout.broken.touch()
    failed = checkout.setup()
    assert failed.returncode != 0
    assert "run it again" in failed.stderr
    checkout.did()
    checkout.broken.unlink()
    assert checkout.setup().returncode == 0
    assert checkout.did() == ["venv", "pip", "pip"]


def test_setup_interrupted_while_changing_starts_afresh(checkout: Checkout) -> None:
    checkout.setup()
    (checkout.root / "requirements.lock").write_text("numpy==3.0\n")
    checkout.broken.touch()
    assert checkout.setup().returncode != 0
    checkout.broken.unlink()
    checkout.did()
    assert checkout.setup().returncode == 0
    assert checkout.did() == ["venv", "pip", "pip"]


def test_setup_rebuilds_where_the_checkout_was_moved_or_python_is_gone(checkout: Checkout) -> None:
    checkout.setup()
    checkout.root = checkout.root.rename(checkout.root.with_name("elsewhere"))
    checkout.did()
    assert checkout.setup().returncode == 0
    assert checkout.did() == ["venv", "pip", "pip"]
    (checkout.root / ".venv" / "bin" / "python").unlink()
    assert checkout.setup().returncode == 0
    assert checkout.did() == ["venv", "pip", "pip"]


def test_setup_without_a_suitable_python_says_what_is_needed(checkout: Checkout, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "cat", "dirname", "env", "head", "rm"):
        (tools / name).symlink_to(str(shutil.which(name)))
    refused = checkout.setup(PATH=str(tools), PYTHON="")
    assert refused.returncode != 0
    assert "no Python 3.11 or newer" in refused.stderr
    assert "PYTHON=/path/to/python scripts/setup" in refused.stderr
    assert not (checkout.root / ".venv").exists()


def pins(name: str) -> list[str]:
    return [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]


def test_the_smaller_lock_is_part_of_the_larger_one() -> None:
    assert set(pins("requirements.lock")) < set(pins("requirements-all.lock"))


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-all.lock"])
def test_a_lock_pins_every_version_and_names_no_registry_and_no_folder(lock: str) -> None:
    lines = pins(lock)
    assert "torch==2.13.0" in lines
    for line in lines:
        name, _, version = line.partition("==")
        assert name, line
        assert version.replace(".", "").replace("post", "").isalnum(), line
        assert not set("/:@+ ") & set(line), line


@pytest.mark.parametrize(
    "name", ["scripts/setup", "scripts/check", "scripts/test", "scripts/demo", "scripts/lock", ".ci/run"]
)
def test_scripts_can_be_run_and_say_what_they_do(name: str) -> None:
    path = ROOT / name
    assert os.access(path, os.X_OK), name
    first, second = path.read_text().splitlines()[:2]
    assert first == "#!/usr/bin/env bash"
    assert second.startswith("# ")
    assert subprocess.run(["bash", "-n", str(path)], timeout=10).returncode == 0


def test_two_setups_at_once_install_once(checkout: Checkout) -> None:
    if shutil.which("flock") is None:
        pytest.skip("no flock here")
    slow = PYTHON.replace('echo venv >>"$NOTES"', 'sleep 0.5; echo venv >>"$NOTES"')
    checkout.python.write_text(slow)
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: checkout.setup(), range(2)))
    assert [done.returncode for done in both] == [0, 0]
    assert checkout.did() == ["venv", "pip", "pip"]
