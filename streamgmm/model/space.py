"""What samples mean: which values are 0 and 1, how far neighboring values are apart, and what a model stores of it."""

from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from ..errors import ModelError
from ..options import Space
from .coordinates import to_colors, to_coordinates

# Floats have no levels: for the purposes of a mixture they are told apart down to this part of their range.
FLOAT_STEP = 2.0**-20
# Samples that are farther than so many ranges from their range are none that were measured: -1e10 among heights, or 3e38.
# They are brought so near, which keeps squares and sums of float32 finite, and no mixture is fitted to them.
FAR = 1024.0
# In other spaces than that of samples: the distance of neighboring grays of 8 bits, on average, because palettes have so many;
# and what is told apart, which is less: the nearest neighbors among colors of 8 bits are 0.02 to 0.17 of a level apart.
LEVEL, LEAST_STEP = 1 / 255, 2.0**-12
# Samples that are scaled at once: float64 of a large tile would take twice its memory, several times.
PART = 1 << 14
# The largest sample of the integers that have a range: their ranges are told of 16-bit samples.
PEAK = 65_535

SPACES: tuple[str, ...] = get_args(Space)
Ranges = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class SampleSpace:
    """The way from samples to colors in [0, 1], and to the coordinates in which mixtures are, and back.

    Kernels take uint8, uint16 or float32. Integers of up to 16 bits stay as they are, and mixtures are brought to them. Floats,
    and wider integers, become float32, of which 0 and 1 are the ends of their range.

    Attributes
    ----------
    range : tuple of (low, high) for each band, or None
        The samples, as they are stored, that 0 and 1 stand for: those nearly all pixels lie between, none is clipped. None
        where these are the ends of their type, as of 8-bit samples always.
    units : (gain, zero), or None
        Of integers with a range: ``gain * stored + zero`` is the 16-bit sample that an image is read as. None of floats.
    distances : {"rgb", "linear", "lab", "oklab"}
        Where distances are taken, which is where mixtures are: colors are taken for sRGB in [0, 1], and become linear light,
        CIE Lab divided by 100, or Oklab with a and b doubled. With ``rgb`` they stay as they are, also outside of [0, 1].

    Raises
    ------
    ModelError
        Where a range is not two finite numbers, the least first, units are none, or distances are taken nowhere known.
    """

    range: Ranges | None = None
    units: tuple[float, float] | None = None
    distances: Space = "rgb"

    def __post_init__(self):
        if self.range is not None:
            ranges = tuple((float(low), float(high)) for low, high in self.range)
            if not ranges or not all(np.isfinite([low, high]).all() and low <= high for low, high in ranges):
                raise ModelError(f"range is {self.range}; expected two finite numbers for each band, the least first")
            object.__setattr__(self, "range", ranges)
        if self.units is not None:
            gain, zero = map(float, self.units)
            if not (0 < gain < np.inf and np.isfinite(zero)):
                raise ModelError(f"units are {self.units}; expected a gain above 0 and the sample that is 0, both finite")
            object.__setattr__(self, "units", (gain, zero))
        if self.distances not in SPACES:
            raise ModelError(f"space is {self.distances!r}; use one of {', '.join(SPACES)}")

    @property
    def floating(self) -> bool:
        """Whether it is that of floats, or of integers of more than 16 bits."""
        return self.range is not None and self.units is None

    @property
    def converts(self) -> bool:
        """Whether mixtures are elsewhere than samples."""
        return self.distances != "rgb"

    def is_of(self, n_bands: int) -> bool:
        """Whether colors of so many bands have a place there: Lab and Oklab are of red, green and blue, or of gray."""
        return n_bands in (1, 3) or self.distances in ("rgb", "linear")

    def forward(self, samples: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Bring samples, as an image has them, to the type that kernels take: 8-bit 255 to 16-bit 65,535, floats to [0, 1].

        Parameters
        ----------
        samples : ndarray of shape (n, D), uint8, uint16, float32 or float64
            Finite.
        dtype : numpy.dtype
            uint8, uint16 or float32.
        """
        if not self.floating:
            return as_type(samples, dtype)
        low, high = np.transpose(np.asarray(self.range))
        half = high / 2 - low / 2  # halves, because the range itself may be more than a float holds
        half[half == 0] = 1.0
        scaled = np.empty(samples.shape, np.float32)
        for first in range(0, len(samples), PART):
            part = samples[first : first + PART].astype(np.float64) / 2  # far from zero, float32 would round what differs
            with np.errstate(over="ignore"):  # a model may be applied to any image
                scaled[first : first + PART] = np.clip((part - low / 2) / half, -FAR, FAR)
        return scaled

    def near(self, samples: np.ndarray) -> np.ndarray:
        """Return the samples (n, D), as kernels take them, of pixels that were measured: see FAR."""
        if not self.floating or not len(samples) or max(-samples.min(), samples.max()) < FAR:
            return samples
        return samples[self.is_near(samples)]

    def is_near(self, samples: np.ndarray) -> np.ndarray:
        """Return which samples (n, D) these are, shape (n,)."""
        if not self.floating:
            return np.ones(len(samples), bool)
        return (np.abs(samples) < FAR).all(axis=1)

    def scale(self, dtype: Any) -> np.ndarray:
        """Return how many samples, as kernels take them, lie between 0 and 1: shape (D,), or () where bands are alike."""
        if not np.issubdtype(dtype, np.integer):
            return np.ones(())
        peak = float(np.iinfo(dtype).max)
        if self.range is None or self.units is None:
            return np.asarray(peak)
        low, high = np.transpose(np.asarray(self.range))
        return np.where(high > low, high - low, 1.0) * self.units[0] * (peak / PEAK)

    def zero(self, dtype: Any) -> np.ndarray:
        """Return the sample, as kernels take them, that is 0: shape (D,), or () where bands are alike."""
        if self.range is None or self.units is None or not np.issubdtype(dtype, np.integer):
            return np.zeros(())
        gain, zero = self.units
        return (np.asarray(self.range)[:, 0] * gain + zero) * (np.iinfo(dtype).max / PEAK)

    def step(self, dtype: Any) -> np.ndarray:
        """Return the distance of neighboring samples where mixtures are; of floats and in other spaces what is told apart."""
        if self.converts:
            return np.asarray(LEAST_STEP)
        if not np.issubdtype(dtype, np.integer):
            return np.asarray(FLOAT_STEP)
        return (1.0 if self.units is None else self.units[0]) / self.scale(dtype)

    def colors(self, samples: np.ndarray) -> np.ndarray:
        """Return samples, as kernels take them, as colors in [0, 1], float64."""
        return (samples - self.zero(samples.dtype)) / self.scale(samples.dtype)

    def inverse(self, means: np.ndarray, dtype: Any) -> np.ndarray:
        """Return colors in [0, 1] as samples of a type that kernels take, not rounded, float64."""
        return means * self.scale(dtype) + self.zero(dtype)

    def coordinates(self, samples: np.ndarray) -> np.ndarray:
        """Bring samples (..., D), as kernels take them, to where mixtures are: float32, of colors that are clipped to [0, 1].

        With ``rgb`` that is where they are: they are returned themselves.
        """
        if not self.converts:
            return samples
        return to_coordinates(samples, self.zero(samples.dtype), self.scale(samples.dtype), self.distances)

    def coordinates_of(self, colors: np.ndarray) -> np.ndarray:
        """Bring colors (K, D) in [0, 1] to where mixtures are, float64, to the precision of samples."""
        return self.coordinates(colors.astype(np.float32)).astype(np.float64) if self.converts else colors

    def colors_of(self, means: np.ndarray) -> np.ndarray:
        """Return the colors (K, D) at means of a mixture, float64: not clipped, as some are none that can be shown."""
        return to_colors(means, self.distances) if self.converts else means

    def to_dict(self) -> dict[str, Any]:
        """Return the space as it stands in a model file."""
        return {
            "samples": "scaled to [0, 1]",
            "range": self.range and [list(ends) for ends in self.range],
            "units": self.units and list(self.units),
            "space": self.distances,
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "SampleSpace":
        """Return what :meth:`to_dict` wrote, among other fields of a model; that of floats was once one for all bands."""
        ranges = fields.get("range")
        if ranges is not None and np.ndim(ranges) == 1:
            ranges = [ranges] * len(fields["means"][0])
        return cls(ranges, fields.get("units"), fields.get("space", "rgb"))


def as_type(samples: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return integers of up to 16 bits as samples of another such type: 8-bit 255 is 16-bit 65,535."""
    return samples if samples.dtype == dtype else samples.astype(dtype) * dtype.type(257)


# Of samples whose type says what 0 and 1 are.
BY_TYPE = SampleSpace()
