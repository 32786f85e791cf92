"""A report tells of a job what it did, as JSON too."""

import json
from dataclasses import asdict
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

import streamgmm
from streamgmm.image.metadata import Metadata
from streamgmm.jobs.report import Report, told_dropped

from ..images import PHOTO, smooth, write_tiff

quantize = partial(streamgmm.quantize, threads=1)

METHODS = ["exact", "stream", "minibatch"]


FIELDS = {
    "input", "output", "model", "method", "iterations", "converged", "log_likelihood", "seconds", "pixels", "peak_memory_bytes",
    "distinct_colors", "colors_used", "psnr_db", "nodata", "dropped",
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
