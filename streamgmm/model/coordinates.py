"""Where colors are among those that the eye tells apart: linear light, CIE Lab under D65, Oklab (Ottosson 2020); and back."""

import functools

import numpy as np

from ..options import Space
from .buffers import as_pixels
from .colorimetry import FOOT, KNEE, PEAK, SLOPE, WHITE_X, WHITE_Z, X, Y, Z, linear_light
from .jit import strict_entry, strict_kernel

# Linear red, green and blue to the responses of cones, and the cube roots of these to Oklab: the matrices of Ottosson (2020,
# "A perceptual color space for image processing"), those of 2021-01-25. The responses of white are 1, so grays have no chroma.
LONG = (0.4122214708, 0.5363325363, 0.0514459929)
MEDIUM = (0.2119034982, 0.6806995451, 0.1073969566)
SHORT = (0.0883024619, 0.2817188376, 0.6299787005)
OK_L = (0.2104542553, 0.7936177850, -0.0040720468)
OK_A = (1.9779984951, -2.4285922050, 0.4505937099)
OK_B = (0.0259040371, 0.7827717662, -0.8086757660)
# Steps along a and b look as large as those along L when a and b are doubled, as Ottosson found in 2021 (issue 6642 of
# w3c/csswg-drafts). Without that, 16 colors of photos are no nearer than from RGB: 4.75 CIE Delta E 2000 on average, where they
# are 4.31.
CHROMA = 2.0
OK_BACK, CONES_BACK, XYZ_BACK = (np.linalg.inv(rows) for rows in ((OK_L, OK_A, OK_B), (LONG, MEDIUM, SHORT), (X, Y, Z)))
# What a third of the bits of a float32, and this, are as a float32 is its cube root but for 4 %.
CUBE_ROOT, THIRD = np.int32(0x2A5119F2), np.float32(1 / 3)
LINEAR, LAB, OKLAB = 1, 2, 3
NUMBERS: dict[str, int] = {"linear": LINEAR, "lab": LAB, "oklab": OKLAB}
# Pixels that are converted at once: three rows of float64 stay in the first-level cache.
BLOCK = 512


@functools.cache
def _light_and_end() -> np.ndarray:
    """Return the linear light of 16-bit samples, and of one more, so that there is one above each."""
    return np.append(linear_light(), 1.0)


@strict_kernel
def _cube_root(x):
    """The cube root of x >= 0, to 1e-14 of it: two steps of Halley's from a guess. That of libm takes 20 times as long."""
    guess = np.int32(np.float32(np.float32(x).view(np.int32)) * THIRD)
    y = np.float64(np.int32(guess + CUBE_ROOT).view(np.float32))
    for _ in range(2):
        cube = y * y * y
        y = y * ((cube + 2.0 * x) / (2.0 * cube + x))
    return y


@strict_kernel
def _root(t):
    """The root of Lab."""
    root, line = _cube_root(t), SLOPE * t + FOOT
    return root if t > KNEE else line


@strict_kernel
def _light(sample, zero, gain, light):
    """The linear light of a sample: on the line between those of the 16-bit samples beside it, which is within 1e-9."""
    place = min(max((np.float64(sample) - zero) * gain, 0.0), np.float64(PEAK))
    below = np.int32(place)
    return light[below] + (place - below) * (light[below + 1] - light[below])


@strict_kernel
def _lab(red, green, blue, n):
    """Turn n colors of linear light into Lab, in their place."""
    for i in range(n):
        x = _root((X[0] * red[i] + X[1] * green[i] + X[2] * blue[i]) / WHITE_X)
        y = _root(Y[0] * red[i] + Y[1] * green[i] + Y[2] * blue[i])
        z = _root((Z[0] * red[i] + Z[1] * green[i] + Z[2] * blue[i]) / WHITE_Z)
        red[i], green[i], blue[i] = 1.16 * y - 0.16, 5.0 * (x - y), 2.0 * (y - z)


