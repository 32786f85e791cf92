"""A sample is drawn from all over the images, also where most of them is masked, and tells what 0 and 1 are; few colors are all
counted."""

import logging
import re
from contextlib import contextmanager

import numpy as np
import pytest

import streamgmm
from streamgmm.errors import ModelError, NoPixelsError, OptionError
from streamgmm.jobs import sampling as module
from streamgmm.jobs.clock import Clock, unseen
from streamgmm.jobs.resources import Resources
from streamgmm.jobs.sampling import (
    FEW,
    SAMPLE_BLOCKS,
    SAMPLE_BYTES,
    SAMPLE_PIXELS,
    TAIL,
    Sample,
    check_range,
    draw,
    few_colors,
    found_space,
    known_space,
    near_colors,
    odd_means,
    sample_blocks,
    sample_size,
)
from streamgmm.jobs.session import open_session
from streamgmm.model.colors import ColorTable
from streamgmm.model.mixture import Mixture
from streamgmm.model.space import BY_TYPE, FAR, SampleSpace
from streamgmm.options import FitOptions, ReadOptions, ResourceOptions

from .. import naive
from ..conftest import random_mixture
from ..images import posterized, smooth, write_tiff


@pytest.fixture(autouse=True)
def many_blocks(monkeypatch):
    monkeypatch.setattr("streamgmm.jobs.passes.blocks.BLOCK_PIXELS", 1 << 8)


@contextmanager
def session_of(*sources, threads=1):
    with open_session(sources, ReadOptions(), Resources.of(ResourceOptions(threads=threads)), Clock()) as session:
        yield session


def sampled(session, size, seed=0, chosen=None, by_image=False):
    return draw(session, size, seed, session.blocks if chosen is None else chosen, unseen, by_image)


def colors_in(pixels):
    """Its colors, with how often each occurs."""
    return naive.count_colors(np.ma.getdata(pixels)[~np.ma.getmaskarray(pixels).any(axis=2)])


def counts_of(table):
    if isinstance(table, Sample):
        table = table.table(BY_TYPE, table.pixels.dtype)
    return dict(zip(map(tuple, table.colors.tolist()), table.counts, strict=True))


# --- From where ---


def test_blocks_to_seed_from_are_all_up_to_some():
    with session_of(smooth(100, 120)) as session:
        n_blocks = len(session.blocks)
        assert n_blocks > 30
        chosen = sample_blocks(session)
        assert len(chosen) == n_blocks
        assert len({block.position for block in chosen}) == len(chosen)
    with session_of(smooth(4, 5)) as session:
        assert sample_blocks(session) == list(session.blocks)


def test_blocks_of_a_large_image_are_some_all_over_it(monkeypatch):
    monkeypatch.setattr(module, "SAMPLE_BLOCKS", 10)
    with session_of(smooth(200, 240)) as session:
        chosen = sample_blocks(session)
        assert len(chosen) == 10
        assert chosen[0].position == 0
        assert chosen[-1].position >= 0.85 * len(session.blocks)
    assert SAMPLE_BLOCKS > 10


# --- How many ---


