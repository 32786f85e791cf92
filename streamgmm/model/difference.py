"""How far two pictures are apart: squared error, CIE Delta E 2000 and structural similarity; parts of an image add up."""

import math
from dataclasses import astuple, dataclass

import numpy as np

from .colorimetry import PEAK, color_errors, linear_light
from .similarity import SIDE, similarity

# A window of SSIM is counted with the pixel at its upper left: so many more rows and columns are read beside a part.
HALO = SIDE - 1
CHANNELS = 3


def planes_of(pixels: np.ndarray, ends: tuple[float, float] | None) -> np.ndarray:
    """Return red, green and blue (3, height, width), uint16, of pixels (height, width, 1 or 3); a gray is all three.

    Parameters
    ----------
    pixels : ndarray of uint8, uint16 or floats
    ends : (low, high), or None
        The samples that are 0 and 65,535; those of their type by default, which integers have.
    """
    planes = np.moveaxis(pixels, -1, 0)
    if ends is not None:
        low, high = ends[0] / 2, ends[1] / 2  # halves, because a range may be more than a float holds
        with np.errstate(over="ignore", invalid="ignore"):
            share = (planes.astype(np.float64) / 2 - low) / (high - low)
        planes = np.rint(np.nan_to_num(share).clip(0, 1) * PEAK)  # what is no number is masked
    more = PEAK // 255 if pixels.dtype == np.uint8 and ends is None else 1
    planes = planes.astype(np.uint16) * np.uint16(more)
    return np.ascontiguousarray(np.broadcast_to(planes, (CHANNELS, *planes.shape[1:])))


@dataclass(frozen=True)
class Difference:
    """Sums over some pixels of two pictures, and over the windows of SSIM that begin there.

    Attributes
    ----------
    n_pixels : int
        Pixels that are masked in neither.
    n_masked_once : int
        Pixels that are masked in one of them alone.
    squared_error : int
        Over red, green and blue, in 16-bit samples: exact.
    delta_e : float
    similarity : float
        Over red, green and blue.
    n_windows : int
    """

    n_pixels: int = 0
    n_masked_once: int = 0
    squared_error: int = 0
    delta_e: float = 0.0
    similarity: float = 0.0
    n_windows: int = 0

    def __add__(self, other: "Difference") -> "Difference":
        """Merge with that of other pixels."""
        return Difference(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    @property
    def psnr_db(self) -> float | None:
        """Peak signal-to-noise ratio in dB, or None where there is no error."""
        return 10 * math.log10(PEAK**2 * CHANNELS * self.n_pixels / self.squared_error) if self.squared_error else None

    @property
    def mean_delta_e(self) -> float:
        """Mean CIE Delta E 2000."""
        return self.delta_e / self.n_pixels

    @property
    def ssim(self) -> float | None:
        """Mean SSIM over windows and channels, or None where there is no window without a masked pixel."""
        if not self.n_windows:
            return None
        return self.similarity / (CHANNELS * self.n_windows) if self.squared_error else 1.0  # but for rounding


def difference(
    one: np.ndarray, other: np.ndarray, valid: tuple[np.ndarray | None, np.ndarray | None], shape: tuple[int, int]
) -> Difference:
    """Compare two parts of pictures.

    Parameters
    ----------
    one, other : ndarray of shape (3, height, width), uint16
        A part, and beside and below it as much as windows reach over, up to the border of the image.
    valid : two of ndarray of shape (height, width), bool, or None
        Of each, False where a pixel is masked; None where none is.
    shape : tuple of int
        Height and width of the part.
    """
    masks = [np.ones(one.shape[1:], bool) if each is None else each for each in valid]
    both = masks[0] & masks[1]
    part = np.ascontiguousarray(both[: shape[0], : shape[1]])
    once = (masks[0] ^ masks[1])[: shape[0], : shape[1]]
    squared, delta_e = color_errors(one, other, part, linear_light())
    total, n_windows = similarity(one, other, None if both.all() else both)
    return Difference(
        int(np.count_nonzero(part)), int(np.count_nonzero(once)), int(squared), float(delta_e), float(total), n_windows
    )
