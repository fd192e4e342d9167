"""What computes a detector's answer: ONNX Runtime or OpenVINO, each on the graph in the model file.

Both compute one picture at a time, so that an answer does not depend on the pictures beside it.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from threading import Lock
from types import ModuleType
from typing import Any, Literal, NamedTuple, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from weakspot.errors import ModelFileError, SettingsError, quoted, shown
from weakspot.inspection.model_file import ModelFile
from weakspot.inspection.opened import Opened
from weakspot.inspection.processor import processor, usable_cores
from weakspot.spectral.graph import in_spectral_form
from weakspot.spectral.onnx_format import names_other_files, read_model

log = logging.getLogger(__name__)
Name = Literal["auto", "onnxruntime", "openvino"]
Precision = Literal["fp32", "bf16"]
Memory = Literal["fast", "small"]  # small: the large layer in its plain form, which needs less memory and more time
Pixels = NDArray[Any]  # (N, C, h, w) uint8 or uint16, raw
Shape = tuple[int, ...]  # (N, C, h, w)
Compute = Callable[[Pixels], list[NDArray[Any]]]  # one picture (1, C, h, w) → OUTPUTS
OUTPUTS = ("raw_score", "heat_score", "anomaly_map")  # of the graph's outputs, those that are asked for
PACKAGES = {"onnxruntime": "weakspot", "openvino": "weakspot[openvino]"}  # what to install; `auto` prefers the first
# what makes OpenVINO compute in fp32: left to itself it takes bf16 where the CPU has it
EXACT = {"INFERENCE_PRECISION_HINT": "f32", "EXECUTION_MODE_HINT": "ACCURACY"}
_MOST_SHAPES = 4  # graphs that a runtime keeps open at a time; one is all that inspection needs


class Answer(NamedTuple):
    """raw_score (N,) and heat_score (N,) float64, logits; heat_map (N, ⌈h/8⌉, ⌈w/8⌉) float32 in [0, 1]."""

    raw_score: NDArray[np.float64]
    heat_score: NDArray[np.float64]
    heat_map: NDArray[np.float32]


class Runtime(Protocol):
    """Something that answers for pictures at the detector's size."""

    name: str
    precision: Precision

    def run(self, images: Pixels) -> Answer:
        """(N, C, h, w) raw pixels → Answer. Any N; usable from several threads and after a fork."""
        ...


class GraphRuntime:
    """A graph as one library computes it, opened once for each shape of picture.

    open_graph: a shape → what computes pictures of that shape.
    """

    def __init__(self, name: str, precision: Precision, open_graph: Callable[[Shape], Compute]) -> None:
        self.name, self.precision = name, precision
        self._opened = Opened(open_graph, _MOST_SHAPES)

    def open(self, shape: Shape) -> None:
        """Open the graph for pictures (1, C, h, w) now rather than at the first of them."""
        self._opened.get(shape)

    def run(self, images: Pixels) -> Answer:
        """(N, C, h, w) raw pixels → Answer."""
        compute = self._opened.get((1, *images.shape[1:]))
        raw_scores, heat_scores, heat_maps = [], [], []
        for index in range(len(images)):
            raw_score, heat_score, heat_map = compute(np.ascontiguousarray(images[index : index + 1]))
            raw_scores.append(float(raw_score.item()))
            heat_scores.append(float(heat_score.item()))
            heat_maps.append(np.array(heat_map[0, 0], np.float32))  # a copy: the library may use its buffer again
        return Answer(np.array(raw_scores), np.array(heat_scores), np.stack(heat_maps))


def present_runtimes() -> tuple[str, ...]:
    """The runtimes that can be imported here, in the order in which `open_runtime` prefers them."""
    return tuple(name for name in PACKAGES if is_present(name))


def broken_runtimes() -> dict[str, str]:
    """The runtimes that are installed and cannot be imported, each with the reason."""
    return {name: found for name in PACKAGES if isinstance(found := _imported(name), str)}


def is_present(name: str) -> bool:
    """Whether a runtime can be imported. One that is installed and cannot is named in the log, once."""
    found = _imported(name)
    if isinstance(found, str):
        _warn_of(name, found)
    return isinstance(found, ModuleType)


def check_word(what: str, word: str, words: Any) -> None:
    """Raise SettingsError unless `word` is one of the Literal `words`."""
    if word not in get_args(words):
        raise SettingsError(f"{what} {shown(word)!r} is not known; allowed are {', '.join(get_args(words))}")


def require_runtime(name: str) -> ModuleType:
    """A runtime's package. Raises SettingsError where it cannot be had."""
    check_word("runtime", name, Name)
    found = _imported(name)
    if isinstance(found, ModuleType):
        return found
    others = " or ".join(other for other in PACKAGES if isinstance(_imported(other), ModuleType)) or "another"
    if found:
        raise SettingsError(
            f"runtime {name}: installed, but it cannot be imported ({found}); "
            f"run: pip install --force-reinstall {name}, or take {others}"
        )
    raise SettingsError(f"runtime {name}: not installed; run: pip install '{PACKAGES[name]}', or take {others}")


