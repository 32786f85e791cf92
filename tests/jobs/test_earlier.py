"""Labels are those of an earlier model, as far as components are like its own."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile

import streamgmm
from streamgmm.errors import ModelError, OptionError, OutputError
from streamgmm.jobs.earlier import in_order, with_earlier
from streamgmm.model.matching import ordered_like
from streamgmm.model.mixture import Mixture
from streamgmm.model.palette import sorted_by
from streamgmm.options import FitOptions

from ..cli.commands import leave
from ..conftest import random_mixture
from ..images import PHOTO, posterized, smooth, write_tiff

quantize, fit_image = partial(streamgmm.quantize, threads=1, overwrite=True), partial(streamgmm.fit_image, threads=1)

PIXELS = tifffile.imread(PHOTO)[::3, ::3]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tiff("in.tif", PIXELS)
    mixture, _ = fit_image(PIXELS, n_components=8)
    Path("model.json").write_text(mixture.take([5, 2, 7, 0, 1, 6, 3, 4]).to_json(), encoding="utf-8")
    return tmp_path


def test_a_model_is_read_once_and_a_mixture_taken_as_it_is(folder):
    mixture = random_mixture(3, 3)
    assert with_earlier(FitOptions()) == (FitOptions(), [])
    assert with_earlier(FitOptions(like=mixture))[0].like is mixture
    given, paths = with_earlier(FitOptions(like="model.json", seed=3))
    assert (type(given.like), given.seed, paths) == (Mixture, 3, [Path("model.json")])


def test_the_order_is_by_the_earlier_model_or_as_components_are_sorted():
    mixture, earlier = random_mixture(6, 3), random_mixture(6, 3, seed=1)
    assert in_order(mixture, FitOptions(like=earlier)).to_json() == ordered_like(mixture, earlier).to_json()
    assert in_order(mixture, FitOptions(sort="hue")).to_json() == sorted_by(mixture, "hue").to_json()
    assert in_order(mixture, FitOptions()) is mixture


@pytest.mark.parametrize("method", ["exact", "stream"])
def test_a_fit_to_the_same_image_has_the_same_labels(method, folder):
    report = quantize("in.tif", "out.tif", n_components=8, like="model.json", method=method)
    earlier = streamgmm.apply("model.json", "in.tif", "earlier.tif", threads=1)
    assert (tifffile.imread("out.tif") == tifffile.imread("earlier.tif")).mean() > 0.98
    np.testing.assert_allclose(report.model["means"], earlier.model["means"], atol=0.02)
    mixture, _ = fit_image("in.tif", n_components=8, like=Path("model.json"), method=method)
    assert mixture.to_dict() == report.model


@pytest.mark.parametrize("n_components", [8, 16])
def test_labels_of_an_image_that_is_nearly_equal_stay(n_components, tmp_path):
    """By weight they do not; what is counted are pixels that have the number they had."""
    noise = np.random.default_rng(0).integers(-4, 5, PIXELS.shape)
    other = np.clip(PIXELS + noise, 0, 255).astype(np.uint8)[5:, 9:]
    earlier, _ = fit_image(PIXELS, n_components=n_components)
    kept = []
    for like in (None, earlier):
        quantize(other, tmp_path / "like.tif", n_components=n_components, like=like)
        streamgmm.apply(earlier, other, tmp_path / "earlier.tif", threads=1, overwrite=True)
        kept.append((tifffile.imread(tmp_path / "like.tif") == tifffile.imread(tmp_path / "earlier.tif")).mean())
    assert kept[1] > 0.7
    assert kept[1] > kept[0]


def test_colors_that_are_not_fitted_have_that_order_too(folder):
    pixels = posterized(40, 50, 5)
    mixture, _ = fit_image(pixels, n_components=8)
    earlier = mixture.take([3, 1, 4])
    report = quantize(pixels, "out.tif", n_components=8, like=earlier)
    assert report.method == "lossless"
    np.testing.assert_array_equal(report.model["means"], mixture.take([3, 1, 4, 0, 2]).means)


def test_the_command_takes_a_model(folder):
    assert leave("quantize", "in.tif", "out.tif", "-k", 8, "--like", "model.json", "--threads", 1) == 0
    quantize("in.tif", "expected.tif", n_components=8, like="model.json")
    assert Path("out.tif").read_bytes() == Path("expected.tif").read_bytes()
    assert leave("fit", "in.tif", "-o", "new.json", "-k", 8, "--like", "model.json", "--threads", 1) == 0
    mixture, _ = fit_image("in.tif", n_components=8, like="model.json")
    assert Path("new.json").read_text(encoding="utf-8") == mixture.to_json()
    assert leave("batch", "in.tif", "--out-dir", "out", "-k", 8, "--like", "model.json", "--threads", 1) == 0
    np.testing.assert_array_equal(tifffile.imread("out/in.tif"), tifffile.imread("expected.tif"))


def test_what_the_model_holds_decides_whether_an_output_is_up_to_date(folder, capfd):
    command = ["batch", "in.tif", "--out-dir", "out", "-k", 3, "--like", "model.json", "--skip-existing", "-v"]
    for status in ("done", "skipped"):
        assert leave(*command) == 0
        assert f"out/in.tif: {status}" in capfd.readouterr().err
    Path("model.json").write_text(random_mixture(3, 3).to_json(), encoding="utf-8")
    assert leave(*command) == 0
    assert "out/in.tif: done" in capfd.readouterr().err


@pytest.mark.parametrize("options", [[], ["--overwrite"]])
@pytest.mark.parametrize(
    "command",
    [
        "quantize in.tif model.json --like model.json",
        "quantize in.tif out.tif --like model.json --confidence model.json",
        "quantize in.tif out.tif --like model.json --palette-out model.json",
        "quantize in.tif out.tif --like model.json --report model.json",
        "fit in.tif -o model.json --like model.json",
        "fit in.tif -o new.json --like model.json --report model.json",
        "batch in.tif --out-dir . --suffix .json --like in.json",
        "batch in.tif --out-dir out --like model.json --report model.json",
    ],
)
def test_the_model_is_never_written_to(command, options, folder, capfd):
    Path("in.json").write_bytes(Path("model.json").read_bytes())
    before = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    assert leave(*command.split(), *options, "-k", 2) in (2, 4)
    assert capfd.readouterr().err.count("\n") == 1
    assert {path: path.read_bytes() for path in Path().iterdir() if path.is_file()} == before


def test_from_python_neither(folder):
    for job in (partial(quantize, "in.tif", "out.tif", palette_out="model.json"), partial(quantize, "in.tif", "model.json")):
        with pytest.raises(OutputError, match=r"model\.json: is also the input"):
            job(like="model.json")


SOURCES = {
    "one band": (smooth(20, 30, 1), r"1 bands; the model of --like has 3"),
    "four bands": (smooth(20, 30, 4), r"4 bands; the model of --like has 3"),
    "floats": (smooth(20, 30) / 255, r"samples are floats"),
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_model_of_other_images_is_refused(name, folder):
    source, complaint = SOURCES[name]
    for job in (partial(quantize, source, "out.tif"), partial(fit_image, source)):
        with pytest.raises(ModelError, match=complaint):
            job(like="model.json", n_components=2)
    assert not Path("out.tif").exists()


def test_a_file_that_is_no_model_is_refused(folder):
    for name, complaint in (("absent.json", "no such file"), ("in.tif", "not a model")):
        with pytest.raises(ModelError, match=complaint):
            fit_image("in.tif", like=name)
        assert leave("quantize", "in.tif", "out.tif", "--like", name) == 3


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"sort": "hue"}, "like and sort exclude each other"),
        ({"keep_values": True}, "keep-values and like exclude each other"),
        ({"palette_in": "a.gpl"}, "palette-in and like exclude each other"),
    ],
)
def test_what_gives_another_order_is_refused(options, complaint, folder):
    with pytest.raises(OptionError, match=complaint):
        quantize("in.tif", "out.tif", like="model.json", **options)


def test_labels_of_a_model_are_its_own(folder, capfd):
    assert leave("batch", "in.tif", "--out-dir", "out", "--model", "model.json", "--like", "model.json") == 2
    assert "like and model exclude each other" in capfd.readouterr().err


def test_ranges_that_differ_are_no_hindrance(folder):
    wide = PIXELS.astype(np.uint16) * 9 + 300
    earlier, _ = fit_image(wide, n_components=5)
    order = [3, 0, 4, 1, 2]
    mixture, _ = fit_image(wide, n_components=5, range=(0, 4000), like=earlier.take(order))
    stored = [each.space.inverse(each.means, np.uint16) for each in (mixture, earlier.take(order))]
    np.testing.assert_allclose(*stored, rtol=0.1)
