"""Samples are shown in 8 bits by their type, or by one range for all bands that are shown."""

from dataclasses import replace

import numpy as np
import pytest

from streamgmm.model.display import MORE, Display
from streamgmm.model.mixture import Mixture
from streamgmm.model.space import BY_TYPE, SampleSpace

from .. import naive

UINT8, UINT16, FLOAT = map(np.dtype, (np.uint8, np.uint16, np.float32))
LARGEST = np.finfo(np.float64).max
SIGNED = (1.0, 32_768.0)  # the 16-bit sample that stored 1 is above that of 0, and that of 0
PLAIN = (1.0, 0.0)


def mixture_of(means, space=BY_TYPE):
    means = np.array(means, np.float64)
    return Mixture(np.full(len(means), 1 / len(means)), means, np.full(len(means), 0.01), "spherical", space)


def display_of(*ranges, units=PLAIN, means=None, **more):
    middle = np.full((1, len(ranges)), 0.5) if means is None else means
    return Display.of(mixture_of(middle, SampleSpace(ranges, units)), **more)


# --- Which range ---


@pytest.mark.parametrize(("n_bands", "bands"), [(1, (0, 0, 0)), (2, (0, 0, 0)), (3, (0, 1, 2)), (6, (0, 1, 2))])
def test_the_first_bands_are_shown(n_bands, bands):
    display = Display.of(mixture_of([[0.5] * n_bands]))
    assert (display.bands, display.gray, display.shows_all(n_bands)) == (bands, n_bands < 3, n_bands in (1, 3))


def test_8_bits_are_shown_by_their_type():
    display = Display.of(mixture_of([[0.1, 0.2, 0.25]]), units=(257, 0))
    assert (display.by_type, display.range) == (True, (0, 255))


@pytest.mark.parametrize(
    ("low", "high", "units", "range"),
    [
        (0, 65_535, PLAIN, (0, 65_535)),
        (0, 21_845, PLAIN, (0, 65_535)),
        (0, 21_844, PLAIN, None),
        (49, 1023, PLAIN, None),
        (40_000, 61_845, PLAIN, (0, 65_535)),
        (-400, 2900, SIGNED, None),
        (-20_000, 20_000, SIGNED, (-32_768, 32_767)),
        (0, 4000, (65_535 / 4095, 0), (0, 4095)),
        (0, 1000, (65_535 / 4095, 0), None),
    ],
)
def test_integers_are_shown_by_their_type_where_they_use_a_third_of_it(low, high, units, range):
    display = display_of((low, high), units=units)
    assert display.by_type == (range is not None)
    np.testing.assert_allclose(display.range, range or (low, high), atol=1e-9)


@pytest.mark.parametrize("value", [0, 700, 65_535])
def test_an_integer_by_itself_is_shown_by_its_type(value):
    display = display_of((value, value), means=np.zeros((1, 1)))
    assert display.by_type
    np.testing.assert_allclose(display.levels(np.zeros((1, 1))), value / 257)


def test_all_bands_that_are_shown_have_one_range():
    ranges = (150, 1900), (120, 1977), (85, 2117), (35, 4091)
    assert display_of(*ranges).range == (85, 2117)
    assert display_of(*ranges, bands=(3, 2, 1)).range == (35, 4091)
    assert display_of(*ranges, bands=(1,)).range == (120, 1977)
    assert display_of(*ranges, units=None).range == (85, 2117)


@pytest.mark.parametrize("units", [PLAIN, None])
def test_colors_of_rare_pixels_get_room_but_not_those_far_off(units):
    """Between 0 and 10, a color at 11 or at -4 is not that at the end; 1e6 would leave no contrast."""
    means = np.array([[0.0], [1.0], [1.1], [-0.4], [1e5], [-30], [1 + MORE + 0.01]])
    assert display_of((0, 10), units=units, means=means[:2]).range == (0, 10)
    np.testing.assert_allclose(display_of((0, 10), units=units, means=means).range, (-4, 11))
    assert display_of((0, 10), units=units, means=means[-3:]).range == (0, 10)


@pytest.mark.parametrize(("space", "units"), [(BY_TYPE, PLAIN), (SampleSpace([(49, 1023)], PLAIN), None)])
def test_the_range_may_be_given_in_stored_samples(space, units):
    mixture = mixture_of([[0.5]], space)
    assert Display.of(mixture, shown=(100, 200), units=units).range == (100, 200)
    assert Display.of(mixture, shown="type", units=units).by_type


