"""Figures of a page, drawn by Matplotlib: SVG whose texts are texts, in the fonts and colors of the page."""

import io
import re
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.collections import EllipseCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .components import Projection

# Colors that a page has its own for, as they are drawn and as they stand in the page.
INK, FAINT, ACCENT, SECOND, HALO = "#102030", "#405060", "#708090", "#90a0b0", "#b0c0d0"
PAGE = {
    INK: "var(--ink)",
    FAINT: "var(--faint)",
    ACCENT: "var(--accent)",
    SECOND: "var(--second)",
    HALO: "var(--halo)",
}
# Inches of a figure that is as wide as a telephone, at 72 points each.
SIZE = (6.0, 4.0)
SQUARE = (5.2, 4.8)
# Where axes are in a figure.
MARGINS = {"left": 0.16, "right": 0.98, "bottom": 0.14, "top": 0.98}
# Side of a histogram, and the most components that are drawn: more are a tangle.
BINS, ELLIPSES = 160, 64
# Standard deviations to the border of an ellipse: nine in ten pixels of a component in two bands are inside of 2.15.
DEVIATIONS = 2.0
# Shares of colors at either end that axes leave out, and the room they leave beside the rest.
TAIL, ROOM = 0.001, 0.06


def likelihood(values: Sequence[float]) -> str:
    """Return a figure of the log-likelihood by iteration."""
    figure, axes = _figure(SIZE)
    _plot(axes, range(1, len(values) + 1), values, ACCENT)
    axes.set_xlabel("iteration")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.ticklabel_format(axis="y", useOffset=False)
    return _svg(figure, "likelihood")


def curve(rows: Sequence[dict]) -> str:
    """Return a figure of the error over the number of components."""
    figure = _canvas(SIZE)
    numbers = [row["n_components"] for row in rows]
    kinds = [("psnr_db", "PSNR, dB", ACCENT), ("delta_e", "CIE ΔE 2000", SECOND)]
    kinds = [kind for kind in kinds if any(row.get(kind[0]) is not None for row in rows)]
    for axes, (name, label, color) in zip(
        np.ravel(figure.subplots(len(kinds), sharex=True, gridspec_kw=MARGINS)), kinds, strict=True
    ):
        _dress(axes)
        _plot(axes, numbers, [np.nan if row.get(name) is None else row[name] for row in rows], color)
        axes.set_ylabel(label)
        axes.set_xscale("log", base=2)
        axes.set_xticks(numbers, [str(number) for number in numbers])
        axes.minorticks_off()
    axes.set_xlabel("components")
    figure.align_ylabels()
    return _svg(figure, "curve")


def plane(
    projection: Projection,
    points: np.ndarray,
    means: np.ndarray,
    covariances: np.ndarray,
    colors: Sequence[str],
    step: float,
    name: str,
) -> str:
    """Return a figure of components as ellipses, over the histogram of colors.

    Parameters
    ----------
    projection : Projection
    points : ndarray of shape (n, 2)
        Distinct colors where they are in the plane.
    means : ndarray of shape (K, 2)
    covariances : ndarray of shape (K, 2, 2)
    colors : sequence of str
        Of the components.
    step : float
        How far apart neighboring colors are.
    name : str
        That no other figure has.
    """
    figure, axes = _figure(SQUARE)
    (left, right), (bottom, top) = (_limits(points[:, i], means[:, i]) for i in (0, 1))
    width = _width(max(right - left, top - bottom), step)
    across, up = _edges(left, right, width, step), _edges(bottom, top, width, step)
    counts = _counts(points, across, up)
    extent = across[0], across[-1], up[0], up[-1]
    axes.imshow(_ink(counts), extent=extent, origin="lower", aspect="auto", interpolation="nearest")
    variances, directions = np.linalg.eigh(covariances)
    heights, widths = 2 * DEVIATIONS * np.sqrt(np.maximum(variances, 0)).T
    angles = np.degrees(np.arctan2(directions[:, 1, 1], directions[:, 0, 1]))
    for edges, thickness in ((HALO, 3.2), (colors, 1.8)):
        ellipses = EllipseCollection(
            widths,
            heights,
            angles,
            units="xy",
            offsets=means,
            offset_transform=axes.transData,
            facecolors="none",
            edgecolors=edges,
            linewidths=thickness,
        )
        axes.add_collection(ellipses, autolim=False)
    axes.scatter(means[:, 0], means[:, 1], s=30, c=list(colors), edgecolors=HALO, linewidths=1, zorder=3)
    axes.set(xlim=(left, right), ylim=(bottom, top), xlabel=projection.x, ylabel=projection.y)
    return _svg(figure, name)


