"""Dithering: pixels of several colors side by side, in shares whose mean is near to what is to be shown."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..options import Dither
from . import kernels
from .blends import COLORS, find_blends
from .buffers import BLOCK, SMALL_LABELS, as_pixels, bands_of, label_dtype
from .colors import color_codes
from .display import WHITE, Display, Scale
from .placing import CLAIMED, choose, claim, halve
from .thresholds import thresholds

# The part of the variance of what is chosen that counts beside how far its mean is off: noise is seen, too. Up to half of this
# part, shares of another color are left out. Six photos in 4, 16 and 64 colors, blurred by a Gaussian of one pixel, are at
# 22.8, 31.2 and 38.5 dB where none are mixed; with a part of 0.01 at 24.3, 33.7 and 39.6; of 0.05 at 24.3, 33.9 and 40.6; of
# 0.1 at 24.2, 33.7 and 40.5; of 0.2 at 24.1, 33.2 and 40.2; of 0.5 at 23.6, 32.2 and 39.2. Pixel by pixel 0.1 is 1 dB above
# 0.05. Two colors at the most would be at 24.2, 33.2 and 40.1, and seams be seen where others take over.
VARIANCE = 0.1
# The same of levels, whose pixels are means of what is mixed already: what is left out of each again shifts their colors. With
# 0.01, 0.03 and 0.1 the fourth level of a ramp in 4 grays, blurred, is at 34.0, 33.0 and 31.1 dB; that of photos in 64 colors,
# pixel by pixel, at 28.0, 28.5 and 29.4.
LITTLE = 0.03
# Ten thousand times the weights of Rec. 709. Colors are chosen in the order of their light: what is lighter stays in the same
# places where others take over.
LUMA = (2126, 7152, 722)
# Levels of 8 bits as they are.
AS_SHOWN = Scale((0, 1, 2), (np.float32(0),) * 3, (np.float32(WHITE),) * 3, (np.float32(1),) * 3)


@dataclass(frozen=True, eq=False)
class Dithering:
    """How pixels become those of a palette.

    Attributes
    ----------
    palette : ndarray of shape (K, 3), uint8
    display : Display
        How pixels are shown.
    kind : {"ordered", "blue-noise"}
    """

    palette: np.ndarray
    display: Display
    kind: Dither

    def blends(self, pixels: np.ndarray) -> np.ndarray:
        """Return the colors that are mixed for each pixel (..., D), and their shares, as :meth:`labels` takes them.

        These depend on nothing but the pixel. A color that the palette has is not mixed.
        """
        return self._blends(pixels, self.display.scale(pixels.dtype), VARIANCE)

    def labels(self, blends: np.ndarray, top: int, left: int, valid: np.ndarray | None = None) -> np.ndarray:
        """Choose one of the colors of each pixel by its place alone.

        Parameters
        ----------
        blends : ndarray of shape (height, width), or (n,) of the valid pixels, row by row
        top, left : int
            Where the first pixel is in the image.
        valid : ndarray of shape (height, width), optional

        Returns
        -------
        ndarray of the shape of the blends, uint8 or uint16
        """
        return self._chosen(blends, top, left, valid, thresholds(self.kind))

    def level_blends(self, colors: np.ndarray) -> np.ndarray:
        """Return the same as :meth:`blends` of pixels of a level: colors (..., 3), uint8, as they are shown."""
        return self._blends(colors, AS_SHOWN, LITTLE)

    def level_labels(self, blends: np.ndarray, top: int, left: int) -> np.ndarray:
        """Choose one of the colors of each pixel of a level, by blue noise.

        An ordered pattern halved is one, whose means the same matrix would turn into few shares, which are seen as bands.
        """
        return self._chosen(blends, top, left, None, thresholds("blue-noise"))

    def _blends(self, pixels: np.ndarray, scale: Scale, part: float) -> np.ndarray:
        order, flat = self._order, as_pixels(pixels)
        blends, colors = np.empty(len(flat), np.uint64), self.palette[order].astype(np.float32)
        shown = np.array(scale.bands), np.array(scale[1:])
        find_blends(flat, colors, order, *shown, np.float32(part), *self._bits, _scratch(), blends)
        return blends.reshape(pixels.shape[:-1])

    def _chosen(self, blends: np.ndarray, top: int, left: int, valid: np.ndarray | None, matrix: np.ndarray) -> np.ndarray:
        labels = np.empty(blends.shape, label_dtype(len(self.palette)))
        height, width = blends.shape if valid is None else valid.shape
        valid = np.empty((0, 0), bool) if valid is None else valid
        choose(blends.reshape(-1), valid, matrix, top, left, *self._bits, height, width, labels.reshape(-1))
        return labels

    @property
    def _bits(self) -> tuple[int, int]:
        """Bits of a label, and of a share."""
        return (8, 8) if len(self.palette) <= SMALL_LABELS else (12, 5)

    @cached_property
    def _order(self) -> np.ndarray:
        """Labels by the light of their colors; of equal ones, the first comes first."""
        return np.argsort(self.palette.astype(np.int64) @ LUMA, kind="stable")


class BlendTable:
    """Blends of 8-bit colors of one to three bands, found when they are first met, from any number of threads.

    It travels empty.

    Parameters
    ----------
    find : function from pixels (n, D) to blends (n,)
    n_bands : int
    """

    def __init__(self, find: Callable[[np.ndarray], np.ndarray], n_bands: int):
        self._arguments = find, n_bands
        self._find, self._codes = find, color_codes(n_bands)
        self._blends = np.zeros(256**n_bands, np.uint64)  # untouched memory costs nothing

    def __reduce__(self) -> tuple:
        return BlendTable, self._arguments

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Return the blends of pixels (..., D)."""
        flat, bands, blends = as_pixels(pixels), bands_of(len(self._codes)), np.empty(pixels.shape[:-1], np.uint64)
        new, places = np.empty(flat.shape, np.uint8), np.empty(len(flat), np.uint32)
        n_new, n_waiting = claim(flat, self._codes, bands, self._blends, blends.reshape(-1), new, places)
        if n_new:
            self._blends[places[:n_new]] = self._find(new[:n_new])
            kernels.lookup(flat, self._codes, bands, self._blends, blends.reshape(-1))
        if n_waiting:  # for another thread, which is at it or was interrupted
            waiting = blends == CLAIMED
            blends[waiting] = self._find(pixels[waiting])
        return blends


