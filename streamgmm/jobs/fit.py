"""Fitting a mixture to every pixel of one image, or of several."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ..errors import MemoryBudgetError, ModelError, OptionError, UnsupportedImageError
from ..image.source import Image, ReadOptions, Source, open_images
from ..model.colours import ColourCounter, ColourTable
from ..model.em import Fit, fit_mixture
from ..model.minibatch import stepwise_em
from ..model.mixture import CovarianceType, Mixture
from ..model.palette import has_table
from ..model.seeding import Init, around, reseed, seed_mixture
from ..model.warmup import compile_kernels
from .engine import LocalEngine
from .options import FitOptions, Method, options_from
from .pixels import Advance, PixelStream
from .report import Clock, Progress, Report
from .resources import Resources

log = logging.getLogger(__name__)

# Pixels to seed from; 16 a component where that is more.
SAMPLE_PIXELS = 1 << 16
# Places it is drawn from at the most, spread evenly over the image. With 64, a mosaic took 18 iterations where 4 are enough.
SAMPLE_PLACES = 256
# Arrays of covariances that an iteration holds, and the bytes they may take together.
COVARIANCES, COVARIANCE_BYTES = 6, 256 << 20
# Places read for each step of minibatch EM: enough, at random, to be unlike any one region of the image.
BATCH_PLACES = 16


@dataclass(frozen=True)
class FitResult:
    """A fitted mixture, how it was come by, and the colour table where there is one."""

    mixture: Mixture
    method: str
    log_likelihood: list[float]
    converged: bool
    iterations: int
    table: ColourTable | None = None
    batch_pixels: int | None = None
    fraction_read: float | None = None

    def report(self, name: str | list[str], clock: Clock) -> Report:
        """Report the fit of an image, or of several."""
        return Report(
            input=name,
            output=None,
            model=self.mixture.to_dict(),
            method=self.method,
            n_components=self.mixture.n_components,
            iterations=self.iterations,
            converged=self.converged,
            log_likelihood=self.log_likelihood,
            seconds=clock.seconds,
            pixels=clock.pixels,
            distinct_colors=None if self.table is None else len(self.table),
            batch_pixels=self.batch_pixels,
            fraction_read=self.fraction_read,
        )


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
        All processors this process may use by default. Changes no result.
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
    resources, clock = Resources.of(chunk_size, threads), Clock(progress)
    several = isinstance(sources, list | tuple)
    each: list[Source] = list(sources) if isinstance(sources, list | tuple) else [sources]
    with ExitStack() as stack:
        images: list[Image] = []
        for source in each:
            for image in open_images(source, reading, resources.budget()):
                images.append(image)
                stack.callback(image.close)
        if not images:
            raise OptionError("no image to fit; name at least one")
        engine = stack.enter_context(LocalEngine(resources.threads))
        result = fit_pixels(PixelStream(images, engine, resources), options, engine, clock)
    return result.mixture, result.report(_names(images) if several else images[0].name, clock)


def _names(images: list[Image]) -> list[str]:
    """Return the names of the files, once each."""
    return list(dict.fromkeys(image.name for image in images))


def fit_pixels(stream: PixelStream, options: FitOptions, engine: LocalEngine, clock: Clock) -> FitResult:
    """Fit a mixture to every pixel of a stream.

    Raises
    ------
    NoPixelsError
        Where all are masked.
    """
    method = _method(options.method, stream)
    _check_bands(stream, options)
    with clock.phase("compile", 0):
        compile_kernels(stream.dtype, stream.n_bands, options.wanted, engine.threads, table=method == "exact")
    _take_range(stream, options, clock)
    size, places = max(SAMPLE_PIXELS, 16 * options.wanted), _sample_places(method, stream)
    table = None
    if method == "exact":
        counter = ColourCounter(stream.n_bands, stream.n_pixels, min(engine.threads, len(stream.places)))
        with clock.phase("count", stream.n_pixels) as advance:
            sample = stream.sample(size, options.seed, places, advance, counter)
            table = counter.table()
        del counter
        few = table if len(table) <= options.wanted else None
    else:
        with clock.phase("sample", 0) as advance:
            sample = stream.sample(size, options.seed, places, advance)
            few = stream.few_colours(options.wanted, advance) if len(sample) <= options.wanted else None
    if few is not None:
        return FitResult(replace(lossless(few, options.covariance_type), range=stream.range), "lossless", [], True, 0, few)
    with clock.phase("seed", 0):
        start = _start(sample, options, engine.threads)
    if method == "minibatch":
        return _fit_minibatch(stream, start, options, clock)
    with clock.phase("fit", stream.n_pixels * options.max_iter) as advance:
        fit = _fit_all(stream, table, sample, start, options, engine.threads, advance)
    return _result(fit, method, len(fit.log_likelihood), options, stream.range, table=table)


def _check_bands(stream: PixelStream, options: FitOptions) -> None:
    size = COVARIANCES * 8 * options.wanted * stream.n_bands**2
    if size > COVARIANCE_BYTES:
        raise MemoryBudgetError(
            f"{stream.images[0].name}: {stream.n_bands:,} bands; the covariances of {options.wanted:,} components take "
            f"{size / 2**20:,.0f} MiB of {COVARIANCE_BYTES / 2**20:,.0f}; take fewer with --bands, or fewer components"
        )


def _take_range(stream: PixelStream, options: FitOptions, clock: Clock) -> None:
    """Find what 0 and 1 stand for, or take it from the mixture to start from."""
    start = options.init.range if isinstance(options.init, Mixture) else None
    if isinstance(options.init, Mixture) and (start is not None) != stream.floating:
        check_range(stream, options.init)
    if start is not None:
        stream.range = start
    elif stream.floating:
        with clock.phase("range", stream.n_pixels) as advance:
            stream.find_range(advance)


def check_range(stream: PixelStream, mixture: Mixture) -> None:
    """Refuse a mixture of floats for integers, and the other way round.

    Raises
    ------
    ModelError
    """
    if (mixture.range is not None) != stream.floating:
        kinds = ("integers of up to 16 bits", "floats or wider integers")
        raise ModelError(
            f"{stream.images[0].name}: samples are {kinds[stream.floating]}; the model is for {kinds[not stream.floating]}, "
            "fit one to such images"
        )


def _method(method: Method, stream: PixelStream) -> str:
    possible = has_table(stream.dtype, stream.n_bands)
    if method == "auto":
        return "exact" if possible else "stream"
    if method == "exact" and not possible:
        raise UnsupportedImageError(
            f"{stream.places[0].image.name}: method exact needs uint8 samples of one to three bands, not {stream.dtype} of "
            f"{stream.n_bands}; use stream, which fits every pixel too"
        )
    return method


def _sample_places(method: str, stream: PixelStream) -> list[int]:
    """Return the places to seed from: for minibatch EM, which is not to read all, a quarter at the most."""
    n_places = len(stream.places)
    return stream.spread(min(SAMPLE_PLACES, max(1, n_places // 4) if method == "minibatch" else n_places))


def lossless(table: ColourTable, covariance_type: CovarianceType) -> Mixture:
    """Return the mixture whose components are the colours of a table, each a tenth of a sample value wide."""
    covariance = (0.1 * table.level) ** 2 * np.eye(table.colours.shape[1])
    means, weights = table.colours / table.scale, table.counts / table.n_pixels
    return Mixture.alike(means, covariance, covariance_type, weights).ordered()


def _start(sample: ColourTable, options: FitOptions, threads: int) -> Mixture:
    init = options.init
    if isinstance(init, str):
        return seed_mixture(
            sample,
            options.n_components,
            options.covariance_type,
            init,
            tol=options.tol,
            reg_covar=options.reg_covar,
            seed=options.seed,
            threads=threads,
        )
    means, n_bands = init.means if isinstance(init, Mixture) else np.asarray(init), sample.colours.shape[1]
    if means.ndim != 2 or means.shape[1] != n_bands:
        raise OptionError(f"init has means of shape {means.shape}; the image has {n_bands} bands")
    if isinstance(init, Mixture):
        return init
    return around(sample, means, options.covariance_type, options.reg_covar)


def _fit_all(
    stream: PixelStream,
    table: ColourTable | None,
    sample: ColourTable,
    start: Mixture,
    options: FitOptions,
    threads: int,
    advance: Advance,
) -> Fit:
    """Run EM on every pixel: on the colour table, or reading the images at each iteration."""

    def accumulate(mixture: Mixture):
        if table is None:
            return stream.accumulate(mixture, advance)
        statistics = table.accumulate(mixture, threads)
        advance(stream.n_pixels)
        return statistics

    return fit_mixture(
        accumulate,
        start,
        partial(reseed, sample, options.seed),
        level=sample.level,
        max_iter=options.max_iter,
        tol=options.tol,
        reg_covar=options.reg_covar,
    )


def _fit_minibatch(stream: PixelStream, start: Mixture, options: FitOptions, clock: Clock) -> FitResult:
    n_places = len(stream.places)
    order = np.random.default_rng([options.seed, n_places]).permutation(n_places)
    n_held_out = min(BATCH_PLACES, n_places // 4)
    held_out, rest = order[:n_held_out].tolist(), order[n_held_out:].tolist()
    batch = max(1, min(BATCH_PLACES, len(rest) // 16))
    read = set(_sample_places("minibatch", stream)) | set(held_out)
    with clock.phase("fit", stream.n_pixels * options.max_iter) as advance:

        def batches() -> Iterator:
            for _ in range(options.max_iter):
                for first in range(0, len(rest), batch):
                    places = rest[first : first + batch]
                    read.update(places)
                    yield partial(stream.accumulate, advance=advance, places=places)

        scored = stream.sample(SAMPLE_PIXELS, options.seed, held_out or rest, advance)
        fit, steps = stepwise_em(batches(), scored.accumulate, start, tol=options.tol, reg_covar=options.reg_covar)
    pixels = sum(stream.places[i].n_pixels for i in read)
    return _result(
        fit,
        "minibatch",
        steps,
        options,
        stream.range,
        batch_pixels=sum(stream.places[i].n_pixels for i in rest[:batch]),
        fraction_read=pixels / stream.n_pixels,
    )


def _result(
    fit: Fit, method: str, iterations: int, options: FitOptions, value_range: tuple[float, float] | None, **more: Any
) -> FitResult:
    if not fit.converged:
        log.warning(
            "not converged after %d iterations: the last gained more than %g; raise --max-iter or --tol",
            iterations,
            options.tol,
        )
    mixture = replace(fit.mixture.ordered(), range=value_range)
    return FitResult(mixture, method, fit.log_likelihood, fit.converged, iterations, **more)
