"""Every figure is told of in words, too."""

import numpy as np
import pytest

from streamgmm.model.display import Display
from streamgmm.page.drawing import Components, drawings_of_fit
from streamgmm.page.figures import ELLIPSES

from ..conftest import random_mixture


def components(n_components, n_bands):
    mixture = random_mixture(n_components, n_bands)
    colors = [f"#{number:06x}" for number in range(n_components)]
    return Components(mixture, Display.of(mixture), colors, 1 / 255)


@pytest.mark.parametrize(("n_bands", "figures"), [(1, 1), (2, 2), (3, 2), (8, 2)])
def test_components_are_drawn_in_as_many_projections_as_there_are(n_bands, figures):
    given = components(4, n_bands)
    colors = np.random.default_rng(0).integers(0, 256, (100, n_bands), dtype=np.uint8)
    drawings = given.of_table(colors)
    assert len(drawings) == figures
    assert all("all components" in drawing.alt for drawing in drawings)
    assert all(drawing.svg.count(f"stroke: #00000{number}") == 1 for drawing in drawings for number in range(4))


def test_of_many_the_heaviest_are_drawn_and_it_is_said():
    given = components(ELLIPSES + 1, 3)
    drawing, _ = given.over(np.random.default_rng(0).random((10, 4)).astype(np.float32))
    assert f"the {ELLIPSES} heaviest of {ELLIPSES + 1} components" in drawing.caption
    lightest = given.colors[int(given.mixture.order()[-1])]
    assert f"stroke: {lightest}" not in drawing.svg


def test_the_fit_is_drawn_where_there_is_something_to_see():
    assert drawings_of_fit([], None) == []
    assert drawings_of_fit([1.5], None) == []
    (drawing,) = drawings_of_fit([1.5, 2.25], None)
    assert drawing.alt == "Log-likelihood by iteration: from 1.5000 to 2.2500 nats per pixel in 2."
    rows = [{"n_components": 4, "psnr_db": 20.0, "delta_e": None}, {"n_components": 8, "psnr_db": None, "delta_e": None}]
    (drawing,) = drawings_of_fit([], rows)
    assert drawing.title == "Error over the number of components"
    assert drawing.alt == "PSNR by number of components: 4: 20.0 dB."
