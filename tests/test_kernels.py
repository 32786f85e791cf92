"""The compiled passes equal their naive twins, and each other, whatever runs them."""

import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
import tifffile

from streamgmm.errors import ModelError
from streamgmm.model import buffers, kernels
from streamgmm.model.buffers import BLOCK, SLICE, as_pixels
from streamgmm.model.colors import ColorTable
from streamgmm.model.em import maximization
from streamgmm.model.labels import classify
from streamgmm.model.mixture import COVARIANCE_TYPES, Mixture
from streamgmm.model.seeding import around, plus_plus
from streamgmm.model.statistics import accumulate

from . import naive
from .conftest import colors, parts, random_mixture, random_pixels, shared_file

# float32 has 6e-8; a block adds up 256 of them, and leaves out components with less than 2^-30 of a pixel. Sums are compared
# relative to the sums of their absolute values, log-likelihoods per pixel, labels by how far they are from the best, in nats.
TOLERANCE = 2e-6
LEFT_OUT = 2.0**-30
LABEL_TOLERANCE = 1e-4
DTYPES = [np.uint8, np.uint16, np.float32]
BANDS = [1, 2, 3, 4, 5, 6, 7, 8, 32]


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
    return sums * np.eye(mixture.n_bands) if sums.ndim == 3 and mixture.covariance_type in ("diag", "spherical") else sums


def assert_best_labels(labels, pixels, mixture):
    logp = naive.log_densities(colors(pixels), parts(mixture))
    chosen = np.take_along_axis(logp, labels.reshape(-1, 1).astype(int), axis=1)[:, 0]
    assert (chosen >= logp.max(axis=1) - LABEL_TOLERANCE).all()


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


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_bands", BANDS)
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_classify_equals_its_naive_twin(covariance_type, n_bands, dtype):
    mixture = random_mixture(5, n_bands, covariance_type)
    pixels = random_pixels(mixture, 777, dtype)
    assert_best_labels(classify(pixels, mixture), pixels, mixture)


@pytest.mark.parametrize("n_bands", [3, 6])
@pytest.mark.parametrize("n_pixels", [1, 2, 15, BLOCK - 1, BLOCK, BLOCK + 1, SLICE - 1, SLICE, SLICE + 1, 2 * SLICE + 300])
def test_any_number_of_pixels(n_pixels, n_bands):
    mixture = random_mixture(4, n_bands)
    pixels, weights = random_pixels(mixture, n_pixels, np.uint8), np.arange(1.0, n_pixels + 1)
    assert_same_statistics(accumulate(pixels, mixture), pixels, mixture)
    assert_same_statistics(accumulate(pixels, mixture, weights), pixels, mixture, weights)
    assert_best_labels(classify(pixels, mixture), pixels, mixture)


@pytest.mark.parametrize("n_bands", [3, 6])
@pytest.mark.parametrize("n_components", [1, 2, 16, 300, 5000])
def test_any_number_of_components(n_components, n_bands):
    mixture = random_mixture(n_components, n_bands)
    pixels = random_pixels(mixture, 600, np.uint8)
    labels = classify(pixels, mixture)
    assert_same_statistics(accumulate(pixels, mixture), pixels, mixture)
    assert_best_labels(labels, pixels, mixture)
    assert labels.dtype == (np.uint8 if n_components <= 256 else np.uint16)
    assert labels.max() > 255 or n_components <= 256


def test_blocks_shrink_for_thousands_of_components_and_stay_whole_vectors():
    sizes = [parameters.block_size(k) for k in (1, 4096, 5000, 65_535)]
    assert sizes == [BLOCK, BLOCK, 208, 16]


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
    assert_best_labels(classify(pixels, mixture), pixels, mixture)


@pytest.mark.parametrize("n_bands", [1, 3, 6])
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
    assert classify(pixels, dead).max() == 2


