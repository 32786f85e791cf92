"""Finished tiles on disk: written in any order, read back in theirs."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


class Spool:
    """Encoded tiles in a nameless file beside the output, which vanishes with the process.

    It holds what must be known before a TIFF can be begun: how long it will be.

    Parameters
    ----------
    folder : Path
        Where the output will be.
    n_tiles : int
    """

    def __init__(self, folder: Path, n_tiles: int):
        self._file = tempfile.TemporaryFile(dir=folder, prefix=".streamgmm.", suffix=".spool")  # noqa: SIM115
        self._places: list[tuple[int, int]] = [(0, 0)] * n_tiles
        self.size = 0

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def put(self, index: int, data: bytes) -> None:
        """Append an encoded tile."""
        self._file.write(data)
        self._places[index] = self.size, len(data)
        self.size += len(data)

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the encoded tiles in the order of their index."""
        self._file.flush()
        for offset, size in self._places:
            yield os.pread(self._file.fileno(), size, offset)
