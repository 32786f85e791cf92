"""Distortion is the squared error of the colors that are shown, whichever parts it is added up from."""

import math

import numpy as np
import pytest

from streamgmm.model.distortion import Distortion, distortion

from .. import naive
from ..conftest import colors, random_mixture, random_pixels

DTYPES = [np.uint8, np.uint16, np.float32]


def labeled(n_bands, dtype, n_pixels=400):
    """A mixture of five, pixels, labels of all but its last component, and weights."""
    mixture, rng = random_mixture(5, n_bands), np.random.default_rng(0)
    labels, weights = rng.integers(0, 4, n_pixels).astype(np.uint8), rng.integers(0, 5, n_pixels).astype(np.float64)
    return mixture, random_pixels(mixture, n_pixels, dtype), labels, weights


def peak_of(dtype):
    return 1 if dtype == np.float32 else np.iinfo(dtype).max


def shown(mixture, dtype):
    """The means rounded to 8 bits, in sample units."""
    return np.rint(mixture.means.clip(0, 1) * 255) / 255 * peak_of(dtype)


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("n_bands", [1, 3, 6])
@pytest.mark.parametrize("dtype", DTYPES)
def test_distortion_equals_its_naive_twin(dtype, n_bands, weighted):
    mixture, pixels, labels, weights = labeled(n_bands, dtype)
    weights = weights if weighted else None
    actual = distortion(pixels, labels, mixture, weights)
    error, counts = naive.tally(pixels, labels, shown(mixture, dtype), weights)
    assert actual.squared_error == pytest.approx(error, rel=2e-6)
    np.testing.assert_array_equal(actual.counts, counts)
    assert (actual.n_bands, actual.peak, actual.colors_used) == (n_bands, peak_of(dtype), 4)


@pytest.mark.parametrize("n_bands", [1, 3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_psnr_is_that_of_the_image_that_is_shown(dtype, n_bands):
    mixture, pixels, labels, _ = labeled(n_bands, dtype)
    error = np.mean((colors(pixels) - shown(mixture, dtype)[labels] / peak_of(dtype)) ** 2)
    assert distortion(pixels, labels, mixture).psnr_db == pytest.approx(-10 * math.log10(error), abs=1e-5)


def test_psnr_does_not_depend_on_the_type_of_the_samples():
    mixture, pixels, labels, _ = labeled(3, np.uint8)
    wide, floats = pixels.astype(np.uint16) * np.uint16(257), colors(pixels).astype(np.float32)
    expected = distortion(pixels, labels, mixture).psnr_db
    assert [distortion(each, labels, mixture).psnr_db for each in (wide, floats)] == pytest.approx([expected] * 2, abs=1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_distortion_of_two_parts_adds_up_to_that_of_both(dtype):
    mixture, pixels, labels, weights = labeled(3, dtype)
    first, second = (distortion(pixels[part], labels[part], mixture, weights[part]) for part in (slice(123), slice(123, None)))
    whole, merged = distortion(pixels, labels, mixture, weights), first + second
    assert merged.squared_error == pytest.approx(whole.squared_error, rel=1e-12)
    np.testing.assert_array_equal(merged.counts, whole.counts)
    assert merged.psnr_db == pytest.approx(whole.psnr_db, rel=1e-12)
    assert merged.colors_used == whole.colors_used == 4


def test_distortion_travels_as_arrays():
    mixture, pixels, labels, _ = labeled(3, np.uint16)
    given = distortion(pixels, labels, mixture)
    again = Distortion.from_arrays(given.to_arrays())
    np.testing.assert_array_equal(again.counts, given.counts)
    for name in ("squared_error", "n_bands", "peak", "psnr_db", "colors_used"):
        assert getattr(again, name) == getattr(given, name)
        assert type(getattr(again, name)) is type(getattr(given, name))


@pytest.mark.parametrize("counts", [[3.0, 0.0], [0.0, 0.0]], ids=["no error", "no pixels"])
def test_without_error_there_is_no_ratio(counts):
    assert Distortion(0.0, np.array(counts), 3, 255.0).psnr_db is None


def test_no_pixels_add_nothing():
    mixture, pixels, labels, _ = labeled(3, np.uint8)
    none, some = distortion(pixels[:0], labels[:0], mixture), distortion(pixels, labels, mixture)
    assert (none.squared_error, none.colors_used, none.psnr_db) == (0, 0, None)
    assert (none + some).psnr_db == some.psnr_db
