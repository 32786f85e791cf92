"""From samples as they are stored to colors and a mask, whatever the container: types, bands, alpha and nodata."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..errors import OptionError
from .image import MaskedPixels
from .nodata import Nodata
from .tiles import Window, parts_of

Convert = Callable[[np.ndarray], np.ndarray]

# Pixels that are interpreted at once, of strips that have more: colors are computed in floats, in up to 76 bytes a pixel.
PART = 1 << 19


@dataclass(frozen=True)
class Interpretation:
    """Turns samples as they are stored into colors and a mask.

    Integers of up to 16 bits become uint8 or uint16, spread over the whole range of these: 12-bit 4,095 becomes 65,535, signed
    -128 becomes 0. Wider integers become float64, and floats keep float32 or float64.

    Attributes
    ----------
    n_samples : int
        Samples of a color as stored; those behind it are extra.
    expand : function from samples as stored to samples of the whole range of their type, or None
    convert : function from these (..., n_samples) to colors (..., C), or None
    stored : numpy.dtype
        Of samples as they are stored.
    dtype : numpy.dtype
        uint8, uint16, float32 or float64.
    bands : tuple of int
        Which of colors and extra samples are taken, from 0.
    alpha : int or None
        The sample that is alpha.
    associated : bool
        Whether the colors are premultiplied with it.
    nodata : Nodata or None
        What masks pixels by their color samples, as stored.
    floats : bool
        Whether samples are stored as floats: pixels that are not finite are masked.
    converted : bool
        Whether the colors have become sRGB, whatever profile they had.
    """

    n_samples: int
    expand: Convert | None
    convert: Convert | None
    stored: np.dtype
    dtype: np.dtype
    bands: tuple[int, ...]
    alpha: int | None
    associated: bool
    nodata: Nodata | None
    floats: bool
    converted: bool

    @property
    def units(self) -> tuple[float, float]:
        """What 1 as stored is in samples as they are read, and what 0 is, where these are integers; colors keep theirs."""
        if self.expand is None or self.convert is not None or self.dtype.kind == "f":
            return 1.0, 0.0
        least, most = (0, 1) if self.stored.kind == "b" else (np.iinfo(self.stored).min, np.iinfo(self.stored).max)
        samples = self.expand(np.arange(least, most + 1).astype(self.stored)).astype(float)
        full = int(samples.argmax())  # of a few bits, what is more than these can hold is as much
        gain = (samples[full] - samples[0]) / full
        return gain, samples[0] - gain * least

    @property
    def maskable(self) -> bool:
        """Whether pixels may be masked by their own samples."""
        return self.alpha is not None or self.nodata is not None or self.floats

    def __call__(self, read: MaskedPixels) -> MaskedPixels:
        """Return the colors of samples, and which of them are valid."""
        return masked_where(*self.apart(read))

    def apart(self, read: MaskedPixels) -> tuple[MaskedPixels, np.ndarray | None]:
        """Return the colors of samples and which are valid whatever nodata is; and where any is other than that, or None."""
        (height, width), plain = read.pixels.shape[:2], self.expand is None and self.convert is None and not self.associated
        places = parts_of(Window(0, 0, height, width), (1, 1), PART)
        if len(places) == 1 or (plain and self.nodata is None and not self.floats):
            return self._interpreted(read)
        colors, valid = np.empty((height, width, len(self.bands)), self.dtype), np.ones((height, width), bool)
        has_data = None if self.nodata is None else np.ones_like(valid)
        for at in (place.slices for place in places):
            part = MaskedPixels(read.pixels[at], None if read.valid is None else read.valid[at])
            (colors[at], shown), differs = self._interpreted(part)
            if shown is not None:
                valid[at] = shown
            if has_data is not None:
                has_data[at] = differs
        return MaskedPixels(colors, valid), has_data

    def _interpreted(self, read: MaskedPixels) -> tuple[MaskedPixels, np.ndarray | None]:
        samples, valid = read
        has_data = None if self.nodata is None else self.nodata.has_data(samples)
        if self.expand:
            samples = self.expand(samples)
        colors = samples[..., : self.n_samples]
        if self.alpha is not None:
            opacity = samples[..., self.alpha]
            valid = _both(valid, opacity != 0)
            if self.associated:
                colors = _unpremultiplied(colors, opacity)
        if self.convert:
            colors = self.convert(colors)
        n_colors = colors.shape[-1]
        if max(self.bands) >= n_colors:
            colors = np.concatenate([colors, samples[..., self.n_samples :]], axis=-1)
        if self.bands != tuple(range(colors.shape[-1])):
            colors = colors[..., self.bands]
        if self.floats:
            valid = _both(valid, np.isfinite(colors).all(axis=-1))
        return MaskedPixels(colors, valid), has_data


def full_value(dtype: np.dtype) -> float:
    """Return the sample value of full light, ink or opacity."""
    return np.iinfo(dtype).max if dtype.kind == "u" else 1.0


def _both(valid: np.ndarray | None, other: np.ndarray) -> np.ndarray:
    return other if valid is None else valid & other


def masked_where(read: MaskedPixels, *others: np.ndarray | None) -> MaskedPixels:
    """Mask pixels also where others say that they are not valid, each by an array, or None where all are."""
    pixels, valid = read
    for other in others:
        valid = valid if other is None else _both(valid, other)
    return MaskedPixels(pixels, None if valid is None or valid.all() else valid)


def _unpremultiplied(colors: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Divide colors by their alpha (associated alpha, TIFF 6.0 section 18)."""
    full = full_value(colors.dtype)
    if (alpha == full).all():
        return colors
    straight = colors.astype(np.float64) * full / np.maximum(alpha, 1 if full > 1 else 1e-30)[..., None]
    if colors.dtype.kind == "u":
        straight = np.rint(np.minimum(straight, full))
    return straight.astype(colors.dtype)


