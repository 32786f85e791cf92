"""What is added up over blocks is the same where it was saved anywhere in the middle, and restored."""

from functools import partial

import numpy as np
import pytest

from streamgmm.image.array import ArrayImage
from streamgmm.jobs.passes.blocks import Blocks
from streamgmm.jobs.passes.checkpoint import Checkpoint
from streamgmm.jobs.passes.sums import AnyMasked, Counted, Drawn, FewColors, Sum, Total
from streamgmm.jobs.passes.tasks import Accumulate, Count, Draw, ListColors, Look, SumColors
from streamgmm.model.centroids import ColorSums
from streamgmm.model.colors import ColorCounter, ColorTable
from streamgmm.model.display import Display
from streamgmm.model.labels import classify
from streamgmm.model.space import BY_TYPE
from streamgmm.model.statistics import Statistics

from ... import naive
from ...conftest import parts, random_mixture
from ...images import colors_of, posterized

BYTES = np.dtype(np.uint8)
SIZES = [(40, 50), (10, 20), (1, 1), (30, 60)]
IMAGES = [posterized(*size, min(9, size[0] * size[1]), seed=seed) for seed, size in enumerate(SIZES)]
IMAGES[3] = np.ma.masked_where(np.arange(1800).reshape(30, 60, 1).repeat(3, axis=2) % 7 == 0, IMAGES[3])
N_PIXELS = sum(height * width for height, width in SIZES)
MIXTURE = random_mixture(3, 3)


@pytest.fixture
def blocks(monkeypatch):
    """Several of each image, but of one that is a single pixel."""
    monkeypatch.setattr("streamgmm.jobs.passes.blocks.BLOCK_PIXELS", 100)
    return Blocks([ArrayImage(image) for image in IMAGES])


class Pass:
    """A sum of some kind and the task whose results it takes, made anew for each run, and what it tells."""

    def __init__(self, task, sum_of, result):
        self.task, self.sum_of, self.result = task, sum_of, result

    def new(self):
        """A task, and the sum it is added into: those that count share a counter."""
        if self.task is not Count:
            return self.task(), self.sum_of()
        counter = ColorCounter(3, N_PIXELS, 2)
        return Count(counter), self.sum_of(counter)


def arrays_of(total):
    return total.result().to_arrays()


def drawn_arrays(drawn):
    return {"pixels": drawn.pixels, "weights": drawn.weights, "images": drawn.images, "n": drawn.n_drawn}


draw_some = partial(Draw, BYTES, 1, 20)
sum_colors = partial(SumColors, partial(classify, mixture=MIXTURE), 3, BY_TYPE, BYTES, Display.of(MIXTURE))
drawn_of_three = partial(Drawn, BYTES, 3)
PASSES = {
    "how many are masked": Pass(Look, Sum, lambda looked: {}),
    "statistics": Pass(partial(Accumulate, MIXTURE, BYTES), partial(Total, Statistics, False), arrays_of),
    "statistics by image": Pass(partial(Accumulate, MIXTURE, BYTES), partial(Total, Statistics, True), arrays_of),
    "colors of labels": Pass(sum_colors, partial(Total, ColorSums, False), arrays_of),
    "colors": Pass(partial(ListColors, BY_TYPE, BYTES), partial(Total, ColorTable, False), arrays_of),
    "colors by image": Pass(partial(ListColors, BY_TYPE, BYTES), partial(Total, ColorTable, True), arrays_of),
    "few colors": Pass(partial(ListColors, BY_TYPE, BYTES), partial(FewColors, 30, False), arrays_of),
    "drawn": Pass(draw_some, drawn_of_three, drawn_arrays),
    "counted": Pass(Count, Counted, lambda counted: {"counters": counted.counter.total()}),
}


def saved_and_loaded(state, folder):
    """What comes back of a state that goes to a file."""
    step = Checkpoint(folder).step("sum")
    step.save({"done": 1, **state})
    return step.load()


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


