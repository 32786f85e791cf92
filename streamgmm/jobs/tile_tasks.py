"""What becomes a tile of an output: tasks that label the pixels of a block, and that make reduced levels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..image.image import Image, MaskedPixels
from ..image.output.codec import encode_tile
from ..image.output.pyramid import reduced_tile
from ..image.output.spec import ImageSpec
from ..image.tiles import TileGrid, Window, parts_of
from ..model.display import Display
from ..model.distortion import Distortion, distortion
from ..model.dither import Dithering
from ..model.space import SampleSpace
from ..page.overview import Sampler
from .dithering import HalveDithered
from .passes.blocks import Block
from .passes.tasks import Part
from .tile_store import Finished, Labeler

# Bytes of what is read and labeled at once. Threads that take turns at Python for every 786 KB, 262,144 pixels of 8-bit colors,
# wait for each other: labeling strips of one row then took up to 1.7 times as long.
PART_BYTES = 4 << 20
# Delta E is taken of one pixel in so many: those of a square lattice, (5, 6) and (-6, 5) apart. As their number is prime, all
# places in blocks of JPEG and tiles come up alike; every eighth pixel of every eighth row is always the same place.
ONE_IN, TURN = 61, 11


def part_pixels(image: Image) -> int:
    """Return the pixels that are read and labeled at once, unless one tile or strip has more."""
    return max(1, PART_BYTES // image.pixel_bytes)


@dataclass(frozen=True)
class Layer:
    """What the pixels of an image become in one output.

    Attributes
    ----------
    label : function from pixels to labels
    spec : ImageSpec
    first : int
        Where the tiles of the image begin among those of the output.
    dithering : Dithering or None
        What makes labels of what pixels become, where these are pairs of labels.
    """

    label: Labeler
    spec: ImageSpec
    first: int
    dithering: Dithering | None = None

    def labels(self, samples: np.ndarray, window: Window, valid: np.ndarray | None) -> np.ndarray:
        """Return the labels of the valid pixels of a window of the image, shape (n,)."""
        found = self.label(samples)
        if self.dithering is None:
            return found
        shape = (window.height, window.width) if valid is None else found.shape
        return self.dithering.labels(found.reshape(shape), window.top, window.left, valid).reshape(-1)


@dataclass(frozen=True)
class LabelTiles:
    """Label the pixels of a block, and encode the tiles of each output.

    Pixels are read in parts, and labeled as they come: of a block as wide as the image, only labels are held as a whole.

    Attributes
    ----------
    space : SampleSpace
    dtype : numpy.dtype
    layers : tuple of Layer
    display : Display or None
        How pixels are shown, where their distance from the palette of the first output is measured.
    sparsely : bool
        Whether Delta E is taken of one in 61 pixels, not of all.
    sampler : Sampler or None
        What of the pixels is kept for a page.
    """

    space: SampleSpace
    dtype: np.dtype
    layers: tuple[Layer, ...]
    display: Display | None
    sparsely: bool = False
    sampler: Sampler | None = None

    def __call__(self, block: Block) -> Part:
        """Return the tiles of a block, a multiple of tiles, and its distortion."""
        image, window = block.image, block.window
        labels = [np.full(window[2:], layer.spec.nodata or 0, layer.spec.dtype) for layer in self.layers]
        measured, n_valid, cells = None, 0, []
        most = part_pixels(image)
        for area in parts_of(window, image.segment, most):
            read = image.read(area)
            for part in parts_of(area, (1, 1), most):  # of a strip, which may be far larger
                found, n_pixels = self._label(read, area, part, [whole[part.within(window).slices] for whole in labels])
                measured = found if measured is None or found is None else measured + found
                n_valid += n_pixels
                if self.sampler:
                    cells.append(self.sampler.taken(part, area, read, labels[0][part.within(window).slices]))
        tiles = {i: _encoded(whole, window, layer) for i, (whole, layer) in enumerate(zip(labels, self.layers, strict=True))}
        return Part(Finished(tiles, measured, tuple(each for each in cells if each is not None)), n_valid)

    def _label(self, read: MaskedPixels, area: Window, part: Window, into: list[np.ndarray]) -> tuple[Distortion | None, int]:
        """Label a part of an area that was read; return its distortion, and how many pixels are not masked."""
        place = part.within(area).slices
        pixels, valid = read.pixels[place], None if read.valid is None else read.valid[place]
        stored = pixels.reshape(-1, pixels.shape[-1]) if valid is None else pixels[valid]
        samples = self.space.forward(stored, self.dtype)
        labels = [layer.labels(samples, part, valid) for layer in self.layers]
        for found, whole in zip(labels, into, strict=True):
            whole[... if valid is None else valid] = found.reshape(whole.shape) if valid is None else found
        palette, measured = self.layers[0].spec.palette, None
        if self.display and palette is not None:
            seen = on_lattice(part) if self.sparsely else None
            seen = seen if seen is None else seen.reshape(-1) if valid is None else seen[valid]
            measured = distortion(samples, labels[0], palette, self.display, seen=seen)
        return measured, len(stored)


def on_lattice(window: Window) -> np.ndarray:
    """Return where pixels of a window are of those in the image that are one in 61, shape (height, width), bool."""
    rows = (np.arange(window.top, window.top + window.height) * TURN % ONE_IN).astype(np.uint8)
    columns = (np.arange(window.left, window.left + window.width) % ONE_IN).astype(np.uint8)
    return rows[:, None] == columns


def _encoded(labels: np.ndarray, window: Window, layer: Layer) -> list[tuple[int, bytes]]:
    """Return the tiles of a window of labels."""
    spec, places = layer.spec, TileGrid(window, layer.spec.tile)
    return [
        (layer.first + spec.grids[0].index_of(place), encode_tile(labels[place.within(window).slices], spec))
        for place in places
    ]


class LevelTile(NamedTuple):
    """A tile of a reduced level, and the encoded tiles of the level below that it covers."""

    number: int
    window: Window
    tiles: Sequence[bytes]

    @property
    def n_pixels(self) -> int:
        """Pixels in it."""
        return self.window.height * self.window.width


@dataclass(frozen=True)
class ReduceTiles:
    """Make the tiles of a reduced level.

    Attributes
    ----------
    spec : ImageSpec
    level : int
    output : int
        Number of the output.
    first : int
        Where the tiles of the level begin among those of the output.
    halve : HalveDithered or None
        What halves an output that is dithered.
    """

    spec: ImageSpec
    level: int
    output: int
    first: int
    halve: HalveDithered | None = None

    def __call__(self, tile: LevelTile) -> Part:
        """Return a tile."""
        data = reduced_tile(self.spec, self.level, tile.number, tile.tiles, self.halve)
        return Part(Finished({self.output: [(self.first + tile.number, data)]}, None), tile.n_pixels)
