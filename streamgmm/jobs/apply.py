"""Labelling every pixel of an image with a model, into a TIFF."""

import os
from collections.abc import Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import numpy as np

from ..errors import ModelError
from ..image.pyramid import Resampling
from ..image.shelf import Shelf
from ..image.source import ReadOptions, Source
from ..image.writer import BigTiff, Compression, Form, Structure
from ..model.mixture import Mixture
from ..model.palette import LookupTable, classify, has_table
from ..model.warmup import compile_kernels
from .checkpoint import job
from .disk import check_room
from .engine import LocalEngine
from .methods import check_range, work_bytes
from .model_file import load_model
from .options import RunOptions, WriteOptions, options_from
from .paint import Labeller, Painter, Tally
from .pixels import PixelStream
from .report import Clock, Progress, Report, dropped
from .resources import Resources

# Pixels from which it pays to label all 2^24 colours first, and then look them up.
LOOKUP_PIXELS = 1 << 24


def apply(
    model: Mixture | str | os.PathLike,
    src: Source,
    dst: str | os.PathLike,
    *,
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
    """Give every pixel of an image the colour of its most probable component, and write a palette TIFF.

    Masked pixels get one label more than the model has components, which is declared as nodata (GDAL_NODATA, tag 42113).

    Parameters
    ----------
    model : Mixture, or path of a model file
    src : path, or ndarray of shape (height, width[, bands])
    dst : path
        The output, which appears whole or not at all.
    bands, nodata, page, level
        As in :func:`streamgmm.open_image`.
    all_pages : bool
        Write all pages of a TIFF that are images, not levels, thumbnails or masks, as a stack.
    output : {"palette", "labels", "rgb"}
        Labels with a colour map; a plain class map; or the colours as 8-bit samples, with alpha where pixels are masked.
    compression : {"deflate", "none", "lzw", "zstd", "packbits"}
    compression_level : int, optional
        0 to 12 for deflate (4), 1 to 22 for zstd (9).
    tile_size : int, optional
        Side of the output's tiles, a multiple of 16; by default the input's tiles, or 256.
    layout : {"chained", "subifd", "cog"}
        Reduced levels as pages behind their image, as its SubIFDs, or as a Cloud Optimized GeoTIFF has them.
    pyramid : bool, optional
        Write reduced levels; by default where a side has more than 8,192 pixels, and in a Cloud Optimized GeoTIFF.
    resampling : {"mode", "nearest"}
        Each pixel of a level is the most frequent label of the four below, or one of them.
    pack : bool
        Store labels in 1, 2 or 4 bits where they fit.
    bigtiff : {"auto", "yes", "no"}
        "auto" where a classic TIFF cannot hold it.
    display_bands : tuple of int, optional
        Bands of the model, from 1, that the palette shows as red, green and blue, or the one as grey. Default: the first.
    palette_out : path, optional
        Write the palette: a GIMP palette (.gpl), JSON with means and counts (.json), or GDAL colour text (.txt).
    confidence : path, optional
        Write a TIFF of the largest responsibility of each pixel, uint8, 255 for certainty.
    min_psnr : float, optional
        Warn where the peak signal-to-noise ratio, in dB, is less.
    overwrite : bool
        Replace outputs that exist.
    work_dir : path, optional
        Folder for what an interrupted run leaves, to go on with; beside the output by default.
    resume : bool
        Go on where the same job was interrupted.
    wait : float >= 0
        Seconds to wait where another run is writing the same output.
    strict : bool
        Raise QualityError, and write nothing, where the fit has not converged, or ``min_psnr`` is missed.
    chunk_size, threads, memory, progress
        As in :func:`streamgmm.fit_image`.

    Returns
    -------
    Report

    Raises
    ------
    OptionError, ModelError, ImageReadError, UnsupportedImageError, OutputError, MemoryBudgetError, Cancelled
    """
    given = locals()
    models = [] if isinstance(model, Mixture) else [Path(model)]
    mixture = model if isinstance(model, Mixture) else load_model(model)
    reading, writing, run = options_from(ReadOptions, given), options_from(WriteOptions, given), options_from(RunOptions, given)
    resources, clock = Resources.of(chunk_size, threads, memory), Clock(progress)
    return apply_to_image(mixture, src, Path(dst), reading, writing, run, resources, clock, models)


def apply_to_image(
    mixture: Mixture,
    src: Source,
    dst: Path,
    reading: ReadOptions,
    writing: WriteOptions,
    run: RunOptions,
    resources: Resources,
    clock: Clock,
    models: Sequence[Path] = (),
) -> Report:
    """Do the job of :func:`apply`, with its options in order; model files are not to be overwritten."""
    inputs = [] if isinstance(src, np.ndarray) else [Path(src)]
    with ExitStack() as stack:
        checkpoint = stack.enter_context(job(dst, inputs, run, mixture, reading, writing))
        writing.check_outputs(dst, [*models, *inputs], checkpoint.resumed)
        images = stack.enter_context(closing(Shelf([src], reading, resources.budget()))).images
        if images[0].shape[2] != mixture.n_bands:
            raise ModelError(
                f"{images[0].name}: {images[0].shape[2]} bands; the model is for {mixture.n_bands}, fit one to such images"
            )
        if not checkpoint.resumed:
            check_room(images, inputs, dst, writing, mixture.n_components, run.work_folder)
        work = work_bytes(mixture.n_components, mixture.n_bands, resources.threads)
        resources.without(work, images[0].name, f"{mixture.n_components:,} components")
        engine = stack.enter_context(LocalEngine(resources.threads))
        stream = PixelStream(images, engine, resources, checkpoint)
        labeller = _labeller(stream, mixture, engine, clock, writing.confidence is not None)
        tally = Tally(mixture, stream.dtype)
        nodata_label = Painter(stream, engine, resources, clock, writing, run).paint(dst, mixture, labeller, tally)
        return Report(
            input=images[0].name,
            output=str(dst),
            model=mixture.to_dict(),
            method="apply",
            n_components=mixture.n_components,
            iterations=0,
            converged=True,
            log_likelihood=[],
            seconds=clock.seconds,
            pixels=clock.pixels,
            distinct_colors=None,
            colors_used=tally.colors_used,
            psnr_db=tally.psnr_db,
            nodata=nodata_label,
            dropped=dropped(images),
        )


def _labeller(stream: PixelStream, mixture: Mixture, engine: LocalEngine, clock: Clock, confident: bool) -> Labeller:
    """Return what labels the pixels of a stream, its kernels compiled."""
    check_range(stream, mixture)
    stream.range = mixture.range
    table = has_table(stream.dtype, mixture.n_bands) and stream.n_pixels >= LOOKUP_PIXELS <= stream.resources.spare // 2
    with clock.phase("compile", 0):
        n_bands, n_components = mixture.means.shape[::-1]
        compile_kernels(stream.dtype, n_bands, n_components, engine.threads, table=table, confident=confident)
    return LookupTable.of_all_colours(mixture, engine.threads) if table else partial(classify, mixture=mixture)
