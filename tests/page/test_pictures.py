"""Pictures hold what they show, exactly where these are pixels, and take no more bytes than a page has."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from streamgmm.page.pictures import GRAYS, MOST, checkered, error_map, exact, fitting, smaller, thumbnail

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (1024, 1024, 3), dtype=np.uint8)
COLORS = RNG.integers(0, 256, (256, 3), dtype=np.uint8)


def opened(picture):
    kind, _, data = picture.uri.partition(",")
    image = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
    assert kind == f"data:image/{image.format.lower()};base64"
    assert image.size == (picture.width, picture.height)
    return image


def size_of(picture):
    return len(base64.b64decode(picture.uri.partition(",")[2]))


@pytest.mark.parametrize("samples", [NOISE[:20, :30], NOISE[:20, :30, 0]])
def test_pixels_are_exact(samples):
    np.testing.assert_array_equal(np.asarray(opened(exact(samples))), samples)


def test_indices_have_the_colors_of_a_palette():
    indices = NOISE[:20, :30, 0]
    np.testing.assert_array_equal(np.asarray(opened(exact(indices, COLORS)).convert("RGB")), COLORS[indices])


def test_what_is_too_much_is_a_jpeg_that_fits():
    assert opened(fitting(NOISE, whole=True)).format == "JPEG"
    assert size_of(smaller(NOISE)) <= MOST
    assert opened(fitting(NOISE[:100, :100], whole=True)).format == "PNG"
    assert opened(fitting(NOISE[:100, :100], whole=False)).format == "JPEG"


def test_a_jpeg_is_near():
    smooth = np.broadcast_to(np.linspace(0, 255, 300).astype(np.uint8)[:, None, None], (300, 400, 3)).copy()
    assert np.abs(np.asarray(opened(smaller(smooth))).astype(int) - smooth).max() <= 3


def test_masked_pixels_are_squares_of_gray():
    valid = np.zeros((40, 40), bool)
    valid[:, 20:] = True
    found = checkered(NOISE[:40, :40], valid)
    np.testing.assert_array_equal(found[valid], NOISE[:40, :40][valid])
    assert {tuple(color) for color in found[~valid].tolist()} == {(gray,) * 3 for gray in GRAYS}
    assert found[0, 0, 0] != found[0, 8, 0] != found[8, 8, 0]
    assert checkered(NOISE, np.ones((1024, 1024), bool)) is NOISE


def test_a_thumbnail_is_small():
    picture = thumbnail(NOISE[:300, :900])
    assert (picture.width, picture.height) == (256, 85)
    assert opened(thumbnail(NOISE[:10, :20])).size == (20, 10)


@pytest.mark.parametrize("shape", [(40, 60), (700, 801)])
def test_errors_rise_with_the_colors(shape):
    errors = np.broadcast_to(np.linspace(0, 50, shape[1], dtype=np.float32), shape)
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    picture, most = error_map(errors, np.ones(shape, bool), ramp)
    assert most == pytest.approx(50, rel=0.02)
    levels = np.asarray(opened(picture).convert("RGB"))[0, :, 0].astype(int)
    assert (np.diff(levels) >= 0).all()
    assert levels[0] <= 1
    assert levels[-1] == 255


def test_errors_are_of_what_is_not_masked():
    errors, valid = np.full((20, 20), 7, np.float32), np.ones((20, 20), bool)
    valid[:10] = False
    errors[:10] = 0
    picture, most = error_map(errors, valid, COLORS)
    assert most == 7
    colors = np.asarray(opened(picture).convert("RGB"))
    assert (colors[10:] == COLORS[255]).all()
    assert set(colors[:10].reshape(-1).tolist()) == set(GRAYS)


def test_without_an_error_nothing_is_divided_by_it():
    assert error_map(np.zeros((4, 4), np.float32), np.ones((4, 4), bool), COLORS)[1] == 1
