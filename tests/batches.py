"""Batches of small images, as a library and as a command, in this process and in others."""

import json
import os
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import psutil
import pytest
import tifffile
from prometheus_client.parser import text_string_to_metric_families

from streamgmm.cli import main
from streamgmm.jobs.batch.inputs import find
from streamgmm.jobs.batch.run import batch
from streamgmm.options.batch import BatchOptions

from .conftest import random_mixture
from .images import smooth, write_tiff

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
COMMAND = [sys.executable, "-m", "streamgmm", "batch"]
OUT = Path("out")
# From a model that was fitted to nothing: seeds would be where EM ends.
SLOW = ["--method", "stream", "--tol", "0", "--max-iter", "300", "-k", "16", "--preset", "segment", "--init", "start.json"]
HARD = ["--method", "stream", "--tol", "1e-3", "-k", "8", "--pyramid", "--compression-level", "9"]


def write_three(folder):
    """Write three small images into a folder's folder "in", and a model to start from."""
    (folder / "in").mkdir()
    (folder / "start.json").write_text(random_mixture(16, 3).to_json(), encoding="utf-8")
    for i in range(3):
        write_tiff(folder / f"in/{i}.tif", smooth(40, 60, seed=i), compression="deflate")
    return folder


def work_here(monkeypatch):
    """Let the work be done in this process, which is faster; return the names of the inputs worked on."""
    worked = []

    def in_processes(function, tasks, size):
        for task in tasks:
            worked.append(str(task.pair.source) if hasattr(task, "pair") else "all")
            yield task, function(task)

    monkeypatch.setattr("streamgmm.jobs.batch.run.in_processes", in_processes)
    return worked


def leave(*arguments):
    """Run the command in this process, and return its exit code."""
    with pytest.raises(SystemExit) as left:
        main(["batch", *map(str, arguments)])
    return left.value.code


def start(*arguments, **options):
    """Start the command in a process of its own."""
    command = [*COMMAND, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8", "env": ENVIRONMENT}
    return subprocess.Popen(command, **pipes | options)


def finish(process):
    """Wait for the end of a process: its exit code, and what it said."""
    output, error = process.communicate(timeout=120)
    return process.returncode, output, error


def run(*inputs, **options):
    """Quantize in/ to out/ as a library, and return what became of each input."""
    given = {"out_dir": OUT, "n_components": 2, "threads": 1} | options
    names = {field.name for field in fields(BatchOptions)}
    pairs = find(inputs or ["in"], BatchOptions(**{name: value for name, value in given.items() if name in names}))
    return list(batch(pairs, **given))


def statuses(*inputs, **options):
    """What became of the inputs, in their order."""
    return [each.status for each in sorted(run(*inputs, **options), key=lambda each: each.input)]


def report(path="run.jsonl"):
    """The lines of a report."""
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def measured(path="metrics.prom"):
    """The metrics in a file, as Prometheus reads them."""
    families = list(text_string_to_metric_families(Path(path).read_text(encoding="utf-8")))
    assert all(family.type == "gauge" and family.documentation for family in families)
    samples = [sample for family in families for sample in family.samples]
    assert all(sample.name.startswith("streamgmm_batch_") for sample in samples)
    return {
        " ".join([sample.name.removeprefix("streamgmm_batch_"), *sample.labels.values()]): sample.value for sample in samples
    }


def outputs(path=OUT):
    """All files in the folder of the outputs, hidden ones too."""
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def pixels(path):
    """The image in its colors."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        return (page.colormap[:, page.asarray()] >> 8).transpose(1, 2, 0)


def workers(process):
    """The processes that do the work of a batch."""
    children = psutil.Process(process.pid).children() if process.poll() is None else []
    found = []
    for child in children:
        try:
            found += [child] if any("spawn_main" in word for word in child.cmdline()) else []
        except psutil.Error:  # gone meanwhile
            continue
    return found


def until(condition, seconds=60):
    """Wait until something is so, and return it."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


def in_work(name):
    """Whether a file is being worked on."""
    return (OUT / f".streamgmm.{name}.work" / "job").exists()


def corrupt(path):
    """Write what begins as a TIFF."""
    Path(path).write_bytes(b"II*\0" + bytes(40))


def deep(name, side=512, seed=0):
    """Write an image that takes a second or two."""
    image = np.tile(smooth(256, 256, dtype=np.uint16, seed=seed), (side // 256, side // 256, 1))
    write_tiff(name, image, tile=(256, 256), compression="deflate")
