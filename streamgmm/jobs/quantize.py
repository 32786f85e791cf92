"""The main job: fit a mixture to an image, and write the image back with its colors."""

import logging
import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from ..errors import NoPixelsError, OptionError
from ..image.image import Source
from ..model.colors import has_table
from ..model.labels import LookupTable, classify
from ..options import ClassMapOptions, FitOptions, JobOptions, OutputOptions
from ..options.fields import flat
from ..options.palette import PaletteOptions, QuantizeOptions
from .apply import write_labeled
from .choosing import check_targets
from .class_map import Legend, read_classes
from .disk import check_room
from .earlier import check_earlier, in_order, with_earlier
from .fit import check_converged
from .fitting import FitResult, fit_pixels
from .given_palette import GivenPalette
from .labeling import LabelingOptions, write_outputs
from .report import Report, Written
from .session import Session, open_job
from .specs import display_of, shown_bands
from .tile_store import Known, Labeler

log = logging.getLogger(__name__)

# Labels of 8 bits.
COLORS = 256


@dataclass(frozen=True)
class Quantize(JobOptions, LabelingOptions, QuantizeOptions):
    """What :func:`quantize` is given."""

    src: Source
    dst: str | os.PathLike

    def __post_init__(self):
        super().__post_init__()
        if self.palette_in is not None and self.confidence is not None:
            raise OptionError("palette-in and confidence exclude each other: the nearest color is sure; choose one")
        if self.keep_values:
            if self.output == "rgb":
                raise OptionError("keep-values is for palettes and labels; RGB samples are colors")
            object.__setattr__(self, "indices", True)


@flat(Quantize)
def quantize(given: Quantize) -> Report:
    """Fit a Gaussian mixture to every pixel of an image, and write the image as a palette TIFF with its colors.

    The options are those of :func:`streamgmm.fit_image` and :func:`streamgmm.apply`, and two more. The same input, options and
    seed give the same bytes, for any chunk size and number of threads. An image whose every pixel is masked gives an output of
    nodata.

    Parameters
    ----------
    src : path, or ndarray of shape (height, width[, bands])
    dst : path
        The output, which appears whole or not at all.
    keep_values : bool
        Take the image for a class map, of one band with at most 256 values that are whole numbers from 0 to 65,535: these are
        the labels of the output, with the colors that the image has for them. Nothing is fitted.
    palette_in : path, optional
        A palette whose nearest color (Euclidean, in RGB) each pixel gets, of images of 8 or 16 bits of three bands, or of one
        where it has but grays: a GIMP palette (.gpl), JSON (.json), GDAL color text (.txt), Adobe color table (.act), or a TIFF
        or PNG that has one. Labels are in the order of the file. Of equal colors the first is taken; transparent ones are left
        out.

    Returns
    -------
    Report

    Raises
    ------
    OptionError, ImageReadError, UnsupportedImageError, OutputError, MemoryBudgetError, Cancelled
    """
    return quantize_image(given)


def quantize_image(given: Quantize, mark: str | None = None) -> Report:
    """Do the job of :func:`quantize`, and put a mark into the output's Software (tag 305)."""
    given, models = with_earlier(given)
    dst, facts = Path(given.dst), (given.part(FitOptions), given.part(OutputOptions), given.part(ClassMapOptions))
    palette = GivenPalette.of(given.part(PaletteOptions))
    models, colors = (models, None) if palette is None else ([palette.path], palette.colors)
    with open_job([given.src], *given.paths(dst), given, *facts, colors, models=models, held=given.held) as session:
        shown_bands(given, session.blocks)
        if palette is not None:
            return write_labeled(session, dst, given, palette.mixture(session), "palette", palette.legend, mark)
        check_earlier(session, given)
        given, legend = _with_room(given, session), None
        check_room(session, dst, given, given.wanted)
        try:
            if given.keep_values:
                result, legend = read_classes(session, given)
            else:
                result = fit_pixels(session, given, confident=given.confidence is not None)
        except NoPixelsError as error:
            log.warning("%s; the output is all nodata", error)
            return write_outputs(session, dst, given, None, _zeros, partial(_nothing, session, dst), mark=mark)
        check_converged(result, given.strict, session.name)
        if given.strict and result.choice:  # else it is said of the output
            check_targets(session.name, result.choice.missed, given.wanted, True)
        if not legend:
            shown = display_of(given, result.mixture, session.blocks)
            result = replace(result, mixture=in_order(result.mixture, given, shown))
        mixture, table, blocks, known = result.mixture, result.table, session.blocks, None
        classified = partial(legend.label if legend else classify, mixture=mixture)
        label: Labeler = classified
        if table is not None and has_table(blocks.dtype, blocks.n_bands):  # what follows from colors is known already
            labels = classified(table.colors, threads=session.engine.threads)
            known = Known(table, labels)
            label = LookupTable(*known) if given.dither == "none" else label
        told = partial(_report, session, dst, result, legend)
        return write_outputs(session, dst, given, mixture, label, told, known, mark, legend)


def _report(session: Session, dst: Path, result: FitResult, legend: Legend | None, written: Written) -> Report:
    """Report a fit, and what was written with it."""
    report = replace(result.report(session.name, session), output=str(dst), **written.facts())
    if written.shows_samples(session.blocks.dtype, session.blocks.n_bands):
        report = replace(report, psnr_db_nearest=result.psnr_db_nearest)
    if legend:  # what the colors show is not asked
        return replace(report, psnr_db=None, delta_e=None)
    return report if written.exact or report.method != "lossless" else replace(report, method="classes")


def _with_room(given: Quantize, session: Session) -> Quantize:
    """Return what is asked for with one color less, where 256 and one for masked pixels would take 16 bits a pixel."""
    fitted = not given.keep_values and given.output != "rgb" and isinstance(given.init, str)
    if not fitted or given.wanted != COLORS or not session.masked():
        return given
    if given.is_auto:
        return replace(given, max_components=COLORS - 1)
    log.warning("%s: masked pixels take one of %d colors; 16 bits a pixel would be needed for more", session.name, COLORS)
    return replace(given, n_components=COLORS - 1)


def _nothing(session: Session, dst: Path, written: Written) -> Report:
    """Report an image without a pixel that is not masked."""
    return Report(
        input=session.name,
        output=str(dst),
        model=None,
        method="none",
        n_components=0,
        iterations=0,
        converged=True,
        log_likelihood=[],
        distinct_colors=0,
        colors_used=0,
        nodata=0,
        dropped=written.dropped,
        bytes_out=written.bytes_out,
        **session.facts(),
    )


def _zeros(pixels: np.ndarray) -> np.ndarray:
    """Label pixels of an image that has none."""
    return np.zeros(len(pixels), np.uint8)
