"""How the samples of a TIFF page become colors: what its tags say of photometry, alpha and nodata."""

import contextlib
import logging
import math
import re
from functools import partial

import imagecodecs
import numpy as np
import tifffile
from tifffile import EXTRASAMPLE, PHOTOMETRIC

from ...errors import OptionError, UnsupportedImageError
from ...options import ImageOptions
from ...options.values import read_number
from ..nodata import Nodata, alike
from ..samples import Convert, Interpretation, asked_alpha, chosen_bands, expansion, full_value
from .ycbcr import APERIO_RGB, APERIO_YCBCR, FromYCbCr, decodes_colors

log = logging.getLogger(__name__)

COLOR_MAP = 320
# What C libraries write for numbers that are none, as in -1.#IND and nan(0x7ff); GDAL reads the former, too.
NAN = re.compile(r"[+-]?(nan|1\.#(ind|qnan|snan))", re.IGNORECASE)


def interpretation_of(
    page: tifffile.TiffPage, name: str, options: ImageOptions, masked: bool = False, beside: float | None = None
) -> Interpretation:
    """Find how the samples of a page become colors.

    A mask or alpha decides alone: with them, black may be the color of a roof, and not nodata (GDAL RFC 15).

    Parameters
    ----------
    page : tifffile.TiffPage
    name : str
        For messages.
    options : ImageOptions
        Bands to take, by default all that are not alpha; which sample that is, by default what ExtraSamples (tag 338) says; and
        the value of masked pixels, by default what GDAL_NODATA (tag 42113) says, unless there is a mask or alpha.
    masked : bool
        Whether the page has a mask.
    beside : float, optional
        The value of masked pixels that a file beside the image has, which comes before the tag.

    Raises
    ------
    UnsupportedImageError
        Where the photometric interpretation is not supported.
    OptionError
        Where there is no such band.
    """
    bits = page.bitspersample if isinstance(page.bitspersample, int) else None  # 5-6-5 bits come spread to 8
    expand, dtype = expansion(np.dtype(page.dtype), bits)
    n_samples, convert, converted = _photometry(page, name, dtype, options.indices)
    if page.photometric == PHOTOMETRIC.PALETTE and convert:
        dtype = np.dtype(np.uint8)
    n_colors = 3 if convert and convert is not _inverted else n_samples
    extras = tuple(page.extrasamples or ())[: page.samplesperpixel - n_samples]
    found = next((i for i, kind in enumerate(extras) if kind in (EXTRASAMPLE.ASSOCALPHA, EXTRASAMPLE.UNASSALPHA)), None)
    alpha = asked_alpha(options.alpha, None if found is None else n_samples + found, page.samplesperpixel, name)
    if alpha is not None and alpha < n_samples and convert not in (None, _inverted):
        raise OptionError(
            f"{name}: alpha is {alpha + 1}; colors are converted of samples 1 to {n_samples}, choose one behind them"
        )
    alpha_band = None if alpha is None else alpha + n_colors - n_samples
    bands = chosen_bands(n_colors + page.samplesperpixel - n_samples, alpha_band, options.bands, name)
    told = tuple(range(n_samples) if convert else (band for band in bands if band != alpha))
    boxes = options.boxes
    if boxes is None and alpha is None and not masked:
        boxes = alike(nodata_of(page) if beside is None else beside)
    return Interpretation(
        n_samples=n_samples,
        expand=expand,
        convert=convert,
        stored=np.dtype(page.dtype),
        dtype=dtype,
        bands=bands,
        alpha=alpha,
        associated=_is_associated(page, extras, alpha, n_samples),
        nodata=Nodata.of(boxes or (), told, np.dtype(page.dtype), name),
        floats=np.dtype(page.dtype).kind == "f",
        converted=converted,
    )


def _is_associated(page: tifffile.TiffPage, extras: tuple, alpha: int | None, n_samples: int) -> bool:
    """Whether colors were multiplied with alpha."""
    if alpha is None or not 0 <= alpha - n_samples < len(extras):
        return False
    return extras[alpha - n_samples] == EXTRASAMPLE.ASSOCALPHA and page.photometric != PHOTOMETRIC.PALETTE


