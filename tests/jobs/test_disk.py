"""Room for the output, and for the spool, is checked before there is any work."""

import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

import streamgmm
from streamgmm.cli import main
from streamgmm.errors import OutputError
from streamgmm.jobs import disk

from ..images import PHOTO, smooth, write_tiff

SIDE = 2048
LABELS = SIDE * SIDE
ELSEWHERE = Path("/dev/shm")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with an image that does not compress, and one that does."""
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).integers(0, 4, (SIDE, SIDE, 1), np.uint8) * 60
    write_tiff(tmp_path / "noise.tif", np.repeat(noise, 3, axis=2), tile=(256, 256))
    write_tiff(tmp_path / "flat.tif", np.zeros((SIDE, SIDE, 3), np.uint8), tile=(256, 256), compression="deflate")
    return tmp_path


@pytest.fixture
def free(monkeypatch):
    """Set the bytes that are free, wherever it is asked."""
    return lambda size: monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder: SimpleNamespace(free=size))


NEEDS = {  # twice: in the spool and in the output
    "labels as they are": ({"compression": "none"}, 2 * LABELS),
    "in four bits": ({"compression": "none", "pack": True, "n_components": 16}, LABELS),
    "of two bytes": ({"compression": "none", "n_components": 300}, 4 * LABELS),
    "colors": ({"compression": "none", "output": "rgb"}, 6 * LABELS),
    "with levels": ({"compression": "none", "pyramid": True}, 2 * (LABELS + LABELS // 4 + LABELS // 16 + LABELS // 64)),
    "compressed": ({}, LABELS // 4),
}


@pytest.mark.parametrize("case", NEEDS)
def test_an_output_that_hardly_fits_is_refused_and_one_that_does_is_made(case, folder, free):
    options, needed = NEEDS[case]
    free(needed - 1)
    with pytest.raises(OutputError, match=r"out\.tif: needs about \d+ MiB in \., where \d+ MiB are free; .*--work-dir"):
        streamgmm.quantize("noise.tif", "out.tif", **options)
    assert sorted(path.name for path in folder.iterdir()) == ["flat.tif", "noise.tif"]
    free(needed)
    streamgmm.quantize("noise.tif", "out.tif", **options)


def test_what_is_small_as_input_is_small_as_output(folder, free):
    size = (folder / "flat.tif").stat().st_size
    free(2 * size)
    streamgmm.quantize("flat.tif", "out.tif")
    assert (folder / "out.tif").stat().st_size < size
    free(2 * size - 1)
    with pytest.raises(OutputError, match="needs about"):
        streamgmm.quantize("flat.tif", "out.tif", overwrite=True)


@pytest.mark.skipif(not ELSEWHERE.is_dir(), reason="needs a second file system")
def test_a_spool_elsewhere_needs_its_room_there(folder, monkeypatch):
    free = {folder.stat().st_dev: LABELS // 8, ELSEWHERE.stat().st_dev: LABELS // 8}
    if len(free) == 1:
        pytest.skip("needs a second file system")
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder: SimpleNamespace(free=free[folder.stat().st_dev]))
    with pytest.raises(OutputError, match="needs about 1 MiB in"):
        streamgmm.quantize("noise.tif", "out.tif")
    streamgmm.quantize("noise.tif", "out.tif", work_dir=ELSEWHERE)
    free[ELSEWHERE.stat().st_dev] -= 1
    with pytest.raises(OutputError, match=rf"in {ELSEWHERE}, where 0 MiB are free; make room there$"):
        streamgmm.quantize("noise.tif", "out.tif", work_dir=ELSEWHERE, overwrite=True)


def test_models_are_applied_with_the_same_check(folder, free, capsys):
    (folder / "model.json").write_text(streamgmm.fit_image("noise.tif", n_components=4)[0].to_json(), encoding="utf-8")
    free(10)
    with pytest.raises(SystemExit) as exit_:
        main(["apply", "model.json", "noise.tif", "out.tif"])
    assert exit_.value.code == 4
    assert capsys.readouterr().err.count("\n") == 1


def test_arrays_are_checked_too(folder, free):
    free(LABELS // 4 - 1)
    with pytest.raises(OutputError, match="needs about"):
        streamgmm.quantize(smooth(SIDE, SIDE), "out.tif")


@pytest.mark.parametrize("options", [{}, {"resume": False}, {"work_dir": "work"}, {"output": "rgb", "pyramid": True}], ids=str)
def test_nothing_goes_to_a_folder_of_the_system(options, folder, monkeypatch):
    (folder / "work").mkdir()
    for variable in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.setenv(variable, "/nowhere")
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    streamgmm.quantize("noise.tif", "out.tif", n_components=4, **options)
    assert (folder / "out.tif").exists()
    assert sorted(path.name for path in folder.rglob("*")) == ["flat.tif", "noise.tif", "out.tif", "work"]


def test_an_estimate_is_not_far_from_what_a_photograph_takes(folder):
    streamgmm.quantize(PHOTO, "out.tif")
    with tifffile.TiffFile("out.tif") as tiff:
        labels = tiff.pages.first.imagelength * tiff.pages.first.imagewidth
    assert 0.5 < (folder / "out.tif").stat().st_size / (disk.COMPRESSED * labels) < 2
