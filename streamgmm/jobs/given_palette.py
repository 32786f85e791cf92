"""A palette that is given, as a mixture whose largest responsibility is that of the nearest color."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..image.palette import read_palette
from ..model.display import WHITE
from ..model.mixture import Mixture
from ..options.palette import PaletteOptions
from .class_map import Legend
from .given_colors import means_of
from .session import Session

# The standard deviation of every component: so narrow that log2 densities fall by 2^32 times the squared distance in levels of
# 8 bits. Float32 holds these exactly, and log weights are lost beside them, so that of equally near colors the first is taken.
WIDTH = math.sqrt(math.log2(math.e) / 2) / (WHITE * 2**16)


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
        means = means_of(self.colors, session, "--palette-in", str(self.path))
        return Mixture.alike(means, WIDTH**2 * np.eye(means.shape[1]), "spherical")
