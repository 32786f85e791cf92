"""Components are matched to those of an earlier mixture, the nearest pair first, and get their order."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from streamgmm.model import matching
from streamgmm.model.matching import matched, ordered_like
from streamgmm.model.mixture import Mixture
from streamgmm.model.space import SampleSpace

from ..conftest import random_mixture


def pairs_of(one, other):
    """All pairs by their distance, of which each is taken whose points are both free."""
    distances = [(sum((x - y) ** 2), i, j) for i, x in enumerate(one) for j, y in enumerate(other)]
    taken = []
    for _, i, j in sorted(distances):
        if i not in [each[0] for each in taken] and j not in [each[1] for each in taken]:
            taken.append((i, j))
    return sorted(taken)


def pairs(one, other):
    return sorted(zip(*(numbers.tolist() for numbers in matched(one, other)), strict=True))


@pytest.mark.parametrize("at_once", [1, 50, 1 << 20])
@pytest.mark.parametrize(("n", "m"), [(1, 1), (20, 20), (7, 19), (19, 7), (1, 5), (5, 1)])
def test_the_nearest_pair_is_matched_first_then_the_nearest_of_the_rest(n, m, at_once, monkeypatch):
    monkeypatch.setattr(matching, "AT_ONCE", at_once)
    for seed in range(5):
        rng = np.random.default_rng([seed, n, m])
        one, other = rng.random((n, 3)), rng.random((m, 3))
        assert pairs(one, other) == pairs_of(one, other)
        assert len(pairs(one, other)) == min(n, m)


@pytest.mark.parametrize("at_once", [1, 1 << 20])
def test_of_equally_near_points_the_first_is_matched(at_once, monkeypatch):
    """On a lattice there are many; no order of sums may decide."""
    monkeypatch.setattr(matching, "AT_ONCE", at_once)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        one, other = rng.integers(0, 3, (12, 2)).astype(float), rng.integers(0, 3, (9, 2)).astype(float)
        assert pairs(one, other) == pairs_of(one, other)


def test_without_points_nothing_is_matched():
    assert [len(numbers) for numbers in matched(np.empty((0, 3)), np.zeros((2, 3)))] == [0, 0]


def test_points_that_have_moved_a_little_are_found_again_as_by_the_best_assignment():
    rng = np.random.default_rng(0)
    one, order = rng.random((60, 3)), rng.permutation(60)
    other = one[order] + rng.normal(0, 1e-3, (60, 3))
    distances = ((one[:, None] - other) ** 2).sum(axis=2)
    assert pairs(one, other) == sorted(zip(*linear_sum_assignment(distances), strict=True))
    assert pairs(one, other) == sorted((int(i), j) for j, i in enumerate(order))


def test_one_that_moves_far_moves_no_other():
    """The assignment of the least total of squares would: each by one."""
    before, after = np.arange(6.0)[:, None], np.arange(1.0, 7.0)[:, None]
    assert pairs(after, before) == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0)]
    rows, columns = linear_sum_assignment((after - before.T) ** 2)
    assert (rows == columns).all()


# --- Mixtures ---


def places(mixture, other):
    """Which components of another mixture these are."""
    return [int(np.flatnonzero((other.means == mean).all(axis=1))[0]) for mean in mixture.means]


def test_components_have_the_numbers_of_those_they_are_like():
    earlier = random_mixture(9, 3)
    shuffled = earlier.take(np.random.default_rng(0).permutation(9))
    moved = replace(shuffled, means=shuffled.means + 1e-4)
    found = ordered_like(moved, earlier)
    np.testing.assert_allclose(found.means, earlier.means + 1e-4, atol=1e-12)
    np.testing.assert_allclose(found.weights, earlier.weights, atol=1e-12)
    np.testing.assert_allclose(found.covariances, earlier.covariances, atol=1e-12)


def test_more_components_follow_by_weight():
    mixture = random_mixture(9, 3)
    earlier = mixture.take([4, 7, 1])
    found = places(ordered_like(mixture, earlier), mixture)
    assert found[:3] == [4, 7, 1]
    assert found[3:] == [k for k in mixture.order() if k not in (4, 7, 1)]


def test_of_more_that_there_were_those_without_a_match_are_left_out():
    earlier = random_mixture(9, 3)
    mixture = earlier.take([8, 2, 5])
    assert places(ordered_like(mixture, earlier), earlier) == [2, 5, 8]


SPACES = [
    (SampleSpace([(1000, 3000), (2000, 4000)], (1.0, 0.0)), SampleSpace([(1500, 2500), (0, 5000)], (1.0, 0.0))),
    (SampleSpace(), SampleSpace([(10_000, 40_000), (0, 65_535)], (1.0, 0.0))),
    (SampleSpace([(-2.0, 2.0), (0.0, 1e3)]), SampleSpace([(-1.0, 5.0), (100.0, 200.0)])),
    (SampleSpace([(-1e308, 1e308), (0.0, 1.0)]), SampleSpace([(-1.5e308, 1.5e308), (0.0, 1.0)])),
]


@pytest.mark.parametrize("which", range(len(SPACES)))
def test_means_are_compared_as_samples_where_their_ranges_differ(which):
    before, now = SPACES[which]
    earlier = replace(random_mixture(8, 2), space=before)

    def ends(space):
        return np.transpose(np.array(space.range or [(0, 65_535)] * 2)) / 65_536

    (low, high), (now_low, now_high) = ends(before), ends(now)
    means = (low + earlier.means * (high - low) - now_low) / (now_high - now_low)
    order = np.random.default_rng(0).permutation(8)
    mixture = replace(earlier, means=means + 1e-5, space=now).take(order)
    np.testing.assert_allclose(ordered_like(mixture, earlier).means, means + 1e-5, rtol=1e-9)


@pytest.mark.parametrize("one", ["rgb", "lab", "oklab"])
@pytest.mark.parametrize("other", ["rgb", "linear", "oklab"])
def test_models_of_other_spaces_are_matched_by_their_colors(one, other):
    colors = np.array([[0.1, 0.2, 0.9], [0.9, 0.1, 0.1], [0.2, 0.8, 0.3]])

    def mixture_of(order, distances):
        space = SampleSpace(distances=distances)
        return Mixture.alike(space.coordinates_of(colors[order]), 1e-4 * np.eye(3), "full", space=space)

    found = ordered_like(mixture_of([2, 0, 1], one), mixture_of([0, 1, 2], other))
    np.testing.assert_allclose(found.colors, colors, atol=1e-5)
