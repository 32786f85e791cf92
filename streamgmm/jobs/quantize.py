"""The main job: fit a mixture to an image, and write the image back with its colours."""

import logging
import os
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from ..errors import NoPixelsError
from ..image.pyramid import Resampling
from ..image.source import Image, ReadOptions, Source, open_images
from ..image.writer import BigTiff, Compression, Form, Structure
from ..model.mixture import CovarianceType, Mixture
from ..model.palette import LookupTable, classify, has_table
from ..model.seeding import Init
from .engine import LocalEngine
from .fit import FitResult, fit_pixels
from .options import FitOptions, Method, WriteOptions, options_from
from .paint import Labeller, Painter, Tally
from .pixels import PixelStream
from .report import Clock, Progress, Report, dropped
from .resources import Resources

log = logging.getLogger(__name__)


def quantize(
    src: Source,
    dst: str | os.PathLike,
    *,
    n_components: int = 16,
    covariance_type: CovarianceType = "full",
    method: Method = "auto",
    init: Init | np.ndarray | Mixture = "kmeans",
    max_iter: int = 100,
    tol: float = 1e-4,
    reg_covar: float = 1e-6,
    seed: int = 0,
    bands: tuple[int, ...] | None = None,
    nodata: float | None = None,
    page: int | None = None,
    level: int = 0,
    all_pages: bool = False,
    output: Form = "palette",
    compression: Compression = "deflate",
    compression_level: int | None = None,
    tile_size: int | None = None,
    layout: Structure = "chained",
    pyramid: bool | None = None,
    resampling: Resampling = "mode",
    pack: bool = False,
    bigtiff: BigTiff = "auto",
    display_bands: tuple[int, ...] | None = None,
    palette_out: str | os.PathLike | None = None,
    confidence: str | os.PathLike | None = None,
    overwrite: bool = False,
    chunk_size: str | int = "64MiB",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Fit a Gaussian mixture to every pixel of an image, and write the image as a palette TIFF with its colours.

    The options are those of :func:`streamgmm.fit_image` and :func:`streamgmm.apply`. The same input, options and seed give
    the same bytes, for any chunk size and number of threads. An image whose every pixel is masked gives an output of nodata.

    Parameters
    ----------
    src : path, or ndarray of shape (height, width[, bands])
    dst : path
        The output, which appears whole or not at all.

    Returns
    -------
    Report

    Raises
    ------
    OptionError, ImageReadError, UnsupportedImageError, OutputError, MemoryBudgetError, Cancelled
    """
    given = locals()
    return quantize_image(
        src,
        Path(dst),
        options_from(FitOptions, given),
        options_from(ReadOptions, given),
        options_from(WriteOptions, given),
        Resources.of(chunk_size, threads),
        Clock(progress),
    )


def quantize_image(
    src: Source,
    dst: Path,
    fitting: FitOptions,
    reading: ReadOptions,
    writing: WriteOptions,
    resources: Resources,
    clock: Clock,
) -> Report:
    """Do the job of :func:`quantize`, with its options in order."""
    writing.check_outputs(dst, [] if isinstance(src, np.ndarray) else [Path(src)])
    with ExitStack() as stack:
        images = open_images(src, reading, resources.budget())
        for image in images:
            stack.callback(image.close)
        engine = stack.enter_context(LocalEngine(resources.threads))
        stream = PixelStream(images, engine, resources)
        writing.display(stream.n_bands)
        painter = Painter(stream, engine, resources, clock, writing)
        try:
            result = fit_pixels(stream, fitting, engine, clock)
        except NoPixelsError as error:
            log.warning("%s; the output is all nodata", error)
            painter.paint(dst, None, _zeros, None)
            return _nothing(images, dst, clock)
        tally, nodata_label = _paint(painter, dst, result)
        return replace(
            result.report(images[0].name, clock),
            output=str(dst),
            colors_used=tally.colors_used,
            psnr_db=tally.psnr_db,
            nodata=nodata_label,
            dropped=dropped(images),
        )


def _paint(painter: Painter, dst: Path, result: FitResult) -> tuple[Tally, int | None]:
    """Write the images in the colours of a fit; what follows from colours is known from the table, where there is one."""
    mixture, table, stream = result.mixture, result.table, painter.stream
    tally = Tally(mixture, stream.dtype)
    labeller: Labeller = partial(classify, mixture=mixture)
    if table is not None and has_table(stream.dtype, stream.n_bands):
        labels = classify(table.colours, mixture, painter.engine.threads)
        tally.add_all(table, labels)
        labeller = LookupTable(table, labels)
    return tally, painter.paint(dst, mixture, labeller, tally)


def _nothing(images: list[Image], dst: Path, clock: Clock) -> Report:
    """Report an image without a pixel that is not masked."""
    return Report(
        input=images[0].name,
        output=str(dst),
        model=None,
        method="none",
        n_components=0,
        iterations=0,
        converged=True,
        log_likelihood=[],
        seconds=clock.seconds,
        pixels=clock.pixels,
        distinct_colors=0,
        colors_used=0,
        nodata=0,
        dropped=dropped(images),
    )


def _zeros(pixels: np.ndarray) -> np.ndarray:
    """Label pixels of an image that has none."""
    return np.zeros(len(pixels), np.uint8)
