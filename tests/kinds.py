"""Kinds of files: one small picture each way it can be stored, what is read of it, and what of its metadata is carried."""

import io
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import openslide
import pyvips
import rasterio
import rasterio.shutil
import tifffile
from PIL import Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp, Resampling

from .conftest import shared_file
from .images import smooth

HEIGHT, WIDTH = 90, 120
TILE = (32, 48)  # 3 x 3 of them
FULL = {1: 255, 2: 65535}


class Picture(NamedTuple):
    """Colours, shape (height, width, bands), and where they are not masked, shape (height, width); None where none is."""

    pixels: np.ndarray
    valid: np.ndarray | None = None


Maker = Callable[[Path], None]
Reader = Callable[[Path], Picture]
SAME = "as in the input"


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    make : what writes one, or the name of a real one in the collection beside the repository
    reads : the picture that is read, or an independent reader to agree with
    within : sample values by which that reader may differ
    carries : names of properties in test_kinds.PROPERTIES, with the value they have in the output
    dropped : what the report says is not carried
    options : which image of the file is read
    """

    make: Maker | str
    reads: Picture | Reader
    within: float = 0
    carries: dict[str, Any] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    suffix: str = ".tif"

    def path(self, folder: Path) -> Path:
        """Write the file into a folder, or find it."""
        if isinstance(self.make, str):
            return shared_file(self.make)
        path = folder / f"in{self.suffix}"
        self.make(path)
        return path


# --- The pictures


def scaled(pixels: np.ndarray, low: int, high: int, dtype: str) -> np.ndarray:
    """A picture of 16 bits as whole numbers from ``low`` to ``high``."""
    return np.rint(pixels / 65535 * (high - low) + low).astype(dtype)


def spread(levels: np.ndarray, bits: int) -> np.ndarray:
    """Integers of some bits, spread over the whole range of 8 or 16."""
    size = 1 if bits <= 8 else 2
    return np.rint(levels / (2**bits - 1) * FULL[size]).astype(f"u{size}")


def hole() -> np.ndarray:
    """False where a pixel is masked: the tile in the middle."""
    valid = np.ones((HEIGHT, WIDTH), bool)
    valid[TILE[0] : 2 * TILE[0], TILE[1] : 2 * TILE[1]] = False
    return valid


RGB = Picture(smooth(HEIGHT, WIDTH))
GREY = Picture(RGB.pixels[:, :, :1])
RGB16 = Picture(smooth(HEIGHT, WIDTH, dtype=np.uint16))
GREY16 = Picture(RGB16.pixels[:, :, :1])
FEW = Picture(RGB.pixels // np.uint8([64, 128, 128]) * np.uint8([80, 200, 200]))  # 16 colours
FLOAT = Picture((RGB16.pixels / 1000 - 20).astype(np.float32))
HALF = Picture((RGB16.pixels / 1000 - 20).astype(np.float16).astype(np.float32))
DOUBLE = Picture(GREY16.pixels / 7e300)
INT32, UINT32 = (Picture(scaled(RGB16.pixels, *ends, "f8")) for ends in ((-(2**31), 2**31 - 1), (0, 2**32 - 1)))
BANDS = {(n, dtype): Picture(smooth(HEIGHT, WIDTH, n, dtype)) for n, dtype in ((6, "u1"), (8, "u2"), (32, "u1"))}
LEVELS = {bits: scaled(RGB16.pixels[:, :, : 3 if bits > 4 else 1], 0, 2**bits - 1, "u2") for bits in (1, 2, 4, 10, 12, 14)}
PACKED = {bits: Picture(spread(levels, bits)) for bits, levels in LEVELS.items()}
LARGE = Picture(smooth(200, 300))
REDUCED = Picture(LARGE.pixels[::2, ::2])
PAGES = [smooth(HEIGHT, WIDTH, seed=seed) for seed in range(3)]
STACK = Picture(np.concatenate(PAGES))  # one below the other
# Nothing black is left but what is masked, so that nodata can be 0.
HOLED = Picture(np.where(hole()[..., None], np.maximum(RGB.pixels, 1), 0).astype(np.uint8), hole())
HOLED_GREY = Picture(HOLED.pixels[:, :, :1], hole())
HOLED_FLOAT = Picture(np.where(hole()[..., None], FLOAT.pixels, np.float32("nan")), hole())
INKS = smooth(HEIGHT, WIDTH, 4, seed=5)
LIGHT = Picture(np.rint((255.0 - INKS[..., :3]) * (255.0 - INKS[..., 3:]) / 255).astype(np.uint8))

LAB = np.dstack([RGB.pixels[..., 0], *(RGB.pixels[..., i] // 8 - np.uint8(16) for i in (1, 2))])  # a and b are signed

# Pictures turned upright, by Orientation (tag 274) as TIFF 6.0 defines it.
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels[::-1].swapaxes(0, 1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels[:, ::-1].swapaxes(0, 1),
}

# --- Metadata

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
CMYK = pyvips.Operation.call("profile_load", "cmyk")
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF/></x:xmpmeta>'
GEO = {"crs": "EPSG:32633", "transform": rasterio.Affine(0.3, 0, 500000.1, 0, -0.7, 4000000.2)}
POINTS = [GroundControlPoint(row, col, 5e5 + 3 * row + col, 4e6 - 2 * col) for row in (5, 50) for col in (7, 31)]
APERIO = f"Aperio Image Library v11.2.1\n300x200 [0,0 300x200] ({TILE[1]}x{TILE[0]}) JPEG/RGB Q=90|AppMag = 20|MPP = 0.4990"

# --- Writers: each returns what writes a picture to a path


def tiff(picture: Picture | np.ndarray, **options: Any) -> Maker:
    """Write with tifffile; samples beyond grey or RGB are bands of no colour, unless told otherwise."""
    pixels = picture.pixels if isinstance(picture, Picture) else picture
    bands = pixels.shape[2]
    extra = {2: 1, 3: 0, 1: 0}.get(bands, bands - 1)
    defaults = {"photometric": "rgb" if bands == 3 else "minisblack", "extrasamples": ["unspecified"] * extra, "metadata": None}
    if options.get("planarconfig") == "separate":
        pixels = np.moveaxis(pixels, -1, 0)
    elif bands == 1:
        pixels = pixels[:, :, 0]
    return lambda path: tifffile.imwrite(path, pixels, **defaults | options)


def pages(*each: tuple[np.ndarray, dict[str, Any]], **options: Any) -> Maker:
    """Write RGB pages with tifffile, each with options of its own."""

    def make(path: Path) -> None:
        with tifffile.TiffWriter(path, **options) as writer:
            for pixels, own in each:
                writer.write(pixels, **{"photometric": "rgb", "metadata": None, "tile": TILE, "compression": "deflate"} | own)

    return make


def gdal(picture: Picture, *, mask: bool = False, tags: Any = (), factors: Any = (), **options: Any) -> Maker:
    """Write with GDAL, as a COG where that is the driver."""
    pixels = picture.pixels
    profile = {"driver": "GTiff", "height": pixels.shape[0], "width": pixels.shape[1], "count": pixels.shape[2]}
    profile |= {"dtype": pixels.dtype, "photometric": "rgb" if pixels.shape[2] >= 3 else "minisblack"}

    def make(path: Path) -> None:
        is_cog = options.get("driver") == "COG"
        plain = path.with_name("plain.tif") if is_cog else path
        own = {"driver": "GTiff"} if is_cog else options
        with warnings.catch_warnings(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(plain, "w", **profile | own | {key: options[key] for key in (*GEO, "nodata") if key in options}) as file:
                file.update_tags(**dict(tags))
                file.write(np.moveaxis(pixels, -1, 0))
                if mask:
                    file.write_mask(picture.valid)
            if factors:
                with rasterio.open(plain, "r+") as file:
                    file.build_overviews(factors, Resampling.nearest)
            if is_cog:
                rasterio.shutil.copy(plain, path, **options)

    return make


def sparse_gdal(path: Path) -> None:
    """Write all tiles but the one in the middle; GDAL wants multiples of 16."""
    options = {"tiled": True, "blockysize": TILE[0], "blockxsize": TILE[1], "sparse_ok": True, "photometric": "rgb"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="GTiff", height=HEIGHT, width=WIDTH, count=3, dtype="uint8", **options) as file:
            for _, window in file.block_windows(1):
                block = np.s_[window.toslices()]
                if hole()[block].any():
                    file.write(np.moveaxis(HOLED.pixels[block], -1, 0), window=window)


def sparse_tifffile(path: Path) -> None:
    """Write all tiles but the one in the middle."""
    corners = [np.s_[y : y + TILE[0], x : x + TILE[1]] for y in range(0, HEIGHT, TILE[0]) for x in range(0, WIDTH, TILE[1])]
    tiles = (HOLED.pixels[corner] if hole()[corner].any() else None for corner in corners)
    tifffile.imwrite(path, tiles, shape=HOLED.pixels.shape, dtype="u1", metadata=None, photometric="rgb", **DEFLATE)


def pillow(pixels: np.ndarray, **options: Any) -> Maker:
    """Write with Pillow, in the format of the path's suffix."""
    return lambda path: Image.fromarray(pixels).save(path, **options)


