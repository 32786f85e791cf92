"""Which samples stand for no data: values, and ranges of them, for all bands or for each."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import OptionError
from ..options.values import Ranges

# Units in the last place that nodata may be off, as GDAL compares it; and from where on it stands for the largest of 32 bits,
# also among 64, which were 32 once.
ULPS, LARGEST = 2, 3.39e38
# Labels of 16 bits.
CODES = 1 << 16


@dataclass(frozen=True)
class Nodata:
    """Tells pixels with data: those whose samples, as stored, are in none of some boxes.

    Attributes
    ----------
    boxes : tuple
        Each a range for all bands, or one for each: the least and the largest value.
    bands : tuple of int
        The samples of a pixel that tell, from 0.
    """

    boxes: tuple[Ranges, ...]
    bands: tuple[int, ...]

    @classmethod
    def of(cls, boxes: tuple[Ranges, ...], bands: tuple[int, ...], dtype: np.dtype, name: str) -> "Nodata | None":
        """Return what samples of a type can have, or None where they can have none of it.

        Raises
        ------
        OptionError
            Where there is not one range, or one for each band.
        """
        for box in boxes:
            if len(box) not in (1, len(bands)):
                raise OptionError(
                    f"{name}: nodata is {_written(box)}, which is for {len(box)} bands, of {len(bands)}; "
                    "write a value for all bands or one for each, and repeat --nodata for another"
                )
        possible = (tuple(_of_type(*ends, dtype) for ends in box) for box in boxes)
        found = tuple(box for box in possible if None not in box)
        return cls(found, bands) if found else None  # type: ignore[arg-type] # as was just seen

    @property
    def sample(self) -> float:
        """A sample that stands for no data."""
        return self.boxes[0][0][0]

    @property
    def code(self) -> int | None:
        """The same, where it is a label that an output may have."""
        return int(self.sample) if self.sample in range(CODES) else None

    def __str__(self) -> str:
        return " or ".join(map(_written, self.boxes))

    def has_data(self, samples: np.ndarray) -> np.ndarray:
        """Where pixels have data, shape (...), of samples as stored, shape (..., samples)."""
        return np.logical_and.reduce([self._out_of(box, samples) for box in self.boxes])

    def _out_of(self, box: Ranges, samples: np.ndarray) -> np.ndarray:
        """Where some band is not in its range."""
        differs = np.zeros(samples.shape[:-1], bool)
        for band, ends in zip(self.bands, box if len(box) > 1 else box * len(self.bands), strict=True):
            differs |= _outside(samples[..., band], *ends)
        return differs


def alike(value: float | None) -> tuple[Ranges, ...] | None:
    """Return the box of a value that all bands have, or None where there is none."""
    return None if value is None else (((value, value),),)


def _written(box: Ranges) -> str:
    return ",".join(f"{low}:{high}" if high > low else f"{low}" for low, high in box)


def _of_type(low: float, high: float, dtype: np.dtype) -> tuple[float, float] | None:
    """Return the part of a range that samples of a type can have, or None where they can have none of it."""
    if dtype.kind == "f" and low < high:
        with np.errstate(over="ignore"):  # from where on it is infinite
            return dtype.type(low), dtype.type(high)
    if dtype.kind == "f":
        return low, high
    if math.isnan(low):
        return None
    least, most = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if low > most or high < least:
        return None
    ends = math.ceil(max(low, least)), math.floor(min(high, most))
    return ends if ends[0] <= ends[1] else None


def _outside(samples: np.ndarray, low: float, high: float) -> Any:
    """Where samples are not in a range; floats may be a little off a value, because programs write it with few digits."""
    if low < high:
        return (samples < low) | (samples > high)
    if samples.dtype.kind != "f":
        return samples != low
    if math.isnan(low):
        return ~np.isnan(samples)
    if abs(low) >= LARGEST:
        return samples < LARGEST if low > 0 else samples > -LARGEST
    value = samples.dtype.type(low)
    return np.abs(samples - value) > ULPS * np.spacing(np.abs(value))
