"""A mixture is a frozen value, and its JSON gives it back to the last bit."""

import json
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from streamgmm.errors import ModelError
from streamgmm.model.mixture import COVARIANCE_TYPES, Mixture
from streamgmm.model.space import BY_TYPE, SampleSpace

from .. import naive
from ..conftest import parts, random_mixture

SHAPES = {"full": (4, 3, 3), "tied": (3, 3), "diag": (4, 3), "spherical": (4,), "isotropic": ()}


def equal(a, b):
    arrays = ("weights", "means", "covariances")
    alike = (a.covariance_type, a.space, a.fixed.tolist()) == (b.covariance_type, b.space, b.fixed.tolist())
    return alike and all(np.array_equal(getattr(a, n), getattr(b, n)) for n in arrays)


def fields(**changes):
    """A model of one component and two bands, as JSON, with some fields changed, or dropped where they are None."""
    model = {
        "format": "streamgmm mixture",
        "version": 1,
        "covariance_type": "diag",
        "weights": [1.0],
        "means": [[0.25, 0.5]],
        "covariances": [[0.01, 0.02]],
    }
    return json.dumps({name: value for name, value in (model | changes).items() if value is not None})


@pytest.mark.parametrize("n_components", [1, 4, 300])
@pytest.mark.parametrize("n_bands", [1, 3, 8])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_json_gives_the_mixture_back_to_the_last_bit(covariance_type, n_bands, n_components):
    mixture = random_mixture(n_components, n_bands, covariance_type)
    ranges = ((-1 / 3, 1e300),) * (n_bands - 1) + ((0, 0),)
    for space in (BY_TYPE, SampleSpace(ranges), SampleSpace(ranges, (1 / 3, 32_768))):
        given = replace(mixture, space=space).standing([0, n_components - 1] if space.units else [])
        again = Mixture.from_json(given.to_json())
        assert equal(again, given)
        assert again.to_json() == given.to_json()


def test_a_model_without_a_range_is_for_integers():
    assert Mixture.from_json(fields()).space == BY_TYPE


def test_a_model_of_floats_as_it_was_once_written_has_one_range_for_all_bands():
    """They had no units, and nothing else was different."""
    assert Mixture.from_json(fields(range=[-2, 5.5])).space == SampleSpace(((-2, 5.5),) * 2)
    again = Mixture.from_json(Mixture.from_json(fields(range=[-2, 5.5], n_components=1, n_bands=2)).to_json())
    assert again.space == SampleSpace(((-2, 5.5),) * 2)


@pytest.mark.parametrize("components", [[2, 0], [3]])
def test_what_0_and_1_stand_for_is_kept(components):
    space = SampleSpace(((-7, 9), (0, 1), (2, 3)), (1, 32_768))
    mixture = replace(random_mixture(4, 3), space=space)
    assert mixture.take(components).space == mixture.ordered().space == space


def test_json_has_a_line_for_each_component_and_says_what_it_is():
    mixture = random_mixture(4, 3)
    text = mixture.to_json()
    read = json.loads(text)
    assert read == mixture.to_dict()
    assert (read["format"], read["version"], read["samples"]) == ("streamgmm mixture", 1, "scaled to [0, 1]")
    assert (read["n_components"], read["n_bands"], read["covariance_type"]) == (4, 3, "full")
    assert sum(line.startswith("    [[") for line in text.splitlines()) == 4
    assert text.endswith("}\n")


