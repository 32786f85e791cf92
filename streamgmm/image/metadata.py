"""What is carried over from an input to the output: georeferencing, pixel size, colour profile and text."""

import contextlib
import functools
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from xml.etree import ElementTree

import imagecodecs
import numpy as np
import tifffile
from PIL import Image as Pillow

Tag = tuple[int, int, int, Any]

# TIFF types, and those of numbers as NumPy types.
BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, DOUBLE = 1, 2, 3, 4, 5, 7, 12
NUMBERS = {SHORT: "u2", LONG: "u4", RATIONAL: "u4", DOUBLE: "f8"}

SCALE, TIEPOINTS, TRANSFORMATION, GEOKEYS, RPC = 33550, 33922, 34264, 34735, 50844
DESCRIPTION, ORIENTATION, XMP, ICC, GDAL_METADATA = 270, 274, 700, 34675, 42112
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
# Tags of how pixels are stored and coloured, which the output has of its own.
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

PER_CENTIMETRE = {"Å": 1e8, "nm": 1e7, "mm": 10.0, "cm": 1.0, "m": 0.01, "in": 1 / 2.54, "inch": 1 / 2.54}
# The second has a Greek letter, the third is how ImageJ escapes it.
PER_CENTIMETRE |= dict.fromkeys(("µm", "\u03bcm", "\\u00B5m", "um", "micron", "microns"), 1e4)

NONE, INCH, CENTIMETRE = 1, 2, 3  # values of ResolutionUnit (tag 296)

TAG_LIMIT = 16 << 20


@dataclass(frozen=True)
class Metadata:
    """What the output says besides its pixels.

    Attributes
    ----------
    tags : tuple of (int, int, int, object)
        Code, TIFF type, count and value (bytes, or a tuple of numbers), by code: extratags of tifffile, less the last item.
    resolution : tuple of float, or None
        XResolution and YResolution (tags 282, 283): pixels per unit.
    resolution_unit : int
        ResolutionUnit (tag 296): 1 none, 2 inch, 3 centimetre.
    icc : bytes or None
        Colour profile (tag 34675).
    description : str or None
        ImageDescription (tag 270), which may hold other than ASCII characters: to be written as UTF-8.
    dropped : tuple of str
        Names of what the input has and the output does not get, sorted.
    """

    tags: tuple[Tag, ...] = ()
    resolution: tuple[float, float] | None = None
    resolution_unit: int = NONE
    icc: bytes | None = None
    description: str | None = None
    dropped: tuple[str, ...] = ()

    def scaled(self, x: float, y: float) -> "Metadata":
        """Return what is true of the same image with pixels x times as wide and y times as high."""
        keys = next((value for code, _, _, value in self.tags if code == GEOKEYS), ())
        # GTRasterTypeGeoKey (1025) is 2 where coordinates of pixels mean their centres, not their corners.
        centre = 0.5 if any(keys[i] == 1025 and keys[i + 3] == 2 for i in range(4, len(keys) - 3, 4)) else 0.0
        values = ((code, dtype, _scaled(code, value, (x, y), centre)) for code, dtype, _, value in self.tags)
        return replace(
            self,
            tags=tuple((code, dtype, len(value), value) for code, dtype, value in values),
            resolution=self.resolution and (self.resolution[0] / x, self.resolution[1] / y),
        )


