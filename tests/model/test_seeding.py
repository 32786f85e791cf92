"""Seeds are drawn as they should be, and the same seed draws the same."""

from typing import get_args

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from streamgmm.model import search, seeding
from streamgmm.model.colors import ColorTable
from streamgmm.model.mixture import COVARIANCE_TYPES
from streamgmm.model.seeding import around, most_colors, seed_mixture
from streamgmm.model.space import SampleSpace
from streamgmm.options import Init

from .. import naive
from ..conftest import colors

RIDGE = 1e-6
INITS = get_args(Init)


@pytest.fixture(scope="module")
def sample(photo):
    return ColorTable.of(photo[::8, ::8].reshape(-1, 3))


def seeded(sample, n_components=6, covariance_type="full", init="kmeans", *, ridge=RIDGE, matched=False, seed=0, threads=1):
    options = {"ridge": ridge, "matched": matched, "tol": 1e-3, "seed": seed, "threads": threads}
    return seed_mixture(sample, n_components, covariance_type, init, advance=lambda n_colors: None, **options).mixture


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("init", INITS)
def test_the_same_seed_gives_the_same_mixture_on_any_number_of_threads(sample, init, covariance_type):
    mixture = seeded(sample, 6, covariance_type, init)
    assert mixture.to_json() == seeded(sample, 6, covariance_type, init, threads=2).to_json()
    assert (mixture.n_components, mixture.covariance_type) == (6, covariance_type)


@pytest.mark.parametrize("init", INITS)
def test_another_seed_gives_another_mixture(sample, init):
    assert seeded(sample, init=init).to_json() != seeded(sample, init=init, seed=1).to_json()


@pytest.mark.parametrize("init", INITS)
def test_fewer_colors_than_components_give_a_component_each(init):
    few = ColorTable.of(np.array([[0, 0, 0], [90, 80, 70], [255, 255, 0]], np.uint8).repeat([5, 3, 2], axis=0))
    mixture = seeded(few, 16, init=init).ordered()
    np.testing.assert_allclose(mixture.means * 255, [[0, 0, 0], [90, 80, 70], [255, 255, 0]], atol=1e-3)
    np.testing.assert_allclose(mixture.weights, [0.5, 0.3, 0.2], atol=1e-6)


@pytest.mark.parametrize("init", INITS)
def test_a_seed_has_climbed_as_far_as_the_sample_goes(sample, init):
    mixture = seeded(sample, init=init)
    history, _ = naive.expectation_maximization(
        colors(sample.colors), (mixture.weights, mixture.means, mixture.covariances, "full"), 2, RIDGE, sample.counts
    )
    assert history[1] - history[0] < 1e-4


def mean_log_likelihood(sample, mixture):
    return sample.accumulate(mixture).mean_log_likelihood


def test_the_best_of_the_starts_goes_on(sample, monkeypatch):
    best = mean_log_likelihood(sample, seeded(sample, 8, ridge=None, matched=True))
    monkeypatch.setattr(seeding, "STARTS", 1)
    assert best > mean_log_likelihood(sample, seeded(sample, 8, ridge=None, matched=True))


@pytest.mark.parametrize("covariance_type", [each for each in COVARIANCE_TYPES if each != "isotropic"])
@pytest.mark.parametrize("n_components", [4, 16])
def test_classes_fit_a_photo_better_than_the_best_of_three_of_scikit_learn(sample, n_components, covariance_type):
    options = {"covariance_type": covariance_type, "reg_covar": RIDGE, "n_init": 3, "max_iter": 300, "tol": 1e-5}
    x = colors(sample.colors).repeat(sample.counts.astype(int), axis=0)
    oracle = GaussianMixture(n_components, random_state=0, **options).fit(x).score(x)
    assert mean_log_likelihood(sample, seeded(sample, n_components, covariance_type)) > oracle - 1e-3


def searches(sample, monkeypatch, **options):
    """Whether seeding searches, and the colors it does that on."""
    searched = []
    monkeypatch.setattr(seeding, "search", lambda accumulate, table, fit, **_: searched.append(table) or fit)
    seeded(sample, 3, **options)
    return searched


