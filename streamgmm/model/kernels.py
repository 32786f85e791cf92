"""The Numba loops. They check nothing and allocate nothing: callers hand in every buffer, ready to use.

Shapes: ``K`` components, ``D`` bands, ``n`` pixels, ``B`` pixels a block. Inside a block everything is float32 with one row
of ``B`` pixels for each band or component, so that LLVM vectorizes over pixels; across blocks sums are float64. ``bands`` is
a tuple of ``D`` anything for one to eight bands, where its length is a constant to the compiler, and None for any number.
"""

import numpy as np
from numba import prange

from .buffers import BLOCK
from .few_bands import densities_of_few_bands, moments_of_few_bands
from .jit import ParallelKernel, entry, kernel, shared
from .many_bands import densities_of_many_bands, moments_of_many_bands

# Pixels of many bands that are spread at once: as many as a cache line of x holds. One by one, with 64 bands they take 8 times
# as long, because rows a power of two apart share a few places in the cache.
SPREAD = 16
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
ZERO, HALF, MIDDLE = np.float32(0.0), np.float32(0.5), np.float32(1.5)
WHOLE = np.float32(255.0)
# Parts of a level squared that are added up: 16 bits that are off by one are 16 of them.
FINE_BITS = np.int64(20)
FINE, FINE_MASK = 2.0**20, np.int64(2**20 - 1)


@kernel
def _load(pixels, start, stop, bands, size, x):
    """Spread pixels [start, stop) over the rows of x; a short block is filled up with copies of its last pixel."""
    n = stop - start
    if bands is None:
        for first in range(0, n, SPREAD):
            for j in range(pixels.shape[1]):
                for i in range(first, min(first + SPREAD, n)):
                    x[j * BLOCK + i] = pixels[start + i, j]
    else:
        for i in range(n):
            for j in range(len(bands)):
                x[j * BLOCK + i] = pixels[start + i, j]
    for j in range(pixels.shape[1]):
        for i in range(n, size):
            x[j * BLOCK + i] = x[j * BLOCK + n - 1]


@kernel
def _load_weights(weights, start, stop, w):
    """Fill w with the weights of pixels [start, stop), or ones where there are none, and zeros to its end."""
    for i in range(stop - start):
        w[i] = weights[start + i] if weights.shape[0] > 0 else 1.0
    for i in range(stop - start, w.shape[0]):
        w[i] = ZERO


@kernel
def _exponentials(logp, top, total, active):
    """Turn the rows of logp that matter to the block into 2^(row - top), and sum them."""
    for i in range(top.shape[0]):
        total[i] = ZERO
    for k in range(logp.shape[0]):
        matters = 0
        for i in range(logp.shape[1]):
            matters += logp[k, i] - top[i] > NEGLIGIBLE  # top + NEGLIGIBLE is top where that is beyond -2^30
        active[k] = matters
        if matters == 0:
            continue
        for i in range(logp.shape[1]):
            t = logp[k, i] - top[i]
            t = t if t > SMALLEST else SMALLEST  # also where it is no number: far pixels of no weight in many bands
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


@shared
def _accumulate_slice(pixels, weights, start, stop, model, bands, scratch, s, sums):
    """Add pixels [start, stop) to sums, block after block, in buffers of slot s; return their sum of w * log2 likelihood."""
    x, logp, active = scratch.x[s], scratch.logp[s], scratch.active[s]
    w, top, total = scratch.rows[s, 0], scratch.rows[s, 1], scratch.rows[s, 2]
    B, means, roots = logp.shape[1], model.means.reshape(-1), model.roots.reshape(-1)
    loglik = 0.0
    for block in range(start, stop, B):
        end = min(block + B, stop)
        _load(pixels, block, end, bands, B, x)
        _load_weights(weights, block, end, w)
        densities_of_few_bands(x, model.constants, means, roots, bands, logp, top)
        densities_of_many_bands(x, model, scratch.tile, scratch.centered, scratch.root, s, logp, top)
        _exponentials(logp, top, total, active)
        loglik += _normalize(w, top, total)
        moments_of_few_bands(x, model, bands, logp, total, active, sums)
        moments_of_many_bands(x, model, scratch.tile, scratch.centered, s, logp, total, active, sums)
    return loglik


