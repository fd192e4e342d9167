import importlib
import inspect
import os
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, load_from_string

from weakspot.errors import ModelFileError, SettingsError
from weakspot.inspection import runtimes
from weakspot.inspection.fastest import open_fastest
from weakspot.inspection.opened import Opened
from weakspot.inspection.runtimes import open_runtime, present_runtimes

GRAPH_RUNTIMES = ("onnxruntime", "openvino")


def pictures(channels=1, bit_depth=8, count=3, size=(64, 96)) -> np.ndarray:
    values = np.random.default_rng(1).integers(0, 2**bit_depth, (count, channels, *size))
    return values.astype(np.uint8 if bit_depth == 8 else np.uint16)


@pytest.mark.parametrize("runtime", GRAPH_RUNTIMES)
@pytest.mark.parametrize(("channels", "bit_depth"), [(1, 8), (3, 8), (1, 16), (3, 16)])
def test_the_graph_is_answered_as_worked_out_by_hand(make_model, runtime, channels, bit_depth):
    images = pictures(channels, bit_depth)
    answer = open_runtime(make_model(channels=channels, bit_depth=bit_depth), runtime, threads=1).run(images)
    cells = images.reshape(3, channels, 8, 8, 12, 8).astype(np.float64).mean((1, 3, 5)) / (2**bit_depth - 1)
    logits = 20 * (cells - 0.5)
    assert np.allclose(answer.raw_score, logits.mean((1, 2)), atol=1e-4)
    assert np.allclose(answer.heat_score, logits.max((1, 2)), atol=1e-4)
    assert np.allclose(answer.heat_map, 1 / (1 + np.exp(-logits)), atol=1e-5)
    assert (answer.raw_score.dtype, answer.heat_score.dtype, answer.heat_map.dtype) == (
        np.float64,
        np.float64,
        np.float32,
    )


def test_runtimes_agree(make_model):
    one, other = (open_runtime(make_model(), name, threads=1).run(pictures()) for name in GRAPH_RUNTIMES)
    assert np.abs(one.raw_score - other.raw_score).max() < 1e-5
    assert np.abs(one.heat_map - other.heat_map).max() < 1e-6


@pytest.mark.parametrize("runtime", GRAPH_RUNTIMES)
def test_an_answer_does_not_depend_on_its_neighbours(model, runtime):
    opened = open_runtime(model, runtime, threads=1)
    together = opened.run(pictures(count=4))
    for index, image in enumerate(pictures(count=4)):
        alone = opened.run(image[None])
        assert alone.raw_score[0] == together.raw_score[index]
        assert np.array_equal(alone.heat_map[0], together.heat_map[index])


