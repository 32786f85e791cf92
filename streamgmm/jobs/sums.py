"""Sums over the places of images, which a killed run can go on with."""

from typing import Generic, TypeVar

from ..model.colours import ColourTable
from ..model.statistics import Statistics
from .checkpoint import State

Summed = TypeVar("Summed", Statistics, ColourTable)


class Sum(Generic[Summed]):
    """Adds up place after place, image after image: with pixels or images of equal weight.

    Parameters
    ----------
    kind : type
        Of what is added.
    by_image : bool
        Whether images have equal weights, not pixels.
    """

    def __init__(self, kind: type[Summed], by_image: bool):
        self._kind: type[Summed] = kind
        self._by_image, self._image = by_image, 0
        self._parts: dict[str, Summed] = {}  # of the images before, each of weight 1, and of the pixels since

    def add(self, part: Summed, image: int) -> None:
        """Add what a place of an image, by number, has."""
        if self._by_image and self._parts and image != self._image:
            self._parts = {"images": self.result()}
        self._image = image
        before = self._parts.get("pixels")
        self._parts["pixels"] = part if before is None else before + part

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

    def restore(self, state: State) -> None:
        """Go on from a state."""
        self._image = int(state.pop("image"))
        for part in {name.partition("_")[0] for name in state}:
            arrays = {name.removeprefix(f"{part}_"): array for name, array in state.items() if name.startswith(f"{part}_")}
            self._parts[part] = self._kind.from_arrays(arrays)
