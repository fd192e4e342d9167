"""Files → pixels: formats, depths, orientation, and the rule that fits a picture to the network."""

import io
import re
import struct
import warnings
import zlib

import imagecodecs
import numpy as np
import PIL
import pytest
import tifffile
from PIL import Image, ImageFile, ImageOps

from tests.hostile import GREY, PALETTE, chunk, encoded, exif, hostile_images, png, surface
from weakspot.data.reading import area, array_pixels, decode_image, fit_image, read_image, read_mask
from weakspot.errors import ImageError, SettingsError, quoted
from weakspot.settings import ReadSettings

SETTINGS = ReadSettings()
DEEP = (surface().astype(np.uint16) << 8) | surface()[::-1]


def decoded(data, **settings):
    return decode_image(data, "picture", ReadSettings(**settings))


def refusal(data, **settings):
    with pytest.raises(ImageError) as error:
        decoded(data, **settings)
    assert "\n" not in str(error.value)
    return str(error.value)


def tiff_of(pixels, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_give_back_the_pixels(form, channels):
    pixels = surface(channels=channels)
    read = decoded(encoded(pixels, form))
    assert (read.pixels == pixels).all()
    assert (read.format, read.bit_depth, read.kind) == (form, 8, "grey" if channels == 1 else "colour")


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"optimize": True}])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_gives_the_pixels_that_pillow_gives(channels, options):
    data = encoded(surface(channels=channels), "JPEG", quality=90, **options)
    assert (decoded(data).pixels == np.asarray(Image.open(io.BytesIO(data)))).all()


@pytest.mark.parametrize("pixels", [DEEP, np.stack([DEEP, DEEP[::-1], DEEP[:, ::-1]], axis=-1)], ids=["grey", "colour"])
def test_sixteen_bits_stay_sixteen_bits(pixels):
    for data in (
        imagecodecs.png_encode(pixels),
        tiff_of(pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack"),
    ):
        read = decoded(data)
        assert read.pixels.dtype == np.uint16
        assert read.bit_depth == 16
        assert (read.pixels == pixels).all()


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "lzw"},
        {"compression": "lzw", "predictor": True, "rowsperstrip": 7},
        {"compression": "zlib", "predictor": True},
        {"compression": "packbits", "rowsperstrip": 11},
        {"tile": (16, 32), "compression": "lzw"},
        {"tile": (32, 16)},
        {"byteorder": ">"},
        {"bigtiff": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("pixels", [surface(), DEEP], ids=["8 bits", "16 bits"])
def test_tiff_is_read_however_it_is_stored(pixels, options):
    assert (decoded(tiff_of(pixels, **options)).pixels == pixels).all()


@pytest.mark.parametrize("compression", [None, "lzw", "zlib"])
def test_tiff_in_planes_is_read(compression):
    pixels = surface(channels=3)
    data = tiff_of(np.moveaxis(pixels, 2, 0), planarconfig="separate", photometric="rgb", compression=compression)
    assert (decoded(data).pixels == pixels).all()


def test_tiff_in_which_white_is_zero_is_turned_over():
    assert (decoded(tiff_of(surface(), photometric="miniswhite")).pixels == 255 - surface()).all()


def test_one_bit_is_black_and_white():
    pixels = surface() > 128
    for data in (
        encoded(pixels, "PNG"),
        encoded(pixels, "BMP"),
        encoded(pixels, "TIFF"),
        tiff_of(pixels, photometric="minisblack"),
    ):
        read = decoded(data)
        assert (read.pixels == pixels * np.uint8(255)).all()
        assert (read.bit_depth, read.kind) == (1, "bilevel")


def test_grey_of_four_bits_is_spread_over_all_of_eight():
    rows = b"".join(b"\0" + bytes([0x0F, 0x70]) for _ in range(4))
    assert decoded(png(4, 4, 4, GREY, rows)).pixels[0].tolist() == [0, 255, 119, 0]


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_palettes_of_any_depth_become_colours(depth):
    colours = (np.arange(3 << depth) % 251).astype(np.uint8).reshape(-1, 3)
    indices = (np.arange(64) % (1 << depth)).astype(np.uint8).reshape(8, 8)
    rows = np.packbits((indices[..., None] >> np.arange(depth - 1, -1, -1, dtype=np.uint8)) & 1, axis=None).reshape(
        8, -1
    )
    data = png(
        8, 8, depth, PALETTE, b"".join(b"\0" + row.tobytes() for row in rows), extra=chunk(b"PLTE", colours.tobytes())
    )
    read = decoded(data)
    assert (read.pixels == colours[indices]).all()
    assert read.kind == "palette"


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF"])
def test_a_grey_palette_gives_a_grey_picture(form):
    image = Image.fromarray(surface()).convert("P")
    image.putpalette([value for level in range(256) for value in (255 - level,) * 3])
    file = io.BytesIO()
    image.save(file, form)
    assert (decoded(file.getvalue()).pixels == 255 - surface()).all()


def test_an_interlaced_png_is_read():
    pixels, rows = surface(16, 24), b""
    for y, x, down, right in (
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ):
        rows += b"".join(b"\0" + row.tobytes() for row in pixels[y::down, x::right])
    data = bytearray(png(24, 16, rows=rows))
    data[28] = 1
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    assert (decoded(bytes(data)).pixels == pixels).all()


def test_an_opaque_alpha_channel_is_dropped():
    pixels = surface(channels=3)
    opaque = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    for data in (encoded(opaque, "PNG"), tiff_of(opaque, photometric="rgb", extrasamples=["unassalpha"])):
        assert (decoded(data).pixels == pixels).all()


def test_bits_of_a_camera_are_spread_over_the_whole_range():
    twelve = np.array([[0, 1, 2048, 4095]], np.uint16)
    read = decoded(imagecodecs.png_encode(twelve), bit_depth=12)
    assert read.pixels.tolist() == [[0, 16, 32776, 65535]]
    assert read.bit_depth == 12


def test_a_value_that_the_camera_cannot_give_is_refused():
    message = refusal(imagecodecs.png_encode(np.array([[5000]], np.uint16)), bit_depth=12)
    assert "5000" in message
    assert "12 bits" in message
    assert "bit_depth" in message


def test_values_are_never_scaled_by_how_large_they_are():
    dark = np.full((8, 8), 7, np.uint16)
    dark[0, 0] = 9
    assert (decoded(imagecodecs.png_encode(dark)).pixels == dark).all()


def test_eight_bits_are_left_alone_by_the_camera_setting():
    assert (decoded(encoded(surface(), "PNG"), bit_depth=12).pixels == surface()).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])
