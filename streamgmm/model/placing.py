"""The loops that choose one color of each blend by its place, that keep blends for each color, and that halve an image."""

import numpy as np

from .blends import COLORS
from .jit import entry

# Bits of a threshold.
LEVEL_BITS = 8
# What is added to four times a mean, by its place: it is rounded up as often as it should be.
ROUNDING = ((0, 2), (3, 1))
# What is in the place of a blend that is being found: shares that none has, which are rising.
CLAIMED = np.uint64(1)


@entry
def claim(pixels, codes, bands, table, blends, new, places):
    """Blends <- table[color code of each pixel], and claim and list those that are not there.

    Return how many are listed, and how many pixels have to wait for those.
    """
    n_new, n_waiting = 0, 0
    for i in range(pixels.shape[0]):
        code = codes[0, pixels[i, 0]]
        for j in range(1, len(bands)):
            code |= codes[j, pixels[i, j]]
        blend = table[code]
        if blend == 0:
            table[code] = blend = CLAIMED
            places[n_new] = code
            for j in range(len(bands)):
                new[n_new, j] = pixels[i, j]
            n_new += 1
        n_waiting += blend == CLAIMED
        blends[i] = blend
    return n_new, n_waiting


@entry
def choose(blends, valid, thresholds, top, left, label_bits, share_bits, height, width, labels):
    """Fill labels (n,) with one of each of the blends (n,) of a window, of the valid pixels or else of all.

    thresholds is (N, N), for a power of two.
    """
    inside, n = thresholds.shape[0] - 1, 0
    label_mask, share_mask = (1 << label_bits) - 1, (1 << share_bits) - 1
    for y in range(height):
        row = (top + y) & inside
        for x in range(width):
            if valid.shape[0] > 0 and not valid[y, x]:
                continue
            blend = np.int64(blends[n])
            level = np.int64(thresholds[row, (left + x) & inside]) >> (LEVEL_BITS - share_bits)
            which = 0
            for i in range(COLORS - 1):
                which += level >= (blend >> (i * share_bits)) & share_mask
            labels[n] = (blend >> ((COLORS - 1) * share_bits + which * label_bits)) & label_mask
            n += 1


@entry
def halve(samples, palette, masked, top, left, means, valid):
    """Fill means with those of every 2 x 2 samples that are not masked, valid with whether these are half of them at least.

    samples are labels of a palette, or where that is empty, colors. What is rounded up follows from a mean's place.
    """
    height, width = samples.shape
    for row in range(means.shape[0]):
        for column in range(means.shape[1]):
            red, green, blue, n, there = np.int64(0), np.int64(0), np.int64(0), 0, 0
            for y in range(2 * row, min(2 * row + 2, height)):
                for x in range(2 * column, min(2 * column + 2, width)):
                    sample = np.int64(samples[y, x])
                    there += 1
                    if sample == masked:
                        continue
                    n += 1
                    if palette.shape[0] > 0:
                        red += palette[sample, 0]
                        green += palette[sample, 1]
                        blue += palette[sample, 2]
                    else:
                        red += sample & 255
                        green += (sample >> 8) & 255
                        blue += (sample >> 16) & 255
            valid[row, column] = 2 * n >= there
            up = n * ROUNDING[(top + row) & 1][(left + column) & 1]
            n = 4 * max(n, 1)
            means[row, column, 0] = (4 * red + up) // n
            means[row, column, 1] = (4 * green + up) // n
            means[row, column, 2] = (4 * blue + up) // n
