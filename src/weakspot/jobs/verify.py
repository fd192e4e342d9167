"""Whether runtimes answer alike on pictures: each beside torch, or beside the first of them where torch is missing."""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weakspot.data.layouts import detect_layout, read_layout
from weakspot.errors import DataError, ImageError, WeakspotError, shown
from weakspot.inspection.fastest import open_fastest
from weakspot.inspection.inspection import Thresholds, decide
from weakspot.inspection.loaded import LoadedDetector
from weakspot.inspection.model_file import ModelFile
from weakspot.inspection.processor import usable_cores
from weakspot.inspection.runtimes import Answer, Runtime, offers_bf16, present_runtimes
from weakspot.inspection.sources import find_images
from weakspot.inspection.tiling import open_first

LEAST_HEAT = 1e-3  # of a map's hottest cell; darker maps are compared as if it were this


@dataclass
class Compared:
    """One runtime's answers beside the reference's.

    raw_score, heat_map: largest differences, of the score relative where it exceeds 1, of heat by the map's hottest
    cell; changed: the pictures that it decides otherwise; problem: why it has no answer.
    """

    runtime: str
    precision: str
    raw_score: float = 0.0
    heat_map: float = 0.0
    changed: list[str] = field(default_factory=list)
    problem: str = ""
    ok: bool = True


@dataclass
class Parity:
    """What came of it. images: how many were compared; refused: why others were not."""

    reference: str
    images: int = 0
    runtimes: list[Compared] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether all pictures were compared, and every runtime may answer in the reference's place."""
        return bool(self.images and not self.refused and all(each.ok for each in self.runtimes))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        return {**asdict(self), "ok": self.ok}


def verify_on(
    detector: LoadedDetector,
    paths: Sequence[Path],
    threads: int | None = None,
    on_image: Callable[[int, int], object] = lambda *_: None,
) -> Parity:
    """Ask every runtime and precision of these files, folders or patterns of pictures; labels are not needed.

    Of a folder or table in one of the layouts its samples are meant, not its masks. fp32 may differ by the model file's
    tolerance; bf16, which is asked as inspection asks it, in no decision.
    """
    images = _pictures(paths)
    reference = open_reference(detector.model, threads or usable_cores())
    parity = Parity(f"{reference.name} {reference.precision}")
    opened = list(_opened(detector.model, threads, parity))
    for number, path in enumerate(images, start=1):
        try:
            image = detector.prepare(path).image[None]
        except ImageError as error:
            parity.refused.append(str(error))
            continue
        expected = reference.run(image)
        for runtime, compared in opened:
            _compare(compared, runtime, image, expected, detector, shown(path))
        parity.images += 1
        on_image(number, len(images))
    return parity


def _pictures(paths: Sequence[Path]) -> list[Path]:
    """All that are named, each once. Raises DataError where there are none."""
    found, plain = list[Path](), list[Path]()
    for path in paths:
        try:
            layout = detect_layout(path)
        except DataError:
            plain.append(path)
        else:
            found += [sample.path for sample in read_layout(path, layout, good_needed=False)]
    found += find_images(plain).images if plain or not found else []
    return list({os.path.abspath(path): path for path in found}.values())


def open_reference(model: ModelFile, threads: int) -> Runtime:
    """What runtimes are held against: torch, or the first of them where torch is missing."""
    if find_spec("torch") is None:
        return open_first(model, threads=threads)
    from weakspot.jobs.reference import TorchRuntime

    return TorchRuntime(model, threads)


def _opened(model: ModelFile, threads: int | None, parity: Parity) -> list[tuple[Runtime, Compared]]:
    """Every runtime and precision that inspection may take here; one that cannot be opened is told."""
    bf16 = offers_bf16() and model.manifest.bf16_margin is not None
    choices = [(name, "fp32") for name in present_runtimes()] + [("openvino", "bf16")] * bf16
    opened = []
    for name, precision in choices:
        compared = Compared(name, precision)
        parity.runtimes.append(compared)
        try:
            opened.append((open_fastest(model, name, threads, precision), compared))  # type: ignore[arg-type]
        except WeakspotError as error:
            compared.problem, compared.ok = str(error), False
    return opened


def _compare(
    compared: Compared,
    runtime: Runtime,
    image: NDArray[Any],
    expected: Answer,
    detector: LoadedDetector,
    name: str,
) -> None:
    """Add one picture's differences."""
    try:
        found = runtime.run(image)
        changed = _decision(found, detector.thresholds) != _decision(expected, detector.thresholds)
    except Exception as error:  # of any kind, as runtimes raise them, or a score that is no number
        compared.problem, compared.ok = f"{name}: {shown(str(error).strip().splitlines()[-1])}", False
        return
    raw, heat = differences(found, expected)
    compared.raw_score = float(np.maximum(compared.raw_score, raw))
    compared.heat_map = float(np.maximum(compared.heat_map, heat))
    compared.changed += [name] * changed
    within = max(compared.raw_score, compared.heat_map) <= detector.manifest.selftest.tolerance
    compared.ok = compared.ok and not compared.changed and (within or compared.precision != "fp32")


def differences(found: Answer, expected: Answer) -> tuple[float, float]:
    """Of one picture's raw score, relative where it exceeds 1, and of its heat, by the map's hottest cell."""
    raw, wanted = found.raw_score[0], expected.raw_score[0]
    heat = np.abs(found.heat_map - expected.heat_map).max() / max(LEAST_HEAT, expected.heat_map.max())
    return float(abs(raw - wanted) / max(1.0, abs(wanted))), float(heat)


def _decision(answer: Answer, thresholds: Thresholds) -> str:
    return decide(float(answer.raw_score[0]), thresholds)
