"""Seeds are drawn as they should be, and the same seed draws the same."""

from typing import get_args

import numpy as np
import pytest
from sklearn.cluster import KMeans

from streamgmm.model import seeding
from streamgmm.model.colors import ColorTable
from streamgmm.model.mixture import COVARIANCE_TYPES, Mixture
from streamgmm.model.seeding import around, lloyd, plus_plus, reseed, seed_mixture
from streamgmm.model.space import SampleSpace
from streamgmm.options import Init

from .. import naive
from ..conftest import colors, random_mixture

RIDGE = 1e-6
INITS = get_args(Init)
NONE = np.empty((0, 3))


@pytest.fixture(scope="module")
def sample(photo):
    return ColorTable.of(photo[::8, ::8].reshape(-1, 3))


def seeded(sample, n_components=6, covariance_type="full", init="kmeans", *, seed=0, threads=1):
    options = {"tol": 1e-3, "reg_covar": RIDGE, "seed": seed, "threads": threads}
    return seed_mixture(sample, n_components, covariance_type, init, **options)


def inertia(sample, means):
    distances = ((colors(sample.colors)[:, None] - means) ** 2).sum(axis=2)
    return sample.counts @ distances.min(axis=1)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("init", INITS)
def test_the_same_seed_gives_the_same_mixture_on_any_number_of_threads(sample, init, covariance_type):
    mixture = seeded(sample, 6, covariance_type, init)
    assert mixture.to_json() == seeded(sample, 6, covariance_type, init, threads=2).to_json()
    assert (mixture.n_components, mixture.covariance_type) == (6, covariance_type)


@pytest.mark.parametrize("init", INITS)
def test_another_seed_gives_another_mixture(sample, init):
    assert seeded(sample, init=init).to_json() != seeded(sample, init=init, seed=1).to_json()


@pytest.mark.parametrize("init", INITS)
def test_fewer_colors_than_components_give_a_component_each(init):
    few = ColorTable.of(np.array([[0, 0, 0], [90, 80, 70], [255, 255, 0]], np.uint8).repeat([5, 3, 2], axis=0))
    mixture = seeded(few, 16, init=init).ordered()
    np.testing.assert_allclose(mixture.means * 255, [[0, 0, 0], [90, 80, 70], [255, 255, 0]], atol=1e-3)
    np.testing.assert_allclose(mixture.weights, [0.5, 0.3, 0.2], atol=1e-6)


@pytest.mark.parametrize("init", INITS)
def test_a_seed_has_climbed_as_far_as_the_sample_goes(sample, init):
    mixture = seeded(sample, init=init)
    history, _ = naive.expectation_maximization(
        colors(sample.colors), (mixture.weights, mixture.means, mixture.covariances, "full"), 2, RIDGE, sample.counts
    )
    assert history[1] - history[0] < 1e-4


def test_the_best_of_the_starts_goes_on(sample, monkeypatch):
    best = sample.accumulate(seeded(sample, 4)).mean_log_likelihood
    monkeypatch.setattr(seeding, "RESTARTS", 1)
    assert best > sample.accumulate(seeded(sample, 4)).mean_log_likelihood + 0.5


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_around_means_stand_equal_components_as_wide_as_the_image(sample, covariance_type):
    means = colors(sample.colors[[5, 500, 900]])
    mixture = around(sample, means, covariance_type, 1e-3)
    whole = np.cov(colors(sample.colors).T, fweights=sample.counts.astype(int), bias=True) + 1e-3 * np.eye(3)
    variances = np.diag(whole)
    expected = {"full": [whole] * 3, "tied": whole, "diag": [variances] * 3, "spherical": [variances.mean()] * 3}
    np.testing.assert_array_equal(mixture.means, means)
    np.testing.assert_allclose(mixture.weights, np.full(3, 1 / 3))
    np.testing.assert_allclose(mixture.covariances, expected[covariance_type], rtol=1e-5)


@pytest.mark.parametrize("init", INITS)
def test_colors_that_do_not_occur_are_never_drawn(init, monkeypatch):
    drawn = []
    monkeypatch.setattr(seeding, "around", lambda sample, means, *rest: drawn.append(means) or around(sample, means, *rest))
    levels = np.arange(40, dtype=np.uint8)[:, None] * 6
    seeded(ColorTable(levels, np.tile([0.0, 2.0], 20)), 8, init=init)
    assert len(drawn) == seeding.RESTARTS
    assert {round(float(mean)) for means in drawn for mean in means.ravel() * 255} <= set(levels[1::2].ravel().tolist())


def test_plus_plus_draws_the_first_mean_by_counts():
    table = ColorTable(np.array([[0], [100], [200]], np.uint8), np.array([1.0, 6.0, 3.0]))
    rng = np.random.default_rng(0)
    drawn = [round(float(plus_plus(table, np.empty((0, 1)), 1, rng)[0, 0] * 255)) for _ in range(4000)]
    shares = [drawn.count(level) / 4000 for level in (0, 100, 200)]
    np.testing.assert_allclose(shares, [0.1, 0.6, 0.3], atol=0.02)


