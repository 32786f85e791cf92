"""Chunk sizes and threads are read from what a person writes, and bound what a job holds."""

import os
import subprocess
import sys
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgmm.errors import MemoryBudgetError, OptionError
from streamgmm.jobs import resources as module
from streamgmm.jobs.resources import BASELINE, COPIES, MARGIN, WHOLE_BYTES, WHOLE_CHUNKS, Resources
from streamgmm.model.footprint import COUNTERS, counter_bytes, table_bytes
from streamgmm.system.limits import processors

from .processes import in_child

MIB = 1 << 20
ENOUGH = "64TiB"  # of memory, for chunks of any size
NEEDED = BASELINE + MARGIN


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
    resources = Resources.of(text, 1, ENOUGH)
    assert resources.chunk(3) == resources.chunk(8) == size


@pytest.mark.parametrize(
    ("text", "pixels"), [("4Mpx", 4_000_000), ("4mpx", 4_000_000), ("1px", 1), ("2.5kpx", 2500), ("1Gpx", 10**9)]
)
@pytest.mark.parametrize("pixel_bytes", [1, 3, 8])
def test_a_chunk_may_be_given_in_pixels(text, pixels, pixel_bytes):
    assert Resources.of(text, 1, ENOUGH).chunk(pixel_bytes) == pixels * pixel_bytes


@given(st.integers(1, 10**12))
def test_a_number_of_bytes_is_itself(size):
    assert Resources.of(size, 1, ENOUGH).chunk(3) == Resources.of(str(size), 1, ENOUGH).chunk(3) == size


@pytest.mark.parametrize("text", ["", "MiB", "64 furlongs", "-1MiB", "64MiB!", "1e6", "0x10", "nan", "64M iB", "½MiB", None])
def test_a_chunk_that_is_no_size_is_refused_with_the_remedy(text):
    with pytest.raises(OptionError, match=r"chunk size is .*; write bytes such as 64MiB, or pixels such as 4Mpx"):
        Resources.of(text, 1)


@pytest.mark.parametrize("text", ["0", "0MiB", "0.0px", "0.1", "0.4px", 0])
def test_a_chunk_of_nothing_is_refused(text):
    with pytest.raises(OptionError, match=r"chunk size is .*; it must be more than nothing"):
        Resources.of(text, 1)


@pytest.mark.parametrize("threads", [0, -1])
def test_no_threads_are_refused(threads):
    with pytest.raises(OptionError, match=f"threads is {threads}; at least 1 is needed"):
        Resources.of("64MiB", threads)


def test_threads_are_what_is_asked_for():
    assert Resources.of("64MiB", 3).threads == 3


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_by_default_threads_are_the_processors_this_process_may_use():
    allowed = os.sched_getaffinity(0)
    default = partial(Resources.of, "64MiB", None)
    assert in_child(partial(os.sched_setaffinity, 0, {min(allowed)}), default).threads == 1
    assert default().threads == processors() <= len(allowed)


def test_what_cannot_be_read_in_parts_may_take_a_few_chunks():
    assert Resources.of("64MiB", 1, ENOUGH).budget() == WHOLE_CHUNKS * (64 << 20)
    assert Resources.of("4Mpx", 1, ENOUGH).budget(6) == WHOLE_CHUNKS * 24_000_000
    assert Resources.of("1px", 1, ENOUGH).budget(6) == WHOLE_BYTES


def test_peak_memory_is_in_bytes_and_stays_when_memory_is_freed():
    program = """
import numpy as np
from streamgmm.system.limits import peak_memory
before = peak_memory()
held = np.ones(200 << 17)
during = peak_memory()
del held
print(before, during, peak_memory())
"""
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, encoding="utf-8").stdout
    before, during, after = (int(peak) / 2**20 for peak in output.split())
    assert 10 < before < 300
    assert during - before == pytest.approx(200, abs=20)
    assert after == pytest.approx(during, abs=2)


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
    assert Resources.of("64MiB", 1, text).memory == size


@pytest.mark.parametrize("text", ["", "lots", "-1GiB", "4Mpx", "1px", "1e9", "nan", "50%", "512 M iB"])
def test_memory_that_is_no_size_is_refused_with_the_remedy(text):
    with pytest.raises(OptionError, match=r"memory is .*; write bytes such as 512MiB$"):
        Resources.of("64MiB", 1, text)


@pytest.mark.parametrize("text", ["0", "0GiB", 0])
def test_no_memory_is_refused(text):
    with pytest.raises(OptionError, match=r"memory is .*; it must be more than nothing"):
        Resources.of("64MiB", 1, text)


