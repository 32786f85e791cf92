"""Windows, grids of them, and which windows to read at once: pure geometry, no I/O."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple


class Window(NamedTuple):
    """A rectangle of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """The window as an index into an array of the image."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    def overlap(self, other: "Window") -> "Window":
        """The window both have in common, which must not be empty."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        bottom = min(self.top + self.height, other.top + other.height)
        return Window(top, left, bottom - top, min(self.left + self.width, other.left + other.width) - left)

    def within(self, other: "Window") -> "Window":
        """The same window, counted from another's corner."""
        return Window(self.top - other.top, self.left - other.left, self.height, self.width)


class TileGrid(Sequence):
    """The tiles that cover an area, row by row; those at its right and lower edge are cut to it.

    Parameters
    ----------
    area : Window
        What is covered; tiles start at its corner.
    tile : tuple of int
        Height and width of a tile.
    """

    def __init__(self, area: Window, tile: tuple[int, int]):
        self.area, self.tile = area, tile
        self.rows, self.columns = -(-area.height // tile[0]), -(-area.width // tile[1])

    def __len__(self) -> int:
        return self.rows * self.columns

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(index)
        top, left = index // self.columns * self.tile[0], index % self.columns * self.tile[1]
        height, width = min(self.tile[0], self.area.height - top), min(self.tile[1], self.area.width - left)
        return Window(self.area.top + top, self.area.left + left, height, width)

    def index_of(self, window: Window) -> int:
        """Return the number of the tile at a window's corner."""
        row, column = (window.top - self.area.top) // self.tile[0], (window.left - self.area.left) // self.tile[1]
        return row * self.columns + column


def reading_unit(shape: tuple[int, int], segment: tuple[int, int], pixels: int) -> tuple[int, int]:
    """Return a multiple of a segment that holds some pixels at least, or the whole image where that is smaller.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the image.
    segment : tuple of int
        Height and width of what must be decoded at once: a tile or strip.
    pixels : int
        Pixels worth a task of their own.
    """
    height, width = segment
    while min(height, shape[0]) * min(width, shape[1]) < pixels and (height < shape[0] or width < shape[1]):
        if width < shape[1] and (width <= height or height >= shape[0]):
            width += segment[1]
        else:
            height += segment[0]
    return min(height, shape[0]), min(width, shape[1])


def writing_unit(shape: tuple[int, int], tile: tuple[int, int], segment: tuple[int, int], pixels: int) -> tuple[int, int]:
    """Return a multiple of an output tile to write at once, so that few segments are decoded twice; no larger than some pixels.

    Where these are fewer, segments are decoded again for each unit that has a part of them. One tile is the least.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the image.
    tile, segment : tuple of int
        Height and width of an output tile, and of what must be decoded at once.
    pixels : int
        The most pixels that fit.
    """
    height, width = (
        min(common_multiple(*sides), -(-side // sides[0]) * sides[0]) for side, *sides in zip(shape, tile, segment, strict=True)
    )
    if height * width > pixels:
        height = max(tile[0], pixels // width // tile[0] * tile[0])
    if height * width > pixels:
        width = max(tile[1], pixels // height // tile[1] * tile[1])
    return height, width


def common_multiple(tile: int, segment: int) -> int:
    """Return a multiple of a tile's length, and of a segment's where one is near; else four segments: a quarter again."""
    unit = tile
    while unit % segment and unit < 4 * segment:
        unit += tile
    return unit


def parts_of(window: Window, segment: tuple[int, int], pixels: int) -> list[Window]:
    """Cut a window at the edges of segments into whole rows of some pixels at the most, or parts of one row of segments.

    A segment is the least, however large.
    """
    rows = _segments(pixels // window.width, segment[0])
    whole = min(rows, window.height) * window.width <= pixels
    columns = window.left + window.width if whole else _segments(pixels // rows, segment[1])
    tops, lefts = _cut(window.top, window.height, rows), _cut(window.left, window.width, columns)
    return [Window(top, left, below - top, right - left) for top, below in tops for left, right in lefts]


def _segments(length: int, segment: int) -> int:
    """Round a length down to whole segments, one at least."""
    return max(1, length // segment) * segment


def _cut(start: int, length: int, step: int) -> list[tuple[int, int]]:
    """Cut a side at multiples of a step."""
    end = start + length
    return list(pairwise([start, *range((start // step + 1) * step, end, step), end]))
