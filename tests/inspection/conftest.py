"""A tiny detector whose answer can be worked out by hand, in a real model file, and pictures for it."""

import hashlib
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from weakspot.inspection.container import pack
from weakspot.inspection.inspection import Thresholds
from weakspot.inspection.loaded import LoadedDetector
from weakspot.inspection.manifest import ImageSizes, Manifest, SelfTest, ThresholdRecord
from weakspot.inspection.model_file import ModelFile, write_model_file
from weakspot.inspection.runtimes import open_runtime
from weakspot.inspection.selftest import encode_selftest

SIZE = (64, 96)


def made_graph(
    channels: int = 1,
    bit_depth: int = 8,
    outputs: tuple[str, ...] = ("raw_score", "heat_score", "pred_score", "anomaly_map"),
) -> bytes:
    """A cell's logit is 20 × (mean of its 8 × 8 pixels, as a share of full scale, minus a half).

    raw_score is their mean, heat_score the largest.
    """
    scale = 20 / 64 / channels / (2**bit_depth - 1)
    weights = {
        "kernel": np.full((1, channels, 8, 8), scale, np.float32),
        "half": np.array([-10], np.float32),
        "axes": np.array([1, 2, 3]),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["pixels", "kernel", "half"], ["heat"], strides=[8, 8]),
        helper.make_node("Sigmoid", ["heat"], ["anomaly_map"]),
        helper.make_node("ReduceMean", ["heat", "axes"], ["raw_score"], keepdims=0),
        helper.make_node("ReduceMax", ["heat", "axes"], ["heat_score"], keepdims=0),
        helper.make_node("Sigmoid", ["raw_score"], ["pred_score"]),
    ]
    kind = TensorProto.UINT8 if bit_depth == 8 else TensorProto.UINT16
    shapes = {"raw_score": ["N"], "heat_score": ["N"], "pred_score": ["N"], "anomaly_map": ["N", 1, "h", "w"]}
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("image", kind, ["N", channels, "H", "W"])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()


def made_manifest(**changes: Any) -> Manifest:
    values: dict[str, Any] = {
        "name": "made",
        "thresholds": ThresholdRecord.of(
            Thresholds(bad_from=1.0, good_below=-1.0, rule="best_f1", chosen_on="nothing")
        ),
        "size": SIZE,
        "channels": 1,
        "bit_depth": 8,
        "image_sizes": ImageSizes(min=(64, 96), max=(128, 192)),
        "image_std_min": 4.0,
        "selftest": SelfTest(raw_score=0.0, heat_score=0.0),
        "settings": {"size": (64, 96), "seed": 0},
    }
    return Manifest(**(values | changes))


def made_model(graph: bytes | None = None, **changes: Any) -> ModelFile:
    """A model file whose self-test scores are those of its graph."""
    manifest = made_manifest(**changes)
    image = np.random.default_rng(7).integers(0, 2**manifest.bit_depth, (manifest.channels, *manifest.size))
    image = image.astype(np.uint8 if manifest.bit_depth == 8 else np.uint16)
    weights = {
        "shared.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        "mean": np.array(3.5, np.float32),
        "counted": np.array(11),
    }
    model = ModelFile(
        manifest,
        weights,
        graph or made_graph(manifest.channels, manifest.bit_depth),
        encode_selftest(image),
        "# made\n",
    )
    if graph is None:
        answer = open_runtime(model, "onnxruntime", threads=1).run(image[None])
        expected = SelfTest(raw_score=float(answer.raw_score[0]), heat_score=float(answer.heat_score[0]))
        model = replace(model, manifest=manifest.model_copy(update={"selftest": expected}))
    return model


def made_pixels(level: int = 128, seed: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Noise around a grey level: mean `level`, standard deviation about 17."""
    noise = np.random.default_rng(seed).integers(-30, 31, size)
    return np.clip(level + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def make_graph() -> Callable[..., bytes]:
    return made_graph


@pytest.fixture(scope="session")
def make_manifest() -> Callable[..., Manifest]:
    return made_manifest


@pytest.fixture(scope="session")
def make_model() -> Callable[..., ModelFile]:
    return made_model


@pytest.fixture(scope="session")
def make_pixels() -> Callable[..., np.ndarray]:
    return made_pixels


@pytest.fixture(scope="session")
def model(make_model: Callable[..., ModelFile]) -> ModelFile:
    return make_model()


@pytest.fixture
def model_path(tmp_path: Path, model: ModelFile) -> Path:
    path = tmp_path / "made.weakspot"
    write_model_file(path, model)
    return path


@pytest.fixture
def make_detector() -> Callable[..., LoadedDetector]:
    def detector(runtime: str = "onnxruntime", **changes: Any) -> LoadedDetector:
        model = replace(made_model(**changes), sha256="0" * 64)
        return LoadedDetector(model, open_runtime(model, runtime, threads=1))

    return detector


@pytest.fixture
def save_picture() -> Callable[..., Path]:
    def save(path: Path, pixels: np.ndarray | None = None, **how: Any) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(made_pixels() if pixels is None else pixels).save(path, **how)
        return path

    return save


def read_members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="session")
def members_of() -> Callable[[Path], dict[str, bytes]]:
    """A model file's members, read by another tool."""
    return read_members


@pytest.fixture(scope="session")
def repack() -> Callable[[Path, dict[str, bytes]], Path]:
    """Write members under a path with the manifest's checksum made to fit."""

    def write(path: Path, members: dict[str, bytes]) -> Path:
        members["manifest.sha256"] = hashlib.sha256(members["manifest.json"]).hexdigest().encode()
        with open(path, "wb") as file:
            pack(members, file)
        return path

    return write


@pytest.fixture(scope="session")
def forge(repack: Callable[[Path, dict[str, bytes]], Path]) -> Callable[..., Path]:
    """Write a model file anew with changed members, every checksum made to fit: only the content is left to catch."""

    def write(
        path: Path,
        change: Callable[[dict[str, bytes]], None],
        manifest: Callable[[dict[str, Any]], None] = lambda _: None,
    ) -> Path:
        members = read_members(path)
        change(members)
        plain = json.loads(members["manifest.json"])
        plain["members"] = {
            name: hashlib.sha256(data).hexdigest() for name, data in members.items() if not name.startswith("manifest.")
        }
        manifest(plain)
        return repack(path, {**members, "manifest.json": json.dumps(plain).encode()})

    return write


@pytest.fixture(scope="session")
def same() -> Callable[[ModelFile, ModelFile], bool]:
    """Whether two model files in memory hold the same."""

    def compare(one: ModelFile, other: ModelFile) -> bool:
        return (
            one.manifest == other.manifest
            and (one.graph, one.selftest, one.card) == (other.graph, other.selftest, other.card)
            and one.weights.keys() == other.weights.keys()
            and all(np.array_equal(one.weights[name], other.weights[name]) for name in one.weights)
        )

    return compare


@pytest.fixture
def parts(tmp_path: Path, save_picture: Callable[..., Path]) -> Path:
    """A good, a doubtful and a bad picture, one cut short, and things that are no pictures."""
    for name, level in [("good.png", 60), ("sub/doubtful.bmp", 128), ("sub/deeper/bad.tif", 200)]:
        save_picture(tmp_path / "parts" / name, made_pixels(level))
    (tmp_path / "parts" / "cut.png").write_bytes((tmp_path / "parts" / "good.png").read_bytes()[:300])
    (tmp_path / "parts" / "notes.txt").write_text("no picture")
    (tmp_path / "parts" / "Thumbs.db").write_bytes(b"no picture")
    return tmp_path / "parts"
