"""Whatever is wrong: one clear line with the remedy, the exit code of the design, nothing left, the input untouched."""

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import tifffile
from PIL import Image

import streamgmm
from streamgmm.cli import main
from streamgmm.image.output.spool import Spool

from .images import PHOTO, segments, smooth, write_tiff
from .processes import become_nobody, in_child, limit_files, run_here

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
USAGE, INPUT, OUTPUT, BUDGET = 2, 3, 4, 5


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a sound image, in.tif, and a model of three bands, model.json."""
    monkeypatch.chdir(tmp_path)
    write_tiff(tmp_path / "in.tif", smooth(100, 120), compression="deflate", tile=(64, 64))
    (tmp_path / "model.json").write_text(MODEL, encoding="utf-8")
    return tmp_path


MODEL = streamgmm.Mixture(np.full(2, 0.5), [[0.2, 0.3, 0.4], [0.7, 0.6, 0.5]], np.full(2, 0.01), "spherical").to_json()


def contents(folder):
    """Every name in a folder, with its bytes."""
    return {path.name: path.read_bytes() if path.is_file() else None for path in folder.iterdir()}


def refused(arguments, folder, capfd):
    """Run the command, check what every refusal has in common, and return its exit code and its line."""
    before = contents(folder)
    with pytest.raises(SystemExit) as left:
        main(arguments.split() if isinstance(arguments, str) else [str(argument) for argument in arguments])
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("streamgmm: ")
    assert printed.err.count("\n") == 1
    assert printed.err.endswith("\n")
    assert "Traceback" not in printed.err
    assert contents(folder) == before
    return left.value.code, printed.err


def make_truncated(path):
    write_tiff(path, smooth(100, 120), compression="deflate", tile=(64, 64))
    path.write_bytes(path.read_bytes()[: segments(path)[2][0] + 10])


def make_corrupt(path):
    write_tiff(path, smooth(100, 120), compression="deflate", tile=(64, 64))
    data = bytearray(path.read_bytes())
    offset = segments(path)[2][0]
    data[offset + 50 : offset + 150] = bytes(100)
    path.write_bytes(data)


def make_tagged(path, pixels, tag, value):
    tifffile.imwrite(path, pixels, photometric="minisblack")
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages.first.tags[tag].overwrite(value)


ZEROS = np.zeros((9, 9), np.uint8)
INPUTS = {
    "does not exist": (lambda path: None, "no such file or directory"),
    "is a folder": (lambda path: path.mkdir(), "is a directory"),
    "is empty": (lambda path: path.write_bytes(b""), "the file is empty"),
    "is text": (lambda path: path.write_text("hello", encoding="utf-8"), r"not an image .*\(TIFF, PNG, JPEG or WebP\)"),
    "is another image": (lambda path: Image.new("RGB", (9, 9)).save(path, "gif"), r"not an image .*\(TIFF, PNG, JPEG"),
    "is no TIFF inside": (lambda path: path.write_bytes(b"II*\0" + bytes(range(40))), "not a sound TIFF|damaged"),
    "has a truncated tile": (make_truncated, r"tile 2 is truncated \(10 of [\d,]+ bytes\); the file may still be copying"),
    "has a corrupt tile": (make_corrupt, r"tile 2 is corrupt \(.+\)"),
    "is a truncated PNG": (lambda path: path.write_bytes(PNG[: len(PNG) // 2]), "cannot be decoded"),
    "has complex samples": (lambda path: tifffile.imwrite(path, ZEROS * 1j), "complex floats of 128 bits, .*; convert it"),
    "has signed samples of 24 bits": (lambda path: make_tagged(path, ZEROS.astype(np.int32), "BitsPerSample", 24),
                                      "signed of 24 bits, .*; convert it"),
    "is raw from a camera": (lambda path: make_tagged(path, ZEROS, "PhotometricInterpretation", 32803), "CFA .*convert it"),
    "is LogLuv": (lambda path: make_tagged(path, ZEROS, "PhotometricInterpretation", 32845), "LOGLUV .*convert it"),
    "is old-style JPEG": (lambda path: make_tagged(path, ZEROS, "Compression", 6), "old-style JPEG .*convert it"),
    "has an unknown codec": (lambda path: make_tagged(path, ZEROS, "Compression", 40000), "compression 40000 .*convert it"),
    "lacks its colors": (lambda path: make_tagged(path, ZEROS, "PhotometricInterpretation", 3), "without a whole color map"),
}  # fmt: skip
COMMANDS = ["quantize bad.tif out.tif", "fit in.tif bad.tif -o out.json", "apply model.json bad.tif out.tif", "info bad.tif"]


def png():
    file = BytesIO()
    Image.fromarray(smooth(50, 60)).save(file, "png")
    return file.getvalue()


PNG = png()


@pytest.mark.parametrize("command", COMMANDS[:3])
@pytest.mark.parametrize("name", INPUTS)
def test_an_input_that_cannot_be_read(name, command, folder, capfd):
    make, message = INPUTS[name]
    make(folder / "bad.tif")
    code, line = refused(command, folder, capfd)
    assert code == INPUT
    assert line.startswith("streamgmm: bad.tif: ")
    assert_matches(message, line)


def assert_matches(message, line):
    with pytest.raises(ValueError, match=message):
        raise ValueError(line)


@pytest.mark.parametrize("kind", ["pipe", "device", "socket", "link to a pipe"])
@pytest.mark.parametrize("command", [*COMMANDS, "apply bad.tif in.tif out.tif"])
def test_an_input_that_is_no_file(command, kind, folder, capfd):
    """Nobody is waited for, and nothing is read without end."""
    with closing(socket.socket(socket.AF_UNIX)) as server:
        if kind == "socket":
            server.bind("bad.tif")
        elif kind == "pipe":
            os.mkfifo("bad.tif")
        elif kind == "device":
            (folder / "bad.tif").symlink_to("/dev/zero")
        else:
            os.mkfifo("pipe")
            (folder / "bad.tif").symlink_to("pipe")
        begin = time.monotonic()
        code, line = refused(command, folder, capfd)
    assert (code, time.monotonic() - begin < 5) == (INPUT, True)
    assert line.startswith("streamgmm: bad.tif: not a regular file")


@pytest.mark.parametrize("name", [name for name in INPUTS if "tile" not in name])
def test_an_input_that_cannot_be_described(name, folder, capfd):
    make, message = INPUTS[name]
    make(folder / "bad.tif")
    code, line = refused("info bad.tif", folder, capfd)
    assert code == INPUT
    assert_matches(message, line)


MODELS = {
    "does not exist": (None, "no such file or directory"),
    "is empty": ("", "not JSON"),
    "is not JSON": ("{weights", "not JSON"),
    "is other JSON": ('{"weights": [1]}', r'not a model \(its "format" is not "streamgmm mixture"\)'),
    "is of a later version": (
        MODEL.replace('"version": 1', '"version": 9'),
        "a model of version 9; this streamgmm reads version 1",
    ),
    "lacks its means": (MODEL.replace('"means"', '"averages"'), "a model without 'means'"),
    "has weights of 2": (MODEL.replace("0.5,\n    0.5\n", "1,\n    1\n"), "weights must be >= 0 and sum to 1; they sum to 2"),
    "has a negative variance": (MODEL.replace("0.01", "-0.01"), "a covariance is not positive definite"),
    "has words for numbers": (MODEL.replace("0.01", '"wide"'), "a damaged model .*; covariances are to be numbers"),
    "is an image": (b"\x89PNG\r\n\x1a\n\xff", r"not a model file \(it is not text\)"),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_cannot_be_used(name, folder, capfd):
    content, message = MODELS[name]
    if content is not None:
        (folder / "bad.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    code, line = refused("apply bad.json in.tif out.tif", folder, capfd)
    assert code == INPUT
    assert line.startswith("streamgmm: bad.json: ")
    assert_matches(message, line)
    code, line = refused("info bad.json", folder, capfd)
    assert code == INPUT
    assert line.startswith("streamgmm: bad.json: ")


def test_a_model_for_other_samples(folder, capfd):
    tifffile.imwrite(folder / "other.tif", smooth(20, 20).astype(np.float32), photometric="rgb")
    code, line = refused("apply model.json other.tif out.tif", folder, capfd)
    assert code == INPUT
    assert_matches("other.tif: samples are floats or wider integers; the model is for integers of up to 16 bits, fit one", line)


def test_images_of_different_samples(folder, capfd):
    tifffile.imwrite(folder / "other.tif", smooth(20, 20).astype(np.float32), photometric="rgb")
    code, line = refused("fit in.tif other.tif -o out.json", folder, capfd)
    assert code == INPUT
    assert_matches("other.tif: samples are float32, those of in.tif are uint8; fit images of one kind", line)


def test_images_that_are_all_mask(folder, capfd):
    write_tiff(folder / "clear.tif", np.zeros((20, 20, 4), np.uint8), extrasamples=["unassalpha"])
    code, line = refused("fit clear.tif -o out.json", folder, capfd)
    assert code == INPUT
    assert_matches("clear.tif: every pixel is masked .*; there is nothing to fit", line)


@pytest.mark.parametrize("bands", [1, 2, 4])
def test_a_model_for_other_bands(bands, folder, capfd):
    write_tiff(folder / "other.tif", smooth(20, 20, bands))
    code, line = refused("apply model.json other.tif out.tif", folder, capfd)
    assert code == INPUT
    assert_matches(f"other.tif: {bands} bands; the model is for 3", line)
    assert_matches("fit", line)  # the remedy: a model of such images


def test_images_of_different_bands(folder, capfd):
    write_tiff(folder / "other.tif", smooth(20, 20, 1))
    code, line = refused("fit in.tif other.tif -o out.json", folder, capfd)
    assert code == INPUT
    assert_matches("other.tif: 1 bands, .* fit images of equal bands", line)


OPTIONS = {
    "-k 0": "components is 0; choose 1 to 65,535, or auto",
    "-k -3": "components is -3; choose 1 to 65,535",
    "-k 65536": "components is 65536; choose 1 to 65,535",
    "--covariance round": "covariance is 'round'; choose full, tied, diag, spherical",
    "--method magic": "method is 'magic'; choose auto, exact, stream, minibatch",
    "--init zeros": "init is 'zeros'; choose ",
    "--init absent.json": "init: absent.json: no such file or directory",
    "--init in.tif": "init: in.tif: not a model",
    "--max-iter 0": "max-iter is 0; at least 1 is needed",
    "--tol -1": "tol is -1.0; it must be 0 or more",
    "--tol nan": "tol is nan; it must be 0 or more",
    "--reg-covar -1": r"reg-covar is '-1'; write auto, or a variance of colors in \[0, 1\], 0 or more",
    "--reg-covar none": r"reg-covar is 'none'; write auto, or a variance",
    "--preset photo": "preset is 'photo'; choose picture, segment",
    "--range wide": "range is 'wide'; write auto, type, or LOW,HIGH, or LOW,HIGH;LOW,HIGH;... for each band",
    "--range 9,0": "range is '9,0'; write auto, type, or LOW,HIGH",
    "--range 0,9": "in.tif: range is given; 8-bit samples have that of their type, 0 to 255",
    "--rare-weight 2": "rare-weight is 2.0; choose 0 to 1",
    "--seed -1": "seed is -1; it must be 0 or more",
    "--chunk-size much": "chunk-size is 'much'; write bytes such as 64MiB, or pixels such as 4Mpx",
    "--chunk-size 0": "chunk-size is '0'; it must be more than nothing",
    "--chunk-size -1MiB": "chunk-size is '-1MiB'; write bytes",
    "--threads 0": "threads is 0; at least 1 is needed",
}
WRITE_OPTIONS = {
    "--compression jpeg": "compression is 'jpeg'; choose deflate, none, lzw, zstd, packbits",
    "--tile-size 100": "tile-size is 100; TIFF asks for a multiple of 16",
    "--tile-size 0": "tile-size is 0; TIFF asks for a multiple of 16",
    "--output jpeg": "output is 'jpeg'; choose palette, labels, rgb",
    "--compression-level 13": "compression-level is 13; choose 0 to 12",
    "--compression zstd --compression-level 0": "compression-level is 0; choose 1 to 22",
    "--compression lzw --compression-level 1": "compression-level is 1; lzw has none",
    "--layout flat": "layout is 'flat'; choose chained, subifd, cog",
    "--resampling average": "resampling is 'average'; choose mode, nearest",
    "--bigtiff maybe": "bigtiff is 'maybe'; choose auto, yes, no",
    "--pack --output rgb": "pack is for palettes and labels; RGB samples have 8 bits",
    "--display-bands 1,2": r"display bands are \(1, 2\); name one, or three for red, green and blue",
    "--palette-out colors.act": r"colors.act: what kind of palette\? Choose a name that ends in .gpl, .json, .txt",
    "--palette-out out.tif": r"out.tif: what kind of palette\? Choose a name that ends in .gpl, .json, .txt",
    "--confidence ./out.tif": "out.tif: two outputs have one name; give each its own",
}


READ_OPTIONS = {
    "--bands 4": "in.tif: bands are 4; choose from 1 to 3",
    "--bands 0,1": "in.tif: bands are 0,1; choose from 1 to 3",
    "--page 1": "in.tif: there is no page 1; pages are 0 to 0",
    "--page -1": "in.tif: there is no page -1; pages are 0 to 0",
    "--level 1": r"in.tif: level is 1; page 0 has 0 \(120 x 100\)",
    "--level -1": r"in.tif: level is -1; page 0 has 0 \(120 x 100\)",
    "--page 0 --all-pages": "page and all-pages exclude each other; choose one",
}


@pytest.mark.parametrize("option", OPTIONS | READ_OPTIONS | WRITE_OPTIONS)
def test_an_option_that_makes_no_sense(option, folder, capfd):
    code, line = refused(f"quantize in.tif out.tif {option}", folder, capfd)
    assert code == USAGE
    assert_matches((OPTIONS | READ_OPTIONS | WRITE_OPTIONS)[option], line)


@pytest.mark.parametrize("option", OPTIONS | READ_OPTIONS)
def test_an_option_of_fit_that_makes_no_sense(option, folder, capfd):
    code, line = refused(f"fit in.tif -o out.json {option}", folder, capfd)
    assert code == USAGE
    assert_matches((OPTIONS | READ_OPTIONS)[option], line)


@pytest.mark.parametrize("option", [*READ_OPTIONS, *WRITE_OPTIONS, "--chunk-size much", "--threads 0"])
def test_an_option_of_apply_that_makes_no_sense(option, folder, capfd):
    code, line = refused(f"apply model.json in.tif out.tif {option}", folder, capfd)
    assert code == USAGE
    assert_matches((OPTIONS | READ_OPTIONS | WRITE_OPTIONS)[option], line)


@pytest.mark.parametrize("option", ["--bands red", "--nodata few", "--page first", "--level half", "--display-bands 1;2"])
def test_an_option_that_is_no_number(option, folder, capfd):
    before = contents(folder)
    with pytest.raises(SystemExit) as left:
        main(["quantize", "in.tif", "out.tif", *option.split()])
    assert left.value.code == USAGE
    assert option.split()[0].lstrip("-") in capfd.readouterr().err
    assert contents(folder) == before


@pytest.mark.parametrize("option", ["--display-bands 4", "--display-bands 1,2,0"])
def test_bands_to_show_that_the_model_does_not_have(option, folder, capfd):
    bands = option.split()[1]
    for command in ("apply model.json in.tif out.tif", "quantize in.tif out.tif --threads 1"):
        code, line = refused(f"{command} {option}", folder, capfd)
        assert code == USAGE
        assert_matches(f"display bands are {bands}; the model has bands 1 to 3", line)


def test_a_method_that_cannot_be_had(folder, capfd):
    write_tiff(folder / "deep.tif", smooth(20, 20, 3, np.uint16))
    code, line = refused("quantize deep.tif out.tif --method exact", folder, capfd)
    assert code == INPUT
    assert_matches("deep.tif: method exact needs uint8 .* use stream", line)


WRITING = {
    "quantize": "quantize in.tif {} --threads 1 --overwrite",
    "apply": "apply model.json in.tif {} --threads 1 --overwrite",
    "fit": "fit in.tif -o {} --threads 1 --overwrite",
}


@pytest.mark.parametrize("link", ["none", "symlink", "hard link", "dots"])
@pytest.mark.parametrize("command", WRITING)
def test_an_output_that_is_the_input(command, link, folder, capfd):
    name = {"none": "in.tif", "dots": f"../{folder.name}/in.tif"}.get(link, "out.tif")
    if link == "symlink":
        (folder / name).symlink_to("in.tif")
    elif link == "hard link":
        (folder / name).hardlink_to(folder / "in.tif")
    code, line = refused(WRITING[command].format(name), folder, capfd)
    assert code == OUTPUT
    assert_matches(f"{name}: is also the input; choose another output", line)


def test_an_output_that_is_the_model(folder, capfd):
    code, line = refused("apply model.json in.tif model.json --overwrite", folder, capfd)
    assert code == OUTPUT
    assert_matches(r"model\.json: is also the input", line)


def test_an_output_that_is_the_second_input(folder, capfd):
    write_tiff(folder / "second.tif", smooth(20, 20))
    code, line = refused("fit in.tif second.tif -o second.tif --threads 1 --overwrite", folder, capfd)
    assert code == OUTPUT
    assert_matches(r"second\.tif: is also the input", line)


@pytest.mark.parametrize("command", WRITING)
def test_an_output_that_exists(command, folder, capfd):
    (folder / "out").write_text("precious", encoding="utf-8")
    code, line = refused(WRITING[command].format("out").replace(" --overwrite", ""), folder, capfd)
    assert code == OUTPUT
    assert_matches("out: exists; use --overwrite to replace it", line)


@pytest.mark.parametrize("command", WRITING)
def test_an_output_that_is_a_folder(command, folder, capfd):
    (folder / "out").mkdir()
    code, line = refused(WRITING[command].format("out"), folder, capfd)
    assert code == OUTPUT
    assert_matches("out: is a folder; name a file in it", line)


@pytest.mark.parametrize("parent", ["absent", "absent/deeper", "in.tif"])
@pytest.mark.parametrize("command", WRITING)
def test_an_output_whose_folder_is_missing(command, parent, folder, capfd):
    code, line = refused(WRITING[command].format(f"{parent}/out"), folder, capfd)
    assert code == OUTPUT
    assert_matches(f"{parent}/out: there is no folder {parent}; create it first", line)


@pytest.mark.parametrize("command", WRITING)
def test_an_output_whose_folder_is_read_only(command, folder, capfd, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode, **_: not mode & os.W_OK)
    code, line = refused(WRITING[command].format("out"), folder, capfd)
    assert code == OUTPUT
    assert_matches(r"out: folder .* is read-only; choose another or change its permissions", line)


@pytest.mark.skipif(sys.platform != "linux", reason="a folder no one can write to is found on Linux only")
@pytest.mark.parametrize("command", WRITING)
def test_an_output_whose_folder_takes_no_files(command, folder, capfd):
    code, line = refused(WRITING[command].format("/proc/self/out"), folder, capfd)
    assert code == OUTPUT
    assert line.startswith("streamgmm: /proc/self/out: ")
    assert_matches("read-only|cannot be written", line)


@pytest.mark.parametrize("command", WRITING)
def test_an_output_whose_name_is_too_long(command, folder, capfd):
    code, line = refused(WRITING[command].format("x" * 300), folder, capfd)
    assert code == OUTPUT
    assert_matches("x: .*too long", line)


@pytest.mark.parametrize("command", ["quantize", "apply"])
def test_a_disk_that_is_full(command, folder, capfd, monkeypatch):
    def put(self, index, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Spool, "put", put)
    code, line = refused(WRITING[command].format("out.tif"), folder, capfd)
    assert code == OUTPUT
    assert_matches(r"out\.tif: cannot be written \(no space left on device\); nothing was left there", line)


def test_a_disk_that_is_full_keeps_the_output_that_was_there(folder, capfd, monkeypatch):
    def write(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (folder / "out.tif").write_text("precious", encoding="utf-8")
    monkeypatch.setattr(tifffile.TiffWriter, "write", write)
    code, _ = refused("quantize in.tif out.tif --threads 1 --overwrite", folder, capfd)
    assert code == OUTPUT


def test_a_giant_compressed_strip(folder, capfd):
    write_tiff(folder / "strip.tif", np.zeros((2400, 2500, 3), np.uint8), compression="deflate", rowsperstrip=2400)
    code, line = refused("quantize strip.tif out.tif --chunk-size 100KiB", folder, capfd)
    assert code == BUDGET
    assert_matches(r"strip\.tif: one compressed strip holds 2500 x 2400 pixels.*small tiles .*or raise --chunk-size", line)
    main(["quantize", "strip.tif", "out.tif", "--chunk-size", "10MiB"])  # the remedy
    assert (folder / "out.tif").exists()


def test_a_png_above_the_budget(folder, capfd):
    Image.new("RGB", (2500, 2400)).save(folder / "large.png")
    code, line = refused("quantize large.png out.tif --chunk-size 100KiB", folder, capfd)
    assert code == BUDGET
    assert_matches(r"large\.png: a PNG of 2500 x 2400 pixels .*tiled TIFF, or raise --chunk-size", line)


def test_an_interrupt(folder, capfd, monkeypatch):
    monkeypatch.setattr(Spool, "put", lambda *_: signal.raise_signal(signal.SIGTERM))
    before = contents(folder)
    with pytest.raises(SystemExit) as left:
        main(["quantize", "in.tif", "out.tif", "--threads", "1"])
    assert left.value.code == 143
    assert capfd.readouterr().err == "streamgmm: interrupted in phase label, 0% done; the same command goes on from there\n"
    assert contents(folder) == before | {".streamgmm.out.tif.work": None}


def test_what_nobody_expected(folder, capfd, monkeypatch):
    monkeypatch.setattr(Spool, "put", lambda *_: 1 / 0)
    code, line = refused("quantize in.tif out.tif --threads 1", folder, capfd)
    assert code == 1
    assert_matches("unexpected ZeroDivisionError: division by zero; run again with -v for the details", line)


def run(folder, *arguments, **options):
    """Run the command in a process of its own, check that nothing changed, and return its exit code and standard error."""
    before = contents(folder)
    command = [sys.executable, "-m", "streamgmm", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, encoding="utf-8", timeout=120, **options)
    assert done.stdout == ""
    assert contents(folder) == before
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["quantize", "absent.tif", "out.tif"], INPUT, "absent.tif: no such file or directory"),
        (["quantize", "in.tif", "in.tif"], OUTPUT, "in.tif: is also the input; choose another output"),
        (["quantize", "in.tif", "out.tif", "-k", "0"], USAGE, "components is 0; choose 1 to 65,535, or auto"),
        (["apply", "in.tif", "in.tif", "out.tif"], INPUT, "in.tif: not a model file (it is not text)"),
    ],
)
def test_a_refusal_is_one_line_in_a_real_process(arguments, code, line, folder):
    assert run(folder, *arguments) == (code, f"streamgmm: {line}\n")


@pytest.mark.parametrize("name", ["has a corrupt tile", "is no TIFF inside"])
def test_a_bad_tiff_is_one_line_in_a_real_process(name, folder):
    INPUTS[name][0](folder / "bad.tif")
    code, error = run(folder, "quantize", "bad.tif", "out.tif")
    assert code == INPUT
    assert error.startswith("streamgmm: bad.tif: ")
    assert error.count("\n") == 1


def test_an_odd_but_sound_tiff_is_read_in_silence(folder, capfd):
    data = bytearray((folder / "in.tif").read_bytes())
    entry = data.index((296).to_bytes(2, "little") + (3).to_bytes(2, "little"))  # ResolutionUnit
    data[entry + 8 : entry + 10] = (99).to_bytes(2, "little")
    (folder / "odd.tif").write_bytes(data)
    main(["quantize", "odd.tif", "out.tif"])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("size", [20_000, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_full_disk_in_a_real_process(size, folder):
    code, error = run(folder, "quantize", PHOTO, "out.tif", "--compression", "none", preexec_fn=partial(limit_files, size))
    assert code == OUTPUT
    assert error == "streamgmm: out.tif: cannot be written (file too large); nothing was left there\n"


@pytest.fixture
def public(folder, monkeypatch):
    """A working folder that anybody may write to, with the same files."""
    with TemporaryDirectory() as name:
        shutil.copytree(folder, name, dirs_exist_ok=True)
        Path(name).chmod(0o777)
        monkeypatch.chdir(name)
        yield Path(name)


# What loads all that a command needs, while it can be read.
LOADING = ["quantize", "in.tif", "first.tif"], ["apply", "model.json", "in.tif", "second.tif"]


def as_nobody(arguments, *before):
    """Run the command as one who owns nothing here, or as who one is; return its exit code and its line."""
    code, output, error = in_child(
        *(partial(run_here, first) for first in LOADING), *before, become_nobody, partial(run_here, arguments)
    )
    assert (output, error.count("\n")) == ("", 1)
    return code, error


@pytest.mark.parametrize("mode", [0o555, 0o000])
def test_a_folder_of_another_user(mode, public):
    (public / "theirs").mkdir(mode)
    code, error = as_nobody(["quantize", "in.tif", "theirs/out.tif"])
    assert code == OUTPUT
    assert error.startswith("streamgmm: theirs/out.tif: ")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("in.tif", ["quantize", "in.tif", "out.tif"]),
        ("in.tif", ["info", "in.tif"]),
        ("in.tif", ["fit", "in.tif", "-o", "out.json"]),
        ("model.json", ["apply", "model.json", "in.tif", "out.tif"]),
    ],
)
def test_an_input_of_another_user(name, arguments, public):
    assert as_nobody(arguments, partial(os.chmod, public / name, 0)) == (INPUT, f"streamgmm: {name}: permission denied\n")


REPORTS = {
    "in.tif": "in.tif: (is also the input; choose another output|the report needs a file of its own)",
    "out": "out: the report needs a file of its own",
    "absent/report.json": "absent/report.json: there is no folder absent; create it first",
    ".": ": is a folder; name a file in it",
}


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.parametrize("command", WRITING)
def test_a_report_that_cannot_be_written_is_refused_before_the_work(command, report, folder, capfd):
    code, line = refused(f"{WRITING[command].format('out')} --report {report}", folder, capfd)
    assert code in (USAGE, OUTPUT)
    assert_matches(REPORTS[report], line)


def test_an_old_report_does_not_stop_the_work(folder):
    (folder / "report.json").write_text("old", encoding="utf-8")
    main(["quantize", "in.tif", "out.tif", "--threads", "1", "--report", "report.json"])
    assert json.loads((folder / "report.json").read_text(encoding="utf-8"))["method"] == "exact"
