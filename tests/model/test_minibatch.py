"""Stepwise EM comes close to EM on every pixel, in the same way each time."""

from dataclasses import replace
from functools import partial
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest

from streamgmm.model import minibatch
from streamgmm.model.colors import ColorTable
from streamgmm.model.em import expectation_maximization
from streamgmm.model.minibatch import PATIENCE, SCORE_EVERY, stepwise_em
from streamgmm.model.mixture import Mixture
from streamgmm.model.seeding import seed_mixture
from streamgmm.model.space import SampleSpace
from streamgmm.model.statistics import accumulate

from ..conftest import random_mixture, random_pixels

RIDGE = 1e-6
BATCH = 4096


@pytest.fixture(scope="module")
def shuffled(photo):
    return np.random.default_rng(0).permutation(photo.reshape(-1, 3))


def start_for(photo, n_components, covariance_type="full", every=16):
    sample = ColorTable.of(photo[::every, ::every].reshape(-1, 3))
    return seed_mixture(sample, n_components, covariance_type, "kmeans", tol=1e-2, reg_covar=RIDGE, seed=0, threads=1)


def batches_of(pixels, epochs):
    for _ in range(epochs):
        for first in range(0, len(pixels), BATCH):
            yield partial(accumulate, pixels[first : first + BATCH])


def fit_in_steps(shuffled, start, *, epochs=10, tol=1e-3):
    held_out = ColorTable.of(shuffled[: 4 * BATCH])
    return stepwise_em(batches_of(shuffled[4 * BATCH :], epochs), held_out.accumulate, start, tol=tol, reg_covar=RIDGE)


@pytest.mark.parametrize(
    ("n_components", "covariance_type"),
    [(4, "full"), (8, "full"), (16, "full"), (4, "tied"), (4, "diag"), (4, "spherical")],
)
def test_steps_come_within_a_twentieth_of_a_nat_of_em_on_every_pixel(photo, shuffled, n_components, covariance_type):
    everything = ColorTable.of(shuffled)
    start = start_for(photo, n_components, covariance_type)
    fit, _ = fit_in_steps(shuffled, start)
    full = expectation_maximization(everything.accumulate, start, max_iter=100, tol=1e-4, reg_covar=RIDGE)
    actual = everything.accumulate(fit.mixture).mean_log_likelihood
    assert actual > full.log_likelihood[-1] - 0.05
    assert actual > full.log_likelihood[0]
    assert fit.mixture.covariance_type == covariance_type


def test_the_same_batches_give_the_same_bits(photo, shuffled):
    start = start_for(photo, 4)
    first, second = fit_in_steps(shuffled, start), fit_in_steps(shuffled, start)
    assert first[0].mixture.to_json() == second[0].mixture.to_json()
    assert (first[0].log_likelihood, first[1]) == (second[0].log_likelihood, second[1])


def test_steps_end_where_scores_stop_gaining(photo, shuffled):
    fit, steps = fit_in_steps(shuffled, start_for(photo, 4), tol=1e-3)
    highest = np.maximum.accumulate(fit.log_likelihood)
    gaining = fit.log_likelihood[1:] >= highest[:-1] + 1e-3
    assert fit.converged
    assert gaining[0]
    assert not gaining[-PATIENCE:].any()
    assert steps % SCORE_EVERY == 0


