"""Colors as the eye sees them: from sRGB (IEC 61966-2-1) to CIE Lab under D65, and CIE Delta E 2000 between two of them."""

import functools
import math

import numpy as np

from .jit import entry, kernel

PEAK = 65_535
# Linear red, green and blue to X, Y and Z, as in IEC 61966-2-1; its rows add up to the white of D65, so grays have no chroma.
X, Y, Z = (0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505)
WHITE_X, WHITE_Z = sum(X), sum(Z)
# Where the cube root of Lab ends, and the line begins that takes its place near black.
KNEE, SLOPE, FOOT = (6 / 29) ** 3, (29 / 6) ** 2 / 3, 4 / 29
FULL, HALF, POWER_25 = 2 * math.pi, math.pi, 25.0**7


@functools.cache
def linear_light() -> np.ndarray:
    """Return the linear light, in [0, 1], of each 16-bit sample of sRGB: a power for each costs more than all the rest."""
    level = np.arange(PEAK + 1) / PEAK
    return np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)


@kernel
def _root(t):
    """The root of Lab."""
    return np.cbrt(t) if t > KNEE else SLOPE * t + FOOT


@kernel
def _lab(red, green, blue):
    """From linear light to Lab."""
    x = _root((X[0] * red + X[1] * green + X[2] * blue) / WHITE_X)
    y = _root(Y[0] * red + Y[1] * green + Y[2] * blue)
    z = _root((Z[0] * red + Z[1] * green + Z[2] * blue) / WHITE_Z)
    return 116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)


@kernel
def _share(chroma):
    """The root of C^7 / (C^7 + 25^7)."""
    squared = chroma * chroma
    power = squared * squared * squared * chroma
    return math.sqrt(power / (power + POWER_25))


@kernel
def _hue(a, b):
    """The angle of a color in [0, 2 pi), which is 0 of grays."""
    angle = math.atan2(b, a) if a != 0.0 or b != 0.0 else 0.0
    return angle + FULL if angle < 0.0 else angle


@kernel
def _delta_e(l1, a1, b1, l2, a2, b2):
    """CIE Delta E 2000 of two colors in Lab, in the steps and by the equations of Sharma, Wu and Dalal (2005)."""
    # 1: C' and h', equations 2 to 7
    more = 1.5 - 0.5 * _share((math.sqrt(a1 * a1 + b1 * b1) + math.sqrt(a2 * a2 + b2 * b2)) / 2.0)
    a1, a2 = a1 * more, a2 * more
    c1, c2 = math.sqrt(a1 * a1 + b1 * b1), math.sqrt(a2 * a2 + b2 * b2)
    h1, h2 = _hue(a1, b1), _hue(a2, b2)
    # 2: differences, and the mean hue (equation 14), both over the shorter way round
    turn, hue = h2 - h1, (h1 + h2) / 2.0
    if c1 * c2 == 0.0:
        turn, hue = 0.0, h1 + h2
    elif abs(turn) > HALF:
        hue += HALF if hue < HALF else -HALF
        turn += -FULL if turn > 0.0 else FULL
    hue_step = 2.0 * math.sqrt(c1 * c2) * math.sin(turn / 2.0)
    # 3: weights, equations 15 to 21
    chroma, light = (c1 + c2) / 2.0, (l1 + l2) / 2.0 - 50.0
    t = 1.0 - 0.17 * math.cos(hue - math.pi / 6.0) + 0.24 * math.cos(2.0 * hue)
    t += 0.32 * math.cos(3.0 * hue + math.pi / 30.0) - 0.20 * math.cos(4.0 * hue - 7.0 * math.pi / 20.0)
    away = (math.degrees(hue) - 275.0) / 25.0
    rotation = -2.0 * _share(chroma) * math.sin(math.pi / 3.0 * math.exp(-away * away))
    light = (l2 - l1) / (1.0 + 0.015 * light * light / math.sqrt(20.0 + light * light))
    chroma_step, hue_step = (c2 - c1) / (1.0 + 0.045 * chroma), hue_step / (1.0 + 0.015 * chroma * t)
    return math.sqrt(max(0.0, light * light + chroma_step * chroma_step + hue_step * (hue_step + rotation * chroma_step)))


@entry
def lab_of(planes, light, out):
    """Write the Lab colors (3, n) of samples (3, n), 16-bit sRGB, into out."""
    for i in range(planes.shape[1]):
        out[0, i], out[1, i], out[2, i] = _lab(light[planes[0, i]], light[planes[1, i]], light[planes[2, i]])


@entry
def delta_e_2000(one, other, out):
    """Write CIE Delta E 2000 between colors (3, n) in Lab into out (n,)."""
    for i in range(out.shape[0]):
        out[i] = _delta_e(one[0, i], one[1, i], one[2, i], other[0, i], other[1, i], other[2, i])


@entry
def color_errors(one, other, valid, light):
    """Return the sums over pixels of the squared error, in 16-bit samples, and of CIE Delta E 2000.

    Pixels are those of ``valid`` (height, width), at the upper left of both planes (3, height and more, width and more).
    """
    squared, total = np.int64(0), 0.0
    for i in range(valid.shape[0]):
        for j in range(valid.shape[1]):
            red, green, blue = np.int64(one[0, i, j]), np.int64(one[1, i, j]), np.int64(one[2, i, j])
            r, g, b = np.int64(other[0, i, j]), np.int64(other[1, i, j]), np.int64(other[2, i, j])
            error = (red - r) ** 2 + (green - g) ** 2 + (blue - b) ** 2
            if not valid[i, j] or error == 0:
                continue
            squared += error
            l1, a1, b1 = _lab(light[red], light[green], light[blue])
            l2, a2, b2 = _lab(light[r], light[g], light[b])
            total += _delta_e(l1, a1, b1, l2, a2, b2)
    return squared, total
