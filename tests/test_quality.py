"""What comes out answers to the data: as good as k-means where it is a picture, and the classes where there are classes."""

import warnings
from functools import partial

import numpy as np
import pytest
import tifffile
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

import streamgmm
from streamgmm.model.mixture import COVARIANCE_TYPES

from .conftest import SHARED, shared_file
from .images import PHOTO

quantize = partial(streamgmm.quantize, overwrite=True)

PHOTOS = sorted(path.name for path in (SHARED / "photos").iterdir()) if SHARED.exists() else []
PICTURE_BARS = {"mean": 1.3, "worst": 2.5}  # dB below k-means
# Classes of one band: means and standard deviations of as many samples of each.
CLASSES = {
    "whole-body CT": (np.int16, [-1000, -700, -100, 0, 55, 700], [10, 40, 8, 8, 8, 60]),
    "brain CT": (np.int16, [8, 25, 37, 65], [3, 3, 3, 4]),
    "MR of 12 bits": (np.uint16, [30, 250, 600, 900], [10, 30, 40, 40]),
    "heights": (np.int16, [0, 18, 42, 140], [0.5, 3, 4, 15]),
    "temperatures": (np.uint16, [2731, 2801, 2931, 3001], [8, 8, 8, 8]),
    "temperatures in floats": (np.float32, [273.1, 280.1, 293.1, 300.1], [0.8, 0.8, 0.8, 0.8]),
    "heights in floats, far from zero": (np.float32, [5_400_000, 5_400_018, 5_400_042, 5_400_140], [1, 3, 4, 15]),
    "Landsat": (np.uint16, [7200, 7900, 9000, 10500], [60, 90, 150, 250]),
}


def psnr(image, other):
    return -10 * np.log10(np.mean((image.astype(float) - other) ** 2) / 255**2)


def classes_of(name, seed=0):
    """An image of a kind of classes, and which each pixel is of."""
    dtype, means, deviations = CLASSES[name]
    rng = np.random.default_rng(seed)
    of = rng.choice(len(means), 256 * 256)
    x = np.array(means, float)[of] + rng.normal(0, 1, len(of)) * np.array(deviations)[of]
    if np.issubdtype(dtype, np.integer):
        x = np.rint(x).clip(np.iinfo(dtype).min)
    return x.astype(dtype).reshape(256, 256), of


def labels_of(path):
    return tifffile.imread(path)


def k_means_psnr(path, n_components, n_init=2, **options):
    """Of weighted k-means on the distinct colors, the best of some."""
    with_alpha = streamgmm.open_image(path)
    height, width, _ = with_alpha.shape
    pixels = with_alpha.read(streamgmm.image.tiles.Window(0, 0, height, width)).pixels.reshape(-1, 3)
    with_alpha.close()
    if pixels.dtype.kind == "f":
        low, high = np.quantile(pixels, [0.001, 0.999])
        pixels = ((pixels - low) / (high - low)).clip(0, 1) * 255
    colors, counts = np.unique(pixels, axis=0, return_counts=True)
    fit = KMeans(n_components, n_init=n_init, random_state=0, **options).fit(colors.astype(np.float32), sample_weight=counts)
    return -10 * np.log10(fit.inertia_ / counts.sum() / 3 / 255**2)


@pytest.mark.parametrize("n_components", [16, 64])
def test_a_picture_is_as_good_as_k_means_to_a_decibel(n_components, tmp_path):
    report = quantize(PHOTO, tmp_path / "out.tif", n_components=n_components)
    assert report.preset == "picture"
    assert report.psnr_db > k_means_psnr(PHOTO, n_components) - 1


@pytest.mark.slow
@pytest.mark.collection
@pytest.mark.parametrize(("n_components", "some"), [(16, 1), (64, 1), (256, 6)])  # k-means of 256 takes 15 seconds a photo
def test_pictures_are_as_good_as_k_means(n_components, some, tmp_path):
    paths = [shared_file(f"photos/{name}") for name in PHOTOS[::some]]
    losses = [
        k_means_psnr(path, n_components) - quantize(path, tmp_path / "out.tif", n_components=n_components).psnr_db
        for path in paths
    ]
    assert np.mean(losses) < PICTURE_BARS["mean"]
    assert max(losses) < PICTURE_BARS["worst"]


