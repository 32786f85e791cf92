"""The commands: options in, one call."""

import codecs
import json
import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import __version__
from ..errors import ImageReadError, OptionError
from ..options import ClassMapOptions, FitOptions, ImageOptions, OutputOptions, ReadOptions, ResourceOptions, RunOptions
from ..options.page import PageOptions
from ..options.palette import PaletteOptions
from ..system.files import check_output, is_stream, open_input, write_text
from .batch import batch
from .compare import compare
from .help import HEADINGS, WIDEST, Group, Option
from .options import FILE, named_in, options_of, start_of
from .summary import summary, summary_of_fit
from .terminal import is_verbose, is_watched, progress_bars, say, told_options, verbose_option

if TYPE_CHECKING:
    from ..jobs.report import Report

log = logging.getLogger(__name__)

EPILOG = (
    "Exit codes: 0 done, 1 unexpected, 2 usage, 3 input unreadable or unsupported, 4 output cannot be written, "
    "5 does not fit the memory budget, 6 not converged or quality missed (--strict), 7 another run holds the output, "
    "129, 130 and 143 interrupted."
)


@click.group(cls=Group, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": WIDEST})
@click.version_option(__version__, prog_name="streamgmm")
def cli() -> None:
    """Quantize images of any size with Gaussian mixtures fitted to every pixel."""


for command in (batch, compare):
    cli.add_command(command)
    command.epilog = EPILOG


@cli.command(epilog=EPILOG)
@click.argument("source", metavar="IN", type=FILE)
@click.argument("target", metavar="OUT", type=FILE)
@options_of(FitOptions, PaletteOptions, ClassMapOptions, ReadOptions, OutputOptions, PageOptions, RunOptions, ResourceOptions)
@told_options
def quantize(source: Path, target: Path, init: str, report: Path | None, quiet: bool, **options: Any) -> None:
    """Fit a mixture to IN and write it to OUT, a palette TIFF of its colors."""
    from ..jobs.quantize import Quantize, quantize_image

    with progress_bars(quiet) as progress:
        given = Quantize(source, target, init=start_of(init), progress=progress, **options)
        read = [source, *named_in(init), *(Path(options[name]) for name in ("palette_in", "like") if options[name])]
        _check_apart(report, read, _outputs(target, options))
        result = quantize_image(given)
    _tell(result, report, quiet, partial(summary, form=options["output"], values=options["keep_values"]))


@cli.command(epilog=EPILOG)
@click.argument("sources", metavar="IN...", type=FILE, nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    cls=Option,
    heading=HEADINGS[OutputOptions],
    required=True,
    type=FILE,
    metavar="MODEL.json",
    help="The model file to write.",
)
@options_of(FitOptions, ReadOptions, RunOptions, ResourceOptions)
@told_options
def fit(sources: tuple[Path, ...], output: Path, init: str, report: Path | None, quiet: bool, **options: Any) -> None:
    """Fit one mixture to every pixel of IN..., and write it to a model file."""
    from ..jobs.fit import FitToFile, fit_to_file

    with progress_bars(quiet) as progress:
        given = FitToFile(sources, output, init=start_of(init), progress=progress, **options)
        like = [Path(options["like"])] if options["like"] else []
        _check_apart(report, [*sources, *named_in(init), *like], [output])
        result = fit_to_file(given)
    _tell(result, report, quiet, summary_of_fit)


@cli.command(epilog=EPILOG)
@click.argument("model", metavar="MODEL.json", type=FILE)
@click.argument("source", metavar="IN", type=FILE)
@click.argument("target", metavar="OUT", type=FILE)
@options_of(ReadOptions, OutputOptions, PageOptions, RunOptions, ResourceOptions)
@told_options
def apply(model: Path, source: Path, target: Path, report: Path | None, quiet: bool, **options: Any) -> None:
    """Give every pixel of IN its color of a model, and write it to OUT, a palette TIFF."""
    from ..jobs.apply import Apply, apply_to_image

    with progress_bars(quiet) as progress:
        given = Apply(model, source, target, progress=progress, **options)
        _check_apart(report, [model, source], _outputs(target, options))
        result = apply_to_image(given)
    _tell(result, report, quiet, partial(summary, form=options["output"]))


@cli.command(epilog=EPILOG)
@click.argument("path", metavar="PATH", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@options_of(ImageOptions)
@verbose_option("Show where errors come from.")
def info(path: Path, as_json: bool, **options: Any) -> None:
    """Describe PATH, an image or a model."""
    described = _describe(path, options)
    if as_json:
        say(json.dumps(described, indent=2) + "\n")
        return
    width = max(map(len, described))
    texts = {
        key: ", ".join(map(str, value)) or "nothing" if isinstance(value, list | tuple) else value
        for key, value in described.items()
    }
    say("".join(f"{key.replace('_', ' '):<{width}}  {text}\n" for key, text in texts.items()))


@cli.command(epilog=EPILOG)
@verbose_option("Say what is done.")
def warmup() -> None:
    """Compile all kernels ahead, as when an image of a container is built; STREAMGMM_CACHE_DIR says where they are kept."""
    from ..model.warmup import warm_up

    warm_up()


def _describe(path: Path, options: dict[str, Any]) -> dict[str, Any]:
    from ..image.open import open_image

    if _is_json(path):
        from ..jobs.model_file import load_model

        return load_model(path).info()
    image = open_image(path, **options)
    try:
        return image.info()
    finally:
        image.close()


def _is_json(path: Path) -> bool:
    try:
        with open_input(path) as file:
            return file.read(64).removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{")
    except ImageReadError:  # said better by who reads it
        return False


def _outputs(target: Path, options: dict[str, Any]) -> list[Path]:
    return [target, *(options[name] for name in ("palette_out", "confidence", "html") if options[name])]


def _check_apart(report: Path | None, inputs: Sequence[Path], outputs: Sequence[Path]) -> None:
    """Refuse a report that cannot be written before any work is done, and what would be written to an input.

    An old report is replaced.
    """
    for path in outputs:
        check_output(path, [*inputs], overwrite=True, stream=True)  # who writes it says the rest
    if report is not None and str(report) != "-":
        check_output(report, [*inputs, *outputs], overwrite=True, stream=True)
        if os.path.realpath(report) in [os.path.realpath(other) for other in (*inputs, *outputs) if not is_stream(other)]:
            raise OptionError(f"{report}: the report needs a file of its own")


def _tell(result: "Report", report: Path | None, quiet: bool, summary: Callable[["Report"], str]) -> None:
    """Write the report, and say on a terminal what was achieved, and what is wrong with it."""
    if report is not None and str(report) == "-":
        say(result.to_json())
    elif report is not None:
        write_text(report, result.to_json())
    if is_watched(quiet):
        log.warning("%s", summary(result))
    if is_watched(quiet) and not is_verbose() and not result.converged:
        from ..jobs.report import not_converged

        log.warning("%s", not_converged(result.input, result.iterations))
