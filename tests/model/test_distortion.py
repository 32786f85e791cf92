"""Distortion is the error of what is shown against the colors that are written, to the last bit in whichever parts."""

import math
from dataclasses import replace

import numpy as np
import pytest

from streamgmm.model.colorimetry import delta_e_2000
from streamgmm.model.display import Display
from streamgmm.model.distortion import Distortion, distortion, psnr_of_clusters
from streamgmm.model.palette import palette_of
from streamgmm.model.space import SampleSpace
from streamgmm.model.statistics import Statistics

from .. import naive
from ..conftest import colors, random_mixture, random_pixels

DTYPES = [np.uint8, np.uint16, np.float32]


def labeled(n_bands, dtype, n_pixels=400):
    """Pixels, labels of all but the last of five colors, the palette and its display, and weights."""
    mixture, rng = random_mixture(5, n_bands), np.random.default_rng(0)
    labels, weights = rng.integers(0, 4, n_pixels).astype(np.uint8), rng.integers(0, 5, n_pixels).astype(np.float64)
    display = Display.of(mixture)
    return random_pixels(mixture, n_pixels, dtype), labels, palette_of(mixture, display), display, weights


def levels_of(pixels):
    """Pixels as they are shown by their type: of their first three bands, or the first as gray."""
    return 255 * colors(pixels)[:, [0, 1, 2] if pixels.shape[1] >= 3 else [0, 0, 0]]


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("n_bands", [1, 2, 3, 6])
@pytest.mark.parametrize("dtype", DTYPES)
def test_distortion_equals_its_naive_twin(dtype, n_bands, weighted):
    pixels, labels, palette, display, weights = labeled(n_bands, dtype)
    weights = weights if weighted else None
    actual = distortion(pixels, labels, palette, display, weights)
    error, counts = naive.tally(levels_of(pixels), labels, palette.astype(float), weights)
    assert actual.squared_error == pytest.approx(error, rel=2e-6)
    np.testing.assert_array_equal(actual.counts, counts)
    assert actual.colors_used == 4