def _accumulate(pixels, weights, bounds, model, bands, scratch, sums, loglik):
    for s in prange(sums.shape[0]):
        loglik[s] = _accumulate_slice(pixels, weights, bounds[s], bounds[s + 1], model, bands, scratch, s, sums[s])


@shared
def _label_slice(pixels, start, stop, model, bands, scratch, s, labels):
    x, logp, best = scratch.x[s], scratch.logp[s], scratch.active[s]
    top, B = scratch.rows[s, 1], scratch.logp.shape[2]
    means, roots = model.means.reshape(-1), model.roots.reshape(-1)
    for block in range(start, stop, B):
        end = min(block + B, stop)
        _load(pixels, block, end, bands, B, x)
        densities_of_few_bands(x, model.constants, means, roots, bands, logp, top)
        densities_of_many_bands(x, model, scratch.tile, scratch.centered, scratch.root, s, logp, top)
        for i in range(B):
            best[i] = 0
        for k in range(logp.shape[0] - 1, -1, -1):
            for i in range(B):
                if logp[k, i] == top[i]:  # a choice of two values, stored for every pixel, takes 4 times as long
                    best[i] = k
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
    x, logp, active = scratch.x[0], scratch.logp[0], scratch.active[0]
    top, total, B = scratch.rows[0, 1], scratch.rows[0, 2], scratch.logp.shape[2]
    means, roots = model.means.reshape(-1), model.roots.reshape(-1)
    for block in range(0, pixels.shape[0], B):
        end = min(block + B, pixels.shape[0])
        _load(pixels, block, end, bands, B, x)
        densities_of_few_bands(x, model.constants, means, roots, bands, logp, top)
        densities_of_many_bands(x, model, scratch.tile, scratch.centered, scratch.root, 0, logp, top)
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
def squared_error(pixels, weights, labels, palette, scale, counts, sums):
    """Add squared distances of pixels, as they are shown, to palette (K, 3), and count their labels in counts.

    The palette is in samples above black, and distances are in levels of 8 bits: whole ones are added to sums[0], and what
    is over, in 2^-20, to sums[1]. Weights are whole numbers. So sums are exact, in any order.
    """
    for i in range(pixels.shape[0]):
        k = labels[i]
        w = weights[i] if weights.shape[0] > 0 else 1.0
        s = ZERO
        for j in range(len(scale.bands)):
            x = np.float32(pixels[i, scale.bands[j]]) - scale.black[j]
            d = (min(max(x, ZERO), scale.white[j]) - palette[k, j]) * scale.gain[j]
            s += d * d
        fine = np.int64(np.float64(s) * FINE + 0.5)
        sums[0] += np.int64(w) * (fine >> FINE_BITS)
        sums[1] += np.int64(w) * (fine & FINE_MASK)
        counts[k] += w


@entry
def color_sums(pixels, weights, labels, scale, sums, counts):
    """Add pixels, as they are shown, in levels of 8 bits, to sums (K, 3) of their labels, and count these."""
    for i in range(pixels.shape[0]):
        k = labels[i]
        w = weights[i] if weights.shape[0] > 0 else 1.0
        for j in range(len(scale.bands)):
            x = np.float32(pixels[i, scale.bands[j]]) - scale.black[j]
            sums[k, j] += w * np.float64(min(max(x, ZERO), scale.white[j]) * scale.gain[j])
        counts[k] += w


@entry
def nearest(colors, mean, distances):
    """Lower distances (n,), float64, to squared distances of colors (n, D) from mean (D,), in float32, where these are less."""
    for i in range(colors.shape[0]):
        s = ZERO
        for j in range(colors.shape[1]):
            d = np.float32(colors[i, j]) - mean[j]
            s += d * d
        distances[i] = min(distances[i], s)
