"""Chunk sizes and threads are read from what a person writes, and bound what a job holds."""

import os
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgmm.errors import MemoryBudgetError, OptionError
from streamgmm.jobs import resources as module
from streamgmm.jobs.resources import (
    AHEAD,
    BASELINE,
    COPIES,
    COVARIANCE_BYTES,
    COVARIANCES,
    MARGIN,
    WHOLE_BYTES,
    WHOLE_CHUNKS,
    Resources,
)
from streamgmm.model.footprint import COUNTERS, LOOKUP_BYTES, counter_bytes, scratch_bytes, table_bytes
from streamgmm.options import ResourceOptions
from streamgmm.system.limits import processors

from ..processes import in_child

MIB = 1 << 20
ENOUGH = "64TiB"  # of memory, for chunks of any size
NEEDED = BASELINE + MARGIN


def resources_of(chunk_size, threads, memory=None):
    return Resources.of(ResourceOptions(chunk_size=chunk_size, threads=threads, memory=memory))


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64MiB", 64 << 20),
        ("64mib", 64 << 20),
        ("64 MiB", 64 << 20),
        (" 64MiB ", 64 << 20),
        ("1.5GiB", 3 << 29),
        ("100MB", 100_000_000),
        ("2kB", 2000),
        ("2KiB", 2048),
        ("1TiB", 1 << 40),
        ("12345", 12345),
        ("12345b", 12345),
        (12345, 12345),
    ],
)
def test_a_chunk_may_be_given_in_bytes(text, size):
    resources = resources_of(text, 1, ENOUGH)
    assert resources.chunk(3) == resources.chunk(8) == size


@pytest.mark.parametrize(
    ("text", "pixels"), [("4Mpx", 4_000_000), ("4mpx", 4_000_000), ("1px", 1), ("2.5kpx", 2500), ("1Gpx", 10**9)]
)
@pytest.mark.parametrize("pixel_bytes", [1, 3, 8])
def test_a_chunk_may_be_given_in_pixels(text, pixels, pixel_bytes):
    assert resources_of(text, 1, ENOUGH).chunk(pixel_bytes) == pixels * pixel_bytes


@given(st.integers(1, 10**12))
def test_a_number_of_bytes_is_itself(size):
    assert resources_of(size, 1, ENOUGH).chunk(3) == resources_of(str(size), 1, ENOUGH).chunk(3) == size


@pytest.mark.parametrize("text", ["", "MiB", "64 furlongs", "-1MiB", "64MiB!", "1e6", "0x10", "nan", "64M iB", "½MiB", None])
def test_a_chunk_that_is_no_size_is_refused_with_the_remedy(text):
    with pytest.raises(OptionError, match=r"chunk-size is .*; write bytes such as 64MiB, or pixels such as 4Mpx"):
        resources_of(text, 1)


@pytest.mark.parametrize("text", ["0", "0MiB", "0.0px", "0.1", "0.4px", 0])
def test_a_chunk_of_nothing_is_refused(text):
    with pytest.raises(OptionError, match=r"chunk-size is .*; it must be more than nothing"):
        resources_of(text, 1)


@pytest.mark.parametrize("threads", [0, -1])
def test_no_threads_are_refused(threads):
    with pytest.raises(OptionError, match=f"threads is {threads}; at least 1 is needed"):
        resources_of("64MiB", threads)


def test_threads_are_what_is_asked_for():
    assert resources_of("64MiB", 3).threads == 3


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_by_default_threads_are_the_processors_this_process_may_use():
    allowed = os.sched_getaffinity(0)
    default = partial(resources_of, "64MiB", None)
    assert in_child(partial(os.sched_setaffinity, 0, {min(allowed)}), default).threads == 1
    assert default().threads == processors() <= len(allowed)


def test_what_cannot_be_read_in_parts_may_take_a_few_chunks():
    assert resources_of("64MiB", 1, ENOUGH).budget() == WHOLE_CHUNKS * (64 << 20)
    assert resources_of("4Mpx", 1, ENOUGH).budget(6) == WHOLE_CHUNKS * 24_000_000
    assert resources_of("1px", 1, ENOUGH).budget(6) == WHOLE_BYTES


# --- Memory ---


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("384MiB", 384 * MIB),
        ("1g", 1 << 30),
        ("1.5GiB", 3 << 29),
        ("500MB", 500_000_000),
        (" 1 tib ", 1 << 40),
        ("300000000", 300_000_000),
        (300_000_000, 300_000_000),
    ],
)
def test_memory_is_given_in_bytes(text, size):
    assert resources_of("64MiB", 1, text).memory == size


