"""From labels to a TIFF: codecs, levels, tags, and the choice of BigTIFF."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, get_args

import imagecodecs
import numpy as np
import tifffile

from .. import __version__
from ..errors import OutputError
from .metadata import ORIENTATION, Metadata
from .spool import Spool
from .tiles import TileGrid, Window

Compression = Literal["none", "deflate", "lzw", "zstd", "packbits"]
COMPRESSIONS: tuple[str, ...] = get_args(Compression)
Form = Literal["palette", "labels", "rgb"]
FORMS: tuple[str, ...] = get_args(Form)
Structure = Literal["chained", "subifd", "cog"]
STRUCTURES: tuple[str, ...] = get_args(Structure)
BigTiff = Literal["auto", "yes", "no"]
BIGTIFF: tuple[str, ...] = get_args(BigTiff)
Resampling = Literal["mode", "nearest"]
RESAMPLINGS: tuple[str, ...] = get_args(Resampling)

# libdeflate's level 4 packs label tiles 2.5 times as fast as its level 6, into 7 % more bytes (0.135 to 0.126 a pixel).
DEFLATE_LEVEL = 4
DEFAULT_LEVELS = {"deflate": DEFLATE_LEVEL, "zstd": 9}
# What the codecs take; imagecodecs clips other levels without a word. Deflate's 0 stores.
LEVELS = {"deflate": range(13), "zstd": range(1, 23)}

# A classic TIFF addresses its bytes by 32 bits.
CLASSIC_LIMIT = 2**32 - 1


# Compression (tag 259), encoder of rows of bytes, and decoder. PackBits lets no run go on into the next row.
_CODECS: dict[str, tuple[int, Callable[..., Any], Callable[..., Any]]] = {
    "none": (1, np.ndarray.tobytes, lambda data, out: data),
    "deflate": (8, imagecodecs.deflate_encode, imagecodecs.deflate_decode),
    "lzw": (5, imagecodecs.lzw_encode, imagecodecs.lzw_decode),
    "zstd": (50000, imagecodecs.zstd_encode, imagecodecs.zstd_decode),
    "packbits": (32773, partial(imagecodecs.packbits_encode, axis=-1), imagecodecs.packbits_decode),
}


@dataclass(frozen=True)
class Layout:
    """What one image of the output is like, with its reduced levels.

    Attributes
    ----------
    shape : tuple of int
        Height and width of the image.
    tile : tuple of int
        Height and width of a tile, multiples of 16.
    dtype : numpy.dtype
        Of the labels: uint8 or uint16.
    form : {"palette", "labels", "rgb"}
        Labels with a colour map, labels alone, or the colours themselves as 8-bit samples.
    palette : ndarray of shape (K, 3), uint8, or None
        Colours of the labels; None only for form "labels".
    nodata : int or None
        Label of masked pixels, not one of the palette; None where no pixel is masked.
    compression : {"none", "deflate", "lzw", "zstd", "packbits"}
    level : int or None
        Level of the codec, one of LEVELS; None for 4 (deflate) and 9 (zstd).
    bits : int or None
        Bits of a stored label: 1, 2 or 4 of uint8 labels, several of which share a byte; None for those of the dtype.
    n_levels : int
        The image and its reduced levels; each is half as high and wide as the one below, rounded up.
    resampling : {"mode", "nearest"}
        How the reduced levels are made.
    metadata : Metadata
    """

    shape: tuple[int, int]
    tile: tuple[int, int]
    dtype: np.dtype
    form: Form = "palette"
    palette: np.ndarray | None = None
    nodata: int | None = None
    compression: Compression = "deflate"
    level: int | None = None
    bits: int | None = None
    n_levels: int = 1
    resampling: Resampling = "mode"
    metadata: Metadata = field(default_factory=Metadata)

    @cached_property
    def grids(self) -> list[TileGrid]:
        """The tiles of every level."""
        height, width = self.shape
        areas = (Window(0, 0, -(-height >> level), -(-width >> level)) for level in range(self.n_levels))
        return [TileGrid(area, self.tile) for area in areas]

    @property
    def n_tiles(self) -> int:
        """Number of tiles of all levels."""
        return sum(map(len, self.grids))

    @property
    def plain_bytes(self) -> int:
        """Bytes of the samples of all levels, not compressed."""
        pixels = sum(grid.area.height * grid.area.width for grid in self.grids)
        return pixels * self.samples_per_pixel * self.bits_per_sample // 8

    @property
    def bits_per_sample(self) -> int:
        """BitsPerSample (tag 258)."""
        return 8 if self.form == "rgb" else self.bits or 8 * np.dtype(self.dtype).itemsize

    @property
    def samples_per_pixel(self) -> int:
        """SamplesPerPixel (tag 277): 3 for colours, 4 where some may be masked, 1 for labels."""
        return (3 if self.nodata is None else 4) if self.form == "rgb" else 1

    @property
    def sample_dtype(self) -> np.dtype:
        """Of a decoded tile: labels, or colours as codes of four bytes (red, green, blue, alpha)."""
        return np.dtype("<u4") if self.form == "rgb" else np.dtype(self.dtype).newbyteorder("<")

    @property
    def masked_sample(self) -> int | None:
        """What masked pixels are in a decoded tile; None where there are none."""
        return self.nodata if self.nodata is None or self.form != "rgb" else 0

    @cached_property
    def colour_codes(self) -> np.ndarray:
        """Codes of the labels' colours, shape (256,) or (65536,), uint32: alpha is 255, or 0 where it is not stored."""
        assert self.palette is not None
        codes = np.zeros((1 << 8 * np.dtype(self.dtype).itemsize, 4), np.uint8)
        codes[: len(self.palette), :3] = self.palette
        if self.nodata is not None:
            codes[: len(self.palette), 3] = 255
        return codes.view("<u4")[:, 0]


