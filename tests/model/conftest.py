"""The command in processes of its own: kernels are compiled, kept and found again once in each."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..images import smooth, write_tiff

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "streamgmm"]
ARGUMENTS = ["quantize", "in.tif", "out.tif", "-k", "3", "--max-iter", "4", "--tol", "0.1", "--overwrite"]

# Runs the command, and prints how often its kernels were compiled and were found in the cache.
COUNTING = """
import sys
from streamgmm.cli import main
main(sys.argv[1:])

from streamgmm.model.jit import dispatchers
compiled = [dispatcher.stats for dispatcher in dispatchers]
print(sum(sum(stats.cache_misses.values()) for stats in compiled), sum(sum(stats.cache_hits.values()) for stats in compiled))
"""


# Prepended to programs that add up the pixels of an image.
PIXELS = """
import numpy as np
from streamgmm.model.statistics import accumulate
from tests.conftest import random_mixture, random_pixels
mixture = random_mixture({n_components}, {n_bands})
pixels = random_pixels(mixture, {n_pixels}, np.uint8)
"""


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


def printed(folder, program, *arguments, **environment):
    """Run a program: what it printed, and no error."""
    output, error = run(folder, arguments, [sys.executable, "-c", program], **environment)
    assert error == ""
    return output


def compiled(folder, arguments, cache):
    """Run the command with a cache: how often kernels were compiled, and found in it."""
    output, _ = run(folder, arguments, [sys.executable, "-c", COUNTING], STREAMGMM_CACHE_DIR=str(cache))
    misses, hits = map(int, output.splitlines()[-1].split())  # behind what the command prints itself
    return misses, hits


@pytest.fixture(scope="session")
def originals(tmp_path_factory):
    """What each test's ``folder`` begins with: a small image."""
    folder = tmp_path_factory.mktemp("originals")
    write_tiff(folder / "in.tif", smooth(60, 70), compression="deflate", tile=(64, 64))
    return folder


@pytest.fixture(scope="session")
def expected(originals, tmp_path_factory):
    """What the command makes of the image."""
    out = tmp_path_factory.mktemp("expected") / "out.tif"
    assert run(originals, [*ARGUMENTS[:2], out, *ARGUMENTS[3:]]) == ("", "")
    return out.read_bytes()


@pytest.fixture(scope="session")
def filled(originals, tmp_path_factory):
    """A cache that one run has filled."""
    folder = tmp_path_factory.mktemp("filled")
    misses, _ = compiled(originals, [*ARGUMENTS[:2], folder / "out.tif", *ARGUMENTS[3:]], folder / "cache")
    assert misses > 4
    return folder / "cache"
