"""What the images of an output will be like, from its options and its input."""

import numpy as np

from ..errors import OptionError
from ..image.image import Image
from ..image.output.spec import ImageSpec, n_levels
from ..model.buffers import label_dtype
from ..options import WriteOptions

# Side of an output tile where the input has none of its own between these sides: GDAL's default.
TILE, SMALLEST_TILE, LARGEST_TILE = 256, 128, 2048
# An image with a longer side than this gets reduced levels by default: viewers must read all of it otherwise.
PYRAMID_SIDE = 8192


def display_of(options: WriteOptions, n_bands: int) -> tuple[int, ...] | None:
    """Return the bands to show, from 0.

    Raises
    ------
    OptionError
        Where the model has no such band.
    """
    bands = options.display_bands
    if bands is None:
        return None
    if not all(1 <= band <= n_bands for band in bands):
        raise OptionError(f"display bands are {','.join(map(str, bands))}; the model has bands 1 to {n_bands}")
    return tuple(band - 1 for band in bands)


def image_spec(image: Image, palette: np.ndarray, masked: bool, options: WriteOptions) -> ImageSpec:
    """Return the spec of an image in the colors of a palette (K, 3); masked pixels get the label K."""
    n_labels = len(palette) + masked
    bits = next(bits for bits in (1, 2, 4, 8, 16) if n_labels <= 1 << bits) if options.pack else None
    return ImageSpec(
        shape=image.shape[:2],
        tile=_tile(image, options),
        dtype=label_dtype(n_labels),
        form=options.output,
        palette=palette,
        nodata=len(palette) if masked else None,
        compression=options.compression,
        compression_level=options.compression_level,
        bits=bits if bits is not None and bits < 8 else None,
        n_levels=_n_levels(image, options),
        resampling=options.resampling,
        metadata=image.metadata,
    )


def confidence_spec(image: Image, masked: bool, options: WriteOptions) -> ImageSpec:
    """Return the spec of the largest responsibilities of an image; masked pixels are 0."""
    return ImageSpec(
        shape=image.shape[:2],
        tile=_tile(image, options),
        dtype=np.dtype(np.uint8),
        form="labels",
        nodata=0 if masked else None,
        compression=options.compression,
        compression_level=options.compression_level,
        n_levels=_n_levels(image, options),
        resampling="nearest",
        metadata=image.metadata,
    )


def _tile(image: Image, options: WriteOptions) -> tuple[int, int]:
    height, width, _ = image.shape
    longest = max(TILE, 2 * height, 2 * width)  # libvips refuses tiles far larger than the image
    if options.tile_size is None and image.tile and all(_usable(side) and side <= longest for side in image.tile):
        return image.tile
    side = options.tile_size or TILE
    return side, side


def _usable(side: int) -> bool:
    return SMALLEST_TILE <= side <= LARGEST_TILE and side % 16 == 0


def _n_levels(image: Image, options: WriteOptions) -> int:
    shape = image.shape[:2]
    by_default = options.layout == "cog" or max(shape) > PYRAMID_SIDE
    wanted = by_default if options.pyramid is None else options.pyramid
    return n_levels(shape, _tile(image, options)) if wanted else 1
