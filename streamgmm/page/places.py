"""Which places of an image are shown at 1:1: where the error is largest, median and smallest."""

import math
from typing import NamedTuple

import numpy as np

from ..image.tiles import Window
from .overview import Overview

# Height and width of a place: three side by side fit a page, and one a telephone.
PLACE = (240, 320)
NAMES = ("largest", "median", "smallest")


class Place(NamedTuple):
    """A window that is shown.

    Attributes
    ----------
    name : {"largest", "median", "smallest"}
        What its error is among all places.
    window : Window
    """

    name: str
    window: Window


def places_of(overview: Overview) -> list[Place]:
    """Choose three places, or as many as there are, of those that cover the image; half of the pixels are not masked.

    Where there are none such, it is those with the fewest masked pixels.
    """
    grid = overview.grid
    size = tuple(_length(side, most) for side, most in zip(grid.shape, PLACE, strict=True))
    starts = [np.arange(0, side, length) for side, length in zip(grid.shape, size, strict=True)]
    error, count = (_sums(values, [at // grid.step for at in starts]) for values in (overview.squared_error, overview.n_valid))
    if not count.any():
        return []
    usable = np.flatnonzero(count >= min(count.max(), math.prod(size) * (grid.taken / grid.step) ** 2 / 2))
    mean = error / np.maximum(count, 1)
    order = usable[np.argsort(-mean[usable], kind="stable")]
    chosen = {"largest": order[0], "median": order[len(order) // 2], "smallest": order[-1]}
    kept = {number: name for name, number in reversed(chosen.items())}  # of two or one, the names that say most
    places = []
    for number, name in sorted(kept.items(), key=lambda item: NAMES.index(item[1])):
        row, column = divmod(int(number), len(starts[1]))
        top, left = (
            min(int(at[i]), side - length) for at, i, side, length in zip(starts, (row, column), grid.shape, size, strict=True)
        )
        places.append(Place(name, Window(top, left, *size)))
    return places


def _length(side: int, most: int) -> int:
    """Return how long a place is: of a short side a half, so that places lie side by side."""
    return side if side <= most else min(most, side // 2)


def _sums(values: np.ndarray, starts: list[np.ndarray]) -> np.ndarray:
    """Return the sums over the cells from each start to the next, row by row."""
    return np.add.reduceat(np.add.reduceat(values, starts[0], 0, np.int64), starts[1], 1).reshape(-1)
