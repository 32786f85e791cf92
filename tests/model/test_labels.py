"""Labels are those of the largest responsibility, however they are come by."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile

from streamgmm.model import buffers
from streamgmm.model import labels as labels_module
from streamgmm.model.buffers import BLOCK, SLICE
from streamgmm.model.colors import ColorTable
from streamgmm.model.em import maximization
from streamgmm.model.kmeans import plus_plus
from streamgmm.model.labels import LookupTable, classify, confidence
from streamgmm.model.mixture import COVARIANCE_TYPES, Mixture
from streamgmm.model.seeding import around
from streamgmm.model.space import SampleSpace
from streamgmm.model.statistics import accumulate

from .. import naive
from ..conftest import colors, parts, random_mixture, random_pixels, samples, shared_file

# Labels are compared by how far they are from the best, in nats.
LABEL_TOLERANCE = 1e-4


DTYPES = [np.uint8, np.uint16, np.float32]


BANDS = [1, 2, 3, 4, 5, 8, 9, 32]


def assert_best_labels(labels, pixels, mixture):
    logp = naive.log_densities(colors(pixels), parts(mixture))
    chosen = np.take_along_axis(logp, labels.reshape(-1, 1).astype(int), axis=1)[:, 0]
    assert (chosen >= logp.max(axis=1) - LABEL_TOLERANCE).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_bands", BANDS)
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_classify_equals_its_naive_twin(covariance_type, n_bands, dtype):
    mixture = random_mixture(5, n_bands, covariance_type)
    pixels = random_pixels(mixture, 777, dtype)
    assert_best_labels(classify(pixels, mixture), pixels, mixture)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
def test_samples_are_labeled_where_the_mixture_is(dtype, threads, monkeypatch):
    """In parts that change nothing; and so is what tells how sure each is."""
    range = ((0, 1),) * 3 if dtype == np.float32 else None
    mixture = replace(random_mixture(5, 3), space=SampleSpace(range, distances="oklab"))
    pixels = samples(np.random.default_rng(0).random((7, 111, 3)), dtype)
    there = naive.oklab(colors(pixels.reshape(-1, 3)).astype(float)) * (1, 2, 2)
    found, sure = classify(pixels, mixture, threads), confidence(pixels, mixture)
    assert found.shape == sure.shape == (7, 111)
    logp = naive.log_densities(there, parts(mixture))
    chosen = np.take_along_axis(logp, found.reshape(-1, 1).astype(int), axis=1)[:, 0]
    assert (chosen >= logp.max(axis=1) - 1e-3).all()
    np.testing.assert_allclose(sure.ravel(), 255 * naive.responsibilities(there, parts(mixture)).max(axis=1), atol=0.6)
    monkeypatch.setattr(labels_module, "PART", 50)
    monkeypatch.setattr(labels_module, "COLORS", 70)
    np.testing.assert_array_equal(classify(pixels, mixture, threads), found)
    np.testing.assert_array_equal(confidence(pixels, mixture), sure)


@pytest.mark.parametrize("n_bands", [3, 6, 9])
@pytest.mark.parametrize("n_pixels", [1, 2, 15, BLOCK - 1, BLOCK, BLOCK + 1, SLICE - 1, SLICE, SLICE + 1, 2 * SLICE + 300])
def test_any_number_of_pixels(n_pixels, n_bands):
    mixture = random_mixture(4, n_bands)
    pixels = random_pixels(mixture, n_pixels, np.uint8)
    assert_best_labels(classify(pixels, mixture), pixels, mixture)


@pytest.mark.parametrize("n_bands", [3, 6, 9])
@pytest.mark.parametrize("n_components", [1, 2, 16, 300, 5000])
def test_any_number_of_components(n_components, n_bands):
    mixture = random_mixture(n_components, n_bands)
    pixels = random_pixels(mixture, 600, np.uint8)
    labels = classify(pixels, mixture)
    assert_best_labels(labels, pixels, mixture)
    assert labels.dtype == (np.uint8 if n_components <= 256 else np.uint16)
    assert labels.max() > 255 or n_components <= 256


def test_components_of_weight_zero_label_nothing():
    mixture = random_mixture(3, 3)
    dead = Mixture(
        np.append(mixture.weights, 0),
        np.vstack([mixture.means, [[0.5] * 3]]),
        np.concatenate([mixture.covariances, mixture.covariances[:1]]),
    )
    pixels = random_pixels(mixture, 1000, np.uint8)
    np.testing.assert_array_equal(classify(pixels, dead), classify(pixels, mixture))


def test_the_first_of_equal_components_labels():
    twins = Mixture([0.25, 0.25, 0.5], [[0.2], [0.2], [0.8]], [0.01, 0.01, 0.01], "spherical")
    labels = classify(np.array([[51], [52], [204]], np.uint8), twins)
    assert labels.tolist() == [0, 0, 2]


@pytest.mark.parametrize("value", [np.nan, np.inf, -3.4e38, 1e25])
@pytest.mark.parametrize("n_bands", [1, 6, 9])
def test_pixels_beyond_every_component_are_labeled_regardless_of_their_neighbors(n_bands, value):
    mixture = random_mixture(5, n_bands)
    pixels = random_pixels(mixture, 3 * BLOCK, np.float32)
    pixels[BLOCK : 2 * BLOCK] = value
    labels = classify(pixels, mixture)
    assert len(np.unique(labels[BLOCK : 2 * BLOCK])) == 1
    assert labels.max() < 5


@pytest.mark.parametrize("n_bands", [3, 6, 9])
@pytest.mark.parametrize("threads", [2, 4])
def test_labels_are_the_same_bits_on_any_number_of_threads(threads, n_bands):
    mixture = random_mixture(16, n_bands)
    pixels = np.random.default_rng(0).integers(0, 256, (7 * SLICE + 123, n_bands), np.uint8)
    np.testing.assert_array_equal(classify(pixels, mixture, threads), classify(pixels, mixture, 1))


@pytest.mark.parametrize("slices", [1, 3])
def test_launches_change_no_result(slices, monkeypatch):
    mixture = random_mixture(4, 3)
    pixels = random_pixels(mixture, 7 * SLICE + 123, np.uint8)
    labels = classify(pixels, mixture)
    monkeypatch.setattr(buffers, "SLICES", slices)
    np.testing.assert_array_equal(classify(pixels, mixture, 2), labels)


def test_no_pixels_have_no_labels():
    mixture, none = random_mixture(3, 3), np.empty((0, 3), np.uint8)
    assert classify(none, mixture).shape == confidence(none, mixture).shape == (0,)


def test_images_are_taken_as_they_come(photo):
    mixture = random_mixture(4, 3)
    view, flat = photo[::3, ::-5], np.ascontiguousarray(photo[::3, ::-5]).reshape(-1, 3)
    for function in (classify, confidence):
        assert function(view, mixture).shape == view.shape[:2]
        np.testing.assert_array_equal(function(view, mixture).reshape(-1), function(flat, mixture))


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


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_bands", [1, 3, 6, 9])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_confidence_is_the_largest_responsibility(covariance_type, n_bands, dtype):
    mixture = random_mixture(5, n_bands, covariance_type)
    pixels = random_pixels(mixture, 777, dtype)
    actual = confidence(pixels, mixture)
    largest = naive.responsibilities(colors(pixels), parts(mixture)).max(axis=1)
    assert actual.dtype == np.uint8
    np.testing.assert_allclose(actual, 255 * largest, rtol=0, atol=0.51)


def test_confidence_is_1_at_least():
    alike = Mixture(np.full(600, 1 / 600), np.full((600, 1), 0.5), np.full(600, 0.01), "spherical")
    assert confidence(np.array([[0], [128]], np.uint8), alike).tolist() == [1, 1]


def test_a_pixel_that_can_be_of_one_component_alone_is_sure():
    mixture = Mixture([0.5, 0.5], [[0.1], [0.9]], [1e-4, 1e-4], "spherical")
    assert confidence(np.array([[26], [230], [128]], np.uint8), mixture)[:2].tolist() == [255, 255]


def test_a_table_that_comes_in_parts_is_whole(monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (500, 3), np.uint8)
    table = ColorTable.of(pixels)
    mixture = random_mixture(5, 3)
    expected = LookupTable(table, labels := classify(table.colors, mixture))(pixels)
    monkeypatch.setattr("streamgmm.model.labels.COLORS", 64)
    np.testing.assert_array_equal(LookupTable(table, labels)(pixels), expected)


@pytest.mark.collection
@pytest.mark.parametrize("iterations", [0, 20])
def test_a_16_bit_photograph(iterations):
    pixels = tifffile.imread(shared_file("geo/riocolor__rgb16.tif")).reshape(-1, 3)[::97]
    sample = ColorTable.of(pixels)
    means = plus_plus(sample, np.empty((0, 3)), 8, np.random.default_rng(0))
    mixture = around(sample, means, "full", 1e-6)
    for _ in range(iterations):
        mixture = maximization(accumulate(pixels, mixture), mixture, 1e-6)
    assert pixels.dtype == np.uint16
    assert_best_labels(classify(pixels, mixture), pixels, mixture)
