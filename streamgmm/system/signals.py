"""Signals that ask to stop, as an exception that ends a job in order."""

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

from ..errors import Interrupted

STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def stopping() -> Iterator[None]:
    """Raise Interrupted where a signal asks to stop, unless it is ignored as under nohup."""

    def interrupt(number: int, frame: Any) -> None:
        raise Interrupted(number)

    numbers = [number for number in STOP if signal.getsignal(number) is not signal.SIG_IGN]
    before = [signal.signal(number, interrupt) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
