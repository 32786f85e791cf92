"""The tags of a TIFF page that stay true of its output, and those that do not."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile

from ..metadata import (
    ASCII,
    BYTE,
    CENTIMETER,
    DESCRIPTION,
    DOUBLE,
    GDAL_METADATA,
    GEOKEYS,
    ICC,
    INCH,
    LIMIT,
    LONG,
    NONE,
    ORIENTATION,
    RATIONAL,
    RPC,
    SCALE,
    SHORT,
    TIEPOINTS,
    TRANSFORMATION,
    UNDEFINED,
    XMP,
    Metadata,
    is_resolution,
    is_rgb_profile,
    parsed,
    srgb_profile,
)

# TIFF types of numbers as NumPy types.
NUMBERS = {SHORT: "u2", LONG: "u4", RATIONAL: "u4", DOUBLE: "f8"}
# ImageDescription, DocumentName, Make, Model, PageName, DateTime, Artist, Copyright.
TEXT = (DESCRIPTION, 269, 271, 272, 285, 306, 315, 33432)

# Code -> the type a tag is written with, other types it may be read with, and how many values it has at least.
CARRIED = {
    **dict.fromkeys(TEXT, (ASCII, (), 1)),
    ORIENTATION: (SHORT, (LONG,), 1),
    XMP: (BYTE, (UNDEFINED,), 1),
    SCALE: (DOUBLE, (), 2),  # ModelPixelScale
    TIEPOINTS: (DOUBLE, (), 6),  # ModelTiepoint
    TRANSFORMATION: (DOUBLE, (), 16),  # ModelTransformation
    ICC: (UNDEFINED, (BYTE,), 128),  # InterColorProfile
    GEOKEYS: (SHORT, (), 4),  # GeoKeyDirectory
    34736: (DOUBLE, (), 1),  # GeoDoubleParams
    34737: (ASCII, (), 1),  # GeoAsciiParams
    GDAL_METADATA: (ASCII, (), 1),
    RPC: (DOUBLE, (), 92),  # RPCCoefficient
}
# Tags of how pixels are stored and colored, which the output has of its own.
STRUCTURAL = {
    *(254, 255, 256, 257, 258, 259),  # NewSubfileType, SubfileType, ImageWidth, ImageLength, BitsPerSample, Compression
    *(262, 263, 264, 265, 266, 273, 277),  # Photometric-, Threshholding, Cell-, FillOrder, StripOffsets, SamplesPerPixel
    *(278, 279, 280, 281, 282, 283),  # RowsPerStrip, StripByteCounts, Min- and MaxSampleValue, X- and YResolution
    *(284, 288, 289, 290, 291, 292, 293),  # PlanarConfiguration, Free-, GrayResponse-, T4Options, T6Options
    *(296, 297, 301, 305, 317, 318, 319),  # ResolutionUnit, PageNumber, Transfer-, Software, Predictor, WhitePoint, Primary-
    *(320, 321, 322, 323, 324, 325, 326, 327, 328),  # ColorMap, HalftoneHints, four of tiles, three of bad fax lines
    *(330, 332, 333, 334, 336, 338, 339),  # SubIFDs, InkSet, InkNames, NumberOfInks, DotRange, ExtraSamples, SampleFormat
    *(340, 341, 342, 347, *range(512, 522)),  # SMin- and SMaxSampleValue, TransferRange, JPEGTables, JPEG of TIFF 6.0
    *(529, 530, 531, 532, 42113, 50674, 59932),  # three of YCbCr, ReferenceBlackWhite, GDAL_NODATA, LercParameters, Padding
    *(32995, 32996, 32997, 32998),  # Matteing, DataType, ImageDepth, TileDepth
}

# Descriptions that programs read, by how they begin and end: they speak of how the input's pixels are stored.
PROGRAMS = {"OME-XML": ("<", "OME>"), "XML": ("<", ">"), "JSON": ("{", "}")}
PROGRAMS |= {"ImageJ": ("ImageJ=", ""), "SCIFIO": ("SCIFIO=", ""), "Aperio": ("Aperio", "")}

PER_CENTIMETER = {"Å": 1e8, "nm": 1e7, "mm": 10.0, "cm": 1.0, "m": 0.01, "in": 1 / 2.54, "inch": 1 / 2.54}
# The second has a Greek letter, the third is how ImageJ escapes it.
PER_CENTIMETER |= dict.fromkeys(("µm", "\u03bcm", "\\u00B5m", "um", "micron", "microns"), 1e4)

COLOR_MAP = 320


def carried_over(page: tifffile.TiffPage, *, colors_converted: bool) -> Metadata:
    """Return what of a TIFF page stays true of an image with the same pixels and a palette of RGB colors.

    Nothing is raised: a tag that cannot be read, is of a wrong type, or longer than 16 MiB is named in ``dropped``.

    Parameters
    ----------
    page : tifffile.TiffPage
        Of an open file.
    colors_converted : bool
        Whether its colors (CMYK, CIELAB) have become sRGB, so that its own profile does not describe them.
    """
    found: dict[int, Any] = {}
    dropped: set[str] = set()
    for tag in page.tags:
        if tag.code in STRUCTURAL:
            continue
        try:
            if tag.code in found:
                raise ValueError("a second tag of this code")
            found[tag.code] = _checked(tag.code, _value(tag, *CARRIED[tag.code]))
        except Exception:  # damaged files make tifffile and parsers raise anything
            dropped.add(tag.name)
    found[GDAL_METADATA], of_bands = found.get(GDAL_METADATA, (b"", False))
    icc, description = found.pop(ICC, None), found.pop(DESCRIPTION, "")
    program = next((name for name, (a, b) in PROGRAMS.items() if description.startswith(a) and description.endswith(b)), None)
    losses = {
        "GDAL_METADATA items of bands": of_bands,
        "InterColorProfile": icc and colors_converted,
        f"ImageDescription ({program})": program,
        "ColorMap": COLOR_MAP in page.tags and page.photometric != tifffile.PHOTOMETRIC.PALETTE,
    }
    tags = tuple((code, CARRIED[code][0], len(value), value) for code, value in sorted(found.items()) if value)
    return Metadata(
        tags,
        *_resolution(page, program, description),
        icc=srgb_profile() if colors_converted else icc,
        description=None if program else description or None,
        dropped=tuple(sorted(dropped | {name for name, lost in losses.items() if lost})),
    )


def _value(tag: tifffile.TiffTag, dtype: int, others: tuple[int, ...], least: int) -> Any:
    """Read a tag of limited size: text, a tuple of numbers, or bytes as they are, since GeoKeyDirectory points into them."""
    if tag.dtype not in (dtype, *others) or tag.count < least or tag.valuebytecount > LIMIT:
        raise ValueError(f"{tag.count} values of type {tag.dtype}")
    if tag.code in TEXT:
        if re.search(r"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]", tag.value):
            raise ValueError("control characters")
        return tag.value.strip("\ufeff\0 \t\r\n")
    file = tag.parent.filehandle
    with file.lock:
        file.seek(tag.valueoffset)
        data = file.read(tag.valuebytecount)
    if len(data) != tag.valuebytecount:
        raise ValueError("truncated")
    if tag.dtype in NUMBERS:
        return tuple(np.frombuffer(data, tag.parent.byteorder + NUMBERS[tag.dtype]).tolist())
    return data if dtype != ASCII or data.endswith(b"\0") else data + b"\0"


def _checked(code: int, value: Any) -> Any:
    """Return a value as the output gets it, empty where it says nothing; raise where it is not true of the output."""
    if code in TEXT:
        return value.partition("\0")[0].rstrip() if code == DESCRIPTION else value and value.encode() + b"\0"
    if code == GDAL_METADATA:
        return _of_dataset(value)
    if code == ORIENTATION and value == (1,):
        return ()
    if (
        (code == ORIENTATION and value not in [(i,) for i in range(2, 9)])
        or (code == XMP and b"RDF" not in value)  # scanners put other XML here, by which OpenSlide takes a file for theirs
        or (code == ICC and not is_rgb_profile(value))
    ):
        raise ValueError("not true of the output")
    return value


def _of_dataset(xml: bytes) -> tuple[bytes, bool]:
    """Return GDAL_METADATA without items of bands and of how pixels are stored, and whether there were any of bands."""
    root = parsed(xml.rstrip(b"\0"))
    items = [item for item in root if "sample" not in item.attrib]
    of_bands = len(items) < len(root)
    items = [item for item in items if item.get("domain") != "IMAGE_STRUCTURE"]
    if not items:
        return b"", of_bands
    if len(items) < len(root):
        root[:] = items
        xml = ElementTree.tostring(root, encoding="unicode").encode() + b"\0"
    return xml, of_bands


def _resolution(page: tifffile.TiffPage, program: str | None, description: str) -> tuple[tuple[float, float] | None, int]:
    """Return the resolution and its unit: of the tags, or of the description where that knows better."""
    resolution: tuple[float, float] | None = None
    unit = NONE
    with contextlib.suppress(Exception):  # absent or damaged
        (a, b), (c, d) = (_value(page.tags[code], RATIONAL, (), 1) for code in (282, 283))
        resolution = (a / b, c / d) if is_resolution(a / b, c / d) else None
        (unit,) = _value(page.tags[296], SHORT, (LONG,), 1) if 296 in page.tags else (INCH,)
    if program != "OME-XML" or resolution is None or unit not in (INCH, CENTIMETER):
        with contextlib.suppress(Exception):  # it does not say, or no number
            x, y = _per_centimeter(program, description, resolution)
            if is_resolution(x, y):
                return (x, y), CENTIMETER
    if resolution is None or (resolution == (1, 1) and unit == NONE):
        return None, NONE
    return resolution, unit if unit in (INCH, CENTIMETER) else NONE


def _per_centimeter(program: str | None, description: str, resolution: Any) -> Iterator[float]:
    """Yield pixels per centimeter, x and y, as a description that programs read has it; raise or end where it has not."""
    known: Any
    if program == "Aperio" and (known := re.search(r"\|\s*MPP\s*=\s*([^|\s]+)", description)):
        yield from 2 * [1e4 / float(known[1])]
    elif program == "OME-XML" and (known := parsed(description.encode()).find(".//{*}Pixels")) is not None:
        for size in ("PhysicalSizeX", "PhysicalSizeY"):
            yield PER_CENTIMETER[known.get(f"{size}Unit", "µm")] / float(known.get(size) or 0)
    elif program == "ImageJ" and (known := re.search(r"^unit=(.*?)\s*$", description, re.MULTILINE)):
        yield from (PER_CENTIMETER[known[1]] * value for value in resolution)  # the tags count in its unit
