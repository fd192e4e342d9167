"""What computes a detector's answer: ONNX Runtime or OpenVINO on the graph in the model file, or torch on its weights,
behind one small protocol.

Each computes one picture at a time, so that an answer does not depend on which pictures came along with it.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from threading import Lock
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from weakspot.errors import ModelFileError, SettingsError, shown
from weakspot.inspection.model_file import ModelFile
from weakspot.inspection.processor import processor
from weakspot.inspection.spectral_graph import spectral_graph

Name = Literal["auto", "onnxruntime", "openvino", "torch"]
Precision = Literal["fp32", "bf16"]
Memory = Literal["fast", "small"]  # small: the large layer in its plain form, which needs less memory and more time
Pixels = NDArray[Any]  # (N, C, h, w) uint8 or uint16, raw
OUTPUTS = ("raw_score", "heat_score", "anomaly_map")  # of the graph's outputs, those that are asked for
_PACKAGES = {"onnxruntime": "weakspot", "openvino": "weakspot[openvino]", "torch": "weakspot[train]"}
_KEPT_SHAPES = 4  # graphs that a runtime keeps open at a time; one is all that inspection needs


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
        """(N, C, h, w) raw pixels → Answer. Any N; usable from several threads."""
        ...


def present_runtimes() -> tuple[str, ...]:
    """The runtimes that are installed here, in the order in which `open_runtime` prefers them."""
    return tuple(name for name in _PACKAGES if find_spec(name) is not None)


def open_runtime(
    model: ModelFile,
    prefer: str = "auto",
    threads: int | None = None,
    precision: Precision = "fp32",
    memory: Memory = "fast",
) -> Runtime:
    """A runtime ready to run `model`; `auto` is the first one present, whichever is faster: what makes figures must not
    depend on a measurement.

    threads: None for all cores this process may use. bf16: OpenVINO alone, and faster only where the CPU has it. Raises
    SettingsError when it is not installed or cannot do what is asked, ModelFileError when it cannot take the graph.
    """
    present = present_runtimes()
    name = present[0] if prefer == "auto" and present else prefer
    if name not in present:
        package, others = _PACKAGES.get(name, "weakspot"), " or ".join(present) or "another"
        raise SettingsError(f"runtime {name}: not installed; run: pip install '{package}', or take {others}")
    if precision != "fp32" and name != "openvino":
        raise SettingsError(f"precision {precision}: not offered by {name}; take runtime openvino, or fp32")
    threads = threads or usable_cores()
    if name == "openvino":
        return OpenVino(model, threads, precision, memory)
    return OnnxRuntime(model, threads, memory) if name == "onnxruntime" else _open_torch(model, threads, memory)


def offers_bf16() -> bool:
    """Whether OpenVINO is here and this processor multiplies in bf16; elsewhere OpenVINO would take it, and convert at
    every step."""
    if "openvino" not in present_runtimes():
        return False
    with _no_telemetry():
        import openvino
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def usable_cores() -> int:
    """Cores that this process may run on, which in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class OnnxRuntime:
    """The graph on ONNX Runtime's CPU provider, in fp32; a session for each of the shapes it meets."""

    name = "onnxruntime"
    precision: Precision = "fp32"

    def __init__(self, model: ModelFile, threads: int, memory: Memory = "fast") -> None:
        with _no_telemetry():
            import onnxruntime
        self._open = onnxruntime.InferenceSession
        self._options = onnxruntime.SessionOptions()
        self._options.intra_op_num_threads, self._options.inter_op_num_threads = threads, 1
        self._options.log_severity_level = 3  # errors; they are raised as well
        self._options.enable_cpu_mem_arena = (
            memory == "fast"
        )  # what it frees between two images is kept, or handed back
        self._graph, self._plain = model.graph, memory == "small"
        self._sessions = _ByShape(self._session)
        with _refused_by(self.name):
            session = self._sessions.get((1, model.manifest.channels, *model.manifest.size))
            _check_outputs({output.name for output in session.get_outputs()})

    def run(self, images: Pixels) -> Answer:
        """(N, C, h, w) raw pixels → Answer."""
        session = self._sessions.get((1, *images.shape[1:]))
        return _one_by_one(images, lambda image: session.run(OUTPUTS, {"image": image}))

    def _session(self, shape: tuple[int, ...]) -> Any:
        return self._open(
            _graph_for(shape, self._graph, self._plain), self._options, providers=["CPUExecutionProvider"]
        )


