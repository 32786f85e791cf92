"""Every code block of the README runs: those of the recipes in test_recipes.py, the others here."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tifffile

from streamgmm.cli import main

from .images import write_tiff

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
    from streamgmm.jobs.signals import STOP

    printed = {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.M)}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.StreamGMMError)]
    assert printed == {kind.exit_code for kind in kinds} | {128 + number for number in STOP} | {0}


def test_the_benchmark_table_is_the_one_bench_writes():
    table = README.split("<!-- bench begins -->")[1].split("<!-- bench ends -->")[0]
    assert table.count("\n| ") > 10
    assert "gigapixel" in README
