"""PNG, JPEG and WebP, through Pillow: decoded as a whole."""

import contextlib
import os
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image as Pillow
from PIL import ImageOps, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from ..errors import ImageReadError, MemoryBudgetError, OptionError
from ..options import ReadOptions
from ..system.files import open_input
from .array import ArrayImage
from .image import FileState
from .metadata import BYTE, INCH, NONE, ORIENTATION, XMP, Metadata, is_resolution, is_rgb_profile
from .pam import Pam, read_pam
from .sidecars import mask_file, overviews_file, pam_file, placed, world_file
from .tiles import Window

FORMATS = (PngImagePlugin.PngImageFile.format, JpegImagePlugin.JpegImageFile.format, WebPImagePlugin.WebPImageFile.format)
# Pillow mode -> mode with the samples we take; every other mode becomes RGB.
MODES = {"L": "L", "RGB": "RGB", "RGBA": "RGBA", "LA": "LA", "1": "L", "I;16": "I;16", "I;16B": "I;16"}

# How samples of few bits are decoded: times this, by what Pillow calls them.
SPREAD = {"1": 255, "L;2": 85, "L;4": 17}
# Times the memory of PNG and JPEG that decoding WebP takes: 266 against 160 MiB for 16 million pixels.
MORE = 2


def _opened(file: BinaryIO) -> Pillow.Image:
    """Open an image by the reader of its format.

    ``Pillow.open`` holds images to a limit on pixels that is a global of the whole program; here the budget is the limit.
    """
    start = file.read(16)
    for name in FORMATS:
        reader, accepts = Pillow.OPEN.get(name, (None, None))
        if reader is not None and (accepts is None or accepts(start) is True):  # WebP that Pillow lacks is a text about that
            file.seek(0)
            with contextlib.suppress(SyntaxError, IndexError, TypeError, struct.error):
                return reader(file, "")
    raise Pillow.UnidentifiedImageError(file)


def _mode(image: Pillow.Image) -> str:
    """Return the mode to decode an image to; a color that the file calls transparent asks for alpha."""
    mode = MODES.get(image.mode, "RGBA" if image.has_transparency_data else "RGB")
    return {"L": "LA", "RGB": "RGBA"}.get(mode, mode) if "transparency" in image.info else mode


def _decoded(image: Pillow.Image, mode: str) -> tuple[np.ndarray, int | None]:
    """Return pixels, turned as Exif says, and the band of them that is alpha, if one is."""
    pixels = np.asarray(ImageOps.exif_transpose(image).convert(mode))
    return pixels, pixels.shape[2] - 1 if mode in ("RGBA", "LA") else None


def _masked(pixels: np.ndarray, path: Path) -> np.ndarray:
    """Return pixels as a masked array where a file beside the image masks some."""
    beside = mask_file(path)
    if beside is None:
        return pixels
    from .tiff.reader import open_file as open_tiff

    [mask] = open_tiff(beside, ReadOptions(), None)
    try:
        shown, _ = mask.read(Window(0, 0, *mask.shape[:2]))
    finally:
        mask.close()
    if shown.shape[:2] != pixels.shape[:2]:
        raise ImageReadError(f"{beside}: has no mask of {pixels.shape[1]} x {pixels.shape[0]} pixels for {path}; remove it")
    hidden = (shown == 0).all(axis=2)
    return np.ma.array(pixels, mask=hidden if pixels.ndim == 2 else np.broadcast_to(hidden[:, :, None], pixels.shape))


def array_of(image: Pillow.Image) -> np.ndarray:
    """Return an image of Pillow as an array, of which pixels are masked where alpha is 0."""
    pixels, alpha = _decoded(image, _mode(image))
    if alpha is None:
        return pixels
    colors = pixels[:, :, :alpha]
    return np.ma.array(colors, mask=np.broadcast_to((pixels[:, :, alpha] == 0)[:, :, None], colors.shape))


