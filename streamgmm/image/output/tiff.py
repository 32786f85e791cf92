"""Assembling a tiled TIFF of finished tiles: its IFDs, tags, and the choice of BigTIFF."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from ...errors import OutputError
from ...options import BigTiff, Structure
from ...system.files import open_input
from ...system.mark import software
from ..metadata import ORIENTATION
from .codec import CODECS
from .spec import ImageSpec
from .spool import Spool

# A classic TIFF addresses its bytes by 32 bits.
CLASSIC_LIMIT = 2**32 - 1


def assemble_tiff(
    part: Path,
    name: Path,
    spool: Spool,
    specs: Sequence[ImageSpec],
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
    specs : sequence of ImageSpec
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
    made_by = software(fingerprint)
    _write_ifds(part, specs, structure, bigtiff == "yes", made_by)
    size = part.stat().st_size + int(_even(spool.sizes).sum())
    if size > CLASSIC_LIMIT and bigtiff != "yes":
        if bigtiff == "no":
            raise OutputError(f"{name}: a classic TIFF cannot hold its {size:,} bytes; use --bigtiff auto")
        _write_ifds(part, specs, structure, True, made_by)
    _append_tiles(part, spool, specs)


def _even(sizes: np.ndarray) -> np.ndarray:
    """Sizes rounded up, so that every tile begins on a word boundary."""
    return sizes + sizes % 2


def _write_ifds(part: Path, specs: Sequence[ImageSpec], structure: Structure, bigtiff: bool, software: str) -> None:
    """Write the IFDs, without tiles.

    tifffile makes room for byte counts (tag 325) of ten times the pixels, which no codec exceeds.
    """
    with tifffile.TiffWriter(part, bigtiff=bigtiff, byteorder="<", ome=False, shaped=False) as writer:
        for spec in specs:
            for level, grid in enumerate(spec.grids):
                writer.write(
                    itertools.repeat(b"", len(grid)),
                    shape=(grid.area.height, grid.area.width, spec.samples_per_pixel)[: 3 if spec.form == "rgb" else 2],
                    subifds=spec.n_levels - 1 if structure == "subifd" and level == 0 else None,
                    software=software if level == 0 else "",
                    **_tags(spec, level),
                )


def _tags(spec: ImageSpec, level: int) -> dict[str, Any]:
    """What tifffile is told of a level."""
    metadata = spec.metadata
    tags: list[tuple[int, int, int | None, Any]] = []
    if spec.form == "palette":  # ColorMap
        assert spec.palette is not None
        colors = np.zeros((3, 1 << spec.bits_per_sample), "<u2")
        colors[:, : len(spec.palette)] = spec.palette.T.astype(np.uint16) * 257
        if spec.nodata is not None:
            colors[:, spec.nodata] = np.multiply(spec.nodata_color, 257)
        tags.append((320, 3, colors.size, colors.tobytes()))
    if spec.nodata is not None and spec.form != "rgb":  # GDAL_NODATA
        tags.append((42113, 2, None, str(spec.nodata)))
    tags.extend(tag for tag in metadata.tags if level == 0 or tag[0] == ORIENTATION)  # readers turn each level by its own
    resolution = metadata.resolution
    return {
        "dtype": np.uint8 if spec.form == "rgb" else spec.dtype,
        "tile": spec.tile,
        "photometric": "rgb" if spec.form == "rgb" else "minisblack",
        "extrasamples": ("unassalpha",) if spec.samples_per_pixel == 4 else None,
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


def _append_tiles(part: Path, spool: Spool, specs: Sequence[ImageSpec]) -> None:
    """Append the tiles, those of the smallest levels first, and say in the IFDs where and what they are."""
    levels = [(spec, grid) for spec in specs for grid in spec.grids]
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


def _corrections(spec: ImageSpec) -> dict[int, int]:
    """Return Compression, BitsPerSample and PhotometricInterpretation (tags 259, 258, 262) as they are.

    tifffile leaves tiles to come only where they are compressed, and packs no samples then: it was told of deflated whole ones.
    """
    tags = {259: CODECS[spec.compression][0]}
    if spec.form != "rgb":
        tags |= {258: spec.bits_per_sample, 262: 3 if spec.form == "palette" else 1}
    return tags


def _overwrite(ifd: tifffile.TiffPage, values: dict[int, Any]) -> None:
    """Put values in the place of others that take as many bytes."""
    for code, value in values.items():
        tag = ifd.tags[code]
        dtype = {3: "<u2", 4: "<u4", 16: "<u8"}[tag.dtype]
        tag.overwrite(np.asarray(value).astype(dtype).tobytes())


def fingerprint_in(path: Path) -> str | None:
    """Return the fingerprint in the Software (tag 305) of a TIFF that is whole, or None where there is none."""
    try:
        with open_input(path) as file, tifffile.TiffFile(file) as tiff:
            for page in tiff.pages:
                for ifd in (page, *(page.pages or ())):
                    if max(map(sum, zip(ifd.dataoffsets, ifd.databytecounts, strict=True))) > tiff.filehandle.size:
                        return None
            _, found, fingerprint = tiff.pages.first.software.rpartition(" fingerprint ")
            return fingerprint if found else None
    except Exception:  # not there or no TIFF: whatever it is, it was not made by this program
        return None
