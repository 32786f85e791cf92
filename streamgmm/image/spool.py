"""Finished tiles on disk: written in any order, read back in any."""

import os
import tempfile
from pathlib import Path

import numpy as np


class Spool:
    """Encoded tiles in a nameless file beside the output, which vanishes with the process.

    It holds what must be known before a TIFF can be begun: how long it will be. One thread puts tiles; any number get those
    that were put.

    Parameters
    ----------
    folder : Path
        Where the output will be.
    n_tiles : int

    Attributes
    ----------
    sizes : ndarray of shape (n_tiles,), int64
        Bytes of the encoded tiles; 0 for those still to come.
    size : int
        Bytes of all.
    """

    def __init__(self, folder: Path, n_tiles: int):
        self._file = tempfile.TemporaryFile(dir=folder, prefix=".streamgmm.", suffix=".spool")  # noqa: SIM115
        self._offsets = np.zeros(n_tiles, np.int64)
        self.sizes = np.zeros(n_tiles, np.int64)
        self.size = 0

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def put(self, index: int, data: bytes) -> None:
        """Append an encoded tile."""
        self._file.write(data)
        self._file.flush()  # get reads behind the buffer's back
        self._offsets[index], self.sizes[index] = self.size, len(data)
        self.size += len(data)

    def get(self, index: int) -> bytes:
        """Return a tile that was put. Safe to call from several threads, also while others are put."""
        return os.pread(self._file.fileno(), int(self.sizes[index]), int(self._offsets[index]))
