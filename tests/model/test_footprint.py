"""The bytes that are foretold are those of the arrays."""

from dataclasses import replace

import numpy as np
import pytest

from streamgmm.model import buffers
from streamgmm.model.buffers import SLICE, launches, n_moments, scratch_for, slice_bytes
from streamgmm.model.colors import ColorCounter, ColorTable, has_table
from streamgmm.model.footprint import LOOKUP_BYTES, TABLE_BANDS, counter_bytes, counter_dtype, scratch_bytes, table_bytes
from streamgmm.model.labels import LookupTable, classify
from streamgmm.model.space import SampleSpace

from ..conftest import random_mixture, random_pixels


@pytest.mark.parametrize("n_pixels", [1, 2**32 - 1, 2**32])
@pytest.mark.parametrize("n_bands", [1, 2, 3])
def test_counters_take_what_they_should(n_bands, n_pixels):
    assert counter_bytes(n_bands, n_pixels) == ColorCounter(n_bands, n_pixels, 1).total().nbytes


@pytest.mark.parametrize("n_pixels", [1, 2**32 - 1, 2**32, 10**12])
def test_counters_hold_every_pixel(n_pixels):
    assert n_pixels <= np.iinfo(counter_dtype(n_pixels)).max


@pytest.mark.parametrize("n_bands", [1, 2, 3])
def test_tables_take_what_they_should(n_bands):
    mixture = random_mixture(4, n_bands)
    table = ColorTable.of(random_pixels(mixture, 500, np.uint8))
    arrays = table.colors, table.counts, classify(table.colors, mixture)
    assert table_bytes(len(table), n_bands) == sum(array.nbytes for array in arrays)
    converted = replace(table, space=SampleSpace(distances="linear")).converted()
    assert table_bytes(len(table), n_bands, True) == sum(array.nbytes for array in (*arrays, converted.colors))
    assert converted.counts is table.counts


def test_a_lookup_table_takes_what_it_should():
    assert has_table(np.uint8, TABLE_BANDS)
    assert not has_table(np.uint8, TABLE_BANDS + 1)
    lookup = LookupTable(ColorTable.of(np.zeros((1, TABLE_BANDS), np.uint8)), np.zeros(1, np.uint8))
    assert lookup._labels.nbytes == LOOKUP_BYTES


@pytest.mark.parametrize("n_components", [1, 16, 300, 5000])
@pytest.mark.parametrize("n_bands", [1, 3, 9, 32, 224])
def test_a_slice_takes_about_what_it_should(n_bands, n_components):
    scratch = scratch_for(1, n_components, n_bands)
    sums = np.empty((n_components, n_moments(n_bands)))
    of_bands = (buffer for buffer in (scratch.x, scratch.tile, scratch.centered, scratch.root) if buffer is not None)
    assert slice_bytes(n_components, n_bands) == scratch.logp.nbytes + sums.nbytes + sum(buffer.nbytes for buffer in of_bands)
    small = scratch.rows.nbytes + scratch.active.nbytes
    assert small <= 4 * 3 * buffers.BLOCK + 4 * max(n_components, buffers.BLOCK)


@pytest.mark.parametrize("threads", [1, 4, 64])
@pytest.mark.parametrize("n_components", [1, 16, 300, 5000])
def test_buffers_are_those_of_a_parallel_launch_or_of_serial_ones_at_once(n_components, threads):
    n_parallel, n_serial = (len(next(launches(10**6 * SLICE, n_components, 3, parallel))) - 1 for parallel in (True, False))
    expected = max(n_parallel, threads * n_serial) * slice_bytes(n_components, 3)
    assert scratch_bytes(n_components, 3, threads) == expected
