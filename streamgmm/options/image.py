"""Options of what is read of a file."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import OptionError
from .fields import Options, option
from .values import Ranges, read_alpha, read_nodata, read_pages


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


@dataclass(frozen=True, kw_only=True)
class ClassMapOptions(Options):
    """What is asked of class maps."""

    keep_values: bool = option(False, "Of a class map, write the values themselves and its colors; nothing is fitted.")
