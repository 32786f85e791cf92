"""A coreset sees what is rare, and stands for all pixels none the less."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgmm.model.colors import ColorTable
from streamgmm.model.coreset import coreset, drawn, weighted_quantiles
from streamgmm.model.space import SampleSpace

from ..conftest import random_mixture, random_pixels

DTYPES = [np.uint8, np.uint16, np.float32, np.float64]


def chances(colors, counts=None):
    """The chance of each color by the definition: half even, half by squared distance from the mean, in deviations."""
    counts = np.ones(len(colors)) if counts is None else counts
    mean = counts @ colors / counts.sum()
    variances = counts @ (colors - mean) ** 2 / counts.sum()
    distances = ((colors - mean) ** 2 / np.where(variances > 0, variances, 1)).sum(axis=1)
    even = counts / counts.sum()
    return even if not distances.any() else even / 2 + counts * distances / (counts @ distances) / 2


def rng(seed=0):
    return np.random.default_rng(seed)


SPREAD = np.array([[10, 7], [10, 9], [20, 7], [200, 8]])


@pytest.mark.parametrize("counts", [None, np.array([5.0, 1.0, 3.0, 0.5])], ids=["once", "counts"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_half_are_drawn_by_chance_and_half_by_distance(dtype, counts):
    indices, weights = drawn(SPREAD.astype(dtype), counts, 40_000, rng())
    expected = chances(SPREAD, counts)
    np.testing.assert_allclose(np.bincount(indices, minlength=4) / 40_000, expected, atol=0.01)
    stands_for = np.ones(4) if counts is None else counts
    np.testing.assert_allclose(weights, (stands_for / expected / 40_000)[indices], rtol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_sum_to_the_pixels_and_their_means_are_those_of_all(dtype):
    pixels = random_pixels(random_mixture(4, 3), 30_000, np.uint8).astype(dtype)
    indices, weights = drawn(pixels, None, 20_000, rng())
    assert weights.sum() == pytest.approx(30_000, rel=0.01)
    sums = weights @ pixels[indices].astype(float) / weights.sum()
    np.testing.assert_allclose(sums, pixels.mean(axis=0, dtype=float), rtol=0.01)
    squares = weights @ np.square(pixels[indices].astype(float)) / weights.sum()
    np.testing.assert_allclose(squares, np.square(pixels.astype(float)).mean(axis=0), rtol=0.01)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_rare_and_far_is_seen(dtype):
    """Ten pixels of 100,000: 200 that are drawn evenly would miss them nearly always."""
    pixels = rng().normal(100, 2, (100_000, 1)).round().astype(dtype)
    pixels[::10_000] = 250
    indices, weights = drawn(pixels, None, 200, rng())
    far = pixels[indices, 0] == 250
    assert far.sum() > 5
    assert weights[far].sum() == pytest.approx(10, rel=0.5)


@pytest.mark.parametrize("unit", [1, 1e-3, 1e6])
def test_bands_count_alike_in_any_units(unit):
    pixels = rng().normal(size=(5000, 2))
    alike, _ = drawn(pixels, None, 300, rng())
    other, _ = drawn(pixels * [1, unit] - [0, 5 * unit], None, 300, rng())
    np.testing.assert_array_equal(other, alike)


@pytest.mark.parametrize(("low", "dtype"), [(60_000, np.uint16), (273.15, np.float64), (5e6, np.float64)])
def test_a_little_contrast_far_from_zero_is_as_good_as_any(low, dtype):
    pixels = (low + rng().integers(0, 4, (300_000, 2)) * (0.01 if dtype == np.float64 else 1)).astype(dtype)
    indices, weights = drawn(pixels, None, 5000, rng())
    np.testing.assert_allclose(weights, 1 / chances(pixels.astype(float))[indices] / 5000, rtol=0.01)


@pytest.mark.parametrize("pixels", [np.full((50, 3), 9, np.uint8), np.full((50, 1), 0.1), np.full((1, 2), 5, np.uint16)])
def test_of_pixels_that_are_alike_each_stands_for_as_many(pixels):
    indices, weights = drawn(pixels, None, 200, rng())
    np.testing.assert_allclose(weights, len(pixels) / 200)
    assert len(np.unique(indices)) > 0.9 * len(pixels)


@pytest.mark.parametrize("value", [3.4e38, -1e300, np.finfo(float).max])
def test_what_is_beyond_measure_hides_no_more_than_half(value):
    pixels = rng().normal(size=(1000, 2))
    pixels[7, 1] = value
    indices, weights = drawn(pixels, None, 400, rng())
    assert np.isfinite(weights).all()
    assert (indices != 7).sum() > 150


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=9), st.integers(1, 9), st.integers(0, 99)
)
def test_any_pixels_can_be_drawn_from(values, size, seed):
    indices, weights = drawn(np.array(values)[:, None], None, size, rng(seed))
    assert indices.shape == weights.shape == (size,)
    assert 0 <= indices.min() <= indices.max() < len(values)
    assert np.isfinite(weights).all()
    assert weights.min() > 0


def test_colors_that_do_not_occur_are_not_drawn():
    counts = np.array([0.0, 3.0, 0.0, 1.0, 0.0])
    indices, _ = drawn(np.arange(5)[:, None].astype(np.uint8), counts, 1000, rng())
    assert set(indices.tolist()) == {1, 3}


# --- Of a table


def test_the_coreset_of_a_table_has_its_colors_its_pixels_and_its_space():
    space = SampleSpace(((-5, 5),) * 3)
    table = ColorTable.of(random_pixels(random_mixture(4, 3), 20_000, np.float32), space=space)
    few = coreset(table, 4000, 0)
    assert 0 < len(few) <= 4000
    assert set(map(tuple, few.colors.tolist())) <= set(map(tuple, table.colors.tolist()))
    assert few.n_pixels == pytest.approx(table.n_pixels, rel=0.05)
    assert few.space == space
    np.testing.assert_allclose(few.mean, table.mean, atol=0.01)


def test_the_coreset_is_that_of_the_pixels(photo):
    table = ColorTable.of(photo.reshape(-1, 3))
    few, x = coreset(table, 1 << 15, 0), photo.reshape(-1, 3) / 255
    np.testing.assert_allclose(few.mean, x.mean(axis=0), atol=0.005)
    spread = np.cov(few.values.T, aweights=few.counts, bias=True)
    np.testing.assert_allclose(spread, np.cov(x.T, bias=True), rtol=0.03)


def test_the_seed_decides_which_coreset(photo):
    table = ColorTable.of(photo[::8, ::8].reshape(-1, 3))
    once, again, other = (coreset(table, 500, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(once.colors, again.colors)
    np.testing.assert_array_equal(once.counts, again.counts)
    assert not np.array_equal(once.colors[:50], other.colors[:50])


# --- Quantiles


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(1, 9)), min_size=1, max_size=30))
def test_weighted_quantiles_are_those_of_values_that_stand_as_often(pairs):
    values, weights = map(np.array, zip(*pairs, strict=True))
    shares = (0.001, 0.25, 0.5, 0.999)
    expected = np.quantile(values.repeat(weights), shares, method="inverted_cdf")
    assert weighted_quantiles(values.astype(float), weights.astype(float), shares) == expected.tolist()


def test_quantiles_leave_out_what_is_rarer_than_they_ask_for():
    values, weights = np.array([-9999.0, 1, 2, 3, 1e10]), np.array([0.5, 400, 300, 298, 0.5])
    assert weighted_quantiles(values, weights, (1e-3, 1 - 1e-3)) == [1, 3]
