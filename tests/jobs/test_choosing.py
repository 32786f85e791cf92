"""As few components as meet what is asked of their palette are taken, and what was found on the way is told."""

import logging
from functools import partial

import numpy as np
import pytest
import tifffile

import streamgmm
from streamgmm.errors import QualityError
from streamgmm.jobs.choosing import Targets, check_targets, fewest, path
from streamgmm.model.distortion import Distortion
from streamgmm.options import FitOptions

from ..images import PHOTO, posterized, smooth, write_tiff

quantize, fit_image = partial(streamgmm.quantize, threads=1, overwrite=True), partial(streamgmm.fit_image, threads=1)

PIXELS = tifffile.imread(PHOTO)[::4, ::4]  # 15,000 colors
SMALL = PIXELS[::2, ::2]
AUTO = {"n_components": "auto"}


def of(delta_e, psnr_db=30.0):
    """The distortion of a pixel."""
    error = 3 * 255**2 / 10 ** (psnr_db / 10)
    return Distortion(np.array([int(error), round(error % 1 * 2**20), round(delta_e * 2**16), 1]), np.ones(1))


# --- The path ---


@pytest.mark.parametrize(
    ("most", "expected"),
    [(1, [1]), (2, [1, 2]), (5, [1, 2, 3, 4, 5]), (16, [1, 2, 3, 4, 6, 8, 12, 16]), (17, [1, 2, 3, 4, 6, 8, 12, 16, 17])],
)
def test_the_path_grows_by_a_third_or_a_half_up_to_the_most(most, expected):
    assert path(most) == expected
    assert path(65_535)[-3:] == [32_768, 49_152, 65_535]


@pytest.mark.parametrize("needed", [*range(1, 40), 100, 199, 255, 256])
def test_the_fewest_are_found_to_a_32nd(needed):
    """Of errors that fall with the number of components."""
    asked = []

    def measure(n_components):
        asked.append(n_components)
        return of(0.98 * needed / n_components)

    choice = fewest(measure, Targets(None, 1.0), 256)
    assert needed <= choice.n_components <= needed + needed // 31
    assert choice.n_components == needed or needed > 31
    assert len(set(asked)) == len(asked) <= 25
    assert [point["n_components"] for point in choice.curve] == sorted(asked)
    assert max(asked) <= max(3, needed * 1.5)  # a little more than are needed, and none beyond
    assert choice.missed is None


def test_what_no_number_reaches_is_said_of_the_most():
    choice = fewest(lambda n: of(9 / n), Targets(None, 0.1), 12)
    assert (choice.n_components, choice.missed) == (12, "mean Delta E is 0.75, more than 0.1")
    assert [point["n_components"] for point in choice.curve] == path(12)


def test_a_little_less_than_the_target_is_looked_for_and_not_complained_of():
    """What is measured is a part, and the rest may be a little worse."""
    assert fewest(lambda n: of(0.995 if n < 6 else 0.985), Targets(None, 1.0), 12).n_components == 6
    assert fewest(lambda n: of(0.995), Targets(None, 1.0), 12)[::2] == (12, None)


def test_no_error_reaches_any_target():
    choice = fewest(lambda n: None if n == 5 else of(9.0), Targets(99.0, 0.0), 5)
    assert (choice.n_components, choice.missed) == (5, None)
    assert choice.curve[-1] == {"n_components": 5, "psnr_db": None, "delta_e": None}
    assert choice.curve[0] == {"n_components": 1, "psnr_db": pytest.approx(30), "delta_e": 9.0}


def test_targets_are_those_that_are_given_or_two_of_delta_e():
    assert Targets.of(FitOptions(**AUTO)) == (None, 2.0)
    assert Targets.of(FitOptions(**AUTO, target_psnr=30)) == (30, None)
    assert Targets.of(FitOptions(**AUTO, max_delta_e=1.5)) == (None, 1.5)
    assert Targets.of(FitOptions(**AUTO, target_psnr=30, max_delta_e=1.5)) == (30, 1.5)
    assert Targets(30, 2).nearer() == (pytest.approx(30.05), pytest.approx(1.98))


