"""The palette whose colors are the means of the pixels of each label."""

import numpy as np

from ..model.centroids import ColorSums, color_sums
from ..model.display import Display
from ..model.mixture import Mixture
from ..model.palette import distinct, precedence
from .passes.sums import Total
from .passes.tasks import SumColors
from .session import Session
from .tile_store import Known, Labeler


def centroid_palette(session: Session, mixture: Mixture, display: Display, label: Labeler, known: Known | None) -> np.ndarray:
    """Return the mean color of the pixels of each label, shape (K, 3), uint8: no two alike, as in any palette.

    Where colors and their labels are known, nothing is read. A label that no pixel has keeps the color of its component, and
    a color that was given stays.
    """
    n_labels, means = mixture.n_components, display.levels(mixture.colors)
    levels = means
    if known:
        sums = color_sums(known.table.colors, known.labels, n_labels, display, known.table.counts)
        levels = sums.centroids(levels)
    elif len(session.blocks):
        total = Total(ColorSums, by_image=False)
        task = SumColors(label, n_labels, mixture.space, session.blocks.dtype, display)
        with session.clock.phase("average", session.blocks.n_pixels) as advance:
            session.reduce(task, session.blocks, total, advance)
        levels = total.result().centroids(levels)
    levels = np.where(mixture.fixed[:, None], means, levels)
    return distinct(levels, precedence(mixture), display.gray)