@pytest.mark.parametrize("runtime", GRAPH_RUNTIMES)
def test_any_size_can_be_asked_and_answers_stay_when_the_next_is_asked(model, runtime):
    opened = open_runtime(model, runtime, threads=1)
    first = opened.run(pictures())
    kept = first.heat_map.copy()
    for size in [(64, 64), (72, 80), (128, 64), (80, 80), (96, 96), (104, 64)]:
        assert opened.run(pictures(size=size)).heat_map.shape == (3, size[0] // 8, size[1] // 8)
    assert np.array_equal(first.heat_map, kept)


@pytest.mark.parametrize("runtime", GRAPH_RUNTIMES)
def test_several_threads_get_the_answers_of_their_own_pictures(model, runtime):
    opened = open_runtime(model, runtime, threads=1)
    images = pictures(count=8)
    expected = [opened.run(image[None]).raw_score[0] for image in images]
    found: dict[int, list[float]] = {}

    def ask(index: int) -> None:
        found[index] = [opened.run(images[index][None]).raw_score[0] for _ in range(20)]

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {index: [expected[index]] * 20 for index in range(8)}


@pytest.mark.parametrize("runtime", GRAPH_RUNTIMES)
@pytest.mark.parametrize("graph", [b"", b"garbage", "cut"])
def test_a_graph_that_is_none_is_refused_in_one_line(model, runtime, graph):
    with pytest.raises(ModelFileError, match=f"{runtime} cannot run this model file") as refused:
        open_runtime(replace(model, graph=model.graph[:100] if graph == "cut" else graph), runtime)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("runtime", GRAPH_RUNTIMES)
def test_a_graph_without_our_outputs_is_refused(model, make_graph, runtime):
    with pytest.raises(ModelFileError, match="no output heat_score"):
        open_runtime(replace(model, graph=make_graph(outputs=("raw_score", "anomaly_map"))), runtime)


def in_other_order(data: bytes) -> bytes:
    """The entry that names the file with its value before its key, which protobuf takes as well."""
    plain, other = b"\x0a\x08location\x12\x0asecret.bin", b"\x12\x0asecret.bin\x0a\x08location"
    assert data.count(plain) == 1
    return data.replace(plain, other)


def as_initializer(model: ModelProto, tensor: TensorProto) -> None:
    model.graph.initializer.append(tensor)


def as_constant(model: ModelProto, tensor: TensorProto) -> None:
    model.graph.node.insert(0, helper.make_node("Constant", [], [tensor.name], value=tensor))


def as_list_of_a_node(model: ModelProto, tensor: TensorProto) -> None:
    as_initializer(model, TensorProto(name="kernel", dims=[0], data_type=1))
    model.graph.node[0].attribute.append(helper.make_attribute("more", [tensor]))


def in_a_nested_graph(model: ModelProto, tensor: TensorProto) -> None:
    inner = helper.make_graph([], "inner", [], [], [tensor])
    middle = helper.make_graph([helper.make_node("If", ["x"], ["y"], then_branch=inner)], "middle", [], [])
    model.graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=middle))


def as_sparse(model: ModelProto, tensor: TensorProto) -> None:
    indices = TensorProto(name="places", dims=[1], data_type=7, int64_data=[0])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(tensor, indices, [8]))


def as_sparse_constant(model: ModelProto, tensor: TensorProto) -> None:
    node = helper.make_node("Constant", [], ["kernel"])
    indices = TensorProto(name="places", dims=[1], data_type=7, int64_data=[0])
    node.attribute.add(name="sparse_value", sparse_tensor=helper.make_sparse_tensor(tensor, indices, [8]), type=11)
    model.graph.node.insert(0, node)


def in_a_function(model: ModelProto, tensor: TensorProto) -> None:
    node = helper.make_node("Constant", [], ["y"], value=tensor)
    model.functions.append(helper.make_function("own", "f", [], ["y"], [node], [helper.make_opsetid("", 18)]))


WAYS = [
    as_initializer, as_constant, as_list_of_a_node, in_a_nested_graph, as_sparse, as_sparse_constant, in_a_function
]  # fmt: skip


@pytest.mark.parametrize("runtime", GRAPH_RUNTIMES)
@pytest.mark.parametrize("written", [bytes, in_other_order])
@pytest.mark.parametrize("put", WAYS)
def test_a_graph_that_reads_other_files_is_refused(model, tmp_path, monkeypatch, runtime, written, put):
    """Both runtimes would take them from the working directory."""
    graph = load_from_string(model.graph)
    place = next(place for place, value in enumerate(graph.graph.initializer) if value.name == "kernel")
    kernel = TensorProto()
    kernel.CopyFrom(graph.graph.initializer[place])
    del graph.graph.initializer[place]
    (tmp_path / "secret.bin").write_bytes(kernel.raw_data)
    kernel.ClearField("raw_data")
    kernel.data_location = TensorProto.EXTERNAL
    kernel.external_data.add(key="location", value="secret.bin")
    put(graph, kernel)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelFileError, match="other files"):
        open_runtime(replace(model, graph=written(graph.SerializeToString())), runtime)


