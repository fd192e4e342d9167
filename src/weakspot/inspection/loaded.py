"""A detector ready to inspect: a model file opened by a runtime; one call from a picture to its Inspection."""

import math
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from weakspot.data.large import LARGE, Target, fit_large, read_large
from weakspot.data.reading import ImageFile, area, array_pixels, decode_image, fit_image, read_image
from weakspot.errors import ImageError, SettingsError, WeakspotError, shown
from weakspot.inspection.drift import figures, unlike
from weakspot.inspection.fastest import AskedPrecision, open_fastest, selftest_image
from weakspot.inspection.ignore_mask import (
    blanked,
    check_mask,
    check_proportions,
    own_cells,
    pixels_of,
    read_ignore_mask,
)
from weakspot.inspection.inspection import (
    Decision,
    ImageInfo,
    Inspection,
    ModelInfo,
    Thresholds,
    decide,
    find_regions,
    sigmoid,
)
from weakspot.inspection.manifest import Manifest
from weakspot.inspection.model_file import ModelFile, read_model_file, write_model_file
from weakspot.inspection.refusals import check_channels, check_contrast, check_size, level_warnings
from weakspot.inspection.runtimes import Answer, Memory, Name, Runtime, open_runtime, present_runtimes
from weakspot.inspection.tiling import MAX_MEMORY, TiledRuntime, needs_tiles, refuse_undivided
from weakspot.settings import CELL, Size

# a file, its content, what was read of it elsewhere, or (H, W), (H, W, 1) or (H, W, 3) raw pixels
Picture = Path | str | bytes | ImageFile | NDArray[Any]
Channels = Literal["rgb", "bgr"]  # the order in an array of colour; files say theirs themselves


@dataclass(frozen=True, eq=False)
class Prepared:
    """A picture that was read, found fit to be judged, and brought to the detector's size."""

    info: ImageInfo
    pixels: NDArray[Any]  # for people, (H, W) or (H, W, 3): as read, or of a large picture a smaller one
    image: NDArray[Any]  # (C, h, w), as the detector sees it
    warnings: tuple[str, ...]
    milliseconds: float
    figures: dict[str, float]  # by which it is compared with the training pictures; none where the model keeps none
    unlike: tuple[str, ...] = ()  # those in which it is unlike them

    @property
    def decoded_bytes(self) -> int:
        """What its pixels take at their own size, or at the detector's where that is larger; a large TIFF takes less.

        `pixels` may be a smaller view.
        """
        channels = self.pixels.shape[2] if self.pixels.ndim == 3 else 1
        own = (self.info.height or 0) * (self.info.width or 0) * channels * self.pixels.itemsize
        return max(own, self.image.nbytes)

    @property
    def name(self) -> str:
        """How messages call it."""
        return "picture" if self.info.path is None else shown(self.info.path)


@dataclass(frozen=True)
class Verified:
    """What one runtime answered to the self-test.

    difference: the larger of both scores', relative where a score exceeds 1.
    """

    runtime: str
    raw_score: float | None
    difference: float | None
    ok: bool
    problem: str = ""


