"""Runs that are killed at any moment, and started again until one ends: the bytes are those of a run that was left alone."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from .images import smooth, write_tiff
from .processes import with_signals

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
WRITE = ["--pyramid", "--compression-level", "9", "--overwrite"]
JOBS = {
    "a color table": ["-k", "24", "--tol", "1e-6", *WRITE],
    "streaming": ["-k", "8", "--tol", "1e-3", "--confidence", "sure.tif", *WRITE],
    "masked floats": ["-k", "6", "--tol", "1e-3", "--tile-size", "128", *WRITE],
}
PHASES = {
    "a color table": ["count", "seed", "fit", "label", "reduce", "write"],
    "streaming": ["sample", "seed", "fit", "label", "reduce", "write"],
    "masked floats": ["sample", "seed", "fit", "label", "reduce", "write"],
}
SLOWER = ("a color table", "masked floats")
OUTPUTS = ("out.tif", "sure.tif")
ASKING = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 129}


def deep(side):
    """Slow waves of 16 bits, which are many more colors than components."""
    return np.tile(smooth(512, 512, 3, np.uint16), (side // 512, side // 512, 1))


def write_input(job, path, side):
    """Write the image of a job, a square."""
    tiles = {"tile": (256, 256), "compression": "deflate"}
    if job == "a color table":
        subprocess.run([sys.executable, ROOT / "scripts" / "make_image.py", path, "--size", str(2 * side)], check=True)
    elif job == "streaming":
        write_tiff(path, deep(side), **tiles)
    else:
        pixels = deep(side).astype(np.float32)
        pixels[side // 3 : side // 2, side // 4 :] = np.nan
        write_tiff(path, pixels, **tiles)


@dataclass
class Job:
    """A command in a folder of its own, and what it makes when it is left alone."""

    folder: Path
    command: list[str]
    expected: dict[str, bytes]
    phases: dict[str, float]
    seconds: float

    def start(self, *more, program=("-m", "streamgmm"), handler=signal.SIG_DFL):
        """Start the command, with its signals as they are in a terminal, or ignored as under nohup."""
        command, before = [sys.executable, *program, *self.command, *more], with_signals(handler, *ASKING)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}
        return subprocess.Popen(command, cwd=self.folder, env=ENVIRONMENT, preexec_fn=before, **pipes)

    def outputs(self):
        """The outputs there are."""
        return {name: (self.folder / name).read_bytes() for name in OUTPUTS if (self.folder / name).exists()}

    def saved(self):
        """What is saved of runs that were killed, and not while they removed it."""
        return [path for path in self.folder.glob(".streamgmm.*.work/*.npz") if (path.parent / "job").exists()]

    def check_done(self):
        """Check that all is there and nothing else, and take the outputs away."""
        assert self.outputs() == self.expected
        assert {path.name for path in self.folder.iterdir()} == {"in.tif", *self.expected}
        self.remove()

    def remove(self):
        """Take the outputs away."""
        for name in OUTPUTS:
            (self.folder / name).unlink(missing_ok=True)

    def clear(self):
        """Take everything away but the input, also what a test that failed has left."""
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "in.tif":
                path.unlink()


def make_job(name, folder, side):
    """Write the input of a job, and run it without a kill."""
    write_input(name, folder / "in.tif", side)
    job = Job(folder, ["quantize", "in.tif", "out.tif", *JOBS[name]], {}, {}, 0)
    begin = time.monotonic()
    output, error = job.start("--report", "-").communicate(timeout=300)
    assert error == ""
    job.seconds, job.phases = time.monotonic() - begin, json.loads(output)["seconds"]
    job.expected = job.outputs()
    assert job.expected.keys() == {"out.tif", *(["sure.tif"] if name == "streaming" else [])}
    job.remove()
    return job


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Jobs of a second or two, each made once."""
    made = {}

    def small(name):
        if name not in made:
            made[name] = make_job(name, tmp_path_factory.mktemp("small"), 512)
        made[name].clear()
        return made[name]

    return small


@pytest.fixture(scope="module", params=JOBS)
def large(request, tmp_path_factory):
    """A job of several seconds, and its phases."""
    return make_job(request.param, tmp_path_factory.mktemp("large"), 3072), PHASES[request.param]


# Saves everything that may be.
SAVING = """
from streamgmm.cli import main
from streamgmm.jobs.passes import checkpoint

checkpoint.INTERVAL = checkpoint.SHARE = 0
main()
"""


def kill_when_saved(job):
    """Kill a run as soon as something of it is saved, if nothing of those before it is."""
    if job.saved():
        return
    with job.start(program=("-c", SAVING)) as process:
        while process.poll() is None and not job.saved():
            time.sleep(0.002)
        process.kill()
    assert process.returncode == -signal.SIGKILL


def finish(job):
    """Run the command to its end, check that it took over what was saved, and return its report."""
    kill_when_saved(job)
    process = job.start("--report", "-")
    output, error = process.communicate(timeout=300)
    assert (process.returncode, error) == (0, "")
    job.check_done()
    report = json.loads(output)
    assert report["resumed"]
    assert all(0 < pixels <= report["pixels"][phase] for phase, pixels in report["resumed"].items())
    return report


