"""What a person sees: bars, messages where they were asked for, one line where something is wrong."""

import json
import logging
import os
import pty
import re
import shlex
import subprocess
import sys
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import tifffile

from streamgmm.cli.terminal import PHASES, is_verbose, log_to_file
from streamgmm.errors import OutputError

from ..conftest import random_mixture
from ..images import PHOTO, posterized, smooth, write_tiff
from .commands import COMMAND, ENVIRONMENT, leave


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_tiff(tmp_path_factory.mktemp("cli") / "in.tif", smooth(50, 60))


# --- More, where it is asked for ---


def test_verbose_tells_what_is_done(source, tmp_path, monkeypatch, capfd):
    for more in ([], ["-v"]):
        monkeypatch.setattr("streamgmm.model.warmup._cache_misses", count().__next__)  # as where nothing is kept
        assert leave("quantize", source, tmp_path / "out.tif", "-k", 2, "--threads", 1, "--overwrite", *more) == 0
        lines = capfd.readouterr().err.splitlines()
        assert len(lines) == len(more)
    assert re.fullmatch(r"streamgmm: compiled kernels in [\d.]+ s", lines[0])


def test_verbose_shows_where_an_error_comes_from(tmp_path, capfd):
    assert leave("quantize", tmp_path / "absent.tif", tmp_path / "out.tif", "-v") == 3
    error = capfd.readouterr().err
    assert "Traceback" in error
    assert error.splitlines()[-1].startswith("streamgmm: ")


VERBOSE = ["-v", "--verbose", "-qv", "-vq", "-vk2", "-qvk 2"]


@pytest.mark.parametrize("option", VERBOSE)
@pytest.mark.parametrize("place", range(4))
def test_verbose_may_stand_anywhere_behind_the_command(option, place, tmp_path, capfd):
    arguments = ["quantize", tmp_path / "absent.tif", tmp_path / "out.tif", "--threads=1"]
    arguments[place + 1 : place + 1] = option.split()
    assert leave(*arguments) == 3
    assert is_verbose()
    assert "Traceback" in capfd.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["quantize", "--", "-v", "out.tif"],
        ["quantize", "--palette-out", "-v.gpl", "--", "-v", "out.tif"],
        ["quantize", "--work-dir", "-v", "absent.tif", "out.tif"],
        ["quantize", "--work-dir=-v", "absent.tif", "out.tif"],
        ["fit", "-o", "-v", "absent.tif"],
        ["fit", "-o-v", "absent.tif"],
        ["fit", "-o", "model.json", "--", "--verbose", "-qv"],
        ["apply", "--", "-v", "-v", "-v"],
        ["info", "--", "-v"],
    ],
)
def test_what_only_looks_like_verbose_is_a_name(arguments, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert leave(*arguments) in (2, 3)
    assert not is_verbose()
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("streamgmm: ")


def test_who_is_told_more_once_is_not_told_more_ever_after(tmp_path, capfd):
    for more in (["-v"], []):
        assert leave("info", tmp_path / "absent", *more) == 3
        assert ("Traceback" in capfd.readouterr().err) == bool(more)


def test_messages_of_other_packages_are_not_shown(tmp_path, capfd):
    assert leave("info", PHOTO, "-v") == 0
    capfd.readouterr()
    logging.getLogger("streamgmm.jobs").info("of ours\nin one line")
    logging.getLogger("numba").warning("of others")
    assert "streamgmm: of ours\\nin one line\n" in (error := capfd.readouterr().err)
    assert "streamgmm: of others" not in error


def test_a_log_has_the_time_and_level_of_each_message_in_a_line_of_its_own(tmp_path):
    logger, path = logging.getLogger("streamgmm.jobs"), tmp_path / "log"
    path.write_text("before\n", encoding="utf-8")
    leave("--version")  # which sets the level
    with log_to_file(path):
        logger.info("%s\n%d", "日本 \udcfe", 7)
        logger.warning("100%")
        logger.debug("for nobody")
    logger.error("when it is closed")
    first, *lines = path.read_text(encoding="utf-8").splitlines()
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} "
    assert first == "before"
    assert [re.sub(f"^{stamp}", "", line) for line in lines] == [r"INFO 日本 \udcfe\n7", "WARNING 100%"]
    assert all(re.match(stamp, line) for line in lines)