class LoadedDetector:
    """Inspects pictures by one model file on one runtime. Usable from several threads."""

    def __init__(self, model: ModelFile, runtime: Runtime, mask: Size | None = None) -> None:
        """mask: height and width of the one by which the runtime ignores parts; pictures need its proportions."""
        self.model = model
        self.runtime = runtime
        kept, cells = model.manifest.ignored, own_cells(model)
        self._masks = [size for size in (mask, kept and (kept.height, kept.width)) if size]
        self._ignored = None if cells is None else pixels_of(cells, model.manifest.size)
        self.info = ModelInfo(model.manifest.name, model.sha256)

    @classmethod
    def load(
        cls,
        path: Path | str,
        runtime: Name = "auto",
        threads: int | None = None,
        precision: AskedPrecision = "auto",
        memory: Memory = "fast",
        max_memory: float = MAX_MEMORY,
        ignore: Path | None = None,
    ) -> Self:
        """Read, check and open a model file, on what was measured to be fastest here where that is left to `auto`.

        Decisions are those of fp32. threads: None for as many as this process may use; max_memory: megabytes, beyond
        which a picture at the model's size is looked at in tiles; ignore: a mask, white where nothing is inspected,
        beside what the model was trained to ignore.
        Raises ModelFileError, ImageError for the mask, or SettingsError where the runtime is not to be had or the
        model cannot ignore parts.
        """
        model = read_model_file(Path(path))
        if not max_memory > 0:  # nor NaN
            raise SettingsError(f"--max-memory {max_memory:g}: needed is a number of megabytes above 0, such as 1000")
        if ignore is not None:
            refuse_undivided(model, f"--ignore {shown(ignore)}")
            mask = read_ignore_mask(ignore, model.manifest.read.max_megapixels)
            check_mask(mask, model.manifest)
            ignored = mask.cells(model.manifest.size, model.manifest.fit)
            return cls(model, TiledRuntime(model, runtime, threads, memory, max_memory, ignored), mask.size)
        if needs_tiles(model, max_memory):
            return cls(model, TiledRuntime(model, runtime, threads, memory, max_memory))
        return cls(model, open_fastest(model, runtime, threads, precision, memory))

    @classmethod
    def load_exact(cls, path: Path | str, threads: int | None = None) -> Self:
        """The same in fp32 on the first runtime present: figures must not depend on what was measured here."""
        model = read_model_file(Path(path))
        return cls(model, open_runtime(model, threads=threads))

    @property
    def manifest(self) -> Manifest:
        """What the model file says of itself."""
        return self.model.manifest

    @property
    def thresholds(self) -> Thresholds:
        """What decides between good, review and bad."""
        return self.model.thresholds

    def inspect(self, picture: Picture, channels: Channels = "rgb") -> Inspection:
        """Read and judge one picture.

        channels: the order in an array of colour; OpenCV reads "bgr". Raises ImageError when the picture cannot be read
        or must not be judged: it is then never good.
        """
        return self.judge(self.prepare(picture, channels))

    def prepare(self, picture: Picture, channels: Channels = "rgb", path: str | None = None) -> Prepared:
        """Read a picture, refuse what must not be judged, bring it to the detector's size.

        path: where a file's content is from. May run in another thread than `judge`.
        """
        start = perf_counter()
        info, pixels, image, warnings = self._fitted(picture, channels, path)
        image = image if self._ignored is None else blanked(image, self._ignored)
        name = "picture" if info.path is None else shown(info.path)
        check_contrast(name, image, self.manifest)
        if self.manifest.channels == 3 and pixels.ndim == 2:
            warnings += ("a grey picture for a detector that was trained in colour",)
        warnings += level_warnings(image, self.manifest)
        usual = self.manifest.usual
        found = {} if usual is None else figures(image, np.array(usual.layout))
        differs = () if usual is None else unlike(found, usual)
        if differs:
            warnings += (f"unlike the training pictures: {'; '.join(differs)}",)
        return Prepared(info, pixels, image, warnings, _milliseconds_since(start), found, differs)

    def judge(self, prepared: Prepared) -> Inspection:
        """What the detector says of a prepared picture.

        Raises ImageError when the runtime fails, or answers with something that is no number.
        """
        start = perf_counter()
        answer = _answer(self.runtime, prepared.image, prepared.name)
        infer = _milliseconds_since(start)
        raw_score = float(answer.raw_score[0])
        decision = _decide(prepared.name, answer, self.thresholds)
        if prepared.unlike and decision == "good":
            decision = "review"  # such pictures were never learned
        height, width = prepared.info.height, prepared.info.width
        assert height and width, prepared.info
        heat_map = self._cropped(answer.heat_map[0], height, width)
        regions = find_regions(heat_map, height, width, self.thresholds.region_from)
        total = prepared.milliseconds + _milliseconds_since(start)
        return Inspection(
            image=prepared.info,
            model=self.info,
            decision=decision,
            defect_score=sigmoid(raw_score),
            raw_score=raw_score,
            heat_score=float(answer.heat_score[0]),
            bad_from=self.thresholds.bad_from,
            good_below=self.thresholds.good_below,
            heat_map=heat_map,
            regions=regions,
            milliseconds={"read": prepared.milliseconds, "infer": infer, "total": total},
            warnings=prepared.warnings,
        )

    def verify(self, runtimes: tuple[str, ...] | None = None, threads: int | None = None) -> list[Verified]:
        """Run the self-test picture in fp32 on every runtime present here, or on those named.

        A runtime that fails is in the list with its problem; nothing is raised for it.
        """
        image = selftest_image(self.model)
        return [self._verified(name, image, threads) for name in runtimes or present_runtimes()]

    def save(self, path: Path | str) -> None:
        """Write the model file, whole or not at all, over the one it was loaded from too. Raises OutputError."""
        write_model_file(Path(path), self.model)

    def _fitted(
        self, picture: Picture, channels: Channels, path: str | None
    ) -> tuple[ImageInfo, NDArray[Any], NDArray[Any], tuple[str, ...]]:
        """Which picture, its pixels for people, the picture as the detector sees it (C, h, w), and warnings."""
        seen = self.manifest
        target = Target(seen.size, seen.channels, seen.bit_depth, seen.fit)
        large = None
        if isinstance(picture, Path | str):
            name = shown(picture)
            large = read_large(Path(picture), seen.read, target, lambda *size: self._check_size(name, *size))
        if large is not None:
            info = ImageInfo(str(picture), large.sha256, large.width, large.height)
            self._check_kind(info, large.view)
            return info, large.view, large.image, large.warnings
        info, pixels, warnings = self._read(picture, channels, path)
        self._check_kind(info, pixels)
        if pixels.shape[0] * pixels.shape[1] >= LARGE:
            large = fit_large(pixels, target)
            return info, large.view, large.image, warnings
        return info, pixels, fit_image(pixels, seen.size, seen.channels, seen.bit_depth, seen.fit), warnings

    def _check_kind(self, info: ImageInfo, pixels: NDArray[Any]) -> None:
        """Refuse a size or colours unlike the training's."""
        name = "picture" if info.path is None else shown(info.path)
        self._check_size(name, info.height or 0, info.width or 0)
        check_channels(name, pixels, self.manifest)

    def _check_size(self, name: str, height: int, width: int) -> None:
        check_size(name, height, width, self.manifest)
        for mask in self._masks:
            check_proportions(name, height, width, mask, self.manifest.size, self.manifest.fit)

    def _read(
        self, picture: Picture, channels: Channels, path: str | None
    ) -> tuple[ImageInfo, NDArray[Any], tuple[str, ...]]:
        if isinstance(picture, np.ndarray):
            pixels = array_pixels(picture, "picture", channels)
            return ImageInfo(None, sha256(pixels.tobytes()).hexdigest(), pixels.shape[1], pixels.shape[0]), pixels, ()
        if channels != "rgb":
            raise SettingsError(f"channels {shown(channels)!r}: for arrays alone; a file says itself which is which")
        if isinstance(picture, ImageFile):
            file = picture
        elif isinstance(picture, bytes):
            file = decode_image(picture, shown(path or "picture"), self.manifest.read, Path(path) if path else None)
        elif isinstance(picture, Path | str):
            file, path = read_image(Path(picture), self.manifest.read), str(picture)
        else:
            raise ImageError(
                f"a {type(picture).__name__} is no picture; needed is a path, bytes, or an array (numpy.asarray)"
            )
        info = ImageInfo(path, file.sha256, file.pixels.shape[1], file.pixels.shape[0])
        return info, file.pixels, tuple(file.warnings)

    def _cropped(self, heat_map: NDArray[Any], height: int, width: int) -> NDArray[Any]:
        """The heat (h, w) without what lies over the picture's mirrored borders. height, width: of the picture."""
        rows, columns = (-(-side // CELL) for side in area(height, width, self.manifest.size, self.manifest.fit))
        return heat_map[:rows, :columns]

    def _verified(self, name: str, image: NDArray[Any], threads: int | None) -> Verified:
        expected = self.manifest.selftest
        try:
            mine = (name, "fp32") == (self.runtime.name, self.runtime.precision)
            runtime = self.runtime if mine else open_runtime(self.model, name, threads)
            answer = _answer(runtime, image, "the self-test picture")
        except WeakspotError as error:
            return Verified(name, None, None, False, str(error))
        except MemoryError:
            return Verified(name, None, None, False, f"{name}: not enough memory; close other programs")
        raw_score = float(answer.raw_score[0])
        pairs = ((raw_score, expected.raw_score), (float(answer.heat_score[0]), expected.heat_score))
        difference = float(np.max([abs(found - wanted) / max(1.0, abs(wanted)) for found, wanted in pairs]))
        if not math.isfinite(difference):
            return Verified(name, None, None, False, "the self-test picture: answered with something that is no number")
        return Verified(name, raw_score, difference, difference <= expected.tolerance)


def _decide(name: str, answer: Answer, thresholds: Thresholds) -> Decision:
    if not (np.isfinite(answer.heat_map).all() and np.isfinite(answer.heat_score).all()):
        raise ImageError(
            f"{name}: the detector's heat is not a number; the picture is not judged; "
            "check the model file with `weakspot verify`"
        )
    try:
        return decide(float(answer.raw_score[0]), thresholds)
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from None


def _answer(runtime: Runtime, image: NDArray[Any], name: str) -> Answer:
    """The answer for one picture (C, h, w). Runtimes raise errors of many kinds: each means it was not judged."""
    try:
        return runtime.run(image[None])
    except MemoryError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ImageError(
            f"{name}: {runtime.name} failed ({shown(lines[-1])}); the picture is not judged; try another --runtime"
        ) from error


def _milliseconds_since(start: float) -> float:
    return (perf_counter() - start) * 1000
