"""The kinds of files that are promised: each is read right, quantized, carries its metadata, and opens in five readers."""

import functools
import hashlib
import io
import json
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import pyvips
import rasterio
import tifffile
from PIL import Image, ImageCms

import streamgmm
from streamgmm.image.open import open_images
from streamgmm.jobs.report import Report
from streamgmm.model.labels import classify
from streamgmm.model.mixture import Mixture
from streamgmm.options import ReadOptions

from .conftest import shared_file
from .images import colors_of, palette_of, range_of, whole
from .kinds import (
    BANDS,
    CMYK,
    DEFLATE,
    DOUBLE,
    FEW,
    FLOAT,
    GEO,
    GRAY,
    GRAY16,
    GRAY_STACK,
    HALF,
    HEIGHT,
    HOLED,
    HOLED_FLOAT,
    HOLED_GRAY,
    INKS,
    INT32,
    LAB,
    LARGE,
    LEVELS,
    LIGHT,
    MIXED_STACK,
    PACKED,
    PAGES,
    POINTS,
    REDUCED,
    RGB,
    RGB16,
    SRGB,
    STACK,
    THIN,
    TILE,
    UINT32,
    UNDONE,
    UPRIGHT,
    XMP,
    Maker,
    Picture,
    Reader,
    alpha,
    by_gdal,
    by_little_cms,
    by_openslide,
    by_pillow,
    by_segment,
    by_tifffile,
    chained_pyramid,
    channels,
    exif,
    gdal,
    imagej_stack,
    metamorph_stack,
    ome_channels,
    pages,
    palette,
    pillow,
    slide,
    sparse_gdal,
    sparse_tifffile,
    spread,
    subifd_pyramid,
    tiff,
    with_alpha,
    with_xmp,
    ycbcr,
)
from .test_readers import three_hundred_colors, with_openslide, with_pillow, with_pyvips, with_rasterio, with_tifffile

