"""The pixels of one image, or of several, as passes see them: places to read, in a fixed order."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import NoPixelsError, UnsupportedImageError
from ..image.source import Image, Read
from ..image.tiles import TileGrid, Window, reading_unit
from ..model.colours import ColourCounter, ColourTable
from ..model.mixture import Mixture
from ..model.statistics import Statistics, accumulate
from .checkpoint import Checkpoint
from .engine import LocalEngine
from .resources import Resources
from .sums import Sum

# Pixels of a task: a tile of 512 x 512. Smaller tiles are read several at a time, because a task costs 50 microseconds.
TASK_PIXELS = 1 << 18

# Pixels that are scaled at once.
PART = 1 << 14

# Places that are counted between two times when the counters may be saved: 0.2 s of work.
ROUND = 64

Advance = Callable[[int], None]
Range = tuple[float, float]


class Place(NamedTuple):
    """A window of one of the images."""

    number: int  # of the image
    image: Image
    window: Window

    @property
    def n_pixels(self) -> int:
        """Pixels in it, masked ones too."""
        return self.window.height * self.window.width


class PixelStream:
    """Passes over all pixels of some images that are not masked.

    The places depend on the images alone, so nothing that is added up over them depends on chunks or threads.

    Parameters
    ----------
    images : sequence of Image
        All with the same bands.
    engine : LocalEngine
    resources : Resources
    checkpoint : Checkpoint

    Attributes
    ----------
    dtype : numpy.dtype
        Of the pixels: uint8, uint16, or float32 in [0, 1].
    by_image : bool
        Whether images have equal weights, not pixels.
    range : tuple of float, or None
        What 0 and 1 stand for where samples are floats or wider than 16 bits; found by :meth:`find_range`.

    Raises
    ------
    UnsupportedImageError
        Where the images have different bands, or are floats and integers.
    """

    def __init__(self, images: Sequence[Image], engine: LocalEngine, resources: Resources, checkpoint: Checkpoint):
        self._engine, self.images, self.resources, self.checkpoint = engine, images, resources, checkpoint
        first, self.n_bands = images[0], images[0].shape[2]
        self.floating = first.dtype.kind == "f"
        for image in images:
            if image.shape[2] != self.n_bands:
                raise UnsupportedImageError(
                    f"{image.name}: {image.shape[2]} bands, but {first.name} has {self.n_bands}; fit images of equal bands"
                )
            if (image.dtype.kind == "f") != self.floating:
                raise UnsupportedImageError(
                    f"{image.name}: samples are {image.dtype}, those of {first.name} are {first.dtype}; fit images of one kind"
                )
        self.dtype = np.dtype(np.float32) if self.floating else np.result_type(*(image.dtype for image in images))
        self.by_image = False
        self.range: Range | None = None
        windows = [Place(i, image, window) for i, image in enumerate(images) for window in _windows(image)]
        self.places = [place for place in windows if not place.image.absent(place.window)]
        self._sparse = len(self.places) < len(windows)
        self.n_pixels = sum(place.n_pixels for place in self.places)
        self._valid: dict[int, int] = {}  # pixels that are not masked, of the places read so far
        pixel_bytes = self.n_bands * max(image.dtype.itemsize for image in images)
        largest = max((place.n_pixels for place in self.places), default=1)
        self._in_flight = max(1, resources.chunk(pixel_bytes) // (largest * pixel_bytes))

    def find_range(self, advance: Advance) -> None:
        """Find the least and the greatest sample, where these are floats or wider than 16 bits.

        Raises
        ------
        NoPixelsError
            Where all are masked.
        """

        def task(index: int) -> tuple[float, float, int]:
            pixels = self._valid_pixels(index)
            low, high = (pixels.min(), pixels.max()) if len(pixels) else (np.inf, -np.inf)
            return float(low), float(high), self.places[index].n_pixels

        step, (low, high), done = self.checkpoint.step(), (np.inf, -np.inf), 0
        if saved := step.load():
            low, high, done = float(saved["low"]), float(saved["high"]), int(saved["done"])
            advance(sum(place.n_pixels for place in self.places[:done]))
        for least, greatest, n_pixels in self._engine.stream(task, range(done, len(self.places)), self._in_flight):
            low, high, done = min(low, least), max(high, greatest), done + 1
            advance(n_pixels)
            if step.due():
                step.save({"low": low, "high": high, "done": done})
        if low > high:
            raise NoPixelsError(self._nothing())
        self.range = low, high

    def samples(self, pixels: np.ndarray) -> np.ndarray:
        """Bring pixels of one of the images to the type of all: 8-bit 255 to 16-bit 65,535, floats to [0, 1]."""
        if self.range is not None:
            low, high = self.range
            half = (high / 2 - low / 2) or 1.0  # halves, because the range itself may be more than a float holds
            scaled = np.empty(pixels.shape, np.float32)
            for first in range(0, len(pixels), PART):  # float64 of a large tile would take twice its memory, several times
                part = pixels[first : first + PART].astype(np.float64) / 2
                scaled[first : first + PART] = (np.nan_to_num(part) - low / 2) / half
            return scaled
        if pixels.dtype != self.dtype:
            return pixels.astype(self.dtype) * self.dtype.type(257)
        return pixels

    def masked(self) -> bool:
        """Whether any pixel is masked; reads the places that no pass has read yet, until it finds one."""
        if self._sparse or any(n_valid < self.places[index].n_pixels for index, n_valid in self._valid.items()):
            return True
        unread = [i for i, place in enumerate(self.places) if place.image.maskable and i not in self._valid]

        def task(index: int) -> bool:
            return len(self._valid_pixels(index)) < self.places[index].n_pixels

        return any(self._engine.stream(task, unread, self._in_flight))

    def accumulate(self, mixture: Mixture, advance: Advance, places: Sequence[int] | None = None) -> Statistics:
        """Add up the statistics of all places, or of some, place after place."""

        def task(index: int) -> tuple[int, Statistics]:
            return self.places[index].n_pixels, accumulate(self._read(index), mixture)

        chosen = range(len(self.places)) if places is None else places
        step, done, total = self.checkpoint.step(), 0, Sum(Statistics, self.by_image)
        if saved := step.load():
            done = int(saved.pop("done"))
            total.restore(saved)
            advance(sum(self.places[i].n_pixels for i in chosen[:done]))
        for n_pixels, statistics in self._engine.stream(task, chosen[done:], self._in_flight):
            total.add(statistics, self.places[chosen[done]].number)
            done += 1
            advance(n_pixels)
            if step.due():
                step.save({"done": done, **total.state()})
        return total.result()

    def spread(self, n_places: int) -> list[int]:
        """Return some places, spread evenly over all."""
        return [i * len(self.places) // n_places for i in range(n_places)]

    def sample(
        self, size: int, seed: int, places: Sequence[int], advance: Advance, counter: ColourCounter | None = None
    ) -> ColourTable:
        """Draw about ``size`` pixels from some places; on the way count the colours of *all* pixels, if there is a counter.

        Where these places hold too few pixels that are not masked, others are read too, in random order.

        Raises
        ------
        NoPixelsError
            Where all pixels are masked.
        """
        read = places if counter is None else range(len(self.places))
        shares = dict.fromkeys(places, -(-size // max(1, len(places))))

        def task(index: int) -> tuple[int, np.ndarray | None]:
            pixels = self._read(index)
            if counter is not None:
                counter.add(pixels)
            return self.places[index].n_pixels, _draw(pixels, shares[index], [seed, index]) if index in shares else None

        step, done = self.checkpoint.step(), 0
        drawn, images = [np.empty((0, self.n_bands), self.dtype)], [np.empty(0, np.intp)]
        if saved := step.load():
            drawn, images, done = [saved["drawn"]], [saved["images"]], int(saved["done"])
            if counter is not None:
                counter.restore(saved["counters"])
            del saved  # the counters are as large as a lane
            advance(sum(self.places[i].n_pixels for i in read[:done]))
        while done < len(read):
            part = read[done : done + ROUND]
            for index, (n_pixels, pixels) in zip(part, self._engine.stream(task, part, self._in_flight), strict=True):
                advance(n_pixels)
                if pixels is not None:
                    drawn.append(pixels)
                    images.append(np.full(len(pixels), self.places[index].number))
            done += len(part)
            if step.due():  # between rounds no thread is counting
                counters = {} if counter is None else {"counters": counter.total()}
                step.save({"done": done, "drawn": np.concatenate(drawn), "images": np.concatenate(images), **counters})
        n_drawn = sum(map(len, drawn))
        if n_drawn < size // FEW and n_drawn < sum(self.places[i].n_pixels for i in shares):
            counter, shares = None, dict.fromkeys(range(len(self.places)), size)
            others = np.random.default_rng([seed, size]).permutation(len(self.places)).tolist()
            for index, (_, pixels) in zip(others, self._engine.stream(task, others, self._in_flight), strict=True):
                if pixels is not None:
                    drawn.append(pixels)
                    images.append(np.full(len(pixels), self.places[index].number))
                    n_drawn += len(pixels)
                if n_drawn >= size:
                    break
        if not n_drawn:
            raise NoPixelsError(self._nothing())
        origin = np.concatenate(images)
        return ColourTable.of(np.concatenate(drawn), 1 / np.bincount(origin)[origin] if self.by_image else None)

    def few_colours(self, most: int, advance: Advance) -> ColourTable | None:
        """Count the distinct colours of all pixels, or return None where there are more than ``most``."""

        def task(index: int) -> ColourTable:
            return ColourTable.of(self._read(index))

        step, done, found = self.checkpoint.step(), 0, Sum(ColourTable, self.by_image)
        if saved := step.load():
            done = int(saved.pop("done"))
            found.restore(saved)
        for table in self._engine.stream(task, range(done, len(self.places)), self._in_flight):
            found.add(table, self.places[done].number)
            done += 1
            advance(int(table.n_pixels))
            if len(found.result()) > most:
                return None
            if step.due():
                step.save({"done": done, **found.state()})
        return found.result()

    def _read(self, index: int) -> np.ndarray:
        """Return the pixels (n, D) of a place that are not masked, in the type that holds the samples of all images."""
        return self.samples(self._valid_pixels(index))

    def _valid_pixels(self, index: int) -> np.ndarray:
        _, image, window = self.places[index]
        pixels = valid_pixels(image.read(window))
        self._valid[index] = len(pixels)
        return pixels

    def _nothing(self) -> str:
        return f"{self.images[0].name}: every pixel is masked (nodata, alpha 0, mask or NaN); there is nothing to fit"


# A sample of less than this part of what was asked for is not enough.
FEW = 4


def valid_pixels(read: Read) -> np.ndarray:
    """Return the pixels (n, D) that are not masked."""
    pixels, valid = read
    return pixels.reshape(-1, pixels.shape[-1]) if valid is None else pixels[valid]


def _windows(image: Image) -> TileGrid:
    height, width, _ = image.shape
    return TileGrid(Window(0, 0, height, width), reading_unit((height, width), image.segment, TASK_PIXELS))


def _draw(pixels: np.ndarray, share: int, seed: Any) -> np.ndarray:
    """Draw pixels at random, or take all where there are no more than the share."""
    if len(pixels) <= share:
        return np.array(pixels)
    return pixels[np.random.default_rng(seed).integers(0, len(pixels), share)]
