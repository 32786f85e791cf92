"""EM climbs as the textbook's does, and ends with a sound mixture on any data."""

import logging
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.mixture import GaussianMixture

from streamgmm.model.colors import ColorTable
from streamgmm.model.em import (
    HOPE,
    RESEEDS,
    TRIAL,
    expectation_maximization,
    expected_log_likelihood,
    fit_mixture,
    maximization,
    redundant,
)
from streamgmm.model.kmeans import plus_plus, reseed
from streamgmm.model.mixture import COVARIANCE_TYPES, Mixture
from streamgmm.model.seeding import around
from streamgmm.model.statistics import accumulate

from .. import naive
from ..conftest import colors, parts, random_mixture, random_pixels

RIDGE = 1e-6
STEP = 1 / 255


def start_for(table, n_components, covariance_type="full", seed=0, ridge=RIDGE):
    means = plus_plus(table, np.empty((0, table.colors.shape[1])), n_components, np.random.default_rng(seed))
    return around(table, means, covariance_type, ridge)


def fit(table, start, max_iter=50, tol=1e-5, ridge=RIDGE):
    return fit_mixture(table.accumulate, start, partial(reseed, table, 0), step=STEP, max_iter=max_iter, tol=tol, ridge=ridge)


def iterate(accumulate, mixture, n_iter, ridge=RIDGE):
    """The log-likelihoods of some iterations, and the mixtures they are those of."""
    history, mixtures = [], []
    for _ in range(n_iter):
        statistics = accumulate(mixture)
        history.append(statistics.mean_log_likelihood)
        mixtures.append(mixture)
        mixture = maximization(statistics, mixture, ridge)
    return np.array(history), mixtures


