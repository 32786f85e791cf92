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
from streamgmm.model.distortion import distortion
from streamgmm.model.em import fit_mixture, maximization
from streamgmm.model.mixture import Mixture
from streamgmm.model.seeding import around
from streamgmm.model.space import BY_TYPE, FAR, FLOAT_STEP, SampleSpace
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


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint32, np.int32, np.int16, np.uint8])
def test_a_range_becomes_0_to_1(dtype):
    scaled = SampleSpace((20, 100)).forward(np.array([[20, 40], [60, 100]], dtype), FLOAT)
    assert scaled.dtype == FLOAT
    assert scaled.tolist() == [[0, 0.25], [0.5, 1]]


@pytest.mark.parametrize("low", [-LARGEST, -1e300, 0])
def test_a_range_may_be_more_than_a_float_holds(low):
    samples = np.array([[low], [low / 2 + LARGEST / 2], [LARGEST]])
    np.testing.assert_allclose(SampleSpace((low, LARGEST)).forward(samples, FLOAT), [[0], [0.5], [1]], atol=1e-7)


@pytest.mark.parametrize("value", [0, -3.5, 1e300])
def test_a_range_may_be_a_single_value(value):
    assert SampleSpace((value, value)).forward(np.full((3, 2), value), FLOAT).tolist() == [[0, 0]] * 3


@pytest.mark.parametrize("value", [1e25, 1e300, LARGEST])
@pytest.mark.parametrize("range", [(0, 1), (0, 1e-300), (-1, 1)])
def test_samples_far_beyond_the_range_are_beyond_it_and_add_up(range, value):
    scaled = SampleSpace(range).forward(np.array([[-value], [value]]), FLOAT)
    assert scaled.tolist() == [[-FAR], [FAR]]
    mixture = Mixture([1], [[0.5]], [1e-12], "spherical", SampleSpace(range))
    statistics = accumulate(scaled, mixture)
    assert np.isfinite(statistics.moments).all()
    assert np.isfinite(statistics.log_likelihood)
    assert np.isfinite(distortion(scaled, np.zeros(2, np.uint8), mixture).psnr_db)


floats = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(floats, min_size=1, max_size=20))
def test_the_samples_of_any_image_span_0_to_1(values):
    samples = np.array(values)[:, None]
    scaled = SampleSpace((samples.min(), samples.max())).forward(samples, FLOAT)[:, 0]
    assert scaled.min() == 0
    assert scaled.max() in (0, 1)
    assert (np.diff(scaled[np.argsort(samples[:, 0])]) >= 0).all()


def test_parts_change_no_sample(monkeypatch):
    samples = np.random.default_rng(0).normal(size=(1000, 3))
    expected = SampleSpace((-2, 2)).forward(samples, FLOAT)
    monkeypatch.setattr(module, "PART", 7)
    np.testing.assert_array_equal(SampleSpace((-2, 2)).forward(samples, FLOAT), expected)


@pytest.mark.parametrize(("dtype", "scale"), [(UINT8, 255), (UINT16, 65_535), (FLOAT, 1)])
def test_the_scale_is_what_1_is_in_samples(dtype, scale):
    space = SampleSpace((-9, 9)) if dtype == FLOAT else BY_TYPE
    assert space.scale(dtype) == scale
    assert space.inverse(np.array([[0, 0.5, 1]]), dtype).tolist() == [[0, scale / 2, scale]]


@pytest.mark.parametrize(("dtype", "step"), [(UINT8, 1 / 255), (UINT16, 1 / 65_535), (FLOAT, FLOAT_STEP)])
def test_the_step_is_the_distance_of_neighbors(dtype, step):
    assert SampleSpace().step(dtype) == step


def test_colors_are_shown_rounded_and_within_8_bits():
    shown = BY_TYPE.to_rgb(np.array([[-0.2, 0, 0.1], [0.5, 1, 1.7]]))
    assert shown.dtype == np.uint8
    assert shown.tolist() == [[0, 0, 26], [128, 255, 255]]


@pytest.mark.parametrize("range", [None, (0, 1), (-1 / 3, 1e300), (0, 0), (np.float32(0.1), np.int64(7))])
def test_json_gives_the_space_back_to_the_last_bit(range):
    space = SampleSpace(range)
    written = json.loads(json.dumps(space.to_dict()))
    assert SampleSpace.from_dict(written) == space
    assert written["samples"] == "scaled to [0, 1]"


def test_a_space_without_a_range_is_that_of_integers():
    assert SampleSpace.from_dict({}) == SampleSpace() == BY_TYPE


@pytest.mark.parametrize("range", [(1, 0), (0, np.inf), (-np.inf, 0), (np.nan, 1)])
def test_what_is_no_range_is_refused(range):
    with pytest.raises(ModelError, match=r"^range is \(.*\); expected two finite numbers, the least first$"):
        SampleSpace(range)


@pytest.mark.parametrize("change", ["M-step", "take", "ordered", "JSON"])
def test_the_space_stays_with_the_mixture(change):
    mixture = replace(random_mixture(4, 2), space=SampleSpace((-3, 8)))
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
        space = SampleSpace((samples.min(), samples.max()))
        table = ColorTable.of(space.forward(samples, FLOAT), space=space)
        start = around(table, np.array([[0.3], [0.7]]), "full", 1e-6)
        fits.append(fit_mixture(table.accumulate, start, None, step=table.step, max_iter=20, tol=1e-6, reg_covar=1e-6).mixture)
        assert fits[-1].space == space
    np.testing.assert_allclose(fits[1].means, fits[0].means, atol=1e-5)
