"""What GDAL keeps of an image in a file beside it (``.aux.xml``): where it lies, and which samples are nodata."""

import contextlib
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from .metadata import GEOGRAPHIC, LIMIT, PROJECTED, parsed

# The system of a WKT (OGC 01-009, or ISO 19162) that is projected or geographic, and has an EPSG code as a whole.
SYSTEM = re.compile(
    r'\s*(PROJCS|PROJCRS|GEOGCS|GEOGCRS)\[.*,\s*(?:AUTHORITY|ID)\["EPSG",\s*"?(\d{4,5})"?\]\s*\]\s*', re.S | re.I
)
CODES = range(1024, 32767)  # those that a GeoKey can have
# What is known of any image that is read as a whole, or taken from elsewhere: elements, and items of Metadata.
CACHES, CACHED = {"Histograms"}, re.compile("STATISTICS_|AREA_OR_POINT=Area|NODATA_VALUES=")


@dataclass(frozen=True)
class Pam:
    """What a file says of the image it is beside.

    Attributes
    ----------
    transform : tuple of float, or None
        GDAL's order: x of the corner of the image, and its steps from a column and a row to the next, then those of y.
    system : tuple of int, or None
        GeoKey of a projected or geographic system of coordinates, and its EPSG code.
    nodata : float or None
        That of all bands.
    dropped : tuple of str
        Names of what is not used.
    """

    transform: tuple[float, ...] | None = None
    system: tuple[int, int] | None = None
    nodata: float | None = None
    dropped: tuple[str, ...] = ()


def read_pam(path: Path | None, n_bands: int) -> Pam:
    """Return what a file says of an image of so many bands, 0 where samples are not those that are stored.

    Of a file that is damaged or too long, only that is said.
    """
    if path is None:
        return Pam()
    try:
        with open(path, "rb") as file:
            xml = file.read(LIMIT + 1)
        root = parsed(xml)
        if len(xml) > LIMIT or root.tag != "PAMDataset":
            raise ValueError("not what GDAL writes")
    except Exception:  # damaged XML makes the parser raise anything
        return Pam(dropped=(path.name,))
    transform, system = transform_of(root.findtext("GeoTransform", "").split(",")), _system(root.findtext("SRS", ""))
    nodata = _nodata(root, n_bands)
    found = {"GeoTransform": transform, "SRS": system, "NoDataValue": nodata}
    lost = {tag for tag in _tags(root) if tag not in CACHES and found.get(tag) is None}
    why = {"SRS": " (no EPSG code of a projected or geographic system)"}
    return Pam(transform, system, nodata, tuple(f"{tag} of {path.name}{why.get(tag, '')}" for tag in sorted(lost)))


def transform_of(numbers: list[str]) -> tuple[float, ...] | None:
    """Return six finite numbers, or None where it is not these."""
    with contextlib.suppress(ValueError):
        values = np.array(numbers, np.float64)
        if len(values) == 6 and np.isfinite(values).all():
            return tuple(values.tolist())
    return None


def _system(wkt: str) -> tuple[int, int] | None:
    found = SYSTEM.fullmatch(wkt)
    if found is None or int(found[2]) not in CODES:
        return None
    return (PROJECTED if found[1].upper().startswith("PROJ") else GEOGRAPHIC), int(found[2])


def _nodata(root: ElementTree.Element, n_bands: int) -> float | None:
    """Return the value of nodata that all bands have, or None."""
    of_pixels = root.findtext("Metadata/MDI[@key='NODATA_VALUES']")  # which comes before those of bands
    if of_pixels is None:
        elements = {band.get("band"): band.find("NoDataValue") for band in root.iterfind("PAMRasterBand")}
        values = [_number(elements.get(str(i + 1))) for i in range(n_bands)]
    else:
        values = [_number(text) for text in of_pixels.split()]
    first, *others = values if values and len(values) == n_bands else [None]
    return first if all(repr(other) == repr(first) for other in others) else None  # NaN is not equal to itself


def _number(written: ElementTree.Element | str | None) -> float | None:
    """Return a number, of which GDAL writes the bytes too where its digits are not all of it."""
    if written is None:
        return None
    exact, text = ("", written) if isinstance(written, str) else (written.get("le_hex_equiv", ""), written.text or "")
    with contextlib.suppress(ValueError, struct.error):
        return struct.unpack("<d", bytes.fromhex(exact))[0]
    with contextlib.suppress(ValueError):
        whole = int(text) if re.fullmatch(r"\s*[+-]?\d{1,20}\s*", text) else 2**64
        return whole if -(2**63) <= whole < 2**64 else float(text)  # which 64 bits do not fit
    return None


def _tags(root: ElementTree.Element) -> Iterator[str]:
    """Yield what is said of the image and its bands, but for what is in any output, or was computed of its pixels."""
    for element in (*root.iterfind("*"), *root.iterfind("PAMRasterBand/*")):
        items = [f"{item.get('key')}={item.text}" for item in element if element.tag == "Metadata"]
        if any(item.startswith("NODATA_VALUES=") for item in items):
            yield "NoDataValue"
        cached = items and all(map(CACHED.match, items))
        if element.tag != "PAMRasterBand" and not cached and element.get("domain") != "IMAGE_STRUCTURE":
            yield element.tag
