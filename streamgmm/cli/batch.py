"""The command for many images, and what it writes of itself: a report, a log, metrics."""

import io
import json
import logging
import os
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from ..errors import ImageReadError, OptionError, OutputError
from ..options import ClassMapOptions, FitOptions, ReadOptions, ResourceOptions, RunOptions, WriteOptions
from ..options.batch import BatchOptions
from ..options.page import PageOptions
from ..options.palette import PaletteOptions
from ..system.files import check_output, is_stream, open_text, output_errors, read_text, write_text
from .help import Command
from .options import FILE, Numbers, named_in, options_of, start_of
from .summary import size
from .terminal import file_bar, is_watched, log_to_file, told_options

if TYPE_CHECKING:
    from ..jobs.batch.inputs import Pair
    from ..jobs.batch.worker import FileReport

log = logging.getLogger(__name__)

CONFIG = f"{__name__}.config"  # the file of options, in what click knows of a run


def read_config(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    """Take options from a TOML file, as defaults of the command line."""
    if path is None:
        return
    try:
        values = tomllib.loads(read_text(path))
    except ImageReadError as error:
        if path.exists() and not path.is_dir():
            raise
        raise OptionError(str(error)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"{path}: not TOML ({error})") from None
    options = {
        name.removeprefix("--"): (option, name in option.secondary_opts)
        for option in ctx.command.params
        if isinstance(option, click.Option) and option is not param
        for name in (*option.opts, *option.secondary_opts)
        if name.startswith("--")
    }
    ctx.meta[CONFIG] = path
    ctx.default_map = {}
    for key, value in values.items():
        if key not in options:
            raise OptionError(f"{path}: there is no option {key!r}; choose from {', '.join(sorted(options))}")
        option, negative = options[key]
        several = option.multiple and isinstance(value, list) and not all(map(_is_number, value))
        texts = [_written(option, each) for each in (value if several else [value])]
        if None in texts:
            raise OptionError(f"{path}: {key} is {value!r}, which is of the wrong type; {option.help}")
        ctx.default_map[option.name] = texts if option.multiple else not texts[0] if negative else texts[0]


def _written(option: click.Option, value: Any) -> str | bool | None:
    """Return a value as it is written on the command line, or None where its type is not that of the option."""
    if option.is_bool_flag:
        return value if isinstance(value, bool) else None
    if value is True:
        return option.flag_value if isinstance(option.flag_value, str) else None  # what it means without a value
    numeric, text = option.type in (click.INT, click.FLOAT), option.type is click.STRING
    if isinstance(option.type, Numbers) or text:  # texts may be numbers and ranges, too
        ranges = value if isinstance(value, list) and value and all(isinstance(each, list) for each in value) else [value]
        lists = [each if isinstance(each, list) else [each] for each in ranges]
        if all(lists) and all(_is_number(number) for numbers in lists for number in numbers):
            return ";".join(",".join(map(str, numbers)) for numbers in lists)
    return str(value) if (_is_number(value) if numeric else isinstance(value, str)) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@click.command(cls=Command)
@click.argument("inputs", metavar="IN...", nargs=-1, required=True)
@options_of(BatchOptions)
@click.option("--log-file", type=FILE, metavar="FILE", help="Append what happens to a file.")
@click.option("--metrics-file", type=FILE, metavar="FILE", help="Write metrics for Prometheus' node exporter.")
@click.option(
    "--config",
    type=FILE,
    metavar="FILE.toml",
    is_eager=True,
    expose_value=False,
    callback=read_config,
    help="Take options from a TOML file; those of the command line win.",
)
@options_of(FitOptions, PaletteOptions, ClassMapOptions, ReadOptions, WriteOptions, PageOptions, RunOptions, ResourceOptions)
@told_options
def batch(
    inputs: tuple[str, ...],
    init: str,
    report: Path | None,
    log_file: Path | None,
    metrics_file: Path | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Quantize every image of IN..., files, folders or patterns, into a folder; what fails does not stop the rest."""
    from ..jobs.batch.inputs import find
    from ..jobs.batch.metrics import metrics
    from ..jobs.batch.run import MODEL

    pairs = find(inputs, BatchOptions(**{name: options[name] for name in ("out_dir", "suffix", "recursive")}))
    config = click.get_current_context().meta.get(CONFIG)
    named = [options[name] for name in ("model", "palette_in", "like")]
    others = [Path(path) for path in (config, *named, *named_in(init)) if path is not None]
    told = [path for path in (log_file, metrics_file) if path is not None]
    for path in (report, options["html"]):
        if path is not None and str(path) != "-":
            with output_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)  # as that of the outputs
            told.append(path)
    made = [pair.target for pair in pairs] + ([options["out_dir"] / MODEL] if options["shared_palette"] else [])
    _check_apart(told, others, [pair.source for pair in pairs], made)
    reports: list[FileReport] = []
    start, exit_code = time.monotonic(), 1
    try:
        options["init"] = start_of(init)
        untold = _run(pairs, reports, report, log_file, is_watched(quiet), options)
        exit_code = int(any(each.error for each in reports)) or (OutputError.exit_code if untold else 0)
    except BaseException as error:
        exit_code = getattr(error, "exit_code", 1)
        error.add_note(f"after {len(reports):,} files")
        raise
    finally:
        if metrics_file is not None:
            try:
                write_text(metrics_file, metrics(reports, exit_code, time.monotonic() - start, time.time()))
            except OutputError as error:
                log.error("%s", error)
                exit_code = exit_code or error.exit_code
    sys.exit(exit_code)


def _check_apart(told: list[Path], read: list[Path], inputs: list[Path], outputs: list[Path]) -> None:
    """Refuse files to be told into that cannot be written or are something else, and outputs that are read."""
    ends = [os.path.realpath(path) for path in told if not is_stream(path)]
    taken, others = {*map(os.path.realpath, [*inputs, *outputs, *read])}, {*map(os.path.realpath, read)}
    for path in told:
        check_output(path, [], overwrite=True, stream=True)
        end = os.path.realpath(path)
        if end in ends and (end in taken or ends.count(end) > 1):
            raise OptionError(f"{path}: is something else as well; choose a file of its own")
    for path in outputs:
        if os.path.realpath(path) in others:
            raise OptionError(f"{path}: is something else as well; choose another --suffix or --out-dir")


def _run(
    pairs: "list[Pair]",
    reports: "list[FileReport]",
    report: Path | None,
    log_file: Path | None,
    watched: bool,
    options: dict[str, Any],
) -> bool:
    """Do the batch, and tell of it while it runs and when it ends; return whether the report could not be written."""
    from ..jobs.batch.run import batch

    results = batch(pairs, **options)
    with ExitStack() as stack:
        if log_file is not None:
            stack.enter_context(log_to_file(log_file))
        lines, start = _Lines(report, stack.enter_context(_opened(report))), time.monotonic()
        try:
            with file_bar(watched) as advance:
                for each in results:
                    reports.append(each)
                    advance(len(reports), len(pairs), each.input)
                    lines.add(json.dumps(asdict(each)))
                    if each.error:
                        log.error("%s", each.error)
                    else:
                        log.info("%s: %s in %.1f s", each.output, each.status, each.seconds)
        finally:
            _summarize(reports, time.monotonic() - start, watched)
    return lines.failed


class _Lines:
    """Writes lines as they come; where that fails, it is said once, and the work goes on."""

    def __init__(self, path: Path | None, file: TextIO):
        self._path, self._file, self.failed = path, file, False

    def add(self, line: str) -> None:
        """Write a line."""
        if self.failed:
            return
        try:
            self._file.write(line + "\n")
            self._file.flush()
        except OSError as error:
            self.failed = True
            log.error("%s: the report cannot be written (%s); the work goes on", self._path, (error.strerror or "").lower())


@contextmanager
def _opened(path: Path | None) -> Iterator[TextIO]:
    """Give a file to write lines to, standard output, or nothing."""
    if path is None:
        yield io.StringIO()
    elif str(path) == "-":
        if sys.stdout is None:
            raise OutputError("standard output: is closed; name a file for the report")
        yield sys.stdout
    else:
        with output_errors(path):
            file = open_text(path)
        try:
            yield file
        finally:
            with suppress(OSError):  # which was told of when it was written
                file.close()


def _summarize(reports: "list[FileReport]", seconds: float, aloud: bool) -> None:
    """Say in a line what was done: where something is wrong, or somebody looks on."""
    counts = Counter(each.status for each in reports)
    text = ", ".join(f"{counts[status]:,} {status}" for status in ("done", "skipped", "failed"))
    if unconverged := sum(each.converged is False for each in reports):
        text += f", {unconverged:,} not converged"
    read, written = (sum(getattr(each, name) or 0 for each in reports) for name in ("bytes_in", "bytes_out"))
    if written:
        text += f", {size(read)} to {size(written)}"
    level = logging.WARNING if counts["failed"] or aloud else logging.INFO
    log.log(level, "%s in %.1f s", f"{len(reports):,} {'file' if len(reports) == 1 else 'files'}: {text}", seconds)
