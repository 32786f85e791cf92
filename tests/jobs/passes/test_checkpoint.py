"""A job goes on where it was interrupted, and only the same job does. Damage costs time, never the result."""

import contextlib
import errno
import io
import json
import os
import re
import resource
import shutil
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import tifffile

import streamgmm
from streamgmm.cli import main
from streamgmm.errors import MemoryBudgetError, OutputError
from streamgmm.image.tiff.reader import TiffImage
from streamgmm.jobs.passes import checkpoint as module
from streamgmm.jobs.passes.checkpoint import SHARE, Checkpoint

from ...images import posterized, smooth, write_tiff
from ...processes import become_nobody, in_child

# --- Saved states ---

STATES = [
    {"done": 3, "counters": np.arange(7, dtype=np.uint32)},
    {"low": -1.5, "high": float("inf")},
    {"drawn": np.arange(12, dtype=np.uint16).reshape(2, 2, 3), "empty": np.empty((0, 3), np.float32)},
]


def assert_same(state, expected):
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(state[name], value, strict=isinstance(value, np.ndarray))


def test_steps_are_numbered_and_each_has_its_own_state(tmp_path):
    steps = Checkpoint(tmp_path)
    for state in STATES:
        steps.step("count").save(state)
    again = Checkpoint(tmp_path)
    for state in STATES:
        assert_same(again.step("count").load(), state)
    assert again.step("count").load() is None


def test_a_state_is_for_a_step_of_its_kind_alone(tmp_path):
    """A run with other memory may come to another step here: its state would be that of other pixels."""
    Checkpoint(tmp_path).step("count").save(STATES[0])
    other = Checkpoint(tmp_path)
    assert other.step("draw").load() is None
    assert other.step("count").load() is None
    assert_same(Checkpoint(tmp_path).step("count").load(), STATES[0])


def test_a_step_has_the_state_that_was_saved_last(tmp_path):
    step = Checkpoint(tmp_path).step("count")
    for state in STATES:
        step.save(state)
    assert_same(Checkpoint(tmp_path).step("count").load(), STATES[-1])
    assert len(list(tmp_path.iterdir())) == 1


def test_a_save_that_was_cut_off_leaves_the_one_before(tmp_path):
    class Dies:
        def __array__(self, *_, **__):
            raise KeyboardInterrupt

    step = Checkpoint(tmp_path).step("count")
    step.save(STATES[0])
    with pytest.raises(KeyboardInterrupt):
        step.save({"more": np.arange(1000), "last": Dies()})
    assert_same(Checkpoint(tmp_path).step("count").load(), STATES[0])


@pytest.fixture
def saved(tmp_path):
    """The only file of a checkpoint of one step."""
    Checkpoint(tmp_path).step("count").save(STATES[0])
    (path,) = tmp_path.iterdir()
    return path


def test_a_torn_file_is_nothing(saved):
    whole = saved.read_bytes()
    for size in range(0, len(whole), 3):
        saved.write_bytes(whole[:size])
        assert Checkpoint(saved.parent).step("count").load() is None, f"of {size} bytes"


@pytest.mark.parametrize("bits", [0xFF, *(pytest.param(bits, marks=pytest.mark.slow) for bits in (0x01, 0x08))])
def test_a_file_with_a_damaged_byte_is_nothing_or_what_it_was(bits, saved):
    whole = saved.read_bytes()
    for place in range(len(whole)):
        saved.write_bytes(whole[:place] + bytes([whole[place] ^ bits]) + whole[place + 1 :])
        state = Checkpoint(saved.parent).step("count").load()
        if state is not None:
            assert_same(state, STATES[0])


def load(folder):
    """What was saved of the first step."""
    return Checkpoint(folder, Path("out")).step("count").load()


def limit(kind, value):
    resource.setrlimit(kind, (value, resource.getrlimit(kind)[1]))


