"""Fitting a mixture to every pixel of one image, or of several."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import ImageReadError, OptionError, QualityError, StreamGMMError, UnsupportedImageError
from ..image.image import Source
from ..image.pool import ImagePool
from ..model.mixture import Mixture
from ..options import FitOptions, JobOptions, ReadOptions, ResourceOptions
from ..options.fields import flat
from ..system.files import write_text
from . import CONVERGENCE
from .choosing import check_targets
from .clock import Clock, unseen
from .earlier import check_earlier, in_order, with_earlier
from .fitting import FitResult, fit_pixels
from .passes.sums import Sum
from .passes.tasks import Look
from .report import Report, not_converged
from .resources import Resources
from .session import Session, open_job, open_session


@dataclass(frozen=True)
class Fit(ResourceOptions, ReadOptions, FitOptions):
    """What :func:`fit_image` is given."""

    sources: Source | list[Source] | tuple[Source, ...]


@flat(Fit)
def fit_image(given: Fit) -> tuple[Mixture, Report]:
    """Fit a Gaussian mixture to every pixel of an image that is not masked, or of several images at once.

    Parameters
    ----------
    sources : path or ndarray of shape (height, width[, bands]), or a list of these
        Images with the same number of bands; every pixel of every image counts the same.
    n_components : int in [1, 65535], or "auto"
        Components K. ``"auto"`` takes as few as give a palette that meets the targets, to a 32nd of their number, along a path
        over that number on the colors, or the sample, that the fit starts from: no more is read. The Bayesian information
        criterion is no answer: likelihood grows with the pixels, its penalty with their logarithm, so that at 10^9 pixels
        10^-7 nats a pixel pay for a component.
    target_psnr : float, optional
        Of ``"auto"``: the least peak signal-to-noise ratio, in dB, of what is shown.
    max_delta_e : float >= 0, optional
        Of ``"auto"``: the largest mean CIE Delta E 2000 of what is shown. Where neither is given it is 2: up to there only an
        experienced eye sees a difference (Mokrzycki and Tatol 2011).
    max_components : int in [1, 65535], optional
        Of ``"auto"``: the most components, 256 by default. They are taken where the targets are missed, with a warning.
    covariance_type : {"full", "tied", "diag", "spherical", "isotropic"}
        As in scikit-learn; ``isotropic`` is one variance, and one weight, for all components and bands.
    method : {"auto", "exact", "stream", "minibatch"}
        ``exact``: EM on the table of distinct colors, which is EM on every pixel; for uint8 of one to three bands. ``stream``:
        EM that reads every pixel at each iteration. ``auto``: the first of these that is possible. ``minibatch``: a fit
        to up to 1,024 blocks of 262,144 pixels, from all over the image, then stepwise EM on random ones, which may stop
        before it has read the whole image.
    init : {"kmeans", "k-means++", "random"}, ndarray of shape (K, D) or Mixture
        How to start: the best of four starts on a sample of up to 524,288 pixels; or from means in [0, 1]; or from a mixture,
        of which the range and the space are taken, too.
    preset : {"picture", "segment", "fidelity"}, optional
        What the fit is for: colors to look at, which stand for pixels around them; classes, which are as narrow as the data
        say; or the palette nearest to the pixels, by k-means: isotropic components whose variance is the palette's own error.
        By default ``picture`` up to three bands.
    range : str or pair of numbers, or a pair for each band
        Samples, as they are stored, that are 0 and 1. ``"auto"``: all but a thousandth of the pixels lie above the least and
        below the largest, in each band; three bands have one range. ``"type"``: those of the type, for integers of up to 16
        bits; 8 bits have no other. Pixels outside of the range count as well.
    space : {"rgb", "linear", "lab", "oklab"}
        Where distances of colors are taken, and so where the mixture is. Samples are taken for sRGB, clipped to the range, and
        become linear light, CIE Lab under D65, or Oklab; of three bands, or of one its lightness. Palettes stay in RGB.
    max_iter : int > 0
        Passes over the pixels at the most, of k-means and EM together.
    tol : float >= 0
        EM has converged when an iteration gains less than this, in nats per pixel.
    reg_covar : "auto" or float >= 0
        Added to variances, of colors in [0, 1]. ``"auto"``: for a picture, the variance inside a cluster of k-means; for
        classes, what rounding to levels adds. The report says how much that is.
    fix : str or list of colors, optional
        Colors that the palette has exactly, of images of 8 or 16 bits in one band or three: names, ``"#rrggbb"`` or triples.
        They count among the components; the rest is fitted around them.
    rare_weight : float in [0, 1]
        Colors count as often as they occur to this power, where they are counted: with less than 1, rare ones count more.
    seed : int >= 0
        Seeds everything that is drawn.
    sort : {"weight", "luminance", "hue"}
        Order of the components: by falling weight; by the luma (Rec. 709) of their colors, dark ones first; or by the hue
        (HSV) of these, grays first, by luma. Equals by weight.
    like : path or Mixture, optional
        An earlier model: components get the numbers of those of it that they are most like, so that palettes of images that are
        nearly equal are in one order. Of all pairs of means the nearest is matched first, then the nearest of the rest. More
        components than it has follow by weight; of more that it has, those without a match are left out.
    bands, nodata, alpha, page, level, indices, pages_as_bands
        As in :func:`streamgmm.open_image`.
    all_pages : bool
        Take all pages of each TIFF that are images, not levels, thumbnails or masks.
    chunk_size : str or int
        Decoded pixels in memory at once: bytes (``"64MiB"``) or pixels (``"4Mpx"``). Changes no result.
    threads : int > 0, optional
        By default as many as the affinity of this process and the quota of its control group allow. Changes no result.
    memory : str or int, optional
        Bytes the process may take (``"512MiB"``); by default three quarters of what is free, here and in its control group.
        Where the color table does not fit, ``auto`` becomes ``stream`` with a warning; else it changes no result.
    progress : callable, optional
        Called as ``progress(phase, done, total)``, in pixels; returning False cancels.

    Returns
    -------
    mixture : Mixture
    report : Report

    Raises
    ------
    OptionError, ImageReadError, UnsupportedImageError, MemoryBudgetError, Cancelled
    """
    given, _ = with_earlier(given)
    several = isinstance(given.sources, list | tuple)
    sources = given.sources if isinstance(given.sources, list | tuple) else [given.sources]
    with open_session(sources, given.part(ReadOptions), Resources.of(given), Clock(given.progress)) as session:
        result, names = _fit(session, given)
        check_fit(result, given, False, names[0])
        return result.mixture, result.report(names if several else names[0], session)


@dataclass(frozen=True)
class FitToFile(JobOptions, FitOptions):
    """What :func:`fit_to_file` is given: images, a model file, and whether images have equal weights, not pixels."""

    sources: Sequence[Path]
    dst: Path
    by_image: bool = False


def fit_to_file(given: FitToFile, **notes: str) -> Report:
    """Do what :func:`fit_image` does, and write the mixture with some notes to a model file, as a job that can be interrupted.

    Raises
    ------
    OutputError, LockedError, QualityError
        Beside what :func:`fit_image` raises.
    """
    given, models = with_earlier(given)
    with open_job(given.sources, [], [given.dst], given, given.part(FitOptions), given.by_image, models=models) as session:
        result, names = _fit(session, given, given.by_image)
        check_fit(result, given, given.strict, names[0])
        write_text(given.dst, result.mixture.to_json(**notes), session.part(given.dst))
        return replace(result.report(names, session), output=str(given.dst))


def _fit(session: Session, options: FitOptions, by_image: bool = False) -> tuple[FitResult, list[str]]:
    """Fit a mixture to all images; return their names, too."""
    check_earlier(session, options)
    result = fit_pixels(session, options, by_image=by_image)
    session.check_unchanged()
    result = replace(result, mixture=in_order(result.mixture, options))
    return result, list(dict.fromkeys(image.name for image in session.images))


def fit_readable(given: FitToFile, **notes: str) -> None:
    """Do what :func:`fit_to_file` does, with those of the images that can be read, and have the bands that most of them have.

    Raises
    ------
    StreamGMMError
        Where none can be read, or as :func:`fit_to_file` does.
    """
    reading, resources = given.part(ReadOptions), Resources.of(given)
    usable = _alike(given.sources, reading, resources)
    try:
        fit_to_file(replace(given, sources=usable), **notes)
    except (ImageReadError, UnsupportedImageError):  # somewhere in one of them
        whole = [source for source in usable if _is_whole(source, reading, resources)]
        if len(whole) in (0, len(usable)):
            raise
        fit_to_file(replace(given, sources=whole), **notes)


def _alike(sources: Sequence[Path], reading: ReadOptions, resources: Resources) -> list[Path]:
    """Return the images that can be opened, and have as many bands, and integers or floats, as most of them."""
    kinds: dict[Path, tuple[int, bool]] = {}
    error: StreamGMMError = OptionError("no image to fit; name at least one")
    for source in sources:
        try:
            with ImagePool() as pool:
                first, *_ = pool.open([source], reading, resources.budget())
            kinds[source] = first.shape[2], first.dtype.kind == "f"
        except StreamGMMError as complaint:
            error = complaint
    if not kinds:
        raise error
    (usual, _), *_ = Counter(kinds.values()).most_common(1)
    return [source for source, kind in kinds.items() if kind == usual]


def _is_whole(source: Path, reading: ReadOptions, resources: Resources) -> bool:
    """Read all of an image."""
    try:
        with open_session([source], reading, resources, Clock()) as session:
            session.reduce(Look(), session.blocks, Sum(), unseen)
    except StreamGMMError:
        return False
    return True


def check_fit(result: FitResult, options: FitOptions, strict: bool, name: str) -> None:
    """Warn of a fit that has not converged, or does not reach its targets, or refuse it.

    Raises
    ------
    QualityError
    """
    check_converged(result, strict, name)
    check_targets(name, result.choice and result.choice.missed, options.wanted, strict)


def check_converged(result: FitResult, strict: bool, name: str) -> None:
    """Warn of a fit that has not converged, or refuse it.

    Raises
    ------
    QualityError
    """
    if not result.converged:
        complaint = not_converged(name, result.iterations)
        if strict:
            raise QualityError(complaint)
        logging.getLogger(CONVERGENCE).warning("%s", complaint)
