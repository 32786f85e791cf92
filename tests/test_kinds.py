"""The kinds of files that are promised, each in every column: read right, quantized, with its metadata, shown by five readers."""

import functools
import io
import itertools
import json
import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openslide
import pytest
import rasterio
import tifffile
from PIL import Image, ImageCms

import streamgmm
from streamgmm.image.source import ReadOptions, open_images
from streamgmm.model.mixture import Mixture
from streamgmm.model.palette import classify
from streamgmm.jobs.report import Report

from .images import palette_of, smooth, whole
from .kinds import KINDS, SAME, UPRIGHT, Picture, Reader
from .test_readers import with_openslide, with_pillow, with_pyvips, with_rasterio, with_tifffile

READERS = {
    "tifffile": with_tifffile,
    "Pillow": with_pillow,
    "rasterio": with_rasterio,
    "OpenSlide": with_openslide,
    "pyvips": with_pyvips,
}


@dataclass(frozen=True)
class Quantized:
    """A file of a kind, what is read of it (pages one below the other), and its output."""

    path: Path
    read: Picture
    output: Path
    report: Report


def all_of(path, **options):
    """Everything that is read of a file, pages one below the other."""
    with ExitStack() as stack:
        images = open_images(path, ReadOptions(**options), None)
        for image in images:
            stack.callback(image.close)
        reads = [whole(image) for image in images]
        pixels = np.concatenate([read.pixels for read in reads])
        valid = [np.ones(read.pixels.shape[:2], bool) if read.valid is None else read.valid for read in reads]
        return Picture(pixels, np.concatenate(valid))


@pytest.fixture(scope="module")
def quantized(tmp_path_factory):
    """Quantize a kind on its first use, for all columns."""

    @functools.cache
    def of(name):
        kind, folder = KINDS[name], tmp_path_factory.mktemp("kind")
        path, output = kind.path(folder), folder / "out.tif"
        report = streamgmm.quantize(path, output, n_components=8, threads=1, **kind.options)
        return Quantized(path, all_of(path, **kind.options), output, report)

    return of


def labels_of(result):
    """All labels, pages one below the other, shape (height, width)."""
    labels = tifffile.imread(result.output, key=slice(None))
    return labels.reshape(-1, labels.shape[-1])


@pytest.mark.parametrize("name", KINDS)
def test_it_is_read_right(name, quantized):
    kind, result = KINDS[name], quantized(name)
    expected = kind.reads(result.path) if callable(kind.reads) else kind.reads
    valid = np.ones(expected.pixels.shape[:2], bool) if expected.valid is None else expected.valid
    pixels = result.read.pixels
    assert (pixels.shape, pixels.dtype) == (expected.pixels.shape, expected.pixels.dtype)
    np.testing.assert_array_equal(result.read.valid, valid)
    difference = np.abs(pixels[valid].astype(float) - expected.pixels[valid].astype(float))
    assert difference.max() <= kind.within


@pytest.mark.parametrize("name", KINDS)
def test_it_is_quantized(name, quantized):
    result = quantized(name)
    report, labels = result.report, labels_of(result)
    mixture, valid = Mixture.from_json(json.dumps(report.model)), result.read.valid
    samples = result.read.pixels[valid]
    if mixture.range is not None:
        low, high = mixture.range
        assert (low, high) == (samples.min(), samples.max())
        samples = ((samples / 2 - low / 2) / (high / 2 - low / 2)).astype(np.float32)
    np.testing.assert_array_equal(labels[valid], classify(samples, mixture))
    # What EM keeps at each step: the components' mean is that of the pixels.
    full = 1 if samples.dtype.kind == "f" else np.iinfo(samples.dtype).max
    np.testing.assert_allclose(mixture.weights @ mixture.means, samples.mean(axis=0, dtype=float) / full, atol=1e-6)
    with tifffile.TiffFile(result.output) as tiff:
        palettes = [page.colormap.T[: report.n_components] for page in tiff.pages]
        declared = [page.nodata if 42113 in page.tags else None for page in tiff.pages]
    for palette in palettes:
        np.testing.assert_array_equal(palette, palette_of(report.model) * np.uint16(257))
    assert set(declared) == {report.nodata}
    assert report.nodata == (None if valid.all() else report.n_components)
    assert np.count_nonzero(labels == report.n_components) == np.count_nonzero(~valid)


# --- Metadata


