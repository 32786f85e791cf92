"""How a pass is run on this machine: a pool of threads that each decode a block and work on it."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from itertools import islice
from typing import Protocol, TypeVar

from ..clock import Advance
from ..resources import AHEAD
from .checkpoint import Step
from .sums import Sum
from .tasks import Part

Item = TypeVar("Item")
Result = TypeVar("Result")


class HasPixels(Protocol):
    """What passes go through: blocks, and tiles of reduced levels."""

    @property
    def n_pixels(self) -> int:
        """Pixels in it."""


Piece = TypeVar("Piece", bound=HasPixels)


class LocalEngine:
    """Runs tasks over items in threads, and hands back their results in the order of the items.

    A task reads its block, runs serial kernels on it while it is in the cache, and returns something small. Nothing
    depends on which thread ran it or when.

    Parameters
    ----------
    threads : int > 0
    chunk_bytes : int > 0
        Decoded bytes in flight at once; one item is, whatever it takes.
    """

    def __init__(self, threads: int, chunk_bytes: int):
        self.threads, self._chunk_bytes = threads, chunk_bytes
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="streamgmm")

    def __enter__(self) -> "LocalEngine":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def stream(self, task: Callable[[Item], Result], items: Iterable[Item], item_bytes: int) -> Generator[Result]:
        """Yield ``task(item)`` in order, with as many of them running or waiting to be taken as fit a chunk.

        When the generator is closed, none runs any more.
        """
        items = iter(items)
        limit = max(1, min(self._chunk_bytes // item_bytes, AHEAD * self.threads))
        pending: deque[Future[Result]] = deque(self._pool.submit(task, item) for item in islice(items, limit))
        try:
            while pending:
                result = pending.popleft().result()
                pending.extend(self._pool.submit(task, item) for item in islice(items, 1))
                yield result
        finally:
            wait([future for future in pending if not future.cancel()])

    def reduce(
        self,
        task: Callable[[Piece], Part],
        blocks: Sequence[Piece],
        into: Sum,
        block_bytes: int,
        step: Step,
        advance: Advance,
    ) -> None:
        """Add ``task(block)`` of all blocks into a sum, in their order, up to where it is complete.

        The sum is saved when that is due, and while no task runs: what tasks keep is whole then. A killed run goes on there.
        """
        done = 0
        if (saved := step.load()) and into.restore(saved):
            done = int(saved["done"])
            advance(sum(block.n_pixels for block in blocks[:done]), resumed=True)
        while done < len(blocks) and not into.complete:
            rest = blocks[done:]
            with closing(self.stream(task, _until_due(step, rest), block_bytes)) as parts:
                for block, part in zip(rest, parts, strict=False):
                    into.add(part, block)
                    done += 1
                    advance(block.n_pixels)
                    if into.complete:
                        break
            if step.due():
                step.save({"done": done, **into.state()})


def _until_due(step: Step, blocks: Sequence[Piece]) -> Iterator[Piece]:
    """Yield blocks, one at least, until the sum of a step is to be saved."""
    for i, block in enumerate(blocks):
        if i and step.due():
            return
        yield block
