"""Files beside an image that belong to it, as GDAL writes them: where it lies, its mask, and its reduced levels."""

import os
from dataclasses import replace
from pathlib import Path

from .metadata import (
    DOUBLE,
    GEOKEYS,
    MODEL_TYPE,
    POINT,
    PROJECTED,
    RASTER_TYPE,
    SCALE,
    SHORT,
    TIEPOINTS,
    TRANSFORMATION,
    Metadata,
    Tag,
    coordinate_zero,
)
from .pam import Pam, transform_of

# Tags of where an image lies, and of the system of these coordinates; and what they are called.
PLACE = {SCALE: "ModelPixelScale", TIEPOINTS: "ModelTiepoint", TRANSFORMATION: "ModelTransformation"}
SYSTEM = {GEOKEYS: "GeoKeyDirectory", 34736: "GeoDoubleParams", 34737: "GeoAsciiParams"}


def mask_file(path: Path) -> Path | None:
    """Return the file of the mask of an image, or None where there is none."""
    return _there(path.name + ".msk", path)


def pam_file(path: Path) -> Path | None:
    """Return the file of what GDAL has found out about an image, or None where there is none."""
    return _there(path.name + ".aux.xml", path)


def overviews_file(path: Path) -> Path | None:
    """Return the file of the reduced levels of an image or a mask, or None where there is none."""
    return _there(path.name + ".ovr", path)


def world_file(path: Path) -> Path | None:
    """Return the world file of an image, or None where there is none: for a.tif these are a.tfw, a.tifw and a.wld."""
    suffix = path.suffix.lstrip(".").lower()
    ends = [f"{suffix[0]}{suffix[-1]}w", f"{suffix}w"] if len(suffix) > 1 else []
    for end in (*ends, "wld"):
        for written in (end, end.upper()):
            if beside := _there(f"{path.stem}.{written}", path):
                return beside
    return None


def _there(name: str, path: Path) -> Path | None:
    """Return a file of some name beside another, if there is one; a name may be too long."""
    beside = path.with_name(name)
    return beside if os.path.isfile(beside) else None  # noqa: PTH113 -- false where the name is too long


def read_files(path: Path) -> list[Path]:
    """Return the files beside an image that are read with it."""
    mask = mask_file(path)
    files = (world_file(path), pam_file(path), mask, overviews_file(path), mask and overviews_file(mask))
    return [beside for beside in files if beside is not None]


def placed(metadata: Metadata, path: Path, pam: Pam, *, world_first: bool = False) -> Metadata:
    """Return what an output takes over of an image, with its place as files beside it have it.

    As GDAL has it, PAM comes before what the image itself says, and that before the world file. What is not used is among what
    is dropped.

    Parameters
    ----------
    metadata : Metadata
    path : Path
        Of the image.
    pam : Pam
        What its file says.
    world_first : bool
        Whether a world file comes before all others.
    """
    tags = {tag[0]: tag for tag in metadata.tags}
    dropped, world = set(pam.dropped), world_file(path)
    found: dict[int, Tag] = {}
    if pam.system is not None:
        found |= _system(*pam.system, coordinate_zero(_keys(tags)))
        dropped |= _replaced(tags, found, SYSTEM)
    by_world = None if world is None else _transform(world)
    transform = by_world if world_first and by_world else pam.transform
    if transform is None and not tags.keys() & PLACE.keys():
        transform = by_world
    if transform is not None:
        found |= _place(transform, coordinate_zero(_keys(tags | found)))
        dropped |= _replaced(tags, found, PLACE)
    if world is not None and (by_world is None or transform is not by_world):
        dropped.add(world.name)
    if pam.transform is not None and transform is not pam.transform:
        dropped.add(f"GeoTransform of {path.name}.aux.xml")
    return replace(metadata, tags=tuple(tag for _, tag in sorted((tags | found).items()))).without(*dropped)


def _keys(tags: dict[int, Tag]) -> tuple[int, ...]:
    return tags[GEOKEYS][3] if GEOKEYS in tags else ()


def _replaced(tags: dict[int, Tag], found: dict[int, Tag], names: dict[int, str]) -> set[str]:
    """Remove tags that others stand for; return the names of those that said anything else."""
    return {name for code, name in names.items() if (tag := tags.pop(code, None)) is not None and tag != found.get(code)}


def _transform(world: Path) -> tuple[float, ...] | None:
    """Return what a world file says, as GDAL orders it, or None where it is not six numbers.

    It has the steps of x and y from a column to the next, then from a row to the next, then the center of the first pixel.
    """
    try:
        numbers = transform_of(world.read_text(encoding="utf-8-sig").replace(",", ".").split()[:6])
    except (OSError, ValueError):
        return None
    if numbers is None:
        return None
    a, d, b, e, x, y = numbers
    return x - (a + b) / 2, a, b, y - (d + e) / 2, d, e


def _place(transform: tuple[float, ...], zero: float) -> dict[int, Tag]:
    """Return the GeoTIFF tags of where an image lies whose coordinate 0 is so many pixels from its edge."""
    x, a, b, y, d, e = transform
    x, y = x + zero * (a + b), y + zero * (d + e)
    if b == d == 0 and a > 0 > e:
        points = (0.0, 0.0, 0.0, x, y, 0.0)
        return {SCALE: (SCALE, DOUBLE, 3, (a, -e, 0.0)), TIEPOINTS: (TIEPOINTS, DOUBLE, 6, points)}
    return {TRANSFORMATION: (TRANSFORMATION, DOUBLE, 16, (a, b, 0.0, x, d, e, 0.0, y, *[0.0] * 7, 1.0))}


def _system(key: int, code: int, zero: float) -> dict[int, Tag]:
    """Return the GeoTIFF tag of a system of coordinates by its EPSG code; what coordinate 0 is stays as it was."""
    model, raster = 1 if key == PROJECTED else 2, POINT if zero else 1
    keys = (1, 1, 0, 3, MODEL_TYPE, 0, 1, model, RASTER_TYPE, 0, 1, raster, key, 0, 1, code)
    return {GEOKEYS: (GEOKEYS, SHORT, len(keys), keys)}
