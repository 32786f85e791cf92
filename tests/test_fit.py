"""One model for one image or several, and a progress callback that can stop it."""

from collections import defaultdict
from functools import partial

import numpy as np
import pytest
import tifffile

import streamgmm
from streamgmm.errors import Cancelled, ImageReadError, ModelError, OptionError, UnsupportedImageError

from . import naive
from .images import PHOTO, colors_of, naive_model, palette_of, posterized, smooth, write_tiff

fit_image, quantize = partial(streamgmm.fit_image, threads=1), partial(streamgmm.quantize, threads=1)

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


@pytest.mark.parametrize("method", METHODS)
def test_images_of_other_sizes_are_fitted_as_their_pixels(method):
    parts, tol = [smooth(90, 110, seed=1), smooth(50, 30, seed=2), smooth(1, 1, seed=3)], 1e-5
    mixture, report = fit_image(parts, n_components=4, method=method, tol=tol, reg_covar=0, max_iter=300)
    x = np.concatenate([colors_of(part) for part in parts])
    (now, then), _ = naive.expectation_maximization(x, naive_model(mixture.to_dict()), 2, 0)
    assert -1e-6 < now - report.log_likelihood[-1] < tol
    assert 0 <= then - now < 1.1 * tol


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


@pytest.mark.parametrize("method", ["stream", "minibatch"])
def test_8_and_16_bit_images_are_on_one_scale(method):
    both, _ = fit_image([PARTS[0], PARTS[1].astype(np.uint16) * 257], n_components=5, method=method)
    alike, _ = fit_image([PARTS[0], PARTS[1]], n_components=5, method=method)
    np.testing.assert_allclose(both.means, alike.means, atol=2e-3)
    np.testing.assert_allclose(both.weights, alike.weights, atol=2e-3)


def test_8_and_16_bit_images_of_few_colors_are_lossless_together():
    first, second = posterized(20, 20, 3, seed=1), posterized(20, 20, 3, seed=2)
    both, report = fit_image([first, second.astype(np.uint16) * 257], n_components=6)
    alike, _ = fit_image([first, second], n_components=6)
    assert report.method == "lossless"
    np.testing.assert_allclose(both.means, alike.means)


def test_images_of_other_bands_are_refused(tmp_path):
    color, gray = (write_tiff(tmp_path / f"{bands}.tif", smooth(30, 30, bands)) for bands in (3, 1))
    with pytest.raises(UnsupportedImageError, match=rf"{gray}: 1 bands, .*{color} has 3; fit images of equal bands"):
        fit_image([color, gray])


def test_no_image_is_refused():
    with pytest.raises(OptionError, match="no image to fit; name at least one"):
        fit_image([])


def test_one_bad_image_of_several_is_named(tmp_path):
    with pytest.raises(ImageReadError, match=r"absent\.tif: no such file"):
        fit_image([PHOTO, tmp_path / "absent.tif"])


@pytest.mark.parametrize("method", ["exact", "stream", "minibatch"])
def test_progress_is_told_of_each_phase(method, tmp_path):
    seen = defaultdict(list)
    report = quantize(PHOTO, tmp_path / "out.tif", method=method, progress=lambda phase, *done: seen[phase].append(done))
    assert list(seen) == ["compile", "count" if method == "exact" else "sample", "seed", "fit", "label", "write"]
    assert seen.keys() == report.seconds.keys()
    for steps in seen.values():
        assert steps[0][0] == 0
        assert all(0 <= done <= total for done, total in steps)
        assert [done for done, _ in steps] == sorted(done for done, _ in steps)
        assert steps[-1][0] == steps[-1][1]


@pytest.mark.parametrize("phase", ["compile", "count", "seed", "fit", "label", "write"])
def test_progress_can_cancel_in_each_phase(phase, tmp_path):
    with pytest.raises(Cancelled, match=f"cancelled while in phase {phase}"):
        quantize(PHOTO, tmp_path / "out.tif", progress=lambda current, done, total: current != phase)
    assert not list(tmp_path.iterdir())


