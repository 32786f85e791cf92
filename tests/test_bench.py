"""The benchmark runs, at small sizes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.mark.slow
def test_bench_prints_every_row(tmp_path):
    done = subprocess.run(
        [sys.executable, SCRIPTS / "bench.py", "--work", tmp_path, "--smoke"],
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    for what in (
        "against weighted k-means",
        "best of three",
        "on a mosaic",
        "matrix multiplication",
        "1,024 colors",
        "scikit-learn",
        "the floor",
        "distinct colors",
        "peak memory",
        "times the pixels",
        "512 x 512",
        "Pillow",
        "checkpoints",
        "nothing to do",
    ):
        assert what in done.stdout


def test_images_are_the_same_every_time_and_repeat_with_their_period(tmp_path):
    command = [sys.executable, SCRIPTS / "make_image.py"]
    for name, more in (("a", []), ("b", []), ("c", ["--period", "512"])):
        subprocess.run([*command, tmp_path / name, "--size", "1024", *more], check=True)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    image = tifffile.imread(tmp_path / "c")
    np.testing.assert_array_equal(image[:512, :512], image[512:, 512:])
    np.testing.assert_array_equal(image[:512, :512], tifffile.imread(tmp_path / "a")[:512, :512])