@pytest.mark.parametrize("text", ["", "lots", "-1GiB", "4Mpx", "1px", "1e9", "nan", "50%", "512 M iB"])
def test_memory_that_is_no_size_is_refused_with_the_remedy(text):
    with pytest.raises(OptionError, match=r"memory is .*; write bytes such as 512MiB$"):
        resources_of("64MiB", 1, text)


@pytest.mark.parametrize("text", ["0", "0GiB", 0])
def test_no_memory_is_refused(text):
    with pytest.raises(OptionError, match=r"memory is .*; it must be more than nothing"):
        resources_of("64MiB", 1, text)


def test_too_little_memory_for_any_job_is_refused_with_what_it_needs_and_the_remedy():
    assert resources_of("64MiB", 1, NEEDED).spare == 0
    message = rf"^memory is 100 MiB; any job needs {NEEDED // MIB} MiB, .*; raise --memory$"
    with pytest.raises(MemoryBudgetError, match=message):
        resources_of("64MiB", 1, "100MiB")
    with pytest.raises(MemoryBudgetError):
        resources_of("64MiB", 1, NEEDED - 1)


def test_by_default_memory_is_three_quarters_of_what_is_free(monkeypatch):
    monkeypatch.setattr(module, "free_memory", lambda: 4 << 30)
    assert resources_of("64MiB", 1).memory == 3 << 30


def test_too_little_free_memory_is_refused_with_what_it_needs(monkeypatch):
    monkeypatch.setattr(module, "free_memory", lambda: 200 * MIB)
    message = rf"^three quarters of the free memory are 150 MiB; any job needs {NEEDED // MIB} MiB, .*; raise --memory$"
    with pytest.raises(MemoryBudgetError, match=message):
        resources_of("64MiB", 1)
    assert resources_of("64MiB", 1, "250MiB").memory == 250 * MIB  # what is asked for counts, not what is free


def test_what_something_takes_is_no_longer_there():
    whole = resources_of("64MiB", 2, "512MiB")
    left = whole.without(100 * MIB, "slide.tif", "covariances")
    assert (left.memory, left.spare, left.threads, left.size) == (412 * MIB, whole.spare - 100 * MIB, 2, whole.size)
    assert whole.without(whole.spare, "slide.tif", "covariances").spare == 0


def test_what_takes_more_than_is_left_is_refused_with_the_remedies():
    whole = resources_of("64MiB", 2, "512MiB")
    message = (
        r"^slide.tif: covariances take 301 MiB of 300 MiB that are left of 512 MiB; raise --memory, .*--components.*--bands"
    )
    with pytest.raises(MemoryBudgetError, match=message):
        whole.without(301 * MIB, "slide.tif", "covariances")


MEMORY = st.integers(NEEDED, 4 << 30)
THREADS = st.integers(1, 64)
BANDS = st.integers(1, 3)
PIXELS = st.sampled_from([1, 2**26, 2**32 - 1, 2**32, 2**40])


@given(MEMORY, THREADS, BANDS, PIXELS)
def test_as_many_threads_count_colors_as_tables_fit(memory, threads, n_bands, n_pixels):
    resources = resources_of("64MiB", threads, memory)
    n_counters, each, most = resources.counters(n_bands, n_pixels), counter_bytes(n_bands, n_pixels), min(threads, COUNTERS)
    assert 0 <= n_counters * each <= resources.spare
    assert n_counters == most or (n_counters < most and (n_counters + 1) * each > resources.spare)


@pytest.mark.parametrize(("n_pixels", "size"), [(2**32 - 1, 64 * MIB), (2**32, 128 * MIB)])
def test_counters_of_more_pixels_take_more(n_pixels, size):
    assert counter_bytes(3, n_pixels) == size
    for n_counters in range(1, COUNTERS + 1):
        assert resources_of("64MiB", 8, NEEDED + n_counters * size).counters(3, n_pixels) == n_counters
        assert resources_of("64MiB", 8, NEEDED + n_counters * size - 1).counters(3, n_pixels) == n_counters - 1


@pytest.mark.parametrize("n_colors", [0, 1, 100_000, 2**24])
def test_a_table_fits_beside_its_counters_to_the_byte(n_colors):
    size = counter_bytes(3, 2**26) + table_bytes(n_colors, 3)
    assert resources_of("64MiB", 2, NEEDED + size).holds_table(n_colors, 3, 2**26)
    assert not resources_of("64MiB", 2, NEEDED + size - 1).holds_table(n_colors, 3, 2**26)
    more = 3 * 4 * n_colors  # float32 in another space
    assert resources_of("64MiB", 2, NEEDED + size + more).holds_table(n_colors, 3, 2**26, converted=True)
    assert not resources_of("64MiB", 2, NEEDED + size + more - 1).holds_table(n_colors, 3, 2**26, converted=True)


