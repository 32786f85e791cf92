"""Figures are SVG by Matplotlib, in the colors and the fonts of the page, the same each time."""

import re
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest

from streamgmm.page import figures
from streamgmm.page.components import Projection

SVG = "{http://www.w3.org/2000/svg}"
PLANE = Projection("band 1", "band 2", np.eye(2))
MEANS = np.array([[0.2, 0.3], [0.7, 0.6]])
COVARIANCES = np.array([[[0.01, 0.0], [0.0, 0.0025]], [[0.02, 0.01], [0.01, 0.02]]])
POINTS = np.random.default_rng(0).random((500, 2))
COLORS = ["#ff0000", "#00ff7f"]
CURVE = [{"n_components": 2**i, "psnr_db": 20.0 + i, "delta_e": 9.0 - i} for i in range(1, 5)]


def plane(name="plane0"):
    return figures.plane(PLANE, POINTS, MEANS, COVARIANCES, COLORS, 1 / 255, name)


DRAWN = {
    "likelihood": lambda: figures.likelihood([1.0, 2.5, 2.75]),
    "curve": lambda: figures.curve(CURVE),
    "plane": plane,
    "density": lambda: figures.density(POINTS[:, 0], np.array([0.4, 0.6]), MEANS[:, 0], COVARIANCES[:, 0, 0], COLORS, 1 / 255),
}


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_is_svg_in_the_colors_of_the_page_whose_texts_are_texts(name):
    svg = DRAWN[name]()
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    assert root.get("viewBox")
    assert len(texts(svg)) > 4
    assert set(re.findall(r"var\(--\w+\)", svg)) >= {"var(--ink)", "var(--faint)"}
    assert not [color for color in figures.PAGE if color in svg]
    assert not re.search(r"https?://(?!www\.w3\.org/)", svg)


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_is_the_same_each_time(name):
    assert DRAWN[name]() == DRAWN[name]()


def test_no_two_figures_of_a_page_have_a_name_in_common():
    names = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in (*(draw() for draw in DRAWN.values()), plane("plane1"))]
    assert sum(map(len, names)) == len(set().union(*names)) > 50
    for svg in (DRAWN["plane"](), DRAWN["likelihood"]()):
        known = set(re.findall(r'\bid="([^"]+)"', svg))
        assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg)) <= {(name, "") for name in known} | {
            ("", name) for name in known
        }


def test_an_ellipse_has_the_color_of_its_component():
    svg = plane()
    assert all(svg.count(f"stroke: {color}") == 1 for color in COLORS)
    assert {"band 1", "band 2"} <= set(texts(svg))


def test_the_error_is_over_the_number_of_components_in_both_measures_or_one():
    assert {"components", "PSNR, dB", "CIE ΔE 2000", "2", "16"} <= set(texts(figures.curve(CURVE)))
    assert "CIE ΔE 2000" not in texts(figures.curve([{**row, "delta_e": None} for row in CURVE]))


def test_bins_hold_as_many_levels_each():
    levels = np.arange(256) / 255
    points = np.stack(np.meshgrid(levels, levels), axis=-1).reshape(-1, 2)
    width = figures._width(1.1, 1 / 255)
    edges = figures._edges(-0.05, 1.05, width, 1 / 255)
    counts = figures._counts(points, edges, edges)
    assert counts.sum() == len(points)
    assert set(np.unique(counts)) <= {0, 1, 2, 4}
    expected, _, _ = np.histogram2d(points[:, 1], points[:, 0], [edges, edges])
    np.testing.assert_array_equal(counts, expected)


def test_points_outside_of_a_figure_are_left_out():
    edges = np.linspace(0, 1, 5)
    assert figures._counts(np.array([[0.1, 0.1], [-5, 0.1], [0.1, 7]]), edges, edges).sum() == 1


def test_a_component_without_extent_and_no_points_at_all():
    means = np.full((1, 2), 0.5)
    assert "<svg" in figures.plane(PLANE, POINTS[:0], means, np.zeros((1, 2, 2)), ["#ffffff"], 1 / 255, "plane0")


def test_drawing_leaves_the_settings_of_a_program_alone():
    before = dict(mpl.rcParams)
    plane()
    assert dict(mpl.rcParams) == before


def test_errors_have_colors_from_dark_to_bright():
    colors = figures.error_colors()
    assert (colors.shape, colors.dtype) == ((256, 3), np.uint8)
    assert colors[0].sum() < 20
    assert colors[-1].sum() > 500
