"""Opening an image, whatever holds it: the list of readers."""

import os
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ImageReadError, OptionError
from ..options import ImageOptions, ReadOptions
from ..options.fields import flat, shown
from ..system.files import open_input
from .array import ArrayImage
from .image import Image, Source

# How files begin, and the reader of these, imported when there is one. The last takes any file, and says what is wrong with it.
READERS = (
    ((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "tiff.reader"),
    ((b"",), "raster"),
)


@dataclass(frozen=True)
class OpenOptions(ImageOptions):
    """What :func:`open_image` takes."""

    source: Source
    budget: int | None = field(default=None, kw_only=True)


@flat(OpenOptions)
def open_image(given: OpenOptions) -> Image:
    """Open an image: a TIFF, anything Pillow reads as PNG, JPEG or WebP, or a NumPy array.

    Parameters
    ----------
    source : path, ndarray of shape (height, width[, bands]), or image of Pillow
    bands : tuple of int, optional
        Bands to take, from 1, in this order. Default: all that are not alpha.
    nodata : float, str or sequence, optional
        Pixels whose samples, as stored, are all this value are masked; or all in a range ``"LOW:HIGH"``, or each in one of its
        own, ``"255,0,255"`` or ``(255, 0, 255)``; or any of such values in a list, ``["32761", "32767"]``. With "none" there
        is no nodata. Default: what GDAL_NODATA (tag 42113) says, unless a mask or alpha does.
    alpha : int or "none", optional
        Sample that is alpha, from 1, or that none is. Default: what the file says.
    page : int, optional
        Page of a TIFF, from 0. Default: the first that is no thumbnail, level or mask.
    level : int
        Reduced level of the page, 0 being the page itself.
    indices : bool
        Take the indices of a palette image of TIFF as they are, and not its colors.
    pages_as_bands : tuple of int or "all", optional
        Pages of a TIFF, from 0, or all that are images, whose bands are those of one image, such as channels of fluorescence.
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
    return open_images(given.source, given.part(ReadOptions), given.budget)[0]


def source_of(given: Any) -> Source:
    """Return what is taken for an image, a path or an array; an image of Pillow becomes one.

    Raises
    ------
    OptionError
        Where it is anything else.
    """
    if isinstance(given, np.ndarray | str) or (isinstance(given, os.PathLike) and isinstance(os.fspath(given), str)):
        return given
    if any(kind.__module__.startswith("PIL.") for kind in type(given).__mro__):
        from .raster import array_of

        return array_of(given)
    raise OptionError(f"an image is a path or an array, not {type(given).__name__}: {shown(given)}")


def open_images(source: Source, options: ReadOptions, budget: int | None) -> list[Image]:
    """Open an image, or with ``all_pages`` all images of a TIFF; raises what :func:`open_image` does."""
    source = source_of(source)
    if isinstance(source, np.ndarray):
        return [ArrayImage(source, options)]
    path = Path(source)
    with open_input(path) as file:
        start = file.read(4)
    if not start:
        raise ImageReadError(f"{path}: the file is empty")
    reader = next(name for starts, name in READERS if start.startswith(starts))
    return import_module(f".{reader}", __package__).open_file(path, options, budget)
