"""One run at a time for each output."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import filelock

from ..errors import LockedError
from .files import beside, output_errors


@contextlib.contextmanager
def locked(path: Path, wait: float = 0) -> Iterator[None]:
    """Hold the lock of an output, which the system frees when the process dies, however it does.

    Parameters
    ----------
    path : Path
        The output; the lock is a file beside it, which names the holder.
    wait : float
        Seconds to wait for another run.

    Raises
    ------
    LockedError
        Where another run holds it for longer.
    OutputError
        Where there can be no lock.
    """
    lock = filelock.FileLock(beside(path, "lock"), timeout=wait, poll_interval=0.1)
    with output_errors(path):
        try:
            lock.acquire()
        except filelock.Timeout:
            holder = _holder(Path(lock.lock_file))
            raise LockedError(
                f"{path}: {holder} is writing it; wait for it with --wait SECONDS, or choose another output"
            ) from None
    try:
        with output_errors(path):
            Path(lock.lock_file).write_text(f"host {socket.gethostname()} pid {os.getpid()}", encoding="utf-8")
        yield
    finally:
        with contextlib.suppress(OSError):  # a folder that has become read-only keeps it, and it is taken over
            Path(lock.lock_file).unlink()  # a run that opened it meanwhile sees that it is gone, and makes its own
        lock.release()


def _holder(lock: Path) -> str:
    """Return what the holder of a lock has written of itself, which it does at once, but not at the same time."""
    for _ in range(100):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if text := lock.read_text(encoding="utf-8"):
                return text
        time.sleep(0.01)
    return "another run"
