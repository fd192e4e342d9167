import hashlib
import io
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from weakspot.errors import ImageError, ModelFileError, SettingsError
from weakspot.inspection.inspection import Thresholds
from weakspot.inspection.loaded import LoadedDetector
from weakspot.inspection.manifest import ImageSizes, SelfTest, ThresholdRecord
from weakspot.inspection.overlay import render
from weakspot.inspection.refusals import channel_levels
from weakspot.inspection.runtimes import Answer, open_runtime, present_runtimes
from weakspot.settings import ReadSettings


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def coloured(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (64, 96, 3)).astype(np.uint8)


@pytest.mark.parametrize("runtime", ["auto", "onnxruntime", "openvino"])
def test_a_picture_is_judged_good_review_or_bad(model_path, make_pixels, runtime):
    """The made detector's raw score is 20 × (mean grey − a half): below −1 good, from 1 bad."""
    detector = LoadedDetector.load(model_path, runtime, threads=1)
    decisions = {level: detector.inspect(make_pixels(level)).decision for level in (60, 128, 200)}
    assert decisions == {60: "good", 128: "review", 200: "bad"}


def test_path_text_bytes_and_array_of_one_picture_are_answered_alike(model_path, tmp_path, make_pixels, save_picture):
    pixels = make_pixels()
    path = save_picture(tmp_path / "a b.png", pixels)
    detector = LoadedDetector.load(model_path, threads=1)
    answers = [
        detector.inspect(picture) for picture in (path, str(path), path.read_bytes(), pixels, np.asfortranarray(pixels))
    ]
    assert len({answer.raw_score for answer in answers}) == 1
    assert [answer.image.path for answer in answers] == [str(path), str(path), None, None, None]
    of_file, of_pixels = hashlib.sha256(path.read_bytes()).hexdigest(), hashlib.sha256(pixels.tobytes()).hexdigest()
    assert [answer.image.sha256 for answer in answers] == [of_file] * 3 + [of_pixels] * 2
    assert all((answer.image.width, answer.image.height) == (96, 64) for answer in answers)


def test_an_inspection_says_everything_that_led_to_it(model_path, make_pixels):
    pixels = make_pixels(100)
    pixels[16:32, 24:48] = 250
    found = LoadedDetector.load(model_path, threads=1).inspect(pixels)
    assert found.heat_map.shape == (8, 12)
    assert found.heat_score == pytest.approx(20 * (250 / 255 - 0.5), abs=1e-3)
    assert found.defect_score == pytest.approx(1 / (1 + np.exp(-found.raw_score)))
    assert [(region.x, region.y, region.width, region.height, region.cells) for region in found.regions] == [
        (24, 16, 24, 16, 6)
    ]
    assert (found.bad_from, found.good_below) == (1.0, -1.0)
    assert found.model.name == "made"
    assert found.model.sha256 == hashlib.sha256(model_path.read_bytes()).hexdigest()
    assert set(found.milliseconds) == {"read", "infer", "total"}
    assert found.milliseconds["total"] >= found.milliseconds["read"] + found.milliseconds["infer"]


def test_regions_lie_on_the_original_picture_not_on_the_detectors(make_detector, make_pixels):
    pixels = make_pixels(100, size=(128, 192))
    pixels[32:64, 48:96] = 250
    (region,) = make_detector().inspect(pixels).regions
    assert (region.x, region.y, region.width, region.height) == (48, 32, 48, 32)


@pytest.mark.parametrize(
    ("size", "told"),
    [
        ((63, 96), "at least 64 × 64"),
        ((1, 1), "at least 64 × 64"),
        ((600, 900), "more than 4 times larger"),
        ((64, 800), "other proportions"),
        ((400, 64), "other proportions"),
    ],
)
def test_a_picture_unlike_those_trained_on_in_size_is_refused(make_detector, make_pixels, size, told):
    with pytest.raises(ImageError, match=told) as refused:
        make_detector().inspect(make_pixels(size=size))
    assert f"{size[1]} × {size[0]} pixels" in str(refused.value)


