"""A model gives any image its colors, as if it had been fitted to it."""

from functools import partial

import numpy as np
import pytest
import tifffile

import streamgmm
from streamgmm.errors import ModelError, OptionError, OutputError

from .. import naive
from ..images import PHOTO, colors_of, naive_model, palette_of, smooth, write_tiff

apply, fit_image, quantize = (partial(job, threads=1) for job in (streamgmm.apply, streamgmm.fit_image, streamgmm.quantize))


@pytest.fixture(scope="module")
def model():
    return fit_image(PHOTO, n_components=6)[0]


@pytest.fixture
def model_file(model, tmp_path):
    path = tmp_path / "model.json"
    path.write_text(model.to_json(), encoding="utf-8")
    return path


@pytest.mark.parametrize("method", ["exact", "stream", "minibatch"])
@pytest.mark.parametrize("options", [{}, {"output": "labels"}, {"output": "rgb"}, {"compression": "lzw", "tile_size": 64}])
def test_a_model_gives_its_own_image_the_bytes_of_quantize(options, method, tmp_path):
    mixture, fitted = fit_image(PHOTO, n_components=6, method=method)
    quantized = quantize(PHOTO, tmp_path / "1.tif", n_components=6, method=method, **options)
    applied = apply(mixture, PHOTO, tmp_path / "2.tif", **options)
    assert (tmp_path / "1.tif").read_bytes() == (tmp_path / "2.tif").read_bytes()
    assert applied.model == quantized.model == fitted.model
    assert applied.psnr_db == pytest.approx(quantized.psnr_db, abs=1e-6)
    assert applied.colors_used == quantized.colors_used


def test_a_model_file_is_the_model(model, model_file, tmp_path):
    apply(model, PHOTO, tmp_path / "1.tif")
    for number, source in enumerate((model_file, str(model_file)), 2):
        report = apply(source, PHOTO, tmp_path / f"{number}.tif")
        assert (tmp_path / f"{number}.tif").read_bytes() == (tmp_path / "1.tif").read_bytes()
    assert (report.method, report.iterations, report.log_likelihood) == ("apply", 0, [])


@pytest.mark.parametrize("lookup_pixels", [1, 1 << 30])
def test_labels_are_the_same_whether_looked_up_or_worked_out(lookup_pixels, model, photo, tmp_path, monkeypatch):
    monkeypatch.setattr("streamgmm.jobs.apply.LOOKUP_PIXELS", lookup_pixels)
    report = apply(model, PHOTO, path := tmp_path / "out.tif")
    labels = naive.labels(colors_of(photo), naive_model(model.to_dict())).reshape(512, 512)
    assert (tifffile.imread(path) != labels).mean() < 1e-4
    assert report.colors_used == 6


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_model_serves_images_of_either_depth(dtype, model, tmp_path):
    pixels = smooth(100, 120, 3)
    apply(model, pixels, tmp_path / "8.tif")
    report = apply(model, pixels.astype(dtype) * (np.iinfo(dtype).max // 255), path := tmp_path / "out.tif")
    assert (tifffile.imread(path) != tifffile.imread(tmp_path / "8.tif")).mean() < 1e-3
    labels = tifffile.imread(path)
    error = np.mean((pixels / 255 - palette_of(report.model)[labels] / 255) ** 2)
    assert report.psnr_db == pytest.approx(-10 * np.log10(error), abs=1e-4)


@pytest.mark.parametrize("bands", [1, 2, 4])
def test_a_model_of_other_bands_is_refused(bands, model, tmp_path):
    path = write_tiff(tmp_path / "in.tif", smooth(30, 30, bands))
    with pytest.raises(ModelError, match=rf"in\.tif: {bands} bands; the model is for 3"):
        apply(model, path, tmp_path / "out.tif")
    assert not (tmp_path / "out.tif").exists()


@pytest.fixture(scope="module")
def float_model():
    """A model of floats in [-50, 150]."""
    pixels = smooth(60, 70).astype(np.float32) / 255
    return fit_image(pixels * 200 - 50, n_components=4, range=(-50, 150))[0]


def test_a_model_of_floats_serves_floats_of_any_range(float_model, tmp_path):
    assert float_model.space.range == ((-50, 150),) * 3
    pixels = smooth(80, 90, seed=1).astype(np.float64) * 2 - 250  # some lie below the range
    report = apply(float_model, pixels, path := tmp_path / "out.tif")
    labels = naive.labels((pixels.reshape(-1, 3) + 50) / 200, naive_model(float_model.to_dict()))
    assert (tifffile.imread(path).reshape(-1) != labels).mean() < 1e-3
    assert report.model["range"] == [[-50, 150]] * 3


@pytest.mark.parametrize(("dtype", "kind"), [(np.uint8, "integers of up to 16 bits"), (np.int16, "integers of up to 16 bits")])
def test_a_model_of_floats_is_refused_for_integers(dtype, kind, float_model, tmp_path):
    with pytest.raises(ModelError, match=f"array: samples are {kind}; the model is for floats or wider integers, fit one"):
        apply(float_model, smooth(30, 30).astype(dtype), tmp_path / "out.tif")


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int32, np.uint64])
def test_a_model_of_integers_is_refused_for_floats_and_wider_integers(dtype, model, tmp_path):
    with pytest.raises(ModelError, match="array: samples are floats or wider integers; the model is for integers of up to 16"):
        apply(model, smooth(30, 30).astype(dtype), tmp_path / "out.tif")


