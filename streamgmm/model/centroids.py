"""The mean of the pixels of each label, as they are shown."""

from dataclasses import dataclass, fields, replace

import numpy as np

from . import kernels
from .buffers import as_pixels
from .display import Display


@dataclass(frozen=True, eq=False)
class ColorSums:
    """Sums over some pixels for each label; those of parts of an image add up.

    Attributes
    ----------
    levels : ndarray of shape (K, 3), float64
        Sum of the colors that are shown, in [0, 255], not rounded.
    counts : ndarray of shape (K,), float64
        Pixels.
    """

    levels: np.ndarray
    counts: np.ndarray

    def __add__(self, other: "ColorSums") -> "ColorSums":
        """Merge with the sums of other pixels."""
        return replace(self, levels=self.levels + other.levels, counts=self.counts + other.counts)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return what :meth:`from_arrays` takes."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> "ColorSums":
        """Return the sums that :meth:`to_arrays` wrote."""
        return cls(arrays["levels"], arrays["counts"])

    @property
    def weight(self) -> float:
        """Number of pixels."""
        return float(self.counts.sum())

    def scaled(self, factor: float) -> "ColorSums":
        """Return the sums of pixels of ``factor`` times the weight."""
        return ColorSums(self.levels * factor, self.counts * factor)

    def centroids(self, otherwise: np.ndarray) -> np.ndarray:
        """Return the mean color of each label, shape (K, 3), float64; of those that no pixel has, another."""
        there = self.counts[:, None] > 0
        return np.where(there, self.levels / np.where(there, self.counts[:, None], 1), otherwise)


def color_sums(
    pixels: np.ndarray, labels: np.ndarray, n_labels: int, display: Display, weights: np.ndarray | None = None
) -> ColorSums:
    """Add up the colors of pixels, as they are shown.

    Parameters
    ----------
    pixels : ndarray of shape (n, D), uint8, uint16 or float32
    labels : ndarray of shape (n,), uint8 or uint16
    n_labels : int
    display : Display
    weights : ndarray of shape (n,), float64, optional
        How often each pixel counts; once by default.
    """
    weights = np.empty(0) if weights is None else weights
    sums = ColorSums(np.zeros((n_labels, 3)), np.zeros(n_labels))
    scale = display.scale(pixels.dtype)
    kernels.color_sums(as_pixels(pixels), weights, labels.reshape(-1), scale, sums.levels, sums.counts)
    return sums
