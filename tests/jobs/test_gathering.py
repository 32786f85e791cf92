"""Colors are counted where that is possible, and no more of them than components are not fitted."""

from functools import partial

import numpy as np
import pytest

import streamgmm
from streamgmm.errors import UnsupportedImageError
from streamgmm.jobs.clock import Clock
from streamgmm.jobs.fitting import fit_pixels
from streamgmm.jobs.resources import Resources
from streamgmm.jobs.session import open_session
from streamgmm.options import FitOptions, ReadOptions, ResourceOptions

from ..images import posterized, smooth

fit_image, quantize = partial(streamgmm.fit_image, threads=1), partial(streamgmm.quantize, threads=1)

PARTS = [smooth(90, 110, seed=1), smooth(70, 110, seed=2), smooth(40, 110, seed=3)]


@pytest.mark.parametrize("method", ["stream", "minibatch"])
def test_exact_is_for_colors_that_can_be_counted(method, tmp_path):
    pixels = smooth(60, 60, 4)
    with pytest.raises(
        UnsupportedImageError, match="method exact needs uint8 samples of one to three bands, not uint8 of 4; use stream"
    ):
        quantize(pixels, tmp_path / "out.tif", method="exact")
    assert quantize(pixels, tmp_path / "out.tif", method=method).method == method


# --- Of few colors ---


@pytest.mark.parametrize("method", ["exact", "stream", "minibatch"])
@pytest.mark.parametrize("n_colors", [1, 4, 5])
def test_no_more_colors_than_components_are_not_fitted(n_colors, method):
    mixture, report = fit_image(posterized(60, 70, n_colors), n_components=4, method=method)
    assert (report.method == "lossless") == (n_colors <= 4)
    assert mixture.n_components == min(n_colors, 4)
    assert (report.iterations == 0) == (report.log_likelihood == []) == (n_colors <= 4)


# --- How ---


@pytest.mark.parametrize(
    ("dtype", "bands", "expected"),
    [(np.uint8, 1, "exact"), (np.uint8, 3, "exact"), (np.uint8, 4, "stream"), (np.uint16, 1, "stream"), (float, 3, "stream")],
)
def test_by_itself_a_fit_is_from_the_table_where_there_can_be_one(dtype, bands, expected):
    _, report = fit_image(smooth(60, 70, bands).astype(dtype), n_components=3)
    assert report.method == expected


@pytest.mark.parametrize(("method", "expected"), [("auto", "stream"), ("stream", "stream"), ("exact", None)])
def test_images_of_equal_weight_have_no_table(method, expected):
    options = FitOptions(n_components=3, method=method)
    resources = Resources.of(ResourceOptions(threads=1))
    with open_session(PARTS, ReadOptions(), resources, Clock()) as session:
        if expected is None:
            with pytest.raises(UnsupportedImageError, match=r"method exact needs .* use stream"):
                fit_pixels(session, options, by_image=True)
        else:
            assert fit_pixels(session, options, by_image=True).method == expected
