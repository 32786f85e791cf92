"""The command of a page makes the same output again, with the options that were given."""

import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from streamgmm.cli import main
from streamgmm.jobs.apply import Apply
from streamgmm.jobs.quantize import Quantize, quantize_image
from streamgmm.page.command import chosen, command_of, words_of

from ..conftest import random_mixture
from ..images import smooth, write_tiff


def of(given):
    return command_of(given, "quantize", [given.src, given.dst])


GIVEN = [
    ({}, ""),
    ({"n_components": 8, "covariance_type": "diag", "tol": 1e-3}, "--components 8 --covariance diag --tol 0.001"),
    ({"nodata": 0}, "--nodata=0"),
    ({"nodata": [(1, 2, 3)], "bands": (3, 2, 1)}, "--bands 3,2,1 --nodata=1,2,3"),
    ({"nodata": ["0", "250:255"]}, "--nodata=0 --nodata=250:255"),
    ({"nodata": "none"}, "--nodata none"),
    ({"nodata": float("nan")}, "--nodata=nan"),
    ({"range": (0.1, 200)}, "--range 0.1,200"),
    ({"range": ((-1, 200), (0, 1), (5, 9))}, "'--range=-1,200;0,1;5,9'"),
    ({"display_range": (-3, 80.5), "display_bands": (1,)}, "--display-bands 1 --display-range=-3,80.5"),
    ({"pyramid": False, "pack": True}, "--no-pyramid --pack"),
    ({"pyramid": True}, "--pyramid"),
    ({"nodata_color": "red"}, "--nodata-color '#ff0000'"),
    ({"html": "my page.html", "confidence": Path("s.tif")}, "--html 'my page.html' --confidence s.tif"),
    ({"reg_covar": 1e-5, "seed": 3, "output": "rgb"}, "--reg-covar 1e-05 --seed 3 --output rgb"),
    ({"threads": 1, "memory": "2GiB", "lock": False, "resume": False, "chunk_size": 5, "overwrite": True}, ""),
]


@pytest.mark.parametrize(("options", "text"), GIVEN)
def test_options_that_differ_from_their_defaults_are_written_as_they_are_read(options, text):
    found = of(Quantize("in a.tif", Path("out.tif"), **options))
    assert shlex.split(found) == shlex.split(f"streamgmm quantize 'in a.tif' out.tif {text} --overwrite")


@pytest.mark.parametrize(
    "options", [options for options, _ in GIVEN if "display_range" not in options and "range" not in options]
)
def test_the_command_makes_the_same_bytes(options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pixels = smooth(40, 50)
    write_tiff("in a.tif", pixels)
    given = Quantize("in a.tif", "out.tif", **{"threads": 1, "n_components": 3, **options})
    quantize_image(given)
    before = Path("out.tif").read_bytes()
    program, *arguments = shlex.split(of(given))
    assert program == "streamgmm"
    main([*arguments, "--threads", "1"])
    assert Path("out.tif").read_bytes() == before


def test_a_model_to_start_from_is_named_by_its_file_and_one_that_has_none_is_a_call():
    mixture = replace(random_mixture(2, 3), origin="start.json")
    assert "--init start.json" in of(Quantize("a.tif", "b.tif", init=mixture))
    found = of(Quantize("a.tif", "b.tif", init=random_mixture(2, 3), seed=1))
    assert found == "streamgmm.quantize('a.tif', 'b.tif', init=..., seed=1, overwrite=True)"


def test_an_array_has_no_command_but_a_call():
    found = of(Quantize(np.zeros((3, 3), np.uint8), Path("b.tif"), nodata=0))
    assert found == "streamgmm.quantize(..., 'b.tif', nodata=(((0, 0),),), overwrite=True)"


def test_a_model_is_an_argument():
    given = Apply("m.json", "a.tif", "b.tif", pack=True)
    found = command_of(given, "apply", [given.model, given.src, given.dst])
    assert found == "streamgmm apply m.json a.tif b.tif --pack --overwrite"


def test_what_changes_nothing_is_not_chosen():
    assert chosen(Quantize("a.tif", "b.tif", threads=3, wait=5.0, strict=True, overwrite=True)) == {}


def test_words_are_for_a_person():
    given = Quantize("a.tif", "b.tif", nodata=["-1", "5:6"], pack=True, pyramid=False, init=np.zeros((1, 3)), bands=(1, 2))
    fields = type(given).__dataclass_fields__
    told = {name: words_of(fields[name], getattr(given, name)) for name in ("nodata", "pack", "pyramid", "init", "bands")}
    assert told == {"nodata": "-1 5:6", "pack": "yes", "pyramid": "no", "init": "given in Python", "bands": "1,2"}