@strict_kernel
def _oklab(red, green, blue, n):
    """Turn n colors of linear light into Oklab, in their place."""
    for i in range(n):
        x = _cube_root(LONG[0] * red[i] + LONG[1] * green[i] + LONG[2] * blue[i])
        y = _cube_root(MEDIUM[0] * red[i] + MEDIUM[1] * green[i] + MEDIUM[2] * blue[i])
        z = _cube_root(SHORT[0] * red[i] + SHORT[1] * green[i] + SHORT[2] * blue[i])
        red[i] = OK_L[0] * x + OK_L[1] * y + OK_L[2] * z
        green[i] = CHROMA * (OK_A[0] * x + OK_A[1] * y + OK_A[2] * z)
        blue[i] = CHROMA * (OK_B[0] * x + OK_B[1] * y + OK_B[2] * z)


@strict_kernel
def _lightness(light, n, number):
    """Turn the linear light of n grays into the lightness of Lab or Oklab, in its place."""
    for i in range(n):
        light[i] = 1.16 * _root(light[i]) - 0.16 if number == LAB else _cube_root(light[i])


@strict_entry
def _convert(samples, zero, gain, light, number, rows, out):
    """Write the coordinates of samples (n, D) into out (n, D), float32, in buffers (D, B)."""
    for first in range(0, samples.shape[0], rows.shape[1]):
        n = min(rows.shape[1], samples.shape[0] - first)
        for j in range(samples.shape[1]):
            for i in range(n):
                rows[j, i] = _light(samples[first + i, j], zero[j], gain[j], light)
        if number != LINEAR:
            if samples.shape[1] == 1:
                _lightness(rows[0], n, number)
            elif number == LAB:
                _lab(rows[0], rows[1], rows[2], n)
            else:
                _oklab(rows[0], rows[1], rows[2], n)
        for j in range(samples.shape[1]):
            for i in range(n):
                out[first + i, j] = rows[j, i]


def to_coordinates(samples: np.ndarray, zero: np.ndarray, scale: np.ndarray, space: Space) -> np.ndarray:
    """Return where samples are in a space, float32; those below 0 and above 1 as these.

    Parameters
    ----------
    samples : ndarray of shape (..., D), uint8, uint16 or float32
    zero, scale : ndarray of shape (D,) or ()
        The samples that are 0, and how many lie between 0 and 1, as of a SampleSpace.
    space : {"linear", "lab", "oklab"}
        Lab is divided by 100, and a and b of Oklab are doubled. Of one band it is the lightness alone, and linear light is
        that of each band by itself.
    """
    pixels = as_pixels(samples)
    n_bands = pixels.shape[1]
    zero, gain = (np.array(np.broadcast_to(each, n_bands), np.float64) for each in (zero, PEAK / scale))
    out = np.empty(pixels.shape, np.float32)
    _convert(pixels, zero, gain, _light_and_end(), NUMBERS[space], np.empty((n_bands, BLOCK)), out)
    return out.reshape(samples.shape)


def to_colors(coordinates: np.ndarray, space: Space) -> np.ndarray:
    """Return the colors (K, D) at some coordinates, float64, not clipped: in [0, 1] where it is a color that screens have."""
    if space == "linear":
        return _encoded(coordinates)
    if coordinates.shape[1] == 1:
        return _encoded(_unrooted((coordinates + 0.16) / 1.16) if space == "lab" else coordinates**3)
    if space == "oklab":
        return _encoded((coordinates / (1.0, CHROMA, CHROMA) @ OK_BACK.T) ** 3 @ CONES_BACK.T)
    lightness, a, b = coordinates.T
    y = (lightness + 0.16) / 1.16
    xyz = _unrooted(np.stack([y + a / 5.0, y, y - b / 2.0], axis=1)) * (WHITE_X, 1.0, WHITE_Z)
    return _encoded(xyz @ XYZ_BACK.T)


def _unrooted(root: np.ndarray) -> np.ndarray:
    """Invert the root of Lab."""
    return np.where(root > np.cbrt(KNEE), root**3, (root - FOOT) / SLOPE)


def _encoded(light: np.ndarray) -> np.ndarray:
    """Return sRGB of linear light; what is negative goes on along the line that begins at 0."""
    return np.where(light <= 0.04045 / 12.92, 12.92 * light, 1.055 * np.maximum(light, 0.0) ** (1 / 2.4) - 0.055)