@given(MEMORY, THREADS, st.sampled_from(["1px", "64MiB", "4Mpx", "1TiB", "1Gpx"]), st.sampled_from([1, 3, 6, 32]))
def test_chunks_and_whole_images_stay_inside_the_memory(memory, threads, size, pixel_bytes):
    resources = resources_of(size, threads, memory)
    chunk, budget, tables = resources.chunk(pixel_bytes), resources.budget(pixel_bytes), resources.counters(3, 1) << 26
    assert chunk >= 1
    assert BASELINE + tables + COPIES * chunk <= memory
    assert BASELINE + COPIES * budget <= memory
    assert chunk <= budget <= max(WHOLE_BYTES, WHOLE_CHUNKS * chunk)


def test_less_memory_makes_chunks_smaller_where_they_are_asked_to_be_large():
    assert resources_of("64MiB", 1, "4GiB").chunk(3) == 64 * MIB
    assert resources_of("64MiB", 1, "256MiB").chunk(3) < 64 * MIB
    assert resources_of("1MiB", 1, "256MiB").chunk(3) == MIB


@given(MEMORY, THREADS, st.integers(1, 1 << 28), st.integers(0, 1 << 28))
def test_labels_of_a_window_fit_beside_what_is_read_meanwhile(memory, threads, read, held):
    window = resources_of("64MiB", threads, memory).window(3, read, held)
    assert window == read or BASELINE + window + held + (COPIES - 1) * read <= memory
    assert read <= window <= max(read, COPIES * 64 * MIB)


# --- What a mixture takes ---


def work_bytes(n_components, n_bands, threads):
    """Buffers of the kernels, and the sums of blocks that wait to be added up."""
    moments = 1 + n_bands + n_bands * (n_bands + 1) // 2
    return scratch_bytes(n_components, n_bands, threads) + AHEAD * threads * n_components * moments * 8


@pytest.mark.parametrize("held", [0, 5 * MIB])
@pytest.mark.parametrize(("n_components", "n_bands"), [(1, 1), (16, 3), (4, 100)])
def test_a_mixture_takes_its_covariances_and_what_threads_work_in_to_the_byte(n_components, n_bands, held):
    size = COVARIANCES * 8 * n_components * n_bands**2 + work_bytes(n_components, n_bands, 3) + held
    assert resources_of("64MiB", 3, NEEDED + size).without_mixture(n_components, n_bands, "in.tif", held).spare == 0
    with pytest.raises(MemoryBudgetError, match=rf"^in\.tif: {n_components} components in {n_bands} bands take .* are left of"):
        resources_of("64MiB", 3, NEEDED + size - 1).without_mixture(n_components, n_bands, "in.tif", held)


def test_images_that_are_decoded_as_a_whole_are_said_to_be_what_is_too_large():
    with pytest.raises(MemoryBudgetError, match=r"^in\.png: images that are decoded as a whole take 100 MiB of 99 MiB"):
        resources_of("64MiB", 1, NEEDED + 99 * MIB).without_mixture(2, 3, "in.png", held=100 * MIB)


def test_covariances_have_a_limit_of_their_own_whatever_the_memory():
    most = COVARIANCE_BYTES // (COVARIANCES * 8 * 150**2)
    assert resources_of("64MiB", 1, ENOUGH).without_mixture(most, 150, "in.tif").spare > 0
    message = rf"^in\.tif: {most + 1:,} components in 150 bands take \d+ MiB of 256 MiB; take fewer"
    with pytest.raises(MemoryBudgetError, match=message):
        resources_of("64MiB", 1, ENOUGH).without_mixture(most + 1, 150, "in.tif")


def test_labeling_takes_what_threads_work_in_to_the_byte():
    size = work_bytes(300, 3, 2)
    assert resources_of("64MiB", 2, NEEDED + size).without_work(300, 3, "in.tif").spare == 0
    with pytest.raises(MemoryBudgetError, match=r"^in\.tif: 300 components take"):
        resources_of("64MiB", 2, NEEDED + size - 1).without_work(300, 3, "in.tif")


def test_a_label_of_each_color_fits_with_as_much_again():
    assert resources_of("64MiB", 1, NEEDED + 2 * LOOKUP_BYTES).holds_lookup()
    assert not resources_of("64MiB", 1, NEEDED + 2 * LOOKUP_BYTES - 1).holds_lookup()
