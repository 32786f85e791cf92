"""Products of tiles are those of matrices, whatever a last tile lacks, and whatever was in the buffers before."""

import numpy as np
import pytest

from streamgmm.model import kernels
from streamgmm.model.buffers import BLOCK, TILE, as_pixels, bands_of, model_of, n_moments, scratch_for
from streamgmm.model.statistics import accumulate

from ..conftest import random_mixture, random_pixels


def sums_in(scratch, pixels, mixture):
    """The sums of the kernel in some buffers."""
    sums, loglik = np.zeros((1, mixture.n_components, n_moments(mixture.n_bands))), np.zeros(1)
    model, bounds = model_of(mixture, pixels.dtype), np.array([0, len(pixels)])
    bands = bands_of(mixture.n_bands)
    kernels.accumulate(1, as_pixels(pixels), np.empty(0), bounds, model, bands, scratch, sums, loglik)
    return sums.tobytes(), loglik.tobytes()


@pytest.mark.parametrize("n_bands", [9, 10, 11, 12, 13])
def test_what_was_in_the_buffers_changes_no_sum(n_bands):
    first, second = (random_mixture(n_components, n_bands, seed=n_components) for n_components in (3, 3))
    pixels, others = (random_pixels(mixture, 700, np.uint8, seed) for seed, mixture in enumerate((first, second)))
    scratch = scratch_for(1, 3, n_bands)
    expected = sums_in(scratch_for(1, 3, n_bands), pixels, first)
    sums_in(scratch, others, second)
    assert sums_in(scratch, pixels, first) == expected


@pytest.mark.parametrize("n_bands", [9, 10, 11, 12, 13])
def test_buffers_stay_zero_where_the_last_tile_lacks_bands(n_bands):
    mixture = random_mixture(3, n_bands)
    scratch = scratch_for(1, 3, n_bands)
    sums_in(scratch, random_pixels(mixture, 700, np.uint8), mixture)
    n_padded = scratch.centered.shape[1] * TILE
    assert 0 <= n_padded - n_bands < TILE
    assert not scratch.centered.reshape(n_padded, BLOCK)[n_bands:].any()
    root = scratch.root[0].reshape(-1, n_padded // TILE, TILE, TILE).swapaxes(1, 2).reshape(n_padded, n_padded)
    np.testing.assert_array_equal(root[:n_bands, :n_bands], model_of(mixture, np.dtype(np.uint8)).roots[-1])
    assert not root[n_bands:].any()
    assert not root[:, n_bands:].any()


@pytest.mark.parametrize("covariance_type", ["diag", "spherical"])
def test_diagonal_covariances_leave_nothing_off_the_diagonal(covariance_type):
    mixture = random_mixture(4, 9, covariance_type)
    second = accumulate(random_pixels(mixture, 500, np.uint8), mixture).second
    assert (np.diagonal(second, axis1=1, axis2=2) > 0).all()
    assert not (second * (1 - np.eye(9))).any()