@pytest.mark.parametrize("name", PASSES)
def test_a_sum_that_was_saved_in_the_middle_goes_on_to_the_same_result(name, blocks, tmp_path):
    made = PASSES[name]
    task, whole = made.new()
    for block in blocks:
        whole.add(task(block), block)
    expected = made.result(whole)
    for done in sorted({1, 2, 19, 20, 21, 25, len(blocks) - 1, len(blocks)}):
        task, first = made.new()
        for block in blocks[:done]:
            first.add(task(block), block)
        state = saved_and_loaded(first.state(), tmp_path)
        task, second = made.new()
        assert second.restore(state)
        for block in blocks[done:]:
            second.add(task(block), block)
        assert_same(made.result(second), expected)
        assert second.n_valid.keys() == {block.position for block in blocks[done:]}


@pytest.mark.parametrize("name", PASSES)
def test_a_state_does_not_change_what_goes_on(name, blocks):
    made = PASSES[name]
    task, expected = made.new()
    for block in blocks:
        expected.add(task(block), block)
    task, saved = made.new()
    for block in blocks:
        saved.add(task(block), block)
        saved.state()
    assert_same(made.result(saved), made.result(expected))


def test_pixels_that_are_not_masked_are_known_of_each_block(blocks):
    looked = Sum()
    for block in blocks:
        looked.add(Look()(block), block)
    assert looked.n_valid == {block.position: len(block.valid_pixels()) for block in blocks}
    assert not looked.complete


def test_the_first_masked_pixel_is_enough(blocks):
    found, masked = AnyMasked(), [len(block.valid_pixels()) < block.n_pixels for block in blocks]
    for block, so_far in zip(blocks, np.logical_or.accumulate(masked), strict=True):
        found.add(Look()(block), block)
        assert found.complete == so_far
    assert not masked[0]
    assert masked[-1]


# --- Equal weights ---


def valid_pixels(image):
    return np.ma.getdata(image)[~np.ma.getmaskarray(image).any(axis=2)]


@pytest.mark.parametrize("by_image", [False, True])
def test_statistics_are_those_of_pixels_or_images_of_equal_weight(by_image, blocks):
    total = Total(Statistics, by_image)
    for block in blocks:
        total.add(Accumulate(MIXTURE, BYTES)(block), block)
    x = [colors_of(valid_pixels(image)) for image in IMAGES]
    weights = np.concatenate([np.full(len(part), 1 / len(part) if by_image else 1) for part in x])
    n, first, second, log_likelihood = naive.statistics(np.concatenate(x), parts(MIXTURE), weights)
    found = total.result()
    np.testing.assert_allclose(found.responsibilities, n, rtol=1e-4)
    np.testing.assert_allclose(found.first, first, rtol=1e-3, atol=1e-5 * weights.sum())
    np.testing.assert_allclose(found.second, second, rtol=1e-3, atol=1e-5 * weights.sum())
    np.testing.assert_allclose(found.log_likelihood, log_likelihood, rtol=1e-4)
    np.testing.assert_allclose(found.weight, weights.sum(), rtol=1e-12)


@pytest.mark.parametrize("by_image", [False, True])
def test_colors_are_counted_with_pixels_or_images_of_equal_weight(by_image, blocks):
    total = Total(ColorTable, by_image)
    for block in blocks:
        total.add(ListColors(BY_TYPE, BYTES)(block), block)
    pixels = [valid_pixels(image) for image in IMAGES]
    weights = np.concatenate([np.full(len(part), 1 / len(part) if by_image else 1) for part in pixels])
    expected = naive.count_colors(np.concatenate(pixels), weights)
    found = total.result()
    assert list(map(tuple, found.colors.tolist())) == sorted(expected)
    np.testing.assert_allclose(found.counts, [expected[color] for color in sorted(expected)], rtol=1e-12)


