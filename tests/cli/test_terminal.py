"""What a person sees: bars, messages where they were asked for, one line where something is wrong."""

import json
import logging
import os
import pty
import re
import subprocess
from itertools import count

import pytest

from streamgmm.cli.terminal import PHASES, is_verbose, log_to_file
from streamgmm.errors import OutputError

from ..images import PHOTO
from .commands import COMMAND, ENVIRONMENT, leave, write_pages


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_pages(tmp_path_factory.mktemp("cli"))


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
