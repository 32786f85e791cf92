"""The palette of a page is that of the output, and the picture of numbers says where each color is."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from streamgmm.page.overview import Grid, Overview
from streamgmm.page.swatches import MOST, hex_colors, index_picture, share_of, swatches_of

RNG = np.random.default_rng(0)


def palette_of(n):
    return RNG.permutation(256**2)[:n, None].astype("<u4").view(np.uint8)[:, :3].copy()


def swatches(n, counts=None, labels=None):
    palette, counts = palette_of(n), np.arange(1.0, n + 1) if counts is None else counts
    means = {int(label): np.full(3, label / n) for label in (range(n) if labels is None else labels)}
    return palette, swatches_of(palette, counts, means)


def test_a_swatch_has_its_color_share_and_means():
    palette = np.array([[255, 0, 16], [0, 0, 0]], np.uint8)
    first, second = swatches_of(palette, np.array([1.0, 3.0]), {0: np.array([1.0, 0.0004, 0.5]), 1: np.zeros(3)})
    assert (first.label, first.color, first.share, first.means) == (0, "#ff0010", "25.0 %", ["1.000", "0.000", "0.500"])
    assert second.share == "75.0 %"
    assert hex_colors(palette) == ["#ff0010", "#000000"]


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0 %"),
        (1, "100.0 %"),
        (0.5, "50.0 %"),
        (0.0123, "1.23 %"),
        (1e-3, "0.100 %"),
        (2e-5, "0.002 %"),
        (1e-9, "< 0.001 %"),
    ],
)
def test_a_share_is_written_to_three_digits(share, text):
    assert share_of(share) == text


def test_of_many_colors_the_heaviest_are_shown_in_the_order_of_their_labels():
    counts = RNG.permutation(300).astype(float)
    palette, found = swatches(300, counts)
    assert len(found) == MOST
    labels = [swatch.label for swatch in found]
    assert labels == sorted(labels)
    assert set(labels) == set(np.argsort(-counts)[:MOST].tolist())
    assert [swatch.color for swatch in found] == hex_colors(palette[labels])


def test_of_a_class_map_those_labels_are_shown_that_are_classes():
    _, found = swatches(50, labels=[3, 7, 49])
    assert [swatch.label for swatch in found] == [3, 7, 49]


@pytest.mark.parametrize("n", [1, 16, 255, 256, 300])
def test_the_picture_has_the_number_of_the_swatch_of_each_pixel(n):
    palette, found = swatches(n)
    overview = Overview(Grid((40, 50)), palette)
    overview.label[:] = RNG.integers(0, n, (40, 50))
    overview.valid[:] = RNG.random((40, 50)) < 0.9
    picture, wide = index_picture(found, overview)
    samples = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.uri.partition(",")[2]))))
    assert wide == (n > 255)
    numbers = samples[..., 0] + 256 * samples[..., 1].astype(int) if wide else samples.astype(int)
    number_of = {swatch.label: number for number, swatch in enumerate(found)}
    for label, valid, number in zip(overview.label.flat, overview.valid.flat, numbers.flat, strict=True):
        expected = number_of.get(int(label)) if valid else None
        assert number == expected if expected is not None else number >= len(found)
