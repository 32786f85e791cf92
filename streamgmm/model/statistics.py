"""Sufficient statistics: what one EM pass adds up, and the only state that travels between threads and passes."""

from dataclasses import dataclass, fields, replace

import numpy as np

from . import kernels
from .buffers import as_pixels, bands_of, launches, model_of, n_moments, scratch_for
from .mixture import Mixture


@dataclass(frozen=True, eq=False)
class Statistics:
    """Sums over weighted pixels of colors in [0, 1], taken about the means of the mixture that gave the responsibilities.

    One pass is enough and nothing cancels (Chan, Golub and LeVeque 1983, "Algorithms for computing the sample variance",
    section 3), and the sums of two parts of an image add up to those of both.

    Attributes
    ----------
    origin : ndarray of shape (K, D), float64
        The point each component's moments are taken about.
    moments : ndarray of shape (K, 1 + D + D (D + 1) / 2), float64
        Sum of r, of r d, and the lower triangle, row by row, of the sum of r d d^T, where d = x - origin.
    log_likelihood : float
        Sum of weight times log-likelihood, in nats.
    weight : float
        Sum of the weights: the number of pixels, where they have none.
    """

    origin: np.ndarray
    moments: np.ndarray
    log_likelihood: float
    weight: float

    def __add__(self, other: "Statistics") -> "Statistics":
        """Merge with the statistics of other pixels under the same mixture."""
        return replace(
            self,
            moments=self.moments + other.moments,
            log_likelihood=self.log_likelihood + other.log_likelihood,
            weight=self.weight + other.weight,
        )

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return what :meth:`from_arrays` takes."""
        return {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> "Statistics":
        """Return the statistics that :meth:`to_arrays` wrote."""
        return cls(arrays["origin"], arrays["moments"], float(arrays["log_likelihood"]), float(arrays["weight"]))

    @property
    def mean_log_likelihood(self) -> float:
        """Mean log-likelihood of a pixel, in nats."""
        return float(self.log_likelihood / self.weight)

    @property
    def responsibilities(self) -> np.ndarray:
        """Sum of responsibilities N_k, shape (K,)."""
        return self.moments[:, 0]

    @property
    def first(self) -> np.ndarray:
        """Sum of r d, shape (K, D)."""
        return self.moments[:, 1 : 1 + self.origin.shape[1]]

    @property
    def second(self) -> np.ndarray:
        """Sum of r d d^T, shape (K, D, D); above 8 bands, diagonal covariances leave zeros off the diagonal."""
        n_components, n_bands = self.origin.shape
        rows, columns = np.tril_indices(n_bands)
        second = np.empty((n_components, n_bands, n_bands))
        second[:, rows, columns] = second[:, columns, rows] = self.moments[:, 1 + n_bands :]
        return second

    def scaled(self, factor: float) -> "Statistics":
        """Return the statistics of pixels of ``factor`` times the weight."""
        return Statistics(self.origin, self.moments * factor, self.log_likelihood * factor, self.weight * factor)

    def about(self, origin: np.ndarray) -> "Statistics":
        """Return the same statistics, taken about another origin (K, D)."""
        shift = self.origin - origin
        n = self.responsibilities
        first = self.first + n[:, None] * shift
        cross = self.first[:, :, None] * shift[:, None, :]
        second = self.second + cross + cross.transpose(0, 2, 1) + n[:, None, None] * shift[:, :, None] * shift[:, None, :]
        rows, columns = np.tril_indices(origin.shape[1])
        moments = np.column_stack([n, first, second[:, rows, columns]])
        return replace(self, origin=origin, moments=moments)


def accumulate(pixels: np.ndarray, mixture: Mixture, weights: np.ndarray | None = None, *, threads: int = 1) -> Statistics:
    """Add up the sufficient statistics of pixels under a mixture: the E-step of EM.

    Parameters
    ----------
    pixels : ndarray of shape (..., D), uint8, uint16 or float32
        Samples.
    mixture : Mixture
        K components in D bands.
    weights : ndarray of shape (n,), optional
        How often each pixel counts, >= 0; once by default.
    threads : int > 0
        Threads of the parallel kernel; 1 runs the serial one, to the same bits.

    Returns
    -------
    Statistics
    """
    pixels = as_pixels(pixels)
    weights = np.empty(0) if weights is None else np.ascontiguousarray(weights, np.float64)
    model, bands = model_of(mixture, pixels.dtype), bands_of(mixture.n_bands)
    n_components, n_bands = mixture.means.shape
    total = np.zeros((n_components, n_moments(n_bands)))
    loglik, scratch = 0.0, None
    for bounds in launches(len(pixels), n_components, n_bands, threads > 1):
        n_slices = len(bounds) - 1
        if scratch is None:
            scratch = scratch_for(n_slices, n_components, n_bands)
        moments, logliks = np.zeros((n_slices, *total.shape)), np.zeros(n_slices)
        kernels.accumulate(threads, pixels, weights, bounds, model, bands, scratch, moments, logliks)
        for part, part_loglik in zip(moments, logliks, strict=True):  # in slice order, whoever computed it
            total += part
            loglik += part_loglik
    space = mixture.space
    scale = np.broadcast_to(space.scale(pixels.dtype), n_bands)
    rows, columns = np.tril_indices(n_bands)
    total[:, 1 : 1 + n_bands] /= scale
    total[:, 1 + n_bands :] /= scale[rows] * scale[columns]
    origin = (model.means - space.zero(pixels.dtype)) / scale
    weight = float(weights.sum()) if len(weights) else float(len(pixels))
    return Statistics(origin, total, float(loglik) * np.log(2), weight)
