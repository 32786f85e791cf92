"""The engine runs tasks in threads, and hands their results back in order, a few at a time."""

import threading
import time

import pytest

from streamgmm.jobs.passes.engine import AHEAD, LocalEngine


def slow_for_the_first(item):
    """A task that is done the later the earlier it began."""
    time.sleep(0.002 * max(0, 5 - item))
    return item


@pytest.mark.parametrize("in_flight", [1, 2, 1000])
@pytest.mark.parametrize("threads", [1, 2, 4])
def test_results_come_in_the_order_of_the_items(threads, in_flight):
    with LocalEngine(threads) as engine:
        assert list(engine.stream(slow_for_the_first, range(30), in_flight)) == list(range(30))


def test_nothing_to_do_gives_nothing():
    with LocalEngine(2) as engine:
        assert list(engine.stream(slow_for_the_first, [], 4)) == []


@pytest.mark.parametrize(("threads", "in_flight", "limit"), [(1, 1, 1), (2, 3, 3), (2, 0, 1), (2, 1000, 2 * AHEAD)])
def test_no_more_are_in_flight_than_allowed(threads, in_flight, limit):
    started, lead = [], []
    with LocalEngine(threads) as engine:
        for taken, _ in enumerate(engine.stream(started.append, range(100), in_flight)):
            time.sleep(0.0005)
            lead.append(len(started) - taken)
    assert len(started) == 100
    assert max(lead) <= limit + 1  # the one in hand


def test_several_threads_work_at_once():
    meeting = threading.Barrier(3, timeout=10)
    with LocalEngine(3) as engine:
        assert len(list(engine.stream(lambda _: meeting.wait(), range(3), 3))) == 3


def fail_at(bad):
    def task(item):
        if item == bad:
            raise ValueError(f"item {item}")
        return item

    return task


def test_an_error_comes_where_its_result_would():
    taken = []
    with LocalEngine(2) as engine, pytest.raises(ValueError, match="item 7"):
        taken.extend(engine.stream(fail_at(7), range(20), 4))
    with LocalEngine(2) as engine:
        stream = engine.stream(fail_at(7), range(20), 4)
        assert [next(stream) for _ in range(7)] == list(range(7))


def test_after_an_error_no_more_is_begun():
    started = []

    def task(item):
        started.append(item)
        return fail_at(3)(item)

    with LocalEngine(1) as engine, pytest.raises(ValueError, match="item 3"):
        list(engine.stream(task, range(1000), 2))
    assert max(started) < 10


def test_who_stops_taking_stops_the_work():
    started = []
    with LocalEngine(2) as engine:
        stream = engine.stream(started.append, range(1000), 8)
        next(stream)
        stream.close()
    assert len(started) < 30


def test_an_engine_leaves_no_threads():
    before = threading.active_count()
    with LocalEngine(4) as engine:
        list(engine.stream(slow_for_the_first, range(10), 10))
    assert threading.active_count() == before
