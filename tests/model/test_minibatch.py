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
from streamgmm.model.kmeans import clusters, hardened
from streamgmm.model.minibatch import DECAY, PATIENCE, SCORE_EVERY, stepwise_em
from streamgmm.model.mixture import Mixture
from streamgmm.model.seeding import seed_mixture
from streamgmm.model.space import SampleSpace
from streamgmm.model.statistics import accumulate

from ..conftest import random_mixture, random_pixels

RIDGE = 1e-6
BATCH = 4096
STEP = 1 / 255


@pytest.fixture(scope="module")
def shuffled(photo):
    return np.random.default_rng(0).permutation(photo.reshape(-1, 3))


def start_for(photo, n_components, covariance_type="full", every=16):
    sample = ColorTable.of(photo[::every, ::every].reshape(-1, 3))
    options = {"ridge": RIDGE, "matched": False, "tol": 1e-2, "seed": 0, "threads": 1, "advance": lambda n_colors: None}
    return seed_mixture(sample, n_components, covariance_type, "kmeans", **options).mixture


def batches_of(pixels, epochs):
    for _ in range(epochs):
        for first in range(0, len(pixels), BATCH):
            yield partial(accumulate, pixels[first : first + BATCH])


def steps_of(batches, held_out, start, *, sample=None, tol=0.0, ridge=RIDGE, hard=False):
    """Steps from a start that was fitted to a sample, by default to what is held out."""
    return stepwise_em(batches, held_out, sample or held_out, start, step=STEP, tol=tol, ridge=ridge, hard=hard)


def fit_in_steps(shuffled, start, *, epochs=10, tol=3e-4):
    held_out, sample = ColorTable.of(shuffled[: 4 * BATCH]), partial(accumulate, shuffled[::64])
    return steps_of(batches_of(shuffled[4 * BATCH :], epochs), held_out.accumulate, start, sample=sample, tol=tol)


@pytest.mark.parametrize(
    ("n_components", "covariance_type"),
    [(4, "full"), (8, "full"), (16, "full"), (4, "tied"), (4, "diag"), (4, "spherical")],
)
def test_steps_come_within_a_twentieth_of_a_nat_of_em_on_every_pixel(photo, shuffled, n_components, covariance_type):
    everything = ColorTable.of(shuffled)
    start = start_for(photo, n_components, covariance_type, every=8)
    fit = fit_in_steps(shuffled, start)
    full = expectation_maximization(everything.accumulate, start, max_iter=100, tol=1e-4, ridge=RIDGE)
    actual = everything.accumulate(fit.mixture).mean_log_likelihood
    assert actual > full.log_likelihood[-1] - 0.05
    assert actual >= full.log_likelihood[0] - 1e-6
    assert fit.mixture.covariance_type == covariance_type


def test_the_same_batches_give_the_same_bits(photo, shuffled):
    start = start_for(photo, 4)
    first, second = fit_in_steps(shuffled, start), fit_in_steps(shuffled, start)
    assert first.mixture.to_json() == second.mixture.to_json()
    assert (first.log_likelihood, first.passes) == (second.log_likelihood, second.passes)


def test_steps_end_where_scores_stop_gaining(photo, shuffled):
    fit = fit_in_steps(shuffled, start_for(photo, 4), tol=1e-3)
    highest = np.maximum.accumulate(fit.log_likelihood)
    gaining = fit.log_likelihood[1:] >= highest[:-1] + 1e-3
    assert fit.converged
    assert gaining[0]
    assert not gaining[-PATIENCE:].any()
    assert fit.passes % SCORE_EVERY == 0


