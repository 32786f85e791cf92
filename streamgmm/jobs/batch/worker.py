"""What a process of a batch is given to do, and what it tells of it."""

import contextlib
import logging
import os
import queue
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from logging.handlers import QueueHandler
from pathlib import Path
from typing import Literal

from ...errors import OutputError, StreamGMMError
from ...options import JobOptions
from ...options.palette import QuantizeOptions
from ...system.files import output_errors
from ...system.limits import peak_memory, reset_peak_memory
from ...system.mark import is_own
from ...system.signals import stopping
from .inputs import Pair

Messages = list[logging.LogRecord]


@dataclass(frozen=True)
class EachOptions(JobOptions, QuantizeOptions):
    """What is asked of each file."""


@dataclass(frozen=True)
class FileJob:
    """All that a process needs to make one output.

    Attributes
    ----------
    pair : Pair
    options : EachOptions
    model : path or None
        Whose colors it gets; None where a model is to be fitted to it.
    fingerprint : str
        What the output is made of and how, which stands in it.
    only_own : bool
        Whether nothing is replaced but what this program has made.
    page : Path or None
        Where a page of it is written.
    """

    pair: Pair
    options: EachOptions
    model: str | os.PathLike | None
    fingerprint: str
    only_own: bool = False
    page: Path | None = None

    def check(self) -> None:
        """Raise an error where there is a complaint, or what is in the place of the output is to stay."""
        pair = self.pair
        if pair.complaint:
            raise pair.complaint
        for path in (pair.target, self.page):
            if path and self.only_own and path.exists() and not path.is_dir() and not is_own(path):
                raise OutputError(f"{path}: exists, and is not of this program; choose another --suffix or --out-dir")


@dataclass(frozen=True)
class FileReport:
    """What became of one input: a line of the report.

    Attributes
    ----------
    input, output : str
    status : {"done", "skipped", "failed"}
    seconds : float
    peak_memory_bytes : int or None
        Of the process that worked on it, while it did.
    iterations, converged, psnr_db, delta_e, bytes_in, bytes_out
        As in :class:`streamgmm.jobs.report.Report`.
    dropped : list of str
        As in :class:`streamgmm.jobs.report.Report`.
    fingerprint : str or None
        As in the Software (tag 305) of the output.
    error : str or None
    exit_code : int
        That of the error.
    """

    input: str
    output: str
    status: Literal["done", "skipped", "failed"]
    seconds: float = 0.0
    peak_memory_bytes: int | None = None
    iterations: int | None = None
    converged: bool | None = None
    psnr_db: float | None = None
    delta_e: float | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None
    dropped: list[str] = field(default_factory=list)
    fingerprint: str | None = None
    error: str | None = None
    exit_code: int = 0


def make(given: FileJob) -> tuple[FileReport, Messages]:
    """Make one output; return what became of it, and what there is to say."""
    from ..apply import Apply, apply_to_image  # the parent of the processes does not pay for Numba
    from ..quantize import Quantize, quantize_image

    start, pair, options = time.monotonic(), given.pair, given.options
    reset_peak_memory()
    with kept_messages() as messages, stopping():
        try:
            given.check()
            with output_errors(pair.target):
                pair.target.parent.mkdir(parents=True, exist_ok=True)
            if given.model is None:
                job = replace(options.part(Quantize, pair.source, pair.target), html=given.page)
                report = quantize_image(job, given.fingerprint)
            else:
                shared = replace(options.part(Apply, given.model, pair.source, pair.target), html=given.page)
                report = apply_to_image(shared, given.fingerprint)
            made = FileReport(
                str(pair.source),
                str(pair.target),
                "done",
                iterations=report.iterations,
                converged=report.converged,
                psnr_db=report.psnr_db,
                delta_e=report.delta_e,
                bytes_in=report.bytes_in,
                bytes_out=report.bytes_out,
                dropped=report.dropped,
                fingerprint=given.fingerprint,
            )
        except Exception as error:
            made = failed(pair, error)
    return replace(made, seconds=round(time.monotonic() - start, 3), peak_memory_bytes=peak_memory()), drained(messages)


def failed(pair: Pair, error: Exception) -> FileReport:
    """Return the report of an input whose output could not be made."""
    known = isinstance(error, StreamGMMError)
    message = str(error) if known else f"{pair.source}: unexpected {type(error).__name__}: {error}"
    return FileReport(
        str(pair.source),
        str(pair.target),
        "failed",
        error=" ".join(message.split()),
        exit_code=error.exit_code if isinstance(error, StreamGMMError) else 1,
    )


@dataclass(frozen=True)
class SharedFit:
    """All that a process needs to fit one model to many inputs."""

    sources: list[Path]
    target: Path
    by_image: bool
    options: EachOptions
    fingerprint: str


def fit_shared(given: SharedFit) -> tuple[StreamGMMError | None, Messages]:
    """Fit one model to all inputs that can be read and are alike, and write it."""
    from ..fit import FitToFile, fit_readable

    error = None
    with kept_messages() as messages, stopping():
        try:
            job = given.options.part(FitToFile, given.sources, given.target, given.by_image)
            fit_readable(job, fingerprint=given.fingerprint)
        except StreamGMMError as complaint:
            error = complaint
    return error, drained(messages)


@contextlib.contextmanager
def kept_messages() -> Iterator[queue.SimpleQueue[logging.LogRecord]]:
    """Keep what the package logs in this process, for the one that has the terminal.

    Messages come back with the result: a queue that processes share would be locked for good by one that is killed.
    """
    messages: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    handler, logger = QueueHandler(messages), logging.getLogger("streamgmm")
    logger.addHandler(handler)
    try:
        yield messages
    finally:
        logger.removeHandler(handler)


def drained(messages: queue.SimpleQueue[logging.LogRecord]) -> Messages:
    """Return all that is in a queue."""
    return [messages.get() for _ in range(messages.qsize())]
