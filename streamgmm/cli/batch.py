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
from ..image.atomic import check_output, output_errors, replacing
from .options import FILE, Numbers, fit_options, job_options, read_options, run_options, start_of, write_options
from .terminal import file_bar, log_to_file, log_to_stderr

if TYPE_CHECKING:
    from ..jobs.inputs import Item
    from ..jobs.tasks import Entry

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
@click.option("--out-dir", type=FILE, required=True, metavar="DIR", help="Where the outputs are written.")
@click.option("--suffix", default=".tif", show_default=True, metavar="END", help="What the name of an output ends in.")
@click.option("--recursive", is_flag=True, help="Take folders in folders, and keep their tree.")
@click.option("--model", type=FILE, metavar="MODEL.json", help="Give all the colours of a model.")
@click.option(
    "--shared-palette",
    is_flag=False,
    flag_value="pixels",
    metavar="[BY]",
    help="Fit one model to all, with pixels or files of equal weight; by itself: pixels. [default: one model for each]",
)
@click.option("--skip-existing", is_flag=True, help="Leave outputs that were made of the same input, with the same options.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first input that fails.")
@click.option("--jobs", default=1, show_default=True, metavar="N", help="Inputs at once, inside --threads and --memory.")
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
@fit_options
@read_options
@write_options
@job_options
@run_options
def batch(
    inputs: tuple[str, ...],
    init: str,
    report: Path | None,
    log_file: Path | None,
    metrics_file: Path | None,
    quiet: bool,
    verbose: bool,
    **options: Any,
) -> None:
    """Quantize every image of IN..., files, folders or patterns, into a folder; what fails does not stop the rest."""
    from ..jobs.inputs import find
    from ..jobs.metrics import metrics

    if verbose:
        log_to_stderr(logging.INFO)  # also where a file says so
    items = find(inputs, options["out_dir"], options.pop("suffix"), options.pop("recursive"))
    _check_apart([path for path in (report, log_file, metrics_file) if path is not None and str(path) != "-"], items)
    entries: list[Entry] = []
    start, exit_code = time.monotonic(), 1
    try:
        options["init"] = start_of(init)
        _run(items, entries, report, log_file, sys.stderr.isatty() and not quiet, options)
        exit_code = int(any(entry.error for entry in entries))
    except BaseException as error:
        exit_code = getattr(error, "exit_code", 1)
        error.add_note(f"after {len(entries):,} files")
        raise
    finally:
        if metrics_file is not None:
            with replacing(metrics_file) as part:
                part.write_text(metrics(entries, exit_code, time.monotonic() - start, time.time()))
    sys.exit(exit_code)


def _check_apart(paths: list[Path], items: "list[Item]") -> None:
    """Refuse files to be written that cannot be, or are something else."""
    images = {os.path.realpath(path) for item in items for path in (item.source, item.target)}
    for path in paths:
        check_output(path, [], overwrite=True)
        if os.path.realpath(path) in images or paths.count(path) > 1:
            raise OptionError(f"{path}: is something else as well; choose a file of its own")


def _run(
    items: "list[Item]",
    entries: "list[Entry]",
    report: Path | None,
    log_file: Path | None,
    watched: bool,
    options: dict[str, Any],
) -> None:
    """Do the batch, and tell of it while it runs and when it ends."""
    from ..jobs.batch import batch

    results = batch(items, **options)
    with ExitStack() as stack:
        if log_file is not None:
            stack.enter_context(log_to_file(log_file))
        lines, start = stack.enter_context(_report(report)), time.monotonic()
        try:
            with file_bar(watched) as advance:
                for entry in results:
                    entries.append(entry)
                    advance(len(entries), len(items), entry.input)
                    lines.write(json.dumps(asdict(entry)) + "\n")
                    lines.flush()
                    if entry.error:
                        log.error("%s", entry.error)
                    else:
                        log.info("%s: %s in %.1f s", entry.output, entry.status, entry.seconds)
        finally:
            _summarize(entries, time.monotonic() - start, watched)


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


def _summarize(entries: "list[Entry]", seconds: float, aloud: bool) -> None:
    """Say in a line what was done: where something is wrong, or somebody looks on."""
    counts = Counter(entry.status for entry in entries)
    text = ", ".join(f"{counts[status]:,} {status}" for status in ("done", "skipped", "failed"))
    level = logging.WARNING if counts["failed"] or aloud else logging.INFO
    log.log(level, "%s in %.1f s", f"{len(entries):,} {'file' if len(entries) == 1 else 'files'}: {text}", seconds)