def test_info_is_for_a_person():
    mixture = Mixture([1 / 3, 2 / 3], [[0.1], [0.2]], [0.01, 0.01], "spherical")
    assert mixture.info() == {
        "format": "streamgmm mixture 1",
        "components": 2,
        "bands": 1,
        "covariances": "spherical",
        "range": None,
        "space": "rgb",
        "weights": [0.333333, 0.666667],
    }
    assert replace(mixture, space=SampleSpace([(-1, 2)])).info()["range"] == "-1 to 2"
    for second, told in [((49, 1023), ["-1 to 0.25", "49 to 1023"]), ((-1, 0.25), "-1 to 0.25")]:
        two = replace(random_mixture(2, 2), space=SampleSpace([(-1, 0.25), second]))
        assert two.info()["range"] == told


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"^not JSON \(Expecting value: line 1 column 1 \(char 0\)\)$"),
        ('{"format": ', r"^not JSON \(Expecting value: line 1 column 12 \(char 11\)\)$"),
        ("[" * 100_000, r"^not JSON"),
        ("[1, 2]", r'^not a model \(its "format" is not "streamgmm mixture"\)$'),
        (fields(format="GeoJSON"), r'^not a model \(its "format" is not "streamgmm mixture"\)$'),
        (fields(format=None), r'^not a model \(its "format" is not "streamgmm mixture"\)$'),
        (fields(version=2), r"^a model of version 2; this streamgmm reads version 1$"),
        (fields(version=None), r"^a model of version None; this streamgmm reads version 1$"),
        (fields(weights=None), r"^a model without 'weights'$"),
        (fields(means=None), r"^a model without 'means'$"),
        (fields(covariances=None), r"^a model without 'covariances'$"),
        (fields(covariance_type=None), r"^a model without 'covariance_type'$"),
        (fields(means=[[0.25, "x"]]), r"^a damaged model \(could not convert string to float: 'x'\); means are to be numbers$"),
        (fields(means=[[0.25], [0.5, 0.5]]), r"^a damaged model \(setting an array element with a sequence"),
        (fields(means={"a": 1}), r"^a damaged model \("),
        (fields(weights=[10**400]), r"^a damaged model \("),
        (fields(weights=[float("nan")]), r"weights, means or covariances hold a number that is not finite"),
        (
            fields(weights=[0.5, 0.5]),
            r"weights have shape \(2,\); expected \(1,\) for 1 components, 2 bands and diag covariances",
        ),
        (fields(range="wide"), r"^a damaged model \("),
        (fields(range=[1]), r"^a damaged model \("),
        (fields(range=[1, 2, 3]), r"^a damaged model \("),
        (fields(range=7), r"^a damaged model \("),
        (fields(range=[3, 2]), r"range is \[\[3, 2\], \[3, 2\]\]; expected two finite numbers for each band, the least first"),
        (fields(range=[[0, 1], [2]]), r"^a damaged model \("),
        (fields(range=[[0, 1], [2, 3], [4, 5]]), r"range is \(\(0.0, 1.0\), .*\); expected one for each of 2 bands$"),
        (fields(range=[[0, 1]]), r"range is \(\(0.0, 1.0\),\); expected one for each of 2 bands$"),
        (fields(range=[]), r"^a damaged model \("),
        (fields(range=[[0, 1], [0, 1]], units=[0, 0]), r"units are \[0, 0\]; expected a gain above 0"),
        (fields(range=[[0, 1], [0, 1]], units=[1]), r"^a damaged model \("),
        (fields(range=[[0, 1], [0, 1]], units=7), r"^a damaged model \("),
        (fields(covariances=[[0.01, 0.0]]), r"^a covariance is not positive definite; fit with a larger reg_covar$"),
        (fields(covariances=[[0.01, -1.0]]), r"^a covariance is not positive definite; fit with a larger reg_covar$"),
    ],
)
def test_a_malformed_model_is_refused_with_its_cause(text, message):
    with pytest.raises(ModelError, match=message):
        Mixture.from_json(text)


GOOD = {"weights": [0.5, 0.5], "means": [[0.1], [0.2]], "covariances": [0.01, 0.02], "covariance_type": "spherical"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"covariance_type": "round"}, r"^covariance_type is 'round'; use one of full, tied, diag, spherical, isotropic$"),
        ({"means": [0.1, 0.2]}, r"^means have shape \(2,\); expected \(components, bands\)$"),
        ({"means": np.empty((0, 3))}, r"^means have shape \(0, 3\); expected \(components, bands\)$"),
        ({"means": np.empty((2, 0))}, r"^means have shape \(2, 0\); expected \(components, bands\)$"),
        (
            {"weights": [1.0]},
            r"^weights have shape \(1,\); expected \(2,\) for 2 components, 1 bands and spherical covariances$",
        ),
        (
            {"covariances": [[0.1], [0.1]]},
            r"^covariances have shape \(2, 1\); expected \(2,\) for 2 components, 1 bands and spherical covariances$",
        ),
        ({"weights": [np.nan, 1.0]}, r"^weights, means or covariances hold a number that is not finite$"),
        ({"means": [[np.inf], [0.1]]}, r"^weights, means or covariances hold a number that is not finite$"),
        ({"covariances": [0.1, -np.inf]}, r"^weights, means or covariances hold a number that is not finite$"),
        ({"weights": [0.5, 0.25]}, r"^weights must be >= 0 and sum to 1; they sum to 0.75$"),
        ({"weights": [1.5, -0.5]}, r"^weights must be >= 0 and sum to 1; they sum to 1$"),
    ],
)
def test_what_is_no_mixture_is_refused_with_its_values(changes, message):
    with pytest.raises(ModelError, match=message):
        Mixture(**(GOOD | changes))


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_covariances_of_another_type_are_refused(covariance_type):
    mixture = random_mixture(4, 3)
    other = "diag" if covariance_type == "full" else "full"
    with pytest.raises(ModelError, match=r"covariances have shape .* for 4 components, 3 bands and"):
        Mixture(mixture.weights, mixture.means, np.ones(SHAPES[other]), covariance_type)


