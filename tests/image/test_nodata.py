"""Pixels are masked by the values that stand for no data, as the file or the user says them."""

from contextlib import closing
from functools import partial

import numpy as np
import pytest
import tifffile

import streamgmm
from streamgmm.errors import OptionError
from streamgmm.image.nodata import Nodata
from streamgmm.image.open import open_image
from streamgmm.options import ImageOptions

from ..images import pixels_of, random_samples, read_checked, smooth, write_tiff
from .gdal import read_gdal, write_gdal
from .test_samples import with_alpha

noise = partial(random_samples, 37, 43)
write = partial(tifffile.imwrite, metadata=None)

# --- Nodata


def with_nodata(dtype, value, bands=3):
    """Samples of which some pixels are nodata in all bands, and others in one."""
    pixels = noise(bands, dtype)
    pixels[4:9, 10:30] = value
    pixels[20, 20, 0] = value
    return pixels


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("u1", 0),
        ("u1", 255),
        ("i1", -128),
        ("u2", 65535),
        ("i2", -9999),
        ("u4", 4294967295),
        ("i4", -2147483648),
        ("f4", -9999),
        ("f4", np.nan),
        ("f4", float(np.finfo(np.float32).min)),
        ("f8", -1.7976931348623157e308),
    ],
)
def test_pixels_of_nodata_are_masked_as_gdal_masks_them(dtype, value, tmp_path):
    pixels = with_nodata(dtype, value)
    path = write_gdal(tmp_path / "in.tif", pixels, nodata=value)
    _, mask = read_gdal(path)
    expected = (~np.isnan(pixels) if value != value else pixels != pixels.dtype.type(value)).any(axis=-1)
    np.testing.assert_array_equal(mask, expected)
    finite = np.isfinite(pixels).all(axis=-1)
    np.testing.assert_array_equal(read_checked(path).valid, expected & finite)
    np.testing.assert_array_equal(read_checked(pixels, nodata=value).valid, expected & finite)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("i8", -(1 << 63)), ("i8", (1 << 63) - 1), ("u8", (1 << 64) - 1), ("i8", (1 << 53) + 1)],
)
def test_nodata_of_64_bits_is_exact(dtype, value, tmp_path):
    pixels = with_nodata(dtype, value)
    pixels[10] = value - 1 if value > 0 else value + 1
    path = write_tiff(tmp_path / "in.tif", pixels, extratags=[(42113, 2, None, str(value))])
    np.testing.assert_array_equal(read_checked(path).valid, (pixels != value).any(axis=-1))


def test_nodata_asked_for_goes_before_that_of_the_file(tmp_path):
    pixels = noise(1, np.uint8)
    path = write_gdal(tmp_path / "in.tif", pixels, nodata=7)
    np.testing.assert_array_equal(read_checked(path).valid, pixels[..., 0] != 7)
    np.testing.assert_array_equal(read_checked(path, nodata=9).valid, pixels[..., 0] != 9)


def test_nodata_is_looked_for_in_the_bands_that_are_taken(tmp_path):
    pixels = with_nodata(np.uint8, 0, bands=5)
    path = write_gdal(tmp_path / "in.tif", pixels, nodata=0, photometric="minisblack", alpha="unspecified")
    for bands in [(1,), (2, 4), (5, 4, 3)]:
        expected = (pixels[..., [band - 1 for band in bands]] != 0).any(axis=-1)
        np.testing.assert_array_equal(read_checked(path, bands=bands).valid, expected)
        np.testing.assert_array_equal(read_checked(pixels, bands=bands, nodata=0).valid, expected)


def test_nodata_is_looked_for_in_colors_not_in_alpha(tmp_path):
    samples = with_alpha("u1")
    samples[samples[..., 3] == 0, 3] = 1
    samples[4:9, 10:30] = [0, 0, 0, 255]
    path = write_tiff(tmp_path / "in.tif", samples, extrasamples=["unassalpha"])
    np.testing.assert_array_equal(read_checked(path, nodata=0).valid, (samples[..., :3] != 0).any(axis=-1))


def test_nodata_is_compared_as_stored(tmp_path):
    pixels = noise(1, np.uint8)
    write(white := tmp_path / "white.tif", pixels[..., 0], photometric="miniswhite")
    np.testing.assert_array_equal(read_checked(white, nodata=255).valid, pixels[..., 0] != 255)
    packed = write_gdal(tmp_path / "packed.tif", pixels.astype(np.uint16) * 16, nbits=12)
    np.testing.assert_array_equal(read_checked(packed, nodata=4080).valid, pixels[..., 0] != 255)


