"""Pictures of a page, each a data URI: exact ones as PNG, larger ones as JPEG."""

import base64
import io
from typing import NamedTuple

import numpy as np
from PIL import Image

# Bytes that one picture of a page may take, so that all of them are less than 5 MB when they are text.
MOST = 700_000
# Of JPEGs, from what is hardly told from the original down to what fits.
QUALITIES = (92, 85, 75, 60, 40, 20)
# Deflate's level for PNG: 6 takes three times as long, into a fifth fewer bytes at best.
LEVEL = 1
# What masked pixels look like: squares of two grays, that are seen on light and dark pages.
SQUARE, GRAYS = 8, (168, 200)
THUMBNAIL = 256
# Errors that are shown as the brightest color: more than all but one in a thousand cells.
TAIL = 0.999


class Picture(NamedTuple):
    """A picture as it stands in a page."""

    uri: str
    width: int
    height: int

    @property
    def size(self) -> int:
        """Bytes that it takes as a file."""
        return len(self.uri) * 3 // 4


def exact(samples: np.ndarray, palette: np.ndarray | None = None) -> Picture:
    """Return a PNG of colors (h, w, 3), of grays (h, w), or of indices (h, w) of a palette (K, 3), all uint8."""
    image = Image.fromarray(np.ascontiguousarray(samples))
    if palette is not None:
        image.putpalette(palette.tobytes())
    return _written(image, format="PNG", compress_level=LEVEL)


def smaller(colors: np.ndarray, most: int = MOST) -> Picture:
    """Return a JPEG of colors (h, w, 3), uint8, of as good a quality as fits some bytes."""
    for quality in QUALITIES:
        picture = _written(Image.fromarray(colors), format="JPEG", quality=quality, subsampling=0)
        if picture.size <= most:
            break
    return picture


def fitting(colors: np.ndarray, whole: bool, most: int = MOST) -> Picture:
    """Return colors (h, w, 3) exactly where these are the pixels themselves, and few enough; else nearly."""
    if whole:
        picture = exact(colors)
        if picture.size <= most:
            return picture
    return smaller(colors, most)


def checkered(colors: np.ndarray, valid: np.ndarray, square: int = SQUARE) -> np.ndarray:
    """Return colors (h, w, 3) with squares of gray where they are not valid (h, w)."""
    if valid.all():
        return colors
    rows, columns = (np.arange(n) // square for n in valid.shape)
    squares = np.array(GRAYS, np.uint8)[(rows[:, None] + columns) % 2]
    return np.where(valid[..., None], colors, squares[..., None])


def thumbnail(colors: np.ndarray, side: int = THUMBNAIL) -> Picture:
    """Return a small JPEG of colors (h, w, 3)."""
    image = Image.fromarray(colors)
    image.thumbnail((side, side), Image.Resampling.BOX)
    return _written(image, format="JPEG", quality=80)


def error_map(errors: np.ndarray, valid: np.ndarray, colors: np.ndarray) -> tuple[Picture, float]:
    """Return a picture of errors (h, w), and the error that is shown as the last of some colors (256, 3), uint8.

    Of many cells, it has the mean of every four.
    """
    most = float(np.quantile(errors[valid], TAIL)) if valid.any() else 0.0
    most = most or float(errors.max(initial=0)) or 1.0
    if errors.size > MOST // 2:
        errors, valid = _halved(errors, valid)
    levels = np.rint(np.clip(errors / most, 0, 1) * 255).astype(np.uint8)
    if valid.all():
        return exact(levels, colors), most
    return fitting(checkered(colors[levels], valid), whole=True), most


def _halved(errors: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the means of every four cells, of those that are valid."""
    rows, columns = (np.arange(0, n, 2) for n in errors.shape)

    def summed(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(np.add.reduceat(values, rows, 0, np.float32), columns, 1)

    count = summed(valid)
    return summed(np.where(valid, errors, 0)) / np.maximum(count, 1), count > 0


def _written(image: Image.Image, **options: object) -> Picture:
    """Encode an image."""
    file = io.BytesIO()
    image.save(file, **options)  # type: ignore[arg-type]
    kind = str(options["format"]).lower()
    return Picture(f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}", *image.size)
