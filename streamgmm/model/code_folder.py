"""Where compiled code is kept: the first folder that can be written and has room."""

import atexit
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

# A folder that holds nothing yet must have room for what `streamgmm warmup` compiles, which takes 11 MiB, and for other jobs.
ROOM = 32 << 20


def find_folder(version: str, configured: str) -> Path | None:
    """Return a folder to keep compiled code in, or None where there is none.

    Code that somebody else keeps in a folder that cannot be written, as in the image of a container, is used where no folder
    can be written: Numba uses none that it cannot write, so it gets a temporary one, with links to the files.

    Parameters
    ----------
    version : str
        Name of the folder in the one that is chosen: code is of use to one version of the package, with one of Numba.
    configured : str
        The folder that Numba is told to keep code in, or the empty string.
    """
    folders = [folder / version for folder in _candidates(configured)]
    for folder in folders:
        if _takes_code(folder):
            return folder
    return next((_linked(folder) for folder in folders if _holds_code(folder)), None)


def digest_of_sources() -> str:
    """Return eight digits that stand for the sources of this room.

    Numba compiles a function again when its own file has changed, and not when that of a function it calls has.
    """
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:8]


def empty(folder: Path) -> None:
    """Delete the code in a folder."""
    for path in folder.rglob("*.nb[ci]"):
        path.unlink(missing_ok=True)  # another process may be at it


def _candidates(configured: str) -> Iterator[Path]:
    """Yield the folder that was asked for, or those that nobody needs to ask for."""
    if own := os.environ.get("STREAMGMM_CACHE_DIR"):
        yield Path(own).absolute()
        return
    if configured:
        yield Path(configured).absolute()
    yield Path(__file__).parent / "__pycache__"
    user = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    try:
        yield user.expanduser().absolute() / "streamgmm"
    except RuntimeError:  # a user without a home
        return


def _takes_code(folder: Path) -> bool:
    """Try to write, because permissions do not say of a read-only file system that it is one, nor keep out root."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        return _holds_code(folder) or shutil.disk_usage(folder).free >= ROOM
    except OSError:
        return False


def _holds_code(folder: Path) -> bool:
    return next(folder.rglob("*.nbi"), None) is not None


def _linked(folder: Path) -> Path | None:
    """Return a temporary folder with links to the code in another, until this process ends.

    Numba replaces files and does not write into them, so what is linked to stays as it is. 132 links are made in 2 ms and take
    no room: the 64 MiB that a read-only container has in /dev/shm would hold copies for five processes.
    """
    for place in ("/dev/shm", None):  # what a killed process leaves there goes with the container, or when the machine stops
        try:
            links = Path(tempfile.mkdtemp(prefix="streamgmm-", dir=place))
            atexit.register(_remove, links, os.getpid())
            for path in folder.rglob("*.nb[ci]"):
                link = links / path.relative_to(folder)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(path)
        except OSError:
            continue
        return links
    return None


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:  # and not a fork of it
        shutil.rmtree(folder, ignore_errors=True)
