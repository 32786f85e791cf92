"""Pages of a TIFF as the bands of one image: of fluorescence, each channel is a page."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import tifffile

from ...errors import UnsupportedImageError
from ...options import ReadOptions
from ..image import FileState, MaskedPixels
from ..metadata import DESCRIPTION, ICC, Metadata
from ..samples import chosen_bands, masked_where
from ..tiles import Window
from .pages import Group

if TYPE_CHECKING:
    from .reader import TiffImage


class StackedImage:
    """An image whose bands are those of pages of the same size and sample type, one behind the other.

    A pixel is masked where any page masks it; by nodata, where all pages have that value.

    Parameters
    ----------
    pages : sequence of TiffImage
    bands : sequence of int
        Which bands of all pages are taken, from 0, in this order.
    """

    held = 0

    def __init__(self, pages: Sequence["TiffImage"], bands: Sequence[int]):
        first, self._pages, self._bands = pages[0], pages, tuple(bands)
        self.name, self.dtype, self.units = first.name, first.dtype, first.units
        self.state: FileState | None = first.state
        self.shape = (*first.shape[:2], len(self._bands))
        self.tile, self.segment = first.tile, max((page.segment for page in pages), key=lambda sides: sides[0] * sides[1])
        self.pixel_bytes = sum(page.pixel_bytes for page in pages)
        self.maskable = any(page.maskable for page in pages)

    def read(self, window: Window) -> MaskedPixels:
        """Return the bands of a window and which pixels are valid.

        Raises
        ------
        ImageReadError
            Where a tile or strip of any page is truncated or damaged.
        """
        stacked = np.empty((window.height, window.width, sum(page.shape[2] for page in self._pages)), self.dtype)
        valid, has_data, at = None, np.zeros(stacked.shape[:2], bool), 0
        for page in self._pages:
            (pixels, shown), differs = page.read_apart(window)
            stacked[..., at : at + page.shape[2]] = pixels
            valid = shown if valid is None else valid if shown is None else valid & shown
            has_data |= True if differs is None else differs
            at += page.shape[2]
        plain = self._bands == tuple(range(at))
        return masked_where(MaskedPixels(stacked if plain else stacked[..., self._bands], valid), has_data)

    def absent(self, window: Window) -> bool:
        """Whether a window is masked as a whole because a page has no pixels there."""
        return any(page.absent(window) for page in self._pages)

    def check_unchanged(self) -> None:
        """Refuse what was read of a file that has changed since it was opened.

        Raises
        ------
        ImageReadError
        """
        for page in self._pages:
            page.check_unchanged()

    @cached_property
    def metadata(self) -> Metadata:
        """What an output takes over: of the first page; what others have instead is named in ``dropped``."""
        first, *others = [page.metadata for page in self._pages]
        dropped = {*first.dropped}
        for other in others:
            differing = {code for code, _ in _values(first) ^ _values(other)}
            dropped |= {*other.dropped, *(f"{tifffile.TIFF.TAGS[code]} of other pages" for code in differing)}
        return replace(first, dropped=tuple(sorted(dropped)))

    def info(self) -> dict:
        """Describe the image: the first page, and what the others add to it."""
        each = [page.info() for page in self._pages]
        return each[0] | {
            "bands": self.shape[2],
            "segments": sum(info["segments"] for info in each),
            "masked_by": list(dict.fromkeys(reason for info in each for reason in info["masked_by"])),
            "pages_as_bands": [page.number for page in self._pages],
        }

    def close(self) -> None:
        """Close the file."""
        for page in self._pages:
            page.close()


def stack_of(
    groups: Sequence[Group],
    open_page: Callable[[Group, ReadOptions, int | None], "TiffImage"],
    options: ReadOptions,
    budget: int | None,
) -> StackedImage:
    """Return pages as the bands of one image; each may take its part of the budget.

    Raises
    ------
    UnsupportedImageError
        Where they have different sizes or samples.
    OptionError
        Where they have no such bands.
    """

    def opened(group: Group, bands: tuple[int, ...] | None, n_pages: int) -> "TiffImage":
        return open_page(group, replace(options, bands=bands), None if budget is None else budget // n_pages)

    pages = [opened(group, None, len(groups) if options.bands is None else 1) for group in groups]
    for page in pages:
        if page.grain != pages[0].grain:
            raise UnsupportedImageError(
                f"{page.name}, page {page.number}: {page.grain}, but page {pages[0].number} has {pages[0].grain}; "
                "name pages of one size and type in --pages-as-bands"
            )
    places = [(number, sample + 1) for number, page in enumerate(pages) for sample in page.samples]
    if options.bands is None:
        return StackedImage(pages, range(len(places)))
    chosen = [places[band] for band in chosen_bands(len(places), None, options.bands, pages[0].name)]
    taken = sorted({*chosen})
    numbers = sorted({number for number, _ in taken})
    bands = {number: tuple(sample for other, sample in taken if other == number) for number in numbers}
    pages = [opened(groups[number], bands[number], len(numbers)) for number in numbers]
    return StackedImage(pages, [taken.index(place) for place in chosen])


def _values(metadata: Metadata) -> set[tuple[int, object]]:
    """Return the tags that are carried over, with what they are."""
    return {(code, value) for code, _, _, value in metadata.tags} | {(ICC, metadata.icc), (DESCRIPTION, metadata.description)}
