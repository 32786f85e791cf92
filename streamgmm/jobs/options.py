"""The options of a job, and what is made of the arguments of a public function."""

import math
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import numpy as np

from ..errors import OptionError
from ..image.atomic import check_output
from ..image.pyramid import RESAMPLINGS, Resampling
from ..image.source import Image
from ..image.writer import (
    BIGTIFF,
    COMPRESSIONS,
    FORMS,
    LEVELS,
    STRUCTURES,
    BigTiff,
    Compression,
    Form,
    Layout,
    Structure,
    n_levels,
)
from ..model.mixture import COVARIANCE_TYPES, INITS, CovarianceType, Init, Mixture
from ..model.parameters import label_dtype
from .palette_file import check_suffix

Method = Literal["auto", "exact", "stream", "minibatch"]
METHODS: tuple[str, ...] = get_args(Method)
WeightBy = Literal["pixels", "images"]
WEIGHTS: tuple[str, ...] = get_args(WeightBy)

MAX_COMPONENTS = 65_535

# Side of an output tile where the input has none of its own between these sides: GDAL's default.
TILE, SMALLEST_TILE, LARGEST_TILE = 256, 128, 2048
# An image with a longer side than this gets reduced levels by default: viewers must read all of it otherwise.
PYRAMID_SIDE = 8192

Options = TypeVar("Options")


def options_from(kind: type[Options], arguments: dict[str, Any]) -> Options:
    """Return the options of a kind, a dataclass, from those arguments of a function that are its fields."""
    return kind(**{name: arguments[name] for field in fields(kind) if (name := field.name) in arguments})  # type: ignore[arg-type]


@dataclass(frozen=True)
class FitOptions:
    """How a mixture is fitted; see :func:`fit_image`."""

    n_components: int = 16
    covariance_type: CovarianceType = "full"
    method: Method = "auto"
    init: Init | np.ndarray | Mixture = "kmeans"
    max_iter: int = 100
    tol: float = 1e-4
    reg_covar: float = 1e-6
    seed: int = 0
    weight_by: WeightBy = "pixels"

    def __post_init__(self):
        if not 1 <= self.n_components <= MAX_COMPONENTS:
            raise OptionError(f"components is {self.n_components}; choose 1 to {MAX_COMPONENTS:,}")
        for name, value, allowed in (
            ("covariance", self.covariance_type, COVARIANCE_TYPES),
            ("method", self.method, METHODS),
            ("weight", self.weight_by, WEIGHTS),
            ("init", self.init if isinstance(self.init, str) else INITS[0], INITS),
        ):
            if value not in allowed:
                raise OptionError(f"{name} is {value!r}; choose {', '.join(allowed)}")
        if self.weight_by == "images" and self.method not in ("auto", "stream"):
            raise OptionError(f"method {self.method} gives every pixel the same weight; use stream for images of equal weight")
        if self.max_iter < 1:
            raise OptionError(f"max-iter is {self.max_iter}; at least 1 is needed")
        for name, number in (("tol", self.tol), ("reg-covar", self.reg_covar), ("seed", self.seed)):
            if not number >= 0:
                raise OptionError(f"{name} is {number}; it must be 0 or more")

    @property
    def wanted(self) -> int:
        """Components asked for: those of the start, where one is given."""
        if isinstance(self.init, str):
            return self.n_components
        return self.init.n_components if isinstance(self.init, Mixture) else len(self.init)


@dataclass(frozen=True)
class RunOptions:
    """How a job is run, which changes nothing of its result; see :func:`streamgmm.quantize`."""

    work_dir: str | os.PathLike | None = None
    resume: bool = True
    wait: float = 0
    strict: bool = False

    def __post_init__(self):
        if not self.wait >= 0:
            raise OptionError(f"wait is {self.wait}; it must be 0 seconds or more")
        if self.work_dir is not None and not Path(self.work_dir).is_dir():
            raise OptionError(f"work-dir is {self.work_dir}; there is no such folder")

    @property
    def work_folder(self) -> Path | None:
        """Where unfinished work is kept, if not beside the output."""
        return None if self.work_dir is None else Path(self.work_dir)


