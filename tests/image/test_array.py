"""An array is read as NumPy holds it: viewed, not copied, whatever its order, type and mask."""

import pickle
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgmm.errors import OptionError, UnsupportedImageError
from streamgmm.image.array import ArrayImage
from streamgmm.image.open import open_image
from streamgmm.image.tiles import Window
from streamgmm.options import ReadOptions

from ..images import posterized, read, smooth, whole

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
    assert open_image(IMAGE).info() == {
        "format": "array",
        "width": 50,
        "height": 40,
        "bands": 4,
        "dtype": "uint16",
        "dropped": [],
    }


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


@pytest.mark.parametrize("array", [*ARRAYS.values(), IMAGE.astype(">f2"), IMAGE > 9], ids=[*ARRAYS, "floats", "booleans"])
def test_an_array_travels(array):
    image = ArrayImage(array, ReadOptions(nodata=7))
    copy = pickle.loads(pickle.dumps(image))
    assert (copy.shape, copy.dtype, copy.maskable, copy.info()) == (image.shape, image.dtype, image.maskable, image.info())
    np.testing.assert_array_equal(whole(copy).pixels, whole(image).pixels)


def test_a_mask_travels_with_its_array():
    masked = np.ma.masked_greater(IMAGE, 30_000)
    copy = pickle.loads(pickle.dumps(ArrayImage(masked)))
    np.testing.assert_array_equal(whole(copy).valid, ~np.ma.getmaskarray(masked).any(axis=-1))


def test_an_array_is_all_there_and_never_changes():
    with closing(open_image(IMAGE)) as image:
        image.check_unchanged()
        assert not image.absent(Window(0, 0, 40, 50))
        assert (image.held, image.state, image.tile, image.segment) == (0, None, None, (1, 1))
