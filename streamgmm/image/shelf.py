"""Many files as images, of which few are open at once: open files take descriptors, and decoded ones memory."""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..errors import ImageReadError
from .metadata import Metadata
from .source import Image, Read, ReadOptions, Source, open_images
from .tiles import Window

# Files that stay open. Passes go through the files in order, so more would help only more threads than this.
OPEN = 16


@dataclass
class _Open:
    """The images of a file that is open, or about to be, and how many threads read them."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    images: list[Image] = field(default_factory=list)
    readers: int = 0


class Shelf:
    """The images of some sources, opened again where they are read after others were.

    Parameters
    ----------
    sources : sequence of path or ndarray
    options : ReadOptions
    budget : int
        Bytes that images that were decoded as a whole may take, each and all together.

    Attributes
    ----------
    images : list of ShelvedImage

    Raises
    ------
    StreamGMMError
        What :func:`streamgmm.image.source.open_images` raises.
    """

    def __init__(self, sources: Sequence[Source], options: ReadOptions, budget: int):
        self._sources, self._options, self._budget = sources, options, budget
        self._lock = threading.Lock()
        self._open: OrderedDict[int, _Open] = OrderedDict()  # by number of the source; the one that was read last is last
        self.images: list[ShelvedImage] = []
        try:
            for number in range(len(sources)):
                with self.reading(number) as images:
                    self.images += [ShelvedImage(self, number, i, image) for i, image in enumerate(images)]
        except BaseException:
            self.close()
            raise

    @contextmanager
    def reading(self, number: int) -> Iterator[list[Image]]:
        """Give the images of a source, open until the block ends at least."""
        with self._lock:
            file = self._open.setdefault(number, _Open())
            self._open.move_to_end(number)
            file.readers += 1
        try:
            with file.lock:  # other files are read meanwhile
                if not file.images:
                    file.images = open_images(self._sources[number], self._options, self._budget)
                    with self._lock:
                        self._close_some()
            yield file.images
        finally:
            with self._lock:
                file.readers -= 1

    def _close_some(self) -> None:
        """Close what was not read for longest, until little is open."""
        held = sum(image.held for file in self._open.values() for image in file.images)
        for number, file in list(self._open.items())[:-1]:
            if len(self._open) <= OPEN and held <= self._budget:
                return
            if not file.readers:
                held -= sum(image.held for image in file.images)
                _close(self._open.pop(number))

    def close(self) -> None:
        """Close all files."""
        while self._open:
            _close(self._open.popitem()[1])


def _close(file: _Open) -> None:
    for image in file.images:
        image.close()


class ShelvedImage:
    """An image of a shelf, which stays what it was when it was first opened, or cannot be read."""

    def __init__(self, shelf: Shelf, number: int, index: int, image: Image):
        self._shelf, self._number, self._index = shelf, number, index
        self.name, self.shape, self.dtype, self.held = image.name, image.shape, image.dtype, image.held
        self.maskable, self.segment, self.tile = image.maskable, image.segment, image.tile
        self.state = image.state

    @contextmanager
    def _opened(self) -> Iterator[Image]:
        with self._shelf.reading(self._number) as images:
            if self._index >= len(images) or images[self._index].state != self.state:
                raise ImageReadError(f"{self.name}: changed while it was read; run again when it is whole")
            yield images[self._index]

    @property
    def metadata(self) -> Metadata:
        """What an output takes over."""
        with self._opened() as image:
            return image.metadata

    def read(self, window: Window) -> Read:
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
        """Leave the file to its shelf."""
