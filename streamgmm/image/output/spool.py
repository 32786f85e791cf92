"""Finished tiles on disk: written in any order, read back in any."""

import os
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np


class Spool:
    """Encoded tiles in a file: a nameless one, which vanishes with the process, or one that a later run can go on with.

    It holds what must be known before a TIFF can be begun: how long it will be. One thread puts tiles; any number get those
    that were put.

    Parameters
    ----------
    folder : Path
        Where it is.
    n_tiles : int
    name : str, optional
        Its name; none by default.

    Attributes
    ----------
    sizes : ndarray of shape (n_tiles,), int64
        Bytes of the encoded tiles; 0 for those still to come.
    size : int
        Bytes of all.
    """

    def __init__(self, folder: Path, n_tiles: int, name: str | None = None):
        if name is None:
            self._file = tempfile.TemporaryFile(dir=folder, prefix=".streamgmm.", suffix=".spool", buffering=0)  # noqa: SIM115
        else:
            self._file = os.fdopen(os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)
        self._offsets = np.zeros(n_tiles, np.int64)
        self._checksums = np.zeros(n_tiles, np.uint32)
        self.sizes = np.zeros(n_tiles, np.int64)
        self.size = 0

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def put(self, index: int, data: bytes) -> None:
        """Append an encoded tile."""
        done = 0
        while done < len(data):  # a disk that is nearly full takes a part, and then says so
            done += os.pwrite(self._file.fileno(), data[done:], self.size + done)
        self._offsets[index], self.sizes[index], self._checksums[index] = self.size, len(data), zlib.crc32(data)
        self.size += len(data)

    def get(self, index: int) -> bytes:
        """Return a tile that was put. Safe to call from several threads, also while others are put."""
        return os.pread(self._file.fileno(), int(self.sizes[index]), int(self._offsets[index]))

    def state(self) -> dict[str, np.ndarray]:
        """Return what is known of the tiles that were put."""
        return {"offsets": self._offsets, "sizes": self.sizes, "checksums": self._checksums}

    def tiles(self, indices: Sequence[int]) -> "SpooledTiles":
        """Return some tiles, to be read where they are needed."""
        return SpooledTiles(self, indices)

    def restore(self, state: dict[str, np.ndarray]) -> bool:
        """Go on with the tiles of a state, if all are there as they were put."""
        offsets, sizes, checksums = state["offsets"], state["sizes"], state["checksums"]
        for index in np.flatnonzero(sizes):
            if zlib.crc32(os.pread(self._file.fileno(), int(sizes[index]), int(offsets[index]))) != checksums[index]:
                return False
        self._offsets, self.sizes, self._checksums = offsets, sizes, checksums
        self.size = int((offsets + sizes).max(initial=0))
        return True


class SpooledTiles(Sequence[bytes]):
    """Encoded tiles of a spool; in another process they are there as bytes."""

    def __init__(self, spool: Spool, indices: Sequence[int]):
        self._spool, self._indices = spool, indices

    def __reduce__(self) -> tuple:
        return tuple, (tuple(self),)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index):
        return self._spool.get(self._indices[index])
