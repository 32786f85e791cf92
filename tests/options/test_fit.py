"""Options of fits: ranges, ridges and starts are taken however they are written."""

import numpy as np
import pytest

from streamgmm.options.fit import FitOptions


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("auto", "auto"),
        ("type", "type"),
        ("0,1", ((0, 1),)),
        ("-1.5,2e3;0,7", ((-1.5, 2000), (0, 7))),
        ((0, 1), ((0, 1),)),
        ([np.int64(3), np.float32(4)], ((3, 4),)),
        ([(0, 1), (2, 3)], ((0, 1), (2, 3))),
        (np.array([[0, 1], [2, 3]]), ((0, 1), (2, 3))),
        (((0, 1),), ((0, 1),)),
    ],
)
def test_a_range_is_for_all_bands_or_for_each(given, taken):
    assert FitOptions(range=given).range == taken


@pytest.mark.parametrize(("given", "taken"), [("auto", "auto"), ("1e-4", 1e-4), (0, 0.0), (np.float32(0.5), 0.5), ("0", 0.0)])
def test_a_ridge_is_found_or_given(given, taken):
    assert FitOptions(reg_covar=given).reg_covar == taken


def test_an_array_to_start_from_counts_its_components():
    assert FitOptions(init=np.zeros((5, 3))).wanted == 5
    assert FitOptions(n_components=7).wanted == 7


@pytest.mark.parametrize(
    "given",
    ["#ff0000,#0000ff", "red, blue", ["red", (0, 0, 255)], [(255, 0, 0), [0, 0, 255]], np.array([[255, 0, 0], [0, 0, 255]]),
     ["red", "blue", "red"]],
)  # fmt: skip
def test_colors_that_are_fixed_are_read_however_they_are_written(given):
    assert FitOptions(fix=given).fix == ((255, 0, 0), (0, 0, 255))


def test_one_color_may_be_a_triple_alone():
    assert FitOptions(fix=(1, 2, 3)).fix == ((1, 2, 3),)
    assert FitOptions(fix=((1, 2, 3),)).fix == ((1, 2, 3),)


def test_fidelity_is_of_isotropic_components():
    assert FitOptions(preset="fidelity").covariance_type == "isotropic"
    assert FitOptions(preset="fidelity", covariance_type="isotropic").covariance_type == "isotropic"
    assert [FitOptions(preset=preset).is_hard(3) for preset in ("picture", "fidelity", "segment", None)] == [
        True,
        True,
        False,
        True,
    ]
    assert [FitOptions(preset=preset).is_hard(4) for preset in ("fidelity", None)] == [True, False]


def test_of_a_number_that_is_to_be_found_the_most_are_counted():
    assert FitOptions(n_components="auto").wanted == 256
    given = FitOptions(n_components="auto", max_components=9, target_psnr=30.0, max_delta_e=1.0, seed=4)
    assert (given.wanted, given.is_auto) == (9, True)
    found = given.of(5)
    assert (found.wanted, found.is_auto, found.seed) == (5, False, 4)
    assert found == FitOptions(n_components=5, seed=4)
