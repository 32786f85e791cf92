"""The loops that find up to four colors of a palette for each pixel, whose mean is near to it.

The shares w of colors c are those that make (1 - part) |sum w c - x|^2 + part sum w |c - x|^2 least: how far their mean is
from what is to be shown, x, and a part of the variance of what is chosen. That is convex, so that the mean moves steadily
with x, and no seam is seen where other colors take over. They are corners of one simplex of a Delaunay triangulation of the
palette, and are found one by one, as in Wolfe (1976), Finding the nearest point in a polytope.

Every operation is rounded as it is written: what is found of a pixel does not depend on which others are worked on with it.
"""

import numpy as np

from .jit import strict, strict_entry

# Colors of a blend: more are not needed in three dimensions.
COLORS = 4
# Colors that are tried before what is there is taken for the best.
ROUNDS = 24
# What gains less, in squared levels, gains nothing: float32 does not tell.
NOTHING = 0.05
# The part of its squared distance by which a color is out of the plane of others that it does not lie in.
FLAT = 1e-9
ZERO, FAR = np.float32(0.0), np.float32(np.inf)


@strict
def _solve(ways, right, n):
    """Return the coefficients of n <= 3 ways, rows of ways, whose products with these are the right sides; others are 0."""
    ax, ay, az = ways[0, 0], ways[0, 1], ways[0, 2]
    aa = ax * ax + ay * ay + az * az
    if n == 1:
        return right[0] / aa, 0.0, 0.0
    bx, by, bz = ways[1, 0], ways[1, 1], ways[1, 2]
    ab, bb = ax * bx + ay * by + az * bz, bx * bx + by * by + bz * bz
    ab_ab = aa * bb - ab * ab
    if n == 2:
        return (right[0] * bb - right[1] * ab) / ab_ab, (right[1] * aa - right[0] * ab) / ab_ab, 0.0
    cx, cy, cz = ways[2, 0], ways[2, 1], ways[2, 2]
    ac, bc, cc = ax * cx + ay * cy + az * cz, bx * cx + by * cy + bz * cz, cx * cx + cy * cy + cz * cz
    bb_cc, ac_bc, ab_bc = bb * cc - bc * bc, ac * bc - ab * cc, ab * bc - ac * bb
    aa_cc, ab_ac = aa * cc - ac * ac, ab * ac - aa * bc
    scale = 1.0 / (aa * bb_cc + ab * ac_bc + ac * ab_bc)
    return (
        (right[0] * bb_cc + right[1] * ac_bc + right[2] * ab_bc) * scale,
        (right[0] * ac_bc + right[1] * aa_cc + right[2] * ab_ac) * scale,
        (right[0] * ab_bc + right[1] * ab_ac + right[2] * ab_ab) * scale,
    )


@strict
def _admit(color, away, chosen, aways, shares, n, ways, right):
    """Put a color among n others, or in the place of one where it lies in their space; return how many there are.

    away and aways (4, 3) are how far these are from x.
    """
    tx, ty, tz = away[0] - aways[0, 0], away[1] - aways[0, 1], away[2] - aways[0, 2]
    for i in range(n - 1):
        for j in range(3):
            ways[i, j] = aways[i + 1, j] - aways[0, j]
        right[i] = ways[i, 0] * tx + ways[i, 1] * ty + ways[i, 2] * tz
    second, third, fourth = _solve(ways, right, n - 1) if n > 1 else (0.0, 0.0, 0.0)
    squared = tx * tx + ty * ty + tz * tz
    inside = right[0] * second * (n > 1) + right[1] * third * (n > 2) + right[2] * fourth * (n > 3)
    if n < COLORS and squared - inside > FLAT * squared:
        chosen[n], shares[n] = color, 0.0
        aways[n, 0], aways[n, 1], aways[n, 2] = away[0], away[1], away[2]
        return n + 1
    parts = (1.0 - second - third - fourth, second, third, fourth)  # of the others whose mean it is
    least, leaving = np.inf, 0
    for i in range(n):
        if parts[i] > 0 and shares[i] < least * parts[i]:
            least, leaving = shares[i] / parts[i], i
    for i in range(n):
        shares[i] = max(shares[i] - least * parts[i], 0.0)
    chosen[leaving], shares[leaving] = color, least
    aways[leaving, 0], aways[leaving, 1], aways[leaving, 2] = away[0], away[1], away[2]
    return n


@strict
def _balance(ratio, chosen, aways, shares, n, ways, right):
    """Give n colors their best shares, and drop those that have none; return how many are left."""
    while n > 1:
        bx, by, bz = aways[0, 0], aways[0, 1], aways[0, 2]
        base = bx * bx + by * by + bz * bz
        for i in range(n - 1):
            ox, oy, oz = aways[i + 1, 0], aways[i + 1, 1], aways[i + 1, 2]
            ways[i, 0], ways[i, 1], ways[i, 2] = ox - bx, oy - by, oz - bz
            right[i] = base - (bx * ox + by * oy + bz * oz) - ratio * (ox * ox + oy * oy + oz * oz - base)
        second, third, fourth = _solve(ways, right, n - 1)
        wanted = (1.0 - second - third - fourth, second, third, fourth)
        step, leaving = 1.0, -1
        for i in range(n):
            if wanted[i] <= 0 and shares[i] <= step * (shares[i] - wanted[i]):
                step, leaving = (shares[i] / (shares[i] - wanted[i]) if shares[i] > 0 else 0.0), i
        for i in range(n):
            shares[i] += step * (wanted[i] - shares[i])
        if leaving < 0:
            return n
        n -= 1
        for i in range(leaving, n):
            chosen[i], shares[i] = chosen[i + 1], shares[i + 1]
            for j in range(3):
                aways[i, j] = aways[i + 1, j]
    shares[0] = 1.0
    return n


