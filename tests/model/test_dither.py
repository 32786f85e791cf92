"""Pixels are dithered by their own places, whatever is worked on with them; levels keep means; what was found once is kept."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from streamgmm.model.display import Display
from streamgmm.model.dither import BlendTable, Dithering, halved
from streamgmm.model.placing import CLAIMED
from streamgmm.model.space import SampleSpace

from .. import naive
from ..conftest import random_mixture
from ..images import smooth

KINDS = ["ordered", "blue-noise"]
COLORS = np.random.default_rng(0).integers(0, 256, (12, 3)).astype(np.uint8)
RGB, GRAY = Display.of(random_mixture(2, 3)), Display.of(random_mixture(2, 1))


def dithered(dithering, pixels, top=0, left=0):
    return dithering.labels(dithering.blends(pixels), top, left)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("window", [(0, 0, 90, 110), (1, 0, 7, 110), (37, 81, 20, 29), (89, 109, 1, 1)])
def test_a_part_is_labeled_as_in_the_whole(kind, window):
    pixels, dithering = smooth(90, 110), Dithering(COLORS, RGB, kind)
    top, left, height, width = window
    part = np.s_[top : top + height, left : left + width]
    np.testing.assert_array_equal(dithered(dithering, pixels[part], top, left), dithered(dithering, pixels)[part])


@pytest.mark.parametrize("kind", KINDS)
def test_masked_pixels_change_no_other(kind):
    pixels, dithering = smooth(60, 70), Dithering(COLORS, RGB, kind)
    valid = np.random.default_rng(0).random((60, 70)) < 0.7
    labels = dithering.labels(dithering.blends(pixels[valid]), 0, 0, valid)
    np.testing.assert_array_equal(labels, dithered(dithering, pixels)[valid])


@pytest.mark.parametrize("kind", KINDS)
def test_local_means_are_those_of_a_ramp(kind):
    ramp = np.linspace(0, 255, 512).astype(np.uint8)[None, :, None].repeat(64, axis=0)
    grays = np.linspace(0, 255, 16).astype(np.uint8)[:, None].repeat(3, axis=1)
    shown = grays[dithered(Dithering(grays, GRAY, kind), ramp), 0].astype(float)
    means, expected = (each.reshape(4, 16, 32, 16).mean(axis=(1, 3)) for each in (shown, ramp[..., 0].astype(float)))
    assert np.abs(means - expected).max() < 1
    plain = grays[np.abs(ramp.astype(int) - grays[:, 0]).argmin(axis=2), 0].astype(float)
    assert np.abs(plain.reshape(4, 16, 32, 16).mean(axis=(1, 3)) - expected).max() > 3


def test_samples_are_dithered_as_they_are_shown():
    """Narrow ones by the range that is shown, of its bands: as 8-bit samples of what that makes of them."""
    pixels = smooth(40, 50)
    space = SampleSpace([(1000.0, 1000 + 255 * 8.0)] * 3, (1.0, 0.0))
    display = Display(space, (2, 0, 1), 1000.0, 1000 + 255 * 8.0)
    narrow = 1000 + 8 * pixels[..., [1, 2, 0]].astype(np.uint16)
    expected = dithered(Dithering(COLORS, RGB, "blue-noise"), pixels)
    assert (dithered(Dithering(COLORS, display, "blue-noise"), narrow) != expected).mean() < 1e-2
    wide = dithered(Dithering(COLORS, RGB, "blue-noise"), pixels.astype(np.uint16) * np.uint16(257))
    assert (wide != expected).mean() < 1e-2


@pytest.mark.parametrize("shape", [(12, 14), (13, 15), (1, 1), (1, 6), (2, 3)])
@pytest.mark.parametrize("masked", [None, 12])
@pytest.mark.parametrize("form", ["labels", "colors"])
def test_means_of_levels_are_those_of_the_slow_twin(form, masked, shape):
    """But for rounding, and where no pixel counts."""
    labels = np.random.default_rng(0).integers(0, 12 if masked is None else 20, shape).clip(0, 12).astype(np.uint8)
    colors, valid = np.vstack([COLORS, [[0, 0, 0]]]).astype(np.uint8)[labels], labels != 12
    expected, there = naive.halved(colors, valid)
    if form == "colors":
        codes = np.concatenate([colors, np.where(valid, 255, 0).astype(np.uint8)[..., None]], axis=2).view("<u4")[..., 0]
        means, actual = halved(codes, None, None if masked is None else 0, 7, 9)
    else:
        means, actual = halved(labels, COLORS, masked, 7, 9)
    np.testing.assert_array_equal(actual, there)
    assert (np.abs(means - expected)[there] < 1).all()


def test_means_of_levels_are_rounded_up_as_often_as_they_should_be():
    grays = np.arange(256, dtype=np.uint8)[:, None].repeat(3, axis=1)
    for sums in range(5):
        labels = np.tile(
            np.array([[100 + (sums > 0), 100 + (sums > 1)], [100 + (sums > 2), 100 + (sums > 3)]], np.uint8), (4, 4)
        )
        assert halved(labels, grays)[0].mean() == 100 + sums / 4
        masked = np.where(np.indices((8, 8)).sum(axis=0) % 2, 255, labels)
        expected = naive.halved(grays[labels], masked != 255)[0].mean()
        assert halved(masked, grays, 255)[0].mean() == expected


@pytest.mark.parametrize("top", [0, 1, 5])
def test_a_part_of_a_level_is_that_of_the_whole(top):
    labels = np.random.default_rng(0).integers(0, 12, (40, 50)).astype(np.uint8)
    dithering, parts = Dithering(COLORS, RGB, "ordered"), []
    for rows in (labels, labels[2 * top :]):
        first = 0 if rows is labels else top
        parts.append(dithering.level_labels(dithering.level_blends(halved(rows, COLORS, None, first)[0]), first, 0))
    np.testing.assert_array_equal(parts[0][top:], parts[1])


def test_a_level_of_one_color_is_that_color():
    means, _ = halved(np.full((8, 8), 5, np.uint8), COLORS)
    np.testing.assert_array_equal(means, COLORS[np.full((4, 4), 5)])
    dithering = Dithering(COLORS, RGB, "ordered")
    assert (dithering.level_labels(dithering.level_blends(means), 0, 0) == 5).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_colors", [2, 4, 16])
def test_levels_keep_the_tones_of_a_ramp(kind, n_colors):
    """Also of an ordered pattern, which the same matrix would turn into few tones, a tenth of the way to the next color off."""
    ramp = np.linspace(0, 255, 1024).astype(np.uint8)[None, :, None].repeat(512, axis=0)
    grays = np.linspace(0, 255, n_colors).astype(np.uint8)[:, None].repeat(3, axis=1)
    dithering = Dithering(grays, GRAY, kind)
    labels = dithered(dithering, ramp)
    tones = [grays[labels, 0].reshape(512, 32, 32).mean(axis=(0, 2))]
    for level in range(1, 5):
        labels = dithering.level_labels(dithering.level_blends(halved(labels, grays)[0]), 0, 0)
        tones.append(grays[labels, 0].reshape(512 >> level, 32, 32 >> level).mean(axis=(0, 2)))
    off = [np.sqrt(np.mean((tone - tones[0]) ** 2)) * (n_colors - 1) / 255 for tone in tones[1:]]
    assert (np.array(off) < (0.015, 0.025, 0.035, 0.06)).all()  # of ever fewer pixels


@pytest.mark.parametrize("n_bands", [1, 2, 3])
def test_blends_that_are_kept_are_those_that_are_found(n_bands):
    dithering = Dithering(COLORS, RGB if n_bands == 3 else GRAY, "ordered")
    table, rng = BlendTable(dithering.blends, n_bands), np.random.default_rng(0)
    for shape in ((40, 50), (0,), (300,)):
        pixels = rng.integers(0, 256, (*shape, n_bands)).astype(np.uint8)
        for _ in range(2):
            np.testing.assert_array_equal(table(pixels), dithering.blends(pixels))


def test_threads_fill_one_table():
    dithering, rng = Dithering(COLORS, RGB, "ordered"), np.random.default_rng(0)
    parts = [rng.integers(100, 130, (5000, 3)).astype(np.uint8) for _ in range(16)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(BlendTable(dithering.blends, 3), parts))
    for part, blends in zip(parts, found, strict=True):
        np.testing.assert_array_equal(blends, dithering.blends(part))


def test_what_another_thread_did_not_finish_is_found():
    dithering, pixels = Dithering(COLORS, RGB, "ordered"), smooth(20, 30)
    table = BlendTable(dithering.blends, 3)
    table(pixels[:5])
    table._blends[::2] = CLAIMED
    np.testing.assert_array_equal(table(pixels), dithering.blends(pixels))


def test_a_table_travels_empty():
    table, pixels = BlendTable(Dithering(COLORS, RGB, "ordered").blends, 3), smooth(20, 30)
    table(pixels)
    assert len(pickle.dumps(table)) < 10_000
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(table))(pixels), table(pixels))


def test_more_than_256_colors_have_labels_of_16_bits():
    colors = np.random.default_rng(0).integers(0, 256, (4096, 3)).astype(np.uint8)
    labels = dithered(Dithering(colors, RGB, "ordered"), smooth(30, 40))
    assert (labels.dtype, labels.max() > 255) == (np.uint16, True)
    assert np.abs(colors[labels].astype(float) - smooth(30, 40)).mean() < 25