def test_a_picture_far_smaller_than_those_trained_on_is_refused(make_detector, make_pixels):
    large = make_detector(image_sizes=ImageSizes(min=(640, 960), max=(640, 960)))
    with pytest.raises(ImageError, match="more than 4 times smaller"):
        large.inspect(make_pixels(size=(100, 150)))


@pytest.mark.parametrize("size", [(64, 96), (512, 768), (64, 144), (96, 64), (128, 192)])
def test_sizes_within_the_range_are_taken(make_detector, make_pixels, size):
    detector = make_detector(image_sizes=ImageSizes(min=(64, 96), max=(128, 192)), image_std_min=0.1)
    assert detector.inspect(make_pixels(size=size)).decision == "review"


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_picture_of_one_value_is_no_picture(make_detector, value):
    with pytest.raises(ImageError, match="no picture: every pixel has the value"):
        make_detector(image_std_min=0.0).inspect(np.full((64, 96), value, np.uint8))


def test_a_picture_far_flatter_than_any_trained_on_is_refused(make_detector):
    nearly_flat = np.full((64, 96), 128, np.uint8)
    nearly_flat[::2] += 2  # a standard deviation of 1
    with pytest.raises(ImageError, match="needed is a standard deviation of at least 2"):
        make_detector(image_std_min=4.0).inspect(nearly_flat)
    assert make_detector(image_std_min=1.5).inspect(nearly_flat).decision == "review"


def test_a_coloured_picture_is_refused_by_a_detector_of_grey_ones_unless_grey_was_asked_for(make_detector):
    with pytest.raises(ImageError, match="a colour picture"):
        make_detector().inspect(coloured())
    assert make_detector(read=ReadSettings(channels="grey")).inspect(coloured()).decision == "review"


def test_a_grey_picture_stored_as_colour_is_grey(make_detector, make_pixels):
    grey = make_pixels()
    assert make_detector().inspect(np.dstack([grey] * 3)).raw_score == pytest.approx(
        make_detector().inspect(grey).raw_score, abs=1e-6
    )


def test_a_colour_detector_warns_of_a_grey_picture(make_detector, make_pixels):
    detector = make_detector(channels=3)
    assert detector.inspect(coloured()).warnings == ()
    assert "grey" in detector.inspect(make_pixels()).warnings[0]


def reddish(seed: int = 0, red: int = 160, blue: int = 90, dtype: type = np.uint8) -> np.ndarray:
    """A colour picture, RGB, of these means."""
    noise = np.random.default_rng(seed).integers(-30, 31, (64, 96, 3))
    return ((noise + np.array([red, 120, blue])) * (1 if dtype == np.uint8 else 257)).astype(dtype)


def levels_of(*pictures: np.ndarray) -> list[tuple[float, float]]:
    return channel_levels(np.stack([picture.transpose(2, 0, 1) for picture in pictures]).mean(axis=(2, 3)))


@pytest.mark.parametrize(("dtype", "bit_depth"), [(np.uint8, 8), (np.uint16, 16)])
def test_red_and_blue_the_wrong_way_round_are_noticed_and_an_argument_takes_them(make_detector, dtype, bit_depth):
    """As cv2.imread gives them."""
    levels = levels_of(*(reddish(seed, dtype=dtype) for seed in range(8)))
    detector = make_detector(channels=3, bit_depth=bit_depth, channel_levels=levels)
    rgb = reddish(9, dtype=dtype)
    swapped = detector.inspect(rgb[..., ::-1])
    assert [warning.partition(":")[0] for warning in swapped.warnings] == ["red and blue look swapped"]
    assert "channels='bgr'" in swapped.warnings[0]
    assert detector.inspect(rgb).warnings == ()
    taken = detector.inspect(rgb[..., ::-1], channels="bgr")
    assert (taken.warnings, taken.raw_score) == ((), detector.inspect(rgb).raw_score)
    assert detector.inspect(rgb, channels="bgr").warnings == swapped.warnings


