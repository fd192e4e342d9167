"""Layouts of published data sets as their authors ship them: KolektorSDD and its second, magnetic tiles, DAGM, ELPV."""

import importlib.util
import re
from pathlib import Path

from weakspot.data.reading import read_mask
from weakspot.data.samples import Sample, child, folders_in, pictures_in, relative_id
from weakspot.errors import DataError, shown

MASK_SUFFIXES = (".bmp", ".png", ".tif", ".tiff", ".PNG", ".BMP")
KOLEKTOR_ITEM, KOLEKTOR_PART = re.compile(r"kos\d+"), re.compile(r"Part\d+")
TILE_NAME = re.compile(r"exp(\d+)_num_(\d+)")
# Magnetic tiles: of pictures up to 200 capture numbers apart, 30 to 60 % look alike; from 200 to 300, 5 to 8 %; beyond,
# as few as at any distance.
TILE_GAP = 300


def is_kolektorsdd(root: Path) -> bool:
    """kos01/, kos02/ …"""
    return root.is_dir() and any(KOLEKTOR_ITEM.fullmatch(path.name) for path in folders_in(root))


def read_kolektorsdd(root: Path) -> list[Sample]:
    """kosNN/PartN.jpg with PartN_label.bmp or .png; the group is the item.

    Bad is what has a mask that marks anything, as the published protocol has it.
    """
    items = [item for item in folders_in(root) if KOLEKTOR_ITEM.fullmatch(item.name)]
    pictures = [(path, item) for item in items for path in pictures_in(item) if KOLEKTOR_PART.fullmatch(path.stem)]
    return [_labelled_by_mask(path, "_label", group=item.name, root=root) for path, item in pictures]


def is_kolektorsdd2(root: Path) -> bool:
    """train/ or test/ with pictures beside their _GT masks."""
    parts = [folder for folder in (child(root, "train"), child(root, "test")) if folder] if root.is_dir() else []
    return any(path.stem.endswith("_GT") for folder in parts for path in pictures_in(folder)[:50])


def read_kolektorsdd2(root: Path) -> list[Sample]:
    """train/ and test/ with NNNNN.png and NNNNN_GT.png; each picture is its own group, for no parts are known.

    Bad is what has a mask that marks anything.
    """
    folders = [(part, folder) for part in ("train", "test") if (folder := child(root, part))]
    pictures = [(path, part) for part, folder in folders for path in pictures_in(folder) if path.stem[-3:] != "_GT"]
    return [_labelled_by_mask(path, "_GT", relative_id(path, root), root, part) for path, part in pictures]


def is_magnetic_tile(root: Path) -> bool:
    """MT_Free/, MT_Crack/ …"""
    return root.is_dir() and any(path.name.startswith("MT_") for path in folders_in(root))


def read_magnetic_tile(root: Path) -> list[Sample]:
    """MT_KIND/Imgs/expE_num_T.jpg, masks of the same stem as .png; MT_Free is good.

    group: pictures whose capture numbers T follow each other by at most 300, whatever their kind, for these can be one
    tile in several exposures. A tile that was photographed again later is found by the audit, which joins the groups.
    """
    captures: list[tuple[int, Path, Path]] = []
    for folder in folders_in(root):
        inside = child(folder, "Imgs") if folder.name.startswith("MT_") else None
        for path in pictures_in(inside) if inside else []:
            match = TILE_NAME.fullmatch(path.stem)
            if match and path.suffix.lower() != ".png":
                captures.append((int(match[2]), path, folder))
    samples, group, before = [], "", -TILE_GAP - 1
    for time, path, folder in sorted(captures):
        group = f"from {time}" if time - before > TILE_GAP else group
        before, good = time, folder.name == "MT_Free"
        mask, kind = (None, "") if good else (_beside(path, ""), folder.name[3:])
        samples.append(Sample(path=path, label=int(not good), group=group, mask=mask, kind=kind, root=root))
    return samples


