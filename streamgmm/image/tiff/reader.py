"""The TIFF reader: pages as colors with a mask."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from tifffile import PHOTOMETRIC

from ...errors import ImageReadError, UnsupportedImageError
from ...options import ReadOptions
from ..image import FileState, MaskedPixels
from ..metadata import Metadata
from ..pam import Pam, read_pam
from ..samples import masked_where
from ..sidecars import mask_file, overviews_file, pam_file, placed
from ..tiles import Window
from .chain import n_pages
from .file import SharedFile, damage
from .overviews import take_overviews
from .pages import Group, full_images, image_group, numbered_groups
from .photometry import color_map, interpretation_of, nodata_of
from .segments import Segments
from .stacked import StackedImage, stack_of
from .tags import carried_over
from .untaken import far_larger, others, told

log = logging.getLogger(__name__)

GRAY = (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE)


class TiffImage:
    """An image of a TIFF or BigTIFF file: a page or one of its reduced levels, with its mask.

    Parameters
    ----------
    file : SharedFile
    group : Group
        The page, and what belongs to it.
    options : ReadOptions
    budget : int, optional
        Bytes a decoded tile or strip may take.
    left : sequence of str
        What else of the file is not read.

    Raises
    ------
    ImageReadError
        Where the page is damaged.
    UnsupportedImageError
        Where its samples, colors or codec are not supported.
    OptionError
        Where it has no such level or bands.
    MemoryBudgetError
        Where a compressed tile or strip does not fit the budget.
    """

    held = 0

    def __init__(self, file: SharedFile, group: Group, options: ReadOptions, budget: int | None, left: Sequence[str] = ()):
        self.name, self._file, self._group, self._options, self._left = file.name, file, group, options, left
        self.state: FileState | None = file.state
        self.number, self._gray_as_rgb = group.index, False
        first, path = group.index == 0, Path(self.name)  # what GDAL has beside a file is of its first page
        if options.all_pages or options.pages_as_bands is not None:
            file = file.called(f"{self.name}, page {group.index}")
        with damage(file.name, "not a sound TIFF"):
            take_overviews(file, group, options.level)
            self._pam = self._read_pam()
            self.page, mask = group.level(options.level, file.name)
            self._segments = Segments(file.holding(self.page), self.page, budget)
            beside = mask_file(path) if mask is None and first else None
            masked = mask is not None or beside is not None
            self._interpretation = interpretation_of(self.page, file.name, options, masked, self._pam.nodata)
            self._segments.fill = self._interpretation.nodata.sample if self._interpretation.nodata else 0
            self._mask = Segments(file.holding(mask), mask, budget) if mask is not None else None
        self._beside = beside
        if beside is not None:
            self._mask = self._mask_beside(beside, options.level, budget)
        height, width, _ = self._segments.shape
        self.shape, self.dtype = (height, width, len(self._interpretation.bands)), self._interpretation.dtype
        self.segment, self.tile = self._segments.segment, self._segments.tile
        self.pixel_bytes = max(self._segments.shape[2] * self._segments.dtype.itemsize, self.shape[2] * self.dtype.itemsize)
        self.units = self._interpretation.units
        self.maskable = self._interpretation.maskable or self._mask is not None or self._segments.sparse

    def _read_pam(self) -> Pam:
        path = pam_file(Path(self.name)) if self._group.index == 0 else None
        return read_pam(path, self._group.image.samplesperpixel)

    def _mask_beside(self, path: Path, level: int, budget: int | None) -> Segments:
        """Return the mask of a file beside the image: of the same size, from any level."""
        file, size = self._file.also(path), (self.page.imagewidth, self.page.imagelength)
        with damage(file.name, "not a sound TIFF"):
            group = image_group(file.tiff, None, file.name)
            take_overviews(file, group, level)
            pages = [page for page in (group.image, *group.reduced) if (page.imagewidth, page.imagelength) == size]
        if not pages:
            raise ImageReadError(f"{file.name}: has no mask of {size[0]} x {size[1]} pixels for {self.name}; remove it")
        return Segments(file.holding(pages[0]), pages[0], budget)

    def read(self, window: Window) -> MaskedPixels:
        """Return the colors of a window and which are valid, decoding the tiles or strips it touches.

        Raises
        ------
        ImageReadError
            Where one is truncated or corrupt.
        """
        return masked_where(*self.read_apart(window))

    def read_apart(self, window: Window) -> tuple[MaskedPixels, np.ndarray | None]:
        """Return colors, which are valid whatever nodata is, and which are other than that; None where there is none."""
        read, has_data = self._interpretation.apart(self._segments.read(window))
        if self._gray_as_rgb:
            read = MaskedPixels(np.repeat(read.pixels, 3, axis=-1), read.valid)
        if self._mask is not None:
            shown, there = self._mask.read(window)
            opaque = (shown != 0).any(axis=-1)  # GDAL may write a mask for each band
            read = masked_where(read, opaque, there)
        return read, has_data

    @property
    def grain(self) -> str:
        """Its size and samples, which pages that are bands of one image have in common."""
        height, width, _ = self.shape
        return f"{width} x {height} pixels of {self.page.bitspersample} bits ({self._interpretation.stored})"

    @property
    def samples(self) -> tuple[int, ...]:
        """The samples of its page that are its bands, from 0."""
        return self._interpretation.bands

    @property
    def is_gray(self) -> bool:
        """Whether it has one band, from black to white."""
        return self.shape[2] == 1 and self.page.photometric in GRAY

    def show_as(self, colors: "TiffImage") -> None:
        """Give gray the three bands that the colors of another page have."""
        self.shape, self.units, self._gray_as_rgb = (*self.shape[:2], 3), colors.units, True
        self.pixel_bytes = max(self.pixel_bytes, colors.pixel_bytes)

    def check_unchanged(self) -> None:
        """Refuse what was read of a file that has changed since it was opened.

        Raises
        ------
        ImageReadError
        """
        self._file.check_unchanged()
        if repr(self._read_pam()) != repr(self._pam):  # as text, in which NaN equals itself; GDAL adds statistics at any time
            raise ImageReadError(f"{self.name}.aux.xml: changed while it was read; run again when it is whole")

    def absent(self, window: Window) -> bool:
        """Whether a window has no pixels in a sparse file, so that reading it would tell nothing."""
        return self._segments.absent(window)

    @cached_property
    def metadata(self) -> Metadata:
        """What an output takes over; georeferencing and pixel size are those of the level."""
        full = self._group.image
        path = Path(self.name)
        metadata = placed(carried_over(full, colors_converted=self._interpretation.converted), path, self._pam)
        metadata = metadata.without(*self._unread(path))
        metadata = replace(metadata, **self._codes(metadata))
        if self.page is full:
            return metadata
        return metadata.scaled(full.imagewidth / self.page.imagewidth, full.imagelength / self.page.imagelength)

    def _unread(self, path: Path) -> Iterator[str]:
        """Yield the names of what belongs to the image and is not read."""
        yield from self._left
        group, how = self._group, self._interpretation
        beside = [mask_file(path)] if self._beside is None else []
        beside += [pam_file(path)] if group.index else []
        beside += [overviews_file(path)] if all(level.parent is group.image.parent for level in group.reduced) else []
        yield from (each.name for each in beside if each is not None)
        if self._mask is None and group.masks:
            yield "masks of other levels"
        decided = how.alpha is not None or self._mask is not None
        if self._options.boxes is None and "GDAL_NODATA" in self.page.tags and (decided or nodata_of(self.page) is None):
            yield "GDAL_NODATA"

    def _codes(self, metadata: Metadata) -> dict[str, Any]:
        """Return what samples stand for, where these are values of a class map."""
        nodata = self._interpretation.nodata
        known: dict[str, Any] = {"nodata": nodata.code if nodata else None}
        if self._options.indices and (colors := color_map(self._group.image)) is not None:
            dropped = tuple(name for name in metadata.dropped if name != "ColorMap")
            known |= {"color_map": colors, "dropped": dropped}
        return known

    def info(self) -> dict:
        """Describe the image."""
        page, segments = self.page, self._segments
        height, width, bands = self.shape
        return {
            "format": "BigTIFF" if self._file.tiff.is_bigtiff else "TIFF",
            "width": width,
            "height": height,
            "bands": bands,
            "dtype": self.dtype.name,
            "stored": f"{page.samplesperpixel} samples of {page.bitspersample} bits, {np.dtype(page.dtype).name}",
            "photometric": getattr(page.photometric, "name", str(page.photometric)).lower(),
            "compression": getattr(page.compression, "name", "none").lower(),
            "layout": f"{segments.kind}s of {segments.grid.tile[1]} x {segments.grid.tile[0]}",
            "segments": len(page.dataoffsets),
            "in_one_piece": segments.segment == (1, 1),
            "masked_by": self._masked_by(),
            "page": self._group.index,
            "pages": n_pages(self._file.tiff),
            "dropped": list(self.metadata.dropped),
            "levels": [f"{level.imagewidth} x {level.imagelength}" for level in [self._group.image, *self._group.reduced]],
        }

    def _masked_by(self) -> list[str]:
        how = self._interpretation
        reasons = {
            "alpha": how.alpha is not None,
            f"nodata {how.nodata}": how.nodata is not None,
            "mask page": self._mask is not None and self._beside is None,
            "mask file": self._beside is not None,
            "absent tiles": self._segments.sparse,
            "NaN": how.floats,
        }
        return [reason for reason, holds in reasons.items() if holds]

    def close(self) -> None:
        """Close the file, and those beside it."""
        self._file.close()


def open_file(path: Path, options: ReadOptions, budget: int | None) -> list[TiffImage] | list[StackedImage]:
    """Open an image of a TIFF file, all of its images, or pages of it as the bands of one.

    Raises
    ------
    ImageReadError, UnsupportedImageError, OptionError, MemoryBudgetError
        As :class:`TiffImage` says.
    """
    file = SharedFile(path)
    try:
        with damage(file.name, "not a sound TIFF"):
            chosen = _chosen(file, options)
        beside = others(file.tiff, chosen)
        left = told(chosen, beside)
        if options.pages_as_bands is not None:
            return [stack_of(chosen, partial(TiffImage, file, left=left), options, budget)]
        if options.page is None and not options.all_pages and (larger := far_larger(chosen[0], beside)):
            log.warning(
                "%s: page %d is taken; page %d has far more pixels: take it with --page %d",
                file.name,
                chosen[0].index,
                larger.index,
                larger.index,
            )
        return _of_one_kind([TiffImage(file, group, options, budget, left) for group in chosen])
    except BaseException:
        file.close()
        raise


def _chosen(file: SharedFile, options: ReadOptions) -> list[Group]:
    if options.all_pages or options.pages_as_bands == "all":
        return full_images(file.tiff)
    if isinstance(options.pages_as_bands, tuple):
        return numbered_groups(file.tiff, options.pages_as_bands, file.name)
    return [image_group(file.tiff, options.page, file.name)]


def _of_one_kind(pages: list[TiffImage]) -> list[TiffImage]:
    """Return pages that are fitted together: gray beside colors of the same type, as scans mix them, becomes a color.

    Raises
    ------
    UnsupportedImageError
        Where they have different bands all the same, or are floats and integers.
    """
    first, colors = pages[0], next((page for page in pages if page.shape[2] == 3 and page.page.photometric not in GRAY), None)
    for page in pages:
        if colors is not None and page.is_gray and page.dtype == colors.dtype:
            page.show_as(colors)
    for page in pages:
        where, remedy = f"{page.name}, page {page.number}", "take pages of one kind, one by one with --page"
        if page.shape[2] != first.shape[2]:
            raise UnsupportedImageError(
                f"{where}: bands are {page.shape[2]}, those of page {first.number} are {first.shape[2]}; {remedy}"
            )
        if (page.dtype.kind == "f") != (first.dtype.kind == "f"):
            raise UnsupportedImageError(
                f"{where}: samples are {page.dtype}, those of page {first.number} are {first.dtype}; {remedy}"
            )
    return pages
