"""How much of the machine a job takes, threads, chunks and memory; and whether something fits."""

import re
from dataclasses import dataclass, replace

from ..errors import MemoryBudgetError, OptionError
from ..model.buffers import n_moments
from ..model.footprint import COUNTERS, LOOKUP_BYTES, counter_bytes, scratch_bytes, table_bytes
from ..options import ResourceOptions
from ..system.limits import free_memory, processors

_UNITS = {"": 1, "b": 1}
_UNITS |= {prefix + "ib": 1024**power for power, prefix in enumerate("kmgt", 1)}
_UNITS |= {prefix: 1024**power for power, prefix in enumerate("kmgt", 1)}
_UNITS |= {prefix + "b": 1000**power for power, prefix in enumerate("kmgt", 1)}
_PIXELS = {"px": 1, "kpx": 10**3, "mpx": 10**6, "gpx": 10**9}

# A strip or PNG that cannot be read in parts may take this many chunks: 256 MiB by default, which is a photo of 89 Mpx.
# With small chunks it may take 16 MiB all the same: the tiles of a TIFF are hardly ever larger.
WHOLE_CHUNKS, WHOLE_BYTES = 4, 16 << 20

# The interpreter with all libraries and kernels takes 170 MiB; LLVM adds 75 MiB in a run that compiles.
BASELINE = 180 << 20
# What a job works with beside chunks and tables: seeding, encoded tiles, what the allocator keeps.
MARGIN = 32 << 20
# Pixels are held compressed, decoded, and as the type they are worked on in; Pillow holds RGB in four bytes, twice.
COPIES = 4
# Part of the free memory that a job takes at the most, if it is not told.
SHARE = 3 / 4
# Tasks in flight for each thread: enough that none waits for the results to be taken in order.
AHEAD = 4
# Arrays of covariances that an iteration holds, and the bytes they may take together.
COVARIANCES, COVARIANCE_BYTES = 6, 256 << 20


