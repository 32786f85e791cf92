"""How a pass is run on this machine: a pool of threads that each decode a tile and work on it."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# Tasks in flight for each thread: enough that none waits for the results to be taken in order.
AHEAD = 4


class LocalEngine:
    """Runs tasks over items in threads, and hands back their results in the order of the items.

    A task reads its tile, runs serial kernels on it while it is in the cache, and returns something small. Nothing
    depends on which thread ran it or when.

    Parameters
    ----------
    threads : int > 0
    """

    def __init__(self, threads: int):
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="streamgmm")

    def __enter__(self) -> "LocalEngine":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def stream(self, task: Callable[[Item], Result], items: Iterable[Item], in_flight: int) -> Iterator[Result]:
        """Yield ``task(item)`` in order, with at most ``in_flight`` of them running or waiting to be taken."""
        items = iter(items)
        limit = max(1, min(in_flight, AHEAD * self.threads))
        pending: deque[Future[Result]] = deque(self._pool.submit(task, item) for item in islice(items, limit))
        try:
            while pending:
                result = pending.popleft().result()
                pending.extend(self._pool.submit(task, item) for item in islice(items, 1))
                yield result
        finally:
            for future in pending:
                future.cancel()
