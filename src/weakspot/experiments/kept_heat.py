"""The heat of a training's first bad pictures, kept beside a record: what figures of heat are drawn from."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from weakspot.data.reading import read_image, read_mask
from weakspot.data.samples import Sample
from weakspot.durable import make_folder, write_durably
from weakspot.evaluation.pictures import as_8_bit
from weakspot.runs import Run
from weakspot.settings import TrainSettings

KEPT_SIDE = 400  # pixels of the longer side of a picture that stands beside its heat


def keep_heat_maps(run: Run, trained: Sequence[Sample], settings: TrainSettings, folder: Path) -> None:
    """The heat of the first bad pictures through the training, beside them and their masks."""
    make_folder(folder)
    heat = sorted(run.heat_maps.glob("bad-*.png")) if run.heat_maps.exists() else []
    for picture in heat:
        write_durably(folder / picture.name, picture.read_bytes())
    for number in sorted({int(picture.name.split("-")[1]) for picture in heat}):
        pixels = as_8_bit(read_image(trained[number].path, settings.read).pixels)
        layers = {"picture": pixels}
        if mask := trained[number].mask:
            layers["mask"] = read_mask(mask, *pixels.shape[:2]).astype(np.uint8) * 255
        for name, layer in layers.items():
            content = BytesIO()
            small = Image.fromarray(layer)
            small.thumbnail((KEPT_SIDE, KEPT_SIDE))
            small.save(content, "PNG")
            write_durably(folder / f"bad-{number}-{name}.png", content.getvalue())