def density(
    points: np.ndarray, weights: np.ndarray, means: np.ndarray, variances: np.ndarray, colors: Sequence[str], step: float
) -> str:
    """Return a figure of the components of one band, each as its density, over the histogram of colors (n,)."""
    figure, axes = _figure(SIZE)
    left, right = _limits(points, means)
    axes.hist(
        points, bins=_edges(left, right, _width(right - left, step), step).tolist(), density=True, color=FAINT, alpha=0.35
    )
    values = np.linspace(left, right, 400)
    for weight, mean, variance, color in zip(weights, means, variances, colors, strict=True):
        height = weight * np.exp(-((values - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
        axes.plot(values, height, color=HALO, linewidth=3.2)
        axes.plot(values, height, color=color, linewidth=1.8)
    axes.set(xlim=(left, right), xlabel="band 1", ylabel="density")
    return _svg(figure, "density")


def error_colors() -> np.ndarray:
    """Return the colors of errors, from none to large, shape (256, 3), uint8."""
    return np.rint(255 * mpl.colormaps["inferno"](np.arange(256))[:, :3]).astype(np.uint8)


def _limits(points: np.ndarray, means: np.ndarray) -> tuple[float, float]:
    """Return the ends of an axis."""
    low, high = np.quantile(points, (TAIL, 1 - TAIL)) if len(points) else (np.inf, -np.inf)
    low, high = min(low, means.min()), max(high, means.max())
    room = ROOM * (high - low) or 0.05
    return float(low - room), float(high + room)


def _width(length: float, step: float) -> float:
    """Return the width of bins, of whole steps between colors: others would have more of these, or fewer."""
    return max(1, np.ceil(length / BINS / step)) * step


def _edges(low: float, high: float, width: float, step: float) -> np.ndarray:
    """Return the edges of bins."""
    return np.arange(np.floor(low / width), np.ceil(high / width) + 1) * width - step / 2


def _counts(points: np.ndarray, across: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Return how many points (n, 2) are in each bin: a tenth of the time of np.histogram2d, which takes edges of any kind."""
    width = across[1] - across[0]
    columns, rows = np.floor((points - (across[0], up[0])) / width).astype(np.int64).T
    inside = (columns >= 0) & (columns < len(across) - 1) & (rows >= 0) & (rows < len(up) - 1)
    shape = len(up) - 1, len(across) - 1
    return np.bincount(rows[inside] * shape[1] + columns[inside], minlength=shape[0] * shape[1]).reshape(shape)


def _ink(counts: np.ndarray) -> np.ndarray:
    """Return how many colors there are as ink of more or less opacity: gray, which is seen on light and on dark."""
    picture = np.full((*counts.shape, 4), 128, np.uint8)
    strength = np.log1p(counts)
    picture[..., 3] = np.rint(230 * strength / max(strength.max(), 1e-9))
    return picture


def _plot(axes: Axes, x: Sequence[float], y: Sequence[float], color: str) -> None:
    axes.plot(x, y, color=color, linewidth=2, marker="o", markersize=4.5 if len(x) < 60 else 0, clip_on=False)


def _canvas(size: tuple[float, float]) -> Figure:
    figure = Figure(size)
    FigureCanvasSVG(figure)
    figure.patch.set_visible(False)
    return figure


def _figure(size: tuple[float, float]) -> tuple[Figure, Axes]:
    figure = _canvas(size)
    axes = figure.subplots(gridspec_kw=MARGINS)
    _dress(axes)
    return figure, axes


def _dress(axes: Axes) -> None:
    """Give axes the colors of the page."""
    axes.patch.set_visible(False)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_edgecolor(FAINT)
    axes.tick_params(colors=FAINT, labelcolor=INK, labelsize=12)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set(color=INK, fontsize=13)


def _svg(figure: Figure, name: str) -> str:
    """Return a figure as it stands in a page, the same each time; its parts have names that no other figure has."""
    file = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(file, format="svg", metadata=nothing)
    text = file.getvalue()
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text[text.index("<svg") :])
    return re.sub("|".join(PAGE), lambda color: PAGE[color[0]], text)
