"""The command: options in, one call, one line where something is wrong."""

import json
import logging
import os
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from . import __version__
from .errors import ModelError, OptionError, StreamGMMError
from .image.atomic import check_output, replacing

EPILOG = (
    "Exit codes: 0 done, 1 unexpected, 2 usage, 3 input unreadable or unsupported, 4 output cannot be written, "
    "5 does not fit the memory budget, 130 interrupted."
)
# What a person calls the phases of a job.
PHASES = {
    "compile": "compiling kernels (once per machine)",
    "count": "counting colours",
    "sample": "sampling",
    "range": "finding the range",
    "seed": "seeding",
    "fit": "fitting",
    "label": "labelling",
    "reduce": "making reduced levels",
    "write": "writing",
}


FILE = click.Path(path_type=Path, readable=False)  # who reads it says better what is wrong


class Numbers(click.ParamType):
    """Whole numbers, separated by commas."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Read what was written."""
        try:
            return tuple(int(number) for number in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not numbers separated by commas, such as 4,3,2", param, ctx)


def _options(*decorators: Callable) -> Callable:
    """Join options that several commands share."""

    def decorate(command: Callable) -> Callable:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


fit_options = _options(
    click.option("-k", "--components", "n_components", default=16, show_default=True, help="Components, and colours."),
    click.option(
        "--covariance",
        "covariance_type",
        default="full",
        show_default=True,
        help="full, tied, diag or spherical.",
        metavar="TYPE",
    ),
    click.option(
        "--method",
        default="auto",
        show_default=True,
        metavar="METHOD",
        help="exact (table of distinct colours: uint8, up to 3 bands), stream (read every pixel at each iteration), minibatch "
        "(random tiles; may stop early), or auto: the first that is possible.",
    ),
    click.option(
        "--init",
        default="kmeans",
        show_default=True,
        metavar="INIT",
        help="kmeans, k-means++ or random; or a model file to start from.",
    ),
    click.option("--max-iter", default=100, show_default=True, help="Iterations at the most."),
    click.option("--tol", default=1e-4, show_default=True, help="Converged when an iteration gains less, in nats per pixel."),
    click.option("--reg-covar", default=1e-6, show_default=True, help="Added to variances of colours in [0, 1]."),
    click.option("--seed", default=0, show_default=True, help="Seeds everything that is drawn."),
)
read_options = _options(
    click.option("--bands", type=Numbers(), metavar="N,...", help="Bands to take, from 1. [default: all but alpha]"),
    click.option("--nodata", type=float, metavar="VALUE", help="Samples of masked pixels. [default: what GDAL_NODATA says]"),
    click.option("--page", type=int, metavar="N", help="Page of the TIFF, from 0. [default: the first image]"),
    click.option("--level", default=0, show_default=True, metavar="N", help="Reduced level of the page; 0 is the page itself."),
    click.option("--all-pages", is_flag=True, help="Take all pages that are images: one palette, and a stack as output."),
)
write_options = _options(
    click.option("--output", default="palette", show_default=True, metavar="FORM", help="palette, labels (no colours) or rgb."),
    click.option("--labels", "output", flag_value="labels", help="The same as --output labels."),
    click.option(
        "--compression",
        default="deflate",
        show_default=True,
        metavar="CODEC",
        help="deflate, none, lzw, zstd or packbits.",
    ),
    click.option("--compression-level", type=int, metavar="N", help="0 to 12 for deflate (4), 1 to 22 for zstd (9)."),
    click.option("--tile-size", type=int, metavar="N", help="Side of the output's tiles. [default: the input's, or 256]"),
    click.option(
        "--layout",
        default="chained",
        show_default=True,
        metavar="KIND",
        help="Reduced levels are chained pages, in a subifd, or as in a cog.",
    ),
    click.option(
        "--pyramid/--no-pyramid",
        default=None,
        help="Write reduced levels. [default: where a side has more than 8192 pixels, and in a cog]",
    ),
    click.option("--resampling", default="mode", show_default=True, metavar="RULE", help="Of reduced levels: mode or nearest."),
    click.option("--pack", is_flag=True, help="Store labels in 1, 2 or 4 bits where they fit."),
    click.option("--bigtiff", default="auto", show_default=True, metavar="WHEN", help="auto, yes or no."),
    click.option("--display-bands", type=Numbers(), metavar="R,G,B", help="Bands of the model that the palette shows, from 1."),
    click.option("--palette-out", type=FILE, metavar="FILE", help="Write the palette: .gpl (GIMP), .json, or .txt (GDAL)."),
    click.option("--confidence", type=FILE, metavar="FILE", help="Write a TIFF of each pixel's largest responsibility."),
    click.option("--overwrite", is_flag=True, help="Replace outputs that exist."),
)
run_options = _options(
    click.option(
        "--chunk-size",
        default="64MiB",
        show_default=True,
        metavar="SIZE",
        help="Decoded pixels in memory at once: bytes (64MiB) or pixels (4Mpx).",
    ),
    click.option("--threads", type=int, metavar="N", help="[default: all processors]"),
    click.option("--report", type=FILE, metavar="FILE", help="Write a JSON report; - is standard output."),
    click.option("-q", "--quiet", is_flag=True, help="No progress bars."),
    click.option("-v", "--verbose", is_flag=True, help="Say what is done, and show where errors come from."),
)


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="streamgmm")
def cli() -> None:
    """Quantize images of any size with Gaussian mixtures fitted to every pixel."""


