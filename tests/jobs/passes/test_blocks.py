"""Blocks are all pixels of some images, each once, in an order that depends on the images alone."""

from contextlib import closing

import numpy as np
import pytest
import tifffile

from streamgmm.errors import UnsupportedImageError
from streamgmm.image.array import ArrayImage
from streamgmm.image.open import open_image
from streamgmm.image.tiles import Window
from streamgmm.jobs.passes import blocks as module
from streamgmm.jobs.passes.blocks import Block, Blocks
from streamgmm.model.space import as_type

from ...images import smooth, write_tiff

LAYOUTS = {
    "tiles": {"tile": (32, 48), "compression": "deflate"},
    "strips": {"rowsperstrip": 7, "compression": "lzw"},
    "a strip": {"rowsperstrip": 170, "compression": "lzw"},
    "uncompressed": {},
}


@pytest.fixture(autouse=True)
def many_blocks(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_PIXELS", 1 << 11)


@pytest.fixture(params=LAYOUTS)
def image(request, tmp_path):
    with closing(open_image(write_tiff(tmp_path / "in.tif", smooth(130, 170), **LAYOUTS[request.param]))) as image:
        yield image


def test_every_pixel_is_in_one_block(image):
    blocks, seen = Blocks([image]), np.zeros((130, 170), int)
    for block in blocks:
        seen[block.window.slices] += 1
    assert (seen == 1).all()
    assert blocks.n_pixels == sum(block.n_pixels for block in blocks) == 130 * 170
    assert not blocks.sparse


def test_a_block_is_whole_segments_of_some_size_at_least(image):
    blocks = Blocks([image])
    for block in blocks:
        for start, size, unit, end in zip(block.window[:2], block.window[2:], image.segment, image.shape[:2], strict=False):
            assert start % unit == 0
            assert size % unit == 0 or start + size == end
    assert max(block.n_pixels for block in blocks) >= min(module.BLOCK_PIXELS, 130 * 170)
    assert blocks.block_bytes == 3 * max(block.n_pixels for block in blocks)


def test_blocks_stand_image_by_image_with_their_numbers():
    images = [ArrayImage(smooth(*shape, seed=seed)) for seed, shape in enumerate([(90, 110), (1, 1), (50, 200)])]
    blocks = Blocks(images)
    assert [block.position for block in blocks] == list(range(len(blocks)))
    assert [block.image for block in blocks] == [images[block.image_number] for block in blocks]
    numbers = [block.image_number for block in blocks]
    assert numbers == sorted(numbers)
    assert set(numbers) == {0, 1, 2}
    assert blocks.n_pixels == 90 * 110 + 1 + 50 * 200
    assert [blocks[i] for i in range(len(blocks))] == list(blocks) == blocks[0:]


@pytest.mark.parametrize("n_blocks", [1, 2, 5, 7])
def test_some_blocks_are_spread_over_all(n_blocks):
    blocks = Blocks([ArrayImage(smooth(130, 170))])
    positions = [block.position for block in blocks.spread(n_blocks)]
    assert len(set(positions)) == n_blocks
    assert positions == sorted(positions)
    steps = np.diff([*positions, len(blocks)])
    assert steps.max() - steps.min() <= 1
    assert blocks.spread(len(blocks)) == list(blocks)


@pytest.mark.parametrize("masked", [False, True])
def test_the_pixels_of_a_block_are_those_that_are_not_masked_in_reading_order(masked):
    pixels = smooth(20, 30)
    array = np.ma.masked_less(pixels, 90) if masked else pixels
    window = Window(3, 5, 10, 20)
    found = Block(ArrayImage(array), window, 0, 0).valid_pixels()
    valid = (pixels >= 90).all(axis=2) if masked else np.ones((20, 30), bool)
    np.testing.assert_array_equal(found, pixels[window.slices][valid[window.slices]], strict=True)
    assert masked == (len(found) < 200)


def test_what_is_absent_in_a_sparse_file_is_in_no_block(tmp_path):
    there = {0, 5, 11}
    tiles = (np.full((64, 64), i, np.uint8) if i in there else None for i in range(12))
    options = {"shape": (192, 256), "dtype": np.uint8, "tile": (64, 64), "compression": "deflate", "metadata": None}
    tifffile.imwrite(tmp_path / "in.tif", tiles, photometric="minisblack", **options)
    with closing(open_image(tmp_path / "in.tif")) as image:
        blocks = Blocks([image])
    assert blocks.sparse
    assert [(block.window.top // 64, block.window.left // 64) for block in blocks] == [(0, 0), (1, 1), (2, 3)]
    assert [block.position for block in blocks] == [0, 1, 2]
    assert blocks.n_pixels == 3 * 64 * 64


@pytest.mark.parametrize(
    ("dtypes", "expected", "pixel_bytes"),
    [
        ([np.uint8], np.uint8, 3),
        ([np.uint8, np.uint16], np.uint16, 6),
        ([np.float32], np.float32, 12),
        ([np.float32, np.float64], np.float32, 24),
        ([np.int32], np.float32, 24),
    ],
)
def test_samples_are_of_the_type_that_holds_those_of_all_images(dtypes, expected, pixel_bytes):
    blocks = Blocks([ArrayImage(smooth(9, 9).astype(dtype)) for dtype in dtypes])
    assert (blocks.dtype, blocks.floating, blocks.n_bands) == (expected, expected == np.float32, 3)
    assert blocks.pixel_bytes == pixel_bytes


@pytest.mark.parametrize(
    ("dtypes", "units"),
    [
        ([np.uint8], (1, 0)),
        ([np.int16, np.uint16], (1, 32_768)),
        ([np.uint16, np.int8], (1, 0)),
        ([np.uint8, np.uint16], (257, 0)),
        ([np.int8, np.uint16], (257, 257 * 128)),
        ([np.int32], (1, 0)),
    ],
)
def test_units_are_those_of_the_first_image_among_all(dtypes, units):
    images = [ArrayImage(smooth(9, 9).astype(dtype)) for dtype in dtypes]
    blocks = Blocks(images)
    assert blocks.units == units
    if not blocks.floating:
        stored = smooth(9, 9).astype(dtypes[0]).astype(float)
        samples = as_type(blocks[0].valid_pixels(), blocks.dtype)
        np.testing.assert_array_equal(samples, (stored * units[0] + units[1]).reshape(-1, 3))


def test_images_of_other_bands_are_refused():
    images = [ArrayImage(smooth(30, 30, bands), name=name) for name, bands in {"color": 3, "gray": 1}.items()]
    with pytest.raises(UnsupportedImageError, match=r"^gray: 1 bands, but color has 3; fit images of equal bands"):
        Blocks(images)


@pytest.mark.parametrize("other", [np.float32, np.int32])
def test_floats_and_integers_are_not_fitted_together(other):
    images = [ArrayImage(smooth(30, 30)), ArrayImage(smooth(30, 30).astype(other))]
    with pytest.raises(UnsupportedImageError, match=r"samples are float.*, those of array are uint8; fit images of one kind"):
        Blocks(images)
