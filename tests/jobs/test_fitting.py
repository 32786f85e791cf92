"""A fit has converged on every pixel, by whatever method, and of whatever samples."""

from functools import partial

import numpy as np
import pytest
import tifffile

import streamgmm
from streamgmm.errors import ModelError, NoPixelsError, OptionError, UnsupportedImageError
from streamgmm.jobs.clock import Clock
from streamgmm.jobs.fitting import fit_pixels, lossless
from streamgmm.jobs.resources import Resources
from streamgmm.jobs.session import open_session
from streamgmm.model.colors import ColorTable
from streamgmm.model.labels import classify
from streamgmm.model.space import BY_TYPE, SampleSpace
from streamgmm.options import FitOptions, ReadOptions, ResourceOptions

from .. import naive
from ..images import PHOTO, colors_of, naive_model, posterized, smooth

fit_image, quantize = partial(streamgmm.fit_image, threads=1), partial(streamgmm.quantize, threads=1)

METHODS = ["exact", "stream"]
PARTS = [smooth(90, 110, seed=1), smooth(70, 110, seed=2), smooth(40, 110, seed=3)]


@pytest.mark.parametrize("method", METHODS)
def test_images_of_other_sizes_are_fitted_as_their_pixels(method):
    parts, tol = [smooth(90, 110, seed=1), smooth(50, 30, seed=2), smooth(1, 1, seed=3)], 1e-5
    mixture, report = fit_image(parts, n_components=4, method=method, tol=tol, reg_covar=0, max_iter=300)
    x = np.concatenate([colors_of(part) for part in parts])
    (now, then), _ = naive.expectation_maximization(x, naive_model(mixture.to_dict()), 2, 0)
    assert -1e-6 < now - report.log_likelihood[-1] < tol
    assert 0 <= then - now < 1.1 * tol


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


def test_a_fit_that_starts_from_a_model_of_floats_has_its_range():
    pixels = smooth(90, 110).astype(np.float32)
    first, _ = fit_image(pixels, n_components=3)
    second, _ = fit_image(pixels[:50] / 2, n_components=3, init=first)
    assert second.space.range == first.space.range
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


@pytest.mark.parametrize("method", ["exact", "stream"])
def test_log_likelihood_never_falls(method, photo, tmp_path):
    report = quantize(PHOTO, tmp_path / "out.tif", method=method, init="random", tol=1e-5, max_iter=30)
    history = report.log_likelihood
    assert len(history) == report.iterations > 1
    assert np.diff(history).min() >= 0
    now = naive.log_likelihood(colors_of(photo), naive_model(report.model)) / photo[:, :, 0].size
    assert now > history[-1] - 1e-6


def test_the_seed_decides_what_is_drawn(tmp_path):
    models = [
        quantize(PHOTO, tmp_path / "out.tif", init="random", max_iter=2, seed=seed, overwrite=True).model for seed in (0, 0, 1)
    ]
    assert models[0] == models[1]
    assert models[0] != models[2]


def test_a_mixture_may_be_given(photo, tmp_path):
    first, _ = fit_image(PHOTO, n_components=5)
    report = quantize(PHOTO, tmp_path / "out.tif", n_components=5, init=first)
    assert report.iterations <= 2  # it has arrived
    np.testing.assert_allclose(report.model["means"], first.means, atol=0.01)


def test_minibatch_is_near_the_exact_fit(tmp_path):
    exact = quantize(PHOTO, tmp_path / "1.tif", n_components=8)
    minibatch = quantize(PHOTO, tmp_path / "2.tif", n_components=8, method="minibatch")
    assert minibatch.log_likelihood[-1] == pytest.approx(exact.log_likelihood[-1], abs=0.05)
    assert minibatch.psnr_db == pytest.approx(exact.psnr_db, abs=0.5)


def test_exact_and_stream_do_not_speak_of_batches(tmp_path):
    report = quantize(PHOTO, tmp_path / "out.tif", n_components=2, max_iter=2)
    assert (report.batch_pixels, report.fraction_read) == (None, None)


def test_minibatch_reads_less_than_all_of_a_large_image(tmp_path):
    tile = smooth(256, 256)
    shades = np.random.default_rng(0).integers(0, 20, 256).astype(np.uint8)
    options = {"shape": (4096, 4096, 3), "dtype": np.uint8, "tile": (256, 256), "photometric": "rgb", "compression": "deflate"}
    tifffile.imwrite(
        source := tmp_path / "in.tif", (tile // 2 + shade for shade in shades), compressionargs={"level": 1}, **options
    )
    mixture, report = fit_image(source, n_components=4, method="minibatch")
    assert 0 < report.fraction_read < 1
    assert 0 < report.batch_pixels < 4096 * 4096
    assert mixture.n_components == 4


@pytest.mark.parametrize("method", ["stream", "minibatch"])
def test_exact_is_for_colors_that_can_be_counted(method, tmp_path):
    pixels = smooth(60, 60, 4)
    with pytest.raises(
        UnsupportedImageError, match="method exact needs uint8 samples of one to three bands, not uint8 of 4; use stream"
    ):
        quantize(pixels, tmp_path / "out.tif", method="exact")
    assert quantize(pixels, tmp_path / "out.tif", method=method).method == method


# --- Of few colors ---


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_lossless_mixture_has_a_component_for_each_color_a_tenth_of_a_step_wide(dtype, covariance_type):
    colors, counts = np.array([[0, 1, 0], [1, 0, 0], [1, 1, 1]], dtype), np.array([1.0, 5.0, 2.0])
    table = ColorTable(colors, counts, SampleSpace((0.0, 1.0)) if dtype == np.float32 else BY_TYPE)
    mixture = lossless(table, covariance_type)
    np.testing.assert_array_equal(mixture.weights, [5 / 8, 2 / 8, 1 / 8])
    step = {np.uint8: 1 / 255, np.uint16: 1 / 65_535, np.float32: 2.0**-20}[dtype]
    np.testing.assert_allclose(mixture.means, colors[[1, 2, 0]] / (step**-1 if dtype != np.float32 else 1), atol=1e-15)
    np.testing.assert_allclose(mixture.full_covariances, [(step / 10) ** 2 * np.eye(3)] * 3)
    assert (mixture.covariance_type, mixture.space) == (covariance_type, table.space)
    np.testing.assert_array_equal(classify(colors, mixture), [2, 0, 1])


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


@pytest.mark.parametrize("method", ["exact", "stream", "minibatch"])
def test_an_image_that_is_all_masked_cannot_be_fitted(method):
    for pixels in (np.ma.masked_all((30, 40, 3), np.uint8), np.full((30, 40, 3), np.nan)):
        if method == "exact" and pixels.dtype != np.uint8:
            continue
        with pytest.raises(NoPixelsError, match="array: every pixel is masked"):
            fit_image(pixels, method=method)


@pytest.mark.parametrize("shape", [(3, 2), (3,), (3, 3, 1)])
def test_means_of_another_shape_are_refused(shape):
    with pytest.raises(OptionError, match=r"init has means of shape \(.*\); the image has 3 bands"):
        fit_image(PARTS[0], n_components=3, init=np.zeros(shape))
