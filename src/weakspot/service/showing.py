"""Kept inspections as pictures for people. Only pixels leave: what was sent is decoded and written anew."""

import io
import json
import math
from typing import Any

import numpy as np
from PIL import Image
from sqlalchemy import Row

from weakspot.data.reading import fit_image
from weakspot.errors import ImageError
from weakspot.evaluation.pictures import heat_png
from weakspot.inspection.inspection import HeatMap, ImageInfo, Inspection, ModelInfo
from weakspot.inspection.overlay import TURBO, overlay_png
from weakspot.service import records
from weakspot.service.parts import Parts
from weakspot.service.problems import Problem, missing

THUMBNAIL = 320  # pixels


def found(parts: Parts, inspection: str) -> Row[Any]:
    """The inspection of that id. Raises Problem where there is none."""
    row = parts.store.read(lambda c: records.find(c, inspection))
    if row is None:
        raise missing("inspection")
    return row


def heat_of(parts: Parts, inspection: str) -> bytes:
    """The heat of an inspection as a 16-bit PNG, a pixel a cell. Raises Problem where there is none."""
    png = parts.store.read(lambda c: records.heat_map_of(c, inspection))
    if png is None:
        raise missing("heat map")
    return png


def heat_in_colour(parts: Parts, inspection: str) -> bytes:
    """The same in colours from 0 to 1, never stretched."""
    return _png(TURBO[(_heat(heat_of(parts, inspection)) * 255).round().astype(np.uint8)])


def heat_as_layer(parts: Parts, inspection: str) -> bytes:
    """The same, transparent where it is cold, to be laid over the picture."""
    return heat_png(_heat(heat_of(parts, inspection)))


def overlay(parts: Parts, inspection: str) -> bytes:
    """The picture with its heat over it, PNG. Raises Problem where either is not there any more."""
    row = found(parts, inspection)
    answer, heat = json.loads(row.answer), _heat(heat_of(parts, inspection))
    image, model = ImageInfo(**answer["image"]), ModelInfo(**answer["model"])
    scores = {name: answer[name] for name in ("decision", "defect_score", "raw_score", "bad_from", "good_below")}
    entry = Inspection(image=image, model=model, heat_map=heat, heat_score=math.nan, **scores)  # which is not kept
    with parts.viewer.place():
        return overlay_png(_pixels(parts, row), entry)


def picture(parts: Parts, inspection: str) -> bytes:
    """The picture in 8 bits, PNG. Raises Problem where it was removed or could not be read."""
    with parts.viewer.place():
        return _png(_in_8_bits(_pixels(parts, found(parts, inspection))))


def thumbnail(parts: Parts, inspection: str) -> bytes:
    """The same, at most THUMBNAIL pixels a side."""
    with parts.viewer.place():
        small = Image.fromarray(_in_8_bits(_pixels(parts, found(parts, inspection))))
        small.thumbnail((THUMBNAIL, THUMBNAIL))
        return _png(np.asarray(small))


def _in_8_bits(pixels: np.ndarray) -> np.ndarray:
    channels = 1 if pixels.ndim == 2 else 3
    height, width = pixels.shape[:2]
    fitted = fit_image(pixels, (height, width), channels, 8)
    return np.ascontiguousarray(fitted[0] if channels == 1 else fitted.transpose(1, 2, 0))


def _pixels(parts: Parts, row: Row[Any]) -> np.ndarray:
    """In a place of the viewer: what is decoded is large until it is made into what leaves."""
    content = parts.pictures.get(row.picture_sha256)
    if content is None:
        raise _gone(parts, row.picture_sha256)
    try:
        return parts.viewer.decode(content, parts.detectors.read_settings(row.model_sha256)).pixels
    except ImageError as error:
        raise Problem(404, "no-pixels", str(error)) from None


def _gone(parts: Parts, picture: str) -> Problem:
    if not parts.store.read(lambda c: records.is_kept(c, picture)):
        return Problem(410, "removed", "the picture was removed by the service's limit of age or size")
    return Problem(410, "lost", "the picture's file is lost or damaged; its answer stays; the log says where it lay")


def _heat(png: bytes) -> HeatMap:
    return np.asarray(Image.open(io.BytesIO(png)), np.float32) / np.float32(65535)


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG", compress_level=1)
    return file.getvalue()
