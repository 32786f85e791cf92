"""A progress callback is told of each phase, and can stop the job; what phases took is known in the end."""

import time
from collections import defaultdict
from functools import partial

import pytest

import streamgmm
from streamgmm.errors import Cancelled, Interrupted
from streamgmm.jobs.clock import Clock, unseen

from ..images import PHOTO

quantize = partial(streamgmm.quantize, threads=1)


@pytest.mark.parametrize("method", ["exact", "stream", "minibatch"])
def test_progress_is_told_of_each_phase(method, tmp_path):
    seen = defaultdict(list)
    report = quantize(PHOTO, tmp_path / "out.tif", method=method, progress=lambda phase, *done: seen[phase].append(done))
    assert list(seen) == ["compile", "sample" if method == "stream" else "count", "seed", "fit", "label", "write"]
    assert seen.keys() == report.seconds.keys()
    for steps in seen.values():
        assert steps[0][0] == 0
        assert all(0 <= done <= total for done, total in steps)
        assert [done for done, _ in steps] == sorted(done for done, _ in steps)
        assert steps[-1][0] == steps[-1][1]


def test_a_clock_runs_from_its_beginning():
    begun = time.perf_counter()
    clock = Clock()
    time.sleep(0.05)
    assert 0.05 <= clock.elapsed <= time.perf_counter() - begun


@pytest.mark.parametrize("phase", ["compile", "count", "seed", "fit", "label", "write"])
def test_progress_can_cancel_in_each_phase(phase, tmp_path):
    with pytest.raises(Cancelled, match=f"cancelled while in phase {phase}"):
        quantize(PHOTO, tmp_path / "out.tif", progress=lambda current, done, total: current != phase)
    assert not list(tmp_path.iterdir())


def test_progress_can_cancel_in_the_middle_of_a_phase(tmp_path, monkeypatch):
    monkeypatch.setattr("streamgmm.jobs.passes.blocks.BLOCK_PIXELS", 1 << 14)
    told = []

    def progress(phase, done, total):
        told.append(done)
        return not (phase == "label" and done >= 100_000)

    with pytest.raises(Cancelled):
        quantize(PHOTO, tmp_path / "out.tif", tile_size=64, progress=progress)
    assert 100_000 <= told[-1] < 512 * 512
    assert not list(tmp_path.iterdir())


def test_what_is_cancelled_keeps_the_file_that_was_there(tmp_path):
    path = tmp_path / "out.tif"
    path.write_bytes(b"old")
    with pytest.raises(Cancelled):
        quantize(PHOTO, path, overwrite=True, progress=lambda phase, done, total: phase != "write")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_only_false_cancels(tmp_path):
    quantize(PHOTO, tmp_path / "out.tif", n_components=2, progress=lambda *_: 0)
    assert (tmp_path / "out.tif").exists()


def test_a_callback_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError):
        quantize(PHOTO, tmp_path / "out.tif", progress=lambda phase, done, total: 1 // (phase != "label"))
    assert not list(tmp_path.iterdir())


# --- By itself ---


def fail_after(pixels, advance, error):
    """What happens in a phase that fails."""
    advance(pixels)
    raise error


def test_a_phase_that_comes_again_is_added_to():
    clock = Clock()
    for pixels in (5, 7):
        with clock.phase("label", 10) as advance:
            advance(pixels)
        with clock.phase("reduce", 3) as advance:
            advance(1, resumed=True)
            advance(1)
    assert clock.pixels == {"label": 12, "reduce": 4}
    assert clock.resumed == {"reduce": 2}
    assert all(seconds >= 0 for seconds in clock.seconds.values())


def test_nothing_that_was_taken_over_is_not_told():
    clock = Clock()
    with clock.phase("fit", 10) as advance:
        advance(0, resumed=True)
    assert (clock.pixels, clock.resumed) == ({"fit": 0}, {})


def test_a_phase_is_told_from_nothing_to_all_of_it():
    told = []
    clock = Clock(lambda *step: told.append(step))
    with clock.phase("fit", 10) as advance:
        advance(4)
    assert told == [("fit", 0, 10), ("fit", 4, 10), ("fit", 10, 10)]
    told.clear()
    with clock.phase("sample", 3) as advance:  # more than was foreseen
        advance(5)
    assert told == [("sample", 0, 3), ("sample", 5, 5)]


def test_a_phase_that_fails_is_timed_and_not_told_to_be_done():
    told = []
    clock = Clock(lambda *step: told.append(step))
    with pytest.raises(ZeroDivisionError), clock.phase("fit", 10) as advance:
        fail_after(4, advance, ZeroDivisionError())
    assert told == [("fit", 0, 10), ("fit", 4, 10)]
    assert clock.pixels == {"fit": 4}
    assert clock.seconds.keys() == {"fit"}


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, partial(Interrupted, 15)], ids=["ctrl-c", "signal"])
@pytest.mark.parametrize(("total", "note"), [(8, "in phase fit, 25% done"), (0, "in phase fit")])
def test_an_interrupt_says_how_far_the_phase_was(total, note, interrupt):
    error = interrupt()
    with pytest.raises(type(error)), Clock().phase("fit", total) as advance:
        fail_after(2, advance, error)
    assert error.__notes__ == [note]


def test_who_is_not_there_is_told_nothing():
    assert unseen(5) is unseen(5, resumed=True) is None
