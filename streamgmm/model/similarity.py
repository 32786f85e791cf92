"""The structural similarity of two images (SSIM): Wang, Bovik, Sheikh and Simoncelli, 2004."""

import numpy as np

from .colorimetry import PEAK
from .jit import entry

# A Gaussian window of 11 x 11 pixels with a standard deviation of 1.5, and the constants, for samples in [0, 1].
SIDE, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2
_WEIGHTS = np.exp(-0.5 * ((np.arange(SIDE) - SIDE // 2) / SIGMA) ** 2)
WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
MOMENTS = 5
SCALE = 1.0 / PEAK


def similarity(one: np.ndarray, other: np.ndarray, valid: np.ndarray | None) -> tuple[float, int]:
    """Return the sum of SSIM over all windows and planes, and the number of windows: those whole and without masked pixels.

    Parameters
    ----------
    one, other : ndarray of shape (planes, height, width), uint16
    valid : ndarray of shape (height, width), bool, or None
        False where a pixel is masked; None where none is.
    """
    height, width = one.shape[1] - SIDE + 1, one.shape[2] - SIDE + 1
    if height < 1 or width < 1:
        return 0.0, 0
    whole = np.ones((height, width), bool) if valid is None else _whole(valid)
    n_windows = int(np.count_nonzero(whole))
    if not n_windows:
        return 0.0, 0
    return _summed(one, other, whole, WEIGHTS, np.empty((2, MOMENTS, one.shape[2]))), n_windows


def _whole(valid: np.ndarray) -> np.ndarray:
    """Return which windows have no masked pixel, by their upper left corner."""
    for _ in range(2):  # along each axis
        before = np.cumsum(np.pad(~valid, ((1, 0), (0, 0))), axis=0)
        valid = (before[SIDE:] == before[:-SIDE]).T
    return np.ascontiguousarray(valid)


@entry
def _summed(one, other, whole, weights, rows):
    """Add up SSIM over the windows that are whole; rows (2, moments, width) are scratch."""
    total = 0.0
    height, width = whole.shape
    down, across = rows[0], rows[1]
    for plane in range(one.shape[0]):
        for i in range(height):
            down[:] = 0.0
            for k in range(SIDE):
                for j in range(one.shape[2]):
                    x, y = one[plane, i + k, j] * SCALE, other[plane, i + k, j] * SCALE
                    wx, wy = weights[k] * x, weights[k] * y
                    down[0, j] += wx
                    down[1, j] += wy
                    down[2, j] += wx * x
                    down[3, j] += wy * y
                    down[4, j] += wx * y
            across[:] = 0.0
            for m in range(MOMENTS):
                for k in range(SIDE):
                    for j in range(width):
                        across[m, j] += weights[k] * down[m, j + k]
            for j in range(width):
                x, y = across[0, j], across[1, j]
                xx, yy, xy = across[2, j] - x * x, across[3, j] - y * y, across[4, j] - x * y
                value = (2.0 * x * y + C1) * (2.0 * xy + C2) / ((x * x + y * y + C1) * (xx + yy + C2))
                total += value if whole[i, j] else 0.0
    return total
