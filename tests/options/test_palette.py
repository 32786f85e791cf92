"""A palette that is given is a file of a kind that is read, and nothing else chooses colors beside it."""

from pathlib import Path

import numpy as np
import pytest

from streamgmm.errors import OptionError
from streamgmm.options.palette import PaletteOptions, QuantizeOptions


@pytest.mark.parametrize("name", ["a.gpl", "b.JSON", Path("c.txt"), "d.act", "e.tif", "f.TIFF", "g.png"])
def test_a_palette_may_be_a_file_of_colors_or_an_image(name):
    assert PaletteOptions(palette_in=name).palette_in == name


@pytest.mark.parametrize("name", ["a", "a.jpg", ".gpl", "a.gpl.zip"])
def test_a_file_of_no_known_kind_is_refused(name):
    with pytest.raises(OptionError) as refused:
        PaletteOptions(palette_in=name)
    known = ".gpl, .json, .txt, .act, .tif or .png"
    assert str(refused.value) == f"palette-in: {name}: what kind of palette? Name a file that ends in {known}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_components", "auto"),
        ("init", "random"),
        ("init", np.zeros((2, 3))),
        ("preset", "picture"),
        ("range", "0,9"),
        ("space", "lab"),
        ("palette", "centroids"),
        ("sort", "hue"),
        ("like", "a.json"),
        ("keep_values", True),
        ("display_bands", (3, 2, 1)),
        ("display_range", "0,80"),
    ],
)
def test_what_would_choose_colors_as_well_is_refused(name, value):
    QuantizeOptions(**{name: value})
    with pytest.raises(OptionError) as refused:
        QuantizeOptions(palette_in="a.gpl", **{name: value})
    flag = "components auto" if name == "n_components" else name.replace("_", "-")
    assert str(refused.value) == f"palette-in and {flag} exclude each other: a palette is taken as it is; choose one"


def test_what_does_nothing_there_may_stand_in_a_file_of_options():
    given = QuantizeOptions(palette_in="a.gpl", n_components=3, seed=1, range="type", display_range="type")
    assert given.palette_in == "a.gpl"
