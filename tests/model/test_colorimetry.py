"""Colors become those of CIE Lab, and are as far apart as Sharma, Wu and Dalal have published."""

import numpy as np
import pytest

from streamgmm.model.colorimetry import color_errors, delta_e_2000, lab_of, linear_light

from .. import naive

# Table 1 of Sharma, Wu and Dalal, "The CIEDE2000 color-difference formula" (2005): two colors in Lab, and their difference.
PAIRS = """
50.0000   2.6772 -79.7751  50.0000   0.0000 -82.7485   2.0425
50.0000   3.1571 -77.2803  50.0000   0.0000 -82.7485   2.8615
50.0000   2.8361 -74.0200  50.0000   0.0000 -82.7485   3.4412
50.0000  -1.3802 -84.2814  50.0000   0.0000 -82.7485   1.0000
50.0000  -1.1848 -84.8006  50.0000   0.0000 -82.7485   1.0000
50.0000  -0.9009 -85.5211  50.0000   0.0000 -82.7485   1.0000
50.0000   0.0000   0.0000  50.0000  -1.0000   2.0000   2.3669
50.0000  -1.0000   2.0000  50.0000   0.0000   0.0000   2.3669
50.0000   2.4900  -0.0010  50.0000  -2.4900   0.0009   7.1792
50.0000   2.4900  -0.0010  50.0000  -2.4900   0.0010   7.1792
50.0000   2.4900  -0.0010  50.0000  -2.4900   0.0011   7.2195
50.0000   2.4900  -0.0010  50.0000  -2.4900   0.0012   7.2195
50.0000  -0.0010   2.4900  50.0000   0.0009  -2.4900   4.8045
50.0000  -0.0010   2.4900  50.0000   0.0010  -2.4900   4.8045
50.0000  -0.0010   2.4900  50.0000   0.0011  -2.4900   4.7461
50.0000   2.5000   0.0000  50.0000   0.0000  -2.5000   4.3065
50.0000   2.5000   0.0000  73.0000  25.0000 -18.0000  27.1492
50.0000   2.5000   0.0000  61.0000  -5.0000  29.0000  22.8977
50.0000   2.5000   0.0000  56.0000 -27.0000  -3.0000  31.9030
50.0000   2.5000   0.0000  58.0000  24.0000  15.0000  19.4535
50.0000   2.5000   0.0000  50.0000   3.1736   0.5854   1.0000
50.0000   2.5000   0.0000  50.0000   3.2972   0.0000   1.0000
50.0000   2.5000   0.0000  50.0000   1.8634   0.5757   1.0000
50.0000   2.5000   0.0000  50.0000   3.2592   0.3350   1.0000
60.2574 -34.0099  36.2677  60.4626 -34.1751  39.4387   1.2644
63.0109 -31.0961  -5.8663  62.8187 -29.7946  -4.0864   1.2630
61.2901   3.7196  -5.3901  61.4292   2.2480  -4.9620   1.8731
35.0831 -44.1164   3.7933  35.0232 -40.0716   1.5901   1.8645
22.7233  20.0904 -46.6940  23.0331  14.9730 -42.5619   2.0373
36.4612  47.8580  18.3852  36.2715  50.5065  21.2231   1.4146
90.8027  -2.0831   1.4410  91.1528  -1.6435   0.0447   1.4441
90.9257  -0.5406  -0.9208  88.6381  -0.8985  -0.7239   1.5381
 6.7747  -0.2908  -2.4247   5.8714  -0.0985  -2.2286   0.6377
 2.0776   0.0795  -1.1350   0.9033  -0.0636  -0.5514   0.9082
"""


def planes(colors):
    """Colors (n, 3) of 16 bits as kernels take them."""
    return np.ascontiguousarray(np.array(colors, np.uint16).T)


def lab(samples):
    """Lab (3, n) of samples (3, n)."""
    lab_of(samples, linear_light(), out := np.empty(samples.shape))
    return out


def differences(one, other):
    """Delta E between colors (3, n) in Lab."""
    delta_e_2000(one, other, out := np.empty(one.shape[1]))
    return out


def test_the_published_pairs_are_as_far_apart_as_published():
    table = np.array([line.split() for line in PAIRS.strip().splitlines()], float)
    assert table.shape == (34, 7)
    one, other = (np.ascontiguousarray(part.T) for part in (table[:, :3], table[:, 3:6]))
    np.testing.assert_allclose(differences(one, other), table[:, 6], atol=1e-4)
    np.testing.assert_allclose(differences(other, one), table[:, 6], atol=1e-4)


def test_a_color_is_as_far_from_itself_as_nothing():
    colors = lab(planes(np.random.default_rng(0).integers(0, 65_536, (500, 3))))
    np.testing.assert_array_equal(differences(colors, colors), 0)


def test_samples_become_lab_by_the_definitions():
    colors = np.random.default_rng(0).integers(0, 65_536, (2000, 3))
    colors[:200] //= 40  # dark, where lines take the place of powers
    np.testing.assert_allclose(lab(planes(colors)).T, naive.lab(colors / 65_535), atol=1e-9)


@pytest.mark.parametrize(
    ("color", "expected"),
    [("red", (53.24, 80.09, 67.20)), ("green", (87.73, -86.18, 83.18)), ("blue", (32.30, 79.19, -107.86))],
)
def test_the_primaries_are_where_others_have_them(color, expected):
    place = ["red", "green", "blue"].index(color)
    np.testing.assert_allclose(lab(planes([np.eye(3)[place] * 65_535]))[:, 0], expected, atol=0.03)


def test_grays_have_no_chroma_and_white_is_100():
    grays = lab(planes(np.arange(0, 65_536, 257)[:, None].repeat(3, axis=1)))
    np.testing.assert_allclose(grays[1:], 0, atol=1e-9)
    assert (np.diff(grays[0]) > 0).all()
    assert grays[0, [0, -1]] == pytest.approx([0, 100])


def test_errors_are_added_up_over_pixels_that_are_valid():
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 65_536, (2, 3, 20, 30), dtype=np.uint16)
    other[:, :5] = one[:, :5]
    valid = rng.random((12, 25)) < 0.7  # of a part; what is beside it is for SSIM
    squared, delta_e = color_errors(one, other, valid, linear_light())
    chosen = [np.ascontiguousarray(each[:, :12, :25][:, valid]) for each in (one, other)]
    assert squared == sum(int(x - y) ** 2 for x, y in zip(*(each.astype(int).ravel() for each in chosen), strict=True))
    assert delta_e == pytest.approx(differences(*map(lab, chosen)).sum(), rel=1e-12)