@strict
def _look(palette, part, rows, n, nearest):
    """Find the color that lowers the sum the most, of n pixels; -1 where none does."""
    xr, xg, xb, mr, mg, mb, best = rows[0], rows[1], rows[2], rows[3], rows[4], rows[5], rows[6]
    for i in range(n):
        nearest[i] = -1
    for k in range(palette.shape[0]):
        red, green, blue = palette[k, 0], palette[k, 1], palette[k, 2]
        for i in range(n):
            r, g, b = red - xr[i], green - xg[i], blue - xb[i]
            slope = mr[i] * r + mg[i] * g + mb[i] * b + part * (r * r + g * g + b * b)
            if slope < best[i]:
                best[i] = slope
                nearest[i] = k


@strict
def _slope(part, aways, shares, n, rows, i):
    """Put what :func:`_look` asks of a pixel into column i of rows: the slope of the mean, and that of the colors it has."""
    x, y, z, spread = 0.0, 0.0, 0.0, 0.0
    for l in range(n):
        a, b, c = aways[l, 0], aways[l, 1], aways[l, 2]
        x, y, z = x + shares[l] * a, y + shares[l] * b, z + shares[l] * c
        spread += shares[l] * (a * a + b * b + c * c)
    twice = 2 * (1 - np.float64(part))
    rows[3, i], rows[4, i], rows[5, i] = twice * x, twice * y, twice * z
    rows[6, i] = twice * (x * x + y * y + z * z) + part * spread - NOTHING


@strict
def _take(palette, part, ratio, rows, size, where, chosen, shares, away, aways, ways, right):
    """Take the colors that were found for some pixels; return how many got one, whose rows come first now."""
    nearest, place, counts, left = where[0], where[1], where[2], 0
    for i in range(size):
        at, color = place[i], nearest[i]
        n, new = counts[at], color >= 0
        for l in range(n):
            new = new and chosen[at, l] != color
        if not new:
            continue
        own, parts = chosen[at], shares[at]
        for j in range(3):
            x = np.float64(rows[j, i])
            away[j] = palette[color, j] - x
            for l in range(n):
                aways[l, j] = palette[own[l], j] - x
            rows[j, left] = rows[j, i]
        if n == 0:
            own[0], parts[0], n = color, 1.0, 1
            aways[0, 0], aways[0, 1], aways[0, 2] = away[0], away[1], away[2]
        else:
            n = _admit(color, away, own, aways, parts, n, ways, right)
            n = _balance(ratio, own, aways, parts, n, ways, right)
        counts[at], place[left] = n, at
        _slope(part, aways, parts, n, rows, left)
        left += 1
    return left


@strict
def _pack(labels, chosen, shares, n, label_bits, share_bits):
    """Return the labels of n colors in their order, and how many of the thresholds are below each but the first."""
    for i in range(1, n):
        for j in range(i, 0, -1):
            if chosen[j] < chosen[j - 1]:
                chosen[j], chosen[j - 1] = chosen[j - 1], chosen[j]
                shares[j], shares[j - 1] = shares[j - 1], shares[j]
    whole, total, last, packed = 1 << share_bits, 0.0, 0, np.int64(0)
    for i in range(COLORS):
        begins = np.int64(whole * total + 0.5)
        if i < n and begins < whole:
            last = i
            total += shares[i]
        packed |= labels[chosen[last]] << (i * label_bits + (COLORS - 1) * share_bits)
        if i > 0:
            packed |= min(begins, whole - 1) << ((i - 1) * share_bits)
    return packed


@strict_entry
def find_blends(pixels, palette, labels, bands, scale, part, label_bits, share_bits, scratch, blends):
    """Find the blends of pixels: labels of four colors, and where the shares of all but the first begin, packed.

    Parameters
    ----------
    pixels : (n, D)
    palette : (K, 3) float32
        Colors as they are shown. Shares are in their order.
    labels : (K,) int64
    bands, scale : (3,) int64 and (3, 3) float32
        Of each channel, its band; and rows of black, white and gain, as of a Scale.
    part : float32
        That of the variance.
    label_bits, share_bits : int
    scratch : Scratch
    blends : (n,) OUT
    """
    rows, where, chosen, shares, small = scratch.rows, scratch.where, scratch.chosen, scratch.shares, scratch.small
    B, ratio = rows.shape[1], np.float64(part) / (2 * (1 - np.float64(part)))
    best, nearest, place, counts = rows[6], where[0], where[1], where[2]
    away, aways, ways, right = small[0], small[1:5], small[5:8], small[8]
    for block in range(0, pixels.shape[0], B):
        size = min(B, pixels.shape[0] - block)
        for j in range(3):
            row, slope, band, black, white, gain = rows[j], rows[3 + j], bands[j], scale[0, j], scale[1, j], scale[2, j]
            for i in range(size):
                row[i], slope[i] = min(max(np.float32(pixels[block + i, band]) - black, ZERO), white) * gain, ZERO
        for i in range(size):
            best[i], place[i], counts[i] = FAR, i, 0
        left = size
        for _ in range(ROUNDS):
            _look(palette, part, rows, left, nearest)
            left = _take(palette, part, ratio, rows, left, where, chosen, shares, away, aways, ways, right)
            if left == 0:
                break
        for i in range(size):
            blends[block + i] = _pack(labels, chosen[i], shares[i], counts[i], label_bits, share_bits)
