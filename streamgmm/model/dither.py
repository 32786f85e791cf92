"""Dithering: pixels of several colors side by side, in shares whose mean is near to what is to be shown."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..options import Dither
from . import kernels
from .blends import CLAIMED, COLORS, choose, claim, find_blends
from .buffers import BLOCK, SMALL_LABELS, as_pixels, bands_of, label_dtype
from .colors import color_codes
from .display import WHITE, Display, Scale
from .thresholds import thresholds

# The part of the variance of what is chosen that counts beside how far its mean is off: noise is seen, too. Up to half of this
# part, shares of another color are left out. Six photos in 4, 16 and 64 colors, blurred by a Gaussian of one pixel, are at
# 22.8, 31.2 and 38.5 dB where none are mixed; with a part of 0.01 at 24.3, 33.7 and 39.6; of 0.05 at 24.3, 33.9 and 40.6; of
# 0.1 at 24.2, 33.7 and 40.5; of 0.2 at 24.1, 33.2 and 40.2; of 0.5 at 23.6, 32.2 and 39.2. Pixel by pixel 0.1 is 1 dB above
# 0.05. Two colors at the most would be at 24.2, 33.2 and 40.1, and seams be seen where others take over.
VARIANCE = 0.1
# The same of levels, whose pixels are means of what is mixed already: what is left out of each again shifts their colors. Of a
# ramp in 4 grays, blurred, the fourth level is at 34 dB, and with 0.1 at 31.
LITTLE = 0.01
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

    def halved(self, colors: np.ndarray, valid: np.ndarray | None, top: int, left: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Halve an image that is dithered: each pixel is the mean of four, dithered again, by blue noise.

        An ordered pattern halved is one, whose means the same matrix would turn into few shares, which are seen as bands.

        Parameters
        ----------
        colors : ndarray of shape (height, width, 3), uint8
        valid : ndarray of shape (height, width), optional
            Of four pixels, two must be valid, which alone count.
        top, left : int
            Where the first pixel is in the level.

        Returns
        -------
        labels : ndarray of shape (ceil(height / 2), ceil(width / 2))
        valid : ndarray of the same shape, or None
        """
        edges = [(0, side % 2) for side in colors.shape[:2]]  # an edge repeated keeps the shares of its colors
        fours = _fours(np.pad(colors, (*edges, (0, 0)), mode="edge"))
        if valid is None:
            means, there = fours.mean(axis=0, dtype=np.float32), None
        else:
            weights = _fours(np.pad(valid, edges, mode="edge"))[..., None]
            counts = weights.sum(axis=0, dtype=np.float32)
            means = np.where(weights, fours, 0).sum(axis=0, dtype=np.float32) / np.maximum(counts, 1)
            there = counts[..., 0] >= 2
        blends = self._blends(means, AS_SHOWN, LITTLE)
        return self._chosen(blends, top, left, None, thresholds("blue-noise")), there

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
    """

    def __init__(self, dithering: Dithering, n_bands: int):
        self._arguments = dithering, n_bands
        self._dithering, self._codes = dithering, color_codes(n_bands)
        self._blends = np.zeros(256**n_bands, np.uint64)  # untouched memory costs nothing

    def __reduce__(self) -> tuple:
        return BlendTable, self._arguments

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Return what :meth:`Dithering.blends` does."""
        flat, bands = as_pixels(pixels), bands_of(len(self._codes))
        new, codes = np.empty(flat.shape, np.uint8), np.empty(len(flat), np.uint32)
        n_new = claim(flat, self._codes, bands, self._blends, new, codes)
        self._blends[codes[:n_new]] = self._dithering.blends(new[:n_new])
        blends = np.empty(len(flat), np.uint64)
        kernels.lookup(flat, self._codes, bands, self._blends, blends)
        waiting = np.flatnonzero(blends == CLAIMED)  # another thread is at it, or was interrupted
        if len(waiting):
            blends[waiting] = self._dithering.blends(flat[waiting])
        return blends.reshape(pixels.shape[:-1])


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


def _fours(pixels: np.ndarray) -> np.ndarray:
    """Return the four parts of every 2 x 2 pixels."""
    return np.stack([pixels[top::2, left::2] for top in (0, 1) for left in (0, 1)])