def test_an_order_of_channels_that_cannot_be_is_refused(make_detector, tmp_path, save_picture):
    detector = make_detector(channels=3)
    path = save_picture(tmp_path / "a.png", reddish())
    for picture in (path, path.read_bytes()):
        with pytest.raises(SettingsError, match="'bgr': for arrays alone"):
            detector.inspect(picture, channels="bgr")
    with pytest.raises(SettingsError, match="channels 'BRG'"):
        detector.inspect(reddish(), channels="BRG")


def test_red_and_blue_are_not_suspected_where_both_orders_fit_or_neither(make_detector):
    either = make_detector(channels=3, channel_levels=levels_of(reddish(0), reddish(1, red=90, blue=160)))
    assert either.inspect(reddish()[..., ::-1]).warnings == ()
    usual = make_detector(channels=3, channel_levels=levels_of(*(reddish(seed) for seed in range(8))))
    assert usual.inspect(reddish(9, red=163, blue=93)).warnings == ()
    (warning,) = usual.inspect(reddish(9, red=220, blue=30)).warnings
    assert warning.startswith("unlike the training pictures in brightness or colour: mean 220, 120, 30, there 160 to ")


def test_a_picture_far_brighter_than_any_trained_on_is_judged_with_a_warning(make_detector, make_pixels):
    detector = make_detector(channel_levels=channel_levels(np.array([[100.0], [110.0]])))
    assert [len(detector.inspect(make_pixels(level)).warnings) for level in (40, 90, 105, 120, 200)] == [1, 0, 0, 0, 1]
    assert make_detector().inspect(make_pixels(200)).warnings == ()  # files that do not say it are judged as ever


@pytest.mark.parametrize("dtype", [">u2", "<u2", "=u2", "u1"])
@pytest.mark.parametrize("shape", [(64, 96), (64, 96, 1), (64, 96, 3)])
def test_arrays_of_any_byte_order_are_taken(make_detector, dtype, shape):
    values = np.random.default_rng(0).integers(0, 256, shape) * (257 if dtype.endswith("2") else 1)
    depth = 16 if dtype.endswith("2") else 8
    detector = make_detector(channels=3 if shape[2:] == (3,) else 1, bit_depth=depth)
    found = detector.inspect(values.astype(dtype))
    assert found.raw_score == pytest.approx(20 * (values.mean() / (2**depth - 1) - 0.5), abs=1e-3)
    assert found.image.sha256 == detector.inspect(values.astype(f"u{depth // 8}")).image.sha256


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_sixteen_bits_are_used_to_the_last(make_detector, runtime):
    pixels = np.random.default_rng(0).integers(0, 65536, (64, 96)).astype(np.uint16)
    found = make_detector(runtime, bit_depth=16).inspect(pixels)
    assert found.raw_score == pytest.approx(20 * (pixels.mean() / 65535 - 0.5), abs=1e-4)


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((64, 96)),
        np.zeros((64, 96), np.int32),
        np.zeros((64, 96, 4), np.uint8),
        np.zeros((2, 64, 96, 3), np.uint8),
        np.zeros(9, np.uint8),
        None,
        3,
    ],
)
def test_what_is_no_picture_is_refused(make_detector, picture):
    with pytest.raises(ImageError, match="needed is"):
        make_detector().inspect(picture)


def test_what_cannot_be_read_is_refused_by_name(make_detector, tmp_path, make_pixels):
    (tmp_path / "cut.png").write_bytes(png(make_pixels())[:200])
    (tmp_path / "text.png").write_text("not a picture")
    for name in ("cut.png", "text.png", "missing.png"):
        with pytest.raises(ImageError, match=name):
            make_detector().inspect(tmp_path / name)
    with pytest.raises(ImageError):
        make_detector().inspect(b"")


class Broken:
    """A runtime that answers what it is told to, or fails."""

    name, precision = "broken", "fp32"

    def __init__(self, raw_score=0.0, heat_score=0.0, heat=0.1, error=None):
        self.answer = Answer(np.array([raw_score]), np.array([heat_score]), np.full((1, 8, 12), heat, np.float32))
        self.error = error

    def run(self, images):
        if self.error:
            raise self.error
        return self.answer


