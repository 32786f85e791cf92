"""Three places are shown: where the error is largest, median and smallest."""

import numpy as np
import pytest

from streamgmm.page.overview import Grid, Overview
from streamgmm.page.places import PLACE, places_of

BLACK = np.zeros((1, 3), np.uint8)


def overview_of(errors, valid=None):
    """The overview of an image whose output is black, with an error at each pixel."""
    grid = Grid(errors.shape)
    overview = Overview(grid, BLACK)
    places = np.ix_(*grid.places)
    overview.before[:] = errors[places]
    overview.valid[:] = True if valid is None else valid[places]
    return overview


def rising(height, width):
    """Errors of tiles of the size of a place, by their number."""
    rows, columns = np.arange(height) // PLACE[0], np.arange(width) // PLACE[1]
    return (10 + rows[:, None] * -(-width // PLACE[1]) + columns).astype(np.uint8)


@pytest.mark.parametrize("scale", [1, 2])
def test_they_are_where_the_error_is_largest_median_and_smallest(scale):
    errors = rising(3 * PLACE[0] * scale, 3 * PLACE[1] * scale)
    places = places_of(overview_of(errors))
    assert [place.name for place in places] == ["largest", "median", "smallest"]
    found = [errors[place.window.slices] for place in places]
    middle = np.median(np.unique(errors))
    assert [int(each.min()) for each in found] == [int(each.max()) for each in found]
    assert [int(each.min()) for each in found] == [errors.max(), int(middle), errors.min()]


@pytest.mark.parametrize(("shape", "names"), [((240, 320), 1), ((200, 100), 1), ((300, 320), 2), ((481, 700), 3)])
def test_of_a_small_image_there_are_fewer_that_do_not_overlap_much(shape, names):
    rng = np.random.default_rng(0)
    places = places_of(overview_of(rng.integers(1, 99, shape).astype(np.uint8)))
    assert [place.name for place in places] == ["largest", "median", "smallest"][:1] * (names == 1) or len(places) == names
    for place in places:
        top, left, height, width = place.window
        assert top >= 0
        assert left >= 0
        assert top + height <= shape[0]
        assert left + width <= shape[1]


def test_they_are_where_half_of_the_pixels_are_not_masked():
    errors = rising(3 * PLACE[0], 3 * PLACE[1])
    valid = np.ones(errors.shape, bool)
    valid[2 * PLACE[0] :, 2 * PLACE[1] :] = False  # the largest
    valid[: PLACE[0], : PLACE[1] - 100] = False  # of the smallest more than half
    places = places_of(overview_of(errors, valid))
    assert {int(errors[place.window.slices].max()) for place in places} == {17, 14, 11}


def test_where_all_pixels_are_masked_there_are_none():
    assert places_of(overview_of(np.ones((300, 400), np.uint8), np.zeros((300, 400), bool))) == []


def test_where_hardly_any_pixel_is_not_masked_it_is_there():
    valid = np.zeros((600, 900), bool)
    valid[500:510, 700:720] = True
    (place,) = places_of(overview_of(np.ones((600, 900), np.uint8), valid))
    assert valid[place.window.slices].any()
