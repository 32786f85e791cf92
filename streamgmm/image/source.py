"""An image to read from, whatever holds it."""

import os
from pathlib import Path
from typing import Protocol

import numpy as np

from ..errors import ImageReadError, OptionError, UnsupportedImageError
from .tiles import Window

Source = str | os.PathLike | np.ndarray

SAMPLE_TYPES = (np.dtype(np.uint8), np.dtype(np.uint16))
TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class Image(Protocol):
    """What every pass over an image needs to know of it.

    Attributes
    ----------
    name : str
        For messages and reports.
    shape : tuple of int
        Height, width, bands.
    dtype : numpy.dtype
        uint8 or uint16.
    segment : tuple of int
        Height and width of what is decoded at once: a tile or strip; (1, 1) where any window can be viewed.
    tile : tuple of int or None
        Height and width of the image's own tiles, if it has any.
    """

    name: str
    shape: tuple[int, int, int]
    dtype: np.dtype
    segment: tuple[int, int]
    tile: tuple[int, int] | None

    def read(self, window: Window) -> np.ndarray:
        """Return the pixels of a window, shape (height, width, bands). Safe to call from several threads."""

    def info(self) -> dict:
        """Describe the image for a person or a report."""

    def close(self) -> None:
        """Let the file go."""


class ArrayImage:
    """An image in memory, or in a NumPy memory map.

    Parameters
    ----------
    array : ndarray of shape (height, width) or (height, width, bands), uint8 or uint16
    name : str
        For messages and reports.
    kind : str
        What it came from.
    """

    tile: tuple[int, int] | None = None
    segment = (1, 1)

    def __init__(self, array: np.ndarray, name: str = "array", kind: str | None = "array"):
        if array.ndim not in (2, 3) or array.size == 0:
            raise UnsupportedImageError(f"{name}: shape {array.shape}; expected (height, width) or (height, width, bands)")
        dtype = array.dtype.newbyteorder("=")
        if dtype not in SAMPLE_TYPES:
            raise UnsupportedImageError(f"{name}: samples are {array.dtype}; uint8 and uint16 are supported")
        self._pixels = array if array.ndim == 3 else array[:, :, None]
        self.name, self.kind = name, kind
        self.shape, self.dtype = self._pixels.shape, dtype

    def read(self, window: Window) -> np.ndarray:
        """Return a view of a window, in the processor's byte order."""
        return self._pixels[window.slices].astype(self.dtype, copy=False)

    def info(self) -> dict:
        """Describe the image."""
        height, width, bands = self.shape
        return {"format": self.kind, "width": width, "height": height, "bands": bands, "dtype": self.dtype.name}

    def close(self) -> None:
        """Drop the pixels."""
        del self._pixels


def open_image(source: Source, *, budget: int | None = None) -> Image:
    """Open an image: a TIFF, anything Pillow reads as PNG, JPEG or WebP, or a NumPy array.

    Parameters
    ----------
    source : path, or ndarray of shape (height, width[, bands]), uint8 or uint16
    budget : int, optional
        Bytes that what cannot be read in parts may take: a strip of a TIFF, or a PNG as a whole. Default: no limit.

    Raises
    ------
    ImageReadError
        Where there is no such file, or it is not an image, or damaged.
    UnsupportedImageError
        Where its kind is not supported.
    MemoryBudgetError
        Where it does not fit the budget.
    """
    if isinstance(source, np.ndarray):
        return ArrayImage(source)
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
        from .tiff import TiffImage

        return TiffImage(path, budget)
    from .raster import open_raster

    return open_raster(path, budget)