@cli.command(epilog=EPILOG)
@click.argument("source", metavar="IN", type=FILE)
@click.argument("target", metavar="OUT", type=FILE)
@fit_options
@read_options
@write_options
@run_options
def quantize(source: Path, target: Path, init: str, report: Path | None, quiet: bool, verbose: bool, **options: Any) -> None:
    """Fit a mixture to IN and write it to OUT, a palette TIFF of its colours."""
    from .jobs.quantize import quantize

    _check_report(report, [source, *_outputs(target, options)], options["overwrite"])
    with _progress(quiet, verbose) as progress:
        result = quantize(source, target, init=_start(init), progress=progress, **options)
    _write_report(report, result)


@cli.command(epilog=EPILOG)
@click.argument("sources", metavar="IN...", type=FILE, nargs=-1, required=True)
@click.option("-o", "--output", required=True, type=FILE, metavar="MODEL.json", help="The model file to write.")
@fit_options
@read_options
@click.option("--overwrite", is_flag=True, help="Replace a model that exists.")
@run_options
def fit(
    sources: tuple[Path, ...],
    output: Path,
    init: str,
    overwrite: bool,
    report: Path | None,
    quiet: bool,
    verbose: bool,
    **options: Any,
) -> None:
    """Fit one mixture to every pixel of IN..., and write it to a model file."""
    from .jobs.fit import fit_image

    check_output(output, list(sources), overwrite)
    _check_report(report, [*sources, output], overwrite)
    with _progress(quiet, verbose) as progress:
        mixture, result = fit_image(list(sources), init=_start(init), progress=progress, **options)
    with replacing(output) as part:
        part.write_text(mixture.to_json(), encoding="utf-8")
    _write_report(report, result)


@cli.command(epilog=EPILOG)
@click.argument("model", metavar="MODEL.json", type=FILE)
@click.argument("source", metavar="IN", type=FILE)
@click.argument("target", metavar="OUT", type=FILE)
@read_options
@write_options
@run_options
def apply(model: Path, source: Path, target: Path, report: Path | None, quiet: bool, verbose: bool, **options: Any) -> None:
    """Give every pixel of IN its colour of a model, and write it to OUT, a palette TIFF."""
    from .jobs.apply import apply

    _check_report(report, [model, source, *_outputs(target, options)], options["overwrite"])
    with _progress(quiet, verbose) as progress:
        result = apply(model, source, target, progress=progress, **options)
    _write_report(report, result)


@cli.command(epilog=EPILOG)
@click.argument("path", metavar="PATH", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("-v", "--verbose", is_flag=True, help="Show where errors come from.")
def info(path: Path, as_json: bool, verbose: bool) -> None:
    """Describe PATH, an image or a model."""
    described = _describe(path)
    if as_json:
        click.echo(json.dumps(described, indent=2))
        return
    width = max(map(len, described))
    for key, value in described.items():
        text = ", ".join(map(str, value)) or "nothing" if isinstance(value, list | tuple) else value
        click.echo(f"{key.replace('_', ' '):<{width}}  {text}")


def _describe(path: Path) -> dict[str, Any]:
    from .image.source import open_image

    if _is_json(path):
        from .jobs.apply import load_model

        return load_model(path).info()
    image = open_image(path)
    try:
        return image.info()
    finally:
        image.close()


def _is_json(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(64).lstrip().startswith(b"{")
    except OSError:  # said better by who reads it
        return False


def _start(init: str) -> Any:
    """Return the mixture of a model file, or the name of a way to start."""
    if not Path(init).suffix:
        return init
    from .jobs.apply import load_model

    try:
        return load_model(init)
    except ModelError as error:
        raise OptionError(f"init: {error}") from None


def _outputs(target: Path, options: dict[str, Any]) -> list[Path]:
    return [target, *(options[name] for name in ("palette_out", "confidence") if options[name])]


def _check_report(report: Path | None, others: list[Path], overwrite: bool) -> None:
    """Refuse a report that cannot be written before any work is done; an old report is replaced."""
    if report is not None and str(report) != "-":
        check_output(report, others, overwrite=True)
        if report.resolve() in [other.resolve() for other in others]:
            raise OptionError(f"{report}: the report needs a file of its own")


def _write_report(report: Path | None, result: Any) -> None:
    if report is None:
        return
    if str(report) == "-":
        click.echo(result.to_json(), nl=False)
        return
    with replacing(report) as part:
        part.write_text(result.to_json(), encoding="utf-8")


@contextmanager
def _progress(quiet: bool, verbose: bool):
    """Show a bar for each phase on a terminal, and hand out the callback that moves it."""
    if quiet or not sys.stderr.isatty():
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


def main(arguments: list[str] | None = None) -> None:
    """Run the command and leave with its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    verbose = "-v" in arguments or "--verbose" in arguments
    # OpenMP's threads spin between the short launches of a fit: on a busy machine that made seeding 8 times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    _log_to_stderr(logging.INFO if verbose else logging.WARNING)
    try:
        cli.main(arguments, prog_name="streamgmm", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except StreamGMMError as error:
        _fail(str(error), error.exit_code, verbose)
    except (KeyboardInterrupt, click.Abort):
        _fail("interrupted; nothing was left at the output", 130, verbose=False)
    except Exception as error:
        _fail(f"unexpected {type(error).__name__}: {error}; run again with -v for the details", 1, verbose)


def _log_to_stderr(level: int) -> None:
    """Show what the package logs, and nothing that other packages do."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("streamgmm: %(message)s"))
    logger = logging.getLogger(__package__)
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(level)


def _fail(message: str, exit_code: int, verbose: bool) -> None:
    if verbose:
        logging.getLogger(__name__).info("where it happened", exc_info=True)
    click.echo("streamgmm: " + " ".join(message.split()), err=True)
    sys.exit(exit_code)
