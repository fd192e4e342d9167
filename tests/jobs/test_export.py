"""What `weakspot export` writes is taken by the programs that it is for, and answers as the model file does."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from tests.inspection.conftest import made_graph, made_manifest, made_model, made_pixels
from tests.inspection.test_drift import CHANGED, part
from weakspot import terminal
from weakspot.data.reading import fit_image
from weakspot.errors import ModelFileError
from weakspot.inspection.drift import limits_of, usual_of
from weakspot.inspection.inspection import Thresholds, sigmoid
from weakspot.inspection.loaded import LoadedDetector
from weakspot.inspection.manifest import ImageSizes
from weakspot.inspection.model_file import read_model_file, write_model_file
from weakspot.inspection.runtimes import open_runtime, openvino_core
from weakspot.jobs import export as jobs
from weakspot.jobs.export import export
from weakspot.jobs.export_graph import OUTPUTS, build_graph
from weakspot.jobs.exported import difference
from weakspot.jobs.quantize import quantized
from weakspot.network.detector import Detector
from weakspot.settings import NetworkSettings
from weakspot.training.export import export_graph

openvino = pytest.importorskip("openvino")
TARGETS = ("onnx", "openvino")
ENDING = {"onnx": ".onnx", "openvino": ".xml"}
MOVED = Thresholds(bad_from=-9.0, good_below=-9.0, rule="none", chosen_on="nothing")
EXACT = {"INFERENCE_PRECISION_HINT": "f32"}
LEVELS = {"good": 60, "review": 128, "bad": 200}


def saved(folder: Path, size: tuple[int, int] = (64, 96), **changes: object) -> Path:
    """A model file whose training pictures all had one size."""
    changes = {"image_sizes": ImageSizes(min=size, max=size), **changes}
    write_model_file(folder / "made.weakspot", made_model(**changes))
    return folder / "made.weakspot"


def labelled(folder: Path, count: int = 4) -> Path:
    for label, level in (("good", 60), ("bad", 200)):
        (folder / label).mkdir(parents=True)
        for seed in range(count):
            Image.fromarray(made_pixels(level, seed)).save(folder / label / f"{seed}.png")
    return folder


def answers(path: Path, image: np.ndarray) -> dict[str, np.ndarray]:
    """As any program runs it: with nothing of ours but OpenVINO's core, of which a process may have one."""
    if path.suffix == ".onnx":
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(None, {session.get_inputs()[0].name: image})))
    compiled = openvino_core(openvino, os.getpid()).compile_model(path, "CPU", EXACT)
    return {output.any_name: np.array(value) for output, value in compiled({"image": image}).items()}


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("channels", "bit_depth", "fit", "size"),
    [
        (1, 8, "stretch", (64, 96)),
        (1, 8, "stretch", (128, 192)),
        (3, 8, "keep", (100, 130)),
        (1, 16, "keep", (150, 210)),
        (3, 16, "stretch", (90, 100)),
    ],
)
def test_a_picture_goes_in_as_the_camera_gives_it_and_the_model_files_answer_comes_out(
    tmp_path, to, level, channels, bit_depth, fit, size
):
    model = saved(tmp_path, size, channels=channels, bit_depth=bit_depth, fit=fit)
    export(model, to, tmp_path / f"part{ENDING[to]}", threads=1)
    shape = size if channels == 1 else (*size, 3)
    pixels = made_pixels(LEVELS[level], 5, shape).astype(np.uint8 if bit_depth == 8 else np.uint16)
    pixels = pixels if bit_depth == 8 else pixels * np.uint16(257)
    expected = LoadedDetector.load_exact(model, 1).inspect(pixels)
    if to == "onnx":
        image = pixels[None, None] if channels == 1 else pixels.transpose(2, 0, 1)[None]
    else:  # as cv2.imread gives it
        image = np.repeat(pixels[..., None], 3, 2)[None] if channels == 1 else pixels[None, ..., ::-1]
    found = answers(tmp_path / f"part{ENDING[to]}", np.ascontiguousarray(image))
    assert expected.decision == level
    assert tuple(found) == OUTPUTS[to]
    assert found["pred_score"].item() == pytest.approx(expected.defect_score, abs=1e-4)
    assert found["anomaly_map"].shape == (1, 1, *expected.heat_map.shape)
    assert np.abs(found["anomaly_map"][0, 0] - expected.heat_map).max() < 1e-4
    assert found["pred_label"].item() is (level == "bad")
    assert np.array_equal(found["pred_mask"], found["anomaly_map"] >= 0.5)
    if to == "onnx":
        assert found["decision"].item() == ["good", "review", "bad"].index(level)
        assert found["raw_score"].item() == pytest.approx(expected.raw_score, abs=1e-4)


