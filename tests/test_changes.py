"""An input that changes while it is read is noticed, whatever happens to it, and nothing is made of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import streamgmm

from .images import smooth, write_tiff

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
INPUT = 3


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """An image of two bands, whose colors are soon counted, and a model."""
    folder = tmp_path_factory.mktemp("originals")
    write_tiff(folder / "in.tif", smooth(100, 120, 2), compression="deflate", tile=(64, 64))
    mixture, _ = streamgmm.fit_image(folder / "in.tif", n_components=3, threads=1)
    (folder / "model.json").write_text(mixture.to_json(), encoding="utf-8")
    return folder


def append(path):
    with open(path, "ab") as file:
        file.write(b"more")


def touch(path):
    os.utime(path, ns=(10**18, 10**18))


def replace(path):
    write_tiff(path.with_name("new.tif"), smooth(100, 120, 2, seed=9), compression="deflate", tile=(64, 64))
    path.with_name("new.tif").replace(path)


def rewrite(path):
    write_tiff(path, smooth(100, 120, 2, seed=9), compression="deflate", tile=(64, 64))


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def empty(path):
    os.truncate(path, 0)


CHANGES = {change.__name__: change for change in (append, touch, replace, rewrite, Path.unlink, truncate, empty)}
JOBS = {
    "quantize": lambda path, **more: streamgmm.quantize(path, "out", n_components=3, tile_size=64, pyramid=True, **more),
    "streaming": lambda path, **more: streamgmm.quantize(
        path, "out", n_components=3, method="stream", tile_size=64, pyramid=True, **more
    ),
    "apply": lambda path, **more: streamgmm.apply("model.json", path, "out", tile_size=64, pyramid=True, **more),
    "fit": lambda path, **more: streamgmm.fit_image(path, n_components=3, method="stream", **more),
}
PHASES = {
    "quantize": ["count", "fit", "label", "reduce"],
    "streaming": ["sample", "fit", "label"],
    "apply": ["compile", "label", "reduce"],
    "fit": ["sample", "fit"],
}
# Run as a program: reading a map behind the end of its file ends a process by SIGBUS.
CHANGING = """
import sys
from pathlib import Path
from streamgmm.model import seeding
from tests.test_changes import CHANGES, JOBS, PHASES
from streamgmm.errors import StreamGMMError

seeding.STARTS, seeding.LONG = 1, 10
path = Path("in.tif")
whole = path.read_bytes()

for phase in PHASES[sys.argv[1]]:
    for name, change in CHANGES.items():
        changed = []

        def progress(now, done, total):
            if now == phase and not changed:
                changed.append(change(path))

        path.write_bytes(whole)
        try:
            JOBS[sys.argv[1]](path, threads=2, progress=progress)
            print(phase, name, "was not seen")
        except StreamGMMError as error:
            print(phase, name, error.exit_code, error)
"""


@pytest.mark.parametrize(
    ("job", "layout"),
    [
        *((job, {"tile": (64, 64), "compression": "deflate"}) for job in PHASES),
        ("streaming", {"tile": (64, 64)}),
        ("streaming", {"rowsperstrip": 16}),
    ],
    ids=[*PHASES, "uncompressed tiles", "uncompressed strips"],
)
def test_an_input_that_changes_while_it_is_read(job, layout, folder):
    write_tiff(folder / "in.tif", smooth(100, 120, 2), **layout)
    command = [sys.executable, "-W", "error", "-c", CHANGING, job]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, encoding="utf-8", timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    changes = [(phase, name) for phase in PHASES[job] for name in CHANGES]
    for (phase, name), line in zip(changes, done.stdout.splitlines(), strict=True):
        assert line.startswith(f"{phase} {name} {INPUT} in.tif: "), line
    assert not (folder / "out").exists()
    assert not list(folder.glob(".streamgmm*"))


def test_an_input_that_stays_as_it_is_may_be_read_by_others(folder):
    def progress(*_):
        assert (folder / "in.tif").read_bytes() == before

    before = (folder / "in.tif").read_bytes()
    streamgmm.quantize("in.tif", "out", n_components=3, threads=2, progress=progress)
