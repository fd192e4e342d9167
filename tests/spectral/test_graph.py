"""The spectral form against the plain sum over the kernel, in numbers and in graphs."""

import os

import numpy as np
import onnxruntime
import openvino
import pytest
from onnx import TensorProto, helper, load_from_string, numpy_helper
from scipy.signal import correlate2d

from weakspot.errors import ModelFileError
from weakspot.inspection.runtimes import openvino_core
from weakspot.spectral import onnx_format, transforms
from weakspot.spectral.graph import find_large_layer, in_spectral_form, replace_layer
from weakspot.spectral.tiles import LARGEST_TILE, Tiling, choose_tiling, gain

CHANNELS = 3, 5  # in, out of the toy layer
TILINGS = [
    (7, 9, 11),
    (7, 10, 8),
    (7, 16, 7),
    (15, 20, 21),
    (15, 29, 18),
    (15, 47, 34),
]  # kernel, rows, columns: even, odd, one tile and many


def plain_graph(kernel: int, channels: tuple[int, int] = CHANNELS, point: int = 1) -> bytes:
    """image (n, in, h, w) → mirrored border, convolution, ReLU, 1 × 1 convolution → (n, point, h, w)."""
    draw, (inputs, outputs), border = np.random.default_rng(kernel), channels, kernel // 2
    weights = {
        "kernel": draw.normal(size=(outputs, inputs, kernel, kernel)) / kernel,
        "bias": draw.normal(size=outputs),
        "point": draw.normal(size=(point, outputs, 1, 1)),
        "point_bias": draw.normal(size=point),
    }
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    tensors.append(numpy_helper.from_array(np.array([0, 0, border, border, 0, 0, border, border]), "border"))
    nodes = [
        helper.make_node("Pad", ["image", "border"], ["padded"], mode="reflect"),
        helper.make_node("Conv", ["padded", "kernel", "bias"], ["convolved"]),
        helper.make_node("Relu", ["convolved"], ["lit"]),
        helper.make_node("Conv", ["lit", "point", "point_bias"], ["heat"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", inputs, "h", "w"])
    heat = helper.make_tensor_value_info("heat", TensorProto.FLOAT, ["n", point, "h", "w"])
    graph = helper.make_graph(nodes, "plain", [image], [heat], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8).SerializeToString()


def rewritten(model: bytes, tiling: Tiling) -> bytes:
    """The model with its large layer in the spectral form, faster or not."""
    read = onnx_format.read_model(model)
    return onnx_format.model_bytes(read, replace_layer(read.graph, find_large_layer(read.graph), tiling))


def run_onnxruntime(model: bytes, image: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options).run(None, {"image": image})[0]


def run_openvino(model: bytes, image: np.ndarray) -> np.ndarray:
    core = openvino_core(openvino, os.getpid())
    return core.compile_model(
        core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    )(image)[0]


@pytest.mark.parametrize(("kernel", "rows", "columns"), TILINGS)
def test_the_transforms_give_the_plain_sum(kernel, rows, columns):
    """One channel, one tile, with nothing but the matrices."""
    draw = np.random.default_rng(0)
    tile, weights = draw.normal(size=(rows, columns)), draw.normal(size=(kernel, kernel))
    t = Tiling(rows - kernel + 1, columns - kernel + 1, kernel, rows, columns)
    by_rows = (transforms.rows_in(t) @ tile).reshape(t.half, 2 * columns)
    four = (by_rows @ transforms.columns_in(t).T).reshape(t.half, columns, 2, 2).transpose(1, 0, 2, 3)
    spectrum = transforms.kernel_spectrum(weights.astype(np.float32)[None, None], t).astype(np.float64)
    answer = (four @ spectrum).reshape(columns, -1)
    sums = (transforms.columns_out(t) @ answer).reshape(t.column_step, 4 * t.half)
    assert np.allclose((sums @ transforms.rows_out(t).T).T, correlate2d(tile, weights, mode="valid"), atol=1e-4)


@pytest.mark.parametrize(("columns", "order"), [(7, [1, -1, 2, -2, 3, -3, 0]), (8, [1, -1, 2, -2, 3, -3, 0, 4])])
def test_the_kernels_spectrum_is_that_of_a_fast_transform_in_pairs(columns, order):
    kernel = np.random.default_rng(0).normal(size=(4, 3, 7, 7)).astype(np.float32)
    found = transforms.kernel_spectrum(kernel, Tiling(10, columns - 6, 7, 16, columns)).reshape(columns, 9, 2, 3, 4)
    expected = np.fft.fft(np.fft.rfft(kernel, 16, axis=2), columns, axis=3).conj().transpose(3, 2, 1, 0)[order]
    assert np.allclose(found[:, :, 0] + 1j * found[:, :, 1], expected, atol=1e-4)


@pytest.mark.parametrize("run", [run_onnxruntime, run_openvino])
@pytest.mark.parametrize(("kernel", "rows", "columns"), TILINGS)
def test_a_rewritten_graph_answers_like_the_plain_one(run, kernel, rows, columns):
    image = np.random.default_rng(1).normal(size=(2, CHANNELS[0], 33, 20)).astype(np.float32)
    plain = plain_graph(kernel, point=2)
    expected, found = run(plain, image), run(rewritten(plain, Tiling(33, 20, kernel, rows, columns)), image)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


def test_the_printed_layer_is_rewritten_for_the_pictures_size_and_answers_alike():
    plain = plain_graph(15, (64, 512))
    image = np.random.default_rng(2).normal(size=(1, 64, 44, 16)).astype(np.float32)
    spectral = in_spectral_form(plain, height=8 * 44 - 7, width=8 * 16)
    assert len(spectral) > len(plain)
    expected, found = run_onnxruntime(plain, image), run_onnxruntime(spectral, image)
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


def test_graphs_without_a_large_layer_or_too_small_to_gain_are_left_as_they_are():
    small_kernel, few_channels = plain_graph(5), plain_graph(7)
    assert in_spectral_form(small_kernel, 512, 512) is small_kernel
    assert in_spectral_form(few_channels, 64, 64) is few_channels


def test_a_layer_whose_answer_is_read_elsewhere_too_is_left_as_it_is():
    model = load_from_string(plain_graph(15, (64, 512)))
    model.graph.node.append(helper.make_node("Sigmoid", ["lit"], ["also"]))
    bytes_ = model.SerializeToString()
    assert in_spectral_form(bytes_, 704, 256) is bytes_


@pytest.mark.parametrize("model", [b"", b"\x00" * 40, b"not a model", plain_graph(7)[:-10]])
def test_what_is_no_model_is_refused(model):
    with pytest.raises(ModelFileError, match="not an ONNX model"):
        in_spectral_form(model, 704, 256)


def test_what_the_format_names_not_is_written_back_as_it_was():
    model = plain_graph(7)
    again = onnx_format.model_bytes(onnx_format.read_model(model), {})
    assert load_from_string(again) == load_from_string(model)


def test_tensors_of_other_types_are_named_and_refused():
    model = load_from_string(plain_graph(15, (64, 512)))
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.zeros((512, 64, 15, 15)), "kernel"))
    with pytest.raises(ModelFileError, match="'kernel' is not raw float32"):
        in_spectral_form(model.SerializeToString(), 704, 256)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (44, 16), (88, 32), (176, 64), (512, 32), (1000, 1000)])
@pytest.mark.parametrize("kernel", [7, 15])
def test_tiles_cover_the_map_and_stay_small(height, width, kernel):
    tiling = choose_tiling(height, width, kernel, (64, 512))
    assert tiling.down * tiling.row_step >= height
    assert tiling.across * tiling.column_step >= width
    assert max(tiling.rows, tiling.columns) <= LARGEST_TILE


def test_the_larger_the_map_the_more_the_spectral_form_gains():
    sizes = [(16, 16), (44, 16), (88, 32), (176, 64)]
    gains = [gain(choose_tiling(height, width, 15, (64, 512)), (64, 512)) for height, width in sizes]
    assert gains == sorted(gains)
    assert gains[-1] > 5
