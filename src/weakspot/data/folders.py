"""Layouts that are told by folders: good/ and bad/ with their synonyms, and MVTec's."""

import logging
import re
from collections import Counter, defaultdict
from pathlib import Path

from weakspot.data.samples import Sample, child, files_under, folders_in, pictures_in, relative_id
from weakspot.errors import DataError, amount, shown

log = logging.getLogger(__name__)
GOOD = frozenset(
    "good ok okay normal pass passed io accept accepted intact nodefect nodefects defectfree nondefective undamaged".split()
)
BAD = frozenset(
    "bad ng nok notok ko nogood notgood abnormal anomaly anomalies anomalous defect defects defective fail failed faulty nio reject rejected "
    "damaged".split()
)
UNCLEAR = frozenset(("positive", "negative", "pos", "neg", "0", "1"))
PARTS = {
    "train": "train",
    "training": "train",
    "val": "train",
    "valid": "train",
    "validation": "train",
    "test": "test",
    "testing": "test",
}
MASKS = frozenset(("masks", "mask", "groundtruth", "gt"))
MASK_ENDING = re.compile(r"[ _.-](mask|label|gt)$", re.IGNORECASE)
GROUP_NAME = re.compile(r"(?:group|part)=(.+)", re.IGNORECASE | re.DOTALL)
Masks = dict[str, list[Path]]


def label_of(word: str) -> int | None:
    """1 for a word that means bad, 0 for one that means good, whatever its case and separators; None for any other."""
    plain = _plain(word)
    return 0 if plain in GOOD else 1 if plain in BAD else None


def is_folder(root: Path) -> bool:
    """Whether a folder up to two levels down is named like good or bad."""
    if not root.is_dir():
        return False
    first = folders_in(root)
    return any(label_of(path.name) is not None or _plain(path.name) in UNCLEAR for path in first) or any(
        label_of(path.name) is not None for folder in first for path in folders_in(folder)
    )


def read_folder(root: Path) -> list[Sample]:
    """good/ and bad/ (or synonyms) anywhere below `root`, optionally inside train/ and test/; optional masks/ with the
    pictures' stems.

    A sub-folder of bad/ names the kind of defect; one named group=NAME, or part=NAME, the physical part; without it
    each picture is its own group.
    """
    masks, samples, unlabelled = _masks(root), [], []
    for path in files_under(root):
        words = path.relative_to(root).parts[:-1]
        if any(_plain(word) in MASKS for word in words):
            continue
        labels = [(depth, label_of(word)) for depth, word in enumerate(words) if label_of(word) is not None]
        if labels:
            samples.append(_sample(root, path, words, labels[0][0], masks))
        else:
            unlabelled.append(path)
    _refuse_empty(root, samples)
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
        raise DataError(
            f"{shown(root)}: holds no category; needed are train/ with good/ alone, and test/ with good/ and a folder for each kind of defect"
        )
    if len(categories) > 1:
        names = ", ".join(shown(path.name) for path in categories[:5])
        raise DataError(
            f"{shown(root)}: holds {len(categories)} categories ({names}), each a product of its own; give one category's folder"
        )
    category, samples = categories[0], []
    for part in ("train", "test"):
        for folder in folders_in(category / part):
            label = 0 if label_of(folder.name) == 0 else 1
            truth = category / "ground_truth" / folder.name
            masks = _by_stem(pictures_in(truth)) if label and truth.is_dir() else {}
            for path in files_under(folder):
                mask = next(iter(masks.get(path.stem, [])), None)
                group = relative_id(path, category)
                samples.append(
                    Sample(
                        path=path,
                        label=label,
                        group=group,
                        mask=mask,
                        part=part,
                        kind=folder.name if label else "",
                        root=category,
                    )
                )
    return samples


def _is_category(root: Path) -> bool:
    train, test = child(root, "train"), child(root, "test")
    if train is None or test is None:
        return False
    inside = [label_of(path.name) for path in folders_in(train)]
    return inside == [0] and bool(folders_in(test))


def _sample(root: Path, path: Path, words: tuple[str, ...], depth: int, masks: Masks) -> Sample:
    label = label_of(words[depth])
    assert label is not None
    part = next((PARTS[_plain(word)] for word in words[:depth] if _plain(word) in PARTS), None)
    named = [match for word in words if (match := GROUP_NAME.fullmatch(word))]
    group = named[-1][1] if named else relative_id(path, root)
    kind = "/".join(word for word in words[depth + 1 :] if not GROUP_NAME.fullmatch(word)) if label else ""
    mask = (
        _mask_of(path, words, masks) if label else None
    )  # a good picture has nothing to mark, and may share its name with a bad one
    return Sample(path=path, label=label, group=group, mask=mask, part=part, kind=kind, root=root)


def _masks(root: Path) -> Masks:
    """Masks anywhere below a folder named masks/ (or ground_truth/), by stem."""
    found = [
        path for path in files_under(root) if any(_plain(word) in MASKS for word in path.relative_to(root).parts[:-1])
    ]
    return _by_stem(found)


def _by_stem(paths: list[Path]) -> Masks:
    by_stem = defaultdict(list)
    for path in paths:
        by_stem[MASK_ENDING.sub("", path.stem)].append(path)
    return dict(by_stem)


def _mask_of(path: Path, words: tuple[str, ...], masks: Masks) -> Path | None:
    """The mask of the picture's stem; of several, the one whose folders have most in common with the picture's."""
    found = masks.get(path.stem, [])
    if len(found) < 2:
        return found[0] if found else None
    shared = [len({*words} & {*mask.parts}) for mask in found]
    best = max(shared)
    if shared.count(best) > 1:
        several = f"{shared.count(best)} masks have its name, such as {shown(found[0])}"
        raise DataError(f"{shown(path)}: {several}; put masks into sub-folders named like the pictures'")
    return found[shared.index(best)]


def _refuse_empty(root: Path, samples: list[Sample]) -> None:
    """An empty good/ or bad/ is a mistake worth naming; so are words that mean opposite things to different people."""
    for folder in folders_in(root):
        if label_of(folder.name) is not None and not any(sample.path.is_relative_to(folder) for sample in samples):
            raise DataError(
                f"{shown(folder)}: the folder holds no pictures; put {'bad' if label_of(folder.name) else 'good'} ones there"
            )
        if _plain(folder.name) in UNCLEAR and not samples:
            raise DataError(
                f"{shown(folder)}: {shown(folder.name)!r} may mean good or bad; rename such folders to good/ and bad/"
            )


def _check_masks(masks: Masks, samples: list[Sample]) -> None:
    """One mask for two pictures is a wrong pairing and refused; a mask without a picture is mentioned."""
    used = [sample.mask for sample in samples if sample.mask]
    twice = next((mask for mask, count in Counter(used).items() if count > 1), None)
    if twice:
        raise DataError(
            f"{shown(twice)}: this mask has the name of more than one picture; put masks into sub-folders named like the pictures'"
        )
    unused = sorted({path for paths in masks.values() for path in paths} - set(used))
    if unused:
        log.warning("%s with no bad picture's name left out, such as %s", amount(len(unused), "mask"), shown(unused[0]))


def _plain(word: str) -> str:
    return re.sub(r"[ _.\-]", "", word.casefold())
