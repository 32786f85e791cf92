"""Reduced levels: the slow twin counts, pixel by pixel, what the most frequent label is."""

from collections import Counter
from typing import get_args

import numpy as np
import pytest
import rasterio
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from streamgmm.image.output.codec import decode_tile
from streamgmm.image.output.pyramid import covered, reduce_labels, reduced_tile
from streamgmm.image.output.spec import ImageSpec
from streamgmm.options import Resampling

from .examples import KINDS, image_of, spec_of, spooled


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


def covered_slowly(spec, level, index):
    """The tiles of the level below that have a pixel in a tile, twice as far from the corner and twice as large."""
    place = spec.grids[level][index]
    rows, columns = range(2 * place.top, 2 * (place.top + place.height)), range(2 * place.left, 2 * (place.left + place.width))
    return [number for number, tile in enumerate(spec.grids[level - 1]) if tile.top in rows and tile.left in columns]


@pytest.mark.parametrize("shape", [(1, 1), (33, 49), (64, 96), (65, 97), (203, 151), (1, 800), (800, 1)])
def test_a_tile_of_a_level_covers_up_to_four_of_the_level_below(shape):
    spec = spec_of(np.zeros(shape, np.uint8), n_levels=4)
    for level in range(1, 4):
        tiles = [covered(spec, level, index) for index in range(len(spec.grids[level]))]
        assert tiles == [covered_slowly(spec, level, index) for index in range(len(tiles))]
        assert sorted(number for some in tiles for number in some) == list(range(len(spec.grids[level - 1])))


def assembled(spool, spec, level, first):
    """A level as its tiles in the spool show it."""
    grid = spec.grids[level]
    first += sum(map(len, spec.grids[:level]))
    pixels = np.empty((grid.area.height, grid.area.width), spec.sample_dtype)
    for index, place in enumerate(grid):
        pixels[place.slices] = decode_tile(spool.get(first + index), spec)[: place.height, : place.width]
    return pixels


@pytest.mark.parametrize("resampling", get_args(Resampling))
@pytest.mark.parametrize("shape", [(1, 1), (64, 96), (65, 97), (33, 300), (203, 151)])
@pytest.mark.parametrize("kind", KINDS)
def test_tiles_of_a_level_are_made_from_the_level_below(kind, shape, resampling, tmp_path):
    image = image_of(kind, *shape, n_levels=4, resampling=resampling)
    spec = image[1]
    with spooled(tmp_path, image, image) as spool:  # the second has tiles before it
        for level in range(1, 4):
            below = assembled(spool, spec, level - 1, spec.n_tiles)
            expected = naive_reduced(below, resampling, spec.masked_sample)
            np.testing.assert_array_equal(assembled(spool, spec, level, spec.n_tiles), expected)
        n_tiles = spec.n_tiles
        assert [spool.get(i) for i in range(n_tiles)] == [spool.get(n_tiles + i) for i in range(n_tiles)]


@pytest.mark.parametrize("form", ["palette", "labels", "rgb"])
@pytest.mark.parametrize("nodata", [None, 4])
@pytest.mark.parametrize("shape", [(33, 49), (129, 193), (1, 97)])
def test_padding_has_no_vote(shape, nodata, form, tmp_path):
    labels = np.full(shape, 3, np.uint8)
    spec = spec_of(labels, n_colors=4, form=form, nodata=nodata, n_levels=4)
    with spooled(tmp_path, (labels, spec)) as spool:
        image = assembled(spool, spec, 0, 0)[0, 0]
        for level in range(1, 4):
            assert (assembled(spool, spec, level, 0) == image).all()


@pytest.mark.parametrize(("block", "expected"), [([[1, 1], [0, 0]], (0, 0, 0, 255)), ([[1, 1], [1, 0]], (0, 0, 0, 0))])
def test_black_is_not_masked(block, expected, tmp_path):
    labels = np.array(block, np.uint8)
    spec = ImageSpec((2, 2), (16, 16), labels.dtype, "rgb", np.zeros((1, 3), np.uint8), nodata=1, n_levels=2)
    with spooled(tmp_path, (labels, spec)) as spool:
        pixel = decode_tile(reduced_tile(spec, 1, 0, [spool.get(0)]), spec)[:1, :1]
    assert tuple(pixel.copy().view(np.uint8)[0]) == expected
