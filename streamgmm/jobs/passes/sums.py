"""What the results of a pass are added into, block after block; a killed run goes on with its state."""

from typing import Any, Generic, TypeVar

import numpy as np

from ...model.centroids import ColorSums
from ...model.colors import ColorCounter, ColorTable
from ...model.statistics import Statistics
from .blocks import Block
from .checkpoint import State
from .tasks import Part

Summed = TypeVar("Summed", Statistics, ColorTable, ColorSums)


class Sum:
    """Adds up what a task found in each block, in the order of the blocks; by itself only how many pixels are masked.

    Attributes
    ----------
    n_valid : dict
        Pixels that are not masked, by the index of the block.
    """

    def __init__(self) -> None:
        self.n_valid: dict[int, int] = {}

    @property
    def complete(self) -> bool:
        """Whether more blocks would change nothing."""
        return False

    def add(self, part: Part, block: Any) -> None:
        """Add what was found in a block."""
        self.n_valid[block.position] = part.n_valid
        self.take(part.value, block)

    def take(self, value: Any, block: Block) -> None:
        """Add the value that a task returned."""

    def state(self) -> State:
        """Return what :meth:`restore` takes."""
        return {}

    def restore(self, state: State) -> bool:
        """Go on from a state; return whether that is possible."""
        return True


class AnyMasked(Sum):
    """Whether any pixel is masked."""

    def __init__(self) -> None:
        super().__init__()
        self._found = False

    @property
    def complete(self) -> bool:
        """Whether one is."""
        return self._found

    def add(self, part: Part, block: Any) -> None:
        """See whether one of a block is."""
        super().add(part, block)
        self._found |= part.n_valid < block.n_pixels


class Total(Sum, Generic[Summed]):
    """A sum of statistics or colors, with pixels or images of equal weight.

    Parameters
    ----------
    kind : type
        Of what is added.
    by_image : bool
        Whether images have equal weights, not pixels.
    """

    def __init__(self, kind: type[Summed], by_image: bool):
        super().__init__()
        self._kind: type[Summed] = kind
        self._by_image, self._image = by_image, 0
        self._parts: dict[str, Summed] = {}  # of the images before, each of weight 1, and of the pixels since

    def take(self, value: Summed, block: Block) -> None:
        """Add those of a block."""
        if self._by_image and self._parts and block.image_number != self._image:
            self._parts = {"images": self.result()}
        self._image = block.image_number
        before = self._parts.get("pixels")
        self._parts["pixels"] = value if before is None else before + value

    def result(self) -> Summed:
        """Return the sum of all that was added."""
        images, pixels = self._parts.get("images"), self._parts["pixels"]
        if self._by_image and pixels.weight:
            pixels = pixels.scaled(1 / pixels.weight)
        return pixels if images is None else images + pixels

    def state(self) -> State:
        """Return what :meth:`restore` takes."""
        parts = {f"{part}_{name}": array for part, sums in self._parts.items() for name, array in sums.to_arrays().items()}
        return {"image": self._image, **parts}

    def restore(self, state: State) -> bool:
        """Go on from a state."""
        self._image = int(state.pop("image"))
        for part in {name.partition("_")[0] for name in state if "_" in name}:
            arrays = {name.removeprefix(f"{part}_"): array for name, array in state.items() if name.startswith(f"{part}_")}
            self._parts[part] = self._kind.from_arrays(arrays)
        return True


class FewColors(Total[ColorTable]):
    """The distinct colors of all pixels, as long as there are no more than some."""

    def __init__(self, most: int, by_image: bool):
        super().__init__(ColorTable, by_image)
        self._most = most

    @property
    def complete(self) -> bool:
        """Whether there are more."""
        return bool(self._parts) and len(self.result()) > self._most


class Counted(Sum):
    """The colors that a task counts into a counter."""

    def __init__(self, counter: ColorCounter):
        super().__init__()
        self.counter = counter

    def state(self) -> State:
        """Return what :meth:`restore` takes."""
        return {"counters": self.counter.total()}

    def restore(self, state: State) -> bool:
        """Go on from a state."""
        self.counter.restore(state.pop("counters"))
        return True


class Drawn(Sum):
    """Pixels that were drawn, how many each stands for, and the number of the image each is of.

    Parameters
    ----------
    dtype : numpy.dtype
    n_bands : int
    wanted : int, optional
        How many are enough.
    """

    def __init__(self, dtype: np.dtype, n_bands: int, wanted: int | None = None):
        super().__init__()
        self._wanted = wanted
        self._parts: list[tuple[np.ndarray, ...]] = [(np.empty((0, n_bands), dtype), np.empty(0), np.empty(0, np.intp))]
        self.n_drawn = 0

    def take(self, value: tuple[np.ndarray, np.ndarray], block: Block) -> None:
        """Add those of a block."""
        pixels, weights = value
        self._parts.append(
            (pixels.astype(self._parts[0][0].dtype, copy=False), weights, np.full(len(pixels), block.image_number))
        )
        self.n_drawn += len(pixels)

    @property
    def complete(self) -> bool:
        """Whether enough are drawn."""
        return self._wanted is not None and self.n_drawn >= self._wanted

    def _joined(self, index: int) -> np.ndarray:
        return np.concatenate([part[index] for part in self._parts])

    @property
    def pixels(self) -> np.ndarray:
        """What was drawn, shape (n, D)."""
        return self._joined(0)

    @property
    def weights(self) -> np.ndarray:
        """How many pixels each stands for, shape (n,)."""
        return self._joined(1)

    @property
    def images(self) -> np.ndarray:
        """The number of the image of each, shape (n,)."""
        return self._joined(2)

    def state(self) -> State:
        """Return what :meth:`restore` takes."""
        return {"drawn": self.pixels, "weights": self.weights, "images": self.images}

    def restore(self, state: State) -> bool:
        """Go on from a state."""
        self._parts = [(state["drawn"], state["weights"], state["images"])]
        self.n_drawn = len(state["drawn"])
        return True
