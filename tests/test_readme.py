"""Every code block of the README runs, those of the recipes in test_recipes.py, the others here; its tables are what is so."""

import dataclasses
import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

from streamgmm.cli import main
from streamgmm.options import (
    ClassMapOptions,
    FitOptions,
    OutputOptions,
    ReadOptions,
    ResourceOptions,
    RunOptions,
    WriteOptions,
)
from streamgmm.options.batch import BatchOptions
from streamgmm.options.fields import flag_of, spec_of
from streamgmm.options.page import PageOptions
from streamgmm.options.palette import PaletteOptions

from .images import write_tiff
from .processes import in_child, printed_by

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PHOTO = ROOT / "tests" / "data" / "astronaut.tif"
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.M | re.S)
SETUP = re.compile(r"python3 -m venv \.venv && \.venv/bin/pip install -q \S+ && ")


def blocks(language):
    return [text for kind, text in BLOCKS if kind == language]


@pytest.fixture
def desk(tmp_path):
    """A folder with the images the README speaks of, where the commands are this environment's."""
    scripts = tmp_path / ".venv" / "bin"
    scripts.mkdir(parents=True)
    for name in ("slide.tif", "more.tif"):
        write_tiff(tmp_path / name, tifffile.imread(PHOTO)[:200, :200], tile=(64, 64))
    (tmp_path / "tests" / "data").mkdir(parents=True)
    shutil.copy(PHOTO, tmp_path / "tests" / "data" / PHOTO.name)
    (scripts / "streamgmm").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m streamgmm "$@"\n', encoding="utf-8")
    (scripts / "streamgmm").chmod(0o755)
    return tmp_path


def run(command, desk):
    path = f"{desk / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    return subprocess.run(["bash", "-c", command], cwd=desk, env=environment, capture_output=True, encoding="utf-8")


def test_blocks_are_of_languages_that_are_run():
    recipes = {"toml", "crontab", "ini", "dockerfile", "console"}
    assert {kind for kind, _ in BLOCKS} == {"sh", "python", *recipes}


def test_the_first_screen_has_the_two_commands():
    first, second = blocks("sh")[:2]
    assert SETUP.match(first)
    assert SETUP.sub("", second).strip() == ".venv/bin/python -m pytest"


def test_the_main_job_runs_as_printed_after_its_set_up(desk):
    done = run(SETUP.sub("", blocks("sh")[0]), desk)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (desk / "astronaut16.tif").stat().st_size > 10_000


def test_the_commands_run_as_printed(desk, monkeypatch, capfd):
    monkeypatch.chdir(desk)
    for line in blocks("sh")[2].strip().splitlines():
        program, *arguments = shlex.split(line, comments=True)
        assert program == "streamgmm"
        main(arguments)
        assert capfd.readouterr().err == "", line


@pytest.mark.parametrize("code", blocks("python"))
def test_the_python_runs_as_printed(code, desk):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=desk,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "exact True" in done.stdout


def test_the_exit_codes_are_those_of_the_errors():
    from streamgmm import errors
    from streamgmm.system.signals import STOP

    printed = {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.M)}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.StreamGMMError)]
    assert printed == {kind.exit_code for kind in kinds} | {128 + number for number in STOP} | {0}


def row(field):
    """What a field says of its option, as a row of a table."""
    spec, flag = spec_of(field), flag_of(field)
    text, _, default = spec.help.removesuffix("]").partition("[default: ")
    names = [*(name for name in spec.flags if name != flag), f"{flag} {spec.metavar}" if spec.metavar else flag, *spec.values]
    if field.type in (bool, bool | None) and field.default is not False:
        names.append(f"--no-{flag[2:]}")
    if field.default is dataclasses.MISSING:
        default = "must be given"
    elif isinstance(field.default, bool):
        default = "yes" if field.default else "no"
    elif not default and field.default is not None:
        default = f"`{field.default}`"
    return "| " + ", ".join(f"`{name}`" for name in names) + f" | `{field.name}` | {default} | {text.strip()} |"


def test_the_options_are_those_of_the_fields():
    kinds = [FitOptions, PaletteOptions, ClassMapOptions, ReadOptions, OutputOptions, PageOptions, RunOptions]
    kinds += [ResourceOptions, BatchOptions]
    fields = [field for kind in kinds for field in dataclasses.fields(kind) if not spec_of(field).hidden]
    assert {field.name for field in dataclasses.fields(WriteOptions)} < {field.name for field in fields}
    section = README.split("\n## Options\n")[1].split("\n## ")[0]
    assert re.findall(r"^\| `.*$", section, re.M) == [row(field) for field in fields]


def bench_without_measuring(folder):
    """Run the benchmark where nothing is made or measured, and every program is installed; return what it prints."""
    sys.path.insert(0, str(ROOT / "scripts"))
    import bench
    import sklearn.mixture

    seconds = count(1.0)
    fitted = SimpleNamespace(weights_=np.ones(1), means_=np.full((1, 3), 0.5), covariances_=np.eye(3)[None])
    report = dict.fromkeys(("iterations", "distinct_colors", "peak_memory_bytes"), 1) | {"converged": True, "method": "exact"}
    report |= {"seconds": dict.fromkeys(("count", "seed", "fit", "label", "write"), 1.0)}
    bench.Bench.image = lambda self, size, period=None: folder / "image.tif"
    bench.Bench.quantize = lambda *_, **__: (1.0, report)
    bench.Bench.floor = lambda *_: 1.0
    bench.streamgmm = bench.timed = lambda *_, **__: next(seconds)
    sklearn.mixture.GaussianMixture = lambda *_, **__: SimpleNamespace(fit=lambda _: fitted)
    measured = SimpleNamespace(psnr_db=1.0, colors_used=1, fraction_read=1.0)
    bench.quality.colors_of = lambda _: (None, None)
    bench.quality.quantize = lambda *_, **__: measured
    bench.quality.k_means_psnr = bench.quality.gained = lambda *_: 1.0
    bench.quality.fastest = lambda work, _: dict.fromkeys(work, 1.0)
    bench.write_kind = lambda part, *_: part.touch()
    bench.shutil.which = lambda name: name
    sys.argv = ["bench.py", "--work", str(folder)]
    return printed_by(bench.main)


def labels_of(table):
    """What the rows of a table are about, but for a number of colors, which is measured."""
    rows = re.findall(r"^\| (.*?) \|", table, re.M)
    return [re.sub(r"[\d.]+ million", "some million", row) for row in rows]


def test_the_benchmark_table_is_the_one_bench_writes(tmp_path):
    printed = README.split("<!-- bench begins -->")[1].split("<!-- bench ends -->")[0]
    _, *labels = labels_of(printed)
    code, output, error = in_child(partial(bench_without_measuring, tmp_path))
    assert (code, error) == (0, "")
    assert labels == labels_of(output)
    assert len(labels) > 20


def test_the_tests_that_are_named_are_there():
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", README))
    assert [path for path in named if not (ROOT / path).is_file()] == []
    assert len(named) > 10