def test_each_target_is_to_be_reached():
    found = of(2.0, 30.0)
    for reached in (Targets(29.9, None), Targets(None, 2.0), Targets(29.9, 2.1)):
        assert reached.missed(found) is None
    assert Targets(31, 2.1).missed(found) == "PSNR is 30.00 dB, less than 31"
    assert Targets(29.9, 1.9).missed(found) == "mean Delta E is 2.00, more than 1.9"
    assert Targets(99, 0.1).missed(None) is None


def test_what_is_missed_is_a_line_or_an_error(caplog):
    check_targets("in.tif", None, 8, strict=True)
    check_targets("in.tif", "PSNR is 9", 8, strict=False)
    assert [record.getMessage() for record in caplog.records] == ["in.tif: PSNR is 9; raise --max-components above 8"]
    with pytest.raises(QualityError, match=r"^in\.tif: PSNR is 9; raise --max-components above 8$"):
        check_targets("in.tif", "PSNR is 9", 8, strict=True)


# --- Images ---

SOURCES = {
    "photo": PIXELS,
    "gray": PIXELS[:, :, :1],
    "16 bits": PIXELS.astype(np.uint16) * 257,
    "floats": PIXELS / np.float32(9),
    "masked": np.ma.masked_less(PIXELS, 20),
}


@pytest.mark.parametrize("method", ["auto", "stream", "minibatch"])
@pytest.mark.parametrize("name", SOURCES)
def test_the_palette_reaches_the_target_and_a_smaller_one_does_not(name, method, tmp_path, caplog):
    report = quantize(SOURCES[name], tmp_path / "out.tif", **AUTO, max_delta_e=6, method=method)
    n = report.n_components
    assert 2 < n < 20
    assert 4 < report.delta_e <= 6
    fewer = quantize(SOURCES[name], tmp_path / "fewer.tif", n_components=n - 1, method=method)
    assert fewer.delta_e > 5.7  # the margin is a hundredth, and EM gains a little more
    plain = quantize(SOURCES[name], tmp_path / "plain.tif", n_components=n, method=method)
    assert (tmp_path / "out.tif").read_bytes() == (tmp_path / "plain.tif").read_bytes()
    assert (report.model, plain.curve) == (plain.model, None)
    at = {point["n_components"]: point for point in report.curve}
    assert list(at) == sorted(at)
    assert at[n]["delta_e"] == pytest.approx(report.delta_e, rel=0.03)
    assert at[n]["psnr_db"] == pytest.approx(report.psnr_db, abs=0.3)
    assert all(point["delta_e"] > 5.94 for number, point in at.items() if number < n)
    assert "max-components" not in caplog.text


def test_a_ratio_may_be_the_target():
    mixture, report = fit_image(PIXELS, **AUTO, target_psnr=25)
    reached = [point["psnr_db"] for point in report.curve if point["n_components"] == mixture.n_components]
    assert 25 < reached[0] < 26
    assert fit_image(PIXELS, **AUTO, target_psnr=25, max_delta_e=1000)[0].to_json() == mixture.to_json()
    assert fit_image(PIXELS, **AUTO, target_psnr=25, max_delta_e=5)[0].n_components >= mixture.n_components


@pytest.mark.parametrize(
    "options", [{"preset": "segment"}, {"covariance_type": "diag"}, {"seed": 3}, {"rare_weight": 0.5}], ids=str
)
def test_numbers_are_tried_as_is_asked_for(options):
    mixture, report = fit_image(SMALL, **AUTO, max_delta_e=9, max_components=12, **options)
    assert mixture.to_json() == fit_image(SMALL, n_components=mixture.n_components, **options)[0].to_json()
    assert report.curve != fit_image(SMALL, **AUTO, max_delta_e=9, max_components=12)[1].curve


def test_the_palette_is_measured_as_it_will_be_shown(tmp_path):
    """Of bands and ranges that show less, and of centroids."""
    options = {"display_bands": (1,)}, {"display_range": (0, 120)}, {"palette": "centroids", "preset": "segment"}
    for given in options:
        report = quantize(SMALL, tmp_path / "out.tif", **AUTO, max_delta_e=9, overwrite=True, **given)
        at = {point["n_components"]: point for point in report.curve}
        assert at[report.n_components]["delta_e"] == pytest.approx(report.delta_e, rel=0.05)
        assert report.delta_e <= 9


