"""With centroids, the color of a label is the mean of its pixels; labels stay as they are."""

import json
from functools import partial

import numpy as np
import pytest
import tifffile

import streamgmm
from streamgmm.errors import OptionError

from .. import naive
from ..images import PHOTO, posterized, smooth, write_tiff

apply, quantize = partial(streamgmm.apply, threads=1), partial(streamgmm.quantize, threads=1)

NARROW = (smooth(150, 170, dtype=np.uint16) // 40) + np.uint16(300)
SOURCES = {
    "photo": tifffile.imread(PHOTO)[:300, :280],
    "16 bits": NARROW,
    "floats": smooth(90, 110).astype(np.float32) / 7 - 3,
    "gray": smooth(90, 110, 1),
    "five bands": smooth(70, 80, 5),
    "masked": np.ma.masked_less(smooth(90, 110), 60),
}


def written(path, report):
    """Labels, and the color of each."""
    with tifffile.TiffFile(path) as tiff:
        return tiff.pages.first.asarray(), (tiff.pages.first.colormap.T // 257)[: report.n_components].astype(int)


def levels_of(pixels, report):
    """Pixels as they are shown, and which are not masked."""
    low, high = report.display_range or (0, np.iinfo(pixels.dtype).max)
    bands = [0, 1, 2] if pixels.shape[2] >= 3 else [0, 0, 0]
    return naive.shown(np.ma.getdata(pixels)[:, :, bands], low, high), ~np.ma.getmaskarray(pixels).any(axis=2)


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("method", ["auto", "stream"])
def test_the_color_of_a_label_is_the_mean_of_its_pixels(method, name, tmp_path):
    pixels = SOURCES[name]
    options = {"n_components": 7, "method": method, "preset": "segment"}
    means = quantize(pixels, tmp_path / "1.tif", **options)
    report = quantize(pixels, tmp_path / "2.tif", palette="centroids", palette_out=tmp_path / "2.json", **options)
    labels, colors = written(tmp_path / "2.tif", report)
    np.testing.assert_array_equal(labels, written(tmp_path / "1.tif", means)[0])
    levels, valid = levels_of(pixels, report)
    for label, color in enumerate(colors):
        np.testing.assert_allclose(color, levels[valid & (labels == label)].mean(axis=0), atol=0.51)
    error = np.mean((levels[valid] - colors[labels[valid]]) ** 2)
    assert report.psnr_db == pytest.approx(10 * np.log10(255**2 / error), abs=1e-3)
    assert report.psnr_db >= means.psnr_db - 1e-6
    assert (report.model, report.display_range, report.nodata) == (means.model, means.display_range, means.nodata)
    told = json.loads((tmp_path / "2.json").read_text(encoding="utf-8"))["colors"]
    assert [color["rgb"] for color in told] == colors.tolist()
    assert [color["pixels"] for color in told] == np.bincount(labels[valid], minlength=7).tolist()


@pytest.mark.parametrize("options", [{"output": "rgb"}, {"pyramid": True, "tile_size": 16, "output": "rgb"}, {"sort": "hue"}])
@pytest.mark.parametrize("method", ["auto", "stream"])
def test_every_output_has_these_colors_and_the_same_bytes_for_any_chunk_and_threads(method, options, tmp_path):
    pixels = SOURCES["photo"]
    options = {**options, "method": method, "palette": "centroids", "n_components": 5, "preset": "segment"}
    quantize(pixels, tmp_path / "1.tif", **options)
    for number, how in enumerate(({"threads": 3, "chunk_size": "64KiB"}, {"threads": 2, "chunk_size": "1MiB"}), 2):
        streamgmm.quantize(pixels, tmp_path / f"{number}.tif", **options, **how)
        assert (tmp_path / f"{number}.tif").read_bytes() == (tmp_path / "1.tif").read_bytes()
    if "output" in options:
        report = quantize(pixels, tmp_path / "palette.tif", **{**options, "output": "palette", "pyramid": False})
        labels, colors = written(tmp_path / "palette.tif", report)
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "1.tif"), colors[labels])


@pytest.mark.parametrize("lookup_pixels", [1, 1 << 30])
def test_a_model_gives_the_colors_of_quantize(lookup_pixels, tmp_path, monkeypatch):
    monkeypatch.setattr("streamgmm.jobs.apply.LOOKUP_PIXELS", lookup_pixels)
    pixels = SOURCES["photo"]
    mixture, _ = streamgmm.fit_image(pixels, n_components=6, threads=1)
    expected = quantize(pixels, tmp_path / "1.tif", n_components=6, palette="centroids")
    report = apply(mixture, pixels, tmp_path / "2.tif", palette="centroids")
    assert (tmp_path / "1.tif").read_bytes() == (tmp_path / "2.tif").read_bytes()
    assert report.psnr_db == pytest.approx(expected.psnr_db, abs=1e-6)
    assert ("average" in report.pixels, "average" in expected.pixels) == (True, False)


def test_a_label_that_no_pixel_has_keeps_the_color_of_its_component(tmp_path):
    mixture, _ = streamgmm.fit_image(SOURCES["photo"], n_components=6, threads=1)
    dark = np.zeros((20, 30, 3), np.uint8)
    before, after = (apply(mixture, dark, tmp_path / f"{kind}.tif", palette=kind) for kind in ("means", "centroids"))
    labels, colors = written(tmp_path / "centroids.tif", after)
    [used], (_, expected) = np.unique(labels), written(tmp_path / "means.tif", before)
    expected[used] = 0
    np.testing.assert_array_equal(colors, expected)
    assert after.psnr_db is None
    report = apply(mixture, np.ma.masked_all((20, 30, 3), np.uint8), tmp_path / "none.tif", palette="centroids")
    np.testing.assert_array_equal(written(tmp_path / "none.tif", report)[1], written(tmp_path / "means.tif", before)[1])


def test_few_colors_are_what_they_are(tmp_path):
    pixels = posterized(40, 50, 12)
    report = quantize(pixels, tmp_path / "out.tif", palette="centroids")
    labels, colors = written(tmp_path / "out.tif", report)
    np.testing.assert_array_equal(colors[labels], pixels)
    assert report.method == "lossless"


def test_no_two_labels_have_one_color(tmp_path):
    pixels = np.random.default_rng(0).integers(1000, 1030, (60, 70, 3)).astype(np.uint16)
    options = {"n_components": 12, "display_range": (0, 65_535), "palette": "centroids"}
    report = quantize(pixels, tmp_path / "out.tif", **options)
    assert len(np.unique(written(tmp_path / "out.tif", report)[1], axis=0)) == report.n_components


def test_where_colors_are_given_there_are_no_centroids(tmp_path):
    with pytest.raises(OptionError, match="keep-values and palette exclude each other"):
        quantize(smooth(20, 30, 1), tmp_path / "out.tif", keep_values=True, palette="centroids")


def test_a_palette_that_is_shared_stays_so(tmp_path):
    from streamgmm.jobs.batch.run import batch

    write_tiff(tmp_path / "a.tif", smooth(20, 30))
    for given in ({"shared_palette": "pixels"}, {"model": "m.json"}):
        with pytest.raises(OptionError, match="palette centroids excludes shared-palette and model"):
            batch([], out_dir=tmp_path / "out", palette="centroids", **given)
