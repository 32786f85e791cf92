"""One run at a time makes an output."""

import errno
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import filelock
import numpy as np
import pytest
import tifffile

import streamgmm
from streamgmm.cli import main
from streamgmm.errors import LockedError, OutputError
from streamgmm.system.lock import locked

from ..images import file_name, smooth, write_tiff

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
COMMAND = [sys.executable, "-m", "streamgmm"]
USAGE, INPUT, OUTPUT, LOCKED = 2, 3, 4, 7


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
    assert (won, complaint) == (0, "")
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
        assert left_over(folder) == [".streamgmm.out.holder", ".streamgmm.out.lock"]
        assert f"pid {other.pid}" in (folder / ".streamgmm.out.holder").read_text(encoding="utf-8")
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
        assert left_over(folder) == [".streamgmm.out.holder", ".streamgmm.out.lock"]
    with locked(folder / "out"):
        pass
    assert left_over(folder) == []


@pytest.mark.parametrize("name", ["x" * 251 + ".tif", file_name("日" * 83 + ".tif"), "new\nline", "-out", "\udcfe.tif"])
def test_any_name_has_a_lock_and_a_work_folder(name, folder):
    streamgmm.quantize("in.tif", name, n_components=2, threads=1)
    assert Path(name).exists()
    assert left_over(folder) == []


# --- File systems without locks ---

# Locks do not work in a process with this in its sitecustomize.py, as they do not on Lustre, some NFS, and FUSE.
NO_FLOCK = """
import errno, fcntl, os

def flock(descriptor, operation):
    raise OSError(errno.{name}, os.strerror(errno.{name}))

fcntl.flock = flock
"""


def without_locks(folder, name):
    """The environment of a process where flock() fails."""
    site = folder / name
    site.mkdir()
    (site / "sitecustomize.py").write_text(NO_FLOCK.format(name=name), encoding="utf-8")
    return {**ENVIRONMENT, "PYTHONPATH": os.pathsep.join([str(site), ENVIRONMENT["PYTHONPATH"]])}


def ran(environment, *arguments):
    """Run the command; return its exit code and what it said on standard error."""
    ended = subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, encoding="utf-8", env=environment, timeout=120
    )
    return ended.returncode, ended.stderr


@pytest.mark.parametrize("name", ["ENOLCK", *(pytest.param(name, marks=pytest.mark.slow) for name in ("EOPNOTSUPP", "EINVAL"))])
def test_where_there_are_no_locks_it_is_said_with_the_remedy(name, folder, tmp_path_factory):
    environment, before = without_locks(tmp_path_factory.mktemp("site"), name), set(folder.iterdir())
    for command in COMMANDS.values():
        code, error = ran(environment, *command)
        assert code == OUTPUT
        assert re.fullmatch(r"streamgmm: out: there are no locks in .*, .* use --no-lock, or else a --work-dir .*\n", error)
        assert set(folder.iterdir()) == before
    for command in COMMANDS.values():
        assert ran(environment, *command, "--no-lock", "--overwrite") == (0, "")
    assert left_over(folder) == []
    without = (folder / "out").read_bytes()
    assert ran(environment, *COMMANDS["fit"], "--work-dir", folder, "--overwrite")[0] == OUTPUT
    assert (folder / "out").read_bytes() == without


def test_the_lock_may_be_in_the_work_folder_where_there_is_none_beside_the_output(folder, tmp_path, monkeypatch):
    works = filelock.FileLock.acquire

    def acquire(lock, *arguments, **more):
        if Path(lock.lock_file).parent == folder:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        return works(lock, *arguments, **more)

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    for name in ("a", "b"):
        (folder / name).mkdir()
    with locked(folder / "out", work_dir=folder / "a") as a:
        with (
            pytest.raises(LockedError, match=f"pid {os.getpid()} is writing it"),
            locked(folder / "out", work_dir=folder / "a"),
        ):
            pass
        with locked(folder / "out", work_dir=folder / "b") as b:
            assert len({a, b, "part"}) == 3  # two that do not know of each other write to files of their own
    assert left_over(folder) == left_over(folder / "a") == left_over(folder / "b") == []
    with pytest.raises(OutputError, match="no locks"), locked(folder / "out"):
        pass
    assert main(["quantize", "in.tif", "out", "--work-dir", "a"]) is None
    assert left_over(folder) == left_over(folder / "a") == []


def test_where_the_system_knows_no_locks_there_is_one_all_the_same(folder, tmp_path_factory):
    environment = without_locks(tmp_path_factory.mktemp("site"), "ENOSYS")
    command = [sys.executable, "-c", HOLD, "out"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8", env=environment) as other:
        assert other.stdout.readline() == "held\n"
        for wait in (0, 4):  # a lock of a process that lives is not taken, however long one waits
            code, error = ran(environment, *COMMANDS["quantize"], "--wait", wait)
            assert (code, f"pid {other.pid} is writing it" in error) == (LOCKED, True)
        other.kill()
    assert left_over(folder) == [".streamgmm.out.holder", ".streamgmm.out.lock"]
    assert ran(environment, *COMMANDS["quantize"]) == (0, "")
    assert left_over(folder) == []


def test_two_runs_without_a_lock_make_one_whole_output(folder):
    write_tiff(folder / "large.tif", smooth(512, 512), compression="deflate", tile=(256, 256))
    command = ["quantize", "large.tif", "out", "--no-lock", "--overwrite", "--method", "stream", "--max-iter", "5"]
    assert [leave(run) for run in [start(*command) for _ in range(3)]] == [(0, "")] * 3
    made = (folder / "out").read_bytes()
    main(["quantize", "large.tif", "out", "--overwrite", "--method", "stream", "--max-iter", "5"])
    assert (folder / "out").read_bytes() == made
    assert left_over(folder) == []


def test_a_run_without_a_lock_leaves_what_another_has_saved(folder):
    (folder / ".streamgmm.out.work").mkdir()
    main(["quantize", "in.tif", "out", "--no-lock"])
    assert left_over(folder) == [".streamgmm.out.work"]


def test_what_is_no_file_has_no_lock(folder):
    ours, theirs = os.openpty()
    os.set_blocking(ours, False)
    main(["fit", "in.tif", "-o", os.ttyname(theirs)])
    assert os.read(ours, 1000).lstrip().startswith(b"{")
    assert left_over(folder) == left_over(Path(os.ttyname(theirs)).parent) == []
    os.close(ours)
    os.close(theirs)
