"""Same input, same seed, same bytes: for any chunk size, any number of threads, and in any process."""

import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest

import streamgmm
from streamgmm.errors import Cancelled

from .images import PHOTO, smooth, write_tiff

METHODS = ["exact", "stream", "minibatch"]
LAYOUTS = {
    "tiles": {"tile": (64, 64), "compression": "deflate"},
    "strips": {"rowsperstrip": 11, "compression": "lzw"},
    "uncompressed": {},
}
OPTIONS = {"n_components": 6, "max_iter": 4}


@pytest.fixture(scope="module", params=LAYOUTS)
def source(request, tmp_path_factory):
    """An image in some layout."""
    path = tmp_path_factory.mktemp("determinism") / "in.tif"
    return write_tiff(path, smooth(400, 500), **LAYOUTS[request.param])


@pytest.fixture(autouse=True)
def many_places(monkeypatch):
    """Cut small images into many parts, and sample or look at some of their pixels, as it is with large ones."""
    monkeypatch.setattr("streamgmm.jobs.passes.blocks.BLOCK_PIXELS", 1 << 13)
    monkeypatch.setattr("streamgmm.jobs.sampling.SAMPLE_PIXELS", 1 << 12)
    monkeypatch.setattr("streamgmm.jobs.labeling.SEEN_PIXELS", 1 << 12)


def digest(source, path, threads=1, **options):
    """A digest of the output, and of what is told of its colors."""
    report = streamgmm.quantize(source, path, overwrite=True, threads=threads, **OPTIONS | options)
    return hashlib.sha256(path.read_bytes()).hexdigest(), report.psnr_db, report.delta_e


@cache
def expected(source, path, method):
    return digest(source, path, method=method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("chunk_size", ["1px", "5000px", "1MiB", "256MiB"])
def test_the_output_does_not_depend_on_the_chunk_size(chunk_size, method, source, tmp_path):
    path = source.parent / "out.tif"
    assert digest(source, tmp_path / "out.tif", method=method, chunk_size=chunk_size) == expected(source, path, method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("threads", [2, 4])
def test_the_output_does_not_depend_on_the_number_of_threads(threads, method, source, tmp_path):
    path = source.parent / "out.tif"
    assert digest(source, tmp_path / "out.tif", method=method, threads=threads) == expected(source, path, method)


ARRAYS = {
    "gray": smooth(200, 300, 1),
    "four bands": smooth(200, 300, 4),
    "16 bits": smooth(200, 300, 3, np.uint16),
    "floats, some masked": np.where(smooth(200, 300, 1, seed=1) < 100, np.nan, smooth(200, 300) / 255),
    "8 bits, some masked": np.ma.masked_less(smooth(200, 300), 90),
}


@pytest.mark.parametrize(("chunk_size", "threads"), [("1px", 1), ("100KiB", 4), ("64MiB", 2)])
@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_of_other_samples_give_the_same_bytes(name, chunk_size, threads, tmp_path):
    first = digest(ARRAYS[name], tmp_path / "1.tif")
    assert digest(ARRAYS[name], tmp_path / "2.tif", chunk_size=chunk_size, threads=threads) == first


@pytest.mark.parametrize("covariance_type", ["tied", "diag", "spherical"])
def test_other_covariances_give_the_same_bytes(covariance_type, tmp_path):
    options = {"covariance_type": covariance_type, "method": "stream"}
    digests = [digest(PHOTO, tmp_path / "out.tif", threads=threads, **options) for threads in (1, 2, 4)]
    assert len(set(digests)) == 1


@pytest.mark.parametrize("method", METHODS)
def test_the_model_is_the_same_to_the_last_bit(method):
    models = [
        streamgmm.fit_image(PHOTO, method=method, threads=threads, chunk_size=chunk_size, **OPTIONS)[0].to_json()
        for threads, chunk_size in ((1, "1MiB"), (2, "64MiB"), (4, "4Mpx"))
    ]
    assert models[0] == models[1] == models[2]


@pytest.mark.parametrize("method", ["exact", "minibatch"])
def test_two_processes_write_the_same_bytes(method, tmp_path):
    command = [sys.executable, "-m", "streamgmm", "quantize", PHOTO, "-k", "8", "--method", method]
    for number, options in enumerate((["--threads", "1"], ["--threads", "2", "--chunk-size", "200000px"])):
        environment = {"PYTHONHASHSEED": str(number), "PATH": "", "HOME": str(tmp_path)}
        subprocess.run([*command, tmp_path / f"{number}.tif", *options], check=True, env=environment)
    assert (tmp_path / "0.tif").read_bytes() == (tmp_path / "1.tif").read_bytes()


def test_threads_of_the_caller_write_the_same_bytes_at_once(source, tmp_path):
    jobs = [(method, threads) for method in METHODS for threads in (1, 2)]

    def job(number):
        method, threads = jobs[number]
        return digest(source, tmp_path / f"{number}.tif", method=method, threads=threads)

    with ThreadPoolExecutor(len(jobs)) as pool:
        digests = list(pool.map(job, range(len(jobs))))
    assert digests == [expected(source, source.parent / "out.tif", method) for method, _ in jobs]


def test_a_run_after_one_that_was_cancelled_writes_the_same_bytes(tmp_path):
    first = digest(PHOTO, tmp_path / "1.tif")
    with pytest.raises(Cancelled):
        digest(PHOTO, tmp_path / "2.tif", progress=lambda phase, done, total: phase != "fit")
    assert digest(PHOTO, tmp_path / "3.tif") == first


@pytest.mark.parametrize("method", METHODS)
def test_another_seed_draws_another_start(method):
    starts = [
        streamgmm.fit_image(PHOTO, n_components=8, method=method, init="random", max_iter=1, seed=seed, threads=1)[0].means
        for seed in (0, 1)
    ]
    assert not np.array_equal(*starts)


@pytest.fixture
def whole_sample(many_places, monkeypatch):
    """Seeds from all pixels of a photo, as from all of its colors."""
    monkeypatch.setattr("streamgmm.jobs.sampling.SAMPLE_PIXELS", 1 << 19)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_streaming_gives_the_same_fit_as_the_table(covariance_type, whole_sample):
    options = {"covariance_type": covariance_type, "n_components": 8, "threads": 1}
    exact, in_table = streamgmm.fit_image(PHOTO, method="exact", **options)
    stream, in_passes = streamgmm.fit_image(PHOTO, method="stream", **options)
    np.testing.assert_allclose(stream.means, exact.means, atol=1e-4)
    np.testing.assert_allclose(stream.weights, exact.weights, atol=1e-4)
    np.testing.assert_allclose(in_passes.log_likelihood, in_table.log_likelihood, atol=1e-6)


def test_streaming_gives_the_same_palette_as_the_table(tmp_path, whole_sample):
    outputs = []
    for method in ("exact", "stream"):
        streamgmm.quantize(PHOTO, path := tmp_path / f"{method}.tif", method=method, threads=1)
        outputs.append(path.read_bytes())
    assert outputs[0] == outputs[1]
