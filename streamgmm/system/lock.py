"""One run at a time for each output."""

import contextlib
import errno
import hashlib
import os
import socket
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import filelock

from ..errors import LockedError, OutputError
from .files import beside, output_errors

# What file systems say that have no locks.
NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}


@contextlib.contextmanager
def locked(path: Path, wait: float = 0, work_dir: Path | None = None) -> Iterator[str]:
    """Hold the lock of an output, which the system frees when the process dies, however it does.

    It is a file beside the output, or in ``work_dir`` where there are no locks beside it. Another file names the holder.

    Parameters
    ----------
    path : Path
        The output.
    wait : float
        Seconds to wait for another run.
    work_dir : Path, optional

    Yields
    ------
    str
        What the name of a file may end in, beside the output, that only the holder of such a lock writes.

    Raises
    ------
    LockedError
        Where another run holds it for longer.
    OutputError
        Where there can be no lock.
    """
    lock = _acquired(path, wait, work_dir)
    name = Path(lock.lock_file)
    holder = name.with_suffix(".holder")
    try:
        with contextlib.suppress(OSError):  # nothing depends on it
            holder.unlink(missing_ok=True)
            holder.write_text(f"host {socket.gethostname()} pid {os.getpid()}", encoding="utf-8")
        elsewhere = name.parent != beside(path, "lock").parent
        yield hashlib.sha256(os.fsencode(name)).hexdigest()[:8] + ".part" if elsewhere else "part"
    finally:
        for file in (holder, name):  # a run that opened the lock meanwhile sees that it is gone, and makes its own
            with contextlib.suppress(OSError):  # a folder that has become read-only keeps it, and it is taken over
                file.unlink()
        lock.release()


def _acquired(path: Path, wait: float, work_dir: Path | None) -> filelock.BaseFileLock:
    """Return the lock of an output, held."""
    names = [beside(path, "lock"), *([beside(path, "lock", work_dir)] if work_dir else [])]
    for name in names:
        # Where the system knows no locks at all (ENOSYS), as with Lustre by default, the library keeps one by a file alone.
        for kind in (partial(filelock.FileLock, fallback_to_soft=False), filelock.SoftFileLock):
            lock, was_there = kind(name, timeout=wait, poll_interval=0.1), name.exists()
            try:
                lock.acquire()
                return lock
            except filelock.Timeout:
                raise LockedError(
                    f"{path}: {_holder(name)} is writing it; wait for it with --wait SECONDS, or choose another output"
                ) from None
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    with output_errors(path):
                        raise
                if not was_there:
                    name.unlink(missing_ok=True)
                if error.errno != errno.ENOSYS:
                    break
    raise OutputError(
        f"{path}: there are no locks in {names[-1].parent}, and two runs could write it at once; where there is only one, use "
        "--no-lock, or else a --work-dir on a disk of this machine"
    )


def _holder(lock: Path) -> str:
    """Return what the holder of a lock has written of itself, which it does at once, but not at the same time."""
    for _ in range(100):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if text := lock.with_suffix(".holder").read_text(encoding="utf-8"):
                return text
        time.sleep(0.01)
    return "another run"
