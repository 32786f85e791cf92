"""Thresholds are all there equally often; ordered ones are Bayer's, and blue ones have no slow waves, over all edges."""

import time

import numpy as np
import pytest

from streamgmm.model import thresholds as module
from streamgmm.model.thresholds import bayer, blue_noise, thresholds

KINDS = ["ordered", "blue-noise"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_threshold_is_there_as_often(kind):
    matrix = thresholds(kind)
    assert (matrix.dtype, matrix.shape[0] == matrix.shape[1], matrix.shape[0] & (matrix.shape[0] - 1)) == (np.uint8, True, 0)
    np.testing.assert_array_equal(np.bincount(matrix.reshape(-1), minlength=256), matrix.size // 256)


@pytest.mark.parametrize("kind", KINDS)
def test_a_matrix_is_made_once_and_stays_as_it_is(kind):
    assert thresholds(kind) is thresholds(kind)
    with pytest.raises(ValueError, match="read-only"):
        thresholds(kind)[0, 0] = 1


def test_ordered_thresholds_are_those_of_bayer():
    """Of a place's row and column, the bits from the lowest on decide, the highest bit of the threshold first."""
    for row in range(16):
        for column in range(16):
            bits = [((row ^ column) >> bit & 1, row >> bit & 1) for bit in range(4)]
            expected = sum((2 * a + b) << (2 * (3 - bit)) for bit, (a, b) in enumerate(bits))
            assert bayer()[row, column] == expected


def energy(pattern):
    """The energy of waves of pixels, slow ones (longer than 8 pixels) and all, shape (height, width) whose edges meet."""
    waves = np.abs(np.fft.fft2(pattern - pattern.mean())) ** 2
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(len(pattern))] * 2))
    return waves[frequency < 1 / 8].sum() / waves.sum()


@pytest.mark.parametrize("share", [16, 64, 128, 200])
def test_blue_noise_has_no_slow_waves_in_any_share(share):
    """White noise has 5 % of its energy there."""
    white = np.random.default_rng(0).permutation(blue_noise().reshape(-1)).reshape(64, 64)
    assert energy(blue_noise() < share) < 0.25 * energy(white < share)
    assert energy(np.roll(blue_noise(), (20, 33), (0, 1)) < share) == pytest.approx(energy(blue_noise() < share))


def test_blue_noise_is_the_same_whenever_it_is_made():
    start = time.thread_time()
    again = blue_noise.__wrapped__()
    assert time.thread_time() - start < 1
    np.testing.assert_array_equal(again, blue_noise())


def test_voids_are_filled_and_clusters_emptied_first():
    pattern = module._Pattern(16)
    for place in (0, 1, 17, 136):
        pattern.put(place)
    other = pattern.copy()
    assert pattern.take() in (0, 1, 17)
    assert other.void() in {place for place in range(256) if place not in (0, 1, 17, 136)}
    for place in (0, 1, 17):
        if pattern._taken[place]:
            pattern._taken[place] = False
    assert other._taken.sum() == 4
