"""The exported graph answers as torch does, for pictures of any size and both depths, or is refused."""

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch

from weakspot.errors import TrainingError
from weakspot.network.detector import Detector
from weakspot.settings import NetworkSettings
from weakspot.training.export import OUTPUTS, TOLERANCE, Parity, compare, export_graph, refuse_differences

SIZES = [(128, 128), (130, 200), (177, 131)]


def detector(**settings: object) -> Detector:
    torch.manual_seed(0)
    made = Detector(NetworkSettings(**{"third_kernel": 7, **settings}), mean=110, std=50)  # type: ignore[arg-type]
    made.train()
    with torch.no_grad():  # batch statistics that differ from the identity, so that folding them can go wrong
        for _ in range(3):
            made(torch.rand(2, made.settings.channels, 64, 64) * 255)
    return made.eval()


def session_of(graph: bytes):
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])

    def run(images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        raw, heat_score, _, heat = session.run(list(OUTPUTS), {"image": images})
        return raw, heat_score, heat[:, 0]

    return run


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"attention": "mask_only"},
        {"channels": 3, "decision_pooling": "lse"},
        {"body": "narrow", "decision": "heat"},
    ],
)
@pytest.mark.parametrize("bit_depth", [8, 16])
def test_a_runtime_answers_as_torch_does(settings: dict, bit_depth: int):
    made = detector(**settings)
    rng, kind = np.random.default_rng(0), np.uint8 if bit_depth == 8 else np.uint16
    run = session_of(export_graph(made, 128, 136, bit_depth))
    pictures = [rng.integers(0, 2**bit_depth, (made.settings.channels, *size)).astype(kind) for size in SIZES]
    parity = compare(made, "onnxruntime", run, pictures, thresholds=(0.0,))
    assert parity.holds
    assert max(parity.raw_score, parity.heat_score, parity.heat_map) < TOLERANCE
    assert parity.images == len(SIZES), "three quarters of these are too small to be compared at"


@pytest.mark.parametrize("ignores", [False, True])
def test_a_picture_s_own_light_is_as_exact_in_colour_as_in_torch(ignores: bool):
    """Over millions of values ONNX Runtime's sums are off where it adds up all axes at once."""
    torch.manual_seed(1)
    rng, size = np.random.default_rng(1), (704, 512)
    settings = {"body": "narrow", "decision": "heat", "top_fractions": (0.01, 0.1)}
    made = Detector(NetworkSettings(channels=3, normalization="picture", **settings), 100.0, 60.0)  # type: ignore[arg-type]
    coarse = np.kron(rng.integers(0, 200, (3, 24, 18)), np.ones((30, 30)))[:, : size[0], : size[1]]
    picture = (coarse + rng.integers(0, 50, (3, *size))).astype(np.uint8)
    for layer in made.modules():  # fitted to the picture in one step, so that heat spreads
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 1.0
    with torch.no_grad():
        made.train()(torch.from_numpy(picture.astype(np.float32))[None])
    if ignores:
        made.ignored = torch.zeros(88, 64)
        made.ignored[:9, :14] = 1
    run = session_of(export_graph(made.eval(), *size, 8))
    parity = compare(made, "onnxruntime", run, [picture[:, ::-1].copy()], thresholds=())
    assert parity.worst < TOLERANCE / 4


def test_pictures_that_are_large_enough_are_compared_at_another_size_too():
    made, sizes = detector(), []
    run = session_of(export_graph(made, 128, 128, 8))

    def recorded(images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        sizes.append(images.shape[2:])
        return run(images)

    pictures = [np.random.default_rng(0).integers(0, 256, (1, 180, 172)).astype(np.uint8)] * 3
    parity = compare(made, "onnxruntime", recorded, pictures, thresholds=())
    assert parity.holds and parity.images == 5
    assert sizes == [(180, 172)] * 3 + [(135, 129)] * 2


def test_a_graph_takes_batches():
    run = session_of(export_graph(detector(), 128, 128, 8))
    pictures = np.random.default_rng(0).integers(0, 256, (3, 1, 128, 128)).astype(np.uint8)
    together = run(pictures)
    alone = run(pictures[1:2])
    assert np.allclose(together[0][1], alone[0][0], atol=1e-5)
    assert together[2].shape == (3, 16, 16)


def test_an_altered_graph_is_refused_and_named():
    made, other = detector(), detector()
    with torch.no_grad():
        other.localization[3].bias += 0.01
    run = session_of(export_graph(other, 128, 128, 8))
    parity = compare(made, "onnxruntime", run, [np.zeros((1, 128, 128), np.uint8)], thresholds=())
    assert not parity.holds
    with pytest.raises(TrainingError, match="onnxruntime"):
        refuse_differences([parity])


def test_one_changed_decision_is_enough_to_refuse():
    same = Parity("openvino", images=8, raw_score=1e-7, heat_score=1e-7, heat_map=1e-7, flips=0)
    assert same.holds
    assert not replace(same, flips=1).holds
