"""Chunk sizes and threads are read from what a person writes, and bound what a job holds."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgmm.errors import OptionError
from streamgmm.jobs.resources import WHOLE_BYTES, WHOLE_CHUNKS, Resources


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
    resources = Resources.of(text, 1)
    assert resources.chunk(3) == resources.chunk(8) == size


@pytest.mark.parametrize(
    ("text", "pixels"), [("4Mpx", 4_000_000), ("4mpx", 4_000_000), ("1px", 1), ("2.5kpx", 2500), ("1Gpx", 10**9)]
)
@pytest.mark.parametrize("pixel_bytes", [1, 3, 8])
def test_a_chunk_may_be_given_in_pixels(text, pixels, pixel_bytes):
    assert Resources.of(text, 1).chunk(pixel_bytes) == pixels * pixel_bytes


@given(st.integers(1, 10**12))
def test_a_number_of_bytes_is_itself(size):
    assert Resources.of(size, 1).chunk(3) == Resources.of(str(size), 1).chunk(3) == size


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
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert Resources.of("64MiB", None).threads == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert Resources.of("64MiB", None).threads == len(allowed)


def test_what_cannot_be_read_in_parts_may_take_a_few_chunks():
    assert Resources.of("64MiB", 1).budget() == WHOLE_CHUNKS * (64 << 20)
    assert Resources.of("4Mpx", 1).budget(6) == WHOLE_CHUNKS * 24_000_000
    assert Resources.of("1px", 1).budget(6) == WHOLE_BYTES


def test_peak_memory_is_in_bytes_and_stays_when_memory_is_freed():
    program = """
import numpy as np
from streamgmm.jobs.resources import peak_memory
before = peak_memory()
held = np.ones(200 << 17)
during = peak_memory()
del held
print(before, during, peak_memory())
"""
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout
    before, during, after = (int(peak) / 2**20 for peak in output.split())
    assert 10 < before < 300
    assert during - before == pytest.approx(200, abs=20)
    assert after == pytest.approx(during, abs=2)
