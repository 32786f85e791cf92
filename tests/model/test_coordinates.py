"""Colors become linear light, Lab and Oklab, as these are defined and published; and the way back is the way there."""

import numpy as np
import pytest

from streamgmm.model import coordinates as module
from streamgmm.model.coordinates import to_colors, to_coordinates

from .. import naive
from ..conftest import colors, samples

SPACES = ["linear", "lab", "oklab"]
DTYPES = [np.uint8, np.uint16, np.float32]
# What mixtures are in, of what the spaces are.
TWINS = {
    "linear": naive.linear,
    "lab": lambda x: naive.lab(x) / 100,
    "oklab": lambda x: naive.oklab(x) * (1, 2, 2),
}
# Ottosson 2020, "A perceptual color space for image processing", table of pairs to test with: XYZ, and Oklab to three decimals.
PUBLISHED = [
    ((0.950, 1.000, 1.089), (1.000, 0.000, 0.000)),
    ((1.000, 0.000, 0.000), (0.450, 1.236, -0.019)),
    ((0.000, 1.000, 0.000), (0.922, -0.671, 0.263)),
    ((0.000, 0.000, 1.000), (0.153, -1.415, -0.449)),
]
# Lab of the primaries under D65, and their Oklab, as others have them.
PRIMARIES = {
    "linear": np.eye(3),
    "lab": np.array([(53.24, 80.09, 67.20), (87.73, -86.18, 83.18), (32.30, 79.19, -107.86)]) / 100,
    "oklab": np.array([(0.62796, 0.22486, 0.12585), (0.86644, -0.23389, 0.17950), (0.45201, -0.03246, -0.31153)]) * (1, 2, 2),
}


def converted(pixels, space):
    """Where samples of a type are that is whole from 0 to 1."""
    scale = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1
    return to_coordinates(pixels, np.zeros(()), np.asarray(float(scale)), space)


def some_colors(n, bands, dtype, seed=0):
    """Colors from all over, a part of them dark, where lines take the place of powers; black and white."""
    x = np.random.default_rng(seed).random((n, bands))
    x[: n // 5] /= 40
    x[-2:] = [[0], [1]]
    return samples(x, dtype)


@pytest.mark.parametrize(("xyz", "expected"), PUBLISHED)
def test_the_constants_of_oklab_give_what_was_published(xyz, expected):
    """From XYZ, which is where they were published: by way of linear sRGB, whose rounding is in the third decimal."""
    light = np.linalg.solve([module.X, module.Y, module.Z], xyz)
    cones = np.array([module.LONG, module.MEDIUM, module.SHORT]) @ light
    found = np.array([module.OK_L, module.OK_A, module.OK_B]) @ np.cbrt(cones)
    np.testing.assert_allclose(found, expected, atol=2e-3)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("space", SPACES)
def test_samples_are_converted_by_the_definitions(space, dtype):
    pixels = some_colors(2000, 3, dtype)
    np.testing.assert_allclose(converted(pixels, space), TWINS[space](colors(pixels).astype(float)), atol=2e-7)


@pytest.mark.parametrize("space", SPACES)
def test_the_primaries_are_where_others_have_them(space):
    np.testing.assert_allclose(converted(255 * np.eye(3, dtype=np.uint8), space), PRIMARIES[space], atol=3e-4)


@pytest.mark.parametrize("space", ["lab", "oklab"])
def test_grays_have_no_chroma_and_a_gray_band_is_their_lightness(space):
    levels = np.arange(256, dtype=np.uint8)[:, None]
    grays = converted(levels.repeat(3, axis=1), space)
    np.testing.assert_allclose(grays[:, 1:], 0, atol=1e-6)
    np.testing.assert_allclose(converted(levels, space)[:, 0], grays[:, 0], atol=1e-7)
    assert (np.diff(grays[:, 0]) > 0).all()
    np.testing.assert_allclose(grays[[0, -1], 0], [0, 1], atol=1e-7)


def test_linear_light_is_that_of_each_band():
    pixels = some_colors(300, 9, np.uint16)
    np.testing.assert_array_equal(converted(pixels, "linear")[:, [7]], converted(pixels[:, [7]], "linear"))


@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("space", SPACES)
def test_the_way_back_is_the_way_there(space, bands):
    line = np.linspace(0, 1, 256 if bands == 1 else 18)
    grid = np.stack(np.meshgrid(*[line] * bands, indexing="ij"), axis=-1).reshape(-1, bands).astype(np.float32)
    back = to_colors(converted(grid, space).astype(np.float64), space)
    assert back.dtype == np.float64
    np.testing.assert_allclose(back, grid, atol=1e-6)


@pytest.mark.parametrize("space", ["lab", "oklab"])
def test_what_is_no_color_is_not_clipped(space):
    """Between two colors of screens some are none, and a mean may be one."""
    beyond = to_colors(np.array([[0.9, -0.9, 0.2], [0.3, 0.9, -1.1]]), space)
    assert beyond.min() < -0.1
    assert np.isfinite(beyond).all()
    assert to_colors(np.array([[1.2]]), space) > 1.1


def test_colors_beyond_0_and_1_are_those():
    pixels = np.array([[-3, 0.5, 1.5], [0, 0.5, 1]], np.float32)
    for space in SPACES:
        one, other = converted(pixels, space)
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("space", SPACES)
def test_the_range_of_each_band_is_its_own(space):
    pixels = np.random.default_rng(0).integers(0, 65_536, (500, 3), dtype=np.uint16)
    zero, scale = np.array([100.0, 0.0, 30_000.0]), np.array([50_000.0, 65_535.0, 1_000.0])
    expected = TWINS[space](((pixels - zero) / scale).clip(0, 1))
    np.testing.assert_allclose(to_coordinates(pixels, zero, scale, space), expected, atol=2e-7)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("space", SPACES)
def test_a_pixel_has_the_same_bits_wherever_it_is(space, dtype):
    """In vectors, behind the last of them, and alone: what an image is cut into changes nothing."""
    pixels = some_colors(module.BLOCK + 37, 3, dtype)
    whole = converted(pixels, space)
    alone = np.concatenate([converted(pixels[[i]], space) for i in range(len(pixels))])
    assert whole.tobytes() == alone.tobytes()
    for size in (3, 16, 61):
        parts = [converted(pixels[first : first + size], space) for first in range(0, len(pixels), size)]
        assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_the_shape_of_the_pixels_is_kept_and_none_are_none():
    pixels = some_colors(24, 3, np.uint8).reshape(4, 6, 3)
    assert converted(pixels, "lab").shape == (4, 6, 3)
    np.testing.assert_array_equal(converted(pixels[::-1], "lab"), converted(pixels, "lab")[::-1])  # also where it is no block
    assert converted(pixels[:0], "oklab").shape == (0, 6, 3)


@pytest.mark.parametrize("space", SPACES)
def test_neighbors_are_apart(space):
    """All 8-bit colors of a plane, and a line of 16-bit grays near black."""
    plane = np.stack(np.meshgrid(np.arange(256), np.arange(256), [3], indexing="ij"), axis=-1).reshape(-1, 3).astype(np.uint8)
    dark = np.arange(2000, dtype=np.uint16)[:, None]
    for pixels in (plane, dark):
        assert len(np.unique(converted(pixels, space), axis=0)) == len(pixels)
