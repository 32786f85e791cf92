"""A sample is drawn evenly from all over the images, also where most of them is masked; few colors are all counted."""

from contextlib import contextmanager

import numpy as np
import pytest

from streamgmm.errors import NoPixelsError
from streamgmm.jobs import sampling as module
from streamgmm.jobs.clock import Clock, unseen
from streamgmm.jobs.resources import Resources
from streamgmm.jobs.sampling import FEW, SAMPLE_BLOCKS, draw, few_colors, sample_blocks
from streamgmm.jobs.session import open_session
from streamgmm.model.colors import ColorCounter
from streamgmm.model.space import BY_TYPE
from streamgmm.options import ReadOptions, ResourceOptions

from .. import naive
from ..images import posterized, smooth


@pytest.fixture(autouse=True)
def many_blocks(monkeypatch):
    monkeypatch.setattr("streamgmm.jobs.passes.blocks.BLOCK_PIXELS", 1 << 8)


@contextmanager
def session_of(*sources, threads=1):
    with open_session(sources, ReadOptions(), Resources.of(ResourceOptions(threads=threads)), Clock()) as session:
        yield session


def sampled(session, size, seed=0, chosen=None, by_image=False, counter=None):
    chosen = session.blocks if chosen is None else chosen
    return draw(session, BY_TYPE, size, seed, chosen, unseen, by_image, counter)


def colors_in(pixels):
    """Its colors, with how often each occurs."""
    return naive.count_colors(np.ma.getdata(pixels)[~np.ma.getmaskarray(pixels).any(axis=2)])


def counts_of(table):
    return dict(zip(map(tuple, table.colors.tolist()), table.counts, strict=True))


# --- From where ---


@pytest.mark.parametrize("method", ["exact", "stream", "minibatch"])
def test_blocks_to_seed_from_are_all_up_to_some_and_of_a_minibatch_a_quarter(method):
    with session_of(smooth(100, 120)) as session:
        n_blocks = len(session.blocks)
        assert n_blocks > 30
        chosen = sample_blocks(method, session)
        assert len(chosen) == (n_blocks // 4 if method == "minibatch" else n_blocks)
        assert len({block.position for block in chosen}) == len(chosen)
    with session_of(smooth(4, 5)) as session:
        assert sample_blocks(method, session) == list(session.blocks)


def test_blocks_of_a_large_image_are_some_all_over_it(monkeypatch):
    monkeypatch.setattr(module, "SAMPLE_BLOCKS", 10)
    with session_of(smooth(200, 240)) as session:
        chosen = sample_blocks("stream", session)
        assert len(chosen) == 10
        assert chosen[0].position == 0
        assert chosen[-1].position >= 0.85 * len(session.blocks)
    assert SAMPLE_BLOCKS > 10


# --- How many ---


@pytest.mark.parametrize("size", [100, 1000, 5000])
def test_as_many_pixels_are_drawn_as_blocks_hold_of_their_share_and_all_are_of_the_image(size):
    pixels = smooth(100, 120)
    with session_of(pixels) as session:
        table = sampled(session, size)
        share = -(-size // len(session.blocks))
        assert table.n_pixels == sum(min(share, block.n_pixels) for block in session.blocks) > 0.9 * size
        assert counts_of(table).keys() <= colors_in(pixels).keys()


def test_of_a_small_image_each_pixel_is_drawn_once():
    pixels = smooth(30, 40)
    with session_of(pixels) as session:
        assert counts_of(sampled(session, 10_000)) == colors_in(pixels)


def test_every_part_of_the_image_has_its_share():
    quarters = np.arange(4, dtype=np.uint8).reshape(2, 2, 1).repeat(64, axis=0).repeat(64, axis=1)
    with session_of(quarters) as session:
        counts = sampled(session, 4000).counts
    assert counts.tolist() == [counts[0]] * 4


def test_the_sample_depends_on_the_seed_and_not_on_threads():
    samples = []
    for seed, threads in ((0, 1), (0, 4), (1, 1)):
        with session_of(smooth(100, 120), threads=threads) as session:
            samples.append(counts_of(sampled(session, 500, seed)))
    assert samples[0] == samples[1] != samples[2]


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
        table = sampled(session, 1000, chosen=session.blocks.spread(3))
        assert counts_of(table).keys() <= colors_in(pixels).keys()
        assert table.n_pixels >= min(1000 // FEW, sum(colors_in(pixels).values()))


def test_no_more_is_read_where_enough_was_drawn(monkeypatch):
    with session_of(smooth(100, 120)) as session:
        chosen = session.blocks.spread(3)
        sampled(session, 300, chosen=chosen)
        assert session.n_valid.keys() == {block.position for block in chosen}


def test_where_all_is_masked_there_is_nothing_to_fit():
    with session_of(mostly_masked()) as session, pytest.raises(NoPixelsError, match="array: every pixel is masked"):
        sampled(session, 100)


# --- Counting on the way ---


@pytest.mark.parametrize("masked", [False, True])
def test_all_pixels_are_counted_on_the_way_once(masked):
    """Also where more are read for a sample that is too small."""
    pixels = mostly_masked(np.s_[90:, 100:]) if masked else smooth(100, 120)
    with session_of(pixels, threads=2) as session:
        counter = ColorCounter(3, session.blocks.n_pixels, 2)
        table = sampled(session, 1000, chosen=session.blocks.spread(4), counter=counter)
        assert session.n_valid.keys() == set(range(len(session.blocks)))
    assert counts_of(counter.table()) == colors_in(pixels)
    assert table.n_pixels >= sum(colors_in(pixels).values()) if masked else 1000


def test_counting_changes_nothing_of_the_sample():
    samples = []
    for counter in (None, ColorCounter(3, 12_000, 1)):
        with session_of(smooth(100, 120)) as session:
            samples.append(counts_of(sampled(session, 500, chosen=session.blocks.spread(5), counter=counter)))
    assert samples[0] == samples[1]


# --- Several images ---


@pytest.mark.parametrize("by_image", [False, True])
def test_images_have_the_weight_of_their_pixels_or_all_the_same(by_image):
    dark, light = np.zeros((90, 100, 3), np.uint8), np.full((30, 100, 3), 255, np.uint8)
    with session_of(dark, light) as session:
        counts = counts_of(sampled(session, 2000, by_image=by_image))
    share = counts[0, 0, 0] / sum(counts.values())
    assert share == pytest.approx(0.5 if by_image else 0.75, abs=0.02)


# --- Few colors ---


@pytest.mark.parametrize("most", [8, 9, 50])
@pytest.mark.parametrize("masked", [False, True])
def test_few_colors_are_all_counted_and_more_are_not(masked, most):
    pixels = posterized(100, 120, 9)
    if masked:
        pixels = np.ma.masked_where(pixels == pixels[0, 0], pixels)
    expected = colors_in(pixels)
    with session_of(pixels) as session:
        table = few_colors(session, BY_TYPE, most, unseen, False)
    if len(expected) > most:
        assert table is None
    else:
        assert counts_of(table) == expected


def test_of_many_colors_not_all_is_read():
    with session_of(smooth(100, 120)) as session:
        assert few_colors(session, BY_TYPE, 4, unseen, False) is None
        assert len(session.n_valid) < len(session.blocks) / 2
