"""Bytes that the arrays of this room take, for those who must know before they are there."""

import numpy as np

from .buffers import slice_bytes, slices_of

# Bands up to which a table of all colors fits: 256^3 counters.
TABLE_BANDS = 3
# Counters of all colors at once: more threads than these mostly wait for decoding, and each takes 64 MiB.
COUNTERS = 4
# Of a label for each color that a table may have, where there are few labels.
LOOKUP_BYTES = 256**TABLE_BANDS


def counter_dtype(n_pixels: int) -> type:
    """Type of the counters of so many pixels."""
    return np.uint32 if n_pixels < 2**32 else np.uint64


def counter_bytes(n_bands: int, n_pixels: int) -> int:
    """Bytes of the counters of all colors, for so many pixels."""
    return 256**n_bands * np.dtype(counter_dtype(n_pixels)).itemsize


def table_bytes(n_colors: int, n_bands: int, converted: bool = False) -> int:
    """Bytes of a table of so many colors with their counts, and with labels; and with coordinates in another space."""
    return n_colors * (n_bands + 8 + 1 + 4 * n_bands * converted)


def scratch_bytes(n_components: int, n_bands: int, threads: int) -> int:
    """Bytes of the buffers of a parallel launch, or of serial ones in some threads, where these are more."""
    slices = max(slices_of(n_components, n_bands, True), threads * slices_of(n_components, n_bands, False))
    return slices * slice_bytes(n_components, n_bands)
