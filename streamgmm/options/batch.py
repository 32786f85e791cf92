"""Options of many inputs: where their outputs are written, and which model they share."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import OptionError
from .fields import Options, option
from .values import check_tiff_name

SharedPalette = Literal["pixels", "files"]


@dataclass(frozen=True, kw_only=True)
class BatchOptions(Options):
    """What is made of many inputs."""

    out_dir: Path = option(..., "Where the outputs are written.", metavar="DIR")
    suffix: str = option(".tif", "What the name of an output ends in.", metavar="END")
    recursive: bool = option(False, "Take folders in folders, and keep their tree.")
    model: str | os.PathLike | None = option(None, "Give all the colors of a model.", metavar="MODEL.json")
    shared_palette: SharedPalette | None = option(
        None,
        "Fit one model to all, with pixels or files of equal weight; by itself: pixels. [default: one model for each]",
        metavar="[BY]",
        alone="pixels",
    )
    skip_existing: bool = option(False, "Leave outputs that were made of the same input, with the same options.")
    fail_fast: bool = option(False, "Stop at the first input that fails.")
    jobs: int = option(1, "Inputs at once, inside --threads and --memory.", metavar="N", least=1)

    def __post_init__(self):
        super().__post_init__()
        if not self.suffix or Path(self.suffix).name != self.suffix:
            raise OptionError(f"suffix is {self.suffix!r}; write the end of a file name, such as .tif or -16.tif")
        check_tiff_name(f"*{self.suffix}")
        if self.shared_palette is not None and self.model is not None:
            raise OptionError("shared-palette and model exclude each other; choose one")
