"""How long the phases of a job take, how far they are, and who is told."""

import contextlib
import time
from collections.abc import Iterator
from typing import Protocol

from ..errors import Cancelled, Interrupted
from ..options import Progress
from ..system.signals import check_signals


class Advance(Protocol):
    """Is told of pixels that are done, or were by the run before."""

    def __call__(self, pixels: int, *, resumed: bool = False) -> None:
        """Count them."""


def unseen(pixels: int, *, resumed: bool = False) -> None:
    """Tell nobody."""


class Clock:
    """Times the phases of a job, counts their pixels, and passes both on to a progress callback."""

    def __init__(self, progress: Progress | None = None):
        self._progress, self._start = progress, time.perf_counter()
        self.seconds: dict[str, float] = {}
        self.pixels: dict[str, int] = {}
        self.resumed: dict[str, int] = {}  # of these, what was taken over from an interrupted run

    @property
    def elapsed(self) -> float:
        """Seconds since the job began."""
        return time.perf_counter() - self._start

    @contextlib.contextmanager
    def phase(self, name: str, total: int) -> Iterator[Advance]:
        """Time a phase; the function handed out is told of pixels done, and raises Cancelled where the callback says so."""
        done = 0

        def advance(pixels: int, *, resumed: bool = False) -> None:
            nonlocal done
            check_signals()
            done += pixels
            if resumed and pixels:
                self.resumed[name] = self.resumed.get(name, 0) + pixels
            if self._progress and self._progress(name, done, max(done, total)) is False:
                raise Cancelled(f"cancelled while in phase {name}")

        start = time.perf_counter()
        advance(0)
        try:
            yield advance
        except (KeyboardInterrupt, Interrupted) as interrupt:
            interrupt.add_note(f"in phase {name}" + (f", {done / total:.0%} done" if total else ""))
            raise
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
            self.pixels[name] = self.pixels.get(name, 0) + done
        if self._progress and done < total:  # a fit converged before its last iteration
            self._progress(name, total, total)
