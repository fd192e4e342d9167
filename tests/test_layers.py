"""What may import what: down the list of pyproject.toml, and torch only where something is trained."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WITHOUT_TORCH = ("errors", "settings", "durable", "progress", "doctor", "estimator")
FOLDERS_WITHOUT_TORCH = ("data", "inspection", "evaluation", "terminal", "cli")


def modules_without_torch() -> list[str]:
    source = ROOT / "src"
    files = [path for folder in FOLDERS_WITHOUT_TORCH for path in sorted((source / "weakspot" / folder).rglob("*.py"))]
    inner = [".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__") for path in files]
    return ["weakspot", *(f"weakspot.{name}" for name in WITHOUT_TORCH), *inner]


def test_imports_point_down_the_layers() -> None:
    """In a process of its own: the linter resets logging, which closes the streams of handlers that other libraries
    made."""
    pytest.importorskip("importlinter")
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--config", "pyproject.toml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_that_inspects_or_reports_loads_torch() -> None:
    names = modules_without_torch()
    assert "weakspot.inspection.loaded" in names
    each = "importlib.import_module(name)\n    assert 'torch' not in sys.modules, name"
    code = f"import sys, importlib\nfor name in {names!r}:\n    {each}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["Inspection", "WeakspotClassifier", "__version__", "load", "train"])
def test_the_package_offers_its_names_and_loads_them_when_used(name: str) -> None:
    bare, still = "assert 'numpy' not in sys.modules", "assert 'torch' not in sys.modules"
    code = f"import sys, weakspot\n{bare}\nassert weakspot.{name}\n{still}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_a_name_that_the_package_does_not_offer_is_answered_with_those_it_does() -> None:
    import weakspot

    with pytest.raises(AttributeError, match=r"'fit'; it offers .*train"):
        weakspot.fit  # noqa: B018
