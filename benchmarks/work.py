"""The works that `speed.py` times, each done by several implementations on the same input. Everything is made from seed
0; no image is read."""

import copy
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import onnxruntime
import openvino
import torch
from PIL import Image
from torch import Tensor, nn

from weakspot.inspection.inspection import Thresholds
from weakspot.inspection.loaded import LoadedDetector
from weakspot.inspection.manifest import ImageSizes, Manifest, SelfTest, ThresholdRecord
from weakspot.inspection.model_file import ModelFile
from weakspot.inspection.runtimes import Memory, open_runtime
from weakspot.inspection.selftest import encode_selftest
from weakspot.jobs.recipes import recipe
from weakspot.network.blocks import Chain
from weakspot.network.detector import Detector
from weakspot.settings import NetworkSettings, TrainSettings
from weakspot.spectral.graph import in_spectral_form
from weakspot.spectral.layer import LargeKernelConv, large_layers
from weakspot.spectral.tiles import choose_tiling, spectral_work
from weakspot.training.batches import TrainingImages
from weakspot.training.export import export_graph
from weakspot.training.loop import train_only
from weakspot.training.sparing import SparingDetector
from weakspot.training.stages import Recipe
from weakspot.training.state import Machine
from weakspot.training.train import run_training, start_training

Size = tuple[int, int]
Run = Callable[[], object]
PRECISIONS = "fp32", "bf16"
CHANNELS = 64, 512  # of the large layer
SHOWN = 8  # made-up pictures, half of them bad, that a whole training sees
OURS = "weakspot"


