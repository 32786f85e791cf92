"""One model for one image or several, given back or written to a file."""

import json
import os
import re
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile

import streamgmm
from streamgmm.errors import ImageReadError, OptionError, QualityError
from streamgmm.jobs.fit import FitToFile, fit_readable, fit_to_file
from streamgmm.jobs.model_file import load_model

from ..images import PHOTO, palette_of, segments, smooth, write_tiff

fit_image = partial(streamgmm.fit_image, threads=1)

METHODS = ["exact", "stream"]
PARTS = [smooth(90, 110, seed=1), smooth(70, 110, seed=2), smooth(40, 110, seed=3)]


@pytest.mark.parametrize("method", METHODS)
def test_several_images_are_fitted_as_one(method):
    several, report = fit_image(PARTS, n_components=6, method=method)
    one, _ = fit_image(np.concatenate(PARTS), n_components=6, method=method)
    np.testing.assert_allclose(several.means, one.means, atol=1e-6)
    np.testing.assert_allclose(several.weights, one.weights, atol=1e-6)
    np.testing.assert_allclose(several.covariances, one.covariances, atol=1e-7)
    assert report.pixels["count" if method == "exact" else "sample"] == 200 * 110


def test_one_palette_serves_all_images(tmp_path):
    mixture, report = fit_image(PARTS, n_components=4)
    assert report.input == ["array"]
    for number, part in enumerate(PARTS):
        streamgmm.apply(mixture, part, path := tmp_path / f"{number}.tif")
        with tifffile.TiffFile(path) as tiff:
            palette = tiff.pages.first.colormap[:, :4].T // 257
        np.testing.assert_array_equal(palette, palette_of(report.model))


def test_a_list_of_one_is_one_image():
    several, of_several = fit_image([PHOTO], n_components=3)
    one, of_one = fit_image(PHOTO, n_components=3)
    assert several.to_json() == one.to_json()
    assert (of_several.input, of_one.input) == ([str(PHOTO)], str(PHOTO))


def test_paths_and_arrays_may_be_mixed(tmp_path):
    path = write_tiff(tmp_path / "in.tif", PARTS[0])
    mixed, report = fit_image([path, PARTS[1], str(path)], n_components=3)
    arrays, _ = fit_image([PARTS[0], PARTS[1], PARTS[0]], n_components=3)
    assert mixed.to_json() == arrays.to_json()
    assert report.input == [str(path), "array"]


def test_a_large_image_counts_more_than_a_small_one():
    dark, light = np.zeros((90, 100, 3), np.uint8), np.full((10, 100, 3), 255, np.uint8)
    mixture, _ = fit_image([light, dark], n_components=2)
    np.testing.assert_allclose(mixture.weights, [0.9, 0.1])
    np.testing.assert_array_equal(mixture.means, [[0, 0, 0], [1, 1, 1]])


def test_no_image_is_refused():
    with pytest.raises(OptionError, match="no image to fit; name at least one"):
        fit_image([])


def test_one_bad_image_of_several_is_named(tmp_path):
    with pytest.raises(ImageReadError, match=r"absent\.tif: no such file"):
        fit_image([PHOTO, tmp_path / "absent.tif"])


def test_a_fit_that_has_not_converged_says_so(caplog):
    _, report = fit_image(PHOTO, max_iter=1, init="random", tol=1e-9)
    assert not report.converged
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "not converged after 1 iterations" in caplog.text
    assert "raise --max-iter or --tol" in caplog.text


def test_a_fit_that_has_converged_says_nothing(caplog):
    _, report = fit_image(PHOTO, n_components=4, max_iter=200, tol=1e-3)
    assert report.converged
    assert not caplog.records


