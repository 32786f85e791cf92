"""The commands: options in, one call."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from .. import __version__
from ..errors import OptionError
from ..options import FitOptions, OutputOptions, ReadOptions, ResourceOptions, RunOptions
from ..system.files import check_output, replacing
from .batch import batch
from .options import FILE, options_of, start_of
from .terminal import progress_bars, told_options, verbose_option

EPILOG = (
    "Exit codes: 0 done, 1 unexpected, 2 usage, 3 input unreadable or unsupported, 4 output cannot be written, "
    "5 does not fit the memory budget, 6 not converged or quality missed (--strict), 7 another run holds the output, "
    "129, 130 and 143 interrupted."
)


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="streamgmm")
def cli() -> None:
    """Quantize images of any size with Gaussian mixtures fitted to every pixel."""


cli.add_command(batch)
batch.epilog = EPILOG


@cli.command(epilog=EPILOG)
@click.argument("source", metavar="IN", type=FILE)
@click.argument("target", metavar="OUT", type=FILE)
@options_of(FitOptions, ReadOptions, OutputOptions, RunOptions, ResourceOptions)
@told_options
def quantize(source: Path, target: Path, init: str, report: Path | None, quiet: bool, **options: Any) -> None:
    """Fit a mixture to IN and write it to OUT, a palette TIFF of its colors."""
    from ..jobs.quantize import quantize

    _check_report(report, [source, *_outputs(target, options)])
    with progress_bars(quiet) as progress:
        result = quantize(source, target, init=start_of(init), progress=progress, **options)
    _write_report(report, result)


@cli.command(epilog=EPILOG)
@click.argument("sources", metavar="IN...", type=FILE, nargs=-1, required=True)
@click.option("-o", "--output", required=True, type=FILE, metavar="MODEL.json", help="The model file to write.")
@options_of(FitOptions, ReadOptions, RunOptions, ResourceOptions)
@told_options
def fit(sources: tuple[Path, ...], output: Path, init: str, report: Path | None, quiet: bool, **options: Any) -> None:
    """Fit one mixture to every pixel of IN..., and write it to a model file."""
    from ..jobs.fit import FitToFile, fit_to_file

    _check_report(report, [*sources, output])
    with progress_bars(quiet) as progress:
        result = fit_to_file(FitToFile(sources, output, init=start_of(init), progress=progress, **options))
    _write_report(report, result)


@cli.command(epilog=EPILOG)
@click.argument("model", metavar="MODEL.json", type=FILE)
@click.argument("source", metavar="IN", type=FILE)
@click.argument("target", metavar="OUT", type=FILE)
@options_of(ReadOptions, OutputOptions, RunOptions, ResourceOptions)
@told_options
def apply(model: Path, source: Path, target: Path, report: Path | None, quiet: bool, **options: Any) -> None:
    """Give every pixel of IN its color of a model, and write it to OUT, a palette TIFF."""
    from ..jobs.apply import apply

    _check_report(report, [model, source, *_outputs(target, options)])
    with progress_bars(quiet) as progress:
        result = apply(model, source, target, progress=progress, **options)
    _write_report(report, result)


@cli.command(epilog=EPILOG)
@click.argument("path", metavar="PATH", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@verbose_option("Show where errors come from.")
def info(path: Path, as_json: bool) -> None:
    """Describe PATH, an image or a model."""
    described = _describe(path)
    if as_json:
        click.echo(json.dumps(described, indent=2))
        return
    width = max(map(len, described))
    for key, value in described.items():
        text = ", ".join(map(str, value)) or "nothing" if isinstance(value, list | tuple) else value
        click.echo(f"{key.replace('_', ' '):<{width}}  {text}")


@cli.command(epilog=EPILOG)
@verbose_option("Say what is done.")
def warmup() -> None:
    """Compile all kernels ahead, as when an image of a container is built; STREAMGMM_CACHE_DIR says where they are kept."""
    from ..model.warmup import warm_up

    warm_up()


def _describe(path: Path) -> dict[str, Any]:
    from ..image.open import open_image

    if _is_json(path):
        from ..jobs.model_file import load_model

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


def _outputs(target: Path, options: dict[str, Any]) -> list[Path]:
    return [target, *(options[name] for name in ("palette_out", "confidence") if options[name])]


def _check_report(report: Path | None, others: Sequence[Path]) -> None:
    """Refuse a report that cannot be written before any work is done; an old report is replaced."""
    if report is not None and str(report) != "-":
        check_output(report, [*others], overwrite=True)
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
