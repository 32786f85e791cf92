"""Files that appear whole or not at all."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import OutputError, StreamGMMError

# Most file systems allow names of 255 bytes; ours are up to 20 longer.
NAME_BYTES = 230


def check_output(path: Path, inputs: list[Path], overwrite: bool) -> None:
    """Refuse an output that cannot or must not be written, before any work is done.

    Raises
    ------
    OutputError
        Where the output is one of the inputs, exists, is a folder, or its folder is missing or read-only.
    """
    folder = path.parent
    with output_errors(path):
        if not folder.is_dir():
            raise OutputError(f"{path}: there is no folder {folder}; create it first")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise OutputError(f"{path}: folder {folder} is read-only; choose another or change its permissions")
        if path.is_dir():
            raise OutputError(f"{path}: is a folder; name a file in it")
        if path.exists() and any(source.exists() and path.samefile(source) for source in inputs):
            raise OutputError(f"{path}: is also the input; choose another output")
        if path.exists() and not overwrite:
            raise OutputError(f"{path}: exists; use --overwrite to replace it")


def beside(path: Path, kind: str, folder: Path | None = None) -> Path:
    """Return the name of a hidden file or folder that serves the making of an output, beside it or in another folder.

    It is the same each time, so that what a run has left that was killed is found; and no longer than names may be.
    """
    name = path.name
    if folder is not None or len(os.fsencode(name)) > NAME_BYTES:
        name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]
    return (folder or path.parent) / f".streamgmm.{name}.{kind}"


@contextlib.contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system says about writing into an OutputError that names the output."""
    try:
        yield
    except StreamGMMError:
        raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OutputError(f"{path}: cannot be written ({reason}); nothing was left there") from error


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a name beside ``path`` to write to, which takes its place when the block ends, and vanishes when it fails.

    Raises
    ------
    OutputError
        Where the operating system says no.
    """
    with output_errors(path):
        part = beside(path, "part")
        part.write_bytes(b"")  # what a run that was killed here has left
        try:
            yield part
            with open(part, "rb+") as file:
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut, where folders can be opened."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
