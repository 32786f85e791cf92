"""A fit has converged on every pixel, by whatever method, and of whatever samples."""

import json
from functools import partial

import numpy as np
import pytest
import rasterio
import tifffile
from sklearn.cluster import KMeans

import streamgmm
from streamgmm.errors import ModelError, NoPixelsError, OptionError
from streamgmm.jobs.sampling import TAIL
from streamgmm.model.colors import ColorTable
from streamgmm.model.labels import classify
from streamgmm.model.mixture import COVARIANCE_TYPES
from streamgmm.model.space import BY_TYPE, SampleSpace

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
@pytest.mark.parametrize("wide", [0, 1])
@pytest.mark.parametrize("given", ["auto", "type"])
def test_8_and_16_bit_images_are_on_one_scale(given, wide, method):
    """What is 0 and 1 there may be other than of 8 bits, which have no range but that of their type."""
    parts = [part.astype(np.uint16) * 257 if number == wide else part for number, part in enumerate(PARTS[:2])]
    both, _ = fit_image(parts, n_components=5, method=method, range=given, reg_covar=0)
    alike, _ = fit_image(PARTS[:2], n_components=5, method=method, reg_covar=0)
    np.testing.assert_allclose(in_bytes(both), in_bytes(alike), atol=0.5)
    np.testing.assert_allclose(both.weights, alike.weights, atol=2e-3)
    if given == "type":
        assert both.space == BY_TYPE
    else:
        assert both.space.units == ((1, 0) if wide == 0 else (257, 0))
        assert 0 <= both.space.range[0][0] < both.space.range[0][1] <= (65_535 if wide == 0 else 255)


def in_bytes(mixture):
    """Means, as 8-bit samples."""
    return mixture.space.inverse(mixture.means, np.uint8)


def test_8_and_16_bit_images_of_few_colors_are_lossless_together():
    first, second = posterized(20, 20, 3, seed=1), posterized(20, 20, 3, seed=2)
    both, report = fit_image([first, second.astype(np.uint16) * 257], n_components=6)
    alike, _ = fit_image([first, second], n_components=6)
    assert report.method == "lossless"
    np.testing.assert_allclose(in_bytes(both), in_bytes(alike), atol=1e-9)


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
    mixture, report = fit_image([part.astype(np.float32) for part in parts], n_components=4, tol=1e-6, max_iter=300)
    x = np.concatenate([part.astype(np.float32).reshape(-1, 3) for part in parts])
    ends = np.quantile(x, [TAIL, 1 - TAIL], axis=0, method="inverted_cdf").astype(float)
    assert mixture.space == SampleSpace(((ends.min(), ends.max()),) * 3)
    scaled = (x.astype(float) - ends.min()) / (ends.max() - ends.min())
    (now, then), _ = naive.expectation_maximization(scaled, naive_model(mixture.to_dict()), 2, report.ridge[0])
    assert now == pytest.approx(report.log_likelihood[-1], abs=1e-5)
    assert then - now < 1e-5


def test_a_fit_that_starts_from_a_model_has_its_range():
    for pixels, other in ((smooth(90, 110).astype(np.float32), "floats or wider integers"), (WIDE, None)):
        first, _ = fit_image(pixels, n_components=3)
        second, _ = fit_image((pixels[:50] / 2).astype(pixels.dtype), n_components=3, init=first)
        assert second.space == first.space != BY_TYPE
        if other:
            with pytest.raises(ModelError, match=f"the model is for {other}"):
                fit_image(PARTS[0], n_components=3, init=first)


