"""A page of any size is less than 5 MB, and says what a person might take for something else."""

from dataclasses import asdict

import numpy as np
import pytest

import streamgmm
from streamgmm.image.open import open_image
from streamgmm.jobs.quantize import Quantize
from streamgmm.model.display import Display
from streamgmm.page.content import Shown, page_of
from streamgmm.page.overview import Grid, Overview

from ..conftest import random_mixture

RNG = np.random.default_rng(0)
PAGE_BYTES = 5_000_000


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The report of a small job."""
    path = tmp_path_factory.mktemp("content") / "out.tif"
    return asdict(streamgmm.quantize(np.zeros((20, 30, 3), np.uint8), path, threads=1))


def shown_of(report, n_colors, shape, **more):
    """What is shown of noise in colors that have nothing to do with it: the largest page there is."""
    mixture = random_mixture(n_colors, 3)
    palette = RNG.integers(0, 256, (n_colors, 3), dtype=np.uint8)
    overview = Overview(Grid(shape), palette)
    overview.before[:] = RNG.integers(0, 256, overview.before.shape, dtype=np.uint8)
    overview.label[:] = RNG.integers(0, n_colors, overview.label.shape)
    overview.valid[:] = True
    image = open_image(np.broadcast_to(np.uint8(0), (*shape, 3)))
    means = dict(enumerate(mixture.means))
    of_colors = {"display": Display.of(mixture), "means": means, "palette": palette, "measured": True}
    options = Quantize("in.tif", "out.tif")
    facts = {**report, "psnr_db": 7.5}
    counts = np.full(n_colors, shape[0] * shape[1] / n_colors)
    given = facts, options, "quantize", ["in.tif", "out.tif"], [image], overview, counts, (), None
    return Shown(*given, **of_colors | more)


def noise(window):
    colors = RNG.integers(0, 256, (2, window.height, window.width, 3), dtype=np.uint8)
    return *colors, np.ones((window.height, window.width), bool)


@pytest.mark.parametrize("n_colors", [16, 256, 300])
@pytest.mark.parametrize("shape", [(1024, 1024), (5000, 7000)])
def test_the_largest_page_is_less_than_5_mb(shape, n_colors, report):
    page = page_of(shown_of(report, n_colors, shape), noise, 2)
    assert 1_000_000 < len(page.html().encode()) < PAGE_BYTES


def test_pictures_are_enlarged_where_the_image_is_small(report):
    zooms = [page_of(shown_of(report, 4, shape), noise, 1).overview.zoom for shape in [(8, 10), (240, 100), (700, 900)]]
    assert zooms == [48, 2, 1]


def test_what_a_picture_has_of_the_image_is_said(report):
    captions = [page_of(shown_of(report, 4, shape), noise, 1).caption for shape in [(8, 10), (4000, 3000)]]
    assert captions == ["Every pixel.", "Each 4 × 4 pixels are one, the mean of four of them."]


def test_the_error_of_a_place_is_that_of_all_its_pixels(report):
    def read(window):
        before, after, valid = noise(window)
        before[:], after[:] = 9, 5
        before[0], valid[0] = 200, False
        return before, after, valid

    page = page_of(shown_of(report, 4, (500, 700)), read, 1)
    assert [crop.error for crop in page.crops] == [4, 4, 4]


def test_an_image_that_is_one_place_is_not_shown_twice(report):
    assert page_of(shown_of(report, 4, (100, 100)), noise, 1).crops == []


def test_a_curve_is_shown_where_it_is_known(report):
    rows = [{"n_components": 2, "psnr_db": 20.0, "delta_e": None}, {"n_components": 4, "psnr_db": 22.0, "delta_e": None}]
    page = page_of(shown_of({**report, "curve": rows}, 4, (100, 100)), noise, 1)
    assert [drawing.title for drawing in page.drawings] == ["Error over the number of components"]
