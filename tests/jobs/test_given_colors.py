"""Colors that are given are means in [0, 1], where the pixels can have them."""

import numpy as np
import pytest

from streamgmm.errors import OptionError
from streamgmm.jobs.clock import Clock
from streamgmm.jobs.given_colors import fixed_means, means_of
from streamgmm.jobs.resources import Resources
from streamgmm.jobs.session import open_session
from streamgmm.options import FitOptions, ReadOptions, ResourceOptions

COLORS = np.array([[0, 51, 255], [7, 7, 7]], np.uint8)


def session_of(pixels):
    return open_session([pixels], ReadOptions(), Resources.of(ResourceOptions()), Clock())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_means_are_parts_of_the_range_of_the_type(dtype):
    with session_of(np.ones((4, 5, 3), dtype)) as session:
        np.testing.assert_allclose(means_of(COLORS, session, "--fix", "it")[0], [0, 0.2, 1])
        assert fixed_means(FitOptions(), session) is None
        np.testing.assert_allclose(fixed_means(FitOptions(fix=[(0, 51, 255)]), session), [[0, 0.2, 1]])


@pytest.mark.parametrize(("shape", "dtype", "said"), [((4, 5, 1), np.uint8, "gray"), ((4, 5, 4), np.uint8, "4 bands"),
                                                      ((4, 5, 3), np.float32, "floats")])  # fmt: skip
def test_pixels_that_cannot_have_them_are_refused_in_a_line(shape, dtype, said):
    with session_of(np.ones(shape, dtype)) as session, pytest.raises(OptionError, match=said) as refused:
        means_of(COLORS, session, "--fix", "it")
    assert "\n" not in str(refused.value)


def test_grays_are_for_gray():
    with session_of(np.ones((4, 5, 1), np.uint8)) as session:
        assert means_of(COLORS[1:], session, "--fix", "it").tolist() == [[7 / 255]]
