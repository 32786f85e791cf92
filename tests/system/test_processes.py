"""Tasks in processes: one that dies costs its own task alone, all stop when they are to, and none outlives its parent."""

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import psutil
import pytest

from streamgmm.errors import Interrupted
from streamgmm.system.processes import in_processes
from streamgmm.system.signals import stopping

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
LONG = 60  # seconds that no test takes


def square(number):
    return number * number


def process_of(task):
    return os.getpid()


def die(task, way):
    """Return the task, or die."""
    if task < 0 and way == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif task < 0:
        os._exit(0)
    return task


def die_later(task):
    """Return the task, and die of a kill as soon as there is nothing to do."""
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGKILL)).start()
    return task


def wait_for(condition):
    """Wait until something is so."""
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def wait_in(folder, name):
    """Say that a task has begun, and go on for long, or until it is asked to stop."""
    (folder / f"{name}.{os.getpid()}").touch()
    try:
        with stopping():
            time.sleep(LONG)
    except Interrupted:
        (folder / f"{name}.stopped").touch()


def return_or_wait(name, folder):
    """End at once if all others have begun, which go on."""
    if name == "first":
        wait_for(lambda: len(list(folder.iterdir())) == 2)
    else:
        wait_in(folder, name)


def overlap(task):
    """When a task was worked on."""
    begin = time.monotonic()
    time.sleep(0.1)
    return begin, time.monotonic()


def fail(task):
    raise ValueError("a bug")


def fail_or_wait(name, folder):
    return_or_wait(name, folder)
    fail(name)


@pytest.mark.parametrize("size", [1, 2, 9])
def test_every_task_comes_with_its_result(size):
    assert sorted(in_processes(square, [3, 1, 2], size)) == [(1, 1), (2, 4), (3, 9)]


def test_nothing_to_do_starts_nothing():
    assert list(in_processes(square, [], 2)) == []
    assert multiprocessing.active_children() == []


def test_processes_are_used_again_and_are_no_more_than_wanted():
    found = {process for _, process in in_processes(process_of, range(8), 2)}
    assert 1 <= len(found) <= 2
    assert os.getpid() not in found
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("size", [1, 2])
def test_no_more_tasks_run_at_once_than_wanted(size):
    spans = [span for _, span in in_processes(overlap, range(5), size)]
    assert max(sum(begin <= moment < end for begin, end in spans) for moment, _ in spans) <= size


@pytest.mark.parametrize("way", ["killed", "crashed"])
@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("tasks", [[1, -1, 2, 3], [-1, 1, -2, -3, 2], [-1]])
def test_a_process_that_dies_costs_its_task_and_none_behind_it(tasks, size, way):
    results = dict(in_processes(partial(die, way=way), tasks, size))
    assert results == {task: task if task > 0 else None for task in tasks}
    assert multiprocessing.active_children() == []


def test_a_process_that_dies_while_it_waits_costs_nothing():
    results, n_threads = [], threading.active_count()
    with closing(in_processes(die_later, [1, 2, 3], 1)) as tasks:
        for task, result in tasks:
            results.append((task, result))
            wait_for(lambda: not multiprocessing.active_children())
            wait_for(lambda: threading.active_count() <= n_threads)  # those that watched it have seen it, too
    assert results == [(1, 1), (2, 2), (3, 3)]


def check_stopped(folder):
    """Check that two tasks that would have gone on for long were asked to stop, and have, and that no process is left."""
    begun = [path for path in folder.iterdir() if path.suffix != ".stopped"]
    assert {path.stem for path in begun} == {"second", "third"}
    assert {path.stem for path in folder.glob("*.stopped")} == {"second", "third"}
    assert not any(psutil.pid_exists(int(path.suffix[1:])) for path in begun)
    assert multiprocessing.active_children() == []


def test_closing_asks_all_to_stop_and_waits_for_them(tmp_path):
    begin = time.monotonic()
    with closing(in_processes(partial(return_or_wait, folder=tmp_path), ["first", "second", "third", "never"], 3)) as tasks:
        assert next(tasks) == ("first", None)
    assert time.monotonic() - begin < LONG / 2
    check_stopped(tmp_path)


def test_an_error_nobody_expected_stops_all(tmp_path):
    with pytest.raises(ValueError, match="a bug"):
        list(in_processes(partial(fail_or_wait, folder=tmp_path), ["first", "second", "third", "never"], 3))
    check_stopped(tmp_path)


def test_an_error_leaves_no_process_behind():
    with pytest.raises(ValueError, match="a bug"):
        list(in_processes(fail, [1, 2], 1))
    assert multiprocessing.active_children() == []


# What is killed: a program whose tasks go on for long.
PARENT = """
import sys
from functools import partial
from pathlib import Path
from streamgmm.system.processes import in_processes
from tests.system.test_processes import return_or_wait

if __name__ == "__main__":
    list(in_processes(partial(return_or_wait, folder=Path(sys.argv[1])), ["second", "third"], 2))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_process_outlives_its_parent(number, tmp_path):
    (folder := tmp_path / "begun").mkdir()
    (tmp_path / "parent.py").write_text(PARENT, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, tmp_path / "parent.py", folder], env=ENVIRONMENT, stderr=subprocess.DEVNULL
    ) as parent:
        wait_for(lambda: len(list(folder.iterdir())) == 2)
        parent.send_signal(number)
    children = [int(path.suffix[1:]) for path in folder.iterdir()]
    wait_for(lambda: not any(map(psutil.pid_exists, children)))
    assert not list(folder.glob("*.stopped"))  # they have no time to


def state_of_process(task):
    """How a process is set up: its signals, and the logger of the package."""
    logger = logging.getLogger("streamgmm")
    handlers = [type(handler).__name__ for handler in logger.handlers]
    signals = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)]
    return signals, (handlers, logger.propagate, logger.level), multiprocessing.get_start_method(allow_none=True)


def test_signals_of_the_terminal_and_messages_are_left_to_the_parent():
    ((_, (signals, messages, start)),) = in_processes(state_of_process, [None], 1)
    assert signals == [signal.SIG_IGN, signal.SIG_IGN, signal.SIG_DFL]
    assert messages == (["NullHandler"], False, logging.INFO)
    assert start == "spawn"