def _photometry(page: tifffile.TiffPage, name: str, dtype: np.dtype, indices: bool) -> tuple[int, Convert | None, bool]:
    """Return the samples of a color, how they become colors, and whether these are sRGB then."""
    photometric, n_samples = page.photometric, page.samplesperpixel
    n_extra = len(page.extrasamples or ())
    n_color = max(1, n_samples - n_extra)
    if "PhotometricInterpretation" not in page.tags:
        if n_samples > 1:
            log.warning("%s: has no PhotometricInterpretation (tag 262); its bands are taken as they are", name)
        return n_color, None, False
    if page.compression == APERIO_YCBCR and n_color == 3:
        return 3, FromYCbCr(), False
    if photometric in (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB) or page.compression == APERIO_RGB:
        return n_color, None, False
    if photometric == PHOTOMETRIC.MINISWHITE:
        return n_color, _inverted, False
    if photometric == PHOTOMETRIC.PALETTE:
        return 1, None if indices else _palette(page, name, dtype), False
    if photometric == PHOTOMETRIC.YCBCR and n_color == 3:
        if decodes_colors(page):
            return 3, None, False
        if page.bitspersample == 8:
            return 3, FromYCbCr.of(page), False
    if photometric == PHOTOMETRIC.SEPARATED and n_color == 4 and page.tags.valueof("InkSet", 1) == 1:
        return 4, _from_cmyk(page, name, dtype), True
    if photometric in (PHOTOMETRIC.CIELAB, PHOTOMETRIC.ICCLAB) and n_color == 3 and page.bitspersample in (8, 16):
        return 3, partial(_from_lab, signed=photometric == PHOTOMETRIC.CIELAB), True
    colors = getattr(photometric, "name", photometric)
    raise UnsupportedImageError(
        f"{name}: colors are {colors} in {n_samples} samples of {page.bitspersample} bits, not supported; convert it first"
    )


def nodata_of(page: tifffile.TiffPage) -> float | None:
    """Return the value of GDAL_NODATA (tag 42113), or None where there is none, or it is no number."""
    text = str(page.tags.valueof("GDAL_NODATA")).strip(" \0").replace(",", ".")  # as some countries write it
    if NAN.match(text):
        return math.nan
    with contextlib.suppress(ValueError):
        return read_number(text)
    return None


def _inverted(samples: np.ndarray) -> np.ndarray:
    return -samples if samples.dtype.kind == "f" else ~samples


def color_map(page: tifffile.TiffPage) -> np.ndarray | None:
    """Return the colors (N, 3) of ColorMap (tag 320), whose 16-bit values hold 8 bits: times 257, times 256, or as they are."""
    table = page.colormap
    return None if table is None else (table if table.max() < 256 else table >> 8).astype(np.uint8).T


def _palette(page: tifffile.TiffPage, name: str, dtype: np.dtype) -> Convert:
    """Look colors up in the ColorMap (tag 320)."""
    if dtype.kind != "u":
        raise UnsupportedImageError(
            f"{name}: a palette image whose samples are {page.dtype} is not supported; convert it first"
        )
    there, wanted = page.tags[COLOR_MAP].count if COLOR_MAP in page.tags else 0, 3 << page.bitspersample
    if there < wanted or (colors := color_map(page)) is None:
        has = f"has {there} of {wanted} values" if there else "is missing or cannot be read"
        raise UnsupportedImageError(f"{name}: a palette image without a whole color map: ColorMap (tag {COLOR_MAP}) {has}")
    spread = np.linspace(0, full_value(dtype), 1 << page.bitspersample).round().astype(np.intp)  # where samples are expanded to
    lookup = np.zeros((int(full_value(dtype)) + 1, 3), np.uint8)
    lookup[spread] = colors[: len(spread)]
    return lambda samples: lookup[samples[..., 0]]


def _from_cmyk(page: tifffile.TiffPage, name: str, dtype: np.dtype) -> Convert:
    """Convert by the ICC profile of the page, or where it has none by R = (1 - C) (1 - K)."""
    profile, srgb = page.tags.valueof("InterColorProfile"), imagecodecs.cms_profile("srgb")

    def by_profile(inks: np.ndarray) -> np.ndarray:
        return imagecodecs.cms_transform(np.ascontiguousarray(inks), profile, srgb, colorspace="CMYK", outcolorspace="RGB")

    def by_formula(inks: np.ndarray) -> np.ndarray:
        full = full_value(dtype)
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