SAME = "as in the input"


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    make : what writes one, or the name of a real one in the collection beside the repository
    reads : the picture that is read, or an independent reader to agree with
    within : sample values by which that reader may differ
    carries : names of properties in PROPERTIES, with the value they have in the output
    dropped : what the report says is not carried
    options : which image of the file is read
    not_in : readers that do not show the output, and why
    """

    make: Maker | str
    reads: Picture | Reader
    within: float = 0
    carries: dict[str, Any] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    suffix: str = ".tif"
    not_in: dict[str, str] = field(default_factory=dict)

    def path(self, folder: Path) -> Path:
        """Write the file into a folder, or find it."""
        if isinstance(self.make, str):
            return shared_file(self.make)
        path = folder / f"in{self.suffix}"
        self.make(path)
        return path


# --- The table: what writes a kind of file, what is read of it, and what else is not as everywhere

LAYOUTS = {"tiles": {"tile": TILE}, "strips": {"rowsperstrip": 16}, "one strip": {"rowsperstrip": HEIGHT}}
CODECS: dict[str, dict[str, Any]] = {
    "uncompressed": {},
    "LZW": {"compression": "lzw"},
    "Deflate": {"compression": "deflate"},
    "ZSTD": {"compression": "zstd"},
    "PackBits": {"compression": "packbits"},
    "LZMA": {"compression": "lzma"},
    "lossless WebP": {"compression": "webp", "compressionargs": {"lossless": True}},
    "lossless JPEG 2000": {"compression": "jpeg2000", "compressionargs": {"reversible": True}},
}
JPEG = {"compression": "jpeg", "compressionargs": {"level": 90}}
BLOCKS = {"tiled": True, "blockysize": 32, "blockxsize": 48, "interleave": "band"}
COG = {"driver": "COG", "blocksize": 128, "resampling": "nearest"}
WHERE = {"georeferencing": SAME, "GDAL's tags": SAME}
OME = "ImageDescription (OME-XML)"
IMAGEJ = "ImageDescription (ImageJ)"


def kinds_of_layouts() -> Iterator[tuple[str, Kind]]:
    """One picture in every codec and layout."""
    for layout, place in LAYOUTS.items():
        for codec, options in CODECS.items():
            yield f"RGB: {layout}, {codec}", Kind(tiff(RGB, **place, **options), RGB)
        yield f"RGB: {layout}, JPEG YCbCr 4:2:0", Kind(tiff(RGB, **place, **JPEG, subsampling=(2, 2)), by_pillow)
        yield f"RGB: {layout}, JPEG YCbCr 4:4:4", Kind(tiff(RGB, **place, **JPEG, subsampling=(1, 1)), by_pillow)
        yield (
            f"RGB: {layout}, lossy WebP",
            Kind(tiff(RGB, **place, compression="webp", compressionargs={"level": 80}), by_gdal, 2),
        )
        yield (
            f"RGB: {layout}, JPEG 2000",
            Kind(tiff(RGB, **place, compression="jpeg2000", compressionargs={"level": 40}), by_segment),
        )
        yield f"gray: {layout}, uncompressed", Kind(tiff(GRAY, **place), GRAY)
        yield f"gray: {layout}, JPEG", Kind(tiff(GRAY, **place, **JPEG), by_gdal, 1)
        yield f"16-bit RGB: {layout}, Deflate", Kind(tiff(RGB16, **place, compression="deflate"), RGB16)


KINDS: dict[str, Kind] = {
    **dict(kinds_of_layouts()),
    # How samples are coded and laid out
    "RGB: JPEG RGB, tiles of GDAL": Kind(gdal(RGB, compress="jpeg", **BLOCKS | {"interleave": "pixel"}), by_gdal, 1),
    "RGB: JPEG RGB, planar strips of GDAL": Kind(gdal(RGB, compress="jpeg", interleave="band", blockysize=16), by_gdal, 1),
    "RGB: JPEG RGB, planar tiles of GDAL": Kind(gdal(RGB, compress="jpeg", **BLOCKS), by_gdal, 1),
    "RGB: predictor 2, LZW": Kind(tiff(RGB, tile=TILE, compression="lzw", predictor=2), RGB),
    "RGB: predictor 2, ZSTD strips": Kind(tiff(RGB, rowsperstrip=16, compression="zstd", predictor=2), RGB),
    "RGB: big-endian": Kind(tiff(RGB, **DEFLATE, byteorder=">"), RGB),
    "RGB: BigTIFF": Kind(tiff(RGB, **DEFLATE, bigtiff=True), RGB),
    "RGB: big-endian BigTIFF": Kind(tiff(RGB, **DEFLATE, bigtiff=True, byteorder=">"), RGB),
    "RGB: planar tiles": Kind(tiff(RGB, **DEFLATE, planarconfig="separate"), RGB),
    "RGB: planar strips": Kind(tiff(RGB, rowsperstrip=16, planarconfig="separate"), RGB),
    "RGB: signed bytes": Kind(tiff((RGB.pixels ^ 128).view(np.int8), **DEFLATE), RGB),
    "RGB: opaque RGBA": Kind(alpha(RGB, **DEFLATE, extrasamples=["unassalpha"]), RGB),
    # Samples
    **{
        f"{bits} bits, packed": Kind(tiff(LEVELS[bits].astype(spread(LEVELS[bits], bits).dtype), bitspersample=bits), picture)
        for bits, picture in PACKED.items()
    },
    "16-bit RGB: uncompressed": Kind(tiff(RGB16), RGB16),
    "16-bit RGB: big-endian": Kind(tiff(RGB16, byteorder=">"), RGB16),
    "16-bit RGB: predictor 2, big-endian": Kind(tiff(RGB16, **DEFLATE, predictor=2, byteorder=">"), RGB16),
    "16-bit RGB: planar": Kind(tiff(RGB16, **DEFLATE, planarconfig="separate"), RGB16),
    "16-bit RGB: int16": Kind(tiff((RGB16.pixels ^ 32768).view(np.int16), **DEFLATE), RGB16),
    "16-bit gray: uint16": Kind(tiff(GRAY16), GRAY16),
    "16-bit gray: int16": Kind(tiff((GRAY16.pixels ^ 32768).view(np.int16)), GRAY16),
    "16-bit gray: MinIsWhite": Kind(tiff(~GRAY16.pixels, photometric="miniswhite"), GRAY16),
    "gray: signed bytes": Kind(tiff((GRAY.pixels ^ 128).view(np.int8)), GRAY),
    "gray: MinIsWhite": Kind(tiff(~GRAY.pixels, photometric="miniswhite"), GRAY),
    "gray: PNG": Kind(pillow(GRAY.pixels[..., 0]), GRAY, suffix=".png"),
    "16-bit gray: PNG": Kind(pillow(GRAY16.pixels[..., 0]), GRAY16, suffix=".png"),
    "uint32": Kind(tiff(UINT32.pixels.astype(np.uint32), **DEFLATE), UINT32),
    "int32": Kind(tiff(INT32.pixels.astype(np.int32), **DEFLATE), INT32),
    "int32, big-endian": Kind(tiff(INT32.pixels.astype(np.int32), byteorder=">"), INT32),
    "float16": Kind(tiff(HALF.pixels.astype(np.float16)), HALF),
    "float16, predictor 3": Kind(tiff(HALF.pixels.astype(np.float16), **DEFLATE, predictor=3), HALF),
    "float32": Kind(tiff(FLOAT), FLOAT),
    "float32, predictor 3": Kind(tiff(FLOAT, **DEFLATE, predictor=3), FLOAT),
    "float32, predictor 3, big-endian": Kind(tiff(FLOAT, **DEFLATE, predictor=3, byteorder=">"), FLOAT),
    "float32 with NaN": Kind(tiff(HOLED_FLOAT), HOLED_FLOAT),
    "float32 with nodata NaN": Kind(gdal(HOLED_FLOAT, nodata=float("nan")), HOLED_FLOAT),
    "float64": Kind(tiff(DOUBLE), DOUBLE),
    "float64, predictor 3": Kind(tiff(DOUBLE, **DEFLATE, predictor=3), DOUBLE),
    "6 bands of 8 bits": Kind(tiff(BANDS[6, "u1"], **DEFLATE), BANDS[6, "u1"]),
    "6 bands of 8 bits, planar": Kind(tiff(BANDS[6, "u1"], **DEFLATE, planarconfig="separate"), BANDS[6, "u1"]),
    "6 bands of 8 bits, of GDAL": Kind(gdal(BANDS[6, "u1"], photometric="minisblack"), BANDS[6, "u1"]),
    "8 bands of 16 bits": Kind(tiff(BANDS[8, "u2"], **DEFLATE), BANDS[8, "u2"]),
    "32 bands of 8 bits": Kind(tiff(BANDS[32, "u1"], **DEFLATE), BANDS[32, "u1"]),
    # Colors
    "16 colors: RGB": Kind(tiff(FEW, **DEFLATE), FEW),
    "16 colors: 8-bit palette": Kind(palette(8), FEW),
    "16 colors: 4-bit palette": Kind(palette(4), FEW),
    "16 colors: palette PNG": Kind(lambda path: Image.fromarray(FEW.pixels).quantize(16).save(path), FEW, suffix=".png"),
    "CMYK": Kind(tiff(INKS, photometric="separated", extrasamples=[]), LIGHT, carries={"profile's name": "sRGB built-in"}),
    "CMYK, planar": Kind(tiff(INKS, photometric="separated", extrasamples=[], planarconfig="separate"), LIGHT),
    "CMYK with a profile": Kind(
        tiff(INKS, photometric="separated", extrasamples=[], iccprofile=CMYK),
        by_little_cms,
        3,
        carries={"profile's name": "sRGB built-in"},
        dropped=("InterColorProfile",),
    ),
    "CIELAB": Kind(tiff(LAB, photometric="cielab"), by_little_cms, 2),
    "YCbCr, 2 x 2 pixels share their chroma": Kind(ycbcr, by_gdal, 3),
    # Masks
    "masked RGB: unassociated alpha": Kind(alpha(HOLED, **DEFLATE, extrasamples=["unassalpha"]), HOLED),
    "masked RGB: unassociated alpha of 90": Kind(alpha(HOLED, 90, **DEFLATE, extrasamples=["unassalpha"]), HOLED),
    "RGB: associated alpha of 90": Kind(alpha(Picture(THIN), 90, **DEFLATE, extrasamples=["assocalpha"]), UNDONE),
    "masked RGB: associated alpha": Kind(alpha(HOLED, **DEFLATE, extrasamples=["assocalpha"]), HOLED),
    "masked RGB: nodata of GDAL": Kind(gdal(HOLED, nodata=0, **GEO), HOLED, carries=WHERE),
    "masked RGB: internal mask of GDAL": Kind(gdal(HOLED, mask=True), HOLED),
    "masked RGB: internal mask of a COG": Kind(gdal(HOLED, mask=True, **COG, compress="deflate", **GEO), HOLED, carries=WHERE),
    "masked RGB: absent tiles of GDAL": Kind(sparse_gdal, HOLED),
    "masked RGB: absent tiles of tifffile": Kind(sparse_tifffile, HOLED),
    "masked RGB: PNG with alpha": Kind(pillow(with_alpha(HOLED)), HOLED, suffix=".png"),
    "masked RGB: WebP with alpha": Kind(pillow(with_alpha(HOLED), lossless=True, exact=True), HOLED, suffix=".webp"),
    "masked gray: alpha": Kind(alpha(HOLED_GRAY, extrasamples=["unassalpha"]), HOLED_GRAY),
    "masked gray: nodata of GDAL": Kind(gdal(HOLED_GRAY, nodata=0), HOLED_GRAY),
    "masked gray: PNG with alpha": Kind(pillow(with_alpha(HOLED_GRAY)), HOLED_GRAY, suffix=".png"),
    # Pages and levels
    "stack": Kind(pages(*((page, {}) for page in PAGES)), STACK, options={"all_pages": True}),
    "stack, BigTIFF": Kind(pages(*((page, {}) for page in PAGES), bigtiff=True), STACK, options={"all_pages": True}),
    "stack: ImageJ, one directory": Kind(imagej_stack, GRAY_STACK, dropped=(IMAGEJ,), options={"all_pages": True}),
    "stack: MetaMorph": Kind(metamorph_stack, GRAY_STACK, dropped=("UIC2tag",), options={"all_pages": True}, suffix=".stk"),
    "stack: gray and RGB": Kind(
        pages((PAGES[0], {}), (PAGES[1][..., 0], {"photometric": "minisblack"}), (PAGES[2], {})),
        MIXED_STACK,
        options={"all_pages": True},
    ),
    "channels: pages as bands": Kind(channels(), RGB, options={"pages_as_bands": "all"}),
    "channels: OME-TIFF, pages as bands": Kind(
        ome_channels, RGB, dropped=(OME,), options={"pages_as_bands": (0, 1, 2)}, suffix=".ome.tif"
    ),
    "channels: level 1 of all behind all": Kind(
        channels(LARGE, REDUCED), REDUCED, options={"pages_as_bands": "all", "level": 1}
    ),
    "pyramid: none": Kind(tiff(LARGE, **DEFLATE), LARGE),
    "pyramid: SubIFD": Kind(subifd_pyramid(), LARGE),
    "pyramid: chained": Kind(chained_pyramid(), LARGE),
    "pyramid: GDAL's": Kind(gdal(LARGE, **BLOCKS, factors=(2,)), LARGE),
    "pyramid: COG": Kind(gdal(LARGE, **COG, **GEO), LARGE, carries=WHERE),
    "level 1: SubIFD": Kind(subifd_pyramid(), REDUCED, options={"level": 1}),
    "level 1: chained": Kind(chained_pyramid(), REDUCED, options={"level": 1}),
    "level 1: COG": Kind(
        gdal(LARGE, **COG, **GEO), lambda path: by_gdal(path, 1), options={"level": 1}, carries={"CRS and bounds": SAME}
    ),
    # Places, slides and photos
    "geo: GeoTIFF": Kind(gdal(RGB, **GEO, tags={"SENSOR": "A"}), RGB, carries=WHERE),
    "geo: pixels are points": Kind(gdal(RGB, **GEO, tags={"AREA_OR_POINT": "Point"}), RGB, carries=WHERE),
    "geo: ground control points": Kind(gdal(RGB, crs=GEO["crs"], gcps=POINTS), RGB, carries=WHERE),
    "slide: OME-TIFF": Kind(
        tiff(RGB, ome=True, tile=TILE, metadata={"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25}),
        RGB,
        carries={"microns per pixel": (0.5, 0.25)},
        dropped=(OME,),
        suffix=".ome.tif",
    ),
    "slide: SVS": Kind(
        slide(),
        by_openslide,
        carries={"microns per pixel": SAME},
        dropped=("1 smaller picture of pages", "ImageDescription (Aperio)"),
        suffix=".svs",
    ),
    "slide: generic tiles": Kind(
        tiff(RGB, tile=TILE, resolution=(20000, 40000), resolutionunit="centimeter"),
        RGB,
        carries={"microns per pixel": SAME, "dpi": SAME},
    ),
    "photo: TIFF": Kind(
        tiff(
            RGB,
            resolution=(300, 300),
            resolutionunit="inch",
            iccprofile=SRGB,
            description="A wave",
            extratags=[(700, 1, len(XMP), XMP, True)],
        ),
        RGB,
        carries={"dpi": (300, 300), "profile": SRGB, "XMP": XMP, "description": "A wave"},
    ),
    **{
        f"photo: orientation {i}": Kind(
            tiff(RGB, extratags=[(274, 3, 1, i, True)]),
            RGB,
            carries={"orientation": i},
            not_in={} if i == 5 else {"OpenSlide": "it mirrors each tile within itself, in the output as in an input"},
        )
        for i in range(2, 9)
    },
    "photo: PNG": Kind(
        pillow(RGB.pixels, dpi=(300, 300), icc_profile=SRGB, pnginfo=with_xmp()),
        RGB,
        carries={"dpi": SAME, "profile": SRGB, "XMP": XMP},
        suffix=".png",
    ),
    "photo: lossless WebP": Kind(
        pillow(RGB.pixels, lossless=True, icc_profile=SRGB), RGB, carries={"profile": SRGB}, suffix=".webp"
    ),
    "photo: lossy WebP": Kind(pillow(RGB.pixels, quality=80), by_pillow, suffix=".webp"),
    "photo: JPEG": Kind(
        pillow(RGB.pixels, quality=90, dpi=(300, 300), icc_profile=SRGB),
        by_pillow,
        carries={"dpi": SAME, "profile": SRGB},
        suffix=".jpg",
    ),
    **{
        f"photo: JPEG, orientation {i}": Kind(
            pillow(RGB.pixels, exif=exif(i)), by_pillow, carries={"orientation": 1}, dropped=("Exif",), suffix=".jpg"
        )
        for i in range(2, 9)
    },
    # Real files
    "real: slide of JPEG 2000": Kind(
        "wsi/algart__CMU-1-JP2K-Region.svs", by_openslide, 1, {"microns per pixel": SAME}, ("ImageDescription (Aperio)",)
    ),
    "real: COG with a mask": Kind("geo/riotiler__cog_rgb_mask.tif", by_gdal, carries=WHERE),
    "real: COG with alpha": Kind("geo/riotiler__cog_rgba.tif", by_gdal, carries=WHERE),
    "real: COG with nodata": Kind("scientific/rioxarray__cog.tif", by_gdal, carries=WHERE),
    "real: palette COG, level 3": Kind(
        "geo/riotiler__cog_cmap.tif", lambda path: by_gdal(path, 3), options={"level": 3}, carries={"CRS and bounds": SAME}
    ),
    "real: 16-bit aerial": Kind("geo/riocolor__rgb16.tif", by_gdal, carries=WHERE),
    "real: 64 signed planes": Kind(
        "geo/cogeotiffjs__model_transformation.tif", by_gdal, carries=WHERE, dropped=("GDAL_METADATA items of bands",)
    ),
    "real: float64 with NaN": Kind("scientific/riocogeo__image_nan.tif", by_gdal, carries=WHERE),
    "real: 12-bit JPEG": Kind("variants/gdal__mandrilmini_12bitjpeg.tif", by_tifffile),  # the wheel of GDAL has no such codec
    "real: OME-TIFF": Kind("scientific/omefiles__rgb.ome.tiff", by_tifffile, dropped=(OME,)),
}


MARKS = {name: pytest.mark.collection for name, kind in KINDS.items() if isinstance(kind.make, str)}
ALL = [pytest.param(name, marks=MARKS.get(name, ())) for name in KINDS]


# --- Reading and quantizing

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


@pytest.mark.parametrize("name", ALL)
def test_it_is_read_right(name, quantized):
    kind, result = KINDS[name], quantized(name)
    expected = kind.reads(result.path) if callable(kind.reads) else kind.reads
    valid = np.ones(expected.pixels.shape[:2], bool) if expected.valid is None else expected.valid
    pixels = result.read.pixels
    assert (pixels.shape, pixels.dtype) == (expected.pixels.shape, expected.pixels.dtype)
    np.testing.assert_array_equal(result.read.valid, valid)
    difference = np.abs(pixels[valid].astype(float) - expected.pixels[valid].astype(float))
    assert difference.max() <= kind.within


@pytest.mark.parametrize("name", ALL)
def test_it_is_quantized(name, quantized):
    result = quantized(name)
    report, labels = result.report, labels_of(result)
    mixture, valid = Mixture.from_json(json.dumps(report.model)), result.read.valid
    samples = result.read.pixels[valid]
    if mixture.space.range is None:
        ends = [0, np.iinfo(samples.dtype).max]
    else:
        gain, zero = mixture.space.units or (1, 0)
        ends = np.array(mixture.space.range) * gain + zero
        np.testing.assert_allclose(ends, range_of(samples), rtol=1e-12, atol=1e-9)
    of_bands = colors_of(samples, ends)
    samples = of_bands.astype(np.float32) if mixture.space.floating else samples
    np.testing.assert_array_equal(labels[valid], classify(samples, mixture))
    # What EM keeps at each step: the components' mean is that of the pixels.
    np.testing.assert_allclose(mixture.weights @ mixture.means, of_bands.mean(axis=0), atol=1e-6)
    with tifffile.TiffFile(result.output) as tiff:
        palettes = [page.colormap.T[: report.n_components] for page in tiff.pages]
        declared = [page.nodata if 42113 in page.tags else None for page in tiff.pages]
    for colors in palettes:
        np.testing.assert_array_equal(colors, palette_of(report.model, report.display_range) * np.uint16(257))
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


@pytest.fixture(scope="module")
def ask():
    """Ask something of an output, once for all outputs of the same bytes: those of 150 kinds are fewer than half as many."""
    answers = {}

    def ask(question, output):
        key = question, hashlib.sha256(output.read_bytes()).digest()
        if key not in answers:
            answers[key] = question(output)
        return answers[key]

    return ask


def nodata_and_mask(path):
    with raster(path) as image:
        return image.nodata, image.dataset_mask() != 0


@pytest.mark.parametrize("name", ALL)
def test_it_carries_its_metadata(name, quantized, ask):
    kind, result = KINDS[name], quantized(name)
    for wanted, expected in kind.carries.items():
        there = ask(PROPERTIES[wanted], result.output)
        assert there == (PROPERTIES[wanted](result.path) if expected is SAME else expected), wanted
    assert tuple(result.report.dropped) == kind.dropped
    nodata, mask = ask(nodata_and_mask, result.output)
    assert nodata == result.report.nodata
    np.testing.assert_array_equal(mask, result.read.valid[: len(mask)])


# --- Readers


@pytest.mark.parametrize("name", ALL)
def test_it_opens_in_all_readers_but_those_that_are_known_not_to_show_it(name, quantized, ask):
    kind, result = KINDS[name], quantized(name)
    with Image.open(result.output) as page:  # what readers show is the first
        first = slice(page.tag_v2[257])
    expected = np.vstack([palette_of(result.report.model, result.report.display_range), np.zeros(3, np.uint8)])[
        labels_of(result)[first]
    ]
    valid = result.read.valid[first]
    upright = UPRIGHT[tag(result.output, 274, 1)]
    for reader, read in READERS.items():
        turn = upright if reader == "Pillow" else np.asarray  # the only one that turns a picture by itself
        shown = ask(read, result.output)
        assert np.array_equal(shown[turn(valid)], turn(expected)[turn(valid)]) == (reader not in kind.not_in), reader


def unless(known, *values):
    """A parameter, expected to fail where it is known why."""
    return pytest.param(*values, marks=pytest.mark.xfail(reason=known, strict=True) if known else ())


OUTPUTS = {
    "palette": {},
    "palette, ZSTD": {"compression": "zstd"},
    "palette, packed in 2 bits": {"n_components": 4, "pack": True},
    "palette, packed in 4 bits": {"n_components": 16, "pack": True},
    "palette of 16 bits": {"n_components": 300},
    "labels": {"output": "labels"},
    "labels, packed in 4 bits": {"output": "labels", "n_components": 16, "pack": True},
    "labels of 16 bits": {"output": "labels", "n_components": 300},
}
NOT_SHOWN = {
    ("palette, ZSTD", "pyvips"): "the wheel of libvips is built without ZSTD",
    ("palette of 16 bits", "Pillow"): "it knows no palettes of more than 8 bits",
    ("palette of 16 bits", "OpenSlide"): "it knows no palettes of more than 8 bits",
    ("labels, packed in 4 bits", "Pillow"): "it stretches them over 8 bits",
    ("labels, packed in 4 bits", "OpenSlide"): "it stretches them over 8 bits",
    ("labels, packed in 4 bits", "pyvips"): "it stretches them over 8 bits",
    ("labels of 16 bits", "OpenSlide"): "it shows 8 bits of them",
}


def labels_in_rasterio(path):
    with raster(path) as image:
        return image.read(1)


def labels_in_openslide(path):
    with openslide.OpenSlide(path) as slide:
        return np.asarray(slide.read_region((0, 0), 0, slide.dimensions))[:, :, 0]


LABEL_READERS = {
    "tifffile": tifffile.imread,
    "Pillow": lambda path: np.asarray(Image.open(path)),
    "rasterio": labels_in_rasterio,
    "OpenSlide": labels_in_openslide,
    "pyvips": lambda path: pyvips.Image.new_from_file(str(path)).numpy(),
}


@pytest.mark.parametrize(
    ("form", "reader"), [unless(NOT_SHOWN.get((form, reader)), form, reader) for form in OUTPUTS for reader in READERS]
)
def test_an_output_opens_in(form, reader, tmp_path):
    options = {"n_components": 8, "threads": 1} | OUTPUTS[form]
    report = streamgmm.quantize(three_hundred_colors(), path := tmp_path / "out.tif", **options)
    assert report.n_components == options["n_components"]
    labels = tifffile.imread(path)
    if options.get("output") == "labels":
        np.testing.assert_array_equal(LABEL_READERS[reader](path), labels)
    else:
        np.testing.assert_array_equal(READERS[reader](path), palette_of(report.model, report.display_range)[labels])


# --- Families


def families():
    """Names of the kinds that hold the same picture, lossless."""
    known = [name for name, kind in KINDS.items() if isinstance(kind.reads, Picture)]
    grouped = {}
    for name in known:
        grouped.setdefault(id(KINDS[name].reads), []).append(name)
    return [(first, other) for first, *others in grouped.values() for other in others]


@pytest.mark.parametrize(("first", "other"), families())
def test_what_holds_the_same_picture_gives_the_same_result(first, other, quantized):
    one, another = quantized(first), quantized(other)
    models = [each.report.model | {"range": None, "units": None} for each in (one, another)]  # int16 is stored otherwise
    assert models[0] == models[1]
    assert another.report.psnr_db == one.report.psnr_db
    np.testing.assert_array_equal(labels_of(another), labels_of(one))
    with tifffile.TiffFile(one.output) as tiff, tifffile.TiffFile(another.output) as other_tiff:
        np.testing.assert_array_equal(other_tiff.pages.first.colormap, tiff.pages.first.colormap)
