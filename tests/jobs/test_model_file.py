"""A model file is a whole model, or is refused with what is wrong with it."""

import json
import os

import numpy as np
import pytest

from streamgmm.errors import ModelError
from streamgmm.jobs.model_file import load_model

from ..cli.commands import leave
from ..conftest import random_mixture


@pytest.fixture
def model_file(tmp_path):
    path = tmp_path / "model.json"
    path.write_text(random_mixture(6, 3).to_json(), encoding="utf-8")
    return path


@pytest.mark.parametrize("named", [str, lambda path: path], ids=["text", "path"])
@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_a_model_file_gives_the_model_to_the_last_bit(covariance_type, named, tmp_path):
    mixture = random_mixture(5, 4, covariance_type)
    (path := tmp_path / "model.json").write_text(mixture.to_json(), encoding="utf-8")
    loaded = load_model(named(path))
    for part in ("weights", "means", "covariances"):
        np.testing.assert_array_equal(getattr(loaded, part), getattr(mixture, part), strict=True)
    assert (loaded.covariance_type, loaded.space) == (covariance_type, mixture.space)
    assert (loaded.origin, mixture.origin) == (str(path), None)


def test_a_folder_is_no_model_file(tmp_path):
    with pytest.raises(ModelError, match="is a directory"):
        load_model(tmp_path)


@pytest.mark.parametrize("change", ["weights", "means", "covariances", "covariance_type", "version", "format"])
def test_a_model_file_without_a_part_is_refused(change, model_file):
    fields = json.loads(model_file.read_text(encoding="utf-8"))
    del fields[change]
    model_file.write_text(json.dumps(fields), encoding="utf-8")
    with pytest.raises(ModelError, match=rf"model\.json: .*({change}|version None)"):
        load_model(model_file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"model\.json: not JSON"),
        (b"{", r"model\.json: not JSON"),
        (b"[1, 2]", r"model\.json: not a model"),
        (b'{"format": "GeoJSON"}', r"model\.json: not a model"),
        (
            b'{"format": "streamgmm mixture", "version": 2}',
            r"model\.json: a model of version 2; this streamgmm reads version 1",
        ),
        (b"\xff\xfe\x00\x01", r"model\.json: not a model file \(it is not text\)"),
        (b"\x89PNG\r\n\x1a\n", r"model\.json: not a model file \(it is not text\)"),
        (b"[" * 100_000, r"model\.json: "),
    ],
)
def test_a_file_that_is_no_model_is_refused(content, message, tmp_path):
    path = tmp_path / "model.json"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message):
        load_model(path)


DAMAGES = {
    "weights that sum to 2": ("weights", [1 / 3] * 6),
    "a negative weight": ("weights", [-1, 1, 1, 0, 0, 0]),
    "weights of words": ("weights", ["a"] * 6),
    "no weights": ("weights", None),
    "too few means": ("means", [[0.5, 0.5, 0.5]]),
    "means of no shape": ("means", [[0.5], [0.5, 0.5]]),
    "means that are infinite": ("means", [[float("inf")] * 3] * 6),
    "covariances of nothing": ("covariances", [[[0] * 3] * 3] * 6),
    "covariances that are not finite": ("covariances", [[[float("nan")] * 3] * 3] * 6),
    "covariances of another type": ("covariance_type", "diag"),
    "a type that does not exist": ("covariance_type", "round"),
    "a type that is a list": ("covariance_type", ["full"]),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_model_is_refused(name, model_file):
    key, value = DAMAGES[name]
    fields = json.loads(model_file.read_text(encoding="utf-8"))
    model_file.write_text(json.dumps(fields | {key: value}), encoding="utf-8")
    with pytest.raises(ModelError, match=r"model\.json: "):
        load_model(model_file)


def test_a_model_file_that_is_absent_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"absent\.json: no such file or directory"):
        load_model(tmp_path / "absent.json")


def test_a_model_file_may_begin_with_a_byte_order_mark(model_file):
    expected = load_model(model_file)
    model_file.write_bytes(b"\xef\xbb\xbf" + model_file.read_bytes())
    assert load_model(model_file).to_dict() == expected.to_dict()
    assert leave("info", model_file) == 0


def test_a_model_that_is_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(ModelError, match=r"pipe\.json: not a regular file"):
        load_model(tmp_path / "pipe.json")