@pytest.mark.parametrize("method", METHODS)
def test_8_bits_may_start_from_a_model_of_16(method):
    """Whose range is not that of 8 bits: means are told in it."""
    first, _ = fit_image(WIDE // 2 + 20_000, n_components=4)
    mixture, report = fit_image((WIDE // 514 + 78).astype(np.uint8), n_components=4, init=first, method=method)
    assert mixture.space == first.space
    assert report.method == method
    np.testing.assert_allclose(in_bytes(mixture), in_bytes(first), atol=2)
    few, report = fit_image(posterized(20, 20, 3), init=first, method=method)
    assert (report.method, few.space) == ("lossless", first.space)
    np.testing.assert_allclose(
        np.sort(in_bytes(few), axis=0), np.sort(np.unique(posterized(20, 20, 3).reshape(-1, 3), axis=0), axis=0)
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_file_without_any_tile_has_no_pixels(method, tmp_path):
    options = {"tiled": True, "sparse_ok": True, "photometric": "rgb", "transform": rasterio.Affine.scale(2)}
    with rasterio.open(path := tmp_path / "in.tif", "w", height=512, width=512, count=3, dtype="uint8", **options):
        pass
    with pytest.raises(NoPixelsError, match=r"in\.tif: "):
        fit_image(path, method=method)


# --- In the units of the samples


def four_classes():
    """Four colors of 16 bits with noise, which any start finds."""
    rng = np.random.default_rng(0)
    colors = np.array([[9, 12, 30], [50, 20, 15], [20, 55, 40], [60, 50, 8]]) * 1000
    return (
        (colors[rng.choice(4, (90, 110), p=[0.4, 0.3, 0.2, 0.1])] + rng.normal(0, 900, (90, 110, 3))).round().astype(np.uint16)
    )


WIDE = four_classes()


@pytest.mark.parametrize("init", ["kmeans", "k-means++"])
@pytest.mark.parametrize(
    ("scale", "offset", "dtype"),
    [
        (1e-4, 273.15, np.float64),
        (1e-3, 5_400_000, np.float64),
        (1e-5, 0, np.float32),
        (1e6, -1e9, np.float32),
        (1, -32_768, np.int16),
        (1000, -(2**31), np.int32),
    ],
    ids=["kelvin", "UTM", "reflectance", "large", "int16", "int32"],
)
def test_a_fit_does_not_depend_on_units(scale, offset, dtype, init):
    """The model is that of 16 bits, up to the digits of float32, and its range is what was stored."""
    expected, _ = fit_image(WIDE, n_components=4, init=init, reg_covar=1e-6)
    stored = (WIDE.astype(np.float64) * scale + offset).astype(dtype)
    mixture, _ = fit_image(stored, n_components=4, init=init, reg_covar=1e-6)
    np.testing.assert_allclose(
        mixture.space.range, np.array(expected.space.range) * scale + offset, rtol=1e-6, atol=1e-6 * scale
    )
    np.testing.assert_allclose(mixture.means, expected.means, atol=5e-4)
    np.testing.assert_allclose(mixture.weights, expected.weights, atol=5e-4)
    low, high = np.transpose(json.loads(mixture.to_json())["range"])
    assert (stored.min() <= low).all()
    assert (high <= stored.max()).all()


def test_bands_of_other_units_count_alike():
    """Heights, slopes and temperatures: each has a range of its own, where there are not three."""
    pixels = np.stack([PARTS[0][..., band % 3].astype(np.float64) for band in range(4)], axis=-1)
    alike, _ = fit_image(pixels, n_components=4)
    mixed, _ = fit_image(pixels * [1, 1e4, 1e-4, 50] + [0, 5e6, 273.15, -9], n_components=4)
    np.testing.assert_allclose(mixed.means, alike.means, atol=1e-4)
    np.testing.assert_allclose(mixed.covariances, alike.covariances, atol=1e-5)


def test_a_range_may_be_given(caplog):
    mixture, _ = fit_image(WIDE, n_components=4, range=(0, 40_000))
    assert mixture.space == SampleSpace(((0, 40_000),) * 3, (1, 0))
    assert mixture.means.max() > 1  # what is outside counts as well
    whole, _ = fit_image(WIDE, n_components=4, range="type")
    assert whole.space == BY_TYPE
    np.testing.assert_allclose(in_bytes(mixture), in_bytes(whole), atol=1)
    with pytest.raises(OptionError, match="array: range is given; 8-bit samples have that of their type"):
        fit_image(PARTS[0], range=(0, 100))
    with pytest.raises(OptionError, match="array: all samples are far outside of the range; give another, or auto"):
        fit_image(WIDE.astype(np.float32) + 3e4, range=(0, 0.01))
    assert caplog.messages == []


@pytest.mark.parametrize("method", ["stream", "minibatch"])
def test_values_that_were_not_measured_are_told_of_and_not_fitted(method, caplog):
    pixels = WIDE.astype(np.float32)
    expected, _ = fit_image(pixels, n_components=4, method=method)
    pixels[5, 6] = -3.4e38
    mixture, _ = fit_image(pixels, n_components=4, method=method)
    assert len(caplog.messages) == 1
    assert "-3.4e+38" in caplog.text
    np.testing.assert_allclose(mixture.means, expected.means, atol=0.001)


def test_of_few_colors_one_that_was_not_measured_is_a_class():
    pixels = posterized(90, 110, 5, 1).astype(np.float32)
    pixels[5, 6] = -3.4e38
    mixture, report = fit_image(pixels, n_components=6)
    assert report.method == "lossless"
    assert len(np.unique(classify(mixture.space.forward(pixels.reshape(-1, 1), np.dtype(np.float32)), mixture))) == 6
    fitted, report = fit_image(pixels, n_components=5)
    assert report.method == "stream"
    assert fitted.n_components == 5  # none starts from what is far
    assert abs(fitted.means).max() < 2


# --- All pixels


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("method", METHODS)
def test_a_fit_has_converged_on_every_pixel(method, covariance_type):
    pixels, tol = smooth(400, 500), 1e-5  # three times as many pixels as are seeded from
    options = {"n_components": 4, "covariance_type": covariance_type, "reg_covar": 0, "max_iter": 300}
    mixture, report = fit_image(pixels, method=method, tol=tol, **options)
    (now, then), _ = naive.expectation_maximization(colors_of(pixels), naive_model(mixture.to_dict()), 2, 0)
    assert report.converged
    assert -1e-6 < now - report.log_likelihood[-1] < tol
    assert 0 <= then - now < 1.1 * tol


@pytest.mark.parametrize("preset", ["picture", "segment"])
@pytest.mark.parametrize("method", ["exact", "stream"])
def test_log_likelihood_never_falls(method, preset, photo, tmp_path):
    """It is told of each pass whose mixture was taken; the model is the last of these."""
    report = quantize(PHOTO, tmp_path / "out.tif", method=method, preset=preset, init="random", tol=1e-5, max_iter=300)
    history = report.log_likelihood
    assert 1 <= len(history) <= report.iterations <= 300
    assert (np.diff(history) > 0).all()
    now = naive.log_likelihood(colors_of(photo), naive_model(report.model)) / photo[:, :, 0].size
    assert report.converged
    assert now == pytest.approx(history[-1], abs=1e-5)


def test_a_step_that_falls_is_a_pass_and_not_taken(photo):
    """A ridge that is added after each step lowers the likelihood where a start has arrived without one."""
    arrived, before = fit_image(photo, n_components=5, preset="segment", reg_covar=0, tol=1e-6, max_iter=300)
    mixture, report = fit_image(photo, n_components=5, init=arrived, reg_covar=1e-2)
    assert (report.iterations, len(report.log_likelihood), report.converged) == (2, 1, True)
    assert report.log_likelihood[0] == pytest.approx(before.log_likelihood[-1], abs=1e-5)
    np.testing.assert_array_equal(mixture.means, arrived.means)


@pytest.mark.parametrize("max_iter", [1, 3])
def test_no_more_passes_are_taken_than_allowed(max_iter, photo, caplog):
    means = np.random.default_rng(0).random((16, 3))
    _, report = fit_image(photo, preset="segment", init=means, tol=0, max_iter=max_iter)
    assert (report.iterations, len(report.log_likelihood), report.converged) == (max_iter, max_iter, False)
    assert f"not converged after {max_iter} iterations" in caplog.text


# --- For what


@pytest.mark.parametrize(("bands", "preset"), [(1, "picture"), (3, "picture"), (4, "segment")])
def test_up_to_three_bands_are_a_picture_if_nothing_is_said(bands, preset):
    pixels = smooth(60, 70, bands)
    for given, expected in ((None, preset), ("picture", "picture"), ("segment", "segment")):
        _, report = fit_image(pixels, n_components=4, preset=given)
        assert report.preset == expected
        assert len(report.ridge) == bands
        noise = (1 / 255) ** 2 / 12
        assert (min(report.ridge) > 2 * noise) == (expected == "picture")
        if expected == "segment":
            np.testing.assert_allclose(report.ridge, noise)


@pytest.mark.parametrize("method", ["exact", "stream", "minibatch"])
def test_a_ridge_that_is_given_is_added_to_variances_of_each_band(method):
    mixture, report = fit_image(PARTS[0], n_components=3, reg_covar=0.01, method=method)
    assert report.ridge == [0.01] * 3
    assert np.linalg.eigvalsh(mixture.covariances).min() >= 0.01


def test_what_is_lossless_is_for_nothing_and_has_no_ridge():
    _, report = fit_image(posterized(20, 20, 3))
    assert (report.preset, report.ridge) == (None, None)


def test_where_no_colors_are_counted_a_weight_of_rare_ones_is_told_to_do_nothing(caplog):
    (plain, _), (weighed, _) = (fit_image(WIDE, n_components=3, rare_weight=weight) for weight in (1, 0.5))
    assert weighed.to_json() == plain.to_json()
    line = "array: rare-weight does nothing: it is for colors that are counted, 8 bits of up to three bands"
    assert caplog.messages == [line]


def test_rare_colors_count_more_where_that_is_wanted():
    rng = np.random.default_rng(0)
    pixels = np.full((90, 110, 3), 60) + rng.normal(0, 1.5, (90, 110, 3)).round().astype(int)
    pixels[:1] += 150
    pixels = pixels.astype(np.uint8)
    colors, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
    for power in (1, 0.5, 0):
        mixture, _ = fit_image(pixels, n_components=2, rare_weight=power)
        assert mixture.means.max() == pytest.approx(210 / 255, abs=0.01)
        expected = (counts[colors[:, 0] > 150] ** power).sum() / (counts**power).sum()
        assert mixture.weights[mixture.means[:, 0].argmax()] == pytest.approx(expected, rel=0.01)
    assert expected > 0.1


# --- From where


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


def test_exact_and_stream_do_not_speak_of_batches(tmp_path):
    report = quantize(PHOTO, tmp_path / "out.tif", n_components=2, max_iter=2)
    assert (report.batch_pixels, report.fraction_read) == (None, None)


@pytest.mark.parametrize("method", ["exact", "stream", "minibatch"])
def test_an_image_that_is_all_masked_cannot_be_fitted(method):
    for pixels in (np.ma.masked_all((30, 40, 3), np.uint8), np.full((30, 40, 3), np.nan)):
        if method == "exact" and pixels.dtype != np.uint8:
            continue
        with pytest.raises(NoPixelsError, match="array: every pixel is masked"):
            fit_image(pixels, method=method)


def test_means_of_another_number_of_bands_are_refused():
    with pytest.raises(OptionError, match=r"init has means of shape \(3, 2\); the image has 3 bands"):
        fit_image(PARTS[0], n_components=3, init=np.zeros((3, 2)))


@pytest.mark.parametrize("scale", [255, 65_535])
def test_means_that_were_not_scaled_are_refused(scale, photo):
    means = np.random.default_rng(0).random((4, 3)) * scale
    for image in (photo, photo.astype(np.uint16) * 257, photo.astype(np.float32)):
        with pytest.raises(OptionError, match=r"init has means from .*; colors are in \[0, 1\]: divide means"):
            fit_image(image[::8, ::8], n_components=4, init=means)


# --- Fidelity


@pytest.mark.parametrize("method", ["exact", "stream", "minibatch"])
def test_fidelity_gives_the_nearest_color_and_colors_are_the_means_of_their_pixels(method, tmp_path):
    pixels = smooth(300, 400)
    report = quantize(pixels, tmp_path / "out.tif", n_components=12, preset="fidelity", method=method, tol=1e-6)
    means, labels = np.array(report.model["means"]), tifffile.imread(tmp_path / "out.tif")
    x = colors_of(pixels)
    distances = ((x[:, None] - means) ** 2).sum(axis=2)
    assert (distances.argmin(axis=1) == labels.ravel()).mean() > 0.9999
    centroids = np.array([x[labels.ravel() == k].mean(axis=0) for k in range(12)])
    np.testing.assert_allclose(means, centroids, atol=1e-3)
    assert report.model["covariances"] == pytest.approx(distances.min(axis=1).mean() / 3, rel=0.01)
    assert (report.preset, report.model["covariance_type"]) == ("fidelity", "isotropic")
    assert report.converged or method == "minibatch"


def test_its_components_are_ordered_by_their_pixels():
    pixels = smooth(300, 400)
    mixture, _ = fit_image(pixels, n_components=12, preset="fidelity")
    counts = np.bincount(classify(pixels, mixture).ravel(), minlength=12)
    assert (np.diff(counts) <= 0).all()


def test_it_is_as_good_as_the_best_of_three_of_scikit_learn_on_a_photo(photo):
    table = ColorTable.of(photo.reshape(-1, 3))
    mixture, _ = fit_image(PHOTO, n_components=16, preset="fidelity")
    oracle = KMeans(16, n_init=3, tol=0, max_iter=1000, random_state=0).fit(table.values, sample_weight=table.counts)
    error = table.counts @ ((table.values[:, None] - mixture.means) ** 2).sum(axis=2).min(axis=1)
    assert -10 * np.log10(error / oracle.inertia_) > -0.05


@pytest.mark.parametrize("init", ["random", "k-means++", np.array([[0.1, 0.2, 0.3], [0.5, 0.5, 0.5], [0.9, 0.8, 0.7]])])
def test_fidelity_starts_wherever_it_is_told(init):
    mixture, report = fit_image(smooth(90, 110), n_components=3, preset="fidelity", init=init, tol=1e-7)
    again, _ = fit_image(smooth(90, 110), n_components=3, preset="fidelity", tol=1e-7)
    assert report.converged
    np.testing.assert_allclose(np.sort(in_bytes(mixture), axis=0), np.sort(in_bytes(again), axis=0), atol=2)


# --- Colors that are fixed


@pytest.mark.parametrize(
    ("preset", "method"),
    [(preset, method) for preset in ("picture", "fidelity") for method in ("exact", "stream", "minibatch")]
    + [("segment", "exact")],
)
def test_fixed_colors_are_in_the_palette_exactly_and_the_rest_around_them(preset, method, tmp_path):
    given, out = ["#ffffff", (255, 0, 255), "#1e2a11"], tmp_path / "out.tif"
    for dtype, scale in ((np.uint8, 1), (np.uint16, 257)):
        pixels = smooth(60, 90).astype(dtype) * scale
        options = {"n_components": 8, "preset": preset, "method": method if scale == 1 or method != "exact" else "stream"}
        report = quantize(pixels, out, fix=given, overwrite=True, palette="centroids", **options)
        with tifffile.TiffFile(out) as tiff:
            palette = (tiff.pages.first.colormap.T // 257)[:8].tolist()
        assert [255, 255, 255] in palette
        assert [255, 0, 255] in palette
        assert [30, 42, 17] in palette
        assert len(set(map(tuple, palette))) == 8
        plain = quantize(pixels, out, overwrite=True, **options | {"n_components": 5})
        assert report.psnr_db > plain.psnr_db - 0.5 or preset == "segment"
        mixture, _ = fit_image(pixels, fix=given, **options)
        assert mixture.fixed.sum() == 3


def test_a_lossless_image_keeps_its_colors_beside_those_that_are_fixed(tmp_path):
    pixels = posterized(40, 40, 5)
    mixture, report = fit_image(pixels, n_components=8, fix=["#010203", tuple(pixels[0, 0].tolist())])
    assert (report.method, mixture.n_components, mixture.fixed.sum()) == ("lossless", 6, 2)
    np.testing.assert_allclose(mixture.means[mixture.weights == 0] * 255, [[1, 2, 3]])
    fitted, report = fit_image(pixels, n_components=5, fix="#010203")
    assert (report.method, fitted.n_components) == ("exact", 5)
    np.testing.assert_allclose(fitted.means[fitted.fixed] * 255, [[1, 2, 3]])


def test_all_colors_may_be_fixed():
    mixture, _ = fit_image(smooth(90, 110), n_components=2, fix="white,black")
    assert sorted(mixture.means.tolist()) == [[0, 0, 0], [1, 1, 1]]


def test_gray_may_have_fixed_grays_alone():
    gray = smooth(90, 110)[:, :, :1]
    mixture, _ = fit_image(gray, n_components=4, fix="white")
    assert mixture.means[mixture.fixed].tolist() == [[1.0]]
    with pytest.raises(OptionError, match=r"^array: is gray, and a color of fix is not; give grays"):
        fit_image(gray, n_components=4, fix="red")
    with pytest.raises(
        OptionError, match="samples are floats, or wider than 16 bits; colors are for 8 and 16 bits, leave --fix out"
    ):
        fit_image(gray.astype(np.float32), n_components=4, fix="white")
    with pytest.raises(OptionError, match="2 bands; colors have red, green and blue, choose three with --bands"):
        fit_image(smooth(90, 110)[:, :, :2], n_components=4, fix="white")
