"""A digest of what decides a result: it tells whether an output must be made again, and whether a killed job may go on."""

import hashlib
import json
import os
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..image.sidecars import read_files
from ..model.mixture import Mixture
from ..system.files import open_input

# Pieces of a file that stand for it, spread evenly: 1 MiB is read in a millisecond, a gigapixel in seconds.
PIECES, PIECE = 16, 1 << 16


def fingerprint(*facts: Any) -> str:
    """Return a digest of the version and some facts: contents, options, models."""
    text = json.dumps([__version__, *facts], sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _plain(fact: Any) -> Any:
    if isinstance(fact, np.ndarray):
        return fact.tolist()
    if isinstance(fact, Mixture):
        return fact.to_dict()
    return asdict(fact) if is_dataclass(fact) and not isinstance(fact, type) else str(fact)


def content(path: Path) -> list:
    """Return what stands for a file and those beside it that are read with it, wherever they are.

    Raises
    ------
    ImageReadError
        Where one cannot be read.
    """
    return [_content(each) for each in (path, *read_files(path))]


def _content(path: Path) -> list:
    """Return the size of a file, a digest of pieces of it, and when it was last changed."""
    with open_input(path) as file:
        status, digest = os.fstat(file.fileno()), hashlib.sha256()
        for i in range(PIECES):
            file.seek(i * max(0, status.st_size - PIECE) // (PIECES - 1))
            digest.update(file.read(PIECE))
    return [status.st_size, digest.hexdigest(), status.st_mtime_ns]
