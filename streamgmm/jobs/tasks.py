"""What a process of a batch is given to do, and what it tells of it."""

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..errors import OptionError, StreamGMMError
from ..image.atomic import output_errors
from ..image.source import ReadOptions
from .inputs import Item
from .model_file import load_model
from .options import FitOptions, RunOptions, WriteOptions
from .report import Clock
from .resources import Resources, peak_memory, reset_peak_memory
from .signals import stopping

Messages = list[tuple[int, str]]  # level and text


@dataclass(frozen=True)
class Task:
    """All that a process needs to make one output."""

    item: Item
    fitting: FitOptions
    reading: ReadOptions
    writing: WriteOptions
    run: RunOptions
    resources: Resources
    model: Path | None


@dataclass(frozen=True)
class Entry:
    """What became of one input: a line of the report.

    Attributes
    ----------
    input, output : str
    status : {"done", "skipped", "failed"}
    seconds : float
    peak_memory_bytes : int or None
        Of the process that worked on it, while it did.
    iterations, converged, psnr_db
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
    fingerprint: str | None = None
    error: str | None = None
    exit_code: int = 0


def make(task: Task) -> tuple[Entry, Messages]:
    """Make one output; return what became of it, and what there is to say."""
    from .apply import apply_to_image
    from .quantize import quantize_image

    start, item, how = time.monotonic(), task.item, (task.reading, task.writing, task.run, task.resources, Clock())
    reset_peak_memory()
    with kept_messages() as messages, stopping():
        try:
            if item.complaint:
                raise OptionError(item.complaint)
            with output_errors(item.target):
                item.target.parent.mkdir(parents=True, exist_ok=True)
            if task.model is None:
                report = quantize_image(item.source, item.target, task.fitting, *how)
            else:
                report = apply_to_image(load_model(task.model), item.source, item.target, *how)
            entry = Entry(
                str(item.source),
                str(item.target),
                "done",
                iterations=report.iterations,
                converged=report.converged,
                psnr_db=report.psnr_db,
                fingerprint=task.writing.fingerprint,
            )
        except Exception as error:
            entry = failed(item, error)
    return replace(entry, seconds=round(time.monotonic() - start, 3), peak_memory_bytes=peak_memory()), messages


def failed(item: Item, error: Exception) -> Entry:
    """Return the entry of an input whose output could not be made."""
    known = isinstance(error, StreamGMMError)
    message = str(error) if known else f"{item.source}: unexpected {type(error).__name__}: {error}"
    return Entry(
        str(item.source),
        str(item.target),
        "failed",
        error=" ".join(message.split()),
        exit_code=error.exit_code if isinstance(error, StreamGMMError) else 1,
    )


@dataclass(frozen=True)
class SharedFit:
    """All that a process needs to fit one model to many inputs."""

    sources: list[Path]
    target: Path
    fitting: FitOptions
    reading: ReadOptions
    run: RunOptions
    resources: Resources
    fingerprint: str


def fit_shared(task: SharedFit) -> tuple[StreamGMMError | None, Messages]:
    """Fit one model to all inputs that can be read and are alike, and write it."""
    from .fit import fit_readable, fit_to_file

    def fit(sources: Sequence[Path]) -> None:
        how = (task.fitting, task.reading, task.run, task.resources, Clock())
        fit_to_file(sources, task.target, *how, overwrite=True, fingerprint=task.fingerprint)

    with kept_messages() as messages, stopping():
        try:
            fit_readable(task.sources, task.reading, task.resources, fit)
        except StreamGMMError as error:
            return error, messages
    return None, messages


class _Keeper(logging.Handler):
    """Keeps what is logged."""

    def __init__(self):
        super().__init__()
        self.messages: Messages = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append((record.levelno, record.getMessage()))


@contextlib.contextmanager
def kept_messages() -> Iterator[Messages]:
    """Keep what the package logs in this process, for the one that has the terminal."""
    keeper, logger = _Keeper(), logging.getLogger("streamgmm")
    logger.addHandler(keeper)
    try:
        yield keeper.messages
    finally:
        logger.removeHandler(keeper)
