"""How a mixture is fitted to all pixels of a session: from their color table, reading them at each iteration, or stepwise."""

import logging
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ..errors import OptionError
from ..model.colors import ColorTable
from ..model.distortion import psnr_of_clusters
from ..model.em import Fit, fit_mixture
from ..model.kmeans import hardened, nearest_colors, reseed
from ..model.mixture import Mixture
from ..model.seeding import Start, most_colors, noise_floor, on_all_pixels, seed_mixture
from ..model.space import BY_TYPE
from ..model.statistics import Statistics
from ..model.warmup import compile_kernels
from ..options import FitOptions, Preset
from .choosing import Choice, choose
from .clock import Advance
from .gathering import count_colors, how_to_fit, seed_sample, stream_instead
from .given_colors import fixed_means
from .lossless import lossless
from .report import Report
from .sampling import (
    known_space,
    odd_means,
    sample_blocks,
)
from .session import Session
from .stepwise import go_on, read_statistics

log = logging.getLogger(__name__)

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
    blocks, clock, wanted = session.blocks, session.clock, options.wanted
    fixed, space = fixed_means(options, session), known_space(session, options)
    held = min(sum(image.held for image in session.images), session.resources.budget())
    resources = session.resources.without_mixture(wanted, blocks.n_bands, session.name, held)
    method, copies = how_to_fit(options.method, session, resources, by_image)
    distances = space.distances if space else options.space
    compile_ahead = partial(compile_kernels, blocks.dtype, blocks.n_bands, wanted, session.engine.threads, space=distances)
    with clock.phase("compile", 0):
        compile_ahead(table=copies > 0, confident=confident)
        if method == "minibatch":
            compile_ahead(table=False, confident=confident)  # its steps work on tiles
    chosen = list(blocks) if method == "exact" else sample_blocks(session)
    whole, table = len(chosen) == len(blocks), None
    if copies:
        counted = count_colors(session, chosen, resources, wanted, copies, distances != "rgb")
        if isinstance(counted, ColorTable) and (whole or len(counted) > wanted):
            table = replace(counted, space=space or BY_TYPE)
        elif method == "exact":
            method = stream_instead(options.method, session, f"a table of {counted:,} colors does not fit")
            compile_ahead(table=False)
            chosen = sample_blocks(session)
    if table is None and options.rare_weight != 1:
        log.warning(
            "%s: rare-weight does nothing: it is for colors that are counted, 8 bits of up to three bands", session.name
        )
    weighed = None if table is None else table.powered(options.rare_weight)
    shown, few = seed_sample(session, options, chosen, weighed, space, by_image, fixed)
    choice, seeded = None, partial(_start, fixed=fixed, threads=session.engine.threads)
    if options.is_auto:
        options, few, choice = choose(session, options, seeded, shown, table, few)
    if few is not None:
        few = table or few
        return FitResult(lossless(few, options.covariance_type, fixed), "lossless", [], True, 0, table=few, choice=choice)
    sample, weighed = shown.converted(), None if weighed is None else weighed.converted()
    with clock.phase("seed", most_colors(sample)) as advance:
        start = seeded(sample, options, advance=advance)
    pixels, share, nearest = None, None, None
    part = sample if weighed is None else weighed  # which minibatch EM fits first
    with clock.phase("fit", blocks.n_pixels * options.max_iter) as advance:
        every = part if method == "minibatch" else weighed
        fit, ridge, clustered = _fit_all(session, every, sample, start, options, advance, by_image)
        if clustered and method != "minibatch" and options.rare_weight == 1 and not sample.space.converts:
            nearest = psnr_of_clusters(clustered)
        if method == "minibatch" and whole and table is not None:
            share = 1.0
        elif method == "minibatch":
            fit, pixels, share = go_on(session, chosen, part, fit, ridge, options, advance)
    how = fit.log_likelihood, fit.converged, fit.passes, options.preset_for(blocks.n_bands), ridge, table if whole else None
    return FitResult(_ordered(fit.mixture, table or shown), method, *how, pixels, share, nearest, choice)


def _ordered(mixture: Mixture, table: ColorTable) -> Mixture:
    """Return the components by falling weight, or where they have one alike, by the pixels of a table that are nearest."""
    if mixture.covariance_type != "isotropic":
        return mixture.ordered()
    n = table.converted().accumulate(hardened(mixture)).responsibilities
    return mixture.take(np.lexsort((*mixture.means.T[::-1], -n)))


def _start(sample: ColorTable, options: FitOptions, *, fixed: np.ndarray | None, threads: int, advance: Advance) -> Start:
    """Find a start on a sample."""
    init, n_bands = options.init, sample.colors.shape[1]
    if isinstance(init, np.ndarray):
        if init.shape[1] != n_bands:
            raise OptionError(f"init has means of shape {init.shape}; the image has {n_bands} bands")
        if complaint := odd_means(init, sample.space):
            raise OptionError(f"init {complaint}")
        init = sample.space.coordinates_of(init)
    return seed_mixture(
        sample,
        options.wanted,
        options.covariance_type,
        init,  # type: ignore[arg-type]
        ridge=None if isinstance(options.reg_covar, str) else options.reg_covar,
        matched=options.is_matched(n_bands),
        nearest=options.preset == "fidelity",
        fixed=None if fixed is None else sample.space.coordinates_of(fixed),
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

    again = partial(reseed, sample, options.seed)
    if options.preset == "fidelity":
        fit = nearest_colors(accumulate, start.mixture, again, step=sample.step, max_iter=options.max_iter, tol=options.tol)
        return fit, start.ridge, None
    passes, clustered, most = 0, None, min(ALL_PIXELS, options.max_iter - 2)  # EM takes two to see whether it gains anything
    if options.is_hard(session.blocks.n_bands) and most > 0:
        start, passes, clustered = on_all_pixels(accumulate, start, noise_floor(sample), most)
    fit = fit_mixture(
        accumulate,
        start.mixture,
        again,
        step=sample.step,
        max_iter=options.max_iter - passes,
        tol=options.tol,
        ridge=start.ridge,
    )
    return replace(fit, passes=fit.passes + passes), start.ridge, clustered
