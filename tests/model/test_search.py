"""A search keeps what gains, and swaps are sound mixtures of as many components."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from streamgmm.model.colors import ColorTable
from streamgmm.model.em import TRIAL, Fit, expectation_maximization
from streamgmm.model.kmeans import plus_plus
from streamgmm.model.mixture import COVARIANCE_TYPES, SHARED, Mixture
from streamgmm.model.search import FAILURES, FAILURES_EACH, SHARE, put, search, split
from streamgmm.model.seeding import around

from ..conftest import colors, random_mixture, random_pixels

RIDGE = np.full(3, 1e-6)


@pytest.fixture(scope="module")
def sample(photo):
    return ColorTable.of(photo[::8, ::8].reshape(-1, 3))


def start_of(sample, n_components, covariance_type="full"):
    means = plus_plus(sample, np.empty((0, 3)), n_components, np.random.default_rng(0))
    start = around(sample, means, covariance_type, RIDGE)
    return expectation_maximization(sample.accumulate, start, max_iter=1000, tol=1e-5, ridge=RIDGE)


def found(sample, fit, passes=500, *, seed=0, accumulate=None, threads=1):
    accumulate = accumulate or partial(sample.accumulate, threads=threads)
    generator = np.random.default_rng(seed)
    return search(accumulate, sample, fit, ridge=RIDGE, tol=1e-5, passes=passes, generator=generator)


def mean_log_likelihood(sample, mixture):
    return sample.accumulate(mixture).mean_log_likelihood


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("n_components", [2, 8])
def test_a_search_keeps_components_and_never_loses(sample, n_components, covariance_type):
    fit = start_of(sample, n_components, covariance_type)
    fits = [fit, *(found(sample, fit, passes) for passes in (1, 50, 500))]
    likelihoods = [mean_log_likelihood(sample, each.mixture) for each in fits]
    assert all(later >= earlier for earlier, later in pairwise(likelihoods))
    assert {(each.mixture.n_components, each.mixture.covariance_type) for each in fits} == {(n_components, covariance_type)}
    assert [each.log_likelihood[-1] for each in fits] == likelihoods


def test_a_search_finds_the_clusters_that_a_bad_start_missed():
    means = np.array([[0.1, 0.1, 0.1], [0.3, 0.3, 0.3], [0.9, 0.1, 0.5], [0.5, 0.9, 0.9]])
    truth = Mixture(np.full(4, 0.25), means, np.full(4, 1e-4), "spherical")
    table = ColorTable.of(random_pixels(truth, 4000, np.uint8))
    bad = Mixture(truth.weights, means[[1, 2, 3, 3]] + 0.01 * np.arange(4)[:, None], truth.covariances, "spherical")
    stuck = expectation_maximization(table.accumulate, bad, max_iter=1000, tol=1e-6, ridge=RIDGE)
    assert stuck.log_likelihood[-1] < mean_log_likelihood(table, truth) - 0.1
    mixture = found(table, stuck).mixture.ordered()
    assert mean_log_likelihood(table, mixture) > mean_log_likelihood(table, truth)
    np.testing.assert_allclose(mixture.means[np.lexsort(mixture.means.T)], means[np.lexsort(means.T)], atol=0.01)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_a_search_leaves_fixed_means_where_they_are(sample, covariance_type):
    means = np.concatenate([[[1, 1, 1], [0.5, 0, 0.5]], plus_plus(sample, np.empty((0, 3)), 4, np.random.default_rng(0))])
    start = around(sample, means, covariance_type, RIDGE).standing([0, 1])
    fit = expectation_maximization(sample.accumulate, start, max_iter=1000, tol=1e-5, ridge=RIDGE)
    better = found(sample, fit)
    assert better.log_likelihood[-1] > fit.log_likelihood[-1] or covariance_type == "isotropic"  # which is there at once
    np.testing.assert_array_equal(better.mixture.means[:2], means[:2])
    assert better.mixture.fixed.tolist() == [True, True, False, False, False, False]


def test_a_search_repeats_itself_on_any_number_of_threads_and_for_the_same_seed_alone(sample):
    fit = start_of(sample, 6)
    first, second, other = (found(sample, fit, threads=threads, seed=seed) for threads, seed in [(1, 0), (2, 0), (1, 1)])
    assert first.mixture.to_json() == second.mixture.to_json() != other.mixture.to_json()


def test_a_search_makes_no_more_passes_than_it_may(sample):
    fit, passes = start_of(sample, 6), []
    found(sample, fit, 70, accumulate=lambda mixture: passes.append(mixture) or sample.accumulate(mixture))
    assert len(passes) == 70


def test_a_search_ends_when_many_swaps_in_a_row_fail():
    table, passes = ColorTable.of(random_pixels(random_mixture(1, 3), 2000, np.uint8)), []
    best = Fit(random_mixture(2, 3), [np.inf], True, 1)
    assert found(table, best, 10**9, accumulate=lambda mixture: passes.append(mixture) or table.accumulate(mixture)) is best
    swaps = FAILURES + 2 * FAILURES_EACH
    assert len(passes) == (TRIAL + 1) * swaps


def test_one_component_has_nowhere_to_go(sample):
    fit = start_of(sample, 1)
    assert found(sample, fit) is fit


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_the_halves_of_a_component_make_up_the_whole(covariance_type):
    mixture = random_mixture(2, 3, covariance_type)
    halves = split(mixture, np.zeros(3), np.random.default_rng(0))
    middle, offset = halves.means.mean(axis=0), (halves.means[0] - halves.means[1]) / 2
    [parent] = np.flatnonzero(np.isclose(mixture.means, middle).all(axis=1))
    np.testing.assert_allclose(halves.weights, 0.5)
    whole = mixture.full_covariances[parent]
    if covariance_type in ("full", "diag"):
        expected = np.diag(whole) - offset**2
        np.testing.assert_allclose(np.diagonal(halves.full_covariances, axis1=1, axis2=2), [expected, expected])
    longest = np.linalg.eigh(whole)[1][:, -1]
    assert abs(offset @ longest) == pytest.approx(np.linalg.norm(offset))


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_a_component_that_is_put_at_a_color_is_part_of_the_one_there(covariance_type):
    mixture = random_mixture(5, 3, covariance_type)
    color = mixture.means[2] + 1e-3
    moved = put(mixture, color, np.zeros(3), np.random.default_rng(0))
    [taken] = np.flatnonzero((moved.means != mixture.means).any(axis=1))
    np.testing.assert_array_equal(moved.means[taken], color)
    assert taken != 2
    one = covariance_type == "isotropic"
    assert moved.weights[taken] == pytest.approx(0.2 if one else SHARE * (mixture.weights[taken] + mixture.weights[2]))
    assert moved.weights.sum() == pytest.approx(1)
    rest = np.setdiff1d(np.arange(5), taken)
    np.testing.assert_array_equal(moved.full_covariances[rest], mixture.full_covariances[rest])
    if covariance_type not in SHARED:
        assert np.linalg.det(moved.full_covariances[taken]) < np.linalg.det(mixture.full_covariances[2])


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_swaps_of_dead_components_are_sound(covariance_type):
    alive = random_mixture(3, 3, covariance_type)
    mixture = Mixture([1.0, 0.0, 0.0], alive.means, alive.covariances, covariance_type)
    table = ColorTable.of(random_pixels(mixture, 200, np.uint8))
    for seed in range(20):
        generator = np.random.default_rng(seed)
        for moved in (split(mixture, RIDGE, generator), put(mixture, colors(table.colors)[seed], RIDGE, generator)):
            assert moved.weights.sum() == pytest.approx(1)
            assert not np.isnan(mean_log_likelihood(table, moved))
