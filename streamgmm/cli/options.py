"""The options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..errors import ModelError, OptionError

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


def joined(*decorators: Callable) -> Callable:
    """Join options that several commands share."""

    def decorate(command: Callable) -> Callable:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


fit_options = joined(
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
read_options = joined(
    click.option("--bands", type=Numbers(), metavar="N,...", help="Bands to take, from 1. [default: all but alpha]"),
    click.option("--nodata", type=float, metavar="VALUE", help="Samples of masked pixels. [default: what GDAL_NODATA says]"),
    click.option("--page", type=int, metavar="N", help="Page of the TIFF, from 0. [default: the first image]"),
    click.option("--level", default=0, show_default=True, metavar="N", help="Reduced level of the page; 0 is the page itself."),
    click.option("--all-pages", is_flag=True, help="Take all pages that are images: one palette, and a stack as output."),
)
write_options = joined(
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
    click.option("--min-psnr", type=float, metavar="DB", help="Warn where the peak signal-to-noise ratio is less."),
    click.option("--overwrite", is_flag=True, help="Replace outputs that exist."),
)
extra_options = joined(
    click.option("--palette-out", type=FILE, metavar="FILE", help="Write the palette: .gpl (GIMP), .json, or .txt (GDAL)."),
    click.option("--confidence", type=FILE, metavar="FILE", help="Write a TIFF of each pixel's largest responsibility."),
)
job_options = joined(
    click.option("--work-dir", type=FILE, metavar="DIR", help="Where unfinished work is kept. [default: beside the output]"),
    click.option("--resume/--no-resume", default=True, help="Go on where the same job was interrupted. [default: resume]"),
    click.option("--wait", default=0.0, metavar="SECONDS", help="Wait for another run that writes the same output."),
    click.option("--strict", is_flag=True, help="Fail where the fit has not converged, or --min-psnr is missed."),
)
run_options = joined(
    click.option(
        "--chunk-size",
        default="64MiB",
        show_default=True,
        metavar="SIZE",
        help="Decoded pixels in memory at once: bytes (64MiB) or pixels (4Mpx).",
    ),
    click.option("--threads", type=int, metavar="N", help="[default: all processors it may use]"),
    click.option("--memory", metavar="SIZE", help="Memory it may take, such as 512MiB. [default: 3/4 of what is free]"),
    click.option("--report", type=FILE, metavar="FILE", help="Write a JSON report (batch: lines); - is standard output."),
    click.option("-q", "--quiet", is_flag=True, help="No progress bars."),
    click.option("-v", "--verbose", is_flag=True, help="Say what is done, and show where errors come from."),
)


def start_of(init: str) -> Any:
    """Return the mixture of a model file, or the name of a way to start."""
    if not Path(init).suffix:
        return init
    from ..jobs.model_file import load_model

    try:
        return load_model(init)
    except ModelError as error:
        raise OptionError(f"init: {error}") from None
