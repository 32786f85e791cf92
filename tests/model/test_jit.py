"""Kernels run wherever they are called, and their code is kept where it can be."""

import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numba
import numpy as np
import pytest
import tifffile

import streamgmm
from streamgmm.model import jit
from streamgmm.model.buffers import SLICE
from streamgmm.model.code_folder import digest_of_sources
from streamgmm.model.statistics import accumulate

from ..conftest import random_mixture, random_pixels
from ..images import smooth, write_tiff
from .conftest import ARGUMENTS, COMMAND, COUNTING, PIXELS, ROOT, compiled, printed, run, start

NOTHING_KEPT = "streamgmm: compiled code cannot be kept; set STREAMGMM_CACHE_DIR to a folder that can be written"

VERSION = f"streamgmm-{streamgmm.__version__}-numba-{numba.__version__}-{digest_of_sources()}"


MOMENTS = """
for threads in (1, 2):
    print(accumulate(pixels, mixture, threads=threads).moments.tobytes().hex())
"""


@pytest.mark.parametrize(("n_bands", "n_components"), [(1, 5), (6, 4), (8, 4), (9, 4)])
def test_code_that_was_just_compiled_adds_up_as_code_that_was_kept(n_bands, n_components, tmp_path):
    program = PIXELS.format(n_components=n_components, n_bands=n_bands, n_pixels=3 * SLICE) + MOMENTS
    compiling, loading = (printed(tmp_path, program, STREAMGMM_CACHE_DIR=str(tmp_path)) for _ in range(2))
    assert compiling == loading
    assert len({*loading.split()}) == 1


ADDING = """
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


@pytest.mark.parametrize("layer", ["default", "workqueue"])
@pytest.mark.parametrize("script", [THREADS, FORK], ids=["eight threads at once", "forked children after their parent"])
def test_parallel_loops_may_be_launched_by(script, layer, tmp_path):
    program = PIXELS.format(n_components=4, n_bands=3, n_pixels=3 * SLICE) + ADDING + script
    assert printed(tmp_path, program, NUMBA_THREADING_LAYER=layer) == "True\n"


def test_the_callers_own_kernels_keep_their_threads():
    mixture = random_mixture(4, 3)
    before = numba.get_num_threads()
    accumulate(random_pixels(mixture, 100, np.uint8), mixture, threads=before - 1)
    assert numba.get_num_threads() == before > 1


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
    assert printed(folder, program, NUMBA_THREADING_LAYER=layer) == ""
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


OTHERS = """
import os, numba
from streamgmm.model import jit, kernels

@numba.njit(cache=True)
def other(x):
    return x + 1

assert numba.config.CACHE_DIR == os.environ["NUMBA_CACHE_DIR"]
assert other(1) == 2
print(jit.FOLDER, os.path.dirname(other.stats.cache_path), {os.path.dirname(each.stats.cache_path) for each in jit.dispatchers})
"""


@pytest.mark.parametrize("ours", ["", "ours"])
def test_kernels_of_others_are_kept_where_they_were(ours, tmp_path):
    (tmp_path / "others.py").write_text(OTHERS, encoding="utf-8")
    theirs = str(tmp_path / "theirs")
    output, _ = run(tmp_path, ["others.py"], [sys.executable], STREAMGMM_CACHE_DIR=ours, NUMBA_CACHE_DIR=theirs)
    folder = tmp_path / (ours or "theirs") / VERSION
    assert output == f"{folder} {theirs} {{'{folder}'}}\n"


def has_mounts():
    """Whether this process may mount file systems, for its children alone."""
    mount = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return shutil.which("unshare") is not None and subprocess.run(mount, capture_output=True).returncode == 0


needs_mounts = pytest.mark.skipif(not has_mounts(), reason="needs to mount a file system")


def mounting(kind, command):
    """Start a command where its first argument is a mount of some kind."""
    return ["unshare", "--mount", "/bin/sh", "-c", f'mount {kind} "$0" && exec "$@"', "cache", *command]


# Has no room left when the kernels are decorated, and before any is compiled.
FILLING = """
import sys
from streamgmm.model import jit, kernels
with open("cache/ballast", "wb", buffering=0) as ballast:
    try:
        while ballast.write(bytes(1 << 12)):
            pass
    except OSError:
        pass
