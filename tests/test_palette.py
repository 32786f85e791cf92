"""Palettes, label types and lookup tables."""

import numpy as np
import pytest

from streamgmm.model.buffers import label_dtype
from streamgmm.model.colors import ColorTable, has_table
from streamgmm.model.labels import LookupTable, classify
from streamgmm.model.mixture import Mixture
from streamgmm.model.palette import palette_of

from . import naive
from .conftest import random_mixture, random_pixels


def mixture_of(means):
    means = np.array(means, np.float64)
    return Mixture(np.full(len(means), 1 / len(means)), means, np.full(len(means), 0.01), "spherical")


@pytest.mark.parametrize(
    ("means", "palette"),
    [
        ([[0, 0.5, 1]], [[0, 128, 255]]),
        ([[0.1, 0.2, 0.3], [0.9, 0.8, 0.7]], [[26, 51, 76], [230, 204, 178]]),
        ([[-0.2, 1.7, 0.999]], [[0, 255, 255]]),
        ([[0.2], [1]], [[51, 51, 51], [255, 255, 255]]),
        ([[0.2, 0.9]], [[51, 51, 51]]),
        ([[0.2, 0.4, 0.6, 0.8]], [[51, 102, 153]]),
        ([[0.2, 0.4, 0.6, 0.8, 0.1, 0.3]], [[51, 102, 153]]),
    ],
    ids=["corners", "two components", "outside", "gray", "two bands", "four bands", "six bands"],
)
def test_a_palette_is_the_means_rounded(means, palette):
    actual = palette_of(mixture_of(means))
    assert actual.dtype == np.uint8
    assert actual.tolist() == palette


def test_every_8_bit_mean_comes_back():
    levels = np.arange(256)
    np.testing.assert_array_equal(palette_of(mixture_of(levels[:, None] / 255)), levels[:, None].repeat(3, axis=1))


@pytest.mark.parametrize(("n_components", "dtype"), [(1, "u1"), (256, "u1"), (257, "u2"), (65_535, "u2")])
def test_labels_take_as_few_bytes_as_they_need(n_components, dtype):
    assert label_dtype(n_components) == np.dtype(dtype)


@pytest.mark.parametrize(
    ("dtype", "n_bands", "expected"),
    [("u1", 1, True), ("u1", 3, True), ("u1", 4, False), ("u2", 1, False), ("f4", 3, False), ("i1", 1, False)],
)
def test_8_bit_images_of_up_to_three_bands_have_a_table(dtype, n_bands, expected):
    assert has_table(np.dtype(dtype), n_bands) is expected


@pytest.mark.parametrize("n_bands", [1, 2, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_lookup_equals_its_naive_twin(dtype, n_bands):
    pixels = random_pixels(random_mixture(3, n_bands), 900, np.uint8)
    table = ColorTable.of(pixels)
    labels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, len(table)).astype(dtype)
    expected = naive.lookup(pixels, dict(zip(map(tuple, table.colors.tolist()), labels.tolist(), strict=True)))
    actual = LookupTable(table, labels)(pixels)
    np.testing.assert_array_equal(actual, expected)
    assert actual.dtype == dtype


def test_lookup_of_an_image_is_its_classification(photo):
    mixture = random_mixture(16, 3)
    table = ColorTable.of(photo.reshape(-1, 3))
    labels = LookupTable(table, classify(table.colors, mixture))(photo[::2])
    np.testing.assert_array_equal(labels, classify(photo[::2], mixture))
    assert labels.shape == (256, 512)


@pytest.mark.parametrize("n_bands", [1, 2, 3])
def test_a_table_of_all_colors_labels_any_image(n_bands, photo):
    mixture = random_mixture(3, n_bands)
    image = np.ascontiguousarray(photo[..., :n_bands])
    np.testing.assert_array_equal(LookupTable.of_all_colors(mixture, threads=2)(image), classify(image, mixture))