def assert_sound(mixture):
    assert np.isfinite(mixture.means).all()
    assert np.isfinite(mixture.covariances).all()
    assert mixture.weights.min() > 0
    assert mixture.weights.sum() == pytest.approx(1, abs=1e-12)
    assert (np.linalg.eigvalsh(mixture.full_covariances) > 0).all()
    assert (np.diff(mixture.weights) <= 0).all()
    assert len(redundant(mixture, STEP)) == 0


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_the_origin_of_statistics_does_not_move_the_m_step(covariance_type):
    mixture = random_mixture(4, 3, covariance_type)
    statistics = accumulate(random_pixels(mixture, 1000, np.uint8), mixture)
    expected = maximization(statistics, mixture, RIDGE)
    actual = maximization(statistics.about(np.full((4, 3), 0.9)), mixture, RIDGE)
    np.testing.assert_allclose(actual.means, expected.means, rtol=1e-12)
    np.testing.assert_allclose(actual.covariances, expected.covariances, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("n_bands", [1, 3, 6])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_maximization_equals_its_naive_twin(covariance_type, n_bands, weighted):
    mixture = random_mixture(5, n_bands, covariance_type)
    pixels = random_pixels(mixture, 2000, np.uint8)
    weights = np.arange(2000.0) if weighted else None
    x = colors(pixels)
    r = naive.responsibilities(x, parts(mixture)) * naive.ones_like(x, weights)[:, None]
    expected = Mixture(*naive.maximization(x, r, covariance_type, 1e-3))
    actual = maximization(accumulate(pixels, mixture, weights), mixture, 1e-3)
    np.testing.assert_allclose(actual.weights, expected.weights, rtol=1e-6)
    np.testing.assert_allclose(actual.means, expected.means, rtol=1e-6)
    np.testing.assert_allclose(actual.covariances, expected.covariances, rtol=1e-5, atol=1e-8)


@pytest.fixture(scope="module", params=[4, 1], ids=["every fourth pixel", "all pixels"])
def climb_of_photo(photo, request):
    """Pixels, a start for them, and the log-likelihoods of its naive climb."""
    pixels = np.ascontiguousarray(photo[:: request.param, :: request.param]).reshape(-1, 3)
    start = start_for(ColorTable.of(pixels), 16)
    distinct, counts = np.unique(pixels, axis=0, return_counts=True)
    history, _ = naive.expectation_maximization(colors(distinct), parts(start), 20, RIDGE, counts)
    return pixels, start, history


def test_em_on_pixels_follows_the_naive_climb(climb_of_photo):
    pixels, start, expected = climb_of_photo
    actual, _ = iterate(partial(accumulate, pixels), start, 20)
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_em_on_the_color_table_follows_the_naive_climb(climb_of_photo):
    pixels, start, expected = climb_of_photo
    actual, _ = iterate(ColorTable.of(pixels).accumulate, start, 20)
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_em_on_the_color_table_is_em_on_the_pixels(climb_of_photo):
    pixels, start, _ = climb_of_photo
    table = ColorTable.of(pixels)
    expected, mixtures = iterate(partial(accumulate, pixels), start, 20)
    np.testing.assert_allclose(iterate(table.accumulate, start, 20)[0], expected, rtol=5e-7)
    each = [table.accumulate(mixture).mean_log_likelihood for mixture in mixtures]
    np.testing.assert_allclose(each, expected, rtol=1e-8)


@pytest.mark.filterwarnings("ignore:.*did not converge")
@pytest.mark.parametrize("covariance_type", [each for each in COVARIANCE_TYPES if each != "isotropic"])
def test_one_iteration_equals_scikit_learn(photo, covariance_type):
    pixels = photo[::4, ::4].reshape(-1, 3)
    start = start_for(ColorTable.of(pixels), 8, covariance_type)
    matrices = covariance_type in ("full", "tied")
    oracle = GaussianMixture(
        8,
        covariance_type=covariance_type,
        max_iter=1,
        reg_covar=RIDGE,
        weights_init=start.weights,
        means_init=start.means,
        precisions_init=np.linalg.inv(start.covariances) if matrices else 1 / start.covariances,
    ).fit(colors(pixels))
    statistics = accumulate(pixels, start)
    actual = maximization(statistics, start, RIDGE)
    assert statistics.mean_log_likelihood == pytest.approx(oracle.lower_bound_, rel=1e-6)
    np.testing.assert_allclose(actual.weights, oracle.weights_, rtol=1e-5)
    np.testing.assert_allclose(actual.means, oracle.means_, rtol=1e-5)
    np.testing.assert_allclose(actual.covariances, oracle.covariances_, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_without_a_ridge_each_step_raises_the_exact_log_likelihood(photo, covariance_type):
    pixels = photo[::8, ::8].reshape(-1, 3)
    _, mixtures = iterate(partial(accumulate, pixels), start_for(ColorTable.of(pixels), 8, covariance_type), 30, ridge=0)
    exact = [naive.log_likelihood(colors(pixels), parts(mixture)) / len(pixels) for mixture in mixtures]
    assert (np.diff(exact) > -1e-6).all()
    assert exact[-1] > exact[0] + 0.5


images = st.integers(1, 4).flatmap(
    lambda n_bands: st.lists(st.tuples(*[st.integers(0, 255)] * n_bands), min_size=1, max_size=40).map(
        lambda rows: np.array(rows, np.uint8)
    )
)


@settings(max_examples=60)
@given(images, st.sampled_from(COVARIANCE_TYPES), st.integers(1, 6), st.sampled_from([0, 1e-6, 1e-3]))
def test_the_log_likelihood_never_falls_and_the_mixture_is_sound(pixels, covariance_type, n_components, ridge):
    table = ColorTable.of(pixels)
    start = start_for(table, n_components, covariance_type, ridge=ridge)
    climb = expectation_maximization(table.accumulate, start, max_iter=30, tol=0, ridge=ridge)
    found = fit(table, start, max_iter=30, ridge=ridge)
    for history in (climb.log_likelihood, found.log_likelihood):
        assert all(later >= earlier for earlier, later in pairwise(history))
    assert np.isfinite(found.log_likelihood).all()
    assert found.mixture.n_components <= n_components
    assert_sound(found.mixture)


RNG = np.random.default_rng(0)
HARD = {
    "one color": np.full((100, 3), 17, np.uint8),
    "one pixel": np.array([[1, 2, 3]], np.uint8),
    "black": np.zeros((50, 3), np.uint8),
    "gray": RNG.integers(0, 256, (500, 1), np.uint8).repeat(3, axis=1),
    "saturated": RNG.choice(np.array([0, 255], np.uint8), (500, 3)),
    "fewer colors than components": np.array([[0, 0, 0], [9, 9, 9]], np.uint8).repeat([10, 1], axis=0),
    "two levels of one band": np.array([[7], [8]], np.uint8).repeat([90, 10], axis=0),
    "one color, many bands": np.full((100, 6), 200, np.uint8),
}


@pytest.mark.parametrize("ridge", [0, 1e-6])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("name", HARD)
def test_hard_images_give_sound_mixtures(name, covariance_type, ridge):
    table = ColorTable.of(HARD[name])
    found = fit(table, start_for(table, 5, covariance_type, ridge=ridge), ridge=ridge)
    assert_sound(found.mixture)
    assert 1 <= found.mixture.n_components <= min(5, len(table))
    assert np.isfinite(found.log_likelihood).all()


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [(np.uint16, 64_999, 65_001), (np.uint8, 250, 255), (np.float32, 250, 255), (np.float32, 0.99, 1)],
)
def test_the_variance_of_a_tight_bright_cluster(dtype, low, high, covariance_type):
    drawn = np.random.default_rng(0).uniform(low, high, (100_000, 3))
    pixels = (drawn if high == 1 else np.rint(drawn)).astype(dtype)
    start = start_for(ColorTable.of(pixels[:1000]), 1, covariance_type, ridge=0)
    found = expectation_maximization(partial(accumulate, pixels), start, max_iter=5, tol=0, ridge=0).mixture
    x = colors(pixels.astype(np.float64) if dtype == np.float32 else pixels)
    expected = np.diag(x.var(axis=0)) if covariance_type == "diag" else np.cov(x.T, bias=True)
    if covariance_type in ("spherical", "isotropic"):
        expected = np.eye(3) * x.var(axis=0).mean()
    np.testing.assert_allclose(found.means[0], x.mean(axis=0), rtol=1e-7)
    np.testing.assert_allclose(found.full_covariances[0], expected, rtol=0, atol=1e-3 * expected.max())


def test_a_climb_ends_where_an_iteration_gains_less_than_the_tolerance(photo):
    table = ColorTable.of(photo[::8, ::8].reshape(-1, 3))
    found = expectation_maximization(table.accumulate, start_for(table, 4), max_iter=200, tol=1e-3, ridge=RIDGE)
    gains = np.diff(found.log_likelihood)
    assert found.converged
    assert gains[-1] < 1e-3
    assert (gains[:-1] >= 1e-3).all()
    assert table.accumulate(found.mixture).mean_log_likelihood == found.log_likelihood[-1]


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_what_is_expected_is_that_of_the_textbook(covariance_type):
    """But for the part of the densities that no step changes."""
    mixture, other = (random_mixture(4, 3, covariance_type, seed=seed) for seed in (0, 1))
    pixels = random_pixels(mixture, 2000, np.uint8)
    x = colors(pixels)
    responsibilities = naive.responsibilities(x, parts(mixture))
    expected = (responsibilities * naive.log_densities(x, parts(other))).sum() / len(x)
    actual = expected_log_likelihood(accumulate(pixels, mixture), other) - 1.5 * np.log(2 * np.pi)
    assert actual == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_a_step_gains_what_it_expects_and_about_twice_that_at_the_most(photo, covariance_type):
    """By which a climb ends without a pass that only shows it."""
    table = ColorTable.of(photo[::8, ::8].reshape(-1, 3))
    gains, promises, mixture, before = [], [], start_for(table, 4, covariance_type), -np.inf
    for _ in range(150):
        statistics = table.accumulate(mixture)
        gains.append(statistics.mean_log_likelihood - before)
        before, previous, mixture = statistics.mean_log_likelihood, mixture, maximization(statistics, mixture, 0)
        promises.append(expected_log_likelihood(statistics, mixture) - expected_log_likelihood(statistics, previous))
    gains, promises = np.array(gains[1:]), np.array(promises[:-1])
    near = gains > 1e-5  # which is exact to a hundredth
    ratios = gains[near] / promises[near]
    assert len(ratios) > 15
    assert 0.99 < ratios.min() < ratios.max() < 3.5
    assert np.median(ratios) < 2.1


def test_a_climb_that_runs_out_of_iterations_says_so(photo):
    table = ColorTable.of(photo[::8, ::8].reshape(-1, 3))
    found = expectation_maximization(table.accumulate, start_for(table, 4), max_iter=3, tol=0, ridge=RIDGE)
    assert not found.converged
    assert len(found.log_likelihood) == 3
    assert table.accumulate(found.mixture).mean_log_likelihood > found.log_likelihood[-1]


def climb_of(likelihoods, rival=-np.inf):
    """A climb over mixtures whose log-likelihoods are given: where it ended, and all mixtures it saw."""
    mixture, seen = random_mixture(3, 2), []
    pixels = random_pixels(mixture, 500, np.uint8)

    def add_up(current):
        seen.append(current)
        return replace(accumulate(pixels, current), log_likelihood=500 * likelihoods[len(seen) - 1])

    return expectation_maximization(add_up, mixture, max_iter=10, tol=0, ridge=0, rival=rival), seen


def test_the_step_that_falls_is_not_taken():
    found, seen = climb_of([1.0, 2.0, 1.5])
    assert found.log_likelihood == [1, 2]
    assert found.mixture is seen[1]
    assert found.converged


def test_nor_is_a_first_step_that_falls():
    found, seen = climb_of([2.0, 1.0])
    assert found.log_likelihood == [2]
    assert found.mixture is seen[0]
    assert (found.converged, found.passes) == (True, 2)


def test_a_climb_that_would_take_too_long_to_pass_its_rival_is_given_up_after_a_trial():
    found, seen = climb_of([0.0, 0.1, 0.2, 0.3, 0.4], rival=0.31 + HOPE * 0.1)
    assert found.log_likelihood == [0, 0.1, 0.2, 0.3]
    assert found.mixture is seen[TRIAL]
    assert not found.converged


def test_a_climb_goes_on_while_it_may_pass_its_rival():
    found, _ = climb_of([0.0, 0.1, 0.2, 0.3, 0.5, 0.4], rival=0.29 + HOPE * 0.1)
    assert found.log_likelihood == [0, 0.1, 0.2, 0.3, 0.5]
    assert found.converged


@pytest.mark.parametrize("max_iter", [1, 2, 3, 7, 30])
def test_passes_are_bounded_and_counted_whatever_fails(max_iter):
    table = ColorTable.of(np.array([[10], [20]], np.uint8).repeat([30, 10], axis=0))
    start, passes = Mixture(np.full(4, 0.25), [[0.04], [0.08], [0.04], [0.08]], SMALL, "spherical"), []

    def counted(mixture):
        passes.append(mixture)
        return table.accumulate(mixture)

    options = {"step": STEP, "max_iter": max_iter, "tol": 1e-5, "ridge": RIDGE}
    found = fit_mixture(counted, start, partial(reseed, table, 0), **options)
    assert len(passes) == found.passes <= max_iter


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_fixed_means_stay_and_the_likelihood_rises_all_the_same(photo, covariance_type):
    pixels = photo[::8, ::8].reshape(-1, 3)
    start = start_for(ColorTable.of(pixels), 6, covariance_type).standing([1, 4])
    _, mixtures = iterate(partial(accumulate, pixels), start, 30, ridge=0)
    exact = [naive.log_likelihood(colors(pixels), parts(mixture)) / len(pixels) for mixture in mixtures]
    assert (np.diff(exact) > -1e-6).all()
    assert exact[-1] > exact[0] + 0.5
    moved = (mixtures[-1].means != start.means).any(axis=1)
    assert moved.tolist() == [True, False, True, True, False, True]


def test_the_covariance_of_a_fixed_mean_is_about_it():
    pixels = random_pixels(random_mixture(1, 2), 5000, np.uint8)
    fixed = Mixture([1.0], [[0.1, 0.2]], np.eye(2)[None]).standing([0])
    for statistics in (accumulate(pixels, fixed), accumulate(pixels, fixed).about(np.array([[0.7, 0.7]]))):
        d = colors(pixels) - [0.1, 0.2]
        np.testing.assert_allclose(maximization(statistics, fixed, 0).covariances[0], d.T @ d / len(d), rtol=1e-5)


def test_fixed_components_are_never_redundant():
    mixture = Mixture([0.0, 0.4, 0.3, 0.3, 0.0], [[0.1], [0.5], [0.5], [0.9], [0.2]], np.full(5, 1e-4), "spherical")
    assert redundant(mixture, 1 / 255).tolist() == [0, 2, 4]
    assert redundant(mixture.standing([0, 2]), 1 / 255).tolist() == [1, 4]


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_dead_components_keep_their_place_at_weight_zero(covariance_type):
    mixture = random_mixture(3, 2, covariance_type)
    pixels = np.full((100, 2), 128, np.uint8)
    far = Mixture([0.5, 0.3, 0.2], [[0.5, 0.5], [40.0, 40.0], [0.5, 0.6]], mixture.covariances, covariance_type)
    moved = maximization(accumulate(pixels, far), far, RIDGE)
    assert moved.weights[1] == 0
    assert moved.weights.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_array_equal(moved.means[1], far.means[1])
    assert np.isfinite(moved.covariances).all()


@pytest.mark.parametrize(("count", "n_components"), [(1e3, 2), (1.0, 2), (1e-3, 1)])
def test_a_pixel_of_a_gigapixel_has_its_component_but_a_thousandth_has_none(count, n_components):
    table = ColorTable(np.array([[10], [200]], np.uint8), np.array([1e9, count]))
    start = Mixture([0.5, 0.5], colors(table.colors), np.full(2, 1e-4), "spherical")
    found = fit(table, start).mixture
    assert found.n_components == n_components
    assert found.weights[-1] == pytest.approx(count / 1e9 if n_components == 2 else 1, rel=1e-5)


SMALL = np.full(4, 1e-4)


def test_redundant_components_are_the_dead_and_the_lighter_of_equals():
    means = [[0.2, 0.2], [0.8, 0.8], [0.2001, 0.2], [0.5, 0.5]]
    mixture = Mixture([0.3, 0.3, 0.4, 0.0], means, SMALL, "spherical")
    assert redundant(mixture, STEP).tolist() == [0, 3]


def test_the_first_of_equally_heavy_equals_stays():
    mixture = Mixture(np.full(4, 0.25), [[0.1], [0.9], [0.9], [0.1]], SMALL, "spherical")
    assert redundant(mixture, STEP).tolist() == [2, 3]


def test_components_a_step_apart_are_not_redundant():
    means = np.array([[10], [11], [12], [13]]) / 65_535
    mixture = Mixture(np.full(4, 0.25), means, SMALL, "spherical")
    assert redundant(mixture, 1 / 65_535).tolist() == []
    assert len(redundant(mixture, STEP)) == 3


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_two_equal_starts_never_end_as_duplicates(photo, covariance_type):
    table = ColorTable.of(photo[::8, ::8].reshape(-1, 3))
    start = start_for(table, 6, covariance_type)
    means = start.means[[0, 1, 2, 3, 0, 1]]
    found = fit(table, Mixture(start.weights, means, start.covariances, covariance_type), max_iter=300)
    once = expectation_maximization(table.accumulate, start.take([0, 1, 2, 3]), max_iter=50, tol=1e-5, ridge=RIDGE)
    assert_sound(found.mixture)
    assert found.mixture.n_components == 6
    assert found.log_likelihood[-1] > once.log_likelihood[-1]


def test_components_that_fail_after_all_new_seeds_are_dropped(caplog):
    table = ColorTable.of(np.array([[10], [20]], np.uint8).repeat([30, 10], axis=0))
    start = Mixture(np.full(4, 0.25), [[0.04], [0.08], [0.04], [0.08]], SMALL, "spherical")
    with caplog.at_level(logging.INFO, logger="streamgmm"):
        found = fit(table, start)
    np.testing.assert_allclose(found.mixture.means * 255, [[10], [20]], atol=0.2)
    np.testing.assert_allclose(found.mixture.weights, [0.75, 0.25], atol=1e-3)
    assert "dropped 2 dead or coinciding of 4 components" in caplog.text


def test_each_round_of_new_seeds_is_new():
    pixels = np.random.default_rng(5).integers(0, 256, (40, 2), np.uint8)
    table = ColorTable.of(pixels)
    rounds = []

    def recorded(*arguments):
        rounds.append(reseed(table, 0, *arguments))
        return rounds[-1]

    def hopeless(mixture):
        better = len(rounds) == 0
        return replace(table.accumulate(mixture), log_likelihood=table.n_pixels * (1.0 if better else -1.0))

    start = Mixture(np.full(3, 1 / 3), [[0.5, 0.5]] * 3, np.full(3, 0.05), "spherical")
    fit_mixture(hopeless, start, recorded, step=STEP, max_iter=20, tol=1e-9, ridge=RIDGE)
    assert len(rounds) == RESEEDS
    assert len({seeded.means.tobytes() for seeded in rounds}) == RESEEDS


def test_new_seeds_are_taken_only_where_they_raise_the_log_likelihood(photo):
    table = ColorTable.of(photo[::8, ::8].reshape(-1, 3))
    start = start_for(table, 4)
    twins = Mixture(start.weights, start.means[[0, 1, 2, 0]], start.covariances)
    useless = expectation_maximization(table.accumulate, twins, max_iter=50, tol=1e-5, ridge=RIDGE)

    def keep(mixture, *_):
        return mixture

    found = fit_mixture(table.accumulate, twins, keep, step=STEP, max_iter=50, tol=1e-5, ridge=RIDGE)
    assert found.mixture.n_components == 3
    assert found.log_likelihood[-1] == pytest.approx(useless.log_likelihood[-1], abs=1e-3)
