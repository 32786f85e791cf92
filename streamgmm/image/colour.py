"""From samples as they are stored to colours and a mask: what tags say of photometry, alpha and nodata."""

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import imagecodecs
import numpy as np
import tifffile
from tifffile import EXTRASAMPLE, PHOTOMETRIC

from ..errors import OptionError, UnsupportedImageError
from .source import Read
from .ycbcr import FromYCbCr, decodes_colours

log = logging.getLogger(__name__)

Convert = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Colours:
    """Turns samples as they are stored into colours and a mask.

    Integers of up to 16 bits become uint8 or uint16, spread over the whole range of these: 12-bit 4,095 becomes 65,535, signed
    -128 becomes 0. Wider integers become float64, and floats keep float32 or float64.

    Attributes
    ----------
    n_samples : int
        Samples of a colour as stored; those behind it are extra.
    expand : function from samples as stored to samples of the whole range of their type, or None
    convert : function from these (..., n_samples) to colours (..., C), or None
    dtype : numpy.dtype
        uint8, uint16, float32 or float64.
    bands : tuple of int
        Which of colours and extra samples are taken, from 0.
    alpha : int or None
        The sample that is alpha.
    associated : bool
        Whether the colours are premultiplied with it.
    nodata : float or None
        Pixels whose colour samples, as stored, are all this value are masked.
    floats : bool
        Whether samples are stored as floats: pixels that are not finite are masked.
    converted : bool
        Whether the colours have become sRGB, whatever profile they had.
    """

    n_samples: int
    expand: Convert | None
    convert: Convert | None
    dtype: np.dtype
    bands: tuple[int, ...]
    alpha: int | None
    associated: bool
    nodata: float | None
    floats: bool
    converted: bool

    @property
    def maskable(self) -> bool:
        """Whether pixels may be masked by their own samples."""
        return self.alpha is not None or self.nodata is not None or self.floats

    def __call__(self, read: Read) -> Read:
        """Return the colours of samples, and which of them are valid."""
        samples, valid = read
        if self.nodata is not None:
            valid = _both(valid, self._has_data(samples))
        if self.expand:
            samples = self.expand(samples)
        colours = samples[..., : self.n_samples]
        if self.alpha is not None:
            opacity = samples[..., self.alpha]
            valid = _both(valid, opacity != 0)
            if self.associated:
                colours = _unpremultiplied(colours, opacity)
        if self.convert:
            colours = self.convert(colours)
        n_colours = colours.shape[-1]
        if max(self.bands) >= n_colours:
            colours = np.concatenate([colours, samples[..., self.n_samples :]], axis=-1)
        if self.bands != tuple(range(colours.shape[-1])):
            colours = colours[..., self.bands]
        if self.floats:
            valid = _both(valid, np.isfinite(colours).all(axis=-1))
        return Read(colours, None if valid is None or valid.all() else valid)

    def _has_data(self, samples: np.ndarray) -> np.ndarray:
        """Where any sample that a band is made of differs from nodata."""
        plain = self.convert is None
        chosen = [band for band in self.bands if band != self.alpha] if plain else range(self.n_samples)
        value = samples.dtype.type(self.nodata)
        differs = np.zeros(samples.shape[:-1], bool)
        for band in chosen:
            differs |= samples[..., band] != value if value == value else ~np.isnan(samples[..., band])
        return differs


def _full(dtype: np.dtype) -> float:
    """The sample value of full light, ink or opacity."""
    return np.iinfo(dtype).max if dtype.kind == "u" else 1.0


def _both(valid: np.ndarray | None, other: np.ndarray) -> np.ndarray:
    return other if valid is None else valid & other


