"""Samples that see what is rare: half of the pixels by chance, half by how far they are from the mean, with weights for both.

A lightweight coreset (Bachem, Lucic and Krause 2018, "Scalable k-means clustering via lightweight coresets", algorithm 1).
"""

import numpy as np

from .colors import ColorTable

# Colors of a table that are drawn from at once: their distances take 12 MiB, those of all 16 million colors took 600.
SLICE = 1 << 18


def drawn(
    colors: np.ndarray, counts: np.ndarray | None, size: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw colors, with replacement.

    Parameters
    ----------
    colors : ndarray of shape (n, D)
        In any units.
    counts : ndarray of shape (n,), float64, or None
        How often each occurs; once by default.
    size : int
        Colors to draw.
    generator : numpy.random.Generator

    Returns
    -------
    indices : ndarray of shape (size,)
        Of the colors that are drawn.
    weights : ndarray of shape (size,), float64
        How many pixels each stands for.
    """
    n = float(len(colors)) if counts is None else float(counts.sum())
    share = (1.0 if counts is None else counts) * (_squared_distances(colors, counts) / 2 + 1 / (2 * n))
    cumulative = np.cumsum(share)
    indices = np.searchsorted(cumulative, generator.random(size) * cumulative[-1], side="right")
    np.minimum(indices, len(colors) - 1, out=indices)
    chosen = 1.0 if counts is None else counts[indices]
    return indices, chosen * cumulative[-1] / (size * share[indices])


def _squared_distances(colors: np.ndarray, counts: np.ndarray | None) -> np.ndarray:
    """Return squared distances from the mean, in standard deviations of each band, that sum to 1; zeros where all are alike."""
    dtype = np.float64 if colors.dtype.kind == "f" else np.float32
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        squares = np.square(np.subtract(colors, _mean(colors, counts), dtype=dtype))
        variances = _mean(squares, counts)
        distances = np.divide(squares, np.where(variances > 0, variances, 1), dtype=dtype).sum(axis=1, dtype=np.float64)
        total = (distances if counts is None else distances * counts).sum()
        distances /= total
    return distances if np.isfinite(total) and total > 0 else np.zeros(len(colors))


def _mean(x: np.ndarray, counts: np.ndarray | None) -> np.ndarray:
    """Return the mean of rows in float64: sums of many float32 lose what low contrast has."""
    return x.mean(axis=0, dtype=np.float64) if counts is None else np.average(x, axis=0, weights=counts)


def coreset(table: ColorTable, size: int, seed: int) -> ColorTable:
    """Return a table of fewer colors that stand for all: the same number of each slice, as of blocks of an image."""
    colors, weights, n_slices = [], [], -(-len(table) // SLICE)
    for number in range(n_slices):
        part = slice(number * len(table) // n_slices, (number + 1) * len(table) // n_slices)
        generator = np.random.default_rng([seed, len(table), number])
        indices, stands_for = drawn(table.colors[part], table.counts[part], -(-size // n_slices), generator)
        colors.append(table.colors[part][indices])
        weights.append(stands_for)
    return ColorTable.of(np.concatenate(colors), np.concatenate(weights), table.space)


def weighted_quantiles(values: np.ndarray, weights: np.ndarray, shares: tuple[float, ...]) -> list[float]:
    """Return the values below which some shares of the weight lie."""
    order = np.argsort(values)  # not stable, which would take four times as long: equals are equal
    cumulative = np.cumsum(weights[order])
    places = np.searchsorted(cumulative, np.asarray(shares) * cumulative[-1])
    return [float(value) for value in values[order[np.minimum(places, len(values) - 1)]]]