from streamgmm.cli import main
main(sys.argv[1:])
"""


@needs_mounts
@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--method", "stream", "--confidence", "sure.tif"]], ids=["table", "stream"])
def test_a_disk_that_becomes_full_keeps_nothing_and_says_so_once(more, folder):
    run(folder, [*ARGUMENTS, *more])
    expected = {path.name: path.read_bytes() for path in folder.glob("*.tif")}
    (folder / "cache").mkdir()
    program = mounting("-t tmpfs -o size=33m none", [sys.executable, "-c", FILLING])
    _, error = run(folder, [*ARGUMENTS, *more, "-v"], program, STREAMGMM_CACHE_DIR=str(folder / "cache"))
    assert [line for line in error.splitlines() if "cannot be" in line] == [NOTHING_KEPT]
    assert {path.name: path.read_bytes() for path in folder.glob("*.tif")} == expected


@needs_mounts
@pytest.mark.slow
def test_a_disk_that_is_full_is_not_written(folder, expected):
    (folder / "cache").mkdir()
    program = mounting("-t tmpfs -o size=64k none", COMMAND)
    _, error = run(folder, [*ARGUMENTS, "-v"], program, STREAMGMM_CACHE_DIR=str(folder / "cache"))
    assert [line for line in error.splitlines() if "cannot be" in line] == [NOTHING_KEPT]
    assert (folder / "out.tif").read_bytes() == expected


@needs_mounts
@pytest.mark.slow
@pytest.mark.parametrize("damaged", [False, True])
def test_a_cache_that_cannot_be_written_is_of_use(damaged, filled, folder, expected):
    shutil.copytree(filled, folder / "cache")
    for path in (folder / "cache").rglob("*.nbc") if damaged else ():
        path.write_bytes(b"")
    kept = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (folder / "cache").rglob("*.nb?")}
    program = mounting("--bind cache cache && mount -o remount,bind,ro", [sys.executable, "-c", COUNTING])
    output, _ = run(folder, ARGUMENTS, program, STREAMGMM_CACHE_DIR=str(folder / "cache"))
    assert (int(output.split()[0]) > 4) == damaged
    assert (folder / "out.tif").read_bytes() == expected
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (folder / "cache").rglob("*.nb?")} == kept


def test_an_error_that_is_not_of_what_is_kept_comes_out():
    def reading():
        raise OSError("of something else")

    with pytest.raises(OSError, match="of something else"):
        jit._call(reading)


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
    assert [line for line in error.splitlines() if "cannot be" in line] == [NOTHING_KEPT]
    (folder / "cache").mkdir()
    run(folder, ARGUMENTS, **environment | {"STREAMGMM_CACHE_DIR": str(folder / "cache")})  # the remedy
    assert list((folder / "cache").rglob("*.nbi"))


@pytest.mark.slow
def test_compiled_code_is_kept_where_it_is_asked_for_and_for_each_version(filled, folder):
    (version,) = filled.iterdir()
    assert version.name == VERSION
    misses, hits = compiled(folder, ARGUMENTS, filled)
    assert (misses, hits > 4) == (0, True)
    shutil.copytree(version, folder / "cache" / version.name.replace(streamgmm.__version__, "0.0.0"))
    misses, _ = compiled(folder, ARGUMENTS, folder / "cache")
    assert misses > 4
    assert len(list((folder / "cache").iterdir())) == 2


@pytest.mark.slow
def test_where_numba_cannot_keep_code_after_all_a_run_compiles(folder, expected):
    environment = unwritable(folder) | {"STREAMGMM_CACHE_DIR": str(folder / "cache")}
    run(folder, [], [sys.executable, "-c", "import streamgmm.model.kernels"], **environment)
    (room,) = (folder / "cache").glob("*/*")
    room.rmdir()
    room.touch()
    _, error = run(folder, [*ARGUMENTS, "-v"], **environment)
    assert [line for line in error.splitlines() if "cannot be" in line] == [NOTHING_KEPT]
    assert (folder / "out.tif").read_bytes() == expected


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


def add_one(x):
    return x + 1


def test_a_parallel_kernel_is_compiled_twice_under_two_names():
    def loop(x):
        """Its words."""

    twins = jit.ParallelKernel(loop)
    names = [dispatcher.py_func.__qualname__ for dispatcher in (twins.serial, twins.parallel)]
    assert names == ["loop_serial", "loop_parallel"]
    assert twins.serial.py_func.__doc__ == "Its words."
    del jit.dispatchers[-2:]


def test_code_is_compiled_where_there_is_no_folder_to_keep_it(monkeypatch):
    monkeypatch.setattr(jit, "FOLDER", None)
    monkeypatch.setattr(jit, "dispatchers", [])
    added = jit.entry(add_one)
    assert added(1) == 2
    (dispatcher,) = jit.dispatchers
    assert len(dispatcher.nopython_signatures) == 1
    assert dispatcher.stats.cache_path is None
    jit.forget()  # nothing, and no error


def test_a_disk_that_takes_no_code_is_asked_again_while_more_is_compiled(monkeypatch):
    """Each function that a call needs raises as its code is to be kept, and is compiled by then."""
    needed = [SimpleNamespace(signatures=[]) for _ in range(3)]
    monkeypatch.setattr(jit, "dispatchers", needed)

    def calling(x):
        for each in needed:
            if not each.signatures:
                each.signatures.append("compiled")
                raise OSError("no space left on device")
        return x + 1

    assert jit._call(calling, 1) == 2


# --- Forks, and other systems ---

# A program with a parallel loop of its own imports the package in children that it forks, before or after they do other work.
OWN_LOOP = """
import multiprocessing, os, sys, threading, time
import numba, numpy as np

