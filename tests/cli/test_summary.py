"""The last line says what was achieved, as a person would."""

from dataclasses import replace

import pytest

from streamgmm.cli.summary import duration, size, summary, summary_of_fit
from streamgmm.jobs.report import Report

REPORT = Report(
    "in.tif", "out.tif", {}, "exact", 16, 9, True, [], {}, {}, 1000,
    colors_used=16, psnr_db=27.93, delta_e=4.63, bytes_in=3_100_000_000, bytes_out=212_000_000,
    total_seconds=18.2, pixels_per_second=5.7e7,
)  # fmt: skip
EFFORT = "3.1 GB to 212 MB in 18 s, 57 Mpx/s"


def line(form="palette", values=False, **changed):
    return summary(replace(REPORT, **changed), form, values)


def test_a_picture_has_colors_and_how_near_they_are():
    assert line() == f"16 colors, 27.9 dB, Delta E 4.6, {EFFORT}"
    assert line("rgb") == line()
    assert line(colors_used=9) == f"9 of 16 colors, 27.9 dB, Delta E 4.6, {EFFORT}"
    assert line(n_components=1, colors_used=1).startswith("1 color, ")
    assert line(n_components=40_000, colors_used=None).startswith("40,000 colors, ")
    assert "46.0 dB, Delta E 0.04, " in line(psnr_db=46.01, delta_e=0.04)


@pytest.mark.parametrize("method", ["lossless", "apply", "palette"])
def test_what_has_no_error_is_exact(method):
    assert line(method=method, psnr_db=None, delta_e=None) == f"16 colors, exact, {EFFORT}"


def test_of_classes_the_labels_are_exact():
    assert line(method="classes", psnr_db=None, delta_e=None) == f"16 colors, exact labels, {EFFORT}"
    assert line(method="classes") == line()


def test_labels_are_classes_and_not_measured():
    assert line("labels", psnr_db_nearest=99.0) == f"16 classes, {EFFORT}"
    assert line("labels", n_components=1, colors_used=1) == f"1 class, {EFFORT}"


@pytest.mark.parametrize("form", ["palette", "labels"])
def test_values_of_a_class_map_are_values(form):
    assert line(form, values=True, method="lossless", psnr_db=None, delta_e=None) == f"16 values, {EFFORT}"


def test_an_image_without_pixels_is_nodata():
    assert line(model=None, n_components=0, colors_used=0, psnr_db=None, delta_e=None) == f"all nodata, {EFFORT}"


def test_fidelity_is_named_where_it_would_be_seen():
    assert line(psnr_db_nearest=29.0) == f"{line()} (--preset fidelity would give 29.0 dB)"
    assert line(psnr_db_nearest=27.93 + 0.101).endswith(" (--preset fidelity would give 28.0 dB)")
    for nearest in (27.93 + 0.099, 27.0, None):
        assert line(psnr_db_nearest=nearest) == line()
    assert line(psnr_db=None, delta_e=None, psnr_db_nearest=50.0) == line(psnr_db=None, delta_e=None)


def test_sizes_that_are_not_known_are_left_out():
    assert line(bytes_in=None, bytes_out=None).endswith("Delta E 4.6, in 18 s, 57 Mpx/s")
    assert line(bytes_in=None).endswith("Delta E 4.6, 212 MB in 18 s, 57 Mpx/s")


def test_a_fit_has_components_and_images():
    fit = replace(REPORT, psnr_db=None, delta_e=None, bytes_out=None, input=["a.tif"])
    assert summary_of_fit(fit) == "16 components, 3.1 GB in 18 s, 57 Mpx/s"
    assert summary_of_fit(replace(fit, input=["a.tif", "b.tif"])) == "16 components, 2 images, 3.1 GB in 18 s, 57 Mpx/s"
    few = replace(fit, method="lossless", n_components=1)
    assert summary_of_fit(few) == "1 component, one for each color, 3.1 GB in 18 s, 57 Mpx/s"


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [(0, "0 B"), (1, "1 B"), (999, "999 B"), (1000, "1.0 kB"), (9949, "9.9 kB"), (9951, "10 kB"), (212_400_000, "212 MB"),
     (999_400, "999 kB"), (999_600, "1.0 MB"), (3_149_000_000, "3.1 GB"), (5e12, "5.0 TB"), (5e16, "50000 TB")],
)  # fmt: skip
def test_sizes_have_two_figures_at_least_and_the_unit_that_fits(n_bytes, text):
    assert size(n_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (0.84, "0.8 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min 0 s"),
     (200, "3 min 20 s"), (3599.6, "1 h 0 min"), (7530, "2 h 5 min"), (4e6, "1,111 h 6 min")],
)  # fmt: skip
def test_times_have_the_units_that_matter(seconds, text):
    assert duration(seconds) == text