@dataclass(frozen=True)
class Resources:
    """What a job may take.

    Attributes
    ----------
    threads : int
    size : int
        Decoded pixels in memory at once, in bytes or in pixels.
    in_pixels : bool
    memory : int
        Bytes of resident memory of the whole process.
    """

    threads: int
    size: int
    in_pixels: bool
    memory: int

    @classmethod
    def of(cls, options: ResourceOptions) -> "Resources":
        """Read what was asked for; by default all processors this process may use, and three quarters of the free memory.

        Raises
        ------
        OptionError
            Where one of the options makes no sense.
        MemoryBudgetError
            Where the memory is not enough for any job.
        """
        memory, threads = options.memory, options.threads or processors()
        size, unit = _quantity(
            "chunk-size", options.chunk_size, _UNITS | _PIXELS, "bytes such as 64MiB, or pixels such as 4Mpx"
        )
        given = int(SHARE * free_memory()) if memory is None else _quantity("memory", memory, _UNITS, "bytes such as 512MiB")[0]
        if given < BASELINE + MARGIN:
            told = "three quarters of the free memory are" if memory is None else "memory is"
            raise MemoryBudgetError(
                f"{told} {mebibytes(given)}; any job needs {mebibytes(BASELINE + MARGIN)}, most of it for Python and its "
                "libraries; raise --memory"
            )
        return cls(threads, size, unit in _PIXELS, given)

    def without(self, size: int, name: str, what: str) -> "Resources":
        """Return what is left when something takes some bytes.

        Raises
        ------
        MemoryBudgetError
            Where that is less than any job needs.
        """
        if size > self.spare:
            raise MemoryBudgetError(
                f"{name}: {what} take {mebibytes(size)} of {mebibytes(self.spare)} that are left of {mebibytes(self.memory)}; "
                "raise --memory, lower --threads, take fewer --components, or fewer bands with --bands"
            )
        return replace(self, memory=self.memory - size)

    @property
    def spare(self) -> int:
        """Bytes for what depends on the job."""
        return self.memory - BASELINE - MARGIN

    def without_mixture(self, n_components: int, n_bands: int, name: str, held: int = 0) -> "Resources":
        """Return what is left beside what a fit of a mixture holds, and images that are decoded as a whole.

        Raises
        ------
        MemoryBudgetError
            Where that is less than any job needs.
        """
        what, size = f"{n_components:,} components in {n_bands:,} bands", COVARIANCES * 8 * n_components * n_bands**2
        if size > COVARIANCE_BYTES:
            raise MemoryBudgetError(
                f"{name}: {what} take {mebibytes(size)} of {mebibytes(COVARIANCE_BYTES)}; take fewer with "
                "--bands, or fewer --components"
            )
        left = self.without(held, name, "images that are decoded as a whole")
        return left.without(size + self._work_bytes(n_components, n_bands), name, what)

    def without_work(self, n_components: int, n_bands: int, name: str) -> "Resources":
        """Return what is left beside what labeling with a mixture holds; raises what :meth:`without` does."""
        return self.without(self._work_bytes(n_components, n_bands), name, f"{n_components:,} components")

    def _work_bytes(self, n_components: int, n_bands: int) -> int:
        """Bytes of the buffers that all threads work in, and of the results that wait to be added up."""
        waiting = AHEAD * self.threads * n_components * n_moments(n_bands) * 8
        return scratch_bytes(n_components, n_bands, self.threads) + waiting

    def counters(self, n_bands: int, n_pixels: int) -> int:
        """Return how many threads can count colors at once; 0 where even one array of counters is too large."""
        return min(self.threads, COUNTERS, self.spare // counter_bytes(n_bands, n_pixels))

    def holds_lookup(self, size: int = LOOKUP_BYTES) -> bool:
        """Whether a table of what each color becomes fits, of labels by default, and as much again."""
        return self.spare >= 2 * size

    def holds_table(self, n_colors: int, n_bands: int, n_pixels: int, converted: bool = False) -> bool:
        """Whether a table of so many colors fits, beside the counters it is made from, and in another space, too."""
        return counter_bytes(n_bands, n_pixels) + table_bytes(n_colors, n_bands, converted) <= self.spare

    def _asked(self, pixel_bytes: int) -> int:
        return self.size * pixel_bytes if self.in_pixels else self.size

    def chunk(self, pixel_bytes: int) -> int:
        """Bytes of a chunk of pixels of some bytes each: what was asked for, or what the color tables leave of the memory."""
        tables = self.counters(3, 1) * counter_bytes(3, 1)
        return max(1, min(self._asked(pixel_bytes), (self.spare + MARGIN // 2 - tables) // COPIES))

    def window(self, pixel_bytes: int, read: int, held: int) -> int:
        """Bytes that the labels of a window may take, and its encoded tiles.

        Parameters
        ----------
        pixel_bytes : int
        read : int
            Bytes of the pixels that are read at once meanwhile; the labels may always take as much.
        held : int
            Bytes of the tables that labels are looked up in.
        """
        asked = max(WHOLE_BYTES, COPIES * self._asked(pixel_bytes))
        return max(read, min(asked, self.spare + MARGIN // 2 - held - (COPIES - 1) * read))

    def budget(self, pixel_bytes: int = 3) -> int:
        """Bytes that what cannot be read in parts may take."""
        return min(max(WHOLE_BYTES, WHOLE_CHUNKS * self.chunk(pixel_bytes)), (self.spare + MARGIN // 2) // COPIES)


def mebibytes(size: float) -> str:
    """Write a number of bytes as a person reads it."""
    return f"{size / 2**20:,.0f} MiB"


def _quantity(name: str, text: str | int, units: dict[str, int], examples: str) -> tuple[int, str]:
    """Read a number with a unit, and return both."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([a-z]*)\s*", str(text).lower())
    if not match or match[2] not in units:
        raise OptionError(f"{name} is {text!r}; write {examples}")
    size = int(float(match[1]) * units[match[2]])
    if size < 1:
        raise OptionError(f"{name} is {text!r}; it must be more than nothing")
    return size, match[2]
