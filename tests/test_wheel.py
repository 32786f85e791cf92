"""What is installed from the wheel runs, away from the checkout."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import streamgmm

from .test_recipes import is_palette

ROOT = Path(__file__).parents[1]
PHOTO = ROOT / "tests" / "data" / "astronaut.tif"
ALONE = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def run(*command, folder):
    """Run a program in a folder, as one who knows nothing of the checkout; return what it prints."""
    done = subprocess.run([*map(str, command)], cwd=folder, env=ALONE, capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT, folder=folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def programs(wheel, tmp_path_factory):
    """The folder of the programs of an environment with the wheel, and with all that it depends on, which is here already."""
    root = tmp_path_factory.mktemp("installed") / "venv"
    run(sys.executable, "-m", "venv", root, folder=root.parent)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(root)}))
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    run(root / "bin" / "python", "-m", "pip", "install", "-q", "--no-deps", "--ignore-installed", wheel, folder=root.parent)
    return root / "bin"


@pytest.mark.slow
def test_the_wheel_has_every_file_of_the_package_and_no_other(wheel):
    package = Path(streamgmm.__file__).parent
    expected = {path.relative_to(package.parent).as_posix() for path in package.rglob("*") if path.is_file()}
    with zipfile.ZipFile(wheel) as archive:
        assert {name for name in archive.namelist() if ".dist-info/" not in name} == {
            name for name in expected if "__pycache__" not in name
        }


@pytest.mark.slow
def test_the_installed_program_is_that_of_the_wheel_and_runs(programs, tmp_path):
    where = run(programs / "python", "-c", "import streamgmm; print(streamgmm.__file__)", folder=tmp_path)
    assert Path(where.strip()).is_relative_to(programs.parent)
    assert streamgmm.__version__ in run(programs / "streamgmm", "--version", folder=tmp_path)
    assert run(programs / "streamgmm", "quantize", PHOTO, "out.tif", folder=tmp_path) == ""
    assert is_palette(tmp_path / "out.tif")
