"""Means are moved to where they lower the error, and no search ends above its start."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from sklearn.cluster import KMeans

from streamgmm.model.colors import ColorTable
from streamgmm.model.kmeans import clusters, plus_plus
from streamgmm.model.mixture import Mixture
from streamgmm.model.relocation import CLIMB, PASSES, relocated
from streamgmm.model.seeding import around

from ..conftest import random_mixture, random_pixels

RIDGE = np.full(3, 1e-6)


@pytest.fixture(scope="module")
def sample(photo):
    return ColorTable.of(photo[::4, ::4].reshape(-1, 3))


def start_of(sample, n_means, fixed=()):
    given = np.array(fixed, float).reshape(-1, 3)
    drawn = plus_plus(sample, given, n_means - len(given), np.random.default_rng(0))
    start = around(sample, np.concatenate([given, drawn]), "isotropic", RIDGE).standing(np.arange(len(given)))
    return clusters(sample.accumulate, start)


def search(sample, found, passes=PASSES, *, seed=0, threads=1, accumulate=None):
    accumulate = accumulate or partial(sample.accumulate, threads=threads)
    return relocated(accumulate, found, passes=passes, generator=np.random.default_rng(seed))


@pytest.mark.parametrize("n_means", [16, 64])
def test_a_search_is_no_worse_than_the_best_of_three_of_scikit_learn(sample, n_means):
    oracle = KMeans(n_means, n_init=3, tol=0, max_iter=1000, random_state=0).fit(sample.values, sample_weight=sample.counts)
    assert search(sample, start_of(sample, n_means)).errors[-1] < 1.002 * oracle.inertia_


@pytest.mark.parametrize("n_means", [1, 2, 3, 30])
def test_more_passes_never_lose(sample, n_means):
    start = start_of(sample, n_means)
    errors = [start.errors[-1], *(search(sample, start, passes).errors[-1] for passes in (CLIMB, 100, 400))]
    assert all(later <= earlier for earlier, later in pairwise(errors))
    if n_means == 30:
        assert errors[-1] < 0.99 * errors[0]


def test_a_mean_between_two_clusters_finds_the_one_that_was_missed():
    means = np.array([[0.1, 0.1, 0.1], [0.3, 0.3, 0.3], [0.9, 0.1, 0.5], [0.5, 0.9, 0.9]])
    truth = Mixture(np.full(4, 0.25), means, np.full(4, 1e-4), "spherical")
    table = ColorTable.of(random_pixels(truth, 4000, np.uint8))
    bad = Mixture.alike(means[[1, 2, 3, 3]] + 0.01 * np.arange(4)[:, None], np.eye(3), "isotropic")
    stuck = clusters(table.accumulate, bad)
    found = search(table, stuck)
    assert found.errors[-1] < 0.1 * stuck.errors[-1]
    np.testing.assert_allclose(found.hard.means[np.lexsort(found.hard.means.T)], means[np.lexsort(means.T)], atol=0.01)


def test_fixed_means_stay(sample):
    fixed = [[1, 1, 1], [1, 0, 1]]
    start = start_of(sample, 30, fixed)
    found = search(sample, start)
    assert found.errors[-1] < start.errors[-1]
    np.testing.assert_array_equal(found.hard.means[:2], fixed)


def test_it_repeats_itself_on_any_number_of_threads_and_for_the_same_seed_alone(sample):
    start = start_of(sample, 20)
    first, second, other = (search(sample, start, threads=threads, seed=seed) for threads, seed in [(1, 0), (2, 0), (1, 1)])
    np.testing.assert_array_equal(first.hard.means, second.hard.means)
    assert not np.array_equal(first.hard.means, other.hard.means)


@pytest.mark.parametrize("passes", [0, CLIMB - 1, CLIMB, 70])
def test_it_makes_no_more_passes_than_it_may(sample, passes):
    made = []
    start = start_of(sample, 6)
    search(sample, start, passes, accumulate=lambda mixture: made.append(mixture) or sample.accumulate(mixture))
    assert len(made) <= passes
    assert (len(made) > 0) == (passes >= CLIMB)


def test_clusters_without_pixels_or_width_are_no_trouble():
    table = ColorTable.of(np.array([[0, 0, 0], [0, 0, 9], [255, 255, 255]], np.uint8))
    start = clusters(table.accumulate, random_mixture(5, 3, "isotropic"))
    assert search(table, start).errors[-1] == pytest.approx(0, abs=1e-9)
