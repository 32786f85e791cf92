"""Each place chooses a color by its threshold, the darker ones where that is low; colors get their shares of all places."""

import numpy as np
import pytest

from streamgmm.model.dither import Dithering
from streamgmm.model.thresholds import thresholds

from .test_blends import GRAY, RGB, palette, shares_of


@pytest.mark.parametrize("kind", ["ordered", "blue-noise"])
@pytest.mark.parametrize("n_colors", [6, 300])
def test_each_color_gets_its_share_of_places(n_colors, kind):
    dithering, x = Dithering(palette("any", n_colors), RGB, kind), np.random.default_rng(3).integers(0, 256, (40, 3))
    blends = dithering.blends(x.astype(np.uint8))
    for shares, blend in zip(shares_of(blends, n_colors), blends, strict=True):
        labels = dithering.labels(np.full((64, 128), blend), 5, 9)
        np.testing.assert_array_equal(np.bincount(labels.reshape(-1), minlength=n_colors) / labels.size, shares)


def test_darker_colors_are_where_thresholds_are_low():
    colors = np.array([[250, 250, 250], [0, 0, 0], [120, 120, 120]], np.uint8)
    for x in (60, 180, 210):
        dithering = Dithering(colors, GRAY, "ordered")
        labels = dithering.labels(np.full((16, 16), dithering.blends(np.array([[x]], np.uint8))[0]), 0, 0)
        light = colors[labels, 0].astype(int).reshape(-1)
        assert (np.diff(light[thresholds("ordered").reshape(-1).argsort()]) >= 0).all()
        assert len(np.unique(light)) == 2