class OpenVino:
    """The graph on OpenVINO's CPU plug-in, compiled for the shapes it meets; in fp32, for its own choice would be bf16
    where the CPU has it."""

    name = "openvino"

    def __init__(self, model: ModelFile, threads: int, precision: Precision = "fp32", memory: Memory = "fast") -> None:
        with _no_telemetry():
            import openvino
        self._core, self.precision = openvino.Core(), precision
        self._options = {
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
            "EXECUTION_MODE_HINT": "ACCURACY" if precision == "fp32" else "PERFORMANCE",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
        }
        self._graph, self._plain = (
            model.graph,
            memory == "small" or (precision == "bf16" and "amx_bf16" in processor().instructions),
        )
        self._compiled = _ByShape(self._compile)
        self._lock = Lock()  # a compiled graph has one set of buffers
        with _refused_by(self.name):
            compiled = self._compiled.get((1, model.manifest.channels, *model.manifest.size))
            _check_outputs({name for output in compiled.outputs for name in output.names})

    def run(self, images: Pixels) -> Answer:
        """(N, C, h, w) raw pixels → Answer."""
        with self._lock:
            return _one_by_one(images, self._infer)

    def _infer(self, image: Pixels) -> list[NDArray[Any]]:
        results = self._compiled.get(image.shape)({"image": image})
        return [results[name] for name in OUTPUTS]

    def _compile(self, shape: tuple[int, ...]) -> Any:
        """A graph of one fixed shape runs faster than one for all."""
        graph = self._core.read_model(_graph_for(shape, self._graph, self._plain))
        graph.reshape({"image": list(shape)})
        return self._core.compile_model(graph, "CPU", self._options)


class _ByShape:
    """What was made for the last few shapes (N, C, h, w). Usable from several threads."""

    def __init__(self, make: Callable[[tuple[int, ...]], Any]) -> None:
        self._make, self._lock = make, Lock()
        self.made: dict[tuple[int, ...], Any] = {}

    def get(self, shape: tuple[int, ...]) -> Any:
        with self._lock:
            if shape not in self.made:
                if len(self.made) == _KEPT_SHAPES:
                    del self.made[next(iter(self.made))]
                self.made[shape] = self._make(shape)
            return self.made[shape]


def _open_torch(model: ModelFile, threads: int, memory: Memory) -> Runtime:
    """The torch runtime lives with the network, above this folder; it is named here as text, so that nothing here needs
    torch to be imported."""
    with _refused_by("torch"):
        runtime: Runtime = import_module("weakspot.network.runtime").TorchRuntime(model, threads, memory)
        return runtime


def _one_by_one(images: Pixels, infer: Callable[[Pixels], list[NDArray[Any]]]) -> Answer:
    raw_scores, heat_scores, heat_maps = [], [], []
    for index in range(len(images)):
        raw_score, heat_score, heat_map = infer(np.ascontiguousarray(images[index : index + 1]))
        raw_scores.append(float(raw_score.item()))
        heat_scores.append(float(heat_score.item()))
        heat_maps.append(np.array(heat_map[0, 0], np.float32))  # a copy: the runtime may use its buffer again
    return Answer(np.array(raw_scores), np.array(heat_scores), np.stack(heat_maps))


def _graph_for(shape: tuple[int, ...], graph: bytes, plain: bool) -> bytes:
    """The graph with its large layer in the form that is faster at this size. plain: as it lies in the file, which
    takes less memory.

    With matrix units the plain form is the faster one in bf16, for it runs near their rate.
    """
    return _self_contained(graph) if plain else spectral_graph(_self_contained(graph), *shape[-2:])


def _self_contained(graph: bytes) -> bytes:
    """Refuse a graph that wants tensors from other files: both runtimes would look for them in the working
    directory."""
    if (
        b"\n\x08location\x12" in graph
    ):  # protobuf: a map entry whose key is `location`, which is how ONNX names such a file
        raise ValueError("it refers to other files")
    return graph


def _check_outputs(outputs: set[str]) -> None:
    if missing := set(OUTPUTS) - outputs:
        raise ValueError(f"it has no output {', '.join(sorted(missing))}")


@contextmanager
def _refused_by(name: str) -> Iterator[None]:
    """Runtimes raise errors of many kinds and many lines; of each the last line is told."""
    try:
        yield
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        way_out = "try another --runtime, or train again"
        raise ModelFileError(f"{name} cannot run this model file ({shown(lines[-1])}); {way_out}") from None


@contextmanager
def _no_telemetry() -> Iterator[None]:
    """Importing a runtime writes an identity to the home folder and calls its maker's server.

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
