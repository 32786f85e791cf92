"""Tiles cover an area exactly once, and are read and written in sizes that waste little."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgmm.image.tiles import TileGrid, Window, reading_unit, writing_unit

sides = st.integers(1, 70)
areas = st.builds(Window, st.integers(0, 50), st.integers(0, 50), sides, sides)
pairs = st.tuples(sides, sides)


@given(areas, pairs)
def test_tiles_cover_an_area_exactly_once(area, tile):
    covered = np.zeros((130, 130), int)
    for window in TileGrid(area, tile):
        covered[window.slices] += 1
    expected = np.zeros_like(covered)
    expected[area.slices] = 1
    np.testing.assert_array_equal(covered, expected)


@given(areas, pairs)
def test_only_tiles_at_the_edge_are_cut(area, tile):
    grid = TileGrid(area, tile)
    for index, window in enumerate(grid):
        row, column = divmod(index, grid.columns)
        assert (window.top, window.left) == (area.top + row * tile[0], area.left + column * tile[1])
        assert window.height == tile[0] or row == grid.rows - 1
        assert window.width == tile[1] or column == grid.columns - 1


@given(areas, pairs)
def test_a_tile_is_found_by_its_corner(area, tile):
    grid = TileGrid(area, tile)
    assert [grid.index_of(window) for window in grid] == list(range(len(grid)))


@pytest.mark.parametrize("index", [-1, 6, 7])
def test_there_is_no_tile_beyond_the_last(index):
    with pytest.raises(IndexError):
        TileGrid(Window(0, 0, 20, 30), (10, 10))[index]


def test_a_window_is_a_pair_of_slices():
    image = np.arange(20).reshape(4, 5)
    np.testing.assert_array_equal(image[Window(1, 2, 2, 3).slices], [[7, 8, 9], [12, 13, 14]])


def test_a_window_counts_from_the_corner_of_another():
    assert Window(10, 20, 3, 4).within(Window(8, 15, 9, 9)) == Window(2, 5, 3, 4)


@given(pairs, pairs, st.integers(1, 3000))
def test_a_reading_unit_is_whole_segments_or_the_whole_side(shape, segment, pixels):
    for unit, part, whole in zip(reading_unit(shape, segment, pixels), segment, shape, strict=True):
        assert unit == whole or (unit < whole and unit % part == 0)


@given(pairs, pairs, st.integers(1, 3000))
def test_a_reading_unit_holds_enough_pixels_or_the_whole_image(shape, segment, pixels):
    unit = reading_unit(shape, segment, pixels)
    assert unit[0] * unit[1] >= pixels or unit == shape


@given(st.integers(1, 40), st.integers(4, 4000))
def test_a_reading_unit_of_pixels_is_little_more_than_asked(segment, pixels):
    height, width = reading_unit((10_000, 10_000), (segment, segment), pixels)
    assert (height - segment) * (width - segment) < pixels


@pytest.mark.parametrize(
    ("shape", "segment", "pixels", "expected"),
    [
        ((1000, 1000), (256, 256), 1 << 16, (256, 256)),
        ((1000, 1000), (256, 256), 1 << 18, (512, 512)),
        ((1000, 1000), (256, 256), 1 << 30, (1000, 1000)),
        ((1000, 1000), (1, 1000), 1 << 16, (66, 1000)),
        ((1000, 100), (256, 256), 1 << 16, (768, 100)),
        ((10, 10), (512, 512), 1, (10, 10)),
    ],
)
def test_reading_units(shape, segment, pixels, expected):
    assert reading_unit(shape, segment, pixels) == expected


@pytest.mark.parametrize(
    ("tile", "segment", "expected"),
    [
        (256, 256, 256),
        (256, 128, 256),
        (256, 512, 512),
        (256, 1, 256),
        (256, 240, 1024),
        (256, 384, 768),
        (256, 250, 1024),
        (16, 1000, 2000),
    ],
)
def test_writing_units(tile, segment, expected):
    assert writing_unit(tile, segment) == expected


@given(st.integers(1, 64).map(lambda n: 16 * n), st.integers(1, 3000))
def test_a_writing_unit_is_whole_tiles_and_whole_segments_or_four(tile, segment):
    unit = writing_unit(tile, segment)
    assert unit % tile == 0
    assert unit % segment == 0 or 4 * segment <= unit < 4 * segment + tile
