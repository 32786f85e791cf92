"""From a mixture to a palette, and from pixels to labels."""

import numpy as np

from . import kernels
from .colours import TABLE_BANDS, ColourTable, colour_codes
from .mixture import Mixture
from .parameters import as_pixels, bands_of, label_dtype, launches, model_of, scale_of, scratch_for

# Colours that are labelled or looked up at once, where all of them would take hundreds of MiB.
COLOURS = 1 << 20


def palette_of(mixture: Mixture, display: tuple[int, ...] | None = None) -> np.ndarray:
    """Return the colour of each component: its mean times 255, rounded, shape (K, 3), uint8.

    Parameters
    ----------
    mixture : Mixture
    display : tuple of int, optional
        The bands shown as red, green and blue, or the one shown as grey, from 0. Default: the first three, or the first.
    """
    if display is None:
        display = (0, 1, 2) if mixture.n_bands >= 3 else (0,)
    shown = mixture.means[:, display if len(display) == 3 else display[:1] * 3]
    return np.rint(np.clip(shown, 0, 1) * 255).astype(np.uint8)


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
    flat = as_pixels(pixels)
    model, bands = model_of(mixture, scale_of(flat.dtype)), bands_of(mixture.n_bands)
    n_components, n_bands = mixture.means.shape
    labels = np.empty(len(flat), label_dtype(n_components))
    scratch = None
    for bounds in launches(len(flat), n_components, n_bands, threads > 1):
        if scratch is None:
            scratch = scratch_for(len(bounds) - 1, n_components, n_bands)
        kernels.label(threads, flat, bounds, model, bands, scratch, labels)
    return labels.reshape(pixels.shape[:-1])


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
    flat = as_pixels(pixels)
    model, bands = model_of(mixture, scale_of(flat.dtype)), bands_of(mixture.n_bands)
    largest = np.empty(len(flat), np.uint8)
    scratch = scratch_for(1, *mixture.means.shape)
    kernels.confidence(flat, model, bands, scratch, largest)
    return largest.reshape(pixels.shape[:-1])


class LookupTable:
    """Labels of 8-bit colours of one to three bands, one table access a pixel.

    Parameters
    ----------
    table : ColourTable
        The colours that may be asked for.
    labels : ndarray of shape (n,)
        Their labels.
    """

    def __init__(self, table: ColourTable, labels: np.ndarray):
        n_bands = table.colours.shape[1]
        self._codes = colour_codes(n_bands)
        self._labels = np.zeros(256**n_bands, labels.dtype)
        for first in range(0, len(table), COLOURS):
            part = slice(first, first + COLOURS)
            colours = table.colours[part]
            codes = np.zeros(len(colours), np.uint32)
            for band in range(n_bands):
                codes |= self._codes[band][colours[:, band]]
            self._labels[codes] = labels[part]

    @classmethod
    def of_all_colours(cls, mixture: Mixture, threads: int) -> "LookupTable":
        """Label every 8-bit colour there is."""
        n_bands = mixture.n_bands
        lower = np.empty((16**n_bands, n_bands), np.uint8)  # codes interleave bits: half of them is half of each byte
        kernels.compact(np.ones(len(lower), np.uint32), lower, np.empty(len(lower)))
        lookup = cls(ColourTable(lower[:0], np.empty(0)), np.empty(0, label_dtype(mixture.n_components)))
        labels = lookup._labels.reshape(len(lower), len(lower))
        for first in range(0, len(lower), step := max(1, COLOURS // len(lower))):
            colours = 16 * lower[first : first + step, None] + lower
            labels[first : first + step] = classify(colours, mixture, threads)
        return lookup

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Return the labels of pixels (..., D), shape (...)."""
        labels = np.empty(pixels.shape[:-1], self._labels.dtype)
        kernels.lookup(as_pixels(pixels), self._codes, bands_of(len(self._codes)), self._labels, labels.reshape(-1))
        return labels


def has_table(dtype, n_bands: int) -> bool:
    """Whether all colours of such an image fit a table: 8-bit samples of one to three bands."""
    return np.dtype(dtype) == np.uint8 and n_bands <= TABLE_BANDS
