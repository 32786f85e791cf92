"""A palette that is given, as a mixture whose largest responsibility is that of the nearest color."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OptionError
from ..image.palette import read_palette
from ..model.display import WHITE
from ..model.mixture import Mixture
from ..options.palette import PaletteOptions
from .class_map import Legend
from .session import Session

# The standard deviation of every component: so narrow that log2 densities fall by 2^32 times the squared distance in levels of
# 8 bits. Float32 holds these exactly, and log weights are lost beside them, so that of equally near colors the first is taken.
WIDTH = math.sqrt(math.log2(math.e) / 2) / (WHITE * 2**16)
BANDS = 3


@dataclass(frozen=True, eq=False)
class GivenPalette:
    """The colors of a file, shape (K, 3), uint8."""

    path: Path
    colors: np.ndarray

    @classmethod
    def of(cls, options: PaletteOptions) -> "GivenPalette | None":
        """Read the palette that is asked for, if one is.

        Raises
        ------
        OptionError
        """
        if options.palette_in is None:
            return None
        path = Path(options.palette_in)
        return cls(path, read_palette(path))

    @property
    def legend(self) -> Legend:
        """Labels in the order of the file, and its colors, which are shown as they are, also those that are equal."""
        return Legend(np.arange(len(self.colors)), len(self.colors), self.colors, measured=True)

    def mixture(self, session: Session) -> Mixture:
        """Return the mixture for the pixels of a session.

        Raises
        ------
        OptionError
            Where these are no colors of 8 or 16 bits, or gray and the palette is not.
        """
        blocks, name = session.blocks, session.name
        if blocks.floating:
            raise OptionError(
                f"{name}: samples are floats, or wider than 16 bits; palettes are for 8 and 16 bits, leave --palette-in out"
            )
        gray = bool((self.colors == self.colors[:, :1]).all())
        if blocks.n_bands == 1 and not gray:
            raise OptionError(
                f"{name}: is gray, and {self.path} is not; give a palette of grays, or take gray for red, green and blue "
                "with --bands 1,1,1"
            )
        if blocks.n_bands not in (1, BANDS):
            raise OptionError(f"{name}: {blocks.n_bands} bands; a palette has red, green and blue, choose three with --bands")
        means: Any = self.colors[:, : blocks.n_bands] / WHITE
        return Mixture.alike(means, WIDTH**2 * np.eye(blocks.n_bands), "spherical")