def test_too_little_memory_for_any_job_is_refused_with_what_it_needs_and_the_remedy():
    assert Resources.of("64MiB", 1, NEEDED).spare == 0
    message = rf"^memory is 100 MiB; any job needs {NEEDED // MIB} MiB, .*; raise --memory$"
    with pytest.raises(MemoryBudgetError, match=message):
        Resources.of("64MiB", 1, "100MiB")
    with pytest.raises(MemoryBudgetError):
        Resources.of("64MiB", 1, NEEDED - 1)


def test_by_default_memory_is_three_quarters_of_what_is_free(monkeypatch):
    monkeypatch.setattr(module, "free_memory", lambda: 4 << 30)
    assert Resources.of("64MiB", 1).memory == 3 << 30


def test_too_little_free_memory_is_refused_with_what_it_needs(monkeypatch):
    monkeypatch.setattr(module, "free_memory", lambda: 200 * MIB)
    message = rf"^three quarters of the free memory are 150 MiB; any job needs {NEEDED // MIB} MiB, .*; raise --memory$"
    with pytest.raises(MemoryBudgetError, match=message):
        Resources.of("64MiB", 1)
    assert Resources.of("64MiB", 1, "250MiB").memory == 250 * MIB  # what is asked for counts, not what is free


def test_what_something_takes_is_no_longer_there():
    whole = Resources.of("64MiB", 2, "512MiB")
    left = whole.without(100 * MIB, "slide.tif", "covariances")
    assert (left.memory, left.spare, left.threads, left.size) == (412 * MIB, whole.spare - 100 * MIB, 2, whole.size)
    assert whole.without(whole.spare, "slide.tif", "covariances").spare == 0


def test_what_takes_more_than_is_left_is_refused_with_the_remedies():
    whole = Resources.of("64MiB", 2, "512MiB")
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
    resources = Resources.of("64MiB", threads, memory)
    lanes, each = resources.lanes(n_bands, n_pixels), counter_bytes(n_bands, n_pixels)
    assert 0 <= lanes * each <= resources.spare
    assert lanes == min(threads, COUNTERS) or (lanes < min(threads, COUNTERS) and (lanes + 1) * each > resources.spare)


@pytest.mark.parametrize(("n_pixels", "size"), [(2**32 - 1, 64 * MIB), (2**32, 128 * MIB)])
def test_counters_of_more_pixels_take_more(n_pixels, size):
    assert counter_bytes(3, n_pixels) == size
    for lanes in range(1, COUNTERS + 1):
        assert Resources.of("64MiB", 8, NEEDED + lanes * size).lanes(3, n_pixels) == lanes
        assert Resources.of("64MiB", 8, NEEDED + lanes * size - 1).lanes(3, n_pixels) == lanes - 1


@pytest.mark.parametrize("n_colors", [0, 1, 100_000, 2**24])
def test_a_table_fits_beside_its_counters_to_the_byte(n_colors):
    size = counter_bytes(3, 2**26) + table_bytes(n_colors, 3)
    assert Resources.of("64MiB", 2, NEEDED + size).holds_table(n_colors, 3, 2**26)
    assert not Resources.of("64MiB", 2, NEEDED + size - 1).holds_table(n_colors, 3, 2**26)


@given(MEMORY, THREADS, st.sampled_from(["1px", "64MiB", "4Mpx", "1TiB", "1Gpx"]), st.sampled_from([1, 3, 6, 32]))
def test_chunks_and_whole_images_stay_inside_the_memory(memory, threads, size, pixel_bytes):
    resources = Resources.of(size, threads, memory)
    chunk, budget, tables = resources.chunk(pixel_bytes), resources.budget(pixel_bytes), resources.lanes(3, 1) << 26
    assert chunk >= 1
    assert BASELINE + tables + COPIES * chunk <= memory
    assert BASELINE + COPIES * budget <= memory
    assert chunk <= budget <= max(WHOLE_BYTES, WHOLE_CHUNKS * chunk)


def test_less_memory_makes_chunks_smaller_where_they_are_asked_to_be_large():
    assert Resources.of("64MiB", 1, "4GiB").chunk(3) == 64 * MIB
    assert Resources.of("64MiB", 1, "256MiB").chunk(3) < 64 * MIB
    assert Resources.of("1MiB", 1, "256MiB").chunk(3) == MIB


def test_the_peak_of_a_process_can_begin_anew():
    program = """
import numpy as np
from streamgmm.system.limits import peak_memory, reset_peak_memory
held = np.ones(200 << 17)
before = peak_memory()
del held
reset_peak_memory()
print(before, peak_memory())
"""
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, encoding="utf-8").stdout
    before, after = (int(peak) / MIB for peak in output.split())
    assert before - after == pytest.approx(200, abs=20) if sys.platform == "linux" else before == after
