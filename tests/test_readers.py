"""The output opens everywhere: five readers that nobody here wrote show the colors of the palette."""

import warnings
from functools import partial
from typing import get_args

import numpy as np
import openslide
import pytest
import pyvips
import rasterio
import tifffile
from PIL import Image

import streamgmm
from streamgmm.options import Compression

from .images import PHOTO, palette_of, posterized, smooth, write_tiff

quantize = partial(streamgmm.quantize, threads=1)


def with_tifffile(path):
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        return (page.colormap.T[page.asarray()] // 257).astype(np.uint8)


def with_pillow(path):
    with Image.open(path) as image:
        assert image.mode == "P"
        return np.asarray(image.convert("RGB"))


def with_rasterio(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path) as image:
            colors = np.array(list(image.colormap(1).values()), np.uint8)
            assert image.colorinterp == (rasterio.enums.ColorInterp.palette,)
            return colors[image.read(1)][:, :, :3]


def with_openslide(path):
    with openslide.OpenSlide(path) as slide:
        region = np.asarray(slide.read_region((0, 0), 0, slide.dimensions))
        assert (region[:, :, 3] == 255).all()
        return region[:, :, :3]


def with_pyvips(path):
    pixels = pyvips.Image.new_from_file(str(path)).numpy()
    colors = pixels if pixels.dtype == np.uint8 else (pixels // 257).astype(np.uint8)
    return np.broadcast_to(colors, (*colors.shape[:2], 3)) if colors.ndim == 3 else colors[:, :, None].repeat(3, axis=2)


READERS = [with_tifffile, with_pillow, with_rasterio, with_openslide, with_pyvips]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """The photo, quantized and written with each codec, and the colors that should be seen."""
    folder = tmp_path_factory.mktemp("outputs")
    for compression in get_args(Compression):
        report = quantize(PHOTO, folder / f"{compression}.tif", compression=compression)
    return folder, palette_of(report.model)[tifffile.imread(folder / "none.tif")]


@pytest.mark.parametrize("compression", get_args(Compression))
@pytest.mark.parametrize("reader", READERS)
def test_a_reader_shows_the_colors_of_the_palette(reader, compression, outputs):
    if (reader, compression) == (with_pyvips, "zstd"):
        pytest.skip("the wheel of libvips is built without zstd")
    folder, colors = outputs
    np.testing.assert_array_equal(reader(folder / f"{compression}.tif"), colors)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("tile_size", [16, 512])
@pytest.mark.parametrize(("bands", "dtype"), [(1, np.uint8), (3, np.uint8), (3, np.uint16)])
def test_a_reader_shows_an_image_of_few_colors_as_it_was(bands, dtype, tile_size, reader, tmp_path):
    pixels = posterized(300, 333, 200, bands, dtype)
    quantize(pixels, path := tmp_path / "out.tif", n_components=256, tile_size=tile_size)
    expected = (pixels // (np.iinfo(dtype).max // 255)).astype(np.uint8)
    np.testing.assert_array_equal(reader(path), np.broadcast_to(expected, (300, 333, 3)))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (257, 3)])
def test_a_reader_shows_an_image_of_any_size(shape, reader, tmp_path):
    report = quantize(smooth(*shape), path := tmp_path / "out.tif", n_components=3)
    np.testing.assert_array_equal(reader(path), palette_of(report.model)[tifffile.imread(path)])


@pytest.mark.parametrize("reader", READERS)
def test_a_reader_shows_a_bigtiff(reader, tmp_path, monkeypatch):
    monkeypatch.setattr("streamgmm.image.output.tiff.CLASSIC_LIMIT", 0)
    report = quantize(PHOTO, path := tmp_path / "out.tif")
    assert path.read_bytes()[:4] == b"II+\0"
    np.testing.assert_array_equal(reader(path), palette_of(report.model)[tifffile.imread(path)])


@pytest.mark.parametrize("reader", READERS)
def test_a_reader_shows_a_small_image_that_came_in_large_tiles(reader, tmp_path):
    source = write_tiff(tmp_path / "in.tif", smooth(200, 200), tile=(1024, 1024), compression="deflate")
    report = quantize(source, path := tmp_path / "out.tif", n_components=3)
    np.testing.assert_array_equal(reader(path), palette_of(report.model)[tifffile.imread(path)])


def three_hundred_colors():
    """Reds, then grays, 16-bit, shape (300, 20, 3)."""
    levels = np.arange(300)
    colors = np.stack([levels % 256, np.where(levels < 256, 0, levels % 256), np.where(levels < 256, 0, 200)], axis=1)
    return (colors[:, None, :].repeat(20, axis=1) * 257).astype(np.uint16)


@pytest.mark.parametrize("reader", [with_tifffile, with_rasterio, with_pyvips])
def test_a_reader_shows_more_than_256_colors(reader, tmp_path):
    pixels = three_hundred_colors()
    quantize(pixels, path := tmp_path / "out.tif", n_components=300)
    np.testing.assert_array_equal(reader(path), pixels // 257)


def read_class_map(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path) as image:
            assert image.colorinterp == (rasterio.enums.ColorInterp.gray,)
            return image.read(1)


@pytest.mark.parametrize(
    "reader",
    [
        tifffile.imread,
        lambda path: np.asarray(Image.open(path)),
        read_class_map,
        lambda path: pyvips.Image.new_from_file(str(path)).numpy(),
    ],
    ids=["tifffile", "Pillow", "rasterio", "pyvips"],
)
@pytest.mark.parametrize(("pixels", "n_components"), [(smooth(100, 100), 5), (three_hundred_colors(), 300)])
def test_a_reader_shows_the_labels_of_a_class_map(pixels, n_components, reader, tmp_path):
    quantize(pixels, tmp_path / "colored.tif", n_components=n_components)
    quantize(pixels, path := tmp_path / "plain.tif", n_components=n_components, output="labels")
    np.testing.assert_array_equal(reader(path), tifffile.imread(tmp_path / "colored.tif"))
