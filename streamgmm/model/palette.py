"""From a mixture to the colors that are shown, no two of them alike."""

from functools import cache

import numpy as np

from ..options import Sort
from .display import Display
from .mixture import Mixture

# How far the nearest colors are looked for, one distance after the other. The last is enough for 65,535 colors in a corner.
REACHES = (2, 8, 16, 24, 64)
# Places of colors leave room for steps beyond either end: no color is there, nor where an index below zero counts from the end.
SIDE = 256 + 2 * REACHES[-1]
PLACES = np.array([SIDE**2, SIDE, 1])
# The weights of red, green and blue in what is seen as light (ITU-R BT.601).
LUMA = (0.299, 0.587, 0.114)
# Ten thousand times those of Rec. 709, by which colors are sorted: whole numbers, of which equal ones are equal.
LUMA_709 = (2126, 7152, 722)


def palette_of(mixture: Mixture, display: Display | None = None) -> np.ndarray:
    """Return the color of each component as it is shown, shape (K, 3), uint8: distinct, as the components are.

    A color that a heavier component has already becomes the nearest one that is free.

    Parameters
    ----------
    mixture : Mixture
    display : Display, optional
        How it is shown.
    """
    display = display or Display.of(mixture)
    return distinct(display.levels(mixture.colors), precedence(mixture), display.gray)


def precedence(mixture: Mixture) -> np.ndarray:
    """Return the numbers of components, those first whose colors stay where others have them too: fixed ones, then heavier."""
    order = mixture.order()
    return np.concatenate([order[mixture.fixed[order]], order[~mixture.fixed[order]]])


def sorted_by(mixture: Mixture, sort: Sort, display: Display | None = None) -> Mixture:
    """Return the components by falling weight, rising luma of their colors, or hue, grays first; equals by weight.

    Parameters
    ----------
    mixture : Mixture
    sort : {"weight", "luminance", "hue"}
    display : Display, optional
        How it is shown.
    """
    if sort == "weight":
        return mixture
    order = mixture.order()
    colors = palette_of(mixture, display)[order].astype(np.int64)
    luma = colors @ LUMA_709
    keys = (luma,) if sort == "luminance" else (np.where(_hues(colors) < 0, luma, 0), _hues(colors))
    return mixture.take(order[np.lexsort(keys)])


def _hues(colors: np.ndarray) -> np.ndarray:
    """Return the hue of colors (K, 3), as in HSV: 0 is red, 2 green and 4 blue; -1 of grays."""
    red, green, blue = colors.T
    most = colors.max(axis=1)
    chroma = most - colors.min(axis=1)
    from_red, from_green, from_blue = (
        2 * sixth + apart / np.maximum(chroma, 1) for sixth, apart in enumerate((green - blue, blue - red, red - green))
    )
    hues = np.where(most == red, from_red % 6, np.where(most == green, from_green, from_blue))
    return np.where(chroma == 0, -1, hues)


def distinct(levels: np.ndarray, order: np.ndarray, gray: bool = False) -> np.ndarray:
    """Round colors so that no two are alike.

    Parameters
    ----------
    levels : ndarray of shape (K, 3)
        In [0, 255].
    order : ndarray of shape (K,)
        The first of equals in this order keeps its color. The others move by the fewest levels, of these so that the least
        light changes, and rather to the side that they were rounded from.
    gray : bool
        Whether to try the neighboring grays first.

    Returns
    -------
    ndarray of shape (K, 3), uint8
    """
    colors = np.rint(levels).astype(np.int32, order="C")
    codes = _codes(colors)
    first = order[np.unique(codes[order], return_index=True)[1]]
    if len(first) == len(colors):
        return colors.astype(np.uint8)
    taken = np.zeros(SIDE**3, bool)  # memory that is not touched costs nothing
    taken[codes] = True
    alike = np.ones(len(colors), bool)
    alike[first] = False
    moving = order[alike[order]]
    sides = np.where(levels >= colors, 1, -1)
    # Those of the same color that go to the same side look for the same colors: they are moved at once.
    groups = codes[moving] * 8 + (sides[moving] > 0) @ (4, 2, 1)
    _, where, of = np.unique(groups, return_index=True, return_inverse=True)
    members = np.split(moving[np.argsort(of, kind="stable")], np.cumsum(np.bincount(of))[:-1])
    for group in np.argsort(where):
        some = members[group]
        colors[some] = found = _nearest_free(colors[some[0]], tuple(sides[some[0]].tolist()), len(some), taken, gray)
        taken[_codes(found)] = True
    return colors.astype(np.uint8)


def _nearest_free(color: np.ndarray, side: tuple[int, ...], n: int, taken: np.ndarray, gray: bool) -> np.ndarray:
    """Return the nearest colors that are free, shape (n, 3), the nearest first."""
    code = _codes(color)
    for reach in REACHES:
        steps, codes = _steps(reach, side, gray)
        free = color + steps[~taken[code + codes]]
        free = free[((free >= 0) & (free <= 255)).all(axis=1)]
        if len(free) >= n:
            break
    return free[:n]


@cache
def _steps(reach: int, side: tuple[int, ...], gray: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the ways to other colors, at most so far, the shortest first, shape (n, 3), and what they add to codes."""
    line = np.arange(-reach, reach + 1, dtype=np.int16)
    steps = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3)
    lengths = (steps.astype(np.int32) ** 2).sum(axis=1)
    steps, lengths = steps[lengths <= reach**2], lengths[lengths <= reach**2]
    if gray:
        lengths[(steps == steps[:, :1]).all(axis=1) & (lengths == 3)] = 0
    light, back = np.abs(steps @ LUMA), -steps.sum(axis=1)
    steps = steps[np.lexsort((back, light, lengths))] * np.array(side, np.int16)
    return steps, _codes(steps)


def _codes(colors: np.ndarray) -> np.ndarray:
    return colors @ PLACES
