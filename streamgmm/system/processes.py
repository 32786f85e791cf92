"""Tasks in processes of their own: a crash, or a kill for want of memory, costs one task and not those that come after it."""

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from typing import TypeVar

from .signals import STOP

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_processes(function: Callable[[Task], Result], tasks: Sequence[Task], size: int) -> Generator[tuple[Task, Result | None]]:
    """Yield each task with its result as it ends, or with None where its process died.

    Close the generator, or let an exception out of it, and all processes are asked to stop (SIGTERM) and waited for.

    Parameters
    ----------
    function : callable
        One that can be imported.
    tasks : sequence
    size : int > 0
        Processes at once.
    """
    idle = [_process() for _ in range(min(size, len(tasks)))]
    running: dict[Future[Result], tuple[Task, ProcessPoolExecutor]] = {}
    rest = deque(tasks)
    try:
        while rest or running:
            while rest and idle:
                with _signals_held():
                    task, process = rest.popleft(), idle.pop()
                    running[process.submit(function, task)] = task, process
            # Not for longer: a signal that another thread of this process gets is seen when this one wakes up.
            for future in wait(running, timeout=0.5, return_when=FIRST_COMPLETED).done:
                task, process = running.pop(future)
                result: Result | None = None
                try:
                    result = future.result()
                except BrokenProcessPool:
                    process.shutdown()
                    process = _process()
                idle.append(process)
                yield task, result
    finally:
        if running:
            for child in multiprocessing.active_children():
                child.terminate()
        for process in (*idle, *(process for _, process in running.values())):
            process.shutdown(cancel_futures=True)


def _process() -> ProcessPoolExecutor:
    """Return a process that is started with its first task; not a fork, because threads of OpenMP do not survive one."""
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=_begin)


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Hold signals back here, and from what is started meanwhile until it has begun: none interrupts it as it loads."""
    resource_tracker.ensure_running()  # which lets them through as it starts
    came: list[int] = []  # to other threads, which do not hold them back
    before, handlers = signal.pthread_sigmask(signal.SIG_BLOCK, STOP), {}
    if threading.current_thread() is threading.main_thread():
        held = [number for number in STOP if signal.getsignal(number) not in (None, signal.SIG_IGN)]
        handlers = {number: signal.signal(number, lambda number, _: came.append(number)) for number in held}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for again in came:
            signal.raise_signal(again)


def _begin() -> None:
    """Leave the signals of the terminal to the parent, and keep messages for it; die with it."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP)
    logger = logging.getLogger("streamgmm")
    logger.handlers, logger.propagate = [logging.NullHandler()], False
    logger.setLevel(logging.INFO)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)  # as by SIGKILL, after which the job goes on where it was
