"""A detector ready to inspect: a model file opened by a runtime; one call from a picture to its Inspection."""

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from weakspot.data.reading import area
from weakspot.errors import ImageError, SettingsError, WeakspotError, shown
from weakspot.inspection.fastest import AskedPrecision, open_fastest, selftest_image
from weakspot.inspection.ignore_mask import IgnoreMask, check_mask, own_cells, pixels_of, read_ignore_mask
from weakspot.inspection.inspection import Decision, Inspection, ModelInfo, Thresholds, decide, find_regions, sigmoid
from weakspot.inspection.manifest import Manifest
from weakspot.inspection.model_file import ModelFile, read_model_file, write_model_file
from weakspot.inspection.preparation import Channels, Picture, Preparation, Prepared, milliseconds_since
from weakspot.inspection.runtimes import Answer, Memory, Name, Runtime, present_runtimes
from weakspot.inspection.tiling import MAX_MEMORY, TiledRuntime, open_first, refuse_undivided
from weakspot.settings import CELL

NO_TURNS = nullcontext()


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

    def __init__(self, model: ModelFile, runtime: Runtime, mask: IgnoreMask | None = None) -> None:
        """mask: by which the runtime ignores parts; pictures need its proportions."""
        self.model = model
        self.runtime = runtime
        self._mask_sha256 = None if mask is None else mask.sha256
        kept, cells = model.manifest.ignored, own_cells(model)
        masks = tuple(size for size in (mask and mask.size, kept and (kept.height, kept.width)) if size)
        ignored = None if cells is None else pixels_of(cells, model.manifest.size)
        self._preparation = Preparation(model.manifest, masks, ignored)
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
            return cls(model, TiledRuntime(model, runtime, threads, memory, max_memory, ignored), mask)
        return cls(model, open_fastest(model, runtime, threads, precision, memory, max_memory))

    @classmethod
    def load_exact(cls, path: Path | str, threads: int | None = None) -> Self:
        """The same in fp32 on the first runtime present: figures must not depend on what was measured here."""
        model = read_model_file(Path(path))
        return cls(model, open_first(model, threads=threads))

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
        return self._preparation.prepare(picture, channels, path)

    def judge(self, prepared: Prepared, turn: AbstractContextManager[Any] = NO_TURNS) -> Inspection:
        """What the detector says of a prepared picture.

        turn: held while the runtime computes and no longer, where threads take turns. Raises ImageError when the
        runtime fails, or answers with something that is no number.
        """
        with turn:
            start = perf_counter()
            answer = _answer(self.runtime, prepared.image, prepared.name)
            infer = milliseconds_since(start)
        raw_score = float(answer.raw_score[0])
        decision = _decide(prepared.name, answer, self.thresholds)
        if prepared.unlike and decision == "good":
            decision = "review"  # such pictures were never learned
        height, width = prepared.info.height, prepared.info.width
        assert height and width, prepared.info
        seen = area(height, width, self.manifest.size, self.manifest.fit)
        heat_map = answer.heat_map[0][: -(-seen[0] // CELL), : -(-seen[1] // CELL)]  # the rest is mirrored
        regions = find_regions(heat_map, height, width, self.thresholds.region_from, seen)
        total = prepared.milliseconds + milliseconds_since(start)
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
            seen=seen,
            regions=regions,
            milliseconds={"read": prepared.milliseconds, "infer": infer, "total": total},
            warnings=prepared.warnings,
            ignore_mask_sha256=self._mask_sha256,
        )

    def verify(self, runtimes: tuple[str, ...] | None = None, threads: int | None = None) -> list[Verified]:
        """Run the self-test picture in fp32 as inspection does, on every runtime present here, or on those named.

        A runtime that fails is in the list with its problem; nothing is raised for it.
        """
        image = selftest_image(self.model)
        return [self._verified(name, image, threads) for name in runtimes or present_runtimes()]

    def save(self, path: Path | str) -> None:
        """Write the model file, whole or not at all, over the one it was loaded from too. Raises OutputError."""
        write_model_file(Path(path), self.model)

    def _verified(self, name: str, image: NDArray[Any], threads: int | None) -> Verified:
        expected = self.manifest.selftest
        try:
            mine = (name, "fp32") == (self.runtime.name, self.runtime.precision)
            runtime = self.runtime if mine else open_first(self.model, name, threads)
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
