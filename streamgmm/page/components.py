"""Where colors and components lie: two projections of all bands, or the one band there is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..model.display import Display
from ..model.mixture import Mixture
from ..model.space import SampleSpace

CHANNELS = ("red", "green", "blue")
# Colors of a table that are counted in a histogram: of more, every n-th in their order, which is that of colors.
COLORS = 1 << 16


@dataclass(frozen=True)
class Projection:
    """How colors are laid out in a plane.

    Attributes
    ----------
    x, y : str
        Names of the axes.
    axes : ndarray of shape (D, 2)
        What bands are multiplied by.
    """

    x: str
    y: str
    axes: np.ndarray

    def plane(self, mixture: Mixture) -> tuple[np.ndarray, np.ndarray]:
        """Return the means (K, 2) and covariances (K, 2, 2) of components in the plane."""
        return mixture.means @ self.axes, self.axes.T @ mixture.full_covariances @ self.axes


def projections(mixture: Mixture, display: Display) -> list[Projection]:
    """Return two projections: the bands that are shown as red and blue, each against green; none of a single band.

    Of two bands, these, and the directions in which they vary most and least; of Lab and Oklab, a and b against lightness.
    """
    unit = np.eye(mixture.n_bands)
    if mixture.n_bands == 1:
        return []
    if mixture.n_bands == 2:
        spread = np.cov(mixture.means.T, aweights=mixture.weights, ddof=0) if mixture.n_components > 1 else 0
        covariance = spread + np.tensordot(mixture.weights, mixture.full_covariances, 1)
        axes = np.linalg.eigh(covariance)[1][:, ::-1]
        axes = axes * np.where(axes.sum(axis=0) < 0, -1, 1)
        return [Projection("band 1", "band 2", unit), Projection(_sum(axes[:, 0]), _sum(axes[:, 1]), axes)]
    if mixture.space.distances in ("lab", "oklab"):
        return [
            Projection(name, "lightness", unit[:, [band, 0]])
            for band, name in ((1, "a, green to red"), (2, "b, blue to yellow"))
        ]
    bands = display.bands if len(set(display.bands)) == len(CHANNELS) else (0, 1, 2)
    shown = bands == display.bands
    names = [
        f"band {band + 1}" + (f", shown as {channel}" if shown else "") for band, channel in zip(bands, CHANNELS, strict=True)
    ]
    red, green, blue = bands
    return [Projection(names[i], names[1], unit[:, [band, green]]) for i, band in ((0, red), (2, blue))]


def joined(planes: Sequence[Projection], n_bands: int) -> np.ndarray:
    """Return the axes of two projections, shape (D, 4); of one band, itself."""
    if planes:
        return np.concatenate([plane.axes for plane in planes], axis=1)
    return np.repeat(np.eye(n_bands)[:, :1], 4, axis=1)


def points_of(colors: np.ndarray, axes: np.ndarray, mixture: Mixture) -> np.ndarray:
    """Return where the colors of a table (n, D), as kernels take them, are in two projections, shape (n, 4)."""
    some = colors[:: -(-len(colors) // COLORS)] if len(colors) else colors
    values = values_of(mixture.space, some)
    points = np.zeros((len(some), axes.shape[1]), np.float32)
    for band in np.flatnonzero(axes.any(axis=1)):  # few of many, and no threads of BLAS, which others wait for
        points += (values[:, [band]] * axes[band]).astype(np.float32)
    return points


def values_of(space: SampleSpace, samples: np.ndarray) -> np.ndarray:
    """Return where samples (n, D), as kernels take them, are among the means of mixtures."""
    return space.coordinates(samples) if space.converts else space.colors(samples)


def distinct(points: np.ndarray) -> np.ndarray:
    """Return each point (n, 4) that is known once."""
    return np.unique(points[np.isfinite(points).all(axis=1)], axis=0)


def _sum(axis: np.ndarray) -> str:
    """Write what bands are multiplied by."""
    first, second = axis
    return f"{first:.2f} band 1 {'+' if second >= 0 else '−'} {abs(second):.2f} band 2"
