"""Dithering the pixels of an output: the blends of its pixels, and reduced levels."""

from dataclasses import dataclass

import numpy as np

from ..image.output.spec import ImageSpec
from ..image.tiles import Window
from ..model.colors import has_table
from ..model.display import Display
from ..model.dither import BlendTable, Dithering, halved
from ..model.warmup import compile_dithering
from ..options import WriteOptions
from ..options.output import check_dithered
from .session import Session
from .tile_store import Labeler

# Bytes of what is kept for a color, and channels of the colors of levels.
PLACE, CHANNELS = 8, 3


def dithered(session: Session, options: WriteOptions, palette: np.ndarray, display: Display) -> tuple[Labeler, Dithering, int]:
    """Return what finds the blends of pixels, what chooses of them, and the bytes that are held for that.

    Of 8-bit samples these are kept for each color, if that fits; else they are found for each pixel, which gives the same.

    Raises
    ------
    OptionError
        Where the palette has too many colors.
    """
    check_dithered(options.dither, len(palette))
    dithering, blocks = Dithering(palette, display, options.dither), session.blocks
    size = PLACE * 256**blocks.n_bands
    table = has_table(blocks.dtype, blocks.n_bands) and session.resources.holds_lookup(size)
    with session.clock.phase("compile", 0):
        compile_dithering(blocks.dtype, blocks.n_bands, len(palette), table=table)
    if table:
        return BlendTable(dithering.blends, blocks.n_bands), dithering, size
    return dithering.blends, dithering, 0


def halving(session: Session, spec: ImageSpec, dithering: Dithering) -> "HalveDithered":
    """Return what halves an output that is dithered: its blends are kept, too, if that fits beside those of the image."""
    find: Labeler = dithering.level_blends
    if session.resources.holds_lookup(PLACE * 256**CHANNELS):  # and as much again, which is that of the image
        find = BlendTable(find, CHANNELS)
    return HalveDithered(spec, dithering, find)


@dataclass(frozen=True)
class HalveDithered:
    """Halve samples of an output that is dithered, as :func:`streamgmm.image.output.pyramid.reduced_tile` asks for.

    Each pixel is the mean of four, dithered again.
    """

    spec: ImageSpec
    dithering: Dithering
    find: Labeler

    def __call__(self, samples: np.ndarray, place: Window) -> np.ndarray:
        """Return the samples of a part of a level, from those of the level below that it covers."""
        spec, masked, rgb = self.spec, self.spec.masked_sample, self.spec.form == "rgb"
        means, valid = halved(samples, None if rgb else self.dithering.palette, masked, place.top, place.left)
        labels = self.dithering.level_labels(self.find(means), place.top, place.left)
        samples = spec.color_codes[labels] if rgb else labels.astype(spec.sample_dtype)
        if masked is not None:
            samples[~valid] = masked
        return samples
