"""Options of palettes that are given: their colors are taken as they are."""

import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import OptionError
from .fields import Options, option
from .fit import FitOptions
from .image import ClassMapOptions
from .output import WriteOptions, check_dithered

TABLE_SUFFIXES, IMAGE_SUFFIXES = (".gpl", ".json", ".txt", ".act"), (".tif", ".tiff", ".btf", ".tf8", ".png")


@dataclass(frozen=True, kw_only=True)
class PaletteOptions(Options):
    """Which colors are given."""

    palette_in: str | os.PathLike | None = option(
        None,
        "Give each pixel the nearest color of a palette; nothing is fitted: .gpl (GIMP), .json, .txt (GDAL), .act (Adobe), or "
        "a TIFF or PNG that has one.",
        metavar="FILE",
    )

    def __post_init__(self):
        super().__post_init__()
        if self.palette_in is not None and Path(self.palette_in).suffix.lower() not in TABLE_SUFFIXES + IMAGE_SUFFIXES:
            kinds = ", ".join(TABLE_SUFFIXES)
            raise OptionError(
                f"palette-in: {self.palette_in}: what kind of palette? Name a file that ends in {kinds}, .tif or .png"
            )


@dataclass(frozen=True, kw_only=True)
class QuantizeOptions(WriteOptions, PaletteOptions, ClassMapOptions, FitOptions):
    """What is asked of the colors and labels of an image."""

    def __post_init__(self):
        super().__post_init__()
        if self.keep_values and self.is_auto:
            raise OptionError("keep-values and components auto exclude each other: labels are the values; choose one")
        if self.keep_values and self.like is not None:
            raise OptionError("keep-values and like exclude each other: labels are the values; choose one")
        if self.keep_values and self.sort != "weight":
            raise OptionError("keep-values and sort exclude each other: labels are the values; choose one")
        if self.keep_values and self.palette != "means":
            raise OptionError("keep-values and palette exclude each other: colors are those of the class map; choose one")
        if self.fix is not None and (self.display_bands is not None or self.display_range not in ("auto", "type")):
            raise OptionError(
                "fix and display-bands or display-range exclude each other: colors are shown as they are; choose one"
            )
        if self.keep_values and self.fix is not None:
            raise OptionError("keep-values and fix exclude each other: colors are those of the class map; choose one")
        if self.keep_values and self.space != "rgb":
            raise OptionError("keep-values and space exclude each other: nothing is fitted; choose one")
        if self.keep_values and self.dither != "none":
            raise OptionError("keep-values and dither exclude each other: labels are the values; choose one")
        if self.palette_in is None:
            check_dithered(self.dither, self.wanted)
            return
        chosen = {
            "components auto": self.is_auto,
            "init": not isinstance(self.init, str) or self.init != "kmeans",
            "preset": self.preset is not None,
            "fix": self.fix is not None,
            "range": self.range not in ("auto", "type"),
            "space": self.space != "rgb",
            "palette": self.palette != "means",
            "like": self.like is not None,
            "sort": self.sort != "weight",
            "keep-values": self.keep_values,
            "display-bands": self.display_bands is not None,
            "display-range": self.display_range not in ("auto", "type"),
        }
        for name, given in chosen.items():
            if given:
                raise OptionError(f"palette-in and {name} exclude each other: a palette is taken as it is; choose one")