def test_progress_can_cancel_in_the_middle_of_a_phase(tmp_path, monkeypatch):
    monkeypatch.setattr("streamgmm.jobs.passes.blocks.BLOCK_PIXELS", 1 << 14)
    told = []

    def progress(phase, done, total):
        told.append(done)
        return not (phase == "label" and done >= 100_000)

    with pytest.raises(Cancelled):
        quantize(PHOTO, tmp_path / "out.tif", tile_size=64, progress=progress)
    assert 100_000 <= told[-1] < 512 * 512
    assert not list(tmp_path.iterdir())


def test_what_is_cancelled_keeps_the_file_that_was_there(tmp_path):
    path = tmp_path / "out.tif"
    path.write_bytes(b"old")
    with pytest.raises(Cancelled):
        quantize(PHOTO, path, overwrite=True, progress=lambda phase, done, total: phase != "write")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_only_false_cancels(tmp_path):
    quantize(PHOTO, tmp_path / "out.tif", n_components=2, progress=lambda *_: 0)
    assert (tmp_path / "out.tif").exists()


def test_a_callback_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError):
        quantize(PHOTO, tmp_path / "out.tif", progress=lambda phase, done, total: 1 // (phase != "label"))
    assert not list(tmp_path.iterdir())


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


def test_a_fit_of_lossless_colors_is_a_model_of_them():
    pixels = posterized(40, 40, 5)
    mixture, report = fit_image(pixels, n_components=16)
    assert report.method == "lossless"
    assert mixture.n_components == 5
    colors = np.unique(pixels.reshape(-1, 3), axis=0)
    np.testing.assert_array_equal(np.unique(np.rint(mixture.means * 255), axis=0), colors)


@pytest.mark.parametrize("method", METHODS)
def test_a_fit_has_converged_on_every_pixel_that_is_not_masked(method):
    pixels, tol = smooth(400, 500), 1e-5
    y, x = np.mgrid[:400, :500]
    valid = (x // 37 + y // 41) % 3 > 0
    masked = np.ma.array(pixels, mask=~valid[:, :, None].repeat(3, axis=2))
    mixture, report = fit_image(masked, method=method, tol=tol, n_components=4, reg_covar=0, max_iter=300)
    (now, then), _ = naive.expectation_maximization(colors_of(pixels[valid]), naive_model(mixture.to_dict()), 2, 0)
    assert -1e-6 < now - report.log_likelihood[-1] < tol
    assert 0 <= then - now < 1.1 * tol


def test_floats_of_one_scale_have_one_range():
    parts = [smooth(90, 110, seed=1) / 255.0, smooth(50, 30, seed=2) / 51.0 - 1]
    mixture, _ = fit_image([part.astype(np.float32) for part in parts], n_components=4, tol=1e-6, max_iter=300)
    x = np.concatenate([part.astype(np.float32).reshape(-1, 3) for part in parts])
    assert mixture.space.range == (x.min(), x.max())
    scaled = (x.astype(float) - x.min()) / (x.max() - float(x.min()))
    (now, then), _ = naive.expectation_maximization(scaled, naive_model(mixture.to_dict()), 2, 1e-6)
    assert abs(then - now) < 1e-5


@pytest.mark.parametrize("other", [np.float32, np.int32])
def test_floats_and_integers_are_not_fitted_together(other):
    with pytest.raises(UnsupportedImageError, match=r"samples are float.*, those of array are uint8; fit images of one kind"):
        fit_image([PARTS[0], PARTS[1].astype(other)])


def test_a_fit_that_starts_from_a_model_of_floats_has_its_range():
    pixels = smooth(90, 110).astype(np.float32)
    first, _ = fit_image(pixels, n_components=3)
    second, _ = fit_image(pixels[:50] / 2, n_components=3, init=first)
    assert second.range == first.range
    with pytest.raises(ModelError, match="the model is for floats or wider integers"):
        fit_image(PARTS[0], n_components=3, init=first)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("method", METHODS)
def test_a_fit_has_converged_on_every_pixel(method, covariance_type):
    pixels, tol = smooth(400, 500), 1e-5  # three times as many pixels as are seeded from
    options = {"n_components": 4, "covariance_type": covariance_type, "reg_covar": 0, "max_iter": 300}
    mixture, report = fit_image(pixels, method=method, tol=tol, **options)
    (now, then), _ = naive.expectation_maximization(colors_of(pixels), naive_model(mixture.to_dict()), 2, 0)
    assert report.converged
    assert -1e-6 < now - report.log_likelihood[-1] < tol
    assert 0 <= then - now < 1.1 * tol
