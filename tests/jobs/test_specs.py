"""An output has the tiles of its input where they are usable, and else those that are asked for."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import tifffile

import streamgmm
from streamgmm.errors import OptionError
from streamgmm.image.array import ArrayImage
from streamgmm.jobs import specs
from streamgmm.jobs.passes.blocks import Blocks
from streamgmm.model.space import BY_TYPE, SampleSpace
from streamgmm.options import OutputOptions

from ..conftest import random_mixture
from ..images import PHOTO, smooth, write_tiff
from .test_quantize import check_output

quantize = partial(streamgmm.quantize, threads=1)


@pytest.mark.parametrize(("shape", "fits"), [((300, 200), (256, 256)), ((512, 512), (256, 256))])
def test_the_output_has_tiles_of_256_where_the_input_has_none(shape, fits, tmp_path):
    quantize(smooth(*shape), path := tmp_path / "out.tif", n_components=2)
    assert tile_of(path) == fits


@pytest.mark.parametrize(
    ("tile", "expected"),
    [
        ((128, 128), (128, 128)),
        ((512, 512), (512, 512)),
        ((128, 256), (128, 256)),
        ((64, 64), (256, 256)),
        ((4096, 4096), (256, 256)),
    ],
)
def test_the_output_has_the_tiles_of_the_input_where_they_are_usable(tile, expected, tmp_path):
    source = write_tiff(tmp_path / "in.tif", smooth(300, 300), tile=tile, compression="deflate")
    quantize(source, path := tmp_path / "out.tif", n_components=2)
    assert tile_of(path) == expected


@pytest.mark.parametrize("tile_size", [16, 48, 512])
def test_the_tile_size_may_be_given(tile_size, photo, tmp_path):
    report = quantize(PHOTO, path := tmp_path / "out.tif", n_components=3, tile_size=tile_size)
    assert tile_of(path) == (tile_size, tile_size)
    check_output(photo, path, report)


def tile_of(path):
    with tifffile.TiffFile(path) as tiff:
        return tiff.pages.first.tilelength, tiff.pages.first.tilewidth


@pytest.mark.parametrize(("compression", "tag"), [("none", 1), ("deflate", 8), ("lzw", 5), ("zstd", 50000)])
def test_the_compression_may_be_given(compression, tag, photo, tmp_path):
    report = quantize(PHOTO, path := tmp_path / "out.tif", n_components=3, compression=compression)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.pages.first.compression == tag
    check_output(photo, path, report)


# --- By itself ---


@pytest.fixture
def image():
    return ArrayImage(smooth(300, 500))


def spec_of(image, n_colors=4, masked=False, **options):
    return specs.image_spec(image, np.zeros((n_colors, 3), np.uint8), n_colors if masked else None, OutputOptions(**options))


@pytest.mark.parametrize(
    ("n_colors", "masked", "bits", "dtype"),
    [
        (1, False, 1, np.uint8),
        (2, False, 1, np.uint8),
        (2, True, 2, np.uint8),
        (4, False, 2, np.uint8),
        (5, False, 4, np.uint8),
        (15, True, 4, np.uint8),
        (16, True, None, np.uint8),
        (255, True, None, np.uint8),
        (256, False, None, np.uint8),
        (256, True, None, np.uint16),
        (65_535, True, None, np.uint16),
    ],
)
def test_labels_are_of_the_type_that_holds_them_and_packed_where_they_are_few(n_colors, masked, bits, dtype, image):
    spec = spec_of(image, n_colors, masked, pack=True)
    assert (spec.bits, spec.dtype, spec.nodata) == (bits, dtype, n_colors if masked else None)
    assert spec_of(image, n_colors, masked).bits is None


def test_what_is_asked_of_an_output_is_in_its_spec(image):
    options = {"output": "labels", "compression": "zstd", "compression_level": 3, "tile_size": 48, "resampling": "nearest"}
    spec = spec_of(image, **options)
    assert (spec.shape, spec.tile, spec.form) == ((300, 500), (48, 48), "labels")
    assert (spec.compression, spec.compression_level, spec.resampling) == ("zstd", 3, "nearest")
    assert spec.metadata is image.metadata


@pytest.mark.parametrize(
    ("side", "options", "pyramid"),
    [
        (8192, {}, False),
        (8193, {}, True),
        (8193, {"pyramid": False}, False),
        (300, {"pyramid": True}, True),
        (300, {"layout": "cog"}, True),
        (300, {"layout": "cog", "pyramid": False}, False),
        (300, {"layout": "subifd"}, False),
    ],
)
def test_large_images_have_levels_down_to_a_tile_unless_they_are_not_wanted(side, options, pyramid):
    spec = spec_of(ArrayImage(np.zeros((1, side), np.uint8)), **options)
    assert (spec.n_levels > 1) == pyramid
    if pyramid:
        assert len(spec.grids[-1]) == 1
        assert len(spec.grids[-2]) > 1


@pytest.mark.parametrize("masked", [False, True])
def test_how_sure_pixels_are_is_a_plain_image_beside(masked, image):
    options = OutputOptions(pack=True, pyramid=True, tile_size=64, compression="lzw")
    spec, labels = specs.confidence_spec(image, masked, options), spec_of(image, pack=True, pyramid=True, tile_size=64)
    assert (spec.dtype, spec.form, spec.bits, spec.nodata) == (np.uint8, "labels", None, 0 if masked else None)
    assert (spec.shape, spec.tile, spec.n_levels) == (labels.shape, labels.tile, labels.n_levels)
    assert (spec.resampling, spec.compression) == ("nearest", "lzw")


def blocks_of(dtype, bands=4):
    return Blocks([ArrayImage(np.zeros((2, 3, bands), dtype))])


@pytest.mark.parametrize(("bands", "shown"), [(None, None), ((2,), (1,)), ((3, 2, 1), (2, 1, 0)), ((1, 1, 4), (0, 0, 3))])
def test_bands_to_show_are_numbered_from_1(bands, shown):
    assert specs.shown_bands(OutputOptions(display_bands=bands), blocks_of(np.uint8)) == shown


@pytest.mark.parametrize("bands", [(5,), (0,), (1, 2, 5), (-1, 1, 1)])
def test_bands_that_are_not_there_are_refused(bands):
    message = f"display bands are {','.join(map(str, bands))}; the model has bands 1 to 4"
    with pytest.raises(OptionError, match=message):
        specs.shown_bands(OutputOptions(display_bands=bands), blocks_of(np.uint8))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.uint32])
def test_floats_have_no_range_of_their_type(dtype):
    with pytest.raises(OptionError, match=r"^display-range is type; samples are floats, or wider than 16 bits, and"):
        specs.shown_bands(OutputOptions(display_range="type"), blocks_of(dtype))


@pytest.mark.parametrize(
    ("dtype", "ends"),
    [(np.uint8, (0, 255)), (np.int8, (-128, 127)), (np.uint16, (0, 65_535)), (np.int16, (-32_768, 32_767)), (bool, (0, 1))],
)
def test_integers_are_shown_in_their_own_units(dtype, ends):
    """Whatever model gives them their colors."""
    for space in (BY_TYPE, SampleSpace([(300, 60_000)] * 4, (1, 0))):
        mixture = replace(random_mixture(2, 4), space=space)
        display = specs.display_of(OutputOptions(), mixture, blocks_of(dtype))
        assert (display.by_type, display.range) == (True, ends)
        given = specs.display_of(OutputOptions(display_range=ends, display_bands=(4,)), mixture, blocks_of(dtype))
        assert (given.by_type, given.bands) == (True, (3, 3, 3))
        narrow = specs.display_of(OutputOptions(display_range=(0, 0.5)), mixture, blocks_of(dtype))
        assert (narrow.by_type, narrow.range) == (False, (0, 0.5))
