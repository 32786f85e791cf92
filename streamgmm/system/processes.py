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
from multiprocessing.context import SpawnContext
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

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
    children = _Children()
    idle = [_Worker(children) for _ in range(min(size, len(tasks)))]
    running: dict[Future[Result], tuple[Task, _Worker]] = {}
    rest = deque(tasks)
    try:
        while rest or running:
            while rest and idle:
                task, worker = rest.popleft(), idle.pop()
                running[worker.submit(function, task)] = task, worker
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                task, worker = running.pop(future)
                idle.append(worker)
                try:
                    result: Result | None = future.result()
                except BrokenProcessPool:
                    result = None
                yield task, result
    finally:
        if running:
            children.terminate()
        for worker in (*idle, *(worker for _, worker in running.values())):
            worker.shutdown()


class _Children(SpawnContext):
    """Starts processes, and knows them; no forks, because threads of OpenMP do not survive one."""

    def __init__(self) -> None:
        super().__init__()
        self._started: list[BaseProcess] = []

    def Process(self, *arguments: Any, **keywords: Any) -> BaseProcess:  # type: ignore[override] # noqa: N802
        """Return a process that is to be started."""
        self._started.append(super().Process(*arguments, **keywords))
        return self._started[-1]

    def terminate(self) -> None:
        """Ask those to stop that run."""
        for process in self._started:
            if process.is_alive():
                process.terminate()


class _Worker:
    """A process that is started with its first task, and another after it where it has died.

    Each has a pipe of its own: of one that several share, a process that is killed may keep the lock.
    """

    def __init__(self, children: _Children):
        self._children = children
        self._executor = self._new()

    def _new(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, mp_context=self._children, initializer=_begin)

    def submit(self, function: Callable[[Task], Result], task: Task) -> Future[Result]:
        """Give it a task."""
        with _signals_held():
            try:
                return self._executor.submit(function, task)
            except BrokenProcessPool:
                self.shutdown()
                self._executor = self._new()
                return self._executor.submit(function, task)

    def shutdown(self) -> None:
        """End it when its task is done."""
        self._executor.shutdown(cancel_futures=True)


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
    for number in STOP:
        if number != signal.SIGTERM:  # by which the parent asks to stop
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