@pytest.mark.parametrize("value", ["256", "-1", "1.5", "nan", "none", ""])
def test_nodata_that_no_sample_can_have_masks_nothing(value, tmp_path):
    pixels = noise(3, np.uint8)
    path = write_tiff(tmp_path / "in.tif", pixels, extratags=[(42113, 2, None, value)])
    np.testing.assert_array_equal(pixels_of(path), pixels)


BOXES = [
    (7.0, "u1", 7, 7),
    (256, "u1", None, None),
    (-1, "u2", None, None),
    (-128, "i1", -128, -128),
    (0.5, "i4", None, None),
    (float("nan"), "i2", None, None),
    (float("inf"), "u4", None, None),
    (1, "b1", 1, 1),
    (2, "b1", None, None),
    (0.5, "f4", 0.5, 0.5),
    ((1 << 64) - 1, "u8", (1 << 64) - 1, (1 << 64) - 1),
    ("0.5:3.5", "u1", 1, 3),
    ("-5:3", "u1", 0, 3),
    ("250:inf", "u1", 250, 255),
    ("0.1:0.9", "i2", None, None),
    ("-1e40:0", "f4", -np.inf, 0),
    ("-inf:inf", "f8", -np.inf, np.inf),
]


@pytest.mark.parametrize(("value", "dtype", "low", "high"), BOXES)
def test_nodata_is_what_a_sample_can_have(value, dtype, low, high):
    found = Nodata.of(ImageOptions(nodata=value).boxes, (0,), np.dtype(dtype), "image")
    assert found == (None if low is None else Nodata((((low, high),),), (0,)))


@pytest.mark.parametrize("text", ["nan", "-nan", "NaN", "-1.#IND", "1.#QNAN", "nan(0x7ff)"])
def test_no_number_is_known_however_a_program_writes_it(text, tmp_path):
    pixels = with_nodata(np.float32, np.nan, bands=1)
    path = write_tiff(tmp_path / "in.tif", pixels, extratags=[(42113, 2, None, text)])
    with closing(open_image(path)) as image:
        assert image.info()["masked_by"] == ["nodata nan", "NaN"]
        assert image.metadata.dropped == ()


# --- Several values, ranges, and one for each band ---


def holed(dtype, *values, bands=3):
    """Samples with a rectangle of each value, which other pixels have in one band."""
    pixels = noise(bands, dtype)
    for i, value in enumerate(values):
        pixels[4 + 6 * i : 9 + 6 * i, 10:30] = value
    pixels[:, 40, 0] = np.ravel(values[0])[0]
    return pixels


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4"])
def test_each_band_may_have_a_value_of_its_own(dtype, tmp_path):
    """A picture whose frame is magenta, say."""
    pixels = holed(dtype, (100, 0, 100), (0, 100, 0))
    write(path := tmp_path / "in.tif", pixels, photometric="rgb")
    expected = (pixels != np.array((100, 0, 100), dtype)).any(axis=-1)
    assert 0 < (~expected).sum() <= 100
    for nodata in ("100,0,100", (100, 0, 100), [(100, 0, 100)], "100:100,0,99.5:100.5" if dtype != "f4" else "100,0,100"):
        for source in (path, pixels):
            np.testing.assert_array_equal(read_checked(source, nodata=nodata).valid, expected)
    swapped = read_checked(path, bands=(3, 2), nodata="100,0").valid  # of the bands that are taken
    np.testing.assert_array_equal(swapped, (pixels[..., [2, 1]] != np.array((100, 0), dtype)).any(axis=-1))


@pytest.mark.parametrize("dtype", ["u2", "i2", "i4", "f4", "f8"])
def test_a_range_of_values_is_nodata_with_its_ends(dtype):
    pixels = holed(dtype, 32761, 32767, 32764, bands=1)
    pixels[30] = 32760
    inside = (pixels >= 32761) & (pixels <= 32767)
    np.testing.assert_array_equal(read_checked(pixels, nodata="32761:32767").valid, ~inside[..., 0])


def test_any_of_several_values_is_nodata(tmp_path):
    pixels = holed(np.int16, 32761, 32767, -9999, bands=1)
    write(path := tmp_path / "in.tif", pixels[..., 0], photometric="minisblack")
    expected = ~np.isin(pixels[..., 0], [32761, 32767])
    for nodata in (["32761", "32767"], [(32761,), (32767,)], ["32761:32761", "32767"]):
        np.testing.assert_array_equal(read_checked(path, nodata=nodata).valid, expected)
    np.testing.assert_array_equal(
        read_checked(path, nodata=["-9999", "32761:32767"]).valid, expected & (pixels[..., 0] != -9999)
    )