@dataclass(frozen=True)
class Setting:
    """What a work is done on: pixels of an image, threads, and the third kernel's cells."""

    size: Size
    threads: int
    kernel: int = 15

    @property
    def cells(self) -> Size:
        """Height and width of the heat map."""
        return -(-self.size[0] // 8), -(-self.size[1] // 8)


@dataclass(frozen=True)
class Entry:
    """One implementation of a work. `make` sets it up and returns what is timed; multiply-adds and bytes are the least
    it can do with."""

    implementation: str
    precision: str
    make: Callable[[], Run]
    multiply_adds: float = 0
    moved: float = 0

    @property
    def ours(self) -> bool:
        """Whether it is weakspot's; the others compute the network layer by layer, as everyone would."""
        return OURS in self.implementation


def large_kernel(setting: Setting) -> list[Entry]:
    """The large layer alone, forth and back as in training, on the maps of a pair that have their border."""
    height, width = setting.cells
    macs = 3 * 2 * height * width * setting.kernel**2 * CHANNELS[0] * CHANNELS[1]
    work = spectral_work(
        choose_tiling(height, width, setting.kernel, CHANNELS, 2, learns=True), CHANNELS, 2, learns=True
    )
    entries = []
    for precision in PRECISIONS:
        entries.append(Entry("PyTorch eager", precision, partial(_layer_learns, setting, precision, False), macs))
        ours = partial(_layer_learns, setting, precision, True)
        entries.append(
            Entry(f"PyTorch, {OURS}", precision, ours, 2 * work.transforms + 3 * work.products, 4 * work.moved)
        )
    return entries


def forward(setting: Setting) -> list[Entry]:
    """One image through the whole network on bare runtimes, without reading."""
    work, ours = plain_work(setting), spectral_network_work(setting)
    entries = []
    for precision in PRECISIONS:
        for name, fast in (("plain graph", False), (OURS, True)):
            entries.append(
                Entry(
                    f"OpenVINO, {name}",
                    precision,
                    partial(_openvino, setting, precision, fast),
                    *(ours if fast else work),
                )
            )
            if precision == "fp32":
                entries.append(
                    Entry(
                        f"ONNX Runtime, {name}",
                        precision,
                        partial(_onnxruntime, setting, fast),
                        *(ours if fast else work),
                    )
                )
        entries.append(Entry("PyTorch eager", precision, partial(_torch_sees, setting, precision, False), *work))
        entries.append(Entry(f"PyTorch, {OURS}", precision, partial(_torch_sees, setting, precision, True), *ours))
    return entries


def training_step(setting: Setting) -> list[Entry]:
    """Stage one on a pair: forth, back, one step of gradient descent."""
    (macs, moved), (our_macs, our_moved) = plain_work(setting), spectral_network_work(setting, images=2)
    entries = []
    for precision in PRECISIONS:
        entries.append(
            Entry("PyTorch eager", precision, partial(_learns, setting, precision, False), 6 * macs, 6 * moved)
        )
        entries.append(
            Entry(
                f"PyTorch, {OURS}", precision, partial(_learns, setting, precision, True), 3 * our_macs, 3 * our_moved
            )
        )
    entries.append(
        Entry(
            f"PyTorch, {OURS}, small memory",
            "bf16",
            partial(_learns, setting, "bf16", True, SparingDetector),
            8 * macs,
            8 * moved,
        )
    )
    return entries


def stage_two(setting: Setting) -> list[Entry]:
    """The decision learns from a pair: the frozen parts computed every time, by torch's own layers and by ours, and
    kept."""
    (macs, moved), (our_macs, our_moved) = plain_work(setting), spectral_network_work(setting, images=2)
    decides, decides_moved = (
        4 * work for work in plain_work(setting, "decision")
    )  # of two images, forth and the kernels' gradients at least
    learns, eager = partial(_decision_learns, setting), "PyTorch eager, features computed"
    return [
        Entry(
            eager,
            "bf16",
            partial(learns, kept=False, ours=False),
            2 * macs + decides / 2,
            2 * moved + decides_moved / 2,
        ),
        Entry(
            f"{OURS}, features computed",
            "bf16",
            partial(learns, kept=False),
            our_macs + decides / 2,
            our_moved + decides_moved / 2,
        ),
        Entry(f"{OURS}, features kept", "bf16", partial(learns, kept=True), decides, decides_moved),
    ]


def inspect(setting: Setting) -> list[Entry]:
    """A PNG in memory to an Inspection, beside the bare graph on pixels that are there already, and the plain network
    on pixels that are read."""
    work, ours, entries = plain_work(setting), spectral_network_work(setting), []
    for precision in PRECISIONS:
        entries.append(Entry("OpenVINO, bare graph", precision, partial(_openvino, setting, precision, True), *ours))
        entries.append(Entry(f"OpenVINO, {OURS} inspect", precision, partial(_inspects, setting, precision), *ours))
        plain = partial(_openvino, setting, precision, False)
        entries.append(Entry("OpenVINO, plain graph, read", precision, partial(_reads, setting, plain), *work))
        eager = partial(_torch_sees, setting, precision, False)
        entries.append(Entry("PyTorch eager, read", precision, partial(_reads, setting, eager), *work))
    entries.append(
        Entry(
            "ONNX Runtime, plain graph, read",
            "fp32",
            partial(_reads, setting, partial(_onnxruntime, setting, False)),
            *work,
        )
    )
    entries.append(
        Entry(f"OpenVINO, {OURS} inspect, small memory", "fp32", partial(_inspects, setting, "fp32", "small"), *work)
    )
    return entries


def train_to_model(setting: Setting) -> list[Entry]:
    """The printed recipe at a fiftieth of its steps, all stages, and the graph written: made-up pictures in, graph
    out."""
    (macs, moved), (our_macs, our_moved) = plain_work(setting), spectral_network_work(setting, images=2)
    iterations = [stage.iterations for stage in short_recipe(setting).stages]
    images = (
        2 * (3 * iterations[0] + 3 * iterations[2]) + SHOWN
    )  # forth and back is three times forth; stage two needs each picture once
    entries = []
    for precision in PRECISIONS:
        entries.append(
            Entry(
                "PyTorch eager", precision, partial(_trains, setting, precision, False), images * macs, images * moved
            )
        )
        ours = partial(_trains, setting, precision, True)
        entries.append(Entry(f"PyTorch, {OURS}", precision, ours, images / 2 * our_macs, images / 2 * our_moved))
    return entries


WORKS: dict[str, Callable[[Setting], list[Entry]]] = {
    "large_kernel": large_kernel,
    "forward": forward,
    "training_step": training_step,
    "stage_two": stage_two,
    "inspect": inspect,
    "train_to_model": train_to_model,
}


def short_recipe(setting: Setting) -> Recipe:
    """The printed recipe at a fiftieth of its steps."""
    return recipe(TrainSettings(recipe="paper", third_kernel=setting.kernel), channels=1, schedule=0.02)


@cache
def detector(kernel: int, ours: bool = True, kind: type[Detector] = Detector) -> Detector:
    """The network on the weights of seed 0; not ours: of torch's own layers throughout."""
    torch.manual_seed(0)
    network = kind(NetworkSettings(third_kernel=kernel), mean=128, std=60).to(memory_format=torch.channels_last)
    return network if ours else plain_layers(network)


def plain_layers(network: Detector) -> Detector:
    """The same network, changed in place to torch's own layers."""
    for module in network.modules():
        if isinstance(module, Chain):
            module.__class__ = nn.Sequential
        if isinstance(module, LargeKernelConv):
            module.__class__ = nn.Conv2d
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
    return network


@cache
def graph(kernel: int) -> bytes:
    """The plain ONNX graph."""
    return export_graph(copy.deepcopy(detector(kernel)), 256, 256, 8)


def pixels(size: Size, images: int = 1) -> np.ndarray:
    """(images, 1, H, W) uint8."""
    return np.random.default_rng(0).integers(60, 200, (images, 1, *size), dtype=np.uint8)


def png(setting: Setting) -> bytes:
    """An image as a file."""
    file = io.BytesIO()
    Image.fromarray(pixels(setting.size)[0, 0]).save(file, "PNG")
    return file.getvalue()


def model_file(setting: Setting) -> ModelFile:
    """The network as a model file in memory."""
    nowhere = ThresholdRecord.of(Thresholds(bad_from=0.0, good_below=0.0, rule="best_f1", chosen_on="nothing"))
    sizes, selftest = ImageSizes(min=setting.size, max=setting.size), SelfTest(raw_score=0.0, heat_score=0.0)
    manifest = Manifest(
        name="benchmark",
        thresholds=nowhere,
        size=setting.size,
        channels=1,
        bit_depth=8,
        image_sizes=sizes,
        image_std_min=1.0,
        bf16_margin=0.25,
        selftest=selftest,
    )
    return ModelFile(manifest, {}, graph(setting.kernel), encode_selftest(pixels(setting.size)[0]), "")


def compiled(setting: Setting, precision: str, ours: bool) -> openvino.CompiledModel:
    """The graph, in the spectral form where it is ours, compiled for one size."""
    core = openvino.Core()
    model = core.read_model(in_spectral_form(graph(setting.kernel), *setting.size) if ours else graph(setting.kernel))
    model.reshape([1, 1, *setting.size])
    options = {
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
        "INFERENCE_NUM_THREADS": setting.threads,
    }
    return core.compile_model(model, "CPU", options | {"PERFORMANCE_HINT": "LATENCY"})


def _openvino(setting: Setting, precision: str, ours: bool) -> Run:
    model = compiled(setting, precision, ours)
    return partial(model, {"image": pixels(setting.size)})


def _onnxruntime(setting: Setting, ours: bool) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = setting.threads, 3
    model = in_spectral_form(graph(setting.kernel), *setting.size) if ours else graph(setting.kernel)
    return partial(onnxruntime.InferenceSession(model, options).run, None, {"image": pixels(setting.size)})


def _torch_sees(setting: Setting, precision: str, ours: bool) -> Run:
    network, image = copy.deepcopy(detector(setting.kernel, ours)).eval(), torch.from_numpy(pixels(setting.size))
    for layer in large_layers(network):
        layer.freeze(True)  # as where it scores

    def run() -> None:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            network(image)

    return run


def _learns(setting: Setting, precision: str, ours: bool, kind: type[Detector] = Detector) -> Run:
    network, images = (
        copy.deepcopy(detector(setting.kernel, ours, kind)).train(),
        torch.from_numpy(pixels(setting.size, images=2)),
    )
    optimizer = torch.optim.SGD([*network.shared.parameters(), *network.localization.parameters()], lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            heat = network.heat(network.features(images))
        heat.square().mean().backward()
        optimizer.step()

    return step


def _layer_learns(setting: Setting, precision: str, ours: bool) -> Run:
    layer = copy.deepcopy(
        next(
            module
            for module in detector(setting.kernel, ours).modules()
            if getattr(module, "out_channels", 0) == CHANNELS[1]
        )
    )
    (height, width), border = setting.cells, setting.kernel - 1
    padded = (
        torch.randn(2, CHANNELS[0], height + border, width + border)
        .to(memory_format=torch.channels_last)
        .requires_grad_()
    )

    def step() -> None:
        layer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            answer = layer(padded)
        answer.float().mean().backward()

    return step


def _trains(setting: Setting, precision: str, ours: bool) -> Run:
    images = TrainingImages(pixels(setting.size, SHOWN), np.arange(SHOWN) % 2)

    def train() -> None:
        training = start_training(short_recipe(setting), images, 0, Machine(bf16=precision == "bf16"))
        if not ours:
            plain_layers(training.detector)
        export_graph(run_training(training), *setting.size, 8)

    return train


def _decision_learns(setting: Setting, kept: bool, ours: bool = True) -> Run:
    network, images = (
        copy.deepcopy(detector(setting.kernel, ours)).eval(),
        torch.from_numpy(pixels(setting.size, images=2)),
    )
    optimizer = torch.optim.SGD(train_only(network, ("decision",)), lr=1e-3)

    @torch.no_grad()
    def frozen() -> tuple[Tensor, Tensor]:
        features = network.features(images)
        heat = network.heat(features)
        return network.decision.attended(features, heat), heat

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = network.decision.decide(*(maps if kept else frozen())).square().mean()
        loss.backward()
        optimizer.step()

    with torch.autocast("cpu", torch.bfloat16):
        maps = frozen()
    return step


def _reads(setting: Setting, make: Callable[[], Run]) -> Run:
    """The plain network behind the plainest reader: what the runtime is given are always the same pixels, so that
    reading only adds its time."""
    file, run = png(setting), make()

    def read_and_run() -> None:
        np.asarray(Image.open(io.BytesIO(file)))
        run()

    return read_and_run


def _inspects(setting: Setting, precision: str, memory: Memory = "fast") -> Run:
    model = model_file(setting)
    loaded = LoadedDetector(
        model, open_runtime(model, "openvino", setting.threads, "bf16" if precision == "bf16" else "fp32", memory)
    )
    return partial(loaded.inspect, png(setting))


@cache
def plain_work(setting: Setting, part: str = "") -> tuple[float, float]:
    """`convolution_work` of the printed network, or of a part of it by name."""
    return convolution_work(copy.deepcopy(detector(setting.kernel, ours=False)), setting.size, part)


def convolution_work(network: Detector, size: Size, part: str = "") -> tuple[float, float]:
    """Multiply-adds of all convolutions for one image, and bytes of their maps, each read and written once in fp32;
    counted on a small image.

    network: is changed to torch's own layers; part: of it, by name; all of it by default.
    """
    macs = moved = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs, moved
        assert isinstance(module, nn.Conv2d)
        macs += output.numel() * module.weight[0].numel()
        moved += 4 * (inputs[0].numel() + output.numel())

    for module in plain_layers(network.eval()).get_submodule(part).modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    with torch.no_grad():
        network(torch.zeros(1, 1, 256, 256))
    share = size[0] * size[1] / 256**2
    return macs * share, moved * share


def spectral_network_work(setting: Setting, images: int = 1) -> tuple[float, float]:
    """The same for a batch, with the large layer in the spectral form."""
    (height, width), (macs, moved) = setting.cells, plain_work(setting)
    work = spectral_work(choose_tiling(height, width, setting.kernel, CHANNELS, images), CHANNELS, images)
    others = macs - height * width * setting.kernel**2 * CHANNELS[0] * CHANNELS[1]
    return images * others + work.transforms + work.products, images * moved + 4 * work.moved
