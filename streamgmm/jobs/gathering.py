"""What of the pixels a mixture is fitted to: a table of all their colors, or a sample to seed from, and how."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from ..errors import MemoryBudgetError, OptionError, UnsupportedImageError
from ..model.colors import ColorCounter, ColorTable, has_table
from ..model.coreset import coreset
from ..model.space import SampleSpace
from ..options import FitOptions, Method
from .lossless import same_colors
from .passes.blocks import Block
from .passes.sums import Counted
from .passes.tasks import Count
from .resources import Resources, mebibytes
from .sampling import check_width, draw, few_colors, found_space, near_colors, sample_size
from .session import Session

log = logging.getLogger(__name__)

# Colors of a table that is seeded from as it is; a photo has fewer. Of larger ones, so many are drawn.
SMALL_TABLE = 1 << 18


def count_colors(
    session: Session, chosen: Sequence[Block], resources: Resources, wanted: int, copies: int, converted: bool
) -> ColorTable | int:
    """Count the colors of some blocks; return only their number where a table of them does not fit."""
    blocks = session.blocks
    counted = Counted(ColorCounter(blocks.n_bands, blocks.n_pixels, max(1, min(copies, len(chosen)))))
    with session.clock.phase("count", sum(block.n_pixels for block in chosen)) as advance:
        session.reduce(Count(counted.counter), chosen, counted, advance)
        fits = partial(resources.holds_table, n_bands=blocks.n_bands, n_pixels=blocks.n_pixels, converted=converted)
        table = counted.counter.table(lambda n: n <= wanted or fits(n))
    if isinstance(table, ColorTable) and not len(table) and len(chosen) == len(blocks):
        raise session.nothing()
    return table


def seed_sample(
    session: Session,
    options: FitOptions,
    chosen: Sequence[Block],
    table: ColorTable | None,
    space: SampleSpace | None,
    by_image: bool,
    fixed: np.ndarray | None,
) -> tuple[ColorTable, ColorTable | None]:
    """Return the colors to seed from, and all colors with their counts where there are no more than components.

    They are RGB, in whatever space the mixture will be.
    """
    blocks, wanted = session.blocks, options.wanted

    def all_fit(colors: ColorTable) -> bool:
        absent = 0 if fixed is None or len(colors) > wanted else (~same_colors(colors, fixed).any(axis=0)).sum()
        return len(colors) + absent <= wanted

    if table is not None:
        small = len(table) <= max(SMALL_TABLE, 16 * wanted)
        return table if small else coreset(table, SMALL_TABLE, options.seed), table if all_fit(table) else None
    with session.clock.phase("sample", 0) as advance:
        size = sample_size(session, wanted)
        drawn = draw(session, size, options.seed, chosen, advance, by_image)
        if space is None:
            space = replace(found_space(session, drawn), distances=options.space)
        elif blocks.dtype != np.uint8 and isinstance(options.init, str):
            check_width(session, drawn, space)
        sample = drawn.table(space, blocks.dtype)
        if not len(sample):
            raise OptionError(f"{session.name}: all samples are far outside of the range; give another, or auto")
        if len(sample) > wanted:
            return sample, None
        colors, complete = few_colors(session, space, wanted, advance, by_image)
        return near_colors(sample + colors), colors if complete and colors.is_apart and all_fit(colors) else None


def how_to_fit(method: Method, session: Session, resources: Resources, by_image: bool) -> tuple[str, int]:
    """Return how to fit, and how many threads may count colors at once."""
    blocks = session.blocks
    possible = has_table(blocks.dtype, blocks.n_bands) and not by_image
    copies = resources.counters(blocks.n_bands, blocks.n_pixels) if possible else 0
    if method == "minibatch":
        return method, copies
    if method in ("auto", "exact") and possible:
        if copies:
            return "exact", copies
        return stream_instead(method, session, "counters for all colors do not fit"), 0
    if method == "exact":
        raise UnsupportedImageError(
            f"{session.name}: method exact needs uint8 samples of one to three bands, not {blocks.dtype} of "
            f"{blocks.n_bands}; use stream, which fits every pixel too"
        )
    return "stream" if method == "auto" else method, 0


def stream_instead(method: Method, session: Session, reason: str) -> str:
    """Say that pixels are read at each iteration because of the memory, which was not asked for."""
    complaint = f"{session.name}: {reason} into {mebibytes(session.resources.memory)}"
    if method == "exact":
        raise MemoryBudgetError(f"{complaint}; raise --memory, or use --method stream, which fits every pixel too")
    log.warning("%s; reading every pixel at each iteration instead, which is slower: raise --memory", complaint)
    return "stream"