def test_as_many_are_drawn_as_bytes_allow_and_16_a_component_at_least():
    for bands, dtype, expected in [
        (1, np.uint8, SAMPLE_PIXELS),
        (64, np.uint16, SAMPLE_BYTES // 128),
        (64, np.float64, 1 << 16),
    ]:
        with session_of(np.zeros((4, 5, bands), dtype)) as session:
            assert sample_size(session, 16) == expected
            assert sample_size(session, 60_000) == max(expected, 960_000)


@pytest.mark.parametrize("size", [100, 1000, 5000])
def test_as_many_pixels_are_drawn_as_blocks_hold_of_their_share_and_all_are_of_the_image(size):
    pixels = smooth(100, 120)
    with session_of(pixels) as session:
        sample = sampled(session, size)
        share = -(-size // len(session.blocks))
        assert len(sample.pixels) == sum(min(share, block.n_pixels) for block in session.blocks) > 0.9 * size
        assert sample.weights.sum() == pytest.approx(12_000, rel=0.05)
        assert counts_of(sample).keys() <= colors_in(pixels).keys()


def test_of_a_small_image_each_pixel_is_drawn_once():
    pixels = smooth(30, 40)
    with session_of(pixels) as session:
        assert counts_of(sampled(session, 10_000)) == colors_in(pixels)


def test_every_part_of_the_image_stands_for_its_pixels():
    quarters = np.arange(4, dtype=np.uint8).reshape(2, 2, 1).repeat(64, axis=0).repeat(64, axis=1)
    with session_of(quarters) as session:
        counts = counts_of(sampled(session, 4000))
    assert counts == pytest.approx({(level,): 64 * 64 for level in range(4)})


def test_what_is_rare_and_far_is_drawn_and_weighs_no_more_than_it_is():
    pixels = np.random.default_rng(0).normal(100, 2, (300, 400, 1)).round().astype(np.uint16)
    pixels[::30, ::40] = 50_000
    with session_of(pixels) as session:
        sample = sampled(session, 2000)
    far = sample.pixels[:, 0] == 50_000
    assert 100 / 120_000 * 2000 < 2
    assert far.sum() > 100
    assert sample.weights[far].sum() == pytest.approx(100, rel=0.2)


def test_the_sample_depends_on_the_seed_and_not_on_threads():
    samples = []
    for seed, threads in ((0, 1), (0, 4), (1, 1)):
        with session_of(smooth(100, 120), threads=threads) as session:
            samples.append(counts_of(sampled(session, 500, seed)))
    assert samples[0] == samples[1] != samples[2]


def test_samples_of_8_and_16_bits_are_drawn_on_one_scale():
    narrow, wide = posterized(40, 50, 4, seed=1), posterized(40, 50, 4, dtype=np.uint16, seed=2)
    with session_of(narrow, wide) as session:
        sample = sampled(session, 100_000)
    assert sample.pixels.dtype == np.uint16
    expected = np.concatenate([narrow.reshape(-1, 3).astype(np.uint16) * 257, wide.reshape(-1, 3)])
    assert counts_of(sample) == naive.count_colors(expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_floats_are_drawn_with_all_their_digits(dtype):
    pixels = (smooth(30, 40, dtype=np.uint16) * dtype(3) + dtype(5_000_000)).astype(dtype)
    with session_of(pixels) as session:
        found = sampled(session, 10_000).pixels
    assert found.dtype == np.float64
    assert naive.count_colors(found) == naive.count_colors(pixels.reshape(-1, 3).astype(np.float64))


# --- Where most is masked ---


def mostly_masked(*places):
    """An image of which only some windows are not masked."""
    mask = np.ones((100, 120, 3), bool)
    for place in places:
        mask[place] = False
    return np.ma.array(smooth(100, 120), mask=mask)


@pytest.mark.parametrize("place", [np.s_[:10, :12], np.s_[90:, 100:], np.s_[50:52, 30:90]], ids=str)
def test_what_is_not_masked_is_found_wherever_it_is(place):
    pixels = mostly_masked(place)
    with session_of(pixels) as session:
        sample = sampled(session, 1000, chosen=session.blocks.spread(3))
        assert counts_of(sample).keys() <= colors_in(pixels).keys()
        assert len(sample.pixels) >= min(1000 // FEW, sum(colors_in(pixels).values()))


def test_where_little_is_there_each_pixel_counts_once():
    """Also in the blocks that were drawn from before, of which there was too little."""
    pixels = mostly_masked(np.s_[:10, :12], np.s_[90:, 100:])
    with session_of(pixels) as session:
        for chosen in (session.blocks.spread(3), session.blocks):
            assert counts_of(sampled(session, 10_000, chosen=chosen)) == colors_in(pixels)


def test_no_more_is_read_where_enough_was_drawn(monkeypatch):
    with session_of(smooth(100, 120)) as session:
        chosen = session.blocks.spread(3)
        sampled(session, 300, chosen=chosen)
        assert session.n_valid.keys() == {block.position for block in chosen}


def test_where_all_is_masked_there_is_nothing_to_fit():
    with session_of(mostly_masked()) as session, pytest.raises(NoPixelsError, match="array: every pixel is masked"):
        sampled(session, 100)


# --- Several images ---


@pytest.mark.parametrize("by_image", [False, True])
def test_images_have_the_weight_of_their_pixels_or_all_the_same(by_image):
    dark, light = np.zeros((90, 100, 3), np.uint8), np.full((30, 100, 3), 255, np.uint8)
    with session_of(dark, light) as session:
        counts = counts_of(sampled(session, 2000, by_image=by_image))
    share = counts[0, 0, 0] / sum(counts.values())
    assert share == pytest.approx(0.5 if by_image else 0.75, abs=0.02)


# --- What 0 and 1 are ---


def known(source, **options):
    with session_of(source) as session:
        return known_space(session, FitOptions(**options))


def found(*sources, by_image=False):
    with session_of(*sources) as session:
        return found_space(session, sampled(session, 1 << 19, by_image=by_image))


def quantiles(values):
    """The range of values by the definition."""
    return tuple(np.quantile(values, [TAIL, 1 - TAIL], method="inverted_cdf").tolist())


BYTES, WIDE, FLOATS = smooth(30, 40), smooth(30, 40, dtype=np.uint16), smooth(30, 40).astype(np.float32)


def test_8_bits_have_the_range_of_their_type():
    assert known(BYTES) == known(BYTES, range="type") == BY_TYPE
    with pytest.raises(OptionError, match=r"^array: range is given; 8-bit samples have that of their type, 0 to 255$"):
        known(BYTES, range="0,100")


def test_a_sample_is_asked_where_nothing_is_given():
    assert known(WIDE) is known(FLOATS) is None
    assert known(WIDE, range="type") == BY_TYPE
    with pytest.raises(
        OptionError, match=r"^array: range is type; samples are floats, or wider than 16 bits: use auto, or LOW"
    ):
        known(FLOATS, range="type")


@pytest.mark.parametrize(("source", "units"), [(WIDE, (1, 0)), (WIDE.view(np.int16), (1, 32_768)), (FLOATS, None)])
def test_a_range_is_given_for_all_bands_or_for_each(source, units):
    assert known(source, range="-2,7.5") == SampleSpace(((-2, 7.5),) * 3, units)
    assert known(source, range=[(1, 2), (3, 4), (5, 6)]) == SampleSpace(((1, 2), (3, 4), (5, 6)), units)
    with pytest.raises(OptionError, match=r"^array: range is given for 2 bands; the image has 3$"):
        known(source, range="1,2;3,4")


def test_a_mixture_to_start_from_brings_its_range():
    space = SampleSpace(((0, 9),) * 3)
    mixture = replaced(random_mixture(4, 3), space)
    assert known(FLOATS, init=mixture) == space
    with pytest.raises(OptionError, match=r"^array: range is given; that of the mixture to start from is taken$"):
        known(FLOATS, init=mixture, range="0,1")
    with pytest.raises(OptionError, match=r"^init has means of shape \(4, 2\); the image has 3 bands$"):
        known(FLOATS, init=replaced(random_mixture(4, 2), SampleSpace(((0, 9),) * 2)))


def replaced(mixture, space):
    return type(mixture)(mixture.weights, mixture.means, mixture.covariances, mixture.covariance_type, space)


@pytest.mark.parametrize("source", [BYTES, WIDE, FLOATS], ids=["bytes", "wide", "floats"])
def test_a_mixture_of_floats_is_for_floats(source):
    mixture, floating = random_mixture(4, 3), source is FLOATS
    ranged = replaced(mixture, SampleSpace(((0, 9),) * 3, (1, 0)))
    floats = replaced(mixture, SampleSpace(((0, 9),) * 3))
    with session_of(source) as session:
        for fitting in [floats] if floating else [mixture, ranged]:
            check_range(session, fitting)
        for other in [mixture, ranged] if floating else [floats]:
            with pytest.raises(ModelError, match=r"^array: samples are .*; the model is for .*, fit one to such images$"):
                check_range(session, other)
            with pytest.raises(ModelError, match=r"^array: samples are "):
                known_space(session, FitOptions(init=other))


@pytest.mark.parametrize("bands", [1, 2, 4])
def test_each_band_has_the_range_that_all_but_a_thousandth_lie_in(bands):
    pixels = smooth(100, 120, bands, np.uint16) // np.arange(1, bands + 1, dtype=np.uint16)
    assert found(pixels) == SampleSpace(tuple(quantiles(pixels[..., band]) for band in range(bands)), (1, 0))


def test_red_green_and_blue_have_one_range():
    pixels = smooth(100, 120, 3, np.uint16) // np.array([1, 2, 4], np.uint16)
    ends = np.array([quantiles(pixels[..., band]) for band in range(3)])
    assert found(pixels) == SampleSpace(((ends.min(), ends.max()),) * 3, (1, 0))


INT16 = (np.random.default_rng(0).normal(0, 300, (100, 120, 1))).round().astype(np.int16)


@pytest.mark.parametrize(
    ("pixels", "units"),
    [
        (INT16, (1, 32_768)),
        (INT16.astype(np.int32) * 70_000, None),
        (INT16.astype(np.float32) / 7, None),
        (273.15 + INT16 * 1e-5, None),
        (5_400_000 + INT16 * 1e-3, None),
    ],
    ids=["int16", "int32", "float32", "kelvin", "UTM"],
)
def test_a_range_is_told_in_the_units_of_the_image(pixels, units):
    assert found(pixels) == SampleSpace((quantiles(pixels),), units)


def test_samples_of_12_bits_have_a_range_of_12_bits(tmp_path):
    pixels = (smooth(100, 120, 1, np.uint16) >> 5) + 100  # up to 2,147
    path = write_tiff(tmp_path / "in.tif", pixels, bitspersample=12)
    space = found(path)
    assert space.units == (65_535 / 4095, 0)
    np.testing.assert_allclose(space.range, [quantiles(pixels)], atol=0.05)


def test_images_of_8_and_16_bits_have_the_range_of_both_in_units_of_the_first():
    narrow, wide = np.full((100, 100, 1), 100, np.uint8), np.full((100, 100, 1), 200 * 257, np.uint16)
    assert found(narrow, wide) == SampleSpace(((100, 200),), (257, 0))
    assert found(wide, narrow) == SampleSpace(((100 * 257, 200 * 257),), (1, 0))


def test_a_band_that_is_nearly_all_one_value_has_the_range_of_all():
    pixels = np.full((100, 120), 7, np.uint16)
    assert found(pixels) == SampleSpace(((7, 7),), (1, 0))
    pixels[3, 4] = 9
    assert found(pixels) == SampleSpace(((7, 9),), (1, 0))


def test_images_of_equal_weight_have_a_say_each_in_the_range():
    """Of a thousandth of all pixels; of the second image, which has few, that is half."""
    dark, light = np.arange(300 * 400, dtype=np.uint16).reshape(300, 400) % 1000, np.full((1, 50), 60_000, np.uint16)
    assert found(dark, light).range[0][1] < 1000
    assert found(dark, light, by_image=True).range[0][1] == 60_000


@pytest.mark.parametrize(
    ("pixels", "given", "share"),
    [
        (INT16, "type", 2.9),
        (INT16, "-3000,3000", None),
        (INT16, "-40000,40000", 2.3),
        (INT16 / 7, "-10000,10000", 1.3),
        (np.full((100, 120, 1), 7, np.uint16), "type", None),
    ],
)
def test_a_range_that_is_far_too_wide_is_told_of(pixels, given, share, caplog):
    streamgmm.fit_image(pixels, n_components=2, range=given, threads=1)
    lines = [line for line in caplog.messages if "range" in line]
    low, high = quantiles(pixels)
    expected = (
        f"array: nearly all pixels lie in {share} % of the range, from {low:g} to {high:g}; give no --range, or such a one"
    )
    assert lines == ([] if share is None else [expected])


# --- What is odd ---


def heights(dtype=np.float32, seed=0):
    """Of a land without holes."""
    return np.round(500.0 + smooth(200, 240, 1, seed=seed) + np.random.default_rng(seed).normal(0, 3, (200, 240, 1)), 3).astype(
        dtype
    )


def with_value(pixels, value, share):
    pixels = pixels.copy()
    pixels.reshape(-1)[: max(1, round(share * pixels.size))] = value
    return pixels


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.int32])
@pytest.mark.parametrize("value", [-9999, -32_768])
@pytest.mark.parametrize("share", [0.6, 0.1, 0.01, 0], ids=["most", "many", "some", "one"])
def test_a_value_far_below_all_others_may_be_nodata(share, value, dtype, caplog):
    pixels = with_value(heights(dtype), value, share)
    found(pixels)
    (line,) = caplog.messages
    low, high = pixels[pixels != value].min(), pixels.max()
    expected = f"array: {value} in {100 * (share or 1 / pixels.size):.2g} % of the pixels, far from all others, "
    assert line == f"{expected}{low:g} to {high:g}: nodata? Say so with --nodata"


@pytest.mark.parametrize("value", [3.4e38, -3.4e38, 1e20])
@pytest.mark.parametrize("share", [0, 0.1])
@pytest.mark.parametrize("classes", [False, True])
def test_what_float32_cannot_tell_from_nodata_is_told_of(classes, share, value, caplog):
    pixels = posterized(200, 240, 9, 1).astype(np.float64) if classes else heights(np.float64)
    found(with_value(pixels, value, share))
    assert [line.split(" %")[0] for line in caplog.messages] == [f"array: {value:g} in {100 * (share or 1 / 48_000):.2g}"]


def test_it_is_told_once_for_all_bands_and_values(caplog):
    pixels = np.concatenate([heights(seed=seed) for seed in range(4)], axis=2)
    pixels[5:50, :, 1:] = -9999
    pixels[100, 7] = 1e30
    found(pixels)
    assert [line.split(",")[0] for line in caplog.messages] == ["array: 1e+30 in 0.0021 % of the pixels"]
    caplog.clear()
    pixels[100, 7] = pixels[100, 8]
    found(pixels)
    assert [", ".join(line.split(",")[:2]) for line in caplog.messages] == ["array: -9999 in 22 % of the pixels,  band 2"]


def spots(noise, n_spots, top, flat=False):
    """A dark background and bright spots, which end softly or not."""
    rng = np.random.default_rng([n_spots, top])
    y, x = np.mgrid[:300, :400]
    image = 100 + rng.normal(0, noise, (300, 400)) if noise else np.full((300, 400), 100.0)
    for _ in range(n_spots):
        place = (y - rng.uniform(0, 300)) ** 2 + (x - rng.uniform(0, 400)) ** 2
        image = np.maximum(image, top * (place < 9)) if flat else image + top * rng.uniform(0.2, 1) * np.exp(-place / 8)
    return image.clip(0, 65_535)[:, :, None]


def with_spot(pixels):
    pixels[7, 7:12, 0] = [4000, 15_000, 40_000, 30_000, 5000]
    return pixels


def page(dtype):
    """A photo on white paper."""
    pixels = np.full((200, 240, 3), np.iinfo(dtype).max, dtype)
    pixels[40:150, 50:200] = smooth(110, 150, 3, dtype) // 2
    return pixels


ORDINARY = {
    "photo": lambda photo: photo.astype(np.uint16) * 257,
    "photo of 12 bits": lambda photo: photo.astype(np.uint16) * 16,
    "photo of floats": lambda photo: (photo / 255).astype(np.float32),
    "dark photo with a black border": lambda photo: np.pad(photo.astype(np.uint16) + 200, ((20, 20), (20, 20), (0, 0))),
    "photo on paper": lambda photo: page(np.uint16),
    "gradient": lambda photo: np.linspace(0, 1, 300 * 400).reshape(300, 400),
    "steep gradient": lambda photo: np.exp(np.linspace(0, 15, 300 * 400)).reshape(300, 400),
    "gradient of integers": lambda photo: (np.arange(300 * 400).reshape(300, 400) % 60_000).astype(np.uint16),
    "speckle": lambda photo: np.random.default_rng(0).exponential(1, (300, 400)),
    "two classes": lambda photo: posterized(300, 400, 2, 1, np.uint16),
    "classes": lambda photo: np.random.default_rng(0).choice([0, 1, 2, 255], (300, 400)).astype(np.float32),
    "a class that is rare": lambda photo: with_value(posterized(300, 400, 5, 1, np.uint16) // 257, 60_000, 1e-4),
    "a spot of few pixels, of integers": lambda photo: with_spot(spots(1, 0, 0)).astype(np.uint16),
    "one value": lambda photo: np.full((30, 40), -9999.0),
    "land and sea": lambda photo: np.maximum(heights() - 560, 0),
    "kelvin": lambda photo: 273.15 + heights(np.float64) * 1e-5,
    **{
        f"{n}{' flat' * flat} spots of {top} in noise of {noise}": lambda photo, given=(noise, n, top, flat): spots(
            *given
        ).astype(np.uint16)
        for noise in (0, 1, 3, 30)
        for n, top, flat in [
            (1, 9000, False),
            (1, 65_535, False),
            (3, 40_000, False),
            (30, 90_000, False),
            (5, 40_000, True),
            (30, 65_535, True),
        ]
    },
}


@pytest.mark.parametrize("name", ORDINARY)
def test_nothing_is_told_of_what_is_ordinary(name, photo, caplog):
    found(ORDINARY[name](photo))
    assert caplog.messages == []


def test_nothing_is_told_of_a_range_that_is_given_or_of_8_bits(caplog):
    with caplog.at_level(logging.WARNING):
        known(with_value(heights(), -9999, 0.1), range="500,800")
        known(BYTES)
    assert caplog.messages == []


# --- What is far ---


def test_what_is_far_is_in_no_table():
    space = SampleSpace(((0, 10),))
    pixels = np.array([[0.0], [10], [10 * FAR - 1], [10 * FAR], [-1e300], [5]])
    table = Sample(pixels, np.arange(1.0, 7)).table(space, np.dtype(np.float32))
    assert table.colors[:, 0].tolist() == pytest.approx([0, 0.5, 1, FAR - 0.1])
    assert table.counts.tolist() == [1, 6, 2, 3]
    assert table.space == space
    wide = ColorTable.of(space.forward(pixels, np.dtype(np.float32)), space=space)
    assert len(wide) == 6
    assert counts_of(near_colors(wide)) == dict.fromkeys(counts_of(table), 1)


def test_no_integer_is_far():
    table = ColorTable.of(np.array([[5], [65_535]], np.uint16), space=SampleSpace(((0, 2),), (1, 0)))
    assert near_colors(table) is table


# --- Few colors ---


@pytest.mark.parametrize("most", [8, 9, 50])
@pytest.mark.parametrize("masked", [False, True])
def test_few_colors_are_all_counted_and_more_are_not(masked, most):
    pixels = posterized(100, 120, 9)
    if masked:
        pixels = np.ma.masked_where(pixels == pixels[0, 0], pixels)
    expected = colors_in(pixels)
    with session_of(pixels) as session:
        table, complete = few_colors(session, BY_TYPE, most, unseen, False)
    assert complete == (len(expected) <= most)
    if complete:
        assert counts_of(table) == expected
    else:
        assert len(table) > most
        assert counts_of(table).keys() <= expected.keys()


def test_of_many_colors_not_all_is_read():
    with session_of(smooth(100, 120)) as session:
        table, complete = few_colors(session, BY_TYPE, 4, unseen, False)
        assert not complete
        assert len(table) > 4
        assert len(session.n_valid) < len(session.blocks) / 2


# --- Means that make no sense ---


@pytest.mark.parametrize("ranges", [None, ((0, 9),) * 3])
def test_means_that_were_not_scaled_are_told_of(ranges):
    space, means = SampleSpace(ranges), np.random.default_rng(0).random((8, 3))
    assert odd_means(means, space) is None
    for odd in (means * 255, means - 5, means * 65_535):
        assert re.match(r"has means from .* to .*; colors are in \[0, 1\]: divide means by", odd_means(odd, space))
    means[0] = 300.0  # of a range, a few pixels may be far outside
    assert (odd_means(means, space) is None) == (ranges is not None)


def test_a_mixture_of_samples_that_were_not_scaled_is_refused():
    photo, fitted = smooth(60, 80), random_mixture(4, 3)
    wrong = Mixture(fitted.weights, fitted.means * 255, fitted.covariances * 255**2)
    with pytest.raises(ModelError, match=r"array: the model has means from .*; colors are in \[0, 1\]"):
        known(photo, init=wrong)
    with session_of(photo) as session, pytest.raises(ModelError, match="the model has means"):
        check_range(session, wrong)
    assert known(photo, init=fitted) == fitted.space