def kill(job, moment, number):
    """Start the command, and send it a signal at a moment; returns the process where it was still running."""
    process = job.start()
    try:
        printed = process.communicate(timeout=moment)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
        return process
    assert (process.returncode, *printed) == (0, "", "")
    job.check_done()
    return None


def kills(job, numbers, seed):
    """Send each signal at a random moment of one of equal parts of a run, one after the other; yields processes and signals."""
    rng, done = np.random.default_rng(seed), 0
    while done < len(numbers):
        process = kill(job, job.seconds * (0.1 + 0.9 * (done + rng.random()) / len(numbers)), numbers[done])
        if process is None:
            job.seconds *= 0.9  # the run that was left alone was slow
        else:
            yield process, numbers[done]
            done += 1


@pytest.mark.parametrize("name", ["streaming", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOWER)])
def test_a_run_that_is_killed_goes_on(name, small):
    job = small(name)
    for process, _ in kills(job, [signal.SIGKILL] * 5, seed=1):
        output, error = process.communicate(timeout=60)
        assert process.returncode in (0, -signal.SIGKILL)
        assert (output, error) == ("", "")
        assert job.outputs().items() <= job.expected.items()  # whole, or not there
    finish(job)


# Kills itself when it syncs a file for the nth time: an output that is written and not renamed yet, then its folder, and so on.
# Everything is saved that may be.
DYING = """
import os
import signal
import sys
from streamgmm.cli import main
from streamgmm.jobs.passes import checkpoint

checkpoint.INTERVAL = checkpoint.SHARE = 0
left, sync = [int(sys.argv.pop(1))], os.fsync

def fsync(descriptor):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    sync(descriptor)

os.fsync = fsync
main(sys.argv[1:])
"""


@pytest.mark.parametrize("place", [1, 2, 3], ids=["before the first rename", "after it", "before the second"])
def test_a_run_that_is_killed_while_it_writes_has_nothing_left_but_to_write(place, small):
    job = small("streaming")
    job = replace(job, command=[option for option in job.command if option != "--overwrite"])
    process = job.start(program=("-c", DYING, str(place)))
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert job.outputs().keys() == (set() if place == 1 else {"out.tif"})
    report = finish(job)
    done = ("sample", "fit", "label", "reduce")
    assert report["resumed"] == {phase: report["pixels"][phase] for phase in done}  # all, but for seeds, which take a second


# --- Fifty kills, as often as there are phases in each of them ---

# The command as a program sees it: the phases are told as they begin.
TELLING = """
import contextlib
import sys
from streamgmm.cli import commands, main

told = set()

def progress(phase, done, total):
    if phase not in told:
        told.add(phase)
        print(phase, flush=True)

commands.progress_bars = lambda *_: contextlib.nullcontext(progress)
main(sys.argv[1:])
"""


def kill_in(job, phases, wanted, rng):
    """Kill a run at a random moment of a phase, or of the first behind it; returns the phase, or None where the run ended."""
    with job.start(program=("-c", TELLING)) as process:
        for line in process.stdout:
            phase = line.strip()
            if phase in phases and phases.index(phase) >= phases.index(wanted):
                time.sleep(rng.uniform(0, job.phases[phase]))
                process.kill()
                break
        else:
            phase = None
        error = process.communicate(timeout=120)[1]
        assert error == ""
        return phase if process.returncode == -signal.SIGKILL else None


@pytest.mark.slow
def test_fifty_kills_over_all_phases(large):
    (job, phases), rng, hit = large, np.random.default_rng(2), []
    job.clear()
    while len(hit) < 17:  # in each of three jobs
        phase = kill_in(job, phases, phases[len(hit) * len(phases) // 17], rng)
        assert job.outputs().items() <= job.expected.items()
        if phase is None:
            job.check_done()
        else:
            hit.append(phase)
    assert set(hit) >= set(phases) - {"reduce", "write"}  # which may be over before the signal comes
    finish(job)


@pytest.mark.slow
def test_kills_at_any_time_of_a_long_run(large):
    job, _ = large
    job.clear()
    for process, _ in kills(job, [signal.SIGKILL] * 8, seed=3):
        process.communicate(timeout=60)
        assert job.outputs().items() <= job.expected.items()
    finish(job)


# --- Signals that ask ---


@pytest.mark.parametrize("n_times", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_a_run_that_is_asked_to_stop_says_where_it_was(n_times, small):
    job, told = small("streaming"), []
    for process, number in kills(job, list(ASKING) * n_times, seed=4):
        begin = time.monotonic()
        output, error = process.communicate(timeout=60)
        assert time.monotonic() - begin < 2
        if process.returncode != 0 and -process.returncode not in ASKING:  # done already, or not begun
            told.append(error)
            assert (process.returncode, output) == (ASKING[number], "")
        assert job.outputs().items() <= job.expected.items()
    assert len(told) >= n_times
    line = r"streamgmm: interrupted( in phase \w+(, \d+% done)?)?; the same command goes on from there\n"
    assert [error for error in told if not re.fullmatch(line, error)] == []
    assert any("in phase" in error for error in told)
    finish(job)


def test_an_ignored_signal_is_ignored(small):
    job = small("streaming")
    process = job.start(handler=signal.SIG_IGN)
    time.sleep(0.6 * job.seconds)
    process.send_signal(signal.SIGHUP)
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 0
    job.check_done()