def test_openvino_computes_in_fp32_unless_told_otherwise(model):
    """Its own choice on a CPU with bf16 units would be bf16."""
    opened = open_runtime(model, "openvino", threads=1)
    (compute,) = opened._opened.made.values()
    compiled = inspect.getclosurevars(compute).nonlocals["compiled"]
    assert str(compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()) == "f32"
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1
    with pytest.raises(SettingsError, match="bf16: not offered by onnxruntime"):
        open_runtime(model, "onnxruntime", precision="bf16")


@pytest.fixture
def imported_anew():
    """What is imported is looked at anew, in the test and after it."""
    for cached in (runtimes._imported, runtimes._warn_of):
        cached.cache_clear()
    yield
    for cached in (runtimes._imported, runtimes._warn_of):
        cached.cache_clear()


def test_what_is_not_installed_is_told_with_what_to_do(model, monkeypatch, imported_anew):
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr(runtimes, "import_module", lambda name: without(name, "openvino"))
    assert present_runtimes() == ("onnxruntime",)
    assert runtimes.broken_runtimes() == {}
    assert open_runtime(model, "auto").name == "onnxruntime"
    with pytest.raises(
        SettingsError, match=r"openvino: not installed; run: pip install 'weakspot\[openvino\]', or take onnxruntime"
    ):
        open_runtime(model, "openvino")
    with pytest.raises(SettingsError, match="'torch' is not known; allowed are auto, onnxruntime, openvino"):
        open_runtime(model, "torch")


def without(name, missing):
    if name == missing:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return importlib.import_module(name)


BROKEN = {
    "a library is missing": "raise ImportError('libtbb.so.12: cannot open shared object file')",
    "a package of its own is missing": "import nonesuch_of_openvino",
    "cut short": "def broken(:",
    "another build of numpy": "raise RuntimeError('module compiled against ABI version 0x2\\nthis one is 0x1')",
    "another processor": "raise OSError('illegal instruction')",
}