def exif(orientation: int) -> Image.Exif:
    """Exif of nothing but an orientation."""
    found = Image.Exif()
    found[274] = orientation
    return found


def with_xmp() -> PngInfo:
    """XMP as PNG has it."""
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", XMP.decode())
    return info


def ycbcr(path: Path) -> None:
    """Write YCbCr of which 2 x 2 pixels share their chroma, in data units of six bytes; tifffile does so in JPEG only."""
    codes = np.asarray(Image.fromarray(RGB.pixels).convert("YCbCr"))
    luma = codes[..., 0].reshape(HEIGHT // 2, 2, WIDTH // 2, 2).swapaxes(1, 2).reshape(HEIGHT // 2, WIDTH // 2, 4)
    units = np.concatenate([luma, codes[::2, ::2, 1:]], axis=-1)
    strip = iter([zlib.compress(units.tobytes())])
    options = {"compression": "deflate", "rowsperstrip": HEIGHT, "photometric": "ycbcr", "subsampling": (1, 1)}
    tifffile.imwrite(path, strip, shape=codes.shape, dtype="u1", metadata=None, **options)
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages.first.tags[530].overwrite((2, 2))


def palette(bits: int) -> Maker:
    """Write FEW as labels and their colours."""
    colours, labels = np.unique(FEW.pixels.reshape(-1, 3), axis=0, return_inverse=True)
    table = np.zeros((3, 2**bits), np.uint16)
    table[:, : len(colours)] = colours.T * np.uint16(257)
    labels = labels.reshape(HEIGHT, WIDTH, 1).astype(np.uint8)
    return tiff(labels, photometric="palette", colormap=table, bitspersample=bits)


def alpha(picture: Picture, **options: Any) -> Maker:
    """Write a holed picture with alpha that is 0 in the hole."""
    return tiff(with_alpha(picture), photometric="rgb" if picture.pixels.shape[2] == 3 else "minisblack", **options)


def with_alpha(picture: Picture) -> np.ndarray:
    """Colours and alpha, 0 or 255; shape (height, width, bands + 1)."""
    opaque = np.ones(picture.pixels.shape[:2], bool) if picture.valid is None else picture.valid
    return np.dstack([picture.pixels, opaque.astype(np.uint8) * 255])


def slide() -> Maker:
    """An Aperio slide: tiles of JPEG, a thumbnail in strips, a reduced level, a label."""
    jpeg = {"compression": "jpeg", "subsampling": (2, 2), "compressionargs": {"level": 90}}
    strips = {"tile": None, "rowsperstrip": 16}
    return pages(
        (LARGE.pixels, jpeg | {"description": APERIO}),
        (LARGE.pixels[::4, ::4], jpeg | strips),
        (REDUCED.pixels, jpeg),
        (PAGES[0], strips | {"subfiletype": 1, "description": "Aperio\nlabel 120x90"}),
    )


# --- Independent readers


def by_gdal(path: Path, level: int = 0) -> Picture:
    """What GDAL reads: its bands without alpha, palettes expanded, signed samples shifted; and its mask."""
    options = {"overview_level": level - 1} if level else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, **options) as image:
            bands = [i for i, kind in zip(image.indexes, image.colorinterp, strict=True) if kind != ColorInterp.alpha]
            pixels, valid = np.moveaxis(image.read(bands), 0, -1), image.dataset_mask() != 0
            if image.colorinterp == (ColorInterp.palette,):
                pixels = np.array(list(image.colormap(1).values()), np.uint8)[pixels[..., 0], :3]
    if pixels.dtype.kind == "i":
        unsigned = np.dtype(f"u{pixels.dtype.itemsize}")
        pixels = (pixels.astype(int) - np.iinfo(pixels.dtype).min).astype(unsigned)
    return Picture(pixels, valid)


