"""From a mixture to the colors that are shown."""

import numpy as np

from .mixture import Mixture


def palette_of(mixture: Mixture, display: tuple[int, ...] | None = None) -> np.ndarray:
    """Return the color of each component: its mean times 255, rounded, shape (K, 3), uint8.

    Parameters
    ----------
    mixture : Mixture
    display : tuple of int, optional
        The bands shown as red, green and blue, or the one shown as gray, from 0. Default: the first three, or the first.
    """
    if display is None:
        display = (0, 1, 2) if mixture.n_bands >= 3 else (0,)
    return mixture.space.to_rgb(mixture.means[:, display if len(display) == 3 else display[:1] * 3])