def _unpremultiplied(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Divide colours by their alpha (associated alpha, TIFF 6.0 section 18)."""
    full = _full(colours.dtype)
    if (alpha == full).all():
        return colours
    straight = colours.astype(np.float64) * full / np.maximum(alpha, 1 if full > 1 else 1e-30)[..., None]
    if colours.dtype.kind == "u":
        straight = np.rint(np.minimum(straight, full))
    return straight.astype(colours.dtype)


def colours_of(page: tifffile.TiffPage, name: str, bands: tuple[int, ...] | None, nodata: float | None) -> Colours:
    """Find how the samples of a page become colours.

    Parameters
    ----------
    page : tifffile.TiffPage
    name : str
        For messages.
    bands : tuple of int, optional
        Bands to take, from 1, in this order. Default: all that are not alpha.
    nodata : float, optional
        Value of masked pixels as they are stored. Default: what GDAL_NODATA (tag 42113) says.

    Raises
    ------
    UnsupportedImageError
        Where the photometric interpretation is not supported.
    OptionError
        Where there is no such band.
    """
    bits = page.bitspersample if isinstance(page.bitspersample, int) else None  # 5-6-5 bits come spread to 8
    expand, dtype = expansion(np.dtype(page.dtype), bits)
    n_samples, convert, converted = _photometry(page, name, dtype)
    if page.photometric == PHOTOMETRIC.PALETTE and convert:
        dtype = np.dtype(np.uint8)
    n_colours = 3 if convert and convert is not _inverted else n_samples
    extras = tuple(page.extrasamples or ())[: page.samplesperpixel - n_samples]
    alpha = next((i for i, kind in enumerate(extras) if kind in (EXTRASAMPLE.ASSOCALPHA, EXTRASAMPLE.UNASSALPHA)), None)
    alpha_band = None if alpha is None else n_colours + alpha
    return Colours(
        n_samples=n_samples,
        expand=expand,
        convert=convert,
        dtype=dtype,
        bands=chosen_bands(n_colours + page.samplesperpixel - n_samples, alpha_band, bands, name),
        alpha=None if alpha is None else n_samples + alpha,
        associated=alpha is not None and extras[alpha] == EXTRASAMPLE.ASSOCALPHA and page.photometric != PHOTOMETRIC.PALETTE,
        nodata=sample_value(_nodata(page) if nodata is None else nodata, np.dtype(page.dtype)),
        floats=np.dtype(page.dtype).kind == "f",
        converted=converted,
    )


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


def _photometry(page: tifffile.TiffPage, name: str, dtype: np.dtype) -> tuple[int, Convert | None, bool]:
    """Return the samples of a colour, how they become colours, and whether these are sRGB then."""
    photometric, n_samples = page.photometric, page.samplesperpixel
    n_extra = len(page.extrasamples or ())
    n_colour = max(1, n_samples - n_extra)
    if "PhotometricInterpretation" not in page.tags:
        if n_samples > 1:
            log.warning("%s: has no PhotometricInterpretation (tag 262); its bands are taken as they are", name)
        return n_colour, None, False
    if photometric in (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB):
        return n_colour, None, False
    if photometric == PHOTOMETRIC.MINISWHITE:
        return n_colour, _inverted, False
    if photometric == PHOTOMETRIC.PALETTE:
        return 1, _palette(page, name, dtype), False
    if photometric == PHOTOMETRIC.YCBCR and n_colour == 3:
        if decodes_colours(page):
            return 3, None, False
        if page.bitspersample == 8:
            return 3, FromYCbCr.of(page), False
    if photometric == PHOTOMETRIC.SEPARATED and n_colour == 4 and page.tags.valueof("InkSet", 1) == 1:
        return 4, _from_cmyk(page, name, dtype), True
    if photometric in (PHOTOMETRIC.CIELAB, PHOTOMETRIC.ICCLAB) and n_colour == 3 and page.bitspersample in (8, 16):
        return 3, partial(_from_lab, signed=photometric == PHOTOMETRIC.CIELAB), True
    colours = getattr(photometric, "name", photometric)
    raise UnsupportedImageError(
        f"{name}: colours are {colours} in {n_samples} samples of {page.bitspersample} bits, not supported; convert it first"
    )


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
        half = unsigned.type(1 << (8 * dtype.itemsize - 1))
        return (lambda samples: np.ascontiguousarray(samples).view(unsigned) ^ half), unsigned
    bits = 1 if dtype.kind == "b" else bits
    if bits is None or bits == 8 * dtype.itemsize:
        return None, unsigned
    table = np.linspace(0, _full(unsigned), 1 << bits).round().astype(unsigned)
    return (lambda samples: table[np.minimum(samples.astype(unsigned, copy=False), len(table) - 1)]), unsigned


def _nodata(page: tifffile.TiffPage) -> float | None:
    """Return the value of GDAL_NODATA (tag 42113), or None where there is none, or it is no number."""
    text = str(page.tags.valueof("GDAL_NODATA")).strip(" \0")
    for number in (int, float):  # 64 bits do not fit a float
        with contextlib.suppress(ValueError):
            return number(text)
    return None


def sample_value(value: float | None, dtype: np.dtype) -> float | None:
    """Return a nodata value as a sample has it, or None where no sample can have it."""
    if value is None or dtype.kind == "f":
        return value
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return int(value) if low <= value <= high and value == int(value) else None


def _inverted(samples: np.ndarray) -> np.ndarray:
    return -samples if samples.dtype.kind == "f" else ~samples


def _palette(page: tifffile.TiffPage, name: str, dtype: np.dtype) -> Convert:
    """Look colours up in the ColorMap (tag 320), whose 16-bit values hold 8 bits: times 257, times 256, or as they are."""
    table = page.colormap
    if table is None or dtype.kind != "u" or table.shape[1] < 1 << page.bitspersample:
        raise UnsupportedImageError(f"{name}: a palette image without a whole colour map; the file is damaged")
    colours = (table if table.max() < 256 else table >> 8).astype(np.uint8).T
    spread = np.linspace(0, _full(dtype), 1 << page.bitspersample).round().astype(np.intp)  # where samples are expanded to
    lookup = np.zeros((int(_full(dtype)) + 1, 3), np.uint8)
    lookup[spread] = colours[: len(spread)]
    return lambda samples: lookup[samples[..., 0]]


def _from_cmyk(page: tifffile.TiffPage, name: str, dtype: np.dtype) -> Convert:
    """Convert by the ICC profile of the page, or where it has none by R = (1 - C) (1 - K)."""
    profile, srgb = page.tags.valueof("InterColorProfile"), imagecodecs.cms_profile("srgb")

    def by_profile(inks: np.ndarray) -> np.ndarray:
        return imagecodecs.cms_transform(np.ascontiguousarray(inks), profile, srgb, colorspace="CMYK", outcolorspace="RGB")

    def by_formula(inks: np.ndarray) -> np.ndarray:
        full = _full(dtype)
        light = (full - inks[..., :3].astype(np.float64)) * (full - inks[..., 3:]) / full
        return (np.rint(light) if dtype.kind == "u" else light).astype(dtype)

    if profile is not None and dtype.kind == "u":
        try:
            by_profile(np.zeros((1, 1, 4), dtype))
            return by_profile
        except Exception as error:  # whatever Little CMS finds wrong with it
            log.warning("%s: the CMYK profile cannot be used (%s); converted by the standard formula", name, error)
    return by_formula


def _from_lab(samples: np.ndarray, signed: bool) -> np.ndarray:
    """Convert 8- or 16-bit CIE L*a*b* to sRGB; a* and b* are signed (CIELAB) or shifted by half their range (ICCLAB)."""
    half = 1 << (8 * samples.dtype.itemsize - 1)
    lab = np.ascontiguousarray(samples)
    if signed:
        lab = lab ^ np.array([0, half, half], lab.dtype)
    if lab.dtype.itemsize == 2:  # TIFF has 256 steps for 1, and ICC 257
        chroma = np.rint((lab[..., 1:].astype(np.float64) - half) * (257 / 256) + 128 * 257)
        lab = np.concatenate([lab[..., :1], np.clip(chroma, 0, 65535).astype(np.uint16)], axis=-1)
    profile, srgb = imagecodecs.cms_profile("lab4"), imagecodecs.cms_profile("srgb")
    return imagecodecs.cms_transform(lab, profile, srgb, colorspace="LAB", outcolorspace="RGB")
