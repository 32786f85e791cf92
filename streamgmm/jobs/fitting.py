"""How a mixture is fitted to all pixels of a session: from their color table, reading them at each iteration, or stepwise."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..errors import MemoryBudgetError, ModelError, OptionError, UnsupportedImageError
from ..model.colors import ColorCounter, ColorTable, has_table
from ..model.em import Fit, fit_mixture
from ..model.minibatch import stepwise_em
from ..model.mixture import Mixture
from ..model.seeding import around, reseed, seed_mixture
from ..model.space import BY_TYPE, SampleSpace
from ..model.statistics import Statistics
from ..model.warmup import compile_kernels
from ..options import CovarianceType, FitOptions, Method
from .clock import Advance
from .passes.blocks import Block
from .passes.sums import Extent, Total
from .passes.tasks import Accumulate, FindRange
from .report import Report
from .resources import Resources, mebibytes
from .sampling import SAMPLE_PIXELS, draw, few_colors, sample_blocks
from .session import Session

log = logging.getLogger(__name__)

# Blocks read for each step of minibatch EM: enough, at random, to be unlike any one region of the image.
BATCH_BLOCKS = 16


@dataclass(frozen=True)
class FitResult:
    """A fitted mixture, how it was come by, and the color table where there is one."""

    mixture: Mixture
    method: str
    log_likelihood: list[float]
    converged: bool
    iterations: int
    table: ColorTable | None = None
    batch_pixels: int | None = None
    fraction_read: float | None = None

    def report(self, name: str | list[str], session: Session) -> Report:
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
            seconds=session.clock.seconds,
            pixels=session.clock.pixels,
            resumed=session.clock.resumed,
            distinct_colors=None if self.table is None else len(self.table),
            batch_pixels=self.batch_pixels,
            fraction_read=self.fraction_read,
        )


def fit_pixels(session: Session, options: FitOptions, *, by_image: bool = False, confident: bool = False) -> FitResult:
    """Fit a mixture to every pixel of some images.

    Parameters
    ----------
    session : Session
    options : FitOptions
    by_image : bool
        Whether images have equal weights, not pixels.
    confident : bool
        Whether to compile, ahead, what tells how sure each pixel is.

    Raises
    ------
    NoPixelsError
        Where all pixels are masked.
    """
    blocks, clock, wanted = session.blocks, session.clock, options.wanted
    held = min(sum(image.held for image in session.images), session.resources.budget())
    resources = session.resources.without_mixture(wanted, blocks.n_bands, session.name, held)
    method, copies = _method(options.method, session, resources, by_image)
    compile_ahead = partial(compile_kernels, blocks.dtype, blocks.n_bands, wanted, session.engine.threads)
    with clock.phase("compile", 0):
        compile_ahead(table=method == "exact", confident=confident)
    space = _space(session, options)
    chosen, size = sample_blocks(method, session), max(SAMPLE_PIXELS, 16 * wanted)
    table = few = None
    if method == "exact":
        counter = ColorCounter(blocks.n_bands, blocks.n_pixels, min(copies, len(blocks)))
        with clock.phase("count", blocks.n_pixels) as advance:
            sample = draw(session, space, size, options.seed, chosen, advance, by_image, counter)
            counted = counter.table(lambda n: n <= wanted or resources.holds_table(n, blocks.n_bands, blocks.n_pixels))
        del counter
        if isinstance(counted, ColorTable):
            table, few = counted, counted if len(counted) <= wanted else None
        else:
            method = _stream_instead(options.method, session, f"a table of {counted:,} colors does not fit")
            compile_ahead(table=False)
    else:
        with clock.phase("sample", 0) as advance:
            sample = draw(session, space, size, options.seed, chosen, advance, by_image)
            few = few_colors(session, space, wanted, advance, by_image) if len(sample) <= wanted else None
    if few is not None:
        return FitResult(lossless(few, options.covariance_type), "lossless", [], True, 0, few)
    with clock.phase("seed", 0):
        start = _start(sample, options, session.engine.threads)
    if method == "minibatch":
        return _fit_minibatch(session, start, options)
    with clock.phase("fit", blocks.n_pixels * options.max_iter) as advance:
        fit = _fit_all(session, table, sample, start, options, advance, by_image)
    return FitResult(fit.mixture.ordered(), method, fit.log_likelihood, fit.converged, len(fit.log_likelihood), table)


def _space(session: Session, options: FitOptions) -> SampleSpace:
    """Find what 0 and 1 stand for, or take it from the mixture to start from.

    Raises
    ------
    NoPixelsError
        Where all pixels are masked.
    """
    if isinstance(options.init, Mixture):
        check_range(session, options.init)
        return options.init.space
    if not session.blocks.floating:
        return BY_TYPE
    extent = Extent()
    with session.clock.phase("range", session.blocks.n_pixels) as advance:
        session.reduce(FindRange(), session.blocks, extent, advance)
    if extent.low > extent.high:
        raise session.nothing()
    return SampleSpace((extent.low, extent.high))


def check_range(session: Session, mixture: Mixture) -> None:
    """Refuse a mixture of floats for integers, and the other way round.

    Raises
    ------
    ModelError
    """
    floating = session.blocks.floating
    if (mixture.space.range is not None) != floating:
        kinds = ("integers of up to 16 bits", "floats or wider integers")
        raise ModelError(
            f"{session.name}: samples are {kinds[floating]}; the model is for {kinds[not floating]}, fit one to such images"
        )


def _method(method: Method, session: Session, resources: Resources, by_image: bool) -> tuple[str, int]:
    """Return how to fit, and how many threads may count colors at once."""
    blocks = session.blocks
    possible = has_table(blocks.dtype, blocks.n_bands)
    if method in ("auto", "exact") and possible and not by_image:
        if copies := resources.counters(blocks.n_bands, blocks.n_pixels):
            return "exact", copies
        return _stream_instead(method, session, "counters for all colors do not fit"), 0
    if method == "exact":
        raise UnsupportedImageError(
            f"{session.name}: method exact needs uint8 samples of one to three bands, not {blocks.dtype} of "
            f"{blocks.n_bands}; use stream, which fits every pixel too"
        )
    return "stream" if method == "auto" else method, 0


def _stream_instead(method: Method, session: Session, reason: str) -> str:
    """Say that pixels are read at each iteration because of the memory, which was not asked for."""
    complaint = f"{session.name}: {reason} into {mebibytes(session.resources.memory)}"
    if method == "exact":
        raise MemoryBudgetError(f"{complaint}; raise --memory, or use --method stream, which fits every pixel too")
    log.warning("%s; reading every pixel at each iteration instead, which is slower: raise --memory", complaint)
    return "stream"


def lossless(table: ColorTable, covariance_type: CovarianceType) -> Mixture:
    """Return the mixture whose components are the colors of a table, each a tenth of a sample value wide."""
    covariance = (0.1 * table.step) ** 2 * np.eye(table.colors.shape[1])
    weights = table.counts / table.n_pixels
    return Mixture.alike(table.values, covariance, covariance_type, weights, table.space).ordered()


def _start(sample: ColorTable, options: FitOptions, threads: int) -> Mixture:
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
    means, n_bands = init.means if isinstance(init, Mixture) else np.asarray(init), sample.colors.shape[1]
    if means.ndim != 2 or means.shape[1] != n_bands:
        raise OptionError(f"init has means of shape {means.shape}; the image has {n_bands} bands")
    if isinstance(init, Mixture):
        return init
    return around(sample, means, options.covariance_type, options.reg_covar)


def _accumulate(
    session: Session, mixture: Mixture, blocks: Sequence[Block], advance: Advance, by_image: bool = False
) -> Statistics:
    """Add up the statistics of some blocks, block after block."""
    total = Total(Statistics, by_image)
    session.reduce(Accumulate(mixture, session.blocks.dtype), blocks, total, advance)
    return total.result()


def _fit_all(
    session: Session,
    table: ColorTable | None,
    sample: ColorTable,
    start: Mixture,
    options: FitOptions,
    advance: Advance,
    by_image: bool,
) -> Fit:
    """Run EM on every pixel: on the color table, or reading the images at each iteration."""

    def accumulate(mixture: Mixture) -> Statistics:
        if table is None:
            return _accumulate(session, mixture, session.blocks, advance, by_image)
        step = session.checkpoint.step("table")
        saved = step.load()
        statistics = Statistics.from_arrays(saved) if saved else table.accumulate(mixture, session.engine.threads)
        advance(session.blocks.n_pixels, resumed=saved is not None)
        if step.due():
            step.save(statistics.to_arrays())
        return statistics

    return fit_mixture(
        accumulate,
        start,
        partial(reseed, sample, options.seed),
        step=sample.step,
        max_iter=options.max_iter,
        tol=options.tol,
        reg_covar=options.reg_covar,
    )


def _fit_minibatch(session: Session, start: Mixture, options: FitOptions) -> FitResult:
    blocks, space = session.blocks, start.space
    order = np.random.default_rng([options.seed, len(blocks)]).permutation(len(blocks))
    n_held_out = min(BATCH_BLOCKS, len(blocks) // 4)
    held_out, rest = ([blocks[i] for i in part.tolist()] for part in (order[:n_held_out], order[n_held_out:]))
    batch = max(1, min(BATCH_BLOCKS, len(rest) // 16))
    read = {*sample_blocks("minibatch", session), *held_out}
    with session.clock.phase("fit", blocks.n_pixels * options.max_iter) as advance:

        def batches() -> Iterator:
            for _ in range(options.max_iter):
                for first in range(0, len(rest), batch):
                    some = rest[first : first + batch]
                    read.update(some)
                    yield partial(_accumulate, session, blocks=some, advance=advance)

        scored = draw(session, space, SAMPLE_PIXELS, options.seed, held_out or rest, advance, by_image=False)
        fit, steps = stepwise_em(batches(), scored.accumulate, start, tol=options.tol, reg_covar=options.reg_covar)
    return FitResult(
        fit.mixture.ordered(),
        "minibatch",
        fit.log_likelihood,
        fit.converged,
        steps,
        batch_pixels=sum(block.n_pixels for block in rest[:batch]),
        fraction_read=sum(block.n_pixels for block in read) / blocks.n_pixels,
    )
