"""What a job tells when it is done."""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np

from .. import __version__
from ..image.image import Image
from ..model.display import Display
from ..model.distortion import Distortion
from ..system.limits import peak_memory
from . import DROPPED


@dataclass(frozen=True)
class Report:
    """The result of a job.

    Attributes
    ----------
    input : str or list of str
    output : str or None
    model : dict or None
        The mixture, as in a model file; None where every pixel is masked.
    method : {"exact", "stream", "minibatch", "lossless", "classes", "apply", "palette", "none"}
        How it was fitted: from the color table, streaming pixels, or stepwise; or not at all, because the image has no
        more colors than components, the model or the palette was given, or every pixel is masked. Of so few colors each is
        a component: "lossless" where these are all samples exactly, in the output or else in the model; "classes" where the
        labels are exact, but the output's colors of 8 bits are not, do not show all bands, or are not written.
    preset : {"picture", "segment", "fidelity"}, or None
        What the fit was for; None where nothing was fitted.
    ridge : list of float, or None
        What was added to the variance of each band, colors in [0, 1], or where the model is.
    n_components : int
        Components in the model; fewer than asked where colors were fewer, or components died.
    iterations : int
        Passes over the image, of k-means and EM; of minibatch EM, steps where it took any.
    converged : bool
    log_likelihood : list of float
        Mean log-likelihood of a pixel in nats, colors in [0, 1], or where the model is, at each iteration (minibatch: of
        held-out pixels, at each score; fidelity: of each pixel in its own component).
    seconds, pixels : dict
        Wall seconds and pixels worked on in each phase; while seeding, colors of the sample.
    total_seconds, pixels_per_second : float
        Of the whole job, and the pixels of its images in that time.
    bytes_in, bytes_out : int or None
        Sizes of the files that were read, and of the output; None of arrays, and where none was written.
    resumed : dict
        Of the pixels of each phase, those that an interrupted run had worked on already.
    peak_memory_bytes : int
        Peak resident memory of the process.
    distinct_colors : int or None
        Distinct colors of the image, where they were counted.
    colors_used : int or None
        Labels that occur in the output.
    psnr_db : float or None
        Peak signal-to-noise ratio of the palette's colors, over the bands that are shown, in the range that is shown; None
        where they are exact, or nothing was written.
    delta_e : float or None
        Mean CIE Delta E 2000 of what is shown; None where psnr_db is, or no color is written. Where colors are not counted and
        there are more than 2^20 pixels, it is of one in 61.
    psnr_db_nearest : float or None
        What psnr_db would be at least, by k-means of as many colors, which ``preset="fidelity"`` is; None where that is not
        known without more work: it is of 8-bit samples that are all shown, fitted as a picture.
    display_range : (low, high), or None
        Stored samples that the palette shows as black and white, where it is stretched; None where these are the ends of
        the samples' type, or nothing was written.
    dither : {"none", "ordered", "blue-noise"}
        How the output is dithered. What is told of its colors is that of its pixels.
    nodata : int or None
        Label of masked pixels in the output, where there are any.
    dropped : list of str
        What the input has and the output does not get: names of tags.
    curve : list of dict, or None
        Where the number of components was to be found: of each that was tried, in rising order, ``n_components``, and the
        ``psnr_db`` and ``delta_e`` of its palette on a sample; None where there is no error.
    batch_pixels, fraction_read : int and float, or None
        Minibatch only: pixels a batch, and the share of the image that was read.
    """

    input: str | list[str]
    output: str | None
    model: dict[str, Any] | None
    method: str
    n_components: int
    iterations: int
    converged: bool
    log_likelihood: list[float]
    seconds: dict[str, float]
    pixels: dict[str, int]
    distinct_colors: int | None
    colors_used: int | None = None
    psnr_db: float | None = None
    delta_e: float | None = None
    psnr_db_nearest: float | None = None
    display_range: tuple[float, float] | None = None
    preset: str | None = None
    ridge: list[float] | None = None
    dither: str = "none"
    nodata: int | None = None
    dropped: list[str] = field(default_factory=list)
    curve: list[dict[str, float | None]] | None = None
    batch_pixels: int | None = None
    fraction_read: float | None = None
    resumed: dict[str, int] = field(default_factory=dict)
    total_seconds: float = 0.0
    pixels_per_second: float = 0.0
    bytes_in: int | None = None
    bytes_out: int | None = None
    peak_memory_bytes: int = field(default_factory=peak_memory)
    version: str = __version__

    def to_json(self) -> str:
        """Write as JSON."""
        return json.dumps(asdict(self), indent=2) + "\n"


def not_converged(name: str | list[str], iterations: int) -> str:
    """Return what to tell of a fit that has not converged, of an image or several."""
    first = name if isinstance(name, str) else name[0]
    return f"{first}: not converged after {iterations} iterations; raise --max-iter or --tol"


class Written(NamedTuple):
    """What became of the pixels of an image in its output.

    Attributes
    ----------
    nodata : int or None
        The label of masked pixels, where there are any.
    distortion : Distortion or None
    display : Display or None
        How they are shown; None where all are masked.
    exact : bool
        Whether the output gives all samples back.
    dropped : list of str
        What the input has and the output does not get.
    bytes_out : int or None
        The size of the output.
    in_color : bool
        Whether it has colors.
    dither : str
        How they are dithered.
    """

    nodata: int | None
    distortion: Distortion | None
    display: Display | None
    exact: bool
    dropped: list[str]
    bytes_out: int | None
    in_color: bool
    dither: str

    def shows_samples(self, dtype: np.dtype, n_bands: int) -> bool:
        """Whether colors show all samples as they are, in 8 bits."""
        shown = self.display is not None and self.display.by_type and self.display.shows_all(n_bands)
        return shown and self.in_color and dtype == np.uint8

    def facts(self) -> dict[str, Any]:
        """Return what a report tells of it."""
        assert self.distortion is not None
        assert self.display is not None
        return {
            "dither": self.dither,
            "nodata": self.nodata,
            "colors_used": self.distortion.colors_used,
            "psnr_db": self.distortion.psnr_db,
            "delta_e": self.distortion.delta_e if self.in_color else None,
            "bytes_out": self.bytes_out,
            "dropped": self.dropped,
            "display_range": None if self.display.by_type else self.display.range,
        }


def told_dropped(images: Sequence[Image], *more: str) -> list[str]:
    """Return the names of what the inputs have, or else is usual, and the output does not get, and say them in a line."""
    names = sorted({*more, *(name for image in images for name in image.metadata.dropped)})
    if names:
        logging.getLogger(DROPPED).warning("%s: not in the output: %s", images[0].name, ", ".join(names))
    return names
