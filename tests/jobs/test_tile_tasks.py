"""Tiles are the labels of the pixels of a block, however these are read."""

from functools import partial

import numpy as np
import pytest

from streamgmm.image.array import ArrayImage
from streamgmm.image.open import open_image
from streamgmm.image.output.codec import decode_tile
from streamgmm.image.tiles import TileGrid, Window
from streamgmm.jobs import tile_tasks
from streamgmm.jobs.passes.blocks import Block
from streamgmm.jobs.specs import confidence_spec, image_spec
from streamgmm.jobs.tile_tasks import LabelTiles, Layer, on_lattice, part_pixels
from streamgmm.model.display import Display
from streamgmm.model.distortion import distortion
from streamgmm.model.labels import classify, confidence
from streamgmm.model.palette import palette_of
from streamgmm.model.space import BY_TYPE
from streamgmm.options import OutputOptions

from .. import naive
from ..conftest import parts, random_mixture
from ..images import colors_of, smooth, write_tiff

MIXTURE = random_mixture(5, 3)
PIXELS = smooth(90, 110)
MASK = np.zeros((90, 110), bool)
MASK[20:70, 30:100] = True
MASKED = np.ma.array(PIXELS, mask=MASK[:, :, None].repeat(3, axis=2))


@pytest.mark.parametrize("masked", [False, True])
def test_tiles_of_blocks_are_the_labels_of_their_pixels(masked):
    """Decoded and put together, they are the image of labels, and that of how sure these are."""
    image, options = ArrayImage(MASKED if masked else PIXELS), OutputOptions(tile_size=32)
    specs = (
        image_spec(image, palette_of(MIXTURE), len(MIXTURE.means) if masked else None, options),
        confidence_spec(image, masked, options),
    )
    labelers = partial(classify, mixture=MIXTURE), partial(confidence, mixture=MIXTURE)
    layers = tuple(Layer(label, spec, 100) for label, spec in zip(labelers, specs, strict=True))
    task = LabelTiles(BY_TYPE, np.dtype(np.uint8), layers, Display.of(MIXTURE))
    found, error = np.full((2, 90, 110), 99, np.uint8), 0
    for number, window in enumerate(TileGrid(Window(0, 0, 90, 110), (64, 64))):
        part = task(Block(image, window, 0, number))
        assert part.n_valid == window.height * window.width - (MASK[window.slices].sum() if masked else 0)
        error += part.value.distortion.squared_error
        for output, tiles in part.value.tiles.items():
            for index, data in tiles:
                place = specs[output].grids[0][index - 100]
                found[output][place.slices] = decode_tile(data, specs[output])[: place.height, : place.width]
    valid = ~MASK if masked else np.ones((90, 110), bool)
    x, model = colors_of(PIXELS[valid]), parts(MIXTURE)
    labels, sure = (layer[valid] for layer in found)
    assert (labels != naive.labels(x, model)).mean() < 1e-3
    np.testing.assert_allclose(sure, 255 * naive.responsibilities(x, model).max(axis=1), atol=1.01)
    assert (found[0][~valid] == 5).all()
    assert (found[1][~valid] == 0).all()
    expected, _ = naive.tally(PIXELS[valid], labels, palette_of(MIXTURE).astype(float))
    assert error == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("pixels", [1, 100, 1000, 1 << 18])
@pytest.mark.parametrize("layout", [{"rowsperstrip": 7}, {"rowsperstrip": 90}, {"tile": (48, 32)}], ids=str)
def test_tiles_are_the_same_however_many_pixels_are_read_at_once(layout, pixels, tmp_path, monkeypatch):
    monkeypatch.setattr(tile_tasks, "PART_BYTES", 3 * pixels)
    image = open_image(write_tiff(tmp_path / "in.tif", PIXELS, compression="deflate", **layout))
    spec = image_spec(image, palette_of(MIXTURE), None, OutputOptions(tile_size=32))
    layers = (Layer(partial(classify, mixture=MIXTURE), spec, 0),)
    part, sparse = (
        LabelTiles(BY_TYPE, image.dtype, layers, Display.of(MIXTURE), sparsely)(Block(image, Window(32, 0, 58, 110), 0, 0))
        for sparsely in (False, True)
    )
    expected = classify(PIXELS[32:], MIXTURE)
    for index, data in part.value.tiles[0]:
        window = spec.grids[0][index]
        labels = decode_tile(data, spec)[: window.height, : window.width]
        np.testing.assert_array_equal(labels, expected[window.within(Window(32, 0, 58, 110)).slices])
    assert (part.n_valid, part.value.distortion.counts.sum()) == (58 * 110, 58 * 110)
    everywhere = distortion(PIXELS[32:], expected, palette_of(MIXTURE), Display.of(MIXTURE))
    np.testing.assert_array_equal(part.value.distortion.sums, everywhere.sums)
    seen = np.array([[(11 * i - j) % 61 == 0 for j in range(110)] for i in range(32, 90)])
    some = distortion(PIXELS[32:][seen], expected[seen], palette_of(MIXTURE), Display.of(MIXTURE))
    np.testing.assert_array_equal(sparse.value.distortion.sums, [*everywhere.sums[:2], *some.sums[2:]])
    image.close()


def test_of_pixels_that_are_masked_no_delta_e_is_taken():
    image = ArrayImage(MASKED)
    spec = image_spec(image, palette_of(MIXTURE), 5, OutputOptions(tile_size=32))
    layers = (Layer(partial(classify, mixture=MIXTURE), spec, 0),)
    task = LabelTiles(BY_TYPE, np.dtype(np.uint8), layers, Display.of(MIXTURE), sparsely=True)
    whole = task(Block(image, Window(0, 0, 90, 110), 0, 0)).value.distortion
    seen = on_lattice(Window(0, 0, 90, 110)) & ~MASK
    some = distortion(PIXELS[seen], classify(PIXELS[seen], MIXTURE), palette_of(MIXTURE), Display.of(MIXTURE))
    np.testing.assert_array_equal(whole.sums[2:], some.sums[2:])
    assert 0 < whole.sums[3] == seen.sum()


def test_the_lattice_has_one_pixel_in_61_wherever_it_is_cut():
    whole = on_lattice(Window(0, 0, 61 * 5, 61 * 7))
    assert whole.sum() * 61 == whole.size
    assert (whole.sum(axis=0) == 5).all()
    assert (whole.sum(axis=1) == 7).all()
    for window in (Window(3, 70, 100, 1), Window(200, 0, 1, 90), Window(17, 23, 40, 40)):
        np.testing.assert_array_equal(on_lattice(window), whole[window.slices])


def test_the_lattice_has_as_many_pixels_at_each_place_of_blocks():
    """What JPEG, or a pattern of dots, does to one pixel of its blocks is seen as often as it is there."""
    whole = on_lattice(Window(0, 0, 61 * 8, 61 * 8))
    assert (whole.reshape(61, 8, 61, 8).sum(axis=(0, 2)) == 61).all()


def test_pixels_of_the_lattice_are_far_from_each_other():
    places = np.argwhere(on_lattice(Window(0, 0, 122, 122)))
    apart = ((places[:, None] - places) ** 2).sum(axis=2)
    assert apart[apart > 0].min() == 61


@pytest.mark.parametrize("n_bands", [1, 3, 200])
def test_of_more_bands_fewer_pixels_are_read_at_once(n_bands):
    image = ArrayImage(np.zeros((2, 2, n_bands), np.uint16))
    assert part_pixels(image) == tile_tasks.PART_BYTES // (2 * n_bands)