def raster(path):
    with warnings.catch_warnings(action="ignore", category=rasterio.errors.NotGeoreferencedWarning):
        return rasterio.open(path)


def crs_and_bounds(path):
    with raster(path) as image:
        return image.crs, tuple(round(side, 6) for side in image.bounds)


def georeferencing(path):
    with raster(path) as image:
        points, crs = image.gcps
        return image.crs, image.transform, image.bounds, [point.asdict() | {"id": ""} for point in points], crs


def tags_of_gdal(path):
    """What GDAL says of the image, but for tags of TIFF, which are looked at one by one."""
    with raster(path) as image:
        return {name: value for name, value in image.tags().items() if not name.startswith("TIFFTAG_")}


def microns_per_pixel(path):
    with openslide.OpenSlide(path) as slide:
        return tuple(round(float(slide.properties[f"openslide.mpp-{axis}"]), 6) for axis in "xy")


def of_pillow(path, name):
    with Image.open(path) as image:
        return image.info.get(name)


def dots_per_inch(path):
    return tuple(round(float(dots), 2) for dots in of_pillow(path, "dpi"))


def name_of_profile(path):
    return ImageCms.getProfileDescription(io.BytesIO(of_pillow(path, "icc_profile"))).strip()


def tag(path, code, default=None):
    with tifffile.TiffFile(path) as tiff:
        return tiff.pages.first.tags.valueof(code, default)


PROPERTIES = {
    "CRS and bounds": crs_and_bounds,
    "georeferencing": georeferencing,
    "GDAL's tags": tags_of_gdal,
    "microns per pixel": microns_per_pixel,
    "dpi": dots_per_inch,
    "profile": functools.partial(of_pillow, name="icc_profile"),
    "profile's name": name_of_profile,
    "XMP": functools.partial(tag, code=700),
    "description": functools.partial(tag, code=270),
    "orientation": functools.partial(tag, code=274, default=1),
}


@pytest.mark.parametrize("name", KINDS)
def test_it_carries_its_metadata(name, quantized):
    kind, result = KINDS[name], quantized(name)
    for wanted, expected in kind.carries.items():
        there = PROPERTIES[wanted](result.output)
        assert there == (PROPERTIES[wanted](result.path) if expected is SAME else expected), wanted
    assert tuple(result.report.dropped) == kind.dropped
    with raster(result.output) as image:
        assert image.nodata == result.report.nodata
        np.testing.assert_array_equal(image.dataset_mask() != 0, result.read.valid[: image.height])


# --- Readers


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", KINDS)
def test_it_opens_in(reader, name, quantized):
    result = quantized(name)
    with Image.open(result.output) as page:  # what readers show is the first
        first = slice(page.tag_v2[257])
    shown = np.vstack([palette_of(result.report.model), np.zeros(3, np.uint8)])[labels_of(result)[first]]
    valid = result.read.valid[first]
    if reader == "Pillow":  # the only one that turns a picture by itself
        turn = UPRIGHT[tag(result.output, 274, 1)]
        shown, valid = turn(shown), turn(valid)
    np.testing.assert_array_equal(READERS[reader](result.output)[valid], shown[valid])


OUTPUTS = {
    "palette": {},
    "palette, ZSTD": {"compression": "zstd"},
    "palette, packed in 1 bit": {"n_components": 2, "pack": True},
    "palette, packed in 4 bits": {"n_components": 16, "pack": True},
    "palette of 16 bits": {"n_components": 300},
    "labels": {"output": "labels"},
    "labels, packed in 4 bits": {"output": "labels", "n_components": 16, "pack": True},
    "labels of 16 bits": {"output": "labels", "n_components": 300},
    "RGB": {"output": "rgb"},
}
NOT_SHOWN = {
    ("palette of 16 bits", "Pillow"): "knows palettes of 8 bits at the most",
    ("palette of 16 bits", "OpenSlide"): "knows palettes of 8 bits at the most",
    ("palette, ZSTD", "pyvips"): "the wheel of libvips is built without ZSTD",
    ("labels, packed in 4 bits", "OpenSlide"): "stretches them over 8 bits",
    ("labels, packed in 4 bits", "pyvips"): "stretches them over 8 bits",
    ("labels, packed in 4 bits", "Pillow"): "stretches them over 8 bits",
    ("labels of 16 bits", "OpenSlide"): "shows 8-bit colours",
}
