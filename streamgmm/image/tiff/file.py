"""A TIFF file that is read by offset, from any thread, and what is raised where it is damaged."""

import contextlib
import copy
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile

from ...errors import ImageReadError, StreamGMMError, UnsupportedImageError
from ..image import FileState

# tifffile logs what it finds odd; what matters is raised here instead.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

# Bytes behind encoded data, for the LZW decoder steps a few out of what is damaged.
STEP = 16

# What codecs say of data that is as it should be, but of a kind they do not decode; libjpeg also of a marker that is damaged.
REFUSAL = re.compile(r"\bnot (implemented|supported)\b|\bunsupported\b(?! marker)", re.IGNORECASE)


class SharedFile:
    """A TIFF file that its pages read from, by offset and from any thread.

    Raises
    ------
    ImageReadError
        Where the file is not a sound TIFF.
    """

    def __init__(self, path: Path):
        self.name = str(path)
        with contextlib.ExitStack() as stack, damage(self.name, "not a sound TIFF"):
            file = stack.enter_context(open(path, "rb"))
            self.tiff = stack.enter_context(tifffile.TiffFile(file, name=self.name))
            status = os.fstat(file.fileno())
            self._path, self._file, self.state, self.size = path, file, FileState.of(status), status.st_size
            self._others: list[SharedFile] = []
            self._close = stack.pop_all().close

    def also(self, path: Path) -> "SharedFile":
        """Open a file beside it, which is checked and closed with it."""
        self._others.append(SharedFile(path))
        return self._others[-1]

    def holding(self, page: tifffile.TiffPage) -> "SharedFile":
        """Return the one of these files that has a page."""
        return next((file for file in self._others if file.tiff is page.parent), self)

    def called(self, name: str) -> "SharedFile":
        """Return the same file by the name that messages have for a part of it."""
        other = copy.copy(self)
        other.name = name
        return other

    def read(self, offset: int, size: int) -> memoryview:
        """Return some bytes: fewer where the file has become shorter, which in a memory map would end the process."""
        data = np.empty(size + STEP, np.uint8).data  # zeroed and copied, as a bytearray, passes took 1.4 times as long
        return data[: self.read_into(data[:size], offset)]

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill a buffer with the bytes from an offset on, and return how many there are."""
        done = 0
        while done < len(buffer) and (n := os.preadv(self._file.fileno(), [buffer[done:]], offset + done)):
            done += n
        return done

    def check_unchanged(self) -> None:
        """Refuse what was read of a file that has changed since it was opened.

        Raises
        ------
        ImageReadError
        """
        try:
            now = FileState.of(self._path.stat())
        except OSError:
            now = None
        if now != self.state:
            raise ImageReadError(f"{self.name}: changed while it was read; run again when it is whole")
        for other in self._others:
            other.check_unchanged()

    def close(self) -> None:
        """Close the file, and those beside it."""
        for file in self._others:
            file.close()
        self._close()


@contextlib.contextmanager
def damage(name: str, what: str) -> Iterator[None]:
    """Turn whatever tifffile and the codecs raise on damaged files, which is anything, into an ImageReadError.

    What they do not support, or are built without, becomes an UnsupportedImageError.
    """
    try:
        yield
    except StreamGMMError:
        raise
    except Exception as error:
        reason = str(error).split("\n")[0][:200] or type(error).__name__
        refused = not isinstance(error, TypeError) and REFUSAL.search(reason)  # which is Python's
        if refused or isinstance(error, NotImplementedError | ImportError):
            raise UnsupportedImageError(f"{name}: of a kind that is not supported ({reason}); convert it first") from error
        raise ImageReadError(f"{name}: {what} ({reason})") from error
