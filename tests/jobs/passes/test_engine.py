"""The engine runs tasks in threads, and hands their results back in order, a few at a time."""

import threading
import time
from typing import NamedTuple

import numpy as np
import pytest

from streamgmm.errors import Cancelled
from streamgmm.jobs.clock import unseen
from streamgmm.jobs.passes.engine import AHEAD, LocalEngine
from streamgmm.jobs.passes.sums import Sum
from streamgmm.jobs.passes.tasks import Part


def slow_for_the_first(item):
    """A task that is done the later the earlier it began."""
    time.sleep(0.002 * max(0, 5 - item))
    return item


@pytest.mark.parametrize("in_flight", [1, 2, 1000])
@pytest.mark.parametrize("threads", [1, 2, 4])
def test_results_come_in_the_order_of_the_items(threads, in_flight):
    with LocalEngine(threads, in_flight) as engine:
        assert list(engine.stream(slow_for_the_first, range(30), 1)) == list(range(30))


def test_nothing_to_do_gives_nothing():
    with LocalEngine(2, 4) as engine:
        assert list(engine.stream(slow_for_the_first, [], 1)) == []


@pytest.mark.parametrize(
    ("threads", "chunk", "limit"), [(1, 100, 1), (2, 300, 3), (2, 399, 3), (2, 1, 1), (2, 10**6, 2 * AHEAD)]
)
def test_no_more_are_in_flight_than_fit_a_chunk_and_one_at_least(threads, chunk, limit):
    started, lead = [], []
    with LocalEngine(threads, chunk) as engine:
        for taken, _ in enumerate(engine.stream(started.append, range(100), 100)):
            time.sleep(0.0005)
            lead.append(len(started) - taken)
    assert len(started) == 100
    assert max(lead) <= limit + 1  # the one in hand


def test_several_threads_work_at_once():
    meeting = threading.Barrier(3, timeout=10)
    with LocalEngine(3, 3) as engine:
        assert len(list(engine.stream(lambda _: meeting.wait(), range(3), 1))) == 3


def fail_at(bad):
    def task(item):
        if item == bad:
            raise ValueError(f"item {item}")
        return item

    return task


def test_an_error_comes_where_its_result_would():
    taken = []
    with LocalEngine(2, 4) as engine, pytest.raises(ValueError, match="item 7"):
        taken.extend(engine.stream(fail_at(7), range(20), 1))
    with LocalEngine(2, 4) as engine:
        stream = engine.stream(fail_at(7), range(20), 1)
        assert [next(stream) for _ in range(7)] == list(range(7))


def test_after_an_error_no_more_is_begun():
    started = []

    def task(item):
        started.append(item)
        return fail_at(3)(item)

    with LocalEngine(1, 2) as engine, pytest.raises(ValueError, match="item 3"):
        list(engine.stream(task, range(1000), 1))
    assert max(started) < 10


def test_who_stops_taking_stops_the_work():
    started = []
    with LocalEngine(2, 8) as engine:
        stream = engine.stream(started.append, range(1000), 1)
        next(stream)
        stream.close()
    assert len(started) < 30


def test_an_engine_leaves_no_threads():
    before = threading.active_count()
    with LocalEngine(4, 10) as engine:
        list(engine.stream(slow_for_the_first, range(10), 1))
    assert threading.active_count() == before


# --- Sums ---


class Piece(NamedTuple):
    """Something with pixels."""

    position: int
    n_pixels: int


class Listed(Sum):
    """The values that were added, in order."""

    def __init__(self, enough=None, restorable=True):
        super().__init__()
        self.values, self.enough, self.restorable = [], enough, restorable

    def take(self, value, block):
        self.values.append(value)

    @property
    def complete(self):
        return self.enough is not None and len(self.values) >= self.enough

    def state(self):
        return {"values": np.array(self.values)}

    def restore(self, state):
        if self.restorable:
            self.values = state["values"].tolist()
        return self.restorable


class FakeStep:
    """A step that is due when it is asked for some time, and keeps what is saved."""

    def __init__(self, due=lambda: False, saved=None, tasks=None):
        self.due, self.saved, self.tasks, self.states = due, saved, tasks, []

    def load(self):
        return self.saved

    def save(self, state):
        if self.tasks:
            assert self.tasks.running == 0
        self.states.append(state)


class Recorded:
    """A task that takes some time, and knows how many of it run, and on what it was called."""

    def __init__(self):
        self.lock, self.running, self.most, self.called = threading.Lock(), 0, 0, []

    def __call__(self, piece):
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
            self.called.append(piece.position)
        time.sleep(0.0005 * (1 + piece.position % 3))
        with self.lock:
            self.running -= 1
        return Part(10 * piece.position, piece.n_pixels - 1)