def test_the_first_of_equal_components_labels():
    twins = Mixture([0.25, 0.25, 0.5], [[0.2], [0.2], [0.8]], [0.01, 0.01, 0.01], "spherical")
    labels = classify(np.array([[51], [52], [204]], np.uint8), twins)
    assert labels.tolist() == [0, 0, 2]


@pytest.mark.parametrize("value", [np.nan, np.inf, -3.4e38, 1e25])
@pytest.mark.parametrize("n_bands", [1, 6])
def test_pixels_beyond_every_component_are_labeled_regardless_of_their_neighbors(n_bands, value):
    mixture = random_mixture(5, n_bands)
    pixels = random_pixels(mixture, 3 * BLOCK, np.float32)
    pixels[BLOCK : 2 * BLOCK] = value
    labels = classify(pixels, mixture)
    assert len(np.unique(labels[BLOCK : 2 * BLOCK])) == 1
    assert labels.max() < 5


@pytest.mark.parametrize("value", [0.5, 1e25, -3.4e38])
@pytest.mark.parametrize("n_bands", [3, 6])
def test_weight_0_equals_absent(n_bands, value):
    mixture = random_mixture(4, n_bands)
    pixels = random_pixels(mixture, 700, np.float32)
    masked, weights = np.full((1500, n_bands), value, np.float32), np.zeros(1500)
    masked[:700], weights[:700] = pixels, 1
    actual, expected = accumulate(masked, mixture, weights), accumulate(pixels, mixture)
    np.testing.assert_allclose(actual.moments, expected.moments, rtol=TOLERANCE, atol=1e-5)
    assert actual.mean_log_likelihood == pytest.approx(expected.mean_log_likelihood, rel=1e-12)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("n_bands", [3, 6])
def test_weight_3_equals_three_rows(n_bands, covariance_type):
    mixture = random_mixture(4, n_bands, covariance_type)
    pixels = random_pixels(mixture, 1000, np.uint8)
    weighted, repeated = accumulate(pixels, mixture, np.full(1000, 3.0)), accumulate(pixels.repeat(3, axis=0), mixture)
    scale = np.abs(repeated.moments).max(axis=0) + 1e-12
    np.testing.assert_allclose(weighted.moments / scale, repeated.moments / scale, atol=TOLERANCE)
    assert weighted.mean_log_likelihood == pytest.approx(repeated.mean_log_likelihood, rel=1e-9)
    assert weighted.weight == repeated.weight == 3000


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("n_bands", [3, 6])
@pytest.mark.parametrize("threads", [2, 4])
def test_statistics_are_the_same_bits_on_any_number_of_threads(threads, n_bands, weighted):
    mixture = random_mixture(16, n_bands)
    pixels = np.random.default_rng(0).integers(0, 256, (7 * SLICE + 123, n_bands), np.uint8)
    weights = some_weights(len(pixels)) if weighted else None
    expected = accumulate(pixels, mixture, weights, threads=1)
    assert bits(accumulate(pixels, mixture, weights, threads=threads)) == bits(expected)


@pytest.mark.parametrize("n_bands", [3, 6])
@pytest.mark.parametrize("threads", [2, 4])
def test_labels_are_the_same_bits_on_any_number_of_threads(threads, n_bands):
    mixture = random_mixture(16, n_bands)
    pixels = np.random.default_rng(0).integers(0, 256, (7 * SLICE + 123, n_bands), np.uint8)
    np.testing.assert_array_equal(classify(pixels, mixture, threads), classify(pixels, mixture, 1))