@pytest.mark.parametrize("name", ["weights", "means", "covariances"])
def test_a_mixture_is_frozen(name):
    given = np.ones(1)
    mixture = Mixture(given, [[0.5]], [0.1], "spherical")
    with pytest.raises(ValueError, match="read-only"):
        getattr(mixture, name)[0] = 0
    with pytest.raises(FrozenInstanceError):
        setattr(mixture, name, given)
    given[0] = 7
    assert mixture.weights[0] == 1


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_full_covariances_are_the_matrices_of_any_type(covariance_type):
    mixture = random_mixture(4, 3, covariance_type)
    assert mixture.covariances.shape == SHAPES[covariance_type]
    assert (mixture.n_components, mixture.n_bands) == (4, 3)
    np.testing.assert_array_equal(mixture.full_covariances, naive.matrices(parts(mixture)))


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_full_covariances_cannot_be_written_to(covariance_type):
    mixture = random_mixture(4, 3, covariance_type)
    with pytest.raises(ValueError, match="read-only"):
        mixture.full_covariances[0] = 0


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_whitening_roots_are_lower_triangular_roots_of_the_precisions(covariance_type):
    mixture = random_mixture(4, 3, covariance_type)
    roots = mixture.whitening_roots()
    np.testing.assert_array_equal(roots, np.tril(roots))
    precisions = np.linalg.inv(mixture.full_covariances)
    np.testing.assert_allclose(roots.transpose(0, 2, 1) @ roots, precisions, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_take_picks_components_and_scales_their_weights(covariance_type):
    mixture = random_mixture(4, 3, covariance_type)
    taken = mixture.take([2, 0])
    share = mixture.weights[2] + mixture.weights[0]
    np.testing.assert_allclose(taken.weights, mixture.weights[[2, 0]] / share, rtol=1e-15)
    np.testing.assert_array_equal(taken.means, mixture.means[[2, 0]])
    np.testing.assert_array_equal(taken.full_covariances, mixture.full_covariances[[2, 0]])
    assert taken.covariance_type == covariance_type


def test_components_are_ordered_by_falling_weight_then_by_rising_mean():
    means = [[0.9, 0.1], [0.2, 0.9], [0.2, 0.3], [0.5, 0.5]]
    mixture = Mixture([0.2, 0.2, 0.2, 0.4], means, [0.01, 0.02, 0.03, 0.04], "spherical").ordered()
    assert mixture.weights.tolist() == [0.4, 0.2, 0.2, 0.2]
    assert mixture.means.tolist() == [[0.5, 0.5], [0.2, 0.3], [0.2, 0.9], [0.9, 0.1]]
    assert mixture.covariances.tolist() == [0.04, 0.03, 0.02, 0.01]


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_the_order_components_come_in_does_not_matter(covariance_type):
    mixture = random_mixture(4, 3, covariance_type)
    assert mixture.ordered().to_json() == mixture.take([3, 1, 0, 2]).ordered().to_json()


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_alike_components_share_one_covariance(covariance_type):
    means, covariance = np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]), np.array([[0.04, 0.01], [0.01, 0.02]])
    space = SampleSpace(((0, 9), (1, 2)))
    mixture = Mixture.alike(means, covariance, covariance_type, space=space)
    variances = {"full": covariance, "tied": covariance, "diag": np.diag([0.04, 0.02]), "spherical": np.diag([0.03, 0.03])}
    variances["isotropic"] = variances["spherical"]
    np.testing.assert_allclose(mixture.full_covariances, [variances[covariance_type]] * 3)
    np.testing.assert_array_equal(mixture.means, means)
    assert mixture.weights.tolist() == [1 / 3] * 3
    assert mixture.space == space
    assert Mixture.alike(means, covariance, covariance_type, np.array([0.5, 0.3, 0.2])).weights.tolist() == [0.5, 0.3, 0.2]
