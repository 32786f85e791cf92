"""The colors of palettes, as other programs keep them in files."""

import json
import re
import struct
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OptionError, StreamGMMError
from ..options import MAX_COMPONENTS
from ..options.palette import IMAGE_SUFFIXES
from ..system.files import open_input
from .open import open_image
from .tiles import TileGrid, Window

# Bytes of a palette that are read: 65,535 colors in JSON take 6 MB. Bytes of a strip of an image that may be decoded at once.
LIMIT, BUDGET = 16 << 20, 256 << 20
PNG = b"\x89PNG"
# An Adobe color table: 256 colors, and maybe how many of these count, and which is transparent, if one is.
COLORS, NONE = 256, 0xFFFF


def read_palette(path: Path) -> np.ndarray:
    """Read the colors of a palette, in the order of the file, but those that are transparent: shape (K, 3), uint8.

    The suffix says whether it is a GIMP palette (.gpl), JSON as this program writes it, or a list of colors (.json), the color
    text of gdaldem (.txt), an Adobe color table (.act), or the palette of an image, a TIFF or PNG.

    Raises
    ------
    OptionError
        Where it cannot be read, is damaged, or has no color, or too many.
    """
    suffix = path.suffix.lower()
    try:
        colors = _of_image(path) if suffix in IMAGE_SUFFIXES else READERS[suffix](_content(path))
        if not 1 <= len(colors) <= MAX_COMPONENTS:
            raise ValueError(f"has {len(colors):,} colors; give a palette of 1 to {MAX_COMPONENTS:,}")
    except StreamGMMError as error:
        raise OptionError(f"palette-in: {error}") from None
    except (ValueError, RecursionError) as error:
        raise OptionError(f"palette-in: {path}: {error}") from None
    return np.array(colors, np.uint8)


def _content(path: Path) -> bytes:
    with open_input(path) as file:
        try:
            content = file.read(LIMIT + 1)
        except OSError as error:
            raise ValueError(f"cannot be read ({(error.strerror or '').lower()})") from None
    if len(content) > LIMIT:
        raise ValueError(f"has more than {LIMIT >> 20} MiB, which is no palette; name another file")
    return content


def _lines(content: bytes) -> Iterable[tuple[int, str]]:
    """Yield what lines say that are no comments, with their numbers; names of colors may be in any encoding."""
    for number, line in enumerate(content.decode("utf-8-sig", "replace").splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line.strip()


def _color(values: Iterable[Any], where: str) -> list[int]:
    """Return red, green and blue from texts or numbers, of which there are no others."""
    values = list(values)
    try:
        color = [int(value) for value in values if not isinstance(value, bool) and int(value) == float(value)]
    except (ValueError, TypeError, OverflowError):
        color = []
    if len(color) != len(values) or len(color) != 3 or not all(0 <= sample <= 255 for sample in color):
        raise ValueError(f"{where} is no color; write red, green and blue, from 0 to 255")
    return color


def _gimp(content: bytes) -> list[list[int]]:
    (_, first), *lines = list(_lines(content)) or [(1, "")]
    if first != "GIMP Palette":
        raise ValueError('is no GIMP palette, which begins with "GIMP Palette"; choose another, or the suffix of what it is')
    colors = [(number, line) for number, line in lines if not re.match(r"\w+:", line)]
    return [_color(line.split()[:3], f"line {number}") for number, line in colors]


def _gdal(content: bytes) -> list[list[int]]:
    colors = []
    for number, line in _lines(content):
        value, *samples = [field for field in re.split(r"[\s,:]+", line) if field] or [""]
        if value.lower() in ("nv", "interpolation"):  # of masked pixels; and how QGIS says what is between colors
            continue
        color = _color(samples[:3], f"line {number}")
        if samples[3:4] != ["0"]:  # alpha
            colors.append(color)
    return colors


def _json(content: bytes) -> list[list[int]]:
    try:
        found = json.loads(content.decode("utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"is no JSON ({error}); write a list of colors") from None
    entries = found.get("colors") if isinstance(found, dict) else found
    if not isinstance(entries, list):
        raise ValueError('has no list of colors; write one, such as ["#ff0000", [0, 0, 255]]')
    return [_entry(entry, f"color {number}") for number, entry in enumerate(entries, 1)]


def _entry(entry: Any, where: str) -> list[int]:
    """Read a color of JSON: text, a list of numbers, or a field of it."""
    entry = entry.get("rgb") if isinstance(entry, dict) else entry
    if isinstance(entry, str) and re.fullmatch(r"#[0-9a-fA-F]{6}", entry):
        return list(bytes.fromhex(entry[1:]))
    return _color(entry if isinstance(entry, list) and not any(isinstance(each, str) for each in entry) else (), where)


def _adobe(content: bytes) -> np.ndarray:
    whole = 3 * COLORS
    if len(content) not in (whole, whole + 4):
        raise ValueError(f"has {len(content):,} bytes; an Adobe color table has {whole}, or {whole + 4}")
    n_colors, transparent = struct.unpack(">2H", content[whole:]) if len(content) > whole else (COLORS, NONE)
    if n_colors > COLORS:
        raise ValueError(f"says that it has {n_colors:,} colors; an Adobe color table has up to {COLORS}")
    colors = np.frombuffer(content, np.uint8, whole).reshape(-1, 3)[:n_colors]
    return colors[np.arange(n_colors) != transparent]


READERS: dict[str, Callable[[bytes], Any]] = {".gpl": _gimp, ".json": _json, ".txt": _gdal, ".act": _adobe}


def _of_image(path: Path) -> np.ndarray:
    with open_input(path) as file:
        start = file.read(len(PNG))
    colors = _of_png(path) if start == PNG else _of_tiff(path)
    if colors is None:
        raise ValueError("is an image without a palette; name one that has a palette, or a file of colors")
    return colors


def _of_png(path: Path) -> np.ndarray | None:
    """Return the colors of a PNG that are opaque or translucent; no pixel is decoded."""
    from PIL import PngImagePlugin

    with open_input(path) as file:
        try:
            image = PngImagePlugin.PngImageFile(file)
            if image.mode != "P":
                return None
            colors = np.frombuffer(image.palette.getdata()[1], np.uint8).reshape(-1, 3)  # type: ignore[union-attr]
            alpha = image.info.get("transparency", b"")
        except (OSError, ValueError, SyntaxError, TypeError, AttributeError, IndexError, struct.error) as error:
            raise ValueError(f"cannot be decoded ({error})") from None
    hidden = [alpha] if isinstance(alpha, int) else [index for index, value in enumerate(alpha) if value == 0]
    return colors[~np.isin(np.arange(len(colors)), hidden)]


def _of_tiff(path: Path) -> np.ndarray | None:
    """Return the colors of a TIFF; black ones at the end fill up the color map, unless a pixel has them."""
    with closing(open_image(path, indices=True, budget=BUDGET)) as image:
        colors, nodata = image.metadata.color_map, image.metadata.nodata
        if colors is None:
            return None
        there = colors.any(axis=1) & (np.arange(len(colors)) != nodata)
        last = int(np.flatnonzero(there)[-1]) if there.any() else -1
        if last + 1 < len(colors):
            (height, width, _), (gain, zero) = image.shape, image.units
            for window in TileGrid(Window(0, 0, height, width), (max(64, image.segment[0]), max(1024, image.segment[1]))):
                pixels, valid = image.read(window)
                seen = pixels if valid is None else pixels[valid]
                last = max(last, round((float(seen.max()) - zero) / gain)) if seen.size else last
    colors = colors[: last + 1]
    return colors[np.arange(len(colors)) != nodata]
