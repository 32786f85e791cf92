"""A strict run that has not converged, or is not as good as was asked, is an error; any other run says so and is done."""

import json
import re

import pytest

import streamgmm
from streamgmm.cli import main
from streamgmm.errors import QualityError

from .images import posterized, smooth, write_tiff

QUALITY = 6
NOT_CONVERGED = ["--max-iter", "1", "--tol", "1e-9"]


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """An image, one of four colors, and a model."""
    folder = tmp_path_factory.mktemp("originals")
    write_tiff(folder / "in.tif", smooth(50, 60), compression="deflate", tile=(64, 64))
    write_tiff(folder / "few.tif", posterized(50, 60, 4), compression="deflate", tile=(64, 64))
    mixture, _ = streamgmm.fit_image(folder / "in.tif", n_components=3, threads=1)
    (folder / "model.json").write_text(mixture.to_json(), encoding="utf-8")
    return folder


def leave(*arguments):
    """Run the command, and return its exit code."""
    try:
        main([*arguments, "--threads", "1"])
    except SystemExit as left:
        return left.code
    return 0


def names(folder):
    return sorted(path.name for path in folder.iterdir())


FIT = {
    "quantize": ["quantize", "in.tif", "out", "-k", "5"],
    "quantize streaming": ["quantize", "in.tif", "out", "-k", "5", "--method", "stream"],
    "quantize minibatch": ["quantize", "in.tif", "out", "-k", "5", "--method", "minibatch"],
    "fit": ["fit", "in.tif", "-o", "out", "-k", "5"],
}
WRITE = {
    "quantize": ["quantize", "in.tif", "out", "-k", "3"],
    "quantize streaming": ["quantize", "in.tif", "out", "-k", "3", "--method", "stream"],
    "apply": ["apply", "model.json", "in.tif", "out"],
    "with more outputs": ["quantize", "in.tif", "out", "-k", "3", "--confidence", "sure", "--palette-out", "palette.gpl"],
}


@pytest.mark.parametrize("command", FIT)
def test_a_strict_fit_that_has_not_converged_is_an_error(command, folder, capfd):
    before = names(folder)
    assert leave(*FIT[command], *NOT_CONVERGED, "--strict") == QUALITY
    *warnings, line = capfd.readouterr().err.splitlines()
    assert line.startswith("streamgmm: in.tif: not converged after ")
    assert line.endswith("raise --max-iter or --tol")
    assert warnings == []
    assert names(folder) == before


@pytest.mark.parametrize("command", FIT)
def test_another_fit_that_has_not_converged_is_done_in_silence_unless_more_is_wanted(command, folder, capfd):
    assert leave(*FIT[command], *NOT_CONVERGED, "-v") == 0
    assert capfd.readouterr().err.count("streamgmm: in.tif: not converged after ") == 1
    assert leave(*FIT[command], *NOT_CONVERGED, "--report", "report.json", "--overwrite") == 0
    assert capfd.readouterr().err == ""
    assert not json.loads((folder / "report.json").read_text(encoding="utf-8"))["converged"]
    assert (folder / "out").stat().st_size > 100


@pytest.mark.parametrize("command", FIT)
def test_a_strict_fit_that_has_converged_is_done_in_silence(command, folder, capfd):
    assert leave(*FIT[command], "--tol", "0.05", "--strict") == 0
    assert capfd.readouterr().err == ""
    assert (folder / "out").exists()


def psnr_of(command, folder):
    """What a command reaches."""
    leave(*WRITE[command], "--report", "report.json")
    reached = json.loads((folder / "report.json").read_text(encoding="utf-8"))["psnr_db"]
    for name in ("out", "report.json", "sure", "palette.gpl"):
        (folder / name).unlink(missing_ok=True)
    return reached


@pytest.mark.parametrize("command", WRITE)
def test_a_psnr_that_is_missed(command, folder, capfd):
    reached, before = psnr_of(command, folder), names(folder)
    capfd.readouterr()
    wanted = ["--min-psnr", f"{reached + 0.01}"]
    assert leave(*WRITE[command], *wanted, "--strict") == QUALITY
    strict = capfd.readouterr().err
    assert names(folder) == before
    assert leave(*WRITE[command], *wanted) == 0
    assert strict == capfd.readouterr().err
    assert strict.startswith(f"streamgmm: in.tif: PSNR is {reached:.2f} dB, less than ")
    assert strict.endswith("; ask for more components\n")
    assert strict.count("\n") == 1
    assert (folder / "out").exists()


@pytest.mark.parametrize("command", WRITE)
def test_a_psnr_that_is_reached(command, folder, capfd):
    reached = psnr_of(command, folder)
    capfd.readouterr()
    assert leave(*WRITE[command], "--min-psnr", f"{reached - 0.01}", "--strict") == 0
    assert capfd.readouterr().err == ""


TARGET = ["-k", "auto", "--max-components", "3", "--max-delta-e", "0.5"]


@pytest.mark.parametrize("command", ["quantize", "quantize streaming", "fit"])
def test_a_target_that_is_missed(command, folder, capfd):
    arguments, before = [*FIT[command], *TARGET], names(folder)
    assert leave(*arguments, "--strict") == QUALITY
    complaint = capfd.readouterr().err
    assert re.fullmatch(
        r"streamgmm: in\.tif: mean Delta E is \d+\.\d+, more than 0\.5; raise --max-components above 3\n", complaint
    )
    assert names(folder) == before
    assert leave(*arguments) == 0
    assert re.fullmatch(r"streamgmm: in\.tif: mean Delta E .*, more than 0\.5; .*\n", capfd.readouterr().err)


def test_exact_colors_reach_any_psnr(folder, capfd):
    assert leave("quantize", "few.tif", "out", "-k", "4", "--min-psnr", "1000", "--strict") == 0
    assert capfd.readouterr().err == ""


def test_a_psnr_that_is_no_number(folder, capfd):
    assert leave(*WRITE["quantize"], "--min-psnr", "nan", "--strict") == 2
    assert not (folder / "out").exists()


def test_a_strict_error_keeps_the_output_that_was_there(folder):
    (folder / "out").write_text("precious", encoding="utf-8")
    assert leave(*FIT["quantize"], *NOT_CONVERGED, "--strict", "--overwrite") == QUALITY
    assert leave(*WRITE["apply"], "--min-psnr", "99", "--strict", "--overwrite") == QUALITY
    assert (folder / "out").read_text(encoding="utf-8") == "precious"


def test_a_program_gets_the_same_errors(folder):
    options = {"n_components": 3, "threads": 1, "strict": True}
    with pytest.raises(QualityError, match=r"in\.tif: not converged after 1 iterations"):
        streamgmm.quantize("in.tif", "out", max_iter=1, tol=0, **options)
    with pytest.raises(QualityError, match="array: PSNR is"):
        streamgmm.quantize(smooth(100, 120), "out", min_psnr=99, **options)
    assert not (folder / "out").exists()