def open_runtime(
    model: ModelFile,
    prefer: str = "auto",
    threads: int | None = None,
    precision: Precision = "fp32",
    memory: Memory = "fast",
) -> Runtime:
    """A runtime ready to run `model`. `auto` is the first one present: a report must not depend on what is faster here.

    threads: None for as many as this process may use. bf16: OpenVINO alone, and faster only where the CPU has it.
    Raises SettingsError where the runtime is not to be had or cannot do what is asked, ModelFileError where it cannot
    take the graph.
    """
    name = next(filter(is_present, PACKAGES), prefer) if prefer == "auto" else prefer
    library = require_runtime(name)
    if precision != "fp32" and name != "openvino":
        raise SettingsError(f"precision {precision}: not offered by {name}; take runtime openvino, or fp32")
    open_graph = _open_by_openvino if name == "openvino" else _open_by_onnxruntime
    with _refused_by(name):
        runtime = GraphRuntime(
            name, precision, open_graph(library, model, threads or usable_cores(), precision, memory)
        )
        runtime.open((1, model.manifest.channels, *model.manifest.size))
        return runtime


def offers_bf16() -> bool:
    """Whether OpenVINO is here and this processor multiplies in bf16.

    Without such units OpenVINO would take bf16 too, and convert at every step.
    """
    openvino = _imported("openvino")
    return isinstance(openvino, ModuleType) and "BF16" in openvino_core(openvino, os.getpid()).get_property(
        "CPU", "OPTIMIZATION_CAPABILITIES"
    )


@cache
def openvino_core(openvino: Any, process: int) -> Any:
    """OpenVINO's core, one for a process: of two that go, one leaves signals a freed stack, on which they kill."""
    return openvino.Core()


def _open_by_onnxruntime(
    library: Any, model: ModelFile, threads: int, precision: Precision, memory: Memory
) -> Callable[[Shape], Compute]:
    """ONNX Runtime's CPU provider, which computes in fp32 alone."""
    options = library.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4  # errors are raised
    options.enable_cpu_mem_arena = memory == "fast"  # else what it frees between two pictures is handed back

    def open_graph(shape: Shape) -> Compute:
        graph = _graph_for(shape, model.graph, plain=memory == "small")
        session = library.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        _check_outputs({output.name for output in session.get_outputs()})
        return lambda image: list(session.run(OUTPUTS, {"image": image}))

    return open_graph


def _open_by_openvino(
    library: Any, model: ModelFile, threads: int, precision: Precision, memory: Memory
) -> Callable[[Shape], Compute]:
    """OpenVINO's CPU plug-in, with its precision set."""
    bf16 = {"INFERENCE_PRECISION_HINT": "bf16", "EXECUTION_MODE_HINT": "PERFORMANCE"}
    options = {
        **(EXACT if precision == "fp32" else bf16),
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
    }
    # with matrix units the plain form is the faster one in bf16, for it runs near their rate
    plain = memory == "small" or (precision == "bf16" and "amx_bf16" in processor().instructions)

    def open_graph(shape: Shape) -> Compute:
        core = openvino_core(library, os.getpid())
        graph = core.read_model(_graph_for(shape, model.graph, plain))
        graph.reshape({"image": list(shape)})  # a graph of one fixed shape runs faster than one for all
        compiled = core.compile_model(graph, "CPU", options)
        _check_outputs({name for output in compiled.outputs for name in output.names})
        lock = Lock()  # a compiled graph has one set of buffers

        def compute(image: Pixels) -> list[NDArray[Any]]:
            with lock:
                results = compiled({"image": image})
                return [np.array(results[name]) for name in OUTPUTS]

        return compute

    return open_graph


def _graph_for(shape: Shape, graph: bytes, plain: bool) -> bytes:
    """The graph with its large layer in the form that is faster at this size; plain: as it lies in the file.

    Raises ValueError where it wants tensors from other files, which both libraries would take from the working folder.
    """
    if names_other_files(read_model(graph)):
        raise ValueError("it refers to other files")
    return graph if plain else in_spectral_form(graph, *shape[-2:])


def _check_outputs(outputs: set[str]) -> None:
    if missing := set(OUTPUTS) - outputs:
        raise ValueError(f"it has no output {', '.join(sorted(missing))}")


@cache
def _imported(name: str) -> ModuleType | str | None:
    """A runtime's package; why it cannot be imported; None where it is not installed or no runtime of ours."""
    if name not in PACKAGES:
        return None
    try:
        with no_telemetry():
            return import_module(name)
    except Exception as error:  # of any kind: a library that is missing, another build, a file cut short
        if isinstance(error, ModuleNotFoundError) and error.name == name:
            return None
        return f"{type(error).__name__}: {_last_line(error)}"


@cache
def _warn_of(name: str, reason: str) -> None:
    log.warning("%s is installed, but cannot be imported (%s); going on without it", name, reason)


@contextmanager
def _refused_by(name: str) -> Iterator[None]:
    """Turn whatever a library raises over a graph into one line."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        way_out = "try another --runtime, or train again"
        raise ModelFileError(f"{name} cannot run this model file ({_last_line(error)}); {way_out}") from None


def _last_line(error: Exception) -> str:
    """What a library's error of many lines comes to."""
    return quoted((str(error).strip().splitlines() or [type(error).__name__])[-1], 300)


@contextmanager
def no_telemetry() -> Iterator[None]:
    """Keep a runtime that is being imported from writing an identity to the home folder and calling its maker.

    OpenVINO does so by a package of its own, which is kept from being imported; newer releases of ONNX Runtime ask the
    environment.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    name = "openvino_telemetry"
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # documented: makes its import fail
    try:
        yield
    finally:
        del sys.modules[name]
