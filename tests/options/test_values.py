"""Values that are more than a number or a word are read as they are written, or refused in a line."""

import math

import numpy as np
import pytest

from streamgmm.errors import OptionError
from streamgmm.options.values import check_tiff_name, read_color, read_nodata, read_start

from ..conftest import random_mixture


@pytest.mark.parametrize(
    "name", ["out.tif", "out.TIFF", "out", "out.ome.tif", "out.btf", "a.png.tif", "out.tmp", ".png", "x.1"]
)
def test_a_name_that_may_be_a_tiff_is_taken(name):
    check_tiff_name(name)
    check_tiff_name(f"deep.png/{name}")


@pytest.mark.parametrize("name", ["out.png", "out.JPG", "a.tif.png", "out.webp", "out.json", "out.txt", "out.pdf", "out.zip"])
def test_a_name_of_something_else_is_refused_with_the_remedy(name):
    with pytest.raises(OptionError, match=f"{name}: images are written as TIFF; choose a name that ends in .tif"):
        check_tiff_name(name)


def test_a_start_is_a_way_means_or_a_mixture():
    assert read_start("random") == "random"
    assert read_start(mixture := random_mixture(3, 3)) is mixture
    np.testing.assert_array_equal(read_start([[0, 1], [1, 0.5]]), np.array([[0, 1], [1, 0.5]]))


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "init is None; write kmeans, k-means"),
        ("means", "init is 'means'; choose kmeans"),
        (7, "init is 7; "),
        (np.empty((0, 3)), r"init is an array of shape \(0, 3\); "),
        (np.zeros(3), r"init is an array of shape \(3,\); "),
        (np.full((2, 3), np.nan), r"init is an array of shape \(2, 3\); .* finite means in \[0, 1\]"),
        ([["red"]], r"init is \[\['red'\]\]; "),
        ([[0, 1], [2]], r"init is \[\[0, 1\], \[2\]\]; "),
        (object(), "init is <object"),
    ],
)
def test_a_start_that_is_none_is_refused_in_a_line(value, told):
    with pytest.raises(OptionError, match=told) as refused:
        read_start(value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("white", (255, 255, 255)),
        ("#0a0b0c", (10, 11, 12)),
        ("#fff", (255, 255, 255)),
        ([1, 2, 3], (1, 2, 3)),
        ((0, 0, 255), (0, 0, 255)),
    ],
)
def test_a_color_is_a_name_or_numbers(value, expected):
    assert read_color("it", value) == expected
    assert read_color("it", read_color("it", value)) == expected


@pytest.mark.parametrize("value", ["", "whitish", "#ggg", (1, 2), (1, 2, 3, 4), (0, 0, 256), (-1, 0, 0), (0.5, 0, 0), 7, None])
def test_a_color_that_is_none_is_refused_in_a_line(value):
    with pytest.raises(OptionError, match=r"nodata-color is .*; write a name such as white, #rrggbb, or three numbers"):
        read_color("nodata-color", value)


NODATA = [
    (None, None),
    ((), None),
    ("none", "none"),
    (("none",), "none"),
    (5, (((5, 5),),)),
    (np.float32(-9999.5), (((-9999.5, -9999.5),),)),
    ("255,0,255", (((255, 255), (0, 0), (255, 255)),)),
    ((255, 0, 255), (((255, 255), (0, 0), (255, 255)),)),
    (np.array([255, 0]), (((255, 255), (0, 0)),)),
    (("1", "2:3.5"), (((1, 1),), ((2, 3.5),))),
    ([(1, 2), (3, 4)], (((1, 1), (2, 2)), ((3, 3), (4, 4)))),
    ("-inf:-1e38", (((-math.inf, -1e38),),)),
    ("18446744073709551615", ((((1 << 64) - 1, (1 << 64) - 1),),)),
]


@pytest.mark.parametrize(("value", "expected"), NODATA)
def test_nodata_is_values_and_ranges_for_all_bands_or_each(value, expected):
    assert read_nodata(value) == expected
    assert read_nodata(read_nodata(value)) == expected
