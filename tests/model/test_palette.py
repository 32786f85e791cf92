"""A palette is the means as they are shown, each unlike all others."""

import colorsys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgmm.model import palette as module
from streamgmm.model.display import Display
from streamgmm.model.mixture import Mixture
from streamgmm.model.palette import distinct, palette_of, sorted_by
from streamgmm.model.space import SampleSpace

from .. import naive


def mixture_of(means, weights=None):
    means = np.array(means, np.float64)
    weights = np.full(len(means), 1 / len(means)) if weights is None else weights
    return Mixture(weights, means, np.full(len(means), 0.01), "spherical")


def shown(bands):
    return lambda mixture: palette_of(mixture, Display.of(mixture, bands))


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


@pytest.mark.parametrize(
    ("bands", "palette"),
    [((3, 0, 0), [[204, 51, 51]]), ((2,), [[153, 153, 153]]), ((2, 1, 0), [[153, 102, 51]])],
    ids=["three bands", "gray", "reversed"],
)
def test_the_bands_to_show_may_be_chosen(bands, palette):
    assert shown(bands)(mixture_of([[0.2, 0.4, 0.6, 0.8]])).tolist() == palette


def test_a_palette_of_floats_is_as_bright_as_their_range():
    mixture = replace(mixture_of([[0, 0.5, 1]]), space=SampleSpace([(-1e6, 3e6)] * 3))
    assert palette_of(mixture).tolist() == [[0, 128, 255]]


