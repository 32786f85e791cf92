"""A page tells what a report tells, in words."""

import pytest

from streamgmm.jobs.quantize import Quantize
from streamgmm.jobs.report import Report
from streamgmm.page import facts

REPORT = {
    "input": "in.tif",
    "output": "out.tif",
    "method": "exact",
    "preset": "picture",
    "ridge": [0.001, 0.001, 0.001],
    "n_components": 16,
    "iterations": 3,
    "converged": True,
    "log_likelihood": [1.0, 2.5],
    "distinct_colors": 1234,
    "colors_used": 15,
    "psnr_db": 27.25,
    "delta_e": 3.5,
    "display_range": None,
    "nodata": None,
    "fraction_read": None,
}
SHAPE = 1000, 20_000, 3


def told(**changes):
    return dict(facts.results(REPORT | changes, SHAPE, "uint8", changes.pop("masked", 0.0), None))


def test_what_is_known_is_told():
    assert told() == {
        "Input": "in.tif",
        "Output": "out.tif",
        "Size": "20,000 × 1,000 pixels, 3 bands of uint8",
        "Colors used": "15 of 16",
        "Distinct colors": "1,234",
        "PSNR": "27.25 dB",
        "CIE ΔE 2000, mean": "3.50",
        "Method": "exact, from the table of colors",
        "Preset": "picture",
        "Added to variances": "0.001",
        "Iterations": "3, converged",
        "Log-likelihood": "2.5000 nats per pixel",
    }


def test_what_is_not_known_is_left_out():
    nothing = dict.fromkeys(("psnr_db", "delta_e", "preset", "ridge", "distinct_colors"))
    assert set(told(**nothing, log_likelihood=[], method="apply")) == {"Input", "Output", "Size", "Colors used", "Method"}


@pytest.mark.parametrize(
    ("changes", "name", "text"),
    [
        ({"converged": False}, "Iterations", "3, not converged"),
        ({"display_range": (12.5, 8000.0)}, "Black and white", "12.5 and 8000, as stored"),
        ({"nodata": 16, "masked": 0.125}, "Masked", "12.50% of the pixels, label 16"),
        ({"fraction_read": 0.25}, "Read", "25% of the pixels"),
        ({"ridge": [0.1, 0.2, 0.1]}, "Added to variances", "0.1, 0.2"),
    ],
)
def test_what_is_special_is_told(changes, name, text):
    assert told(**changes)[name] == text


@pytest.mark.parametrize(
    ("changes", "n", "text"),
    [
        ({}, 16, "20,000 × 1,000 pixels in 16 colors, 27.2 dB, ΔE 3.50"),
        ({"psnr_db": None, "delta_e": None}, 1, "20,000 × 1,000 pixels in 1 color"),
        ({"method": "lossless", "psnr_db": None, "delta_e": None}, 7, "20,000 × 1,000 pixels in 7 colors, exact"),
        ({"method": "none", "psnr_db": None}, 0, "20,000 × 1,000 pixels, all of them masked"),
    ],
)
def test_a_line_says_what_was_made(changes, n, text):
    assert facts.summary_of(REPORT | changes, SHAPE, n) == text


def test_settings_are_those_that_differ_and_the_usual_ones():
    found = facts.settings(Quantize("a.tif", "b.tif", n_components=8, pack=True, threads=2))
    usual = [("--components", "8"), ("--covariance", "full"), ("--seed", "0"), ("--output", "palette")]
    assert found == [*usual, ("--pack", "yes"), ("others", "as they are by default")]


def test_every_method_of_a_report_has_words():
    methods = Report.__doc__.split("method : {")[1].split("}")[0]
    assert {method.strip(' "') for method in methods.split(",")} == facts.METHODS.keys()


def test_versions_are_those_that_run():
    found = dict(facts.versions())
    assert {"Python", "numpy", "matplotlib", "jinja2"} <= found.keys()


def test_timings_are_of_each_phase_and_all():
    found = facts.timings({"count": 1.25, "label": 2.0}, {"count": 5000, "label": 0}, {"count": 4000}, 1 << 30)
    assert found == [
        ("count", "1.25", "5,000, 4,000 of them by an interrupted run"),
        ("label", "2.00", ""),
        ("all", "3.25", "at most 1,024 MiB"),
    ]