def _scaled(code: int, value: Any, factors: tuple[float, float], centre: float) -> Any:
    """Return a tag's value for pixels larger by factors (x, y); coordinate 0 is ``centre`` of a pixel from the image's edge."""
    factor = np.array(factors)
    if code == SCALE:
        return value[0] * factors[0], value[1] * factors[1], *value[2:]
    if code == TIEPOINTS:
        points = np.array(value[: len(value) // 6 * 6]).reshape(-1, 6)
        points[:, :2] = (points[:, :2] + centre) / factor - centre
        return tuple(points.ravel().tolist())
    if code == TRANSFORMATION:
        to_input = np.diag([*factors, 1.0, 1.0])
        to_input[:2, 3] = (factor - 1) * centre
        return tuple((np.array(value[:16]).reshape(4, 4) @ to_input).ravel().tolist())
    if code == RPC:
        coefficients = np.array(value)
        coefficients[2:4] = (coefficients[2:4] + 0.5) / factor[::-1] - 0.5  # line and sample offsets: of centres, always
        coefficients[7:9] /= factor[::-1]  # line and sample scales
        return tuple(coefficients.tolist())
    return value


def carried_over(page: tifffile.TiffPage, *, colours_converted: bool) -> Metadata:
    """Return what of a TIFF page stays true of an image with the same pixels and a palette of RGB colours.

    Nothing is raised: a tag that cannot be read, is of a wrong type, or longer than 16 MiB is named in ``dropped``.

    Parameters
    ----------
    page : tifffile.TiffPage
        Of an open file.
    colours_converted : bool
        Whether its colours (CMYK, CIELAB) have become sRGB, so that its own profile does not describe them.
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
        "InterColorProfile": icc and colours_converted,
        f"ImageDescription ({program})": program,
    }
    tags = tuple((code, CARRIED[code][0], len(value), value) for code, value in sorted(found.items()) if value)
    return Metadata(
        tags,
        *_resolution(page, program, description),
        icc=srgb_profile() if colours_converted else icc,
        description=None if program else description or None,
        dropped=tuple(sorted(dropped | {name for name, lost in losses.items() if lost})),
    )


def carried_over_raster(image: Pillow.Image) -> Metadata:
    """Return what of a PNG, JPEG or WebP stays true once its pixels are turned as its Exif orientation says.

    Parameters
    ----------
    image : PIL.Image.Image
        As opened, not turned yet.
    """
    icc = image.info.get("icc_profile")
    kept = isinstance(icc, bytes) and _is_rgb_profile(icc)
    x, y = image.info.get("dpi", (0, 0))
    with contextlib.suppress(Exception):  # damaged Exif makes Pillow raise anything
        if image.getexif().get(ORIENTATION) in (5, 6, 7, 8):
            x, y = y, x
    resolution = (float(x), float(y)) if _is_resolution(x, y) else None
    xmp = image.info.get("xmp") or b""
    true = isinstance(xmp, bytes) and b"RDF" in xmp
    names = {"Exif": image.info.get("exif"), "InterColorProfile": icc and not kept, "XMP": xmp and not true}
    return Metadata(
        tags=((XMP, BYTE, len(xmp), xmp),) if true else (),
        resolution=resolution,
        resolution_unit=INCH if resolution else NONE,
        icc=icc if kept else None,
        dropped=tuple(sorted(name for name, there in names.items() if there)),
    )


@functools.cache
def srgb_profile() -> bytes:
    """Return an ICC profile of sRGB, the same at any time."""
    profile = bytearray(imagecodecs.cms_profile("srgb"))
    profile[24:36] = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)  # its date, which is now otherwise
    return bytes(profile)


def _value(tag: tifffile.TiffTag, dtype: int, others: tuple[int, ...], least: int) -> Any:
    """Read a tag of limited size: text, a tuple of numbers, or bytes as they are, since GeoKeyDirectory points into them."""
    if tag.dtype not in (dtype, *others) or tag.count < least or tag.valuebytecount > TAG_LIMIT:
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
        or (code == ICC and not _is_rgb_profile(value))
    ):
        raise ValueError("not true of the output")
    return value


def _of_dataset(xml: bytes) -> tuple[bytes, bool]:
    """Return GDAL_METADATA without items of bands and of how pixels are stored, and whether there were any of bands."""
    root = _parsed(xml.rstrip(b"\0"))
    items = [item for item in root if "sample" not in item.attrib]
    of_bands = len(items) < len(root)
    items = [item for item in items if item.get("domain") != "IMAGE_STRUCTURE"]
    if not items:
        return b"", of_bands
    if len(items) < len(root):
        root[:] = items
        xml = ElementTree.tostring(root, encoding="unicode").encode() + b"\0"
    return xml, of_bands


def _parsed(xml: bytes) -> ElementTree.Element:
    if b"<!DOCTYPE" in xml:  # neither GDAL nor OME write one, and entities may grow without bounds
        raise ValueError("XML with a document type")
    return ElementTree.fromstring(xml)


def _is_rgb_profile(profile: bytes) -> bool:
    try:
        imagecodecs.cms_profile_validate(profile)
    except imagecodecs.CmsError:
        return False
    # The profile's size, which the check does not compare, and its colour space.
    return int.from_bytes(profile[:4], "big") <= len(profile) and profile[16:20] == b"RGB "


def _is_resolution(*values: float) -> bool:
    """Whether values can be written as RATIONAL (type 5)."""
    return all(2**-32 < value < 2**32 for value in values)


def _resolution(page: tifffile.TiffPage, program: str | None, description: str) -> tuple[tuple[float, float] | None, int]:
    """Return the resolution and its unit: of the tags, or of the description where that knows better."""
    resolution: tuple[float, float] | None = None
    unit = NONE
    with contextlib.suppress(Exception):  # absent or damaged
        (a, b), (c, d) = (_value(page.tags[code], RATIONAL, (), 1) for code in (282, 283))
        resolution = (a / b, c / d) if _is_resolution(a / b, c / d) else None
        (unit,) = _value(page.tags[296], SHORT, (LONG,), 1) if 296 in page.tags else (INCH,)
    if program != "OME-XML" or resolution is None or unit not in (INCH, CENTIMETRE):
        with contextlib.suppress(Exception):  # it does not say, or no number
            x, y = _per_centimetre(program, description, resolution)
            if _is_resolution(x, y):
                return (x, y), CENTIMETRE
    if resolution is None or (resolution == (1, 1) and unit == NONE):
        return None, NONE
    return resolution, unit if unit in (INCH, CENTIMETRE) else NONE


def _per_centimetre(program: str | None, description: str, resolution: Any) -> Iterator[float]:
    """Yield pixels per centimetre, x and y, as a description that programs read has it; raise or end where it has not."""
    known: Any
    if program == "Aperio" and (known := re.search(r"\|\s*MPP\s*=\s*([^|\s]+)", description)):
        yield from 2 * [1e4 / float(known[1])]
    elif program == "OME-XML" and (known := _parsed(description.encode()).find(".//{*}Pixels")) is not None:
        for size in ("PhysicalSizeX", "PhysicalSizeY"):
            yield PER_CENTIMETRE[known.get(f"{size}Unit", "µm")] / float(known.get(size) or 0)
    elif program == "ImageJ" and (known := re.search(r"^unit=(.*?)\s*$", description, re.MULTILINE)):
        yield from (PER_CENTIMETRE[known[1]] * value for value in resolution)  # the tags count in its unit