@pytest.mark.parametrize("picture", [(128, 192), (97, 141), (48, 80), (333, 150), (64, 97), (211, 96), (64, 96)])
@pytest.mark.parametrize(("bit_depth", "fit"), [(8, "stretch"), (8, "keep"), (16, "keep")])
def test_the_detector_sees_the_very_pixels_that_weakspot_shows_it(picture, bit_depth, fit):
    manifest = made_manifest(bit_depth=bit_depth, fit=fit)
    made = build_graph(made_graph(1, bit_depth), manifest, MOVED, picture, "onnx")
    made.graph.output.append(onnx.helper.make_tensor_value_info("fitted", 1, None))
    pixels = np.random.default_rng(0).integers(0, 2**bit_depth, picture).astype(f"uint{bit_depth}")
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(["fitted"], {"image": pixels[None, None]})
    off = np.abs(found[0] - fit_image(pixels, manifest.size, 1, bit_depth, fit))
    assert off.max() <= (bit_depth == 16), "16 bits are rounded once, from sums of floats"
    assert off.mean() < 0.01


def test_a_score_that_is_no_number_is_bad():
    model = made_model()
    core = onnx.load_from_string(model.graph)
    for tensor in core.graph.initializer:
        if tensor.name == "half":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.array([np.nan], np.float32), "half"))
    made = build_graph(core.SerializeToString(), model.manifest, model.thresholds, (64, 96), "onnx")
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(["pred_label", "decision"], {"image": np.zeros((1, 1, 64, 96), np.uint8)})
    assert [value.item() for value in found] == [True, 2]


def test_pictures_of_many_sizes_that_were_reduced_five_times_can_be_exported(tmp_path):
    """It then takes them at the detector's size, which is smaller than any camera's picture may be."""
    sizes = ImageSizes(min=(320, 480), max=(330, 500))
    write_model_file(tmp_path / "made.weakspot", made_model(image_sizes=sizes, fit="keep"))
    for label, level in (("good", 60), ("bad", 200)):
        (tmp_path / "parts" / label).mkdir(parents=True)
        Image.fromarray(made_pixels(level, 1, (330, 490))).save(tmp_path / "parts" / label / "0.png")
    done = export(tmp_path / "made.weakspot", "onnx", tmp_path / "a.onnx", calibrate=tmp_path / "parts", threads=1)
    assert done.cost.difference.images == 3


@pytest.mark.parametrize("to", TARGETS)
def test_thresholds_stand_inside_and_beside_on_both_scales(tmp_path, to):
    path = tmp_path / f"part{ENDING[to]}"
    export(saved(tmp_path), to, path, threads=1)
    said = json.loads(path.with_suffix(".json").read_text())
    assert said["thresholds"]["raw"] == {"bad_from": 1.0, "good_below": -1.0}
    assert said["thresholds"]["score"] == {"bad_from": sigmoid(1.0), "good_below": sigmoid(-1.0)}
    assert (said["input"]["height"], said["input"]["width"]) == (64, 96)
    assert said["verified"]["difference"]["changed"] == 0
    if to == "onnx":
        meta = onnxruntime.InferenceSession(str(path)).get_modelmeta().custom_metadata_map
        inside, meta = json.loads(meta["weakspot"]), meta
        assert meta["imgsz"] == "[64, 96]"
    else:
        graph = openvino_core(openvino, os.getpid()).read_model(path)
        inside = json.loads(graph.get_rt_info(["model_info", "weakspot"]).astype(str))
        assert float(graph.get_rt_info(["model_info", "image_threshold"]).astype(str)) == sigmoid(1.0)
    assert inside == said


def saved_with_usual(folder: Path, **changes: object) -> Path:
    """A model file that knows what good parts look like."""
    return saved(folder, usual=usual_of([part(seed)[None] for seed in range(20)]), **changes)


def test_a_picture_unlike_the_training_changes_no_decision_and_is_counted(tmp_path, capsys):
    (tmp_path / "parts" / "good").mkdir(parents=True)
    for name, pixels in {"usual": part(100), "moved": CHANGED["likeness"](part(100))}.items():
        Image.fromarray(pixels).save(tmp_path / "parts" / "good" / f"{name}.png")
    done = export(saved_with_usual(tmp_path), "onnx", tmp_path / "a.onnx", calibrate=tmp_path / "parts", threads=1)
    assert (done.cost.difference.changed, done.cost.difference.passed_unlike) == (0, 1)
    terminal.show_exported(done, as_json=False)
    said = " ".join(capsys.readouterr().out.split())
    assert "it passes 1 picture as good that weakspot holds for review as unlike the training's" in said