def by_pillow(path: Path) -> Picture:
    """What Pillow shows, turned upright."""
    with Image.open(path) as image:
        return Picture(np.asarray(ImageOps.exif_transpose(image).convert("RGB")))


def by_little_cms(path: Path) -> Picture:
    """What Pillow shows of CMYK or CIELAB, in sRGB by way of its profile."""
    with Image.open(path) as image:
        profile = image.info.get("icc_profile")
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile)) if profile else ImageCms.createProfile("LAB")
        shown = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    return Picture(np.asarray(shown))


def by_openslide(path: Path) -> Picture:
    """The largest level as OpenSlide shows it."""
    with openslide.OpenSlide(path) as image:
        return Picture(np.asarray(image.read_region((0, 0), 0, image.dimensions))[:, :, :3])


def by_tifffile(path: Path) -> Picture:
    """What tifffile reads; samples of 12 bits are spread over 16."""
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        pixels = page.asarray()
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    return Picture(pixels if page.bitspersample != 12 else spread(pixels, 12))


# --- The table

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
DEFLATE = {"compression": "deflate", "tile": TILE}
BLOCKS = {"tiled": True, "blockysize": 32, "blockxsize": 48, "interleave": "band"}
COG = {"driver": "COG", "blocksize": 128, "resampling": "nearest"}
# GDAL and imagecodecs interpolate coarse chroma in different ways.
CHROMA = 12
WHERE = {"georeferencing": SAME, "GDAL's tags": SAME}
OME = "ImageDescription (OME-XML)"


