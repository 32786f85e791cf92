"""How a mixture is fitted to all pixels of a session: from their color table, reading them at each iteration, or stepwise."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ..errors import MemoryBudgetError, OptionError, UnsupportedImageError
from ..model.colors import ColorCounter, ColorTable, has_table
from ..model.coreset import coreset
from ..model.distortion import psnr_of_clusters
from ..model.em import Fit, fit_mixture
from ..model.kmeans import reseed
from ..model.mixture import Mixture
from ..model.seeding import Start, most_colors, noise_floor, on_all_pixels, seed_mixture
from ..model.space import BY_TYPE, SampleSpace
from ..model.statistics import Statistics
from ..model.warmup import compile_kernels
from ..options import CovarianceType, FitOptions, Method, Preset
from .choosing import Choice, choose
from .clock import Advance
from .passes.blocks import Block
from .passes.sums import Counted
from .passes.tasks import Count
from .report import Report
from .resources import Resources, mebibytes
from .sampling import (
    check_width,
    draw,
    few_colors,
    found_space,
    known_space,
    near_colors,
    odd_means,
    sample_blocks,
    sample_size,
)
from .session import Session
from .stepwise import go_on, read_statistics

log = logging.getLogger(__name__)

# Colors of a table that is seeded from as it is; a photo has fewer. Of larger ones, so many are drawn.
SMALL_TABLE = 1 << 18
# Passes of k-means over all pixels: a sample of them has left little to gain.
ALL_PIXELS = 2


@dataclass(frozen=True)
class FitResult:
    """A fitted mixture, how it was come by, and the color table where there is one."""

    mixture: Mixture
    method: str
    log_likelihood: list[float]
    converged: bool
    iterations: int
    preset: Preset | None = None
    ridge: np.ndarray | None = None
    table: ColorTable | None = None
    batch_pixels: int | None = None
    fraction_read: float | None = None
    psnr_db_nearest: float | None = None
    choice: Choice | None = None

    def report(self, name: str | list[str], session: Session) -> Report:
        """Report the fit of an image, or of several."""
        return Report(
            input=name,
            output=None,
            model=self.mixture.to_dict(),
            method=self.method,
            preset=self.preset,
            ridge=None if self.ridge is None else self.ridge.tolist(),
            n_components=self.mixture.n_components,
            iterations=self.iterations,
            converged=self.converged,
            log_likelihood=self.log_likelihood,
            distinct_colors=None if self.table is None else len(self.table),
            batch_pixels=self.batch_pixels,
            fraction_read=self.fraction_read,
            curve=self.choice and self.choice.curve,
            **session.facts(),
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
    blocks, clock, wanted, space = session.blocks, session.clock, options.wanted, known_space(session, options)
    held = min(sum(image.held for image in session.images), session.resources.budget())
    resources = session.resources.without_mixture(wanted, blocks.n_bands, session.name, held)
    method, copies = _method(options.method, session, resources, by_image)
    compile_ahead = partial(compile_kernels, blocks.dtype, blocks.n_bands, wanted, session.engine.threads)
    with clock.phase("compile", 0):
        compile_ahead(table=copies > 0, confident=confident)
        if method == "minibatch":
            compile_ahead(table=False, confident=confident)  # its steps work on tiles
    chosen = list(blocks) if method == "exact" else sample_blocks(session)
    whole, table = len(chosen) == len(blocks), None
    if copies:
        counted = _count(session, chosen, resources, wanted, copies)
        if isinstance(counted, ColorTable) and (whole or len(counted) > wanted):
            table = replace(counted, space=space or BY_TYPE)
        elif method == "exact":
            method = _stream_instead(options.method, session, f"a table of {counted:,} colors does not fit")
            compile_ahead(table=False)
            chosen = sample_blocks(session)
    if table is None and options.rare_weight != 1:
        log.warning(
            "%s: rare-weight does nothing: it is for colors that are counted, 8 bits of up to three bands", session.name
        )
    weighed = None if table is None else table.powered(options.rare_weight)
    sample, few = _sample(session, options, chosen, weighed, space, by_image)
    choice = None
    if options.is_auto:
        options, few, choice = choose(session, options, _start, sample, table, few)
    if few is not None:
        few = few if table is None else table
        return FitResult(lossless(few, options.covariance_type), "lossless", [], True, 0, table=few, choice=choice)
    with clock.phase("seed", most_colors(sample)) as advance:
        start = _start(sample, options, session.engine.threads, advance)
    preset, pixels, share, nearest = options.preset_for(blocks.n_bands), None, None, None
    part = sample if weighed is None else weighed  # which minibatch EM fits first
    with clock.phase("fit", blocks.n_pixels * options.max_iter) as advance:
        every = part if method == "minibatch" else weighed
        fit, ridge, clustered = _fit_all(session, every, sample, start, options, advance, by_image)
        if clustered and method != "minibatch" and options.rare_weight == 1:
            nearest = psnr_of_clusters(clustered)
        if method == "minibatch" and whole and table is not None:
            share = 1.0
        elif method == "minibatch":
            fit, pixels, share = go_on(session, chosen, part, fit, ridge, options, advance)
    how = fit.log_likelihood, fit.converged, fit.passes, preset, ridge, table if whole else None
    return FitResult(fit.mixture.ordered(), method, *how, pixels, share, nearest, choice)


def _count(session: Session, chosen: Sequence[Block], resources: Resources, wanted: int, copies: int) -> ColorTable | int:
    """Count the colors of some blocks; return only their number where a table of them does not fit."""
    blocks = session.blocks
    counted = Counted(ColorCounter(blocks.n_bands, blocks.n_pixels, max(1, min(copies, len(chosen)))))
    with session.clock.phase("count", sum(block.n_pixels for block in chosen)) as advance:
        session.reduce(Count(counted.counter), chosen, counted, advance)
        table = counted.counter.table(lambda n: n <= wanted or resources.holds_table(n, blocks.n_bands, blocks.n_pixels))
    if isinstance(table, ColorTable) and not len(table) and len(chosen) == len(blocks):
        raise session.nothing()
    return table


def _sample(
    session: Session,
    options: FitOptions,
    chosen: Sequence[Block],
    table: ColorTable | None,
    space: SampleSpace | None,
    by_image: bool,
) -> tuple[ColorTable, ColorTable | None]:
    """Return the colors to seed from, and all colors with their counts where there are no more than components."""
    blocks, wanted = session.blocks, options.wanted
    if table is not None:
        small = len(table) <= max(SMALL_TABLE, 16 * wanted)
        return table if small else coreset(table, SMALL_TABLE, options.seed), table if len(table) <= wanted else None
    with session.clock.phase("sample", 0) as advance:
        size = sample_size(session, wanted)
        drawn = draw(session, size, options.seed, chosen, advance, by_image)
        if space is None:
            space = found_space(session, drawn)
        elif blocks.dtype != np.uint8 and isinstance(options.init, str):
            check_width(session, drawn, space)
        sample = drawn.table(space, blocks.dtype)
        if not len(sample):
            raise OptionError(f"{session.name}: all samples are far outside of the range; give another, or auto")
        if len(sample) > wanted:
            return sample, None
        colors, complete = few_colors(session, space, wanted, advance, by_image)
        return near_colors(sample + colors), colors if complete else None


def _method(method: Method, session: Session, resources: Resources, by_image: bool) -> tuple[str, int]:
    """Return how to fit, and how many threads may count colors at once."""
    blocks = session.blocks
    possible = has_table(blocks.dtype, blocks.n_bands) and not by_image
    copies = resources.counters(blocks.n_bands, blocks.n_pixels) if possible else 0
    if method == "minibatch":
        return method, copies
    if method in ("auto", "exact") and possible:
        if copies:
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


def _start(sample: ColorTable, options: FitOptions, threads: int, advance: Advance) -> Start:
    """Find a start on a sample."""
    init, n_bands = options.init, sample.colors.shape[1]
    if isinstance(init, np.ndarray):
        if init.shape[1] != n_bands:
            raise OptionError(f"init has means of shape {init.shape}; the image has {n_bands} bands")
        if complaint := odd_means(init, sample.space):
            raise OptionError(f"init {complaint}")
    return seed_mixture(
        sample,
        options.wanted,
        options.covariance_type,
        init,  # type: ignore[arg-type]
        ridge=None if isinstance(options.reg_covar, str) else options.reg_covar,
        matched=options.is_matched(n_bands),
        tol=options.tol,
        seed=options.seed,
        threads=threads,
        advance=advance,
    )


def _fit_all(
    session: Session,
    table: ColorTable | None,
    sample: ColorTable,
    start: Start,
    options: FitOptions,
    advance: Advance,
    by_image: bool,
) -> tuple[Fit, np.ndarray, Statistics | None]:
    """Run EM on every pixel: on the color table, or reading the images at each iteration.

    Return the ridge, too, and the clusters of k-means on every pixel, where these were found on the way.
    """

    def accumulate(mixture: Mixture) -> Statistics:
        if table is None:
            return read_statistics(session, session.blocks, advance, mixture, by_image)
        step = session.checkpoint.step("table")
        saved = step.load()
        statistics = Statistics.from_arrays(saved) if saved else table.accumulate(mixture, session.engine.threads)
        advance(session.blocks.n_pixels, resumed=saved is not None)
        if step.due():
            step.save(statistics.to_arrays())
        return statistics

    passes, clustered, most = 0, None, min(ALL_PIXELS, options.max_iter - 2)  # EM takes two to see whether it gains anything
    if options.is_matched(session.blocks.n_bands) and isinstance(options.init, str) and most > 0:
        start, passes, clustered = on_all_pixels(accumulate, start, noise_floor(sample), most)
    fit = fit_mixture(
        accumulate,
        start.mixture,
        partial(reseed, sample, options.seed),
        step=sample.step,
        max_iter=options.max_iter - passes,
        tol=options.tol,
        ridge=start.ridge,
    )
    return replace(fit, passes=fit.passes + passes), start.ridge, clustered
