"""What samples mean: which values are 0 and 1, how far neighboring values are apart, and what color they show."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ModelError

# Floats that are closer than this part of their range count as one color for the purposes of a mixture.
FLOAT_STEP = 2.0**-20
# Samples are brought this near to a range that they are farther from: squares and sums of float32 stay finite.
FAR = 2.0**20
# Samples that are scaled at once: float64 of a large tile would take twice its memory, several times.
PART = 1 << 14


@dataclass(frozen=True)
class SampleSpace:
    """The way from samples as they are stored to colors in [0, 1], in which mixtures are, and back.

    Kernels take uint8, uint16 or float32. Integers of up to 16 bits stay as they are: 0 and 1 are the ends of their type.
    Floats, and wider integers, have a range of their own, and become float32 in [0, 1].

    Attributes
    ----------
    range : tuple of float, or None
        The samples that 0 and 1 stand for, where these are floats or wider than 16 bits.

    Raises
    ------
    ModelError
        Where the range is not two finite numbers, the least first.
    """

    range: tuple[float, float] | None = None

    def __post_init__(self):
        if self.range is not None:
            low, high = map(float, self.range)
            if not (np.isfinite([low, high]).all() and low <= high):
                raise ModelError(f"range is {self.range}; expected two finite numbers, the least first")
            object.__setattr__(self, "range", (low, high))

    def forward(self, samples: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Bring samples, as an image has them, to the type that kernels take: 8-bit 255 to 16-bit 65,535, floats to [0, 1].

        Parameters
        ----------
        samples : ndarray of shape (n, D), uint8, uint16, float32 or float64
            Finite.
        dtype : numpy.dtype
            uint8, uint16 or float32.
        """
        if self.range is None:
            return samples if samples.dtype == dtype else samples.astype(dtype) * dtype.type(257)
        low, high = self.range
        half = (high / 2 - low / 2) or 1.0  # halves, because the range itself may be more than a float holds
        scaled = np.empty(samples.shape, np.float32)
        for first in range(0, len(samples), PART):
            part = samples[first : first + PART].astype(np.float64) / 2
            with np.errstate(over="ignore"):  # a model may be applied to any image
                scaled[first : first + PART] = np.clip((part - low / 2) / half, -FAR, FAR)
        return scaled

    def scale(self, dtype: Any) -> float:
        """Return what 1 is in samples as kernels take them: the maximum of an integer type, and 1 of floats."""
        return float(np.iinfo(dtype).max) if np.issubdtype(dtype, np.integer) else 1.0

    def step(self, dtype: Any) -> float:
        """Return the distance of neighboring samples, colors in [0, 1]; of floats one that is lost in the smallest variance."""
        return 1 / self.scale(dtype) if np.issubdtype(dtype, np.integer) else FLOAT_STEP

    def inverse(self, means: np.ndarray, dtype: Any) -> np.ndarray:
        """Return colors in [0, 1] as samples of a type that kernels take, not rounded, float64."""
        return means * self.scale(dtype)

    def to_rgb(self, means: np.ndarray) -> np.ndarray:
        """Return colors in [0, 1] as they are shown: times 255, rounded, uint8."""
        return np.rint(np.clip(means, 0, 1) * 255).astype(np.uint8)

    def to_dict(self) -> dict[str, Any]:
        """Return the space as it stands in a model file."""
        return {"samples": "scaled to [0, 1]", "range": self.range and list(self.range)}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "SampleSpace":
        """Return what :meth:`to_dict` wrote, among other fields."""
        return cls(fields.get("range"))


# Of samples whose type says what 0 and 1 are.
BY_TYPE = SampleSpace()