# --- To a file ---


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with three images."""
    monkeypatch.chdir(tmp_path)
    for name, part in zip("abc", PARTS, strict=True):
        write_tiff(tmp_path / f"{name}.tif", part, compression="deflate", tile=(64, 64))
    return tmp_path


def given(*names, **options):
    return FitToFile([Path(name) for name in names], Path("model.json"), n_components=3, threads=1, **options)


def test_a_model_file_is_the_fit_with_notes(folder):
    report = fit_to_file(given("a.tif", "b.tif"), fingerprint="of it")
    mixture, expected = fit_image(["a.tif", "b.tif"], n_components=3)
    assert load_model("model.json").to_json() == mixture.to_json()
    assert json.loads(Path("model.json").read_text(encoding="utf-8"))["fingerprint"] == "of it"
    assert (report.output, report.input, report.model) == ("model.json", ["a.tif", "b.tif"], expected.model)


@pytest.mark.parametrize("strict", [False, True])
def test_a_model_that_has_not_converged_is_written_unless_that_is_an_error(strict, folder, caplog):
    not_converged = given("a.tif", "b.tif", max_iter=1, tol=0.0, strict=strict)
    message = r"a\.tif: not converged after 1 iterations; raise --max-iter or --tol"
    if strict:
        with pytest.raises(QualityError, match=message):
            fit_to_file(not_converged)
    else:
        assert not fit_to_file(not_converged).converged
        assert re.fullmatch(message, *caplog.messages)
    assert Path("model.json").exists() != strict


@pytest.mark.parametrize("method", ["auto", "stream"])
def test_images_of_equal_weight_are_fitted_as_if_each_were_as_large_as_any(method, folder):
    """A large dark image and a small light one, of two colors each."""
    rng = np.random.default_rng(0)
    write_tiff(folder / "dark.tif", rng.choice(np.uint8([0, 20]), (120, 100, 1)).repeat(3, axis=2))
    write_tiff(folder / "light.tif", rng.choice(np.uint8([235, 255]), (30, 100, 1)).repeat(3, axis=2))
    for by_image, share in ((False, 0.8), (True, 0.5)):
        fit_to_file(replace(given("dark.tif", "light.tif", overwrite=True), n_components=2, method=method, by_image=by_image))
        mixture = load_model("model.json")
        assert mixture.weights[mixture.means[:, 0] < 0.5].sum() == pytest.approx(share, abs=1e-3)


def test_a_file_that_changes_meanwhile_is_no_model(folder):
    def touch(phase, done, total):
        if phase == "seed":
            os.utime("b.tif", ns=(10**18, 10**18))

    with pytest.raises(ImageReadError, match=r"b\.tif: changed"):
        fit_to_file(given("a.tif", "b.tif", progress=touch))
    assert not Path("model.json").exists()


# --- Of those that can be read ---


def spoil(name):
    """Damage the last tile of an image."""
    data = bytearray(Path(name).read_bytes())
    offset, size = segments(name)[-1]
    data[offset : offset + size] = bytes(size)
    Path(name).write_bytes(data)


def others(folder):
    """Files that no model can be fitted to together with the three."""
    write_tiff(folder / "gray.tif", smooth(40, 50, 1))
    write_tiff(folder / "floats.tif", smooth(40, 50).astype(np.float32))
    (folder / "text.tif").write_text("not an image", encoding="utf-8")
    shutil.copy("b.tif", "spoiled.tif")
    spoil("spoiled.tif")
    return ["gray.tif", "floats.tif", "text.tif", "absent.tif", "spoiled.tif"]


def test_what_cannot_be_read_and_what_is_unlike_most_is_left_out(folder):
    bad = others(folder)
    fit_readable(given("gray.tif", "a.tif", *bad[1:], "b.tif", "c.tif"))
    expected, _ = fit_image(["a.tif", "b.tif", "c.tif"], n_components=3)
    assert load_model("model.json").to_json() == expected.to_json()


def test_where_all_can_be_read_nothing_is_read_twice(folder, monkeypatch):
    monkeypatch.setattr("streamgmm.jobs.fit._is_whole", None)
    fit_readable(given("a.tif", "b.tif"))
    assert Path("model.json").exists()


@pytest.mark.parametrize(
    ("names", "kind", "message"),
    [
        (["text.tif", "absent.tif"], ImageReadError, r"absent\.tif: no such file"),
        (["spoiled.tif"], ImageReadError, r"spoiled\.tif: "),
        ([], OptionError, "no image to fit; name at least one"),
    ],
    ids=["several", "one", "none"],
)
def test_where_none_can_be_read_the_error_is_one_of_theirs(names, kind, message, folder):
    others(folder)
    with pytest.raises(kind, match=message):
        fit_readable(given(*names))
    assert not Path("model.json").exists()
