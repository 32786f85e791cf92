"""What is carried over from an input to the output: georeferencing, pixel size, color profile and text."""

import functools
import struct
from dataclasses import dataclass, field, replace
from typing import Any
from xml.etree import ElementTree

import imagecodecs
import numpy as np

Tag = tuple[int, int, int, Any]

# TIFF types.
BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, DOUBLE = 1, 2, 3, 4, 5, 7, 12
# Tags that are more than a value to copy.
SCALE, TIEPOINTS, TRANSFORMATION, GEOKEYS, RPC = 33550, 33922, 34264, 34735, 50844
DESCRIPTION, ORIENTATION, XMP, ICC, GDAL_METADATA = 270, 274, 700, 34675, 42112

NONE, INCH, CENTIMETER = 1, 2, 3  # values of ResolutionUnit (tag 296)
# Keys of GEOKEYS, and the value of the second that says that coordinates of pixels mean their centers, not their corners.
MODEL_TYPE, RASTER_TYPE, GEOGRAPHIC, PROJECTED = 1024, 1025, 2048, 3072
POINT = 2

# Bytes of a tag, or of a file of XML, that are read.
LIMIT = 16 << 20


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
        ResolutionUnit (tag 296): 1 none, 2 inch, 3 centimeter.
    icc : bytes or None
        Color profile (tag 34675).
    description : str or None
        ImageDescription (tag 270), which may hold other than ASCII characters: to be written as UTF-8.
    dropped : tuple of str
        Names of what the input has and the output does not get, sorted.
    nodata : int or None
        The sample of masked pixels, as stored, where the input has one from 0 to 65,535.
    color_map : ndarray of shape (N, 3), uint8, or None
        Colors that the input has for its samples.
    """

    tags: tuple[Tag, ...] = ()
    resolution: tuple[float, float] | None = None
    resolution_unit: int = NONE
    icc: bytes | None = None
    description: str | None = None
    dropped: tuple[str, ...] = ()
    nodata: int | None = None
    color_map: np.ndarray | None = field(default=None, compare=False)

    def scaled(self, x: float, y: float) -> "Metadata":
        """Return what is true of the same image with pixels x times as wide and y times as high."""
        center = coordinate_zero(next((value for code, _, _, value in self.tags if code == GEOKEYS), ()))
        values = ((code, dtype, _scaled(code, value, (x, y), center)) for code, dtype, _, value in self.tags)
        return replace(
            self,
            tags=tuple((code, dtype, len(value), value) for code, dtype, value in values),
            resolution=self.resolution and (self.resolution[0] / x, self.resolution[1] / y),
        )

    def without(self, *names: str) -> "Metadata":
        """Return the same, with more names of what the output does not get."""
        return replace(self, dropped=tuple(sorted({*self.dropped, *names})))


def coordinate_zero(keys: tuple[int, ...]) -> float:
    """Return how far from the image's edge, in pixels, coordinate 0 of a pixel lies, as a GeoKeyDirectory (tag 34735) says."""
    return 0.5 if any(keys[i] == RASTER_TYPE and keys[i + 3] == POINT for i in range(4, len(keys) - 3, 4)) else 0.0


def parsed(xml: bytes) -> ElementTree.Element:
    """Parse XML as tags and sidecars have it; raise anything where it is damaged."""
    if b"<!DOCTYPE" in xml.replace(b"\0", b""):  # neither GDAL nor OME write one, and entities may grow without bounds
        raise ValueError("XML with a document type")
    return ElementTree.fromstring(xml)


def _scaled(code: int, value: Any, factors: tuple[float, float], center: float) -> Any:
    """Return a tag's value for pixels larger by factors (x, y); coordinate 0 is ``center`` of a pixel from the image's edge."""
    factor = np.array(factors)
    if code == SCALE:
        return value[0] * factors[0], value[1] * factors[1], *value[2:]
    if code == TIEPOINTS:
        points = np.array(value[: len(value) // 6 * 6]).reshape(-1, 6)
        points[:, :2] = (points[:, :2] + center) / factor - center
        return tuple(points.ravel().tolist())
    if code == TRANSFORMATION:
        to_input = np.diag([*factors, 1.0, 1.0])
        to_input[:2, 3] = (factor - 1) * center
        return tuple((np.array(value[:16]).reshape(4, 4) @ to_input).ravel().tolist())
    if code == RPC:
        coefficients = np.array(value)
        coefficients[2:4] = (coefficients[2:4] + 0.5) / factor[::-1] - 0.5  # line and sample offsets: of centers, always
        coefficients[7:9] /= factor[::-1]  # line and sample scales
        return tuple(coefficients.tolist())
    return value


@functools.cache
def srgb_profile() -> bytes:
    """Return an ICC profile of sRGB, the same at any time."""
    profile = bytearray(imagecodecs.cms_profile("srgb"))
    profile[24:36] = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)  # its date, which is now otherwise
    return bytes(profile)


def is_rgb_profile(profile: bytes) -> bool:
    """Whether an ICC profile is whole, and of RGB colors."""
    try:
        imagecodecs.cms_profile_validate(profile)
    except imagecodecs.CmsError:
        return False
    # The profile's size, which the check does not compare, and its color space.
    return int.from_bytes(profile[:4], "big") <= len(profile) and profile[16:20] == b"RGB "


def is_resolution(*values: float) -> bool:
    """Whether values can be written as RATIONAL (type 5)."""
    return all(2**-32 < value < 2**32 for value in values)
