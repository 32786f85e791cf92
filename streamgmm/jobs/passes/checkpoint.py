"""What a job has done so far, on disk, so that the same job goes on where it was killed.

A job is a fixed sequence of steps: passes over the image, then labeling, then reduced levels. Nothing in it depends on time or
threads, so a run that comes after a kill takes the same steps, and takes over what was saved of each.
"""

import contextlib
import errno
import shutil
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ...errors import Interrupted, MemoryBudgetError
from ...system.files import beside, output_errors

# Seconds of work before a save at least, and how many times what the last save took.
INTERVAL, SHARE = 0.2, 20

State = dict[str, Any]  # of arrays and numbers


class Checkpoint:
    """Saved states of the steps of a job, in a folder.

    Parameters
    ----------
    folder : Path or None
        Where they are; None where nothing is to be saved.
    output : Path
        What the job makes, for messages.
    resumed : bool
        Whether the job was interrupted before.
    work_dir : Path or None
        Where spools are when nothing is saved; beside their output by default.
    """

    def __init__(self, folder: Path | None, output: Path = Path(), resumed: bool = False, work_dir: Path | None = None):
        self.folder, self.output, self.resumed, self._work_dir = folder, output, resumed, work_dir
        self._step = 0
        self._saved = time.monotonic()
        self._pause = INTERVAL

    def step(self, kind: str) -> "Step":
        """Return the next step of the job, of a kind: what another kind has saved at this number is not for it."""
        if not self._step:
            self._saved = time.monotonic()  # loading compiled code was no work: 64 MiB of counters for a photo took 0.2 s
        self._step += 1
        return Step(self, f"{self._step:06d}-{kind}.npz")

    def spool(self, path: Path, number: int) -> tuple[Path, str | None]:
        """Return the folder and the name of the spool of an output; one that nothing can go on with has none."""
        if self.folder is not None:
            return self.folder, f"spool{number}"
        return self._work_dir or path.parent, None

    def due(self) -> bool:
        """Whether enough was done since the last save to pay for another."""
        return self.folder is not None and time.monotonic() - self._saved >= self._pause

    def save(self, name: str, state: State) -> None:
        """Save a state in place of the one before."""
        assert self.folder is not None
        start = time.monotonic()
        part = self.folder / "part"
        with output_errors(self.output):
            with open(part, "wb") as file:
                np.savez(file, names=np.array(sorted(state)), **state)
            part.replace(self.folder / name)
        self._saved = time.monotonic()
        self._pause = max(INTERVAL, SHARE * (self._saved - start))

    def load(self, name: str) -> State | None:
        """Return what was saved, or None where nothing whole was.

        Raises
        ------
        MemoryBudgetError
            Where it does not fit the memory.
        OutputError
            Where the system does not let it be read.
        """
        if self.folder is None:
            return None
        path = self.folder / name
        try:
            with output_errors(self.output):
                if not path.exists():
                    return None
                with open(path, "rb") as file:
                    return _whole(file)
        except MemoryError:
            raise MemoryBudgetError(
                f"{self.output}: what an interrupted run has saved does not fit the memory; raise the limit, or begin "
                "again with --no-resume"
            ) from None


def _whole(file: BinaryIO) -> State | None:
    """Read a state, or return None where it is torn or damaged: zipfile and NumPy raise almost anything about that."""
    try:
        with zipfile.ZipFile(file) as archive:
            if archive.testzip() is not None:  # before NumPy believes what a header says of sizes
                return None
        file.seek(0)
        with np.load(file, allow_pickle=False) as saved:
            state = dict(saved)
        return state if state.pop("names").tolist() == sorted(state) else None
    except MemoryError:
        raise
    except Exception as error:
        cause = error.__context__ if isinstance(error, zipfile.BadZipFile) else error  # it says that of any OSError, too
        if isinstance(cause, OSError) and cause.errno != errno.EINVAL:  # which is an offset before the beginning
            raise cause from None
        return None


class Step:
    """One step of a job, which may be saved many times."""

    def __init__(self, checkpoint: Checkpoint, name: str):
        self._checkpoint, self._name = checkpoint, name

    def load(self) -> State | None:
        """Return the state of this step in the run before, if it came so far."""
        return self._checkpoint.load(self._name)

    def due(self) -> bool:
        """Whether it is time to save."""
        return self._checkpoint.due()

    def save(self, state: State) -> None:
        """Save the state of this step."""
        self._checkpoint.save(self._name, state)


@contextlib.contextmanager
def resumable(output: Path, work_dir: Path | None, key: str) -> Iterator[Checkpoint]:
    """Give a folder for the checkpoints of a job, which stays where the job is interrupted and goes when it ends.

    Parameters
    ----------
    output : Path
    work_dir : Path or None
        Where the folder is; beside the output by default.
    key : str
        The fingerprint of the job: what another job left is removed.
    """
    folder = beside(output, "work", work_dir)
    label = folder / "job"
    with output_errors(output):
        resumed = label.is_file() and label.read_bytes() == key.encode()
    try:
        if not resumed:
            shutil.rmtree(folder, ignore_errors=True)
            with output_errors(output):
                folder.mkdir()
                label.write_text(key, encoding="utf-8")
        yield Checkpoint(folder, output, resumed)
    except (KeyboardInterrupt, Interrupted):
        raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
