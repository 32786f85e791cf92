"""A space is the way from stored samples to colors in [0, 1], and back."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgmm.errors import ModelError
from streamgmm.model import space as module
from streamgmm.model.colors import ColorTable
from streamgmm.model.display import Display
from streamgmm.model.distortion import distortion
from streamgmm.model.em import fit_mixture, maximization
from streamgmm.model.mixture import Mixture
from streamgmm.model.palette import palette_of
from streamgmm.model.seeding import around
from streamgmm.model.space import BY_TYPE, FAR, FLOAT_STEP, LEVEL, SampleSpace
from streamgmm.model.statistics import accumulate

from ..conftest import random_mixture, random_pixels

UINT8, UINT16, FLOAT = map(np.dtype, (np.uint8, np.uint16, np.float32))
LARGEST = np.finfo(np.float64).max


@pytest.mark.parametrize("dtype", [UINT8, UINT16])
def test_integers_of_up_to_16_bits_stay_as_they_are(dtype):
    samples = np.array([[0, 7, np.iinfo(dtype).max]], dtype)
    assert BY_TYPE.forward(samples, dtype) is samples


def test_8_bits_among_16_are_as_bright():
    levels = np.arange(256, dtype=np.uint8)[:, None]
    wider = BY_TYPE.forward(levels, UINT16)
    assert wider.dtype == UINT16
    np.testing.assert_array_equal(wider / 65_535, levels / 255)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint32, np.int32])
def test_the_range_of_each_band_becomes_0_to_1(dtype):
    scaled = SampleSpace(((20, 100), (0, 400))).forward(np.array([[20, 100], [60, 400]], dtype), FLOAT)
    assert scaled.dtype == FLOAT
    assert scaled.tolist() == [[0, 0.25], [0.5, 1]]


def test_samples_outside_of_the_range_are_not_clipped():
    assert SampleSpace(((20, 100),)).forward(np.array([[-60.0], [180.0]]), FLOAT).tolist() == [[-1], [2]]


@pytest.mark.parametrize("low", [-LARGEST, -1e300, 0])
def test_a_range_may_be_more_than_a_float_holds(low):
    samples = np.array([[low], [low / 2 + LARGEST / 2], [LARGEST]])
    np.testing.assert_allclose(SampleSpace(((low, LARGEST),)).forward(samples, FLOAT), [[0], [0.5], [1]], atol=1e-7)


@pytest.mark.parametrize("value", [0, -3.5, 1e300])
def test_a_range_may_be_a_single_value(value):
    assert SampleSpace(((value, value),) * 2).forward(np.full((3, 2), value), FLOAT).tolist() == [[0, 0]] * 3


@pytest.mark.parametrize(("low", "high"), [(273.15, 273.16), (5_399_999, 5_400_001)], ids=["kelvin", "UTM"])
def test_a_narrow_range_far_from_zero_keeps_what_its_samples_tell(low, high):
    samples = np.linspace(low, high, 1001)[:, None]
    scaled = SampleSpace(((low, high),)).forward(samples, FLOAT)
    np.testing.assert_allclose(scaled[:, 0], np.linspace(0, 1, 1001), atol=1e-6)


# --- What is far


@pytest.mark.parametrize("value", [1e25, 1e300, LARGEST])
@pytest.mark.parametrize("range", [(0, 1), (0, 1e-300), (-1, 1)])
def test_samples_far_beyond_the_range_are_beyond_it_and_add_up(range, value):
    space = SampleSpace((range,))
    scaled = space.forward(np.array([[-value], [value]]), FLOAT)
    assert scaled.tolist() == [[-FAR], [FAR]]
    mixture = Mixture([1], [[0.5]], [1e-12], "spherical", space)
    statistics = accumulate(scaled, mixture)
    assert np.isfinite(statistics.moments).all()
    assert np.isfinite(statistics.log_likelihood)
    display = Display.of(mixture)
    assert np.isfinite(distortion(scaled, np.zeros(2, np.uint8), palette_of(mixture), display).psnr_db)


def test_pixels_are_near_where_all_their_bands_are():
    inside, outside = np.nextafter(np.float32(FAR), np.float32(0)), np.float32(FAR)
    samples = np.array([[0, inside], [-inside, 1], [0.5, outside], [-outside, 0.5], [outside, outside]], np.float32)
    space = SampleSpace(((0, 1), (5, 9)))
    assert space.is_near(samples).tolist() == [True, True, False, False, False]
    np.testing.assert_array_equal(space.near(samples), samples[:2])
    assert space.near(samples[:2]).base is samples  # as nearly always: nothing is copied
    assert space.near(samples[:0]).shape == (0, 2)


@pytest.mark.parametrize("space", [BY_TYPE, SampleSpace(((3, 4), (0, 9)), (1, 0))], ids=["by type", "range"])
def test_no_integer_is_far(space):
    samples = np.array([[0, 65_535], [40_000, 5]], np.uint16)
    assert space.near(samples) is samples
    assert space.is_near(samples).tolist() == [True, True]


floats = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(floats, min_size=1, max_size=20))
def test_the_samples_of_any_image_span_0_to_1(values):
    samples = np.array(values)[:, None]
    scaled = SampleSpace(((samples.min(), samples.max()),)).forward(samples, FLOAT)[:, 0]
    assert scaled.min() == 0
    assert scaled.max() in (0, 1)
    assert (np.diff(scaled[np.argsort(samples[:, 0])]) >= 0).all()


def test_parts_change_no_sample(monkeypatch):
    samples, space = np.random.default_rng(0).normal(size=(1000, 3)), SampleSpace(((-2, 2), (-1, 3), (0, 9)))
    expected = space.forward(samples, FLOAT)
    monkeypatch.setattr(module, "PART", 7)
    np.testing.assert_array_equal(space.forward(samples, FLOAT), expected)


# --- What 0 and 1 are in samples


@pytest.mark.parametrize(("dtype", "scale"), [(UINT8, 255), (UINT16, 65_535), (FLOAT, 1)])
def test_without_a_range_the_scale_is_that_of_the_type(dtype, scale):
    space = SampleSpace(((-9, 9),) * 3) if dtype == FLOAT else BY_TYPE
    assert (space.scale(dtype), space.zero(dtype)) == (scale, 0)
    assert space.inverse(np.array([[0, 0.5, 1]]), dtype).tolist() == [[0, scale / 2, scale]]
    assert space.colors(np.array([[0, scale]], dtype)).tolist() == [[0, 1]]


INT16 = SampleSpace(((-100, 300), (0, 50)), (1, 32_768))  # read as uint16, of which 32,768 is 0
BITS12 = SampleSpace(((0, 4095), (1000, 1010)), (65_535 / 4095, 0))
BYTES = SampleSpace(((0, 255), (100, 110)), (257, 0))  # among 16 bits


@pytest.mark.parametrize(("space", "gain", "zero"), [(INT16, 1, 32_768), (BITS12, 65_535 / 4095, 0), (BYTES, 257, 0)])
def test_the_ends_of_a_range_of_integers_are_0_and_1(space, gain, zero):
    ends = np.rint(np.transpose(space.range) * gain + zero).astype(np.uint16)
    assert space.forward(ends, UINT16) is ends
    np.testing.assert_allclose(space.colors(ends), [[0, 0], [1, 1]], atol=0.01)
    np.testing.assert_allclose(space.inverse(np.array([[0, 0], [1, 1]]), UINT16), ends, atol=0.5)
    widths = [high - low for low, high in space.range]
    np.testing.assert_allclose(space.step(UINT16), 1 / np.array(widths))  # one as it is stored


def test_a_range_of_16_bits_is_for_8_bits_too():
    space = SampleSpace(((25_700, 51_400),), (1, 0))
    assert space.colors(np.array([[100], [200]], np.uint8)).tolist() == [[0], [1]]
    assert space.colors(space.forward(np.array([[100], [200]], np.uint8), UINT16)).tolist() == [[0], [1]]


def test_a_band_that_is_one_value_is_a_sample_wide():
    space = SampleSpace(((7, 7), (0, 10)), (16, 0))
    assert space.scale(UINT16).tolist() == [16, 160]
    assert space.colors(np.array([[7 * 16, 80]], np.uint16)).tolist() == [[0, 0.5]]


@pytest.mark.parametrize(("dtype", "step"), [(UINT8, 1 / 255), (UINT16, 1 / 65_535), (FLOAT, FLOAT_STEP)])
def test_the_step_is_the_distance_of_neighbors(dtype, step):
    assert SampleSpace().step(dtype) == step


def test_floats_have_a_range_and_no_units():
    assert SampleSpace(((0, 1),)).floating
    assert not BY_TYPE.floating
    assert not INT16.floating


@pytest.mark.parametrize("units", [None, (1, 32_768), (1 / 3, np.float32(0.1))])
@pytest.mark.parametrize("range", [((0, 1),), ((-1 / 3, 1e300), (0, 0)), ((np.float32(0.1), np.int64(7)),) * 3])
def test_json_gives_the_space_back_to_the_last_bit(range, units):
    space = SampleSpace(range, units)
    written = json.loads(json.dumps(space.to_dict()))
    assert SampleSpace.from_dict(written) == space
    assert written["samples"] == "scaled to [0, 1]"
    assert written["range"] == [[float(low), float(high)] for low, high in range]


def test_a_space_without_a_range_is_that_of_integers():
    assert SampleSpace.from_dict({}) == SampleSpace.from_dict(json.loads(json.dumps(BY_TYPE.to_dict()))) == BY_TYPE


def test_a_range_for_all_bands_as_it_was_once_written_is_that_of_each():
    assert SampleSpace.from_dict({"range": [-2, 5.5], "means": [[0, 0, 0]]}) == SampleSpace(((-2, 5.5),) * 3)


@pytest.mark.parametrize("bad", [(1, 0), (0, np.inf), (-np.inf, 0), (np.nan, 1)])
def test_what_is_no_range_is_refused(bad):
    for range in ((bad,), ((0, 1), bad)):
        with pytest.raises(ModelError, match=r"^range is \(.*\); expected two finite numbers for each band, the least first$"):
            SampleSpace(range)
    with pytest.raises(ModelError, match=r"^range is \(\); expected two finite numbers"):
        SampleSpace(())


@pytest.mark.parametrize("units", [(0, 0), (-1, 65_535), (np.inf, 0), (np.nan, 0), (1, np.nan), (1, -np.inf)])
def test_what_are_no_units_is_refused(units):
    with pytest.raises(ModelError, match=r"^units are \(.*\); expected a gain above 0 and the sample that is 0, both finite$"):
        SampleSpace(((0, 1),), units)


# --- Where distances are taken

SPACES = ["linear", "lab", "oklab"]


def test_in_rgb_nothing_is_converted():
    samples = np.array([[0, 7, 255]], np.uint8)
    assert BY_TYPE.coordinates(samples) is samples
    means = np.array([[0.1, -0.3, 1.2]])
    assert BY_TYPE.coordinates_of(means) is means
    assert BY_TYPE.colors_of(means) is means
    assert not BY_TYPE.converts


@pytest.mark.parametrize("distances", SPACES)
def test_samples_of_any_type_have_one_place(distances):
    """8 and 16 bits, a part of 16 bits, and floats of a range: a gray and a color."""
    levels = np.array([[51, 51, 51], [204, 102, 0]], np.uint8)
    of_type, deep, floats = (
        SampleSpace(range, units, distances)
        for range, units in ((None, None), (((1000, 11_000),) * 3, (5, 300)), (((-3, 7),) * 3, None))
    )
    expected = of_type.coordinates(levels)
    assert expected.dtype == np.float32
    stored = levels / 255 * 10_000 + 1000
    for space, samples in ((of_type, levels * np.uint16(257)), (deep, (stored * 5 + 300).astype(np.uint16))):
        np.testing.assert_allclose(space.coordinates(samples), expected, atol=1e-6)
    scaled = floats.forward(levels / 255 * 10 - 3, FLOAT)
    np.testing.assert_allclose(floats.coordinates(scaled), expected, atol=1e-6)
    np.testing.assert_allclose(of_type.coordinates_of(levels / 255), expected, atol=1e-6)
    np.testing.assert_allclose(of_type.colors_of(expected), levels / 255, atol=1e-6)


@pytest.mark.parametrize("distances", SPACES)
def test_there_steps_are_those_of_what_is_told_apart(distances):
    """Neighboring grays are apart by more, and by a level on average."""
    space = SampleSpace(distances=distances)
    grays = space.coordinates(np.arange(256, dtype=np.uint8)[:, None])
    assert 0 < space.step(UINT8) < np.diff(grays[:, 0]).min()
    assert np.diff(grays[:, 0]).mean() == pytest.approx(LEVEL)


@pytest.mark.parametrize("n_bands", range(1, 6))
def test_lab_and_oklab_are_of_gray_and_of_colors(n_bands):
    found = {distances for distances in ("rgb", *SPACES) if SampleSpace(distances=distances).is_of(n_bands)}
    assert found == ({"rgb", *SPACES} if n_bands in (1, 3) else {"rgb", "linear"})


@pytest.mark.parametrize("distances", ["RGB", "", None, 3, ["lab"]])
def test_a_space_that_is_not_known_is_refused(distances):
    with pytest.raises(ModelError, match=r"^space is .*; use one of rgb, linear, lab, oklab$"):
        SampleSpace.from_dict({"space": distances})


@pytest.mark.parametrize("distances", SPACES)
def test_json_says_where_distances_are_taken(distances):
    space = SampleSpace(((0, 9),) * 3, (2, 1), distances)
    written = json.loads(json.dumps(space.to_dict()))
    assert written["space"] == distances
    assert SampleSpace.from_dict(written) == space
    assert SampleSpace.from_dict({}).distances == BY_TYPE.to_dict()["space"] == "rgb"


@pytest.mark.parametrize("change", ["M-step", "take", "ordered", "JSON"])
def test_the_space_stays_with_the_mixture(change):
    mixture = replace(random_mixture(4, 2), space=SampleSpace(((-3, 8), (0, 1))))
    changed = {
        "M-step": lambda: maximization(accumulate(random_pixels(mixture, 100, FLOAT), mixture), mixture, 1e-6),
        "take": lambda: mixture.take([2, 0]),
        "ordered": mixture.ordered,
        "JSON": lambda: Mixture.from_json(mixture.to_json()),
    }[change]()
    assert changed.space == mixture.space


def test_a_fit_does_not_depend_on_the_units_of_the_samples():
    pixels = np.random.default_rng(0).normal([[0.2], [0.8]], 0.05, (2, 200)).reshape(-1, 1)
    fits = []
    for unit, offset in [(1, 0), (1e4, -500)]:
        samples = pixels * unit + offset
        space = SampleSpace(((samples.min(), samples.max()),))
        fits.append(fit_in(space, space.forward(samples, FLOAT)))
    np.testing.assert_allclose(fits[1].means, fits[0].means, atol=1e-5)


def test_a_fit_of_a_part_of_16_bits_is_that_of_the_whole():
    """As far as it is not a matter of rounding: 1,000 levels of 16 bits, against as many of all."""
    levels = np.rint(np.random.default_rng(0).normal([[200], [800]], 50, (2, 200)).clip(0, 1000)).reshape(-1, 1)
    spaces = SampleSpace(((0, 1000),), (1, 0)), SampleSpace(((0, 1000),), (65.535, 0)), SampleSpace(((-500, 500),), (1, 32_768))
    narrow, whole, shifted = (
        fit_in(space, np.rint((levels + space.range[0][0]) * space.units[0] + space.units[1]).astype(np.uint16))
        for space in spaces
    )
    np.testing.assert_allclose(whole.means, narrow.means, atol=1e-4)
    np.testing.assert_allclose(shifted.means, narrow.means, atol=1e-5)
    np.testing.assert_allclose(shifted.covariances, narrow.covariances, rtol=1e-3)


def fit_in(space, samples):
    """The mixture of two components that fits samples of one band, as kernels take them."""
    table = ColorTable.of(samples, space=space)
    start = around(table, np.array([[0.3], [0.7]]), "full", 1e-6)
    mixture = fit_mixture(table.accumulate, start, None, step=table.step, max_iter=20, tol=1e-6, ridge=1e-6).mixture
    assert mixture.space == space
    return mixture