def test_what_pictures_usually_look_like_stands_beside_the_export(tmp_path):
    model = saved_with_usual(tmp_path)
    export(model, "onnx", tmp_path / "part.onnx", picture=(128, 150), threads=1)
    usual = read_model_file(model).manifest.usual
    said = json.loads((tmp_path / "part.json").read_text())["usual"]
    assert said["layout"] == usual.layout
    assert (said["limits"], said["size"], said["area"]) == (
        {name: list(pair) for name, pair in limits_of(usual).items()}, [64, 96], [64, 96],
    )  # fmt: skip
    export(saved(tmp_path), "onnx", tmp_path / "none.onnx", threads=1)
    assert json.loads((tmp_path / "none.json").read_text())["usual"] is None


def test_the_size_of_picture_that_an_export_takes_is_told_and_its_folder_made(tmp_path, capsys):
    done = export(saved(tmp_path), "onnx", tmp_path / "new" / "deep" / "part.onnx", picture=(128, 150), threads=1)
    assert (tmp_path / "new" / "deep" / "part.json").is_file()
    terminal.show_exported(done, as_json=False)
    assert "takes pictures of 128x150 pixels" in " ".join(capsys.readouterr().out.split())


MODEL_API = """
import json, sys
import numpy as np
from model_api import adapters, models

how = {"device": "CPU", "plugin_config": json.loads(sys.argv[2])}
adapter = adapters.OpenvinoAdapter(adapters.create_core(), sys.argv[1], **how)
detector, answers = models.Model.create_model(adapter), []
for picture in sys.argv[3:]:
    found = detector(np.load(picture))
    shapes = found.anomaly_map.shape, found.pred_mask.shape
    answers.append([type(detector).__name__, float(found.pred_score), found.pred_label, *shapes])
print(json.dumps(answers))
"""  # a process of its own, as model_api makes a core of its own


