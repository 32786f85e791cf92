"""The main job: fit a mixture to an image, and write the image back with its colours."""

import logging
import os
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from ..errors import NoPixelsError
from ..image.pyramid import Resampling
from ..image.shelf import Shelf
from ..image.source import Image, ReadOptions, Source
from ..image.writer import BigTiff, Compression, Form, Structure
from ..model.mixture import CovarianceType, Init, Mixture
from ..model.palette import LookupTable, classify, has_table
from .checkpoint import job
from .disk import check_room
from .engine import LocalEngine
from .fit import check_converged
from .methods import FitResult, fit_pixels
from .options import FitOptions, Method, RunOptions, WriteOptions, options_from
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
    min_psnr: float | None = None,
    overwrite: bool = False,
    work_dir: str | os.PathLike | None = None,
    resume: bool = True,
    wait: float = 0,
    strict: bool = False,
    chunk_size: str | int = "64MiB",
    threads: int | None = None,
    memory: str | int | None = None,
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
    fitting, reading = options_from(FitOptions, given), options_from(ReadOptions, given)
    writing, run = options_from(WriteOptions, given), options_from(RunOptions, given)
    resources, clock = Resources.of(chunk_size, threads, memory), Clock(progress)
    return quantize_image(src, Path(dst), fitting, reading, writing, run, resources, clock)


def quantize_image(
    src: Source,
    dst: Path,
    fitting: FitOptions,
    reading: ReadOptions,
    writing: WriteOptions,
    run: RunOptions,
    resources: Resources,
    clock: Clock,
) -> Report:
    """Do the job of :func:`quantize`, with its options in order."""
    inputs = [] if isinstance(src, np.ndarray) else [Path(src)]
    with ExitStack() as stack:
        checkpoint = stack.enter_context(job(dst, inputs, run, fitting, reading, writing))
        writing.check_outputs(dst, inputs, checkpoint.resumed)
        images = stack.enter_context(closing(Shelf([src], reading, resources.budget()))).images
        engine = stack.enter_context(LocalEngine(resources.threads))
        stream = PixelStream(images, engine, resources, checkpoint)
        writing.display(stream.n_bands)
        if not checkpoint.resumed:
            check_room(images, inputs, dst, writing, fitting.wanted, run.work_folder)
        painter = Painter(stream, engine, resources, clock, writing, run)
        try:
            result = fit_pixels(stream, fitting, engine, clock, confident=writing.confidence is not None)
        except NoPixelsError as error:
            log.warning("%s; the output is all nodata", error)
            painter.paint(dst, None, _zeros, None)
            return _nothing(images, dst, clock)
        check_converged(result, run.strict, images[0].name)
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


def _nothing(images: Sequence[Image], dst: Path, clock: Clock) -> Report:
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