PIECES = [Piece(i, 100 + i) for i in range(40)]
EXPECTED = [10 * i for i in range(40)]


def reduce(task, into, step, threads=3, chunk_bytes=1000, advance=unseen):
    with LocalEngine(threads, chunk_bytes) as engine:
        engine.reduce(task, PIECES, into, 1, step, advance)


@pytest.mark.parametrize("chunk_bytes", [1, 3, 1000])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_sum_is_in_the_order_of_the_blocks(threads, chunk_bytes):
    into, told = Listed(), []
    reduce(Recorded(), into, FakeStep(), threads, chunk_bytes, lambda pixels, resumed=False: told.append((pixels, resumed)))
    assert into.values == EXPECTED
    assert into.n_valid == {piece.position: piece.n_pixels - 1 for piece in PIECES}
    assert told == [(piece.n_pixels, False) for piece in PIECES]


@pytest.mark.parametrize("done", [0, 1, 17, 39, 40])
def test_a_sum_goes_on_from_what_was_saved(done):
    task, into, told = Recorded(), Listed(), []
    step = FakeStep(saved={"done": np.array(done), "values": np.array(EXPECTED[:done])})
    reduce(task, into, step, advance=lambda pixels, resumed=False: told.append((pixels, resumed)))
    assert into.values == EXPECTED
    assert sorted(task.called) == list(range(done, 40))
    assert told[0] == (sum(piece.n_pixels for piece in PIECES[:done]), True)
    assert told[1:] == [(piece.n_pixels, False) for piece in PIECES[done:]]


def test_a_sum_that_cannot_go_on_begins_again():
    task, into, told = Recorded(), Listed(restorable=False), []
    step = FakeStep(saved={"done": np.array(17), "values": np.array(EXPECTED[:17])})
    reduce(task, into, step, advance=lambda pixels, resumed=False: told.append(resumed))
    assert into.values == EXPECTED
    assert sorted(task.called) == list(range(40))
    assert not any(told)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("chance", [0.05, 0.3, 1])
def test_a_sum_is_saved_whole_while_no_task_runs(chance, threads):
    """Whenever a save is due; and what was saved is all up to there, from which another run comes to the same sum."""
    rng, task, into, due = np.random.default_rng(0), Recorded(), Listed(), []

    def is_due():
        due.append(bool(due and due[-1]) or rng.random() < chance)  # until it is saved
        return due[-1]

    step = FakeStep(is_due, tasks=task)
    save = step.save
    step.save = lambda state: (save(state), due.clear())
    reduce(task, into, step, threads)
    assert into.values == EXPECTED
    assert task.most == threads or chance == 1
    saved = [state["done"] for state in step.states]
    assert len(saved) > 40 * chance / 4
    assert saved == sorted(set(saved))
    for state in step.states[:: max(1, len(saved) // 4)]:
        assert state["values"].tolist() == EXPECTED[: state["done"]]
        again = Listed()
        reduce(Recorded(), again, FakeStep(saved=state))
        assert again.values == EXPECTED


def test_between_saves_a_block_is_done_at_least():
    step = FakeStep(due=lambda: True)
    reduce(Recorded(), Listed(), step)
    assert [state["done"] for state in step.states] == list(range(1, 41))


def test_nothing_is_saved_where_nothing_is_due():
    step = FakeStep()
    reduce(Recorded(), Listed(), step)
    assert step.states == []


@pytest.mark.parametrize("enough", [1, 5, 40])
def test_a_pass_ends_where_its_sum_is_complete(enough):
    task, into = Recorded(), Listed(enough)
    reduce(task, into, FakeStep(), threads=1, chunk_bytes=2)
    assert into.values == EXPECTED[:enough]
    assert len(task.called) <= enough + 2


@pytest.mark.parametrize("done", [5, 9])
def test_a_sum_that_was_complete_reads_no_more(done):
    task, into = Recorded(), Listed(5)
    reduce(task, into, FakeStep(saved={"done": np.array(done), "values": np.array(EXPECTED[:done])}))
    assert (into.values, task.called) == (EXPECTED[:done], [])


def test_an_error_of_a_task_comes_after_what_was_before_it():
    def task(piece):
        return Part(10 * piece.position, 1) if piece.position != 7 else 1 / 0

    into = Listed()
    with pytest.raises(ZeroDivisionError):
        reduce(task, into, FakeStep())
    assert into.values == EXPECTED[:7]


def test_who_is_told_may_stop_a_pass():
    def stop(pixels, resumed=False):
        if len(into.values) == 5:
            raise Cancelled

    task, into = Recorded(), Listed()
    with pytest.raises(Cancelled):
        reduce(task, into, FakeStep(), threads=1, chunk_bytes=2, advance=stop)
    assert into.values == EXPECTED[:5]
    assert len(task.called) < 10
