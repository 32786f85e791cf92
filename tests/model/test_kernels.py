"""The compiled loops do what they do uncompiled."""

import numpy as np
import pytest

from streamgmm.model import kernels
from streamgmm.model.buffers import as_pixels, bands_of
from streamgmm.model.colors import color_codes
from streamgmm.model.statistics import accumulate

from .. import naive
from ..conftest import random_mixture, random_pixels
from .conftest import PIXELS, printed


def codes_of(colors):
    return np.array([naive.interleaved(color) for color in colors.tolist()])


def test_powers_of_two_are_those_of_float64():
    logp = np.stack([np.zeros(256), np.linspace(-29, 0, 256)]).astype(np.float32)
    expected = np.exp2(logp.astype(float))
    total, active = np.empty(256, np.float32), np.empty(2, np.int32)
    kernels._exponentials(logp, logp[0].copy(), total, active)
    assert (logp[0] == 1).all()
    np.testing.assert_allclose(logp, expected, rtol=3e-7)
    np.testing.assert_allclose(total, expected.sum(axis=0), rtol=3e-7)
    assert (active > 0).all()


def test_components_that_do_not_matter_to_a_block_are_left_out():
    logp = np.array([[0, 0], [-31, -100], [-100, -29]], np.float32)
    total, active = np.empty(2, np.float32), np.empty(3, np.int32)
    kernels._exponentials(logp, np.zeros(2, np.float32), total, active)
    assert active.astype(bool).tolist() == [True, False, True]
    np.testing.assert_allclose(total, [1, 1 + 2.0**-29])


def test_logarithms_are_those_of_float64():
    for likelihood in np.exp2(np.random.default_rng(0).uniform(0, 16, 1000)).astype(np.float32).tolist():
        total = np.float32([likelihood])
        log = kernels._normalize(np.ones(1, np.float32), np.float32([-3]), total)
        assert log == pytest.approx(np.log2(likelihood) - 3, abs=2e-6)  # ulps of up to 16
        assert total[0] == pytest.approx(1 / likelihood, rel=2e-7)


@pytest.mark.parametrize("n_bands", [1, 2, 3])
def test_counting_and_looking_up_go_by_the_code_of_the_color(n_bands):
    pixels = np.random.default_rng(0).integers(0, 256, (500, n_bands), np.uint8)
    codes, counters = codes_of(pixels), np.zeros(256**n_bands, np.uint32)
    kernels.count(as_pixels(pixels), color_codes(n_bands), bands_of(n_bands), counters)
    np.testing.assert_array_equal(counters, np.bincount(codes, minlength=256**n_bands))
    table, labels = np.random.default_rng(1).integers(0, 256, 256**n_bands, np.uint8), np.empty(500, np.uint8)
    kernels.lookup(as_pixels(pixels), color_codes(n_bands), bands_of(n_bands), table, labels)
    np.testing.assert_array_equal(labels, table[codes])


@pytest.mark.parametrize("counter_type", [np.uint32, np.uint64])
@pytest.mark.parametrize("n_bands", [1, 2, 3])
def test_compact_writes_the_colors_that_occur_in_the_order_of_their_codes(n_bands, counter_type):
    expected = np.unique(np.random.default_rng(0).integers(0, 256, (300, n_bands), np.uint8), axis=0)
    expected = expected[np.argsort(codes_of(expected))]
    counters = np.zeros(256**n_bands, counter_type)
    counters[codes_of(expected)] = np.arange(1, len(expected) + 1)
    colors, counts = np.empty(expected.shape, np.uint8), np.empty(len(expected))
    kernels.compact(counters, colors, counts)
    np.testing.assert_array_equal(colors, expected)
    np.testing.assert_array_equal(counts, np.arange(1, len(expected) + 1))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("n_bands", [1, 3, 7])
def test_nearest_equals_its_naive_twin(n_bands, dtype):
    rng = np.random.default_rng(0)
    colors = rng.integers(0, 256, (500, n_bands)).astype(dtype)
    distances = np.full(500, np.inf)
    for mean in rng.uniform(0, 255, (3, n_bands)).astype(np.float32):
        expected = naive.nearest(colors, mean, distances)
        kernels.nearest(colors, mean, distances)
        np.testing.assert_allclose(distances, expected, rtol=1e-6)
    assert (distances > 0).all()


def test_the_nearest_of_equal_colors_is_at_no_distance():
    colors = np.float32([[0.1, 0.2], [0.3, 0.4]])
    distances = np.full(2, np.inf)
    kernels.nearest(colors, colors[1], distances)
    assert distances[1] == 0
    assert distances[0] == pytest.approx(0.08)


INTERPRETED = """
import sys
statistics = accumulate(pixels, mixture, np.arange(300.0))
np.savez(sys.argv[1], moments=statistics.moments, log_likelihood=statistics.log_likelihood)
"""


@pytest.mark.parametrize("n_bands", [3, 6, 9])
def test_uncompiled_kernels_add_up_to_the_same(n_bands, tmp_path):
    program = PIXELS.format(n_components=4, n_bands=n_bands, n_pixels=300) + INTERPRETED
    printed(tmp_path, program, tmp_path / "sums.npz", NUMBA_DISABLE_JIT="1")
    interpreted = np.load(tmp_path / "sums.npz")
    mixture = random_mixture(4, n_bands)
    compiled = accumulate(random_pixels(mixture, 300, np.uint8), mixture, np.arange(300.0))
    scale = np.abs(compiled.moments).max(axis=0)
    np.testing.assert_allclose(interpreted["moments"] / scale, compiled.moments / scale, atol=1e-5)
    assert float(interpreted["log_likelihood"]) == pytest.approx(compiled.log_likelihood, rel=1e-5)
