"""The heat of a training's first bad pictures, kept beside a record: what figures of heat are drawn from."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from weakspot.data.reading import read_image, read_mask
from weakspot.data.samples import Sample
from weakspot.durable import make_folder, write_durably
from weakspot.runs import Run
from weakspot.settings import TrainSettings

KEPT_SIDE = 400  # pixels of the longer side of a mask that is outlined in heat


def keep_heat_maps(run: Run, trained: Sequence[Sample], settings: TrainSettings, folder: Path) -> None:
    """The heat of the first bad pictures through the training, beside their masks.

    The pictures themselves are not kept: figures are shown to others, and most data sets may not be handed on.
    """
    make_folder(folder)
    heat = sorted(run.heat_maps.glob("bad-*.png")) if run.heat_maps.exists() else []
    for picture in heat:
        write_durably(folder / picture.name, picture.read_bytes())
    for number in sorted({int(picture.name.split("-")[1]) for picture in heat}):
        if mask := trained[number].mask:
            height, width = read_image(trained[number].path, settings.read).pixels.shape[:2]
            small = Image.fromarray(read_mask(mask, height, width).astype(np.uint8) * 255)
            small.thumbnail((KEPT_SIDE, KEPT_SIDE))
            content = BytesIO()
            small.save(content, "PNG")
            write_durably(folder / f"bad-{number}-mask.png", content.getvalue())
