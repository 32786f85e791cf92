"""One run at a time makes an output."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tifffile

import streamgmm
from streamgmm.cli import main
from streamgmm.errors import LockedError
from streamgmm.system.lock import locked

from ..images import file_name, smooth, write_tiff

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
COMMAND = [sys.executable, "-m", "streamgmm"]
USAGE, INPUT, LOCKED = 2, 3, 7


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """An image of two bands, whose colors are soon counted, and a model."""
    folder = tmp_path_factory.mktemp("originals")
    write_tiff(folder / "in.tif", smooth(100, 120, 2), compression="deflate", tile=(64, 64))
    mixture, _ = streamgmm.fit_image(folder / "in.tif", n_components=3, threads=1)
    (folder / "model.json").write_text(mixture.to_json(), encoding="utf-8")
    return folder


def start(*arguments, program=COMMAND):
    """Start a process in the working folder."""
    command = [*program, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", env=ENVIRONMENT)


def leave(process):
    """Wait for a process: its exit code and what it said."""
    output, error = process.communicate(timeout=120)
    assert output == ""
    return process.returncode, error


HOLD = """
import sys
from pathlib import Path
from streamgmm.system.lock import locked

with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def holder(output):
    """A process that holds the lock of an output until the block ends."""
    command = [sys.executable, "-c", HOLD, output]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8", env=ENVIRONMENT) as process:
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            if process.poll() is None:
                process.communicate("done\n", timeout=60)


def left_over(folder):
    return sorted(path.name for path in folder.glob(".streamgmm*"))


COMMANDS = {
    "quantize": ["quantize", "in.tif", "out"],
    "apply": ["apply", "model.json", "in.tif", "out"],
    "fit": ["fit", "in.tif", "-o", "out"],
}


def refused(*arguments):
    """Run the command in this process: the exit code, and the seconds it took."""
    begin = time.monotonic()
    with pytest.raises(SystemExit) as left:
        main([*arguments])
    return left.value.code, time.monotonic() - begin


def test_an_output_that_another_run_is_making(folder, capfd):
    host = re.escape(socket.gethostname())
    with holder("out") as other:
        for command in COMMANDS.values():
            code, seconds = refused(*command)
            assert (code, seconds < 1) == (LOCKED, True)
            line = rf"streamgmm: out: host {host} pid {other.pid} is writing it; wait for it with --wait .*\n"
            assert re.fullmatch(line, capfd.readouterr().err)
            assert not (folder / "out").exists()
    assert left_over(folder) == []
    for command in COMMANDS.values():
        main([*command, "--overwrite"])


def test_another_output_is_not_locked(folder):
    with holder("other"):
        main(COMMANDS["quantize"])
    assert (folder / "out").exists()


def test_one_output_by_two_names_is_locked(folder):
    (folder / "deeper").mkdir()
    with holder("out"):
        assert refused("quantize", "in.tif", f"deeper/../../{folder.name}/out")[0] == LOCKED


def test_two_runs_at_once_make_one_output(folder):
    write_tiff(folder / "large.tif", np.tile(smooth(512, 512), (4, 4, 1)), compression="deflate", tile=(256, 256))
    command = ["quantize", "large.tif", "out", "--init", "random", "--method", "stream", "--tol", "0", "--max-iter", "30"]
    runs = [start(*command), start(*command)]
    (won, complaint), (code, error) = sorted(leave(run) for run in runs)
    assert (won, complaint.count("\n")) == (0, 1)  # not converged
    assert code == LOCKED
    assert any(f"pid {run.pid} is writing it" in error for run in runs)
    assert tifffile.imread(folder / "out").shape == (2048, 2048)
    assert left_over(folder) == []


def test_a_run_may_wait(folder):
    with holder("out"):
        waiting = start(*COMMANDS["quantize"], "--wait", "60")
        time.sleep(2)
        assert waiting.poll() is None
        assert not (folder / "out").exists()
    assert leave(waiting) == (0, "")
    assert (folder / "out").exists()
    assert left_over(folder) == []


def test_a_run_waits_no_longer_than_it_is_told(folder, capfd):
    with holder("out") as other:
        code, seconds = refused(*COMMANDS["quantize"], "--wait", "0.5")
    assert (code, 0.5 <= seconds < 2) == (LOCKED, True)
    assert f"pid {other.pid}" in capfd.readouterr().err


@pytest.mark.parametrize("wait", ["-1", "nan"])
def test_a_time_to_wait_that_is_none(wait, folder, capfd):
    assert refused(*COMMANDS["quantize"], "--wait", wait)[0] == USAGE
    error = capfd.readouterr().err
    assert (error.count("\n"), "wait is" in error) == (1, True)


def test_the_lock_of_a_killed_run_is_taken_over(folder):
    with holder("out") as other:
        other.kill()
        other.wait()
        assert left_over(folder) == [".streamgmm.out.lock"]
        assert f"pid {other.pid}" in (folder / ".streamgmm.out.lock").read_text(encoding="utf-8")
        main(COMMANDS["quantize"])
    assert left_over(folder) == []


def test_the_lock_of_a_stopped_run_is_not(folder):
    with holder("out") as other:
        other.send_signal(signal.SIGSTOP)
        try:
            assert refused(*COMMANDS["quantize"])[0] == LOCKED
        finally:
            other.send_signal(signal.SIGCONT)


def test_a_run_that_is_refused_leaves_no_lock(folder):
    (folder / "bad.tif").write_bytes(b"II*\0" + bytes(40))
    assert refused("quantize", "bad.tif", "out")[0] == INPUT
    assert left_over(folder) == []


COUNT = """
import sys
from pathlib import Path
from streamgmm.system.lock import locked

counter = Path("counter")
for _ in range(30):
    with locked(Path("out"), 120):
        counter.write_text(str(int(counter.read_text()) + 1))
"""


def test_the_lock_is_held_by_one_at_a_time(folder):
    (folder / "counter").write_text("0", encoding="utf-8")
    for process in [start(program=[sys.executable, "-c", COUNT]) for _ in range(4)]:
        assert leave(process) == (0, "")
    assert (folder / "counter").read_text(encoding="utf-8") == "120"
    assert left_over(folder) == []


def test_a_program_may_not_write_an_output_twice_at_once(folder):
    with locked(folder / "out"):
        with pytest.raises(LockedError, match=f"pid {os.getpid()} is writing it"), locked(folder / "out"):
            pass
        assert left_over(folder) == [".streamgmm.out.lock"]
    with locked(folder / "out"):
        pass
    assert left_over(folder) == []


@pytest.mark.parametrize("name", ["x" * 251 + ".tif", file_name("日" * 83 + ".tif"), "new\nline", "-out", "\udcfe.tif"])
def test_any_name_has_a_lock_and_a_work_folder(name, folder):
    streamgmm.quantize("in.tif", name, n_components=2, threads=1)
    assert Path(name).exists()
    assert left_over(folder) == []
