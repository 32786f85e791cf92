"""From pixels to labels: classified by a mixture, or looked up."""

import math
from collections.abc import Iterator

import numpy as np

from . import kernels
from .buffers import as_pixels, bands_of, label_dtype, launches, model_of, scratch_for
from .colors import ColorTable, color_codes
from .mixture import Mixture

# Colors that are labeled or looked up at once, where all of them would take hundreds of MiB.
COLORS = 1 << 20
# Pixels that one of many threads brings to another space at once: float32 of a large tile would take four times its memory.
PART = 1 << 16


def classify(pixels: np.ndarray, mixture: Mixture, threads: int = 1) -> np.ndarray:
    """Return the component of largest responsibility for each pixel.

    Parameters
    ----------
    pixels : ndarray of shape (..., D), uint8, uint16 or float32
        Samples.
    mixture : Mixture
        K components in D bands.
    threads : int > 0
        Threads of the parallel kernel; 1 runs the serial one.

    Returns
    -------
    ndarray of shape (...), uint8 or uint16
        Labels in [0, K); the first of equals.
    """
    labels = np.empty(math.prod(pixels.shape[:-1]), label_dtype(mixture.n_components))
    for place, flat in _in_parts(pixels, mixture, PART if threads == 1 else COLORS):
        _classify(flat, mixture, threads, labels[place])
    return labels.reshape(pixels.shape[:-1])


def _classify(flat: np.ndarray, mixture: Mixture, threads: int, labels: np.ndarray) -> None:
    """Label pixels (n, D) that are where the mixture is."""
    model, bands = model_of(mixture, flat.dtype), bands_of(mixture.n_bands)
    n_components, n_bands = mixture.means.shape
    scratch = None
    for bounds in launches(len(flat), n_components, n_bands, threads > 1):
        if scratch is None:
            scratch = scratch_for(len(bounds) - 1, n_components, n_bands)
        kernels.label(threads, flat, bounds, model, bands, scratch, labels)


def confidence(pixels: np.ndarray, mixture: Mixture) -> np.ndarray:
    """Return the largest responsibility of each pixel, times 255 and rounded, but 1 at least.

    Parameters
    ----------
    pixels : ndarray of shape (..., D), uint8, uint16 or float32
        Samples.
    mixture : Mixture
        K components in D bands.

    Returns
    -------
    ndarray of shape (...), uint8
    """
    bands, scratch = bands_of(mixture.n_bands), scratch_for(1, *mixture.means.shape)
    largest = np.empty(math.prod(pixels.shape[:-1]), np.uint8)
    for place, flat in _in_parts(pixels, mixture, PART):
        kernels.confidence(flat, model_of(mixture, flat.dtype), bands, scratch, largest[place])
    return largest.reshape(pixels.shape[:-1])


def _in_parts(pixels: np.ndarray, mixture: Mixture, most: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield pixels (n, D) where the mixture is, and their places: all at once where that is where they are, else in parts."""
    flat, space = as_pixels(pixels), mixture.space
    for first in range(0, len(flat), most if space.converts else max(1, len(flat))):
        place = slice(first, first + most) if space.converts else slice(None)
        yield place, as_pixels(space.coordinates(flat[place]))


class LookupTable:
    """Labels of 8-bit colors of one to three bands, one table access a pixel.

    Parameters
    ----------
    table : ColorTable
        The colors that may be asked for.
    labels : ndarray of shape (n,)
        Their labels.
    """

    def __init__(self, table: ColorTable, labels: np.ndarray):
        n_bands = table.colors.shape[1]
        self._codes = color_codes(n_bands)
        self._labels = np.zeros(256**n_bands, labels.dtype)
        for first in range(0, len(table), COLORS):
            part = slice(first, first + COLORS)
            colors = table.colors[part]
            codes = np.zeros(len(colors), np.uint32)
            for band in range(n_bands):
                codes |= self._codes[band][colors[:, band]]
            self._labels[codes] = labels[part]

    @classmethod
    def of_all_colors(cls, mixture: Mixture, threads: int) -> "LookupTable":
        """Label every 8-bit color there is."""
        n_bands = mixture.n_bands
        lower = np.empty((16**n_bands, n_bands), np.uint8)  # codes interleave bits: half of them is half of each byte
        kernels.compact(np.ones(len(lower), np.uint32), lower, np.empty(len(lower)))
        lookup = cls(ColorTable(lower[:0], np.empty(0)), np.empty(0, label_dtype(mixture.n_components)))
        labels = lookup._labels.reshape(len(lower), len(lower))
        for first in range(0, len(lower), step := max(1, COLORS // len(lower))):
            colors = 16 * lower[first : first + step, None] + lower
            labels[first : first + step] = classify(colors, mixture, threads)
        return lookup

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Return the labels of pixels (..., D), shape (...)."""
        labels = np.empty(pixels.shape[:-1], self._labels.dtype)
        kernels.lookup(as_pixels(pixels), self._codes, bands_of(len(self._codes)), self._labels, labels.reshape(-1))
        return labels