def limit_memory(spare):
    """Let this process have little more address space than it has."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    limit(resource.RLIMIT_AS, pages * resource.getpagesize() + spare)


# What happens to a process or its files, and what is said of it. None of this says that nothing whole was saved.
TROUBLE = {
    "no more memory": (lambda path: partial(limit_memory, 16 << 20), MemoryBudgetError, "out: .*raise the limit.*--no-resume"),
    "no more open files": (lambda path: partial(limit, resource.RLIMIT_NOFILE, 0), OutputError, "out: .*too many open files"),
    "no right to read": (lambda path: become_nobody, OutputError, "out: .*permission denied"),
}


@pytest.mark.skipif(sys.platform != "linux", reason="limits are those of Linux")
@pytest.mark.parametrize("trouble", TROUBLE)
def test_what_may_be_whole_and_cannot_be_loaded_is_not_taken_for_nothing(trouble, tmp_path):
    happens, kind, message = TROUBLE[trouble]
    for name, size in (("small", 1), ("large", 64 << 20)):
        (tmp_path / name).mkdir()
        Checkpoint(tmp_path / name).step("count").save({"counters": np.zeros(size, np.uint8)})
    (path,) = (tmp_path / "large").iterdir()
    if trouble == "no right to read":
        path.chmod(0)
    with pytest.raises(kind, match=message):
        in_child(partial(load, tmp_path / "small"), happens(path), partial(load, tmp_path / "large"))


class Failing(io.BytesIO):
    """A file on a disk that fails at some reading."""

    def __init__(self, data, good):
        super().__init__(data)
        self.good = good

    def read(self, size=-1):
        self.good -= 1
        if self.good < 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read(size)


def test_a_disk_with_an_error_is_not_taken_for_nothing(saved, monkeypatch):
    data, states = saved.read_bytes(), []
    for good in range(1000):
        monkeypatch.setattr(module, "open", lambda *_, good=good: Failing(data, good), raising=False)
        try:
            states.append(load(saved.parent))
        except OutputError as error:
            assert re.match("out: .*input/output error", str(error))  # noqa: PT017
            continue
        break
    assert good > 10
    assert_same(*states, STATES[0])


def test_without_a_folder_nothing_is_due_or_loaded():
    steps = Checkpoint(None)
    assert not steps.due()
    assert steps.step("count").load() is None


class Slow:
    """An array that takes its time to be saved, on a clock."""

    def __init__(self, clock, seconds):
        self.clock, self.seconds = clock, seconds

    def __array__(self, *_, **__):
        self.clock.now += self.seconds
        return np.zeros(1)


def test_saves_take_a_twentieth_of_the_time_at_the_most(tmp_path, monkeypatch):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    step = Checkpoint(tmp_path).step("count")
    saving = start = clock.now
    spent = 0.0
    for _ in range(10_000):
        clock.now += 0.05
        if step.due():
            assert clock.now - saving >= 0.2
            step.save({"state": Slow(clock, 0.3)})
            saving, spent = clock.now, spent + 0.3
    assert 0.9 / SHARE < spent / (clock.now - start) <= 1 / SHARE
    clock.now += SHARE * 0.3 + 0.1
    step.save({"state": Slow(clock, 0)})
    clock.now += 0.19
    assert not step.due()
    clock.now += 0.02
    assert step.due()  # a save that costs nothing pays soon


def test_what_is_done_before_the_first_step_is_no_work_to_save(tmp_path, monkeypatch):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    checkpoint = Checkpoint(tmp_path)
    clock.now += 10
    step = checkpoint.step("count")
    assert not step.due()
    clock.now += 0.3
    assert step.due()
    assert checkpoint.step("count").due()  # work of any step counts


# --- Jobs that are interrupted, where everything is saved that may be ---


def holed():
    """Floats, some of them masked."""
    pixels = smooth(90, 110, 2, np.uint16).astype(np.float32)
    pixels[30:60, 20:70] = np.nan
    return pixels


IMAGES = {
    "photo.tif": lambda: smooth(90, 110, 2),  # of two bands: counters of three take 64 MiB, each time they are saved
    "deep.tif": lambda: smooth(90, 110, 2, np.uint16),
    "holed.tif": holed,
    "few.tif": lambda: posterized(90, 110, 4, 2, np.uint16),
}
WRITE = "--tile-size 16 --pyramid"
JOBS = {
    "a color table": f"quantize photo.tif out.tif -k 3 {WRITE} --palette-out out.json",
    "streaming": f"quantize deep.tif out.tif -k 3 --max-iter 4 {WRITE} --confidence sure.tif",
    "minibatch": f"quantize deep.tif out.tif -k 3 --method minibatch {WRITE}",
    "masked floats": f"quantize holed.tif out.tif -k 3 --max-iter 4 {WRITE} --confidence sure.tif",
    "few colors": f"quantize few.tif out.tif -k 4 {WRITE}",
    "a stack": f"quantize stack.tif out.tif -k 3 --all-pages {WRITE}",
    "dithered": f"quantize photo.tif out.tif -k 3 {WRITE} --dither blue-noise --palette-out out.json",
    "apply": f"apply model.json photo.tif out.tif {WRITE} --output rgb",
    "fit": "fit photo.tif deep.tif -o out.json -k 3 --max-iter 4 --method stream",
}
OUTPUTS = ("out.tif", "out.json", "sure.tif")
LAST = 10**9
GRAY = {"photometric": "minisblack", "metadata": None, "tile": (32, 32)}
# More places in fewer pixels, and less seeding, which is not saved.
SMALLER = {
    "jobs.passes.blocks.BLOCK_PIXELS": 1 << 10,
    "jobs.sampling.SAMPLE_PIXELS": 1 << 11,
    "model.seeding.STARTS": 1,
    "model.seeding.LONG": 10,
}


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """Images of many small places, and a model."""
    folder = tmp_path_factory.mktemp("originals")
    for name, pixels in IMAGES.items():
        write_tiff(folder / name, pixels(), tile=(32, 32), compression="deflate")
    with tifffile.TiffWriter(folder / "stack.tif") as writer:
        for seed in range(2):
            writer.write(smooth(70, 90, 2, seed=seed), extrasamples=["unspecified"], **GRAY)
    mixture, _ = streamgmm.fit_image(folder / "photo.tif", n_components=3, threads=1)
    (folder / "model.json").write_text(mixture.to_json(), encoding="utf-8")
    return folder


@pytest.fixture
def folder(folder, monkeypatch):
    """A working folder with the images and the model, where everything is saved that may be."""
    for name, value in SMALLER.items():
        monkeypatch.setattr(f"streamgmm.{name}", value)
    monkeypatch.setattr(module, "INTERVAL", 0)
    monkeypatch.setattr(module, "SHARE", 0)
    return folder


@pytest.fixture
def run(folder, monkeypatch):
    """Run a command, up to some call of its progress callback; returns the exit code and the phases of all calls."""

    def run(command, stop_at=LAST):
        calls = []

        def progress(phase, done, total):
            calls.append(phase)
            if len(calls) > stop_at:
                raise KeyboardInterrupt

        monkeypatch.setattr("streamgmm.cli.commands.progress_bars", lambda *_: contextlib.nullcontext(progress))
        try:
            main([*command.split(), "--threads", "2", "--report", "report.json"])
        except SystemExit as left:
            return left.code, calls
        return 0, calls

    return run


@pytest.fixture
def reads(monkeypatch):
    """The windows that were read of TIFF files."""
    windows, read = [], TiffImage.read
    monkeypatch.setattr(TiffImage, "read", lambda self, window: windows.append(window) or read(self, window))
    return windows


class Whole(NamedTuple):
    """A job that was left alone: what it made, the phases of all calls of its progress callback, how often it read."""

    outputs: dict[str, bytes]
    calls: list[str]
    n_reads: int

    @property
    def late(self):
        """The middle of labeling, or where nothing is labeled, of fitting."""
        phase = "label" if "label" in self.calls else "fit"
        return self.calls.index(phase) + self.calls.count(phase) // 2


@pytest.fixture(scope="module")
def known():
    """The jobs that were left alone so far."""
    return {}


@pytest.fixture
def whole(known, folder, run, reads):
    """Leave a job alone, once for all tests."""

    def whole(job):
        if job not in known:
            code, calls = run(JOBS[job])
            known[job] = Whole(taken(folder), calls, len(reads))
            assert (code, left_over(folder)) == (0, [])
            reads.clear()
        return known[job]

    return whole


def taken(folder):
    """Take the outputs out of a folder: their names and bytes."""
    outputs = {name: (folder / name).read_bytes() for name in OUTPUTS if (folder / name).exists()}
    for name in outputs:
        (folder / name).unlink()
    return outputs


def resumed(folder):
    """What the last run that was done had taken over from the one before: phases, and pixels of each."""
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))["resumed"]


def begun(calls):
    """The phases in which a block was done at least, and then saved; what is compiled, seeded and written is not."""
    return {phase for phase in calls if calls.count(phase) > 1} - {"compile", "seed", "write"}


def left_over(folder):
    return sorted(path.name for path in folder.glob(".streamgmm*"))


@pytest.mark.parametrize("n_stops", [4, pytest.param(40, marks=pytest.mark.slow)])
@pytest.mark.parametrize("job", JOBS)
def test_a_job_may_be_interrupted_anywhere(job, n_stops, folder, run, whole):
    command, (expected, calls, _) = JOBS[job], whole(job)
    assert len(calls) > 20
    for stop_at in sorted(np.random.default_rng(n_stops).choice(len(calls), min(n_stops, len(calls)), replace=False).tolist()):
        assert run(command, stop_at)[0] == 130
        assert taken(folder).items() <= expected.items(), stop_at
        assert run(command)[0] == 0
        assert (taken(folder), left_over(folder)) == (expected, []), stop_at
        assert resumed(folder).keys() == begun(calls[:stop_at]), stop_at


@pytest.mark.parametrize("job", JOBS)
def test_a_job_may_be_interrupted_again_and_again(job, folder, run, whole):
    command, expected, n_runs, stop_at = JOBS[job], whole(job).outputs, 0, 0
    while run(command, stop_at)[0] == 130:
        assert taken(folder).items() <= expected.items()
        n_runs, stop_at = n_runs + 1, stop_at + 3
    assert n_runs >= 4
    assert (taken(folder), left_over(folder)) == (expected, [])
    assert resumed(folder)


def test_the_same_command_goes_on_between_two_outputs(folder, run, whole, monkeypatch):
    command, expected, replace = JOBS["streaming"], whole("streaming").outputs, os.replace

    def replaced(source, target):
        replace(source, target)
        if str(target) == "out.tif":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replaced)
        assert run(command)[0] == 130
    assert (folder / "out.tif").exists() > (folder / "sure.tif").exists()
    assert run(command)[0] == 0
    assert (taken(folder), left_over(folder)) == (expected, [])
    assert resumed(folder).keys() >= {"fit", "label", "reduce"}


@pytest.mark.parametrize("job", [job for job in JOBS if job != "minibatch"])
def test_what_was_done_is_not_done_again(job, folder, run, reads, whole):
    command, (_, calls, n_reads) = JOBS[job], whole(job)
    run(command, whole(job).late)
    reads.clear()
    assert run(command)[0] == 0
    assert 0 < len(reads) < 0.7 * n_reads
    assert resumed(folder).keys() == begun(calls[: whole(job).late])


def test_a_job_goes_on_with_other_threads_and_chunks(folder, run, reads, whole):
    command, streaming = JOBS["streaming"], whole("streaming")
    run(command, streaming.late)
    reads.clear()
    assert run(f"{command} --threads 4 --chunk-size 1px --quiet")[0] == 0
    assert len(reads) < 0.5 * streaming.n_reads
    assert taken(folder) == streaming.outputs
    assert resumed(folder).keys() == begun(streaming.calls[: streaming.late])


# --- Another job does not use what is there ---


def touch(path):
    os.utime(path, ns=(10**18, 10**18))


OTHERS = {
    "--seed 1": lambda folder: None,
    "--tol 0.01": lambda folder: None,
    "--nodata 7": lambda folder: None,
    "--compression zstd": lambda folder: None,
    "--covariance diag": lambda folder: None,
    "--dither ordered": lambda folder: None,
    "the input touched": lambda folder: touch(folder / "deep.tif"),
    "another input": lambda folder: write_tiff(folder / "deep.tif", smooth(90, 110, 2, np.uint16, seed=5), tile=(32, 32)),
    "another version": None,
}


@pytest.mark.parametrize("other", OTHERS)
def test_another_job_begins_again_and_removes_what_was_there(other, folder, run, reads, whole, monkeypatch):
    command = JOBS["streaming"]
    run(command, whole("streaming").late)
    assert left_over(folder) != []
    if other == "another version":
        monkeypatch.setattr("streamgmm.jobs.fingerprint.__version__", "0.0.1")
    else:
        OTHERS[other](folder)
    if other.startswith("--"):
        command += f" {other}"
    reads.clear()
    assert run(command)[0] == 0
    n_after, after = len(reads), taken(folder)
    assert (left_over(folder), resumed(folder)) == ([], {})
    reads.clear()
    assert run(command)[0] == 0
    assert (n_after, after) == (len(reads), taken(folder))


def test_another_model_begins_again(folder, run, whole):
    command = JOBS["apply"]
    run(command, whole("apply").late)
    assert left_over(folder) != []
    mixture, _ = streamgmm.fit_image(folder / "photo.tif", n_components=5, threads=1)
    (folder / "model.json").write_text(mixture.to_json(), encoding="utf-8")
    run(command)
    after = taken(folder)
    assert resumed(folder) == {}
    run(command)
    assert after == taken(folder)


def test_no_resume_begins_again(folder, run, reads, whole):
    command, streaming = JOBS["streaming"], whole("streaming")
    run(command, streaming.late)
    reads.clear()
    assert run(f"{command} --no-resume")[0] == 0
    assert len(reads) == streaming.n_reads
    assert (taken(folder), left_over(folder), resumed(folder)) == (streaming.outputs, [], {})


def test_no_resume_leaves_nothing(folder, run, whole):
    command = f"{JOBS['streaming']} --no-resume"
    for stop_at in range(0, len(whole("streaming").calls), 29):
        assert run(command, stop_at)[0] == 130
        assert left_over(folder) == []
        taken(folder)


def test_a_job_that_fails_leaves_nothing(folder, run, whole):
    command = JOBS["streaming"]
    run(command, whole("streaming").late)
    assert left_over(folder) != []
    assert run(f"{command} --strict --max-iter 1")[0] == 6
    assert left_over(folder) == []


# --- The work folder ---


def test_unfinished_work_may_be_kept_elsewhere(folder, run, reads, whole):
    (folder / "work").mkdir()
    command, (expected, _, n_whole) = f"{JOBS['streaming']} --work-dir work", whole("streaming")
    run(command, whole("streaming").late)
    assert (left_over(folder), len(left_over(folder / "work"))) == ([], 1)
    reads.clear()
    run(command)
    assert len(reads) < 0.5 * n_whole
    assert (taken(folder), left_over(folder), left_over(folder / "work")) == (expected, [], [])
    assert resumed(folder).keys() >= {"fit", "label"}


def test_outputs_of_one_name_share_a_work_folder_in_peace(folder, run):
    (folder / "work").mkdir()
    expected = {}
    for name in "ab":
        (folder / name).mkdir()
        command = f"quantize {'photo' if name == 'a' else 'deep'}.tif {name}/out.tif -k 3 --work-dir work"
        _, calls = run(command)
        expected[name] = command, taken(folder / name)
        run(command, calls.index("label"))
    assert len(left_over(folder / "work")) == 2
    for name, (command, outputs) in expected.items():
        run(command)
        assert taken(folder / name) == outputs
        assert resumed(folder).keys() >= {"count" if name == "a" else "sample", "fit"}
    assert left_over(folder / "work") == []


def test_a_work_folder_that_is_not_there(folder, run, capsys):
    assert run(f"{JOBS['streaming']} --work-dir absent")[0] == 2
    assert capsys.readouterr().err == "streamgmm: work-dir is absent; there is no such folder\n"


def test_a_disk_that_is_full_while_work_is_saved(folder, run, monkeypatch, capsys):
    def savez(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "savez", savez)
    code, _ = run(JOBS["streaming"])
    error = capsys.readouterr().err
    assert (code, error.count("\n"), "no space left on device" in error) == (4, 1, True)
    assert (taken(folder), left_over(folder)) == ({}, [])


# --- Damage ---

DAMAGES = {
    "empty": lambda data, rng: b"",
    "cut off": lambda data, rng: data[: rng.integers(len(data))],
    "a byte flipped": lambda data, rng: flipped(data, rng, 0x80),
    "bits flipped": lambda data, rng: flipped(data, rng, 1, 50),
    "zeroed": lambda data, rng: bytes(len(data)),
    "longer": lambda data, rng: data + rng.bytes(100),
    "other bytes": lambda data, rng: rng.bytes(len(data)),
}


def flipped(data, rng, bits, n_bytes=1):
    data = bytearray(data)
    for place in rng.integers(len(data), size=n_bytes):
        data[place] ^= bits
    return bytes(data)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("job", ["streaming", pytest.param("a color table", marks=pytest.mark.slow)])
def test_damaged_work_never_makes_a_wrong_result(job, damage, folder, run, whole):
    command, rng, (expected, calls, _) = JOBS[job], np.random.default_rng(1), whole(job)
    run(command, whole(job).late + calls.count("reduce") + 3)
    (work,) = folder.glob(".streamgmm*.work")
    shutil.copytree(work, folder / "kept")
    names = sorted(path.name for path in work.iterdir())
    assert {"job", "spool0"} <= set(names)
    assert len(names) > 3
    for name in names:
        shutil.copytree(folder / "kept", work, dirs_exist_ok=True)
        (work / name).write_bytes(DAMAGES[damage]((work / name).read_bytes(), rng))
        assert run(command)[0] == 0, name
        assert (taken(folder), left_over(folder)) == (expected, []), name
        assert bool(resumed(folder)) == (name != "job"), name  # what is whole is taken over all the same


def test_any_file_of_the_work_may_be_missing(folder, run, whole):
    command, expected = JOBS["streaming"], whole("streaming").outputs
    run(command, whole("streaming").late)
    (work,) = folder.glob(".streamgmm*.work")
    shutil.copytree(work, folder / "kept")
    for path in (folder / "kept").iterdir():
        shutil.copytree(folder / "kept", work, dirs_exist_ok=True)
        (work / path.name).unlink()
        assert run(command)[0] == 0, path.name
        assert (taken(folder), left_over(folder)) == (expected, []), path.name
        assert bool(resumed(folder)) == (path.name != "job"), path.name
