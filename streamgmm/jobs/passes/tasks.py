"""What passes do with a block: frozen values that are called with it, here or in another process, and return what is found."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import numpy as np

from ...model.centroids import ColorSums, color_sums
from ...model.colors import ColorCounter, ColorTable
from ...model.coreset import drawn
from ...model.display import Display
from ...model.mixture import Mixture
from ...model.space import SampleSpace, as_type
from ...model.statistics import Statistics, accumulate
from .blocks import Block

# Pixels of a block that are looked at when some are drawn: what 64 pixels show is seen, and it takes 2 ms where all took 9.
CANDIDATES = 1 << 16
# Pixels that are brought to another space at once: float32 of a block would take four times the memory of 8 bits.
CONVERTED = 1 << 16


class Part(NamedTuple):
    """What a task found in a block."""

    value: Any
    n_valid: int  # pixels that are not masked


@dataclass(frozen=True)
class Look:
    """Read a block, to see how many pixels are masked."""

    def __call__(self, block: Block) -> Part:
        """Return what was found in a block."""
        pixels = block.valid_pixels()
        return Part(self.found(pixels, block), len(pixels))

    def found(self, pixels: np.ndarray, block: Block) -> Any:
        """Return what is in the pixels (n, D) of a block, as the image has them."""


@dataclass(frozen=True)
class Accumulate(Look):
    """Add up the statistics of EM."""

    mixture: Mixture
    dtype: np.dtype

    def found(self, pixels: np.ndarray, block: Block) -> Statistics:
        """Return the statistics under the mixture."""
        space = self.mixture.space
        samples = space.near(space.forward(pixels, self.dtype))
        if not space.converts:
            return accumulate(samples, self.mixture)
        parts = (samples[first : first + CONVERTED] for first in range(0, len(samples) or 1, CONVERTED))
        return reduce(add, (accumulate(space.coordinates(part), self.mixture) for part in parts))


@dataclass(frozen=True)
class ListColors(Look):
    """List distinct colors, of images that have few."""

    space: SampleSpace
    dtype: np.dtype

    def found(self, pixels: np.ndarray, block: Block) -> ColorTable:
        """Return the colors with their counts."""
        return ColorTable.of(self.space.forward(pixels, self.dtype), space=self.space)


@dataclass(frozen=True)
class SumColors(Look):
    """Add up the colors of each label, as they are shown."""

    label: Callable[[np.ndarray], np.ndarray]
    n_labels: int
    space: SampleSpace
    dtype: np.dtype
    display: Display

    def found(self, pixels: np.ndarray, block: Block) -> ColorSums:
        """Return the sums over the pixels."""
        samples = self.space.forward(pixels, self.dtype)
        return color_sums(samples, self.label(samples), self.n_labels, self.display)


@dataclass(frozen=True)
class Draw(Look):
    """Draw pixels at random, so that rare colors are seen.

    Attributes
    ----------
    dtype : numpy.dtype
    seed : int
    share : int
        Pixels to draw of a block.
    """

    dtype: np.dtype
    seed: int
    share: int

    def found(self, pixels: np.ndarray, block: Block) -> tuple[np.ndarray, np.ndarray]:
        """Return the pixels that are drawn, or all where there are no more than the share, and how many each stands for."""
        if self.dtype.kind == "u":
            pixels = as_type(pixels, self.dtype)
        if len(pixels) <= self.share:
            return np.array(pixels), np.ones(len(pixels))
        generator = np.random.default_rng([self.seed, block.position])
        step = max(1, len(pixels) // max(CANDIDATES, 4 * self.share))
        candidates = pixels[generator.integers(step) :: step]
        indices, weights = drawn(candidates, None, self.share, generator)
        return candidates[indices], weights * (len(pixels) / len(candidates))


@dataclass(frozen=True)
class Count(Look):
    """Count the colors of all pixels.

    The counters are too large to be returned for each block. They belong to the process that counts, and are handed over
    when that is between blocks: the task of another process comes with counters of its own.
    """

    counter: ColorCounter

    def found(self, pixels: np.ndarray, block: Block) -> None:
        """Count those of a block."""
        self.counter.add(pixels)
