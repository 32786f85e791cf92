"""PNG, JPEG and WebP, through Pillow: decoded as a whole."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageOps

from ..errors import ImageReadError, MemoryBudgetError, OptionError
from ..options import ReadOptions
from .array import ArrayImage
from .image import FileState
from .metadata import BYTE, INCH, NONE, ORIENTATION, XMP, Metadata, is_resolution, is_rgb_profile

FORMATS = ("PNG", "JPEG", "WEBP")
# Pillow mode -> mode with the samples we take; every other mode becomes RGB.
MODES = {"L": "L", "RGB": "RGB", "RGBA": "RGBA", "LA": "LA", "1": "L", "I;16": "I;16", "I;16B": "I;16"}

# Times the memory of PNG and JPEG that decoding WebP takes: 266 against 160 MiB for 16 million pixels.
MORE = 2

_limit = threading.Lock()


@contextlib.contextmanager
def _no_limit_of_pillow() -> Iterator[None]:
    """Lift the limit on pixels that Pillow keeps in a global: the budget says better what is too large."""
    with _limit:
        before, Pillow.MAX_IMAGE_PIXELS = Pillow.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Pillow.MAX_IMAGE_PIXELS = before


def _mode(image: Pillow.Image) -> str:
    """Return the mode to decode an image to; a color that the file calls transparent asks for alpha."""
    mode = MODES.get(image.mode, "RGBA" if image.has_transparency_data else "RGB")
    return {"L": "LA", "RGB": "RGBA"}.get(mode, mode) if "transparency" in image.info else mode


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
    if options.page or options.level:
        raise OptionError(f"{path}: only TIFF files have pages and levels")
    with _no_limit_of_pillow():
        try:
            state = FileState.of(path.stat())
            with Pillow.open(path, formats=FORMATS) as image:
                mode = _mode(image)
                copies = MORE if image.format == "WEBP" else 1
                size = image.width * image.height * len(Pillow.new(mode, (1, 1)).tobytes()) * copies
                if budget is not None and size > budget:
                    raise MemoryBudgetError(
                        f"{path}: a {image.format} of {image.width} x {image.height} pixels is decoded as a whole, which takes "
                        f"{size / 2**20:,.0f} MiB of {budget / 2**20:,.0f}; convert it to a tiled TIFF, or raise --chunk-size "
                        "and --memory"
                    )
                image.load()  # before anything else does so and keeps silent about damage
                metadata = _carried_over(image)
                pixels = np.asarray(ImageOps.exif_transpose(image).convert(mode))
                alpha = pixels.shape[2] - 1 if mode in ("RGBA", "LA") else None
                return [ArrayImage(pixels, options, str(path), image.format, alpha, metadata, state)]
        except (MemoryBudgetError, OptionError):
            raise
        except Pillow.UnidentifiedImageError:
            raise ImageReadError(f"{path}: not an image this program reads (TIFF, PNG, JPEG or WebP)") from None
        except (OSError, ValueError, SyntaxError, EOFError) as error:
            raise ImageReadError(f"{path}: cannot be decoded ({error})") from None


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
