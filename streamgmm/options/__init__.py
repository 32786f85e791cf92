"""Every option once: its name, type, default, allowed values and a line of help; commands and functions are made from these."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import OptionError
from .fields import Options, option
from .values import (
    Init,
    Ranges,
    Start,
    check_tiff_name,
    read_alpha,
    read_color,
    read_display_range,
    read_nodata,
    read_pages,
    read_ranges,
    read_ridge,
    read_start,
)

if TYPE_CHECKING:
    import numpy as np

CovarianceType = Literal["full", "tied", "diag", "spherical"]
Method = Literal["auto", "exact", "stream", "minibatch"]
Preset = Literal["picture", "segment"]
Sort = Literal["weight", "luminance", "hue"]
Form = Literal["palette", "labels", "rgb"]
Color = Literal["means", "centroids"]
Compression = Literal["deflate", "none", "lzw", "zstd", "packbits"]
Structure = Literal["chained", "subifd", "cog"]
Resampling = Literal["mode", "nearest"]
BigTiff = Literal["auto", "yes", "no"]

MAX_COMPONENTS = 65_535
PICTURE_BANDS = 3
PALETTE_SUFFIXES = (".gpl", ".json", ".txt")
# What the codecs take; imagecodecs clips other levels without a word. Deflate's 0 stores.
COMPRESSION_LEVELS = {"deflate": range(13), "zstd": range(1, 23)}

# progress(phase, done, total), in pixels; returning False cancels.
Progress = Callable[[str, int, int], object]


@dataclass(frozen=True, kw_only=True)
class FitOptions(Options):
    """How a mixture is fitted."""

    n_components: int = option(16, "Components, and colors.", "-k", "--components", least=1, most=MAX_COMPONENTS)
    covariance_type: CovarianceType = option("full", "full, tied, diag or spherical.", "--covariance", metavar="TYPE")
    method: Method = option(
        "auto",
        "exact (table of distinct colors: uint8, up to 3 bands), stream (read every pixel at each iteration), minibatch "
        "(random tiles; may stop early), or auto: the first that is possible.",
        metavar="METHOD",
    )
    init: "Init | np.ndarray | Start" = option(
        "kmeans", "kmeans, k-means++ or random; or a model file to start from.", metavar="INIT"
    )
    preset: Preset | None = option(
        None, "picture (colors to look at) or segment (classes). [default: picture up to three bands]", metavar="PRESET"
    )
    range: "str | tuple[tuple[float, float], ...]" = option(
        "auto", "Samples that are 0 and 1: auto, type, or LOW,HIGH for all bands or for each.", metavar="LOW,HIGH[;...]"
    )
    max_iter: int = option(100, "Passes over the pixels at the most.", least=1)
    tol: float = option(1e-4, "Converged when an iteration gains less, in nats per pixel.", least=0)
    reg_covar: "float | str" = option("auto", "Added to variances of colors in [0, 1]: auto or a number.", metavar="VARIANCE")
    rare_weight: float = option(
        1.0, "Colors count to this power: less than 1 where rare colors matter.", metavar="POWER", least=0, most=1
    )
    seed: int = option(0, "Seeds everything that is drawn.", least=0)
    sort: Sort = option("weight", "Order of components and colors: weight, luminance or hue.", metavar="ORDER")

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "init", read_start(self.init))
        object.__setattr__(self, "reg_covar", read_ridge(self.reg_covar))
        object.__setattr__(self, "range", read_ranges("range", self.range))

    def preset_for(self, n_bands: int) -> Preset:
        """Return what was asked for, or what is usual for so many bands."""
        return self.preset or ("picture" if n_bands <= PICTURE_BANDS else "segment")

    def is_matched(self, n_bands: int) -> bool:
        """Whether what is added to variances is what a color of a palette stands for."""
        return isinstance(self.reg_covar, str) and self.preset_for(n_bands) == "picture"

    @property
    def wanted(self) -> int:
        """Components asked for: those of the start, where one is given."""
        if isinstance(self.init, str):
            return self.n_components
        return getattr(self.init, "n_components", None) or len(self.init)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class ImageOptions(Options):
    """Which image of a file is read, and what of it."""

    bands: tuple[int, ...] | None = option(None, "Bands to take, from 1. [default: all but alpha]", metavar="N,...")
    nodata: "float | str | Sequence | None" = option(
        None,
        "Samples of masked pixels: a value, LOW:HIGH, one of these for each band (255,0,255), or none; repeat it for more. "
        "[default: what the file says]",
        metavar="VALUE",
        multiple=True,
    )
    alpha: "int | str | None" = option(
        None, "Sample that is alpha, from 1, or none. [default: what the file says]", metavar="N"
    )
    page: int | None = option(None, "Page of the TIFF, from 0. [default: the first image]", metavar="N")
    level: int = option(0, "Reduced level of the page; 0 is the page itself.", metavar="N")
    pages_as_bands: "tuple[int, ...] | str | None" = option(
        None, "Pages that are bands of one image, such as channels, or all.", metavar="N,..."
    )
    indices: bool = False

    def __post_init__(self):
        super().__post_init__()
        if self.alpha is not None:
            object.__setattr__(self, "alpha", read_alpha(self.alpha))
        if self.pages_as_bands is not None:
            object.__setattr__(self, "pages_as_bands", read_pages(self.pages_as_bands))
            if self.page is not None:
                raise OptionError("page and pages-as-bands exclude each other; choose one")
        object.__setattr__(self, "nodata", read_nodata(self.nodata))
        if self.pages_as_bands is not None and any(len(box) > 1 for box in self.boxes or ()):
            raise OptionError("nodata has a value for each band; with pages-as-bands write one for all")

    @property
    def boxes(self) -> tuple[Ranges, ...] | None:
        """What ``nodata`` was read as; None where the file decides."""
        return () if self.nodata == "none" else self.nodata  # type: ignore[return-value] # as it was read


@dataclass(frozen=True, kw_only=True)
class ReadOptions(ImageOptions):
    """Which image or images of a file are read, and what of them."""

    all_pages: bool = option(False, "Take all pages that are images: one palette, and a stack as output.")

    def __post_init__(self):
        super().__post_init__()
        if self.all_pages and self.page is not None:
            raise OptionError("page and all-pages exclude each other; choose one")
        if self.all_pages and self.pages_as_bands is not None:
            raise OptionError("all-pages and pages-as-bands exclude each other; choose one")


def _display_range() -> Any:
    """Return the one option of two kinds."""
    return option("auto", "Samples that are shown as black and white: auto, type, or LOW,HIGH.", metavar="LOW,HIGH")


@dataclass(frozen=True, kw_only=True)
class WriteOptions(Options):
    """How images are written."""

    output: Form = option("palette", "palette, labels (no colors) or rgb.", metavar="FORM", values={"--labels": "labels"})
    palette: Color = option("means", "Colors: means of components, or centroids of the pixels of each label.", metavar="KIND")
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
        if self.pack and self.output == "rgb":
            raise OptionError("pack is for palettes and labels; RGB samples have 8 bits")
        if self.display_bands is not None and len(self.display_bands) not in (1, 3):
            raise OptionError(f"display bands are {self.display_bands}; name one, or three for red, green and blue")
        object.__setattr__(self, "display_range", read_display_range(self.display_range))
        if self.nodata_color is not None:
            object.__setattr__(self, "nodata_color", read_color(self.nodata_color))


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
class RunOptions(Options):
    """How a job is run, which changes nothing of its result."""

    overwrite: bool = option(False, "Replace outputs that exist.")
    work_dir: str | os.PathLike | None = option(
        None, "Where unfinished work is kept. [default: beside the output]", metavar="DIR"
    )
    resume: bool = option(True, "Go on where the same job was interrupted. [default: resume]")
    lock: bool = option(True, "Let no other run write the same output meanwhile. [default: lock]")
    wait: float = option(0.0, "Wait for another run that writes the same output.", metavar="SECONDS", least=0)
    strict: bool = option(False, "Fail where the fit has not converged, or --min-psnr is missed.")

    def __post_init__(self):
        super().__post_init__()
        if self.work_dir is not None and not Path(self.work_dir).is_dir():
            raise OptionError(f"work-dir is {self.work_dir}; there is no such folder")

    @property
    def work_folder(self) -> Path | None:
        """Where unfinished work is kept, if not beside the output."""
        return None if self.work_dir is None else Path(self.work_dir)


@dataclass(frozen=True, kw_only=True)
class ResourceOptions(Options):
    """How much of the machine a job takes, and who is told how far it is."""

    chunk_size: str | int = option(
        "64MiB",
        "Decoded pixels in memory at once: bytes (64MiB) or pixels (4Mpx).",
        metavar="SIZE",
        wanted="bytes such as 64MiB, or pixels such as 4Mpx",
    )
    threads: int | None = option(None, "Threads at once. [default: all processors it may use]", metavar="N", least=1)
    memory: str | int | None = option(
        None,
        "Memory it may take, such as 512MiB. [default: 3/4 of what is free]",
        metavar="SIZE",
        wanted="bytes such as 512MiB",
    )
    progress: Progress | None = option(None, hidden=True)


@dataclass(frozen=True, kw_only=True)
class JobOptions(ResourceOptions, RunOptions, ReadOptions):
    """What every job that writes a file is given."""


@dataclass(frozen=True, kw_only=True)
class ClassMapOptions(Options):
    """What is asked of class maps."""

    keep_values: bool = option(False, "Of a class map, write the values themselves and its colors; nothing is fitted.")


@dataclass(frozen=True, kw_only=True)
class CompareOptions(Options):
    """How samples of images that are compared become colors."""

    display_range: "str | tuple[float, float]" = _display_range()

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "display_range", read_display_range(self.display_range))
