"""The runtime and precision that answer soonest on this machine: measured once for each shape of detector.

For inspection alone. Whatever makes figures takes `open_first`, whose choice does not depend on how busy a machine was.
"""

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from time import perf_counter
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from weakspot.errors import ModelFileError, SettingsError, shown
from weakspot.inspection.model_file import ModelFile
from weakspot.inspection.processor import processor, usable_cores
from weakspot.inspection.rechecked import Rechecked
from weakspot.inspection.runtimes import (
    PACKAGES,
    Memory,
    Precision,
    Runtime,
    check_word,
    is_present,
    offers_bf16,
    open_runtime,
    require_runtime,
)  # fmt: skip
from weakspot.inspection.selftest import decode_selftest
from weakspot.inspection.tiling import MAX_MEMORY, TiledRuntime, needs_tiles
from weakspot.inspection.timings import Setting, Timing, store_timing, stored_timings

AskedPrecision = Literal["auto", "fp32", "bf16"]
ROUNDS, FEWEST_ROUNDS = 7, 3  # turns of each choice
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
    max_memory: float = MAX_MEMORY,
) -> Runtime:
    """The fastest of what is asked for, ready to run `model`; measured first where that is not known yet.

    Decisions are those of fp32. memory: "small" measures nothing, since that takes several graphs at once; it takes the
    first runtime, in fp32 unless bf16 is asked for. max_memory: megabytes, beyond which pictures are looked at in
    tiles, in fp32; measuring keeps to them, too. Raises as `open_runtime` does, and SettingsError for an unknown word
    or where bf16 is asked for and the model file does not say how far it may be off.
    """
    check_word("precision", precision, AskedPrecision)
    check_word("memory", memory, Memory)
    threads = threads or usable_cores()
    if runtime != "auto":
        require_runtime(runtime)
    choices = _choices(model, runtime, "fp32" if (memory, precision) == ("small", "auto") else precision)
    first = next((choice for choice in choices if is_present(choice.runtime)), None)
    if first is None:  # opening it says why it cannot be had
        return open_runtime(model, runtime, threads, "bf16" if precision == "bf16" else "fp32", memory)
    if needs_tiles(model, max_memory):
        return TiledRuntime(model, runtime, threads, memory, max_memory)
    if memory == "small" or len(choices) == 1 or needs_tiles(model, max_memory / len(choices)):
        return _open(model, first, threads, memory)
    fastest = _fastest(known_times(model, threads), choices)
    if fastest is None and sum(map(_computes_here, choices)) > 1:
        fastest = _fastest(measure(model, threads).milliseconds, choices)
    return _open(model, fastest or first, threads, memory)


def measure(model: ModelFile, threads: int | None = None) -> Timing:
    """Time the model's self-test picture on everything that may compute here, in turns, and remember it.

    What cannot run the model, or does not answer as it did when it was made, is left out.
    """
    threads = threads or usable_cores()
    image = selftest_image(model)[None]
    runtimes = dict(_fit_to_use(model, image, threads))
    times: dict[Choice, list[float]] = {choice: [] for choice in runtimes}
    end = perf_counter() + LONGEST
    for done in range(ROUNDS):
        if done >= FEWEST_ROUNDS and perf_counter() > end:
            break
        for choice, runtime in runtimes.items():
            runtime.run(image)  # not timed: threads of the runtime before may still be spinning
            start = perf_counter()
            runtime.run(image)
            times[choice].append(perf_counter() - start)
    milliseconds = {str(choice): float(f"{1000 * np.median(each):.3g}") for choice, each in times.items()}
    timing = Timing(_setting(model, threads), milliseconds)
    if milliseconds:
        store_timing(timing)
    return timing


def known_times(model: ModelFile, threads: int) -> dict[str, float]:
    """Milliseconds by choice, as once measured here for a detector of this shape; empty where they were not."""
    setting = _setting(model, threads)
    return next((timing.milliseconds for timing in stored_timings() if timing.setting == setting), {})


def timings_of_this_machine() -> list[Timing]:
    """All that is remembered of this machine as it is now."""
    now = processor(), _versions()
    return [timing for timing in stored_timings() if (timing.setting.machine, timing.setting.versions) == now]


def selftest_image(model: ModelFile) -> NDArray[Any]:
    """The picture that the model carries, (C, h, w). Raises ModelFileError where it cannot be decoded."""
    manifest = model.manifest
    try:
        return decode_selftest(model.selftest, manifest.size, manifest.channels, manifest.bit_depth)
    except ValueError as error:
        raise ModelFileError(
            f"model {shown(manifest.name)}: {error}; copy the file again from where it was made, or train again"
        ) from None


def _choices(model: ModelFile, runtime: str, precision: AskedPrecision) -> list[Choice]:
    """What may be taken of what is asked for, were every runtime here; the one to prefer first."""
    known = model.manifest.bf16_margin is not None
    if precision == "bf16" and runtime in ("auto", "openvino") and not known:
        raise SettingsError(
            "precision bf16: this model file does not say how far bf16 may be off, so decisions could differ; "
            "take fp32, or train on a machine where OpenVINO computes in bf16"
        )
    names = [name for name in PACKAGES if runtime in ("auto", name)]
    choices = [Choice(name, "fp32") for name in names if precision != "bf16"]
    if "openvino" in names and known and precision != "fp32":
        choices.append(Choice("openvino", "bf16"))
    return choices


def _fastest(milliseconds: dict[str, float], choices: list[Choice]) -> Choice | None:
    """The fastest of those that were measured and are still here."""
    measured = sorted((milliseconds[str(choice)], choice) for choice in choices if str(choice) in milliseconds)
    return next((choice for _, choice in measured if is_present(choice.runtime)), None)


def _computes_here(choice: Choice) -> bool:
    return is_present(choice.runtime) and (choice.precision == "fp32" or offers_bf16())


def _fit_to_use(model: ModelFile, image: NDArray[Any], threads: int) -> Iterator[tuple[Choice, Runtime]]:
    """Each choice that answers the self-test as the model file says, opened."""
    expected, margin = model.manifest.selftest, model.manifest.bf16_margin
    for choice in _choices(model, "auto", "auto"):
        if not _computes_here(choice):
            continue
        try:
            runtime = open_runtime(model, choice.runtime, threads, choice.precision)
            difference = abs(float(runtime.run(image).raw_score[0]) - expected.raw_score)
        except Exception:  # of any kind, as runtimes raise them; `weakspot verify` says which and why
            continue
        allowed = margin if choice.precision == "bf16" else expected.tolerance * max(1.0, abs(expected.raw_score))
        if difference <= (allowed or 0):
            yield choice, runtime


def _open(model: ModelFile, choice: Choice, threads: int, memory: Memory) -> Runtime:
    runtime = open_runtime(model, choice.runtime, threads, choice.precision, memory)
    margin = model.manifest.bf16_margin
    if choice.precision == "fp32" or margin is None:
        return runtime
    return Rechecked(
        runtime, lambda: open_runtime(model, choice.runtime, threads, "fp32", memory), model.thresholds, margin
    )


def _setting(model: ModelFile, threads: int) -> Setting:
    manifest = model.manifest
    return Setting(
        size=manifest.size,
        channels=manifest.channels,
        third_kernel=manifest.network.get("third_kernel"),
        threads=threads,
        bf16=manifest.bf16_margin is not None,
        versions=_versions(),
        machine=processor(),
    )


def _versions() -> dict[str, str]:
    """Of weakspot and the runtimes, by package; one that is not installed, or under another name, is left out."""
    versions = {}
    for name in ("weakspot", *PACKAGES):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
