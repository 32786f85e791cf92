"""What the images of an output will be like, from its options and its input."""

import numpy as np

from ..errors import OptionError
from ..image.image import Image
from ..image.output.spec import ImageSpec, n_levels
from ..model.buffers import label_dtype
from ..model.display import Display
from ..model.mixture import Mixture
from ..options import WriteOptions
from .passes.blocks import Blocks

# Side of an output tile where the input has none of its own between these sides: GDAL's default.
TILE, SMALLEST_TILE, LARGEST_TILE = 256, 128, 2048
# An image with a longer side than this gets reduced levels by default: viewers must read all of it otherwise.
PYRAMID_SIDE = 8192


def shown_bands(options: WriteOptions, blocks: Blocks) -> tuple[int, ...] | None:
    """Return the bands to show, from 0; None are the first.

    Raises
    ------
    OptionError
        Where the model has no such band, or the samples not the range that is to be shown.
    """
    if options.display_range == "type" and blocks.floating:
        raise OptionError(
            "display-range is type; samples are floats, or wider than 16 bits, and have none: use auto, or LOW,HIGH"
        )
    bands = options.display_bands
    if bands is None:
        return None
    if not all(1 <= band <= blocks.n_bands for band in bands):
        raise OptionError(f"display bands are {','.join(map(str, bands))}; the model has bands 1 to {blocks.n_bands}")
    return tuple(band - 1 for band in bands)


def display_of(options: WriteOptions, mixture: Mixture, blocks: Blocks) -> Display:
    """Return how the samples of images are shown in the colors of a mixture."""
    (gain, zero), deep = blocks.units, 257 if blocks.dtype == np.uint8 else 1
    return Display.of(mixture, shown_bands(options, blocks), options.display_range, (gain * deep, zero * deep))


def image_spec(image: Image, palette: np.ndarray, nodata: int | None, options: WriteOptions) -> ImageSpec:
    """Return the spec of an image in the colors of a palette (K, 3), whose masked pixels, if there are any, get a label."""
    n_labels = max(len(palette), 0 if nodata is None else nodata + 1)
    bits = next(bits for bits in (1, 2, 4, 8, 16) if n_labels <= 1 << bits) if options.pack else None
    return ImageSpec(
        shape=image.shape[:2],
        tile=_tile(image, options),
        dtype=label_dtype(n_labels),
        form=options.output,
        palette=palette,
        nodata=nodata,
        nodata_color=options.nodata_color or (0, 0, 0),  # type: ignore[arg-type] # as it was read
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