def kinds_of_layouts() -> Iterator[tuple[str, Kind]]:
    """One picture in every codec and layout."""
    for layout, place in LAYOUTS.items():
        for codec, options in CODECS.items():
            yield f"RGB: {layout}, {codec}", Kind(tiff(RGB, **place, **options), RGB)
        yield f"RGB: {layout}, JPEG YCbCr 4:2:0", Kind(tiff(RGB, **place, **JPEG, subsampling=(2, 2)), by_gdal, CHROMA)
        yield f"RGB: {layout}, JPEG YCbCr 4:4:4", Kind(tiff(RGB, **place, **JPEG, subsampling=(1, 1)), by_gdal, 2)
        yield f"RGB: {layout}, lossy WebP", Kind(tiff(RGB, **place, compression="webp", compressionargs={"level": 80}), by_gdal, 2)
        yield f"RGB: {layout}, JPEG 2000", Kind(tiff(RGB, **place, compression="jpeg2000", compressionargs={"level": 40}), by_pillow, 0)
        yield f"grey: {layout}, uncompressed", Kind(tiff(GREY, **place), GREY)
        yield f"grey: {layout}, JPEG", Kind(tiff(GREY, **place, **JPEG), by_gdal, 1)
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
    **{f"{bits} bits, packed": Kind(tiff(LEVELS[bits].astype(spread(LEVELS[bits], bits).dtype), bitspersample=bits), picture)
       for bits, picture in PACKED.items()},
    "16-bit RGB: uncompressed": Kind(tiff(RGB16), RGB16),
    "16-bit RGB: big-endian": Kind(tiff(RGB16, byteorder=">"), RGB16),
    "16-bit RGB: predictor 2, big-endian": Kind(tiff(RGB16, **DEFLATE, predictor=2, byteorder=">"), RGB16),
    "16-bit RGB: planar": Kind(tiff(RGB16, **DEFLATE, planarconfig="separate"), RGB16),
    "16-bit RGB: int16": Kind(tiff((RGB16.pixels ^ 32768).view(np.int16), **DEFLATE), RGB16),
    "16-bit grey: uint16": Kind(tiff(GREY16), GREY16),
    "16-bit grey: int16": Kind(tiff((GREY16.pixels ^ 32768).view(np.int16)), GREY16),
    "16-bit grey: MinIsWhite": Kind(tiff(~GREY16.pixels, photometric="miniswhite"), GREY16),
    "grey: signed bytes": Kind(tiff((GREY.pixels ^ 128).view(np.int8)), GREY),
    "grey: MinIsWhite": Kind(tiff(~GREY.pixels, photometric="miniswhite"), GREY),
    "grey: PNG": Kind(pillow(GREY.pixels[..., 0]), GREY, suffix=".png"),
    "16-bit grey: PNG": Kind(pillow(GREY16.pixels[..., 0]), GREY16, suffix=".png"),
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
    # Colours
    "16 colours: RGB": Kind(tiff(FEW, **DEFLATE), FEW),
    "16 colours: 8-bit palette": Kind(palette(8), FEW),
    "16 colours: 4-bit palette": Kind(palette(4), FEW),
    "16 colours: palette PNG": Kind(lambda path: Image.fromarray(FEW.pixels).quantize(16).save(path), FEW, suffix=".png"),
    "CMYK": Kind(tiff(INKS, photometric="separated", extrasamples=[]), LIGHT, carries={"profile's name": "sRGB built-in"}),
    "CMYK, planar": Kind(tiff(INKS, photometric="separated", extrasamples=[], planarconfig="separate"), LIGHT),
    "CMYK with a profile": Kind(
        tiff(INKS, photometric="separated", extrasamples=[], iccprofile=CMYK), by_little_cms, 3,
        carries={"profile's name": "sRGB built-in"}, dropped=("InterColorProfile",),
    ),
    "CIELAB": Kind(tiff(LAB, photometric="cielab"), by_little_cms, 2),
    "YCbCr, 2 x 2 pixels share their chroma": Kind(ycbcr, by_gdal, 3),
    # Masks
    "masked RGB: unassociated alpha": Kind(alpha(HOLED, **DEFLATE, extrasamples=["unassalpha"]), HOLED),
    "masked RGB: associated alpha": Kind(alpha(HOLED, **DEFLATE, extrasamples=["assocalpha"]), HOLED),
    "masked RGB: nodata of GDAL": Kind(gdal(HOLED, nodata=0, **GEO), HOLED, carries=WHERE),
    "masked RGB: internal mask of GDAL": Kind(gdal(HOLED, mask=True), HOLED),
    "masked RGB: internal mask of a COG": Kind(gdal(HOLED, mask=True, **COG, compress="deflate", **GEO), HOLED, carries=WHERE),
    "masked RGB: absent tiles of GDAL": Kind(sparse_gdal, HOLED),
    "masked RGB: absent tiles of tifffile": Kind(sparse_tifffile, HOLED),
    "masked RGB: PNG with alpha": Kind(pillow(with_alpha(HOLED)), HOLED, suffix=".png"),
    "masked RGB: WebP with alpha": Kind(pillow(with_alpha(HOLED), lossless=True, exact=True), HOLED, suffix=".webp"),
    "masked grey: alpha": Kind(alpha(HOLED_GREY, extrasamples=["unassalpha"]), HOLED_GREY),
    "masked grey: nodata of GDAL": Kind(gdal(HOLED_GREY, nodata=0), HOLED_GREY),
    "masked grey: PNG with alpha": Kind(pillow(with_alpha(HOLED_GREY)), HOLED_GREY, suffix=".png"),
    # Pages and levels
    "stack": Kind(pages(*((page, {}) for page in PAGES)), STACK, options={"all_pages": True}),
    "stack, BigTIFF": Kind(pages(*((page, {}) for page in PAGES), bigtiff=True), STACK, options={"all_pages": True}),
    "pyramid: none": Kind(tiff(LARGE, **DEFLATE), LARGE),
    "pyramid: SubIFD": Kind(pages((LARGE.pixels, {"subifds": 1}), (REDUCED.pixels, {"subfiletype": 1})), LARGE),
    "pyramid: chained": Kind(pages((LARGE.pixels, {}), (REDUCED.pixels, {"subfiletype": 1})), LARGE),
    "pyramid: GDAL's": Kind(gdal(LARGE, **BLOCKS, factors=(2,)), LARGE),
    "pyramid: COG": Kind(gdal(LARGE, **COG, **GEO), LARGE, carries=WHERE),
    "level 1: SubIFD": Kind(
        pages((LARGE.pixels, {"subifds": 1}), (REDUCED.pixels, {"subfiletype": 1})), REDUCED, options={"level": 1}
    ),
    "level 1: chained": Kind(
        pages((LARGE.pixels, {}), (REDUCED.pixels, {"subfiletype": 1})), REDUCED, options={"level": 1}
    ),
    "level 1: COG": Kind(
        gdal(LARGE, **COG, **GEO), lambda path: by_gdal(path, 1), options={"level": 1}, carries={"CRS and bounds": SAME}
    ),
    # Places, slides and photos
    "geo: GeoTIFF": Kind(gdal(RGB, **GEO, tags={"SENSOR": "A"}), RGB, carries=WHERE),
    "geo: pixels are points": Kind(gdal(RGB, **GEO, tags={"AREA_OR_POINT": "Point"}), RGB, carries=WHERE),
    "geo: ground control points": Kind(gdal(RGB, crs=GEO["crs"], gcps=POINTS), RGB, carries=WHERE),
    "slide: OME-TIFF": Kind(
        tiff(RGB, ome=True, tile=TILE, metadata={"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25}), RGB,
        carries={"microns per pixel": (0.5, 0.25)}, dropped=(OME,), suffix=".ome.tif",
    ),
    "slide: SVS": Kind(
        slide(), by_openslide, CHROMA, carries={"microns per pixel": SAME}, dropped=("ImageDescription (Aperio)",), suffix=".svs"
    ),
    "slide: generic tiles": Kind(
        tiff(RGB, tile=TILE, resolution=(20000, 40000), resolutionunit="centimeter"), RGB,
        carries={"microns per pixel": SAME, "dpi": SAME},
    ),
    "photo: TIFF": Kind(
        tiff(RGB, resolution=(300, 300), resolutionunit="inch", iccprofile=SRGB, description="A wave", extratags=[(700, 1, len(XMP), XMP, True)]),
        RGB, carries={"dpi": (300, 300), "profile": SRGB, "XMP": XMP, "description": "A wave"},
    ),
    **{f"photo: orientation {i}": Kind(tiff(RGB, extratags=[(274, 3, 1, i, True)]), RGB, carries={"orientation": i}) for i in range(2, 9)},
    "photo: PNG": Kind(
        pillow(RGB.pixels, dpi=(300, 300), icc_profile=SRGB, pnginfo=with_xmp()), RGB, carries={"dpi": SAME, "profile": SRGB},
        dropped=("XMP",), suffix=".png",
    ),
    "photo: lossless WebP": Kind(
        pillow(RGB.pixels, lossless=True, icc_profile=SRGB), RGB, carries={"profile": SRGB}, suffix=".webp"
    ),
    "photo: lossy WebP": Kind(pillow(RGB.pixels, quality=80), by_pillow, suffix=".webp"),
    "photo: JPEG": Kind(
        pillow(RGB.pixels, quality=90, dpi=(300, 300), icc_profile=SRGB), by_pillow, carries={"dpi": SAME, "profile": SRGB},
        suffix=".jpg",
    ),
    **{f"photo: JPEG, orientation {i}": Kind(pillow(RGB.pixels, exif=exif(i)), by_pillow, dropped=("Exif",), suffix=".jpg", carries={"orientation": 1}) for i in range(2, 9)},
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