@pytest.mark.parametrize("code", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("name", GRAPH_RUNTIMES)
def test_a_runtime_that_cannot_be_imported_is_named_once_and_the_next_is_taken(
    model, tmp_path, monkeypatch, caplog, imported_anew, name, code
):
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    for module in [module for module in sys.modules if module.partition(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    (other,) = set(GRAPH_RUNTIMES) - {name}
    assert present_runtimes() == (other,)
    assert open_runtime(model, "auto").name == open_fastest(model).name == other
    assert list(runtimes.broken_runtimes()) == [name]
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.startswith(f"{name} is installed, but cannot be imported (") and "\n" not in warning
    for open_it in (open_runtime, open_fastest):
        with pytest.raises(
            SettingsError, match=f"runtime {name}: installed, but .* cannot be imported .* or take {other}"
        ):
            open_it(model, name)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("verb", ["inspect", "verify", "doctor"])
def test_verbs_go_on_without_a_runtime_that_cannot_be_imported_and_say_so(model_path, tmp_path, save_picture, verb):
    """In a process of its own, where a broken openvino lies before the real one."""
    (tmp_path / "broken" / "openvino").mkdir(parents=True)
    (tmp_path / "broken" / "openvino" / "__init__.py").write_text(BROKEN["a library is missing"])
    path = os.pathsep.join([str(tmp_path / "broken"), *(os.path.abspath(place) for place in sys.path if place)])
    save_picture(tmp_path / "new" / "a.png")
    given = [tmp_path / "new", "-o", tmp_path / "out"] if verb == "inspect" else []
    ran = subprocess.run(
        [sys.executable, "-m", "weakspot", verb, model_path, *given],
        env={**os.environ, "PYTHONPATH": path, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.count("\n") == 1 and ran.stderr.startswith("openvino is installed, but cannot be imported (Imp")
    assert {"inspect": "results", "verify": "as when it was made", "doctor": "libtbb.so.12"}[verb] in ran.stdout


FORKING = """
import os, sys
import numpy as np
from weakspot.inspection.loaded import LoadedDetector

detector = LoadedDetector.load(sys.argv[1], sys.argv[2], threads=2)
image = np.random.default_rng(0).integers(0, 255, (64, 96)).astype(np.uint8)
print(detector.inspect(image).raw_score, flush=True)
if not os.fork():
    if sys.argv[3] == "inspects":
        print(detector.inspect(image).raw_score, flush=True)
    sys.exit(0)  # as gunicorn's workers end: everything that is open is closed
os.wait()
"""


@pytest.mark.parametrize("child", ["inspects", "ends"])
@pytest.mark.parametrize("runtime", GRAPH_RUNTIMES)
def test_a_detector_works_after_a_fork_and_its_process_ends(model_path, runtime, child):
    """No thread of a library survives a fork: closing what the parent opened would wait for them for ever."""
    ran = subprocess.run(
        [sys.executable, "-c", FORKING, model_path, runtime, child], capture_output=True, text=True, timeout=60
    )
    scores = ran.stdout.split()
    assert (len(scores), len(set(scores))) == ({"inspects": 2, "ends": 1}[child], 1), ran


def test_what_was_open_at_a_fork_is_opened_anew_even_where_a_thread_was_opening_it():
    opened = Opened(lambda key: (key, os.getpid()), most=2)
    assert [opened.get(key)[0] for key in "abca"] == list("abca")
    assert list(opened.made) == ["c", "a"]
    with opened._lock:  # as a thread of the parent may hold it at that moment
        child = os.fork()
        if not child:
            os._exit(0 if opened.get("a") == ("a", os.getpid()) else 1)
        assert os.waitpid(child, 0)[1] == 0


def test_inspection_reaches_for_no_network_writes_no_files_and_needs_no_torch(model_path, tmp_path):
    """In a process of its own, with a home and a working directory of its own, where any socket is an error."""
    for name in ("home", "here"):
        (tmp_path / name).mkdir()
    script = (
        "import socket, sys; import numpy as np\n"
        "def refuse(*a, **k): raise AssertionError('a socket')\n"
        "socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse\n"
        "sys.modules['torch'] = None\n"
        "from weakspot.inspection.loaded import LoadedDetector\n"
        "for runtime in ('onnxruntime', 'openvino'):\n"
        "    detector = LoadedDetector.load(sys.argv[1], runtime, threads=1)\n"
        "    assert all(found.ok for found in detector.verify((runtime,))), detector.verify((runtime,))\n"
        "    detector.inspect(np.random.default_rng(0).integers(0, 255, (64, 96)).astype(np.uint8))\n"
        "assert not any('openvino_telemetry' in name for name in sys.modules)\n"
    )
    environment = {
        **os.environ,
        "HOME": str(tmp_path / "home"),
        "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path if path),
    }
    ran = subprocess.run(
        [sys.executable, "-c", script, model_path],
        cwd=tmp_path / "here",
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert list((tmp_path / "home").iterdir()) == []  # where each runtime's telemetry would keep its identity
    assert list((tmp_path / "here").iterdir()) == []


def test_a_signal_ends_a_process_that_has_opened_two_runtimes_as_it_ends_any_other(model_path):
    pytest.importorskip("openvino")
    code = f"""
        import gc, os, signal
        from pathlib import Path
        from weakspot.inspection.model_file import read_model_file
        from weakspot.inspection.runtimes import open_runtime

        model = read_model_file(Path({str(model_path)!r}))
        first = open_runtime(model, "openvino", 1)
        second = open_runtime(model, "openvino", 1)
        del first
        gc.collect()
        del second
        gc.collect()
        signal.signal(signal.SIGTERM, lambda *_: print("heard", flush=True))
        os.kill(os.getpid(), signal.SIGTERM)
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (0, "heard\n")
