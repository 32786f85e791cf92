"""Densities and moments of a block of pixels in a few bands, whose number is a constant to the compiler.

What belongs to a pixel stays in registers. Bands are rows of a flat buffer, ``BLOCK`` apart whatever the block's size is: the
compiler then knows how far apart they are, and vectorizes over pixels without asking whether they overlap. Diagonal covariances
pass for full ones: that takes two thirds of the time of a loop over bands with 5, and 1.5 times as long with 8. Arrays are
taken out of a model ahead of the loops over components: each time takes as long as 60 pixels of one component.

Both functions return where there are no ``bands``: Numba leaves out what follows such a test of an argument, and has no code of
one form to compile in functions that are compiled for the other.
"""

import numpy as np

from .buffers import BLOCK, VECTORS
from .jit import kernel

ZERO, LOWEST = np.float32(0.0), np.float32(-3e38)


@kernel
def densities_of_few_bands(x, constants, means, roots, bands, logp, top):
    """Fill logp (K, B) with log2 of weight times density, and top (B,) with its maximum over components.

    ``means`` and ``roots`` are flat. The compiler unrolls loops over bands of up to 36 terms (LLVM 15, as in Numba 0.61), which
    is why there are two of them: 8 bands run at 130 GFlop/s, and at 1 where they are not unrolled.
    """
    if bands is None:
        return
    D = len(bands)
    for i in range(top.shape[0]):
        top[i] = LOWEST
    for k in range(logp.shape[0]):
        c = constants[k]
        for i in range(logp.shape[1] & VECTORS):
            q = c
            for j in range(min(D, 6)):
                y = ZERO
                for l in range(min(D, 6)):
                    if l <= j:
                        y += roots[(k * D + j) * D + l] * (x[l * BLOCK + i] - means[k * D + l])
                q -= y * y
            for j in range(6, D):
                y = ZERO
                for l in range(D):
                    if l <= j:
                        y += roots[(k * D + j) * D + l] * (x[l * BLOCK + i] - means[k * D + l])
                q -= y * y
            logp[k, i] = q
            top[i] = q if q > top[i] else top[i]


@kernel
def moments_of_few_bands(x, model, bands, logp, total, active, sums):
    """Add the block to sums (K, 1 + D + D (D + 1) / 2): sum r, sum r d, and the lower triangle of sum r d d^T.

    Responsibilities are total times the rows of logp, of components that are active.
    """
    if bands is None:
        return
    means = model.means
    for k in range(logp.shape[0]):
        if active[k] > 0:
            _first_four(x, means, bands, logp, total, k, sums)
            if len(bands) > 4:
                _next_four(x, means, bands, logp, total, k, sums)


@kernel
def _first_four(x, means, bands, logp, total, k, sums):
    """Add the sum of responsibilities, and the moments of the first four bands.

    Loops that end with constants are unrolled, which makes plain numbers of the tuples.
    """
    D = len(bands)
    m0, m1, m2, m3 = means[k, 0], means[k, min(1, D - 1)], means[k, min(2, D - 1)], means[k, min(3, D - 1)]
    n = s0 = s1 = s2 = s3 = s00 = s10 = s11 = s20 = s21 = s22 = s30 = s31 = s32 = s33 = ZERO
    for i in range(logp.shape[1] & VECTORS):
        r = logp[k, i] * total[i]
        n += r
        d0 = x[i] - m0
        a = r * d0
        s0 += a
        s00 += a * d0
        if D > 1:
            d1 = x[BLOCK + i] - m1
            a = r * d1
            s1 += a
            s10 += a * d0
            s11 += a * d1
        if D > 2:
            d2 = x[2 * BLOCK + i] - m2
            a = r * d2
            s2 += a
            s20 += a * d0
            s21 += a * d1
            s22 += a * d2
        if D > 3:
            d3 = x[3 * BLOCK + i] - m3
            a = r * d3
            s3 += a
            s30 += a * d0
            s31 += a * d1
            s32 += a * d2
            s33 += a * d3
    first, second = (n, s0, s1, s2, s3), (s00, s10, s11, s20, s21, s22, s30, s31, s32, s33)
    for j in range(5):
        if j <= D:
            sums[k, j] += first[j]
    for j in range(10):
        if j < D * (D + 1) // 2:
            sums[k, 1 + D + j] += second[j]


@kernel
def _next_four(x, means, bands, logp, total, k, sums):
    """Add the moments of the next four bands, with one another and with the first four."""
    D = len(bands)
    m0, m1, m2, m3, m4 = means[k, 0], means[k, 1], means[k, 2], means[k, 3], means[k, 4]
    m5, m6, m7 = means[k, min(5, D - 1)], means[k, min(6, D - 1)], means[k, min(7, D - 1)]
    s4 = s5 = s6 = s7 = s40 = s41 = s42 = s43 = s44 = s50 = s51 = s52 = s53 = s54 = s55 = ZERO
    s60 = s61 = s62 = s63 = s64 = s65 = s66 = s70 = s71 = s72 = s73 = s74 = s75 = s76 = s77 = ZERO
    for i in range(logp.shape[1] & VECTORS):
        r = logp[k, i] * total[i]
        d0, d1, d2, d3 = x[i] - m0, x[BLOCK + i] - m1, x[2 * BLOCK + i] - m2, x[3 * BLOCK + i] - m3
        d4 = x[4 * BLOCK + i] - m4
        a = r * d4
        s4 += a
        s40, s41, s42, s43, s44 = s40 + a * d0, s41 + a * d1, s42 + a * d2, s43 + a * d3, s44 + a * d4
        if D > 5:
            d5 = x[5 * BLOCK + i] - m5
            a = r * d5
            s5 += a
            s50, s51, s52, s53, s54, s55 = s50 + a * d0, s51 + a * d1, s52 + a * d2, s53 + a * d3, s54 + a * d4, s55 + a * d5
        if D > 6:
            d6 = x[6 * BLOCK + i] - m6
            a = r * d6
            s6 += a
            s60, s61, s62, s63 = s60 + a * d0, s61 + a * d1, s62 + a * d2, s63 + a * d3
            s64, s65, s66 = s64 + a * d4, s65 + a * d5, s66 + a * d6
        if D > 7:
            d7 = x[7 * BLOCK + i] - m7
            a = r * d7
            s7 += a
            s70, s71, s72, s73 = s70 + a * d0, s71 + a * d1, s72 + a * d2, s73 + a * d3
            s74, s75, s76, s77 = s74 + a * d4, s75 + a * d5, s76 + a * d6, s77 + a * d7
    first, fifth, sixth = (s4, s5, s6, s7), (s40, s41, s42, s43, s44), (s50, s51, s52, s53, s54, s55)
    seventh, eighth = (s60, s61, s62, s63, s64, s65, s66), (s70, s71, s72, s73, s74, s75, s76, s77)
    for j in range(4):
        if 4 + j < D:
            sums[k, 5 + j] += first[j]
    for l in range(8):
        if l < 5:
            sums[k, 11 + D + l] += fifth[l]
        if D > 5 and l < 6:
            sums[k, 16 + D + l] += sixth[l]
        if D > 6 and l < 7:
            sums[k, 22 + D + l] += seventh[l]
        if D > 7:
            sums[k, 29 + D + l] += eighth[l]