@pytest.mark.parametrize("options", [{}, {"ridge": None}, {"ridge": 1e-9}])
def test_classes_are_searched_for(sample, monkeypatch, options):
    assert len(searches(sample, monkeypatch, **options)) == 1


@pytest.mark.parametrize("options", [{"ridge": None, "matched": True}, {"ridge": 0.0}])
def test_no_search_where_em_hardly_moves_or_the_likelihood_has_no_bound(sample, monkeypatch, options):
    assert searches(sample, monkeypatch, **options) == []


def test_a_search_of_many_colors_is_one_of_fewer_that_weigh_as_much(sample, monkeypatch):
    monkeypatch.setattr(seeding, "SEARCHED", 300)
    monkeypatch.setattr(seeding, "SEARCHED_BY_ALL", 600)
    [searched] = searches(sample, monkeypatch)
    assert len(searched) <= 300 < len(sample)
    assert searched.n_pixels == pytest.approx(sample.n_pixels, rel=0.2)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("ridge", [None, 0.0, 1e-6])
@pytest.mark.parametrize("shape", [(9, 1), (40, 1), (12, 3), (12, 6)])
def test_few_colors_give_sound_mixtures(shape, ridge, covariance_type):
    few = ColorTable.of(np.random.default_rng(0).integers(0, 256, shape, np.uint8).repeat(2, axis=0))
    mixture = seeded(few, 8, covariance_type, ridge=ridge)
    assert 1 <= mixture.n_components <= 8
    assert np.isfinite(mean_log_likelihood(few, mixture))


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_around_means_stand_equal_components_as_wide_as_the_image(sample, covariance_type):
    means = colors(sample.colors[[5, 500, 900]])
    mixture = around(sample, means, covariance_type, 1e-3)
    whole = np.cov(colors(sample.colors).T, fweights=sample.counts.astype(int), bias=True) + 1e-3 * np.eye(3)
    variances = np.diag(whole)
    expected = {"full": [whole] * 3, "tied": whole, "diag": [variances] * 3, "spherical": [variances.mean()] * 3}
    expected["isotropic"] = variances.mean()
    np.testing.assert_array_equal(mixture.means, means)
    np.testing.assert_allclose(mixture.weights, np.full(3, 1 / 3))
    np.testing.assert_allclose(mixture.covariances, expected[covariance_type], rtol=1e-5)


@pytest.mark.parametrize("init", INITS)
def test_colors_that_do_not_occur_are_never_drawn(init, monkeypatch):
    drawn = []
    monkeypatch.setattr(seeding, "around", lambda sample, means, *rest: drawn.append(means) or around(sample, means, *rest))
    levels = np.arange(40, dtype=np.uint8)[:, None] * 6
    seeded(ColorTable(levels, np.tile([0.0, 2.0], 20)), 8, init=init)
    assert len(drawn) == seeding.STARTS
    assert {round(float(mean)) for means in drawn for mean in means.ravel() * 255} <= set(levels[1::2].ravel().tolist())


RANGED = ColorTable.of(np.random.default_rng(0).random((200, 2), np.float32), space=SampleSpace(((-40, 60), (0, 1))))


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("init", INITS)
def test_a_fit_of_a_table_with_a_range_comes_out_with_it(init, covariance_type):
    assert seeded(RANGED, 4, covariance_type, init).space == RANGED.space


def test_a_search_that_would_take_long_has_one_start_and_no_swaps(sample, monkeypatch):
    starts = []
    monkeypatch.setattr(seeding, "around", lambda *arguments: starts.append(arguments) or around(*arguments))
    monkeypatch.setattr(seeding, "WORK", 1)
    monkeypatch.setattr(search, "split", None)
    assert seeded(sample, 3).n_components == 3
    assert len(starts) == 1


def test_a_search_tells_of_each_pass_and_ends_where_it_is_told_to(sample):
    seen = []

    def advance(n_colors):
        seen.append(n_colors)
        if len(seen) == 7:
            raise InterruptedError

    options = {"ridge": RIDGE, "matched": True, "tol": 1e-3, "seed": 0, "threads": 1}
    with pytest.raises(InterruptedError):
        seed_mixture(sample, 6, "full", "kmeans", advance=advance, **options)
    assert seen == [len(sample)] * 7
    assert sum(seen) < most_colors(sample)
