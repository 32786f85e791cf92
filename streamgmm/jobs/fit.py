"""Fitting a mixture to every pixel of one image, or of several."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import ImageReadError, OptionError, QualityError, StreamGMMError, UnsupportedImageError
from ..image.atomic import check_output, replacing
from ..image.shelf import Shelf
from ..image.source import ReadOptions, Source
from ..model.mixture import CovarianceType, Init, Mixture
from .checkpoint import Checkpoint, job
from .engine import LocalEngine
from .methods import FitResult, fit_pixels
from .options import FitOptions, Method, RunOptions, options_from
from .pixels import PixelStream
from .report import Clock, Progress, Report
from .resources import Resources

log = logging.getLogger(__name__)


def fit_image(
    sources: Source | list[Source] | tuple[Source, ...],
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
    chunk_size: str | int = "64MiB",
    threads: int | None = None,
    memory: str | int | None = None,
    progress: Progress | None = None,
) -> tuple[Mixture, Report]:
    """Fit a Gaussian mixture to every pixel of an image that is not masked, or of several images at once.

    Parameters
    ----------
    sources : path or ndarray of shape (height, width[, bands]), or a list of these
        Images with the same number of bands; every pixel of every image counts the same.
    n_components : int in [1, 65535]
        Components K.
    covariance_type : {"full", "tied", "diag", "spherical"}
        As in scikit-learn.
    method : {"auto", "exact", "stream", "minibatch"}
        ``exact``: EM on the table of distinct colours, which is EM on every pixel; for uint8 of one to three bands. ``stream``:
        EM that reads every pixel at each iteration. ``auto``: the first of these that is possible. ``minibatch``: stepwise EM
        on random tiles, which may stop before it has read the whole image.
    init : {"kmeans", "k-means++", "random"}, ndarray of shape (K, D) or Mixture
        How to start: the best of four starts on a sample of 65,536 pixels; or from means in [0, 1]; or from a mixture.
    max_iter : int > 0
        Passes of EM over the image at the most.
    tol : float >= 0
        EM has converged when an iteration gains less than this, in nats per pixel.
    reg_covar : float >= 0
        Added to variances, of colours in [0, 1].
    seed : int >= 0
        Seeds everything that is drawn.
    bands, nodata, page, level
        As in :func:`streamgmm.open_image`.
    all_pages : bool
        Take all pages of each TIFF that are images, not levels, thumbnails or masks.
    chunk_size : str or int
        Decoded pixels in memory at once: bytes (``"64MiB"``) or pixels (``"4Mpx"``). Changes no result.
    threads : int > 0, optional
        By default as many as the affinity of this process and the quota of its control group allow. Changes no result.
    memory : str or int, optional
        Bytes the process may take (``"512MiB"``); by default three quarters of what is free, here and in its control group.
        Where the colour table does not fit, ``auto`` becomes ``stream`` with a warning; else it changes no result.
    progress : callable, optional
        Called as ``progress(phase, done, total)``, in pixels; returning False cancels.

    Returns
    -------
    mixture : Mixture
        Components by falling weight.
    report : Report

    Raises
    ------
    OptionError, ImageReadError, UnsupportedImageError, MemoryBudgetError, Cancelled
    """
    given = locals()
    options, reading = options_from(FitOptions, given), options_from(ReadOptions, given)
    resources, clock = Resources.of(chunk_size, threads, memory), Clock(progress)
    several = isinstance(sources, list | tuple)
    each: list[Source] = list(sources) if isinstance(sources, list | tuple) else [sources]
    result, names = fit_sources(each, options, reading, resources, clock, Checkpoint(None))
    check_converged(result, False, names[0])
    return result.mixture, result.report(names if several else names[0], clock)


def fit_to_file(
    sources: Sequence[Path],
    dst: Path,
    fitting: FitOptions,
    reading: ReadOptions,
    run: RunOptions,
    resources: Resources,
    clock: Clock,
    *,
    overwrite: bool,
    **notes: str,
) -> Report:
    """Do what :func:`fit_image` does, and write the mixture with some notes to a model file, as a job that can be interrupted.

    Raises
    ------
    OutputError, LockedError, QualityError
        Beside what :func:`fit_image` raises.
    """
    with job(dst, [*sources], run, fitting, reading) as checkpoint:
        check_output(dst, [*sources], overwrite or checkpoint.resumed)
        result, names = fit_sources(sources, fitting, reading, resources, clock, checkpoint)
        check_converged(result, run.strict, names[0])
        with replacing(dst) as part:
            part.write_text(result.mixture.to_json(**notes), encoding="utf-8")
    return replace(result.report(names, clock), output=str(dst))


def fit_readable(
    sources: Sequence[Path], reading: ReadOptions, resources: Resources, fit: Callable[[Sequence[Path]], None]
) -> None:
    """Fit to those of some images that can be read, and have the bands that most of them have.

    Raises
    ------
    StreamGMMError
        Where none can be read, or as ``fit`` does.
    """
    usable = _alike(sources, reading, resources)
    try:
        fit(usable)
    except (ImageReadError, UnsupportedImageError):  # somewhere in one of them
        whole = [source for source in usable if _is_whole(source, reading, resources)]
        if len(whole) in (0, len(usable)):
            raise
        fit(whole)


def _alike(sources: Sequence[Path], reading: ReadOptions, resources: Resources) -> list[Path]:
    """Return the images that can be opened, and have as many bands, and integers or floats, as most of them."""
    kinds: dict[Path, tuple[int, bool]] = {}
    error: StreamGMMError = OptionError("no image to fit; name at least one")
    for source in sources:
        try:
            with closing(Shelf([source], reading, resources.budget())) as shelf:
                kinds[source] = shelf.images[0].shape[2], shelf.images[0].dtype.kind == "f"
        except StreamGMMError as complaint:
            error = complaint
    if not kinds:
        raise error
    (usual, _), *_ = Counter(kinds.values()).most_common(1)
    return [source for source, kind in kinds.items() if kind == usual]


def _is_whole(source: Path, reading: ReadOptions, resources: Resources) -> bool:
    """Read all of an image."""
    try:
        with closing(Shelf([source], reading, resources.budget())) as shelf, LocalEngine(resources.threads) as engine:
            PixelStream(shelf.images, engine, resources, Checkpoint(None)).find_range(lambda n_pixels: None)
    except StreamGMMError:
        return False
    return True


def check_converged(result: FitResult, strict: bool, name: str) -> None:
    """Warn of a fit that has not converged, or refuse it.

    Raises
    ------
    QualityError
    """
    if not result.converged:
        complaint = f"{name}: not converged after {result.iterations} iterations; raise --max-iter or --tol"
        if strict:
            raise QualityError(complaint)
        log.warning("%s", complaint)


def fit_sources(
    sources: Sequence[Source],
    options: FitOptions,
    reading: ReadOptions,
    resources: Resources,
    clock: Clock,
    checkpoint: Checkpoint,
) -> tuple[FitResult, list[str]]:
    """Fit a mixture to all images of some sources; return the names of these, too."""
    if not sources:
        raise OptionError("no image to fit; name at least one")
    with closing(Shelf(sources, reading, resources.budget())) as shelf, LocalEngine(resources.threads) as engine:
        result = fit_pixels(PixelStream(shelf.images, engine, resources, checkpoint), options, engine, clock)
        for image in shelf.images:
            image.check_unchanged()
    return result, list(dict.fromkeys(image.name for image in shelf.images))
