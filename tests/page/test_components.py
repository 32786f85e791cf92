"""Components are drawn where their colors are: in two projections of all bands."""

import numpy as np
import pytest

from streamgmm.model.display import Display
from streamgmm.page.components import COLORS, distinct, joined, points_of, projections

from ..conftest import random_mixture, random_pixels


@pytest.mark.parametrize(
    ("bands", "planes"), [(None, ([0, 1], [2, 1])), ((4, 2, 0), ([4, 2], [0, 2])), ((1,), ([0, 1], [2, 1]))]
)
def test_the_bands_that_are_shown_are_the_axes(bands, planes):
    mixture = random_mixture(4, 5)
    for projection, columns in zip(projections(mixture, Display.of(mixture, bands)), planes, strict=True):
        np.testing.assert_array_equal(projection.axes, np.eye(5)[:, columns])
        assert (projection.x, projection.y) == tuple(
            f"band {column + 1}" + (f", shown as {name}" if bands != (1,) else "")
            for column, name in zip(columns, ("red" if columns == planes[0] else "blue", "green"), strict=True)
        )


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
def test_components_in_a_plane_are_those_of_the_pixels(kind):
    mixture = random_mixture(3, 4, kind)
    for projection in projections(mixture, Display.of(mixture)):
        means, covariances = projection.plane(mixture)
        x = np.random.default_rng(0).multivariate_normal(mixture.means[1], mixture.full_covariances[1], 200_000)
        np.testing.assert_allclose((x @ projection.axes).mean(axis=0), means[1], atol=2e-3)
        np.testing.assert_allclose(np.cov((x @ projection.axes).T), covariances[1], atol=3e-4)


def test_two_bands_are_seen_as_they_are_and_along_their_spread():
    mixture = random_mixture(5, 2)
    first, second = projections(mixture, Display.of(mixture))
    np.testing.assert_array_equal(first.axes, np.eye(2))
    np.testing.assert_allclose(second.axes.T @ second.axes, np.eye(2), atol=1e-12)
    x = random_pixels(mixture, 50_000, "float64") @ second.axes
    assert abs(np.corrcoef(x.T)[0, 1]) < 0.05
    assert x[:, 0].var() > x[:, 1].var()
    assert "band 1" in second.x


def test_two_bands_of_one_component():
    mixture = random_mixture(1, 2)
    assert len(projections(mixture, Display.of(mixture))) == 2


def test_one_band_has_no_plane():
    mixture = random_mixture(3, 1)
    assert projections(mixture, Display.of(mixture)) == []
    np.testing.assert_array_equal(joined([], 1), np.ones((1, 4)))


def test_points_are_those_of_some_colors_in_both_planes():
    mixture = random_mixture(3, 3)
    axes = joined(projections(mixture, Display.of(mixture)), 3)
    colors = np.random.default_rng(0).integers(0, 256, (COLORS + 5, 3), dtype=np.uint8)
    np.testing.assert_allclose(points_of(colors[:99], axes, mixture), colors[:99][:, [0, 1, 2, 1]] / 255, rtol=1e-6)
    assert len(points_of(colors, axes, mixture)) == -(-(COLORS + 5) // 2)
    assert len(points_of(colors[:0], axes, mixture)) == 0


def test_points_that_are_known_are_distinct():
    points = np.array([[1, 2, 3, 2], [0, 0, 0, 0], [np.nan] * 4, [1, 2, 3, 2]], np.float32)
    assert distinct(points).tolist() == [[0, 0, 0, 0], [1, 2, 3, 2]]
