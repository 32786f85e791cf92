"""An image to read from, whatever holds it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from ..errors import ImageReadError, OptionError
from .tiles import Window

if TYPE_CHECKING:
    from .metadata import Metadata

Source = str | os.PathLike | np.ndarray

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def file_state(status: os.stat_result) -> tuple[int, ...]:
    """Return what tells whether a file is the same as before: its place, its size, and when it was written."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class Read(NamedTuple):
    """What is read of an image at once.

    Attributes
    ----------
    pixels : ndarray of shape (height, width, bands)
    valid : ndarray of shape (height, width), bool, or None
        False where a pixel is masked; None where none is.
    """

    pixels: np.ndarray
    valid: np.ndarray | None


@dataclass(frozen=True)
class ReadOptions:
    """Which image of a file is read, and what of it; see :func:`open_image`."""

    bands: tuple[int, ...] | None = None
    nodata: float | None = None
    page: int | None = None
    level: int = 0
    all_pages: bool = False

    def __post_init__(self):
        if self.all_pages and self.page is not None:
            raise OptionError("page and all-pages exclude each other; choose one")


class Image(Protocol):
    """What every pass over an image needs to know of it.

    Attributes
    ----------
    name : str
        For messages and reports.
    shape : tuple of int
        Height, width, bands.
    dtype : numpy.dtype
        uint8 or uint16, whose whole range stands for [0, 1]; or float32 or float64 of any range.
    maskable : bool
        Whether reading may mask pixels.
    segment : tuple of int
        Height and width of what is decoded at once: a tile or strip; (1, 1) where any window can be viewed.
    tile : tuple of int or None
        Height and width of the image's own tiles, if it has any.
    metadata : Metadata
        What an output takes over.
    held : int
        Bytes of decoded pixels that it keeps.
    state : tuple or None
        What changes where the file does, as far as the system knows.
    """

    name: str
    shape: tuple[int, int, int]
    dtype: np.dtype
    maskable: bool
    segment: tuple[int, int]
    tile: tuple[int, int] | None
    held: int
    state: tuple[int, ...] | None

    @property
    def metadata(self) -> "Metadata":
        """What an output takes over."""

    def read(self, window: Window) -> Read:
        """Return the pixels of a window and which are valid. Safe to call from several threads."""

    def absent(self, window: Window) -> bool:
        """Whether a window has no pixels in a sparse file: reading it would mask them all."""

    def check_unchanged(self) -> None:
        """Raise an ImageReadError where the file has changed since it was opened."""

    def info(self) -> dict:
        """Describe the image for a person or a report."""

    def close(self) -> None:
        """Let the file go."""


def open_image(
    source: Source,
    *,
    bands: tuple[int, ...] | None = None,
    nodata: float | None = None,
    page: int | None = None,
    level: int = 0,
    budget: int | None = None,
) -> Image:
    """Open an image: a TIFF, anything Pillow reads as PNG, JPEG or WebP, or a NumPy array.

    Parameters
    ----------
    source : path, or ndarray of shape (height, width[, bands])
    bands : tuple of int, optional
        Bands to take, from 1, in this order. Default: all that are not alpha.
    nodata : float, optional
        Pixels whose samples, as stored, are all this value are masked. Default: what GDAL_NODATA (tag 42113) says.
    page : int, optional
        Page of a TIFF, from 0. Default: the first that is no thumbnail, level or mask.
    level : int
        Reduced level of the page, 0 being the page itself.
    budget : int, optional
        Bytes that what cannot be read in parts may take: a strip of a TIFF, or a PNG as a whole. Default: no limit.

    Raises
    ------
    ImageReadError
        Where there is no such file, or it is not an image, or damaged.
    UnsupportedImageError
        Where its kind is not supported.
    OptionError
        Where it has no such bands, page or level.
    MemoryBudgetError
        Where it does not fit the budget.
    """
    return open_images(source, ReadOptions(bands, nodata, page, level), budget)[0]


def open_images(source: Source, options: ReadOptions, budget: int | None) -> list[Image]:
    """Open an image, or with ``all_pages`` all images of a TIFF; raises what :func:`open_image` does."""
    if isinstance(source, np.ndarray):
        from .array import ArrayImage

        return [ArrayImage(source, options)]
    if not isinstance(source, str | os.PathLike):
        raise OptionError(f"an image is a path or an array, not {type(source).__name__}")
    path = Path(source)
    try:
        with open(path, "rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ImageReadError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None
    if not magic:
        raise ImageReadError(f"{path}: the file is empty")
    if magic in TIFF_MAGIC:
        from .tiff import open_tiff

        return [*open_tiff(path, options, budget)]
    if options.page or options.level:
        raise OptionError(f"{path}: only TIFF files have pages and levels")
    from .raster import open_raster

    return [open_raster(path, options, budget)]
