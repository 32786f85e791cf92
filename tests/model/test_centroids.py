"""Centroids are the means of the pixels of each label, as these are shown, whichever parts they are added up from."""

import numpy as np
import pytest

from streamgmm.model.centroids import ColorSums, color_sums
from streamgmm.model.display import Display

from .. import naive
from ..conftest import random_mixture, random_pixels, samples

DTYPES = [np.uint8, np.uint16, np.float32]


def labeled(n_bands, dtype, n_pixels=400):
    """Pixels, labels of all but the last of five, their display, and weights."""
    mixture, rng = random_mixture(5, n_bands), np.random.default_rng(0)
    labels, weights = rng.integers(0, 4, n_pixels).astype(np.uint8), rng.integers(1, 5, n_pixels).astype(np.float64)
    return random_pixels(mixture, n_pixels, dtype), labels, Display.of(mixture), weights


def levels_of(pixels, low=0.0, high=1.0):
    """Pixels as they are shown: of their first three bands, or the first as gray."""
    peak = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1
    return naive.shown(pixels[:, [0, 1, 2] if pixels.shape[1] >= 3 else [0, 0, 0]] / peak, low, high)


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("n_bands", [1, 2, 3, 6])
@pytest.mark.parametrize("dtype", DTYPES)
def test_centroids_are_weighted_means_of_what_is_shown(dtype, n_bands, weighted):
    pixels, labels, display, weights = labeled(n_bands, dtype)
    sums = color_sums(pixels, labels, 5, display, weights if weighted else None)
    weights = weights if weighted else np.ones(400)
    expected = [np.average(levels_of(pixels)[labels == k], axis=0, weights=weights[labels == k]) for k in range(4)]
    np.testing.assert_allclose(sums.centroids(np.full((5, 3), -1.0)), [*expected, [-1, -1, -1]], rtol=1e-6)
    np.testing.assert_array_equal(sums.counts, np.bincount(labels, weights, minlength=5))
    assert sums.weight == weights.sum()


def test_what_lies_outside_of_the_range_that_is_shown_is_clipped():
    mixture = random_mixture(2, 3)
    display = Display.of(mixture, None, (100, 200), (257, 0))
    pixels = samples(np.random.default_rng(0).random((300, 3)), np.uint8)
    found = color_sums(pixels, np.zeros(300, np.uint8), 1, display).centroids(np.zeros((1, 3)))
    np.testing.assert_allclose(found[0], levels_of(pixels, 100 / 255, 200 / 255).mean(axis=0), rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_sums_of_two_parts_add_up_to_those_of_both(dtype):
    pixels, labels, display, _ = labeled(3, dtype)
    first, second = (color_sums(pixels[part], labels[part], 5, display) for part in (slice(123), slice(123, None)))
    whole, merged = color_sums(pixels, labels, 5, display), first + second
    np.testing.assert_allclose(merged.levels, whole.levels, rtol=1e-12)
    np.testing.assert_array_equal(merged.counts, whole.counts)
    np.testing.assert_allclose(merged.scaled(0.5).levels, whole.levels / 2, rtol=1e-12)
    assert merged.scaled(0.5).weight == 200


def test_sums_travel_as_arrays():
    pixels, labels, display, _ = labeled(3, np.uint16)
    given = color_sums(pixels, labels, 5, display)
    again = ColorSums.from_arrays(given.to_arrays())
    np.testing.assert_array_equal(again.levels, given.levels)
    np.testing.assert_array_equal(again.counts, given.counts)


def test_no_pixels_have_no_centroids():
    _, _, display, _ = labeled(3, np.uint8)
    sums = color_sums(np.empty((0, 3), np.uint8), np.empty(0, np.uint8), 2, display)
    assert sums.centroids(np.full((2, 3), 7.0)).tolist() == [[7, 7, 7]] * 2
