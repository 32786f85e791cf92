"""Files to read, and files that appear whole or not at all; what is no regular file is not taken for one."""

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

from ..errors import ImageReadError, OutputError, StreamGMMError

# Most file systems allow names of 255 bytes; ours are up to 22 longer.
NAME_BYTES = 230
# Links that are followed to where they end, as Linux does.
LINKS = 40
# The extended attribute that holds the access control list of a file on Linux.
ACL = "system.posix_acl_access"


def open_input(path: Path) -> BinaryIO:
    """Open a file to be read; a pipe or a device would be waited for, or have no end.

    Raises
    ------
    ImageReadError
        Where it is no regular file, or cannot be read.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise ImageReadError(f"{path}: not a regular file but a pipe, device or socket; write it to a file first")
        return open(path, "rb")
    except StreamGMMError:
        raise
    except OSError as error:
        raise ImageReadError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None


def read_text(path: Path) -> str:
    """Read a text in UTF-8, which may begin with a byte-order mark.

    Raises
    ------
    ImageReadError
        As :func:`open_input` does.
    UnicodeDecodeError
        Where it is no text.
    """
    with open_input(path) as file:
        return file.read().decode("utf-8-sig")


def is_stream(path: Path) -> bool:
    """Whether a path is a character device, a pipe, or names a descriptor as /dev/stdout does: no file to be replaced."""
    if _descriptor(path) is not None:
        return True
    with contextlib.suppress(OSError):
        mode = path.stat().st_mode
        return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)
    return False


def _descriptor(path: Path) -> int | None:
    """Return the descriptor of this process that a path names, or leads to."""
    for _ in range(LINKS):
        folder = os.path.realpath(path.parent)
        if folder in (f"/proc/{os.getpid()}/fd", "/dev/fd") and path.name.isdecimal():
            return int(path.name)
        try:
            path = Path(folder, path.readlink())
        except OSError:
            return None
    return None


def check_output(path: Path, inputs: list[Path], overwrite: bool, stream: bool = False) -> None:
    """Refuse an output that cannot or must not be written, before any work is done.

    Parameters
    ----------
    path : Path
    inputs : list of Path
        What is never written to.
    overwrite : bool
        Whether a file that exists may be replaced.
    stream : bool
        Whether it may be a device, a pipe or a descriptor, as texts may.

    Raises
    ------
    OutputError
        Where the output is one of the inputs, exists, is no regular file, or its folder is missing or read-only.
    """
    with output_errors(path):
        if str(path) == "-":
            raise OutputError("-: standard output cannot be had here; name a file")
        if is_stream(path):
            if not stream:
                raise OutputError(f"{path}: not a regular file but a pipe or device; an image needs one, name another")
            if not os.access(path, os.W_OK):
                raise OutputError(f"{path}: cannot be written to; change its permissions, or name another")
            return
        target = followed(path)
        folder = target.parent
        if not folder.is_dir():
            raise OutputError(f"{path}: there is no folder {folder}; create it first")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise OutputError(f"{path}: folder {folder} is read-only; choose another or change its permissions")
        if target.is_dir():
            raise OutputError(f"{path}: is a folder; name a file in it")
        exists = target.exists()
        if exists and not target.is_file():
            raise OutputError(f"{path}: not a regular file but a socket or disk; name another")
        if exists and any(source.exists() and target.samefile(source) for source in inputs):
            raise OutputError(f"{path}: is also the input; choose another output")
        if exists and not overwrite:
            raise OutputError(f"{path}: exists; use --overwrite to replace it")


def size_of(path: Path) -> int | None:
    """Return the size of a file, or None where it is gone."""
    try:
        return path.stat().st_size
    except OSError:
        return None


def followed(path: Path) -> Path:
    """Return where a link leads, whose end is written and not the link; anything else is what it is."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def beside(path: Path, kind: str, folder: Path | None = None) -> Path:
    """Return the name of a hidden file or folder that serves the making of an output, beside it or in another folder.

    It is the same each time, so that what a run has left that was killed is found; and no longer than names may be.
    """
    target = followed(path)
    name = target.name
    if folder is not None or len(os.fsencode(name)) > NAME_BYTES:
        name = hashlib.sha256(os.fsencode(target.resolve())).hexdigest()[:32]
    return (folder or target.parent) / f".streamgmm.{name}.{kind}"


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
def replacing(path: Path, part: Path | None = None) -> Iterator[Path]:
    """Give a name to write to, which takes the place of ``path`` when the block ends, and vanishes when it fails.

    A new file has the rights that files get in its folder. One that is replaced keeps its mode and access control list, and
    its owner where the system allows that.

    Parameters
    ----------
    path : Path
        Where it is a link, the file at its end is replaced.
    part : Path, optional
        A name in the same folder, which nobody else uses meanwhile; what a run that was killed has left there goes.

    Raises
    ------
    OutputError
        Where the operating system says no.
    """
    with output_errors(path):
        target = followed(path)
        part = part or beside(target, f"{os.urandom(4).hex()}.part")
        before = target.stat() if target.exists() else None
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if before is None else 0o600))
        try:
            yield part
            with open(part, "rb+") as file:
                if before is not None:
                    _inherit(file.fileno(), target, before)
                os.fsync(file.fileno())
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)


def _inherit(descriptor: int, target: Path, before: os.stat_result) -> None:
    """Give a new file the rights of the one it is to replace."""
    for owner in (before.st_uid, -1):  # a group may be given where an owner may not
        with contextlib.suppress(OSError):
            os.fchown(descriptor, owner, before.st_gid)
            break
    if hasattr(os, "getxattr"):
        with contextlib.suppress(OSError):
            os.removexattr(descriptor, ACL)  # that of the folder
        with contextlib.suppress(OSError):
            os.setxattr(descriptor, ACL, os.getxattr(target, ACL))
    os.fchmod(descriptor, before.st_mode & 0o777)


def open_text(path: Path, mode: str = "w") -> TextIO:
    """Open a file, a device, a pipe or a descriptor to write a text into it, names that are no text as they can be shown."""
    descriptor = _descriptor(path)
    file = path if descriptor is None else os.dup(descriptor)
    return open(file, mode, encoding="utf-8", errors="backslashreplace")  # type: ignore[return-value]


@contextlib.contextmanager
def appearing(path: Path, part: Path | None = None) -> Iterator[Callable[[str], None]]:
    """Give a function that takes a text, which appears when the block ends: in place of a file, or in what is no file.

    Raises
    ------
    OutputError
    """
    if is_stream(path):
        texts: list[str] = []
        yield texts.append
        with output_errors(path), open_text(path) as file:
            file.writelines(texts)
        return
    with replacing(path, part) as new:

        def write(text: str) -> None:
            with output_errors(path):
                new.write_text(text, encoding="utf-8")

        yield write


def write_text(path: Path, text: str, part: Path | None = None) -> None:
    """Write a text at once; raises what :func:`appearing` does."""
    with appearing(path, part) as write:
        write(text)


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut, where folders can be opened."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
