"""Statistics are the sums of the textbook, of any pixels, and the same bits on any number of threads."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile

from streamgmm.errors import ModelError
from streamgmm.model import buffers
from streamgmm.model.buffers import BLOCK, SLICE
from streamgmm.model.colors import ColorTable
from streamgmm.model.em import maximization
from streamgmm.model.kmeans import plus_plus
from streamgmm.model.mixture import COVARIANCE_TYPES, Mixture
from streamgmm.model.seeding import around
from streamgmm.model.space import SampleSpace
from streamgmm.model.statistics import Statistics, accumulate

from .. import naive
from ..conftest import colors, parts, random_mixture, random_pixels, shared_file

# float32 has 6e-8; a block adds up 256 of them, and leaves out components with less than 2^-30 of a pixel. Sums are compared
# relative to the sums of their absolute values, log-likelihoods per pixel. Components that have two pixels each in 9 bands are
# 2.6e-6 off.
TOLERANCE = 3e-6


LEFT_OUT = 2.0**-30


DTYPES = [np.uint8, np.uint16, np.float32]


BANDS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 32]


def some_weights(n_pixels):
    return np.random.default_rng(n_pixels).integers(0, 5, n_pixels).astype(np.float64)


def assert_same_statistics(statistics, pixels, mixture, weights=None):
    x, model, origin = colors(pixels), parts(mixture), statistics.origin
    *expected, log_likelihood = naive.statistics(x, model, weights, origin)
    tolerance = TOLERANCE + LEFT_OUT * mixture.n_components
    np.testing.assert_allclose(origin, mixture.means, rtol=1e-7)
    actual = statistics.responsibilities, statistics.first, meaningful(statistics.second, mixture)
    for sums, reference, magnitude in zip(actual, expected, naive.magnitudes(x, model, weights, origin), strict=True):
        scale = magnitude + magnitude.mean(axis=0) / 100
        np.testing.assert_allclose(sums / scale, meaningful(reference, mixture) / scale, rtol=0, atol=tolerance)
    assert statistics.weight == naive.ones_like(x, weights).sum()
    assert statistics.mean_log_likelihood == pytest.approx(log_likelihood / statistics.weight, abs=tolerance)


def meaningful(sums, mixture):
    """Drop the off-diagonal entries of matrices that no diagonal covariance is made from."""
    diagonal = mixture.covariance_type in ("diag", "spherical", "isotropic")
    return sums * np.eye(mixture.n_bands) if sums.ndim == 3 and diagonal else sums


def bits(statistics):
    return statistics.moments.tobytes(), statistics.log_likelihood, statistics.weight


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_bands", BANDS)
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_accumulate_equals_its_naive_twin(covariance_type, n_bands, dtype, weighted):
    mixture = random_mixture(5, n_bands, covariance_type)
    pixels = random_pixels(mixture, 777, dtype)
    weights = some_weights(777) if weighted else None
    assert_same_statistics(accumulate(pixels, mixture, weights), pixels, mixture, weights)


@pytest.mark.parametrize("n_bands", [3, 6, 9])
@pytest.mark.parametrize("n_pixels", [1, 2, 15, BLOCK - 1, BLOCK, BLOCK + 1, SLICE - 1, SLICE, SLICE + 1, 2 * SLICE + 300])
def test_any_number_of_pixels(n_pixels, n_bands):
    mixture = random_mixture(4, n_bands)
    pixels, weights = random_pixels(mixture, n_pixels, np.uint8), np.arange(1.0, n_pixels + 1)
    assert_same_statistics(accumulate(pixels, mixture), pixels, mixture)
    assert_same_statistics(accumulate(pixels, mixture, weights), pixels, mixture, weights)


@pytest.mark.parametrize("n_bands", [3, 6, 9])
@pytest.mark.parametrize("n_components", [1, 2, 16, 300, 5000])
def test_any_number_of_components(n_components, n_bands):
    mixture = random_mixture(n_components, n_bands)
    pixels = random_pixels(mixture, 600, np.uint8)
    assert_same_statistics(accumulate(pixels, mixture), pixels, mixture)


@pytest.mark.parametrize("n_bands", [1, 3, 6, 9])
def test_log_likelihood_of_each_pixel(n_bands):
    mixture = random_mixture(6, n_bands)
    pixels = random_pixels(mixture, 500, np.float32)
    actual = [accumulate(pixel, mixture).log_likelihood for pixel in pixels]
    expected = naive.log_sum_exp(naive.log_densities(colors(pixels), parts(mixture)))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=5e-6)


def test_components_of_weight_zero_get_nothing():
    mixture = random_mixture(3, 3)
    dead = Mixture(
        np.append(mixture.weights, 0),
        np.vstack([mixture.means, [[0.5] * 3]]),
        np.concatenate([mixture.covariances, mixture.covariances[:1]]),
    )
    pixels = random_pixels(mixture, 1000, np.uint8)
    statistics = accumulate(pixels, dead)
    assert not statistics.moments[3].any()
    np.testing.assert_array_equal(statistics.moments[:3], accumulate(pixels, mixture).moments)


@pytest.mark.parametrize("value", [0.5, 1e25, -3.4e38])
@pytest.mark.parametrize("n_bands", [3, 6, 9])
def test_weight_0_equals_absent(n_bands, value):
    mixture = random_mixture(4, n_bands)
    pixels = random_pixels(mixture, 700, np.float32)
    masked, weights = np.full((1500, n_bands), value, np.float32), np.zeros(1500)
    masked[:700], weights[:700] = pixels, 1
    actual, expected = accumulate(masked, mixture, weights), accumulate(pixels, mixture)
    np.testing.assert_allclose(actual.moments, expected.moments, rtol=TOLERANCE, atol=1e-5)
    assert actual.mean_log_likelihood == pytest.approx(expected.mean_log_likelihood, rel=1e-12)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("n_bands", [3, 6, 9])
def test_weight_3_equals_three_rows(n_bands, covariance_type):
    mixture = random_mixture(4, n_bands, covariance_type)
    pixels = random_pixels(mixture, 1000, np.uint8)
    weighted, repeated = accumulate(pixels, mixture, np.full(1000, 3.0)), accumulate(pixels.repeat(3, axis=0), mixture)
    scale = np.abs(repeated.moments).max(axis=0) + 1e-12
    np.testing.assert_allclose(weighted.moments / scale, repeated.moments / scale, atol=TOLERANCE)
    assert weighted.mean_log_likelihood == pytest.approx(repeated.mean_log_likelihood, rel=1e-9)
    assert weighted.weight == repeated.weight == 3000


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("n_bands", [3, 6, 9])
@pytest.mark.parametrize("threads", [2, 4])
def test_statistics_are_the_same_bits_on_any_number_of_threads(threads, n_bands, weighted):
    mixture = random_mixture(16, n_bands)
    pixels = np.random.default_rng(0).integers(0, 256, (7 * SLICE + 123, n_bands), np.uint8)
    weights = some_weights(len(pixels)) if weighted else None
    expected = accumulate(pixels, mixture, weights, threads=1)
    assert bits(accumulate(pixels, mixture, weights, threads=threads)) == bits(expected)


@pytest.mark.parametrize("slices", [1, 3])
def test_launches_change_no_result(slices, monkeypatch):
    mixture = random_mixture(4, 3)
    pixels = random_pixels(mixture, 7 * SLICE + 123, np.uint8)
    expected = accumulate(pixels, mixture)
    monkeypatch.setattr(buffers, "SLICES", slices)
    assert bits(accumulate(pixels, mixture, threads=2)) == bits(expected)


def test_no_pixels_add_up_to_nothing():
    mixture = random_mixture(3, 3)
    statistics = accumulate(np.empty((0, 3), np.uint8), mixture)
    assert not statistics.moments.any()
    assert (statistics.log_likelihood, statistics.weight) == (0, 0)


def test_images_are_taken_as_they_come(photo):
    mixture = random_mixture(4, 3)
    view, flat = photo[::3, ::-5], np.ascontiguousarray(photo[::3, ::-5]).reshape(-1, 3)
    assert bits(accumulate(view, mixture)) == bits(accumulate(flat, mixture))


def test_a_covariance_that_is_not_positive_definite_is_refused():
    flat = Mixture(np.ones(1), np.full((1, 2), 0.5), np.ones((1, 2, 2)))
    with pytest.raises(ModelError, match="a covariance is not positive definite; fit with a larger reg_covar"):
        accumulate(np.zeros((1, 2), np.uint8), flat)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("n_bands", [1, 3, 6, 9])
def test_statistics_of_two_parts_add_up_to_those_of_both(n_bands, covariance_type):
    mixture = random_mixture(4, n_bands, covariance_type)
    pixels, weights = random_pixels(mixture, 1000, np.uint8), np.arange(1000.0)
    merged = accumulate(pixels[:317], mixture, weights[:317]) + accumulate(pixels[317:], mixture, weights[317:])
    whole = accumulate(pixels, mixture, weights)
    scale = np.abs(whole.moments).max(axis=0) + 1e-12
    np.testing.assert_allclose(merged.moments / scale, whole.moments / scale, rtol=0, atol=1e-6)
    assert merged.log_likelihood == pytest.approx(whole.log_likelihood, rel=1e-9)
    assert merged.weight == whole.weight == weights.sum()


def test_scaled_statistics_are_those_of_weightier_pixels():
    mixture = random_mixture(4, 3)
    pixels = random_pixels(mixture, 500, np.uint8)
    scaled, weighted = accumulate(pixels, mixture).scaled(4), accumulate(pixels, mixture, np.full(500, 4.0))
    np.testing.assert_array_equal(scaled.moments, weighted.moments)
    assert (scaled.log_likelihood, scaled.weight) == (weighted.log_likelihood, weighted.weight)


@pytest.mark.parametrize("n_bands", [1, 3, 6, 9])
def test_statistics_about_another_origin_are_those_about_it(n_bands):
    mixture = random_mixture(4, n_bands)
    pixels = random_pixels(mixture, 1000, np.uint8)
    origin = np.random.default_rng(0).uniform(0, 1, (4, n_bands))
    moved = accumulate(pixels, mixture).about(origin)
    _, first, second, _ = naive.statistics(colors(pixels), parts(mixture), origin=origin)
    np.testing.assert_array_equal(moved.origin, origin)
    np.testing.assert_allclose(moved.first, first, atol=1e-3)
    np.testing.assert_allclose(moved.second, second, atol=1e-3)


def test_statistics_are_of_colors_in_0_to_1_whatever_the_samples():
    mixture = random_mixture(4, 2)
    pixels = random_pixels(mixture, 500, np.uint8)
    expected = accumulate(pixels, mixture)
    for others in (pixels.astype(np.uint16) * np.uint16(257), colors(pixels).astype(np.float32)):
        actual = accumulate(others, mixture)
        np.testing.assert_allclose(actual.moments, expected.moments, rtol=1e-5, atol=1e-5)
        assert actual.mean_log_likelihood == pytest.approx(expected.mean_log_likelihood, abs=1e-5)


RANGES = ((-100, 900), (20, 45), (0, 30_000), (-32_768, 32_767), (5, 5 + 255), (1000, 1100))


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("n_bands", [1, 3, 6])
def test_statistics_are_of_colors_in_a_space_whose_bands_have_ranges_of_their_own(n_bands, covariance_type):
    """The slow twin takes the colors that the space makes of the samples."""
    space = SampleSpace(RANGES[:n_bands], (1, 32_768))
    mixture = replace(random_mixture(5, n_bands, covariance_type), space=space)
    x = colors(random_pixels(mixture, 777, np.float32))
    pixels = np.rint(space.inverse(x, np.uint16)).astype(np.uint16)
    x, weights = space.colors(pixels), some_weights(777)
    found = accumulate(pixels, mixture, weights)
    n, first, second, log_likelihood = naive.statistics(x, parts(mixture), weights, found.origin)
    scales = naive.magnitudes(x, parts(mixture), weights, found.origin)
    np.testing.assert_allclose(found.origin, mixture.means, atol=1e-4)  # float32 of 16 bits, of which few are told apart
    for actual, expected, scale in zip(
        (found.responsibilities, found.first, found.second), (n, first, second), scales, strict=True
    ):
        difference = (meaningful(actual, mixture) - meaningful(expected, mixture)) / scale
        np.testing.assert_allclose(difference, 0, atol=1e-3)
    assert found.mean_log_likelihood == pytest.approx(log_likelihood / weights.sum(), abs=1e-3)


@pytest.mark.parametrize("n_bands", [1, 3, 6, 9])
def test_statistics_travel_as_arrays(n_bands):
    statistics = accumulate(random_pixels(random_mixture(4, n_bands), 300, np.uint8), random_mixture(4, n_bands))
    again = Statistics.from_arrays(statistics.to_arrays())
    assert bits(again) == bits(statistics)
    np.testing.assert_array_equal(again.origin, statistics.origin)
    assert isinstance(again.log_likelihood, float)


@pytest.mark.collection
@pytest.mark.parametrize("iterations", [0, 20])
def test_a_16_bit_photograph(iterations):
    pixels = tifffile.imread(shared_file("geo/riocolor__rgb16.tif")).reshape(-1, 3)[::97]
    sample = ColorTable.of(pixels)
    means = plus_plus(sample, np.empty((0, 3)), 8, np.random.default_rng(0))
    mixture = around(sample, means, "full", 1e-6)
    for _ in range(iterations):
        mixture = maximization(accumulate(pixels, mixture), mixture, 1e-6)
    assert pixels.dtype == np.uint16
    assert_same_statistics(accumulate(pixels, mixture), pixels, mixture)
