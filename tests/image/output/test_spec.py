"""What an image of the output is like follows from its labels, its palette and its form."""

import numpy as np
import pytest

from streamgmm.image.output.spec import n_levels

from .examples import KINDS, colors_of, image_of, spec_of

# Bits of a sample, samples of a pixel, and what a decoded tile holds.
SAMPLES = {
    "1 bit": (1, 1, "u1"),
    "2 bits": (2, 1, "u1"),
    "4 bits": (4, 1, "u1"),
    "8 bits": (8, 1, "u1"),
    "16 bits": (16, 1, "<u2"),
    "1 bit, masked": (1, 1, "u1"),
    "4 bits, masked": (4, 1, "u1"),
    "8 bits, masked": (8, 1, "u1"),
    "16 bits, masked": (16, 1, "<u2"),
    "labels": (8, 1, "u1"),
    "labels, 2 bits, masked": (2, 1, "u1"),
    "labels, 16 bits, masked": (16, 1, "<u2"),
    "rgb": (8, 3, "<u4"),
    "rgb of 16-bit labels": (8, 3, "<u4"),
    "rgb, masked": (8, 4, "<u4"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_samples_of_every_kind(kind):
    _, spec = image_of(kind)
    assert (spec.bits_per_sample, spec.samples_per_pixel, spec.sample_dtype) == SAMPLES[kind]
    assert spec.masked_sample == (0 if kind == "rgb, masked" else spec.nodata)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "rgb" in kind])
def test_codes_of_colors_are_their_bytes(kind):
    labels, spec = image_of(kind)
    expected = colors_of(labels, spec)
    codes = spec.color_codes[labels].view(np.uint8).reshape(*labels.shape, 4)
    np.testing.assert_array_equal(codes[..., : expected.shape[2]], expected)
    assert not codes[..., expected.shape[2] :].any()


@pytest.mark.parametrize("dtype", [">u2", "<u2"])
def test_labels_are_stored_little_endian(dtype):
    labels = np.zeros((9, 9), dtype)
    assert spec_of(labels).sample_dtype.str == "<u2"


def test_the_tiles_of_every_level_are_known():
    spec = spec_of(np.zeros((101, 203), np.uint8), n_levels=4)
    assert [grid.area for grid in spec.grids] == [(0, 0, 101, 203), (0, 0, 51, 102), (0, 0, 26, 51), (0, 0, 13, 26)]
    assert [len(grid) for grid in spec.grids] == [4 * 5, 2 * 3, 1 * 2, 1]
    assert spec.n_tiles == 29


@pytest.mark.parametrize("kind", ["4 bits", "8 bits", "16 bits", "rgb", "rgb, masked"])
def test_bytes_that_are_not_compressed_are_those_of_all_levels(kind):
    _, spec = image_of(kind, 100, 140, n_levels=3)
    n_pixels = 100 * 140 + 50 * 70 + 25 * 35
    assert spec.plain_bytes == int(n_pixels * spec.samples_per_pixel * spec.bits_per_sample / 8)


@pytest.mark.parametrize("tile", [(16, 16), (256, 256), (16, 512), (240, 256)])
@pytest.mark.parametrize("shape", [(1, 1), (256, 256), (257, 1), (256, 257), (512, 513), (100_000, 70_001), (3, 2**31)])
def test_there_are_levels_until_one_fits_a_tile(shape, tile):
    sides, expected = list(shape), 1
    while max(sides) > max(tile):
        sides, expected = [(side + 1) // 2 for side in sides], expected + 1
    assert n_levels(shape, tile) == expected
