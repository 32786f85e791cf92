"""Labeling every pixel of an image with a model, into a TIFF."""

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..errors import ModelError, OptionError
from ..image.image import Source
from ..model.colors import has_table
from ..model.labels import LookupTable, classify
from ..model.mixture import Mixture
from ..model.warmup import compile_kernels
from ..options import JobOptions, OutputOptions
from ..options.fields import flat
from .class_map import Legend
from .disk import check_room
from .labeling import LabelingOptions, write_outputs
from .model_file import load_model
from .report import Report, Written
from .sampling import check_range
from .session import Session, open_job
from .tile_store import Labeler

# Pixels from which it pays to label all 2^24 colors first, and then look them up.
LOOKUP_PIXELS = 1 << 24


@dataclass(frozen=True)
class Apply(JobOptions, LabelingOptions):
    """What :func:`apply` is given."""

    model: Mixture | str | os.PathLike
    src: Source
    dst: str | os.PathLike


@flat(Apply)
def apply(given: Apply) -> Report:
    """Give every pixel of an image the color of its most probable component, and write a palette TIFF.

    Masked pixels get one label more than the model has components, which is declared as nodata (GDAL_NODATA, tag 42113).

    Parameters
    ----------
    model : Mixture, or path of a model file
    src : path, or ndarray of shape (height, width[, bands])
    dst : path
        The output, which appears whole or not at all.
    bands, nodata, alpha, page, level, indices, pages_as_bands
        As in :func:`streamgmm.open_image`.
    all_pages : bool
        Write all pages of a TIFF that are images, not levels, thumbnails or masks, as a stack.
    output : {"palette", "labels", "rgb"}
        Labels with a color map; a plain class map; or the colors as 8-bit samples, with alpha where pixels are masked.
    palette : {"means", "centroids"}
        Colors of the labels: the means of their components, or of the pixels that have them, which are nearer to the image.
        Where the colors of an image are not counted, these take one more pass over it.
    dither : {"none", "ordered", "blue-noise"}
        Give neighboring pixels different colors of the palette, whose mean is nearer to what they are than any color: by a
        regular pattern, or one like grain. It depends on the place of a pixel in its image alone; what is nearly a color of the
        palette stays flat. Labels are then chosen by colors, not by responsibilities; reduced levels are dithered, too.
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
        Bands of the model, from 1, that the palette shows as red, green and blue, or the one as gray. Default: the first.
    display_range : "auto", "type" or (low, high)
        Stored samples that the palette shows as black and white, one range for all of its bands. "auto": 8-bit samples, and
        others that use a third of the range of their type, as they are ("type"); what is narrower, and floats, stretched
        from the lowest to the highest end of the ranges that the model has of these bands.
    nodata_color : str or tuple of int, optional
        What masked pixels look like in a palette, where readers show them: ``"white"``, ``"#ffffff"`` or (255, 255, 255). Black
        by default.
    palette_out : path, optional
        Write the palette: a GIMP palette (.gpl), JSON with means and counts (.json), or GDAL color text (.txt).
    confidence : path, optional
        Write a TIFF of the largest responsibility of each pixel, uint8, 255 for certainty.
    html : path, optional
        Write a page to look at, one file that needs no network: the image before and after, its palette, where the error
        is, the fit, and how to make it again. It needs Jinja and Matplotlib (``pip install 'streamgmm[html]'``).
    min_psnr : float, optional
        Warn where the peak signal-to-noise ratio of what is shown, in dB, is less.
    overwrite : bool
        Replace outputs that exist.
    work_dir : path, optional
        Folder for what an interrupted run leaves, to go on with; beside the output by default.
    resume : bool
        Go on where the same job was interrupted.
    lock : bool
        Hold a lock meanwhile, so that no other run writes the same output. Without one, nothing is saved to go on with.
    wait : float >= 0
        Seconds to wait where another run is writing the same output.
    strict : bool
        Raise QualityError, and write nothing, where the fit has not converged, or ``min_psnr`` or a target is
        missed.
    chunk_size, threads, memory, progress
        As in :func:`streamgmm.fit_image`.

    Returns
    -------
    Report

    Raises
    ------
    OptionError, ModelError, ImageReadError, UnsupportedImageError, OutputError, MemoryBudgetError, Cancelled
    """
    return apply_to_image(given)


def apply_to_image(given: Apply, mark: str | None = None) -> Report:
    """Do the job of :func:`apply`, and put a mark into the output's Software (tag 305)."""
    if not isinstance(given.model, Mixture | str | os.PathLike):
        raise OptionError(f"model is a {type(given.model).__name__}; give a Mixture, or the path of a model file")
    models = [] if isinstance(given.model, Mixture) else [Path(given.model)]
    mixture = given.model if isinstance(given.model, Mixture) else load_model(given.model)
    dst, facts = Path(given.dst), (mixture, given.part(OutputOptions))
    with open_job([given.src], *given.paths(dst), given, *facts, models=models, held=given.held) as session:
        n_bands = session.blocks.n_bands
        if n_bands != mixture.n_bands:
            raise ModelError(f"{session.name}: {n_bands} bands; the model is for {mixture.n_bands}, fit one to such images")
        return write_labeled(session, dst, given, mixture, "apply", None, mark)


def write_labeled(
    session: Session,
    dst: Path,
    options: LabelingOptions,
    mixture: Mixture,
    method: str,
    legend: Legend | None,
    mark: str | None,
) -> Report:
    """Give every pixel of a session the color of its most probable component, and report how these were come by."""
    check_room(session, dst, options, mixture.n_components)
    session.resources.without_work(mixture.n_components, mixture.n_bands, session.name)
    labeled = options.dither == "none" or options.palette == "centroids"
    label = _labeler(session, mixture, labeled, options.confidence is not None)
    told = partial(_report, session, dst, mixture, method)
    return write_outputs(session, dst, options, mixture, label, told, mark=mark, legend=legend)


def _report(session: Session, dst: Path, mixture: Mixture, method: str, written: Written) -> Report:
    """Report what was written."""
    return Report(
        input=session.name,
        output=str(dst),
        model=mixture.to_dict(),
        method=method,
        n_components=mixture.n_components,
        iterations=0,
        converged=True,
        log_likelihood=[],
        distinct_colors=None,
        **session.facts(),
        **written.facts(),
    )


def _labeler(session: Session, mixture: Mixture, labeled: bool, confident: bool) -> Labeler:
    """Return what labels the pixels of a session, if that is what becomes of them, its kernels compiled."""
    check_range(session, mixture)
    blocks, threads = session.blocks, session.engine.threads
    table = labeled and has_table(blocks.dtype, mixture.n_bands) and blocks.n_pixels >= LOOKUP_PIXELS
    table = table and session.resources.holds_lookup()
    with session.clock.phase("compile", 0):
        n_components, n_bands = mixture.means.shape
        ahead = partial(compile_kernels, blocks.dtype, n_bands, n_components, threads, space=mixture.space.distances)
        ahead(table=table, confident=confident)
    return LookupTable.of_all_colors(mixture, threads) if table else partial(classify, mixture=mixture)
