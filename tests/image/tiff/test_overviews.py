"""Reduced levels in a file beside a TIFF are those that GDAL reads there."""

import os
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile
from rasterio.enums import Resampling

import streamgmm
from streamgmm.errors import ImageReadError, OptionError
from streamgmm.image.open import open_image, open_images
from streamgmm.jobs.fingerprint import content
from streamgmm.options import ReadOptions

from ...images import n_open_files, read, read_checked, smooth, write_tiff
from ..gdal import open_gdal, quietly, read_gdal, write_gdal
from ..pam import nodata, write_pam
from ..test_sidecars import write_masked

HEIGHT, WIDTH = 150, 200
PLACE = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 4_000_000)}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@quietly
def build(path, factors=(2, 4), **config):
    """Make levels beside an image, as ``gdaladdo -ro`` does."""
    with rasterio.Env(TIFF_USE_OVR=True, **config), rasterio.open(path, "r+") as file:
        file.build_overviews(factors, Resampling.average)
    assert Path(f"{path}.ovr").exists()


def picture(path="a.tif", bands=3, **options):
    return write_gdal(path, smooth(HEIGHT, WIDTH, bands), **{"photometric": "rgb" if bands > 2 else "minisblack"} | options)


def described(path, **options):
    with closing(open_image(path, **options)) as image:
        return image.info(), image.metadata


