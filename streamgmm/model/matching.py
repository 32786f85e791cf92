"""Components in the order of those of an earlier mixture that they are most like."""

import numpy as np

from .mixture import Mixture

# Distances that are taken at once: 8 MiB of them.
AT_ONCE = 1 << 20


def ordered_like(mixture: Mixture, earlier: Mixture) -> Mixture:
    """Return the components in the order of those of an earlier mixture that they are matched to; the others follow by weight.

    Of all pairs the nearest is matched first, then the nearest of the rest, and so on. So a color that has stayed keeps its
    number, whatever becomes of the others; the assignment of the least total squared distance would rather move all of them by
    a little than one by much.

    Parameters
    ----------
    mixture, earlier : Mixture
        Of the same bands, both of floats or both of integers. Distances are those of means in the range of the former.
    """
    means = _in_space_of(earlier, mixture)
    own, theirs = matched(mixture.means, means)
    order = mixture.order()
    return mixture.take([*own[np.argsort(theirs)], *order[~np.isin(order, own)]])


def matched(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Match points (n, D) and (m, D), the nearest pair first; of equally near ones the first of one, then of the other.

    Those that are nearest to each other of all that are left are matched at once, which is the same: no nearer pair has either.

    Returns
    -------
    first, second : ndarray of shape (min(n, m),)
        Numbers of the points of each pair.
    """
    left, right = np.arange(len(one)), np.arange(len(other))
    pairs = np.empty((0, 2), np.intp)
    while len(left) and len(right):
        there, back = _nearest(one[left], other[right])
        mutual = np.flatnonzero(back[there] == np.arange(len(left)))
        pairs = np.concatenate([pairs, np.column_stack([left[mutual], right[there[mutual]]])])
        left, right = np.delete(left, mutual), np.delete(right, there[mutual])
    return pairs[:, 0], pairs[:, 1]


def _nearest(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each point of one the nearest of the other, and the other way round; the first of equals."""
    there, back, least = np.empty(len(one), np.intp), np.zeros(len(other), np.intp), np.full(len(other), np.inf)
    step = max(1, AT_ONCE // len(other))
    for start in range(0, len(one), step):
        part = one[start : start + step]
        distances = np.zeros((len(part), len(other)))
        for mine, theirs in zip(part.T, other.T, strict=True):  # a band at a time
            distances += (mine[:, None] - theirs) ** 2
        there[start : start + step] = distances.argmin(axis=1)
        first = distances.argmin(axis=0)
        found = distances[first, np.arange(len(other))]
        back[found < least] = start + first[found < least]
        np.minimum(least, found, out=least)
    return there, back


def _in_space_of(earlier: Mixture, mixture: Mixture) -> np.ndarray:
    """Return the means of a mixture as those of another, whose range and space may differ."""
    if earlier.space == mixture.space:
        return earlier.means
    return mixture.space.coordinates_of(_in_range_of(earlier, mixture))


def _in_range_of(earlier: Mixture, mixture: Mixture) -> np.ndarray:
    """Return the colors of a mixture as those of another."""
    if not mixture.space.floating:
        samples = earlier.space.inverse(earlier.colors, np.uint16)
        return (samples - mixture.space.zero(np.uint16)) / mixture.space.scale(np.uint16)
    low, high = (np.transpose(np.asarray(each.space.range)) / 2 for each in (earlier, mixture))  # halves: they may be large
    half = np.where(high[1] > high[0], high[1] - high[0], 1.0)
    stored = low[0] + earlier.colors * (low[1] - low[0])
    return (stored - high[0]) / half