def open_file(path: Path, options: ReadOptions, budget: int | None) -> list[ArrayImage]:
    """Decode a PNG, JPEG or WebP file, turned as its Exif orientation says.

    Raises
    ------
    OptionError
        Where a page or level is asked for, which only TIFF files have.
    ImageReadError
        Where the file is not such an image, or damaged.
    MemoryBudgetError
        Where its pixels take more bytes than the budget.
    """
    if options.page or options.level or options.pages_as_bands not in (None, "all", (0,)):
        raise OptionError(f"{path}: only TIFF files have pages and levels")
    with open_input(path) as file:
        try:
            state = FileState.of(os.fstat(file.fileno()))
            with _opened(file) as image:
                mode = _mode(image)
                copies = MORE if image.format == "WEBP" else 1
                size = image.width * image.height * len(Pillow.new(mode, (1, 1)).tobytes()) * copies
                if budget is not None and size > budget:
                    raise MemoryBudgetError(
                        f"{path}: a {image.format} of {image.width} x {image.height} pixels is decoded as a whole, which takes "
                        f"{size / 2**20:,.0f} MiB of {budget / 2**20:,.0f}; convert it to a tiled TIFF, or raise --chunk-size "
                        "and --memory"
                    )
                spread = next((SPREAD[raw] for *_, raw in getattr(image, "tile", ()) if raw in SPREAD), 1)
                image.load()  # before anything else does so and keeps silent about damage
                pixels, alpha = _decoded(image, mode)
                pam = read_pam(pam_file(path), len(image.getbands()) if image.mode in MODES else 0)
                nodata = None if pam.nodata is None or mask_file(path) else pam.nodata * spread
                metadata = _with_sidecars(_carried_over(image), image, path, pam)
                return [ArrayImage(_masked(pixels, path), options, str(path), image.format, alpha, metadata, nodata, state)]
        except (MemoryBudgetError, OptionError):
            raise
        except Pillow.UnidentifiedImageError:
            raise ImageReadError(f"{path}: not an image this program reads (TIFF, PNG, JPEG or WebP)") from None
        except (OSError, ValueError, SyntaxError, EOFError) as error:
            raise ImageReadError(f"{path}: cannot be decoded ({error})") from None


def _with_sidecars(metadata: Metadata, image: Pillow.Image, path: Path, pam: Pam) -> Metadata:
    """Return what an output takes over, with the place beside the image: of an image that is turned it would not be true."""
    unused = [overviews_file(path)]
    if _turned(image):
        unused += [world_file(path), pam_file(path)]
    else:
        metadata = placed(metadata, path, pam, world_first=image.format == "PNG")
    return metadata.without(*(beside.name for beside in unused if beside is not None))


def _turned(image: Pillow.Image) -> bool:
    """Whether Exif says that an image is to be turned; damaged Exif makes Pillow raise anything."""
    with contextlib.suppress(Exception):
        return image.getexif().get(ORIENTATION, 1) != 1
    return False


def _carried_over(image: Pillow.Image) -> Metadata:
    """Return what of a PNG, JPEG or WebP stays true once its pixels are turned as its Exif orientation says.

    Parameters
    ----------
    image : PIL.Image.Image
        As opened, not turned yet.
    """
    icc = image.info.get("icc_profile")
    kept = isinstance(icc, bytes) and is_rgb_profile(icc)
    x, y = image.info.get("dpi", (0, 0))
    with contextlib.suppress(Exception):  # damaged Exif makes Pillow raise anything
        if image.getexif().get(ORIENTATION) in (5, 6, 7, 8):
            x, y = y, x
    resolution = (float(x), float(y)) if is_resolution(x, y) else None
    xmp = image.info.get("xmp") or b""
    true = isinstance(xmp, bytes) and b"RDF" in xmp
    names = {"Exif": image.info.get("exif"), "InterColorProfile": icc and not kept, "XMP": xmp and not true}
    return Metadata(
        tags=((XMP, BYTE, len(xmp), xmp),) if true else (),
        resolution=resolution,
        resolution_unit=INCH if resolution else NONE,
        icc=icc if kept else None,
        dropped=tuple(sorted(name for name, there in names.items() if there)),
    )