def test_an_image_that_is_all_masked_has_no_weight(monkeypatch):
    monkeypatch.setattr("streamgmm.jobs.passes.blocks.BLOCK_PIXELS", 100)
    nothing = np.ma.masked_all((20, 20, 3), np.uint8)
    blocks = Blocks([ArrayImage(image) for image in (nothing, IMAGES[1], nothing, IMAGES[2], nothing)])
    total = Total(ColorTable, by_image=True)
    for block in blocks:
        total.add(ListColors(BY_TYPE, BYTES)(block), block)
    assert total.result().n_pixels == pytest.approx(2)


# --- Complete ---


@pytest.mark.parametrize("by_image", [False, True])
@pytest.mark.parametrize("most", [1, 8, 9, 18, 26, 1000])
def test_few_colors_end_where_there_are_more(most, by_image, blocks, tmp_path):
    """Also where that was so when they were saved."""
    few, seen = FewColors(most, by_image), set()
    assert not few.complete
    for block in blocks:
        few.add(ListColors(BY_TYPE, BYTES)(block), block)
        seen |= set(map(tuple, block.valid_pixels().tolist()))
        assert few.complete == (len(seen) > most)
    assert len(seen) == 28
    again = FewColors(most, by_image)
    assert again.restore(saved_and_loaded(few.state(), tmp_path))
    assert again.complete == few.complete


def test_what_is_drawn_is_complete_where_it_is_enough(blocks, tmp_path):
    """Also where that was so when it was saved; without a number, all is taken."""
    drawn, all_of_it, task = drawn_of_three(100), drawn_of_three(), Draw(BYTES, 1, 30)
    for block in blocks[:3]:
        drawn.add(task(block), block)
        all_of_it.add(task(block), block)
    assert (drawn.n_drawn, drawn.complete) == (90, False)
    drawn.add(task(blocks[3]), blocks[3])
    all_of_it.add(task(blocks[3]), blocks[3])
    assert (drawn.n_drawn, drawn.complete) == (120, True)
    assert (all_of_it.n_drawn, all_of_it.complete) == (120, False)
    for wanted, complete in ((120, True), (121, False), (None, False)):
        again = drawn_of_three(wanted)
        assert again.restore(saved_and_loaded(drawn.state(), tmp_path))
        assert (again.n_drawn, again.complete) == (120, complete)


def test_drawn_pixels_know_their_image(blocks):
    drawn = drawn_of_three()
    for block in blocks:
        drawn.add(draw_some()(block), block)
    assert len(drawn.images) == len(drawn.pixels) == len(drawn.weights) == drawn.n_drawn
    for number, image in enumerate(IMAGES):
        there = set(map(tuple, valid_pixels(image).tolist()))
        of_it = drawn.images == number
        assert set(map(tuple, drawn.pixels[of_it].tolist())) <= there
        assert drawn.weights[of_it].sum() == pytest.approx(len(valid_pixels(image)), rel=0.2)


def test_drawn_pixels_are_of_the_type_of_the_sum():
    """Images of float32 and float64 are fitted together."""
    blocks = Blocks([ArrayImage(np.full((4, 5, 3), 0.1, dtype)) for dtype in (np.float32, np.float64)])
    drawn = Drawn(np.dtype(np.float64), 3)
    for block in blocks:
        drawn.add(Draw(blocks.dtype, 1, 30)(block), block)
    assert drawn.pixels.dtype == np.float64
    assert set(drawn.pixels.ravel().tolist()) == {float(np.float32(0.1)), 0.1}


def test_counted_colors_are_those_of_all_pixels(blocks):
    task, counted = PASSES["counted"].new()
    for block in blocks:
        counted.add(task(block), block)
    table = counted.counter.table()
    expected = naive.count_colors(np.concatenate([valid_pixels(image) for image in IMAGES]))
    assert dict(zip(map(tuple, table.colors.tolist()), table.counts.tolist(), strict=True)) == expected


def test_nothing_drawn_has_a_shape():
    drawn = drawn_of_three()
    assert (drawn.pixels.shape, drawn.pixels.dtype, drawn.weights.shape, drawn.images.shape) == ((0, 3), BYTES, (0,), (0,))
