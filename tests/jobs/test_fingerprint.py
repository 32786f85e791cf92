"""A job is known by all that decides its result, and a file by its size and sixteen pieces of it."""

import copy
import os
import re
import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest

from streamgmm.errors import ImageReadError
from streamgmm.jobs import fingerprint as module
from streamgmm.jobs.fingerprint import content, fingerprint
from streamgmm.options import FitOptions, OutputOptions

from ..conftest import random_mixture


def test_a_file_is_known_by_its_size_and_sixteen_pieces_of_64_kib(tmp_path):
    """A change of the first or last byte of any piece is a change of the file."""
    path, size, piece = tmp_path / "large", 5_000_000, 1 << 16
    data = bytearray(np.random.default_rng(0).bytes(size))
    path.write_bytes(data)
    known = [content(path)]
    for i in range(16):
        for place in (i * (size - piece) // 15, i * (size - piece) // 15 + piece - 1):
            data[place] ^= 1
            path.write_bytes(data)
            assert content(path) not in known, (i, place)
            known.append(content(path))
    path.write_bytes(data + b"\0")
    assert content(path) not in known


@pytest.mark.parametrize("size", [0, 1, (1 << 16) - 1, 1 << 16, (1 << 16) + 1, 3 << 16])
def test_of_a_small_file_every_byte_counts(size, tmp_path):
    path = tmp_path / "small"
    data = bytearray(np.random.default_rng(1).bytes(size))
    path.write_bytes(data)
    known = [content(path)]
    for place in sorted({*range(0, size, 999), size - 1} - {-1}):
        data[place] ^= 0x80
        path.write_bytes(data)
        assert content(path) not in known, place
        known.append(content(path))


def test_pieces_are_told_from_each_other(tmp_path):
    """A file whose pieces have changed places is another file."""
    path, size = tmp_path / "in", 20 << 16
    data = np.random.default_rng(2).bytes(size)
    path.write_bytes(data)
    first = content(path)
    path.write_bytes(data[size // 2 :] + data[: size // 2])
    assert content(path) != first


def test_a_file_is_known_wherever_it_is(tmp_path):
    (tmp_path / "deeper").mkdir()
    paths = [tmp_path / "a.tif", tmp_path / "deeper" / "b.tif"]
    for path in paths:
        path.write_bytes(b"the same" * 1000)
    for path in paths:
        os.utime(path, ns=(10**18, 10**18))
    assert content(paths[0]) == content(paths[1])
    os.utime(paths[1], ns=(10**18, 10**18 + 1))
    assert content(paths[0]) != content(paths[1])


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ImageReadError, match=r"absent\.tif: no such file or directory"):
        content(tmp_path / "absent.tif")


FACTS = {
    "an option": (FitOptions(), FitOptions(seed=1)),
    "options of another kind": (OutputOptions(), FitOptions()),
    "means to start from": tuple(FitOptions(init=np.array([[0.5, 0.5, value]])) for value in (0.5, 0.5 + 2**-52)),
    "a model": (random_mixture(3, 3), random_mixture(3, 3, seed=1)),
    "a model to start from": tuple(FitOptions(init=random_mixture(3, 3, seed=seed)) for seed in (0, 1)),
    "a list": (["a", "b"], ["b", "a"]),
    "weights of images": (True, False),
}


@pytest.mark.parametrize("name", FACTS)
def test_any_fact_that_decides_the_result_is_in_the_fingerprint(name):
    one, other = FACTS[name]
    assert fingerprint("same", one) == fingerprint("same", copy.deepcopy(one))
    assert len({fingerprint("same", one), fingerprint("same", other), fingerprint(one, "same"), fingerprint(one)}) == 4


def test_every_option_is_in_the_fingerprint():
    """Also one that does not exist yet: each field of its own makes a difference."""
    for options in (FitOptions(), OutputOptions()):
        for field in fields(options):
            changed = copy.copy(options)
            object.__setattr__(changed, field.name, "something else")
            assert fingerprint(changed) != fingerprint(options), field.name


def test_another_version_does_not_go_on(monkeypatch):
    first = fingerprint("fact")
    monkeypatch.setattr(module, "__version__", "0.0.1")
    assert fingerprint("fact") != first


def test_a_fingerprint_is_the_same_in_every_process():
    program = "from streamgmm.jobs.fingerprint import fingerprint; print(fingerprint({'b': 1, 'a': (2, None)}, 0.1))"
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            check=True,
            encoding="utf-8",
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert printed == {fingerprint({"a": [2, None], "b": 1}, 0.1)}
    assert re.fullmatch("[0-9a-f]{32}", *printed)