def test_a_given_range_is_in_the_units_of_the_image():
    display = Display.of(mixture_of([[0.5]]), shown=(0, 80), units=SIGNED)
    assert (display.low, display.high, display.range) == (32_768, 32_848, (0, 80))
    assert Display.of(mixture_of([[0.5]]), shown=(-32_768, 32_767), units=SIGNED).by_type


# --- What it shows ---


@pytest.mark.parametrize(
    ("space", "dtype", "stored"),
    [
        (BY_TYPE, UINT8, None),
        (SampleSpace([(49, 1023)], PLAIN), UINT16, lambda x: x),
        (SampleSpace([(65_000, 65_020)], PLAIN), UINT16, lambda x: x),
        (SampleSpace([(-400, 2900)], SIGNED), UINT16, lambda x: x - 32_768.0),
        (SampleSpace([(-3e-4, 8e-4)]), FLOAT, lambda x: -3e-4 + x * 11e-4),
    ],
    ids=["8 bits", "narrow", "narrow and bright", "signed", "floats"],
)
def test_samples_are_scaled_as_means_are(space, dtype, stored):
    """What kernels are told, and what becomes of means, is the same line."""
    display, rng = Display.of(mixture_of([[0.5]], space)), np.random.default_rng(0)
    samples = rng.uniform(-0.1, 1.1, (500, 1)).astype(dtype) if dtype == FLOAT else None
    if samples is None:
        low, high = display.low * np.iinfo(dtype).max / 65_535, display.high * np.iinfo(dtype).max / 65_535
        samples = rng.integers(max(0, low - 20), min(np.iinfo(dtype).max, high + 20), (500, 1), dtype, endpoint=True)
    scale = display.scale(dtype)
    found = np.clip(samples - np.float64(scale.black[0]), 0, scale.white[0]) * scale.gain[0]
    np.testing.assert_allclose(found[:, 0], display.levels(space.colors(samples))[:, 0], atol=2e-4)
    expected = samples / 1.0 if stored is None else naive.shown(stored(samples.astype(np.float64)), *display.range)
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_8_bits_are_not_touched():
    means = np.arange(256)[:, None] / 255
    display = Display.of(mixture_of(means))
    np.testing.assert_array_equal(display.levels(means), (means * 255).repeat(3, axis=1))
    assert display.scale(UINT8) == ((0, 0, 0), (0, 0, 0), (255, 255, 255), (1, 1, 1))


def test_a_scale_of_16_bits_by_type_is_257():
    scale = Display.of(mixture_of([[0.5, 0.5, 0.5]])).scale(UINT16)
    assert (scale.bands, scale.black, scale.white) == ((0, 1, 2), (0, 0, 0), (65_535, 65_535, 65_535))


@pytest.mark.parametrize("range", [(0, 0), (-LARGEST, LARGEST), (0, LARGEST), (0, 5e-324), (1e300, 1e300), (-1e-300, 1e300)])
@pytest.mark.parametrize("given", ["auto", (0, 1), (-1e-300, 1e-300), (-1e308, 1e308)])
def test_whatever_floats_hold_can_be_shown(given, range):
    means = np.array([[0.0], [0.5], [1.0], [1.4], [-0.3], [1024.0]])
    display = Display.of(mixture_of(means, SampleSpace([range])), shown=given)
    levels, scale = display.levels(means), display.scale(FLOAT)
    assert np.isfinite(levels).all()
    assert (levels[:3] >= 0).all()
    assert (np.diff(levels[:3, 0]) >= 0).all()
    assert np.isfinite([scale.black, scale.white, scale.gain]).all()
    assert all(white * gain == pytest.approx(255, rel=1e-6) for white, gain in zip(scale.white, scale.gain, strict=True))


def test_a_band_of_one_value_is_among_the_others():
    display = display_of((100, 300), (200, 200), (100, 300))
    np.testing.assert_allclose(display.levels(np.array([[0.5, 0.0, 1.0]])), [[127.5, 127.5, 255]])
    floats = replace(display, space=SampleSpace(display.space.range))
    np.testing.assert_allclose(floats.levels(np.array([[0.5, 0.0, 1.0]])), [[127.5, 127.5, 255]])
