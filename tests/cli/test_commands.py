"""The commands do what they are asked, say nothing without need, and leave with the exit code of what happened."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from itertools import chain, repeat
from pathlib import Path

import click
import numpy as np
import pytest
import tifffile
from PIL import Image

import streamgmm
from streamgmm import errors
from streamgmm.errors import Interrupted
from streamgmm.system.lock import locked

from ..images import PHOTO, file_name, posterized, smooth, write_tiff
from ..processes import with_signals
from .commands import COMMAND, ENVIRONMENT, leave, run, write_model, write_pages

KINDS_OF_ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.StreamGMMError)]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_pages(tmp_path_factory.mktemp("cli"))


@pytest.fixture(scope="module")
def model(source):
    return write_model(source)


# --- Quantize, fit, apply ---


@pytest.mark.parametrize("suffix", ["gpl", "json", "txt"])
def test_a_palette_and_a_confidence_are_those_of_the_library(suffix, source, model, tmp_path):
    folders = ours, theirs = tmp_path / "library", tmp_path / "command"
    for folder in folders:
        folder.mkdir()
    streamgmm.apply(model, source, ours / "out.tif", palette_out=ours / f"palette.{suffix}", confidence=ours / "sure.tif")
    more = ["--palette-out", theirs / f"palette.{suffix}", "--confidence", theirs / "sure.tif"]
    assert leave("apply", model, source, theirs / "out.tif", *more) == 0
    contents = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders]
    assert contents[0] == contents[1]
    assert contents[0].keys() == {"out.tif", f"palette.{suffix}", "sure.tif"}


def test_an_image_that_is_all_mask_is_done_with_a_warning(tmp_path, capfd):
    path = write_tiff(tmp_path / "in.tif", np.full((30, 40, 3), 5, np.uint8), compression="deflate")
    assert leave("quantize", path, tmp_path / "out.tif", "--nodata", 5, "--report", "-") == 0
    output, error = capfd.readouterr()
    assert error == (
        f"streamgmm: {path}: every pixel is masked (nodata, alpha 0, mask or NaN); there is nothing to fit; "
        "the output is all nodata\n"
    )
    report = json.loads(output)
    assert (report["method"], report["model"], report["nodata"]) == ("none", None, 0)
    assert (tifffile.imread(tmp_path / "out.tif") == 0).all()
    assert leave("fit", path, "-o", tmp_path / "model.json", "--nodata", 5) == 3
    output, error = capfd.readouterr()
    assert (output, error.count("\n"), "every pixel is masked" in error) == ("", 1, True)
    assert not (tmp_path / "model.json").exists()


def test_the_defaults_of_the_command_are_those_of_the_library(source, tmp_path):
    streamgmm.quantize(source, tmp_path / "expected.tif")
    assert leave("quantize", source, tmp_path / "out.tif") == 0
    assert (tmp_path / "out.tif").read_bytes() == (tmp_path / "expected.tif").read_bytes()


def test_a_fit_may_start_from_a_model(source, model, tmp_path):
    arguments = [
        "quantize",
        source,
        tmp_path / "out.tif",
        "-k",
        4,
        "--init",
        model,
        "--threads",
        1,
        "--report",
        tmp_path / "report.json",
    ]
    assert leave(*arguments) == 0
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    np.testing.assert_allclose(report["model"]["means"], json.loads(model.read_text(encoding="utf-8"))["means"], atol=0.02)


def test_several_images_are_fitted_as_one(tmp_path):
    paths = [write_tiff(tmp_path / f"{seed}.tif", smooth(60, 70, seed=seed)) for seed in range(3)]
    assert (
        leave("fit", *paths, "-o", tmp_path / "model.json", "-k", 3, "--threads", 1, "--report", tmp_path / "report.json") == 0
    )
    mixture, _ = streamgmm.fit_image(paths, n_components=3, threads=1)
    assert (tmp_path / "model.json").read_text(encoding="utf-8") == mixture.to_json()
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["input"] == [str(path) for path in paths]


@pytest.mark.parametrize(
    "arguments",
    [
        ["quantize", "in.tif", "out.tif"],
        ["quantize", "in.tif", "out.tif", "-q"],
        ["quantize", "in.tif", "out.tif", "--quiet"],
        ["fit", "in.tif", "--output", "out.tif"],
        ["apply", "model.json", "in.tif", "out.tif"],
    ],
)
def test_success_without_a_terminal_is_silent(arguments, model, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    write_tiff(tmp_path / "in.tif", smooth(50, 60))
    (tmp_path / "model.json").write_bytes(model.read_bytes())
    assert leave(*arguments, "--threads", 1) == 0
    assert capfd.readouterr() == ("", "")
    assert (tmp_path / "out.tif").stat().st_size > 100


def test_success_is_silent_in_a_real_process(tmp_path):
    done = run("quantize", write_tiff(tmp_path / "in.tif", smooth(50, 60)), tmp_path / "out.tif", "--threads", 1)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("command", ["quantize", "fit", "apply"])
def test_a_report_on_standard_output_is_all_there_is(command, source, model, tmp_path, capfd):
    arguments = {
        "quantize": ["quantize", source, tmp_path / "out"],
        "fit": ["fit", source, "-o", tmp_path / "out"],
        "apply": ["apply", model, source, tmp_path / "out"],
    }[command]
    assert leave(*arguments, "-q", "--report", "-", "--threads", 1) == 0
    output, error = capfd.readouterr()
    assert error == ""
    assert json.loads(output)["method"] == ("apply" if command == "apply" else "exact")
    assert output.endswith("}\n")


def test_a_report_file_replaces_an_old_one(source, tmp_path):
    report = tmp_path / "report.json"
    report.write_text("old", encoding="utf-8")
    assert leave("quantize", source, tmp_path / "out.tif", "--threads", 1, "--report", report) == 0
    assert json.loads(report.read_text(encoding="utf-8"))["output"] == str(tmp_path / "out.tif")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.tif", "report.json"]


def test_an_output_is_replaced_when_asked(source, tmp_path):
    output = tmp_path / "out.tif"
    output.write_bytes(b"old")
    assert leave("quantize", source, output, "--threads", 1, "--overwrite") == 0
    assert tifffile.imread(output).shape == (50, 60)
    model = tmp_path / "model.json"
    model.write_bytes(b"old")
    assert leave("fit", source, "-o", model, "--threads", 1, "--overwrite") == 0
    assert json.loads(model.read_text(encoding="utf-8"))["n_components"] == 16


@pytest.mark.parametrize("name", ["a b.tif", file_name("日本語 é.tif"), "out", "*.tif", "a'b\"c.tif", "new\nline.tif"])
def test_any_name_will_do(name, source, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(source.read_bytes())
    options = ["-k", 2, "--threads", 1, "--report", tmp_path / f"{name}.json"]
    assert leave("quantize", tmp_path / "in" / name, tmp_path / name, *options) == 0
    report = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
    assert (report["input"], report["output"]) == (str(tmp_path / "in" / name), str(tmp_path / name))


def test_names_may_begin_with_a_dash(source, tmp_path):
    (tmp_path / "-in.tif").write_bytes(source.read_bytes())
    for arguments in (["quantize", "-k", "2", "--", "-in.tif", "-out.tif"], ["info", "--", "-in.tif"]):
        assert run(*arguments, cwd=tmp_path).returncode == 0
    assert tifffile.imread(tmp_path / "-out.tif").max() == 1


def test_names_that_are_not_unicode_will_do(source, tmp_path):
    names = [os.fsencode(tmp_path) + b"/in\xff.tif", os.fsencode(tmp_path) + b"/out\xfe.tif"]
    Path(os.fsdecode(names[0])).write_bytes(source.read_bytes())
    command = [*map(os.fsencode, COMMAND), b"quantize", b"-k", b"2", *names, b"--report", b"-"]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, check=True)
    assert Path(os.fsdecode(names[1])).exists()
    assert json.loads(done.stdout)["n_components"] == 2


def test_a_png_and_a_jpeg_are_quantized(tmp_path):
    for name in ("in.png", "in.jpg", "in.webp"):
        Image.fromarray(smooth(60, 70)).save(tmp_path / name)
        assert leave("quantize", tmp_path / name, tmp_path / f"{name}.tif", "-k", 3, "--threads", 1) == 0
        assert tifffile.imread(tmp_path / f"{name}.tif").shape == (60, 70)


# --- Info ---


def test_info_describes_a_tiff(capsys):
    assert leave("info", PHOTO) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line.count(" "))
    assert (lines["width"], lines["height"], lines["bands"], lines["dtype"]) == ("512", "512", "3", "uint8")
    assert lines["layout"] == "tiles of 256 x 256"


def test_info_describes_a_tiff_in_json(capsys):
    assert leave("info", PHOTO, "--json") == 0
    described = json.loads(capsys.readouterr().out)
    with closing(streamgmm.open_image(PHOTO)) as image:
        assert described == image.info()
    assert (described["width"], described["compression"], described["in_one_piece"]) == (512, "deflate", False)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_info_describes_a_raster(format, tmp_path, capsys):
    Image.fromarray(smooth(60, 70)).save(path := tmp_path / "image", format)
    assert leave("info", path, "--json") == 0
    expected = {"format": format, "width": 70, "height": 60, "bands": 3, "dtype": "uint8", "dropped": []}
    assert json.loads(capsys.readouterr().out) == expected


def test_info_describes_the_image_that_is_asked_for(source, capsys):
    for arguments, options in (
        (["--page", 1, "--bands", "2"], {"page": 1, "bands": (2,)}),
        (["--pages-as-bands", "0"], {"pages_as_bands": (0,)}),
    ):
        assert leave("info", source, "--json", *arguments) == 0
        with closing(streamgmm.open_image(source, **options)) as image:
            assert json.loads(capsys.readouterr().out) == image.info()
    assert leave("info", source, "--pages-as-bands", "0") == 0
    assert "pages as bands  0\n" in capsys.readouterr().out


def test_info_describes_a_model(model, capsys):
    assert leave("info", model) == 0
    plain = capsys.readouterr().out
    assert leave("info", model, "--json") == 0
    described = json.loads(capsys.readouterr().out)
    assert (described["components"], described["bands"], described["covariances"]) == (4, 3, "full")
    assert sum(described["weights"]) == pytest.approx(1, abs=1e-5)
    assert all(str(key).replace("_", " ") in plain for key in described)


def test_info_knows_a_model_by_its_content(model, tmp_path, capsys):
    path = tmp_path / "fitted"
    path.write_bytes(model.read_bytes())
    assert leave("info", path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["components"] == 4


def test_info_prints_its_answer_on_standard_output():
    done = run("info", PHOTO)
    assert (done.returncode, done.stderr) == (0, "")
    assert "512" in done.stdout


# --- Help, usage, interrupts ---


def test_the_version_is_told():
    done = run("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert streamgmm.__version__ in done.stdout


@pytest.mark.parametrize("command", [[], ["quantize"], ["fit"], ["apply"], ["compare"], ["info"]])
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_is_on_standard_output(option, command, capsys):
    assert leave(*command, option) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("Usage: streamgmm")
    assert printed.err == ""


@pytest.mark.parametrize(
    "arguments",
    ["quantize", "quantize in.tif", "quantize a b c", "quantize --tepid a b", "quantize a b -k many", "quantize a b -k",
     "fit in.tif", "fit -o model.json", "apply model.json in.tif", "compare a", "compare a b c", "info", "paint"],
)  # fmt: skip
def test_a_command_that_is_not_one_is_a_usage_error(arguments, capsys):
    assert leave(*arguments.split()) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Traceback" not in printed.err
    assert printed.err.strip()


def test_an_interrupt_before_there_is_any_work(tmp_path):
    command = [*COMMAND, "quantize", PHOTO, tmp_path / "out.tif", "--wait", "100"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}
    with locked(tmp_path / "out.tif"):
        process = subprocess.Popen(command, env=ENVIRONMENT, preexec_fn=with_signals(signal.SIG_DFL, signal.SIGINT), **pipes)
        time.sleep(2)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        output, error = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, "")
    assert error == "streamgmm: interrupted; the same command goes on from there\n"
    assert not (tmp_path / "out.tif").exists()


ENDS = [
    *((kind("what is\n  wrong"), kind.exit_code, "what is wrong") for kind in KINDS_OF_ERRORS),
    (ValueError("what is\nwrong"), 1, "unexpected ValueError: what is wrong; run again with -v for the details"),
    (KeyboardInterrupt(), 130, "interrupted"),
    (click.Abort(), 130, "interrupted"),
    *(
        (Interrupted(number), code, "interrupted after 7 files; the same command goes on from there")
        for number, code in ((signal.SIGHUP, 129), (signal.SIGINT, 130), (signal.SIGTERM, 143))
    ),
]


@pytest.mark.parametrize(("error", "code", "line"), ENDS, ids=repr)
def test_whatever_ends_the_command_is_a_line_and_a_code(error, code, line, monkeypatch, capfd):
    error.add_note("after 7 files")

    def describe(path, options):
        raise error

    monkeypatch.setattr("streamgmm.cli.commands._describe", describe)
    for more in ([], ["-v"]):
        assert leave("info", PHOTO, *more) == code
        said = capfd.readouterr().err
        assert said.splitlines()[-1] == f"streamgmm: {line}"
        assert ("Traceback" in said) == (bool(more) and isinstance(error, Exception) and not isinstance(error, click.Abort))


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_signals_are_what_they_were_when_the_command_has_ended(number):
    before = signal.getsignal(number)
    assert leave("info", PHOTO) == 0
    assert signal.getsignal(number) is before


# --- The package ---


def printed_by(program):
    """What a program prints."""
    return subprocess.check_output([sys.executable, "-c", program], env=ENVIRONMENT, encoding="utf-8")


def test_importing_takes_less_than_a_fifth_of_a_second():
    program = "import time; start = time.perf_counter(); import streamgmm; print(time.perf_counter() - start)"
    assert min(float(printed_by(program)) for _ in range(5)) < 0.2


def test_importing_compiles_nothing():
    program = "import streamgmm, sys; print(*sorted({'numba', 'numpy', 'tifffile', 'click', 'rich'} & sys.modules.keys()))"
    assert printed_by(program) == "\n"


def test_every_public_name_is_there():
    for name in ("quantize", "fit_image", "apply", "compare", "open_image", "Mixture", "StreamGMMError"):
        assert name in dir(streamgmm)
        assert getattr(streamgmm, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'paint'"):
        _ = streamgmm.paint


# --- Gigapixels ---

TILE = 1024


def write_alike(path, side, absent):
    """Write a TIFF that is 200 in its first tile and 77 in all others, which are one in the file, or absent."""
    encode = tifffile.TIFF.COMPRESSORS[8]
    first, rest = (encode(np.full((TILE, TILE), gray, np.uint8)) for gray in (200, 77))
    n_tiles = (-(-side // TILE)) ** 2
    options = {
        "shape": (side, side),
        "dtype": np.uint8,
        "tile": (TILE, TILE),
        "compression": "deflate",
        "photometric": "minisblack",
    }
    tiles = chain([first, b"" if absent else rest], repeat(b"", n_tiles - 2))
    tifffile.imwrite(path, tiles, bigtiff=True, metadata=None, **options)
    if not absent:
        with tifffile.TiffFile(path, mode="r+b") as tiff:
            for name in ("TileOffsets", "TileByteCounts"):
                tag = tiff.pages.first.tags[name]
                tag.overwrite([*tag.value[:2], *[tag.value[1]] * (n_tiles - 2)])
    return path


@pytest.mark.parametrize("absent", [False, True])
@pytest.mark.parametrize("side", [3000, pytest.param(65_600, marks=pytest.mark.slow)])
def test_an_image_of_any_number_of_pixels_is_counted_right(side, absent, tmp_path):
    source = write_alike(tmp_path / "in.tif", side, absent)
    assert source.stat().st_size < 200_000
    done = run("quantize", source, tmp_path / "out.tif", "--report", "-")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert report["pixels"]["label"] == side**2
    assert report["pixels"]["count"] == (TILE**2 if absent else side**2)
    n_colors = 1 if absent else 2
    assert (report["method"], report["psnr_db"], report["nodata"]) == ("lossless", None, 1 if absent else None)
    assert report["distinct_colors"] == report["colors_used"] == n_colors
    assert report["model"]["weights"] == ([1] if absent else [(side**2 - TILE**2) / side**2, TILE**2 / side**2])
    assert report["model"]["means"] == [[77 / 255], [200 / 255]][-n_colors:]
    assert report["peak_memory_bytes"] < 700 << 20
    with tifffile.TiffFile(tmp_path / "out.tif") as tiff:
        assert tiff.pages.first.shape == (side, side)


@pytest.mark.slow
def test_four_times_the_pixels_of_the_same_colors_take_the_same_memory(tmp_path):
    tile = posterized(512, 512, 200)
    peaks = []
    for side in (8192, 16_384):
        options = {
            "shape": (side, side, 3),
            "dtype": np.uint8,
            "tile": (512, 512),
            "compression": "deflate",
            "photometric": "rgb",
        }
        encoded = tifffile.TIFF.COMPRESSORS[8](tile)
        tifffile.imwrite(
            source := tmp_path / f"{side}.tif", (encoded for _ in range((side // 512) ** 2)), metadata=None, **options
        )
        report = json.loads(run("quantize", source, tmp_path / f"{side}-out.tif", "--report", "-").stdout)
        peaks.append(report["peak_memory_bytes"])
    assert max(peaks) < 700 << 20
    assert peaks[1] == pytest.approx(peaks[0], rel=0.02)
