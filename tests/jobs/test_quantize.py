"""The main job, from end to end: the output's colors are those of the model, and the report tells the truth."""

from functools import partial

import numpy as np
import pytest
import tifffile
from PIL import Image

import streamgmm
from streamgmm.errors import OptionError

from .. import naive
from ..images import PHOTO, colors_of, naive_model, palette_of, posterized, psnr, range_of, smooth, write_tiff

# One thread is quickest for small images; that more give the same bytes is shown elsewhere.
quantize, fit_image = partial(streamgmm.quantize, threads=1), partial(streamgmm.fit_image, threads=1)

METHODS = ["exact", "stream", "minibatch"]


def read(path):
    """Labels and palette of an output."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        return page.asarray(), (page.colormap.T // 257).astype(np.uint8)


def check_output(pixels, path, report, valid=None):
    """Compare an output and its report with what plain NumPy makes of the model in the report; return the labels."""
    labels, color_map = read(path)
    palette = palette_of(report.model, report.display_range)
    np.testing.assert_array_equal(color_map[: len(palette)], palette)
    assert labels.shape == pixels.shape[:2]
    valid = np.ones(labels.shape, bool) if valid is None else valid
    assert (labels[~valid] == len(palette)).all()
    assert report.nodata == (None if valid.all() else len(palette))
    of_valid = labels[valid]
    assert of_valid.max() < len(palette)
    colors = colors_of(pixels[valid], report.model["range"])
    densities = naive.log_densities(colors, naive_model(report.model))
    best = densities.max(axis=1)
    chosen = densities[np.arange(len(best)), of_valid]
    assert (best - chosen <= 1e-4 * np.maximum(1, abs(best))).all()  # equals may go either way
    assert report.colors_used == len(np.unique(of_valid))
    ends = report.display_range or (0, np.iinfo(pixels.dtype).max)
    levels = naive.shown(pixels[valid][:, [0, 1, 2] if pixels.shape[2] >= 3 else [0, 0, 0]], *ends)
    error = np.mean((levels - palette[of_valid]) ** 2)
    assert report.psnr_db == (pytest.approx(10 * np.log10(255**2 / error), abs=1e-4) if error > 1e-10 else None)
    return labels


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_a_photo_gets_the_colors_of_its_model(covariance_type, method, photo, tmp_path):
    report = quantize(PHOTO, path := tmp_path / "out.tif", covariance_type=covariance_type, method=method)
    labels = check_output(photo, path, report)
    assert report.model["covariance_type"] == covariance_type
    assert len(np.unique(labels)) == 16
    assert psnr(photo, read(path)[1][labels] / 255) == pytest.approx(report.psnr_db, abs=1e-4)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("bands", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("options", [{"compression": "deflate", "tile": (64, 64)}, {"compression": "lzw"}, {}])
def test_any_samples_get_the_colors_of_their_model(options, bands, dtype, tmp_path):
    pixels = smooth(130, 170, bands, dtype)
    source = write_tiff(tmp_path / "in.tif", pixels, **options)
    report = quantize(source, path := tmp_path / "out.tif", n_components=6)
    assert report.method == ("exact" if dtype == np.uint8 and bands <= 3 else "stream")
    check_output(pixels, path, report)


FLOATS = {
    "float16": lambda unit: (unit * 3 - 1).astype(np.float16),
    "float32": lambda unit: (unit * 1e-30).astype(np.float32),
    "float64": lambda unit: unit * 2e300 - 1e300,
    "float64, all but alike": lambda unit: unit + 1e6,
    "int32": lambda unit: (unit * 1e9).astype(np.int32) - 5 * 10**8,
    "uint32": lambda unit: (unit * 4e9).astype(np.uint32),
    "uint64": lambda unit: (unit * 2**60).astype(np.uint64),
}


@pytest.mark.parametrize("method", ["stream", "minibatch"])
@pytest.mark.parametrize("name", FLOATS)
def test_floats_and_wide_integers_get_the_colors_of_their_model(name, method, tmp_path):
    pixels = FLOATS[name](smooth(130, 170) / 255)
    report = quantize(pixels, path := tmp_path / "out.tif", n_components=6, method=method)
    assert report.model["range"] == range_of(pixels)
    assert report.method == method
    check_output(pixels, path, report)


def test_what_is_infinite_or_no_number_is_masked_and_in_no_range(tmp_path):
    pixels = smooth(130, 170).astype(np.float32)
    pixels[3, 4, 1], pixels[50:60, 7], pixels[80, 90:100] = np.nan, np.inf, -np.inf
    valid = np.isfinite(pixels).all(axis=2)
    report = quantize(pixels, path := tmp_path / "out.tif", n_components=6)
    assert report.model["range"] == range_of(pixels[valid])
    check_output(pixels, path, report, valid)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n_colors", [1, 2, 9, 16])
@pytest.mark.parametrize("bands", [1, 2, 3])
def test_an_image_of_few_8_bit_colors_comes_back_exactly(bands, n_colors, method, tmp_path):
    pixels = posterized(90, 70, n_colors, bands)
    report = quantize(pixels, path := tmp_path / "out.tif", n_components=16, method=method)
    check_lossless(pixels, path, report, n_colors)


@pytest.mark.parametrize("method", ["stream", "minibatch"])
@pytest.mark.parametrize("n_colors", [1, 16])
@pytest.mark.parametrize(("bands", "dtype"), [(4, np.uint8), (1, np.uint16), (3, np.uint16), (4, np.uint16)])
def test_an_image_of_few_other_colors_comes_back_exactly(bands, dtype, n_colors, method, tmp_path):
    pixels = posterized(90, 70, n_colors, bands, dtype)
    report = quantize(pixels, path := tmp_path / "out.tif", n_components=16, method=method)
    check_lossless(pixels, path, report, n_colors)


@pytest.mark.parametrize(("bands", "method"), [(1, "lossless"), (2, "classes"), (3, "lossless"), (4, "classes")])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_it_is_lossless_only_where_all_bands_are_shown(dtype, bands, method, tmp_path):
    report = quantize(posterized(90, 70, 16, bands, dtype), tmp_path / "out.tif")
    assert (report.method, report.n_components, report.colors_used) == (method, 16, 16)
    turned = quantize(posterized(90, 70, 16, bands, dtype), tmp_path / "out.tif", display_bands=(1,), overwrite=True)
    assert turned.method == ("lossless" if bands == 1 else "classes")


def check_lossless(pixels, path, report, n_colors):
    labels, color_map = read(path)
    shown = pixels[:, :, :3] if pixels.shape[2] >= 3 else pixels[:, :, [0, 0, 0]]
    np.testing.assert_array_equal(color_map[labels], shown // (np.iinfo(pixels.dtype).max // 255))
    method = "lossless" if pixels.shape[2] in (1, 3) and report.display_range is None else "classes"
    assert (report.method, report.converged, report.psnr_db) == (method, True, None)
    assert report.colors_used == report.n_components == report.distinct_colors == n_colors
    counts = np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0, return_counts=True)[1]
    np.testing.assert_allclose(report.model["weights"], np.sort(counts)[::-1] / counts.sum())


@pytest.mark.slow
def test_the_most_components_there_can_be(tmp_path):
    codes = np.minimum(np.arange(65_536), 65_534)
    pixels = np.stack([codes >> 8, codes & 255, np.full_like(codes, 7)], axis=-1).astype(np.uint8).reshape(256, 256, 3)
    report = quantize(pixels, tmp_path / "out.tif", n_components=65_535, threads=2)
    check_lossless(pixels, tmp_path / "out.tif", report, 65_535)


def test_one_color_too_many_is_not_lossless(tmp_path):
    report = quantize(posterized(90, 70, 17), tmp_path / "out.tif", n_components=16)
    assert report.method == "exact"
    assert report.psnr_db is not None


def test_rare_colors_beyond_the_sample_are_not_lost(tmp_path):
    pixels = np.full((700, 700, 3), 90, np.uint8)
    pixels[333, 444], pixels[699, 699] = (1, 2, 3), (255, 0, 255)
    for method in METHODS:
        report = quantize(pixels, path := tmp_path / "out.tif", n_components=3, method=method, overwrite=True)
        labels, palette = read(path)
        np.testing.assert_array_equal(palette[labels], pixels)
        assert report.method == "lossless"


WAVES = smooth(120, 130)
DIAGONAL = np.eye(120, 130, dtype=np.uint8)[:, :, None]
SPECIAL = {
    "one pixel": np.array([[[1, 2, 3]]], np.uint8),
    "one row": smooth(1, 300),
    "one column": smooth(300, 1),
    "one color": np.full((50, 60, 3), 77, np.uint8),
    "black": np.zeros((50, 60, 3), np.uint8),
    "white": np.full((50, 60, 3), 255, np.uint8),
    "gray": WAVES[:, :, :1].repeat(3, axis=2),
    "two bands alike": WAVES[:, :, [0, 1, 1]],
    "saturated": (WAVES.astype(int) * 3 - 255).clip(0, 255).astype(np.uint8),
    "mostly black and white": np.where(WAVES > 128, 254, 0).astype(np.uint8) + DIAGONAL,
    "noise": np.random.default_rng(0).integers(0, 256, (120, 130, 3), np.uint8),
    "dark with an outlier": np.maximum(WAVES // 8, 255 * DIAGONAL * (np.arange(120)[:, None, None] == 50)).astype(np.uint8),
}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", SPECIAL)
def test_special_images_give_finite_results(name, method, dtype, tmp_path):
    pixels = SPECIAL[name].astype(dtype) * dtype(np.iinfo(dtype).max // 255)
    if dtype == np.uint16 and method == "exact":
        method = "auto"
    report = quantize(pixels, path := tmp_path / "out.tif", n_components=5, method=method, max_iter=30)
    assert all(np.isfinite(report.model[part]).all() for part in ("weights", "means", "covariances"))
    assert np.isfinite(report.log_likelihood).all()
    assert report.psnr_db is None or 5 < report.psnr_db < 100
    check_output(pixels, path, report)


@pytest.mark.parametrize("method", ["exact", "stream"])
def test_three_hundred_colors(method, photo, tmp_path):
    pixels = photo[100:196, 150:246]
    report = quantize(pixels, path := tmp_path / "out.tif", n_components=300, method=method, max_iter=5)
    labels = check_output(pixels, path, report)
    assert 256 < report.n_components <= 300
    assert labels.dtype == np.uint16
    assert len(np.unique(labels)) > 200


@pytest.mark.parametrize("n_components", [1, 2, 255, 256, 257])
def test_labels_are_of_the_smallest_type_that_holds_them(n_components, tmp_path):
    pixels = np.arange(2000, dtype=np.uint16)[:n_components].repeat(3).reshape(-1, 3)[:, :, None] * 100
    report = quantize(pixels, path := tmp_path / "out.tif", n_components=n_components)
    assert report.n_components == n_components
    assert read(path)[0].dtype == (np.uint8 if n_components <= 256 else np.uint16)


@pytest.mark.parametrize("init", ["random", "k-means++", "kmeans"])
def test_every_start_gives_the_colors_of_its_model(init, photo, tmp_path):
    report = quantize(PHOTO, path := tmp_path / "out.tif", init=init)
    check_output(photo, path, report)
    assert report.psnr_db > 17


def test_an_image_of_three_samples_in_any_form_gives_the_same_bytes(photo, tmp_path):
    Image.fromarray(photo).save(tmp_path / "in.png")
    write_tiff(tmp_path / "in.tif", photo)
    sources = [photo, np.asfortranarray(photo), tmp_path / "in.png", tmp_path / "in.tif", str(tmp_path / "in.tif")]
    outputs = []
    for number, source in enumerate(sources):
        quantize(source, path := tmp_path / f"{number}.tif", n_components=4)
        outputs.append(path.read_bytes())
    assert len(set(outputs)) == 1


def test_means_may_be_given(photo, tmp_path):
    means = np.array([[0.1, 0.1, 0.1], [0.5, 0.5, 0.5], [0.9, 0.9, 0.9]])
    report = quantize(PHOTO, path := tmp_path / "out.tif", n_components=3, init=means)
    assert report.n_components == 3
    check_output(photo, path, report)


def test_labels_are_the_same_without_their_colors(tmp_path):
    plain, colored = tmp_path / "plain.tif", tmp_path / "colored.tif"
    quantize(PHOTO, plain, output="labels")
    quantize(PHOTO, colored)
    np.testing.assert_array_equal(tifffile.imread(plain), tifffile.imread(colored))
    with tifffile.TiffFile(plain) as tiff:
        assert tiff.pages.first.photometric == 1
        assert tiff.pages.first.colormap is None


def test_components_stand_by_falling_weight(tmp_path):
    report = quantize(PHOTO, tmp_path / "out.tif")
    assert np.diff(report.model["weights"]).max() <= 0


def test_minibatch_tells_how_much_it_read(tmp_path, monkeypatch):
    monkeypatch.setattr("streamgmm.jobs.passes.blocks.BLOCK_PIXELS", 1 << 10)
    monkeypatch.setattr("streamgmm.jobs.sampling.SAMPLE_BLOCKS", 64)
    pixels = smooth(1024, 1024)  # 1,024 places
    report = quantize(pixels, path := tmp_path / "out.tif", n_components=4, method="minibatch")
    assert report.method == "minibatch"
    assert report.batch_pixels == 16 * 1024
    assert 0 < report.fraction_read < 1
    assert report.iterations > 0
    check_output(pixels, path, report)


OPTIONS = {
    "n_components": (0, r"components is 0; choose 1 to 65,535"),
    "n_components ": (65_536, r"components is 65536; choose 1 to 65,535"),
    "covariance_type": ("round", r"covariance is 'round'; choose full, tied, diag, spherical"),
    "method": ("magic", r"method is 'magic'; choose auto, exact, stream, minibatch"),
    "init": ("zeros", r"init is 'zeros'; choose kmeans, k-means\+\+, random|init is 'zeros'; choose .*kmeans"),
    "max_iter": (0, r"max-iter is 0; at least 1 is needed"),
    "tol": (-1e-3, r"tol is -0.001; it must be 0 or more"),
    "tol ": (float("nan"), r"tol is nan; it must be 0 or more"),
    "reg_covar": (-1, r"reg-covar is -1; write auto, or a variance"),
    "seed": (-1, r"seed is -1; it must be 0 or more"),
    "compression": ("jpeg", r"compression is 'jpeg'; choose deflate, none, lzw, zstd, packbits"),
    "tile_size": (100, r"tile-size is 100; TIFF asks for a multiple of 16"),
    "tile_size ": (0, r"tile-size is 0; TIFF asks for a multiple of 16"),
    "tile_size  ": (-16, r"tile-size is -16; TIFF asks for a multiple of 16"),
    "chunk_size": ("much", r"chunk-size is 'much'; write bytes such as 64MiB"),
    "threads": (0, r"threads is 0; at least 1 is needed"),
    "init ": (np.zeros((3, 2)), r"init has means of shape .*; the image has 3 bands"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_that_makes_no_sense_is_refused_with_the_remedy(name, tmp_path):
    value, message = OPTIONS[name]
    with pytest.raises(OptionError, match=message):
        quantize(PHOTO, tmp_path / "out.tif", **{name.strip(): value})
    assert not list(tmp_path.iterdir())


def test_a_tolerance_and_ridge_of_nothing_are_accepted(photo, tmp_path):
    report = quantize(PHOTO, path := tmp_path / "out.tif", n_components=3, tol=0, reg_covar=0, max_iter=3)
    check_output(photo, path, report)


def test_a_keyword_that_is_misspelled_is_refused(tmp_path):
    with pytest.raises(TypeError, match="n_component"):
        quantize(PHOTO, tmp_path / "out.tif", n_component=3)


@pytest.mark.parametrize("output", ["palette", "labels", "rgb"])
@pytest.mark.parametrize("method", METHODS)
def test_an_image_that_is_all_masked_gives_an_output_of_nodata(method, output, tmp_path, caplog):
    nothing = np.ma.masked_all((70, 90, 3), np.uint8)
    report = quantize(nothing, path := tmp_path / "out.tif", method=method, output=output)
    assert (report.method, report.model, report.n_components, report.colors_used, report.nodata) == ("none", None, 0, 0, 0)
    assert caplog.messages == [
        "array: every pixel is masked (nodata, alpha 0, mask or NaN); there is nothing to fit; the output is all nodata"
    ]
    assert (tifffile.imread(path) == 0).all()