@pytest.mark.parametrize("slices", [1, 3])
def test_launches_change_no_result(slices, monkeypatch):
    mixture = random_mixture(4, 3)
    pixels = random_pixels(mixture, 7 * SLICE + 123, np.uint8)
    expected, labels = accumulate(pixels, mixture), classify(pixels, mixture)
    monkeypatch.setattr(buffers, "SLICES", slices)
    assert len(list(parameters.launches(len(pixels), 4, 3))) == -(-8 // slices)
    assert bits(accumulate(pixels, mixture, threads=2)) == bits(expected)
    np.testing.assert_array_equal(classify(pixels, mixture, 2), labels)


def test_a_launch_of_65535_components_stays_within_its_memory():
    bounds = next(parameters.launches(10**9, 65_535, 3))
    scratch = parameters.scratch_for(len(bounds) - 1, 65_535, 3)
    moments = (len(bounds) - 1) * 65_535 * parameters.n_moments(3) * 8
    assert bounds[-1] % SLICE == 0
    assert sum(buffer.nbytes for buffer in scratch) + moments < 1.1 * parameters.SLICE_BYTES


def test_no_pixels_add_up_to_nothing():
    mixture = random_mixture(3, 3)
    statistics = accumulate(np.empty((0, 3), np.uint8), mixture)
    assert not statistics.moments.any()
    assert (statistics.log_likelihood, statistics.weight) == (0, 0)
    assert classify(np.empty((0, 3), np.uint8), mixture).shape == (0,)


def test_images_are_taken_as_they_come(photo):
    mixture = random_mixture(4, 3)
    view, flat = photo[::3, ::-5], np.ascontiguousarray(photo[::3, ::-5]).reshape(-1, 3)
    assert bits(accumulate(view, mixture)) == bits(accumulate(flat, mixture))
    labels = classify(view, mixture)
    assert labels.shape == view.shape[:2]
    np.testing.assert_array_equal(labels.reshape(-1), classify(flat, mixture))


def test_the_caller_may_still_write_to_its_pixels():
    pixels = np.zeros((4, 3), np.uint8)
    assert not as_pixels(pixels).flags.writeable
    pixels[0] = 1
    assert as_pixels(pixels)[0].tolist() == [1, 1, 1]


def test_a_scale_stands_for_1():
    mixture = random_mixture(4, 2)
    pixels = random_pixels(mixture, 500, np.uint8)
    thousandths = accumulate((colors(pixels) * 1000).astype(np.float32), mixture, scale=1000.0)
    expected = accumulate(pixels, mixture)
    np.testing.assert_allclose(thousandths.moments, expected.moments, rtol=1e-5, atol=1e-5)
    assert thousandths.mean_log_likelihood == pytest.approx(expected.mean_log_likelihood, abs=1e-5)


def test_a_covariance_that_is_not_positive_definite_is_refused():
    flat = Mixture(np.ones(1), np.full((1, 2), 0.5), np.ones((1, 2, 2)))
    with pytest.raises(ModelError, match="a covariance is not positive definite; fit with a larger reg_covar"):
        accumulate(np.zeros((1, 2), np.uint8), flat)


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("n_bands", [1, 3, 6])
@pytest.mark.parametrize("dtype", DTYPES)
def test_tally_equals_its_naive_twin(dtype, n_bands, weighted):
    mixture = random_mixture(5, n_bands)
    pixels, labels = random_pixels(mixture, 400, dtype), np.random.default_rng(0).integers(0, 4, 400).astype(np.uint8)
    palette = (mixture.means * (1 if dtype == np.float32 else np.iinfo(dtype).max)).astype(np.float32)
    weights = some_weights(400) if weighted else np.empty(0)
    used = np.zeros(5)
    error = kernels.tally(as_pixels(pixels), weights, labels, palette, used)
    expected_error, expected_used = naive.tally(pixels, labels, palette.astype(np.float64), weights if weighted else None)
    assert error == pytest.approx(expected_error, rel=TOLERANCE)
    np.testing.assert_array_equal(used, expected_used)


PREAMBLE = """
import numpy as np
from streamgmm.model.statistics import accumulate
from tests.conftest import random_mixture, random_pixels
mixture = random_mixture(4, {n_bands})
pixels = random_pixels(mixture, {n_pixels}, np.uint8)

def add_up(_):
    return accumulate(pixels, mixture, threads=2).moments.tobytes()
"""

THREADS = """
from concurrent.futures import ThreadPoolExecutor
expected = accumulate(pixels, mixture).moments.tobytes()
with ThreadPoolExecutor(8) as pool:
    print(list(pool.map(add_up, range(80))) == [expected] * 80)
"""

FORK = """
import multiprocessing
expected = add_up(0)
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(pool.map_async(add_up, range(4)).get(timeout=60) == [expected] * 4)
"""

INTERPRETED = """
import sys
statistics = accumulate(pixels, mixture, np.arange(300.0))
np.savez(sys.argv[1], moments=statistics.moments, log_likelihood=statistics.log_likelihood)
"""


def run_script(script, *arguments, **environment):
    root = Path(__file__).parents[1]
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=root,
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        check=True,
        timeout=300,
    )


