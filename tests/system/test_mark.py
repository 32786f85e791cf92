"""This program knows what it has written, whole or damaged, and takes nothing else for its own."""

import os

import numpy as np
import pytest
import tifffile

import streamgmm
from streamgmm.system.mark import is_own, software

from ..conftest import random_mixture
from ..images import smooth, write_tiff


@pytest.fixture(params=["quantize", "labels", "cog", "long description"])
def made(request, tmp_path):
    """An output."""
    write_tiff(tmp_path / "in.tif", smooth(60, 70))
    if request.param == "long description":
        tifffile.imwrite(tmp_path / "in.tif", smooth(60, 70), photometric="rgb", description="x" * 300_000, metadata=None)
    options = {"labels": {"output": "labels"}, "cog": {"layout": "cog"}}.get(request.param, {})
    streamgmm.quantize(tmp_path / "in.tif", tmp_path / "out.tif", n_components=3, threads=1, **options)
    assert not is_own(tmp_path / "in.tif")
    return tmp_path / "out.tif"


def test_an_output_is_known(made):
    assert is_own(made)


def test_an_output_is_known_where_it_is_damaged(made):
    data = made.read_bytes()
    for damaged in (data[:-100], bytes(8) + data[8:], b""):
        made.write_bytes(damaged)
        assert is_own(made)


def test_a_model_is_known(tmp_path):
    (tmp_path / "model.json").write_text(random_mixture(3, 3).to_json(), encoding="utf-8")
    assert is_own(tmp_path / "model.json")


def test_a_page_is_known(tmp_path):
    streamgmm.quantize(smooth(20, 30), tmp_path / "out.tif", html=tmp_path / "page.html", n_components=2, threads=1)
    assert is_own(tmp_path / "page.html")
    quoting = "<!doctype html><p>" + (tmp_path / "page.html").read_text(encoding="utf-8")
    (tmp_path / "page.html").write_text(quoting, encoding="utf-8")
    assert not is_own(tmp_path / "page.html")


@pytest.mark.parametrize(
    "text", ["mine", "streamgmm 0.1.0 makes such files", '{"name": "streamgmm mixture"}', "streamgmm", "streamgmm \0"]
)
def test_a_text_about_the_program_is_not_of_the_program(text, tmp_path):
    (tmp_path / "y.tif").write_text(text, encoding="utf-8")
    assert not is_own(tmp_path / "y.tif")


def test_what_is_not_there_or_is_no_file_is_not_of_the_program(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert not any(is_own(path) for path in (tmp_path / "gone", tmp_path, tmp_path / "pipe"))


def test_the_mark_names_the_program_its_version_and_the_job():
    assert software(None) == f"streamgmm {streamgmm.__version__}"
    assert software("0af1") == f"streamgmm {streamgmm.__version__} fingerprint 0af1"
    assert np.char.isalnum(software(None).split()[0])
