"""What an image of the output is like: its size, samples, codec and levels."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ...options import Compression, Form, Resampling
from ..metadata import Metadata
from ..tiles import TileGrid, Window


@dataclass(frozen=True)
class ImageSpec:
    """What one image of the output is like, with its reduced levels.

    Attributes
    ----------
    shape : tuple of int
        Height and width of the image.
    tile : tuple of int
        Height and width of a tile, multiples of 16.
    dtype : numpy.dtype
        Of the labels: uint8 or uint16.
    form : {"palette", "labels", "rgb"}
        Labels with a color map, labels alone, or the colors themselves as 8-bit samples.
    palette : ndarray of shape (K, 3), uint8, or None
        Colors of the labels; None only for form "labels".
    nodata : int or None
        Label of masked pixels, not one of the palette; None where no pixel is masked.
    nodata_color : tuple of int
        What they look like in a palette: red, green and blue.
    compression : {"none", "deflate", "lzw", "zstd", "packbits"}
    compression_level : int or None
        Of the codec; None for 4 (deflate) and 9 (zstd).
    bits : int or None
        Bits of a stored label: 1, 2 or 4 of uint8 labels, several of which share a byte; None for those of the dtype.
    n_levels : int
        The image and its reduced levels; each is half as high and wide as the one below, rounded up.
    resampling : {"mode", "nearest"}
        How the reduced levels are made.
    metadata : Metadata
    """

    shape: tuple[int, int]
    tile: tuple[int, int]
    dtype: np.dtype
    form: Form = "palette"
    palette: np.ndarray | None = None
    nodata: int | None = None
    nodata_color: tuple[int, int, int] = (0, 0, 0)
    compression: Compression = "deflate"
    compression_level: int | None = None
    bits: int | None = None
    n_levels: int = 1
    resampling: Resampling = "mode"
    metadata: Metadata = field(default_factory=Metadata)

    @cached_property
    def grids(self) -> list[TileGrid]:
        """The tiles of every level."""
        height, width = self.shape
        areas = (Window(0, 0, -(-height >> level), -(-width >> level)) for level in range(self.n_levels))
        return [TileGrid(area, self.tile) for area in areas]

    @property
    def n_tiles(self) -> int:
        """Number of tiles of all levels."""
        return sum(map(len, self.grids))

    @property
    def plain_bytes(self) -> int:
        """Bytes of the samples of all levels, not compressed."""
        pixels = sum(grid.area.height * grid.area.width for grid in self.grids)
        return pixels * self.samples_per_pixel * self.bits_per_sample // 8

    @property
    def bits_per_sample(self) -> int:
        """BitsPerSample (tag 258)."""
        return 8 if self.form == "rgb" else self.bits or 8 * np.dtype(self.dtype).itemsize

    @property
    def samples_per_pixel(self) -> int:
        """SamplesPerPixel (tag 277): 3 for colors, 4 where some may be masked, 1 for labels."""
        return (3 if self.nodata is None else 4) if self.form == "rgb" else 1

    @property
    def sample_dtype(self) -> np.dtype:
        """Of a decoded tile: labels, or colors as codes of four bytes (red, green, blue, alpha)."""
        return np.dtype("<u4") if self.form == "rgb" else np.dtype(self.dtype).newbyteorder("<")

    @property
    def masked_sample(self) -> int | None:
        """What masked pixels are in a decoded tile; None where there are none."""
        return self.nodata if self.nodata is None or self.form != "rgb" else 0

    @cached_property
    def color_codes(self) -> np.ndarray:
        """Codes of the labels' colors, shape (256,) or (65536,), uint32: alpha is 255, or 0 where it is not stored."""
        assert self.palette is not None
        codes = np.zeros((1 << 8 * np.dtype(self.dtype).itemsize, 4), np.uint8)
        codes[: len(self.palette), :3] = self.palette
        if self.nodata is not None:
            codes[: len(self.palette), 3] = 255
        return codes.view("<u4")[:, 0]


def n_levels(shape: tuple[int, int], tile: tuple[int, int]) -> int:
    """Return the number of levels until the longer side fits the longer side of a tile."""
    return 1 + ((max(shape) - 1) // max(tile)).bit_length()
