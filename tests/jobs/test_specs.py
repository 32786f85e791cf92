"""An output has the tiles of its input where they are usable, and else those that are asked for."""

from functools import partial

import pytest
import tifffile

import streamgmm

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
