"""First mixtures, found on a sample of the pixels, and the ridge that fits them."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from ..options import CovarianceType, Init
from .colors import ColorTable
from .coreset import coreset
from .em import Accumulate, expectation_maximization, fit_mixture, maximization
from .kmeans import LLOYD, clusters, mixture_of, palette_ridge, plus_plus, reseed
from .mixture import Mixture
from .relocation import relocated
from .search import search
from .space import LEVEL
from .statistics import Statistics

# Starts that are tried, and the iterations of EM each gets before the best goes on.
STARTS, SHORT = 4, 20
# Parts of the tolerance to which the search climbs, and its best goes on with all of the sample, in so many iterations. The
# latter leaves 4 passes over a 64-megapixel image where 51 were needed from a start fitted to the tolerance itself.
FINE, FINER, LONG = 0.1, 0.01, 1000
# Colors that are enough for a search, as many for each component, and those of all components: with 2^19 colors 16 components
# take three times as long as with 2^15 for 0.002 nats per pixel, but of near maxima few colors take the wrong one now and then.
SEARCHED, SEARCHED_EACH, SEARCHED_BY_ALL = 1 << 15, 64, 1 << 20
# Multiplications that one search may take: 2 seconds on one thread. With hundreds of components or bands there are fewer swaps,
# then one start. Threads serve no passes but long ones: on a busy machine they wait for each other 15 ms, in each.
WORK = 1 << 36
# Least variance of floats, as a share of their range squared: they have no levels whose rounding would be noise.
FLOAT_NOISE = 1e-7


class Start(NamedTuple):
    """A mixture to start from, and what is added to its variances, shape (D,)."""

    mixture: Mixture
    ridge: np.ndarray


def noise_floor(sample: ColorTable) -> np.ndarray:
    """Return the variance that rounding to levels adds to samples, level^2 / 12 (Sheppard 1898), shape (D,)."""
    floor = sample.step**2 / 12 if np.issubdtype(sample.colors.dtype, np.integer) else FLOAT_NOISE
    floor = LEVEL**2 / 12 if sample.space.converts else floor  # palettes have 8 bits
    return np.broadcast_to(floor, sample.colors.shape[1])


def seed_mixture(
    sample: ColorTable,
    n_components: int,
    covariance_type: CovarianceType,
    init: Init | np.ndarray | Mixture,
    *,
    ridge: float | None,
    matched: bool,
    nearest: bool = False,
    fixed: np.ndarray | None = None,
    tol: float,
    seed: int,
    threads: int,
    advance: Callable[[int], None],
) -> Start:
    """Find a start for EM on all pixels: the best of a few short fits to a sample.

    Under the ridge of a palette that is k-means, from which EM hardly moves. Else the best goes on to the nearest maximum of
    the likelihood, a search to higher ones, and the best of it is fitted to the sample to the end.

    Parameters
    ----------
    sample : ColorTable
        Pixels to seed from.
    n_components : int
        Components wanted; fewer come back where the sample has fewer colors.
    init : {"random", "k-means++", "kmeans"}, ndarray of shape (K, D) or Mixture
        How means are drawn: from the pixels (with equal weights and the image's covariance), far from each other (Arthur
        and Vassilvitskii 2007), or by Lloyd's algorithm from the latter; or where they are.
    ridge : float or None
        What is added to variances; None for what the sample asks for.
    matched : bool
        Whether that is the variance a color of a palette stands for, or only the noise of rounding.
    nearest : bool
        Whether pixels get the nearest mean: then there is one start, and a search from it with k-means.
    fixed : ndarray of shape (F,), F <= K, or None
        Means that are given, the first of all.
    seed : int >= 0
        Seeds the generator of each start.
    advance : function
        Is told of colors that a pass has gone over, and may raise.
    """
    sample = sample.ordered()  # the same colors give the same seeds, wherever they come from
    floor = noise_floor(sample)
    fixed = np.empty((0, len(floor))) if fixed is None else fixed
    n_components = len(fixed) + min(n_components - len(fixed), len(sample))

    def added(clustered: Statistics) -> np.ndarray:
        own = palette_ridge(clustered, floor) if matched else floor
        return own if ridge is None else np.full(len(floor), float(ridge))

    if not isinstance(init, str):
        given = init if isinstance(init, Mixture) else around(sample, init, covariance_type, floor)
        variances = added(clusters(_passing_over(sample, threads, advance), given, 1).statistics)
        return Start(init if isinstance(init, Mixture) else around(sample, init, covariance_type, variances), variances)
    searched = sample if matched else _thinned(sample, n_components, seed)
    passes = _passes(searched, n_components)
    accumulate = _passing_over(searched, threads if matched or passes < LONG else 1, advance)
    drawn = partial(_drawn, searched, fixed, n_components, covariance_type, init, floor, seed)
    moving = np.random.default_rng([seed, STARTS])
    if nearest:
        found = relocated(accumulate, clusters(accumulate, drawn(0)), passes=passes, generator=moving)
        return Start(found.hard, np.zeros(len(floor)))
    mixtures = [drawn(number) for number in range(max(1, min(STARTS, passes // (8 * SHORT))))]
    starts = [(start, clusters(accumulate, start)) for start in mixtures]
    variances = np.min([added(found.statistics) for _, found in starts], axis=0)
    if init == "kmeans":
        mixtures = [mixture_of(found.statistics, found.hard, start, variances) for start, found in starts]
    climb = partial(expectation_maximization, accumulate, tol=tol * FINE, ridge=variances)
    best = max((climb(each, max_iter=SHORT) for each in mixtures), key=lambda fit: fit.log_likelihood[-1])
    if matched:  # EM hardly moves from k-means
        return Start(best.mixture, variances)
    best = climb(best.mixture, max_iter=max(1, min(LONG, passes)))
    if variances.all():  # without a ridge the likelihood has no bound: the search would find single colors (Day 1969)
        best = search(accumulate, searched, best, ridge=variances, tol=tol * FINE, passes=passes, generator=moving)
    again = partial(reseed, sample, seed)
    return Start(_finished(sample, best.mixture, again, variances, tol, _passing_over(sample, threads, advance)), variances)


def _finished(
    sample: ColorTable,
    mixture: Mixture,
    again: Callable[[Mixture, np.ndarray, int], Mixture],
    ridge: np.ndarray,
    tol: float,
    accumulate: Accumulate,
) -> Mixture:
    """Fit a mixture to all of a sample, to the end."""
    long = max(SHORT, min(LONG, _passes(sample, mixture.n_components)))
    return fit_mixture(accumulate, mixture, again, step=sample.step, max_iter=long, tol=tol * FINER, ridge=ridge).mixture


def most_colors(sample: ColorTable) -> int:
    """Return how many colors the passes of a search go over, about, to show how far it is."""
    return STARTS * (LLOYD + SHORT) * len(sample)


def _passing_over(table: ColorTable, threads: int, advance: Callable[[int], None]) -> Accumulate:
    def accumulate(mixture: Mixture) -> Statistics:
        advance(len(table))
        return table.accumulate(mixture, threads)

    return accumulate


def _passes(table: ColorTable, n_components: int) -> int:
    """Return how many passes over a table a search may take."""
    n_bands = table.colors.shape[1]
    return WORK // (n_components * len(table) * n_bands * (n_bands + 3))


def _thinned(sample: ColorTable, n_components: int, seed: int) -> ColorTable:
    """Return fewer colors that stand for all, where there are many."""
    size = max(SEARCHED, SEARCHED_EACH * n_components, SEARCHED_BY_ALL // n_components)
    if len(sample) <= size:
        return sample
    few = coreset(sample, size, seed)
    return few if len(few) >= n_components else sample


def on_all_pixels(accumulate: Accumulate, start: Start, floor: np.ndarray, most: int) -> tuple[Start, int, Statistics]:
    """Run k-means on all pixels from a start that was found on a sample; return also its passes, and what it ended with.

    EM hardly moves from there under the ridge of a palette, so this is where every pixel comes to count.
    """
    found = clusters(accumulate, start.mixture, most)
    ridge = palette_ridge(found.statistics, floor)
    return Start(mixture_of(found.statistics, found.hard, start.mixture, ridge), ridge), found.passes, found.statistics


def _drawn(
    sample: ColorTable,
    fixed: np.ndarray,
    n_components: int,
    covariance_type: CovarianceType,
    init: Init,
    ridge: np.ndarray,
    seed: int,
    number: int,
) -> Mixture:
    """Draw means beside those that are given, and return equal components around all."""
    n_more, generator = n_components - len(fixed), np.random.default_rng([seed, number])
    if init == "random":
        share = sample.counts / sample.n_pixels
        drawn = sample.values[generator.choice(len(sample), n_more, replace=False, p=share)]
    else:
        drawn = plus_plus(sample, fixed, n_more, generator)
    means = np.concatenate([fixed, drawn])
    return around(sample, means, covariance_type, ridge).standing(np.arange(len(fixed)))


def around(sample: ColorTable, means: np.ndarray, covariance_type: CovarianceType, ridge: np.ndarray) -> Mixture:
    """Return components of equal weight around means (K, D), each with the covariance of the whole sample."""
    n_bands = means.shape[1]
    whole = Mixture(np.ones(1), sample.mean[None], np.eye(n_bands)[None], space=sample.space)
    covariance = maximization(sample.accumulate(whole), whole, ridge).covariances
    return Mixture.alike(means, covariance[0], covariance_type, space=sample.space)
