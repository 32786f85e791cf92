"""Options of outputs, and of how samples are shown."""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import OptionError
from .fields import Options, option
from .values import check_tiff_name, read_color, read_display_range

Form = Literal["palette", "labels", "rgb"]
Color = Literal["means", "centroids"]
Dither = Literal["none", "ordered", "blue-noise"]
Compression = Literal["deflate", "none", "lzw", "zstd", "packbits"]
Structure = Literal["chained", "subifd", "cog"]
Resampling = Literal["mode", "nearest"]
BigTiff = Literal["auto", "yes", "no"]

# With more colors nobody sees where one ends and another begins; so many fit what is known of a pixel into 64 bits.
DITHERED_COLORS = 4096
PALETTE_SUFFIXES = (".gpl", ".json", ".txt")
# What the codecs take; imagecodecs clips other levels without a word. Deflate's 0 stores.
COMPRESSION_LEVELS = {"deflate": range(13), "zstd": range(1, 23)}


def _display_range() -> Any:
    """Return the one option of two kinds."""
    return option("auto", "Samples that are shown as black and white: auto, type, or LOW,HIGH.", metavar="LOW,HIGH")


@dataclass(frozen=True, kw_only=True)
class WriteOptions(Options):
    """How images are written."""

    output: Form = option("palette", "palette, labels (no colors) or rgb.", metavar="FORM", values={"--labels": "labels"})
    palette: Color = option("means", "Colors: means of components, or centroids of the pixels of each label.", metavar="KIND")
    dither: Dither = option("none", "Mix neighboring pixels of several colors: none, ordered or blue-noise.", metavar="KIND")
    compression: Compression = option("deflate", "deflate, none, lzw, zstd or packbits.", metavar="CODEC")
    compression_level: int | None = option(None, "0 to 12 for deflate (4), 1 to 22 for zstd (9).", metavar="N")
    tile_size: int | None = option(None, "Side of the output's tiles. [default: the input's, or 256]", metavar="N")
    layout: Structure = option("chained", "Reduced levels are chained pages, in a subifd, or as in a cog.", metavar="KIND")
    pyramid: bool | None = option(None, "Write reduced levels. [default: where a side has more than 8192 pixels, and in a cog]")
    resampling: Resampling = option("mode", "Of reduced levels: mode or nearest.", metavar="RULE")
    pack: bool = option(False, "Store labels in 1, 2 or 4 bits where they fit.")
    bigtiff: BigTiff = option("auto", "auto, yes or no.", metavar="WHEN")
    display_bands: tuple[int, ...] | None = option(None, "Bands of the model that the palette shows, from 1.", metavar="R,G,B")
    display_range: "str | tuple[float, float]" = _display_range()
    nodata_color: "str | tuple[int, int, int] | None" = option(
        None, "What masked pixels look like in a palette: a name, or #rrggbb. [default: black]", metavar="COLOR"
    )
    min_psnr: float | None = option(None, "Warn where the peak signal-to-noise ratio is less.", metavar="DB")

    def __post_init__(self):
        super().__post_init__()
        levels = COMPRESSION_LEVELS.get(self.compression, range(0))
        if self.compression_level is not None and self.compression_level not in levels:
            choice = f"choose {levels[0]} to {levels[-1]}" if levels else f"{self.compression} has none"
            raise OptionError(f"compression-level is {self.compression_level}; {choice}")
        if self.tile_size is not None and (self.tile_size < 16 or self.tile_size % 16):
            raise OptionError(f"tile-size is {self.tile_size}; TIFF asks for a multiple of 16")
        if self.min_psnr is not None and not math.isfinite(self.min_psnr):
            raise OptionError(f"min-psnr is {self.min_psnr}; it must be a number of decibels")
        if self.dither != "none":
            if self.output == "labels":
                raise OptionError("dither is for colors, and output labels has none: labels are classes; choose one")
            if self.resampling == "nearest":
                raise OptionError("dither and resampling exclude each other: its levels are means, dithered again; choose one")
        if self.pack and self.output == "rgb":
            raise OptionError("pack is for palettes and labels; RGB samples have 8 bits")
        if self.display_bands is not None and len(self.display_bands) not in (1, 3):
            raise OptionError(f"display bands are {self.display_bands}; name one, or three for red, green and blue")
        object.__setattr__(self, "display_range", read_display_range(self.display_range))
        if self.nodata_color is not None:
            object.__setattr__(self, "nodata_color", read_color("nodata-color", self.nodata_color))


def check_dithered(dither: Dither, n_colors: int) -> None:
    """Raise an OptionError where a palette is to be dithered that has too many colors for that."""
    if dither != "none" and n_colors > DITHERED_COLORS:
        raise OptionError(f"dither is {dither}; {n_colors:,} colors are too many for it, choose {DITHERED_COLORS:,} or less")


@dataclass(frozen=True, kw_only=True)
class OutputOptions(WriteOptions):
    """How one image is written, and what is written beside it."""

    palette_out: str | os.PathLike | None = option(
        None, "Write the palette: .gpl (GIMP), .json, or .txt (GDAL).", metavar="FILE"
    )
    confidence: str | os.PathLike | None = option(None, "Write a TIFF of each pixel's largest responsibility.", metavar="FILE")

    def __post_init__(self):
        super().__post_init__()
        if self.palette_out is not None and Path(self.palette_out).suffix.lower() not in PALETTE_SUFFIXES:
            kinds = ", ".join(PALETTE_SUFFIXES)
            raise OptionError(f"{self.palette_out}: what kind of palette? Choose a name that ends in {kinds}")
        if self.confidence is not None:
            check_tiff_name(self.confidence)


@dataclass(frozen=True, kw_only=True)
class CompareOptions(Options):
    """How samples of images that are compared become colors."""

    display_range: "str | tuple[float, float]" = _display_range()

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "display_range", read_display_range(self.display_range))
