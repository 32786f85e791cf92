"""Compiled code is kept where it can be, and whatever is wrong with what is kept, a run compiles again and is right."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
import tifffile

import streamgmm

from .images import smooth, write_tiff

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "streamgmm"]
OPTIONS = {"n_components": 3, "max_iter": 4}
ARGUMENTS = ["quantize", "in.tif", "out.tif", "-k", "3", "--max-iter", "4", "--tol", "0.1", "--overwrite"]


def start(folder, arguments, program=COMMAND, **environment):
    """Start the command, or a program, in a folder."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    command = [*program, *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    )


def run(folder, arguments, program=COMMAND, **environment):
    """Run it to its end: what it printed."""
    process = start(folder, arguments, program, **environment)
    output, error = process.communicate(timeout=500)
    assert process.returncode == 0, error
    return output, error


@pytest.fixture
def folder(tmp_path):
    """A working folder with an image."""
    write_tiff(tmp_path / "in.tif", smooth(60, 70), compression="deflate", tile=(64, 64))
    return tmp_path


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What the command makes of the image."""
    folder = tmp_path_factory.mktemp("expected")
    write_tiff(folder / "in.tif", smooth(60, 70), compression="deflate", tile=(64, 64))
    assert run(folder, ARGUMENTS) == ("", "")
    return (folder / "out.tif").read_bytes()


# Runs the command, and prints how often its kernels were compiled and were found in the cache.
COUNTING = """
import sys
from streamgmm.cli import main
main(sys.argv[1:])

from streamgmm.model import kernels
found = vars(kernels).values()
twins = [getattr(kernel, name) for kernel in found for name in ("serial", "parallel") if hasattr(kernel, name)]
compiled = [kernel.stats for kernel in {id(kernel): kernel for kernel in (*found, *twins)}.values() if hasattr(kernel, "stats")]
print(sum(sum(stats.cache_misses.values()) for stats in compiled), sum(sum(stats.cache_hits.values()) for stats in compiled))
"""


def compiled(folder, arguments, cache):
    """Run the command with a cache: how often kernels were compiled, and found in it."""
    output, _ = run(folder, arguments, [sys.executable, "-c", COUNTING], STREAMGMM_CACHE_DIR=str(cache))
    misses, hits = map(int, output.split())
    return misses, hits


# --- Threads and processes ---

MANY_THREADS = """
from concurrent.futures import ThreadPoolExecutor
import streamgmm

def job(number):
    streamgmm.quantize("in.tif", f"out{number}.tif", n_components=3, max_iter=4, tol=0.1, threads=2, overwrite=True)

with ThreadPoolExecutor(8) as pool:
    list(pool.map(job, range(16)))
"""
FORKED = """
import os
import streamgmm

def job(number):
    streamgmm.quantize("in.tif", f"out{number}.tif", n_components=3, max_iter=4, tol=0.1, threads=2, overwrite=True)

job(0)
children = []
for number in range(1, 4):
    child = os.fork()
    if not child:
        try:
            job(number)
        except BaseException:
            os._exit(1)
        os._exit(0)
    children.append(child)
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
"""


@pytest.mark.parametrize(("program", "n_outputs"), [(MANY_THREADS, 16), (FORKED, 4)], ids=["eight threads", "forked children"])
@pytest.mark.parametrize("layer", ["workqueue", pytest.param("omp", marks=pytest.mark.slow)])
def test_kernels_run_wherever_they_are_called(layer, program, n_outputs, folder, expected):
    assert run(folder, [], [sys.executable, "-c", program], NUMBA_THREADING_LAYER=layer) == ("", "")
    assert [(folder / f"out{number}.tif").read_bytes() == expected for number in range(n_outputs)] == [True] * n_outputs


def test_without_the_compiler_the_result_is_the_same(folder):
    write_tiff(folder / "in.tif", smooth(24, 32))
    arguments = [*ARGUMENTS, "--report", "-"]
    compiled = json.loads(run(folder, arguments)[0])["model"]
    labels = tifffile.imread(folder / "out.tif")
    interpreted = json.loads(run(folder, arguments, NUMBA_DISABLE_JIT="1")[0])["model"]
    for name in ("weights", "means", "covariances"):
        np.testing.assert_allclose(interpreted[name], compiled[name], rtol=1e-3, atol=1e-5)
    assert np.mean(tifffile.imread(folder / "out.tif") == labels) > 0.99


# --- Where compiled code is kept ---


def unwritable(folder):
    """A copy of the package beside which nothing can be kept, not even by root, and an environment without a home."""
    shutil.copytree(ROOT / "streamgmm", folder / "site" / "streamgmm", ignore=shutil.ignore_patterns("__pycache__"))
    for room in (path for path in (folder / "site").rglob("*") if path.is_dir()):
        (room / "__pycache__").touch()
    return {"PYTHONPATH": str(folder / "site"), "HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null", "STREAMGMM_CACHE_DIR": ""}


@pytest.mark.slow
def test_where_nothing_can_be_kept_a_run_compiles_and_says_so(folder, expected):
    environment = unwritable(folder)
    assert run(folder, ARGUMENTS, **environment) == ("", "")
    assert (folder / "out.tif").read_bytes() == expected
    _, error = run(folder, [*ARGUMENTS, "-v"], **environment)
    (line,) = [line for line in error.splitlines() if "cannot be kept" in line]
    assert "STREAMGMM_CACHE_DIR" in line
    (folder / "cache").mkdir()
    run(folder, ARGUMENTS, **environment | {"STREAMGMM_CACHE_DIR": str(folder / "cache")})  # the remedy
    assert list((folder / "cache").rglob("*.nbi"))


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A cache that one run has filled."""
    folder = tmp_path_factory.mktemp("filled")
    write_tiff(folder / "in.tif", smooth(60, 70), compression="deflate", tile=(64, 64))
    misses, _ = compiled(folder, ARGUMENTS, folder / "cache")
    assert misses > 4
    return folder / "cache"


