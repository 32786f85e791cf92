"""Few colors are components, each of its own and all that were given beside them."""

import numpy as np
import pytest

from streamgmm.jobs.lossless import lossless, same_colors
from streamgmm.model.colors import ColorTable
from streamgmm.model.labels import classify
from streamgmm.model.mixture import COVARIANCE_TYPES
from streamgmm.model.space import BY_TYPE, SampleSpace

COLORS = np.array([[0, 0, 0], [0, 0, 1], [200, 100, 50]], np.uint8)
TABLE = ColorTable(COLORS, np.array([1.0, 5.0, 2.0]))


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_lossless_mixture_has_a_component_for_each_color_a_tenth_of_a_step_wide(dtype, covariance_type):
    colors, counts = np.array([[0, 1, 0], [1, 0, 0], [1, 1, 1]], dtype), np.array([1.0, 5.0, 2.0])
    table = ColorTable(colors, counts, SampleSpace(((0.0, 1.0),) * 3) if dtype == np.float32 else BY_TYPE)
    mixture = lossless(table, covariance_type)
    np.testing.assert_array_equal(mixture.weights, [5 / 8, 2 / 8, 1 / 8])
    step = {np.uint8: 1 / 255, np.uint16: 1 / 65_535, np.float32: 2.0**-20}[dtype]
    np.testing.assert_allclose(mixture.means, colors[[1, 2, 0]] / (step**-1 if dtype != np.float32 else 1), atol=1e-15)
    np.testing.assert_allclose(mixture.full_covariances, [(step / 10) ** 2 * np.eye(3)] * 3)
    assert (mixture.covariance_type, mixture.space) == (covariance_type, table.space)
    np.testing.assert_array_equal(classify(colors, mixture), [2, 0, 1])


def test_colors_that_are_given_are_marked_and_added_where_no_pixel_has_them():
    given = np.array([[0, 0, 1], [9, 9, 9]]) / 255
    assert same_colors(TABLE, given).tolist() == [[False, False], [True, False], [False, False]]
    mixture = lossless(TABLE, "full", given)
    assert mixture.fixed.tolist() == [True, False, False, True]
    np.testing.assert_allclose(mixture.means[3] * 255, [9, 9, 9])
    assert mixture.weights[3] == 0
    assert classify(COLORS, mixture).tolist() == [2, 0, 1]
