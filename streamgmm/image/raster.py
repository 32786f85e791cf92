"""PNG, JPEG and WebP, through Pillow: decoded as a whole."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageOps

from ..errors import ImageReadError, MemoryBudgetError, OptionError
from .array import ArrayImage
from .metadata import carried_over_raster
from .source import ReadOptions, file_state

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
    """Return the mode to decode an image to; a colour that the file calls transparent asks for alpha."""
    mode = MODES.get(image.mode, "RGBA" if image.has_transparency_data else "RGB")
    return {"L": "LA", "RGB": "RGBA"}.get(mode, mode) if "transparency" in image.info else mode


def open_raster(path: Path, options: ReadOptions, budget: int | None) -> ArrayImage:
    """Decode a PNG, JPEG or WebP file, turned as its Exif orientation says.

    Raises
    ------
    ImageReadError
        Where the file is not such an image, or damaged.
    MemoryBudgetError
        Where its pixels take more bytes than the budget.
    """
    with _no_limit_of_pillow():
        try:
            state = file_state(path.stat())
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
                metadata = carried_over_raster(image)
                pixels = np.asarray(ImageOps.exif_transpose(image).convert(mode))
                alpha = pixels.shape[2] - 1 if mode in ("RGBA", "LA") else None
                return ArrayImage(pixels, options, str(path), image.format, alpha, metadata, state)
        except (MemoryBudgetError, OptionError):
            raise
        except Pillow.UnidentifiedImageError:
            raise ImageReadError(f"{path}: not an image this program reads (TIFF, PNG, JPEG or WebP)") from None
        except (OSError, ValueError, SyntaxError, EOFError) as error:
            raise ImageReadError(f"{path}: cannot be decoded ({error})") from None
