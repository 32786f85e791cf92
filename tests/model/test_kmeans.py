"""Clusters are those of k-means, seeds are drawn as they should be, and a color stands for what its cluster varies."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from sklearn.cluster import KMeans

from streamgmm.model.colors import ColorTable
from streamgmm.model.kmeans import GAIN, HARD, clusters, mixture_of, nearest_colors, palette_ridge, plus_plus, reseed
from streamgmm.model.labels import classify
from streamgmm.model.mixture import COVARIANCE_TYPES, Mixture
from streamgmm.model.seeding import around
from streamgmm.model.space import SampleSpace
from streamgmm.model.statistics import Statistics

from .. import naive
from ..conftest import random_mixture

RIDGE = 1e-6
NONE = np.empty((0, 3))


@pytest.fixture(scope="module")
def sample(photo):
    return ColorTable.of(photo[::8, ::8].reshape(-1, 3))


def start_for(sample, n_components, covariance_type="full", seed=0):
    n_bands = sample.colors.shape[1]
    return around(
        sample, plus_plus(sample, np.empty((0, n_bands)), n_components, np.random.default_rng(seed)), covariance_type, RIDGE
    )


def nearest(x, means):
    return ((x[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)


def inertia(sample, means):
    distances = ((sample.values[:, None] - means) ** 2).sum(axis=2)
    return sample.counts @ distances.min(axis=1)


# --- k-means++


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


def test_distances_are_those_of_the_space_in_which_bands_have_ranges_of_their_own():
    """From the mean, the second color is 100 samples away, and the third 10, which are as many ranges."""
    space = SampleSpace(((0, 100), (5000, 5010)), (1, 0))
    table = ColorTable(np.array([[0, 5000], [100, 5000], [0, 5010]], np.uint16), np.ones(3), space)
    rng = np.random.default_rng(0)
    drawn = np.array([plus_plus(table, np.zeros((1, 2)), 1, rng)[0] for _ in range(2000)])
    np.testing.assert_allclose(drawn.mean(axis=0), [0.5, 0.5], atol=0.04)
    assert set(map(tuple, drawn.tolist())) == {(1, 0), (0, 1)}


def test_plus_plus_draws_no_color_twice_while_there_are_others():
    table = ColorTable.of(np.arange(60, dtype=np.uint8)[:, None])
    drawn = plus_plus(table, np.array([[7 / 255]]), 59, np.random.default_rng(0))
    assert sorted(np.rint(drawn[:, 0] * 255).astype(int)) == [level for level in range(60) if level != 7]


# --- Lloyd's algorithm


@pytest.mark.parametrize("n_components", [2, 4, 8, 16])
@pytest.mark.parametrize("seed", [0, 1])
def test_clusters_equal_those_of_scikit_learn(sample, n_components, seed):
    start = start_for(sample, n_components, seed=seed)
    found = clusters(sample.accumulate, start)
    statistics, hard, passes = found.statistics, found.hard, found.passes
    assert inertia(sample, hard.means) < inertia(sample, start.means)
    options = {"n_init": 1, "init": start.means, "tol": 0, "max_iter": passes}
    oracle = KMeans(n_components, **options).fit(sample.values, sample_weight=sample.counts)
    assert inertia(sample, hard.means) == pytest.approx(oracle.inertia_, rel=1e-3)
    assert statistics.responsibilities.sum() == pytest.approx(sample.n_pixels)


@pytest.mark.parametrize("passes", [1, 2, 3])
def test_each_pass_is_a_step_of_scikit_learn(sample, passes):
    start = start_for(sample, 5)
    start = replace(start, means=start.means + np.random.default_rng(0).uniform(0, 1e-3, (5, 3)))  # no color is as near to two
    found = clusters(sample.accumulate, start, passes, -np.inf)
    statistics, hard = found.statistics, found.hard
    means = start.means
    for _ in range(passes):
        of = nearest(sample.values, means)
        means = np.array([np.average(sample.values[of == k], axis=0, weights=sample.counts[of == k]) for k in range(5)])
    assert found.passes == passes
    assert not found.converged
    np.testing.assert_allclose(hard.means, means, atol=1e-5)
    np.testing.assert_allclose(statistics.responsibilities, np.bincount(of, sample.counts), rtol=1e-4)


def test_it_ends_where_a_pass_gains_little(sample, monkeypatch):
    errors = []
    start = start_for(sample, 6)

    def noted(mixture):
        errors.append(inertia(sample, mixture.means))
        return sample.accumulate(mixture)

    found = clusters(noted, start, 1000)
    errors.append(inertia(sample, found.hard.means))
    gains = -np.diff(errors) / errors[:-1]
    assert found.converged
    assert len(gains) == found.passes < 100
    np.testing.assert_allclose(found.errors, errors, rtol=1e-4)
    assert gains[:-1].min() > GAIN
    assert gains[-1] > -1e-6


def test_clusters_are_about_their_centroids_and_vanishingly_wide(sample):
    statistics, hard, *_ = clusters(sample.accumulate, start_for(sample, 4))
    np.testing.assert_array_equal(statistics.origin, hard.means)
    np.testing.assert_allclose(statistics.first / statistics.responsibilities[:, None], 0, atol=1e-9)
    np.testing.assert_allclose(hard.full_covariances, [HARD * np.eye(3)] * 4)
    np.testing.assert_allclose(hard.weights, np.full(4, 1 / 4))


def test_a_mean_that_is_nearest_to_nothing_stays_where_it_is():
    table = ColorTable.of(np.array([[10], [20], [200]], np.uint8))
    start = Mixture.alike(np.array([[15 / 255], [0.8], [-3.0]]), np.eye(1), "full")
    statistics, hard, *_ = clusters(table.accumulate, start)
    assert statistics.responsibilities[2] == 0
    np.testing.assert_allclose(hard.means, [[15 / 255], [200 / 255], [-3.0]], atol=1e-6)


# --- A palette whose nearest color each pixel gets


def nearest_of(sample, start, max_iter=200, tol=1e-7):
    return nearest_colors(sample.accumulate, start, partial(reseed, sample, 0), step=1 / 255, max_iter=max_iter, tol=tol)


def test_its_largest_responsibility_is_that_of_the_nearest_mean_and_means_are_centroids(sample):
    fit = nearest_of(sample, start_for(sample, 12, "isotropic"))
    mixture, x = fit.mixture, sample.values
    of = nearest(x, mixture.means)
    assert (classify(sample.colors, mixture) == of).mean() > 0.999  # but for ties
    centroids = [np.average(x[of == k], axis=0, weights=sample.counts[of == k]) for k in range(12)]
    np.testing.assert_allclose(mixture.means, centroids, atol=2e-4)
    error = inertia(sample, mixture.means) / sample.n_pixels
    assert mixture.covariances == pytest.approx(error / 3, rel=1e-4)
    assert mixture.weights.tolist() == [1 / 12] * 12
    assert fit.converged


def test_its_log_likelihood_is_that_of_each_pixel_in_its_own_cluster_and_rises(sample):
    fit = nearest_of(sample, start_for(sample, 6, "isotropic"))
    x, mixture = sample.values, fit.mixture
    model = (mixture.weights, mixture.means, mixture.covariances, "isotropic")
    own = naive.log_densities(x, model)[np.arange(len(x)), nearest(x, mixture.means)]
    assert fit.log_likelihood[-1] == pytest.approx(np.average(own, weights=sample.counts), abs=1e-4)
    assert (np.diff(fit.log_likelihood) >= 0).all()
    assert len(fit.log_likelihood) == fit.passes + 1


def test_passes_that_run_out_say_so(sample):
    fit = nearest_of(sample, start_for(sample, 12, "isotropic"), max_iter=2)
    assert (fit.passes, fit.converged) == (2, False)


def test_empty_clusters_get_new_seeds_or_are_dropped_but_for_fixed_ones():
    table = ColorTable.of(np.array([[10], [20], [200]], np.uint8))
    start = Mixture.alike(np.array([[15 / 255], [0.8], [-3.0], [-4.0], [-5.0]]), np.eye(1), "isotropic")
    found = nearest_of(table, start).mixture
    np.testing.assert_allclose(np.sort(found.means[:, 0]) * 255, [10, 20, 200], atol=1e-4)
    kept = nearest_of(table, start.standing([3])).mixture
    assert kept.means[kept.fixed].tolist() == [[-4.0]]
    np.testing.assert_allclose(np.sort(kept.means[~kept.fixed, 0]) * 255, [10, 20, 200], atol=1e-4)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_the_mixture_of_clusters_has_their_shares_and_scatter(sample, covariance_type):
    start, ridge = start_for(sample, 4, covariance_type), np.array([1e-6, 1e-3, 2e-3])
    statistics, hard, *_ = clusters(sample.accumulate, start)
    mixture = mixture_of(statistics, hard, start, ridge)
    x = sample.values
    of = np.eye(4)[nearest(x, hard.means)] * sample.counts[:, None]
    weights, means, covariances, _ = naive.maximization(x, of, covariance_type, 0)
    ridges = {"full": np.diag(ridge), "tied": np.diag(ridge), "diag": ridge, "spherical": ridge.mean()}
    ridges = {**ridges, "isotropic": ridge.mean()}[covariance_type]
    assert mixture.covariance_type == covariance_type
    np.testing.assert_allclose(mixture.weights, weights, atol=0.02)
    np.testing.assert_allclose(mixture.means, means, atol=0.01)
    np.testing.assert_allclose(mixture.covariances, covariances + ridges, atol=0.05 * covariances.max())


# --- What a color stands for


def scattered(*within, n=None):
    """Statistics of clusters that have some variances in each band, about their centroids."""
    within = np.array(within, float)
    n = np.full(len(within), 100.0) if n is None else np.array(n, float)
    n_bands = within.shape[1]
    second = n[:, None, None] * np.array([np.diag(variances) for variances in within]).reshape(-1, n_bands, n_bands)
    rows, columns = np.tril_indices(n_bands)
    moments = np.column_stack([n, np.zeros_like(within), second[:, rows, columns]])
    return Statistics(np.zeros_like(within), moments, 0.0, n.sum())


FLOOR = np.array([1e-6, 1e-6])


def test_a_color_stands_for_the_variance_inside_its_cluster():
    assert palette_ridge(scattered([4e-4, 4e-4]), FLOOR).tolist() == pytest.approx([4e-4, 4e-4])


def test_the_variance_is_the_mean_of_bands():
    assert palette_ridge(scattered([1e-4, 7e-4]), FLOOR).tolist() == pytest.approx([4e-4, 4e-4])


def test_it_is_the_geometric_mean_of_clusters_however_many_pixels_they_have():
    alike, uneven = scattered([4e-4] * 2, [1e-4] * 2), scattered([4e-4] * 2, [1e-4] * 2, n=[1, 1e6])
    assert palette_ridge(alike, FLOOR).tolist() == pytest.approx([2e-4, 2e-4])
    assert palette_ridge(uneven, FLOOR).tolist() == pytest.approx([2e-4, 2e-4])


def test_a_cluster_without_pixels_has_no_say():
    assert palette_ridge(scattered([4e-4] * 2, [9.0, 9.0], n=[10, 0]), FLOOR).tolist() == pytest.approx([4e-4, 4e-4])


def test_a_cluster_of_one_color_is_as_wide_as_the_noise():
    floor = np.array([1e-6, 3e-6])
    assert palette_ridge(scattered([0, 0]), floor).tolist() == pytest.approx([2e-6, 3e-6])
    assert palette_ridge(scattered([0, 0], [8e-6, 8e-6]), floor).tolist() == pytest.approx([4e-6, 4e-6])


def test_no_band_has_less_than_its_noise():
    assert palette_ridge(scattered([1e-9, 1e-9]), np.array([1e-8, 9e-6])).tolist() == pytest.approx([4.505e-6, 9e-6])
    assert palette_ridge(scattered([1e-9, 1e-9]), np.array([0, 1e-8])).tolist() == pytest.approx([5.5e-9, 1e-8])
    assert palette_ridge(scattered([0] * 4), np.array([0, 0, 0, 1e-6])).tolist() == pytest.approx([2.5e-7] * 3 + [1e-6])


# --- New seeds


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


# --- The space of the samples

SPACES = {
    "floats": (SampleSpace(((-40, 60), (0, 1))), np.random.default_rng(0).random((200, 2), np.float32)),
    "16 bits": (
        SampleSpace(((-100, 400), (20, 25)), (1, 32_768)),
        np.random.default_rng(0).integers([32_668, 32_788], [33_168, 32_793], (200, 2)).astype(np.uint16),
    ),
}


@pytest.mark.parametrize("name", SPACES)
def test_each_step_keeps_the_space_and_is_in_it(name):
    space, pixels = SPACES[name]
    table = ColorTable.of(pixels, space=space)
    start = start_for(table, 3)
    statistics, hard, *_ = clusters(table.accumulate, start)
    mixture = mixture_of(statistics, hard, start, np.full(2, RIDGE))
    again = reseed(table, 0, mixture, np.array([1]), 1)
    assert start.space == hard.space == mixture.space == again.space == space
    assert (table.values >= 0).all()
    assert (table.values <= 1).all()
    oracle = KMeans(3, n_init=1, init=start.means).fit(table.values, sample_weight=table.counts)
    assert inertia(table, hard.means) == pytest.approx(oracle.inertia_, rel=0.02)
    assert np.abs(table.values - again.means[1]).max(axis=1).min() < 1e-7


@pytest.mark.parametrize("ranges", [5, 50, 500])
def test_clusters_are_those_of_pixels_however_far_outside_of_their_range(ranges, sample):
    """A range that was given may be anything."""
    space = SampleSpace(((0, 255 / ranges),) * 3, (257, 0))
    far = replace(sample, colors=sample.colors.astype(np.uint16) * 257, space=space)
    start = start_for(sample, 8)
    expected, near, *_ = clusters(sample.accumulate, start)
    found, apart, *_ = clusters(far.accumulate, replace(start, means=start.means * ranges, space=space))
    np.testing.assert_array_equal(found.responsibilities, expected.responsibilities)
    np.testing.assert_allclose(apart.means / ranges, near.means, rtol=1e-5)


@pytest.mark.parametrize("n_bands", [3, 16, 40, 200])
def test_every_pixel_belongs_to_a_cluster_in_however_many_bands(n_bands):
    """Densities are far below what float32 holds a difference of 30 beside."""
    pixels = np.random.default_rng(n_bands).integers(0, 1 << 16, (400, n_bands)).astype(np.uint16)
    table = ColorTable.of(pixels)
    start = start_for(table, 3)
    statistics, hard, *_ = clusters(table.accumulate, start)
    assert statistics.responsibilities.sum() == 400
    distances = ((table.values[:, None] - hard.means) ** 2).sum(axis=2)
    expected = np.bincount(distances.argmin(axis=1), minlength=3)
    assert np.abs(statistics.responsibilities - expected).max() <= 2  # of the means before the last step
