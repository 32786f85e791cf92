"""Whatever a system does to a run: one line, no half of a file, nothing left beside it, and the same command later succeeds."""

import contextlib
import errno
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import threading
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import tifffile
from PIL import Image

import streamgmm
from streamgmm.image.tiff.file import SharedFile
from streamgmm.system.lock import locked

from .images import file_name, smooth, write_tiff
from .processes import become_nobody, in_child, limit_files, run_here

INPUT, OUTPUT, LOCKED, STOPPED = 3, 4, 7, 143
# Constants of the package that make many places of a small image, where everything is saved that may be.
SMALLER = {"jobs.passes.blocks.BLOCK_PIXELS": 1 << 12, "model.seeding.STARTS": 1, "model.seeding.LONG": 10}
SMALLER |= {"jobs.passes.checkpoint.INTERVAL": 0, "jobs.passes.checkpoint.SHARE": 0}
WRITE = "-k 3 --tol 0.01 --tile-size 32 --pyramid --threads 2 --overwrite"
MORE = "--confidence out/sure.tif --palette-out out/palette.json --report out/report.json"
EXACT = f"quantize in.tif out/out.tif {WRITE}"
STREAMING = f"quantize in.tif out/out.tif {WRITE} --method stream"
OUTPUTS = ("out.tif", "sure.tif", "palette.json", "report.json")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with an image, and a folder for outputs."""
    write_tiff(tmp_path / "in.tif", smooth(130, 150, 2), tile=(32, 32), compression="deflate")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    return tmp_path


def run(arguments, moment=None, happens=None):
    """Run a command, where something happens once at some moment: in the middle of a phase, or when an output is in place."""
    calls, replace = [], os.replace

    def progress(phase, done, total):
        if phase == moment and (done or not total) and not calls:
            calls.append(moment)
            happens()

    def replaced(source, target):
        replace(source, target)
        if Path(target).name == moment and not calls:
            calls.append(moment)
            happens()

    with pytest.MonkeyPatch.context() as patch:
        for name, value in SMALLER.items():
            patch.setattr(f"streamgmm.{name}", value)
        patch.setattr("streamgmm.cli.commands.progress_bars", lambda *_: contextlib.nullcontext(progress))
        patch.setattr(os, "replace", replaced)
        code, output, error = run_here(arguments.split() if isinstance(arguments, str) else arguments)
    assert len(calls) == (moment is not None)
    assert (output, error.count("\n")) == ("", int(code != 0)), error
    return code, error


def taken_over(arguments):
    """Run a command again, to its end; return the phases that an interrupted run has left, wholly and in part."""
    command, *rest = arguments.split() if isinstance(arguments, str) else arguments
    assert run([command, "--report", "report.json", *rest]) == (0, "")
    report = json.loads(Path("report.json").read_text(encoding="utf-8"))
    Path("report.json").unlink()
    wholly = {phase for phase, pixels in report["resumed"].items() if pixels == report["pixels"][phase]}
    return wholly, report["resumed"].keys() - wholly


@pytest.fixture(scope="module")
def known():
    """What the commands that were left alone so far have made."""
    return {}


@pytest.fixture
def whole(known, folder):
    """Leave what a command makes in the output folder: made by the command, once for all tests, or as it was made."""

    def whole(arguments):
        if arguments not in known:
            assert run(arguments)[0] == 0
            known[arguments] = contents("out")
        for name, data in known[arguments].items():
            (folder / "out" / name).write_bytes(data)
        return known[arguments]

    return whole


def slow(value):
    """A case that runs where there is time."""
    return pytest.param(value, marks=pytest.mark.slow)


def interrupt():
    """Ask a run to stop."""
    signal.raise_signal(signal.SIGTERM)


def contents(*folders):
    """Every file in some folders, hidden ones too, with its bytes."""
    return {path.name: path.read_bytes() for folder in folders for path in Path(folder).iterdir()}


def images(files):
    """Without the report, whose times differ."""
    return {name: data for name, data in files.items() if name != "report.json"}


@contextlib.contextmanager
def tmpfs(path, size):
    """A small file system in memory."""
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", path]).returncode:
        pytest.skip("needs to mount a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def fill(folder):
    """Write to a file until the disk is full."""
    with contextlib.suppress(OSError), open(folder / "filler", "wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 12))


# --- Full disks ---

# What is being written when the disk becomes full: saved states, spools, the outputs, and the report.
MOMENTS = {
    "count": EXACT,
    "sample": STREAMING,
    "fit": STREAMING,
    "label": f"{STREAMING} {MORE}",
    "reduce": f"{STREAMING} {MORE}",
    "write": f"{STREAMING} {MORE}",
    "palette.json": f"{STREAMING} {MORE}",
}


def check_full_disk(moment, reason, run_until_full, folder, whole):
    """What is not in place when the disk becomes full is as before; when there is room again, all of it comes."""
    arguments, out = MOMENTS[moment], folder / "out"
    expected = whole(arguments)
    for name in expected:
        (out / name).write_text(f"earlier {name}", encoding="utf-8")
    code, error = run_until_full(arguments)
    done = OUTPUTS.index(moment) + 1 if moment in OUTPUTS else 0
    assert code == OUTPUT
    failed = "(out|sure).tif" if moment in ("label", "reduce") else OUTPUTS[done].replace(".", r"\.")
    assert re.fullmatch(rf"streamgmm: out/{failed}: cannot be written \({reason}\); nothing was left there\n", error)
    earlier = {name: f"earlier {name}".encode() for name in expected}
    assert contents(out) == earlier | {name: expected[name] for name in OUTPUTS[:done]}
    assert not list(out.glob(".streamgmm*"))
    assert run(arguments)[0] == 0
    assert images(contents(out)) == images(expected)


@pytest.mark.parametrize("moment", ["count", slow("sample"), "fit", slow("label"), slow("reduce"), "write", "palette.json"])
def test_files_that_may_grow_no_more(moment, folder, whole):
    def run_until_full(arguments):
        return in_child(partial(run, arguments, moment, partial(limit_files, 0)))

    check_full_disk(moment, "file too large", run_until_full, folder, whole)


@pytest.mark.parametrize("moment", [slow("count"), slow("sample"), "fit", slow("label"), "reduce", "write"])
def test_a_disk_that_becomes_full(moment, folder, whole):
    def run_until_full(arguments):
        code, error = run(arguments, moment, partial(fill, folder / "out"))
        (folder / "out" / "filler").unlink()
        return code, error

    with tmpfs(folder / "out", "4m"):
        check_full_disk(moment, "no space left on device", run_until_full, folder, whole)


def test_a_work_folder_that_is_full_where_the_output_has_room(folder, whole):
    (folder / "work").mkdir()
    command = f"{STREAMING} --work-dir work"
    expected = whole(command)
    with tmpfs(folder / "work", "4m"):
        for moment in ("sample", "fit", "label", "reduce"):
            code, error = run(command, moment, lambda: fill(folder / "work"))
            assert (code, "out/out.tif: cannot be written (no space left on device)" in error) == (OUTPUT, True)
            assert contents("out") == expected
            assert contents("work").keys() == {"filler"}
            (folder / "work" / "filler").unlink()
        assert run(command)[0] == 0
        assert (contents("out"), contents("work")) == (expected, {})


def test_a_disk_that_is_full_already(folder):
    with tmpfs(folder / "out", "1m"):
        fill(folder / "out")
        code, error = run(EXACT)
        assert (code, error.startswith("streamgmm: out/out.tif: ")) == (OUTPUT, True)
        assert contents("out").keys() == {"filler"}
        (folder / "out" / "filler").unlink()
        assert run(EXACT)[0] == 0


def test_a_model_on_a_full_disk(folder):
    command = "fit in.tif -o out/model.json -k 3 --tol 0.01 --method stream --overwrite"
    with tmpfs(folder / "out", "4m"):
        assert run(command)[0] == 0
        expected = contents("out")
        for moment in ("sample", "fit"):
            code, error = run(command, moment, lambda: fill(folder / "out"))
            assert (code, "out/model.json: cannot be written (no space left on device)" in error) == (OUTPUT, True)
            (folder / "out" / "filler").unlink()
            assert contents("out") == expected
        assert run(command)[0] == 0
        assert contents("out") == expected


def test_of_several_outputs_all_appear_or_none(folder):
    command = f"{STREAMING} {MORE}".replace(" --overwrite", "")
    with tmpfs(folder / "out", "4m"):
        assert run(command, "write", lambda: fill(folder / "out"))[0] == OUTPUT
        assert contents("out").keys() == {"filler"}
        (folder / "out" / "filler").unlink()
        assert run(command) == (0, "")
        assert contents("out").keys() == set(OUTPUTS)


# --- Files and folders that refuse ---


def failing(patch, name, number, only=lambda *_: True):
    """Let a function of the system fail for some arguments."""
    works = getattr(os, name)

    def fails(*arguments, **more):
        if only(*arguments):
            raise OSError(number, os.strerror(number))
        return works(*arguments, **more)

    patch.setattr(os, name, fails)


def is_file(descriptor):
    return stat.S_ISREG(os.fstat(descriptor).st_mode)


REFUSALS = {
    "a sync that fails": ("fsync", errno.EIO, is_file),
    "a rename that fails": ("replace", errno.EIO, lambda source, target: Path(target).parent.name == "out"),
    "a quota that is used up": ("replace", errno.EDQUOT, lambda source, target: Path(target).parent.name == "out"),
    "a read-only file system": ("replace", errno.EROFS, lambda *_: True),
    "a spool that takes no more": ("pwrite", errno.ENOSPC, lambda *_: True),
    "a spool with an error": ("pwrite", errno.EIO, lambda *_: True),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_system_that_refuses(refusal, folder, whole, monkeypatch):
    name, number, only = REFUSALS[refusal]
    command = f"{STREAMING} --palette-out out/palette.json"
    expected = whole(command)
    earlier = dict.fromkeys(expected, b"earlier")
    for path in earlier:
        (folder / "out" / path).write_bytes(b"earlier")
    with monkeypatch.context() as patch:
        failing(patch, name, number, only)
        code, error = run(command)
    assert (code, error) == (
        OUTPUT,
        f"streamgmm: out/out.tif: cannot be written ({os.strerror(number).lower()}); nothing was left there\n",
    )
    assert contents("out") == earlier
    assert run(command)[0] == 0
    assert contents("out") == expected


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_a_lock_that_cannot_be_made(number, folder, monkeypatch):
    works = os.open

    def fails(path, *arguments, **more):
        if str(path).endswith(".lock"):
            raise OSError(number, os.strerror(number), str(path))
        return works(path, *arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fails)
        code, error = run(EXACT)
    assert (code, error) == (
        OUTPUT,
        f"streamgmm: out/out.tif: cannot be written ({os.strerror(number).lower()}); nothing was left there\n",
    )
    assert contents("out") == {}
    assert run(EXACT)[0] == 0


def test_a_file_system_that_is_read_only(folder):
    with tmpfs(folder / "out", "4m"):
        subprocess.run(["mount", "-o", "remount,ro", folder / "out"], check=True)
        code, error = run(EXACT)
        assert (code, error.startswith("streamgmm: out/out.tif: folder out is read-only; ")) == (OUTPUT, True)
        subprocess.run(["mount", "-o", "remount,rw", folder / "out"], check=True)
        assert run(EXACT)[0] == 0


@pytest.fixture
def public(folder, monkeypatch):
    """A working folder that any user can reach, which those of tests are not, with the same files."""
    with TemporaryDirectory() as name:
        shutil.copytree(folder, name, dirs_exist_ok=True)
        Path(name).chmod(0o755)
        monkeypatch.chdir(name)
        yield Path(name)


@pytest.mark.parametrize("moment", [slow("sample"), slow("label"), "write"])
def test_a_folder_that_becomes_read_only(moment, public):
    assert run(STREAMING)[0] == 0
    expected = contents("out")
    (public / "out" / "out.tif").write_bytes(b"earlier")
    (public / "out").chmod(0o777)
    before = partial(run, STREAMING.replace("out/", "")), become_nobody
    code, error = in_child(*before, partial(run, STREAMING, moment, partial(set_mode, public / "out", 0o555)))
    assert (code, error) == (
        OUTPUT,
        "streamgmm: out/out.tif: cannot be written (permission denied); nothing was left there\n",
    )
    set_mode(public / "out", 0o777)
    assert (public / "out" / "out.tif").read_bytes() == b"earlier"
    assert in_child(*before, partial(run, STREAMING)) == (0, "")
    assert contents("out") == expected


def set_mode(path, mode):
    """Set the mode of a folder and of those in it, as their owner or as root."""
    with contextlib.ExitStack() as stack:
        if os.getresuid()[2] == 0:
            stack.callback(os.seteuid, os.geteuid())
            os.seteuid(0)
        for folder in [path, *(child for child in path.rglob("*") if child.is_dir())]:
            folder.chmod(mode)


@pytest.mark.parametrize("moment", [slow("sample"), "fit", slow("label"), slow("reduce"), "write"])
def test_a_folder_that_vanishes(moment, folder, whole):
    expected = whole(STREAMING)
    code, error = run(STREAMING, moment, lambda: shutil.rmtree(folder / "out"))
    assert (code, error) == (
        OUTPUT,
        "streamgmm: out/out.tif: cannot be written (no such file or directory); nothing was left there\n",
    )
    assert not (folder / "out").exists()
    (folder / "out").mkdir()
    assert run(STREAMING)[0] == 0
    assert contents("out") == expected


@pytest.mark.parametrize("moment", [slow("sample"), "label", slow("reduce")])
def test_a_work_folder_that_vanishes(moment, folder, whole):
    (folder / "work").mkdir()
    command = f"{STREAMING} --work-dir work"
    expected = whole(command)
    (folder / "out" / "out.tif").write_bytes(b"earlier")
    code, error = run(command, moment, lambda: shutil.rmtree(folder / "work"))
    assert (code, "out/out.tif: cannot be written (no such file or directory)" in error) == (OUTPUT, True)
    assert contents("out") == {"out.tif": b"earlier"}
    (folder / "work").mkdir()
    assert run(command)[0] == 0
    assert (contents("out"), contents("work")) == (expected, {})


# --- Inputs that go ---


@pytest.mark.parametrize("moment", [slow("sample"), "fit", slow("label"), "reduce"])
def test_an_input_that_vanishes_while_it_is_read(moment, folder, whole):
    expected = whole(STREAMING)
    (folder / "out" / "out.tif").write_bytes(b"earlier")
    code, error = run(STREAMING, moment, lambda: (folder / "in.tif").rename("away"))
    assert (code, error) == (INPUT, "streamgmm: in.tif: changed while it was read; run again when it is whole\n")
    assert contents("out") == {"out.tif": b"earlier"}
    (folder / "away").rename("in.tif")
    assert run(STREAMING)[0] == 0
    assert contents("out") == expected


def test_a_png_that_vanishes_when_it_is_decoded_has_been_read(folder):
    Image.fromarray(smooth(130, 150, 3)).save(folder / "in.tif", "png")
    assert run(STREAMING)[0] == 0
    expected = contents("out")
    assert run(STREAMING, "label", lambda: (folder / "in.tif").unlink())[0] == 0
    assert contents("out") == expected


def test_a_link_that_points_to_another_input_while_it_is_read(folder):
    (folder / "in.tif").rename("first.tif")
    shutil.copy("first.tif", "second.tif")
    (folder / "in.tif").symlink_to("first.tif")

    def turn():
        (folder / "in.tif").unlink()
        (folder / "in.tif").symlink_to("second.tif")

    code, error = run(STREAMING, "fit", turn)
    assert (code, "in.tif: changed while it was read" in error) == (INPUT, True)
    assert contents("out") == {}


# --- Power that goes ---

DAMAGES = {
    "empty": lambda data: b"",
    "cut in half": lambda data: data[: len(data) // 2],
    "zeros": lambda data: bytes(len(data)),
    "zeros behind a page": lambda data: data[:4096] + bytes(len(data[4096:])),
}
REACHED = {
    "all": lambda name: True,
    "all but the label": lambda name: name != "job",
    "the spool": lambda name: name.startswith("spool"),
    "what was saved": lambda name: name.endswith(".npz"),
}


# The phases whose pixels are saved, by the kind of file.
SAVED = {"Draw": "sample", "Accumulate": "fit", "label": "label"}


def phases_intact(files, before):
    """The phases of which all is as it was that a run needs to take them over."""
    intact = {name for name, data in files.items() if data == before[name]}
    if "job" not in intact:
        return set()
    phases = {SAVED[Path(name).stem.split("-")[1]] for name in intact if name.endswith(".npz")}
    return phases if {"spool0", "spool1"} <= intact else phases - {"label"}


@pytest.mark.parametrize("reached", [slow("all"), "all but the label", slow("the spool"), slow("what was saved")])
@pytest.mark.parametrize("damage", DAMAGES)
def test_power_that_fails_leaves_what_never_makes_a_wrong_result(damage, reached, folder, whole):
    command = f"{STREAMING} --confidence out/sure.tif"
    expected = whole(command)
    for moment in ("fit", "reduce"):
        assert run(command, moment, interrupt)[0] == STOPPED
        (work,) = (folder / "out").glob(".streamgmm*.work")
        before = contents(work)
        for name, data in before.items():
            if REACHED[reached](name):
                (work / name).write_bytes(DAMAGES[damage](data))
        phases = phases_intact(contents(work), before)
        for kind in ("part", "lock"):
            (folder / "out" / f".streamgmm.out.tif.{kind}").write_bytes(DAMAGES[damage](expected["out.tif"]))
        assert taken_over(command) == (phases, set())
        assert contents("out") == expected


# --- Names ---

LONG = 255 - len(".tif")
NAMES = {
    "255 bytes": "x" * LONG + ".tif",
    "255 bytes of unicode": file_name("日" * (LONG // 3) + "x" * (LONG % 3) + ".tif"),
    "unicode": file_name("Übersicht ☀.tif"),
    "new lines": "two\nlines\r\nand more.tif",
    "a dash": "-k.tif",
    "two dashes": "--help",
    "spaces": "  .tif",
    "no unicode": os.fsdecode(b"\xff\xfe.tif"),
}


@pytest.mark.parametrize("kind", NAMES)
def test_any_name_of_an_input_and_an_output(kind, folder, whole, monkeypatch):
    name = NAMES[kind]
    expected = whole(STREAMING)
    (folder / "in").mkdir()
    (folder / "in.tif").rename(folder / "in" / name)
    (folder / "in" / "out").mkdir()
    monkeypatch.chdir(folder / "in")
    command = ["quantize", *WRITE.split(), "--method", "stream", "--", name, f"out/{name}"]
    assert run(command, "label", interrupt)[0] == STOPPED
    assert taken_over(command) == ({"sample", "fit"}, set())
    assert contents("out") == {name: expected["out.tif"]}
    assert {path.name for path in (folder / "in").iterdir()} == {name, "out"}


def test_a_link_to_an_input_is_followed(folder, whole):
    expected = whole(STREAMING)
    (folder / "in.tif").rename(folder / "elsewhere.tif")
    (folder / "in.tif").symlink_to("elsewhere.tif")
    assert run(STREAMING)[0] == 0
    assert contents("out") == expected
    assert (folder / "in.tif").is_symlink()


@pytest.mark.parametrize("target", ["there", "absent"])
def test_what_a_link_in_the_place_of_an_output_leads_to_is_replaced_where_that_is_asked_for(target, folder):
    (folder / "there").write_bytes(b"precious")
    (folder / "out" / "out.tif").symlink_to(folder / target)
    if target == "there":
        assert run(STREAMING.replace(" --overwrite", ""))[0] == OUTPUT
        assert (folder / "there").read_bytes() == b"precious"
    assert run(STREAMING)[0] == 0
    assert (folder / "out" / "out.tif").is_symlink()
    assert tifffile.imread(folder / target).shape == (130, 150)
    assert list(folder.glob(".streamgmm*")) == []


def test_a_folder_by_two_names_is_one_folder(folder, whole):
    expected = whole(STREAMING)
    (folder / "way").symlink_to("out")
    through = STREAMING.replace("out/", "way/")
    with locked(folder / "out" / "out.tif"):
        assert run(through)[0] == LOCKED
    assert run(STREAMING, "label", interrupt)[0] == STOPPED
    assert taken_over(through) == ({"sample", "fit"}, set())
    assert contents("out") == expected
    assert (folder / "way").is_symlink()


# --- Slow files ---


def test_slow_reads_are_waited_for_in_all_threads_at_once(tmp_path, monkeypatch):
    threads, pause, waited, lock = 4, 0.005, [], threading.Lock()
    write_tiff(tmp_path / "in.tif", np.tile(smooth(256, 256), (8, 8, 1)), tile=(128, 128), compression="deflate")
    mixture = streamgmm.Mixture(np.full(2, 0.5), [[0.2, 0.3, 0.4], [0.7, 0.6, 0.5]], np.full(2, 0.01), "spherical")
    read = SharedFile.read

    def slow(self, offset, size):
        time.sleep(pause)
        with lock:
            waited.append(pause)
        return read(self, offset, size)

    def seconds():
        begin = time.monotonic()
        streamgmm.apply(mixture, tmp_path / "in.tif", tmp_path / "out.tif", threads=threads, overwrite=True)
        return time.monotonic() - begin

    work = max(seconds() for _ in range(3))
    monkeypatch.setattr(SharedFile, "read", slow)
    taken = min(seconds() for _ in range(2))
    assert len(waited) == 2 * 16 * 16
    assert taken < sum(waited) / 2 / threads * 1.3 + work