@pytest.mark.slow
@pytest.mark.collection
@pytest.mark.parametrize("name", PHOTOS)
def test_minibatch_gives_the_picture_of_every_pixel(name, tmp_path):
    path = shared_file(f"photos/{name}")
    every, some = (quantize(path, tmp_path / "out.tif", n_components=64, method=method) for method in ("auto", "minibatch"))
    assert some.psnr_db > every.psnr_db - 0.3
    assert some.log_likelihood[-1] > every.log_likelihood[-1] - 0.01
    assert (some.n_components, some.converged) == (64, True)


@pytest.mark.slow
@pytest.mark.collection
@pytest.mark.parametrize(("n_components", "some"), [(16, 3), (64, 9)])
def test_fidelity_is_no_less_than_k_means_to_convergence_the_best_of_three(n_components, some, tmp_path):
    """Of each photo, but for a twentieth of a decibel, and not on average."""
    gains = []
    for name in PHOTOS[::some]:
        path = shared_file(f"photos/{name}")
        report = quantize(path, tmp_path / "out.tif", n_components=n_components, preset="fidelity")
        gains.append(report.psnr_db - k_means_psnr(path, n_components, n_init=3, tol=0, max_iter=1000))
    assert min(gains) > -0.05
    assert np.mean(gains) > 0


@pytest.mark.slow
@pytest.mark.parametrize("covariance_type", [each for each in COVARIANCE_TYPES if each != "isotropic"])
@pytest.mark.parametrize("n_components", [4, 16])
def test_classes_are_as_likely_as_the_best_of_three_of_scikit_learn(n_components, covariance_type, photo):
    pixels = np.ascontiguousarray(photo[::4, ::4])
    given = {"n_components": n_components, "covariance_type": covariance_type}
    _, report = streamgmm.fit_image(pixels, preset="segment", **given)
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        theirs = GaussianMixture(**given, n_init=3, max_iter=300, tol=1e-5, random_state=0, reg_covar=report.ridge[0])
        theirs.fit(pixels.reshape(-1, 3) / 255)
    assert report.log_likelihood[-1] > theirs.score(pixels.reshape(-1, 3) / 255) - 0.001


@pytest.mark.parametrize(("preset", "lost"), [(None, 0.15), ("segment", 0.03)])
@pytest.mark.parametrize("name", CLASSES)
def test_classes_of_one_band_are_told_apart_as_by_scikit_learn(name, preset, lost, tmp_path):
    image, of = classes_of(name)
    n_classes = len(CLASSES[name][1])
    quantize(image, tmp_path / "out.tif", n_components=n_classes, preset=preset)
    raw = image.reshape(-1, 1).astype(np.float64)
    theirs = GaussianMixture(n_classes, n_init=3, random_state=0).fit(raw - raw.mean()).predict(raw - raw.mean())
    ours = labels_of(tmp_path / "out.tif").ravel()
    assert adjusted_rand_score(of, ours) > adjusted_rand_score(of, theirs) - lost


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("side", [8, 64])
def test_a_stamp_on_a_white_page_has_nearly_all_colors(side, dtype, tmp_path):
    u = np.linspace(0, 1, side)
    stamp = np.stack(np.broadcast_arrays(220 - 180 * u[:, None], 30 + 200 * u, 60 + 0 * u), axis=-1)
    stamp = (stamp + np.random.default_rng(1).normal(0, 4, stamp.shape)).clip(0, 255).astype(np.uint8)
    page = np.full((2048, 2048, 3), 255, np.uint8)
    place = slice(1000, 1000 + side), slice(500, 500 + side)
    page[place] = stamp
    page = page if dtype == np.uint8 else page.astype(dtype) * 257
    report = quantize(page, tmp_path / "out.tif", output="rgb", n_components=16)
    shown = labels_of(tmp_path / "out.tif")[place]
    assert report.n_components == 16
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) >= 14
    assert psnr(shown, stamp) > 22


