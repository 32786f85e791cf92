"""SSIM is what its definition says of every window, and what scikit-image says, where that is installed."""

import numpy as np
import pytest

from streamgmm.model.similarity import SIDE, similarity

from .. import naive
from ..images import smooth


def pair(height, width):
    """Two images alike, as planes of 16 bits."""
    one = smooth(height, width, 3, np.uint16)
    noise = np.random.default_rng(1).normal(0, 3000, one.shape)
    other = (one // 6000 * 6000 + noise).clip(0, 65_535).astype(np.uint16)
    return tuple(np.ascontiguousarray(np.moveaxis(each, -1, 0)) for each in (one, other))


@pytest.mark.parametrize("masked", [False, True])
def test_similarity_equals_its_naive_twin(masked):
    one, other = pair(30, 27)
    valid = np.ones((30, 27), bool)
    if masked:
        valid[4, 3] = valid[20:23, 24] = False
    total, n_windows = similarity(one, other, valid if masked else None)
    expected = [naive.similarities(x / 65_535, y / 65_535, valid) for x, y in zip(one, other, strict=True)]
    assert n_windows == len(expected[0])
    assert (n_windows < 20 * 17) == masked
    assert total == pytest.approx(np.concatenate(expected).sum(), rel=1e-9)
    assert 0.2 < total / n_windows / 3 < 0.99


def test_similarity_is_that_of_scikit_image():
    metrics = pytest.importorskip("skimage.metrics")
    one, other = pair(90, 70)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "channel_axis": 0}
    expected = metrics.structural_similarity(one / 65_535, other / 65_535, data_range=1.0, **options)
    total, n_windows = similarity(one, other, None)
    assert total / n_windows / 3 == pytest.approx(expected, abs=1e-9)


def test_equal_images_are_alike():
    one, _ = pair(40, 40)
    total, n_windows = similarity(one, one, None)
    assert n_windows == 30 * 30
    assert total / n_windows == pytest.approx(3, rel=1e-12)


@pytest.mark.parametrize("shape", [(SIDE - 1, 50), (50, SIDE - 1), (1, 1)])
def test_an_image_smaller_than_a_window_has_none(shape):
    assert similarity(*pair(*shape), None) == (0, 0)


def test_an_image_whose_windows_all_touch_masked_pixels_has_none():
    valid = np.ones((21, 21), bool)
    valid[10, 10] = False
    assert similarity(*pair(21, 21), valid) == (0, 0)
    valid[10, 10], valid[10, 9] = True, False
    assert similarity(*pair(21, 21), valid)[1] == 11  # at the right