@pytest.mark.parametrize("channels", [1, 3])
def test_openvinos_model_api_takes_it_as_an_anomaly_model(tmp_path, channels):
    pytest.importorskip("model_api.models")
    model = saved(tmp_path, (128, 160), channels=channels)
    export(model, "openvino", tmp_path / "part.xml", threads=1)
    pictures = {level: np.repeat(made_pixels(LEVELS[level], 3, (128, 160))[..., None], 3, 2) for level in LEVELS}
    for level, picture in pictures.items():  # as cv2.imread gives them
        np.save(tmp_path / f"{level}.npy", picture)
    given = [tmp_path / "part.xml", json.dumps(EXACT), *(tmp_path / f"{level}.npy" for level in LEVELS)]
    done = subprocess.run([sys.executable, "-c", MODEL_API, *given], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    detector = LoadedDetector.load_exact(model, 1)
    for (level, picture), (kind, score, label, *shapes) in zip(pictures.items(), json.loads(done.stdout)):
        assert kind == "AnomalyDetection" and shapes == [[128, 160]] * 2
        assert score == pytest.approx(detector.inspect(picture, "bgr").defect_score, abs=1e-4)
        assert label == str(level == "bad")


@pytest.mark.parametrize("to", TARGETS)
def test_a_servers_folder_holds_what_triton_reads(tmp_path, to):
    config_of = pytest.importorskip("tritonclient.grpc.model_config_pb2").ModelConfig
    text_format = pytest.importorskip("google.protobuf.text_format")
    export(saved(tmp_path), to, tmp_path / "models" / "part", threads=1)
    config = text_format.Parse((tmp_path / "models" / "part" / "config.pbtxt").read_text(), config_of())
    (graph,) = (tmp_path / "models" / "part" / "1").glob(f"model{ENDING[to]}")
    assert config.default_model_filename == graph.name
    (image,) = config.input
    first = -1 if to == "onnx" else 1
    assert list(image.dims) == ([-1, 1, 64, 96] if to == "onnx" else [1, 64, 96, 3])
    found = answers(graph, np.full([abs(side) for side in image.dims], 90, np.uint8))
    assert {output.name: output.data_type for output in config.output} == {
        name: {"f": 11, "b": 1, "i": 9}[value.dtype.kind] for name, value in found.items()
    }
    for output in config.output:
        assert len(output.dims) == found[output.name].ndim and output.dims[0] == first


@pytest.mark.parametrize("to", TARGETS)
def test_fp16_weighs_less_and_decides_alike(tmp_path, to):
    from tests.training.test_export import detector
    from weakspot.training.export import export_graph

    graph = export_graph(detector(body="narrow", decision="heat"), 64, 96, 8)
    write_model_file(tmp_path / "made.weakspot", replace(made_model(), graph=graph))
    sizes = {}
    for precision in ("fp32", "fp16"):
        export(tmp_path / "made.weakspot", to, tmp_path / f"{precision}{ENDING[to]}", precision=precision, threads=1)
        files = [path for path in tmp_path.glob(f"{precision}.*") if path.suffix != ".json"]
        sizes[precision] = sum(path.stat().st_size for path in files)
    assert sizes["fp16"] < 0.6 * sizes["fp32"]


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Path:
    """A model file with a real network's graph, whose scores on the pictures of `labelled` differ by label."""
    from tests.training.test_export import detector
    from weakspot.training.export import export_graph

    folder = tmp_path_factory.mktemp("real")
    graph = export_graph(detector(body="narrow", decision="heat"), 64, 96, 8)
    write_model_file(folder / "made.weakspot", replace(made_model(), graph=graph))
    return folder / "made.weakspot"


@pytest.mark.parametrize("to", TARGETS)
def test_int8_is_calibrated_and_its_cost_told(tmp_path, real, to):
    pytest.importorskip("nncf")
    path = tmp_path / f"part{ENDING[to]}"
    done = export(
        real, to, path, precision="int8", calibrate=labelled(tmp_path / "parts"), allow_changes=True, threads=1
    )
    verified = json.loads(path.with_suffix(".json").read_text())["verified"]
    assert verified["precision"] == "int8"
    assert verified["difference"]["images"] == 9, "the self-test picture and eight others"
    assert 0 < done.cost.difference.score < 0.05
    assert verified["ap_before"] == done.cost.ap_before
    if to == "onnx":
        kinds = [node.op_type for node in onnx.load(path).graph.node]
        assert kinds.count("QuantizeLinear") == kinds.count("Conv") - 2, "the first and the last stay fp32"


def test_int8_does_not_cut_off_what_few_pictures_have(real):
    """A defect is rare: among sixteen pictures to calibrate by, one has it."""
    pytest.importorskip("nncf")
    pictures = [made_pixels(90, seed) for seed in range(16)]
    pictures[0][24:40, 24:56] = 255
    model = read_model_file(real)
    int8 = replace(model, graph=quantized(model.graph, [picture[None] for picture in pictures]))
    exact, rough = (open_runtime(each, "onnxruntime", 1).run(pictures[0][None, None]) for each in (model, int8))
    assert abs(exact.raw_score - rough.raw_score) < 0.02 * abs(exact.raw_score)
    assert np.abs(exact.heat_map - rough.heat_map).max() < 2e-4


def test_int8_of_a_network_that_normalizes_each_picture_takes_more_light_than_it_was_calibrated_by():
    pytest.importorskip("nncf")
    torch.manual_seed(0)
    network = Detector(NetworkSettings(body="narrow", decision="heat", normalization="picture"), 128, 60)
    with torch.no_grad():
        network(torch.rand(4, 1, 64, 64) * 255)  # what its layers see is on a scale
    graph, rng = export_graph(network.eval(), 64, 64, 8), np.random.default_rng(0)
    dark = [rng.integers(50, 80, (1, 64, 64)).astype(np.uint8) for _ in range(6)]
    exact, rough = (
        onnxruntime.InferenceSession(each, providers=["CPUExecutionProvider"])
        for each in (graph, quantized(graph, dark))
    )
    maps = [each.run(["anomaly_map"], {"image": dark[0][None] * 3})[0] for each in (exact, rough)]
    assert np.corrcoef(*(each.ravel() for each in maps))[0, 1] > 0.95


def test_int8_that_changes_a_decision_is_not_written_unless_that_is_allowed(tmp_path, real, monkeypatch):
    pytest.importorskip("nncf")
    other = made_graph()  # decides by brightness, which the real one does not
    monkeypatch.setattr(jobs, "quantized", lambda graph, images: other)
    how = {"precision": "int8", "calibrate": labelled(tmp_path / "parts"), "threads": 1}
    model = without_review(real, tmp_path)
    with pytest.raises(ModelFileError, match=r"int8 export changes \d of 9 decisions, \d of them to good") as refused:
        export(model, "onnx", tmp_path / "part.onnx", **how)
    assert "nothing is written" in str(refused.value) and "\n" not in str(refused.value)
    assert not list(tmp_path.glob("part*.*"))
    done = export(model, "onnx", tmp_path / "part.onnx", allow_changes=True, **how)
    assert done.cost.faults and (tmp_path / "part.onnx").exists()


@pytest.mark.parametrize(
    ("was", "is_now", "counts"),
    [("review", "good", 1), ("review", "bad", 1), ("good", "bad", 1), ("good", "review", 0), ("bad", "review", 0)],
)
def test_a_changed_decision_counts_unless_a_person_looks_at_it_now(was, is_now, counts):
    model = made_model()
    detector = LoadedDetector(model, open_runtime(model, "onnxruntime", 1))
    before, after = (detector.inspect(made_pixels(LEVELS[name])) for name in (was, is_now))
    assert (before.decision, after.decision) == (was, is_now)
    found = {
        "decision": np.array([("good", "review", "bad").index(is_now)]),
        "pred_score": np.array([after.defect_score]),
        "anomaly_map": after.heat_map[None, None],
    }
    limits = Thresholds(bad_from=1.0, good_below=-1.0, rule="", chosen_on="")
    assert difference([before], [found], limits).outside_review == counts


@pytest.mark.parametrize(
    ("labels", "reason"),
    [((), "no labelled pictures were given"), (("good",), "all pictures are good"), (("good", "bad"), "")],
)
def test_an_average_precision_that_was_not_measured_is_told(tmp_path, capsys, labels, reason):
    data = labelled(tmp_path / "parts", 2)
    for label in {"good", "bad"} - set(labels):
        shutil.rmtree(data / label)
    path = tmp_path / "part.onnx"
    done = export(saved(tmp_path), "onnx", path, precision="fp16", calibrate=data if labels else None, threads=1)
    said = json.loads(path.with_suffix(".json").read_text())["verified"]["not_measured"]
    assert reason in said and bool(reason) == bool(said)
    terminal.show_exported(done, as_json=False)
    shown = " ".join(capsys.readouterr().out.split())
    assert said in shown and ("AP" in shown) == (not reason)


def test_int8_that_ranks_worse_is_not_written(tmp_path, monkeypatch):
    darker = -np.array(onnx.numpy_helper.to_array(onnx.load_from_string(made_graph()).graph.initializer[0]))
    flipped = onnx.load_from_string(made_graph())
    flipped.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(darker, "kernel"))
    monkeypatch.setattr(jobs, "quantized", lambda graph, images: flipped.SerializeToString())
    model, data = saved(tmp_path), labelled(tmp_path / "parts")
    with pytest.raises(ModelFileError, match=r"ranks with AP 0\.\d+ instead of 1\.000"):
        export(model, "onnx", tmp_path / "part.onnx", precision="int8", calibrate=data, threads=1)


