"""A folder or table on disk → samples.

The functions, one per layout, lie in `folders`, `published` and `tables`; here they get names and checks.
"""

from collections import Counter
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

from weakspot.data import folders, published, tables
from weakspot.data.samples import Sample as Sample
from weakspot.data.samples import folders_in, pictures_in
from weakspot.errors import DataError, SettingsError, amount, shown

# Name → whether a folder or table is such a layout, and how it is read. The order matters: particular names come before
# a table, which somebody wrote on purpose, and a table before good/ and bad/.
LAYOUTS: dict[str, tuple[Callable[[Path], bool], Callable[[Path], list[Sample]]]] = {
    "kolektorsdd": (published.is_kolektorsdd, published.read_kolektorsdd),
    "magnetic_tile": (published.is_magnetic_tile, published.read_magnetic_tile),
    "dagm": (published.is_dagm, published.read_dagm),
    "kolektorsdd2": (published.is_kolektorsdd2, published.read_kolektorsdd2),
    "elpv": (published.is_elpv, published.read_elpv),
    "table": (tables.is_table, tables.read_table),
    "mvtec": (folders.is_mvtec, folders.read_mvtec),
    "folder": (folders.is_folder, folders.read_folder),
}
EXPECTED = (
    "good/*.png bad/*.png [masks/*.png] (folder) · train/good test/good test/DEFECT ground_truth/DEFECT (mvtec)"
    " · kos01/Part0.jpg Part0_label.bmp (kolektorsdd) · train/10000.png 10000_GT.png (kolektorsdd2)"
    " · MT_Free/Imgs MT_Crack/Imgs (magnetic_tile) · Train Train/Label Test (dagm)"
    " · labels.csv images/cell0001.png (elpv) · a CSV with columns path,label (table)"
)


def read_layout(root: Path, layout: str = "auto", *, good_needed: bool = True) -> list[Sample]:
    """All samples below `root`, sorted by id.

    root: a folder, a CSV file, or the word "elpv" for the pictures in the package elpv-dataset; layout: a name in
    LAYOUTS, or "auto"; good_needed: whether one good picture is the least, as to train. Raises DataError, which says
    what was found and expected, and SettingsError for an unknown layout.
    """
    root = Path(root)
    if layout not in ("auto", *LAYOUTS):
        near = get_close_matches(layout, LAYOUTS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise SettingsError(f"layout {shown(layout)!r} is not known; {hint}allowed are auto, {', '.join(LAYOUTS)}")
    layout = detect_layout(root) if layout == "auto" else layout
    if layout != "elpv" and not root.exists():
        raise DataError(f"{shown(root)}: there is no such folder or table; give the folder that holds good/ and bad/")
    samples = sorted(LAYOUTS[layout][1](root), key=lambda sample: sample.id)
    _check(samples, root, layout, good_needed)
    return samples


def detect_layout(root: Path) -> str:
    """The layout's name, recognised from the names of folders and files alone."""
    root = Path(root)
    if not root.exists():
        if root.as_posix() == "elpv":
            return "elpv"
        raise DataError(f"{shown(root)}: there is no such folder or table; give the folder that holds good/ and bad/")
    if not root.is_dir() and root.suffix.lower() not in tables.SUFFIXES:
        raise DataError(f"{shown(root)}: is a single file; give a folder that holds good/ and bad/, or a CSV table")
    unreadable = None  # a table, which beside good/ and bad/ may be notes
    for layout, (recognises, _) in LAYOUTS.items():
        try:
            if recognises(root):
                return layout
        except DataError as error:
            unreadable = error
    raise unreadable or DataError(
        f"{shown(root)}: {_held(root)}, which is no layout known here; "
        f"put good pictures into good/ and bad ones into bad/, or give one of: {EXPECTED}"
    )


def _held(root: Path) -> str:
    """What lies directly in a folder, for a person who expected a layout there."""
    if not root.is_dir():
        return "holds no columns path and label"
    inside = ("folder", "/", folders_in(root)), ("file", "", pictures_in(root))
    held = []
    for what, end, paths in inside:
        some = ", ".join(f"{shown(path.name)}{end}" for path in paths[:5]) + ", …" * (len(paths) > 5)
        held += [f"{amount(len(paths), what)} ({some})"] if paths else []
    return f"holds {' and '.join(held) or 'neither folders nor pictures'}"


def _check(samples: list[Sample], root: Path, layout: str, good_needed: bool) -> None:
    """Raise DataError unless there are samples, good ones where asked for, each id once."""
    if not samples:
        raise DataError(f"{shown(root)}: holds no pictures when read as layout {layout}; needed is one of: {EXPECTED}")
    if good_needed and all(sample.label for sample in samples):
        held = f"{amount(len(samples), 'bad picture')} and no good ones, read as layout {layout}"
        raise DataError(f"{shown(root)}: holds {held}; good ones are needed: put good pictures into good/")
    twice = [name for name, count in Counter(sample.id for sample in samples).items() if count > 1]
    if twice:
        raise DataError(f"{shown(root)}: {shown(twice[0])} is listed twice; list each picture once")
