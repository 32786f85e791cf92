"""Matrices of thresholds that tell, by its place alone, which of two colors a pixel of a mixture gets."""

from functools import cache

import numpy as np

from ..options import Dither

# Thresholds in a matrix, from 0 to 255: each is there as often as the others.
LEVELS = 256
# Sides, powers of two. A smaller matrix of blue noise is seen to repeat itself.
BAYER_SIDE, NOISE_SIDE = 16, 64
# Width of the bell by which void and cluster are told, in pixels: that of Ulichney.
WIDTH = 1.5
# The bell's height: with whole numbers equals are equal on any machine.
HEIGHT = 1 << 30
# One in so many places is taken to begin with.
SPARSE = 10


def thresholds(kind: Dither) -> np.ndarray:
    """Return the matrix of a kind of dithering, (N, N), uint8, not to be changed.

    Repeated over the plane, a place is among the share s / 256 of all whose threshold is less than s.
    """
    return blue_noise() if kind == "blue-noise" else bayer()


@cache
def bayer() -> np.ndarray:
    """Return the matrix of ordered dithering (Bayer 1973)."""
    ranks = np.zeros((1, 1), np.int64)
    while len(ranks) < BAYER_SIDE:
        ranks = np.block([[4 * ranks, 4 * ranks + 2], [4 * ranks + 3, 4 * ranks + 1]])
    return _leveled(ranks)


@cache
def blue_noise() -> np.ndarray:
    """Return a matrix of blue noise by void and cluster (Ulichney 1993), in 40 ms."""
    pattern, generator = _Pattern(NOISE_SIDE), np.random.default_rng(0)
    n = NOISE_SIDE**2
    first = n // SPARSE
    for place in generator.permutation(n)[:first]:
        pattern.put(place)
    while (cluster := pattern.take()) != (void := pattern.void()):
        pattern.put(void)
    pattern.put(cluster)
    ranks, start = np.empty(n, np.int64), pattern.copy()
    for rank in range(first - 1, -1, -1):
        ranks[pattern.take()] = rank
    for rank in range(first, n):
        ranks[place := start.void()] = rank
        start.put(place)
    return _leveled(ranks.reshape(NOISE_SIDE, NOISE_SIDE))


def _leveled(ranks: np.ndarray) -> np.ndarray:
    matrix = (ranks * LEVELS // ranks.size).astype(np.uint8)
    matrix.flags.writeable = False
    return matrix


class _Pattern:
    """Places of a square whose edges meet, some of them taken, and how near to others each place is."""

    def __init__(self, side: int):
        away = np.minimum(np.arange(side), side - np.arange(side)) ** 2
        bell = np.rint(HEIGHT * np.exp(-(away[:, None] + away) / (2 * WIDTH**2))).astype(np.int64)
        self._side, self._bells = side, np.tile(bell, (2, 2))
        self._near, self._taken = np.zeros((side, side), np.int64), np.zeros(side**2, bool)

    def copy(self) -> "_Pattern":
        other = _Pattern(self._side)
        other._near[:], other._taken[:] = self._near, self._taken
        return other

    def put(self, place: int) -> None:
        """Take a place."""
        self._taken[place] = True
        self._near += self._bell(place)

    def take(self) -> int:
        """Free the place that is nearest to others, and return it."""
        place = int(np.where(self._taken, self._near.reshape(-1), -1).argmax())
        self._taken[place] = False
        self._near -= self._bell(place)
        return place

    def void(self) -> int:
        """Return the free place that is farthest from others."""
        return int(np.where(self._taken, np.iinfo(np.int64).max, self._near.reshape(-1)).argmin())

    def _bell(self, place: int) -> np.ndarray:
        """Return the bell about a place."""
        row, column = divmod(int(place), self._side)
        return self._bells[self._side - row : 2 * self._side - row, self._side - column : 2 * self._side - column]