KINDS = [
    ({}, {}),
    ({"bands": 1, "nodata": 0}, {}),
    ({"bands": 5}, {}),
    ({"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}, {"COMPRESS_OVERVIEW": "LZW"}),
    ({}, {"COMPRESS_OVERVIEW": "JPEG", "INTERLEAVE_OVERVIEW": "PIXEL"}),
]


@pytest.mark.parametrize(("options", "config"), KINDS)
def test_levels_are_those_that_gdal_reads(options, config):
    picture(**options)
    build("a.tif", **config)
    for level in (1, 2):
        pixels, valid = read_checked("a.tif", level=level)
        expected, shown = read_gdal("a.tif", level)
        tolerance = 3 if "INTERLEAVE_OVERVIEW" in config else 0  # decoders of JPEG round otherwise
        np.testing.assert_allclose(pixels.astype(int), expected, atol=tolerance)
        np.testing.assert_array_equal(np.ones(shown.shape, bool) if valid is None else valid, shown)


def test_levels_are_listed_and_nothing_is_missed():
    picture(bigtiff="yes")
    build("a.tif")
    assert described("a.tif")[1].dropped == described("a.tif", level=1)[1].dropped == ()
    whole, half = described("a.tif")[0], described("a.tif", level=1)[0]
    assert whole["levels"] == half["levels"] == ["200 x 150", "100 x 75", "50 x 38"]
    assert [(info["width"], info["height"], info["pages"], info["page"]) for info in (whole, half)] == [
        (200, 150, 1, 0),
        (100, 75, 1, 0),
    ]
    assert whole["format"] == half["format"] == "BigTIFF"  # of which the other file is none


def test_a_level_that_is_not_there_is_an_error_that_lists_them():
    picture()
    build("a.tif")
    with pytest.raises(OptionError, match=r"level is 3; page 0 has 0 \(200 x 150\), 1 \(100 x 75\), 2 \(50 x 38\)"):
        open_image("a.tif", level=3)


def test_a_level_lies_where_the_image_does():
    picture(**PLACE)
    build("a.tif")
    streamgmm.quantize("a.tif", "out.tif", n_components=4, threads=1, level=1)
    with open_gdal("out.tif") as file:
        assert (file.crs, file.shape) == (rasterio.CRS.from_epsg(32633), (75, 100))
        assert file.transform == PLACE["transform"] @ rasterio.Affine.scale(2)


# --- Masks ---


def shown():
    valid = np.ones((HEIGHT, WIDTH), bool)
    valid[:60, 80:] = valid[100:] = False
    return valid


def test_a_mask_beside_an_image_has_levels_beside_it():
    write_masked("a.tif", smooth(HEIGHT, WIDTH), shown(), photometric="rgb")
    build("a.tif")
    assert Path("a.tif.msk.ovr").exists()
    for level in (0, 1, 2):
        np.testing.assert_array_equal(read("a.tif", level=level).valid, read_gdal("a.tif", level)[1])
    info, metadata = described("a.tif", level=1)
    assert (info["masked_by"], metadata.dropped) == (["mask file"], ())


def test_masks_stand_among_the_levels():
    picture(tiled=True, blockxsize=64, blockysize=64)
    halves = smooth(HEIGHT, WIDTH)[::2, ::2], shown()[::2, ::2]
    with tifffile.TiffWriter("a.tif.ovr") as writer:
        writer.write(halves[0], subfiletype=1, photometric="rgb", metadata=None)
        writer.write(halves[1], subfiletype=5, photometric="mask", metadata=None)
    pixels, valid = read_checked("a.tif", level=1)
    np.testing.assert_array_equal(pixels, halves[0])
    np.testing.assert_array_equal(valid, halves[1])
    assert described("a.tif", level=1)[0]["masked_by"] == ["mask page"]


def test_nodata_beside_the_image_masks_its_levels():
    picture()
    build("a.tif")
    write_pam("a.tif", nodata(128, 128, 128))
    pixels, valid = read("a.tif", level=2)
    expected = (pixels != 128).any(axis=2)
    np.testing.assert_array_equal(np.ones(pixels.shape[:2], bool) if valid is None else valid, expected)
    assert described("a.tif", level=2)[0]["masked_by"] == ["nodata 128"]


# --- Which are taken ---


def test_an_image_that_has_levels_itself_needs_no_others():
    picture("b.tif")
    build("b.tif", (4,))
    picture(factors=(2,), tiled=True, blockxsize=16, blockysize=16)
    Path("b.tif.ovr").rename("a.tif.ovr")
    info, metadata = described("a.tif")
    assert (info["levels"], metadata.dropped) == (["200 x 150", "100 x 75"], ("a.tif.ovr",))
    np.testing.assert_array_equal(read("a.tif", level=1).pixels, read_gdal("a.tif", 1)[0])


def test_levels_are_of_the_first_page():
    write_tiff("a.tif", smooth(HEIGHT, WIDTH))
    write_tiff("a.tif", smooth(HEIGHT, WIDTH, seed=1), append=True)
    picture("b.tif")
    build("b.tif")
    Path("b.tif.ovr").rename("a.tif.ovr")
    assert len(described("a.tif", page=0)[0]["levels"]) == 3
    info, metadata = described("a.tif", page=1)
    assert (info["levels"], metadata.dropped) == (["200 x 150"], ("a.tif.ovr", "page 0"))


def test_levels_of_another_image_are_named():
    write_tiff("b.tif", smooth(90, 400))
    build("b.tif")
    picture()
    Path("b.tif.ovr").rename("a.tif.ovr")
    info, metadata = described("a.tif")
    assert (info["levels"], metadata.dropped) == (["200 x 150"], ("a.tif.ovr",))


@pytest.mark.parametrize("content", [b"", b"II*\0", b"no TIFF", "cut"], ids=["empty", "header", "text", "cut"])
def test_a_damaged_file_is_an_error_only_where_it_is_asked_for(content):
    picture()
    if content == "cut":
        build("a.tif")
        content = Path("a.tif.ovr").read_bytes()[:100]
    Path("a.tif.ovr").write_bytes(content)
    before = n_open_files()
    assert described("a.tif")[1].dropped == ("a.tif.ovr",)
    with pytest.raises(ImageReadError, match=r"^a\.tif\.ovr: not a sound TIFF"):
        open_image("a.tif", level=1)
    assert n_open_files() == before


def test_damage_in_a_level_names_the_file_it_is_in():
    picture()
    build("a.tif")
    data = Path("a.tif.ovr").read_bytes()
    Path("a.tif.ovr").write_bytes(data[: len(data) // 2])
    assert read("a.tif").pixels.shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(ImageReadError, match=r"^a\.tif\.ovr: "):
        read("a.tif", level=1)


# --- What of it is known ---


def test_files_are_open_while_they_are_read():
    write_masked("a.tif", smooth(HEIGHT, WIDTH), shown(), photometric="rgb")
    build("a.tif")
    before = n_open_files()
    for level, files in ((0, 2), (1, 4)):  # the image, its mask, and the levels of both
        with closing(open_images("a.tif", ReadOptions(level=level), None)[0]):
            assert n_open_files() == before + files
        assert n_open_files() == before


def test_a_level_that_changes_while_it_is_read_is_noticed():
    picture()
    build("a.tif")
    with closing(open_image("a.tif", level=1)) as level, closing(open_image("a.tif")) as whole:
        os.utime("a.tif.ovr", ns=(1, 1))
        whole.check_unchanged()
        with pytest.raises(ImageReadError, match=r"a\.tif\.ovr: changed while it was read"):
            level.check_unchanged()


def test_an_image_is_another_with_other_levels():
    picture()
    before = content(Path("a.tif"))
    build("a.tif")
    assert content(Path("a.tif")) != before
