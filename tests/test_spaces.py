"""Distances taken in another space: a mixture of colors there, by any method and of any samples, and a palette in RGB."""

import json
from functools import partial

import numpy as np
import pytest
import tifffile
from PIL import Image
from sklearn.mixture import GaussianMixture

import streamgmm
from streamgmm.errors import ModelError, OptionError
from streamgmm.jobs.model_file import load_model
from streamgmm.model.coordinates import to_colors, to_coordinates
from streamgmm.model.palette import distinct

from .conftest import shared_file
from .images import PHOTO, posterized, smooth, write_tiff

fit_image, quantize = partial(streamgmm.fit_image, threads=1), partial(streamgmm.quantize, threads=1, overwrite=True)

SPACES = ["linear", "lab", "oklab"]
METHODS = ["exact", "stream", "minibatch"]


def converted(pixels, space, low=0.0, high=None):
    """Where pixels are, shape (n, D), float64; all lie between the ends of their type, or other ends."""
    high = float(np.iinfo(pixels.dtype).max if high is None else high)
    flat = pixels.reshape(-1, pixels.shape[-1])
    return to_coordinates(flat, np.asarray(low), np.asarray(high - low), space).astype(np.float64)


def shown(path, n_components):
    """The palette of an output, and its pixels in these colors."""
    with tifffile.TiffFile(path) as tiff:
        labels, colors = tiff.pages.first.asarray(), (tiff.pages.first.colormap.T // 257).astype(np.uint8)
    return colors[:n_components], colors[labels]


# --- What is fitted ---


@pytest.mark.parametrize("method", ["exact", "stream"])
@pytest.mark.parametrize("space", SPACES)
def test_a_fit_is_that_of_scikit_learn_to_converted_pixels(space, method):
    """Which finds no better from there."""
    pixels, ridge = smooth(90, 110), 1e-6
    mixture, report = fit_image(pixels, n_components=4, space=space, method=method, reg_covar=ridge, tol=1e-6, max_iter=400)
    x = converted(pixels, space)
    start = {
        "weights_init": mixture.weights,
        "means_init": mixture.means,
        "precisions_init": np.linalg.inv(mixture.covariances),
    }
    theirs = GaussianMixture(4, reg_covar=ridge, tol=1e-6, max_iter=400, **start).fit(x)
    assert report.log_likelihood[-1] == pytest.approx(theirs.score(x), abs=1e-4)
    np.testing.assert_allclose(theirs.means_, mixture.means, atol=2e-3)
    assert mixture.space.distances == report.model["space"] == space


@pytest.mark.parametrize("space", SPACES)
def test_all_methods_find_about_the_same(space):
    pixels = smooth(90, 110)
    exact, stream, minibatch = (fit_image(pixels, n_components=4, space=space, method=method)[1] for method in METHODS)
    assert stream.log_likelihood[-1] == pytest.approx(exact.log_likelihood[-1], abs=1e-3)
    assert minibatch.log_likelihood[-1] == pytest.approx(exact.log_likelihood[-1], abs=0.02)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_16_bits_and_floats_are_fitted_as_8_bits(dtype, space, photo):
    pixels = np.ascontiguousarray(photo[::4, ::4])
    wide = pixels.astype(dtype) * dtype(257) if dtype == np.uint16 else pixels / dtype(255)
    options = {"n_components": 6, "space": space, "reg_covar": 1e-4, "tol": 1e-6, "max_iter": 300, "method": "stream"}
    expected, _ = fit_image(pixels, **options)
    found, report = fit_image(wide, range=(0, 65_535) if dtype == np.uint16 else (0, 1), **options)
    np.testing.assert_allclose(found.means, expected.means, atol=1e-3)
    assert len(report.model["range"]) == 3


@pytest.mark.parametrize("space", SPACES)
def test_gray_has_its_lightness(space, photo, tmp_path):
    gray = np.ascontiguousarray(photo[::2, ::2, 1:2])
    report = quantize(gray, path := tmp_path / "out.tif", space=space, n_components=8)
    palette, image = shown(path, 8)
    assert (report.model["n_bands"], report.n_components) == (1, 8)
    assert (palette == palette[:, :1]).all()
    means = to_colors(np.array(report.model["means"]), space) * 255
    np.testing.assert_allclose(palette[:, :1], means, atol=0.5)
    assert np.mean((image[..., :1].astype(float) - gray) ** 2) < (300 if space == "linear" else 150)  # darks are one there
    lightness = converted(gray, space)
    nearest = np.abs(lightness - np.array(report.model["means"]).T).argmin(axis=1)  # as a palette divides them, nearly
    assert np.mean(palette[nearest, 0] == image[..., 0].ravel()) > 0.9


def test_classes_may_be_looked_for_there_too():
    pixels = smooth(60, 80)
    _, report = fit_image(pixels, n_components=3, space="oklab", preset="segment")
    assert report.ridge == pytest.approx([(1 / 255) ** 2 / 12] * 3)
    x = converted(pixels, "oklab")
    theirs = GaussianMixture(3, n_init=3, random_state=0, reg_covar=report.ridge[0], max_iter=300).fit(x)
    assert report.log_likelihood[-1] > theirs.score(x) - 0.001


def test_linear_light_is_for_any_number_of_bands(tmp_path):
    pixels = smooth(60, 80, 5, np.uint16)
    report = quantize(pixels, tmp_path / "out.tif", space="linear", range="type", n_components=4)
    x = converted(pixels, "linear")
    model = report.model
    theirs = GaussianMixture(4, weights_init=model["weights"], means_init=model["means"], reg_covar=report.ridge[0])
    theirs.set_params(precisions_init=np.linalg.inv(model["covariances"])).fit(x)
    assert report.log_likelihood[-1] == pytest.approx(theirs.score(x), abs=1e-3)


@pytest.mark.parametrize("n_bands", [2, 4, 5])
@pytest.mark.parametrize("space", ["lab", "oklab"])
def test_other_bands_than_of_colors_are_refused(space, n_bands, tmp_path):
    pixels = smooth(40, 50, n_bands)
    with pytest.raises(OptionError) as refused:
        quantize(pixels, tmp_path / "out.tif", space=space)
    told = f"{n_bands} bands; space {space} is of red, green and blue, or of gray: choose three with --bands"
    assert str(refused.value) == f"array: {told}"
    report = quantize(pixels, tmp_path / "out.tif", space=space, bands=(2, 1, 2), n_components=4)
    assert report.model["space"] == space


def test_rare_colors_may_count_more(tmp_path):
    pixels = smooth(60, 80)
    pixels[:6, :6] = np.random.default_rng(0).integers((200, 0, 0), (250, 60, 60), (6, 6, 3))
    usual, rare = (
        fit_image(pixels, n_components=5, space="lab", rare_weight=weight)[1].log_likelihood[-1] for weight in (1, 0.3)
    )
    assert usual != rare


# --- What is shown ---


@pytest.mark.parametrize("space", SPACES)
def test_the_palette_is_that_of_the_means_in_rgb(space, photo, tmp_path):
    report = quantize(PHOTO, path := tmp_path / "out.tif", space=space, palette_out=tmp_path / "palette.json")
    palette, image = shown(path, 16)
    colors = to_colors(np.array(report.model["means"]), space)
    expected = distinct(colors.clip(0, 1) * 255, np.arange(16))
    np.testing.assert_array_equal(palette, expected)
    told = json.loads((tmp_path / "palette.json").read_text(encoding="utf-8"))
    np.testing.assert_array_equal([each["mean"] for each in told["colors"]], colors)
    assert report.psnr_db == pytest.approx(10 * np.log10(255**2 / np.mean((photo - image.astype(float)) ** 2)), abs=1e-3)
    assert report.psnr_db > 22


@pytest.mark.parametrize("space", SPACES)
def test_centroids_are_means_of_samples(space, photo, tmp_path):
    quantize(PHOTO, tmp_path / "out.tif", space=space, palette="centroids", n_components=8)
    palette, image = shown(tmp_path / "out.tif", 8)
    for color in palette:
        there = (image == color).all(axis=-1)
        np.testing.assert_allclose(photo[there].mean(axis=0), color, atol=0.51)


def test_what_is_masked_stays_out_of_it(tmp_path):
    pixels = np.ma.masked_less(smooth(60, 80), 60)
    report = quantize(pixels, path := tmp_path / "out.tif", space="oklab", n_components=5)
    labels = tifffile.imread(path)
    np.testing.assert_array_equal(labels == report.nodata, np.ma.getmaskarray(pixels).any(axis=2))
    assert report.nodata == 5


def test_confidence_is_that_of_the_mixture_there(tmp_path):
    pixels = smooth(60, 80)
    report = quantize(pixels, tmp_path / "out.tif", space="lab", n_components=4, confidence=tmp_path / "sure.tif")
    theirs = GaussianMixture(4, covariance_type="full")
    theirs.weights_, theirs.means_ = np.array(report.model["weights"]), np.array(report.model["means"])
    theirs.precisions_cholesky_ = np.linalg.cholesky(np.linalg.inv(report.model["covariances"]))
    sure = theirs.predict_proba(converted(pixels, "lab")).max(axis=1).reshape(60, 80)
    np.testing.assert_allclose(tifffile.imread(tmp_path / "sure.tif"), sure * 255, atol=0.6)


# --- Models ---


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_model_file_says_where_it_is_and_apply_gives_what_quantize_gave(dtype, space, tmp_path):
    source = write_tiff(tmp_path / "in.tif", smooth(120, 150, 3, dtype))
    options = {"n_components": 6, "space": space}
    quantize(source, tmp_path / "quantized.tif", **options)
    mixture, _ = fit_image(source, **options)
    (tmp_path / "model.json").write_text(mixture.to_json(), encoding="utf-8")
    assert load_model(tmp_path / "model.json").to_json() == mixture.to_json()
    assert json.loads(mixture.to_json())["space"] == load_model(tmp_path / "model.json").info()["space"] == space
    streamgmm.apply(tmp_path / "model.json", source, tmp_path / "applied.tif")
    for one, other in zip(*(shown(tmp_path / f"{name}.tif", 6) for name in ("quantized", "applied")), strict=True):
        np.testing.assert_array_equal(one, other)


def test_large_images_are_labeled_by_a_table_of_all_colors(monkeypatch, tmp_path):
    pixels = smooth(120, 150)
    mixture, _ = fit_image(pixels, n_components=6, space="oklab")
    streamgmm.apply(mixture, pixels, tmp_path / "pixels.tif")
    monkeypatch.setattr("streamgmm.jobs.apply.LOOKUP_PIXELS", 1)
    streamgmm.apply(mixture, pixels, tmp_path / "table.tif")
    assert (tmp_path / "pixels.tif").read_bytes() == (tmp_path / "table.tif").read_bytes()


def test_a_mixture_to_start_from_brings_its_space():
    pixels = smooth(60, 80)
    mixture, _ = fit_image(pixels, n_components=3, space="lab")
    for options in ({}, {"space": "lab"}):
        again, report = fit_image(pixels, init=mixture, **options)
        assert again.space == mixture.space
        assert report.log_likelihood[0] > -1  # where it had arrived, but for the ridge
    with pytest.raises(OptionError, match="space is given; that of the mixture to start from is taken"):
        fit_image(pixels, init=mixture, space="oklab")


def test_means_to_start_from_are_colors():
    pixels = smooth(60, 80)
    means = np.array([[0.2, 0.4, 0.6], [0.8, 0.3, 0.5], [0.5, 0.5, 0.1]])
    rgb, lab = (fit_image(pixels, init=means, space=space, max_iter=1, reg_covar=1e-6)[1] for space in ("rgb", "lab"))
    x, theirs = converted(pixels, "lab"), GaussianMixture(3)
    theirs.weights_, theirs.means_ = np.full(3, 1 / 3), converted((means * 65_535).round().astype(np.uint16), "lab")
    precision = np.linalg.inv(np.cov(x.T, bias=True) + 1e-6 * np.eye(3))
    theirs.precisions_cholesky_ = np.linalg.cholesky(precision)[None].repeat(3, axis=0)
    assert lab.log_likelihood[0] == pytest.approx(theirs.score(x), abs=1e-3)
    assert rgb.log_likelihood[0] != pytest.approx(theirs.score(x), abs=0.1)
    with pytest.raises(OptionError, match="init has means from"):
        fit_image(pixels, init=means * 255, space="lab")


def test_a_model_of_a_space_that_its_bands_do_not_have_is_refused(tmp_path):
    mixture, _ = fit_image(smooth(40, 50, 4), n_components=2)
    fields = json.loads(mixture.to_json())
    complaints = {"lab": "space is lab, of 1 or 3 bands; the means have 4", "cmyk": "space is 'cmyk'; use one of"}
    for space, told in complaints.items():
        (tmp_path / "model.json").write_text(json.dumps(fields | {"space": space}), encoding="utf-8")
        with pytest.raises(ModelError, match=told):
            load_model(tmp_path / "model.json")


def test_models_of_saturated_colors_are_taken_for_what_they_are(tmp_path):
    """Lab of blue is below -1: no color in [0, 1], were it one."""
    pixels = np.zeros((40, 50, 3), np.uint8)
    pixels[:, :25, 2], pixels[:, 25:] = 255, smooth(40, 25)
    mixture, _ = fit_image(pixels, n_components=4, space="lab")
    assert mixture.means.min() < -0.9
    streamgmm.apply(mixture, pixels, tmp_path / "out.tif")


# --- What is exact ---

NEAR = np.array([[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0], [255, 255, 255], [255, 255, 254], [5, 255, 255], [6, 255, 255]])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("space", SPACES)
def test_few_colors_are_kept_as_they_are_however_near(space, dtype, tmp_path):
    """One of them is hardly ever there: weights do not decide between neighbors."""
    of = np.random.default_rng(0).choice(8, (80, 90), p=[0.65, 0.1, 0.05, 0.05, 0.05, 0.05, 0.04, 0.01])
    pixels = (NEAR[of] * (np.iinfo(dtype).max // 255)).astype(dtype)
    report = quantize(pixels, path := tmp_path / "out.tif", space=space)
    assert (report.method, report.psnr_db, report.n_components) == ("lossless", None, 8)
    np.testing.assert_array_equal(shown(path, 8)[1], NEAR[of])
    streamgmm.apply(fit_image(pixels, space=space)[0], pixels, tmp_path / "applied.tif")
    np.testing.assert_array_equal(shown(tmp_path / "applied.tif", 8)[1], NEAR[of])


@pytest.mark.parametrize("space", SPACES)
def test_neighbors_in_16_bits_are_classes(space, tmp_path):
    colors = np.array([[0, 0, 0], [0, 0, 1], [1, 0, 0], [65_535, 65_535, 65_535], [65_535, 65_535, 65_534], [3, 900, 7]])
    of = np.random.default_rng(0).choice(6, (80, 90), p=[0.7, 0.05, 0.05, 0.1, 0.05, 0.05])
    report = quantize(colors[of].astype(np.uint16), tmp_path / "out.tif", space=space, range="type", output="labels")
    labels = tifffile.imread(tmp_path / "out.tif")
    assert (report.method, report.n_components) == ("classes", 6)
    assert len({*zip(labels.ravel().tolist(), of.ravel().tolist(), strict=True)}) == 6


def test_colors_that_are_one_there_are_not_told_to_be_exact():
    """Of floats beyond their range, all are white."""
    pixels = np.random.default_rng(0).choice([0.0, 0.4, 1.0, 1.5, 2.0], (40, 50, 1)).astype(np.float32)
    _, rgb = fit_image(pixels, range=(0, 1))
    mixture, lab = fit_image(pixels, range=(0, 1), space="lab")
    assert (rgb.method, rgb.n_components) == ("lossless", 5)
    assert (lab.method, lab.n_components) == ("stream", 3)
    np.testing.assert_allclose(np.sort(mixture.colors[:, 0]), [0, 0.4, 1], atol=1e-5)


def test_a_posterized_image_of_more_colors_than_a_batch_of_seeds_is_exact(tmp_path):
    pixels = posterized(90, 100, 40)
    report = quantize(pixels, path := tmp_path / "out.tif", space="oklab", n_components=64)
    assert report.method == "lossless"
    np.testing.assert_array_equal(shown(path, 40)[1], pixels)


# --- Promises ---

SOURCES = {
    "8 bits": smooth(200, 230),
    "16 bits": smooth(200, 230, 3, np.uint16),
    "gray floats, some masked": np.where(smooth(200, 230, 1) < 60, np.nan, smooth(200, 230, 1) / np.float32(255)),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("space", ["lab", "oklab"])
@pytest.mark.parametrize("name", SOURCES)
def test_the_bytes_do_not_depend_on_chunks_and_threads(name, space, method, monkeypatch, tmp_path):
    if method == "exact" and name != "8 bits":
        method = "auto"
    monkeypatch.setattr("streamgmm.jobs.passes.blocks.BLOCK_PIXELS", 1 << 13)
    monkeypatch.setattr("streamgmm.jobs.sampling.SAMPLE_PIXELS", 1 << 12)
    source = write_tiff(tmp_path / "in.tif", SOURCES[name], tile=(64, 64), compression="deflate")
    found = set()
    for number, (chunk_size, threads) in enumerate([("64MiB", 1), ("1px", 3), ("100KiB", 4)]):
        options = {"chunk_size": chunk_size, "threads": threads, "confidence": tmp_path / f"{number}-sure.tif"}
        quantize(source, path := tmp_path / f"{number}.tif", n_components=5, max_iter=4, space=space, method=method, **options)
        found.add((path.read_bytes(), options["confidence"].read_bytes()))
    assert len(found) == 1


@pytest.mark.parametrize("method", ["exact", "stream"])
def test_parts_change_nothing(method, monkeypatch, tmp_path):
    """Of labels and of confidence; sums of a pass are those of its parts."""
    pixels, found = smooth(120, 150), []
    for part in (1 << 16, 1000):
        monkeypatch.setattr("streamgmm.model.labels.PART", part)
        monkeypatch.setattr("streamgmm.model.labels.COLORS", 3 * part)
        sure = tmp_path / "sure.tif"
        quantize(pixels, tmp_path / "out.tif", space="lab", n_components=5, method=method, confidence=sure)
        found.append((tmp_path / "out.tif").read_bytes() + sure.read_bytes())
    assert found[0] == found[1]


@pytest.mark.collection
def test_colors_look_nearer_where_distances_are_those_that_are_seen(tmp_path):
    """Of 16 colors of a few photos, on average: CIE Delta E 2000, for which neither space was made."""
    photos = [imread(shared_file(f"photos/kodim{number}.png"))[::2, ::2].copy() for number in ("08", "14", "18", "22")]
    found = {}
    for space in ("rgb", "lab", "oklab"):
        differences = []
        for pixels in photos:
            quantize(pixels, path := tmp_path / "out.tif", space=space)
            differences.append(streamgmm.compare(pixels, path, threads=1).delta_e_2000)
        found[space] = np.mean(differences)
    assert max(found["lab"], found["oklab"]) < 0.95 * found["rgb"]


def imread(path):
    with Image.open(path) as image:
        return np.asarray(image)