@pytest.mark.parametrize(
    "wrong",
    [
        {"raw_score": np.nan},
        {"raw_score": np.inf},
        {"heat_score": np.nan},
        {"heat": np.nan},
        {"error": RuntimeError("out of\nmemory")},
    ],
)
def test_an_answer_that_is_no_number_is_never_a_decision(model, make_pixels, wrong):
    with pytest.raises(ImageError, match="picture: .*not judged") as refused:
        LoadedDetector(model, Broken(**wrong)).inspect(make_pixels())
    assert "\n" not in str(refused.value)


def test_verify_runs_the_self_test_on_every_graph_runtime(model_path):
    detector = LoadedDetector.load(model_path, threads=1)
    found = detector.verify(("onnxruntime", "openvino"))
    assert [(each.runtime, each.ok, each.problem) for each in found] == [
        ("onnxruntime", True, ""),
        ("openvino", True, ""),
    ]
    assert all(
        each.difference < 1e-5 and each.raw_score == pytest.approx(detector.manifest.selftest.raw_score, abs=1e-5)
        for each in found
    )


def test_verify_goes_on_where_one_runtime_fails(model):
    found = {
        each.runtime: each.ok for each in LoadedDetector(model, open_runtime(model, "onnxruntime", threads=1)).verify()
    }
    assert set(found) == set(present_runtimes())
    assert all(found.values())


def test_verify_tells_a_detector_that_no_longer_answers_alike(model):
    expected = model.manifest.selftest
    other = model.manifest.model_copy(
        update={"selftest": SelfTest(raw_score=expected.raw_score + 0.01, heat_score=expected.heat_score)}
    )
    detector = LoadedDetector(replace(model, manifest=other), Broken())
    (found,) = detector.verify(("onnxruntime",))
    assert not found.ok
    assert found.difference == pytest.approx(0.01, abs=1e-4)


@pytest.mark.parametrize("wrong", [{"raw_score": np.nan}, {"heat_score": np.nan}, {"error": MemoryError()}])
def test_verify_tells_a_runtime_that_fails(model, wrong):
    (found,) = LoadedDetector(model, Broken(**wrong)).verify(("broken",))
    assert (found.ok, found.raw_score, found.difference) == (False, None, None)
    assert found.problem
    (missing,) = LoadedDetector(model, Broken()).verify(("nonesuch",))
    assert "is not known" in missing.problem


def test_verify_tells_a_self_test_picture_that_cannot_be_decoded(model):
    with pytest.raises(ModelFileError, match="self-test"):
        LoadedDetector(replace(model, selftest=model.selftest[:300]), Broken()).verify(("broken",))


def test_a_detector_is_saved_as_it_was_loaded(model_path, tmp_path):
    detector = LoadedDetector.load(model_path, threads=1)
    detector.save(tmp_path / "copy.weakspot")
    assert (tmp_path / "copy.weakspot").read_bytes() == model_path.read_bytes()
    detector.save(model_path)
    assert LoadedDetector.load(model_path, threads=1).info == detector.info


def test_thresholds_of_the_file_decide(make_detector, make_pixels):
    strict = ThresholdRecord.of(Thresholds(bad_from=-9.0, good_below=-9.0, rule="", chosen_on=""))
    assert make_detector(thresholds=strict).inspect(make_pixels(60)).decision == "bad"


def test_in_bf16_the_self_test_is_still_compared_in_fp32(model):
    """Rechecked or not, bf16 is further off than the self-test allows."""
    detector = LoadedDetector(model, Broken(raw_score=model.manifest.selftest.raw_score + 0.1))
    detector.runtime.name, detector.runtime.precision = "openvino", "bf16"
    (found,) = detector.verify(("openvino",))
    assert found.ok


def test_figures_take_the_first_runtime_in_fp32_whatever_was_measured(model_path, model, monkeypatch):
    monkeypatch.setattr("weakspot.inspection.loaded.open_fastest", lambda *_: pytest.fail("measured"))
    runtime = LoadedDetector.load_exact(model_path, threads=1).runtime
    assert (runtime.name, runtime.precision) == (present_runtimes()[0], "fp32")


