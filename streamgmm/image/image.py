"""What every pass needs to know of an image, whatever holds it."""

import os
from typing import NamedTuple, Protocol

import numpy as np

from .metadata import Metadata
from .tiles import Window

Source = str | os.PathLike | np.ndarray


class FileState(NamedTuple):
    """What tells whether a file is the same as before: its place, its size, and when it was written."""

    device: int
    inode: int
    size: int
    written_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "FileState":
        """Return that of a file."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


class MaskedPixels(NamedTuple):
    """What is read of an image at once.

    Attributes
    ----------
    pixels : ndarray of shape (height, width, bands)
    valid : ndarray of shape (height, width), bool, or None
        False where a pixel is masked; None where none is.
    """

    pixels: np.ndarray
    valid: np.ndarray | None


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
    units : tuple of float
        What 1 as stored is in these samples, and what 0 is: (1, 32768) of int16, which are read as uint16.
    maskable : bool
        Whether reading may mask pixels.
    segment : tuple of int
        Height and width of what is decoded at once: a tile or strip; (1, 1) where any window can be viewed.
    tile : tuple of int or None
        Height and width of the image's own tiles, if it has any.
    metadata : Metadata
        What an output takes over.
    pixel_bytes : int
        Bytes of a pixel while it is read: of all its samples as stored, or of its colors where these take more.
    held : int
        Bytes of decoded pixels that it keeps.
    state : FileState or None
        What changes where the file does, as far as the system knows.
    """

    name: str
    shape: tuple[int, int, int]
    dtype: np.dtype
    units: tuple[float, float]
    maskable: bool
    segment: tuple[int, int]
    tile: tuple[int, int] | None
    pixel_bytes: int
    held: int
    state: FileState | None

    @property
    def metadata(self) -> Metadata:
        """What an output takes over."""

    def read(self, window: Window) -> MaskedPixels:
        """Return the pixels of a window and which are valid. Safe to call from several threads."""

    def absent(self, window: Window) -> bool:
        """Whether a window has no pixels in a sparse file: reading it would mask them all."""

    def check_unchanged(self) -> None:
        """Raise an ImageReadError where the file has changed since it was opened."""

    def info(self) -> dict:
        """Describe the image for a person or a report."""

    def close(self) -> None:
        """Let the file go."""
