"""How far the colors of a palette are from the pixels: squared error, with the ratio that follows from it, and Delta E."""

import math
from dataclasses import dataclass, fields, replace

import numpy as np

from . import kernels
from .buffers import as_pixels
from .colorimetry import PEAK, delta_e_2000, lab_of, linear_light
from .display import WHITE, Display, Scale
from .statistics import Statistics

# Parts of a Delta E that are added up, and colors whose Delta E is taken at once: these stay in the second-level cache.
STEPS, AT_ONCE = 2.0**16, 1 << 14
# What float32 leaves of no error at all: 160 dB.
NO_ERROR = 1e-16


@dataclass(frozen=True, eq=False)
class Distortion:
    """The error of a palette over some pixels, and how many have each of its colors; parts of an image add up.

    Sums are whole numbers: they are the same in whatever parts an image is read.

    Attributes
    ----------
    sums : ndarray of shape (4,), int64
        The squared error over the channels that are shown: red, green and blue, which are alike where a band is shown as gray;
        in levels of 8 bits, and what is over in 2^-20. Then CIE Delta E 2000 in 2^-16, and the pixels of which that was taken.
    counts : ndarray of shape (K,), float64
        Pixels of each label.
    """

    sums: np.ndarray
    counts: np.ndarray

    def __add__(self, other: "Distortion") -> "Distortion":
        """Merge with the distortion of other pixels."""
        return replace(self, sums=self.sums + other.sums, counts=self.counts + other.counts)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return what :meth:`from_arrays` takes."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> "Distortion":
        """Return the distortion that :meth:`to_arrays` wrote."""
        return cls(arrays["sums"], arrays["counts"])

    @property
    def colors_used(self) -> int:
        """Number of labels that occur."""
        return int(np.count_nonzero(self.counts))

    @property
    def squared_error(self) -> float:
        """Sum over all channels, in levels of 8 bits."""
        return float(self.sums[0] + self.sums[1] / kernels.FINE)

    @property
    def psnr_db(self) -> float | None:
        """Peak signal-to-noise ratio over all channels, in dB, or None where there is no error."""
        mean = self.squared_error / WHITE**2 / (3 * self.counts.sum()) if self.squared_error > 0 else 0
        return -10 * math.log10(mean) if mean else None

    @property
    def delta_e(self) -> float | None:
        """Mean CIE Delta E 2000 of the pixels of which it was taken, or None where there is no error, or no such pixel."""
        return float(self.sums[2] / STEPS / self.sums[3]) if self.squared_error > 0 and self.sums[3] else None


def distortion(
    pixels: np.ndarray,
    labels: np.ndarray,
    palette: np.ndarray,
    display: Display,
    weights: np.ndarray | None = None,
    seen: np.ndarray | None = None,
) -> Distortion:
    """Measure how far pixels, as they are shown but not rounded, are from the colors of their labels.

    Parameters
    ----------
    pixels : ndarray of shape (n, D), uint8, uint16 or float32
    labels : ndarray of shape (n,), uint8 or uint16
    palette : ndarray of shape (K, 3), uint8
    display : Display
    weights : ndarray of shape (n,), float64, optional
        How often each pixel counts, whole numbers; once by default.
    seen : ndarray of shape (n,), bool, optional
        Of which pixels Delta E is taken, which costs ten times the rest; all by default.
    """
    scale, counts, sums = display.scale(pixels.dtype), np.zeros(len(palette)), np.zeros(4, np.int64)
    pixels, labels = pixels.reshape(-1, pixels.shape[-1]), labels.reshape(-1)
    above = np.ascontiguousarray(palette * (np.array(scale.white) / np.float32(WHITE)))
    kernels.squared_error(as_pixels(pixels), np.empty(0) if weights is None else weights, labels, above, scale, counts, sums)
    if seen is not None:
        pixels, labels, weights = pixels[seen], labels[seen], None if weights is None else weights[seen]
    colors = _lab(np.ascontiguousarray(palette.T) * np.uint16(PEAK // 255))
    for start in range(0, len(pixels), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        apart = np.empty(len(labels[part]))
        delta_e_2000(_lab(_planes(pixels[part], scale)), np.ascontiguousarray(colors[:, labels[part]]), apart)
        steps = np.rint(apart * STEPS).astype(np.int64)
        often = np.ones(len(steps), np.int64) if weights is None else weights[part].astype(np.int64)
        sums[2:] += steps @ often, often.sum()
    return Distortion(sums, counts)


def psnr_of_clusters(clustered: Statistics) -> float | None:
    """Return the PSNR of the rounded centroids of clusters, in dB, as their palette in 8 bits; None where there is no error.

    All bands are shown by type. Clusters are about their centroids, so that what rounding adds is known, too.
    """
    levels = WHITE * clustered.origin
    rounding = (clustered.responsibilities[:, None] * (levels - np.rint(levels)) ** 2).sum()
    error = WHITE**2 * np.trace(clustered.second, axis1=1, axis2=2).sum() + rounding
    mean = error / WHITE**2 / (levels.shape[1] * clustered.weight)
    return -10 * math.log10(mean) if mean > NO_ERROR else None


def _planes(pixels: np.ndarray, scale: Scale) -> np.ndarray:
    """Return the colors of pixels as they are shown, in 16 bits, shape (3, n)."""
    black, white, gain = (np.array(each)[:, None] for each in (scale.black, scale.white, scale.gain))
    above = np.clip(pixels.T[list(scale.bands)].astype(np.float32) - black, 0, white)
    return np.minimum(np.rint(above * gain * np.float32(PEAK / WHITE)), PEAK).astype(np.uint16, order="C")


def _lab(planes: np.ndarray) -> np.ndarray:
    """Return the Lab colors (3, n) of 16-bit samples (3, n)."""
    lab_of(planes, linear_light(), out := np.empty(planes.shape))
    return out