def asked_alpha(asked: int | str | None, found: int | None, n_samples: int, name: str) -> int | None:
    """Return the sample that is alpha, from 0, or None: the one that was asked for, from 1, or what the file says.

    Raises
    ------
    OptionError
        Where there is no such sample, or no other.
    """
    if asked is None or asked == "none":
        return found if asked is None else None
    if int(asked) > n_samples or n_samples == 1:
        raise OptionError(f"{name}: alpha is {asked}; pixels have {n_samples} samples, of which others are to be colors")
    return int(asked) - 1


def chosen_bands(n_bands: int, alpha: int | None, bands: tuple[int, ...] | None, name: str) -> tuple[int, ...]:
    """Return the bands to take, from 0: those asked for, which count from 1, or all but alpha.

    Raises
    ------
    OptionError
        Where there is no such band.
    """
    if bands is None:
        return tuple(band for band in range(n_bands) if band != alpha)
    if not bands or not all(1 <= band <= n_bands for band in bands):
        raise OptionError(f"{name}: bands are {','.join(map(str, bands))}; choose from 1 to {n_bands}")
    return tuple(band - 1 for band in bands)


def expansion(dtype: np.dtype, bits: int | None = None) -> tuple[Convert | None, np.dtype]:
    """Return how samples are brought to a type that passes take, spread over its whole range, and that type.

    Parameters
    ----------
    dtype : numpy.dtype
        Boolean, integer or float.
    bits : int, optional
        Bits of a sample where these are fewer than its type holds.
    """
    if dtype.kind == "f":
        wide = np.dtype(np.float64 if dtype.itemsize > 4 else np.float32)
        return (None if dtype == wide else partial(np.asarray, dtype=wide)), wide
    if dtype.itemsize > 2:
        return partial(np.asarray, dtype=np.float64), np.dtype(np.float64)
    unsigned = np.dtype(np.uint8 if dtype.itemsize == 1 else np.uint16)
    if dtype.kind == "i":
        return partial(_unsigned, dtype=unsigned), unsigned
    bits = 1 if dtype.kind == "b" else bits
    if bits is None or bits == 8 * dtype.itemsize:
        return None, unsigned
    table = np.linspace(0, full_value(unsigned), 1 << bits).round().astype(unsigned)
    return partial(_spread, table=table), unsigned


def _unsigned(samples: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Shift signed integers by half their range."""
    return np.ascontiguousarray(samples).view(dtype) ^ dtype.type(1 << (8 * dtype.itemsize - 1))


def _spread(samples: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Spread samples of a few bits over the range of a table's type; what is more than they can hold is the most."""
    return table[np.minimum(samples.astype(table.dtype, copy=False), len(table) - 1)]
