"""The main job: fit a mixture to an image, and write the image back with its colours."""

import os
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from ..image.atomic import check_output
from ..image.source import Source, open_image
from ..image.writer import Compression
from ..model.mixture import CovarianceType, Mixture
from ..model.palette import LookupTable, classify, has_table
from ..model.seeding import Init
from .apply import Painter, Tally, WriteOptions
from .engine import LocalEngine
from .fit import FitOptions, Method, fit_pixels
from .report import Clock, Progress, Report
from .resources import Resources


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
    labels: bool = False,
    compression: Compression = "deflate",
    tile_size: int | None = None,
    overwrite: bool = False,
    chunk_size: str | int = "64MiB",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Fit a Gaussian mixture to every pixel of an image, and write the image as a palette TIFF with its colours.

    The options are those of :func:`streamgmm.fit_image` and :func:`streamgmm.apply`. The same input, options and seed give
    the same bytes, for any chunk size and number of threads.

    Parameters
    ----------
    src : path, or ndarray of shape (height, width[, bands]), uint8 or uint16
    dst : path
        The output, which appears whole or not at all.

    Returns
    -------
    Report

    Raises
    ------
    OptionError, ImageReadError, UnsupportedImageError, OutputError, MemoryBudgetError, Cancelled
    """
    fit_options = FitOptions(n_components, covariance_type, method, init, max_iter, tol, reg_covar, seed)
    write_options, dst = WriteOptions(labels, compression, tile_size, overwrite), Path(dst)
    resources, clock = Resources.of(chunk_size, threads), Clock(progress)
    check_output(dst, [] if isinstance(src, np.ndarray) else [Path(src)], overwrite)
    with ExitStack() as stack:
        image = open_image(src, budget=resources.budget())
        stack.callback(image.close)
        engine = stack.enter_context(LocalEngine(resources.threads))
        result = fit_pixels([image], fit_options, engine, resources, clock)
        layout, tally = write_options.layout(image, result.mixture), Tally(result.mixture, image)
        painter = Painter(image, dst, layout, engine, resources, clock)
        table = result.table
        if table is not None and has_table(image.dtype, image.shape[2]):  # what follows from colours is known from the table
            labels_of_table = classify(table.colours, result.mixture, engine.threads)
            tally.add(tally.of(table.colours, labels_of_table, table.counts))
            painter.paint(LookupTable(table, labels_of_table))
        else:
            painter.paint(partial(classify, mixture=result.mixture), tally)
    report = result.report(image.name, clock)
    return replace(report, output=str(dst), colors_used=tally.colors_used, psnr_db=tally.psnr_db)
