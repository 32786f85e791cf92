"""Small pictures, what writes them in every kind of file, and independent readers of these."""

import io
import warnings
import zlib
from collections.abc import Callable
from copy import deepcopy
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

from .images import smooth

HEIGHT, WIDTH = 90, 120
TILE = (32, 48)  # 3 x 3 of them
DEFLATE: dict[str, Any] = {"compression": "deflate", "tile": TILE}
FULL = {1: 255, 2: 65535}


class Picture(NamedTuple):
    """Colors, shape (height, width, bands), and where they are not masked, shape (height, width); None where none is."""

    pixels: np.ndarray
    valid: np.ndarray | None = None


Maker = Callable[[Path], None]
Reader = Callable[[Path], Picture]

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
GRAY = Picture(RGB.pixels[:, :, :1])
RGB16 = Picture(smooth(HEIGHT, WIDTH, dtype=np.uint16))
GRAY16 = Picture(RGB16.pixels[:, :, :1])
FEW = Picture(RGB.pixels // np.uint8([64, 128, 128]) * np.uint8([80, 200, 200]))  # 16 colors
FLOAT = Picture((RGB16.pixels / 1000 - 20).astype(np.float32))
HALF = Picture((RGB16.pixels / 1000 - 20).astype(np.float16).astype(np.float32))
DOUBLE = Picture(GRAY16.pixels / 7e300)
INT32, UINT32 = (Picture(scaled(RGB16.pixels, *ends, "f8")) for ends in ((-(2**31), 2**31 - 1), (0, 2**32 - 1)))
BANDS = {(n, dtype): Picture(smooth(HEIGHT, WIDTH, n, dtype)) for n, dtype in ((6, "u1"), (8, "u2"))}
BANDS[32, "u1"] = Picture(smooth(32, 48, 32))
LEVELS = {bits: scaled(RGB16.pixels[:, :, : 3 if bits > 4 else 1], 0, 2**bits - 1, "u2") for bits in (1, 2, 4, 10, 12, 14)}
PACKED = {bits: Picture(spread(levels, bits)) for bits, levels in LEVELS.items()}
LARGE = Picture(smooth(200, 300))
REDUCED = Picture(LARGE.pixels[::2, ::2])
PAGES = [smooth(HEIGHT, WIDTH, seed=seed) for seed in range(3)]
STACK = Picture(np.concatenate(PAGES))  # one below the other
GRAY_STACK = Picture(STACK.pixels[..., :1])
MIXED_STACK = Picture(np.concatenate([PAGES[0], PAGES[1][..., :1].repeat(3, axis=-1), PAGES[2]]))
# Nothing black is left but what is masked, so that nodata can be 0.
HOLED = Picture(np.where(hole()[..., None], np.maximum(RGB.pixels, 1), 0).astype(np.uint8), hole())
HOLED_GRAY = Picture(HOLED.pixels[:, :, :1], hole())
HOLED_FLOAT = Picture(np.where(hole()[..., None], FLOAT.pixels, np.float32("nan")), hole())
INKS = smooth(HEIGHT, WIDTH, 4, seed=5)
THIN = np.rint(RGB.pixels * (90 / 255)).astype(np.uint8)  # multiplied with an alpha of 90
UNDONE = Picture(np.rint(np.minimum(THIN * (255 / 90), 255)).astype(np.uint8))
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
    """Write with tifffile; samples beyond gray or RGB are bands of no color, unless told otherwise."""
    pixels = picture.pixels if isinstance(picture, Picture) else picture
    bands = pixels.shape[2]
    extra = {2: 1, 3: 0, 1: 0}.get(bands, bands - 1)
    defaults = {"photometric": "rgb" if bands == 3 else "minisblack", "extrasamples": ["unspecified"] * extra, "metadata": None}
    if options.get("planarconfig") == "separate":
        pixels = np.moveaxis(pixels, -1, 0)
    elif bands == 1:
        pixels = pixels[:, :, 0]
    return lambda path: tifffile.imwrite(path, pixels, **deepcopy(defaults | options))  # compressionargs are changed


def pages(*each: tuple[np.ndarray, dict[str, Any]], **options: Any) -> Maker:
    """Write RGB pages with tifffile, each with options of its own."""

    def make(path: Path) -> None:
        with tifffile.TiffWriter(path, **options) as writer:
            for pixels, own in each:
                writer.write(pixels, **deepcopy({"photometric": "rgb", "metadata": None} | DEFLATE | own))

    return make


def gdal(
    picture: Picture, *, mask: bool = False, tags: Any = (), factors: Any = (), colormap: Any = None, **options: Any
) -> Maker:
    """Write with GDAL, as a COG where that is the driver."""
    pixels = picture.pixels
    profile = {"driver": "GTiff", "height": pixels.shape[0], "width": pixels.shape[1], "count": pixels.shape[2]}
    profile |= {"dtype": pixels.dtype, "photometric": "rgb" if pixels.shape[2] >= 3 else "minisblack"}

    def make(path: Path) -> None:
        is_cog = options.get("driver") == "COG"
        plain = path.with_name("plain.tif") if is_cog else path
        own = {key: value for key, value in options.items() if key in GEO} if is_cog else options
        with warnings.catch_warnings(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(plain, "w", **profile | own) as file:
                file.update_tags(**dict(tags))
                file.write(np.moveaxis(pixels, -1, 0))
                if colormap:
                    file.write_colormap(1, colormap)
                if mask:
                    file.write_mask(picture.valid)
            if factors:
                with rasterio.open(plain, "r+") as file:
                    file.build_overviews(factors, Resampling.nearest)
            if is_cog:
                rasterio.shutil.copy(plain, path, **{key: value for key, value in options.items() if key not in GEO})

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


def subifd_pyramid() -> Maker:
    """Write LARGE, with its reduced level below it."""
    return pages((LARGE.pixels, {"subifds": 1}), (REDUCED.pixels, {"subfiletype": 1}))


def chained_pyramid() -> Maker:
    """Write LARGE, and its reduced level behind it."""
    return pages((LARGE.pixels, {}), (REDUCED.pixels, {"subfiletype": 1}))


def channels(*levels: Picture) -> Maker:
    """Write the bands of a picture as pages, and behind all of them those of its levels."""
    options = {"photometric": "minisblack"}
    return pages(*((band, options) for level in levels or (RGB,) for band in np.moveaxis(level.pixels, -1, 0)))


def ome_channels(path: Path) -> None:
    """Write the bands of RGB as the channels of an OME-TIFF."""
    tifffile.imwrite(path, np.moveaxis(RGB.pixels, -1, 0), photometric="minisblack", metadata={"axes": "CYX"}, **DEFLATE)


def imagej_stack(path: Path) -> None:
    """Write gray pages as ImageJ does above 4 GiB: with a directory for the first alone."""
    tifffile.imwrite(path, np.stack(PAGES)[..., 0], imagej=True, metadata={"axes": "ZYX"})
    with tifffile.TiffFile(path) as tiff:
        page, order = tiff.pages.first, {"<": "little", ">": "big"}[tiff.byteorder]
        end = page.offset + 2 + 12 * len(page.tags)
    data = bytearray(path.read_bytes())
    assert int.from_bytes(data[end : end + 4], order) > 0
    data[end : end + 4] = bytes(4)
    path.write_bytes(data)


def metamorph_stack(path: Path) -> None:
    """Write gray pages as MetaMorph does: all pixels behind the first page, with one of its tags."""
    tags = [(33629, 5, len(PAGES), [1, 1] * len(PAGES), True)]
    tifffile.imwrite(path, PAGES[0][..., 0], photometric="minisblack", metadata=None, extratags=tags)
    path.write_bytes(path.read_bytes() + b"".join(page[..., 0].tobytes() for page in PAGES[1:]))


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
    """Write FEW as labels and their colors, with GDAL: tifffile packs no palettes."""
    colors, labels = np.unique(FEW.pixels.reshape(-1, 3), axis=0, return_inverse=True)
    labels = Picture(labels.reshape(HEIGHT, WIDTH, 1).astype(np.uint8))
    return gdal(labels, photometric="palette", nbits=bits, colormap=dict(enumerate(map(tuple, colors.tolist()))))


def alpha(picture: Picture, opacity: int = 255, **options: Any) -> Maker:
    """Write a picture with alpha that is 0 where it is masked."""
    return tiff(with_alpha(picture, opacity), photometric="rgb" if picture.pixels.shape[2] == 3 else "minisblack", **options)


def with_alpha(picture: Picture, opacity: int = 255) -> np.ndarray:
    """Colors and alpha, shape (height, width, bands + 1)."""
    shown = np.ones(picture.pixels.shape[:2], bool) if picture.valid is None else picture.valid
    return np.dstack([picture.pixels, shown * np.uint8(opacity)])


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


def by_segment(path: Path) -> Picture:
    """What Pillow shows of each tile or strip by itself, where these are whole JPEG 2000 files."""
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        pixels = np.zeros(page.shape, page.dtype)
        for index, (offset, size) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
            file.filehandle.seek(offset)
            with Image.open(io.BytesIO(file.filehandle.read(size))) as segment:
                top, left = (page.chunks[i] * place for i, place in enumerate(np.unravel_index(index, page.chunked[:2])))
                part = pixels[top : top + segment.height, left : left + segment.width]
                part[:] = np.asarray(segment)[: len(part), : part.shape[1]]
    return Picture(pixels)


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
