"""Reduced levels: the slow twin counts, pixel by pixel, what the most frequent label is."""

from collections import Counter

import numpy as np
import pytest
import rasterio
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from streamgmm.image.output.codec import decode_tile
from streamgmm.image.output.pyramid import reduce_labels, reduced_tile
from streamgmm.image.output.spec import ImageSpec, n_levels

from .test_writer import KINDS, image_of, layout_of, spooled


def naive_mode(labels, nodata):
    """The most frequent label, first in reading order among equals; masked ones only where they are more than half."""
    others = [label for label in labels if label != nodata]
    if 2 * len(others) < len(labels):
        return nodata
    return Counter(others).most_common(1)[0][0]  # counts of one size come in the order in which they were met


def naive_reduced(labels, resampling, nodata):
    height, width = labels.shape
    blocks = [[labels[i : i + 2, j : j + 2].ravel().tolist() for j in range(0, width, 2)] for i in range(0, height, 2)]
    pick = (lambda block: block[0]) if resampling == "nearest" else (lambda block: naive_mode(block, nodata))
    return np.array([[pick(block) for block in row] for row in blocks], labels.dtype)


images = st.sampled_from([np.uint8, np.uint16, np.uint32]).flatmap(
    lambda dtype: arrays(dtype, st.tuples(st.integers(1, 7), st.integers(1, 7)), elements=st.integers(0, 3))
)


@given(labels=images, resampling=st.sampled_from(get_args(Resampling)), nodata=st.sampled_from([None, 0, 1, 3]))
def test_reducing_agrees_with_its_twin(labels, resampling, nodata):
    before = labels.copy()
    reduced = reduce_labels(labels, resampling, nodata)
    assert reduced.dtype == labels.dtype
    np.testing.assert_array_equal(reduced, naive_reduced(labels, resampling, nodata))
    np.testing.assert_array_equal(labels, before)


@pytest.mark.parametrize("nodata", [None, 0, 3, 9])
def test_every_block_of_four_labels_agrees_with_the_twin(nodata):
    blocks = np.indices((4, 4, 4, 4), np.uint8).reshape(2, 2, 256).transpose(0, 2, 1).reshape(2, 512)
    np.testing.assert_array_equal(reduce_labels(blocks, "mode", nodata), naive_reduced(blocks, "mode", nodata))


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ([[1, 2], [2, 3]], 2),
        ([[1, 2], [2, 1]], 1),  # of two equals the first
        ([[4, 3], [2, 1]], 4),
        ([[9, 9], [9, 1]], 9),  # masked: more than half
        ([[9, 9], [2, 1]], 2),  # masked: no more than half
        ([[9, 1], [2, 2]], 2),
        ([[9, 3]], 3),
        ([[9], [9]], 9),
        ([[9]], 9),
    ],
)
def test_the_rule_of_the_majority(block, expected):
    assert reduce_labels(np.array(block, np.uint8), "mode", 9).tolist() == [[expected]]


def test_the_majority_is_that_of_gdal_where_there_is_one(tmp_path):
    labels = np.random.default_rng(0).integers(0, 3, (256, 320)).astype(np.uint8)
    geo = {"extratags": [(33550, 12, 3, (1.0, 1.0, 0.0)), (33922, 12, 6, (0.0,) * 6)]}
    tifffile.imwrite(tmp_path / "image.tif", labels, tile=(128, 128), compression="deflate", metadata=None, **geo)
    with rasterio.open(tmp_path / "image.tif", "r+") as image:
        image.build_overviews([2], rasterio.enums.Resampling.mode)
    with rasterio.open(tmp_path / "image.tif", overview_level=0) as image:
        expected = image.read(1)
    counts = np.stack([(labels == label).reshape(128, 2, 160, 2).sum(axis=(1, 3)) for label in range(3)])
    clear = (counts == counts.max(axis=0)).sum(axis=0) == 1
    assert clear.mean() > 0.5
    np.testing.assert_array_equal(reduce_labels(labels, "mode")[clear], expected[clear])


