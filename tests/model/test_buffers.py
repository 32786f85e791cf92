"""What the kernels are handed: pixels they can read, mixtures in their units, buffers that stay small."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from streamgmm.model.buffers import (
    BLOCK,
    SERIAL_BYTES,
    SLICE,
    SLICE_BYTES,
    SLICES,
    as_pixels,
    bands_of,
    block_size,
    label_dtype,
    launches,
    model_of,
    n_moments,
    scratch_for,
    slice_bytes,
    slices_of,
)
from streamgmm.model.mixture import COVARIANCE_TYPES, Mixture
from streamgmm.model.space import SampleSpace

from .. import naive
from ..conftest import colors, parts, random_mixture, random_pixels


def test_blocks_shrink_for_thousands_of_components_and_stay_whole_vectors():
    sizes = [block_size(k) for k in (1, 4096, 5000, 65_535)]
    assert sizes == [BLOCK, BLOCK, 208, 64]


def test_a_launch_of_65535_components_stays_within_its_memory():
    bounds = next(launches(10**9, 65_535, 3))
    scratch = scratch_for(len(bounds) - 1, 65_535, 3)
    moments = (len(bounds) - 1) * 65_535 * n_moments(3) * 8
    assert bounds[-1] % SLICE == 0
    assert sum(buffer.nbytes for buffer in scratch if buffer is not None) + moments < 1.1 * SLICE_BYTES


def test_the_caller_may_still_write_to_its_pixels():
    pixels = np.zeros((4, 3), np.uint8)
    assert not as_pixels(pixels).flags.writeable
    pixels[0] = 1
    assert as_pixels(pixels)[0].tolist() == [1, 1, 1]


@pytest.mark.parametrize(("n_components", "dtype"), [(1, "u1"), (256, "u1"), (257, "u2"), (65_535, "u2")])
def test_labels_take_as_few_bytes_as_they_need(n_components, dtype):
    assert label_dtype(n_components) == np.dtype(dtype)


@pytest.mark.parametrize("n_components", [1, 16, 5000])
@pytest.mark.parametrize("n_bands", [1, 3, 6])
@pytest.mark.parametrize("parallel", [False, True], ids=["serial", "parallel"])
@pytest.mark.parametrize("n_pixels", [0, 1, SLICE, SLICE + 1, 200 * SLICE - 1])
def test_launches_cover_all_pixels_once_in_slices_of_a_fixed_size(n_pixels, parallel, n_bands, n_components):
    slices = [
        (int(first), int(last))
        for bounds in launches(n_pixels, n_components, n_bands, parallel)
        for first, last in pairwise(bounds)
    ]
    assert slices == [(first, min(first + SLICE, n_pixels)) for first in range(0, n_pixels, SLICE)]


@pytest.mark.parametrize("n_components", [1, 16, 300, 5000])
@pytest.mark.parametrize("n_bands", [1, 3, 6, 32])
@pytest.mark.parametrize(("parallel", "most"), [(False, SERIAL_BYTES), (True, SLICE_BYTES)], ids=["serial", "parallel"])
def test_a_launch_is_as_small_as_it_may_be(parallel, most, n_bands, n_components):
    n_slices = slices_of(n_components, n_bands, parallel)
    assert 1 <= n_slices <= SLICES
    assert n_slices == 1 or n_slices * slice_bytes(n_components, n_bands) <= most


@pytest.mark.parametrize("n_bands", [1, 2, 3, 4, 7])
def test_moments_are_a_sum_a_vector_and_a_triangle(n_bands):
    assert n_moments(n_bands) == 1 + n_bands + len(np.tril_indices(n_bands)[0])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_a_model_is_the_mixture_in_sample_units(covariance_type, dtype):
    mixture = random_mixture(4, 3, covariance_type)
    pixels = random_pixels(mixture, 50, dtype)
    model = model_of(mixture, np.dtype(dtype))
    distances = np.einsum("kij,nkj->nki", model.roots.astype(float), pixels[:, None] - model.means.astype(float))
    logp = (model.constants - (distances**2).sum(axis=2)) * np.log(2)
    np.testing.assert_allclose(logp, naive.log_densities(colors(pixels), parts(mixture)), rtol=1e-4, atol=1e-4)
    assert {array.dtype for array in model[:3]} == {np.dtype(np.float32)}
    assert model.diagonal == (covariance_type in ("diag", "spherical", "isotropic"))


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_a_model_is_in_the_units_of_each_band(covariance_type):
    space = SampleSpace(((-100, 900), (20, 45), (0, 30_000)), (1, 32_768))
    mixture = replace(random_mixture(4, 3, covariance_type), space=space)
    pixels = np.rint(space.inverse(colors(random_pixels(mixture, 50, np.float32)), np.uint16)).astype(np.uint16)
    model = model_of(mixture, np.dtype(np.uint16))
    low, high = np.transpose(space.range)
    np.testing.assert_allclose(model.means, 32_768 + low + mixture.means * (high - low), rtol=1e-7)
    distances = np.einsum("kij,nkj->nki", model.roots.astype(float), pixels[:, None] - model.means.astype(float))
    logp = (model.constants - (distances**2).sum(axis=2)) * np.log(2)
    np.testing.assert_allclose(logp, naive.log_densities(space.colors(pixels), parts(mixture)), rtol=1e-3, atol=1e-2)


def test_a_dead_component_is_infinitely_unlikely():
    model = model_of(Mixture([1, 0], [[0.5], [0.5]], [0.1, 0.1], "spherical"), np.dtype(np.uint8))
    assert np.isfinite(model.constants[0])
    assert model.constants[1] == -np.inf


VIEWS = {
    "strided": lambda pixels: pixels[::2, ::-1],
    "of the other byte order": lambda pixels: pixels.astype(pixels.dtype.newbyteorder()),
    "in columns": np.asfortranarray,
    "unaligned": lambda pixels: np.frombuffer(b"-" + pixels.tobytes(), np.uint8)[1:].view(pixels.dtype).reshape(pixels.shape),
}


@pytest.mark.parametrize("name", VIEWS)
def test_pixels_have_one_form_however_they_come(name):
    given = VIEWS[name](np.random.default_rng(0).integers(0, 60_000, (6, 5, 3)).astype(np.uint16))
    pixels = as_pixels(given)
    np.testing.assert_array_equal(pixels, given.reshape(-1, 3))
    assert pixels.dtype.isnative
    assert pixels.flags.c_contiguous
    assert pixels.flags.aligned
    assert not pixels.flags.writeable


def test_the_number_of_bands_is_a_constant_up_to_eight():
    assert [len(bands_of(n_bands)) for n_bands in range(1, 9)] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert bands_of(9) is bands_of(200) is None


def test_many_bands_have_buffers_of_whole_tiles_and_a_few_have_none():
    assert {*scratch_for(2, 3, 8)[4:]} == {None}
    tile, centered, root = scratch_for(2, 3, 9)[4:]
    assert (tile.shape, centered.shape, root.shape) == ((2, 2, 4 * BLOCK), (2, 3, 4 * BLOCK), (2, 3, 3, 16))
    assert scratch_for(2, 3, 12).root.shape == root.shape


@pytest.mark.parametrize("n_bands", [1, 3, 9, 32])
@pytest.mark.parametrize("n_components", [1, 5000, 65_535])
def test_rows_of_floats_begin_at_cache_lines(n_components, n_bands):
    scratch = scratch_for(2, n_components, n_bands)
    floats = [buffer for buffer in scratch if buffer is not None and buffer.dtype == np.float32]
    assert {row.ctypes.data % 64 for buffer in floats for row in buffer.reshape(-1, buffer.shape[-1])[:5]} == {0}
