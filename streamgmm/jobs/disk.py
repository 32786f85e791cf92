"""Whether there is room for an output, before there is any work in it."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import OutputError
from ..image.atomic import output_errors
from ..image.source import Image
from .options import WriteOptions
from .resources import mebibytes

# Part of their plain size that compressed labels take: 0.13 for a photograph in 16 colours.
COMPRESSED = 1 / 8


def check_room(
    images: Sequence[Image], inputs: Sequence[Path], dst: Path, writing: WriteOptions, n_components: int, work_dir: Path | None
) -> None:
    """Refuse an output that hardly fits: its labels are in the spool and then in the file, both at the end.

    What compressed labels will take is not known; it is taken for an eighth of their plain size, or the size of the input
    where that is less: an image that is mostly of one colour is small as input, too.

    Raises
    ------
    OutputError
    """
    palette = np.empty((n_components, 3), np.uint8)
    size = sum(writing.image_layout(image, palette, masked=False).plain_bytes for image in images)
    if writing.compression != "none":
        size = min([int(COMPRESSED * size), *(path.stat().st_size for path in inputs)])
    with output_errors(dst):
        folders = [dst.parent, work_dir or dst.parent]
        devices = [folder.stat().st_dev for folder in folders]
        for folder, device in zip(folders, devices, strict=True):
            needed, free = devices.count(device) * size, shutil.disk_usage(folder).free
            if needed > free:
                raise OutputError(
                    f"{dst}: needs about {mebibytes(needed)} in {folder}, where {mebibytes(free)} are free; make room there"
                    + ("" if work_dir else ", or keep unfinished work elsewhere with --work-dir")
                )
