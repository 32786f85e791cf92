"""K-means with the kernels of EM: seeds, and the variance that one color of a palette stands for."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from . import kernels
from .buffers import as_pixels
from .colors import ColorTable
from .em import RESEEDS, SMALLEST_VARIANCE, Accumulate, Fit, maximization, redundant, without
from .mixture import SHARED, Mixture
from .statistics import Statistics

# Variance of components at which EM is k-means: responsibilities are 0 or 1 (Bishop 2006, section 9.3.2). It is far less than
# a level of 8 bits squared, 1.5e-5, and float32 holds what is divided by it.
HARD = 1e-9
# Ranges that means may be apart for that. Of a range that was given, pixels may be farther outside: at 8, clusters lost a
# third, and at 85 responsibilities were no numbers.
APART = 2
# Lloyd's algorithm ends where it gains less than this part of the squared error, or after so many iterations. At a thousandth
# it stopped on a plateau from which it came down by 7 %.
GAIN, LLOYD = 1e-4, 50


def plus_plus(sample: ColorTable, means: np.ndarray, n_more: int, generator: np.random.Generator) -> np.ndarray:
    """Draw more means, each with a chance proportional to its squared distance from those there are.

    The k-means++ seeding (Arthur and Vassilvitskii 2007, section 2.2) of pixels with counts. Returns shape (n_more, D).
    """
    colors = as_pixels(sample.values.astype(np.float32))
    distances, drawn = np.full(len(colors), np.inf), np.empty((n_more, colors.shape[1]))
    for mean in means:
        kernels.nearest(colors, mean.astype(np.float32), distances)
    for i in range(n_more):
        mass = np.cumsum(sample.counts * (distances if np.isfinite(distances[0]) else 1.0))
        chosen = min(np.searchsorted(mass, generator.random() * mass[-1], side="right"), len(colors) - 1)
        drawn[i] = colors[chosen]
        kernels.nearest(colors, colors[chosen], distances)
    return drawn


def hardened(mixture: Mixture) -> Mixture:
    """Return components at the same means, alike and vanishingly wide: pixels belong to the nearest."""
    wide = max(1.0, np.ptp(mixture.means, axis=0).max() / APART) ** 2
    hard = Mixture.alike(mixture.means, HARD * wide * np.eye(mixture.n_bands), "spherical", space=mixture.space)
    return replace(hard, fixed=mixture.fixed)


class Clustering(NamedTuple):
    """What Lloyd's algorithm arrived at.

    Attributes
    ----------
    statistics : Statistics
        Of each cluster, about its centroid.
    hard : Mixture
        The centroids, alike and vanishingly wide.
    errors : list of float
        Squared error of the centers of each pass, and at the end of the centroids, of all pixels together.
    converged : bool
        Whether the last pass gained little.
    """

    statistics: Statistics
    hard: Mixture
    errors: list[float]
    converged: bool

    @property
    def passes(self) -> int:
        """Number of passes over the pixels."""
        return len(self.errors) - 1

    def log_likelihood(self) -> list[float]:
        """Return the mean log-likelihood of a pixel, in nats, of its own cluster, at each pass and at the end.

        Clusters have one weight and, in all bands, the variance that is the error (Celeux and Govaert 1992, "A classification
        EM algorithm for clustering and two stochastic versions", section 3).
        """
        n_components, n_bands = self.hard.means.shape
        variances = np.maximum(np.array(self.errors) / (n_bands * self.statistics.weight), SMALLEST_VARIANCE)
        return (-n_bands / 2 * np.log(2 * np.pi * np.e * variances) - np.log(n_components)).tolist()


def clusters(accumulate: Accumulate, start: Mixture, most: int = LLOYD, gain: float = GAIN) -> Clustering:
    """Run Lloyd's algorithm from the means of a start until it gains little.

    Parameters
    ----------
    accumulate : function from a mixture to statistics
    start : Mixture
    most : int
        Passes at the most.
    gain : float
        The part of the squared error that is little.
    """
    errors: list[float] = []
    hard, converged = hardened(start), False
    while len(errors) < most and not converged:
        statistics = accumulate(hard)
        hard = replace(hard, means=maximization(statistics, hard, 0.0).means)
        centered = statistics.about(hard.means)
        before, after = (float(np.trace(each.second, axis1=1, axis2=2).sum()) for each in (statistics, centered))
        errors.append(before)
        converged = before - after <= gain * before
    return Clustering(centered, hard, [*errors, after], converged)


def nearest_colors(
    accumulate: Accumulate,
    start: Mixture,
    reseed: Callable[[Mixture, np.ndarray, int], Mixture],
    *,
    step: np.ndarray | float,
    max_iter: int,
    tol: float,
) -> Fit:
    """Fit the palette whose nearest color each pixel gets: k-means, as the mixture that is its limit.

    Components have one weight, and one variance in all bands, the palette's own error: the largest responsibility is that of
    the nearest mean, and means are the centroids of what they get (Bishop 2006, section 9.3.2).

    Parameters
    ----------
    accumulate : function from a mixture to the statistics of all pixels
    start : Mixture
    reseed : function of a mixture, its failed components and the round
        Returns the mixture with new seeds for clusters without a pixel, and for those that coincide.
    step : float or ndarray of shape (D,)
        Distance of neighboring sample values.
    max_iter : int
        Passes over the pixels.
    tol : float
        Gain in mean log-likelihood, in nats, that is little.

    Returns
    -------
    Fit
        Its log-likelihood is that of :meth:`Clustering.log_likelihood`.
    """
    gain = 2 * tol / start.n_bands  # of the error, where the log-likelihood gains so much
    found = clusters(accumulate, start, max_iter, gain)
    passes = found.passes
    for attempt in range(1, RESEEDS + 1):
        failed = _failed(found, step)
        if not len(failed) or passes >= max_iter:
            break
        found = clusters(accumulate, reseed(found.hard, failed, attempt), max_iter - passes, gain)
        passes += found.passes
    variance = max(found.errors[-1] / (start.n_bands * found.statistics.weight), SMALLEST_VARIANCE)
    mixture = Mixture.alike(found.hard.means, variance * np.eye(start.n_bands), "isotropic", space=start.space)
    mixture, failed = replace(mixture, fixed=start.fixed), _failed(found, step)
    return Fit(without(mixture, failed) if len(failed) else mixture, found.log_likelihood(), found.converged, passes)


def _failed(found: Clustering, step: np.ndarray | float) -> np.ndarray:
    """Return the clusters without a pixel, and those that coincide with others, but for those whose means are given."""
    return redundant(replace(found.hard, weights=found.statistics.responsibilities / found.statistics.weight), step)


def mixture_of(clustered: Statistics, hard: Mixture, like: Mixture, ridge: np.ndarray) -> Mixture:
    """Return the mixture of clusters, of the covariance type of another."""
    return maximization(clustered, replace(like, means=hard.means), ridge)


def palette_ridge(clustered: Statistics, floor: np.ndarray) -> np.ndarray:
    """Return the variance that a color of a palette stands for: that inside a cluster of k-means, a band.

    The geometric mean over clusters, each counted once: of a photo on a white page, most pixels are in a cluster without any.
    As this is added to the variances of components, they divide the pixels nearly as the nearest color does. With half of it
    they do not, at 16 colors; with twice as much photos lose 0.2 to 0.3 dB.

    Parameters
    ----------
    clustered : Statistics
        Of each cluster, about its centroid.
    floor : ndarray of shape (D,)
        Least variance there is.
    """
    n = clustered.responsibilities
    alive = n > 0
    variances = np.diagonal(clustered.second[alive], axis1=1, axis2=2) / n[alive, None]
    return np.maximum(floor, np.exp(np.log(np.maximum(variances, floor).mean(axis=1)).mean()))


def reseed(sample: ColorTable, seed: int, mixture: Mixture, failed: np.ndarray, attempt: int) -> Mixture:
    """Give failed components new means, far from the others', an even share and the average covariance."""
    kept = np.setdiff1d(np.arange(mixture.n_components), failed)
    generator = np.random.default_rng([seed, len(sample), attempt])
    means = mixture.means.copy()
    means[failed] = plus_plus(sample, mixture.means[kept], len(failed), generator)
    weights = mixture.weights.copy()
    weights[failed if mixture.covariance_type != "isotropic" else slice(None)] = 1 / mixture.n_components
    covariances = mixture.covariances
    if mixture.covariance_type not in SHARED:
        covariances = covariances.copy()
        covariances[failed] = np.tensordot(mixture.weights, mixture.covariances, axes=1)
    return replace(mixture, weights=weights / weights.sum(), means=means, covariances=covariances)
