"""A sample of the pixels of a session to seed from, and the colors of images that have few."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..model.colors import ColorCounter, ColorTable
from ..model.space import SampleSpace
from .clock import Advance, unseen
from .passes.blocks import Block
from .passes.sums import Drawn, FewColors
from .passes.tasks import Count, Draw, ListColors
from .session import Session

# Pixels to seed from; 16 a component where that is more. Less than a quarter of what was asked for is not enough.
SAMPLE_PIXELS, FEW = 1 << 16, 4
# Blocks it is drawn from at the most, spread evenly over the image. With 64, a mosaic took 18 iterations where 4 are enough.
SAMPLE_BLOCKS = 256


def sample_blocks(method: str, session: Session) -> list[Block]:
    """Return the blocks to seed from: for minibatch EM, which is not to read all, a quarter at the most."""
    n_blocks = len(session.blocks)
    return session.blocks.spread(min(SAMPLE_BLOCKS, max(1, n_blocks // 4) if method == "minibatch" else n_blocks))


def draw(
    session: Session,
    space: SampleSpace,
    size: int,
    seed: int,
    chosen: Sequence[Block],
    advance: Advance,
    by_image: bool,
    counter: ColorCounter | None = None,
) -> ColorTable:
    """Draw about ``size`` pixels from some blocks; on the way count the colors of *all* pixels, if there is a counter.

    Where these blocks hold too few pixels that are not masked, others are read too, in random order.

    Raises
    ------
    NoPixelsError
        Where all pixels are masked.
    """
    blocks = session.blocks
    share, indices = -(-size // max(1, len(chosen))), frozenset(block.position for block in chosen)
    task = Draw(space, blocks.dtype, seed, share, indices)
    drawn = Drawn(blocks.dtype, blocks.n_bands, counter=counter)
    if counter is None:
        session.reduce(task, chosen, drawn, advance)
    else:
        session.reduce(Count(**vars(task), counter=counter), blocks, drawn, advance)
    if drawn.n_drawn < size // FEW and drawn.n_drawn < sum(block.n_pixels for block in chosen):
        order = np.random.default_rng([seed, size]).permutation(len(blocks)).tolist()
        task = replace(task, share=size, chosen=frozenset(order))
        drawn.go_on_to(size)
        session.reduce(task, [blocks[i] for i in order], drawn, unseen)
    if not drawn.n_drawn:
        raise session.nothing()
    images = drawn.images
    return ColorTable.of(drawn.pixels, 1 / np.bincount(images)[images] if by_image else None, space)


def few_colors(session: Session, space: SampleSpace, most: int, advance: Advance, by_image: bool) -> ColorTable | None:
    """Count the distinct colors of all pixels, or return None where there are more than ``most``."""
    few = FewColors(most, by_image)
    session.reduce(ListColors(space, session.blocks.dtype), session.blocks, few, advance)
    return None if few.complete else replace(few.result(), space=space)
