"""A digest of what decides a result: it tells whether an output must be made again, and whether a killed job may go on."""

import hashlib
import json
import os
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..errors import ImageReadError
from ..model.mixture import Mixture

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
    """Return the size of a file and a digest of pieces of it, wherever it is and whenever it was written.

    Raises
    ------
    ImageReadError
        Where it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest = hashlib.sha256()
            for i in range(PIECES):
                file.seek(i * max(0, size - PIECE) // (PIECES - 1))
                digest.update(file.read(PIECE))
    except OSError as error:
        raise ImageReadError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None
    return [size, digest.hexdigest()]
