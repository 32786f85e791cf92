"""Tiles cover an area exactly once, and are read and written in sizes that waste little."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgmm.image.tiles import TileGrid, Window, parts_of, reading_unit, writing_unit

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
    assert writing_unit((10**6, 10**6), (tile, tile), (segment, segment), 10**12) == (expected, expected)


@given(st.integers(1, 64).map(lambda n: 16 * n), st.integers(1, 3000))
def test_a_writing_unit_is_whole_tiles_and_whole_segments_or_four(tile, segment):
    for unit in writing_unit((10**6, 10**6), (tile, tile), (segment, segment), 10**12):
        assert unit % tile == 0
        assert unit % segment == 0 or 4 * segment <= unit < 4 * segment + tile


@pytest.mark.parametrize(
    ("shape", "segment", "pixels", "expected"),
    [
        ((1000, 100_000), (1, 100_000), 1 << 30, (256, 391 * 256)),  # strips: as wide as the image, in whole tiles
        ((1000, 100_000), (1, 100_000), 1 << 24, (256, 65_536)),  # of which these fit
        ((1000, 100_000), (1, 100_000), 1, (256, 256)),
        ((4000, 4000), (4000, 4000), 1 << 30, (4096, 4096)),
        ((4000, 4000), (4000, 4000), 1 << 23, (2048, 4096)),  # first fewer rows
        ((8000, 1000), (100, 1000), 1 << 18, (256, 1024)),
    ],
)
def test_a_writing_unit_is_no_larger_than_fits(shape, segment, pixels, expected):
    assert writing_unit(shape, (256, 256), segment, pixels) == expected


@given(areas, pairs, st.integers(1, 3000))
def test_parts_cover_a_window_once_and_are_cut_at_the_edges_of_segments(area, segment, pixels):
    covered = np.zeros((130, 130), int)
    for part in parts_of(area, segment, pixels):
        covered[part.slices] += 1
        assert part.height * part.width <= max(pixels, segment[0] * segment[1])
        assert part.top % segment[0] == 0 or part.top == area.top
        assert part.left % segment[1] == 0 or part.left == area.left
    expected = np.zeros_like(covered)
    expected[area.slices] = 1
    np.testing.assert_array_equal(covered, expected)


@given(areas, st.integers(1, 3000))
def test_parts_are_whole_rows_where_some_fit(area, pixels):
    assert {part.width == area.width for part in parts_of(area, (1, 1), pixels)} == {area.width <= pixels}
