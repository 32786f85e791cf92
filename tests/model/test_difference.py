"""Samples become planes of 16 bits, and the differences of parts add up to that of the whole."""

import math

import numpy as np
import pytest

from streamgmm.model.difference import CHANNELS, HALO, Difference, difference, planes_of

from ..images import random_samples


def test_samples_of_8_bits_are_those_of_16_that_stand_for_the_same():
    small = random_samples(6, 5, 3, np.uint8)
    large = small.astype(np.uint16) * 257
    np.testing.assert_array_equal(planes_of(small, None), np.moveaxis(large, -1, 0))
    np.testing.assert_array_equal(planes_of(large, None), np.moveaxis(large, -1, 0))


def test_a_gray_is_red_green_and_blue():
    gray = random_samples(6, 5, 1, np.uint16)
    np.testing.assert_array_equal(planes_of(gray, None), [gray[..., 0]] * 3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_a_range_is_stretched_from_black_to_white(dtype):
    samples = np.array([[[0], [50], [60], [100], [200]]], dtype)
    assert planes_of(samples, (50, 100))[0].tolist() == [[0, 0, 13_107, 65_535, 65_535]]


def test_a_range_may_be_all_that_floats_hold_and_samples_no_numbers():
    samples = np.array([[[-1.5e308], [0], [1.5e308], [np.nan], [np.inf]]])
    assert planes_of(samples, (-1.5e308, 1.5e308))[0].tolist() == [[0, 32_768, 65_535, 0, 65_535]]


def test_the_parts_of_an_image_add_up():
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 65_536, (2, 3, 40, 50), dtype=np.uint16)
    masks = rng.random((2, 40, 50)) < 0.99
    whole = difference(one, other, tuple(masks), (40, 50))
    total = Difference()
    for rows in (slice(0, 25), slice(25, 40)):
        for columns in (slice(0, 16), slice(16, 32), slice(32, 50)):
            more = slice(rows.start, rows.stop + HALO), slice(columns.start, columns.stop + HALO)
            shape = rows.stop - rows.start, columns.stop - columns.start
            parts = [np.ascontiguousarray(each[:, *more]) for each in (one, other)]
            total += difference(*parts, tuple(mask[more] for mask in masks), shape)
    assert (total.n_pixels, total.n_masked_once) == (whole.n_pixels, whole.n_masked_once)
    assert (total.n_windows, total.squared_error) == (whole.n_windows, whole.squared_error)
    assert total.n_windows > 0
    assert (total.delta_e, total.similarity) == pytest.approx((whole.delta_e, whole.similarity), rel=1e-12)


def test_pixels_that_are_masked_in_one_alone_are_told():
    samples = np.zeros((3, 4, 4), np.uint16)
    one, other = np.ones((2, 4, 4), bool)
    one[0, :3] = other[0, 1:] = False
    found = difference(samples, samples, (one, other), (4, 4))
    assert (found.n_pixels, found.n_masked_once) == (12, 2)
    assert difference(samples, samples, (one, None), (4, 4)).n_masked_once == 3
    assert difference(samples, samples, (None, None), (4, 4)) == Difference(n_pixels=16)


def test_means_are_over_what_counts():
    found = Difference(n_pixels=10, squared_error=65_535**2, delta_e=25.0, similarity=3.0, n_windows=2)
    assert found.psnr_db == pytest.approx(10 * math.log10(CHANNELS * 10))
    assert (found.mean_delta_e, found.ssim) == (2.5, 0.5)
    assert Difference(n_pixels=10).psnr_db is None
    assert Difference(n_pixels=10).ssim is None
