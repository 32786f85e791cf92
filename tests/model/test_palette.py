"""A palette is the means as they are shown."""

from dataclasses import replace

import numpy as np
import pytest

from streamgmm.model.mixture import Mixture
from streamgmm.model.palette import palette_of
from streamgmm.model.space import SampleSpace


def mixture_of(means):
    means = np.array(means, np.float64)
    return Mixture(np.full(len(means), 1 / len(means)), means, np.full(len(means), 0.01), "spherical")


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
    ("display", "palette"),
    [((3, 0, 0), [[204, 51, 51]]), ((2,), [[153, 153, 153]]), ((2, 1, 0), [[153, 102, 51]])],
    ids=["three bands", "gray", "reversed"],
)
def test_the_bands_to_show_may_be_chosen(display, palette):
    assert palette_of(mixture_of([[0.2, 0.4, 0.6, 0.8]]), display).tolist() == palette


def test_a_palette_of_floats_is_as_bright_as_their_range():
    mixture = replace(mixture_of([[0, 0.5, 1]]), space=SampleSpace((-1e6, 3e6)))
    assert palette_of(mixture).tolist() == [[0, 128, 255]]