def test_a_log_that_cannot_be_written_is_an_error_of_the_output(tmp_path):
    with pytest.raises(OutputError, match="gone"), log_to_file(tmp_path / "gone" / "log"):
        pass
    assert list(tmp_path.iterdir()) == []


# --- What cannot be told changes nothing ---


def in_a_shell(command, folder):
    """Run a line of a shell where $S is the command: its exit code, and what it printed."""
    command = command.replace("$S", shlex.join(COMMAND)).replace("$PHOTO", str(PHOTO))
    ended = subprocess.run(
        ["bash", "-c", command], capture_output=True, encoding="utf-8", env=ENVIRONMENT, cwd=folder, timeout=120
    )
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.parametrize("away", ["2>/dev/full", pytest.param("2>&-", marks=pytest.mark.slow), "2>&- >&- <&-"])
@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("quantize $PHOTO out.tif -k 4 --method stream --max-iter 1 --tol 0 -v", 0),
        ("quantize $PHOTO out.tif -k 4 --range 0,1", 2),
        ("quantize gone.tif out.tif", 3),
        ("quantize $PHOTO gone/out.tif", 4),
        ("quantize $PHOTO out.tif -k 4 --method stream --max-iter 1 --tol 0 --strict", 6),
        ("quantize $PHOTO out.tif --colours 4", 2),
        ("quantize masked.tif out.tif --nodata 0", 0),  # with a warning
    ],
)
def test_the_exit_code_is_the_same_whether_messages_can_be_written(command, code, away, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    write_tiff(tmp_path / "masked.tif", np.zeros((40, 50, 1), np.uint8))
    assert leave(*command.replace("$PHOTO", str(PHOTO)).replace("out.tif", "here.tif").split()) == code
    assert capfd.readouterr().err != ""
    assert in_a_shell(f"$S {command} {away}", tmp_path) == (code, "", "")
    made, expected = tmp_path / "out.tif", tmp_path / "here.tif"
    assert made.exists() == expected.exists() == (code == 0)
    assert code != 0 or made.read_bytes() == expected.read_bytes()


def test_no_file_takes_the_place_of_a_closed_descriptor(tmp_path):
    """What libraries print there would be written into it."""
    program = "import os, sys; from streamgmm.cli.terminal import best_effort\n"
    program += "with best_effort():\n    print(os.open('out', os.O_CREAT | os.O_RDWR), file=open(3, 'w'))"
    command = f"{shlex.join([sys.executable, '-c', program])} 3>told 2>&- >&- <&-"
    assert in_a_shell(command, tmp_path)[0] == 0
    assert int((tmp_path / "told").read_text(encoding="utf-8")) > 3


def test_what_standard_output_does_not_take_is_an_error(tmp_path):
    for command in ("info $PHOTO", "info $PHOTO --json", "quantize $PHOTO out.tif -k 4 --report - --overwrite"):
        code, _, error = in_a_shell(f"$S {command} >/dev/full", tmp_path)
        assert (code, error.count("\n")) == (4, 1)
        assert error.startswith("streamgmm: standard output: cannot be written (no space left on device)")
        assert in_a_shell(f"$S {command} >&-", tmp_path)[0] == 4


def test_a_report_goes_where_it_is_sent(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    quantize = "$S quantize $PHOTO out.tif -k 4 --overwrite --report"
    for command in (
        f"{quantize} /dev/stdout",
        f"{quantize} /dev/stderr 2>&1",
        f"{quantize} >(cat); wait; sleep 0.3",
        f"cat pipe & {quantize} pipe; wait",
        f"{quantize} /dev/fd/3 3>told; cat told",
        f"ln -sf /dev/stdout link; {quantize} link; test -L link",
    ):
        code, output, error = in_a_shell(command, tmp_path)
        assert (code, error) == (0, "")
        assert json.loads(output)["output"] == "out.tif"
    assert (tmp_path / "pipe").is_fifo()
    assert in_a_shell(f"{quantize} /dev/null", tmp_path) == (0, "", "")
    assert Path("/dev/null").is_char_device()


def test_a_model_and_a_palette_go_where_they_are_sent(tmp_path):
    code, output, error = in_a_shell("$S fit $PHOTO -o /dev/stdout -k 4", tmp_path)
    assert (code, error, json.loads(output)["n_components"]) == (0, "", 4)
    (tmp_path / "p.gpl").symlink_to("/dev/stdout")
    code, output, error = in_a_shell("$S quantize $PHOTO out.tif -k 4 --palette-out p.gpl", tmp_path)
    assert (code, error, output.splitlines()[0]) == (0, "", "GIMP Palette")


IMAGES = ["quantize $PHOTO {}", "apply model.json $PHOTO {}", "quantize $PHOTO out.tif --confidence {}"]


@pytest.mark.parametrize("command", IMAGES)
def test_an_image_is_not_sent_there(command, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.json").write_text(random_mixture(4, 3).to_json(), encoding="utf-8")
    os.mkfifo(tmp_path / "pipe")
    before = set(tmp_path.iterdir())
    for name in ("/dev/null", "pipe", "/dev/stdout", "-", "out.png", "out.json"):
        assert leave(*command.format(name).replace("$PHOTO", str(PHOTO)).split(), "--overwrite") in (2, 4)
        output, error = capfd.readouterr()
        assert (output, error.count("\n")) == ("", 1)
        assert re.search("name a(nother| file)|choose a name that ends in .tif", error)
        assert set(tmp_path.iterdir()) == before


# --- A terminal ---


def on_a_terminal(*arguments, **environment):
    """Run the command with standard error on a terminal; return what was shown there, standard output and the exit code."""
    ours, theirs = pty.openpty()
    environment = ENVIRONMENT | {"TERM": "xterm", "COLUMNS": "120"} | environment
    process = subprocess.Popen([*COMMAND, *map(str, arguments)], stdout=subprocess.PIPE, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:  # how a terminal ends on Linux
        pass
    finally:
        os.close(ours)
    output = process.communicate(timeout=60)[0]
    return shown.decode(), output.decode(), process.returncode


def test_a_terminal_shows_a_bar_for_each_phase(tmp_path):
    shown, output, code = on_a_terminal("quantize", PHOTO, tmp_path / "out.tif")
    assert (output, code) == ("", 0)
    for phase in ("compile", "count", "seed", "fit", "label", "write"):
        assert PHASES[phase] in shown
    assert "compiling kernels" in shown
    assert "100%" in shown
    assert "\x1b[?25h" in shown  # the cursor is back


def last_line(shown):
    return shown.rstrip().splitlines()[-1].split("\x1b[?25h")[-1]


TIME = r"in [\d.]+ s, [\d.]+ [kM]px/s"
EFFORT = rf"[\d.]+ kB to [\d.]+ kB {TIME}"


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("quantize $PHOTO out.tif -k 8", rf"8 colors, \d\d\.\d dB, Delta E \d\.\d, {EFFORT}( \(--preset fidelity .* dB\))?"),
        ("quantize $PHOTO out.tif -k 8 --labels", f"8 classes, {EFFORT}"),
        ("quantize few.tif out.tif -k 8 -v", f"5 colors, exact, {EFFORT}"),
        ("quantize classes.tif out.tif --keep-values", f"3 values, {EFFORT}"),
        ("apply model.json $PHOTO out.tif", rf"4 colors, \d\d?\.\d dB, Delta E \d\d?\.\d, {EFFORT}"),
        ("fit $PHOTO few.tif -o out.json -k 3 --covariance diag", rf"3 components, 2 images, [\d.]+ kB {TIME}"),
    ],
)
def test_a_terminal_is_told_at_the_end_what_was_achieved(command, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tiff("few.tif", posterized(60, 70, 5))
    write_tiff("classes.tif", posterized(60, 70, 3, 1))
    Path("model.json").write_text(random_mixture(4, 3).to_json(), encoding="utf-8")
    shown, output, code = on_a_terminal(*command.replace("$PHOTO", str(PHOTO)).split())
    assert (output, code) == ("", 0)
    assert re.fullmatch(f"streamgmm: {line}", last_line(shown)), last_line(shown)


def test_where_nobody_looks_on_nothing_is_told_of_it(tmp_path, capfd):
    assert leave("quantize", PHOTO, tmp_path / "out.tif", "-k", 4) == 0
    assert capfd.readouterr() == ("", "")


def test_a_terminal_shows_the_phases_of_streaming(tmp_path):
    shown, output, code = on_a_terminal("fit", PHOTO, "-o", tmp_path / "model.json", "--method", "stream", "--report", "-")
    assert code == 0
    assert json.loads(output)["method"] == "stream"
    for phase in ("compile", "sample", "seed", "fit"):
        assert PHASES[phase] in shown


def test_quiet_shows_no_bars(tmp_path):
    assert on_a_terminal("quantize", PHOTO, tmp_path / "out.tif", "-q") == ("", "", 0)


def test_an_error_on_a_terminal_is_one_line_after_the_bars(tmp_path):
    shown, output, code = on_a_terminal("quantize", tmp_path / "absent.tif", tmp_path / "out.tif")
    assert (output, code) == ("", 3)
    assert shown.count("absent.tif") == 1
    assert shown.endswith(f"streamgmm: {tmp_path}/absent.tif: no such file or directory\r\n")


def test_what_has_not_converged_is_told_at_the_end_on_a_terminal(tmp_path):
    options = ["-k", "4", "--method", "stream", "--max-iter", "1", "--tol", "0"]
    told = f"streamgmm: {PHOTO}: not converged after 1 iterations; raise --max-iter or --tol"
    shown, output, code = on_a_terminal("quantize", PHOTO, tmp_path / "out.tif", *options)
    assert (output, code) == ("", 0)
    assert shown.rstrip().endswith(told)
    assert shown.count("not converged") == 1
    shown, output, code = on_a_terminal("quantize", PHOTO, tmp_path / "out.tif", "--overwrite", "-v", *options)
    assert (code, shown.count("not converged")) == (0, 1)
    quiet = subprocess.run([*COMMAND, "fit", PHOTO, "-o", tmp_path / "m.json", *options], capture_output=True, env=ENVIRONMENT)
    assert (quiet.returncode, quiet.stderr) == (0, b"")


# --- What an input has and its output does not get ---


def with_losses(path):
    """A small image with a description that programs read, and statistics beside it."""
    tifffile.imwrite(path, smooth(40, 50), photometric="rgb", description="ImageJ=1.11a\nimages=1\n", metadata=None)
    path.with_name(f"{path.name}.ovr").write_bytes(b"none")
    return path


def test_what_is_not_in_the_output_is_one_line_in_the_report_and_in_the_description(tmp_path, capsys):
    source, told = with_losses(tmp_path / "in.tif"), ["ImageDescription (ImageJ)", "in.tif.ovr"]
    options = ["-k", 4, "--overwrite", "--report", tmp_path / "report.json"]
    line = f"streamgmm: {source}: not in the output: {', '.join(told)}\n"
    for more, expected in ([], line), (["-q"], ""), (["-qv"], line):
        assert leave("quantize", source, tmp_path / "out.tif", *options, *more) == 0
        error = capsys.readouterr().err
        assert error == expected if "-qv" not in more else line in error
        assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["dropped"] == told
    assert leave("info", source, "--json") == 0
    assert json.loads(capsys.readouterr().out)["dropped"] == told
    assert leave("info", tmp_path / "out.tif") == 0
    assert re.search(r"^dropped +nothing$", capsys.readouterr().out, re.M)


def test_a_batch_says_it_of_each_file(tmp_path, capsys):
    for name in "ab":
        with_losses(tmp_path / f"{name}.tif")
    options = ["--out-dir", tmp_path / "out", "-k", 4, "--report", tmp_path / "report.jsonl"]
    assert leave("batch", tmp_path / "*.tif", *options) == 0
    error = capsys.readouterr().err
    assert [f"{name}.tif: not in the output: ImageDescription (ImageJ), {name}.tif.ovr" in error for name in "ab"] == [
        True,
        True,
    ]
    lines = (tmp_path / "report.jsonl").read_text(encoding="utf-8").splitlines()
    assert [len(json.loads(line)["dropped"]) for line in lines] == [2, 2]
    assert leave("batch", tmp_path / "*.tif", "-q", "--overwrite", *options) == 0
    assert capsys.readouterr().err == ""
