"""Signals that ask to stop, as an exception that ends a job in order."""

import contextlib
import signal
import sys
from collections.abc import Iterator
from typing import Any

from ..errors import Interrupted

STOP = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_asked: list[int] = []  # signals that have come


@contextlib.contextmanager
def stopping() -> Iterator[None]:
    """Raise Interrupted where a signal asks to stop, unless it is ignored as under nohup.

    Where that cannot go on its way, as from a callback of the compiler, :func:`check_signals` raises it again, and Python does
    not tell of it.
    """
    shown = sys.unraisablehook

    def interrupt(number: int, frame: Any) -> None:
        _asked.append(number)
        raise Interrupted(number)

    def show(unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, Interrupted):
            shown(unraisable)

    numbers = [number for number in STOP if signal.getsignal(number) is not signal.SIG_IGN]
    before = [signal.signal(number, interrupt) for number in numbers]
    sys.unraisablehook = show
    try:
        yield
    finally:
        sys.unraisablehook = shown
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
        _asked.clear()


def check_signals() -> None:
    """Raise Interrupted once more where work goes on: what a signal interrupts may swallow that, as callbacks from C do."""
    if _asked:
        raise Interrupted(_asked[0])
