"""The pixels of one image, or of several, as passes see them: places to read, in a fixed order."""

import operator
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from ..errors import UnsupportedImageError
from ..image.source import Image
from ..image.tiles import TileGrid, Window, reading_unit
from ..model.colours import ColourCounter, ColourTable
from ..model.mixture import Mixture
from ..model.statistics import Statistics, accumulate
from .engine import LocalEngine
from .resources import Resources

# Pixels of a task: a tile of 512 x 512. Smaller tiles are read several at a time, because a task costs 50 microseconds.
TASK_PIXELS = 1 << 18

Advance = Callable[[int], None]


class Place(NamedTuple):
    """A window of one of the images."""

    image: Image
    window: Window

    @property
    def n_pixels(self) -> int:
        """Pixels in it."""
        return self.window.height * self.window.width


class PixelStream:
    """Passes over all pixels of some images.

    The places depend on the images alone, so nothing that is added up over them depends on chunks or threads.

    Parameters
    ----------
    images : sequence of Image
        All with the same bands.
    engine : LocalEngine
    resources : Resources

    Raises
    ------
    UnsupportedImageError
        Where the images have different bands.
    """

    def __init__(self, images: Sequence[Image], engine: LocalEngine, resources: Resources):
        self._engine = engine
        self.n_bands = images[0].shape[2]
        for image in images:
            if image.shape[2] != self.n_bands:
                raise UnsupportedImageError(
                    f"{image.name}: {image.shape[2]} bands, but {images[0].name} has {self.n_bands}; fit images of equal bands"
                )
        self.dtype = np.result_type(*(image.dtype for image in images))
        self.places = [Place(image, window) for image in images for window in _windows(image)]
        self.n_pixels = sum(place.n_pixels for place in self.places)
        pixel_bytes = self.n_bands * self.dtype.itemsize
        largest = max(place.n_pixels for place in self.places)
        self._in_flight = max(1, resources.chunk(pixel_bytes) // (largest * pixel_bytes))

    def accumulate(self, mixture: Mixture, advance: Advance, places: Sequence[int] | None = None) -> Statistics:
        """Add up the statistics of all places, or of some, place after place."""

        def task(place: Place) -> tuple[int, Statistics]:
            return place.n_pixels, accumulate(place.image.read(place.window), mixture)

        chosen = self.places if places is None else [self.places[i] for i in places]

        def parts() -> Iterator[Statistics]:
            for n_pixels, statistics in self._engine.stream(task, chosen, self._in_flight):
                advance(n_pixels)
                yield statistics

        return reduce(operator.add, parts())

    def spread(self, n_places: int) -> list[int]:
        """Return some places, spread evenly over all."""
        return [i * len(self.places) // n_places for i in range(n_places)]

    def sample(
        self, size: int, seed: int, places: Sequence[int], advance: Advance, counter: ColourCounter | None = None
    ) -> ColourTable:
        """Draw about ``size`` pixels from some places; on the way count the colours of *all* pixels, if there is a counter."""
        read = places if counter is None else range(len(self.places))
        shares = dict.fromkeys(places, -(-size // len(places)))

        def task(index: int) -> tuple[int, np.ndarray | None]:
            pixels = self._read(index)
            if counter is not None:
                counter.add(pixels)
            return len(pixels), _draw(pixels, shares[index], [seed, index]) if index in shares else None

        drawn = []
        for n_pixels, pixels in self._engine.stream(task, read, self._in_flight):
            advance(n_pixels)
            if pixels is not None:
                drawn.append(pixels)
        return ColourTable.of(np.concatenate(drawn))

    def few_colours(self, most: int, advance: Advance) -> ColourTable | None:
        """Count the distinct colours of all pixels, or return None where there are more than ``most``."""
        found = None
        for table in self._engine.stream(
            lambda index: ColourTable.of(self._read(index)), range(len(self.places)), self._in_flight
        ):
            found = table if found is None else found + table
            advance(int(table.n_pixels))
            if len(found) > most:
                return None
        return found

    def _read(self, index: int) -> np.ndarray:
        """Return the pixels (n, D) of a place, in the type that holds the samples of all images."""
        image, window = self.places[index]
        pixels = image.read(window).reshape(-1, self.n_bands)
        if pixels.dtype != self.dtype:  # 8-bit beside 16-bit images: 255 becomes 65,535
            pixels = pixels.astype(self.dtype) * self.dtype.type(257)
        return pixels


def _windows(image: Image) -> TileGrid:
    height, width, _ = image.shape
    return TileGrid(Window(0, 0, height, width), reading_unit((height, width), image.segment, TASK_PIXELS))


def _draw(pixels: np.ndarray, share: int, seed: Any) -> np.ndarray:
    """Draw pixels at random, or take all where there are no more than the share."""
    if len(pixels) <= share:
        return np.array(pixels)
    return pixels[np.random.default_rng(seed).integers(0, len(pixels), share)]
