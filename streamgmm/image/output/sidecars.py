"""What GDAL reads beside a TIFF: georeferencing and statistics, reduced levels, a mask."""

import os
from pathlib import Path

SUFFIXES = (".aux.xml", ".ovr", ".msk", ".msk.ovr")


def sidecars(path: Path) -> list[Path]:
    """Return the files that GDAL would take for a part of an image, whatever is in them."""
    files = [path.with_name(path.name + suffix) for suffix in SUFFIXES]
    return [file for file in files if os.path.exists(file)]  # noqa: PTH110 -- false where the name is too long


def remove_sidecars(path: Path) -> None:
    """Remove what describes an image that has been replaced: another place, another mask."""
    for beside in sidecars(path):
        beside.unlink(missing_ok=True)
