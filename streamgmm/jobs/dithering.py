"""Dithering the pixels of an output: the blends of its pixels, and reduced levels."""

from dataclasses import dataclass

import numpy as np

from ..image.output.spec import ImageSpec
from ..image.tiles import Window
from ..model.colors import has_table
from ..model.display import Display
from ..model.dither import BlendTable, Dithering
from ..model.warmup import compile_dithering
from ..options import WriteOptions
from ..options.output import check_dithered
from .session import Session
from .tile_store import Labeler


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
    table, size = has_table(blocks.dtype, blocks.n_bands), 8 * 256**blocks.n_bands
    table = table and session.resources.holds_lookup(size)
    with session.clock.phase("compile", 0):
        compile_dithering(blocks.dtype, blocks.n_bands, len(palette), table=table)
    return (BlendTable(dithering, blocks.n_bands), dithering, size) if table else (dithering.blends, dithering, 0)


@dataclass(frozen=True)
class HalveDithered:
    """Halve samples of an output that is dithered, as :func:`streamgmm.image.output.pyramid.reduced_tile` asks for."""

    spec: ImageSpec
    dithering: Dithering

    def __call__(self, samples: np.ndarray, place: Window) -> np.ndarray:
        """Return the samples of a part of a level, from those of the level below that it covers."""
        spec, masked = self.spec, self.spec.masked_sample
        valid = None if masked is None or not (there := samples == masked).any() else ~there
        rgb = spec.form == "rgb"
        colors = samples[..., None].view(np.uint8)[..., :3] if rgb else self._palette[samples]
        labels, valid = self.dithering.halved(colors, valid, place.top, place.left)
        halved = spec.color_codes[labels] if rgb else labels.astype(spec.sample_dtype)
        if valid is not None:
            halved[~valid] = masked
        return halved

    @property
    def _palette(self) -> np.ndarray:
        """Return the color of every label, also of masked pixels."""
        palette, nodata = self.dithering.palette, self.spec.nodata
        more = 0 if nodata is None else max(0, nodata + 1 - len(palette))
        return np.pad(palette, ((0, more), (0, 0)))
