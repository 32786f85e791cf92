"""What a palette shows, from end to end: photos as they are, narrow data from black to white, and no two classes alike."""

import json
from functools import partial

import numpy as np
import pytest
import tifffile

import streamgmm
from streamgmm.errors import OptionError

from .images import posterized, smooth

apply, quantize = partial(streamgmm.apply, threads=1), partial(streamgmm.quantize, threads=1)

CLASSES = np.random.default_rng(0).integers(0, 12, (60, 80)).astype(np.uint16)[:, :, None]


def shown(path, report):
    """The colors of an output, shape (K, 3), and its pixels in them, but for masked ones, which are black."""
    with tifffile.TiffFile(path) as tiff:
        labels, colors = tiff.pages.first.asarray(), (tiff.pages.first.colormap.T // 257).astype(np.uint8)
    return colors[: report.n_components], colors[labels]


def micrograph():
    """49 to 1023 in 16 bits, few at the ends: nearly black by their type."""
    waves = smooth(150, 170, 1).astype(np.float64)
    return (49 + (waves - waves.min()) / np.ptp(waves) * 974).round().astype(np.uint16)


def test_the_palette_of_a_photo_in_16_bits_is_that_of_the_photo(photo, tmp_path):
    """Fitted in the same way, to a level, although it has a range of its own; and of the same model to the bit."""
    deep, palettes = photo.astype(np.uint16) * np.uint16(257), []
    for pixels in (photo, deep):
        report = quantize(pixels, path := tmp_path / "out.tif", method="stream", overwrite=True)
        palettes.append(shown(path, report)[0].astype(int))
        assert report.display_range is None
    distances = np.abs(palettes[0][:, None] - palettes[1]).max(axis=2)
    assert distances.min(axis=1).max() <= 1
    assert len(set(distances.argmin(axis=1))) == 16
    mixture, _ = streamgmm.fit_image(photo, threads=1)
    here, there = (apply(mixture, pixels, tmp_path / f"{pixels.dtype}.tif") for pixels in (photo, deep))
    np.testing.assert_array_equal(shown(tmp_path / "uint16.tif", there)[0], shown(tmp_path / "uint8.tif", here)[0])
    assert there.psnr_db == pytest.approx(here.psnr_db, abs=1e-4)


def test_narrow_samples_are_shown_from_black_to_white(tmp_path):
    pixels = micrograph()
    report = quantize(pixels, path := tmp_path / "out.tif", palette_out=tmp_path / "palette.json")
    palette, image = shown(path, report)
    grays = np.sort(palette[:, 0])
    assert (palette == palette[:, :1]).all()
    assert len(grays) == 16
    assert np.diff(grays.astype(int)).min() >= 4
    assert grays[0] < 25
    assert grays[-1] > 230
    low, high = report.display_range
    assert 49 <= low < 100 < 950 < high <= 1023
    levels = np.clip((pixels - low) / (high - low) * 255, 0, 255)
    assert report.psnr_db == pytest.approx(10 * np.log10(255**2 / np.mean((levels - image) ** 2)), abs=1e-3)
    told = json.loads((tmp_path / "palette.json").read_text(encoding="utf-8"))
    assert (told["display_bands"], told["display_range"]) == ([1], [low, high])


@pytest.mark.parametrize(
    "change",
    [lambda x: x.astype(np.float32), lambda x: x.astype(np.float64) * 1e-6, lambda x: x.astype(np.int16) - np.int16(600)],
    ids=["float32", "float64", "int16"],
)
def test_the_palette_does_not_depend_on_how_samples_are_stored(change, tmp_path):
    pixels, found = micrograph(), []
    for samples in (pixels, change(pixels)):
        report = quantize(samples, path := tmp_path / "out.tif", n_components=8, overwrite=True)
        found.append(np.sort(shown(path, report)[0][:, 0]).astype(int))
        assert 0 <= (report.display_range[0] - samples.min()) / np.ptp(samples) < 0.05
    assert np.abs(found[1] - found[0]).max() <= 1


def test_tissue_of_a_tomogram_has_grays_of_its_own(tmp_path):
    pixels = np.random.default_rng(0).choice(np.array([8, 25, 37, 65], np.int16), (50, 60, 1))
    report = quantize(pixels, path := tmp_path / "out.tif")
    grays = sorted(shown(path, report)[0][:, 0].tolist())
    assert (report.method, report.display_range, grays) == ("classes", (8, 65), [0, 76, 130, 255])


def test_the_range_to_show_may_be_given_in_stored_samples(tmp_path):
    """Air and bone outside of the window of the brain, which is 0 to 80."""
    values = np.array([-1000, 8, 25, 37, 65, 1200], np.int16)
    pixels = np.random.default_rng(0).choice(values, (50, 60, 1))
    report = quantize(pixels, path := tmp_path / "out.tif", display_range="0,80")
    grays = sorted(shown(path, report)[0][:, 0].tolist())
    assert (report.display_range, grays) == ((0, 80), [0, 26, 80, 118, 207, 255])
    by_type = quantize(pixels, path, display_range="type", overwrite=True)
    assert by_type.display_range is None
    palette, _ = shown(path, by_type)  # by the type of the samples all tissue is 128
    assert len(np.unique(palette, axis=0)) == 6
    assert np.abs(palette.astype(int) - 128).max() <= 4


def test_8_bits_are_stretched_only_where_it_is_asked_for(tmp_path):
    pixels = (smooth(60, 80) // 8).astype(np.uint8)
    plain = quantize(pixels, path := tmp_path / "out.tif", n_components=4)
    assert plain.display_range is None
    assert shown(path, plain)[0].max() < 32
    wide = quantize(pixels, path, n_components=4, display_range=(0, 31), overwrite=True)
    assert wide.display_range == (0, 31)
    assert shown(path, wide)[0].max() > 150
    assert wide.model == plain.model


def test_floats_have_no_range_of_their_type(tmp_path):
    with pytest.raises(OptionError, match="display-range is type; samples are floats"):
        quantize(np.zeros((4, 5), np.float32), tmp_path / "out.tif", display_range="type")
    assert list(tmp_path.iterdir()) == []


def scene():
    """Four bands as a satellite has them: reflectance times 10,000, near infrared far brighter than the others."""
    generator = np.random.default_rng(0)
    covers = np.array([[180, 150, 110, 60], [450, 700, 520, 3400], [900, 1200, 1500, 2100], [1500, 1500, 1500, 1900]])
    return (covers[generator.integers(0, 4, (90, 100))] + generator.normal(0, 8, (90, 100, 4))).round().astype(np.uint16)


@pytest.mark.parametrize("bands", [(3, 2, 1), (4, 3, 2), (4,)])
def test_bands_that_are_shown_share_a_range(bands, tmp_path):
    """So that their balance is kept: each color is that of its mean, by one line for all three."""
    report = quantize(scene(), path := tmp_path / "out.tif", n_components=4, display_bands=bands)
    low, high = report.display_range
    ranges, channels = np.array(report.model["range"]), [band - 1 for band in (bands if len(bands) == 3 else bands * 3)]
    assert (low, high) == (ranges[channels, 0].min(), ranges[channels, 1].max())
    stored = ranges[:, 0] + np.array(report.model["means"]) * (ranges[:, 1] - ranges[:, 0])
    expected = np.clip((stored[:, channels] - low) / (high - low) * 255, 0, 255)
    np.testing.assert_allclose(shown(path, report)[0], expected, atol=0.51)


@pytest.mark.parametrize("options", [{}, {"display_range": (200, 300)}, {"display_range": "type"}, {"display_bands": (1,)}])
def test_what_is_shown_changes_no_label(options, tmp_path):
    """Nor does the form; and RGB has the colors of the palette."""
    mixture, _ = streamgmm.fit_image(scene(), n_components=5, threads=1)
    labels = apply(mixture, scene(), path := tmp_path / "out.tif")
    expected = tifffile.imread(path)
    report = apply(mixture, scene(), path, overwrite=True, **options)
    np.testing.assert_array_equal(tifffile.imread(path), expected)
    assert report.model == labels.model
    _, image = shown(path, report)
    again = apply(mixture, scene(), path, overwrite=True, output="rgb", **options)
    np.testing.assert_array_equal(tifffile.imread(path), image)
    assert (again.psnr_db, again.display_range) == (report.psnr_db, report.display_range)


def test_a_masked_image_keeps_its_nodata_behind_the_palette(tmp_path):
    heights = (smooth(60, 80, 1).astype(np.int16) * 12 - 400).astype(np.int16)
    heights[:20] = -32_768
    report = quantize(heights, path := tmp_path / "out.tif", nodata=-32_768, n_components=6)
    palette, image = shown(path, report)
    assert (report.nodata, len(np.unique(palette, axis=0))) == (6, 6)
    assert (image[:20] == 0).all()
    low, high = report.display_range
    assert -400 <= low < high <= 12 * 255 - 400


def test_many_classes_of_one_gray_have_colors_of_their_own(tmp_path):
    """800 grays of 16 bits: 256 levels are not enough."""
    pixels = np.arange(800, dtype=np.uint16).reshape(20, 40, 1) * np.uint16(80)
    report = quantize(pixels, path := tmp_path / "out.tif", n_components=800)
    palette, image = shown(path, report)
    assert (report.method, len(np.unique(palette, axis=0))) == ("classes", 800)
    assert np.abs(image - pixels / 257).max() <= 2
    assert 45 < report.psnr_db < 60


# --- What is lossless ---


@pytest.mark.parametrize(
    ("pixels", "options", "method"),
    [
        (posterized(40, 50, 9), {}, "lossless"),
        (posterized(40, 50, 9), {"output": "rgb"}, "lossless"),
        (posterized(40, 50, 9), {"output": "labels"}, "classes"),
        (posterized(40, 50, 9), {"display_range": (0, 200)}, "classes"),
        (posterized(40, 50, 9, dtype=np.uint16), {}, "lossless"),
        (posterized(40, 50, 9, dtype=np.uint16) // 2, {}, "classes"),
        (CLASSES, {}, "classes"),
        (CLASSES * 257, {"display_range": "type"}, "lossless"),
        (CLASSES.astype(np.float32), {}, "classes"),
    ],
    ids=["8 bits", "as RGB", "labels", "stretched", "16 bits", "no whole levels", "few values", "by type", "floats"],
)
def test_lossless_means_that_the_output_gives_the_samples_back(pixels, options, method, tmp_path):
    """Else classes: each color has a label of its own."""
    report = quantize(pixels, path := tmp_path / "out.tif", **options)
    assert report.method == method
    written = tifffile.imread(path)
    if method == "lossless":
        image = written if options.get("output") == "rgb" else shown(path, report)[1]
        np.testing.assert_array_equal(
            image, (pixels // (np.iinfo(pixels.dtype).max // 255)).repeat(3 // pixels.shape[2], axis=2)
        )
        assert report.psnr_db is None
    else:
        pairs = np.concatenate([pixels.reshape(-1, pixels.shape[2]), written.reshape(-1, 1)], axis=1)
        assert len(np.unique(pairs, axis=0)) == report.n_components == report.colors_used
    mixture, fit = streamgmm.fit_image(pixels, threads=1)
    assert (fit.method, fit.display_range, mixture.n_components) == ("lossless", None, report.n_components)


# --- In another order ---


@pytest.mark.parametrize("sort", ["luminance", "hue"])
@pytest.mark.parametrize("options", [{}, {"method": "stream"}, {"covariance_type": "tied", "preset": "segment"}])
def test_sorting_changes_the_numbers_of_colors_and_nothing_that_is_shown(sort, options, photo, tmp_path):
    usual = quantize(photo, tmp_path / "1.tif", **options)
    report = quantize(photo, tmp_path / "2.tif", sort=sort, **options)
    (before, expected), (colors, found) = shown(tmp_path / "1.tif", usual), shown(tmp_path / "2.tif", report)
    np.testing.assert_array_equal(found, expected)
    assert report.psnr_db == pytest.approx(usual.psnr_db, abs=1e-9)
    assert sorted(colors.tolist()) == sorted(before.tolist()) != colors.tolist()
    if sort == "luminance":
        assert (np.diff(colors @ [0.2126, 0.7152, 0.0722]) > 0).all()
    again = quantize(photo, tmp_path / "3.tif", sort=sort, threads=3, chunk_size="64KiB", **options)
    assert (tmp_path / "3.tif").read_bytes() == (tmp_path / "2.tif").read_bytes()
    assert again.model == report.model


@pytest.mark.parametrize("pixels", [posterized(40, 50, 9), smooth(40, 50, 1), smooth(60, 70, dtype=np.uint16) // 50])
def test_few_colors_grays_and_narrow_data_are_sorted_and_a_model_has_the_order(pixels, tmp_path):
    report = quantize(pixels, tmp_path / "1.tif", n_components=9, sort="luminance")
    colors, _ = shown(tmp_path / "1.tif", report)
    assert (np.diff(colors @ [0.2126, 0.7152, 0.0722]) > 0).all()
    mixture, _ = streamgmm.fit_image(pixels, n_components=9, sort="luminance", threads=1)
    assert mixture.to_dict() == report.model
    apply(mixture, pixels, tmp_path / "2.tif")
    assert (tmp_path / "2.tif").read_bytes() == (tmp_path / "1.tif").read_bytes()


def test_colors_are_sorted_as_the_bands_that_are_shown_have_them(tmp_path):
    report = quantize(smooth(40, 50, 4), tmp_path / "out.tif", n_components=6, sort="luminance", display_bands=(4,))
    colors, _ = shown(tmp_path / "out.tif", report)
    assert (np.diff(colors[:, 0].astype(int)) > 0).all()


def test_values_that_are_kept_are_not_sorted(tmp_path):
    with pytest.raises(OptionError, match="keep-values and sort exclude each other"):
        quantize(CLASSES, tmp_path / "out.tif", keep_values=True, sort="hue")
