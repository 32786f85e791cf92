"""Arrays, PNG, JPEG and WebP read as NumPy and Pillow hold them."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from streamgmm.errors import ImageReadError, MemoryBudgetError, OptionError, UnsupportedImageError
from streamgmm.image.source import open_image
from streamgmm.image.tiles import Window

from .images import smooth

IMAGE = smooth(40, 50, 4, np.uint16)
ARRAYS = {
    "grey": IMAGE[:, :, 0],
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


def read_all(image):
    return image.read(Window(0, 0, *image.shape[:2]))


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_is_read_as_it_is(name):
    array = ARRAYS[name]
    image = open_image(array)
    assert image.shape == (array.shape if array.ndim == 3 else (*array.shape, 1))
    assert image.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(read_all(image), array.reshape(image.shape))


@pytest.mark.parametrize("name", ARRAYS)
def test_samples_come_in_the_byte_order_of_the_processor(name):
    assert read_all(open_image(ARRAYS[name])).dtype.isnative


@given(st.data())
def test_any_window_of_an_array_is_its_slice(data):
    top, left = data.draw(st.integers(0, 39)), data.draw(st.integers(0, 49))
    window = Window(top, left, data.draw(st.integers(1, 40 - top)), data.draw(st.integers(1, 50 - left)))
    np.testing.assert_array_equal(open_image(IMAGE).read(window), IMAGE[window.slices])


def test_an_array_is_viewed_not_copied():
    assert np.shares_memory(open_image(IMAGE).read(Window(3, 5, 20, 20)), IMAGE)


def test_a_memory_map_is_viewed_not_copied(tmp_path):
    mapped = np.memmap(tmp_path / "pixels", np.uint16, "w+", shape=IMAGE.shape)
    mapped[:] = IMAGE
    image = open_image(mapped)
    assert np.shares_memory(image.read(Window(3, 5, 20, 20)), mapped)
    np.testing.assert_array_equal(read_all(image), IMAGE)


def test_an_array_describes_itself():
    assert open_image(IMAGE).info() == {"format": "array", "width": 50, "height": 40, "bands": 4, "dtype": "uint16"}


@pytest.mark.parametrize(
    "dtype", [bool, np.int8, np.int16, np.uint32, np.int64, np.float16, np.float32, np.float64, complex, object]
)
def test_samples_of_other_types_are_refused_by_name(dtype):
    with pytest.raises(UnsupportedImageError, match=f"samples are {np.dtype(dtype)}; uint8 and uint16 are supported"):
        open_image(np.zeros((4, 4, 3), dtype))


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4, 5), (0, 5), (5, 0, 3), (5, 5, 0), ()])
def test_arrays_of_other_shapes_are_refused_by_their_shape(shape):
    with pytest.raises(UnsupportedImageError, match=rf"shape \({', '.join(map(str, shape))}.*expected \(height, width\)"):
        open_image(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("source", [None, 5, [[1, 2], [3, 4]], b"a.tif"])
def test_a_source_is_a_path_or_an_array(source):
    with pytest.raises(OptionError, match=f"a path or an array, not {type(source).__name__}"):
        open_image(source)


# Mode of the file -> mode with the samples that are fitted.
MODES = {"L": "L", "LA": "LA", "RGB": "RGB", "RGBA": "RGBA", "P": "RGB", "1": "L", "I;16": "I;16"}


def picture(mode):
    """A Pillow image of some mode, 37 x 23."""
    pixels = smooth(23, 37, 4)
    if mode == "I;16":
        return Image.fromarray(smooth(23, 37, 1, np.uint16)[:, :, 0])
    return Image.fromarray(pixels).convert("RGB").convert(mode) if mode in ("P", "1") else Image.fromarray(pixels).convert(mode)


@pytest.mark.parametrize("mode", MODES)
def test_a_png_is_read_as_pillow_reads_it(mode, tmp_path):
    picture(mode).save(path := tmp_path / "image.png")
    expected = np.asarray(Image.open(path).convert(MODES[mode]))
    image = open_image(path)
    assert image.dtype == (np.uint16 if mode == "I;16" else np.uint8)
    np.testing.assert_array_equal(read_all(image), expected.reshape(image.shape))


def test_a_palette_with_transparency_is_read_with_it(tmp_path):
    picture("P").save(path := tmp_path / "image.png", transparency=3)
    image = open_image(path)
    assert image.shape == (23, 37, 4)
    np.testing.assert_array_equal(read_all(image), np.asarray(Image.open(path).convert("RGBA")))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_jpeg_is_read_as_pillow_reads_it(mode, tmp_path):
    picture(mode).save(path := tmp_path / "image.jpg")
    image = open_image(path)
    np.testing.assert_array_equal(read_all(image), np.asarray(Image.open(path)).reshape(image.shape))


def test_a_cmyk_jpeg_is_read_as_rgb(tmp_path):
    picture("RGB").convert("CMYK").save(path := tmp_path / "image.jpg")
    np.testing.assert_array_equal(read_all(open_image(path)), np.asarray(Image.open(path).convert("RGB")))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["jpeg", "png", "webp"])
def test_an_image_is_turned_as_its_exif_orientation_says(format, orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture("RGB").save(path := tmp_path / "image", format, exif=exif)
    expected = ImageOps.exif_transpose(Image.open(path))
    assert expected.size == ((37, 23) if orientation <= 4 else (23, 37))
    np.testing.assert_array_equal(read_all(open_image(path)), np.asarray(expected))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("lossless", [True, False])
def test_a_webp_is_read_as_pillow_reads_it(mode, lossless, tmp_path):
    picture(mode).save(path := tmp_path / "image.webp", lossless=lossless)
    expected = np.asarray(Image.open(path))
    if lossless and mode == "RGB":
        np.testing.assert_array_equal(expected, np.asarray(picture(mode)))
    np.testing.assert_array_equal(read_all(open_image(path)), expected)


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_a_file_is_known_by_its_content_not_by_its_name(format, tmp_path):
    picture("RGB").save(path := tmp_path / "image.tif", format)
    assert open_image(path).info()["format"] == format.upper()


def test_a_raster_describes_itself(tmp_path):
    picture("RGBA").save(path := tmp_path / "image.png")
    image = open_image(path)
    assert image.name == str(path)
    assert image.info() == {"format": "PNG", "width": 37, "height": 23, "bands": 4, "dtype": "uint8"}


def test_a_raster_that_fits_the_budget_exactly_is_read(tmp_path):
    picture("RGB").save(path := tmp_path / "image.png")
    assert read_all(open_image(path, budget=23 * 37 * 3)).shape == (23, 37, 3)


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_a_raster_above_the_budget_is_refused_with_the_remedy(format, tmp_path):
    Image.new("RGB", (1500, 1000)).save(path := tmp_path / "image", format)
    with pytest.raises(
        MemoryBudgetError, match=rf"image: a {format.upper()} of 1500 x 1000 .* 4 MiB of 3; .*tiled TIFF.*--chunk-size"
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
