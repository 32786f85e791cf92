"""A color table is the image, added up."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

from streamgmm.model.colors import ColorCounter, ColorTable, color_codes, has_table
from streamgmm.model.footprint import COUNTERS
from streamgmm.model.space import SampleSpace

from .. import naive
from ..conftest import random_mixture, random_pixels
from ..processes import in_child


def as_dict(table):
    assert len(np.unique(table.colors, axis=0)) == len(table.colors)
    return dict(zip(map(tuple, table.colors.tolist()), table.counts.tolist(), strict=True))


def codes_of(colors):
    return np.array([naive.interleaved(color) for color in colors.tolist()])


@pytest.mark.parametrize("n_bands", [1, 2, 3])
def test_codes_interleave_the_bits_of_the_bands(n_bands):
    colors = np.random.default_rng(0).integers(0, 256, (2000, n_bands), np.uint8)
    codes = color_codes(n_bands)
    assert codes.shape == (n_bands, 256)
    np.testing.assert_array_equal(sum(codes[band][colors[:, band]] for band in range(n_bands)), codes_of(colors))


def test_a_table_is_converted_in_its_order(photo):
    table = ColorTable.of(photo[::8, ::8].reshape(-1, 3), space=SampleSpace(distances="lab"))
    found = table.converted()
    np.testing.assert_allclose(found.colors, naive.lab(table.colors / 255) / 100, atol=2e-7)
    assert (found.counts is table.counts, found.space, found.colors.dtype) == (True, table.space, np.float32)
    np.testing.assert_array_equal(found.values, found.colors)
    as_it_is = ColorTable.of(photo[0])
    assert as_it_is.converted() is as_it_is


def test_colors_beyond_the_range_are_not_apart_in_another_space():
    floats = np.array([[0.2], [1.5], [2.0]], np.float32)
    for space, apart in (("rgb", True), ("lab", False)):
        assert ColorTable(floats, np.ones(3), SampleSpace(((0, 1),), distances=space)).is_apart == apart
    assert ColorTable(floats[:2], np.ones(2), SampleSpace(((0, 1),), distances="lab")).is_apart


@pytest.mark.parametrize("n_bands", [1, 2])
def test_each_color_has_a_code_of_its_own(n_bands):
    codes = color_codes(n_bands)
    sums = codes[0] if n_bands == 1 else codes[0][:, None] + codes[1]
    np.testing.assert_array_equal(np.sort(sums, axis=None), np.arange(256**n_bands))


@pytest.mark.parametrize("n_bands", [1, 2, 3])
@pytest.mark.parametrize("n_pixels", [1, 1000])
def test_a_counter_equals_its_naive_twin(n_pixels, n_bands):
    pixels = random_pixels(random_mixture(3, n_bands), n_pixels, np.uint8)
    counter = ColorCounter(n_bands, n_pixels, 1)
    counter.add(pixels)
    assert as_dict(counter.table()) == naive.count_colors(pixels)


def test_a_counter_equals_numpy_on_a_photograph(photo):
    counter = ColorCounter(3, photo[..., 0].size, 2)
    for tile in np.split(photo, 8, axis=1):
        counter.add(tile)
    table = counter.table()
    colors, counts = np.unique(photo.reshape(-1, 3), axis=0, return_counts=True)
    assert as_dict(table) == dict(zip(map(tuple, colors.tolist()), counts.tolist(), strict=True))
    assert (table.colors.dtype, table.counts.dtype) == (np.uint8, np.float64)
    assert (len(table), table.n_pixels, table.weight) == (len(colors), 512 * 512, 512 * 512)


def test_a_counted_table_keeps_similar_colors_close(photo):
    counter = ColorCounter(3, photo[..., 0].size, 1)
    counter.add(photo)
    assert (np.diff(codes_of(counter.table().colors[:5000])) > 0).all()


@pytest.mark.parametrize("threads", [4, 2 * COUNTERS + 1])
def test_any_number_of_threads_count_the_same_table(photo, threads):
    strips = np.split(photo, 64)
    counter = ColorCounter(3, photo[..., 0].size, COUNTERS)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(counter.add, strips))
    table, expected = counter.table(), ColorTable.of(photo.reshape(-1, 3))
    assert as_dict(table) == as_dict(expected)


def counters_of(level, count, dtype):
    counters = np.zeros(256, dtype)
    counters[naive.interleaved([level])] = count
    return counters


def test_counts_go_beyond_32_bits_where_there_are_as_many_pixels():
    counter = ColorCounter(1, 2**32, 1)
    counter.restore(counters_of(77, 2**32 - 1, np.uint64))
    counter.add(np.array([[77], [77], [3]], np.uint8))
    assert as_dict(counter.table()) == {(3,): 1, (77,): 2**32 + 1}


def test_a_32_bit_counter_counts_its_last_pixel():
    counter = ColorCounter(1, 2**32 - 1, 1)
    assert counter.total().dtype == np.uint32
    counter.restore(counters_of(77, 2**32 - 2, np.uint32))
    counter.add(np.array([[77]], np.uint8))
    assert as_dict(counter.table()) == {(77,): 2**32 - 1}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("n_bands", [1, 3, 6])
def test_a_table_of_pixels_equals_its_naive_twin(n_bands, dtype):
    pixels = np.random.default_rng(0).integers(0, 3, (800, n_bands)).astype(dtype)
    table = ColorTable.of(pixels)
    assert as_dict(table) == naive.count_colors(pixels)
    assert table.colors.dtype == dtype
    assert table.n_pixels == 800


def test_runs_of_a_color_are_one_color():
    runs = np.array([5, 5, 5, 7, 5, 5, 9], np.uint8).repeat(1000)[:, None]
    assert as_dict(ColorTable.of(runs)) == {(5,): 5000, (7,): 1000, (9,): 1000}


def test_weighted_pixels_add_up_in_their_colors():
    colors = np.array([[2], [1], [1], [2], [2]], np.uint8)
    table = ColorTable.of(colors, np.array([1.0, 10, 100, 1000, 10_000]))
    assert as_dict(table) == {(1,): 110, (2,): 11_001}


def test_the_sum_of_two_tables_is_the_table_of_both(photo):
    pixels = photo[::4, ::4].reshape(-1, 3)
    merged = ColorTable.of(pixels[:5000]) + ColorTable.of(pixels[5000:])
    assert as_dict(merged) == as_dict(ColorTable.of(pixels))


@pytest.mark.parametrize(("dtype", "most"), [(np.uint8, 255), (np.uint16, 65_535), (np.float32, 1)])
def test_the_values_of_a_table_are_in_0_to_1(dtype, most):
    samples = np.array([[0, most], [most, most]], dtype)
    table = ColorTable.of(samples, np.array([3.0, 1.0]))
    assert table.values.tolist() == [[0, 1], [1, 1]]
    assert table.mean.tolist() == [0.25, 1]
    assert table.step == (1 / most if most > 1 else 2.0**-20)


def test_a_scaled_table_is_that_of_as_many_more_pixels(photo):
    pixels = photo[::8, ::8].reshape(-1, 3)
    assert as_dict(ColorTable.of(pixels).scaled(3)) == as_dict(ColorTable.of(pixels.repeat(3, axis=0)))


def test_a_table_travels_as_arrays(photo):
    table = ColorTable.of(photo[::8, ::8].reshape(-1, 3))
    again = ColorTable.from_arrays(table.to_arrays())
    np.testing.assert_array_equal(again.colors, table.colors)
    np.testing.assert_array_equal(again.counts, table.counts)


def test_what_samples_mean_stays_with_their_table():
    space = SampleSpace(((-5, 5),) * 3)
    table = ColorTable.of(np.random.default_rng(0).random((20, 3), np.float32), space=space)
    assert table.space == table.scaled(2).space == table.powered(0.5).space == (table + table).space == space


def test_the_values_of_a_table_are_those_of_its_space():
    space = SampleSpace(((0, 100), (-10, 10)), (16, 32_768))
    table = ColorTable.of(np.array([[32_768, 32_608], [34_368, 32_768]], np.uint16), np.array([3.0, 1.0]), space)
    assert table.values.tolist() == [[0, 0], [1, 0.5]]
    assert table.mean.tolist() == [0.25, 0.125]
    assert table.step.tolist() == [1 / 100, 1 / 20]


@pytest.mark.parametrize("power", [1, 0.5, 0])
def test_colors_may_count_to_a_power(power, photo):
    table = ColorTable.of(photo[::8, ::8].reshape(-1, 3))
    powered = as_dict(table.powered(power))
    assert powered == pytest.approx({color: count**power for color, count in as_dict(table).items()})
    assert max(powered.values()) > (1 if power else 0.99)


def test_weights_of_a_table_need_not_be_whole():
    table = ColorTable.of(np.array([[1], [2], [1]], np.uint8), np.array([0.25, 1.5, 0.5]))
    assert as_dict(table) == {(1,): 0.75, (2,): 1.5}
    assert table.n_pixels == table.weight == 2.25


def test_no_pixels_are_an_empty_table():
    none = ColorTable.of(np.empty((0, 3), np.uint8))
    some = ColorTable.of(np.array([[1, 2, 3]], np.uint8))
    assert (len(none), none.n_pixels) == (0, 0)
    assert as_dict(none + some) == as_dict(some)


def test_colors_are_handed_over_only_where_a_table_of_them_fits(photo):
    counter = ColorCounter(3, photo[..., 0].size, 2)
    counter.add(photo)
    asked = []
    n_colors = counter.table(lambda n: asked.append(n))
    assert [n_colors] == asked == [np.count_nonzero(counter.total())]
    counter.add(photo)  # it may go on
    assert as_dict(counter.table(lambda n: n == n_colors)) == as_dict(ColorTable.of(photo.reshape(-1, 3)).scaled(2))


def test_totals_leave_nothing_behind_and_may_be_taken_again(photo):
    counter, expected = ColorCounter(1, photo.size, 3), np.bincount(photo[..., 0].reshape(-1), minlength=256)
    for rounds in (1, 2, 3):
        counter.add(photo[..., :1])
        for _ in range(2):
            np.testing.assert_array_equal(counter.total(), rounds * expected)


def test_a_counter_goes_on_from_its_total(photo):
    before, after = ColorCounter(3, photo[..., 0].size, 2), ColorCounter(3, photo[..., 0].size, 2)
    before.add(photo[:100])
    after.restore(before.total().copy())
    after.add(photo[100:])
    assert as_dict(after.table()) == as_dict(ColorTable.of(photo.reshape(-1, 3)))


def test_a_counter_travels_empty(photo):
    counter = ColorCounter(3, 2**32, 2)
    counter.add(photo)
    sent = pickle.dumps(counter)
    assert len(sent) < 200
    again = pickle.loads(sent)
    assert not again.total().any()
    assert (again.total().shape, again.total().dtype) == (counter.total().shape, counter.total().dtype)


def total_of(counter, pixels):
    counter.add(pixels)
    return counter.total()


def test_a_counter_counts_to_the_same_total_in_another_process(photo):
    here, there = ColorCounter(2, photo[..., 0].size, 2), ColorCounter(2, photo[..., 0].size, 2)
    pixels = np.ascontiguousarray(photo[..., :2])
    there.add(pixels)
    total = in_child(partial(total_of, there, pixels))
    np.testing.assert_array_equal(total, total_of(here, pixels))


def test_a_table_adds_up_to_the_same_bits_on_any_number_of_threads(photo):
    table, mixture = ColorTable.of(photo.reshape(-1, 3)), random_mixture(8, 3)
    expected, actual = table.accumulate(mixture), table.accumulate(mixture, threads=4)
    assert actual.moments.tobytes() == expected.moments.tobytes()
    assert actual.log_likelihood == expected.log_likelihood
    assert actual.weight == 512 * 512


@pytest.mark.parametrize(
    ("dtype", "n_bands", "expected"),
    [("u1", 1, True), ("u1", 3, True), ("u1", 4, False), ("u2", 1, False), ("f4", 3, False), ("i1", 1, False)],
)
def test_8_bit_images_of_up_to_three_bands_have_a_table(dtype, n_bands, expected):
    assert has_table(np.dtype(dtype), n_bands) is expected