def halved(
    samples: np.ndarray, palette: np.ndarray | None, masked: int | None = None, top: int = 0, left: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean color of every 2 x 2 pixels, two or one at an odd edge.

    It is rounded by its place, up as often as it is nearer to what is above.

    Parameters
    ----------
    samples : ndarray of shape (height, width)
        Labels, or colors themselves: red, green and blue as the lowest bytes.
    palette : ndarray of shape (K, 3), uint8, or None
        Colors of the labels.
    masked : int, optional
        The sample of pixels that do not count.
    top, left : int
        Where the first mean is in its level.

    Returns
    -------
    means : ndarray of shape (ceil(height / 2), ceil(width / 2), 3), uint8
    valid : ndarray of shape (ceil(height / 2), ceil(width / 2))
        Where half of the pixels count.
    """
    height, width = (-(-side // 2) for side in samples.shape)
    means, valid = np.empty((height, width, 3), np.uint8), np.empty((height, width), bool)
    colors = np.empty((0, 3), np.uint8) if palette is None else palette
    halve(np.array(samples, order="C"), colors, -1 if masked is None else int(masked), top, left, means, valid)
    return means, valid


class Scratch(NamedTuple):
    """Buffers of a block of pixels."""

    rows: np.ndarray  # (7, B) float32
    where: np.ndarray  # (3, B) int32
    chosen: np.ndarray  # (B, 4) int32
    shares: np.ndarray  # (B, 4) float64
    small: np.ndarray  # (9, 3) float64


def _scratch() -> Scratch:
    return Scratch(
        np.empty((7, BLOCK), np.float32),
        np.empty((3, BLOCK), np.int32),
        np.empty((BLOCK, COLORS), np.int32),
        np.empty((BLOCK, COLORS)),
        np.empty((9, 3)),
    )
