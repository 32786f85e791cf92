"""Files beside an image that belong to it: a world file, which says where it lies, and a mask, as GDAL writes them."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from .metadata import DOUBLE, SCALE, TIEPOINTS, TRANSFORMATION, Metadata

# What GDAL keeps beside a file, too, and is not read here: other georeferencing and statistics, reduced levels.
UNREAD = (".aux.xml", ".ovr")


def mask_file(path: Path) -> Path | None:
    """Return the file of the mask of an image, or None where there is none."""
    return _there(path.name + ".msk", path)


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
    return [beside for beside in (world_file(path), mask_file(path)) if beside is not None]


def placed(metadata: Metadata, path: Path) -> Metadata:
    """Return what an output takes over of an image, with its place of the world file, where the image itself says none.

    What lies beside it and is not used is among what is dropped.
    """
    dropped = {beside.name for suffix in UNREAD if (beside := _there(path.name + suffix, path))}
    world = world_file(path)
    if world is not None:
        tags = {code: (code, *rest) for code, *rest in metadata.tags}
        found = {} if tags.keys() & {SCALE, TIEPOINTS, TRANSFORMATION} else dict(_tags(world))
        if not found:
            dropped.add(world.name)
        metadata = replace(metadata, tags=tuple(value for _, value in sorted((tags | found).items())))
    return replace(metadata, dropped=tuple(sorted({*metadata.dropped, *dropped})))


def _tags(world: Path) -> Iterator[tuple[int, tuple]]:
    """Yield the GeoTIFF tags of a world file, or none where it is not six numbers.

    It has the steps of x and y from a column to the next, then from a row to the next, then the center of the first pixel.
    """
    numbers = np.empty(0)
    with contextlib.suppress(OSError, ValueError):
        numbers = np.array(world.read_text(encoding="utf-8-sig").replace(",", ".").split()[:6], np.float64)
    if len(numbers) < 6 or not np.isfinite(numbers).all():
        return
    a, d, b, e, x, y = numbers.tolist()
    x, y = x - (a + b) / 2, y - (d + e) / 2
    if b == d == 0 and a > 0 > e:
        yield SCALE, (SCALE, DOUBLE, 3, (a, -e, 0.0))
        yield TIEPOINTS, (TIEPOINTS, DOUBLE, 6, (0.0, 0.0, 0.0, x, y, 0.0))
    else:
        yield TRANSFORMATION, (TRANSFORMATION, DOUBLE, 16, (a, b, 0.0, x, d, e, 0.0, y, *[0.0] * 7, 1.0))
