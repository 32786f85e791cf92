"""Blends are the best of all mixtures of colors, and their means move steadily."""

import numpy as np
import pytest
from scipy.spatial import Delaunay

from streamgmm.model.buffers import BLOCK
from streamgmm.model.display import Display
from streamgmm.model.dither import AS_SHOWN, LITTLE, VARIANCE, Dithering
from streamgmm.model.placing import CLAIMED, choose

from .. import naive
from ..conftest import random_mixture

RGB, GRAY = Display.of(random_mixture(2, 3)), Display.of(random_mixture(2, 1))


def palette(kind, n_colors, seed=0):
    """Colors anywhere, or of one plane or line, or some of them alike."""
    rng = np.random.default_rng([seed, n_colors])
    colors = rng.integers(0, 256, (n_colors, 3))
    if kind == "plane":
        colors[:, 2] = colors[:, :2].sum(axis=1) // 2
    elif kind == "gray":
        colors[:] = colors[:, :1]
    elif kind == "grid":
        colors = colors // 86 * 100
    elif kind == "alike":
        colors[n_colors // 2 :] = colors[: n_colors - n_colors // 2]
    return colors.astype(np.uint8)


def shares_of(blends, n_colors):
    """The shares (n, K) of colors, of 256, that blends give the thresholds from 0 to 255."""
    label_bits, share_bits = (8, 8) if n_colors <= 256 else (12, 5)
    matrix, labels = np.arange(256, dtype=np.uint8).reshape(16, 16), np.empty(256, np.uint16)
    shares = np.empty((len(blends), n_colors))
    for i, blend in enumerate(blends):
        choose(np.full(256, blend), np.empty((0, 0), bool), matrix, 0, 0, label_bits, share_bits, 16, 16, labels)
        shares[i] = np.bincount(labels, minlength=n_colors)
    return shares / 256


def cost(shares, x, colors, part):
    away = ((colors - x[:, None].astype(float)) ** 2).sum(axis=2)
    return (1 - part) * ((shares @ colors - x) ** 2).sum(axis=1) + part * (shares * away).sum(axis=1)


@pytest.mark.parametrize("n_colors", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("kind", ["any", "plane", "gray", "grid", "alike"])
def test_blends_are_those_of_the_slow_twin(kind, n_colors):
    """Their mean is that of the one best blend, but for shares in steps of 1 / 256; the shares are where there is one way."""
    colors, x = palette(kind, n_colors), np.random.default_rng(1).integers(0, 256, (60, 3)).astype(np.uint8)
    x[:20] = x[:20] // 2 + colors[np.arange(20) % n_colors] // 2
    shares = shares_of(Dithering(colors, RGB, "ordered").blends(x), n_colors)
    means, costs, expected = (
        np.array(each)
        for each in zip(*(naive.blended(each, colors.astype(float), VARIANCE) for each in x.astype(float)), strict=True)
    )
    np.testing.assert_allclose(shares @ colors, means, atol=0.01 * np.ptp(colors, axis=0).max() + 0.3)
    np.testing.assert_allclose(cost(shares, x, colors, VARIANCE), costs, rtol=1e-3, atol=1.5)
    if kind == "any":
        assert np.abs(shares - expected).max() < 0.02


@pytest.mark.parametrize("part", [VARIANCE, LITTLE])
@pytest.mark.parametrize("n_colors", [8, 40, 256])
def test_colors_are_neighbors_in_a_delaunay_triangulation(n_colors, part):
    """They are corners of that tetrahedron in which their mean is, or on whose edge."""
    colors = palette("any", n_colors)
    x = np.random.default_rng(2).integers(0, 256, (400, 3)).astype(np.float32)
    shares = shares_of(Dithering(colors, RGB, "ordered")._blends(x, AS_SHOWN, part), n_colors)
    mesh = Delaunay(colors.astype(float))
    corners = {tuple(sorted(simplex)) for simplex in mesh.simplices}
    chosen = [set(np.flatnonzero(each)) for each in shares]
    assert np.mean([any(some <= set(each) for each in corners) for some in chosen]) > 0.99
    assert {len(some) for some in chosen} >= {2, 3, 4}


@pytest.mark.parametrize("part", [VARIANCE, LITTLE])
@pytest.mark.parametrize("n_colors", [5, 16, 64])
def test_means_move_steadily(n_colors, part):
    """Of what is convex, they move no farther than pixels do, but for that part: there are no seams where colors change."""
    colors, rng = palette("any", n_colors), np.random.default_rng(0)
    ends = rng.uniform(0, 255, (20, 2, 3))
    path = (ends[:, :1] + np.linspace(0, 1, 200)[:, None] * (ends[:, 1:] - ends[:, :1])).astype(np.float32)
    blends = Dithering(colors, RGB, "ordered")._blends(path, AS_SHOWN, part)
    means = (shares_of(blends.reshape(-1), n_colors) @ colors).reshape(path.shape)
    steps, moved = (np.sqrt((np.diff(each, axis=1) ** 2).sum(axis=2)) for each in (path, means))
    rounding = 2 * 1.5 / 256 * 255
    assert (moved <= steps / (1 - part) + rounding).all()


@pytest.mark.parametrize("kind", ["any", "gray", "alike"])
def test_a_color_that_the_palette_has_is_not_mixed(kind):
    colors = palette(kind, 50)
    for dtype, gain in ((np.uint8, 1), (np.uint16, 257)):
        labels = Dithering(colors, RGB, "blue-noise").labels
        blends = Dithering(colors, RGB, "blue-noise").blends(colors.astype(dtype) * dtype(gain))
        for label, blend in enumerate(blends):
            flat = labels(np.full((64, 64), blend), 3, 5)
            first = int((colors == colors[label]).all(axis=1).argmax())
            assert (flat == first).all()


@pytest.mark.parametrize("part", [VARIANCE, 0.3])
def test_what_is_nearly_a_color_stays_flat(part, monkeypatch):
    """Up to half of the part of the way to another color; from there on shares rise steadily, to the same on its other side."""
    monkeypatch.setattr("streamgmm.model.dither.VARIANCE", part)
    colors = np.array([[50, 50, 50], [150, 150, 150]], np.uint8)
    x = np.arange(50, 151, dtype=np.uint8)[:, None]
    shares = shares_of(Dithering(colors, GRAY, "ordered").blends(x), 2)[:, 1]
    expected = ((np.arange(101) / 100 - part / 2) / (1 - part)).clip(0, 1)
    np.testing.assert_allclose(shares, expected, atol=1 / 256)
    assert (shares[: int(50 * part) + 1] == 0).all()
    assert (shares[-int(50 * part) - 1 :] == 1).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_blend_does_not_depend_on_other_pixels(dtype):
    rng, dithering = np.random.default_rng(0), Dithering(palette("any", 20), RGB, "ordered")
    pixels = rng.integers(0, 256, (2 * BLOCK + 77, 3)).astype(dtype)
    pixels = pixels / dtype(255) if dtype == np.float32 else pixels * dtype(np.iinfo(dtype).max // 255)
    whole = dithering.blends(pixels)
    for part in (slice(1, None), slice(17, 18), slice(200, 300), slice(None, None, 3)):
        np.testing.assert_array_equal(dithering.blends(pixels[part]), whole[part])


def test_no_blend_is_taken_for_one_to_come():
    rng = np.random.default_rng(0)
    for n_colors in (1, 2, 30, 256, 4096):
        blends = Dithering(palette("any", n_colors), RGB, "ordered").blends(rng.integers(0, 256, (2000, 3)).astype(np.uint8))
        assert blends.min() > CLAIMED