def test_runtime_threads_precision_and_memory_are_passed_on(model_path, monkeypatch):
    asked = []
    monkeypatch.setattr("weakspot.inspection.loaded.open_fastest", lambda model, *how: asked.append(how))
    LoadedDetector.load(model_path)
    LoadedDetector.load(model_path, "openvino", 2, "bf16", "small")
    LoadedDetector.load(model_path, max_memory=77.0)
    assert asked == [
        ("auto", None, "auto", "fast", 1000.0),
        ("openvino", 2, "bf16", "small", 1000.0),
        ("auto", None, "auto", "fast", 77.0),
    ]


def test_a_png_is_inspected_without_what_it_does_not_need(model_path, tmp_path, save_picture, make_pixels):
    """In a process of its own: what is imported all the same is time that one picture waits for."""
    path = save_picture(tmp_path / "good.png", make_pixels(60))
    script = (
        "import sys; from weakspot import cli\n"
        "sys.argv = ['weakspot', 'inspect', *sys.argv[1:], '--runtime', 'onnxruntime', '--quiet']\n"
        "try: cli.main()\n"
        "finally: print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, model_path, path, "-o", tmp_path / "out"], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    imported = set(ran.stderr.split())
    assert {"numpy", "onnxruntime", "weakspot"} <= imported
    assert imported & {"torch", "openvino", "tifffile", "scipy", "sklearn", "onnx", "matplotlib"} == set()


@pytest.mark.parametrize("work", ["inspect", "open", "unpack"])
def test_too_little_memory_is_no_fault_of_the_model_file_or_the_runtime(
    model, model_path, make_detector, make_pixels, monkeypatch, work
):
    def full(*_, **__):
        raise MemoryError

    detector = make_detector()
    monkeypatch.setattr(detector.runtime, "run", full)
    monkeypatch.setattr("weakspot.inspection.runtimes._graph_for", full)
    monkeypatch.setattr("weakspot.inspection.container._members", full)
    with pytest.raises(MemoryError):
        {
            "inspect": lambda: detector.inspect(make_pixels()),
            "open": lambda: open_runtime(model, "onnxruntime"),
            "unpack": lambda: LoadedDetector.load(model_path),
        }[work]()


def test_heat_over_mirrored_borders_is_left_out(model_path, make_pixels):
    """The made detector looks at 64 × 96 pixels; a tall picture takes the left half of that."""
    model = LoadedDetector.load(model_path, threads=1).model
    tall = np.full((128, 64), 100, np.uint8)
    tall[:32, 32:] = 250
    keeps = replace(
        model,
        manifest=model.manifest.model_copy(
            update={"fit": "keep", "image_sizes": ImageSizes(min=(64, 64), max=(128, 128))}
        ),
    )
    found = LoadedDetector(keeps, open_runtime(keeps, threads=1)).inspect(tall)
    assert found.heat_map.shape == (8, 4)
    assert [(region.x, region.y, region.width, region.height) for region in found.regions] == [(32, 0, 32, 32)]


def test_regions_and_overlay_of_a_size_that_is_no_whole_number_of_cells(make_detector, monkeypatch):
    """70 × 100 pixels are 9 × 13 cells, of which the last are cut."""
    heat = np.zeros((1, 9, 13), np.float32)
    heat[0, 7, 11] = 0.9
    detector = make_detector(size=(72, 104), image_sizes=ImageSizes(min=(70, 100), max=(140, 200)))
    model = replace(detector.model, manifest=detector.manifest.model_copy(update={"size": (70, 100)}))
    answer = Answer(np.array([5.0]), np.array([5.0]), heat)
    monkeypatch.setattr(detector.runtime, "run", lambda _: answer)
    pixels = np.random.default_rng(0).integers(0, 256, (140, 200), np.uint8)
    found = LoadedDetector(model, detector.runtime).inspect(pixels)
    (region,) = found.regions
    assert (region.x, region.y, region.width, region.height) == (176, 112, 16, 16)
    over = render(np.zeros((140, 200), np.uint8), found)[:140]
    assert np.unravel_index(over.sum(2).argmax(), (140, 200))[0] in range(112, 128)
    assert np.unravel_index(over.sum(2).argmax(), (140, 200))[1] in range(176, 192)
