"""Signals that ask to stop, as an exception that ends a job in order."""

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

from ..errors import Interrupted

STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_asked: list[int] = []  # signals that have come


@contextlib.contextmanager
def stopping() -> Iterator[None]:
    """Raise Interrupted where a signal asks to stop, unless it is ignored as under nohup."""

    def interrupt(number: int, frame: Any) -> None:
        _asked.append(number)
        raise Interrupted(number)

    numbers = [number for number in STOP if signal.getsignal(number) is not signal.SIG_IGN]
    before = [signal.signal(number, interrupt) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
        _asked.clear()


def check_signals() -> None:
    """Raise Interrupted once more where work goes on: what a signal interrupts may swallow that, as callbacks from C do."""
    if _asked:
        raise Interrupted(_asked[0])