@pytest.mark.parametrize("side", [16, 32, 64])
def test_the_result_is_the_mixture_of_the_best_score_and_no_worse_than_the_start(photo, side):
    tiles = photo.reshape(512 // side, side, 512 // side, side, 3).swapaxes(1, 2).reshape(-1, side * side, 3)
    order = np.random.default_rng(0).permutation(len(tiles))
    per_batch = len(tiles) // 16
    held_out = partial(accumulate, tiles[order[:per_batch]])
    start = start_for(photo, 16, every=8)
    batches = [partial(accumulate, tiles[part]) for part in np.split(order[per_batch:], 15)]
    fit, _ = stepwise_em(batches * 4, held_out, start, tol=1e-4, reg_covar=RIDGE)
    score = held_out(fit.mixture).mean_log_likelihood
    assert score == max(fit.log_likelihood)
    assert score >= held_out(start).mean_log_likelihood


def test_no_batch_is_asked_for_after_the_last_step(photo, shuffled):
    asked = []

    def counted():
        for batch in batches_of(shuffled[4 * BATCH :], 10):
            asked.append(batch)
            yield batch

    _, steps = stepwise_em(counted(), partial(accumulate, shuffled[:BATCH]), start_for(photo, 4), tol=1e-2, reg_covar=RIDGE)
    assert len(asked) == steps


@pytest.mark.parametrize("n_batches", [1, SCORE_EVERY, SCORE_EVERY + 3])
def test_steps_that_run_out_of_batches_say_so_and_have_been_scored(shuffled, photo, n_batches):
    held_out = partial(accumulate, shuffled[:BATCH])
    batches = list(batches_of(shuffled[BATCH:], 1))[:n_batches]
    fit, steps = stepwise_em(batches, held_out, start_for(photo, 4), tol=0, reg_covar=RIDGE)
    assert not fit.converged
    assert steps == n_batches
    assert len(fit.log_likelihood) > 0
    assert held_out(fit.mixture).mean_log_likelihood == max(fit.log_likelihood)


def test_no_batches_leave_the_start(shuffled, photo):
    start = start_for(photo, 4)
    fit, steps = stepwise_em([], partial(accumulate, shuffled[:BATCH]), start, tol=0, reg_covar=RIDGE)
    assert fit.mixture is start
    assert (fit.converged, steps) == (False, 0)


@pytest.fixture
def last(monkeypatch):
    """Run steps to the last batch, where the mixture scores best."""

    def run(batches, start):
        monkeypatch.setattr(minibatch, "SCORE_EVERY", 1)
        scores = count()

        def rising(_):
            return SimpleNamespace(mean_log_likelihood=float(next(scores)))

        return stepwise_em(batches, rising, start, tol=0, reg_covar=RIDGE)[0].mixture

    return run


def test_the_first_step_is_an_iteration_of_em(last):
    mixture = random_mixture(4, 3)
    add_up = partial(accumulate, random_pixels(mixture, 2000, np.uint8))
    actual = last([add_up], mixture)
    expected = expectation_maximization(add_up, mixture, max_iter=1, tol=0, reg_covar=RIDGE).mixture
    np.testing.assert_allclose(actual.weights, expected.weights, rtol=1e-12)
    np.testing.assert_allclose(actual.means, expected.means, rtol=1e-12)
    np.testing.assert_allclose(actual.covariances, expected.covariances, rtol=1e-9, atol=1e-15)


def test_each_batch_counts_the_same_whatever_its_pixels_weigh(last):
    mixture = random_mixture(4, 3)
    parts = np.split(random_pixels(mixture, 4000, np.uint8), 4)
    plain = [partial(accumulate, part) for part in parts]
    heavy = [partial(accumulate, part, weights=np.full(1000, 4.0**i)) for i, part in enumerate(parts)]
    assert last(heavy, mixture).to_json() == last(plain, mixture).to_json()


def test_steps_are_those_of_the_papers(last):
    levels = np.random.default_rng(0).integers(0, 256, 12).astype(np.uint8)
    batches = [partial(accumulate, np.full((10, 1), level, np.uint8)) for level in levels]
    running = average = levels[0] / 255
    for step, level in enumerate(levels[1:] / 255, 2):
        running += (step + 1) ** -0.7 * (level - running)
        average += 4 / (step + 3) * (running - average)
    fitted = last(batches, Mixture(np.ones(1), [[0.5]], [0.1], "spherical"))
    np.testing.assert_allclose(fitted.means, [[average]], rtol=1e-6)


def test_batches_without_pixels_move_nothing(shuffled, photo):
    start, held_out = start_for(photo, 4), partial(accumulate, shuffled[:BATCH])
    empty = partial(accumulate, shuffled[:0])
    assert stepwise_em([empty] * 5, held_out, start, tol=0, reg_covar=RIDGE)[0].mixture is start
    batches = list(batches_of(shuffled[BATCH:], 1))[:3]
    fit, steps = stepwise_em([empty, *batches, empty], held_out, start, tol=0, reg_covar=RIDGE)
    assert steps == 5
    assert fit.log_likelihood[-1] > fit.log_likelihood[0]


def test_steps_keep_the_range():
    space = SampleSpace((-1, 5))
    mixture = replace(random_mixture(3, 2), space=space)
    batches = [partial(accumulate, random_pixels(mixture, 500, np.float32, seed=seed)) for seed in range(SCORE_EVERY)]
    assert stepwise_em(batches, batches[0], mixture, tol=0, reg_covar=RIDGE)[0].mixture.space == space
