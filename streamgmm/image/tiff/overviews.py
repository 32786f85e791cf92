"""Reduced levels in a file beside a TIFF (``.ovr``), as GDAL writes them."""

from pathlib import Path

from ...errors import StreamGMMError
from ..sidecars import overviews_file
from .file import SharedFile, damage
from .pages import Group, groups


def take_overviews(file: SharedFile, group: Group, level: int) -> None:
    """Give an image the levels beside it, and their masks, where it is the first of its file and has none, as GDAL does.

    Parameters
    ----------
    file : SharedFile
        That of the image. The other stays open with it where a level is asked for.
    group : Group
    level : int
        The level that is asked for.

    Raises
    ------
    ImageReadError
        Where the file is damaged, and a level is asked for.
    """
    path = overviews_file(Path(file.name))
    if path is None or group.index > 0 or group.reduced:
        return
    found = Group(group.index, group.image)
    try:
        beside = file.also(path) if level else SharedFile(path)
        try:
            with damage(beside.name, "not a sound TIFF"):
                for other in groups(beside.tiff):
                    for page in (other.image, *other.reduced, *other.masks):
                        found.take(page)
        finally:
            if not level:
                beside.close()
    except StreamGMMError:
        if level:
            raise
        return
    group.reduced = found.reduced
    group.masks += found.masks if level else []
