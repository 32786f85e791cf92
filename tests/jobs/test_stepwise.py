"""Minibatch EM is as good as EM on every pixel, of images in which each place is another, and need not read all of them."""

from functools import partial

import numpy as np
import pytest

import streamgmm
from streamgmm.jobs import sampling, stepwise
from streamgmm.model.colors import ColorTable

from ..images import smooth

fit_image = partial(streamgmm.fit_image, threads=2)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr("streamgmm.jobs.passes.blocks.BLOCK_PIXELS", 1 << 12)


def mosaic(n=16, side=32):
    """Fields of another color each, with noise: 64 blocks of 4 fields."""
    generator = np.random.default_rng(4)
    fields = generator.integers(0, 250, (n, n, 3)).repeat(side, axis=0).repeat(side, axis=1)
    return (fields + generator.integers(0, 4, fields.shape)).astype(np.uint8)


def texture(n=32, side=32):
    """Tiles of one texture in a few shades."""
    tile, shades = smooth(side, side) // 2, np.random.default_rng(0).integers(0, 4, (n, n, 1)).astype(np.uint8)
    return np.tile(tile, (n, n, 1)) + shades.repeat(side, axis=0).repeat(side, axis=1)


def scores(pixels, mixtures):
    table = ColorTable.of(pixels.reshape(-1, pixels.shape[-1]))
    return [table.accumulate(mixture).mean_log_likelihood for mixture in mixtures]


@pytest.mark.parametrize("preset", ["picture", "segment"])
@pytest.mark.parametrize("image", [mosaic, texture, partial(smooth, 20, 30)])
def test_where_all_colors_are_counted_it_is_the_exact_fit(image, preset):
    (exact, told), (minibatch, report) = (
        fit_image(image(), n_components=8, preset=preset, method=method) for method in ("exact", "minibatch")
    )
    assert minibatch.to_json() == exact.to_json()
    assert (report.method, report.fraction_read, report.batch_pixels) == ("minibatch", 1, None)
    assert (report.iterations, report.converged) == (told.iterations, told.converged)


@pytest.mark.parametrize("preset", ["picture", "segment"])
@pytest.mark.parametrize("image", [mosaic, texture, partial(smooth, 300, 400)])
def test_wide_samples_are_drawn_from_as_many_places_and_stepped_over(image, preset):
    pixels = image().astype(np.uint16) * 200
    options = {"n_components": 8, "preset": preset, "range": "type"}
    (stream, _), (minibatch, report) = (fit_image(pixels, method=method, **options) for method in ("stream", "minibatch"))
    first, second = scores(pixels, [stream, minibatch])
    assert second == pytest.approx(first, abs=0.01)
    assert minibatch.n_components == stream.n_components == 8
    assert report.converged
    assert (report.fraction_read, report.iterations <= 16) == (1, True)  # steps that gain little are the end


@pytest.mark.parametrize("preset", ["picture", "segment"])
def test_part_of_a_large_image_is_enough(preset, monkeypatch):
    monkeypatch.setattr(sampling, "SAMPLE_BLOCKS", 64)
    pixels = texture()
    (exact, _), (minibatch, report) = (
        fit_image(pixels, n_components=4, method=method, preset=preset) for method in ("exact", "minibatch")
    )
    first, second = scores(pixels, [exact, minibatch])
    assert second == pytest.approx(first, abs=0.01)
    assert 0.25 < report.fraction_read < 1
    assert report.batch_pixels < pixels[:, :, 0].size / 16
    assert report.converged


def test_pixels_that_score_are_in_no_batch(monkeypatch):
    """Nor are they those that seeds came from, though some of their blocks may be the same."""
    monkeypatch.setattr(sampling, "SAMPLE_BLOCKS", 16)
    held_out, seen, draw, read = [], [], stepwise.draw, stepwise.read_statistics

    def drawn(session, size, seed, chosen, advance):
        held_out.extend(block.position for block in chosen)
        assert seed != 0
        return draw(session, size, seed, chosen, advance)

    def noted(session, blocks, *more):
        seen.extend(block.position for block in blocks)
        return read(session, blocks, *more)

    monkeypatch.setattr(stepwise, "draw", drawn)
    monkeypatch.setattr(stepwise, "read_statistics", noted)
    fit_image(texture(), n_components=4, method="minibatch", max_iter=1, tol=0)
    assert len(held_out) == 256 // 8
    assert not {*held_out} & {*seen}
    assert len({*seen}) > 64


def test_steps_that_run_out_have_not_converged(monkeypatch):
    monkeypatch.setattr(sampling, "SAMPLE_BLOCKS", 16)
    monkeypatch.setattr(stepwise, "BATCH_BLOCKS", 10**6)
    monkeypatch.setattr("streamgmm.model.minibatch.PATIENCE", 10)
    _, report = fit_image(texture(), n_components=4, method="minibatch", max_iter=1)
    assert (report.converged, report.iterations) == (False, 16)


@pytest.mark.parametrize("pixels", [mosaic(), texture().astype(np.uint16) * 256], ids=["counted", "drawn"])
def test_threads_and_chunks_change_nothing(pixels, monkeypatch):
    monkeypatch.setattr(sampling, "SAMPLE_BLOCKS", 32)
    models = [
        fit_image(pixels, n_components=4, method="minibatch", threads=threads, chunk_size=size)[0].to_json()
        for threads, size in ((1, "64MiB"), (2, "64MiB"), (2, "100KiB"))
    ]
    assert models[0] == models[1] == models[2]


@pytest.mark.parametrize("n_colors", [2, 3000])
def test_where_most_is_masked_what_is_not_is_found(n_colors, monkeypatch):
    monkeypatch.setattr(sampling, "SAMPLE_BLOCKS", 4)
    pixels = np.ma.masked_all((512, 512, 3), np.uint8)
    pixels[200:230, 300:330] = smooth(30, 30) if n_colors > 2 else [[[9, 9, 9]]]
    pixels[220, 320] = 0
    exact, minibatch = (fit_image(pixels, n_components=3, method=method)[0] for method in ("exact", "minibatch"))
    np.testing.assert_allclose(minibatch.means, exact.means, atol=0.02)
    np.testing.assert_allclose(minibatch.weights, exact.weights, atol=0.02)
