"""Minibatch EM: from a fit to a part of the image, steps after batches of other blocks."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from ..model.colors import ColorTable
from ..model.em import Fit
from ..model.minibatch import stepwise_em
from ..model.mixture import Mixture
from ..model.statistics import Statistics
from ..options import FitOptions
from .clock import Advance
from .passes.blocks import Block
from .passes.sums import Total
from .passes.tasks import Accumulate
from .sampling import draw, sample_size
from .session import Session

# Blocks read for each step, and those that no step reads, whose pixels score them: enough, at random, to be unlike any one
# region of the image.
BATCH_BLOCKS, HELD_OUT_BLOCKS = 16, 64


def read_statistics(
    session: Session, blocks: Sequence[Block], advance: Advance, mixture: Mixture, by_image: bool = False
) -> Statistics:
    """Add up the statistics of some blocks, block after block."""
    total = Total(Statistics, by_image)
    session.reduce(Accumulate(mixture, session.blocks.dtype), blocks, total, advance)
    return total.result()


def go_on(
    session: Session,
    seen: Sequence[Block],
    table: ColorTable,
    fit: Fit,
    ridge: np.ndarray,
    options: FitOptions,
    advance: Advance,
) -> tuple[Fit, int, float]:
    """Go on from a fit in steps, until other pixels are explained no better.

    Parameters
    ----------
    session : Session
    seen : sequence of Block
        Blocks that were read for it.
    table : ColorTable
        What of them was fitted to.
    fit : Fit
    ridge : ndarray of shape (D,)
    options : FitOptions
        ``max_iter`` bounds the passes over the image that all batches together may take.
    advance : function
        Is told of pixels that are read.

    Returns
    -------
    fit : Fit
    batch_pixels : int
    fraction_read : float
    """
    blocks, threads = session.blocks, session.engine.threads
    order = np.random.default_rng([options.seed, len(blocks)]).permutation(len(blocks)).tolist()
    n_held_out = min(HELD_OUT_BLOCKS, len(blocks) // 8)
    held_out, rest = ([blocks[i] for i in part] for part in (order[:n_held_out] or order, order[n_held_out:]))
    batch = max(1, min(BATCH_BLOCKS, len(rest) // 16))
    read = {*seen, *held_out}

    def batches() -> Iterator[Callable[[Mixture], Statistics]]:
        for _ in range(options.max_iter):
            for first in range(0, len(rest), batch):
                some = rest[first : first + batch]
                read.update(some)
                yield partial(read_statistics, session, some, advance)

    size = sample_size(session, options.wanted)
    scored = draw(session, size, options.seed + 1, held_out, advance).table(table.space, blocks.dtype).converted()
    fit = stepwise_em(
        batches(),
        partial(scored.accumulate, threads=threads),
        partial(table.accumulate, threads=threads),
        fit.mixture,
        step=table.step,
        tol=options.tol,
        ridge=ridge,
        hard=options.is_hard(blocks.n_bands),
    )
    share = sum(block.n_pixels for block in read) / blocks.n_pixels
    return fit, sum(block.n_pixels for block in rest[:batch]), share
