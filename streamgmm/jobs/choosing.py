"""How many components an image needs: as few as give a palette that is near enough, along a path over their number."""

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np

from ..errors import QualityError
from ..model.colors import ColorTable
from ..model.coreset import coreset
from ..model.distortion import Distortion, distortion
from ..model.labels import classify
from ..model.palette import palette_of
from ..model.seeding import Start, most_colors
from ..options import FitOptions, WriteOptions
from ..options.fit import AUTO_DELTA_E
from .centroids import centroid_palette
from .clock import Advance
from .session import Session
from .specs import display_of
from .tile_store import Known

log = logging.getLogger(__name__)

# Colors that each number of components is tried on, those that seed a fit, and those that its palette is measured on, which are
# others where there are more. On 2^15 colors palettes were up to 0.35 dB worse than they became, for little less time.
TRIED, MEASURED = 1 << 18, 1 << 17
# The fewest components are found to this part of their number: fits of 226 to 228 differ by as much as three components gain.
PART = 32
# So much nearer than asked for a palette is to be on the path, because it is measured on some of the colors.
LESS, MORE_DB = 0.99, 0.05
# Weights are made whole numbers of this mean.
WHOLE = 2.0**20


class Targets(NamedTuple):
    """What a palette is to reach: a least PSNR, and a largest mean Delta E 2000; None is not asked for."""

    psnr_db: float | None
    delta_e: float | None

    @classmethod
    def of(cls, options: FitOptions) -> "Targets":
        """Return what is asked for, or else what is usual."""
        asked = cls(options.target_psnr, options.max_delta_e)
        return cls(None, AUTO_DELTA_E) if asked == (None, None) else asked

    def nearer(self) -> "Targets":
        """Return a little more."""
        psnr_db, delta_e = self
        return Targets(None if psnr_db is None else psnr_db + MORE_DB, None if delta_e is None else delta_e * LESS)

    def missed(self, found: Distortion | None) -> str | None:
        """Return what to say of a palette that does not reach it; None where it does, as one without error does."""
        if found is None or found.psnr_db is None:
            return None
        if self.psnr_db is not None and found.psnr_db < self.psnr_db:
            return f"PSNR is {found.psnr_db:.2f} dB, less than {self.psnr_db:g}"
        if self.delta_e is not None and found.delta_e is not None and found.delta_e > self.delta_e:
            return f"mean Delta E is {found.delta_e:.2f}, more than {self.delta_e:g}"
        return None


class Choice(NamedTuple):
    """A number of components, what was found on the way there, and what is missed with it."""

    n_components: int
    curve: list[dict[str, float | None]]
    missed: str | None


class Seeded(Protocol):
    """What finds a start on some colors."""

    def __call__(self, sample: ColorTable, options: FitOptions, *, advance: Advance) -> Start:
        """Find a start."""


def path(most: int) -> list[int]:
    """Return numbers of components, each a third or a half larger than the one before, up to the most: 1, 2, 3, 4, 6, 8, 12."""
    doubled = (step << power for power in range(most.bit_length()) for step in (1, 3))
    return sorted({each for each in doubled if each < most} | {most})


def fewest(measure: Callable[[int], Distortion | None], targets: Targets, most: int) -> Choice:
    """Return the fewest components that reach the targets: on the path, then between the last that does not and the first.

    That is to a 32nd of their number, and to a little more than the targets.

    Parameters
    ----------
    measure : function from a number of components to the distortion of their palette
        None where there is no error.
    targets : Targets
    most : int
        What is taken where they are not reached.
    """
    found: dict[int, Distortion | None] = {}

    def reaches(n_components: int) -> bool:
        found[n_components] = measure(n_components)
        return targets.nearer().missed(found[n_components]) is None

    low, high = 0, most
    for n_components in path(most):
        if reaches(n_components):
            high = n_components
            break
        low = n_components
    while high - low > max(1, high // PART):
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    points = [(n, each.psnr_db if each else None, each.delta_e if each else None) for n, each in sorted(found.items())]
    curve = [dict(zip(("n_components", "psnr_db", "delta_e"), point, strict=True)) for point in points]
    return Choice(high, curve, targets.missed(found[high]))


def choose(
    session: Session,
    options: FitOptions,
    seeded: Seeded,
    sample: ColorTable,
    table: ColorTable | None,
    few: ColorTable | None,
) -> tuple[FitOptions, ColorTable | None, Choice]:
    """Choose a number of components; return the options with it, and all colors, where there are no more than that.

    Parameters
    ----------
    session : Session
    options : FitOptions
    seeded : function
    sample : ColorTable
        What seeds are found on, in RGB.
    table : ColorTable or None
        The colors, as often as they occur, where they are counted.
    few : ColorTable or None
        All colors, where there are no more than the most components.
    """
    whole = table if table is not None else sample if few is None else few
    most = options.wanted if few is None else min(options.wanted, len(few))
    tried, measured = _some(sample, TRIED, options.seed), _some(whole, MEASURED, options.seed + 1)
    with session.clock.phase("choose", len(path(most)) * most_colors(tried)) as advance:

        def measure(n_components: int) -> Distortion | None:
            if few is not None and n_components >= len(few):
                return None
            start = seeded(tried.converted(), options.of(n_components), advance=advance)
            return _measured(session, options, start, measured)

        choice = fewest(measure, Targets.of(options), most)
    log.info("%s: %d components, of %d numbers that were tried", session.name, choice.n_components, len(choice.curve))
    return options.of(choice.n_components), few if choice.n_components == most else None, choice


def _some(table: ColorTable, size: int, seed: int) -> ColorTable:
    """Return fewer colors that stand for all, where there are more."""
    return table if len(table) <= size else coreset(table, size, seed)


def _measured(session: Session, options: FitOptions, start: Start, table: ColorTable) -> Distortion:
    """Return the distortion of the palette of a mixture over the colors of a table."""
    writing = options if isinstance(options, WriteOptions) else WriteOptions()
    mixture, threads = start.mixture.ordered(), session.engine.threads
    display = display_of(writing, mixture, session.blocks)
    labels = classify(table.colors, mixture, threads)
    table = replace(table, counts=np.rint(table.counts * (WHOLE / table.counts.mean())))
    if writing.palette == "means":
        palette = palette_of(mixture, display)
    else:
        palette = centroid_palette(session, mixture, display, partial(classify, mixture=mixture), Known(table, labels))
    return distortion(table.colors, labels, palette, display, table.counts)


def check_targets(name: str, missed: str | None, most: int, strict: bool) -> None:
    """Warn of a palette that does not reach the targets with the most components, or refuse it.

    Raises
    ------
    QualityError
    """
    if missed is None:
        return
    complaint = f"{name}: {missed}; raise --max-components above {most}"
    if strict:
        raise QualityError(complaint)
    log.warning("%s", complaint)
