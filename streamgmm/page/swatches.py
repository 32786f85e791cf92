"""The palette of a page, and where each of its colors is."""

import math
from dataclasses import dataclass

import numpy as np

from .overview import Overview
from .pictures import MOST as ENOUGH
from .pictures import Picture, exact

# The most that are shown: the heaviest.
MOST = 256
# Indices of a picture of grays, of which the last is for what has none.
NONE = 255
# Percents that are told of.
LEAST = 0.001


@dataclass(frozen=True)
class Swatch:
    """A color of the palette.

    Attributes
    ----------
    label : int
    color : str
        ``#rrggbb``.
    share : str
        Of the pixels that are not masked.
    means : list of str
        Of its component, in each band.
    """

    label: int
    color: str
    share: str
    means: list[str]


def hex_colors(palette: np.ndarray) -> list[str]:
    """Write colors (K, 3), uint8."""
    return ["#" + bytes(color).hex() for color in palette]


def swatches_of(palette: np.ndarray, counts: np.ndarray, means: dict[int, np.ndarray]) -> list[Swatch]:
    """Return the colors of a palette in the order of their labels, of many those that most pixels have.

    Parameters
    ----------
    palette : ndarray of shape (L, 3), uint8
    counts : ndarray of shape (L,)
    means : dict of ndarray of shape (D,)
        By label, which are those of the palette.
    """
    labels = np.array(sorted(means), np.intp)
    kept = np.sort(labels[np.argsort(-counts[labels], kind="stable")[:MOST]])
    colors, total = hex_colors(palette[kept]), max(counts.sum(), 1)
    return [
        Swatch(label, color, share_of(counts[label] / total), [f"{mean:.3f}" for mean in means[label]])
        for label, color in zip(kept.tolist(), colors, strict=True)
    ]


def share_of(share: float) -> str:
    """Write a share as percents, to three digits and a thousandth."""
    if share == 0:
        return "0 %"
    percents = 100 * share
    if percents < LEAST:
        return f"< {LEAST} %"
    return f"{percents:.{max(1, min(3, 2 - math.floor(math.log10(percents))))}f} %"


def index_picture(swatches: list[Swatch], overview: Overview) -> tuple[Picture, bool]:
    """Return a picture of the numbers of swatches, and whether they take two channels, the second times 256.

    What has no swatch has the number after the last: of one channel, 255.
    """
    wide = len(swatches) > NONE
    none = len(swatches) if wide else NONE
    numbers = np.full(len(overview.palette), none, np.uint16)
    numbers[[swatch.label for swatch in swatches]] = np.arange(len(swatches))
    labels, valid = overview.first
    found = numbers[labels]
    found[~valid] = none
    picture = _picture(found, wide)
    return (_picture(found[::2, ::2], wide) if picture.size > ENOUGH else picture), wide


def _picture(numbers: np.ndarray, wide: bool) -> Picture:
    if not wide:
        return exact(numbers.astype(np.uint8))
    return exact(np.stack([numbers & 255, numbers >> 8, np.zeros_like(numbers)], axis=-1).astype(np.uint8))