def test_plus_plus_draws_by_counts_times_squared_distance_from_the_nearest_mean():
    table = ColorTable(np.array([[0], [50], [100], [200]], np.uint8), np.array([1.0, 4.0, 3.0, 2.0]))
    means, mass = np.array([[0.0], [200 / 255]]), np.array([0, 4 * 50**2, 3 * 100**2, 0])
    rng = np.random.default_rng(0)
    drawn = [round(float(plus_plus(table, means, 1, rng)[0, 0] * 255)) for _ in range(4000)]
    shares = [drawn.count(level) / 4000 for level in (0, 50, 100, 200)]
    np.testing.assert_allclose(shares, mass / mass.sum(), atol=0.02)


def test_plus_plus_draws_no_color_twice_while_there_are_others():
    table = ColorTable.of(np.arange(60, dtype=np.uint8)[:, None])
    drawn = plus_plus(table, np.array([[7 / 255]]), 59, np.random.default_rng(0))
    assert sorted(np.rint(drawn[:, 0] * 255).astype(int)) == [level for level in range(60) if level != 7]


@pytest.mark.parametrize("n_components", [2, 4, 8, 16])
@pytest.mark.parametrize("seed", [0, 1])
def test_lloyd_equals_scikit_learn(sample, n_components, seed):
    means = plus_plus(sample, NONE, n_components, np.random.default_rng(seed))
    clusters = lloyd(sample, around(sample, means, "full", RIDGE), RIDGE, 1)
    options = {"n_init": 1, "init": means, "tol": 0, "max_iter": seeding.LLOYD}
    oracle = KMeans(n_components, **options).fit(colors(sample.colors), sample_weight=sample.counts)
    assert inertia(sample, clusters.means) == pytest.approx(oracle.inertia_, rel=0.01)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_lloyd_returns_the_shares_and_scatter_of_its_clusters(sample, covariance_type):
    means = plus_plus(sample, NONE, 4, np.random.default_rng(0))
    clusters = lloyd(sample, around(sample, means, covariance_type, RIDGE), RIDGE, 1)
    x = colors(sample.colors)
    nearest = ((x[:, None] - clusters.means) ** 2).sum(axis=2).argmin(axis=1)
    hard = np.eye(4)[nearest] * sample.counts[:, None]
    expected = Mixture(*naive.maximization(x, hard, covariance_type, RIDGE))
    np.testing.assert_allclose(clusters.weights, expected.weights, atol=0.02)
    np.testing.assert_allclose(clusters.covariances, expected.covariances, atol=0.05 * expected.covariances.max())


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_reseeding_moves_the_failed_components_and_no_others(sample, covariance_type):
    mixture = random_mixture(5, 3, covariance_type)
    failed, kept = np.array([1, 4]), [0, 2, 3]
    moved = reseed(sample, 0, mixture, failed, 1)
    np.testing.assert_array_equal(moved.means[kept], mixture.means[kept])
    np.testing.assert_array_equal(moved.full_covariances[kept], mixture.full_covariances[kept])
    np.testing.assert_allclose(moved.weights[kept] / moved.weights[0], mixture.weights[kept] / mixture.weights[0])
    assert (moved.means[failed] != mixture.means[failed]).any(axis=1).all()
    assert len(np.unique(moved.means, axis=0)) == 5


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_new_seeds_have_an_even_share_and_the_average_covariance(sample, covariance_type):
    mixture = random_mixture(4, 3, covariance_type)
    moved = reseed(sample, 0, mixture, np.array([2]), 1)
    share = 0.25 / (1 - mixture.weights[2] + 0.25)
    average = np.tensordot(mixture.weights, mixture.full_covariances, axes=1)
    assert moved.weights[2] == pytest.approx(share)
    np.testing.assert_allclose(moved.full_covariances[2], average, rtol=1e-12, atol=1e-15)


def test_reseeding_repeats_itself_for_the_same_seed_and_round_alone(sample):
    mixture, failed = random_mixture(5, 3), np.array([1, 4])
    draws = [reseed(sample, seed, mixture, failed, attempt).means for seed, attempt in [(0, 1), (0, 1), (0, 2), (1, 1)]]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert len({draw.tobytes() for draw in draws}) == 3


RANGED = ColorTable.of(np.random.default_rng(0).random((200, 2), np.float32), space=SampleSpace((-40, 60)))


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("init", INITS)
def test_a_fit_of_a_table_with_a_range_comes_out_with_it(init, covariance_type):
    assert seeded(RANGED, 4, covariance_type, init).space == RANGED.space


def test_each_step_of_seeding_keeps_the_range():
    start = around(RANGED, RANGED.values[:3], "full", RIDGE)
    clusters = lloyd(RANGED, start, RIDGE, 1)
    assert start.space == clusters.space == reseed(RANGED, 0, clusters, np.array([1]), 1).space == RANGED.space


def test_a_search_that_would_take_long_has_one_start(sample, monkeypatch):
    starts = []
    monkeypatch.setattr(seeding, "around", lambda *arguments: starts.append(arguments) or around(*arguments))
    monkeypatch.setattr(seeding, "WORK", 1)
    assert seeded(sample, 3).n_components == 3
    assert len(starts) == 1