@numba.njit(parallel=True)
def total(x):
    s = 0.0
    for i in numba.prange(x.size):
        s += x[i]
    return s

def job(number):
    np.linalg.inv(np.random.default_rng(0).random((500, 500)))  # which may start threads, too
    end = time.process_time() + number
    while time.process_time() < end:
        pass
    import streamgmm
    streamgmm.quantize("in.tif", f"out{number}.tif", n_components=3, max_iter=4, tol=0.1, threads=2, overwrite=True)
    return number

total(np.ones(100_000))
if sys.argv[1] == "pool":
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map_async(job, range(2)).get(timeout=120) == [0, 1]
else:
    child = os.fork()
    if not child:
        os._exit(job(0))
    assert os.waitpid(child, 0)[1] == 0
print(total(np.ones(100_000)), "streamgmm" in sys.modules)
"""


@pytest.mark.parametrize("how", ["pool", "fork"])
@pytest.mark.parametrize("layer", ["default", "workqueue"])
def test_a_program_with_parallel_loops_of_its_own_may_fork(how, layer, folder, expected):
    (folder / "own.py").write_text(OWN_LOOP, encoding="utf-8")
    output, _ = run(folder, ["own.py", how], [sys.executable], NUMBA_THREADING_LAYER=layer)
    assert output == "100000.0 False\n"
    assert (folder / "out0.tif").read_bytes() == expected


ELSEWHERE = """
import os, pkgutil, random, signal, sys
from importlib import import_module

import numba, tifffile, PIL.Image, psutil, filelock, click, rich

del signal.SIGHUP, os.register_at_fork
import streamgmm
for module in pkgutil.walk_packages(streamgmm.__path__, "streamgmm."):
    if not module.name.endswith("__main__"):
        import_module(module.name)
print(streamgmm.quantize.__name__)
"""


def test_the_package_can_be_imported_where_there_are_no_such_signals_and_forks(tmp_path):
    (tmp_path / "elsewhere.py").write_text(ELSEWHERE, encoding="utf-8")
    assert run(tmp_path, ["elsewhere.py"], [sys.executable])[0] == "quantize\n"
