"""The pages say what is so: every command, file, link, setting and Python name in them is there."""

import ast
import dataclasses
import importlib
import json
import re
import runpy
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from weakspot import cli
from weakspot.settings import TrainSettings, read_settings

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
COMMANDS: Any = get_command(cli.app).commands  # type: ignore[attr-defined]
WRITTEN_LATER = {
    "results/README.md",
    "results/",
    "experiments/",
}  # by experiments; the tree may name them before the first has run


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, *languages: str) -> list[str]:
    """The fenced blocks of a page in these languages."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [text for language, text in found if language in languages]


def commands(page: Path) -> list[list[str]]:
    """Every weakspot command of a page's shell blocks, split as a shell does."""
    lines = [
        line for block in blocks(page, "sh", "bash", "console") for line in block.replace("\\\n", " ").splitlines()
    ]
    return [
        words
        for line in lines
        if (words := shlex.split(line.removeprefix("$ "), comments=True)) and words[0] == "weakspot"
    ]


def inline(page: Path) -> list[str]:
    """Inline code outside fenced blocks."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", text)


def check_command(words: list[str]) -> None:
    """A command with all its arguments, parsed as the command line would, without running it."""
    verb, *arguments = [word for word in words[1:] if word not in ("--help", "--version")] or [""]
    if not verb:
        return
    assert verb in COMMANDS, f"no verb {verb}"
    if words[-1] != "--help":
        COMMANDS[verb].make_context(verb, arguments)


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_commands_in_blocks_can_be_typed_as_they_stand(page: Path) -> None:
    for words in commands(page):
        check_command(words)


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_commands_in_the_text_name_verbs_and_flags_that_exist(page: Path) -> None:
    for code in inline(page):
        words = shlex.split(code) if code.startswith("weakspot ") else []
        if len(words) > 1 and not words[1].startswith("-"):
            assert words[1] in COMMANDS, code
            flags = {flag for parameter in COMMANDS[words[1]].params for flag in parameter.opts} | {"--help", "-h"}
            assert {word for word in words[2:] if word.startswith("-")} <= flags, code


@pytest.mark.parametrize("verb", [None, *COMMANDS])
def test_examples_in_help_can_be_typed_as_they_stand(verb: str | None) -> None:
    epilog = (COMMANDS[verb].epilog if verb else get_command(cli.app).epilog) or ""
    examples = [shlex.split(line, comments=True) for line in epilog.split("\n\n") if line.startswith("weakspot ")]
    assert examples
    for words in examples:
        check_command(words)


def test_a_command_that_does_not_exist_would_be_found() -> None:
    with pytest.raises(typer.BadParameter.__base__, match="--positves"):  # type: ignore[arg-type]
        check_command(shlex.split("weakspot train parts/ -o runs/first --positves 3"))


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_scripts_and_files_named_in_a_page_exist(page: Path) -> None:
    named = {code.split()[0] for code in inline(page) if re.match(r"(scripts|src|tests|docs|\.ci)/\S", code)}
    named |= {
        line.split()[0] for block in blocks(page, "sh") for line in block.splitlines() if line.startswith("scripts/")
    }
    assert {name for name in named if not (ROOT / name).exists()} == set()


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_resolve(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    local = {link for link in links if "://" not in link}
    missing = {link for link in local if not (page.parent / link).exists()}
    assert missing - (WRITTEN_LATER if page.parent == ROOT else set()) == set()


def test_every_file_in_the_readmes_tree_exists_and_every_module_is_in_it() -> None:
    tree = next(block for block in blocks(ROOT / "README.md", "") if "src/weakspot/" in block)
    above: list[tuple[int, str]] = []
    named = set()
    for line in tree.splitlines():
        indent, name = len(line) - len(line.lstrip()), line.split()[0]
        above = [(depth, folder) for depth, folder in above if depth < indent]
        path = "".join(folder for _, folder in above) + name
        named.add(path)
        assert (ROOT / path).exists() or path in WRITTEN_LATER, path
        above.append((indent, name))
    package = ROOT / "src" / "weakspot"
    there = {
        f"src/weakspot/{path.name}{'/' if path.is_dir() else ''}"
        for path in package.iterdir()
        if path.name[0] not in "_" and path.name != "py.typed"
    }
    assert there - named == set()


def settings_with_defaults(kind: Any, prefix: str = "") -> dict[str, str]:
    """Every key and its default as TOML writes it; 'none' where there is none."""
    found = {}
    for field in dataclasses.fields(kind):
        if field.default_factory is not dataclasses.MISSING:
            found |= settings_with_defaults(field.default_factory, f"{field.name}.")
        else:
            value = field.default
            found[prefix + field.name] = (
                "none" if value is None else f'"{value}"' if isinstance(value, str) else str(value)
            )
    return found


def test_every_setting_stands_in_the_table_with_its_default() -> None:
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([\w.]+)` \| `?([^`|]+?)`? \|", text, re.MULTILINE))
    assert rows == settings_with_defaults(TrainSettings)


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_settings_in_toml_blocks_are_settings(page: Path, tmp_path: Path) -> None:
    for block in blocks(page, "toml"):
        if "data" not in tomllib.loads(block):  # an experiment's file is another thing
            (tmp_path / "settings.toml").write_text(block, encoding="utf-8")
            read_settings(TrainSettings, tmp_path / "settings.toml")


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_python_in_blocks_is_python_and_its_names_exist(page: Path) -> None:
    import weakspot

    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "weakspot":
                assert node.attr in weakspot.__all__, node.attr
    for code in inline(page):
        if match := re.match(r"(weakspot(?:\.\w+)+)\b", code):
            parts = match[1].split(".")
            assert hasattr(importlib.import_module(".".join(parts[:-1])), parts[-1]), code


def test_nothing_that_is_committed_names_a_folder_of_some_machine_or_a_registry() -> None:
    files = [path for folder in ("src", "docs", "tests", "scripts", ".ci") for path in (ROOT / folder).rglob("*")]
    files += [path for path in ROOT.iterdir() if path.suffix in (".md", ".toml", ".lock")]
    pattern = re.compile(rb"(?<![\w./-])/(?:work|root|home|Users)/\w|pypi\." + rb"org|python" + rb"hosted")
    found = [
        page_id(path)
        for path in files
        if path.is_file() and "__pycache__" not in path.parts and pattern.search(path.read_bytes())
    ]
    assert [name for name in found if name != "tests/test_docs.py"] == []


def test_the_table_of_the_readme_is_that_of_the_records() -> None:
    """Made by scripts/readme_table; nothing in it is typed."""
    script = runpy.run_path(str(ROOT / "scripts" / "readme_table"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    results = (ROOT / "results" / "README.md").read_text(encoding="utf-8")
    assert script["written"](readme, results) == readme
    assert "| magnetic tiles, five kinds of defect | 30 |" in readme


def test_the_table_of_large_images_is_that_of_its_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import tables

    page = (ROOT / "docs" / "large_images.md").read_text(encoding="utf-8")
    assert tables.written(page, tables.large_peaks()) == page
    assert "| 16,000 × 8,000 | TIFF in strips | 8,000 × 4,000 | " in page


def test_the_table_of_drift_is_that_of_its_record() -> None:
    made = runpy.run_path(str(ROOT / "benchmarks" / "drift.py"))["table"]
    record = json.loads((ROOT / "results" / "drift.json").read_text(encoding="utf-8"))
    assert made(record) in (ROOT / "docs" / "drift.md").read_text(encoding="utf-8")
