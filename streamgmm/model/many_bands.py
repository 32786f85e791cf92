"""Densities and moments of a block of pixels in many bands: products of matrices, in tiles of 4 by 4 bands.

Pixels are centered for each component, as sums about its mean do not cancel. Of a tile of bands, rows of pixels are ``BLOCK``
apart whatever the block's size is: the compiler then knows that they do not overlap, and vectorizes over pixels, with the 16
numbers of a tile in registers. Where the last tile lacks bands, buffers are zero and stay so. Diagonal covariances have no
products.

Both functions return where there are no tiles, which leaves nothing of them to compile: see :mod:`few_bands`.
"""

import numpy as np

from .buffers import BLOCK, TILE, VECTORS
from .jit import kernel

ZERO, LOWEST = np.float32(0.0), np.float32(-3e38)


@kernel
def densities_of_many_bands(x, model, tile, centered, root, s, logp, top):
    """Fill logp and top as with a few bands, in buffers of slot s: 4 rows, zero, centered pixels, and a root."""
    if tile is None:
        return
    x, constants, means, roots = x.reshape((-1, BLOCK)), model.constants, model.means, model.roots
    y, d, q = tile[s, 0], centered[s], root[s]
    D, B = means.shape[1], logp.shape[1] & VECTORS
    for i in range(B):
        top[i] = LOWEST
    for k in range(logp.shape[0]):
        for i in range(B):
            logp[k, i] = constants[k]
        if model.diagonal:
            for j in range(D):
                m, r = means[k, j], roots[k, j, j]
                for i in range(B):
                    t = r * (x[j, i] - m)
                    logp[k, i] -= t * t
        else:
            _center(x, means, k, B, d)
            for j in range(D):
                for l in range(j + 1):
                    q[j // TILE, l // TILE, j % TILE * TILE + l % TILE] = roots[k, j, l]
            for j in range(d.shape[0]):
                for l in range(j + 1):
                    _multiply(q, j, l, d, B, y)
                for i in range(B):
                    y0, y1, y2, y3 = y[i], y[BLOCK + i], y[2 * BLOCK + i], y[3 * BLOCK + i]
                    logp[k, i] -= y0 * y0 + y1 * y1 + y2 * y2 + y3 * y3
                    y[i] = y[BLOCK + i] = y[2 * BLOCK + i] = y[3 * BLOCK + i] = ZERO
        for i in range(B):
            top[i] = logp[k, i] if logp[k, i] > top[i] else top[i]


@kernel
def moments_of_many_bands(x, model, tile, centered, s, logp, total, active, sums):
    """Add the block to sums as with a few bands, but nothing off the diagonal of diagonal covariances."""
    if tile is None:
        return
    x, means, a, d = x.reshape((-1, BLOCK)), model.means, tile[s, 1], centered[s]
    D, B = means.shape[1], logp.shape[1] & VECTORS
    for k in range(logp.shape[0]):
        if active[k] == 0:
            continue
        n = ZERO
        for i in range(B):
            logp[k, i] *= total[i]
            n += logp[k, i]
        sums[k, 0] += n
        if model.diagonal:
            for j in range(D):
                m, first, second = means[k, j], ZERO, ZERO
                for i in range(B):
                    t = x[j, i] - m
                    first += logp[k, i] * t
                    second += logp[k, i] * t * t
                sums[k, 1 + j] += first
                sums[k, D + (j + 1) * (j + 2) // 2] += second
        else:
            _center(x, means, k, B, d)
            for j in range(D):
                band, row, first = j // TILE, j % TILE * BLOCK, ZERO
                for i in range(B):
                    a[row + i] = logp[k, i] * d[band, row + i]
                    first += a[row + i]
                sums[k, 1 + j] += first
                if j % TILE == TILE - 1 or j == D - 1:
                    for l in range(band + 1):
                        _add_products(a, band, d, l, B, D, sums, k)


@kernel
def _center(x, means, k, n, d):
    for j in range(means.shape[1]):
        tile, row = j // TILE, j % TILE * BLOCK
        for i in range(n & VECTORS):
            d[tile, row + i] = x[j, i] - means[k, j]


@kernel
def _multiply(root, j, l, d, n, y):
    """Add a tile of the root times 4 bands to 4 rows: 8 loads and 4 stores for 16 multiply-adds."""
    r00, r01, r02, r03 = root[j, l, 0], root[j, l, 1], root[j, l, 2], root[j, l, 3]
    r10, r11, r12, r13 = root[j, l, 4], root[j, l, 5], root[j, l, 6], root[j, l, 7]
    r20, r21, r22, r23 = root[j, l, 8], root[j, l, 9], root[j, l, 10], root[j, l, 11]
    r30, r31, r32, r33 = root[j, l, 12], root[j, l, 13], root[j, l, 14], root[j, l, 15]
    for i in range(n & VECTORS):
        d0, d1, d2, d3 = d[l, i], d[l, BLOCK + i], d[l, 2 * BLOCK + i], d[l, 3 * BLOCK + i]
        y[i] += r00 * d0 + r01 * d1 + r02 * d2 + r03 * d3
        y[BLOCK + i] += r10 * d0 + r11 * d1 + r12 * d2 + r13 * d3
        y[2 * BLOCK + i] += r20 * d0 + r21 * d1 + r22 * d2 + r23 * d3
        y[3 * BLOCK + i] += r30 * d0 + r31 * d1 + r32 * d2 + r33 * d3


@kernel
def _add_products(a, j, d, l, n, n_bands, sums, k):
    """Add the moments of 4 bands with 4 others: 16 sums in registers, and 8 loads for 16 multiply-adds."""
    s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = s20 = s21 = s22 = s23 = s30 = s31 = s32 = s33 = ZERO
    for i in range(n & VECTORS):
        d0, d1, d2, d3 = d[l, i], d[l, BLOCK + i], d[l, 2 * BLOCK + i], d[l, 3 * BLOCK + i]
        a0, a1, a2, a3 = a[i], a[BLOCK + i], a[2 * BLOCK + i], a[3 * BLOCK + i]
        s00, s01, s02, s03 = s00 + a0 * d0, s01 + a0 * d1, s02 + a0 * d2, s03 + a0 * d3
        s10, s11, s12, s13 = s10 + a1 * d0, s11 + a1 * d1, s12 + a1 * d2, s13 + a1 * d3
        s20, s21, s22, s23 = s20 + a2 * d0, s21 + a2 * d1, s22 + a2 * d2, s23 + a2 * d3
        s30, s31, s32, s33 = s30 + a3 * d0, s31 + a3 * d1, s32 + a3 * d2, s33 + a3 * d3
    products = (s00, s01, s02, s03, s10, s11, s12, s13, s20, s21, s22, s23, s30, s31, s32, s33)
    for b in range(TILE):
        row, column = j * TILE + b, l * TILE
        for c in range(TILE):
            if row < n_bands and column + c <= row:
                sums[k, 1 + n_bands + row * (row + 1) // 2 + column + c] += products[b * TILE + c]
