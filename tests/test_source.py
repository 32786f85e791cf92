"""Arrays, PNG, JPEG and WebP read as NumPy and Pillow hold them."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from streamgmm.errors import ImageReadError, MemoryBudgetError, OptionError, UnsupportedImageError
from streamgmm.image.open import open_image
from streamgmm.image.tiles import Window

from .images import posterized, read, smooth, whole

IMAGE = smooth(40, 50, 4, np.uint16)
ARRAYS = {
    "gray": IMAGE[:, :, 0],
    "one band": IMAGE[:, :, :1],
    "two bands": IMAGE[:, :, :2],
    "four bands": IMAGE,
    "bytes": (IMAGE >> 8).astype(np.uint8),
    "big-endian": IMAGE.astype(">u2"),
    "little-endian": IMAGE.astype("<u2"),
    "Fortran order": np.asfortranarray(IMAGE),
    "every third row": IMAGE[::3],
    "upside down": IMAGE[::-1, ::-1],
    "bands reversed": IMAGE[:, :, ::-1],
    "transposed": IMAGE.transpose(1, 0, 2),
    "read-only": np.frombuffer(IMAGE.tobytes(), np.uint16).reshape(IMAGE.shape),
    "five bands": np.concatenate([IMAGE, IMAGE[:, :, :1]], axis=2),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_is_read_as_it_is(name):
    array = ARRAYS[name]
    image = open_image(array)
    assert image.shape == (array.shape if array.ndim == 3 else (*array.shape, 1))
    assert image.dtype == array.dtype.newbyteorder("=")
    assert not image.maskable
    pixels, valid = whole(image)
    np.testing.assert_array_equal(pixels, array.reshape(image.shape))
    assert valid is None


@pytest.mark.parametrize("name", ARRAYS)
def test_samples_come_in_the_byte_order_of_the_processor(name):
    assert read(ARRAYS[name]).pixels.dtype.isnative


@given(st.data())
def test_any_window_of_an_array_is_its_slice(data):
    top, left = data.draw(st.integers(0, 39)), data.draw(st.integers(0, 49))
    window = Window(top, left, data.draw(st.integers(1, 40 - top)), data.draw(st.integers(1, 50 - left)))
    np.testing.assert_array_equal(read(IMAGE, window).pixels, IMAGE[window.slices])


def test_an_array_is_viewed_not_copied():
    assert np.shares_memory(read(IMAGE, Window(3, 5, 20, 20)).pixels, IMAGE)


def test_a_memory_map_is_viewed_not_copied(tmp_path):
    mapped = np.memmap(tmp_path / "pixels", np.uint16, "w+", shape=IMAGE.shape)
    mapped[:] = IMAGE
    image = open_image(mapped)
    assert np.shares_memory(image.read(Window(3, 5, 20, 20)).pixels, mapped)
    np.testing.assert_array_equal(whole(image).pixels, IMAGE)


def test_an_array_describes_itself():
    assert open_image(IMAGE).info() == {"format": "array", "width": 50, "height": 40, "bands": 4, "dtype": "uint16"}


# Samples of a type, and what they are read as.
SAMPLES = {
    "bool": (np.array([False, True]), np.array([0, 255], np.uint8)),
    "int8": (np.array([-128, -1, 0, 127], np.int8), np.array([0, 127, 128, 255], np.uint8)),
    "int16": (np.array([-32768, -1, 0, 32767], ">i2"), np.array([0, 32767, 32768, 65535], np.uint16)),
    "int32": (np.array([-(2**31), 5, 2**31 - 1], np.int32), np.array([-(2.0**31), 5, 2.0**31 - 1])),
    "uint32": (np.array([0, 7, 2**32 - 1], ">u4"), np.array([0, 7, 2.0**32 - 1])),
    "int64": (np.array([-(2**53), 0, 2**53]), np.array([-(2.0**53), 0, 2.0**53])),
    "uint64": (np.array([0, 2**53], np.uint64), np.array([0, 2.0**53])),
    "float16": (np.array([-1.5, 0, 65504], np.float16), np.array([-1.5, 0, 65504], np.float32)),
    "float32": (np.array([-1e38, 1e-38, 3], ">f4"), np.array([-1e38, 1e-38, 3], np.float32)),
    "float64": (np.array([-1e300, 0, 1e-300]), np.array([-1e300, 0, 1e-300])),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_of_other_types_are_spread_over_a_type_that_is_fitted(name):
    samples, expected = SAMPLES[name]
    image = open_image(samples[None, :])
    pixels, valid = whole(image)
    assert image.dtype == pixels.dtype == expected.dtype
    np.testing.assert_array_equal(pixels[0, :, 0], expected)
    assert valid is None


@pytest.mark.parametrize("dtype", [complex, object, "M8[s]", "S1"])
def test_samples_of_no_number_are_refused_by_name(dtype):
    name = str(np.dtype(dtype)).replace("[", r"\[")
    with pytest.raises(UnsupportedImageError, match=rf"samples are {name}; booleans, integers and floats are supported"):
        open_image(np.zeros((4, 4, 3), dtype))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_that_are_not_finite_are_masked(dtype, bad):
    array = smooth(20, 30).astype(dtype)
    array[3, 4, 1] = array[19, 29, 2] = bad
    image = open_image(array)
    pixels, valid = whole(image)
    assert image.maskable
    np.testing.assert_array_equal(np.argwhere(~valid), [[3, 4], [19, 29]])
    np.testing.assert_array_equal(pixels[valid], array[valid])
    assert image.read(Window(5, 5, 10, 10)).valid is None


def test_a_pixel_with_a_masked_band_is_masked():
    array = np.ma.array(smooth(20, 30), mask=False)
    array[3, 4, 1] = array[5] = np.ma.masked
    image = open_image(array)
    pixels, valid = whole(image)
    assert image.maskable
    np.testing.assert_array_equal(valid, ~np.ma.getmaskarray(array).any(axis=-1))
    np.testing.assert_array_equal(pixels, array.data)
    assert image.read(Window(10, 0, 10, 30)).valid is None


def test_a_masked_array_that_masks_nothing_has_no_mask():
    image = open_image(np.ma.array(smooth(20, 30), mask=False))
    assert not image.maskable
    assert whole(image).valid is None


@pytest.mark.parametrize(("dtype", "nodata"), [(np.uint8, 7), (np.int16, -9999), (np.float32, -3.5), (np.float64, np.nan)])
def test_pixels_whose_samples_are_all_nodata_are_masked(dtype, nodata):
    array = np.arange(60).reshape(4, 5, 3).astype(dtype)
    array[2, 1], array[3, 3, 0] = nodata, 7 if np.isnan(nodata) else nodata
    pixels, valid = read(array, nodata=nodata)
    np.testing.assert_array_equal(np.argwhere(~valid), [[2, 1]])
    np.testing.assert_array_equal(pixels[valid], read(array).pixels[valid])


@pytest.mark.parametrize("nodata", [-1, 256, 7.5, np.nan, np.inf])
def test_nodata_that_no_sample_can_be_masks_nothing(nodata):
    image = open_image(IMAGE.astype(np.uint8), nodata=nodata)
    assert not image.maskable
    assert whole(image).valid is None


@pytest.mark.parametrize("bands", [(1,), (4, 3, 2), (2, 2)])
def test_bands_are_taken_in_the_order_given(bands):
    image = open_image(IMAGE, bands=bands)
    assert image.shape == (40, 50, len(bands))
    np.testing.assert_array_equal(whole(image).pixels, IMAGE[:, :, [band - 1 for band in bands]])


@pytest.mark.parametrize("bands", [(), (0,), (5,), (1, -1)])
def test_bands_that_are_not_there_are_refused(bands):
    with pytest.raises(OptionError, match=f"array: bands are {','.join(map(str, bands))}; choose from 1 to 4"):
        open_image(IMAGE, bands=bands)


@pytest.mark.parametrize("bands", [None, (3, 2, 1)])
@pytest.mark.parametrize("nodata", [None, 0])
def test_a_window_masks_what_the_whole_image_masks_there(bands, nodata):
    array = posterized(40, 50, 2)
    array[:, 7] = 0
    pixels, valid = read(array, bands=bands, nodata=nodata)
    for window in (Window(0, 0, 40, 9), Window(11, 7, 5, 1), Window(0, 8, 40, 42)):
        part = read(array, window, bands=bands, nodata=nodata)
        np.testing.assert_array_equal(part.pixels, pixels[window.slices])
        expected = np.ones(array.shape[:2], bool) if valid is None else valid
        np.testing.assert_array_equal(True if part.valid is None else part.valid, expected[window.slices])


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4, 5), (0, 5), (5, 0, 3), (5, 5, 0), ()])
def test_arrays_of_other_shapes_are_refused_by_their_shape(shape):
    with pytest.raises(UnsupportedImageError, match=rf"shape \({', '.join(map(str, shape))}.*expected \(height, width\)"):
        open_image(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("source", [None, 5, [[1, 2], [3, 4]], b"a.tif"])
def test_a_source_is_a_path_or_an_array(source):
    with pytest.raises(OptionError, match=f"a path or an array, not {type(source).__name__}"):
        open_image(source)


# Mode of the file -> mode with the samples that are fitted, and alpha behind them.
MODES = {"L": "L", "LA": "LA", "RGB": "RGB", "RGBA": "RGBA", "P": "RGB", "1": "L", "I;16": "I;16"}


def picture(mode):
    """A Pillow image of some mode, 37 x 23; where it has alpha, a corner is clear."""
    pixels = smooth(23, 37, 4)
    pixels[:5, :7, 3] = 0
    if mode == "I;16":
        return Image.fromarray(smooth(23, 37, 1, np.uint16)[:, :, 0])
    return Image.fromarray(pixels).convert("RGB").convert(mode) if mode in ("P", "1") else Image.fromarray(pixels).convert(mode)


@pytest.mark.parametrize("mode", MODES)
def test_a_png_is_read_as_pillow_reads_it(mode, tmp_path):
    picture(mode).save(path := tmp_path / "image.png")
    assert open_image(path).dtype == (np.uint16 if mode == "I;16" else np.uint8)
    check_read(path, np.asarray(Image.open(path).convert(MODES[mode])), alpha=mode in ("LA", "RGBA"))


def check_read(path, expected, alpha=False):
    """Compare what is read with pixels that Pillow holds, whose last band may be alpha: it masks where it is 0."""
    image = open_image(path)
    pixels, valid = whole(image)
    expected = expected if expected.ndim == 3 else expected[:, :, None]
    assert image.maskable == alpha
    if alpha:
        expected, opaque = expected[:, :, :-1], expected[:, :, -1] != 0
        assert 0 < opaque.sum() < opaque.size
        np.testing.assert_array_equal(valid, opaque)
    else:
        assert valid is None
    assert image.shape == expected.shape
    np.testing.assert_array_equal(pixels, expected)


def test_a_palette_with_transparency_masks_what_is_clear(tmp_path):
    picture("P").save(path := tmp_path / "image.png", transparency=int(np.asarray(picture("P"))[0, 0]))
    check_read(path, np.asarray(Image.open(path).convert("RGBA")), alpha=True)


@pytest.mark.parametrize("bands", [1, 3])
def test_a_color_that_is_named_clear_is_masked(bands, tmp_path):
    pixels = posterized(23, 37, 5, bands)
    clear = tuple(pixels[0, 0].tolist()) if bands == 3 else int(pixels[0, 0, 0])
    Image.fromarray(pixels.squeeze()).save(path := tmp_path / "image.png", transparency=clear)
    np.testing.assert_array_equal(read(path).valid, (pixels != pixels[0, 0]).any(axis=-1))


def test_an_alpha_that_is_nowhere_0_masks_nothing(tmp_path):
    pixels = smooth(23, 37, 4)
    assert pixels[:, :, 3].min() > 0
    Image.fromarray(pixels).save(path := tmp_path / "image.png")
    image = open_image(path)
    assert image.maskable
    assert whole(image).valid is None
    np.testing.assert_array_equal(whole(image).pixels, pixels[:, :, :3])


def test_alpha_may_be_taken_as_a_band(tmp_path):
    picture("RGBA").save(path := tmp_path / "image.png")
    pixels, valid = read(path, bands=(4, 1))
    expected = np.asarray(Image.open(path))
    np.testing.assert_array_equal(pixels, expected[:, :, [3, 0]])
    np.testing.assert_array_equal(valid, expected[:, :, 3] != 0)


def test_only_tiffs_have_pages_and_levels(tmp_path):
    picture("RGB").save(path := tmp_path / "image.png")
    assert open_image(path, page=0).shape == (23, 37, 3)
    for option in ({"page": 1}, {"level": 1}):
        with pytest.raises(OptionError, match=f"{path}: only TIFF files have pages and levels"):
            open_image(path, **option)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_jpeg_is_read_as_pillow_reads_it(mode, tmp_path):
    picture(mode).save(path := tmp_path / "image.jpg")
    check_read(path, np.asarray(Image.open(path)))


def test_a_cmyk_jpeg_is_read_as_rgb(tmp_path):
    picture("RGB").convert("CMYK").save(path := tmp_path / "image.jpg")
    check_read(path, np.asarray(Image.open(path).convert("RGB")))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["jpeg", "png", "webp"])
def test_an_image_is_turned_as_its_exif_orientation_says(format, orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture("RGB").save(path := tmp_path / "image", format, exif=exif)
    expected = ImageOps.exif_transpose(Image.open(path))
    assert expected.size == ((37, 23) if orientation <= 4 else (23, 37))
    check_read(path, np.asarray(expected))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("lossless", [True, False])
def test_a_webp_is_read_as_pillow_reads_it(mode, lossless, tmp_path):
    picture(mode).save(path := tmp_path / "image.webp", lossless=lossless)
    expected = np.asarray(Image.open(path))
    if lossless and mode == "RGB":
        np.testing.assert_array_equal(expected, np.asarray(picture(mode)))
    check_read(path, expected, alpha=mode == "RGBA")


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_a_file_is_known_by_its_content_not_by_its_name(format, tmp_path):
    picture("RGB").save(path := tmp_path / "image.tif", format)
    assert open_image(path).info()["format"] == format.upper()


def test_a_raster_describes_itself(tmp_path):
    picture("RGBA").save(path := tmp_path / "image.png")
    image = open_image(path)
    assert image.name == str(path)
    assert image.info() == {"format": "PNG", "width": 37, "height": 23, "bands": 3, "dtype": "uint8"}


def test_a_raster_that_fits_the_budget_exactly_is_read(tmp_path):
    picture("RGB").save(path := tmp_path / "image.png")
    assert read(path, budget=23 * 37 * 3).pixels.shape == (23, 37, 3)


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_a_raster_above_the_budget_is_refused_with_the_remedy(format, tmp_path):
    Image.new("RGB", (1500, 1000)).save(path := tmp_path / "image", format)
    with pytest.raises(
        MemoryBudgetError, match=rf"image: a {format.upper()} of 1500 x 1000 .* (4|9) MiB of 3; .*tiled TIFF.*--chunk-size"
    ):
        open_image(path, budget=3 << 20)


def test_a_large_png_inside_the_budget_is_not_taken_for_a_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)  # Pillow warns above this, and refuses above twice this
    picture("L").save(path := tmp_path / "image.png")  # 851 pixels
    assert open_image(path, budget=1000).shape == (23, 37, 1)


@pytest.fixture
def bomb(tmp_path, monkeypatch):
    """A PNG of 851 pixels, where Pillow refuses 200: the factor by which 250 Mpx are beyond its limit."""
    picture("L").save(path := tmp_path / "image.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    return path


def test_what_pillow_takes_for_a_bomb_is_read_inside_the_budget(bomb):
    assert open_image(bomb, budget=1000).shape == (23, 37, 1)


def test_what_pillow_takes_for_a_bomb_is_refused_above_the_budget_with_the_remedy(bomb):
    with pytest.raises(MemoryBudgetError, match=r"tiled TIFF.*--chunk-size"):
        open_image(bomb, budget=800)


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_a_truncated_raster_is_refused(format, tmp_path):
    picture("RGB").save(path := tmp_path / "image", format)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageReadError, match=f"{path}: .*"):
        open_image(path)


def test_a_corrupt_png_is_refused(tmp_path):
    picture("RGB").save(path := tmp_path / "image.png")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(ImageReadError, match="cannot be decoded"):
        open_image(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"hello, world", r"not an image this program reads \(TIFF, PNG, JPEG or WebP\)"),
        (b"\x89PNG\r\n\x1a\n", "not an image|cannot be decoded"),
        (b"\xff\xd8\xff\xe0" + bytes(100), "not an image|cannot be decoded"),
        (b"GIF89a" + bytes(100), "not an image"),
        (b"II*\0", "not a sound TIFF"),
        (b"MM\0+" + bytes(3), "not a sound TIFF"),
        (b"II", "not an image"),
    ],
)
def test_a_file_that_is_no_image_is_refused(content, message, tmp_path):
    path = tmp_path / "image.tif"
    path.write_bytes(content)
    with pytest.raises(ImageReadError, match=f"{path}: ({message})"):
        open_image(path)


def test_a_file_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ImageReadError, match=r"absent\.tif: no such file or directory"):
        open_image(tmp_path / "absent.tif")


@pytest.mark.skipif(sys.platform == "win32", reason="folders cannot be opened there at all")
def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ImageReadError, match="is a directory"):
        open_image(tmp_path)


def test_errors_of_reading_are_os_errors_too(tmp_path):
    with pytest.raises(OSError, match="no such file"):
        open_image(tmp_path / "absent.tif")


@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_a_path_may_be_text(kind, tmp_path):
    picture("RGB").save(path := tmp_path / "image.png")
    assert open_image(kind(path)).name == str(path)
