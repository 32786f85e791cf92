"""What this program writes into its files, so that it knows them again: nothing else is replaced unless that is asked for."""

import contextlib
import re
from pathlib import Path

from .. import __version__
from ..errors import ImageReadError
from .files import open_input

# Of images, the text of the Software (tag 305) with its end; of models, the first line; of pages, the generator.
MARKS = re.compile(
    rb'streamgmm [\w.+]+( fingerprint [0-9a-f]+)?\0|\A\{\s*"format": "streamgmm '
    rb'|\A<!doctype html>\s*<html lang="en">\s*<head>\s*<meta charset="utf-8">\s*<meta name="generator" content="streamgmm '
)
# Bytes that are looked through. All IFDs of an output stand first; before the mark there may be a description.
HEAD = 1 << 20


def software(fingerprint: str | None) -> str:
    """Return the Software (tag 305) of an output, with what it was made from and how."""
    return f"streamgmm {__version__}" + (f" fingerprint {fingerprint}" if fingerprint else "")


def is_own(path: Path) -> bool:
    """Whether a file was written by this program, damaged as it may be, or holds nothing."""
    with contextlib.suppress(ImageReadError, OSError), open_input(path) as file:
        head = file.read(HEAD)
        return not head or MARKS.search(head) is not None
    return False