@pytest.mark.parametrize("layer", ["default", "workqueue"])
@pytest.mark.parametrize("script", [THREADS, FORK], ids=["eight threads at once", "forked children after their parent"])
def test_parallel_loops_may_be_launched_by(script, layer):
    result = run_script(PREAMBLE.format(n_bands=3, n_pixels=3 * SLICE) + script, NUMBA_THREADING_LAYER=layer)
    assert result.stdout == "True\n"


def test_the_callers_own_kernels_keep_their_threads():
    mixture = random_mixture(4, 3)
    before = numba.get_num_threads()
    accumulate(random_pixels(mixture, 100, np.uint8), mixture, threads=before - 1)
    assert numba.get_num_threads() == before > 1


WARM = """
from streamgmm.model import kernels
from streamgmm.model.colors import ColorCounter, ColorTable
from streamgmm.model.jit import dispatchers
from streamgmm.model.labels import LookupTable, classify, confidence
from streamgmm.model.buffers import as_pixels
from streamgmm.model.warmup import compile_kernels

def compiled():
    return [len(dispatcher.signatures) for dispatcher in dispatchers]

compile_kernels(pixels.dtype, 3, 4, 2, table={table}, confident=True)
before = compiled()
if {table}:
    counter = ColorCounter(3, len(pixels), 2)
    counter.add(pixels)
    table = counter.table()
    table.accumulate(mixture, threads=2)
    labels = LookupTable(table, classify(table.colors, mixture, 2))(pixels)
else:
    accumulate(pixels, mixture)
    ColorTable.of(pixels).accumulate(mixture, threads=2)
    labels = classify(pixels, mixture)
kernels.tally(as_pixels(pixels), np.empty(0), labels, mixture.means.astype(np.float32), np.zeros(4))
confidence(pixels, mixture)
print(before == compiled())
"""


@pytest.mark.parametrize("table", [True, False], ids=["table", "stream"])
def test_no_kernel_is_compiled_after_the_warm_up(table):
    script = PREAMBLE + WARM
    assert run_script(script.format(n_bands=3, n_pixels=300, table=table)).stdout == "True\n"


@pytest.mark.parametrize("n_bands", [3, 6])
def test_uncompiled_kernels_add_up_to_the_same(n_bands, tmp_path):
    run_script(PREAMBLE.format(n_bands=n_bands, n_pixels=300) + INTERPRETED, tmp_path / "sums.npz", NUMBA_DISABLE_JIT="1")
    interpreted = np.load(tmp_path / "sums.npz")
    mixture = random_mixture(4, n_bands)
    compiled = accumulate(random_pixels(mixture, 300, np.uint8), mixture, np.arange(300.0))
    scale = np.abs(compiled.moments).max(axis=0)
    np.testing.assert_allclose(interpreted["moments"] / scale, compiled.moments / scale, atol=1e-5)
    assert float(interpreted["log_likelihood"]) == pytest.approx(compiled.log_likelihood, rel=1e-5)
