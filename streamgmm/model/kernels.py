"""The Numba loops. They check nothing and allocate nothing: callers hand in every buffer, ready to use.

Shapes: ``K`` components, ``D`` bands, ``n`` pixels, ``B`` pixels a block. Inside a block everything is float32 with one row
of ``B`` pixels for each band or component, so that LLVM vectorizes over pixels; across blocks sums are float64. ``bands`` is
a tuple of ``D`` anything for one to four bands, where its length is a constant to the compiler and the sums stay in registers,
and the empty tuple for any number of bands, where they pass through rows.
"""

import numpy as np
from numba import prange

from .jit import ParallelKernel, entry, kernel, shared

# log2 responsibility below which a component does not matter to a block: 2^-30 is a 64th of float32's resolution.
# Skipping such components makes a pass over a photo 1.2 times faster and leaves the log-likelihood as it is.
NEGLIGIBLE = np.float32(-30.0)
# Responsibilities end here: products with them stay clear of subnormal numbers, which cost 1.3 times the pass.
SMALLEST = np.float32(-64.0)

# Coefficients on [-1/2, 1/2], lowest power first, of 2^f (relative error 2e-7, with 2^0 = 1 exactly) and of log2(1.5 + f)
# (absolute error 5e-8).
E0, E1, E2 = np.float32(1.0), np.float32(0.69314718), np.float32(0.24022349)
E3, E4, E5 = np.float32(0.05550381), np.float32(0.00966637), np.float32(0.00133813)
L0, L1, L2 = np.float32(0.584962494), np.float32(0.961795972), np.float32(-0.320597666)
L3, L4, L5 = np.float32(0.14252637), np.float32(-0.0712830114), np.float32(0.0374629375)
L6, L7, L8 = np.float32(-0.020685855), np.float32(0.0147787208), np.float32(-0.00887469665)

MANTISSA, ONE, BIAS, SHIFT = np.int32(0x7FFFFF), np.int32(0x3F800000), np.int32(127), np.int32(23)
ZERO, HALF, MIDDLE, LOWEST = np.float32(0.0), np.float32(0.5), np.float32(1.5), np.float32(-3e38)
WHOLE = np.float32(255.0)


@kernel
def _load(pixels, start, stop, bands, x):
    """Spread pixels [start, stop) over the rows of x; a short block is filled up with copies of its last pixel."""
    n = stop - start
    if len(bands) > 0:
        for i in range(n):
            for j in range(len(bands)):
                x[j, i] = pixels[start + i, j]
    else:
        for i in range(n):
            for j in range(x.shape[0]):
                x[j, i] = pixels[start + i, j]
    for j in range(x.shape[0]):
        for i in range(n, x.shape[1]):
            x[j, i] = x[j, n - 1]


@kernel
def _load_weights(weights, start, stop, w):
    """Fill w with the weights of pixels [start, stop), or ones where there are none, and zeros to its end."""
    for i in range(stop - start):
        w[i] = weights[start + i] if weights.shape[0] > 0 else 1.0
    for i in range(stop - start, w.shape[0]):
        w[i] = ZERO


@kernel
def _densities(x, model, bands, logp, top, y):
    """Fill logp (K, B) with log2 of weight times density, and top (B,) with its maximum over components."""
    for i in range(top.shape[0]):
        top[i] = LOWEST
    if len(bands) > 0:
        _densities_in_registers(x, model, bands, logp, top)
    else:
        _densities_in_rows(x, model, logp, top, y)


@kernel
def _densities_in_registers(x, model, bands, logp, top):
    D = len(bands)
    m, r = model.means, model.roots
    m1 = m2 = m3 = r10 = r11 = r20 = r21 = r22 = r30 = r31 = r32 = r33 = ZERO
    for k in range(logp.shape[0]):
        c, m0, r00 = model.constants[k], m[k, 0], r[k, 0, 0]
        if D > 1:
            m1, r10, r11 = m[k, 1], r[k, 1, 0], r[k, 1, 1]
        if D > 2:
            m2, r20, r21, r22 = m[k, 2], r[k, 2, 0], r[k, 2, 1], r[k, 2, 2]
        if D > 3:
            m3, r30, r31, r32, r33 = m[k, 3], r[k, 3, 0], r[k, 3, 1], r[k, 3, 2], r[k, 3, 3]
        for i in range(logp.shape[1]):
            d0 = x[0, i] - m0
            y = r00 * d0
            q = c - y * y
            if D > 1:
                d1 = x[1, i] - m1
                y = r10 * d0 + r11 * d1
                q -= y * y
            if D > 2:
                d2 = x[2, i] - m2
                y = r20 * d0 + r21 * d1 + r22 * d2
                q -= y * y
            if D > 3:
                d3 = x[3, i] - m3
                y = r30 * d0 + r31 * d1 + r32 * d2 + r33 * d3
                q -= y * y
            logp[k, i] = q
            top[i] = q if q > top[i] else top[i]