def test_exif_orientation_is_applied_or_ignored_as_the_settings_say(form, orientation):
    data = encoded(surface(40, 64, 3), form, exif=exif(orientation))
    stored = Image.open(
        io.BytesIO(encoded(surface(40, 64, 3), form))
    )  # without EXIF, since Pillow turns TIFF by itself
    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    ignored, applied = decoded(data), decoded(data, orientation="apply")
    assert (ignored.pixels == np.asarray(stored)).all()
    assert (applied.pixels == np.asarray(turned)).all()
    assert applied.pixels.flags.c_contiguous
    said = (f'EXIF orientation {orientation} not applied: lies as stored; [read] orientation = "apply" turns it',)
    assert ignored.warnings == said * (orientation != 1)


def test_another_library_that_loads_truncated_pictures_changes_nothing(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    for form in ("PNG", "JPEG", "BMP", "TIFF"):
        data = encoded(surface(channels=3), form)
        refusal(data[: len(data) * 2 // 3])


def test_a_png_checksum_inside_the_stream_is_verified():
    stream = bytearray(zlib.compress(bytes(17 * 16)))
    stream[-1] ^= 1
    refusal(png(16, 16, idat=bytes(stream)))


def test_a_missing_strip_is_never_filled_with_zeros():
    strips = tiff_of(surface(), rowsperstrip=10, compression="zlib")
    counts = tifffile.TiffFile(io.BytesIO(strips)).pages.first.tags[279]
    data = bytearray(strips)
    data[counts.valueoffset : counts.valueoffset + 2] = b"\0\0"
    assert "strip of 0 bytes" in refusal(bytes(data))


def test_stray_bytes_in_a_jpeg_cost_no_pixel():
    pictures = dict(hostile_images())
    stray = {name: data for name, data in pictures.items() if re.match("read_jpeg_with_(fill|zero|odd|zeros)_", name)}
    assert len(stray) == 8
    for name, data in stray.items():
        blocks = 4 if "restart" in name else 0
        whole, read = encoded(surface(channels=3), "JPEG", quality=90, restart_marker_blocks=blocks), decoded(data)
        assert (read.pixels == decoded(whole).pixels).all()
        said = any("stray byte" in warning for warning in read.warnings)
        assert said == ("fill" not in name and "zeros" not in name)


def test_a_name_that_does_not_fit_the_content_is_a_warning(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(encoded(surface(), "JPEG"))
    assert read_image(path, SETTINGS).warnings == ("holds a JPEG picture, though its name ends with .png",)


def test_a_picture_of_one_value_is_read_with_a_warning():
    assert "one value" in decoded(png(96, 64)).warnings[0]


def test_the_limit_of_megapixels_is_the_settings_own():
    data = encoded(surface(200, 300), "PNG")
    assert "300 × 200" in refusal(data, max_megapixels=0.05)
    assert decoded(data, max_megapixels=0.06).pixels.shape == (200, 300)


def test_reading_warns_nobody_but_the_caller():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wide = png(60_000, 1500, 1, idat=zlib.compress(bytes(7501 * 1500)))  # 90 megapixels, of which Pillow warns
        assert decoded(wide, max_megapixels=100).pixels.shape == (1500, 60_000)


def test_channels_come_first_then_depth_then_size():
    pixels = surface(channels=3)
    grey = np.asarray(Image.fromarray(pixels).convert("L"))
    assert (fit_image(pixels, (120, 96), 1, 8) == grey).all()
    half = np.asarray(Image.fromarray(grey).resize((48, 60), Image.Resampling.BILINEAR))
    assert (fit_image(pixels, (60, 48), 1, 8)[0] == half).all()


def test_grey_becomes_three_equal_channels():
    fitted = fit_image(surface(), (64, 64), 3, 8)
    assert fitted.shape == (3, 64, 64)
    assert (fitted[0] == fitted[2]).all()


def test_depths_are_exchanged_over_the_full_range():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    deep = fit_image(levels, (16, 16), 1, 16)
    assert (deep[0] == levels.astype(np.uint16) * 257).all()
    assert (fit_image(deep[0], (16, 16), 1, 8)[0] == levels).all()
    assert fit_image(np.array([[128, 129, 65535]], np.uint16), (1, 3), 1, 8).tolist() == [[[0, 1, 255]]]


def test_sixteen_bits_are_resized_as_sixteen_bits():
    ramp = np.tile(np.linspace(0, 4095, 256).astype(np.uint16), (64, 1))
    fitted = fit_image(ramp, (32, 128), 1, 16)[0]
    assert fitted.dtype == np.uint16
    assert len(np.unique(fitted)) > 100
    assert abs(int(fitted[0, 64]) - 2064) < 10


def test_a_picture_of_any_shape_can_be_fitted():
    for shape in ((1, 1), (1, 5000), (5000, 1)):
        assert fit_image(np.zeros(shape, np.uint8), (64, 80), 1, 8).shape == (1, 64, 80)


def test_a_picture_that_keeps_its_shape_is_mirrored_at_its_edge():
    pixels = surface()[:60, :96]
    fitted = fit_image(pixels, (64, 64), 1, 8, "keep")[0]
    assert area(60, 96, (64, 64), "keep") == (40, 64)
    assert (fitted[:40] == fit_image(pixels, (40, 64), 1, 8)[0]).all()
    assert (fitted[40:] == fitted[39:15:-1]).all()


@pytest.mark.parametrize("shape", [(1, 5000), (5000, 1), (64, 64), (100, 101), (64, 2000)])
def test_what_a_picture_takes_of_the_size_is_whole_cells_of_it(shape):
    for size in ((64, 80), (70, 75)):
        taken = area(*shape, size, "keep")
        assert fit_image(np.zeros(shape, np.uint8), size, 1, 8, "keep").shape == (1, *size)
        assert all(
            8 <= side <= most and (side % 8 == 0 or side == most) for side, most in zip(taken, size, strict=True)
        )
        assert any(side > most - 8 for side, most in zip(taken, size, strict=True))
        assert area(*shape, size, "stretch") == size


@pytest.mark.parametrize("pixels", [DEEP, surface(channels=3).astype(">u2") * 257], ids=["grey", "colour"])
def test_pixels_of_any_byte_order_are_fitted_alike(pixels):
    assert (fit_image(pixels.astype(">u2"), (60, 48), 1, 16) == fit_image(pixels.astype("<u2"), (60, 48), 1, 16)).all()


def test_an_array_becomes_pixels_whatever_its_order_of_bytes_and_channels():
    colour = surface(channels=3)
    assert np.shares_memory(array_pixels(colour, "x"), colour)
    assert (array_pixels(colour[..., ::-1], "x", "bgr") == colour).all()
    assert array_pixels(colour[..., ::-1], "x", "bgr").flags.c_contiguous
    for array in (surface()[..., None], surface()):
        assert (array_pixels(array, "x", "bgr") == surface()).all()
    deep = array_pixels(DEEP.astype(">u2"), "x")
    assert deep.dtype == np.uint16
    assert deep.dtype.isnative
    assert (deep == DEEP).all()


@pytest.mark.parametrize(
    "array",
    [
        surface() > 9,
        surface().astype(float),
        surface().astype(np.int16),
        surface().astype(np.uint32),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((0, 4), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.array([["a", "b"]]),
        np.array([[None]]),
    ],
    ids=lambda array: f"{array.dtype} {array.shape}",
)
def test_an_array_that_is_no_picture_is_refused_by_its_name(array):
    with pytest.raises(ImageError, match=r"^frame 7: an array of .*; needed is \(H, W\)"):
        array_pixels(array, "frame 7")


def test_an_unknown_order_of_channels_is_refused():
    with pytest.raises(SettingsError, match="needed is rgb, or bgr"):
        array_pixels(surface(), "x", "BGR")


def saved_mask(folder, values):
    path = folder / "mask.png"
    path.write_bytes(encoded(values, "PNG"))
    return path


def test_a_mask_of_classes_marks_all_but_zero(tmp_path):
    values = np.array([[0, 1], [2, 0]], np.uint8)
    assert read_mask(saved_mask(tmp_path, values), 2, 2).tolist() == [[False, True], [True, False]]


def test_a_mask_with_soft_edges_marks_the_bright_half(tmp_path):
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert (read_mask(saved_mask(tmp_path, values), 16, 16) == (values >= 128)).all()


def test_an_empty_mask_marks_nothing(tmp_path):
    assert not read_mask(saved_mask(tmp_path, np.zeros((4, 4), np.uint8)), 4, 4).any()


def test_a_mask_of_another_size_is_refused_with_both_sizes(tmp_path):
    with pytest.raises(ImageError, match="a mask of 4 × 3 pixels for a picture of 5 × 3"):
        read_mask(saved_mask(tmp_path, np.zeros((3, 4), np.uint8)), 3, 5)


def test_a_tag_of_very_many_values_is_not_quoted_at_length():
    many = tuple(range(1000, 6000))
    refusal = quoted(ImageError(f"compression {many}; save it uncompressed, or with LZW or deflate"), 500)
    assert len(refusal) == 500 and refusal.startswith("compression (1000, ")
    assert refusal.endswith("save it uncompressed, or with LZW or deflate")


@pytest.mark.skipif(not PIL.__version__.startswith("13."), reason="other releases take the passes in another order")
def test_a_picture_is_resized_as_pillow_13_does_in_one_step():
    """What trainings have seen so far stays what it was, and is now the same with any release."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        height, width, tall, wide = (int(side) for side in rng.integers(10, 150, 4))
        exact = rng.integers(0, 65536, (height, width)).astype(np.uint16)
        coarse = (exact >> 8).astype(np.uint8)
        found = Image.fromarray(coarse).resize((wide, tall), Image.Resampling.BILINEAR)
        assert np.array_equal(fit_image(coarse, (tall, wide), 1, 8)[0], found)
        found = Image.fromarray(exact.astype(np.float32)).resize((wide, tall), Image.Resampling.BILINEAR)
        assert np.array_equal(fit_image(exact, (tall, wide), 1, 16)[0], np.clip(np.rint(found), 0, 65535))
