"""Stepwise EM: a step after each batch of tiles, so that part of an image may be enough."""

from collections.abc import Iterable

from .em import Accumulate, Fit, maximization
from .mixture import Mixture

# Step t moves the statistics by (t + 2)^-0.7 (Liang and Klein 2009, section 4.3): close to 1/2 they forget too slowly, close
# to 1 too fast.
DECAY = 0.7
# Held-out pixels are scored after this many steps, and this many scores in a row without a gain are the end.
SCORE_EVERY, PATIENCE = 4, 2
# The average weighs step t as (t + 1) (t + 2) (t + 3), so that early steps fade (Shamir and Zhang 2013, section 4).
AVERAGE = 3


def stepwise_em(
    batches: Iterable[Accumulate], held_out: Accumulate, start: Mixture, *, tol: float, reg_covar: float
) -> tuple[Fit, int]:
    """Move a mixture a step after each batch (Cappe and Moulines 2009), until held-out pixels gain less than ``tol``.

    Parameters
    ----------
    batches : iterable of functions from a mixture to the statistics of a batch
        In random order; it ends when the steps allowed are done.
    held_out : function from a mixture to the statistics of pixels in no batch
    start : Mixture
    tol : float
        Gain in mean log-likelihood of a held-out pixel, in nats, between two scores.

    Returns
    -------
    fit : Fit
        The averaged mixture of the best score, with the log-likelihood at each score.
    steps : int
    """
    mixture = best = start
    history = [held_out(start).mean_log_likelihood]
    running = average = None
    highest, since, steps = history[0], 0, 0
    for steps, accumulate in enumerate(batches, 1):
        batch = accumulate(mixture)
        if not batch.weight:  # all masked
            continue
        batch = batch.scaled(1 / batch.weight)
        step = (steps + 1) ** -DECAY
        running = batch if running is None else running.about(batch.origin).scaled(1 - step) + batch.scaled(step)
        share = (AVERAGE + 1) / (steps + AVERAGE)
        average = running if average is None else average.about(running.origin).scaled(1 - share) + running.scaled(share)
        mixture = maximization(running, mixture, reg_covar)
        if steps % SCORE_EVERY == 0:
            averaged = maximization(average, mixture, reg_covar)
            history.append(held_out(averaged).mean_log_likelihood)
            since = 0 if history[-1] >= highest + tol else since + 1
            if history[-1] > highest:
                highest, best = history[-1], averaged
            if since == PATIENCE:
                return Fit(best, history, converged=True), steps
    if average is not None and steps % SCORE_EVERY:  # the steps since the last score count too
        averaged = maximization(average, mixture, reg_covar)
        history.append(held_out(averaged).mean_log_likelihood)
        best = averaged if history[-1] > highest else best
    return Fit(best, history, converged=False), steps
