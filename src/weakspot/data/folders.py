"""Layouts that are told by folders: good/ and bad/ with their synonyms, and MVTec's."""

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from weakspot.data.labels import UNCLEAR, label_of, place_of_label, plain
from weakspot.data.samples import Sample, child, files_under, folders_in, pictures_in, relative_id
from weakspot.errors import DataError, amount, shown

log = logging.getLogger(__name__)
PARTS = {
    "train": "train",
    "training": "train",
    "val": "train",
    "valid": "train",
    "validation": "train",
} | dict.fromkeys(("test", "testing"), "test")
MASKS = frozenset(("masks", "mask", "groundtruth", "gt", "maske", "masken", "masque", "masques"))
MASK_ENDING = re.compile(
    r"[ _.-](mask|maske|masque|mascara|maschera|label|gt|groundtruth|ground_truth|seg|segmentation)$", re.IGNORECASE
)
GROUP_NAME = re.compile(r"(?:group|part)=(.+)", re.IGNORECASE | re.DOTALL)
Masks = dict[str, list[Path]]


def is_folder(root: Path) -> bool:
    """Whether a folder up to two levels down is named like good or bad."""
    if not root.is_dir():
        return False
    first = folders_in(root)
    return any(label_of(path.name) is not None or plain(path.name) in UNCLEAR for path in first) or any(
        label_of(path.name) is not None for folder in first for path in folders_in(folder)
    )


def read_folder(root: Path) -> list[Sample]:
    """good/ and bad/ (or synonyms) anywhere below `root`, optionally inside train/ and test/; optional masks/ with the
    pictures' stems.

    A sub-folder of bad/ names the kind of defect; one named group=NAME, or part=NAME, the physical part; without it
    each picture is its own group.
    """
    folders_of = {path: path.relative_to(root).parts[:-1] for path in files_under(root)}
    masks = _by_stem([path for path, words in folders_of.items() if any(plain(word) in MASKS for word in words)])
    in_masks = {path for paths in masks.values() for path in paths}
    pictures, beside = _masks_beside([path for path in folders_of if path not in in_masks])
    samples, unlabelled = [], []
    for path in pictures:
        depth = place_of_label(folders_of[path], path)
        if depth is None:
            unlabelled.append(path)
        else:
            samples.append(_sample(root, path, folders_of[path], depth, beside, masks))
    _refuse_empty(root, samples, unlabelled)
    if unlabelled:
        amounts = f"{amount(len(unlabelled), 'picture')} in neither good/ nor bad/ left out"
        log.warning("%s: %s, such as %s", shown(root), amounts, shown(unlabelled[0]))
    _check_masks(masks, samples)
    return samples


def is_mvtec(root: Path) -> bool:
    """train/ with good/ and nothing else, and test/ with folders; or a folder of such categories."""
    if not root.is_dir():
        return False
    return _is_category(root) or any(_is_category(path) for path in folders_in(root))


def read_mvtec(root: Path) -> list[Sample]:
    """One category: train/good, test/good, test/DEFECT, ground_truth/DEFECT/STEM_mask.png."""
    categories = [root] if _is_category(root) else [path for path in folders_in(root) if _is_category(path)]
    if not categories:
        needed = "train/ with good/ alone, and test/ with good/ and a folder for each kind of defect"
        raise DataError(f"{shown(root)}: holds no category; needed are {needed}")
    if len(categories) > 1:
        names = ", ".join(shown(path.name) for path in categories[:5])
        held = f"holds {len(categories)} categories ({names}), each a product of its own"
        raise DataError(f"{shown(root)}: {held}; give one category's folder")
    folders = [(part, folder) for part in ("train", "test") for folder in folders_in(categories[0] / part)]
    return [sample for part, folder in folders for sample in _mvtec_samples(categories[0], part, folder)]


def _mvtec_samples(category: Path, part: str, folder: Path) -> Iterator[Sample]:
    label, truth = int(label_of(folder.name) != 0), category / "ground_truth" / folder.name
    masks = _by_stem(pictures_in(truth)) if label and truth.is_dir() else {}
    pictures, beside = _masks_beside(files_under(folder))
    for path in pictures:
        place_of_label(["bad" if label else "good", *path.relative_to(folder).parts[:-1]], path)  # no contradiction
        mask = beside.get(path) or next(iter(masks.get(path.stem, [])), None)
        yield Sample(
            path=path, label=label, group=relative_id(path, category), mask=mask if label else None, part=part,
            kind=folder.name if label else "", root=category,
        )  # fmt: skip


def _is_category(root: Path) -> bool:
    train, test = child(root, "train"), child(root, "test")
    if train is None or test is None:
        return False
    inside = [label_of(path.name) for path in folders_in(train)]
    return inside == [0] and bool(folders_in(test))


