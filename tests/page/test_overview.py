"""What is taken of an image is the same however it is cut, and shows it as it is."""

import numpy as np
import pytest

from streamgmm.image.image import MaskedPixels
from streamgmm.image.tiles import TileGrid, Window
from streamgmm.model.display import Display
from streamgmm.model.space import BY_TYPE, SampleSpace
from streamgmm.page import overview as module
from streamgmm.page.overview import Grid, Overview, Sampler, shown

from .. import naive
from ..conftest import random_mixture, samples

PALETTE = np.random.default_rng(0).integers(0, 256, (7, 3), dtype=np.uint8)
MIXTURE = random_mixture(7, 3)


@pytest.fixture(params=[1, 2, 3, 5, 8], ids=lambda step: f"step {step}")
def grid(request, monkeypatch):
    """A grid of an image of 61 x 83 pixels, with cells of a size."""
    monkeypatch.setattr(module, "SIDE", -(-83 // request.param))
    grid = Grid((61, 83))
    assert grid.step == request.param
    return grid


def image_of(grid, seed=0):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (*grid.shape, 3), dtype=np.uint8)
    return pixels, rng.random(grid.shape) < 0.8, rng.integers(0, len(PALETTE), grid.shape, dtype=np.uint8)


def filled(grid, pixels, valid, labels, tile, axes=None):
    """The overview of an image that comes in tiles."""
    sampler = Sampler(grid, BY_TYPE, pixels.dtype, Display.of(MIXTURE), axes)
    overview = Overview(grid, PALETTE)
    for part in TileGrid(Window(0, 0, *grid.shape), tile):
        read = MaskedPixels(pixels[part.slices], None if valid is None else valid[part.slices])
        cells = sampler.taken(part, part, read, labels[part.slices])
        if cells is not None:
            overview.add(cells)
    return overview


@pytest.mark.parametrize(("shape", "step"), [((1, 1), 1), ((1024, 1024), 1), ((1025, 1025), 2), ((16_384, 16_384), 16)])
def test_cells_are_as_small_as_fit_a_page(shape, step):
    assert Grid(shape).step == step


@pytest.mark.parametrize("shape", [(1, 10**6), (10**6, 3), (10**5, 10**5), (5000, 7001)])
def test_there_are_never_more_cells_than_wanted(shape):
    rows, columns = Grid(shape).cells
    assert rows * columns <= module.CELLS
    assert max(rows, columns) <= module.SIDE
    height, width = Grid(shape).points
    assert height * width <= module.POINTS


def test_every_cell_has_pixels_of_its_own(grid):
    for places, n_cells, side in zip(grid.places, grid.cells, grid.shape, strict=True):
        assert len(places) == n_cells * grid.taken
        assert places.max() < side
        inside = places.reshape(n_cells, -1) // grid.step
        assert (inside[:-1] == np.arange(n_cells - 1)[:, None]).all()
        assert (np.diff(places) >= 0).all()


@pytest.mark.parametrize("tile", [(7, 9), (16, 83), (61, 5)])
def test_it_is_the_same_however_the_image_is_cut(tile, grid):
    pixels, valid, labels = image_of(grid)
    axes = np.eye(3)[:, [0, 1, 2, 1]]
    whole, cut = (filled(grid, pixels, valid, labels, each, axes).state() for each in (grid.shape, tile))
    for name, array in whole.items():
        np.testing.assert_array_equal(cut[name], array)


def test_it_has_the_pixels_of_the_image(grid):
    pixels, valid, labels = image_of(grid)
    overview = filled(grid, pixels, valid, labels, (20, 30))
    places = np.ix_(*grid.places)
    np.testing.assert_array_equal(overview.valid, valid[places])
    there = overview.valid
    np.testing.assert_array_equal(overview.before[:, there], pixels[places][there].T)
    np.testing.assert_array_equal(overview.after[:, there], PALETTE[labels[places]][there].T)


@pytest.mark.parametrize("masked", [False, True])
def test_pictures_and_errors_are_means_over_cells(masked, grid):
    pixels, valid, labels = image_of(grid)
    overview = filled(grid, pixels, valid if masked else None, labels, (20, 30))
    rows, columns = (places.reshape(-1, grid.taken) for places in grid.places)
    for i in (0, len(rows) // 2, len(rows) - 1):
        for j in (0, len(columns) - 1):
            cell = np.ix_(rows[i], columns[j])
            there = valid[cell] if masked else np.ones(valid[cell].shape, bool)
            assert overview.n_valid[i, j] == there.sum()
            before, after = pixels[cell][there].astype(float), PALETTE[labels[cell]][there].astype(float)
            assert overview.squared_error[i, j] == ((before - after) ** 2).sum()
            if there.any():
                for mean, colors in zip(overview.means, (before, after), strict=True):
                    np.testing.assert_allclose(mean[i, j], colors.mean(axis=0), atol=0.51)
                assert overview.errors()[i, j] == pytest.approx(np.sqrt(((before - after) ** 2).mean()))


def test_points_are_where_pixels_are_among_the_components(grid, monkeypatch):
    monkeypatch.setattr(module, "POINTS", 100)
    grid = Grid(grid.shape)
    pixels, valid, labels = image_of(grid)
    overview = filled(grid, pixels, valid, labels, (20, 30), np.eye(3)[:, [0, 1, 2, 1]])
    step = grid.sparse * grid.taken
    rows, columns = (places[::step] for places in grid.places)
    there = valid[np.ix_(rows, columns)].reshape(-1)
    expected = pixels[np.ix_(rows, columns)].reshape(-1, 3)[:, [0, 1, 2, 1]] / 255
    np.testing.assert_allclose(overview.points[there], expected[there], rtol=1e-6)
    assert np.isnan(overview.points[~there]).all()


def test_it_goes_on_from_a_state(grid):
    pixels, valid, labels = image_of(grid)
    done = filled(grid, pixels, valid, labels, (20, 30))
    other = Overview(grid, PALETTE)
    other.restore(done.state())
    np.testing.assert_array_equal(other.means[0], done.means[0])


def test_of_more_colors_than_bytes_there_are_more_labels(grid):
    palette = np.random.default_rng(1).integers(0, 256, (300, 3), dtype=np.uint8)
    overview = Overview(grid, palette)
    overview.label[:] = 299
    assert (palette[299] == overview.after.T).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_samples_are_shown_as_the_palette_shows_them(dtype):
    values = np.random.default_rng(2).random((100, 3))
    space = SampleSpace(((-2.0, 6.0),) * 3) if dtype == "float32" else BY_TYPE
    display = Display(space, (2, 1, 0), *((-2.0, 6.0) if dtype == "float32" else (0.0, 65_535.0)))
    found = shown(samples(values, dtype), display)
    expected = naive.shown(values[:, [2, 1, 0]], 0, 1)
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found, expected, atol=0.51)
