"""Pictures that come row by row are what they are when they come whole."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, PngImagePlugin

from weakspot.data import large
from weakspot.data.large import Target, fit_large, read_large
from weakspot.data.reading import fit_image, has_colour, read_image
from weakspot.errors import ImageError
from weakspot.settings import ReadSettings


@pytest.fixture(autouse=True)
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "LARGE", 64 * 64)
    monkeypatch.setattr(large, "_ROWS", 37)
    monkeypatch.setattr("weakspot.data.tiff.BAND", 5000)


def noise(*shape: int, kind: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(kind).max + 1, shape).astype(kind)


@pytest.mark.parametrize("fit", ["stretch", "keep"])
@pytest.mark.parametrize("size", [(300, 500), (64, 96), (97, 211), (320, 640)])
@pytest.mark.parametrize(
    "pixels",
    [noise(300, 500), noise(301, 520, 3), noise(300, 500, kind=np.uint16), noise(800, 210), noise(800, 210, 3)],
    ids=["grey", "colour", "16 bit", "tall", "tall in colour"],
)
def test_row_by_row_a_picture_is_fitted_as_it_is_whole(pixels, size, fit):
    for channels, depth in ((1, 8), (3, 16)):
        found = fit_large(pixels, Target(size, channels, depth, fit))
        assert np.array_equal(found.image, fit_image(pixels, size, channels, depth, fit))
    assert (found.height, found.width) == pixels.shape[:2]


@pytest.mark.parametrize("compression", [None, "zlib", "packbits"])
@pytest.mark.parametrize("rows", [1, 16, 400])
@pytest.mark.parametrize("kind", ["grey", "colour", "16 bit"])
def test_a_tiff_in_strips_is_read_as_it_is_whole(tmp_path, compression, rows, kind):
    pixels = {"grey": noise(130, 90), "colour": noise(130, 90, 3), "16 bit": noise(130, 90, kind=np.uint16)}[kind]
    path = tmp_path / "a.tif"
    photometric = "rgb" if pixels.ndim == 3 else "minisblack"
    tifffile.imwrite(path, pixels, rowsperstrip=rows, compression=compression, photometric=photometric)
    found = read_large(path, ReadSettings(), Target((64, 64), 1, 8, "stretch"))
    whole = read_image(path, ReadSettings())
    assert found is not None and found.sha256 == whole.sha256
    assert np.array_equal(found.image, fit_image(whole.pixels, (64, 64), 1, 8))
    assert np.array_equal(found.view, pixels)  # not longer than people look at


def test_of_a_tiff_with_a_row_a_strip_each_row_is_put_together_but_a_few_times(tmp_path, monkeypatch):
    """By the decoder once; by each of both reductions once, and again for as many as a band's first row sees."""
    height, joined, join = 2000, [0], np.concatenate

    def counting(rows, *given, **more):
        found = join(rows, *given, **more)
        joined[0] += len(found)
        return found

    tifffile.imwrite(tmp_path / "a.tif", noise(height, 90), rowsperstrip=1)
    monkeypatch.setattr(large, "LONGEST", 500)
    monkeypatch.setattr(np, "concatenate", counting)
    found = read_large(tmp_path / "a.tif", ReadSettings(), Target((64, 64), 1, 8, "stretch"))
    assert found is not None and found.height == height
    bands = height * 90 / 5000
    assert height <= joined[0] <= 3 * height + 2 * bands * (2 * height / 64 + 2)


def test_what_people_look_at_is_bounded(monkeypatch):
    monkeypatch.setattr(large, "LONGEST", 50)
    found = fit_large(noise(200, 100, 3), Target((64, 64), 3, 8, "stretch"))
    assert found.view.shape == (50, 25, 3)


def test_strips_of_a_12_bit_camera_are_spread_over_16_bits(tmp_path):
    pixels = noise(130, 90, kind=np.uint16) >> 4
    tifffile.imwrite(tmp_path / "a.tif", pixels, rowsperstrip=16)
    settings = ReadSettings(bit_depth=12)
    found = read_large(tmp_path / "a.tif", settings, Target((130, 90), 1, 16, "stretch"))
    assert found is not None and np.array_equal(found.image[0], read_image(tmp_path / "a.tif", settings).pixels)
    tifffile.imwrite(tmp_path / "b.tif", pixels + 4096, rowsperstrip=16)
    with pytest.raises(ImageError, match=r"b\.tif: a value of .*12 bits hold at most 4095"):
        read_large(tmp_path / "b.tif", settings, Target((130, 90), 1, 16, "stretch"))