def _sample(
    root: Path, path: Path, words: tuple[str, ...], depth: int, beside: dict[Path, Path], masks: Masks
) -> Sample:
    label = label_of(words[depth])
    named_kind = label is None  # a folder such as crack/, without bad/ around it
    part = next((PARTS[plain(word)] for word in words[:depth] if plain(word) in PARTS), None)
    named = [match for word in words if (match := GROUP_NAME.fullmatch(word))]
    group = named[-1][1] if named else relative_id(path, root)
    if label == 0:  # a good picture has nothing to mark, and may share its name with a bad one
        return Sample(path=path, label=0, group=group, part=part, root=root)
    kind = "/".join(word for word in words[depth + (not named_kind) :] if not GROUP_NAME.fullmatch(word))
    mask = beside.get(path) or _mask_of(path, words, masks)
    return Sample(path=path, label=1, group=group, mask=mask, part=part, kind=kind, root=root)


def _masks_beside(paths: list[Path]) -> tuple[list[Path], dict[Path, Path]]:
    """The pictures among the files, and each one's mask: a file beside it named like it, with an ending such as
    _mask, _maske or _gt."""
    pictures = {(path.parent, path.stem): path for path in paths}
    beside: dict[Path, Path] = {}
    for path in paths:
        of = pictures.get((path.parent, MASK_ENDING.sub("", path.stem)))
        if of is None or not MASK_ENDING.search(path.stem):
            continue
        if of in beside:
            raise DataError(f"{shown(of)}: two masks lie beside it, {shown(path.name)} is one; keep one")
        beside[of] = path
    if beside:
        example = shown(next(iter(beside.values())))
        log.warning(
            "%s beside pictures taken for masks, not for parts, such as %s", amount(len(beside), "file"), example
        )
    masks = set(beside.values())
    return [path for path in paths if path not in masks], beside


def _by_stem(paths: list[Path]) -> Masks:
    by_stem = defaultdict(list)
    for path in paths:
        by_stem[MASK_ENDING.sub("", path.stem)].append(path)
    return dict(by_stem)


def _mask_of(path: Path, words: tuple[str, ...], masks: Masks) -> Path | None:
    """The mask of the picture's stem; of several, the one whose folders have most in common with the picture's."""
    candidates = masks.get(path.stem, [])
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    shared = [len({*words} & {*mask.parts}) for mask in candidates]
    best = max(shared)
    if shared.count(best) > 1:
        several = f"{shared.count(best)} masks have its name, such as {shown(candidates[0])}"
        raise DataError(f"{shown(path)}: {several}; put masks into sub-folders named like the pictures'")
    return candidates[shared.index(best)]


def _refuse_empty(root: Path, samples: list[Sample], unlabelled: list[Path]) -> None:
    """An empty good/ is a mistake worth naming; an empty bad/ is mentioned, for there may be no bad pictures.

    Refused are words, too, that mean opposite things to different people, and pictures elsewhere that may be the bad
    ones where no folder is called bad.
    """
    empty: dict[int | None, list[Path]] = defaultdict(list)
    for folder in folders_in(root):
        if not any(sample.path.is_relative_to(folder) for sample in samples):
            empty[label_of(folder.name)].append(folder)
        if plain(folder.name) in UNCLEAR and not samples:
            unclear = f"{shown(folder.name)!r} may mean good or bad"
            raise DataError(f"{shown(folder)}: {unclear}; rename such folders to good/ and bad/")
    for folder in empty[0]:
        raise DataError(f"{shown(folder)}: the folder holds no pictures; put good ones there")
    if unlabelled and not empty[1] and not any(sample.label for sample in samples):
        found = f"no bad pictures, and {amount(len(unlabelled), 'picture')} in neither good/ nor bad/"
        raise DataError(f"{shown(root)}: {found}, such as {shown(unlabelled[0])}; put bad ones into bad/, or move them")
    for folder in empty[1]:
        log.warning("%s: the folder holds no pictures; if there are bad ones, put them there", shown(folder))


def _check_masks(masks: Masks, samples: list[Sample]) -> None:
    """One mask for two pictures is a wrong pairing and refused; a mask without a picture is mentioned."""
    used = [sample.mask for sample in samples if sample.mask]
    twice = next((mask for mask, count in Counter(used).items() if count > 1), None)
    if twice:
        wrong = "this mask has the name of more than one picture"
        raise DataError(f"{shown(twice)}: {wrong}; put masks into sub-folders named like the pictures'")
    unused = sorted({path for paths in masks.values() for path in paths} - set(used))
    if unused:
        log.warning("%s with no bad picture's name left out, such as %s", amount(len(unused), "mask"), shown(unused[0]))
