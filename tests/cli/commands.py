"""The command, in this process and in others, and what it is given."""

import os
import subprocess
import sys
from pathlib import Path

import tifffile

import streamgmm
from streamgmm.cli import main

from ..images import smooth

COMMAND = [sys.executable, "-m", "streamgmm"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def run(*arguments, **options):
    """Run the command in a process of its own."""
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, encoding="utf-8", timeout=300, **options)


def leave(*arguments):
    """Run the command in this process, and return its exit code."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as left:
        return left.code
    return 0


def write_pages(folder):
    """Small images in one file: one in strips with a reduced level, some pixels of 77, and another."""
    pixels = smooth(50, 60)
    pixels[20:30, 15:25] = 77
    options = {"compression": "deflate", "photometric": "rgb", "metadata": None}
    with tifffile.TiffWriter(path := folder / "in.tif") as writer:
        writer.write(pixels, rowsperstrip=16, **options)
        writer.write(pixels[::2, ::2], subfiletype=1, **options)
        writer.write(smooth(25, 35, seed=1), **options)
    return path


def write_model(source):
    """A model of four components, beside the image it was fitted to."""
    path = source.parent / "model.json"
    path.write_text(streamgmm.fit_image(source, n_components=4, threads=1)[0].to_json(), encoding="utf-8")
    return path
