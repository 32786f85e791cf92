"""A sample of the pixels of a session to seed from, what its samples mean, and the colors of images that have few."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..errors import ModelError, OptionError
from ..model.colors import ColorTable
from ..model.coreset import weighted_quantiles
from ..model.mixture import Mixture
from ..model.space import FAR, FLOAT_STEP, PEAK, Ranges, SampleSpace
from ..options import FitOptions
from .clock import Advance, unseen
from .passes.blocks import Block
from .passes.sums import Drawn, FewColors
from .passes.tasks import Draw, ListColors
from .session import Session

log = logging.getLogger(__name__)

# Pixels to seed from, and their bytes; 16 pixels a component where that is more. A photo has fewer: its sample is all of it.
# Less than a quarter of what was asked for is not enough.
SAMPLE_PIXELS, SAMPLE_BYTES, FEW = 1 << 19, 16 << 20, 4
# Blocks it is drawn from at the most, spread evenly over the image: up to 268 megapixels, all. From half of the blocks of a
# mosaic of 64 megapixels, EM took 30 passes over all pixels where it takes 2 from all of them.
SAMPLE_BLOCKS = 1024
# Shares of the pixels that lie below and above a range: quantiles, because extremes are often no measurements.
TAIL = 1e-3
# The least value is odd, and the largest, where it is farther from all others than so many times their extent: if more than a
# share of the pixels have it, and if fewer have. Large ones are white paper or bright spots, before they are nodata.
LEAST, LARGEST = (TAIL, 1.0, 10.0), (0.02, 3.0, np.inf)
# All but the tails lie in a small part of a range that was given, if it is less than this share of it in each band.
NARROW = 1 / 32
# If there are no more others than so many, all are numbers of classes, as it may be.
CLASSES = 32


class Sample(NamedTuple):
    """Pixels that were drawn, as images have them.

    Attributes
    ----------
    pixels : ndarray of shape (n, D)
    weights : ndarray of shape (n,), float64
        How many pixels each stands for.
    """

    pixels: np.ndarray
    weights: np.ndarray

    def table(self, space: SampleSpace, dtype: np.dtype) -> ColorTable:
        """Return the colors, of which none is far off."""
        return near_colors(ColorTable.of(space.forward(self.pixels, dtype), self.weights, space))


def near_colors(table: ColorTable) -> ColorTable:
    """Return the colors of a table of which none is far off."""
    near = table.space.is_near(table.colors)
    return table if near.all() else replace(table, colors=table.colors[near], counts=table.counts[near])


def sample_blocks(session: Session) -> list[Block]:
    """Return the blocks to seed from."""
    return session.blocks.spread(min(SAMPLE_BLOCKS, len(session.blocks)))


def sample_size(session: Session, n_components: int) -> int:
    """Return how many pixels to seed from."""
    fitting = SAMPLE_BYTES // (session.blocks.n_bands * session.blocks.dtype.itemsize)
    return max(min(SAMPLE_PIXELS, fitting), 16 * n_components)


def draw(session: Session, size: int, seed: int, chosen: Sequence[Block], advance: Advance, by_image: bool = False) -> Sample:
    """Draw about ``size`` pixels from some blocks.

    Where these hold too few that are not masked, pixels are drawn from all blocks, in random order, until there are enough.

    Raises
    ------
    NoPixelsError
        Where all pixels are masked.
    """
    blocks = session.blocks
    dtype = np.dtype(np.float64) if blocks.floating else blocks.dtype
    there = sum(block.n_pixels for block in chosen)
    task = Draw(blocks.dtype, seed, size if there <= size else -(-size // len(chosen)))
    drawn = Drawn(dtype, blocks.n_bands)
    session.reduce(task, chosen, drawn, advance)
    if drawn.n_drawn < min(size // FEW, there):
        order = np.random.default_rng([seed, size]).permutation(len(blocks)).tolist()
        drawn = Drawn(dtype, blocks.n_bands, size)  # anew: pixels of the blocks before would count twice
        session.reduce(replace(task, share=size), [blocks[i] for i in order], drawn, unseen)
    if not drawn.n_drawn:
        raise session.nothing()
    weights = drawn.weights
    if by_image:
        weights = weights / np.bincount(drawn.images, weights)[drawn.images]
    return Sample(drawn.pixels, weights)


def known_space(session: Session, options: FitOptions) -> SampleSpace | None:
    """Return what 0 and 1 stand for, and where distances are taken, where no sample needs to tell; None where one does.

    Raises
    ------
    ModelError
        Where the mixture to start from is for other samples.
    OptionError
        Where the range or the space that is given is not for such samples.
    """
    blocks, name, given, by_type = session.blocks, session.name, options.range, SampleSpace(distances=options.space)
    if isinstance(options.init, Mixture):
        check_range(session, options.init)
        if options.init.n_bands != blocks.n_bands:
            raise OptionError(f"init has means of shape {options.init.means.shape}; the image has {blocks.n_bands} bands")
        if given != "auto":
            raise OptionError(f"{name}: range is given; that of the mixture to start from is taken")
        if options.space not in ("rgb", options.init.space.distances):
            raise OptionError(f"{name}: space is given; that of the mixture to start from is taken")
        return options.init.space
    if not by_type.is_of(blocks.n_bands):
        raise OptionError(
            f"{name}: {blocks.n_bands} bands; space {options.space} is of red, green and blue, or of gray: choose three with "
            "--bands"
        )
    if blocks.dtype == np.uint8:
        if not isinstance(given, str):
            raise OptionError(f"{name}: range is given; 8-bit samples have that of their type, 0 to 255")
        return by_type
    if isinstance(given, str):
        if given == "auto" and options.fix is None:
            return None
        if blocks.floating:
            raise OptionError(f"{name}: range is type; samples are floats, or wider than 16 bits: use auto, or LOW,HIGH")
        return by_type
    ranges = given * blocks.n_bands if len(given) == 1 else given
    if len(ranges) != blocks.n_bands:
        raise OptionError(f"{name}: range is given for {len(ranges)} bands; the image has {blocks.n_bands}")
    return SampleSpace(ranges, None if blocks.floating else blocks.units, options.space)


def odd_means(means: np.ndarray, space: SampleSpace) -> str | None:
    """Return what to say of means (K, D) that are far from all colors in [0, 1], as samples are that were not scaled."""
    usual = means if space.range is None else np.median(means, axis=0)  # of a range, some pixels may be far outside
    if ((usual > -0.5) & (usual < 1.5)).all():
        return None
    return (
        f"has means from {means.min():.4g} to {means.max():.4g}; colors are in [0, 1]: divide means by the largest sample (255 "
        "of 8 bits), and covariances by its square"
    )


def check_range(session: Session, mixture: Mixture) -> None:
    """Refuse a mixture of floats for integers, and the other way round, and one of samples that were not scaled.

    Raises
    ------
    ModelError
    """
    floating = session.blocks.floating
    if mixture.space.floating != floating:
        kinds = ("integers of up to 16 bits", "floats or wider integers")
        raise ModelError(
            f"{session.name}: samples are {kinds[floating]}; the model is for {kinds[not floating]}, fit one to such images"
        )
    complaint = odd_means(mixture.colors, mixture.space) if mixture.space.range is None else None
    if complaint:
        raise ModelError(f"{session.name}: the model {complaint}")


def found_space(session: Session, sample: Sample) -> SampleSpace:
    """Find the range of each band that all but a few pixels lie in; of three bands, red, green and blue, one for all."""
    blocks = session.blocks
    gain, zero = (1.0, 0.0) if blocks.floating else blocks.units

    def stored(band: int) -> np.ndarray:
        return (sample.pixels[:, band].astype(np.float64) - zero) / gain

    ends = np.array([_ends(stored(band), sample.weights) for band in range(blocks.n_bands)])
    if blocks.n_bands == 3:
        ends[:] = ends[:, 0].min(), ends[:, 1].max()
    ranges = tuple((low, high) for low, high in ends.tolist())
    _tell_what_is_odd(session.name, stored, sample.weights, ranges, blocks.floating)
    return SampleSpace(ranges, None if blocks.floating else blocks.units)


def check_width(session: Session, drawn: Sample, space: SampleSpace) -> None:
    """Say that nearly all pixels lie in a small part of a range that was given."""
    blocks = session.blocks
    gain, zero = (1.0, 0.0) if blocks.floating else blocks.units
    given = space.range or [(-zero / gain, (PEAK - zero) / gain)] * blocks.n_bands
    found = [_ends((band.astype(np.float64) - zero) / gain, drawn.weights) for band in drawn.pixels.T]
    shares = [(high - low) / (most - least) for (low, high), (least, most) in zip(found, given, strict=True)]
    if 0 < max(shares) < NARROW:
        low, high = min(low for low, _ in found), max(high for _, high in found)
        log.warning(
            "%s: nearly all pixels lie in %.2g %% of the range, from %g to %g; give no --range, or such a one",
            session.name,
            100 * max(shares),
            low,
            high,
        )


def _ends(values: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    low, high = weighted_quantiles(values, weights, (TAIL, 1 - TAIL))
    return (low, high) if low < high else (float(values.min()), float(values.max()))


def _tell_what_is_odd(
    name: str, stored: Callable[[int], np.ndarray], weights: np.ndarray, ranges: Ranges, floating: bool
) -> None:
    """Say, of the first band in which it is so, that some samples are far from all others."""
    for band, ends in enumerate(ranges):
        values = stored(band)
        odd = _odd(values, weights, *ends, floating)
        if odd is None:
            continue
        log.warning(
            "%s: %g in %.2g %% of the pixels%s, far from all others, %g to %g: nodata? Say so with --nodata",
            name,
            values[odd][0],
            100 * weights[odd].sum() / weights.sum(),
            f", band {band + 1}" if len(ranges) > 1 else "",
            values[~odd].min(),
            values[~odd].max(),
        )
        return


def _odd(values: np.ndarray, weights: np.ndarray, low: float, high: float, floating: bool) -> np.ndarray | None:
    """Return where samples of a band are no measurements as it seems, shape (n,), or None.

    They are floats so far that they are not fitted; or all have one value, the least or the largest, and lie apart from all
    others. Of these there are many, or they are so near to each other that float32 does not tell them apart.
    """
    far = (values <= low - FAR * (high - low)) | (values >= low + FAR * (high - low))
    if floating and low < high and far.any():
        return far
    for value, (common, apart, alone) in ((values.min(), LEAST), (values.max(), LARGEST)):
        odd = values == value
        if odd.all():
            break
        others = values[~odd]
        least, most = float(others.min()), float(others.max())
        gap, spread = max(least - float(value), float(value) - most), most - least
        times = apart if weights[odd].sum() > common * weights.sum() else alone
        if 0 < spread < gap * FLOAT_STEP or (gap > times * spread > 0 and len(np.unique(others)) > CLASSES):
            return odd
    return None


def few_colors(session: Session, space: SampleSpace, most: int, advance: Advance, by_image: bool) -> tuple[ColorTable, bool]:
    """Count the distinct colors of all pixels, as long as there are no more than ``most``; return whether these are all."""
    few = FewColors(most, by_image)
    session.reduce(ListColors(space, session.blocks.dtype), session.blocks, few, advance)
    return replace(few.result(), space=space), not few.complete
