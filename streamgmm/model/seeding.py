"""First mixtures, found on a sample of the pixels: random, k-means++, k-means."""

from dataclasses import replace
from functools import partial

import numpy as np

from ..options import CovarianceType, Init
from .colors import ColorTable
from .em import expectation_maximization, fit_mixture, maximization
from .mixture import Mixture

# Starts that are tried, and the iterations of Lloyd's algorithm and of EM each gets before the best goes on. On the sample
# of 65,536 pixels with 16 components all four take 0.2 s.
RESTARTS, LLOYD, SHORT = 4, 10, 10
# The best start climbs on the sample to a hundredth of the tolerance, which takes 0.2 s and leaves 4 passes over a 64-megapixel
# image where 51 were needed from a start fitted to the tolerance itself, at a higher likelihood.
FINER, LONG = 0.01, 1000
# Densities that one search may evaluate: 3 seconds. With hundreds of components there are fewer iterations, then one start.
WORK = 1 << 32
# Variance, as a share of the image's, at which EM is k-means: responsibilities are 0 or 1 (Bishop 2006, section 9.3.2).
HARD = 1e-5


def seed_mixture(
    sample: ColorTable,
    n_components: int,
    covariance_type: CovarianceType,
    init: Init,
    *,
    tol: float,
    reg_covar: float,
    seed: int,
    threads: int,
) -> Mixture:
    """Find a start for EM on all pixels: the best of a few short fits to a sample, fitted to the sample to the end.

    Parameters
    ----------
    sample : ColorTable
        Pixels to seed from.
    n_components : int
        Components wanted; fewer come back where the sample has fewer colors.
    init : {"random", "k-means++", "kmeans"}
        How means are drawn: from the pixels (with equal weights and the image's covariance), far from each other (Arthur
        and Vassilvitskii 2007), or by Lloyd's algorithm from the latter.
    seed : int >= 0
        Seeds the generator of each start.

    Returns
    -------
    Mixture
    """
    accumulate = partial(sample.accumulate, threads=threads)
    n_components = min(n_components, len(sample))
    passes = WORK // (n_components * len(sample))
    fits = []
    for restart in range(RESTARTS if passes > RESTARTS * (LLOYD + SHORT) else 1):
        generator = np.random.default_rng([seed, restart])
        if init == "random":
            chosen = generator.choice(len(sample), n_components, replace=False, p=sample.counts / sample.n_pixels)
            means = sample.values[chosen]
        else:
            means = plus_plus(sample, np.empty((0, sample.colors.shape[1])), n_components, generator)
        start = around(sample, means, covariance_type, reg_covar)
        if init == "kmeans":
            start = lloyd(sample, start, reg_covar, threads)
        fits.append(expectation_maximization(accumulate, start, max_iter=SHORT, tol=tol * FINER, reg_covar=reg_covar))
    best = max(fits, key=lambda fit: fit.log_likelihood[-1])
    return fit_mixture(
        accumulate,
        best.mixture,
        partial(reseed, sample, seed),
        step=sample.step,
        max_iter=max(SHORT, min(LONG, passes)),
        tol=tol * FINER,
        reg_covar=reg_covar,
    ).mixture


def around(sample: ColorTable, means: np.ndarray, covariance_type: CovarianceType, reg_covar: float) -> Mixture:
    """Return components of equal weight around means (K, D), each with the covariance of the whole sample."""
    n_bands = means.shape[1]
    center = sample.mean[None]
    whole = Mixture(np.ones(1), center, np.eye(n_bands)[None], space=sample.space)
    covariance = maximization(sample.accumulate(whole), whole, reg_covar).covariances
    return Mixture.alike(means, covariance[0], covariance_type, space=sample.space)


def plus_plus(sample: ColorTable, means: np.ndarray, n_more: int, generator: np.random.Generator) -> np.ndarray:
    """Draw more means, each with a chance proportional to its squared distance from those there are.

    The k-means++ seeding (Arthur and Vassilvitskii 2007, section 2.2) of pixels with counts. Returns shape (n_more, D).
    """
    colors = sample.values
    nearest = np.full(len(colors), np.inf)
    for mean in means:
        np.minimum(nearest, ((colors - mean) ** 2).sum(axis=1), out=nearest)
    drawn = np.empty((n_more, colors.shape[1]))
    for i in range(n_more):
        mass = np.cumsum(sample.counts * (nearest if np.isfinite(nearest[0]) else 1.0))
        chosen = min(np.searchsorted(mass, generator.random() * mass[-1], side="right"), len(colors) - 1)
        drawn[i] = colors[chosen]
        np.minimum(nearest, ((colors - drawn[i]) ** 2).sum(axis=1), out=nearest)
    return drawn


def lloyd(sample: ColorTable, start: Mixture, reg_covar: float, threads: int) -> Mixture:
    """Run k-means from the means of a start, and return the mixture of its clusters.

    Lloyd's algorithm is EM with one vanishing variance, so the kernel of EM runs it.
    """
    variance = HARD * np.trace(start.full_covariances[0]) / start.n_bands
    hard = Mixture.alike(start.means, variance * np.eye(start.n_bands), "spherical", space=sample.space)
    for _ in range(LLOYD):
        statistics = sample.accumulate(hard, threads)
        hard = replace(hard, means=maximization(statistics, hard, reg_covar).means)
    statistics = sample.accumulate(hard, threads)
    return maximization(statistics, replace(start, means=hard.means), reg_covar)


def reseed(sample: ColorTable, seed: int, mixture: Mixture, failed: np.ndarray, attempt: int) -> Mixture:
    """Give failed components new means, far from the others', an even share and the average covariance."""
    kept = np.setdiff1d(np.arange(mixture.n_components), failed)
    generator = np.random.default_rng([seed, RESTARTS, attempt])
    means = mixture.means.copy()
    means[failed] = plus_plus(sample, mixture.means[kept], len(failed), generator)
    weights = mixture.weights.copy()
    weights[failed] = 1 / mixture.n_components
    covariances = mixture.covariances
    if mixture.covariance_type != "tied":
        covariances = covariances.copy()
        covariances[failed] = np.tensordot(mixture.weights, mixture.covariances, axes=1)
    return replace(mixture, weights=weights / weights.sum(), means=means, covariances=covariances)
