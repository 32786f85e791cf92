"""Whether there is room for an output, before there is any work in it."""

import shutil
from pathlib import Path

import numpy as np

from ..errors import OutputError
from ..system.files import output_errors
from .labeling import LabelingOptions
from .resources import mebibytes
from .session import Session
from .specs import image_spec

# Part of their plain size that compressed labels take: 0.13 for a photograph in 16 colors.
COMPRESSED = 1 / 8


def check_room(session: Session, dst: Path, options: LabelingOptions, n_components: int) -> None:
    """Refuse an output that hardly fits, unless it is begun: its labels are in the spool and then in the file, both at the end.

    What compressed labels will take is not known; it is taken for an eighth of their plain size, or the size of the input
    where that is less: an image that is mostly of one color is small as input, too.

    Raises
    ------
    OutputError
    """
    if session.checkpoint.resumed:
        return
    work_dir, palette = options.work_folder, np.empty((n_components, 3), np.uint8)
    size = sum(image_spec(image, palette, None, options).plain_bytes for image in session.images)
    if options.compression != "none":
        size = min([int(COMPRESSED * size), *(image.state.size for image in session.images if image.state)])
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
