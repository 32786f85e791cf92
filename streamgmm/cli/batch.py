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
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from ..errors import OptionError
from ..options import BatchOptions, FitOptions, ReadOptions, ResourceOptions, RunOptions, WriteOptions
from ..system.files import check_output, output_errors, replacing
from .options import FILE, Numbers, options_of, start_of
from .terminal import file_bar, log_to_file, told_options

if TYPE_CHECKING:
    from ..jobs.batch.inputs import Pair
    from ..jobs.batch.worker import FileReport

log = logging.getLogger(__name__)


def read_config(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    """Take options from a TOML file, as defaults of the command line."""
    if path is None:
        return
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"{path}: not TOML ({error})") from None
    options = {
        name.lstrip("-"): option
        for option in ctx.command.params
        if isinstance(option, click.Option) and option is not param
        for name in option.opts
        if name.startswith("--")
    }
    ctx.default_map = {}
    for key, value in values.items():
        if key not in options:
            raise OptionError(f"{path}: there is no option {key!r}; choose from {', '.join(sorted(options))}")
        option, text = options[key], _written(options[key], value)
        if text is None:
            raise OptionError(f"{path}: {key} is {value!r}, which is of the wrong type; {option.help}")
        ctx.default_map[option.name] = text


def _written(option: click.Option, value: Any) -> str | bool | None:
    """Return a value as it is written on the command line, or None where its type is not that of the option."""
    if option.is_bool_flag:
        return value if isinstance(value, bool) else None
    if value is True:
        return option.flag_value if isinstance(option.flag_value, str) else None  # what it means without a value
    if isinstance(option.type, Numbers) and isinstance(value, list):
        return ",".join(map(str, value)) or None
    wanted = (int, float) if option.type in (click.INT, click.FLOAT) or isinstance(option.type, Numbers) else str
    return str(value) if isinstance(value, wanted) and not isinstance(value, bool) else None


@click.command()
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
@options_of(FitOptions, ReadOptions, WriteOptions, RunOptions, ResourceOptions)
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

    pairs = find(inputs, BatchOptions(**{name: options[name] for name in ("out_dir", "suffix", "recursive")}))
    _check_apart([path for path in (report, log_file, metrics_file) if path is not None and str(path) != "-"], pairs)
    reports: list[FileReport] = []
    start, exit_code = time.monotonic(), 1
    try:
        options["init"] = start_of(init)
        _run(pairs, reports, report, log_file, sys.stderr.isatty() and not quiet, options)
        exit_code = int(any(each.error for each in reports))
    except BaseException as error:
        exit_code = getattr(error, "exit_code", 1)
        error.add_note(f"after {len(reports):,} files")
        raise
    finally:
        if metrics_file is not None:
            with replacing(metrics_file) as part:
                part.write_text(metrics(reports, exit_code, time.monotonic() - start, time.time()), encoding="utf-8")
    sys.exit(exit_code)


def _check_apart(paths: list[Path], pairs: "list[Pair]") -> None:
    """Refuse files to be written that cannot be, or are something else."""
    images = {os.path.realpath(path) for pair in pairs for path in (pair.source, pair.target)}
    for path in paths:
        check_output(path, [], overwrite=True)
        if os.path.realpath(path) in images or paths.count(path) > 1:
            raise OptionError(f"{path}: is something else as well; choose a file of its own")


def _run(
    pairs: "list[Pair]",
    reports: "list[FileReport]",
    report: Path | None,
    log_file: Path | None,
    watched: bool,
    options: dict[str, Any],
) -> None:
    """Do the batch, and tell of it while it runs and when it ends."""
    from ..jobs.batch.run import batch

    results = batch(pairs, **options)
    with ExitStack() as stack:
        if log_file is not None:
            stack.enter_context(log_to_file(log_file))
        lines, start = stack.enter_context(_report(report)), time.monotonic()
        try:
            with file_bar(watched) as advance:
                for each in results:
                    reports.append(each)
                    advance(len(reports), len(pairs), each.input)
                    lines.write(json.dumps(asdict(each)) + "\n")
                    lines.flush()
                    if each.error:
                        log.error("%s", each.error)
                    else:
                        log.info("%s: %s in %.1f s", each.output, each.status, each.seconds)
        finally:
            _summarize(reports, time.monotonic() - start, watched)


@contextmanager
def _report(path: Path | None) -> Iterator[TextIO]:
    """Give a file to write lines to as they come, standard output, or nothing."""
    if path is None:
        yield io.StringIO()
    elif str(path) == "-":
        yield sys.stdout
    else:
        with output_errors(path), open(path, "w", encoding="utf-8") as file:
            yield file


def _summarize(reports: "list[FileReport]", seconds: float, aloud: bool) -> None:
    """Say in a line what was done: where something is wrong, or somebody looks on."""
    counts = Counter(each.status for each in reports)
    text = ", ".join(f"{counts[status]:,} {status}" for status in ("done", "skipped", "failed"))
    level = logging.WARNING if counts["failed"] or aloud else logging.INFO
    log.log(level, "%s in %.1f s", f"{len(reports):,} {'file' if len(reports) == 1 else 'files'}: {text}", seconds)