def test_an_export_of_the_models_own_graph_that_answers_otherwise_is_never_written(tmp_path, monkeypatch):
    made = jobs.build_graph
    monkeypatch.setattr(jobs, "build_graph", lambda core, about, limits, *more: made(core, about, MOVED, *more))
    with pytest.raises(ModelFileError, match=r"fp32 export changes 1 of 1 decisions; nothing is written"):
        export(saved(tmp_path), "onnx", tmp_path / "part.onnx", allow_changes=True, threads=1)
    assert not list(tmp_path.glob("part*"))


def without_review(model: Path, folder: Path) -> Path:
    """The same without a review band: every decision that changes counts."""
    from weakspot.inspection.model_file import read_model_file

    read = read_model_file(model)
    record = read.manifest.thresholds.model_copy(update={"bad_from": 0.0, "good_below": 0.0})
    write_model_file(
        folder / "none.weakspot", replace(read, manifest=read.manifest.model_copy(update={"thresholds": record}))
    )
    return folder / "none.weakspot"


def test_pictures_of_which_only_a_smaller_view_is_kept_are_exported_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("weakspot.inspection.preparation.LARGE", 1)
    monkeypatch.setattr("weakspot.data.large.LONGEST", 32)
    model, data = saved(tmp_path), labelled(tmp_path / "data")
    export(model, "onnx", tmp_path / "part.onnx", precision="fp16", calibrate=data)
    assert (tmp_path / "part.onnx").is_file()