def test_of_many_colors_some_are_tried_and_others_measured(monkeypatch):
    """What differs is the sample; nothing is drawn twice alike."""
    whole = fit_image(PIXELS, **AUTO, max_delta_e=6)
    monkeypatch.setattr("streamgmm.jobs.choosing.TRIED", 4000)
    monkeypatch.setattr("streamgmm.jobs.choosing.MEASURED", 3000)
    mixture, report = fit_image(PIXELS, **AUTO, max_delta_e=6)
    for point in report.curve:
        other = next((each for each in whole[1].curve if each["n_components"] == point["n_components"]), point)
        assert point["delta_e"] == pytest.approx(other["delta_e"], rel=0.15)
    assert abs(mixture.n_components - whole[0].n_components) <= 4
    assert report.curve != whole[1].curve


@pytest.mark.parametrize("method", ["exact", "stream"])
def test_neither_chunks_nor_threads_change_the_choice(method, tmp_path, monkeypatch):
    monkeypatch.setattr("streamgmm.jobs.passes.blocks.BLOCK_PIXELS", 1 << 11)
    source = write_tiff(tmp_path / "in.tif", PIXELS, tile=(32, 32))
    results = [
        streamgmm.fit_image(source, **AUTO, max_delta_e=6, method=method, threads=threads, chunk_size=chunk)
        for threads, chunk in ((1, "64MiB"), (3, "5000px"))
    ]
    assert results[0][0].to_json() == results[1][0].to_json()
    assert results[0][1].curve == results[1][1].curve


def test_the_most_are_taken_where_targets_are_missed(tmp_path, caplog):
    report = quantize(PIXELS, tmp_path / "out.tif", **AUTO, max_components=5, max_delta_e=1)
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert report.n_components == 5
    assert told == [f"array: mean Delta E is {report.delta_e:.2f}, more than 1; raise --max-components above 5"]
    caplog.clear()
    fit_image(PIXELS, **AUTO, max_components=5, target_psnr=50)
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert [line[-42:] for line in told] == [" less than 50; raise --max-components above 5"[-42:]]


def test_strict_refuses_it_and_writes_nothing(tmp_path):
    with pytest.raises(QualityError, match=r"more than 1; raise --max-components above 5$"):
        quantize(PIXELS, tmp_path / "out.tif", **AUTO, max_components=5, max_delta_e=1, strict=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("method", ["auto", "stream"])
def test_few_colors_are_all_taken_where_that_is_needed(method, tmp_path):
    pixels = posterized(40, 50, 7)
    report = quantize(pixels, tmp_path / "out.tif", **AUTO, max_delta_e=0, method=method)
    assert (report.method, report.n_components, report.delta_e) == ("lossless", 7, None)
    assert report.curve[-1] == {"n_components": 7, "psnr_db": None, "delta_e": None}
    some = quantize(pixels, tmp_path / "out.tif", **AUTO, max_delta_e=15, method=method)
    assert 1 < some.n_components < 7
    assert 0 < some.delta_e <= 15


def test_one_color_is_one_component(tmp_path):
    report = quantize(np.full((20, 30, 3), 7, np.uint8), tmp_path / "out.tif", **AUTO)
    assert (report.method, report.n_components) == ("lossless", 1)
    assert report.curve == [{"n_components": 1, "psnr_db": None, "delta_e": None}]


def test_masked_pixels_leave_255_colors(tmp_path):
    """So that labels have 8 bits, as where their number is given."""
    noise = np.random.default_rng(0).integers(0, 256, (48, 48, 3)).astype(np.uint8)
    for source, most in ((np.ma.masked_less(noise, 2), 255), (noise, 256)):
        report = quantize(source, tmp_path / "out.tif", **AUTO, max_delta_e=0.01)
        assert report.n_components == most
        assert tifffile.imread(tmp_path / "out.tif").dtype == np.uint8


def test_images_of_equal_weight_are_a_sample_of_them():
    mixture, report = fit_image([PIXELS, smooth(50, 60)], **AUTO, max_delta_e=6)
    assert 3 < mixture.n_components < 30
    assert report.converged
