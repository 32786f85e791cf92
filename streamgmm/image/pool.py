"""Many files as images, of which few are open at once: open files take descriptors, and decoded ones memory."""

import functools
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import ImageReadError
from ..options import ReadOptions
from .image import Image, MaskedPixels, Source
from .metadata import Metadata
from .open import open_images, source_of
from .tiles import Window

# Files that stay open. Passes go through the files in order, so more would help only more threads than this.
OPEN = 16


@dataclass(frozen=True)
class Reference:
    """All that is needed to open the images of a file, here or in another process.

    Attributes
    ----------
    source : path
    options : ReadOptions
    budget : int
        Bytes that images that were decoded as a whole may take, each and all together.
    """

    source: Source
    options: ReadOptions
    budget: int


@dataclass
class _Open:
    """The images of a file that is open, or about to be, and how many threads read them."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    images: list[Image] = field(default_factory=list)
    readers: int = 0


class ImagePool:
    """Files that are opened again where they are read after others were."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: OrderedDict[str, _Open] = OrderedDict()  # the one that was read last is last

    def __enter__(self) -> "ImagePool":
        return self

    def __exit__(self, *_: object) -> None:
        while self._open:
            _close(self._open.popitem()[1])

    def open(self, sources: Sequence[Source], options: ReadOptions, budget: int) -> list[Image]:
        """Return the images of some sources, arrays as they are.

        Raises
        ------
        StreamGMMError
            What :func:`streamgmm.image.open.open_images` raises.
        """
        images: list[Image] = []
        for source in map(source_of, sources):
            if isinstance(source, np.ndarray):
                images += open_images(source, options, budget)
                continue
            reference = Reference(source, options, budget)
            with self.reading(reference) as opened:
                images += [PooledImage(self, reference, index, image) for index, image in enumerate(opened)]
        return images

    @contextmanager
    def reading(self, reference: Reference) -> Iterator[list[Image]]:
        """Give the images of a file, open until the block ends at least."""
        with self._lock:
            key = repr(reference)  # a nodata value of NaN equals none, not even itself
            file = self._open.setdefault(key, _Open())
            self._open.move_to_end(key)
            file.readers += 1
        try:
            with file.lock:  # other files are read meanwhile
                if not file.images:
                    file.images = open_images(reference.source, reference.options, reference.budget)
                    with self._lock:
                        self._close_some(reference.budget)
            yield file.images
        finally:
            with self._lock:
                file.readers -= 1

    def _close_some(self, budget: int) -> None:
        """Close what was not read for longest, until little is open."""
        held = sum(image.held for file in self._open.values() for image in file.images)
        for key, file in list(self._open.items())[:-1]:
            if len(self._open) <= OPEN and held <= budget:
                return
            if not file.readers:
                held -= sum(image.held for image in file.images)
                _close(self._open.pop(key))


def _close(file: _Open) -> None:
    for image in file.images:
        image.close()


@functools.cache
def pool_of_this_process() -> ImagePool:
    """Return the pool that images use which come from another process."""
    return ImagePool()


class PooledImage:
    """An image of a pool, which stays what it was when it was first opened, or cannot be read.

    It travels as a reference: in another process it is opened there, where it is read.
    """

    def __init__(self, pool: ImagePool, reference: Reference, index: int, image: Image):
        self._pool, self._reference, self._index = pool, reference, index
        self.name, self.shape, self.dtype, self.held = image.name, image.shape, image.dtype, image.held
        self.maskable, self.segment, self.tile = image.maskable, image.segment, image.tile
        self.pixel_bytes, self.state, self.units = image.pixel_bytes, image.state, image.units

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_pool"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _pool=pool_of_this_process())

    @contextmanager
    def _opened(self) -> Iterator[Image]:
        with self._pool.reading(self._reference) as images:
            if self._index >= len(images) or images[self._index].state != self.state:
                raise ImageReadError(f"{self.name}: changed while it was read; run again when it is whole")
            yield images[self._index]

    @property
    def metadata(self) -> Metadata:
        """What an output takes over."""
        with self._opened() as image:
            return image.metadata

    def read(self, window: Window) -> MaskedPixels:
        """Return the pixels of a window and which are valid."""
        with self._opened() as image:
            return image.read(window)

    def absent(self, window: Window) -> bool:
        """Whether a window has no pixels in a sparse file."""
        with self._opened() as image:
            return image.absent(window)

    def check_unchanged(self) -> None:
        """Raise an ImageReadError where the file has changed since it was first opened."""
        with self._opened() as image:
            image.check_unchanged()

    def info(self) -> dict:
        """Describe the image."""
        with self._opened() as image:
            return image.info()

    def close(self) -> None:
        """Leave the file to its pool."""