@pytest.mark.parametrize("side", [16, 32, 64])
def test_the_result_is_the_mixture_of_the_best_score_and_no_worse_than_the_start(photo, side):
    tiles = photo.reshape(512 // side, side, 512 // side, side, 3).swapaxes(1, 2).reshape(-1, side * side, 3)
    order = np.random.default_rng(0).permutation(len(tiles))
    per_batch = len(tiles) // 16
    held_out = partial(accumulate, tiles[order[:per_batch]])
    start = start_for(photo, 16, every=8)
    batches = [partial(accumulate, tiles[part]) for part in np.split(order[per_batch:], 15)]
    fit = steps_of(batches * 4, held_out, start, sample=batches[0], tol=1e-4)
    score = held_out(fit.mixture).mean_log_likelihood
    assert score == pytest.approx(max(fit.log_likelihood), abs=1e-6)
    assert score >= held_out(start).mean_log_likelihood


def test_no_batch_is_asked_for_after_the_last_step(photo, shuffled):
    asked = []

    def counted():
        for batch in batches_of(shuffled[4 * BATCH :], 10):
            asked.append(batch)
            yield batch

    fit = steps_of(counted(), partial(accumulate, shuffled[:BATCH]), start_for(photo, 4), tol=1e-2)
    assert len(asked) == fit.passes


@pytest.mark.parametrize("n_batches", [1, SCORE_EVERY, SCORE_EVERY + 3])
def test_steps_that_run_out_of_batches_say_so_and_have_been_scored(shuffled, photo, n_batches):
    held_out = partial(accumulate, shuffled[:BATCH])
    batches = list(batches_of(shuffled[BATCH:], 1))[:n_batches]
    fit = steps_of(batches, held_out, start_for(photo, 4), sample=batches[0])
    assert not fit.converged
    assert fit.passes == n_batches
    assert len(fit.log_likelihood) > 1
    assert held_out(fit.mixture).mean_log_likelihood == pytest.approx(max(fit.log_likelihood), abs=1e-6)


def test_no_batches_leave_the_start(shuffled, photo):
    start = start_for(photo, 4)
    fit = steps_of([], partial(accumulate, shuffled[:BATCH]), start)
    assert fit.mixture.to_json() == start.ordered().to_json()
    assert (fit.converged, fit.passes) == (False, 0)


def test_a_start_that_no_step_betters_stays(shuffled):
    """It was fitted to what is held out; batches are of other colors."""
    held_out = ColorTable.of(shuffled[: 4 * BATCH]).accumulate
    start = expectation_maximization(held_out, random_mixture(3, 3), max_iter=500, tol=1e-7, ridge=RIDGE).mixture
    others = [partial(accumulate, shuffled[first : first + BATCH] // 2) for first in range(0, 12 * BATCH, BATCH)]
    fit = steps_of(others, held_out, start, tol=1e-4)
    assert fit.mixture.to_json() == start.ordered().to_json()
    assert (fit.converged, fit.passes) == (True, PATIENCE * SCORE_EVERY)


@pytest.fixture
def last(monkeypatch):
    """Run steps to the last batch, where the mixture scores best."""

    def run(batches, start, sample, **options):
        monkeypatch.setattr(minibatch, "SCORE_EVERY", 1)
        scores = count()

        def rising(_):
            return SimpleNamespace(mean_log_likelihood=float(next(scores)))

        return steps_of(batches, rising, start, sample=sample, **options).mixture

    return run


@pytest.mark.parametrize("n_batch", [500, 2000, 8000])
def test_the_first_step_is_an_iteration_of_em_on_sample_and_batch(last, n_batch):
    """Statistics begin with those of the sample, and each pixel counts the same."""
    mixture = random_mixture(4, 3)
    pixels = random_pixels(mixture, 2000 + n_batch, np.uint8)
    actual = last([partial(accumulate, pixels[2000:])], mixture, partial(accumulate, pixels[:2000]))
    both = partial(accumulate, pixels)
    expected = expectation_maximization(both, mixture, max_iter=1, tol=0, ridge=RIDGE).mixture.ordered()
    np.testing.assert_allclose(actual.weights, expected.weights, rtol=1e-6)
    np.testing.assert_allclose(actual.means, expected.means, rtol=1e-6)
    np.testing.assert_allclose(actual.covariances, expected.covariances, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("n_sample", [10, 40, 1000])
def test_steps_are_those_of_the_papers(last, n_sample):
    levels = np.random.default_rng(0).integers(0, 256, 12).astype(np.uint8)
    sample = partial(accumulate, np.full((n_sample, 1), 100, np.uint8))
    batches = [partial(accumulate, np.full((10, 1), level, np.uint8)) for level in levels]
    running = average = 100 / 255
    first = (10 / (n_sample + 10)) ** (-1 / DECAY)
    for step, level in enumerate(levels / 255, 1):
        running += (step - 1 + first) ** -DECAY * (level - running)
        average += 4 / (step + 3) * (running - average)
    fitted = last(batches, Mixture(np.ones(1), [[0.5]], [0.1], "spherical"), sample)
    np.testing.assert_allclose(fitted.means, [[average]], rtol=1e-6)


def test_the_steps_after_the_first_count_batches_the_same_whatever_they_weigh(last):
    mixture = random_mixture(4, 3)
    parts = np.split(random_pixels(mixture, 5000, np.uint8), 5)
    plain = [partial(accumulate, part) for part in parts]
    heavy = [plain[1], *(partial(accumulate, part, weights=np.full(1000, 4.0**i)) for i, part in enumerate(parts[2:], 1))]
    assert last(heavy, mixture, plain[0]).to_json() == last(plain[1:], mixture, plain[0]).to_json()


def test_hard_steps_are_those_of_k_means(last):
    """Under a ridge as wide as a cluster, EM would draw the means together."""
    mixture = random_mixture(4, 3)
    pixels = random_pixels(mixture, 4000, np.uint8)
    sample, batch, both = (partial(accumulate, part) for part in (pixels[:1000], pixels[1000:], pixels))
    actual = last([batch], mixture, sample, ridge=0.01, hard=True)
    _, expected, *_ = clusters(both, mixture, 1)
    order = np.argsort(-both(hardened(mixture)).responsibilities, kind="stable")
    np.testing.assert_allclose(actual.means, expected.means[order], rtol=1e-6)
    assert np.diagonal(actual.covariances, axis1=1, axis2=2).min() >= 0.01


def test_components_that_die_or_come_to_coincide_are_dropped(last):
    """Two of the same color, and one of a color that no later batch has."""
    ends = np.array([[30], [200]], np.uint8)
    mixture = Mixture(np.full(4, 0.25), [[30 / 255], [30 / 255], [200 / 255], [-5.0]], np.full(4, 1e-3), "spherical")
    fitted = last([partial(accumulate, ends.repeat(50, axis=0))] * 3, mixture, partial(accumulate, ends.repeat(9, axis=0)))
    np.testing.assert_allclose(sorted(fitted.means[:, 0]), [30 / 255, 200 / 255], atol=1e-3)
    assert fitted.weights.sum() == pytest.approx(1)


def test_batches_without_pixels_move_nothing(shuffled, photo):
    start, held_out = start_for(photo, 4), partial(accumulate, shuffled[:BATCH])
    empty, batches = partial(accumulate, shuffled[:0]), list(batches_of(shuffled[BATCH:], 1))[:3]
    few = partial(accumulate, shuffled[::2048])
    gaps, none = ([*few_batches] for few_batches in ([empty, *batches, empty], batches))
    fit = steps_of(gaps, held_out, start, sample=few)
    assert fit.passes == 5
    assert fit.log_likelihood[-1] == pytest.approx(steps_of(none, held_out, start, sample=few).log_likelihood[-1], abs=0.02)


def test_steps_keep_the_range():
    space = SampleSpace(((-1, 5), (-1, 5)))
    mixture = replace(random_mixture(3, 2), space=space)
    batches = [partial(accumulate, random_pixels(mixture, 500, np.float32, seed=seed)) for seed in range(SCORE_EVERY)]
    assert steps_of(batches, batches[0], mixture).mixture.space == space
