"""Options of how a job is run, which change nothing of its result."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import OptionError
from .fields import Options, option
from .image import ReadOptions

# progress(phase, done, total), in pixels; returning False cancels.
Progress = Callable[[str, int, int], object]


@dataclass(frozen=True, kw_only=True)
class RunOptions(Options):
    """How a job is run, which changes nothing of its result."""

    overwrite: bool = option(False, "Replace outputs that exist.")
    work_dir: str | os.PathLike | None = option(
        None, "Where unfinished work is kept. [default: beside the output]", metavar="DIR"
    )
    resume: bool = option(True, "Go on where the same job was interrupted. [default: resume]")
    lock: bool = option(True, "Let no other run write the same output meanwhile. [default: lock]")
    wait: float = option(0.0, "Wait for another run that writes the same output.", metavar="SECONDS", least=0)
    strict: bool = option(False, "Fail where the fit has not converged, or --min-psnr or a target is missed.")

    def __post_init__(self):
        super().__post_init__()
        if self.work_dir is not None and not Path(self.work_dir).is_dir():
            raise OptionError(f"work-dir is {self.work_dir}; there is no such folder")

    @property
    def work_folder(self) -> Path | None:
        """Where unfinished work is kept, if not beside the output."""
        return None if self.work_dir is None else Path(self.work_dir)


@dataclass(frozen=True, kw_only=True)
class ResourceOptions(Options):
    """How much of the machine a job takes, and who is told how far it is."""

    chunk_size: str | int = option(
        "64MiB",
        "Decoded pixels in memory at once: bytes (64MiB) or pixels (4Mpx).",
        metavar="SIZE",
        wanted="bytes such as 64MiB, or pixels such as 4Mpx",
    )
    threads: int | None = option(None, "Threads at once. [default: all processors it may use]", metavar="N", least=1)
    memory: str | int | None = option(
        None,
        "Memory it may take, such as 512MiB. [default: 3/4 of what is free]",
        metavar="SIZE",
        wanted="bytes such as 512MiB",
    )
    progress: Progress | None = option(None, hidden=True)


@dataclass(frozen=True, kw_only=True)
class JobOptions(ResourceOptions, RunOptions, ReadOptions):
    """What every job that writes a file is given."""
