"""What passes do with a block: frozen values that are called with it, here or in another process, and return what is found."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ...model.colors import ColorCounter, ColorTable
from ...model.mixture import Mixture
from ...model.space import SampleSpace
from ...model.statistics import Statistics, accumulate
from .blocks import Block


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
class FindRange(Look):
    """Find the least and the greatest sample."""

    def found(self, pixels: np.ndarray, block: Block) -> tuple[float, float]:
        """Return both; infinities where all pixels are masked."""
        return (float(pixels.min()), float(pixels.max())) if len(pixels) else (np.inf, -np.inf)


@dataclass(frozen=True)
class Accumulate(Look):
    """Add up the statistics of EM."""

    mixture: Mixture
    dtype: np.dtype

    def found(self, pixels: np.ndarray, block: Block) -> Statistics:
        """Return the statistics under the mixture."""
        return accumulate(self.mixture.space.forward(pixels, self.dtype), self.mixture)


@dataclass(frozen=True)
class ListColors(Look):
    """List distinct colors, of images that have few."""

    space: SampleSpace
    dtype: np.dtype

    def found(self, pixels: np.ndarray, block: Block) -> ColorTable:
        """Return the colors with their counts."""
        return ColorTable.of(self.space.forward(pixels, self.dtype), space=self.space)


@dataclass(frozen=True)
class Draw(Look):
    """Draw pixels at random.

    Attributes
    ----------
    space : SampleSpace
    dtype : numpy.dtype
    seed : int
    share : int
        Pixels to draw of a block.
    chosen : frozenset of int
        The blocks to draw from.
    """

    space: SampleSpace
    dtype: np.dtype
    seed: int
    share: int
    chosen: frozenset[int]

    def found(self, pixels: np.ndarray, block: Block) -> np.ndarray | None:
        """Return the pixels that are drawn, or all where there are no more than the share; None where none is to be."""
        if block.position not in self.chosen:
            return None
        pixels = self.space.forward(pixels, self.dtype)
        if len(pixels) <= self.share:
            return np.array(pixels)
        return pixels[np.random.default_rng([self.seed, block.position]).integers(0, len(pixels), self.share)]


@dataclass(frozen=True)
class Count(Draw):
    """Count the colors of all pixels, and draw some.

    The counters are too large to be returned for each block. They belong to the process that counts, and are handed over
    when that is between blocks: the task of another process comes with counters of its own.
    """

    counter: ColorCounter

    def found(self, pixels: np.ndarray, block: Block) -> np.ndarray | None:
        """Return the pixels that are drawn."""
        self.counter.add(self.space.forward(pixels, self.dtype))
        return super().found(pixels, block)
