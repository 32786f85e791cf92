"""A report tells of a job what it did, as JSON too."""

import json
from functools import partial

import numpy as np
import pytest

import streamgmm

from ..images import PHOTO, smooth

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