def n_levels(shape: tuple[int, int], tile: tuple[int, int]) -> int:
    """Return the number of levels until the longer side fits the longer side of a tile."""
    return 1 + ((max(shape) - 1) // max(tile)).bit_length()


def encode_tile(labels: np.ndarray, layout: Layout) -> bytes:
    """Encode the labels of a tile, shape (height, width), up to the tile's size, padded to it as if masked, or with zeros."""
    return encode_samples(layout.colour_codes[labels] if layout.form == "rgb" else labels, layout)


def encode_samples(samples: np.ndarray, layout: Layout) -> bytes:
    """Pad, pack and compress what ``decode_tile`` returns, or a part of it from the upper left."""
    if samples.shape != layout.tile:
        padded = np.full(layout.tile, layout.masked_sample or 0, layout.sample_dtype)
        padded[: samples.shape[0], : samples.shape[1]] = samples
        samples = padded
    rows = np.ascontiguousarray(samples, layout.sample_dtype).view(np.uint8)
    if layout.samples_per_pixel == 3:
        rows = rows.reshape(-1, 4)[:, :3].reshape(len(rows), -1)
    elif layout.bits_per_sample < 8:
        rows = np.frombuffer(imagecodecs.packints_encode(rows, layout.bits_per_sample), np.uint8).reshape(len(rows), -1)
    default = DEFAULT_LEVELS.get(layout.compression)
    options = {} if default is None else {"level": default if layout.level is None else layout.level}
    return bytes(_CODECS[layout.compression][1](rows, **options))


def decode_tile(data: bytes, layout: Layout) -> np.ndarray:
    """Decode a tile to its full size: labels, or for form "rgb" codes of the colours, uint32.

    A code is the little-endian view of red, green, blue and alpha; 0 for a masked pixel. Where no pixel is masked, alpha is 0.
    """
    size = math.prod(layout.tile) * layout.samples_per_pixel * layout.bits_per_sample // 8
    data = _CODECS[layout.compression][2](data, out=size)
    if layout.samples_per_pixel == 3:
        colours = np.zeros((*layout.tile, 4), np.uint8)
        colours[..., :3] = np.frombuffer(data, np.uint8).reshape(*layout.tile, 3)
        return colours.view(layout.sample_dtype)[..., 0]
    if layout.bits_per_sample < 8:
        return imagecodecs.packints_decode(data, np.uint8, layout.bits_per_sample).reshape(layout.tile)
    return np.frombuffer(data, layout.sample_dtype).reshape(layout.tile)


def assemble_tiff(
    part: Path,
    name: Path,
    spool: Spool,
    layouts: Sequence[Layout],
    structure: Structure = "chained",
    bigtiff: BigTiff = "auto",
    fingerprint: str | None = None,
) -> None:
    """Assemble a tiled TIFF from encoded tiles.

    All IFDs stand at the beginning, the tiles of the smallest level follow, those of the image come last: what a Cloud
    Optimized GeoTIFF is, and costs the others nothing.

    Parameters
    ----------
    part : Path
        The file to write.
    name : Path
        What it will be called, for messages.
    spool : Spool
        The tiles of the first image, level by level, then those of the next.
    layouts : sequence of Layout
        The images, one page each.
    structure : {"chained", "subifd", "cog"}
        Whether reduced levels follow their page in the chain of IFDs, or are its SubIFDs (tag 330). "cog" is "chained".
    bigtiff : {"auto", "yes", "no"}
        "auto" makes a BigTIFF of what is larger than a classic TIFF can be.
    fingerprint : str, optional
        What the file was made from and how, for its Software (tag 305).

    Raises
    ------
    OutputError
        Where it cannot be written, or is too large for a classic TIFF and must be one.
    """
    software = f"streamgmm {__version__}" + (f" fingerprint {fingerprint}" if fingerprint else "")
    _write_ifds(part, layouts, structure, bigtiff == "yes", software)
    size = part.stat().st_size + int(_even(spool.sizes).sum())
    if size > CLASSIC_LIMIT and bigtiff != "yes":
        if bigtiff == "no":
            raise OutputError(f"{name}: a classic TIFF cannot hold its {size:,} bytes; use --bigtiff auto")
        _write_ifds(part, layouts, structure, True, software)
    _append_tiles(part, spool, layouts)


def _even(sizes: np.ndarray) -> np.ndarray:
    """Sizes rounded up, so that every tile begins on a word boundary."""
    return sizes + sizes % 2


def _write_ifds(part: Path, layouts: Sequence[Layout], structure: Structure, bigtiff: bool, software: str) -> None:
    """Write the IFDs, without tiles.

    tifffile makes room for byte counts (tag 325) of ten times the pixels, which no codec exceeds.
    """
    with tifffile.TiffWriter(part, bigtiff=bigtiff, byteorder="<", ome=False, shaped=False) as writer:
        for layout in layouts:
            for level, grid in enumerate(layout.grids):
                writer.write(
                    itertools.repeat(b"", len(grid)),
                    shape=(grid.area.height, grid.area.width, layout.samples_per_pixel)[: 3 if layout.form == "rgb" else 2],
                    subifds=layout.n_levels - 1 if structure == "subifd" and level == 0 else None,
                    software=software if level == 0 else "",
                    **_tags(layout, level),
                )


def _tags(layout: Layout, level: int) -> dict[str, Any]:
    """What tifffile is told of a level."""
    metadata = layout.metadata
    tags: list[tuple[int, int, int | None, Any]] = []
    if layout.form == "palette":  # ColorMap
        assert layout.palette is not None
        colours = np.zeros((3, 1 << layout.bits_per_sample), "<u2")
        colours[:, : len(layout.palette)] = layout.palette.T.astype(np.uint16) * 257
        tags.append((320, 3, colours.size, colours.tobytes()))
    if layout.nodata is not None and layout.form != "rgb":  # GDAL_NODATA
        tags.append((42113, 2, None, str(layout.nodata)))
    tags.extend(tag for tag in metadata.tags if level == 0 or tag[0] == ORIENTATION)  # readers turn each level by its own
    resolution = metadata.resolution
    return {
        "dtype": np.uint8 if layout.form == "rgb" else layout.dtype,
        "tile": layout.tile,
        "photometric": "rgb" if layout.form == "rgb" else "minisblack",
        "extrasamples": ("unassalpha",) if layout.samples_per_pixel == 4 else None,
        "compression": "adobe_deflate",
        "subfiletype": int(level > 0),
        "resolution": resolution and (resolution[0] / 2**level, resolution[1] / 2**level),
        "resolutionunit": resolution and metadata.resolution_unit,
        "iccprofile": metadata.icc,
        "description": metadata.description.encode() if level == 0 and metadata.description is not None else None,
        "extratags": tags,
        "metadata": None,
        "align": 2,
    }


def _append_tiles(part: Path, spool: Spool, layouts: Sequence[Layout]) -> None:
    """Append the tiles, those of the smallest levels first, and say in the IFDs where and what they are."""
    levels = [(layout, grid) for layout in layouts for grid in layout.grids]
    firsts = np.cumsum([0, *(len(grid) for _, grid in levels)])
    end = part.stat().st_size
    with tifffile.TiffFile(part, mode="r+b") as tiff, open(part, "ab") as file:
        ifds = [ifd for page in tiff.pages for ifd in (page, *(page.pages or ()))]
        for i in sorted(range(len(levels)), key=lambda i: levels[i][1].area.height * levels[i][1].area.width):
            tiles = range(firsts[i], firsts[i + 1])
            sizes = spool.sizes[tiles.start : tiles.stop]
            ends = end + np.cumsum(_even(sizes))
            _overwrite(ifds[i], _corrections(levels[i][0]) | {324: ends - _even(sizes), 325: sizes})
            end = int(ends[-1])
            for tile in tiles:
                data = spool.get(tile)
                file.write(data + b"\0" * (len(data) % 2))


def _corrections(layout: Layout) -> dict[int, int]:
    """Return Compression, BitsPerSample and PhotometricInterpretation (tags 259, 258, 262) as they are.

    tifffile leaves tiles to come only where they are compressed, and packs no samples then: it was told of deflated whole ones.
    """
    tags = {259: _CODECS[layout.compression][0]}
    if layout.form != "rgb":
        tags |= {258: layout.bits_per_sample, 262: 3 if layout.form == "palette" else 1}
    return tags


def _overwrite(ifd: tifffile.TiffPage, values: dict[int, Any]) -> None:
    """Put values in the place of others that take as many bytes."""
    for code, value in values.items():
        tag = ifd.tags[code]
        dtype = {3: "<u2", 4: "<u4", 16: "<u8"}[tag.dtype]
        tag.overwrite(np.asarray(value).astype(dtype).tobytes())
