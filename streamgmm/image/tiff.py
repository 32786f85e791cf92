"""The TIFF reader: a memory-mapped file, cut into tiles or strips by offset."""

import contextlib
import logging
import math
import mmap
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile

from ..errors import ImageReadError, MemoryBudgetError, StreamGMMError, UnsupportedImageError
from .source import SAMPLE_TYPES
from .tiles import TileGrid, Window

# tifffile logs what it finds odd; what matters is raised here instead.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

# Bytes read from the map after which its pages are given back: they count as resident memory of the process, and a
# gigapixel would otherwise add 2 GB to its peak. Asking costs 20 microseconds.
GIVE_BACK = 32 << 20

# Values of PhotometricInterpretation (tag 262), Compression (tag 259) and SampleFormat (tag 339).
MINISBLACK, RGB, YCBCR = 1, 2, 6
JPEG = (6, 7, 34892, 33007)
SAMPLE_FORMATS = {1: "unsigned", 2: "signed", 3: "floats", 4: "untyped", 5: "complex integers", 6: "complex floats"}


class TiffImage:
    """The first page of a TIFF or BigTIFF file, tiled or striped, uint8 or uint16, of any codec imagecodecs decodes.

    Uncompressed pixels that lie in one piece are viewed in place, and so are single uncompressed tiles.

    Parameters
    ----------
    path : Path
    budget : int, optional
        Bytes a decoded tile or strip may take.

    Raises
    ------
    ImageReadError
        Where the file is not a sound TIFF.
    UnsupportedImageError
        Where its samples, colours or codec are not supported.
    MemoryBudgetError
        Where a compressed tile or strip does not fit the budget.
    """

    def __init__(self, path: Path, budget: int | None = None):
        self.name = str(path)
        with contextlib.ExitStack() as stack, _damage(f"{self.name}: not a sound TIFF"):
            file = stack.enter_context(open(path, "rb"))
            page = stack.enter_context(tifffile.TiffFile(file, name=self.name)).pages.first
            self._map = stack.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            self._page, self._read_bytes, self._lock = page, 0, threading.Lock()
            self._check_kind()
            self._planes, _, height, width, samples = map(int, page.shaped)
            self.shape, self.dtype = (height, width, self._planes * samples), np.dtype(page.dtype)
            self.tile = (int(page.tilelength), int(page.tilewidth)) if page.is_tiled else None
            self.segment = self.tile or (min(int(page.rowsperstrip), height), width)
            self._segments = TileGrid(Window(0, 0, height, width), self.segment)
            self._check_segments()
            self._whole = self._viewed_whole()
            if self._whole is not None:
                self.segment = (1, 1)
            self._check_budget(budget)
            self._tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader} if page.compression in JPEG else {}
            self._close = stack.pop_all().close

    def _check_kind(self) -> None:
        page = self._page
        if page.dtype is None or np.dtype(page.dtype) not in SAMPLE_TYPES or page.bitspersample not in (8, 16):
            kind = SAMPLE_FORMATS.get(page.sampleformat, f"of format {page.sampleformat}")
            raise UnsupportedImageError(
                f"{self.name}: samples are {kind} of {page.bitspersample} bits; "
                "only uint8 and uint16 are supported; convert it first"
            )
        if page.photometric not in (MINISBLACK, RGB) and not (page.photometric == YCBCR and page.compression in JPEG):
            colours = getattr(page.photometric, "name", page.photometric)
            raise UnsupportedImageError(f"{self.name}: colours are {colours}; grey and RGB are supported, convert it first")
        if page.shaped[1] != 1 or page.size == 0:
            raise UnsupportedImageError(f"{self.name}: page has shape {page.shape}; expected a flat image, not empty")
        if page.compression != 1 and page.compression not in tifffile.TIFF.DECOMPRESSORS:
            codec = getattr(page.compression, "name", page.compression)
            raise UnsupportedImageError(f"{self.name}: compression {codec} is not supported, convert it first")

    def _check_segments(self) -> None:
        page, expected = self._page, len(self._segments) * self._planes
        if min(len(page.dataoffsets), len(page.databytecounts)) < expected:
            raise ImageReadError(
                f"{self.name}: {len(page.dataoffsets)} offsets for {expected} {self._kind}s; the file is damaged"
            )
        if not all(isinstance(n, int) and n >= 0 for n in (*page.dataoffsets, *page.databytecounts)):
            raise ImageReadError(f"{self.name}: {self._kind} offsets or byte counts are no numbers; the file is damaged")

    def _viewed_whole(self) -> np.ndarray | None:
        """The pixels in place, where they lie uncompressed in one piece."""
        page = self._page
        if not page.is_contiguous or not page.is_memmappable:
            return None
        offset, size = page.dataoffsets[0], math.prod(self.shape) * self.dtype.itemsize
        if offset + size > len(self._map):
            there = max(0, len(self._map) - offset)
            raise ImageReadError(f"{self.name}: truncated ({there:,} of {size:,} bytes); the file may still be copying")
        dtype = self.dtype.newbyteorder(page.parent.byteorder)
        pixels = np.frombuffer(self._map, dtype, math.prod(self.shape), offset)
        if self._planes > 1:
            return np.moveaxis(pixels.reshape(self._planes, *self.shape[:2]), 0, -1)
        return pixels.reshape(self.shape)

    def _check_budget(self, budget: int | None) -> None:
        size = math.prod(self.segment) * self.shape[2] * self.dtype.itemsize
        if budget is not None and size > budget:
            raise MemoryBudgetError(
                f"{self.name}: one compressed {self._kind} holds {self.segment[1]} x {self.segment[0]} pixels, which take "
                f"{size / 2**20:,.0f} MiB of {budget / 2**20:,.0f} once decoded; write it with "
                "small tiles (vips tiffsave IN OUT --tile --compression deflate), or raise --chunk-size"
            )

    @property
    def _kind(self) -> str:
        return "tile" if self.tile else "strip"

    def read(self, window: Window) -> np.ndarray:
        """Return the pixels of a window, shape (height, width, bands), decoding the tiles or strips it touches.

        Raises
        ------
        ImageReadError
            Where one is truncated or corrupt.
        """
        if self._whole is not None:
            self._give_back(window.height * window.width * self.shape[2] * self.dtype.itemsize)
            return self._whole[window.slices].astype(self.dtype, copy=False)
        height, width = self.segment
        top, left = window.top // height * height, window.left // width * width
        bottom, right = window.top + window.height, window.left + window.width
        touched = TileGrid(Window(top, left, bottom - top, right - left), self.segment)
        if len(touched) == 1:
            segment = self._decode(self._segments.index_of(touched[0]))
            return segment[window.within(touched[0]).slices]
        pixels = np.empty((window.height, window.width, self.shape[2]), self.dtype)
        for place in touched:
            part = place.overlap(window)
            pixels[part.within(window).slices] = self._decode(self._segments.index_of(place))[part.within(place).slices]
        return pixels

    def _decode(self, index: int) -> np.ndarray:
        """Return a tile or strip, cut to the image."""
        if self._planes == 1:
            return self._decode_plane(index)
        planes = [self._decode_plane(index + plane * len(self._segments)) for plane in range(self._planes)]
        return np.concatenate(planes, axis=2)

    def _decode_plane(self, index: int) -> np.ndarray:
        offset, size = self._page.dataoffsets[index], self._page.databytecounts[index]
        place = self._segments[index % len(self._segments)]
        samples = self.shape[2] // self._planes
        if size == 0:  # a sparse file: absent tiles read as nodata (GDAL_NODATA, tag 42113) or zeros, as in GDAL
            nodata = self._page.nodata if 0 <= self._page.nodata <= np.iinfo(self.dtype).max else 0
            return np.full((place.height, place.width, samples), nodata, self.dtype)
        if offset + size > len(self._map):
            there = max(0, len(self._map) - offset)
            raise ImageReadError(
                f"{self.name}: {self._kind} {index} is truncated ({there:,} of {size:,} bytes); the file may still be copying"
            )
        with _damage(f"{self.name}: {self._kind} {index} is corrupt"):
            data: memoryview | bytearray = memoryview(self._map)[offset : offset + size]
            if self._page.compression != 1 or self._page.predictor != 1:
                data = bytearray(data)  # predictors are undone in place, and LZW steps out of damaged data: not in our map
            pixels = self._page.decode(data, index, **self._tables)[0][0]
            pixels = pixels[: place.height, : place.width]
            if pixels.shape != (place.height, place.width, samples):
                raise ValueError(f"shape {pixels.shape}, expected {(place.height, place.width, samples)}")
        self._give_back(size)
        return pixels

    def _give_back(self, size: int) -> None:
        """Count bytes read from the map, and from time to time return its pages; those in use are read again."""
        with self._lock:
            self._read_bytes += size
            if self._read_bytes < GIVE_BACK:
                return
            self._read_bytes = 0
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def info(self) -> dict:
        """Describe the image."""
        page = self._page
        height, width, bands = self.shape
        return {
            "format": "BigTIFF" if page.parent.is_bigtiff else "TIFF",
            "width": width,
            "height": height,
            "bands": bands,
            "dtype": self.dtype.name,
            "photometric": page.photometric.name.lower(),
            "compression": page.compression.name.lower(),
            "layout": f"{self._kind}s of {self._segments.tile[1]} x {self._segments.tile[0]}",
            "segments": len(page.dataoffsets),
            "viewed_in_place": self._whole is not None,
            "pages": len(page.parent.pages),
        }

    def close(self) -> None:
        """Close the file and its map."""
        self._whole = None
        with contextlib.suppress(BufferError):  # a view is still held by the caller; the map goes with it
            self._close()


@contextlib.contextmanager
def _damage(what: str) -> Iterator[None]:
    """Turn whatever tifffile and the codecs raise on damaged files, which is anything, into an ImageReadError."""
    try:
        yield
    except StreamGMMError:
        raise
    except Exception as error:
        reason = str(error).split("\n")[0][:200] or type(error).__name__
        raise ImageReadError(f"{what} ({reason})") from error