@pytest.mark.parametrize("output", ["palette", "labels"])
def test_masked_pixels_get_one_label_more_which_is_nodata(output, model, photo, tmp_path):
    y, x = np.mgrid[:512, :512]
    disk = (y - 200) ** 2 + (x - 300) ** 2 < 90**2
    pixels = np.ma.array(photo, mask=disk[:, :, None].repeat(3, axis=2))
    apply(model, photo, tmp_path / "whole.tif", output=output)
    report = apply(model, pixels, path := tmp_path / "out.tif", output=output)
    labels = tifffile.imread(path)
    assert report.nodata == 6
    assert (labels[disk] == 6).all()
    np.testing.assert_array_equal(labels[~disk], tifffile.imread(tmp_path / "whole.tif")[~disk])
    with tifffile.TiffFile(path) as tiff:
        assert tiff.pages.first.tags["GDAL_NODATA"].value == "6"


@pytest.mark.parametrize(("threads", "chunk_size"), [(1, "50000px"), (2, "1MiB"), (4, "64MiB")])
@pytest.mark.parametrize("lookup_pixels", [1, 1 << 30])
def test_bytes_depend_on_neither_chunks_nor_threads(lookup_pixels, chunk_size, threads, model, tmp_path, monkeypatch):
    monkeypatch.setattr("streamgmm.jobs.apply.LOOKUP_PIXELS", lookup_pixels)
    apply(model, PHOTO, tmp_path / "1.tif")
    apply(model, PHOTO, tmp_path / "2.tif", chunk_size=chunk_size, threads=threads)
    assert (tmp_path / "1.tif").read_bytes() == (tmp_path / "2.tif").read_bytes()


def test_an_output_that_is_the_model_is_refused(model_file):
    content = model_file.read_bytes()
    with pytest.raises(OutputError, match=r"model\.json: is also the input"):
        apply(model_file, PHOTO, model_file, overwrite=True)
    assert model_file.read_bytes() == content


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compression": "jpeg"}, "compression is 'jpeg'; choose deflate, none, lzw, zstd, packbits"),
        ({"tile_size": 17}, "tile-size is 17; TIFF asks for a multiple of 16"),
        ({"chunk_size": "0"}, "must be more than nothing"),
        ({"threads": 0}, "threads is 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message, model, tmp_path):
    with pytest.raises(OptionError, match=message):
        streamgmm.apply(model, PHOTO, tmp_path / "out.tif", **options)
