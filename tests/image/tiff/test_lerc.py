"""Blobs of LERC are read as GDAL reads them: what is masked in them is NaN, or has no alpha."""

import numpy as np
import pytest

from ...images import read, read_checked, smooth
from ..gdal import read_gdal, write_gdal

HEIGHT, WIDTH = 96, 120
CODECS = ["lerc", "lerc_deflate", "lerc_zstd"]
TILES = {"tiled": True, "blockxsize": 64, "blockysize": 32}
HOLE = (slice(10, 40), slice(50, 110))


def heights(dtype=np.float32):
    return (smooth(HEIGHT, WIDTH, 1).astype(dtype) * 3).astype(dtype)


def with_holes(*holes, dtype=np.float32):
    """Bands that are NaN in places of their own."""
    bands = np.concatenate([heights(dtype) * (i + 1) for i in range(len(holes))], axis=2)
    for band, hole in enumerate(holes):
        bands[(*hole, band)] = np.nan
    return bands


OTHER = (slice(60, 90), slice(0, 20))
FLOATS = {
    "one band": with_holes(HOLE),
    "64 bits": with_holes(HOLE, dtype=np.float64),
    "two bands": with_holes(HOLE, OTHER),
    "three bands": with_holes(HOLE, OTHER, OTHER),
    "nothing masked": heights(),
}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("interleave", ["pixel", "band"])
@pytest.mark.parametrize("layout", [TILES, {}])
@pytest.mark.parametrize("what", FLOATS)
def test_floats_are_masked_where_they_are_nan(what, layout, interleave, codec, tmp_path):
    pixels = FLOATS[what]
    write_gdal(tmp_path / "image.tif", pixels, compress=codec, interleave=interleave, **layout)
    np.testing.assert_array_equal(read_gdal(tmp_path / "image.tif")[0], pixels)
    shown, valid = read_checked(tmp_path / "image.tif")
    expected = np.isfinite(pixels).all(axis=2)
    np.testing.assert_array_equal(np.ones_like(expected) if valid is None else valid, expected)
    np.testing.assert_array_equal(shown[expected], pixels[expected])


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("alpha", ["in the mask", "as a sample", "opaque"])
@pytest.mark.parametrize("bands", [1, 3])
def test_alpha_is_that_of_the_mask(bands, alpha, codec, tmp_path):
    opacity = np.full((HEIGHT, WIDTH), 255, np.uint8)
    if alpha != "opaque":
        opacity[HOLE] = 0
    if alpha == "as a sample":
        opacity[OTHER] = 100
    pixels = np.dstack([smooth(HEIGHT, WIDTH, bands), opacity])
    photometric = "rgb" if bands == 3 else "minisblack"
    write_gdal(tmp_path / "image.tif", pixels, compress=codec, photometric=photometric, alpha="yes", **TILES)
    assert (read_gdal(tmp_path / "image.tif")[0][..., -1] == opacity).all()
    shown, valid = read(tmp_path / "image.tif")
    np.testing.assert_array_equal(np.ones_like(opacity, bool) if valid is None else valid, opacity != 0)
    np.testing.assert_array_equal(shown[opacity != 0], pixels[opacity != 0][:, :-1])


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
@pytest.mark.parametrize("bands", [1, 2, 4])
def test_integers_are_as_stored(bands, dtype, tmp_path):
    pixels = (smooth(HEIGHT, WIDTH, bands).astype(int) * (1 if dtype == np.uint8 else 100)).astype(dtype)
    write_gdal(tmp_path / "image.tif", pixels, compress="lerc", photometric="minisblack", **TILES)
    shown, valid = read(tmp_path / "image.tif")
    assert valid is None
    np.testing.assert_array_equal(shown if dtype != np.int16 else shown.view(np.int16) ^ np.int16(-32768), pixels)