def test_the_palette_of_a_photo_in_16_bits_is_that_in_8(photo):
    """Of the same colors, each in the range that its samples have."""
    colors = photo.reshape(-1, 3)[:: 512 * 512 // 64][:64] / 255
    low, high = 3 * 257, 250 * 257
    space = SampleSpace([(low, high)] * 3, (1, 0))
    twin = replace(mixture_of((colors * 65_535 - low) / (high - low)), space=space)
    difference = palette_of(twin).astype(int) - palette_of(mixture_of(colors))
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize(
    ("low", "high", "units"),
    [(49, 1023, (1, 0)), (8, 65, (1, 32_768)), (0, 11, (1, 0)), (-3e-4, 8e-4, None), (1e7, 1.1e7, None)],
    ids=["micrograph", "tomogram", "few classes", "small floats", "wide integers"],
)
def test_narrow_samples_have_grays_from_black_to_white(low, high, units):
    mixture = replace(mixture_of(np.linspace(0, 1, 16)[:, None]), space=SampleSpace([(low, high)], units))
    assert palette_of(mixture).tolist() == [[level] * 3 for level in range(0, 256, 17)]


def test_bands_of_a_scene_keep_their_balance():
    """One range for all that are shown: what is twice another in all bands looks so, and gray is gray."""
    space = SampleSpace([(100, 1100), (300, 2100), (200, 1600), (0, 5000)], (1, 0))
    stored = np.array([[600, 600, 600, 4000], [1100, 1100, 1100, 10], [1000, 500, 300, 0]])
    low, high = np.transpose(space.range)
    palette = palette_of(replace(mixture_of((stored - low) / (high - low)), space=space)).astype(int)
    np.testing.assert_allclose(palette, (stored[:, :3] - 100) / 2000 * 255, atol=0.5)
    assert (palette[:2] == palette[:2, :1]).all()


# --- No two alike ---


def apart(palette):
    return len(np.unique(palette, axis=0)) == len(palette)


def test_a_gray_that_is_taken_becomes_its_neighbor_on_the_side_it_came_from():
    means = np.array([[100.2], [99.8], [100.4], [50]]) / 255
    assert palette_of(mixture_of(means, [0.4, 0.3, 0.2, 0.1]))[:, 0].tolist() == [100, 99, 101, 50]
    assert palette_of(mixture_of(means, [0.1, 0.2, 0.3, 0.4]))[:, 0].tolist() == [101, 99, 100, 50]


def test_where_grays_are_taken_too_one_channel_moves():
    palette = palette_of(mixture_of(np.full((5, 1), 0.4)))
    assert palette.tolist() == [[102] * 3, [103] * 3, [101] * 3, [102, 102, 103], [102, 102, 101]]


def test_colors_that_are_taken_move_where_they_are_seen_least():
    first, *moved = palette_of(mixture_of(np.full((4, 3), 0.4))).tolist()
    assert first == [102, 102, 102]
    assert moved == [[102, 102, 103], [102, 102, 101], [103, 102, 102]]


def test_classes_that_differ_in_bands_that_are_not_shown_have_colors_of_their_own():
    assert apart(palette_of(mixture_of([[0.1, 0.2, 0.3, x] for x in np.linspace(0, 1, 20)])))


@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("n_bands", [1, 3])
def test_there_is_room_at_the_ends(n_bands, value):
    palette = palette_of(mixture_of(np.full((300, n_bands), value / 255)))
    assert apart(palette)
    assert np.abs(palette.astype(int) - value).max() <= 12


levels = st.one_of(st.floats(0, 255), st.sampled_from([0.0, 1.0, 127.5, 128.0, 254.6, 255.0]))
crowds = st.lists(st.tuples(levels, levels, levels), min_size=1, max_size=4)


@given(crowds, st.integers(1, 30), st.booleans(), st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_colors_are_those_of_the_slow_twin(crowd, n, gray, random):
    colors = np.array([random.choice(crowd) for _ in range(n)])
    if gray:
        colors = colors[:, :1].repeat(3, axis=1)
    weights = np.array([random.choice([1, 2, 3]) for _ in range(n)])
    actual = distinct(colors, np.argsort(-weights, kind="stable"), gray)
    np.testing.assert_array_equal(actual, naive.distinct(colors, weights, gray))


@pytest.mark.parametrize("crowd", ["one gray", "one corner", "a blob", "all grays", "anywhere"])
def test_the_most_components_have_colors_of_their_own_near_to_theirs(crowd):
    """No color that is free in the end is nearer."""
    rng, k = np.random.default_rng(0), 65_535
    colors = {
        "one gray": lambda: np.full((k, 3), 100.3),
        "one corner": lambda: np.zeros((k, 3)),
        "a blob": lambda: np.clip(rng.normal(128, 20, (k, 3)), 0, 255),
        "all grays": lambda: rng.uniform(0, 255, (k, 1)).repeat(3, axis=1),
        "anywhere": lambda: rng.uniform(0, 255, (k, 3)),
    }[crowd]()
    palette = distinct(colors, np.arange(k)).astype(int)
    assert apart(palette)
    rounded, taken = np.rint(colors).astype(int), np.zeros((256, 256, 256), bool)
    taken[tuple(palette.T)] = True
    moved = np.flatnonzero((palette != rounded).any(axis=1))
    for index in moved[:: max(1, len(moved) // 20)]:
        length = ((palette[index] - rounded[index]) ** 2).sum()
        first = np.maximum(rounded[index] - int(length**0.5) - 1, 0)
        around = taken[tuple(slice(at, at + 2 * int(length**0.5) + 3) for at in first)]
        free = np.argwhere(~around) + first - rounded[index]
        assert ((free**2).sum(axis=1) >= length).all()


def test_what_differs_already_is_only_rounded():
    colors = np.random.default_rng(0).permutation(256)[:, None].repeat(3, axis=1) + 0.3
    np.testing.assert_array_equal(distinct(colors.clip(0, 255), np.arange(256), gray=True), np.rint(colors))


def test_steps_beyond_the_ends_are_no_colors():
    assert module.SIDE - module.REACHES[-1] >= 256 + module.REACHES[-1]


# --- In another order ---


def luma(color):
    return 2126 * color[0] + 7152 * color[1] + 722 * color[2]


def hue(color):
    """Grays first, by luma; then by the hue of HSV, which the standard library knows."""
    gray = len(set(color)) == 1
    return (0, luma(color)) if gray else (1, round(colorsys.rgb_to_hsv(*(sample / 255 for sample in color))[0], 9))


def random_colors(n, seed=0):
    """Colors, some of which are gray, of equal hue or of equal luma, with weights of which some are equal."""
    rng = np.random.default_rng(seed)
    levels = rng.choice([0, 51, 102, 204], (n, 3))
    levels[: n // 4] = levels[: n // 4, :1]
    levels = np.unique(levels, axis=0)
    weights = rng.integers(1, 4, len(levels)) * 1.0
    return mixture_of(rng.permutation(levels) / 255, weights / weights.sum())


@pytest.mark.parametrize(("sort", "key"), [("luminance", luma), ("hue", hue)])
@pytest.mark.parametrize("seed", range(5))
def test_components_are_sorted_by_what_is_asked_for_and_equals_by_weight(seed, sort, key):
    mixture = random_colors(60, seed)
    found = sorted_by(mixture, sort)
    colors = [tuple(color) for color in palette_of(found).tolist()]
    keys = [(key(color), -weight) for color, weight in zip(colors, found.weights.round(9).tolist(), strict=True)]
    assert keys == sorted(keys)
    assert sorted(colors) == sorted(map(tuple, palette_of(mixture).tolist()))
    turned = mixture.take(np.random.default_rng(1).permutation(mixture.n_components))
    np.testing.assert_array_equal(sorted_by(turned, sort).means, found.means)


def test_by_weight_nothing_changes():
    mixture = random_colors(30)
    assert sorted_by(mixture, "weight") is mixture


@pytest.mark.parametrize("sort", ["luminance", "hue"])
def test_colors_are_sorted_as_they_are_written_also_those_that_have_moved(sort):
    """Of components of one color all but one move, and the same ones in any order."""
    mixture = mixture_of(np.full((20, 3), 0.4) + np.arange(20)[:, None] * 1e-5)
    found = sorted_by(mixture, sort)
    keys = [{"luminance": luma, "hue": hue}[sort](tuple(color)) for color in palette_of(found).tolist()]
    assert keys == sorted(keys)


def test_colors_are_sorted_as_they_are_shown():
    mixture = mixture_of([[0.1, 0.9], [0.5, 0.2], [0.7, 0.4]])
    assert sorted_by(mixture, "luminance", Display.of(mixture, (1,))).means[:, 1].tolist() == [0.2, 0.4, 0.9]
    assert sorted_by(mixture, "luminance").means[:, 0].tolist() == [0.1, 0.5, 0.7]
