"""A report tells of a job what it did, as JSON too."""

import json
from dataclasses import asdict
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from sklearn.cluster import KMeans

import streamgmm
from streamgmm.image.metadata import Metadata
from streamgmm.jobs.report import Report, told_dropped

from ..images import PHOTO, posterized, smooth, write_tiff

quantize = partial(streamgmm.quantize, threads=1)

METHODS = ["exact", "stream", "minibatch"]


FIELDS = {
    "input", "output", "model", "method", "iterations", "converged", "log_likelihood", "seconds", "pixels", "peak_memory_bytes",
    "distinct_colors", "colors_used", "psnr_db", "delta_e", "psnr_db_nearest", "nodata", "dropped", "total_seconds",
    "pixels_per_second", "bytes_in", "bytes_out",
}  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_a_report_has_every_field(method, tmp_path):
    report = quantize(PHOTO, tmp_path / "out.tif", n_components=4, method=method)
    fields = json.loads(report.to_json())
    assert set(fields) >= FIELDS
    assert (fields["input"], fields["output"], fields["method"]) == (str(PHOTO), str(tmp_path / "out.tif"), method)
    assert fields["model"] == report.model
    assert len(fields["model"]["weights"]) == fields["n_components"] == 4
    assert sum(fields["model"]["weights"]) == pytest.approx(1)
    assert 50e6 < fields["peak_memory_bytes"] < 4e9
    assert fields["seconds"].keys() == fields["pixels"].keys() >= {"compile", "seed", "fit", "label", "write"}
    assert all(seconds >= 0 for seconds in fields["seconds"].values())
    assert fields["pixels"]["label"] == 512 * 512
    assert sum(fields["seconds"].values()) <= fields["total_seconds"]
    assert fields["pixels_per_second"] == pytest.approx(512 * 512 / fields["total_seconds"])
    assert (fields["bytes_in"], fields["bytes_out"]) == (PHOTO.stat().st_size, (tmp_path / "out.tif").stat().st_size)


def test_pixels_are_counted_in_each_phase(tmp_path):
    exact = quantize(PHOTO, tmp_path / "1.tif", n_components=4)
    stream = quantize(PHOTO, tmp_path / "2.tif", n_components=4, method="stream")
    assert exact.pixels["count"] == stream.pixels["sample"] == exact.pixels["label"] == stream.pixels["label"] == 512 * 512
    assert stream.pixels["fit"] >= stream.iterations * 512 * 512
    assert stream.pixels["fit"] % (512 * 512) == 0


@pytest.mark.parametrize("bands", [1, 2, 3])
def test_distinct_colors_are_counted(bands, tmp_path):
    pixels = smooth(200, 300, bands)
    report = quantize(pixels, tmp_path / "out.tif", n_components=4)
    assert report.distinct_colors == len(np.unique(pixels.reshape(-1, bands), axis=0))


def test_distinct_colors_are_not_told_where_they_were_not_counted(tmp_path):
    assert quantize(PHOTO, tmp_path / "out.tif", n_components=2, method="stream").distinct_colors is None


def test_arrays_have_no_size(tmp_path):
    report = quantize(smooth(20, 30), tmp_path / "out.tif", n_components=2)
    assert (report.bytes_in, report.bytes_out) == (None, (tmp_path / "out.tif").stat().st_size)


