"""In tiles a picture is judged as it is whole: the same heat, the same raw score."""

from collections.abc import Callable
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tifffile
import torch
from onnx import helper

from weakspot.data import large
from weakspot.errors import ImageError, ModelFileError, SettingsError
from weakspot.inspection import fastest, tiling
from weakspot.inspection.fastest import selftest_image
from weakspot.inspection.heat_graph import HeatGraph, heat_graph
from weakspot.inspection.inspection import flat_row
from weakspot.inspection.loaded import LoadedDetector
from weakspot.inspection.manifest import ImageSizes, SelfTest
from weakspot.inspection.model_file import ModelFile, write_model_file
from weakspot.inspection.runtimes import open_runtime, present_runtimes
from weakspot.inspection.tiling import TiledRuntime, needs_tiles, tile_size, windows
from weakspot.inspection.timings import Timing
from weakspot.network.detector import Detector
from weakspot.settings import NetworkSettings
from weakspot.training.export import export_graph

SIZE = (301, 420)  # no whole cells on either side


def noise(channels: int = 1, size: tuple[int, int] = SIZE, kind: type = np.uint8) -> np.ndarray:
    """Coarse and fine, so that heat differs from place to place."""
    rng = np.random.default_rng(3)
    coarse = np.kron(rng.integers(0, 200, (channels, -(-size[0] // 30), -(-size[1] // 30))), np.ones((30, 30)))
    pixels = coarse[:, : size[0], : size[1]] + rng.integers(0, 50, (channels, *size))
    return (pixels * (1 if kind is np.uint8 else 257)).astype(kind)


@pytest.fixture(scope="module")
def sharp(make_model: Callable[..., ModelFile]) -> Callable[..., ModelFile]:
    def model(size: tuple[int, int] = SIZE, kind: type = np.uint8, **network: Any) -> ModelFile:
        torch.manual_seed(0)
        known = {"body": "narrow", "decision": "heat", "top_fractions": (0.01, 0.1)}
        settings = NetworkSettings(**known | network)
        detector = Detector(settings, 100.0 * (1 if kind is np.uint8 else 257), 60.0 * (1 if kind is np.uint8 else 257))
        picture = torch.from_numpy(noise(settings.channels, size, kind).astype(np.float32))[None]
        for layer in detector.modules():  # fitted to the picture in one step, so that logits spread around zero
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = 1.0
        with torch.no_grad():
            detector.train()(picture)
        bits = 8 * np.dtype(kind).itemsize
        graph = export_graph(detector.eval(), *size, bits)
        about = {"size": size, "channels": settings.channels, "bit_depth": bits, "network": asdict(settings)}
        about["image_sizes"] = ImageSizes(min=(64, 64), max=(1000, 1000))
        weights = {name: tensor.numpy() for name, tensor in detector.state_dict().items()}
        return replace(make_model(graph, **about), weights=weights)

    return model


@pytest.mark.parametrize(
    ("network", "kind", "megabytes"),
    [
        ({"normalization": "picture"}, np.uint8, 12),
        ({"normalization": "training", "channels": 3}, np.uint8, 15),
        ({"normalization": "picture"}, np.uint16, 20),
        ({"normalization": "picture", "body": "printed"}, np.uint8, 180),
    ],
    ids=["own light", "colour", "16 bit", "printed body"],
)
def test_in_tiles_heat_and_raw_score_are_those_of_the_whole(sharp, network, kind, megabytes):
    model = sharp(kind=kind, **network)
    images = noise(network.get("channels", 1), kind=kind)[None]
    whole = open_runtime(model, "onnxruntime", threads=1).run(images)
    tiled = TiledRuntime(model, "onnxruntime", 1, max_memory=megabytes)
    assert tiled._tile[0] < SIZE[0] and tiled._tile[1] < SIZE[1]
    found = tiled.run(images)
    assert whole.heat_map.std() > 0.05  # a heat that a wrong overlap would show in
    assert np.abs(found.heat_map - whole.heat_map).max() < 1e-4
    assert found.raw_score == pytest.approx(whole.raw_score, abs=1e-4)
    assert found.heat_score == pytest.approx(whole.heat_score, abs=1e-4)


def test_a_narrower_margin_than_the_layers_need_would_show(sharp, monkeypatch):
    model = sharp(normalization="training")
    whole = open_runtime(model, "onnxruntime", threads=1).run(noise()[None])
    tiled = TiledRuntime(model, "onnxruntime", 1, max_memory=12)
    monkeypatch.setattr(tiled, "_cut", replace(tiled._cut, margin=tiled._cut.margin - 8))
    assert np.abs(tiled.run(noise()[None]).heat_map - whole.heat_map).max() > 1e-4


def test_the_margin_is_that_of_the_layers(sharp):
    assert heat_graph(sharp((128, 128))).margin == 32  # a cell sees 64 pixels, 28 beyond each side of its own 8
    assert heat_graph(sharp((128, 128), body="printed")).margin == 112  # 228
    assert heat_graph(sharp((128, 128), body="printed", third_kernel=7)).margin == 80  # 164


@pytest.mark.parametrize(
    ("length", "tile", "margin"), [(1000, 128, 32), (301, 149, 32), (128, 128, 32), (137, 129, 8), (2100, 1028, 112)]
)
def test_windows_cover_a_side_once_with_their_margins(length, tile, margin):
    covered = 0
    for window in windows(length, tile, margin):
        assert window.kept_from == covered and window.stop - window.start == tile and window.start % 8 == 0
        assert window.start == 0 or window.kept_from - window.start >= margin
        assert window.stop == length or window.stop - window.kept_to >= margin
        covered = window.kept_to
    assert covered == length


@pytest.mark.parametrize("size", [(2100, 4100), (2500, 5000), (133, 9001), (9001, 133), (1003, 1003)])
@pytest.mark.parametrize("megabytes", [20, 100, 1000, float("inf")])
def test_all_tiles_have_one_shape_for_which_memory_is_kept(size, megabytes):
    cut = HeatGraph(b"", 32, 264.0, 0.0)
    tile = tile_size(size, cut, megabytes)
    assert tile[0] * tile[1] * cut.bytes_a_pixel <= 0.25 * megabytes * 1e6
    assert tile == size or tile[0] * tile[1] * cut.bytes_a_pixel > 0.12 * megabytes * 1e6, "much smaller than it may be"
    shapes = {
        (down.stop - down.start, across.stop - across.start)
        for down in windows(size[0], tile[0], 32)
        for across in windows(size[1], tile[1], 32)
    }
    assert shapes == {tile}


def test_one_graph_is_opened_for_all_tiles(sharp):
    tiled = TiledRuntime(sharp(), "onnxruntime", 1, max_memory=12)
    tiled.run(noise()[None])
    assert list(tiled._runtime._opened.made) == [(1, 1, *tiled._tile)]


def test_tiles_are_taken_where_the_whole_takes_too_much(sharp, tmp_path: Path):
    model = sharp()
    path = tmp_path / "a.weakspot"
    write_model_file(path, model)
    assert not needs_tiles(model, 1000)
    tiled = LoadedDetector.load(path, "onnxruntime", 1, max_memory=20)
    assert isinstance(tiled.runtime, TiledRuntime)
    whole = LoadedDetector.load(path, "onnxruntime", 1)
    assert not isinstance(whole.runtime, TiledRuntime)
    one, other = (each.inspect(noise()[0]) for each in (tiled, whole))
    assert one.raw_score == pytest.approx(other.raw_score, abs=1e-4)
    assert one.decision == other.decision and len(one.regions) == len(other.regions)


def test_figures_and_the_self_test_keep_to_the_same_memory_in_tiles(sharp, tmp_path: Path, monkeypatch):
    model = sharp()
    answer = open_runtime(model, "onnxruntime", 1).run(selftest_image(model)[None])
    scores = SelfTest(raw_score=float(answer.raw_score[0]), heat_score=float(answer.heat_score[0]))
    write_model_file(
        tmp_path / "a.weakspot", replace(model, manifest=model.manifest.model_copy(update={"selftest": scores}))
    )
    opened, run = [], TiledRuntime.run
    monkeypatch.setattr(tiling, "MAX_MEMORY", 20)
    monkeypatch.setattr(tiling.TiledRuntime, "run", lambda self, images: opened.append(self.name) or run(self, images))
    detector = LoadedDetector.load_exact(tmp_path / "a.weakspot", 1)
    assert isinstance(detector.runtime, TiledRuntime)
    assert all(each.ok for each in detector.verify(threads=1))
    assert opened == list(present_runtimes())


def test_measuring_which_runtime_is_faster_keeps_to_the_memory(sharp, monkeypatch):
    """16 MB for the picture whole: one graph fits into half of 40, two at once do not."""
    measured = []
    monkeypatch.setattr(fastest, "measure", lambda model, _: measured.append(model) or Timing(None, {}))
    monkeypatch.setattr(fastest, "known_times", lambda *_: {})
    assert fastest.open_fastest(sharp(), threads=1, max_memory=40).name == present_runtimes()[0]
    assert not measured
    fastest.open_fastest(sharp(), threads=1, max_memory=400)
    assert measured
    assert isinstance(fastest.open_fastest(sharp(), threads=1, max_memory=30), TiledRuntime)


def test_a_large_tiff_is_judged_from_its_strips(sharp, tmp_path: Path, monkeypatch):
    detector = LoadedDetector(model := sharp(), open_runtime(model, "onnxruntime", threads=1))
    path = tmp_path / "scan.tif"
    tifffile.imwrite(path, noise(size=(602, 840))[0], rowsperstrip=16)
    whole = detector.inspect(path)
    monkeypatch.setattr("weakspot.inspection.preparation.decode_image", lambda *_: pytest.fail("decoded whole"))
    monkeypatch.setattr("weakspot.inspection.preparation.read_image", lambda *_: pytest.fail("decoded whole"))
    monkeypatch.setattr(large, "LARGE", 500_000)
    monkeypatch.setattr(large, "LONGEST", 100)
    prepared = detector.prepare(path)
    assert prepared.pixels.shape == (72, 100)
    assert prepared.decoded_bytes == 602 * 840, "what reading ahead counts"
    found = detector.judge(prepared)
    assert found.image == whole.image
    assert found.raw_score == whole.raw_score


def test_too_little_memory_for_a_tile_and_foreign_graphs_are_told(sharp, make_model):
    with pytest.raises(SettingsError, match=r"--max-memory 5: this detector needs at least 9 \(megabytes\)"):
        TiledRuntime(sharp(), "onnxruntime", 1, max_memory=5)
    with pytest.raises(ModelFileError, match="not one of weakspot's own"):
        heat_graph(make_model())


def damage_ring(graph: onnx.GraphProto) -> None:
    logits = next(node for node in graph.node if node.output[0] == "anomaly_map")
    logits.input[0] = "one"
    graph.node.extend([helper.make_node("Relu", ["one"], ["other"]), helper.make_node("Relu", ["other"], ["one"])])


def damage_stride(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name == "strides":
                attribute.ints[:] = [0, 0]


def damage_kernel(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name == "kernel_shape" and node.op_type == "Conv":
                attribute.ints[:] = [-900, -900]


@pytest.mark.parametrize("damage", [damage_ring, damage_stride, damage_kernel])
def test_a_hostile_graph_is_refused_at_once(sharp, damage):
    model = sharp((128, 128))
    graph = onnx.load_from_string(model.graph)
    damage(graph.graph)
    with pytest.raises(ModelFileError, match="not one of weakspot's own"):
        heat_graph(replace(model, graph=graph.SerializeToString()))


@pytest.mark.parametrize("fractions", [None, [], 0.1, ["0.1"], [0.1, 2.0], [0.0]])
def test_a_manifest_that_does_not_tell_how_heat_is_scored_is_refused(sharp, fractions):
    model = sharp((128, 128))
    network = {**model.manifest.network, "top_fractions": fractions}
    with pytest.raises(
        ModelFileError, match=r"model made: top_fractions are .*, not shares of its cells; copy it again"
    ):
        TiledRuntime(replace(model, manifest=model.manifest.model_copy(update={"network": network})), "onnxruntime", 1)


@pytest.fixture
def hot_corner(sharp, tmp_path: Path) -> tuple[Path, np.ndarray]:
    """A model file, and a picture whose upper left quarter is the hottest."""
    path = tmp_path / "a.weakspot"
    write_model_file(path, sharp())
    pixels = noise()[0]
    pixels[:96, :96] = np.random.default_rng(0).integers(0, 2, (96, 96)) * 255
    return path, pixels


def test_ignored_cells_neither_score_nor_show_heat(hot_corner, tmp_path: Path):
    path, pixels = hot_corner
    mask = np.zeros(SIZE, np.uint8)
    mask[:160, :160] = 255
    tifffile.imwrite(tmp_path / "mask.tif", mask)
    whole = LoadedDetector.load(path, "onnxruntime", 1).inspect(pixels)
    found = LoadedDetector.load(path, "onnxruntime", 1, ignore=tmp_path / "mask.tif").inspect(pixels)
    left = np.ones(whole.heat_map.shape, bool)
    left[:20, :20] = False
    logits = np.sort(np.log(whole.heat_map[left] / (1 - whole.heat_map[left])))[::-1]
    expected = np.mean([logits[: int(np.ceil(share * len(logits)))].mean() for share in (0.01, 0.1)])
    assert found.raw_score == pytest.approx(expected, abs=1e-3)
    assert (found.heat_map[:20, :20] == 0).all()
    digest = sha256((tmp_path / "mask.tif").read_bytes()).hexdigest()
    assert (found.as_dict()["ignore_mask_sha256"], whole.as_dict()["ignore_mask_sha256"]) == (digest, None)
    assert flat_row(found.as_dict())["ignore_mask_sha256"] == digest
    assert np.abs(found.heat_map[left] - whole.heat_map[left]).max() < 1e-4


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros(SIZE, np.uint8), "ignores nothing; make white"),
        (np.full(SIZE, 255, np.uint8), "ignores everything"),
        (np.eye(1000, dtype=np.uint8) * 255, "ignores nothing at the detector's size"),
        (np.eye(100, 2000, dtype=np.uint8) * 255, "of other proportions than the training pictures"),
    ],
    ids=["nothing", "everything", "too thin", "other proportions"],
)
def test_a_mask_that_cannot_be_meant_is_refused(hot_corner, tmp_path: Path, mask, message):
    tifffile.imwrite(tmp_path / "mask.tif", mask)
    with pytest.raises(ImageError, match=rf"mask\.tif: .*{message}"):
        LoadedDetector.load(hot_corner[0], "onnxruntime", 1, ignore=tmp_path / "mask.tif")


def test_a_detector_that_decides_by_a_network_ignores_nothing(sharp, tmp_path: Path):
    write_model_file(path := tmp_path / "a.weakspot", sharp(decision="replace", body="printed", third_kernel=3))
    with pytest.raises(SettingsError, match=r"--ignore mask\.png: .* train with --recipe sharp"):
        LoadedDetector.load(path, "onnxruntime", 1, ignore=Path("mask.png"))


def test_a_picture_of_other_proportions_than_its_mask_is_refused(hot_corner, tmp_path: Path):
    mask = np.zeros(SIZE, np.uint8)
    mask[:160, :160] = 255
    tifffile.imwrite(tmp_path / "mask.tif", mask)
    detector = LoadedDetector.load(hot_corner[0], "onnxruntime", 1, ignore=tmp_path / "mask.tif")
    detector.inspect(noise(size=(602, 838))[0])
    with pytest.raises(ImageError, match=r"420 × 331 pixels, of other proportions than the mask .*\(420 × 301\)"):
        detector.inspect(noise(size=(331, 420))[0])


def test_a_large_tiff_of_another_shape_is_refused_before_its_strips_are_read(sharp, tmp_path: Path, monkeypatch):
    detector = LoadedDetector(model := sharp(), open_runtime(model, "onnxruntime", threads=1))
    tifffile.imwrite(tmp_path / "scan.tif", noise(size=(5000, 840))[0], rowsperstrip=16)
    monkeypatch.setattr(large, "LARGE", 500_000)
    monkeypatch.setattr(large, "_read", lambda *_: pytest.fail("its strips were read"))
    with pytest.raises(ImageError, match=r"^\S*scan\.tif: 840 × 5000 pixels, more than 4 times larger"):
        detector.prepare(tmp_path / "scan.tif")


@pytest.mark.parametrize("size", [(128, 600), (600, 128)])
def test_unbounded_memory_is_taken_and_what_is_no_number_is_not(hot_corner, sharp, size):
    tiled = TiledRuntime(sharp(size), "onnxruntime", 1, max_memory=float("inf"))
    assert tiled._tile == size
    with pytest.raises(SettingsError, match="--max-memory nan: needed is a number of megabytes"):
        LoadedDetector.load(hot_corner[0], "onnxruntime", 1, max_memory=float("nan"))
