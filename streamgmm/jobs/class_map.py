"""Class maps, whose labels are the values of their pixels, and not the numbers of components."""

from dataclasses import dataclass

import numpy as np

from ..errors import OptionError
from ..model.labels import classify
from ..model.mixture import Mixture
from ..model.space import BY_TYPE, SampleSpace
from ..options import FitOptions
from .fitting import FitResult
from .lossless import lossless
from .sampling import few_colors
from .session import Session

# So many values a class map has at most, of which the largest is one that a palette of 16 bits has a color for.
CLASSES, LARGEST = 256, 65_535
# Parts of a value that floats may be off a whole number.
NEAR = 0.01


@dataclass(frozen=True)
class Legend:
    """What labels are, and their colors, where neither follows from the components.

    Attributes
    ----------
    values : ndarray of shape (K,), uint16
        The label of each component.
    nodata : int
        The label of masked pixels.
    colors : ndarray of shape (N, 3), uint8, or None
        Colors that are there already for values.
    measured : bool
        Whether it matters how near the colors are to the pixels, as it does not of a class map.
    """

    values: np.ndarray
    nodata: int
    colors: np.ndarray | None
    measured: bool = False

    def label(self, pixels: np.ndarray, mixture: Mixture, threads: int = 1) -> np.ndarray:
        """Return the labels of pixels, as :func:`streamgmm.model.labels.classify` does those of components."""
        return self.values[classify(pixels, mixture, threads)]

    def palette(self, palette: np.ndarray) -> np.ndarray:
        """Return the color of each label up to the largest, shape (L, 3), from those of components."""
        colors = np.zeros((int(self.values.max()) + 1, 3), np.uint8)
        colors[self.values] = palette
        if self.colors is not None:
            there = self.values[self.values < len(self.colors)]
            colors[there] = self.colors[there]
        return colors


def read_classes(session: Session, options: FitOptions) -> tuple[FitResult, Legend]:
    """Find the values of a class map, each a component.

    Raises
    ------
    OptionError
        Where it is none: it has several bands, more than 256 values, or others than whole numbers from 0 to 65,535.
    NoPixelsError
        Where all pixels are masked.
    """
    blocks, name = session.blocks, session.name
    if blocks.n_bands != 1:
        raise OptionError(f"{name}: {blocks.n_bands} bands; --keep-values is for class maps, choose one with --bands")
    space = SampleSpace(((0, LARGEST),)) if blocks.floating else BY_TYPE
    with session.clock.phase("count", blocks.n_pixels) as advance:
        table, complete = few_colors(session, space, CLASSES, advance, False)
    if complete and not len(table):
        raise session.nothing()
    values = _stored(session, table.values[:, 0])
    if not complete or np.abs(values - np.rint(values)).max() > NEAR or values.min() < 0 or values.max() > LARGEST:
        raise OptionError(
            f"{name}: is no class map, of at most {CLASSES} values that are whole numbers from 0 to {LARGEST:,}; "
            "leave --keep-values out"
        )
    mixture = lossless(table, options.covariance_type)
    labels = np.rint(_stored(session, mixture.means[:, 0])).astype(np.uint16)
    known = session.images[0].metadata
    nodata = [] if known.nodata is None else [known.nodata]
    free = next(label for label in (*nodata, *range(CLASSES + 1)) if label not in labels)
    return FitResult(mixture, "lossless", [], True, 0, table=table), Legend(labels, free, known.color_map)


def _stored(session: Session, colors: np.ndarray) -> np.ndarray:
    """Return the samples, as they are stored, of colors in [0, 1] of a space of :func:`read_classes`."""
    if session.blocks.floating:
        return colors * LARGEST
    gain, zero = session.blocks.units
    return (BY_TYPE.inverse(colors, session.blocks.dtype) - zero) / gain