def is_dagm(root: Path) -> bool:
    """Train/ and Test/ with Label/ inside; or a folder of such classes."""
    return root.is_dir() and (_is_dagm_class(root) or any(_is_dagm_class(path) for path in folders_in(root)))


def read_dagm(root: Path) -> list[Sample]:
    """One class: Train/0001.PNG, Train/Label/0001_label.PNG for bad ones, the same under Test/.

    Each picture is its own group.
    """
    classes = [root] if _is_dagm_class(root) else [path for path in folders_in(root) if _is_dagm_class(path)]
    if len(classes) != 1:
        names = ", ".join(shown(path.name) for path in classes[:10])
        several = f"{len(classes)} classes ({names}), each a texture of its own"
        raise DataError(f"{shown(root)}: {several}; give one class's folder")
    samples = []
    for part in ("train", "test"):
        folder = child(classes[0], part)
        labels = child(folder, "Label") if folder else None
        for path in pictures_in(folder) if folder else []:
            mask, group = _beside((labels or path.parent) / path.name, "_label"), relative_id(path, classes[0])
            label = int(mask is not None)
            samples.append(Sample(path=path, label=label, group=group, mask=mask, part=part, root=classes[0]))
    return samples


def is_elpv(root: Path) -> bool:
    """labels.csv beside images/, or the package's folder that holds them in data/."""
    return _elpv_data(root) is not None


def read_elpv(root: Path) -> list[Sample]:
    """Monocrystalline solar cells of the package elpv-dataset, of probability 0 (good) and 1 (bad).

    The word "elpv" finds the installed package. The 44 modules that the cells come from are not known; each cell is
    its own group.
    """
    asked = root.as_posix() == "elpv"
    data = _elpv_data(root) or (_elpv_package() if asked else None)
    if data is None:
        missing = "the package elpv-dataset is not installed" if asked else "no labels.csv beside images/"
        way_out = "get the pictures by: pip install 'weakspot[demo]', and give the word elpv"
        raise DataError(f"{shown(root)}: {missing}; {way_out}")
    table, samples = data / "labels.csv", []
    for number, line in enumerate(table.read_text(encoding="utf-8-sig").splitlines(), start=1):
        fields = line.split()
        if len(fields) != 3:
            what = f"line {number} has {len(fields)} fields"
            raise DataError(f"{shown(table)}: {what}; needed are path, probability and type")
        name, probability, kind = fields
        if kind == "mono" and probability in ("0.0", "1.0"):
            label = int(probability == "1.0")
            samples.append(Sample(path=data / name, label=label, group=Path(name).stem, root=data))
    return samples


def _labelled_by_mask(path: Path, ending: str, group: str, root: Path, part: str | None = None) -> Sample:
    mask = _beside(path, ending)
    if mask is None:
        missing = f"its mask {shown(path.stem)}{ending} is missing beside it, and with it the label"
        raise DataError(f"{shown(path)}: {missing}; complete the data set")
    return Sample(path=path, label=int(read_mask(mask).any()), group=group, mask=mask, part=part, root=root)


def _beside(path: Path, ending: str) -> Path | None:
    candidates = (path.with_name(f"{path.stem}{ending}{suffix}") for suffix in MASK_SUFFIXES)
    return next((mask for mask in candidates if mask != path and mask.is_file()), None)


def _is_dagm_class(root: Path) -> bool:
    return any(folder and child(folder, "Label") for folder in (child(root, "train"), child(root, "test")))


def _elpv_data(root: Path) -> Path | None:
    places = [data for data in (root, root / "data") if (data / "labels.csv").is_file()]
    return next((data for data in places if (data / "images").is_dir()), None)


def _elpv_package() -> Path | None:
    package = importlib.util.find_spec("elpv_dataset")
    places = package.submodule_search_locations if package else None
    return _elpv_data(Path(next(iter(places)))) if places else None
