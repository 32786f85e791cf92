"""The option of a page to look at."""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ..errors import OptionError
from .fields import Options, option

SUFFIXES = (".html", ".htm")
# What pages are written with; the extra "html" installs it.
LIBRARIES = ("jinja2", "matplotlib")


@dataclass(frozen=True, kw_only=True)
class PageOptions(Options):
    """What is shown of an output to a person."""

    html: str | os.PathLike | None = option(
        None, "Write a page to look at; of a batch, one with pictures that lead to a page beside each output.", metavar="FILE"
    )

    def __post_init__(self):
        super().__post_init__()
        if self.html is None:
            return
        if Path(self.html).suffix.lower() not in SUFFIXES:
            raise OptionError(f"html is {os.fspath(self.html)}; choose a name that ends in {' or '.join(SUFFIXES)}")
        missing = [name for name in LIBRARIES if find_spec(name) is None]
        if missing:
            raise OptionError(f"html needs {' and '.join(missing)}; pip install 'streamgmm[html]'")
