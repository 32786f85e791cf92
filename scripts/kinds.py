"""Kinds of TIFF that people have, written from the photo-like image, and how bare imagecodecs decodes them."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from make_image import THREADS, TILE

import streamgmm
from streamgmm.image.tiles import TileGrid, Window

STRIP, BYTES = 128, np.dtype(np.uint8)


@dataclass(frozen=True)
class Kind:
    """A kind of TIFF.

    Attributes
    ----------
    encode, decode : functions from a segment, shape (height, width, bands), to bytes, and from bytes to anything
        ``decode`` takes the segment's shape and type too.
    options : dict
        What tifffile is told.
    bands, dtype
        What is stored.
    bar : float or None
        The most that quantizing may take, in times of decoding everything twice.
    """

    encode: Callable[[np.ndarray], Any]
    decode: Callable[[bytes, tuple[int, ...], np.dtype], object]
    options: dict[str, Any] = field(default_factory=dict)
    bands: int = 3
    dtype: np.dtype = BYTES
    bar: float | None = None
    striped: bool = False

    @property
    def planar(self) -> bool:
        return self.options.get("planarconfig") == "separate"


def differences(encode: Callable, segment: np.ndarray) -> bytes:
    return encode(imagecodecs.delta_encode(np.ascontiguousarray(segment), axis=-2))


def sums(decode: Callable, data: bytes, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    data = decode(data, out=int(np.prod(shape)) * dtype.itemsize)
    return imagecodecs.delta_decode(np.frombuffer(data, dtype).reshape(shape), axis=-2)


def by_name(encode: Callable, decode: Callable, compression: str, **more: Any) -> Kind:
    """Return a kind with predictor 2."""
    options = {"compression": compression, "predictor": 2, **more.pop("options", {})}
    return Kind(partial(differences, encode), partial(sums, decode), options, **more)


deflate = partial(by_name, partial(imagecodecs.deflate_encode, level=6), imagecodecs.deflate_decode, "adobe_deflate")
KINDS = {
    "uncompressed": Kind(np.asarray, lambda data, shape, dtype: bytearray(data), bar=2.6),
    "LZW": by_name(imagecodecs.lzw_encode, imagecodecs.lzw_decode, "lzw", bar=2.6),
    "Deflate": deflate(bar=2.6),
    "ZSTD": by_name(partial(imagecodecs.zstd_encode, level=9), imagecodecs.zstd_decode, "zstd", bar=2.6),
    "JPEG YCbCr": Kind(
        lambda tile: imagecodecs.jpeg_encode(tile, level=90, colorspace="RGB", outcolorspace="YCBCR", subsampling=(2, 2)),
        lambda data, shape, dtype: imagecodecs.jpeg_decode(data, colorspace="YCBCR", outcolorspace="RGB"),
        {"compression": "jpeg", "photometric": "ycbcr", "subsampling": (2, 2)},
        bar=2.6,
    ),
    "JPEG 2000": Kind(
        lambda tile: imagecodecs.jpeg2k_encode(tile, level=40, codecformat="j2k"),
        lambda data, shape, dtype: imagecodecs.jpeg2k_decode(data),
        {"compression": "jpeg2000"},
        bar=2.6,
    ),
    "Deflate, striped": deflate(striped=True),
    "Deflate, planar": deflate(options={"planarconfig": "separate"}, bar=2.6),
    "Deflate, uint16 RGB": deflate(dtype=np.dtype(np.uint16)),
    "Deflate, 8 bands of uint16": deflate(
        dtype=np.dtype(np.uint16), bands=8, options={"photometric": "minisblack", "planarconfig": "contig"}
    ),
}


def write_kind(path: Path, kind: Kind, source: Path) -> None:
    """Write an image of a kind, with the pixels of an RGB TIFF; further bands are mixtures of its bands."""
    with closing(streamgmm.open_image(source)) as image, tifffile.TiffWriter(path, bigtiff=True) as writer:
        height, width, _ = image.shape
        segment = (STRIP, width) if kind.striped else (TILE, TILE)
        grid = TileGrid(Window(0, 0, height, width), segment)

        def encoded(place: tuple[Window, slice]) -> Any:
            window, bands = place
            return kind.encode(np.ascontiguousarray(pixels_of(image.read(window).pixels, kind, window)[..., bands]))

        planes = [slice(band, band + 1) for band in range(kind.bands)] if kind.planar else [slice(None)]
        places = [(window, bands) for bands in planes for window in grid]
        shape = (kind.bands, height, width) if kind.planar else (height, width, kind.bands)
        layout = {"rowsperstrip": STRIP} if kind.striped else {"tile": segment}
        options = {"photometric": "rgb"} | layout | kind.options
        writer.write(in_threads(encoded, places), shape=shape, dtype=kind.dtype, metadata=None, **options)


def in_threads(work: Callable, places: list) -> Iterator:
    """Yield results in order, a few ahead."""
    with ThreadPoolExecutor(THREADS) as pool:
        for first in range(0, len(places), 8 * THREADS):
            yield from pool.map(work, places[first : first + 8 * THREADS])


def pixels_of(colors: np.ndarray, kind: Kind, window: Window) -> np.ndarray:
    if kind.dtype == np.uint8:
        return colors
    noise = np.random.default_rng([window.top, window.left]).integers(0, 257, (*colors.shape[:2], kind.bands), np.uint16)
    mixed = np.stack([(colors[..., band % 3] >> 1) + (colors[..., band // 3] >> 1) for band in range(kind.bands)], axis=-1)
    return mixed.astype(np.uint16) * 256 + noise


def decode_all(path: Path, kind: Kind) -> None:
    """Decode every segment with bare imagecodecs, in threads."""
    with tifffile.TiffFile(path) as tiff, open(path, "rb") as file, ThreadPoolExecutor(THREADS) as pool:
        page = tiff.pages.first
        samples = 1 if kind.planar else kind.bands
        shape = (STRIP, page.imagewidth, samples) if kind.striped else (TILE, TILE, samples)

        def decode(place: tuple[int, int]) -> None:
            kind.decode(os.pread(file.fileno(), place[1], place[0]), shape, kind.dtype)

        for _ in pool.map(decode, zip(page.dataoffsets, page.databytecounts, strict=True)):
            pass
