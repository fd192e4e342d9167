"""A model file → plain files that other programs run, thresholds inside and beside; none that answers otherwise.

What is written was first run beside the model file: on its self-test picture, and on those to calibrate by.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from weakspot.data.layouts import read_layout
from weakspot.data.reading import array_pixels, read_image
from weakspot.durable import make_folder, refuse_existing, temporary_folder, write_folder, write_together
from weakspot.errors import ImageError, ModelFileError, SettingsError, shown
from weakspot.evaluation.metrics import average_precision
from weakspot.inspection.fastest import selftest_image
from weakspot.inspection.inspection import ImageInfo, Inspection
from weakspot.inspection.loaded import LoadedDetector
from weakspot.inspection.preparation import Prepared
from weakspot.inspection.processor import usable_cores
from weakspot.inspection.refusals import check_size
from weakspot.inspection.runtimes import require_runtime
from weakspot.jobs.export_files import ENDINGS, description, graph_files, named_files
from weakspot.jobs.export_graph import Target, build_graph, with_half_weights
from weakspot.jobs.exported import RUNTIMES, Answers, Difference, as_input, difference, open_exported
from weakspot.jobs.quantize import quantized
from weakspot.settings import Size

Precision = Literal["fp32", "fp16", "int8"]
SAME = 1e-4  # largest difference of score and heat, of [0, 1], in fp32
MOST_LOST = 0.005  # AP that another precision may cost


@dataclass(frozen=True)
class Looked:
    """A picture as the export takes it, what the model file says of it, and its label where it has one."""

    pixels: NDArray[Any]  # (H, W) or (H, W, 3)
    image: NDArray[Any]  # (C, h, w), as the detector sees it
    inspection: Inspection
    label: int | None = None


@dataclass(frozen=True)
class Cost:
    """What the export changes; average precision of the calibration pictures before and after, where it is defined.

    not_measured: why there is none, in words.
    """

    difference: Difference
    ap_before: float | None
    ap_after: float | None
    not_measured: str = ""
    faults: tuple[str, ...] = ()  # those that --allow-changes let pass


@dataclass(frozen=True)
class Exported:
    """What was written, and what it costs."""

    files: tuple[Path, ...]
    precision: Precision
    picture: Size  # height and width at which pictures come
    cost: Cost

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        return {**asdict(self), "files": [str(path) for path in self.files]}


def export(
    model: Path,
    to: Target,
    output: Path,
    *,
    precision: Precision = "fp32",
    calibrate: Path | None = None,
    layout: str = "auto",
    picture: Size | None = None,
    allow_changes: bool = False,
    threads: int | None = None,
) -> Exported:
    """Write a model file's detector for other programs: a file with its JSON beside it, or a server's folder.

    output: a name that ends in .onnx or .xml; any other is a new folder as Triton and OpenVINO Model Server read it.
    picture: height and width at which pictures come; None for the training's where all had one, else the detector's.
    Raises ModelFileError where the export answers otherwise than the model file: nothing is written then.
    """
    _refuse_arguments(to, output, precision, calibrate)
    detector = LoadedDetector.load_exact(model, threads)
    about, size = detector.manifest, picture or _usual_size(detector)
    if size != about.size:  # at which any picture may come, once it is fitted
        check_size("picture size", *size, about)
    looked = [_selftest(detector, size), *(_calibrating(detector, size, calibrate, layout) if calibrate else ())]
    core = _core(detector.model.graph, precision, looked)
    made = build_graph(core, about, detector.thresholds, size, to)
    with temporary_folder() as folder:
        graph_files(made, to, folder, {})
        answer = open_exported(to, folder / f"model{ENDINGS[to]}", threads or usable_cores())
        cost = _cost(detector, looked, [answer(as_input(each.pixels, about, to)) for each in looked])
        faults = _faults(cost, precision)
        if faults and not (allow_changes and precision != "fp32"):
            raise ModelFileError(f"the {precision} export {'; '.join(faults)}; nothing is written{_way_out(precision)}")
        said = description(detector, to, size, {"precision": precision, **asdict(cost)})
        contents = named_files(graph_files(made, to, folder, said), said, to, output)
    if output.suffix == ENDINGS[to]:
        make_folder(output.parent)
        write_together(contents)
    else:
        write_folder(output, contents)
    return Exported(tuple(contents), precision, size, replace(cost, faults=tuple(faults)))


def _refuse_arguments(to: Target, output: Path, precision: Precision, calibrate: Path | None) -> None:
    """Before anything long: what cannot be, and what is there already."""
    if precision == "int8" and calibrate is None:
        raise SettingsError("precision int8: no pictures to calibrate by; add --calibrate DATA, good and bad ones")
    if output.suffix in set(ENDINGS.values()) - {ENDINGS[to]}:
        raise SettingsError(f"{shown(output)}: {to} is written as {ENDINGS[to]}; name it so, or give a folder")
    beside = {".onnx": (".json",), ".xml": (".bin", ".json")}.get(output.suffix, ())
    refuse_existing(output, *map(output.with_suffix, beside))
    require_runtime(RUNTIMES[to])


def _usual_size(detector: LoadedDetector) -> Size:
    sizes = detector.manifest.image_sizes
    return sizes.max if sizes.min == sizes.max else detector.manifest.size


def _selftest(detector: LoadedDetector, size: Size) -> Looked:
    """The picture that the model carries, at the size at which pictures come."""
    planes = selftest_image(detector.model)
    if planes.shape[1:] == size:
        return _looked(detector, _pixels(planes), _fitted(planes))
    pixels = _pixels(np.stack([np.asarray(Image.fromarray(plane).resize(size[::-1])) for plane in planes]))
    return _looked(detector, pixels, detector.prepare(pixels))


def _calibrating(detector: LoadedDetector, size: Size, data: Path, layout: str) -> list[Looked]:
    """The labelled pictures of `data`. Raises ImageError for one that cannot be judged or comes at another size."""
    looked = []
    for sample in read_layout(data, layout, good_needed=False):
        prepared = detector.prepare(sample.path)
        pixels = read_image(sample.path, detector.manifest.read).pixels  # of a large one `prepared` has a smaller view
        found = pixels.shape[:2]
        if found != size and size != detector.manifest.size:
            sizes = f"{found[0]}x{found[1]} pixels, where the export takes {size[0]}x{size[1]}"
            raise ImageError(f"{prepared.name}: {sizes}; leave it out, or give its size by --picture-size")
        if found != size:  # brought there beforehand, as whoever runs the export must
            pixels, prepared = _pixels(prepared.image), _fitted(prepared.image)
        looked.append(_looked(detector, pixels, prepared, sample.label))
    return looked


def _fitted(image: NDArray[Any]) -> Prepared:
    """A picture (C, h, w) that is at the detector's size already, far from a camera's as that may be."""
    info = ImageInfo(None, None, image.shape[2], image.shape[1])
    return Prepared(info, _pixels(image), image, warnings=(), milliseconds=0.0, figures={})


def _looked(detector: LoadedDetector, pixels: NDArray[Any], prepared: Prepared, label: int | None = None) -> Looked:
    return Looked(array_pixels(pixels, "picture"), prepared.image, detector.judge(prepared), label)


def _pixels(planes: NDArray[Any]) -> NDArray[Any]:
    """(C, h, w) → (h, w, C)."""
    return np.ascontiguousarray(planes.transpose(1, 2, 0))


def _core(graph: bytes, precision: Precision, looked: Sequence[Looked]) -> bytes:
    if precision == "int8":
        return quantized(graph, [each.image for each in looked])
    return with_half_weights(graph) if precision == "fp16" else graph


def _cost(detector: LoadedDetector, looked: Sequence[Looked], found: Sequence[Answers]) -> Cost:
    inspections = [each.inspection for each in looked]
    scores = [float(answer.get("raw_score", answer["pred_score"]).item()) for answer in found]
    labelled = [place for place, each in enumerate(looked) if each.label is not None]
    labels = np.array([looked[place].label for place in labelled])
    before, after = (
        _average_precision(labels, np.array([values[place] for place in labelled]))
        for values in ([each.raw_score for each in inspections], scores)
    )
    return Cost(difference(inspections, found, detector.thresholds), before, after, _not_measured(labels.tolist()))


def _not_measured(labels: list[int]) -> str:
    if set(labels) == {0, 1}:
        return ""
    given = f"all pictures are {'bad' if labels[0] else 'good'}" if labels else "no labelled pictures were given"
    return f"average precision was not measured: {given}; add --calibrate DATA, good and bad ones"


def _average_precision(labels: NDArray[Any], scores: NDArray[Any]) -> float | None:
    """None where it is not defined."""
    defined = set(labels.tolist()) == {0, 1} and np.isfinite(scores).all()
    return average_precision(labels, scores) if defined else None


def _faults(cost: Cost, precision: Precision) -> list[str]:
    """What is wrong with it, in words; empty where it may answer in the model file's place."""
    off, faults = cost.difference, []
    worst = max(off.score, off.heat_map)
    if not (worst <= SAME if precision == "fp32" else np.isfinite(worst)):
        faults.append(f"differs by {worst:.1e} in score or heat (allowed: {SAME:.0e})")
    if off.changed if precision == "fp32" else off.outside_review:
        outside = "" if precision == "fp32" else f", {off.outside_review} of them to good or bad"
        faults.append(f"changes {off.changed} of {off.images} decisions{outside}")
    if cost.ap_before is not None and (cost.ap_after is None or cost.ap_before - cost.ap_after > MOST_LOST):
        faults.append(f"ranks with AP {cost.ap_after} instead of {cost.ap_before:.3f} (allowed: {MOST_LOST} less)")
    return faults


def _way_out(precision: Precision) -> str:
    if precision == "fp32":
        return ". Report this with the output of `weakspot doctor`"
    return "; calibrate by more pictures, take fp32, or accept it with --allow-changes"
