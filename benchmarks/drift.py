"""How often a good picture of a part that was not trained on is called unlike the training's, and how often one that
has really changed is: by the figures of `weakspot.inspection.drift`, which need no trained detector.

    python benchmarks/drift.py ../shared/data -o results/drift.json

Three folds by part each; in KolektorSDD the parts that are there twice (docs: results/README.md) count as one.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from weakspot.data.layouts import read_layout
from weakspot.data.reading import fit_image, read_image
from weakspot.data.splits import fold_numbers
from weakspot.inspection.drift import FEWEST_TOGETHER, changes, figures, unlike, usual_of
from weakspot.provenance import commit
from weakspot.settings import ReadSettings

SIZES = {"KolektorSDD": (528, 192), "magnetic_tile": (192, 192), "elpv": (152, 152), "casting": (120, 120)}
TWINS = {"kos26": "kos01", "kos34": "kos27", "kos39": "kos38"}


def blurred(image: np.ndarray) -> np.ndarray:
    """As by a lens out of focus: Gaussian, 2 pixels at the detector's size."""
    return np.asarray(Image.fromarray(image[0]).filter(ImageFilter.GaussianBlur(2)))[None]


def over_exposed(image: np.ndarray) -> np.ndarray:
    """Light times 1.6, cut at white."""
    return np.clip(image.astype(float) * 1.6, 0, 255).astype(np.uint8)


def shifted(image: np.ndarray) -> np.ndarray:
    """By a fifth of the width and height, over the mirrored border."""
    down, right = (side // 5 for side in image.shape[1:])
    return np.pad(image, ((0, 0), (down, 0), (right, 0)), "reflect")[:, :-down, :-right]


def turned(image: np.ndarray) -> np.ndarray:
    """By a half turn, which keeps the proportions."""
    return image[:, ::-1, ::-1]


CHANGED = {"blurred": blurred, "over-exposed": over_exposed, "shifted": shifted, "turned": turned}


def good_pictures(root: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(n, 1, h, w) and the fold of each."""
    samples = read_layout(Path("elpv") if name == "elpv" else root / name)
    labels, groups = np.array([s.label for s in samples]), [TWINS.get(s.group, s.group) for s in samples]
    folds = fold_numbers(labels, groups, 3, 0)
    fit = "stretch" if name == "KolektorSDD" else "keep"
    good = np.flatnonzero(labels == 0)
    images = [fit_image(read_image(samples[i].path, ReadSettings()).pixels, SIZES[name], 1, 8, fit) for i in good]
    return np.stack(images), folds[good]


def shares(pictures: np.ndarray, folds: np.ndarray, others: np.ndarray) -> dict[str, list[int]]:
    """[called unlike, of] over the folds: of unchanged, changed and foreign pictures."""
    counts = {name: [0, 0] for name in ("unchanged", *CHANGED, "wrong product", "streams unchanged", "streams blurred")}
    for fold in range(3):
        usual = usual_of(pictures[folds != fold])
        layout, test = np.array(usual.layout), pictures[folds == fold]
        kinds = {"unchanged": test, "wrong product": others}
        kinds |= {name: np.stack([change(image) for image in test]) for name, change in CHANGED.items()}
        rows = {name: [figures(image, layout) for image in images] for name, images in kinds.items()}
        for name, found in rows.items():
            counts[name][0] += sum(bool(unlike(row, usual)) for row in found)
            counts[name][1] += len(found)
        for stream in ("unchanged", "blurred"):
            for start in range(0, len(test) - FEWEST_TOGETHER + 1, FEWEST_TOGETHER):
                counts[f"streams {stream}"][0] += bool(changes(rows[stream][start : start + FEWEST_TOGETHER], usual))
                counts[f"streams {stream}"][1] += 1
    return counts


COLUMNS = {
    "unchanged": "unchanged",
    "blurred": "blurred (2 pixels)",
    "over-exposed": "over-exposed (× 1.6)",
    "shifted": "shifted by a fifth",
    "turned": "turned by half",
    "wrong product": "another product",
    "streams unchanged": "30 in a row, unchanged",
    "streams blurred": "30 in a row, blurred",
}


def table(record: dict[str, dict[str, dict[str, list[int]]]]) -> str:
    """The record as docs/drift.md has it: called unlike, of how many."""
    rows = [["data", *COLUMNS.values()], ["---"] * (1 + len(COLUMNS))]
    for name, counts in record["called_unlike_of"].items():
        size = " × ".join(map(str, SIZES[name]))
        rows.append([f"{name}, {size}", *("{} of {}".format(*counts[column]) for column in COLUMNS)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    known = {name: good_pictures(given.data, name) for name in SIZES}
    names, found = list(SIZES), {}
    for place, name in enumerate(names):
        foreign = names[(place + 1) % len(names)]
        others = [fit_image(np.ascontiguousarray(image[0]), SIZES[name], 1, 8) for image in known[foreign][0][:100]]
        found[name] = {"foreign": foreign, **shares(*known[name], np.stack(others))}
        print(name, found[name], flush=True)
    record = {"commit": commit(), "called_unlike_of": found}
    given.output.write_text(json.dumps(record, indent=1) + "\n")
    print(table(record))


if __name__ == "__main__":
    main()
