"""The samples of one TIFF page as they are stored: tiles or strips read by offset."""

import io
import math
from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from ...errors import ImageReadError, MemoryBudgetError
from ..image import MaskedPixels
from ..tiles import TileGrid, Window
from .checks import check_kind, lacks, named
from .file import SharedFile, damage
from .lerc import LERC, PARAMETERS, decode_lerc
from .ycbcr import APERIO_RGB, APERIO_YCBCR, Subsampling

JPEG = (7, 34892, 33007)  # values of Compression (tag 259)
# Codecs whose data says its size, and what reads that. Its area may be this much larger than that of a tile: JPEG pads to 16.
STREAMS: dict[int, Callable[[io.BytesIO], Any]] = {
    **dict.fromkeys(JPEG, JpegImageFile),
    **dict.fromkeys((33003, 33004, 33005, 34712), Jpeg2KImageFile),
    34933: PngImageFile,
    50001: WebPImageFile,
}
LARGER = 4


class Segments:
    """The samples of a page, tile by tile or strip by strip, in any codec imagecodecs decodes.

    Of uncompressed pixels that lie in one piece, only those of a window are read.

    Parameters
    ----------
    file : SharedFile
    page : tifffile.TiffPage
    budget : int, optional
        Bytes a decoded tile or strip may take.

    Raises
    ------
    ImageReadError
        Where the page is damaged.
    UnsupportedImageError
        Where its samples or codec are not supported.
    MemoryBudgetError
        Where a tile or strip does not fit the budget.
    """

    fill: float = 0  # samples of a plane that is absent where others are there: GDAL's are nodata, or 0

    def __init__(self, file: SharedFile, page: tifffile.TiffPage, budget: int | None):
        self.name, self.page, self._file = file.name, page, file
        with damage(self.name, "not a sound TIFF"):
            check_kind(page, self.name)
            self._planes, _, height, width, samples = map(int, page.shaped)
            self.shape, self.dtype = (height, width, self._planes * samples), np.dtype(page.dtype)
            self.tile = (int(page.tilelength), int(page.tilewidth)) if page.is_tiled else None
            self.kind = "tile" if self.tile else "strip"
            self.grid = TileGrid(Window(0, 0, height, width), self.tile or (min(int(page.rowsperstrip), height), width))
            self._subsampling = Subsampling.of(page)
            self._check_offsets()
            self._offset = self._in_one_piece()
            self.segment = (1, 1) if self._offset is not None else self.grid.tile
            self._check_budget(budget)
            self._tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader} if page.compression in JPEG else {}
        self.sparse = self._offset is None and any(
            not (offset or size) for offset, size in zip(page.dataoffsets, page.databytecounts, strict=False)
        )

    def _check_offsets(self) -> None:
        page, expected = self.page, len(self.grid) * self._planes
        offsets, sizes = (324, 325) if self.tile else (273, 279)
        if (n_offsets := len(page.dataoffsets)) < expected:
            reason = "the file is damaged" if n_offsets else f"{named(offsets)} is missing or cannot be read"
            raise ImageReadError(f"{self.name}: {n_offsets} offsets for {expected} {self.kind}s; {reason}")
        if (n_sizes := len(page.databytecounts)) < expected:
            has = f"has {n_sizes} values" if sizes in page.tags else "is missing"
            raise ImageReadError(f"{self.name}: {named(sizes)} {has}, for {expected} {self.kind}s")
        if not all(isinstance(n, int) and n >= 0 for n in (*page.dataoffsets, *page.databytecounts)):
            raise ImageReadError(f"{self.name}: {self.kind} offsets or byte counts are no numbers; the file is damaged")

    def _in_one_piece(self) -> int | None:
        """Return where the samples are, where they lie uncompressed in one piece."""
        page = self.page
        if not page.is_contiguous or not page.is_memmappable or self._subsampling or not any(page.dataoffsets):
            return None
        for index, (offset, size) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=False)):
            self._check_there(index, offset, size)
        offset, size = page.dataoffsets[0], math.prod(self.shape) * self.dtype.itemsize
        if offset + size > self._file.size:  # byte counts that promise less than the shape
            self._check_there(0, offset, size)
        return int(offset)

    def _rows(self, window: Window, start: int) -> np.ndarray:
        """Read a window of samples that lie in one piece: in one go where it has whole rows."""
        height, width, bands = self.shape
        samples, itemsize = bands // self._planes, self.dtype.itemsize
        shape = self._planes, window.height, window.width, samples
        pixels = np.empty(shape, self.dtype.newbyteorder(self.page.parent.byteorder))
        pieces = pixels.reshape(self._planes, 1 if window.width == width else window.height, -1)
        for plane, rows in enumerate(pieces):
            for i, row in enumerate(rows):
                before = ((plane * height + window.top + i) * width + window.left) * samples
                offset = start + before * itemsize
                if (there := self._file.read_into(memoryview(row.view(np.uint8)), offset)) < row.nbytes:
                    self._file.check_unchanged()
                    raise ImageReadError(
                        f"{self.name}: {there:,} of {row.nbytes:,} bytes at {offset:,} could be read; run again"
                    )
        return (np.moveaxis(pixels[..., 0], 0, -1) if self._planes > 1 else pixels[0]).astype(self.dtype, copy=False)

    def _check_there(self, index: int, offset: int, size: int) -> None:
        there = max(0, self._file.size - offset)
        if size > there:
            raise ImageReadError(
                f"{self.name}: {self.kind} {index} is truncated ({there:,} of {size:,} bytes); the file may still be copying"
            )

    def _check_budget(self, budget: int | None) -> None:
        size = math.prod(self.segment) * self.shape[2] * self.dtype.itemsize
        if budget is not None and size > budget:
            raise MemoryBudgetError(
                f"{self.name}: one compressed {self.kind} holds {self.segment[1]} x {self.segment[0]} pixels, which take "
                f"{size / 2**20:,.0f} MiB of {budget / 2**20:,.0f} once decoded; write it with "
                "small tiles (vips tiffsave IN OUT --tile --compression deflate), or raise --chunk-size and --memory"
            )

    def absent(self, window: Window) -> bool:
        """Whether all tiles or strips of a window are absent, as in a sparse file."""
        return self.sparse and not any(self._is_there(self.grid.index_of(place)) for place in self._touched(window))

    def _is_there(self, index: int) -> bool:
        """Whether any plane of a tile or strip is there; one that is not is filled."""
        return any(self._has(number) for number in self._numbers(index))

    def _numbers(self, index: int) -> range:
        """Return the numbers of a tile or strip in all planes."""
        return range(index, len(self.grid) * self._planes, len(self.grid))

    def _has(self, number: int) -> bool:
        """Whether a tile or strip of a plane is there: what has neither an offset nor bytes is absent."""
        return self.page.dataoffsets[number] != 0 or self.page.databytecounts[number] != 0

    def _touched(self, window: Window) -> TileGrid:
        height, width = self.grid.tile
        top, left = window.top // height * height, window.left // width * width
        bottom, right = window.top + window.height, window.left + window.width
        return TileGrid(Window(top, left, bottom - top, right - left), self.grid.tile)

    def read(self, window: Window) -> MaskedPixels:
        """Return the samples of a window, decoding the tiles or strips it touches; those absent are masked.

        Raises
        ------
        ImageReadError
            Where one is truncated or corrupt.
        """
        if self._offset is not None:
            return MaskedPixels(self._rows(window, self._offset), None)
        touched = self._touched(window)
        indices = [self.grid.index_of(place) for place in touched]
        if len(touched) == 1 and self._is_there(indices[0]):
            return MaskedPixels(self._decode(indices[0])[window.within(touched[0]).slices], None)
        pixels = np.zeros((window.height, window.width, self.shape[2]), self.dtype)
        valid = np.ones((window.height, window.width), bool)
        for place, index in zip(touched, indices, strict=True):
            part = place.overlap(window)
            if self._is_there(index):
                pixels[part.within(window).slices] = self._decode(index)[part.within(place).slices]
            else:
                valid[part.within(window).slices] = False
        return MaskedPixels(pixels, None if valid.all() else valid)

    def _decode(self, index: int) -> np.ndarray:
        """Return a tile or strip, cut to the image."""
        place = self.grid[index]
        with damage(self.name, f"{self.kind} {index} is corrupt{lacks(self.page)}"):
            if self._subsampling:
                encoded = [self._bytes(number) for number in self._numbers(index)]
                pixels = self._subsampling.decode(encoded, self.grid.tile if self.tile else place[2:])
            elif self._planes == 1:
                pixels = self._decode_plane(index, self._bytes(index))
            else:
                absent = np.full((place.height, place.width, 1), self.fill, self.dtype)
                planes = [
                    self._decode_plane(number, self._bytes(number))[: place.height, : place.width]
                    if self._has(number)
                    else absent
                    for number in self._numbers(index)
                ]
                pixels = np.concatenate(planes, axis=2)
            pixels = pixels[: place.height, : place.width]
            promised = (place.height, place.width, self.shape[2]), self.dtype
            if (pixels.shape, pixels.dtype) != promised:
                raise ValueError(f"{pixels.dtype} of shape {pixels.shape}, expected {promised[1]} of {promised[0]}")
        return pixels

    def _bytes(self, number: int) -> memoryview:
        """Return the encoded bytes of a segment of a plane; of what is not compressed, the shape says how many there are."""
        offset, size = self.page.dataoffsets[number], self.page.databytecounts[number]
        if self.page.compression == 1 and not self._subsampling and isinstance(self.page.bitspersample, int):
            place = self.grid[number % len(self.grid)]
            rows, columns = self.grid.tile if self.tile else (place.height, place.width)
            row = -(-columns * (self.shape[2] // self._planes) * self.page.bitspersample // 8)
            size = max(size, rows * row)
        self._check_there(number, offset, size)
        data = self._file.read(offset, size)
        if len(data) < size:
            self._file.check_unchanged()
        return data

    def _check_stream(self, data: memoryview) -> None:
        """Refuse an encoded image that says it is far larger than its tile: codecs allocate what it says."""
        plugin = STREAMS.get(self.page.compression)
        if plugin is None:
            return
        try:
            width, height = plugin(io.BytesIO(data)).size
        except Exception:  # of a kind that Pillow does not know; the codec says better what is wrong
            return
        if width * height > LARGER * math.prod(self.grid.tile):
            raise ValueError(f"its data says {width} x {height} pixels")

    def _decoded(self, data: memoryview, number: int) -> np.ndarray:
        """Decode a segment; the last strip may hold as many rows as the others, of which the image has fewer."""
        try:
            return self.page.decode(data, number, **self._tables)[0]
        except Exception:
            if self.tile or self.grid[number % len(self.grid)].height == self.grid.tile[0]:
                raise
        return self.page.decode(data, 0, **self._tables)[0]

    def _decode_plane(self, number: int, data: memoryview) -> np.ndarray:
        self._check_stream(data)
        if self.page.compression in JPEG and self._planes > 1:  # tifffile takes a plane of RGB for RGB
            pixels = imagecodecs.jpeg_decode(
                bytes(data), tables=self._tables["jpegtables"], colorspace="MINISBLACK", outcolorspace="MINISBLACK"
            )
            return pixels[:, :, None]
        if self.page.compression == LERC:
            return decode_lerc(bytes(data), self.page.tags.valueof(PARAMETERS), self.shape[2] // self._planes)
        if self.page.compression in (APERIO_YCBCR, APERIO_RGB):  # which tifffile refuses where tag 530 says nothing
            return imagecodecs.jpeg2k_decode(bytes(data))
        pixels = self._decoded(data, number)[0]
        return pixels.astype(bool) if self.dtype == bool and pixels.dtype == np.uint8 else pixels  # CCITT gives uint8
