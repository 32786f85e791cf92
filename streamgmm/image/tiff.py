"""The TIFF reader: pages as colours with a mask."""

import logging
from functools import cached_property
from pathlib import Path

import numpy as np
import tifffile

from .colour import colours_of
from .metadata import Metadata, carried_over
from .pages import Group, full_images, image_group
from .segments import Segments, SharedFile, damage
from .source import Read, ReadOptions
from .tiles import Window

# tifffile logs what it finds odd; what matters is raised here instead.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


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

    Raises
    ------
    ImageReadError
        Where the page is damaged.
    UnsupportedImageError
        Where its samples, colours or codec are not supported.
    OptionError
        Where it has no such level or bands.
    MemoryBudgetError
        Where a compressed tile or strip does not fit the budget.
    """

    held = 0

    def __init__(self, file: SharedFile, group: Group, options: ReadOptions, budget: int | None):
        self.name, self._file, self._group = file.name, file, group
        self.state: tuple[int, ...] | None = file.state
        with damage(self.name, "not a sound TIFF"):
            self.page, mask = group.level(options.level, self.name)
            self._segments = Segments(file, self.page, budget)
            self._colours = colours_of(self.page, self.name, options.bands, options.nodata)
            self._mask = Segments(file, mask, budget) if mask is not None else None
        height, width, _ = self._segments.shape
        self.shape, self.dtype = (height, width, len(self._colours.bands)), self._colours.dtype
        self.segment, self.tile = self._segments.segment, self._segments.tile
        self.maskable = self._colours.maskable or self._mask is not None or self._segments.sparse

    def read(self, window: Window) -> Read:
        """Return the colours of a window and which are valid, decoding the tiles or strips it touches.

        Raises
        ------
        ImageReadError
            Where one is truncated or corrupt.
        """
        colours, valid = self._colours(self._segments.read(window))
        if self._mask is not None:
            shown, there = self._mask.read(window)
            opaque = (shown != 0).any(axis=-1)  # GDAL may write a mask for each band
            opaque = opaque if there is None else opaque & there
            valid = opaque if valid is None else valid & opaque
            valid = None if valid.all() else valid
        return Read(colours, valid)

    def check_unchanged(self) -> None:
        """Refuse what was read of a file that has changed since it was opened.

        Raises
        ------
        ImageReadError
        """
        self._file.check_unchanged()

    def absent(self, window: Window) -> bool:
        """Whether a window has no pixels in a sparse file, so that reading it would tell nothing."""
        return self._segments.absent(window)

    @cached_property
    def metadata(self) -> Metadata:
        """What an output takes over; georeferencing and pixel size are those of the level."""
        full = self._group.image
        metadata = carried_over(full, colours_converted=self._colours.converted)
        if self.page is full:
            return metadata
        return metadata.scaled(full.imagewidth / self.page.imagewidth, full.imagelength / self.page.imagelength)

    def info(self) -> dict:
        """Describe the image."""
        page, segments = self.page, self._segments
        height, width, bands = self.shape
        return {
            "format": "BigTIFF" if page.parent.is_bigtiff else "TIFF",
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
            "pages": len(page.parent.pages),
            "levels": [f"{level.imagewidth} x {level.imagelength}" for level in [self._group.image, *self._group.reduced]],
        }

    def _masked_by(self) -> list[str]:
        colours = self._colours
        reasons = {
            "alpha": colours.alpha is not None,
            f"nodata {colours.nodata}": colours.nodata is not None,
            "mask page": self._mask is not None,
            "absent tiles": self._segments.sparse,
            "NaN": colours.floats,
        }
        return [reason for reason, holds in reasons.items() if holds]

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def open_tiff(path: Path, options: ReadOptions, budget: int | None) -> list[TiffImage]:
    """Open an image of a TIFF file, or all of its images.

    Raises
    ------
    ImageReadError, UnsupportedImageError, OptionError, MemoryBudgetError
        As :class:`TiffImage` says.
    """
    file = SharedFile(path)
    try:
        with damage(file.name, "not a sound TIFF"):
            chosen = full_images(file.tiff) if options.all_pages else [image_group(file.tiff, options.page, file.name)]
        return [TiffImage(file, group, options, budget) for group in chosen]
    except BaseException:
        file.close()
        raise


def fingerprint_in(path: Path) -> str | None:
    """Return the fingerprint in the Software (tag 305) of a TIFF that is whole, or None where there is none."""
    try:
        with tifffile.TiffFile(path) as tiff:
            for page in tiff.pages:
                for ifd in (page, *(page.pages or ())):
                    if max(map(sum, zip(ifd.dataoffsets, ifd.databytecounts, strict=True))) > tiff.filehandle.size:
                        return None
            return tiff.pages.first.software.rpartition(" fingerprint ")[2] or None
    except Exception:  # not there or no TIFF: whatever it is, it was not made by this program
        return None