@pytest.mark.slow
def test_compiled_code_is_kept_where_it_is_asked_for_and_for_each_version(filled, folder):
    (version,) = filled.iterdir()
    assert version.name == f"streamgmm-{streamgmm.__version__}-numba-{numba.__version__}"
    misses, hits = compiled(folder, ARGUMENTS, filled)
    assert (misses, hits > 4) == (0, True)
    shutil.copytree(version, folder / "cache" / version.name.replace(streamgmm.__version__, "0.0.0"))
    misses, _ = compiled(folder, ARGUMENTS, folder / "cache")
    assert misses > 4
    assert len(list((folder / "cache").iterdir())) == 2


DAMAGES = {
    "empty": lambda data: b"",
    "cut off": lambda data: data[: len(data) // 2],
    "garbage": lambda data: bytes(range(256)) * (len(data) // 256),
    "of another": lambda data: b"\x80\x04K\x07." + data[:100],
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_a_damaged_cache_is_compiled_again(suffix, damage, filled, folder, expected):
    shutil.copytree(filled, folder / "cache")
    files = list((folder / "cache").rglob(f"*.{suffix}"))
    assert len(files) > 4
    for path in files:
        path.write_bytes(DAMAGES[damage](path.read_bytes()))
    _, error = run(folder, [*ARGUMENTS, "-v"], STREAMGMM_CACHE_DIR=str(folder / "cache"))
    assert (folder / "out.tif").read_bytes() == expected
    assert "Traceback" not in error
    assert re.search(r"compiled kernels in [\d.]+ s", error)
    assert compiled(folder, ARGUMENTS, folder / "cache")[0] == 0  # and kept anew


@pytest.mark.slow
def test_one_damaged_file_is_enough(filled, folder, expected):
    rng = np.random.default_rng(0)
    names = sorted(path.relative_to(filled) for path in filled.rglob("*.nb[ic]"))
    for name in rng.choice(names, 4, replace=False):
        shutil.copytree(filled, folder / "cache", dirs_exist_ok=True)
        data = (folder / "cache" / name).read_bytes()
        (folder / "cache" / name).write_bytes(data[: rng.integers(len(data))])
        assert run(folder, ARGUMENTS, STREAMGMM_CACHE_DIR=str(folder / "cache")) == ("", ""), name
        assert (folder / "out.tif").read_bytes() == expected, name


@pytest.mark.slow
def test_two_processes_may_fill_one_empty_cache(folder, expected):
    shutil.copytree(folder, folder / "other", ignore=shutil.ignore_patterns("other"))
    places = [folder, folder / "other"]
    runs = [start(place, ARGUMENTS, STREAMGMM_CACHE_DIR=str(folder / "cache")) for place in places]
    for process, place in zip(runs, places, strict=True):
        assert process.communicate(timeout=300) == ("", "")
        assert process.returncode == 0
        assert (place / "out.tif").read_bytes() == expected
    assert compiled(folder, ARGUMENTS, folder / "cache")[0] == 0


LATER = {
    "uint8": ({}, ARGUMENTS),
    "grey": ({"bands": 1}, ARGUMENTS),
    "uint8 of four bands": ({"bands": 4}, ARGUMENTS),
    "uint8 streaming": ({}, [*ARGUMENTS, "--method", "stream"]),
    "minibatch": ({}, [*ARGUMENTS, "--method", "minibatch"]),
    "uint16": ({"dtype": np.uint16}, ARGUMENTS),
    "uint16, one thread": ({"dtype": np.uint16}, [*ARGUMENTS, "--threads", "1"]),
    "one thread": ({}, [*ARGUMENTS, "--threads", "1"]),
    "confidence, levels and RGB": ({}, [*ARGUMENTS, "--confidence", "sure.tif", "--pyramid", "--output", "rgb"]),
    "diag": ({}, [*ARGUMENTS, "--covariance", "diag"]),
    "apply": ({}, ["apply", "model.json", "in.tif", "out.tif", "--confidence", "sure.tif", "--overwrite"]),
    "fit": ({}, ["fit", "in.tif", "-o", "fitted.json", "--overwrite"]),
}


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """A cache that was filled by a warm-up."""
    cache = tmp_path_factory.mktemp("warm")
    assert run(cache, ["warmup"], STREAMGMM_CACHE_DIR=str(cache)) == ("", "")
    return cache


@pytest.mark.slow
@pytest.mark.parametrize("later", LATER)
def test_after_a_warm_up_nothing_is_compiled(later, warm, folder):
    image, arguments = LATER[later]
    write_tiff(folder / "in.tif", smooth(300, 310, **image), tile=(64, 64))
    if later == "apply":
        (folder / "model.json").write_text(
            streamgmm.fit_image(folder / "in.tif", n_components=3)[0].to_json(), encoding="utf-8"
        )
    misses, hits = compiled(folder, arguments, warm)
    assert misses == 0
    assert hits > 2


@pytest.mark.slow
def test_after_a_warm_up_floats_are_not_compiled(warm, folder):
    pixels = smooth(300, 310, 3, np.uint16).astype(np.float32)
    pixels[:9] = np.nan
    write_tiff(folder / "in.tif", pixels, tile=(64, 64))
    assert compiled(folder, ARGUMENTS, warm)[0] == 0