def test_what_a_file_says_is_nodata_is_data_where_none_is_asked_for(tmp_path):
    pixels = with_nodata(np.uint8, 0)
    path = write_gdal(tmp_path / "in.tif", pixels, nodata=0)
    assert read_checked(path).valid is not None
    for nodata in ("none", ["none"]):
        assert read_checked(path, nodata=nodata).valid is None
    with_holes = with_nodata(np.float32, np.nan)
    assert not read_checked(with_holes, nodata="none").valid.all()  # there is no color of what is no number


def test_values_for_other_bands_than_there_are_are_refused_with_what_to_write():
    pixels = noise(1, np.int16)
    with pytest.raises(OptionError, match=r"^array: nodata is 32767,32761, which is for 2 bands, of 1; .* repeat --nodata "):
        open_image(pixels, nodata="32767,32761")


def test_an_image_says_what_masks_it(tmp_path):
    pixels = noise(1, np.int16)
    write(path := tmp_path / "in.tif", pixels[..., 0], photometric="minisblack")
    with closing(open_image(path, nodata=["-9999", "32761:32767"])) as image:
        assert image.info()["masked_by"] == ["nodata -9999 or 32761:32767"]


def test_masked_pixels_of_several_values_have_one_label(tmp_path):
    pixels = smooth(40, 60, 3)
    report = streamgmm.quantize(pixels, tmp_path / "out.tif", n_components=4, nodata=["255,0,255", "0:3"], threads=1)
    masked = (pixels <= 3).all(axis=-1) | (pixels == (255, 0, 255)).all(axis=-1)
    labels = tifffile.imread(tmp_path / "out.tif")
    np.testing.assert_array_equal(labels == report.nodata if report.nodata is not None else np.zeros_like(masked), masked)


# --- Nodata as programs write it ---

LEAST = float(np.finfo(np.float32).min)
WRITTEN = {
    "to the digit": (LEAST, "-3.4028234663852886e+38"),
    "by ESRI": (LEAST, "-3.40282306073709653e+38"),
    "with seven digits": (LEAST, "-3.402823e+38"),
    "with six": (LEAST, "-3.40282e+38"),
    "with two": (LEAST, "-3.4e+38"),
    "as itself": (-3.4e38, "-3.39999999999999996e+38"),
    "with a comma": (-9999.0, "-9999,0"),
    "between spaces": (-9999.0, " -9999 "),
    "with few digits": (0.1, "0.1"),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("how", WRITTEN)
def test_nodata_is_known_however_a_program_writes_it(how, dtype, tmp_path):
    fill, tag = WRITTEN[how]
    pixels = np.random.default_rng(0).random((40, 60, 1), np.float32).astype(dtype) * 60 - 30
    pixels[:10] = np.float32(fill)
    tags = [(42113, 2, None, tag, True)]
    tifffile.imwrite(tmp_path / "image.tif", pixels[:, :, 0], photometric="minisblack", metadata=None, extratags=tags)
    _, valid = read_checked(tmp_path / "image.tif")
    if how == "with few digits" and dtype == np.float64:
        assert valid is None  # 0.1 of 32 bits is another number
        return
    np.testing.assert_array_equal(valid, pixels[:, :, 0] > -100 if fill < 0 else pixels[:, :, 0] != np.float32(fill))


def test_a_limit_of_more_bits_is_one_of_these(tmp_path):
    pixels = np.random.default_rng(0).random((40, 60, 1), np.float32)
    pixels[:10] = LEAST
    tags = [(42113, 2, None, "-1.79769313486231571e+308", True)]
    tifffile.imwrite(tmp_path / "image.tif", pixels[:, :, 0], photometric="minisblack", metadata=None, extratags=tags)
    assert read_checked(tmp_path / "image.tif")[1].sum() == 30 * 60


def test_numbers_that_are_near_nodata_are_not_nodata(tmp_path):
    """No more than two units in the last place are."""
    value = np.float32(1234.5)
    near = [value]
    for _ in range(4):
        near.append(np.nextafter(near[-1], np.float32(np.inf)))
    _, valid = read_checked(np.array([near], np.float32), nodata=float(value))
    np.testing.assert_array_equal(valid[0], [False, False, False, True, True])


def test_a_value_for_each_band_is_none_for_each_page():
    with pytest.raises(OptionError, match="nodata has a value for each band; with pages-as-bands write one for all"):
        ImageOptions(nodata="1,2", pages_as_bands="all")
