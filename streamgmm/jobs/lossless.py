"""The mixture of an image that has no more colors than components: each is one, to the last bit."""

from dataclasses import replace

import numpy as np

from ..model.colors import ColorTable
from ..model.mixture import Mixture
from ..model.space import FLOAT_STEP
from ..options import CovarianceType


def lossless(table: ColorTable, covariance_type: CovarianceType, fixed: np.ndarray | None = None) -> Mixture:
    """Return the mixture whose components are the colors of a table, each a tenth of a sample value wide, and those given.

    In other spaces these lie as near as floats.
    """
    step = FLOAT_STEP if table.space.converts else table.step
    covariance = (0.1 * step) ** 2 * np.eye(table.colors.shape[1])
    fixed = table.values[:0] if fixed is None else fixed
    same = same_colors(table, fixed)
    means = np.concatenate([table.converted().values, table.space.coordinates_of(fixed[~same.any(axis=0)])])
    weights = np.append(table.counts / table.n_pixels, np.zeros(len(means) - len(table)))
    given = np.append(same.any(axis=1), np.ones(len(means) - len(table)))
    return Mixture.alike(means, covariance, covariance_type, weights, table.space).standing(np.flatnonzero(given)).ordered()


def same_colors(table: ColorTable, fixed: np.ndarray) -> np.ndarray:
    """Return which colors of a table are which means that are given, shape (n, F)."""
    return (np.abs(table.values[:, None] - fixed) < replace(table.space, distances="rgb").step(table.colors.dtype) / 2).all(
        axis=2
    )
