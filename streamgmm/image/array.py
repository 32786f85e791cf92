"""An image in memory, or in a NumPy memory map."""

from dataclasses import replace

import numpy as np

from ..errors import UnsupportedImageError
from ..options import ReadOptions
from .image import FileState, MaskedPixels
from .metadata import Metadata
from .nodata import Nodata, alike
from .samples import Interpretation, asked_alpha, chosen_bands, expansion
from .tiles import Window


class ArrayImage:
    """An image in memory, or in a NumPy memory map.

    Parameters
    ----------
    array : ndarray of shape (height, width) or (height, width, bands)
        Booleans, integers or floats; where it is a masked array, pixels with a masked band are masked.
    options : ReadOptions
    name : str
        For messages and reports.
    kind : str
        What it came from.
    alpha : int, optional
        The band that is alpha.
    metadata : Metadata
        What an output takes over.
    nodata : float, optional
        The value of masked pixels, unless the options have another, or there is alpha.
    state : FileState, optional
        That of the file it was decoded from.

    Raises
    ------
    UnsupportedImageError
        Where the array has another shape or type.
    """

    tile: tuple[int, int] | None = None
    segment = (1, 1)

    def __init__(
        self,
        array: np.ndarray,
        options: ReadOptions | None = None,
        name: str = "array",
        kind: str | None = "array",
        alpha: int | None = None,
        metadata: Metadata | None = None,
        nodata: float | None = None,
        state: FileState | None = None,
    ):
        if array.ndim not in (2, 3) or array.size == 0:
            raise UnsupportedImageError(f"{name}: shape {array.shape}; expected (height, width) or (height, width, bands)")
        if array.dtype.kind not in "buif":
            raise UnsupportedImageError(f"{name}: samples are {array.dtype}; booleans, integers and floats are supported")
        options = options or ReadOptions()
        samples = array if array.ndim == 3 else array[:, :, None]
        self._masked: np.ndarray | None = None
        if np.ma.is_masked(samples):
            self._masked = np.asarray(np.ma.getmaskarray(samples).any(axis=-1))
        self._samples = np.ma.getdata(samples)
        self._stored = samples.dtype.newbyteorder("=")
        self._interpretation = _interpretation(self._stored, samples.shape[2], options, alpha, nodata, name)
        found = self._interpretation.nodata
        self.name, self.kind, self.state = name, kind, state
        self.metadata = replace(metadata or Metadata(), nodata=found.code if found else None)
        self.held = 0 if state is None else self._samples.nbytes
        self.shape, self.dtype = (*samples.shape[:2], len(self._interpretation.bands)), self._interpretation.dtype
        self.pixel_bytes = self.shape[2] * self.dtype.itemsize
        self.units = self._interpretation.units
        self.maskable = self._interpretation.maskable or self._masked is not None

    def read(self, window: Window) -> MaskedPixels:
        """Return the colors of a window, in the processor's byte order, and which are valid."""
        valid = None if self._masked is None else ~self._masked[window.slices]
        return self._interpretation(MaskedPixels(self._samples[window.slices].astype(self._stored, copy=False), valid))

    def check_unchanged(self) -> None:
        """Do nothing: an array is what it is."""

    def absent(self, window: Window) -> bool:
        """Return that nothing is absent."""
        return False

    def info(self) -> dict:
        """Describe the image."""
        height, width, bands = self.shape
        shape = {"width": width, "height": height, "bands": bands}
        return {"format": self.kind, **shape, "dtype": self.dtype.name, "dropped": list(self.metadata.dropped)}

    def close(self) -> None:
        """Drop the pixels."""
        del self._samples


def _interpretation(
    stored: np.dtype, n_bands: int, options: ReadOptions, alpha: int | None, nodata: float | None, name: str
) -> Interpretation:
    """Find what bands of an array are, where a file says which is alpha and which value is nodata."""
    expand, dtype = expansion(stored)
    alpha = asked_alpha(options.alpha, alpha, n_bands, name)
    bands = chosen_bands(n_bands, alpha, options.bands, name)
    told = tuple(band for band in bands if band != alpha)
    boxes = options.boxes
    if boxes is None and alpha is None:
        boxes = alike(nodata)
    return Interpretation(
        n_samples=n_bands,
        expand=expand,
        convert=None,
        stored=stored,
        dtype=dtype,
        bands=bands,
        alpha=alpha,
        associated=False,
        nodata=Nodata.of(boxes or (), told, stored, name),
        floats=stored.kind == "f",
        converted=False,
    )