@pytest.mark.parametrize("outlier", [-1e10, 1e30, -3.4e38])
def test_what_is_no_measurement_changes_nothing_of_the_others(outlier, tmp_path, caplog):
    image, _ = classes_of("temperatures in floats")
    quantize(image, tmp_path / "without.tif", n_components=4)
    image[7, 9] = outlier
    quantize(image, tmp_path / "with.tif", n_components=4)
    with_it, without = (labels_of(tmp_path / f"{name}.tif").ravel() for name in ("with", "without"))
    assert adjusted_rand_score(with_it, without) > 0.999
    assert f"{outlier:g}"[:4] in caplog.text
    assert "far from all others" in caplog.text


@pytest.mark.parametrize("method", ["exact", "stream"])
@pytest.mark.parametrize("max_iter", [1, 2, 3])
def test_max_iter_bounds_all_passes_and_the_report_counts_them(method, max_iter, tmp_path):
    pixels = np.random.default_rng(0).choice([0, 1, 2, 60, 61, 200], (200, 100, 3)).astype(np.uint8)  # components will fail
    passes = []
    options = {"n_components": 12, "max_iter": max_iter, "method": method, "preset": "segment"}
    report = quantize(
        pixels,
        tmp_path / "out.tif",
        progress=lambda phase, done, total: passes.append(done) if phase == "fit" else None,
        **options,
    )
    assert report.iterations <= max_iter
    assert report.pixels["fit"] == report.iterations * 20_000


def test_rare_colors_count_more_where_that_is_asked_for(tmp_path):
    generator = np.random.default_rng(0)
    image = generator.choice([40, 90, 140], (512, 512, 1)).repeat(3, axis=2).astype(np.uint8)
    image += generator.integers(0, 9, image.shape, dtype=np.uint8)
    place = slice(100, 116), slice(50, 66)
    image[place] = generator.integers((190, 0, 0), (250, 60, 60), (16, 16, 3))
    errors = []
    for weight in (1, 0.3):
        quantize(image, tmp_path / "out.tif", output="rgb", n_components=6, rare_weight=weight)
        errors.append(psnr(labels_of(tmp_path / "out.tif")[place], image[place]))
    assert errors[1] > errors[0] + 1


@pytest.mark.parametrize("change", ["rotated", "tiled", "framed"])
def test_the_same_pixels_in_another_place_have_nearly_the_same_palette(change, tmp_path):
    image = tifffile.imread(PHOTO)
    other = {"rotated": np.rot90(image), "tiled": np.tile(image, (2, 2, 1)), "framed": np.pad(image, ((1, 1), (1, 1), (0, 0)))}
    palettes = []
    for each in (image, other[change]):
        report = quantize(each, tmp_path / "out.tif", n_components=16)
        palettes.append(255 * np.array(report.model["means"]))
    distances = np.abs(palettes[0][:, None] - palettes[1]).max(axis=-1).min(axis=1)
    assert np.median(distances) < (12 if change == "framed" else 1)


@pytest.mark.parametrize("n_components", [8, 16])
def test_the_same_pixels_in_another_place_have_the_same_palette(n_components, photo, tmp_path):
    """Seeds once depended on where pixels are: means were up to 48 levels elsewhere."""
    framed = np.zeros((514, 514, 3), np.uint8)
    framed[1:-1, 1:-1] = photo
    images = (photo, np.rot90(photo).copy(), np.tile(photo, (2, 2, 1)), framed)
    reports = [quantize(image, tmp_path / "out.tif", n_components=n_components) for image in images]
    plain, turned, tiled, frame = (np.array(report.model["means"]) for report in reports)
    np.testing.assert_allclose(turned, plain, atol=1e-6)
    np.testing.assert_allclose(tiled, plain, atol=1e-6)
    distances = np.linalg.norm(frame[:, None] - plain, axis=2).min(axis=1)
    assert distances.max() < 1 / 255
    assert reports[3].psnr_db == pytest.approx(reports[0].psnr_db, abs=0.1)
