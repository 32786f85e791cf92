"""How far the colors of a palette are from the pixels: squared error, and the signal-to-noise ratio that follows from it."""

import math
from dataclasses import dataclass, fields, replace

import numpy as np

from . import kernels
from .buffers import as_pixels
from .display import WHITE, Display


@dataclass(frozen=True, eq=False)
class Distortion:
    """The squared error of a palette over some pixels, and how many have each of its colors; parts of an image add up.

    Attributes
    ----------
    squared_error : float
        Sum over the channels that are shown: red, green and blue, which are alike where a band is shown as gray; in levels of
        8 bits.
    counts : ndarray of shape (K,), float64
        Pixels of each label.
    """

    squared_error: float
    counts: np.ndarray

    def __add__(self, other: "Distortion") -> "Distortion":
        """Merge with the distortion of other pixels."""
        return replace(self, squared_error=self.squared_error + other.squared_error, counts=self.counts + other.counts)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return what :meth:`from_arrays` takes."""
        return {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> "Distortion":
        """Return the distortion that :meth:`to_arrays` wrote."""
        return cls(float(arrays["squared_error"]), arrays["counts"])

    @property
    def colors_used(self) -> int:
        """Number of labels that occur."""
        return int(np.count_nonzero(self.counts))

    @property
    def psnr_db(self) -> float | None:
        """Peak signal-to-noise ratio over all channels, in dB, or None where there is no error."""
        mean = self.squared_error / WHITE**2 / (3 * self.counts.sum()) if self.squared_error > 0 else 0
        return -10 * math.log10(mean) if mean else None


def distortion(
    pixels: np.ndarray, labels: np.ndarray, palette: np.ndarray, display: Display, weights: np.ndarray | None = None
) -> Distortion:
    """Measure how far pixels, as they are shown but not rounded, are from the colors of their labels.

    Parameters
    ----------
    pixels : ndarray of shape (n, D), uint8, uint16 or float32
    labels : ndarray of shape (n,), uint8 or uint16
    palette : ndarray of shape (K, 3), uint8
    display : Display
    weights : ndarray of shape (n,), float64, optional
        How often each pixel counts; once by default.
    """
    scale, counts = display.scale(pixels.dtype), np.zeros(len(palette))
    weights = np.empty(0) if weights is None else weights
    above = np.ascontiguousarray(palette * (np.array(scale.white) / np.float32(WHITE)))
    error = kernels.squared_error(as_pixels(pixels), weights, labels.reshape(-1), above, scale, counts)
    return Distortion(error, counts)
