"""The runtime and precision that answer soonest on this machine: measured once for each shape of detector, then
remembered.

For inspection alone. Whatever makes figures takes `open_runtime`, whose choice does not depend on how busy a machine
was.
"""

from collections.abc import Iterator
from importlib.metadata import version
from time import perf_counter
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from weakspot.errors import ModelFileError, shown
from weakspot.inspection.model_file import ModelFile
from weakspot.inspection.processor import processor
from weakspot.inspection.rechecked import MARGIN, Rechecked
from weakspot.inspection.runtimes import (
    Memory,
    Precision,
    Runtime,
    offers_bf16,
    open_runtime,
    present_runtimes,
    usable_cores,
)
from weakspot.inspection.selftest import decode_selftest
from weakspot.inspection.timings import Setting, Timing, keep, kept

AskedPrecision = Literal["auto", "fp32", "bf16"]
_PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
ROUNDS, FEWEST_ROUNDS = 7, 3  # turns of each candidate
LONGEST = 3.0  # seconds after which FEWEST_ROUNDS will do


class Choice(NamedTuple):
    """What computes, and how precisely."""

    runtime: str
    precision: Precision

    def __str__(self) -> str:
        return f"{self.runtime} {self.precision}"


def open_fastest(
    model: ModelFile,
    runtime: str = "auto",
    threads: int | None = None,
    precision: AskedPrecision = "auto",
    memory: Memory = "fast",
) -> Runtime:
    """The fastest of what is asked for, ready to run `model`; where that is not known yet, it is measured first.
    Decisions are those of fp32.

    memory: "small" measures nothing, since that takes several graphs at once, and is in fp32 unless bf16 is asked for.
    Raises as `open_runtime` does.
    """
    threads = threads or usable_cores()
    if memory == "small":
        asked = candidates(runtime, "fp32" if precision == "auto" else precision)[:1]
    else:
        known = _fastest(kept_times(model, threads), runtime, precision)
        asked = [known] if known else candidates(runtime, precision)
    if len(asked) > 1:
        asked = [_fastest(measure(model, threads).milliseconds, runtime, precision) or asked[0]]
    name, exactly = asked[0] if asked else (runtime, precision)  # nothing that is here: opening it says what is
    return _open(model, name, threads, "bf16" if exactly == "bf16" else "fp32", memory)


def candidates(runtime: str, precision: AskedPrecision) -> list[Choice]:
    """What is here of what is asked for. torch, which is slower and takes seconds to import, only where it is asked for
    or alone."""
    present = present_runtimes()
    names = [
        name for name in present if runtime == name or (runtime == "auto" and (name != "torch" or len(present) == 1))
    ]
    found = [Choice(name, "fp32") for name in names if precision != "bf16"]
    if "openvino" in names and (precision == "bf16" or (precision == "auto" and offers_bf16())):
        found.append(Choice("openvino", "bf16"))
    return found


def measure(model: ModelFile, threads: int | None = None) -> Timing:
    """Time the model's self-test picture on everything that may compute here, in turns, and remember it.

    What cannot run the model, or does not answer as it did when it was made, is left out.
    """
    threads = threads or usable_cores()
    image = selftest_image(model)[None]
    opened = dict(_fit_to_use(model, image, threads))
    times: dict[Choice, list[float]] = {choice: [] for choice in opened}
    end = perf_counter() + LONGEST
    for done in range(ROUNDS):
        if done >= FEWEST_ROUNDS and perf_counter() > end:
            break
        for choice, runtime in opened.items():
            runtime.run(image)  # not timed: threads of the runtime before may still be spinning
            start = perf_counter()
            runtime.run(image)
            times[choice].append(perf_counter() - start)
    timing = Timing(
        _setting(model, threads),
        {str(choice): float(f"{1000 * np.median(each):.3g}") for choice, each in times.items()},
    )
    if opened:
        keep(timing)
    return timing


def kept_times(model: ModelFile, threads: int) -> dict[str, float]:
    """Milliseconds by choice, as once measured on this machine for a detector of this shape; empty where they were
    not."""
    setting = _setting(model, threads)
    return next((timing.milliseconds for timing in kept() if timing.setting == setting), {})


def kept_here() -> list[Timing]:
    """All that is remembered of this machine as it is now."""
    return [
        timing for timing in kept() if timing.setting.machine == processor() and timing.setting.versions == _versions()
    ]


def selftest_image(model: ModelFile) -> NDArray[Any]:
    """The picture that the model carries, (C, h, w). Raises ModelFileError where it cannot be decoded."""
    manifest = model.manifest
    try:
        return decode_selftest(model.selftest, manifest.size, manifest.channels, manifest.bit_depth)
    except ValueError as error:
        raise ModelFileError(
            f"model {shown(manifest.name)}: {error}; copy the file again from where it was made, or train again"
        ) from None


def _fastest(milliseconds: dict[str, float], runtime: str, precision: AskedPrecision) -> Choice | None:
    """The fastest of what is asked for and still here."""
    asked = [name for name in present_runtimes() if runtime in ("auto", name)]
    choices = [Choice(name, kind) for name in asked for kind in _PRECISIONS if precision in ("auto", kind)]
    return min(
        (choice for choice in choices if str(choice) in milliseconds),
        key=lambda choice: milliseconds[str(choice)],
        default=None,
    )


def _fit_to_use(model: ModelFile, image: NDArray[Any], threads: int) -> Iterator[tuple[Choice, Runtime]]:
    expected = model.manifest.selftest
    for choice in candidates("auto", "auto"):
        try:
            runtime = open_runtime(model, choice.runtime, threads, choice.precision)
            difference = abs(float(runtime.run(image).raw_score[0]) - expected.raw_score)
        except Exception:  # of any kind, as runtimes raise them; `weakspot verify` tells which and why
            continue
        allowed = MARGIN if choice.precision == "bf16" else expected.tolerance * max(1.0, abs(expected.raw_score))
        if difference <= allowed:
            yield choice, runtime


def _open(model: ModelFile, runtime: str, threads: int, precision: Precision, memory: Memory) -> Runtime:
    opened = open_runtime(model, runtime, threads, precision, memory)
    if precision == "fp32":
        return opened
    return Rechecked(opened, lambda: open_runtime(model, runtime, threads, "fp32", memory), model.thresholds)


def _setting(model: ModelFile, threads: int) -> Setting:
    manifest = model.manifest
    kernel = manifest.network.get("third_kernel")
    return Setting(
        size=manifest.size,
        channels=manifest.channels,
        third_kernel=kernel,
        threads=threads,
        versions=_versions(),
        machine=processor(),
    )


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("weakspot", *present_runtimes())}
