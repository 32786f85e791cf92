"""Compiled code is kept where it can be, and whatever is wrong with what is kept, a run compiles again and is right."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numba
import numpy as np
import pytest
import tifffile

import streamgmm
from streamgmm.model import code_folder, jit

from .images import smooth, write_tiff

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "streamgmm"]
OPTIONS = {"n_components": 3, "max_iter": 4}
ARGUMENTS = ["quantize", "in.tif", "out.tif", "-k", "3", "--max-iter", "4", "--tol", "0.1", "--overwrite"]
NOTHING_KEPT = "streamgmm: compiled code cannot be kept; set STREAMGMM_CACHE_DIR to a folder that can be written"


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

from streamgmm.model.jit import dispatchers
compiled = [dispatcher.stats for dispatcher in dispatchers]
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


# --- Which folder compiled code is kept in ---


@pytest.fixture
def places(tmp_path, monkeypatch):
    """The folders that may be chosen: the one Numba is told, the one beside the package, and the one of the user."""
    monkeypatch.delenv("STREAMGMM_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    monkeypatch.setattr(code_folder, "__file__", str(tmp_path / "package" / "code_folder.py"))
    return tmp_path / "numba", tmp_path / "package" / "__pycache__", tmp_path / "user" / "streamgmm"


def fill(folder):
    """Put what looks like compiled code in a folder of a version."""
    (folder / "version" / "model_of_some_path").mkdir(parents=True)
    (folder / "version" / "model_of_some_path" / "kernel.nbi").write_text("code")


def block(folder):
    """Put a file where a folder is to be, which keeps out root, too."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.touch()


def test_the_first_folder_that_takes_code_is_chosen(places):
    told, beside, user = places
    assert code_folder.find_folder("version", str(told)) == told / "version"
    assert code_folder.find_folder("version", "") == beside / "version"
    shutil.rmtree(beside)
    block(beside)
    assert code_folder.find_folder("version", "") == user / "version"
    shutil.rmtree(user)
    block(user)
    assert code_folder.find_folder("version", "") is None


def test_the_folder_of_the_environment_is_the_only_one(places, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STREAMGMM_CACHE_DIR", "own")
    assert code_folder.find_folder("version", str(places[0])) == tmp_path / "own" / "version"
    shutil.rmtree(tmp_path / "own")
    block(tmp_path / "own")
    assert code_folder.find_folder("version", str(places[0])) is None
    assert sorted(tmp_path.iterdir()) == [tmp_path / "own"]


def test_a_user_may_have_no_home(places, monkeypatch):
    def no_home(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", no_home)
    block(places[1])
    assert code_folder.find_folder("version", "") is None


def test_a_folder_that_is_full_is_of_use_where_it_holds_code(places, monkeypatch):
    monkeypatch.setattr(code_folder, "ROOM", 1 << 62)
    assert code_folder.find_folder("version", "") is None
    fill(places[2])
    assert code_folder.find_folder("version", "") == places[2] / "version"


def test_code_that_cannot_be_written_is_linked_to_where_there_is_no_other_folder(places, monkeypatch):
    told, beside, user = places
    fill(beside)
    assert code_folder.find_folder("version", str(told)) == told / "version"
    monkeypatch.setattr(code_folder, "_takes_code", lambda folder: folder.parent == user)
    assert code_folder.find_folder("version", str(told)) == user / "version"
    monkeypatch.setattr(code_folder, "_takes_code", lambda folder: False)
    links = code_folder.find_folder("version", str(told))
    (code,) = links.rglob("*.nbi")
    assert code.relative_to(links) == Path("model_of_some_path/kernel.nbi")
    assert code.read_text() == "code"
    code_folder.empty(links)
    assert not list(links.rglob("*.nbi"))
    assert (beside / "version" / code.relative_to(links)).read_text() == "code"
    monkeypatch.setattr(tempfile, "mkdtemp", lambda **options: places[2].mkdir())
    assert code_folder.find_folder("version", str(told)) is None


LINKING = """
import os, sys
from streamgmm.model import code_folder
code_folder._takes_code = lambda folder: False
links = code_folder.find_folder("version", "")
if child := os.fork():
    os.waitpid(child, 0)
    assert list(links.rglob("*.nbi"))
    print(links)
sys.exit()
"""


def test_links_go_when_their_process_ends_and_not_with_a_fork_of_it(tmp_path):
    fill(tmp_path)
    output, _ = run(tmp_path, [], [sys.executable, "-c", LINKING], STREAMGMM_CACHE_DIR=str(tmp_path))
    assert Path(output.strip()).name.startswith("streamgmm-")
    assert not Path(output.strip()).exists()


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
    (tmp_path / "others.py").write_text(OTHERS)
    theirs = str(tmp_path / "theirs")
    output, _ = run(tmp_path, ["others.py"], [sys.executable], STREAMGMM_CACHE_DIR=ours, NUMBA_CACHE_DIR=theirs)
    version = f"streamgmm-{streamgmm.__version__}-numba-{numba.__version__}"
    folder = tmp_path / (ours or "theirs") / version
    assert output == f"{folder} {theirs} {{'{folder}'}}\n"


# --- What of it can be kept ---


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
    "gray": ({"bands": 1}, ARGUMENTS),
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
