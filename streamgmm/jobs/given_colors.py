"""Colors that are given, as means for the pixels of a session."""

import numpy as np

from ..errors import OptionError
from ..model.display import WHITE
from ..options import FitOptions
from .session import Session

BANDS = 3


def means_of(colors: np.ndarray, session: Session, option: str, source: str) -> np.ndarray:
    """Return colors (K, 3), uint8, as means (K, D) in [0, 1].

    Raises
    ------
    OptionError
        Where the pixels are no colors of 8 or 16 bits, or gray and the colors are not.
    """
    blocks, name = session.blocks, session.name
    if blocks.floating:
        raise OptionError(
            f"{name}: samples are floats, or wider than 16 bits; colors are for 8 and 16 bits, leave {option} out"
        )
    if blocks.n_bands == 1 and not (colors == colors[:, :1]).all():
        raise OptionError(
            f"{name}: is gray, and {source} is not; give grays, or take gray for red, green and blue with --bands 1,1,1"
        )
    if blocks.n_bands not in (1, BANDS):
        raise OptionError(f"{name}: {blocks.n_bands} bands; colors have red, green and blue, choose three with --bands")
    return colors[:, : blocks.n_bands] / WHITE


def fixed_means(options: FitOptions, session: Session) -> np.ndarray | None:
    """Return the means of colors that a palette is to have, shape (F, D), in [0, 1]; None where there are none.

    Raises
    ------
    OptionError
    """
    if options.fix is None:
        return None
    return means_of(np.array(options.fix), session, "--fix", "a color of fix")
