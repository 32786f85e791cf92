"""The pages of a TIFF that are not read."""

import contextlib
import itertools
from collections.abc import Sequence

import tifffile

from .pages import Group, area, groups, is_full

# So many images are looked at, beside those that are taken: a stack may have thousands.
LOOKED_AT = 64
# One that has so many times the pixels of the one that is taken is told of.
FAR_LARGER = 4
# So many pages are named by their numbers.
NAMED = 4


def others(tiff: tifffile.TiffFile, taken: Sequence[Group]) -> list[Group]:
    """Return the first images that are not taken, in their order; what lies behind damage is none."""
    found: list[Group] = []
    known = {group.index for group in taken}
    with contextlib.suppress(Exception):  # a damaged page behind them does not spoil those that are taken
        found.extend(itertools.islice((group for group in groups(tiff) if group.index not in known), LOOKED_AT))
    return found


def far_larger(group: Group, beside: Sequence[Group]) -> Group | None:
    """Return one of other images that stands behind the one that is taken, and has far more pixels; None where none has."""
    behind = (other for other in beside if other.index > group.index and is_full(other))
    return next((other for other in behind if area(other) > FAR_LARGER * area(group)), None)


def told(taken: Sequence[Group], beside: Sequence[Group]) -> list[str]:
    """Return the names of other images, and of the pictures that belong to those that are taken."""
    names, numbers = [], [group.index for group in beside]
    if len(numbers) > NAMED:
        more = " or more" if len(numbers) == LOOKED_AT else ""
        names.append(f"{len(numbers)} other pages{more}, from page {numbers[0]} on")
    elif numbers:
        names.append(f"page{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}")
    if pictures := sum(group.pictures for group in taken):
        names.append(f"{pictures} smaller picture{'s' * (pictures > 1)} of pages")
    return names
