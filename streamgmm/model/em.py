"""Expectation maximization for Gaussian mixtures (Dempster, Laird and Rubin 1977; Bishop 2006, section 9.2)."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..options import CovarianceType
from .mixture import Mixture
from .statistics import Statistics

log = logging.getLogger(__name__)

# A component with a smaller share than this is dead: it is 0.1 pixels of a gigapixel.
DEAD = 1e-10
# Variances stay above this even with reg_covar 0: a 16-bit level is 2.3e-10 squared.
SMALLEST_VARIANCE = 1e-12
# Rounds of new seeds for dead or coinciding components before they are dropped.
RESEEDS = 3
# A climb is given up where so many iterations of its last gain would not reach its rival, after a few of trial: 10 and 40, or 5
# of trial, find fits as good in the same time.
HOPE, TRIAL = 20, 3

Accumulate = Callable[[Mixture], Statistics]


@dataclass(frozen=True)
class Fit:
    """A fitted mixture, the mean log-likelihood of a pixel, in nats, as it rose, and the passes over the pixels it took."""

    mixture: Mixture
    log_likelihood: list[float]
    converged: bool
    passes: int


def expectation_maximization(
    accumulate: Accumulate,
    start: Mixture,
    *,
    max_iter: int,
    tol: float,
    ridge: np.ndarray | float,
    rival: float = -np.inf,
) -> Fit:
    """Climb from a start until an iteration gains less than ``tol`` nats per pixel, or the next will, by what it expects.

    Near a maximum an M-step gains up to about twice what it expects to: the expected log-likelihood has the curvature of
    complete data, the log-likelihood that of what is observed (Dempster, Laird and Rubin 1977, section 3). So no pass is needed
    to see that the last step gains nothing, once it was seen that they gain as it says.

    The ridge on the diagonal makes the M-step other than exact, so that the log-likelihood may fall where it has arrived: the
    climb ends there, and the step that fell is not taken. It is given up where it would take too long to pass a rival, another
    mixture of that log-likelihood.
    """
    mixture = previous = start
    history: list[float] = []
    for passes in range(1, max_iter + 1):
        statistics = accumulate(mixture)
        gain = statistics.mean_log_likelihood - history[-1] if history else np.inf
        if gain < 0:
            return Fit(previous, history, True, passes)
        history.append(statistics.mean_log_likelihood)
        if gain < tol:
            return Fit(mixture, history, True, passes)
        if passes > TRIAL and history[-1] + HOPE * gain < rival:
            return Fit(mixture, history, False, passes)
        previous, mixture = mixture, maximization(statistics, mixture, ridge)
        if passes > 1:
            promise = expected_log_likelihood(statistics, mixture) - expected_log_likelihood(statistics, previous)
            if 2 * promise < tol:
                return Fit(previous, history, True, passes)
    return Fit(mixture, history, False, max_iter)


def expected_log_likelihood(statistics: Statistics, mixture: Mixture) -> float:
    """Return what an M-step makes as large as possible, a pixel, but for a constant (Bishop 2006, equation 9.40)."""
    statistics = statistics.about(mixture.means)
    n, roots = statistics.responsibilities, mixture.whitening_roots()
    squares = (roots @ statistics.second * roots).sum(axis=(1, 2))
    log_weights = np.log(np.where(mixture.weights > 0, mixture.weights, 1))
    log_roots = np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(axis=1)
    return float((n * (log_weights + log_roots) - squares / 2).sum() / statistics.weight)


def maximization(statistics: Statistics, mixture: Mixture, ridge: np.ndarray | float) -> Mixture:
    """Return the mixture of largest expected log-likelihood; dead components keep their place at weight 0, and fixed means.

    Covariances of components with a fixed mean are about that, which is what makes the likelihood largest.
    """
    covariance_type, fixed = mixture.covariance_type, mixture.fixed[:, None]
    if fixed.any():
        statistics = statistics.about(mixture.means)
    n = np.maximum(statistics.responsibilities, 0)
    alive = n > DEAD * n.sum()
    n = np.where(alive, n, 1)
    shift = np.where(fixed, 0, statistics.first / n[:, None])
    scatter = statistics.second / n[:, None, None] - shift[:, :, None] * shift[:, None, :]
    means = np.where(alive[:, None], statistics.origin + shift, mixture.means)
    scatter = np.where(alive[:, None, None], scatter, mixture.full_covariances)
    shares = np.where(alive, n, 0) / n[alive].sum()
    weights = alive / alive.sum() if covariance_type == "isotropic" else shares
    covariances = _covariances(scatter, shares, covariance_type, np.broadcast_to(ridge, mixture.n_bands))
    return replace(mixture, weights=weights, means=means, covariances=covariances)


def _covariances(scatter: np.ndarray, shares: np.ndarray, covariance_type: CovarianceType, ridge: np.ndarray) -> np.ndarray:
    """Reduce scatter matrices (K, D, D) to a covariance type, with a ridge (D,) that keeps them positive definite."""
    variances = np.diagonal(scatter, axis1=1, axis2=2) + ridge
    if covariance_type == "diag":
        return np.maximum(variances, SMALLEST_VARIANCE)
    if covariance_type == "spherical":
        return np.maximum(variances.mean(axis=1), SMALLEST_VARIANCE)
    if covariance_type == "isotropic":
        return np.maximum(shares @ variances.mean(axis=1), SMALLEST_VARIANCE)
    if covariance_type == "tied":
        scatter = np.einsum("k,kij->ij", shares, scatter)
    covariances = scatter + np.diag(ridge)
    eigenvalues, vectors = np.linalg.eigh(covariances)
    if eigenvalues.min() < SMALLEST_VARIANCE:
        floored = np.maximum(eigenvalues, SMALLEST_VARIANCE)
        return vectors * floored[..., None, :] @ np.swapaxes(vectors, -1, -2)
    return covariances


def redundant(mixture: Mixture, step: np.ndarray | float) -> np.ndarray:
    """Return the components that are dead, or that are as good as a heavier one: the same samples, and about as wide.

    Those with fixed means are never among them, and come before heavier ones.

    Parameters
    ----------
    mixture : Mixture
    step : float or ndarray of shape (D,)
        Distance of neighboring sample values: 1/255 for uint8.
    """
    order = np.lexsort((-mixture.weights, ~mixture.fixed))
    places = np.rint(mixture.means[order] / step)
    widths = np.rint(np.log2(np.trace(mixture.full_covariances[order], axis1=1, axis2=2)))
    _, first = np.unique(np.column_stack([places, widths]), axis=0, return_index=True)
    kept = order[first]
    kept = kept[(mixture.weights[kept] > DEAD) | mixture.fixed[kept]]
    return np.setdiff1d(np.arange(mixture.n_components), kept)


def fit_mixture(
    accumulate: Accumulate,
    start: Mixture,
    reseed: Callable[[Mixture, np.ndarray, int], Mixture],
    *,
    step: np.ndarray | float,
    max_iter: int,
    tol: float,
    ridge: np.ndarray | float,
) -> Fit:
    """Climb from a start, give dead and coinciding components a few new seeds, and drop those that fail again.

    Parameters
    ----------
    accumulate : function from a mixture to the statistics of all pixels
    start : Mixture
    reseed : function of a mixture, its failed components and the round
        Returns the mixture with new seeds for them.
    step : float or ndarray of shape (D,)
        Distance of neighboring sample values.
    max_iter : int
        Passes over the pixels, of all climbs together.
    tol, ridge
        Of each climb.

    Returns
    -------
    Fit
        Of the last climb, its components by falling weight.
    """
    fit = expectation_maximization(accumulate, start, max_iter=max_iter, tol=tol, ridge=ridge)
    passes = fit.passes
    for attempt in range(1, RESEEDS + 1):
        failed = redundant(fit.mixture, step)
        if not len(failed) or passes >= max_iter:
            break
        again = reseed(fit.mixture, failed, attempt)
        retry = expectation_maximization(accumulate, again, max_iter=max_iter - passes, tol=tol, ridge=ridge)
        passes += retry.passes
        if retry.log_likelihood[-1] > fit.log_likelihood[-1]:
            fit = retry
    while len(failed := redundant(fit.mixture, step)):
        fit = replace(fit, mixture=without(fit.mixture, failed))
        if passes < max_iter:
            fit = expectation_maximization(accumulate, fit.mixture, max_iter=max_iter - passes, tol=tol, ridge=ridge)
            passes += fit.passes
    return Fit(fit.mixture.ordered(), fit.log_likelihood, fit.converged, passes)


def without(mixture: Mixture, failed: np.ndarray) -> Mixture:
    """Drop components that are dead, or coincide with others."""
    log.info("dropped %d dead or coinciding of %d components", len(failed), mixture.n_components)
    return mixture.take(np.setdiff1d(np.arange(mixture.n_components), failed))