@pytest.mark.parametrize("tile", [(16, 16), (256, 256), (16, 512), (240, 256)])
@pytest.mark.parametrize("shape", [(1, 1), (256, 256), (257, 1), (256, 257), (512, 513), (100_000, 70_001), (3, 2**31)])
def test_there_are_levels_until_one_fits_a_tile(shape, tile):
    sides, expected = list(shape), 1
    while max(sides) > max(tile):
        sides, expected = [(side + 1) // 2 for side in sides], expected + 1
    assert n_levels(shape, tile) == expected


def test_a_layout_knows_the_tiles_of_its_levels():
    layout = layout_of(np.zeros((101, 203), np.uint8), n_levels=4)
    assert [grid.area for grid in layout.grids] == [(0, 0, 101, 203), (0, 0, 51, 102), (0, 0, 26, 51), (0, 0, 13, 26)]
    assert [len(grid) for grid in layout.grids] == [4 * 5, 2 * 3, 1 * 2, 1]
    assert layout.n_tiles == 29


def assembled(spool, layout, level, first):
    """A level as its tiles in the spool show it."""
    grid = layout.grids[level]
    first += sum(map(len, layout.grids[:level]))
    pixels = np.empty((grid.area.height, grid.area.width), layout.sample_dtype)
    for index, place in enumerate(grid):
        pixels[place.slices] = decode_tile(spool.get(first + index), layout)[: place.height, : place.width]
    return pixels


@pytest.mark.parametrize("resampling", get_args(Resampling))
@pytest.mark.parametrize("shape", [(1, 1), (64, 96), (65, 97), (33, 300), (203, 151)])
@pytest.mark.parametrize("kind", KINDS)
def test_tiles_of_a_level_are_made_from_the_level_below(kind, shape, resampling, tmp_path):
    image = image_of(kind, *shape, n_levels=4, resampling=resampling)
    layout = image[1]
    with spooled(tmp_path, image, image) as spool:  # the second has tiles before it
        for level in range(1, 4):
            below = assembled(spool, layout, level - 1, layout.n_tiles)
            expected = naive_reduced(below, resampling, layout.masked_sample)
            np.testing.assert_array_equal(assembled(spool, layout, level, layout.n_tiles), expected)
        n_tiles = layout.n_tiles
        assert [spool.get(i) for i in range(n_tiles)] == [spool.get(n_tiles + i) for i in range(n_tiles)]


@pytest.mark.parametrize("form", ["palette", "labels", "rgb"])
@pytest.mark.parametrize("nodata", [None, 4])
@pytest.mark.parametrize("shape", [(33, 49), (129, 193), (1, 97)])
def test_padding_has_no_vote(shape, nodata, form, tmp_path):
    labels = np.full(shape, 3, np.uint8)
    layout = layout_of(labels, n_colors=4, form=form, nodata=nodata, n_levels=4)
    with spooled(tmp_path, (labels, layout)) as spool:
        image = assembled(spool, layout, 0, 0)[0, 0]
        for level in range(1, 4):
            assert (assembled(spool, layout, level, 0) == image).all()


@pytest.mark.parametrize(("block", "expected"), [([[1, 1], [0, 0]], (0, 0, 0, 255)), ([[1, 1], [1, 0]], (0, 0, 0, 0))])
def test_black_is_not_masked(block, expected, tmp_path):
    labels = np.array(block, np.uint8)
    layout = ImageSpec((2, 2), (16, 16), labels.dtype, "rgb", np.zeros((1, 3), np.uint8), nodata=1, n_levels=2)
    with spooled(tmp_path, (labels, layout)) as spool:
        pixel = decode_tile(reduced_tile(spool, layout, 1, 0, 0), layout)[:1, :1]
    assert tuple(pixel.copy().view(np.uint8)[0]) == expected
