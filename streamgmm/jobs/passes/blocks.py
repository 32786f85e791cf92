"""All pixels of some images, as blocks: what is read at once, in a fixed order."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...errors import UnsupportedImageError
from ...image.image import Image
from ...image.tiles import TileGrid, Window, reading_unit

# Pixels of a block: a tile of 512 x 512. Smaller tiles are read several at a time, because a task costs 50 microseconds.
BLOCK_PIXELS = 1 << 18


class Block(NamedTuple):
    """A window of one of the images; in another process it refers to the same file."""

    image: Image
    window: Window
    image_number: int
    position: int  # among all blocks

    @property
    def n_pixels(self) -> int:
        """Pixels in it, masked ones too."""
        return self.window.height * self.window.width

    def valid_pixels(self) -> np.ndarray:
        """Read it, and return the pixels (n, D) that are not masked, as the image has them."""
        pixels, valid = self.image.read(self.window)
        return pixels.reshape(-1, pixels.shape[-1]) if valid is None else pixels[valid]


class Blocks(Sequence[Block]):
    """The blocks of some images, but those that are absent in sparse files.

    They depend on the images alone, so nothing that is added up over them depends on chunks or threads.

    Parameters
    ----------
    images : sequence of Image
        All with the same bands.

    Attributes
    ----------
    n_bands : int
    floating : bool
        Whether samples are floats, or integers of more than 16 bits.
    dtype : numpy.dtype
        Of the samples as kernels take them: uint8, uint16, or float32 in [0, 1].
    units : tuple of float
        Those of the first image, as samples of that type.
    n_pixels : int
        Pixels of all blocks.
    sparse : bool
        Whether any is absent.

    Raises
    ------
    UnsupportedImageError
        Where the images have different bands, or are floats and integers.
    """

    def __init__(self, images: Sequence[Image]):
        first = images[0]
        self.images, self.n_bands, self.floating = images, first.shape[2], first.dtype.kind == "f"
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
        more = 257 if self.dtype == np.uint16 and first.dtype == np.uint8 else 1
        self.units = first.units[0] * more, first.units[1] * more
        windows = [(image, window, number) for number, image in enumerate(images) for window in _windows(image)]
        there = [place for place in windows if not place[0].absent(place[1])]
        self._blocks = [Block(*place, index) for index, place in enumerate(there)]
        self.sparse = len(there) < len(windows)
        self.n_pixels = sum(block.n_pixels for block in self._blocks)
        self.pixel_bytes = max(image.pixel_bytes for image in images)
        self.block_bytes = self.pixel_bytes * max((block.n_pixels for block in self._blocks), default=1)

    def __len__(self) -> int:
        return len(self._blocks)

    def __getitem__(self, index):
        return self._blocks[index]

    def spread(self, n_blocks: int) -> list[Block]:
        """Return some blocks, spread evenly over all."""
        return [self._blocks[i * len(self) // n_blocks] for i in range(n_blocks)]


def _windows(image: Image) -> TileGrid:
    height, width, _ = image.shape
    return TileGrid(Window(0, 0, height, width), reading_unit((height, width), image.segment, BLOCK_PIXELS))