@pytest.mark.parametrize("n_bands", [1, 3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_psnr_is_that_of_the_image_that_is_shown(dtype, n_bands):
    pixels, labels, palette, display, _ = labeled(n_bands, dtype)
    error = np.mean((255 * colors(pixels) - palette[labels][:, :n_bands]) ** 2)
    expected = 10 * math.log10(255**2 / error)
    assert distortion(pixels, labels, palette, display).psnr_db == pytest.approx(expected, abs=1e-5)


SPACES = {
    "micrograph": (SampleSpace([(349, 1323)] * 3, (1, 0)), np.uint16),
    "narrow and bright": (SampleSpace([(60_000, 60_016), (60_010, 60_012), (60_004, 60_020)], (1, 0)), np.uint16),
    "signed": (SampleSpace([(-400, 2900), (0, 80), (8, 65)], (1, 32_768)), np.uint16),
    "floats": (SampleSpace([(-3e-4, 8e-4), (0, 1e-3), (-1e-4, 1e-4)]), np.float32),
}


@pytest.mark.parametrize("bands", [(2,), (0, 1, 2), (2, 0, 0)])
@pytest.mark.parametrize("name", SPACES)
def test_narrow_samples_are_measured_as_they_are_shown(name, bands):
    """In levels of the range that is shown, clipped to it, of the bands that are shown."""
    space, dtype = SPACES[name]
    mixture, rng = replace(random_mixture(5, 3), space=space), np.random.default_rng(0)
    gain, zero = space.units or (1, 0)
    low, high = np.transpose(space.range)
    stored = rng.uniform(low - 0.2 * (high - low), high + 0.2 * (high - low), (500, 3))
    stored = np.rint(stored) if dtype == np.uint16 else stored.astype(np.float32).astype(np.float64)
    pixels = (stored * gain + zero).astype(dtype) if dtype == np.uint16 else space.forward(stored, np.dtype(dtype))
    display, labels = Display.of(mixture, bands), rng.integers(0, 5, 500).astype(np.uint8)
    palette, chosen = palette_of(mixture, display), bands if len(bands) == 3 else bands * 3
    error, _ = naive.tally(naive.shown(stored[:, chosen], *display.range), labels, palette.astype(float))
    assert distortion(pixels, labels, palette, display).squared_error == pytest.approx(error, rel=1e-5)


def test_psnr_does_not_depend_on_the_type_of_the_samples():
    pixels, labels, *shown, _ = labeled(3, np.uint8)
    wide, floats = pixels.astype(np.uint16) * np.uint16(257), colors(pixels).astype(np.float32)
    expected = distortion(pixels, labels, *shown).psnr_db
    assert [distortion(each, labels, *shown).psnr_db for each in (wide, floats)] == pytest.approx([expected] * 2, abs=1e-4)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("n_bands", [1, 3])
def test_colors_that_are_written_as_they_are_have_no_error(n_bands, dtype):
    """Also where means are told by a range: by type, the range changes nothing of what is shown."""
    palette = np.random.default_rng(0).permutation(256).astype(np.uint8)[:, None].repeat(3, axis=1)
    pixels = palette[:, :n_bands].astype(dtype) * dtype(np.iinfo(dtype).max // 255)
    space = SampleSpace([(300.0, 60_000.0)] * n_bands, (1, 0))
    display = Display.of(replace(random_mixture(5, n_bands), space=space))
    assert distortion(pixels, np.arange(256, dtype=np.uint8), palette, display).squared_error == 0


def test_the_color_that_is_written_counts_not_the_mean():
    """Of two classes that are shown alike, one has moved by a level: that is an error of a level."""
    mixture = replace(random_mixture(2, 1), means=np.array([[0.4], [0.4]]), weights=np.array([0.6, 0.4]))
    display, pixels = Display.of(mixture), np.full((10, 1), 102, np.uint8)
    found = distortion(pixels, np.arange(10, dtype=np.uint8) % 2, palette_of(mixture, display), display)
    assert (found.squared_error, found.psnr_db) == (15, pytest.approx(10 * math.log10(255**2 / 0.5)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_distortion_of_two_parts_adds_up_to_that_of_both(dtype):
    pixels, labels, *shown, weights = labeled(3, dtype)
    first, second = (distortion(pixels[part], labels[part], *shown, weights[part]) for part in (slice(123), slice(123, None)))
    whole, merged = distortion(pixels, labels, *shown, weights), first + second
    np.testing.assert_array_equal(merged.sums, whole.sums)
    np.testing.assert_array_equal(merged.counts, whole.counts)
    assert (merged.psnr_db, merged.delta_e) == (whole.psnr_db, whole.delta_e)
    assert merged.colors_used == whole.colors_used == 4


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_order_of_pixels_and_how_they_are_counted_changes_no_bit(dtype):
    pixels, labels, *shown, weights = labeled(3, dtype)
    expected = distortion(pixels, labels, *shown, weights).sums
    often = np.random.default_rng(1).permutation(np.repeat(np.arange(400), weights.astype(int)))
    assert (expected[[0, 2, 3]] > 0).all()
    for places in np.array_split(often, [1, 17, 333]), [[i] for i in often]:
        parts = [distortion(pixels[i], labels[i], *shown).sums for i in places]
        np.testing.assert_array_equal(np.sum(parts, axis=0), expected)


def test_errors_that_float32_would_lose_are_added_up():
    """A sum in float32 would stop growing at 2^24; one in int64 holds 10^12 pixels of the largest error."""
    display, palette = Display.of(random_mixture(1, 1)), np.zeros((1, 3), np.uint8)
    pixels, often = np.array([[255], [1]], np.uint8), np.array([1e11, 1])
    found = distortion(pixels, np.zeros(2, np.uint8), palette, display, often)
    assert found.sums.tolist()[:2] == [3 * (10**11 * 255**2 + 1), 0]
    assert found.sums[3] == 10**11 + 1
    assert found.delta_e == pytest.approx(100, abs=1e-3)


# --- Delta E ---


def delta_e_of(levels, palette, labels):
    """CIE Delta E 2000 of colors (n, 3) in levels from the colors of their labels, by definition."""
    one, other = (np.ascontiguousarray(naive.lab(each / 255).T) for each in (levels, palette[labels].astype(float)))
    delta_e_2000(one, other, found := np.empty(len(levels)))
    return found


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("n_bands", [1, 3, 6])
@pytest.mark.parametrize("dtype", DTYPES)
def test_delta_e_is_the_mean_over_pixels_as_they_are_shown(dtype, n_bands, weighted, monkeypatch):
    monkeypatch.setattr("streamgmm.model.distortion.AT_ONCE", 150)
    pixels, labels, palette, display, weights = labeled(n_bands, dtype)
    expected = np.average(delta_e_of(levels_of(pixels), palette, labels), weights=weights if weighted else None)
    found = distortion(pixels, labels, palette, display, weights if weighted else None).delta_e
    assert found == pytest.approx(expected, abs=2e-5 if dtype == np.uint8 else 2e-3)  # others are rounded to 16 bits
    assert found > 5


@pytest.mark.parametrize("weighted", [False, True])
def test_delta_e_may_be_that_of_some_pixels(weighted):
    pixels, labels, palette, display, weights = labeled(3, np.uint8)
    seen, weights = np.random.default_rng(1).random(400) < 0.3, weights if weighted else None
    found = distortion(pixels, labels, palette, display, weights, seen)
    some = distortion(pixels[seen], labels[seen], palette, display, weights[seen] if weighted else None)
    assert (found.delta_e, found.sums[3]) == (some.delta_e, (weights[seen] if weighted else seen[seen]).sum())
    assert found.psnr_db == distortion(pixels, labels, palette, display, weights).psnr_db
    assert distortion(pixels, labels, palette, display, weights, np.zeros(400, bool)).delta_e is None


def test_what_is_clipped_is_as_it_is_shown():
    """Of a stretched palette, what is darker than black is black."""
    mixture = replace(random_mixture(3, 3), space=SampleSpace([(1000.0, 2000.0)] * 3, (1, 0)))
    display, palette = Display.of(mixture), np.array([[0, 0, 0], [255, 255, 255], [9, 9, 9]], np.uint8)
    pixels = np.array([[0, 0, 0], [60_000, 60_000, 60_000]], np.uint16)
    low, high = display.range
    assert (low, high) == (1000, 2000)
    found = distortion(pixels, np.array([0, 1], np.uint8), palette, display)
    assert (found.squared_error, found.delta_e) == (0, None)
    black = delta_e_of(np.zeros((1, 3)), palette, [2])
    assert distortion(pixels[:1], np.array([2], np.uint8), palette, display).delta_e == pytest.approx(black[0], abs=1e-5)


# --- Clusters of k-means ---


@pytest.mark.parametrize("n_bands", [1, 3])
def test_the_psnr_of_clusters_is_that_of_their_palette(n_bands):
    """Pixels that were given to clusters, against the rounded means of these."""
    pixels, labels, _, display, _ = labeled(n_bands, np.uint8)
    x, n = colors(pixels), np.bincount(labels, minlength=4).astype(float)
    means = np.array([x[labels == k].mean(axis=0) for k in range(4)])
    scatter = [(x[labels == k] - means[k]).T @ (x[labels == k] - means[k]) for k in range(4)]
    rows, columns = np.tril_indices(n_bands)
    moments = np.column_stack([n, np.zeros((4, n_bands)), np.array(scatter)[:, rows, columns]])
    palette = np.broadcast_to(np.rint(255 * means).astype(np.uint8), (4, n_bands)).repeat(3 // n_bands, axis=1)
    expected = distortion(pixels, labels, np.ascontiguousarray(palette), display).psnr_db
    assert psnr_of_clusters(Statistics(means, moments, 0.0, n.sum())) == pytest.approx(expected, abs=1e-6)


def test_clusters_of_one_color_have_no_error():
    moments = np.column_stack([[5.0, 3.0], np.zeros((2, 9))])
    assert psnr_of_clusters(Statistics(np.array([[1, 0, 0.2], [0, 1, 0.4]]), moments, 0.0, 8.0)) is None


def test_distortion_travels_as_arrays():
    pixels, labels, *shown, _ = labeled(3, np.uint16)
    given = distortion(pixels, labels, *shown)
    again = Distortion.from_arrays(given.to_arrays())
    np.testing.assert_array_equal(again.counts, given.counts)
    for name in ("squared_error", "psnr_db", "delta_e", "colors_used"):
        assert getattr(again, name) == getattr(given, name)
        assert type(getattr(again, name)) is type(getattr(given, name))


@pytest.mark.parametrize("counts", [[3.0, 0.0], [0.0, 0.0]], ids=["no error", "no pixels"])
def test_without_error_there_is_no_ratio(counts):
    found = Distortion(np.zeros(4, np.int64), np.array(counts))
    assert (found.squared_error, found.psnr_db, found.delta_e) == (0, None, None)


def test_no_pixels_add_nothing():
    pixels, labels, *shown, _ = labeled(3, np.uint8)
    none, some = distortion(pixels[:0], labels[:0], *shown), distortion(pixels, labels, *shown)
    assert (none.squared_error, none.colors_used, none.psnr_db, none.delta_e) == (0, 0, None, None)
    assert (none + some).psnr_db == some.psnr_db
