"""Reduced levels: each made from the level below, by majority, never by averaging labels."""

import numpy as np

from .spool import Spool
from .writer import RESAMPLINGS as RESAMPLINGS
from .writer import Layout, Resampling, decode_tile, encode_samples


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


def reduced_tile(spool: Spool, layout: Layout, level: int, index: int, first: int) -> bytes:
    """Make a tile of a reduced level from the up to four tiles it covers, which must be in the spool.

    Parameters
    ----------
    spool : Spool
    layout : Layout
    level : int
        From 1 on; the image is level 0.
    index : int
        The tile in its level, row by row.
    first : int
        Where in the spool the layout's tiles begin.

    Returns
    -------
    bytes
        The encoded tile.
    """
    below, here = layout.grids[level - 1], layout.grids[level]
    first += sum(len(grid) for grid in layout.grids[: level - 1])
    place = here[index]
    reduced = np.empty((place.height, place.width), layout.sample_dtype)
    row, column = 2 * (index // here.columns), 2 * (index % here.columns)
    half = layout.tile[0] // 2, layout.tile[1] // 2
    for i in range(min(2, below.rows - row)):
        for j in range(min(2, below.columns - column)):
            source = (row + i) * below.columns + column + j
            pixels = decode_tile(spool.get(first + source), layout)[: below[source].height, : below[source].width]
            quarter = reduce_labels(pixels, layout.resampling, layout.masked_sample)
            top, left = i * half[0], j * half[1]
            reduced[top : top + quarter.shape[0], left : left + quarter.shape[1]] = quarter
    return encode_samples(reduced, layout)
