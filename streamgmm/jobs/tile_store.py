"""The finished tiles of the outputs of a job, as far as they are done."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..image.output.spec import ImageSpec
from ..image.output.spool import Spool
from ..model.colors import ColorTable
from ..model.distortion import Distortion
from ..model.dither import Dithering
from ..page.overview import Cells, Overview
from .passes.checkpoint import Checkpoint, State
from .passes.sums import Sum
from .passes.tasks import Part

Labeler = Callable[[np.ndarray], np.ndarray]  # from pixels (n, D) to labels (n,)


class Known(NamedTuple):
    """All colors of the pixels, with their labels, where these are known ahead."""

    table: ColorTable
    labels: np.ndarray


@dataclass(frozen=True)
class Output:
    """One file to write of what is read.

    Attributes
    ----------
    path : Path
    specs : sequence of ImageSpec
        One for each image.
    label : function from pixels to labels
        What pixels become in it.
    dithering : Dithering or None
        What makes labels of what pixels become, where these are pairs of labels.
    """

    path: Path
    specs: Sequence[ImageSpec]
    label: Labeler
    dithering: Dithering | None = None

    @property
    def firsts(self) -> list[int]:
        """Where the tiles of each image begin, and where all end."""
        return np.cumsum([0, *(spec.n_tiles for spec in self.specs)]).tolist()


class Finished(NamedTuple):
    """What a task has finished of some outputs: by the number of the output, tiles with their numbers; and cells of a page."""

    tiles: dict[int, list[tuple[int, bytes]]]
    distortion: Distortion | None
    cells: tuple[Cells, ...] = ()


class TileStore(Sum):
    """Collects finished tiles in a spool for each output, and adds up how far their colors are from the pixels.

    What a page shows of the pixels is collected in its overview.

    Attributes
    ----------
    spools : list of Spool
    distortion : Distortion or None
    """

    def __init__(self, outputs: Sequence[Output], checkpoint: Checkpoint, overview: Overview | None = None):
        super().__init__()
        self._overview = overview
        self.distortion: Distortion | None = None
        self.spools: list[Spool] = []
        self._stack = ExitStack()
        for number, output in enumerate(outputs):
            folder, name = checkpoint.spool(output.path, number)
            self.spools.append(self._stack.enter_context(Spool(folder, output.firsts[-1], name)))

    def __enter__(self) -> "TileStore":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, part: Part, block: Any) -> None:
        """Put the tiles of a part into the spools, and add its distortion."""
        for number, tiles in part.value.tiles.items():
            for index, data in tiles:
                self.spools[number].put(index, data)
        if part.value.distortion is not None:
            self.distortion = part.value.distortion if self.distortion is None else self.distortion + part.value.distortion
        for cells in part.value.cells:
            assert self._overview is not None
            self._overview.add(cells)

    def state(self) -> State:
        """Return what :meth:`restore` takes."""
        tiles = {f"{name}{i}": array for i, spool in enumerate(self.spools) for name, array in spool.state().items()}
        tiles |= self._overview.state() if self._overview else {}
        return tiles | (self.distortion.to_arrays() if self.distortion else {})

    def restore(self, state: State) -> bool:
        """Go on from a state, unless a power cut has damaged its tiles."""
        for number, spool in enumerate(self.spools):
            if not spool.restore({name: state[f"{name}{number}"] for name in spool.state()}):
                return False
        self.distortion = Distortion.from_arrays(state) if "sums" in state else None
        if self._overview:
            self._overview.restore(state)
        return True
