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

Accumulate = Callable[[Mixture], Statistics]


@dataclass(frozen=True)
class Fit:
    """A fitted mixture, and the mean log-likelihood of a pixel, in nats, at each iteration."""

    mixture: Mixture
    log_likelihood: list[float]
    converged: bool


def expectation_maximization(accumulate: Accumulate, start: Mixture, *, max_iter: int, tol: float, reg_covar: float) -> Fit:
    """Climb from a start until an iteration gains less than ``tol`` nats per pixel.

    The ridge on the diagonal makes the M-step all but exact, so that the log-likelihood may fall by a trifle where it
    has arrived: the climb ends there, and the step that fell is not taken. A first step that falls is taken all the same,
    and is where the history begins: the start was fitted to something else.
    """
    mixture = previous = start
    history: list[float] = []
    for _ in range(max_iter):
        statistics = accumulate(mixture)
        gain = statistics.mean_log_likelihood - history[-1] if history else np.inf
        if gain < 0:
            if previous is not start:
                return Fit(previous, history, converged=True)
            history.clear()
        history.append(statistics.mean_log_likelihood)
        if gain < tol:
            return Fit(mixture, history, converged=True)
        previous, mixture = mixture, maximization(statistics, mixture, reg_covar)
    return Fit(mixture, history, converged=False)


def maximization(statistics: Statistics, mixture: Mixture, reg_covar: float) -> Mixture:
    """Return the mixture of largest expected log-likelihood; dead components keep their place at weight 0."""
    covariance_type = mixture.covariance_type
    n = np.maximum(statistics.responsibilities, 0)
    alive = n > DEAD * n.sum()
    n = np.where(alive, n, 1)
    shift = statistics.first / n[:, None]
    scatter = statistics.second / n[:, None, None] - shift[:, :, None] * shift[:, None, :]
    means = np.where(alive[:, None], statistics.origin + shift, mixture.means)
    scatter = np.where(alive[:, None, None], scatter, mixture.full_covariances)
    weights = np.where(alive, n, 0) / n[alive].sum()
    covariances = _covariances(scatter, weights, covariance_type, reg_covar)
    return replace(mixture, weights=weights, means=means, covariances=covariances)


def _covariances(scatter: np.ndarray, weights: np.ndarray, covariance_type: CovarianceType, reg_covar: float) -> np.ndarray:
    """Reduce scatter matrices (K, D, D) to a covariance type, with a ridge that keeps them positive definite."""
    variances = np.diagonal(scatter, axis1=1, axis2=2)
    if covariance_type == "diag":
        return np.maximum(variances + reg_covar, SMALLEST_VARIANCE)
    if covariance_type == "spherical":
        return np.maximum(variances.mean(axis=1) + reg_covar, SMALLEST_VARIANCE)
    if covariance_type == "tied":
        scatter = np.einsum("k,kij->ij", weights, scatter)
    eigenvalues, vectors = np.linalg.eigh(scatter + reg_covar * np.eye(scatter.shape[-1]))
    if eigenvalues.min() < SMALLEST_VARIANCE:
        floored = np.maximum(eigenvalues, SMALLEST_VARIANCE)
        return vectors * floored[..., None, :] @ np.swapaxes(vectors, -1, -2)
    return scatter + reg_covar * np.eye(scatter.shape[-1])


def redundant(mixture: Mixture, step: float) -> np.ndarray:
    """Return the components that are dead, or whose mean rounds to the sample values of a heavier one's.

    Parameters
    ----------
    mixture : Mixture
    step : float
        Distance of neighboring sample values: 1/255 for uint8.
    """
    order = np.argsort(-mixture.weights, kind="stable")
    _, first = np.unique(np.rint(mixture.means[order] / step), axis=0, return_index=True)
    kept = order[first]
    kept = kept[mixture.weights[kept] > DEAD]
    return np.setdiff1d(np.arange(mixture.n_components), kept)


def fit_mixture(
    accumulate: Accumulate,
    start: Mixture,
    reseed: Callable[[Mixture, np.ndarray, int], Mixture],
    *,
    step: float,
    max_iter: int,
    tol: float,
    reg_covar: float,
) -> Fit:
    """Climb from a start, give dead and coinciding components a few new seeds, and drop those that fail again.

    Parameters
    ----------
    accumulate : function from a mixture to the statistics of all pixels
    start : Mixture
    reseed : function of a mixture, its failed components and the round
        Returns the mixture with new seeds for them.
    step : float
        Distance of neighboring sample values.
    max_iter, tol, reg_covar
        Of each climb.

    Returns
    -------
    Fit
        Of the last climb, its components by falling weight.
    """

    def climb(mixture):
        return expectation_maximization(accumulate, mixture, max_iter=max_iter, tol=tol, reg_covar=reg_covar)

    fit, rounds = climb(start), 0
    while len(failed := redundant(fit.mixture, step)):
        if rounds < RESEEDS:
            rounds += 1
            retry = climb(reseed(fit.mixture, failed, rounds))
            if retry.log_likelihood[-1] > fit.log_likelihood[-1]:
                fit = retry
        else:
            log.info("dropped %d dead or coinciding of %d components", len(failed), fit.mixture.n_components)
            fit = climb(fit.mixture.take(np.setdiff1d(np.arange(fit.mixture.n_components), failed)))
    return Fit(fit.mixture.ordered(), fit.log_likelihood, fit.converged)