def test_a_file_is_counted_once_however_many_images_are_in_it(tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", np.stack([smooth(40, 50, seed=i) for i in range(3)]), photometric="rgb")
    write_tiff(tmp_path / "more.tif", smooth(40, 50))
    sources = [tmp_path / "in.tif", tmp_path / "more.tif", tmp_path / "more.tif"]
    _, report = streamgmm.fit_image(sources, n_components=2, all_pages=True, threads=1)
    assert report.bytes_in == sum(path.stat().st_size for path in sources[:2])
    assert report.bytes_out is None
    assert report.pixels_per_second * report.total_seconds == pytest.approx(5 * 40 * 50)


# --- How near the colors are ---


@pytest.mark.parametrize("source", [PHOTO, smooth(70, 80, 1), smooth(70, 80, 3, np.uint16)], ids=["photo", "gray", "16 bits"])
@pytest.mark.parametrize("method", ["auto", "stream"])
def test_delta_e_is_that_of_comparing_the_output(source, method, tmp_path):
    report = quantize(source, tmp_path / "out.tif", n_components=5, method=method, display_range="type")
    compared = streamgmm.compare(source, tmp_path / "out.tif", threads=1)
    assert report.delta_e == pytest.approx(compared.delta_e_2000, abs=2e-5)
    assert report.psnr_db == pytest.approx(compared.psnr_db, abs=1e-4)


def test_of_many_pixels_delta_e_is_that_of_one_in_61(tmp_path, monkeypatch):
    whole = quantize(PHOTO, tmp_path / "1.tif", n_components=5, method="stream")
    monkeypatch.setattr("streamgmm.jobs.labeling.SEEN_PIXELS", 512 * 512 - 1)
    some = quantize(PHOTO, tmp_path / "2.tif", n_components=5, method="stream")
    assert some.delta_e == pytest.approx(whole.delta_e, rel=0.02)
    assert some.delta_e != whole.delta_e
    assert some.psnr_db == whole.psnr_db
    assert quantize(PHOTO, tmp_path / "3.tif", n_components=5).delta_e == pytest.approx(whole.delta_e, abs=1e-9)  # a table


def test_without_colors_or_error_there_is_no_delta_e(tmp_path):
    labels = quantize(PHOTO, tmp_path / "1.tif", n_components=4, output="labels")
    assert labels.psnr_db is not None
    exact = quantize(posterized(40, 50, 5), tmp_path / "2.tif", n_components=8)
    values = quantize(posterized(40, 50, 5, 1), tmp_path / "3.tif", keep_values=True)
    nothing = quantize(np.ma.masked_all((20, 30, 3), np.uint8), tmp_path / "4.tif")
    assert [report.delta_e for report in (labels, exact, values, nothing)] == [None] * 4
    assert nothing.bytes_out == (tmp_path / "4.tif").stat().st_size


# --- What k-means would give ---


@pytest.mark.parametrize("method", ["exact", "stream"])
def test_k_means_on_the_way_is_as_near_as_k_means_gets(method, tmp_path):
    """It is scikit-learn's k-means from the same centers, but for the little that is left to gain; EM loses some of it."""
    report = quantize(PHOTO, tmp_path / "out.tif", n_components=8, method=method)
    pixels, means = tifffile.imread(PHOTO).reshape(-1, 3) / 255, np.array(report.model["means"])
    best = KMeans(8, init=means, n_init=1, max_iter=50).fit(pixels)
    expected = -10 * np.log10(best.inertia_ / pixels.size)
    assert expected - 0.05 < report.psnr_db_nearest < expected + 0.005
    assert report.psnr_db_nearest > report.psnr_db


@pytest.mark.parametrize(
    "options",
    [
        {"preset": "segment"},
        {"rare_weight": 0.5},
        {"method": "minibatch"},
        {"output": "labels"},
        {"display_bands": (1,)},
        {"display_range": (0, 200)},
        {"reg_covar": 1e-3},
        {"init": np.array([[0.2] * 3, [0.8] * 3])},
        {"max_iter": 2},
    ],
    ids=str,
)
def test_it_is_not_told_where_it_is_not_known_or_not_of_what_is_shown(options, tmp_path):
    assert quantize(PHOTO, tmp_path / "out.tif", **{"n_components": 3, **options}).psnr_db_nearest is None


def test_it_is_told_of_8_bits_alone(tmp_path):
    reports = [
        quantize(smooth(90, 80, bands, dtype), tmp_path / f"{bands}{np.dtype(dtype)}.tif", n_components=3, preset="picture")
        for bands, dtype in ((1, np.uint8), (3, np.uint8), (2, np.uint8), (4, np.uint8), (3, np.uint16))
    ]
    assert [report.psnr_db_nearest is not None for report in reports] == [True, True, False, False, False]


# --- By itself ---


def report_of(**more):
    facts = {"input": "in.tif", "output": None, "model": None, "method": "none", "n_components": 0, "iterations": 0}
    return Report(**facts, converged=True, log_likelihood=[], seconds={}, pixels={}, distinct_colors=0, **more)


def test_json_has_every_field_as_it_is_and_ends_with_a_line():
    report = report_of(resumed={"fit": 5}, dropped=["ImageJ"], psnr_db=31.5)
    text = report.to_json()
    assert json.loads(text) == asdict(report)
    assert text.endswith("}\n")


def test_reports_share_nothing():
    one, other = report_of(), report_of()
    one.resumed["fit"] = 5
    one.dropped.append("ImageJ")
    assert (other.resumed, other.dropped) == ({}, [])


@pytest.mark.parametrize("method", METHODS)
def test_a_job_that_was_not_interrupted_has_taken_over_nothing(method, tmp_path):
    assert quantize(PHOTO, tmp_path / "out.tif", n_components=2, method=method, max_iter=2).resumed == {}


@pytest.mark.parametrize("method", METHODS)
def test_what_was_taken_over_is_told_in_pixels_of_each_phase(method, tmp_path, monkeypatch):
    monkeypatch.setattr("streamgmm.jobs.passes.checkpoint.INTERVAL", 0)
    monkeypatch.setattr("streamgmm.jobs.passes.checkpoint.SHARE", 0)
    monkeypatch.setattr("streamgmm.jobs.passes.blocks.BLOCK_PIXELS", 1 << 14)
    source = write_tiff(tmp_path / "in.tif", smooth(256, 256, 2), tile=(64, 64), compression="deflate")
    options = {"n_components": 2, "method": method, "max_iter": 3, "tile_size": 64}

    def interrupt(phase, done, total):
        if phase == "label" and done >= total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantize(source, tmp_path / "out.tif", progress=interrupt, **options)
    report = quantize(source, tmp_path / "out.tif", **options)
    assert 0 < report.resumed.pop("label") <= 256 * 256 / 2
    first = "sample" if method == "stream" else "count"
    assert report.resumed == {phase: report.pixels[phase] for phase in (first, "fit")}


def test_what_outputs_do_not_get_is_named_once_in_order(caplog):
    named = ("XMP", "EXIF"), (), ("EXIF", "ImageJ")
    images = [SimpleNamespace(name="in.tif", metadata=Metadata(dropped=names)) for names in named]
    assert told_dropped(images) == ["EXIF", "ImageJ", "XMP"]
    assert [record.getMessage() for record in caplog.records] == ["in.tif: not in the output: EXIF, ImageJ, XMP"]
    assert told_dropped(images[1:2]) == []
    assert len(caplog.records) == 1