@kernel
def _densities_in_rows(x, model, logp, top, y):
    m, r = model.means, model.roots
    for k in range(logp.shape[0]):
        for i in range(logp.shape[1]):
            logp[k, i] = model.constants[k]
        for j in range(x.shape[0]):
            for i in range(logp.shape[1]):
                y[i] = ZERO
            for l in range(j if model.diagonal else 0, j + 1):
                for i in range(logp.shape[1]):
                    y[i] += r[k, j, l] * (x[l, i] - m[k, l])
            for i in range(logp.shape[1]):
                logp[k, i] -= y[i] * y[i]
        for i in range(logp.shape[1]):
            top[i] = logp[k, i] if logp[k, i] > top[i] else top[i]


@kernel
def _exponentials(logp, top, total, active):
    """Turn the rows of logp that matter to the block into 2^(row - top), and sum them."""
    for i in range(top.shape[0]):
        total[i] = ZERO
    for k in range(logp.shape[0]):
        matters = 0
        for i in range(logp.shape[1]):
            matters += logp[k, i] > top[i] + NEGLIGIBLE
        active[k] = matters
        if matters == 0:
            continue
        for i in range(logp.shape[1]):
            t = max(logp[k, i] - top[i], SMALLEST)
            e = np.floor(t + HALF)
            f = t - e
            p = E0 + f * (E1 + f * (E2 + f * (E3 + f * (E4 + f * E5))))
            p *= np.int32((np.int32(e) + BIAS) << SHIFT).view(np.float32)
            logp[k, i] = p
            total[i] += p


@kernel
def _normalize(w, top, total):
    """Return the sum of w * log2 likelihood, and turn total into w / total, which makes responsibilities of the rows."""
    s = 0.0
    for i in range(w.shape[0]):
        bits = np.float32(total[i]).view(np.int32)
        f = np.int32((bits & MANTISSA) | ONE).view(np.float32) - MIDDLE
        p = L0 + f * (L1 + f * (L2 + f * (L3 + f * (L4 + f * (L5 + f * (L6 + f * (L7 + f * L8)))))))
        e = np.float32((bits >> SHIFT) - BIAS)
        s += np.float64(w[i]) * (np.float64(top[i]) + np.float64(e + p))
        total[i] = w[i] / total[i]
    return s


@kernel
def _moments(x, model, bands, logp, total, active, y, sums):
    """Add the block to sums (K, 1 + D + D (D + 1) / 2): sum r, sum r d, and the lower triangle of sum r d d^T."""
    if len(bands) > 0:
        _moments_in_registers(x, model, bands, logp, total, active, sums)
    else:
        _moments_in_rows(x, model, logp, total, active, y, sums)


