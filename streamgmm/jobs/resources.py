"""How much of the machine a job takes: threads, chunks, memory."""

import os
import re
import sys
from dataclasses import dataclass

from ..errors import OptionError

_UNITS = {"": 1, "b": 1}
_UNITS |= {prefix + "ib": 1024**power for power, prefix in enumerate("kmgt", 1)}
_UNITS |= {prefix + "b": 1000**power for power, prefix in enumerate("kmgt", 1)}
_PIXELS = {"px": 1, "kpx": 10**3, "mpx": 10**6, "gpx": 10**9}

# A strip or PNG that cannot be read in parts may take this many chunks: 256 MiB by default, which is a photo of 89 Mpx.
# With small chunks it may take 16 MiB all the same: the tiles of a TIFF are hardly ever larger.
WHOLE_CHUNKS, WHOLE_BYTES = 4, 16 << 20


@dataclass(frozen=True)
class Resources:
    """Threads of a job, and the size of the decoded pixels it holds at once, in bytes or in pixels."""

    threads: int
    size: int
    in_pixels: bool

    @classmethod
    def of(cls, chunk_size: str | int, threads: int | None) -> "Resources":
        """Read ``chunk_size`` (bytes, ``"64MiB"``, ``"4Mpx"``) and ``threads`` (all this process may use by default).

        Raises
        ------
        OptionError
            Where one of them makes no sense.
        """
        if threads is None:
            threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if threads < 1:
            raise OptionError(f"threads is {threads}; at least 1 is needed")
        match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([a-z]*)\s*", str(chunk_size).lower())
        unit = match and match[2]
        if not match or (unit not in _UNITS and unit not in _PIXELS):
            raise OptionError(f"chunk size is {chunk_size!r}; write bytes such as 64MiB, or pixels such as 4Mpx")
        size = int(float(match[1]) * (_UNITS.get(unit) or _PIXELS[unit]))
        if size < 1:
            raise OptionError(f"chunk size is {chunk_size!r}; it must be more than nothing")
        return cls(threads, size, unit in _PIXELS)

    def chunk(self, pixel_bytes: int) -> int:
        """Bytes of a chunk of pixels of some bytes each."""
        return self.size * pixel_bytes if self.in_pixels else self.size

    def budget(self, pixel_bytes: int = 3) -> int:
        """Bytes that what cannot be read in parts may take."""
        return max(WHOLE_BYTES, WHOLE_CHUNKS * self.chunk(pixel_bytes))


def peak_memory() -> int:
    """Peak resident memory of this process, in bytes."""
    if sys.platform == "linux":  # ru_maxrss counts what the parent held at the fork, too
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