def test_other_files_are_left_to_be_read_whole(tmp_path: Path):
    target = Target((64, 64), 1, 8, "stretch")
    tifffile.imwrite(tmp_path / "tiles.tif", noise(130, 90), tile=(32, 32))
    tifffile.imwrite(tmp_path / "lzw.tif", noise(130, 90), compression="lzw")
    tifffile.imwrite(tmp_path / "turned.tif", noise(130, 90), extratags=[(274, "H", 1, 6, True)])
    tifffile.imwrite(tmp_path / "small.tif", noise(60, 60))
    (tmp_path / "no.tif").write_bytes(b"\x89PNG\r\n\x1a\n")
    for name in ("tiles", "lzw", "turned", "small", "no"):
        assert read_large(tmp_path / f"{name}.tif", ReadSettings(), target) is None, name


def test_damaged_strips_are_refused_by_name(tmp_path: Path):
    path, target = tmp_path / "cut.tif", Target((64, 64), 1, 8, "stretch")
    tifffile.imwrite(path, noise(130, 90), rowsperstrip=16, compression="zlib")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match=r"cut\.tif: .*copy it again"):
        read_large(path, ReadSettings(), target)
    middle = len(whole) // 2

    path.write_bytes(whole[:middle] + bytes(200) + whole[middle + 200 :])
    with pytest.raises(ImageError, match=r"cut\.tif: "):
        read_large(path, ReadSettings(), target)
    with pytest.raises(ImageError, match=r"allowed are 0\.01"):
        read_large(path, ReadSettings(max_megapixels=0.01), target)


def test_a_refusal_does_not_quote_a_file_at_length(tmp_path: Path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", noise(130, 90), rowsperstrip=16)
    for error in (ImageError("x" * 10_000), ValueError("x" * 10_000)):

        def refuse(*_, error=error):
            raise error

        monkeypatch.setattr("weakspot.data.tiff.tiff_bands", refuse)
        with pytest.raises(ImageError, match=r"a\.tif: ") as refused:
            read_large(tmp_path / "a.tif", ReadSettings(), Target((64, 64), 1, 8, "stretch"))
        assert len(str(refused.value)) < 700 + len(str(tmp_path))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["grey", "colour", "16 bit", "white is 0", "with alpha"])
def test_a_picture_in_one_strip_is_read_by_its_rows(tmp_path, monkeypatch, kind, order):
    pixels = {"colour": noise(130, 90, 3), "16 bit": noise(130, 90, kind=np.uint16)}.get(kind, noise(130, 90))
    how = {"white is 0": {"photometric": "miniswhite"}, "colour": {"photometric": "rgb"}}.get(kind, {})
    if kind == "with alpha":
        pixels = np.dstack([pixels, np.full_like(pixels, 255)])
        how = {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": ["unassalpha"]}
    tifffile.imwrite(tmp_path / "a.tif", pixels, rowsperstrip=130, byteorder=order, **how)
    whole = read_image(tmp_path / "a.tif", ReadSettings()).pixels
    monkeypatch.setattr("tifffile.TiffPage.decode", lambda *_: pytest.fail("decoded whole"))
    found = read_large(tmp_path / "a.tif", ReadSettings(), Target((130, 90), 3, 16, "stretch"))
    assert found is not None and np.array_equal(found.image, fit_image(whole, (130, 90), 3, 16))


def peak_of(function: Callable[[], object]) -> int:
    """Bytes that are set aside at most while it runs."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_of_a_picture_in_one_strip_only_some_rows_are_in_memory(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", noise(9000, 500, kind=np.uint16), rowsperstrip=9000)
    monkeypatch.setattr(large, "LONGEST", 100)
    target = Target((64, 64), 1, 8, "stretch")
    assert peak_of(lambda: read_large(tmp_path / "a.tif", ReadSettings(), target)) < 3_000_000  # it has 9 MB


@pytest.mark.parametrize("bits", [None, 12])
@pytest.mark.parametrize("extra", [False, True])
def test_a_png_takes_memory_for_its_file_and_its_pixels(tmp_path, bits, extra):
    pixels = noise(1500, 1500, kind=np.uint16) >> (4 if bits else 0)
    more = PngImagePlugin.PngInfo()
    more.add_text("camera", "a")
    Image.fromarray(pixels).save(tmp_path / "a.png", compress_level=1, pnginfo=more if extra else None)
    file = (tmp_path / "a.png").stat().st_size
    settings = ReadSettings(bit_depth=bits)
    allowed = file * (2 if extra else 1) + pixels.nbytes  # once more where what makes no pixels is left out
    assert peak_of(lambda: read_image(tmp_path / "a.png", settings)) < allowed + 4_000_000


def test_what_is_asked_of_all_pixels_is_asked_of_some_rows_at_a_time():
    grey = np.full((3000, 1000, 3), 7, np.uint8)
    assert peak_of(lambda: has_colour(grey)) < 1_000_000
    grey[-1, -1, 2] = 8
    assert has_colour(grey)
