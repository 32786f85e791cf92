"""Color tables: the distinct colors of an image and how often each occurs, which is all that EM sees of it."""

import queue
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from . import kernels
from .buffers import as_pixels, bands_of
from .footprint import TABLE_BANDS, counter_dtype
from .mixture import Mixture
from .space import BY_TYPE, SampleSpace
from .statistics import Statistics, accumulate


@dataclass(frozen=True, eq=False)
class ColorTable:
    """Distinct colors with their counts: EM on it is EM on the pixels, with the same sums in another order.

    Attributes
    ----------
    colors : ndarray of shape (n, D), uint8, uint16, or float32 in [0, 1]
        Distinct colors, in sample units; or float32, where they are in the space that distances are taken in.
    counts : ndarray of shape (n,), float64
        How often each occurs: whole numbers, exact up to 2^53.
    space : SampleSpace
        What the samples mean.
    """

    colors: np.ndarray
    counts: np.ndarray
    space: SampleSpace = BY_TYPE

    @classmethod
    def of(cls, pixels: np.ndarray, counts: np.ndarray | None = None, space: SampleSpace = BY_TYPE) -> "ColorTable":
        """Count the colors of pixels (n, D) that fit in memory; runs of one color cost as much as a single pixel."""
        colors, counts = _merged(pixels, counts)
        order = np.lexsort(colors.T[::-1])  # a radix sort of each band: 7 ms for 65,536 colors, where np.unique takes 75
        return cls(*_merged(colors[order], counts[order]), space)

    def __add__(self, other: "ColorTable") -> "ColorTable":
        """Merge with the table of other pixels."""
        counts = np.concatenate([self.counts, other.counts])
        return ColorTable.of(np.concatenate([self.colors, other.colors]), counts, self.space)

    def __len__(self) -> int:
        return len(self.colors)

    @property
    def n_pixels(self) -> float:
        """Number of pixels counted."""
        return float(self.counts.sum())

    weight = n_pixels

    def ordered(self) -> "ColorTable":
        """Return the colors by their first band, then the second, and so on: the order of :meth:`of`."""
        order = np.lexsort(self.colors.T[::-1])
        return replace(self, colors=self.colors[order], counts=self.counts[order])

    def powered(self, power: float) -> "ColorTable":
        """Return the table in which each color counts as often as its count to a power."""
        return self if power == 1 else replace(self, counts=self.counts**power)

    def scaled(self, factor: float) -> "ColorTable":
        """Return the table of pixels of ``factor`` times the weight."""
        return replace(self, counts=self.counts * factor)

    def converted(self) -> "ColorTable":
        """Return the table of the same colors, in the same order, where mixtures are: what they are fitted to."""
        return replace(self, colors=self.space.coordinates(self.colors)) if self.space.converts else self

    @property
    def is_apart(self) -> bool:
        """Whether all colors are apart where mixtures are: in other spaces, those beyond 0 or 1 are not."""
        return not self.space.converts or len(ColorTable.of(self.converted().colors)) == len(self)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return what :meth:`from_arrays` takes."""
        return {"colors": self.colors, "counts": self.counts}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> "ColorTable":
        """Return the table that :meth:`to_arrays` wrote."""
        return cls(arrays["colors"], arrays["counts"])

    @property
    def values(self) -> np.ndarray:
        """The colors in [0, 1], or where they are in another space, shape (n, D), float64."""
        return self.space.colors(self.colors)

    @property
    def mean(self) -> np.ndarray:
        """Mean of the pixels, in [0, 1], shape (D,)."""
        return np.average(self.values, axis=0, weights=self.counts)

    @property
    def step(self) -> np.ndarray:
        """Distance of neighboring samples, colors in [0, 1], shape (D,) or ()."""
        return self.space.step(self.colors.dtype)

    def accumulate(self, mixture: Mixture, threads: int = 1) -> Statistics:
        """Add up the statistics of all pixels under a mixture."""
        return accumulate(self.colors, mixture, self.counts, threads=threads)


def _merged(colors: np.ndarray, counts: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Make one of neighbors of the same color, with the sum of their counts, each 1 by default."""
    starts = np.flatnonzero(np.append(len(colors) > 0, (colors[1:] != colors[:-1]).any(axis=1)))
    if counts is None:
        return colors[starts], np.diff(starts, append=len(colors)).astype(np.float64)
    return colors[starts], np.add.reduceat(counts, starts)


def has_table(dtype, n_bands: int) -> bool:
    """Whether all colors of such an image fit a table: 8-bit samples of one to three bands."""
    return np.dtype(dtype) == np.uint8 and n_bands <= TABLE_BANDS


def color_codes(n_bands: int) -> np.ndarray:
    """Return the bits each sample value gives to its color's code, shape (D, 256), uint32.

    The code interleaves the bits of the bands (Morton 1966), so that similar colors are close in memory: against the linear
    code this labels up to 1.5 times faster, and blocks of a table need fewer components.
    """
    values = np.arange(256, dtype=np.uint32)
    codes = np.zeros((n_bands, 256), np.uint32)
    for band in range(n_bands):
        for bit in range(8):
            codes[band] |= ((values >> bit) & 1) << (bit * n_bands + band)
    return codes


class ColorCounter:
    """Counts 8-bit colors of one to three bands from any number of threads, in constant memory.

    It travels empty: what another process counted comes back as what :meth:`total` returns there.

    Parameters
    ----------
    n_bands : int
        1 to 3.
    n_pixels : int
        Pixels to be counted: 32-bit counters serve up to 2^32 - 1.
    copies : int > 0
        Counters of all colors, each counted into by one thread at a time.
    """

    def __init__(self, n_bands: int, n_pixels: int, copies: int):
        self._arguments = n_bands, n_pixels, copies
        self._codes = color_codes(n_bands)
        self._free: queue.SimpleQueue[np.ndarray] = queue.SimpleQueue()
        for _ in range(copies):
            self._free.put(np.zeros(256**n_bands, counter_dtype(n_pixels)))  # untouched memory costs nothing

    def __reduce__(self) -> tuple:
        return ColorCounter, self._arguments

    def add(self, pixels: np.ndarray) -> None:
        """Count pixels (..., D), uint8."""
        counters = self._free.get()
        try:
            kernels.count(as_pixels(pixels), self._codes, bands_of(len(self._codes)), counters)
        finally:
            self._free.put(counters)

    def total(self) -> np.ndarray:
        """Return the counter of every color code, while no thread counts; what all threads counted is merged into one."""
        total = self._free.get()
        for _ in range(self._free.qsize()):
            counters = self._free.get()
            total += counters
            counters[:] = 0
            self._free.put(counters)
        self._free.put(total)
        return total

    def restore(self, total: np.ndarray) -> None:
        """Go on from the counters that :meth:`total` returned, before anything is counted."""
        self._free.get()
        self._free.put(total)

    def table(self, fits: Callable[[int], bool] = lambda n_colors: True) -> ColorTable | int:
        """Return the colors that were counted, and count no more; or only their number, where a table of these does not fit."""
        total = self.total()
        n_colors = int(np.count_nonzero(total))
        if not fits(n_colors):
            return n_colors
        while not self._free.empty():
            self._free.get()  # only one array of counters is kept
        colors, counts = np.empty((n_colors, len(self._codes)), np.uint8), np.empty(n_colors)
        kernels.compact(total, colors, counts)
        return ColorTable(colors, counts)
