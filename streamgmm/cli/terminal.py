"""What a person sees: bars, messages, one line where something is wrong."""

import contextlib
import logging
import os
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import click

from ..errors import OutputError
from ..jobs import CONVERGENCE, DROPPED
from ..system.files import open_text, output_errors
from .options import FILE

log = logging.getLogger(__name__)

# What a person calls the phases of a job.
PHASES = {
    "compile": "compiling kernels (once per machine)",
    "count": "counting colors",
    "sample": "sampling",
    "choose": "choosing the number of colors",
    "seed": "seeding",
    "fit": "fitting",
    "average": "averaging colors",
    "label": "labeling",
    "reduce": "making reduced levels",
    "page": "making the page",
    "write": "writing",
    "compare": "comparing",
}


class _BestEffort:
    """Standard error, of which nothing depends on whether it can be written."""

    def __init__(self, stream: TextIO):
        self._stream, self.failed = stream, False

    def write(self, text: str) -> int:
        """Write a text if that is possible."""
        try:
            self._stream.write(text)
        except (OSError, ValueError):
            self.failed = True
        return len(text)

    def flush(self) -> None:
        """Flush what was written if that is possible."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self.failed = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def best_effort():
    """Let messages be lost where they cannot be written, and let no file that is opened take the place of a closed stream."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest that is free, for processes of a batch, too
    before = sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        sys.stderr = stream = _BestEffort(before or nowhere)
        try:
            yield
        finally:
            stream.flush()
            if not stream.failed:  # or the interpreter, which flushes once more, would leave with a code of its own
                sys.stderr = before
            _leave_standard_output()


def _leave_standard_output() -> None:
    """Flush standard output; what it does not take was told of, and is not to be told of by the interpreter again."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def is_watched(quiet: bool) -> bool:
    """Whether somebody looks on: at a terminal, and wants to."""
    return sys.stderr.isatty() and not quiet


@contextmanager
def progress_bars(quiet: bool):
    """Show a bar for each phase on a terminal, and hand out the callback that moves it."""
    if not is_watched(quiet):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    tasks: dict[str, Any] = {}
    with Progress(*columns, console=Console(stderr=True)) as bars:

        def progress(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                for task in tasks.values():
                    bars.stop_task(task)
                tasks[phase] = bars.add_task(PHASES[phase], total=total or None)
            bars.update(tasks[phase], completed=done, total=total or None)

        yield progress


@contextmanager
def file_bar(watched: bool):
    """Show a bar over files where somebody looks on, and hand out what moves it."""
    if not watched:
        yield lambda done, total, name: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task("files", total=None)
        yield lambda done, total, name: bars.update(task, completed=done, total=total, description=name)


class _Line(logging.Formatter):
    """Writes a message as one line, whatever the names of files are."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return text if record.exc_info else text.replace("\n", "\\n")


class _Log(logging.StreamHandler):
    """Writes to a file, until that cannot be written, which is said once."""

    def __init__(self, path: Path, file: TextIO):
        super().__init__(file)
        self._path = path

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        logging.getLogger("streamgmm").removeHandler(self)
        error = sys.exc_info()[1]
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        log.warning("%s: the log cannot be written (%s); the work goes on without", self._path, reason)


@contextmanager
def log_to_file(path: Path):
    """Append all that the package logs to a file, with the time."""
    with output_errors(path):
        file = open_text(path, "a")
    handler = _Log(path, file)
    handler.setFormatter(_Line("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S%z"))
    logger = logging.getLogger("streamgmm")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        with contextlib.suppress(OSError):  # which was told of
            file.close()


class _StandardError(logging.Handler):
    """Writes to what is standard error at the time: a bar puts itself in its place, and stays below."""

    quiet = False

    def filter(self, record: logging.LogRecord) -> bool:
        muted = record.name == CONVERGENCE or (record.name == DROPPED and self.quiet)
        return super().filter(record) and (is_verbose() or not muted)

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(self.format(record) + "\n")


_standard_error = _StandardError()
_standard_error.setFormatter(_Line("streamgmm: %(message)s"))


def log_to_stderr(level: int) -> None:
    """Show what the package logs, and nothing that other packages do."""
    _standard_error.setLevel(level)
    _standard_error.quiet = False
    logger = logging.getLogger("streamgmm")
    logger.handlers, logger.propagate = [_standard_error], False
    logger.setLevel(logging.INFO)


def is_verbose() -> bool:
    """Whether a person asked for more."""
    return _standard_error.level <= logging.INFO


def verbose_option(text: str) -> Callable:
    """Return the option -v, which has more said from where it is read on."""

    def verbose(ctx: click.Context, param: click.Parameter, given: bool) -> None:
        if given:
            log_to_stderr(logging.INFO)

    return click.option("-v", "--verbose", is_flag=True, is_eager=True, expose_value=False, callback=verbose, help=text)


def _quiet(ctx: click.Context, param: click.Parameter, given: bool) -> bool:
    if given:
        _standard_error.quiet = True
    return given


def quiet_option(text: str) -> Callable:
    """Return the option -q, which has less said."""
    return click.option("-q", "--quiet", is_flag=True, callback=_quiet, help=text)


def told_options(command: Callable) -> Callable:
    """Give a command the options of what it tells."""
    report = click.option(
        "--report", type=FILE, metavar="FILE", help="Write a JSON report (batch: lines); - is standard output."
    )
    quiet = quiet_option("No progress bars, nor what of an input is not in its output.")
    return report(quiet(verbose_option("Say what is done, and show where errors come from.")(command)))


def say(text: str) -> None:
    """Print on standard output.

    Raises
    ------
    OutputError
        Where it is closed, or takes no more.
    """
    name = Path("standard output")
    if sys.stdout is None:
        raise OutputError(f"{name}: is closed; name a file")
    with output_errors(name):
        click.echo(text, nl=False)


def fail(message: str, exit_code: int, detailed: bool = False) -> None:
    """Say in a line what is wrong, in detail where a person asked for more, and leave."""
    if detailed and is_verbose():
        logging.getLogger(__name__).info("where it happened", exc_info=True)
    click.echo("streamgmm: " + " ".join(message.split()), err=True)
    sys.exit(exit_code)