@kernel
def _moments_in_registers(x, model, bands, logp, total, active, sums):
    D = len(bands)
    m = model.means
    m1 = m2 = m3 = ZERO
    for k in range(logp.shape[0]):
        if active[k] == 0:
            continue
        m0 = m[k, 0]
        if D > 1:
            m1 = m[k, 1]
        if D > 2:
            m2 = m[k, 2]
        if D > 3:
            m3 = m[k, 3]
        n = s0 = s1 = s2 = s3 = s00 = s10 = s11 = s20 = s21 = s22 = s30 = s31 = s32 = s33 = ZERO
        for i in range(logp.shape[1]):
            r = logp[k, i] * total[i]
            n += r
            d0 = x[0, i] - m0
            a = r * d0
            s0 += a
            s00 += a * d0
            if D > 1:
                d1 = x[1, i] - m1
                a = r * d1
                s1 += a
                s10 += a * d0
                s11 += a * d1
            if D > 2:
                d2 = x[2, i] - m2
                a = r * d2
                s2 += a
                s20 += a * d0
                s21 += a * d1
                s22 += a * d2
            if D > 3:
                d3 = x[3, i] - m3
                a = r * d3
                s3 += a
                s30 += a * d0
                s31 += a * d1
                s32 += a * d2
                s33 += a * d3
        moments = (n, s0, s1, s2, s3, s00, s10, s11, s20, s21, s22, s30, s31, s32, s33)
        for j in range(D + 1):
            sums[k, j] += moments[j]
        for j in range(D * (D + 1) // 2):
            sums[k, 1 + D + j] += moments[5 + j]


@kernel
def _moments_in_rows(x, model, logp, total, active, y, sums):
    D = x.shape[0]
    m = model.means
    for k in range(logp.shape[0]):
        if active[k] == 0:
            continue
        n = ZERO
        for i in range(logp.shape[1]):
            logp[k, i] *= total[i]
            n += logp[k, i]
        sums[k, 0] += n
        position = 1 + D
        for j in range(D):
            s = ZERO
            for i in range(logp.shape[1]):
                y[i] = logp[k, i] * (x[j, i] - m[k, j])
                s += y[i]
            sums[k, 1 + j] += s
            for l in range(j + 1):
                if l == j or not model.diagonal:
                    s = ZERO
                    for i in range(logp.shape[1]):
                        s += y[i] * (x[l, i] - m[k, l])
                    sums[k, position] += s
                position += 1


@shared
def _accumulate_slice(pixels, weights, start, stop, model, bands, scratch, s, sums):
    """Add pixels [start, stop) to sums, block after block, in buffers of slot s; return their sum of w * log2 likelihood."""
    D, B = pixels.shape[1], scratch.logp.shape[2]
    logp, active = scratch.logp[s], scratch.active[s]
    x, w = scratch.rows[s, :D], scratch.rows[s, D]
    top, total, y = scratch.rows[s, D + 1], scratch.rows[s, D + 2], scratch.rows[s, D + 3]
    loglik = 0.0
    for block in range(start, stop, B):
        end = min(block + B, stop)
        _load(pixels, block, end, bands, x)
        _load_weights(weights, block, end, w)
        _densities(x, model, bands, logp, top, y)
        _exponentials(logp, top, total, active)
        loglik += _normalize(w, top, total)
        _moments(x, model, bands, logp, total, active, y, sums)
    return loglik


def _accumulate(pixels, weights, bounds, model, bands, scratch, sums, loglik):
    for s in prange(sums.shape[0]):
        loglik[s] = _accumulate_slice(pixels, weights, bounds[s], bounds[s + 1], model, bands, scratch, s, sums[s])


@shared
def _label_slice(pixels, start, stop, model, bands, scratch, s, labels):
    D, B = pixels.shape[1], scratch.logp.shape[2]
    logp, best = scratch.logp[s], scratch.active[s]
    x, top, y = scratch.rows[s, :D], scratch.rows[s, D], scratch.rows[s, D + 1]
    for block in range(start, stop, B):
        end = min(block + B, stop)
        _load(pixels, block, end, bands, x)
        _densities(x, model, bands, logp, top, y)
        for i in range(B):
            best[i] = 0
        for k in range(logp.shape[0] - 1, -1, -1):
            for i in range(B):
                best[i] = k if logp[k, i] == top[i] else best[i]
        for i in range(end - block):
            labels[block + i] = best[i]


def _label(pixels, bounds, model, bands, scratch, labels):
    for s in prange(bounds.shape[0] - 1):
        _label_slice(pixels, bounds[s], bounds[s + 1], model, bands, scratch, s, labels)


# (pixels (n, D), weights (n,) float64 or empty, bounds (S + 1,), model, bands, scratch, sums (S, K, M), loglik (S,)):
# the statistics of slice s of the pixels, which is [bounds[s], bounds[s + 1]), into sums[s] and loglik[s].
accumulate = ParallelKernel(_accumulate)

# (pixels (n, D), bounds (S + 1,), model, bands, scratch, labels (n,)): the component of largest responsibility, the first of
# equals.
label = ParallelKernel(_label)


@entry
def confidence(pixels, model, bands, scratch, largest):
    """Fill largest (n,) with 255 times the largest responsibility of each pixel, rounded, at least 1; scratch has one slot."""
    D, B = pixels.shape[1], scratch.logp.shape[2]
    logp, active = scratch.logp[0], scratch.active[0]
    x, top, total, y = scratch.rows[0, :D], scratch.rows[0, D], scratch.rows[0, D + 1], scratch.rows[0, D + 2]
    for block in range(0, pixels.shape[0], B):
        end = min(block + B, pixels.shape[0])
        _load(pixels, block, end, bands, x)
        _densities(x, model, bands, logp, top, y)
        _exponentials(logp, top, total, active)
        for i in range(end - block):
            largest[block + i] = max(WHOLE / total[i] + HALF, E0)


@entry
def count(pixels, codes, bands, counters):
    """Add one to the counter of each pixel's color code."""
    for i in range(pixels.shape[0]):
        code = codes[0, pixels[i, 0]]
        for j in range(1, len(bands)):
            code |= codes[j, pixels[i, j]]
        counters[code] += 1


@entry
def lookup(pixels, codes, bands, table, labels):
    """Labels <- table[color code of each pixel]."""
    for i in range(pixels.shape[0]):
        code = codes[0, pixels[i, 0]]
        for j in range(1, len(bands)):
            code |= codes[j, pixels[i, j]]
        labels[i] = table[code]


@entry
def compact(counters, colors, counts):
    """Write the colors that occur, in the order of their code, and how often each does."""
    D = colors.shape[1]
    n = 0
    for code in range(counters.shape[0]):
        if counters[code] > 0:
            counts[n] = counters[code]
            for j in range(D):
                value = 0
                for bit in range(8):
                    value |= ((code >> (bit * D + j)) & 1) << bit
                colors[n, j] = value
            n += 1


@entry
def squared_error(pixels, weights, labels, palette, counts):
    """Return the weighted sum of squared distances of pixels to palette (K, D), in sample units; count labels in counts."""
    error = 0.0
    for i in range(pixels.shape[0]):
        k = labels[i]
        w = weights[i] if weights.shape[0] > 0 else 1.0
        s = ZERO
        for j in range(pixels.shape[1]):
            d = np.float32(pixels[i, j]) - palette[k, j]
            s += d * d
        error += w * np.float64(s)
        counts[k] += w
    return error
