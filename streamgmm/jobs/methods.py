"""How a mixture is fitted to a stream of pixels: from their colour table, reading them at each iteration, or stepwise."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ..errors import MemoryBudgetError, ModelError, OptionError, UnsupportedImageError
from ..model.colours import ColourCounter, ColourTable
from ..model.em import Fit, fit_mixture
from ..model.minibatch import stepwise_em
from ..model.mixture import CovarianceType, Mixture
from ..model.palette import has_table
from ..model.parameters import n_moments, scratch_bytes
from ..model.seeding import around, reseed, seed_mixture
from ..model.statistics import Statistics
from ..model.warmup import compile_kernels
from .engine import AHEAD, LocalEngine
from .options import FitOptions, Method
from .pixels import Advance, PixelStream
from .report import Clock, Report
from .resources import Resources, mebibytes

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


def fit_pixels(
    stream: PixelStream, options: FitOptions, engine: LocalEngine, clock: Clock, *, confident: bool = False
) -> FitResult:
    """Fit a mixture to every pixel of a stream.

    Parameters
    ----------
    stream : PixelStream
    options : FitOptions
    engine : LocalEngine
    clock : Clock
    confident : bool
        Whether to compile, ahead, what tells how sure each pixel is.

    Raises
    ------
    NoPixelsError
        Where all are masked.
    """
    stream.by_image = options.weight_by == "images"
    resources = _check_memory(stream, options)
    method, lanes = _method(options.method, stream, resources)
    compile_ahead = partial(compile_kernels, stream.dtype, stream.n_bands, options.wanted, engine.threads)
    with clock.phase("compile", 0):
        compile_ahead(table=method == "exact", confident=confident)
    _take_range(stream, options, clock)
    size, places = max(SAMPLE_PIXELS, 16 * options.wanted), _sample_places(method, stream)
    table = None
    if method == "exact":
        counter = ColourCounter(stream.n_bands, stream.n_pixels, min(lanes, len(stream.places)))
        with clock.phase("count", stream.n_pixels) as advance:
            sample = stream.sample(size, options.seed, places, advance, counter)
            n_colours = counter.n_colours()
            if n_colours <= options.wanted or resources.holds_table(n_colours, stream.n_bands, stream.n_pixels):
                table = counter.table()
            else:
                method = _stream_instead(options.method, stream, f"a table of {n_colours:,} colours does not fit")
                compile_ahead(table=False)
        del counter
        few = table if table is not None and len(table) <= options.wanted else None
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


def _check_memory(stream: PixelStream, options: FitOptions) -> Resources:
    """Return what the mixture itself leaves of the memory."""
    name = stream.images[0].name
    held = min(sum(image.held for image in stream.images), stream.resources.budget())
    size = COVARIANCES * 8 * options.wanted * stream.n_bands**2
    what = f"{options.wanted:,} components in {stream.n_bands:,} bands"
    if size > COVARIANCE_BYTES:
        raise MemoryBudgetError(
            f"{name}: {what} take {mebibytes(size)} of {mebibytes(COVARIANCE_BYTES)}; take fewer with "
            "--bands, or fewer --components"
        )
    resources = stream.resources.without(held, name, "images that are decoded as a whole")
    work = work_bytes(options.wanted, stream.n_bands, resources.threads)
    return resources.without(size + work, name, what)


def work_bytes(n_components: int, n_bands: int, threads: int) -> int:
    """Bytes of the buffers that some threads work in, and of the results that wait to be added up."""
    waiting = AHEAD * threads * n_components * n_moments(n_bands) * 8
    return scratch_bytes(n_components, n_bands, threads) + waiting


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


def _method(method: Method, stream: PixelStream, resources: Resources) -> tuple[str, int]:
    """Return how to fit, and how many threads may count colours at once."""
    possible = has_table(stream.dtype, stream.n_bands)
    if method in ("auto", "exact") and possible and not stream.by_image:
        if lanes := resources.lanes(stream.n_bands, stream.n_pixels):
            return "exact", lanes
        return _stream_instead(method, stream, "counters for all colours do not fit"), 0
    if method == "exact":
        raise UnsupportedImageError(
            f"{stream.places[0].image.name}: method exact needs uint8 samples of one to three bands, not {stream.dtype} of "
            f"{stream.n_bands}; use stream, which fits every pixel too"
        )
    return "stream" if method == "auto" else method, 0


def _stream_instead(method: Method, stream: PixelStream, reason: str) -> str:
    """Say that pixels are read at each iteration because of the memory, which was not asked for."""
    complaint = f"{stream.images[0].name}: {reason} into {mebibytes(stream.resources.memory)}"
    if method == "exact":
        raise MemoryBudgetError(f"{complaint}; raise --memory, or use --method stream, which fits every pixel too")
    log.warning("%s; reading every pixel at each iteration instead, which is slower: raise --memory", complaint)
    return "stream"


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
        step = stream.checkpoint.step()
        if saved := step.load():
            statistics = Statistics.from_arrays(saved)
        else:
            statistics = table.accumulate(mixture, threads)
            if step.due():
                step.save(statistics.to_arrays())
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
    mixture = replace(fit.mixture.ordered(), range=value_range)
    return FitResult(mixture, method, fit.log_likelihood, fit.converged, iterations, **more)
