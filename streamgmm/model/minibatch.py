"""Stepwise EM: a step after each batch of tiles, so that part of an image may be enough."""

from collections.abc import Iterable

import numpy as np

from .em import Accumulate, Fit, maximization, redundant, without
from .kmeans import hardened
from .mixture import Mixture
from .statistics import Statistics

# Step t moves the statistics by (t + t0)^-0.7 (Liang and Klein 2009, section 4.3): close to 1/2 they forget too slowly, close
# to 1 too fast.
DECAY = 0.7
# Held-out pixels are scored after this many steps, and this many scores in a row without a gain are the end.
SCORE_EVERY, PATIENCE = 4, 2
# The average weighs step t as (t + 1) (t + 2) (t + 3), so that early steps fade (Shamir and Zhang 2013, section 4).
AVERAGE = 3


def stepwise_em(
    batches: Iterable[Accumulate],
    held_out: Accumulate,
    sample: Accumulate,
    start: Mixture,
    *,
    step: np.ndarray | float,
    tol: float,
    ridge: np.ndarray | float,
    hard: bool = False,
) -> Fit:
    """Move a mixture a step after each batch (Cappe and Moulines 2009), until held-out pixels gain less than ``tol``.

    The statistics begin with those of the sample that the start was fitted to. The first batch moves them by its share of the
    pixels that both have, later ones by less.

    Parameters
    ----------
    batches : iterable of functions from a mixture to the statistics of a batch
        In random order; it ends when the steps allowed are done.
    held_out : function from a mixture to the statistics of pixels in no batch
    sample : function from a mixture to the statistics of the pixels seeded from
    start : Mixture
    step : float or ndarray of shape (D,)
        Distance of neighboring sample values.
    tol : float
        Gain in mean log-likelihood of a held-out pixel, in nats, between two scores.
    ridge : float or ndarray of shape (D,)
        Added to variances.
    hard : bool
        Whether pixels belong to the nearest mean alone, as in k-means by batches (Sculley 2010): under the ridge of a
        palette, which is the variance of a cluster, steps of EM would go away from what k-means found.

    Returns
    -------
    Fit
        The averaged mixture of the best score, or the start where none is better, by falling weight; the log-likelihood
        at each score; and the steps. It has converged if scores stopped gaining, not where batches ran out.
    """

    def classes(mixture: Mixture) -> Mixture:
        return hardened(mixture) if hard else mixture

    mixture = best = start
    history = [held_out(start).mean_log_likelihood]
    running = sample(classes(start))
    weight, t0 = running.weight, None
    running = average = running.scaled(1 / weight)
    highest, since, steps = history[0], 0, 0
    for steps, batch in enumerate(batches, 1):
        statistics = batch(classes(mixture))
        if statistics.weight:  # else all are masked
            t0 = t0 or ((weight + statistics.weight) / statistics.weight) ** (1 / DECAY) - steps
            size, share = (steps + t0) ** -DECAY, (AVERAGE + 1) / (steps + AVERAGE)
            running = _moved(running, statistics.scaled(1 / statistics.weight), size)
            average = _moved(average, running, share)
            mixture = maximization(running, mixture, ridge)
        if steps % SCORE_EVERY == 0:
            averaged = _averaged(average, mixture, step, ridge)
            history.append(held_out(averaged).mean_log_likelihood)
            since = 0 if history[-1] >= highest + tol else since + 1
            if history[-1] > highest:
                highest, best = history[-1], averaged
            if since == PATIENCE:
                return Fit(best.ordered(), history, True, steps)
    if steps % SCORE_EVERY:  # the steps since the last score count too
        averaged = _averaged(average, mixture, step, ridge)
        history.append(held_out(averaged).mean_log_likelihood)
        best = averaged if history[-1] > highest else best
    return Fit(best.ordered(), history, False, steps)


def _moved(statistics: Statistics, other: Statistics, share: float) -> Statistics:
    """Move statistics toward others by a share, about the origin of these."""
    return statistics.about(other.origin).scaled(1 - share) + other.scaled(share)


def _averaged(average: Statistics, mixture: Mixture, step: np.ndarray | float, ridge: np.ndarray | float) -> Mixture:
    """Return the mixture of average statistics, without components that have died or come to coincide."""
    averaged = maximization(average, mixture, ridge)
    while len(failed := redundant(averaged, step)):
        averaged = without(averaged, failed)
    return averaged
