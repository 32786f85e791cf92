"""The compiled loops do what they do uncompiled, and in registers what they do in rows."""


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


@pytest.mark.parametrize("n_bands", [3, 6])
def test_uncompiled_kernels_add_up_to_the_same(n_bands, tmp_path):
    run_script(PREAMBLE.format(n_bands=n_bands, n_pixels=300) + INTERPRETED, tmp_path / "sums.npz", NUMBA_DISABLE_JIT="1")
    interpreted = np.load(tmp_path / "sums.npz")
    mixture = random_mixture(4, n_bands)
    compiled = accumulate(random_pixels(mixture, 300, np.uint8), mixture, np.arange(300.0))
    scale = np.abs(compiled.moments).max(axis=0)
    np.testing.assert_allclose(interpreted["moments"] / scale, compiled.moments / scale, atol=1e-5)
    assert float(interpreted["log_likelihood"]) == pytest.approx(compiled.log_likelihood, rel=1e-5)


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
