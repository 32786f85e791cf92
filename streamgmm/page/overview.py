"""What of an image is kept while it is labeled, to be shown: a few pixels of each cell of a grid."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..image.image import MaskedPixels
from ..image.tiles import Window
from ..model.display import WHITE, Display
from ..model.space import SampleSpace
from .components import values_of

# The most cells, and along a side: what fits a page twice as wide as most screens are.
CELLS, SIDE = 1 << 20, 1600
# Pixels of a cell that are taken along a side, so that pictures are not grainy.
TAKEN = 2
# Pixels whose place among the components is kept, where colors are not counted.
POINTS = 1 << 15
AXES = 4  # of two projections


@dataclass(frozen=True)
class Grid:
    """Cells of an image, the same wherever it is cut into blocks.

    Attributes
    ----------
    shape : tuple of int
        Height and width of the image.
    """

    shape: tuple[int, int]

    @cached_property
    def step(self) -> int:
        """Pixels along a side of a cell: as few as give no more cells than wanted."""
        height, width = self.shape
        step = -(-max(self.shape) // SIDE)
        while -(-height // step) * -(-width // step) > CELLS:
            step += 1
        return step

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of cells."""
        height, width = (-(-side // self.step) for side in self.shape)
        return height, width

    @property
    def taken(self) -> int:
        """Pixels of a cell that are taken along a side."""
        return min(TAKEN, self.step)

    @cached_property
    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """The rows and the columns that are taken, cell by cell; those beyond the border are the last of the image."""
        inside = (2 * np.arange(self.taken) + 1) * self.step // (2 * self.taken)
        rows, columns = (
            np.minimum(self.step * np.arange(n)[:, None] + inside, side - 1).reshape(-1)
            for n, side in zip(self.cells, self.shape, strict=True)
        )
        return rows, columns

    @cached_property
    def sparse(self) -> int:
        """Every how many cells, along a side, the place of a pixel among the components is kept."""
        step = 1
        while -(-self.cells[0] // step) * -(-self.cells[1] // step) > POINTS:
            step += 1
        return step

    def cells_of(self, window: Window) -> tuple[slice, slice]:
        """Return the cells that have a part in a window of the image."""
        ends = (window.top, window.top + window.height), (window.left, window.left + window.width)
        rows, columns = (slice(first // self.step, -(-last // self.step)) for first, last in ends)
        return rows, columns

    @property
    def points(self) -> tuple[int, int]:
        """Rows and columns of points."""
        height, width = (-(-side // self.sparse) for side in self.cells)
        return height, width


class Cells(NamedTuple):
    """Pixels that are taken of a part of an image, the first of them at a row and a column of all that are taken.

    Attributes
    ----------
    row, column : int
    before : ndarray of shape (3, h, w), uint8
        Red, green and blue as they are shown; any where a pixel is masked.
    label : ndarray of shape (h, w), uint8 or uint16
        Labels; 0 where a pixel is masked.
    valid : ndarray of shape (h, w), bool
        False where a pixel is masked.
    numbers : ndarray of shape (n,)
        Of the points that are known.
    points : ndarray of shape (n, 4), float32
        Where these are in two projections.
    """

    row: int
    column: int
    before: np.ndarray
    label: np.ndarray
    valid: np.ndarray
    numbers: np.ndarray
    points: np.ndarray


@dataclass(frozen=True)
class Sampler:
    """Takes pixels of a part of an image, when these have their labels.

    Attributes
    ----------
    grid : Grid
    space : SampleSpace
    dtype : numpy.dtype
        Of samples as kernels take them.
    display : Display
        How they are shown.
    axes : ndarray of shape (D, 4), or None
        Two projections of colors in [0, 1]; None where points are not wanted.
    """

    grid: Grid
    space: SampleSpace
    dtype: np.dtype
    display: Display
    axes: np.ndarray | None

    def taken(self, part: Window, area: Window, read: MaskedPixels, labels: np.ndarray) -> Cells | None:
        """Return what is taken of a part of an area that was read, with its labels (h, w); None where that is nothing."""
        ends = (part.top, part.top + part.height), (part.left, part.left + part.width)
        (top, bottom), (left, right) = (np.searchsorted(at, end) for at, end in zip(self.grid.places, ends, strict=True))
        if top == bottom or left == right:
            return None
        rows, columns = self.grid.places[0][top:bottom], self.grid.places[1][left:right]
        inside = np.ix_(rows - area.top, columns - area.left)
        valid = np.ones((len(rows), len(columns)), bool) if read.valid is None else read.valid[inside]
        pixels = read.pixels[inside]
        stored = np.where(valid[..., None], pixels, pixels.dtype.type(0)).reshape(-1, pixels.shape[-1])
        samples = self.space.forward(stored, self.dtype)
        return Cells(
            int(top),
            int(left),
            shown(samples, self.display).T.reshape(3, *valid.shape),
            np.where(valid, labels[np.ix_(rows - part.top, columns - part.left)], labels.dtype.type(0)),
            valid,
            *self._points(samples, valid, np.arange(top, bottom), np.arange(left, right)),
        )

    def _points(
        self, samples: np.ndarray, valid: np.ndarray, rows: np.ndarray, columns: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers of points, and where they are."""
        if self.axes is None:
            return np.empty(0, np.intp), np.empty((0, AXES), np.float32)
        step, width = self.grid.sparse * self.grid.taken, self.grid.points[1]
        kept = valid & (rows % step == 0)[:, None] & (columns % step == 0)
        numbers = (rows // step * width)[:, None] + columns // step
        points = values_of(self.space, samples[kept.reshape(-1)]) @ self.axes
        return numbers[kept], points.astype(np.float32)


class Overview:
    """What was taken of an image, as far as its blocks are labeled.

    Parameters
    ----------
    grid : Grid
    palette : ndarray of shape (K, 3), uint8
        Colors of the labels; of none, all pixels are masked.

    Attributes
    ----------
    before, label, valid
        As in :class:`Cells`, of the whole image.
    points : ndarray of shape (N, 4), float32
        NaN where a point is not known.
    """

    def __init__(self, grid: Grid, palette: np.ndarray):
        self.grid, self.palette = grid, palette
        shape = len(grid.places[0]), len(grid.places[1])
        self.before, self.valid = np.zeros((3, *shape), np.uint8), np.zeros(shape, bool)
        self.label = np.zeros(shape, np.uint8 if len(palette) <= 1 << 8 else np.uint16)
        self.points = np.full((grid.points[0] * grid.points[1], AXES), np.nan, np.float32)

    def add(self, cells: Cells) -> None:
        """Add those of a part."""
        height, width = cells.label.shape
        place = slice(cells.row, cells.row + height), slice(cells.column, cells.column + width)
        self.before[:, *place], self.label[place], self.valid[place] = cells.before, cells.label, cells.valid
        self.points[cells.numbers] = cells.points

    def state(self) -> dict[str, np.ndarray]:
        """Return what :meth:`restore` takes."""
        return {f"overview_{name}": getattr(self, name) for name in STATE}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Go on from a state."""
        for name in STATE:
            setattr(self, name, state[f"overview_{name}"])

    @cached_property
    def after(self) -> np.ndarray:
        """Red, green and blue in the output of all that was taken, shape (3, h, w), uint8."""
        if not len(self.palette):
            return np.zeros_like(self.before)
        if self.label.dtype != np.uint8:
            return np.stack([np.take(channel, self.label) for channel in self.palette.T])
        tables = np.zeros((3, 256), np.uint8)
        tables[:, : len(self.palette)] = self.palette.T
        labels = Image.fromarray(self.label)  # by Pillow, which takes a tenth of the time
        return np.stack([np.asarray(labels.point(table.tolist())) for table in tables])

    @cached_property
    def n_valid(self) -> np.ndarray:
        """Pixels of each cell that were taken and are not masked, shape (R, C)."""
        return self._summed(self.valid, np.dtype(np.uint8))

    @cached_property
    def squared_error(self) -> np.ndarray:
        """Squared differences of colors before and after, over these and over red, green and blue, shape (R, C), uint32."""
        total = np.zeros(self.valid.shape, np.uint32)
        for before, after in zip(self.before, self.after, strict=True):
            apart = np.maximum(before, after) - np.minimum(before, after)
            total += np.multiply(apart, apart, dtype=np.uint16)
        total[~self.valid] = 0
        return self._summed(total, np.dtype(np.uint32))

    @property
    def first(self) -> tuple[np.ndarray, np.ndarray]:
        """The label of the first pixel of each cell, and whether it is not masked."""
        taken = self.grid.taken
        return self.label[::taken, ::taken], self.valid[::taken, ::taken]

    @cached_property
    def means(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean colors of each cell before and after, shape (R, C, 3), uint8; any where all are masked."""
        return self._mean(self.before), self._mean(self.after)

    def errors(self) -> np.ndarray:
        """Return the root mean squared error of each cell over red, green and blue, in levels; 0 where all are masked."""
        return np.sqrt(self.squared_error / (3 * np.maximum(self.n_valid, 1, dtype=np.float32)))

    def _mean(self, colors: np.ndarray) -> np.ndarray:
        """Return the mean of each cell."""
        taken, count = self.grid.taken, np.maximum(self.n_valid, 1).astype(np.uint16)
        whole = self.valid.all()
        means = []
        for channel in colors:
            if taken == 1:
                means.append(channel)
            elif whole:  # four times as fast as sums by NumPy
                means.append(np.asarray(Image.fromarray(channel).reduce(taken)))
            else:
                sums = self._summed(np.where(self.valid, channel, 0), np.dtype(np.uint16))
                means.append(((sums + count // 2) // count).astype(np.uint8))
        return np.stack(means, axis=-1)

    def _summed(self, values: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Return the sum over each cell of what was taken."""
        taken = range(self.grid.taken)
        parts = (values[i :: len(taken), j :: len(taken)] for i in taken for j in taken)
        total = np.zeros(self.grid.cells, dtype)
        for part in parts:
            total += part
        return total


STATE = ("before", "label", "valid", "points")


def shown(samples: np.ndarray, display: Display) -> np.ndarray:
    """Return samples (n, D), as kernels take them, as they are shown: shape (n, 3), uint8."""
    colors = samples[:, list(display.bands)]
    if colors.dtype == np.uint8 and display.by_type:
        return colors
    scale = display.scale(samples.dtype)
    return np.rint(np.clip((colors.astype(np.float32) - scale.black) * scale.gain, 0, WHITE)).astype(np.uint8)
