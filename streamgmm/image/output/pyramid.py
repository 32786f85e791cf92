"""Reduced levels: each made from the level below, by majority, never by averaging labels."""

from collections.abc import Callable, Sequence

import numpy as np

from ...options import Resampling
from ..tiles import Window
from .codec import decode_tile, encode_samples
from .spec import ImageSpec


def reduce_labels(labels: np.ndarray, resampling: Resampling, nodata: int | None = None) -> np.ndarray:
    """Halve an image of labels: every 2 x 2 of them become one.

    With "mode" it is the most frequent of the four (two or one at an odd edge), the first in reading order among equals.
    Masked pixels win only where they are more than half. With "nearest" it is the upper left.

    Parameters
    ----------
    labels : ndarray of shape (height, width), any unsigned integers
    resampling : {"mode", "nearest"}
    nodata : int, optional
        Label of masked pixels.

    Returns
    -------
    ndarray of shape (ceil(height / 2), ceil(width / 2)), of the same dtype
    """
    if resampling == "nearest":
        return np.ascontiguousarray(labels[::2, ::2])
    height, width = labels.shape
    if height % 2 or width % 2:  # an edge repeated keeps the shares of its labels
        labels = np.pad(labels, ((0, height % 2), (0, width % 2)), mode="edge")
    a, b, c, d = (np.ascontiguousarray(labels[top::2, left::2]) for top in (0, 1) for left in (0, 1))
    if nodata is None:
        return _mode(a, b, c, d)
    return _mode_but(a, b, c, d, a.dtype.type(nodata))


def _mode(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """The most frequent of four: the first that has an equal after it, or else the first."""
    mode = np.where(c == d, c, a)
    np.copyto(mode, b, where=(b == c) | (b == d))
    np.copyto(mode, a, where=(a == b) | (a == c) | (a == d))
    return mode


def _mode_but(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray, nodata: np.unsignedinteger) -> np.ndarray:
    """The same among those that are not masked, unless three are."""
    masked_a, masked_b, masked_c, masked_d = (labels == nodata for labels in (a, b, c, d))
    if not (masked_a.any() or masked_b.any() or masked_c.any() or masked_d.any()):
        return _mode(a, b, c, d)
    mode = np.where(masked_c, d, c)  # the first that is not masked
    np.copyto(mode, b, where=~masked_b)
    np.copyto(mode, a, where=~masked_a)
    np.copyto(mode, c, where=(c == d) & ~masked_c)
    np.copyto(mode, b, where=((b == c) | (b == d)) & ~masked_b)
    np.copyto(mode, a, where=((a == b) | (a == c) | (a == d)) & ~masked_a)
    # three of four: both of one pair, and one of the other
    most = (masked_a & masked_b & (masked_c | masked_d)) | (masked_c & masked_d & (masked_a | masked_b))
    np.copyto(mode, nodata, where=most)
    return mode


def covered(spec: ImageSpec, level: int, index: int) -> list[int]:
    """Return the up to four tiles that a tile of a reduced level is made from: their numbers in the level below, row by row."""
    below, here = spec.grids[level - 1], spec.grids[level]
    row, column = 2 * (index // here.columns), 2 * (index % here.columns)
    places = [(row + i, column + j) for i in (0, 1) for j in (0, 1)]
    return [row * below.columns + column for row, column in places if row < below.rows and column < below.columns]


def reduced_tile(
    spec: ImageSpec,
    level: int,
    index: int,
    tiles: Sequence[bytes],
    halve: Callable[[np.ndarray, Window], np.ndarray] | None = None,
) -> bytes:
    """Make a tile of a reduced level.

    Parameters
    ----------
    spec : ImageSpec
    level : int
        From 1 on; the image is level 0.
    index : int
        The tile in its level, row by row.
    tiles : sequence of bytes
        The encoded tiles that are :func:`covered`.
    halve : function from samples and a window to samples, optional
        What halves those of a tile, other than :func:`reduce_labels`; the window is what comes of it, in its level.

    Returns
    -------
    bytes
        The encoded tile.
    """
    below, place = spec.grids[level - 1], spec.grids[level][index]
    reduced = np.empty((place.height, place.width), spec.sample_dtype)
    for number, data in zip(covered(spec, level, index), tiles, strict=True):
        window = below[number]
        pixels = decode_tile(data, spec)[: window.height, : window.width]
        part = Window(window.top // 2, window.left // 2, -(-window.height // 2), -(-window.width // 2))
        quarter = halve(pixels, part) if halve else reduce_labels(pixels, spec.resampling, spec.masked_sample)
        reduced[part.within(place).slices] = quarter
    return encode_samples(reduced, spec)