@dataclass(frozen=True)
class WriteOptions:
    """How images are written; see :func:`streamgmm.quantize`."""

    output: Form = "palette"
    compression: Compression = "deflate"
    compression_level: int | None = None
    tile_size: int | None = None
    layout: Structure = "chained"
    pyramid: bool | None = None
    resampling: Resampling = "mode"
    pack: bool = False
    bigtiff: BigTiff = "auto"
    display_bands: tuple[int, ...] | None = None
    palette_out: str | os.PathLike | None = None
    confidence: str | os.PathLike | None = None
    min_psnr: float | None = None
    overwrite: bool = False
    fingerprint: str | None = None  # given by a batch, which reads it again

    def __post_init__(self):
        for name, value, allowed in (
            ("output", self.output, FORMS),
            ("compression", self.compression, COMPRESSIONS),
            ("layout", self.layout, STRUCTURES),
            ("resampling", self.resampling, RESAMPLINGS),
            ("bigtiff", self.bigtiff, BIGTIFF),
        ):
            if value not in allowed:
                raise OptionError(f"{name} is {value!r}; choose {', '.join(allowed)}")
        levels = LEVELS.get(self.compression, range(0))
        if self.compression_level is not None and self.compression_level not in levels:
            choice = f"choose {levels[0]} to {levels[-1]}" if levels else f"{self.compression} has none"
            raise OptionError(f"compression level is {self.compression_level}; {choice}")
        if self.tile_size is not None and (self.tile_size < 16 or self.tile_size % 16):
            raise OptionError(f"tile size is {self.tile_size}; TIFF asks for a multiple of 16")
        if self.min_psnr is not None and not math.isfinite(self.min_psnr):
            raise OptionError(f"min-psnr is {self.min_psnr}; it must be a number of decibels")
        if self.pack and self.output == "rgb":
            raise OptionError("pack is for palettes and labels; RGB samples have 8 bits")
        if self.display_bands is not None and len(self.display_bands) not in (1, 3):
            raise OptionError(f"display bands are {self.display_bands}; name one, or three for red, green and blue")

    def check_outputs(self, dst: Path, inputs: list[Path], resumed: bool) -> None:
        """Refuse outputs that cannot or must not be written, before any work is done; those of a resumed job may be there.

        Raises
        ------
        OutputError
            Where one cannot be written, exists, or is an input.
        OptionError
            Where two are the same, or the palette is of a kind that is not known.
        """
        paths = [dst, *(Path(path) for path in (self.palette_out, self.confidence) if path is not None)]
        if len({path.resolve() for path in paths}) < len(paths):
            raise OptionError(f"{dst}: two outputs have one name; give each its own")
        for path in paths:
            check_output(path, inputs, self.overwrite or resumed)
        if self.palette_out is not None:
            check_suffix(Path(self.palette_out))

    def display(self, n_bands: int) -> tuple[int, ...] | None:
        """Return the bands to show, from 0.

        Raises
        ------
        OptionError
            Where the model has no such band.
        """
        if self.display_bands is None:
            return None
        if not all(1 <= band <= n_bands for band in self.display_bands):
            raise OptionError(f"display bands are {','.join(map(str, self.display_bands))}; the model has bands 1 to {n_bands}")
        return tuple(band - 1 for band in self.display_bands)

    def image_layout(self, image: Image, palette: np.ndarray, masked: bool) -> Layout:
        """Return the layout of an image painted with a palette (K, 3); masked pixels get the label K."""
        n_labels = len(palette) + masked
        dtype = label_dtype(n_labels)
        bits = next(bits for bits in (1, 2, 4, 8, 16) if n_labels <= 1 << bits) if self.pack else None
        return Layout(
            shape=image.shape[:2],
            tile=self._tile(image),
            dtype=dtype,
            form=self.output,
            palette=palette,
            nodata=len(palette) if masked else None,
            compression=self.compression,
            level=self.compression_level,
            bits=bits if bits is not None and bits < 8 else None,
            n_levels=self._n_levels(image),
            resampling=self.resampling,
            metadata=image.metadata,
        )

    def confidence_layout(self, image: Image, masked: bool) -> Layout:
        """Return the layout of the largest responsibilities of an image; masked pixels are 0."""
        return Layout(
            shape=image.shape[:2],
            tile=self._tile(image),
            dtype=np.dtype(np.uint8),
            form="labels",
            nodata=0 if masked else None,
            compression=self.compression,
            level=self.compression_level,
            n_levels=self._n_levels(image),
            resampling="nearest",
            metadata=image.metadata,
        )

    def _tile(self, image: Image) -> tuple[int, int]:
        height, width, _ = image.shape
        longest = max(TILE, 2 * height, 2 * width)  # libvips refuses tiles far larger than the image
        if self.tile_size is None and image.tile and all(_usable(side) and side <= longest for side in image.tile):
            return image.tile
        side = self.tile_size or TILE
        return side, side

    def _n_levels(self, image: Image) -> int:
        shape = image.shape[:2]
        wanted = self.layout == "cog" or max(shape) > PYRAMID_SIDE if self.pyramid is None else self.pyramid
        return n_levels(shape, self._tile(image)) if wanted else 1


def _usable(side: int) -> bool:
    return SMALLEST_TILE <= side <= LARGEST_TILE and side % 16 == 0
