"""Pixels, mixtures and buffers in the form the kernels take."""

from typing import NamedTuple

import numpy as np

from .mixture import Mixture

# Pixels a block: 256 float32 are 1 KiB a row, so 16 components stay in the first-level cache. Blocks of 128 and 512 pixels
# are within the noise of it.
BLOCK = 256
# Pixels a slice, the unit of parallel work and of float64 sums: fixed, because results must not depend on threads.
SLICE = 64 * BLOCK
# Slices of one parallel launch and the bytes their buffers may take: bounds memory, changes no result.
SLICES, SLICE_BYTES = 64, 64 << 20
SERIAL_BYTES = 4 << 20  # of a serial launch, which is one of many, each in a thread
# Floats that are closer than this part of their range count as one colour for the purposes of a mixture.
FLOAT_LEVEL = 2.0**-20
# Bands up to which the kernels keep their sums in registers.
REGISTER_BANDS = 4

# Tables that are counted into at once: more threads than these mostly wait for decoding, and each table takes 64 MiB.
LANES = 4
# Components whose labels fit 8 bits.
SMALL_LABELS = 256


class Model(NamedTuple):
    """A mixture in float32 and sample units, such that log2 of weight times density is constant - |root (x - mean)|^2."""

    means: np.ndarray  # (K, D)
    roots: np.ndarray  # (K, D, D), lower triangular
    constants: np.ndarray  # (K,)
    diagonal: bool


class Scratch(NamedTuple):
    """Buffers of S slices."""

    rows: np.ndarray  # (S, D + 4, B) float32
    logp: np.ndarray  # (S, K, B) float32
    active: np.ndarray  # (S, max(K, B)) int32


def scale_of(dtype) -> float:
    """Sample value that stands for 1.0: the maximum of an integer type, and 1 for floats."""
    return float(np.iinfo(dtype).max) if np.issubdtype(dtype, np.integer) else 1.0


def level_of(dtype) -> float:
    """Distance of neighbouring sample values, colours in [0, 1]; for floats one that is lost in the smallest variance."""
    return 1 / scale_of(dtype) if np.issubdtype(dtype, np.integer) else FLOAT_LEVEL


def model_of(mixture: Mixture, scale: float) -> Model:
    """Round a mixture of colours in [0, 1] to the form the kernels take for samples in [0, scale]."""
    roots = mixture.whitening_roots()
    log_roots = np.log2(np.diagonal(roots, axis1=1, axis2=2)).sum(axis=1)
    with np.errstate(divide="ignore"):  # a dead component has weight 0 and log weight -inf
        log_weights = np.log2(mixture.weights)
    constants = log_weights + log_roots - mixture.n_bands / 2 * np.log2(2 * np.pi)
    return Model(
        means=(mixture.means * scale).astype(np.float32),
        roots=(roots * (np.sqrt(np.log2(np.e) / 2) / scale)).astype(np.float32),
        constants=constants.astype(np.float32),
        diagonal=mixture.covariance_type in ("diag", "spherical"),
    )


def as_pixels(array: np.ndarray) -> np.ndarray:
    """View an array (..., D) as read-only, native, aligned, C-contiguous pixels (n, D): one Numba signature for each dtype."""
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    pixels = np.require(array, requirements=["C", "A"]).reshape(-1, array.shape[-1])
    pixels.flags.writeable = False
    return pixels


def bands_of(n_bands: int) -> tuple[int, ...]:
    """The number of bands as a constant for the compiler, or nothing where there are too many for registers."""
    return (0,) * n_bands if n_bands <= REGISTER_BANDS else ()


def block_size(n_components: int) -> int:
    """Pixels a block: fewer for thousands of components, to keep the log densities of a block within 4 MiB."""
    return max(16, min(BLOCK, (1 << 20) // n_components // 16 * 16))


def scratch_for(n_slices: int, n_components: int, n_bands: int) -> Scratch:
    """Allocate the buffers of some slices."""
    size = block_size(n_components)
    return Scratch(
        rows=np.empty((n_slices, n_bands + 4, size), np.float32),
        logp=np.empty((n_slices, n_components, size), np.float32),
        active=np.empty((n_slices, max(n_components, size)), np.int32),
    )


def launches(n_pixels: int, n_components: int, n_bands: int, parallel: bool = True):
    """Yield the slice bounds (S + 1,) of one launch after another: of a parallel kernel, or of a serial one."""
    n_slices = _n_slices(n_components, n_bands, parallel)
    for first in range(0, n_pixels, n_slices * SLICE):
        last = min(n_pixels, first + n_slices * SLICE)
        yield np.append(np.arange(first, last, SLICE), last)


def scratch_bytes(n_components: int, n_bands: int, threads: int) -> int:
    """Bytes of the buffers of a parallel launch, or of serial ones in some threads, where these are more."""
    slices = max(_n_slices(n_components, n_bands, True), threads * _n_slices(n_components, n_bands, False))
    return slices * _slice_bytes(n_components, n_bands)


def _n_slices(n_components: int, n_bands: int, parallel: bool) -> int:
    size = SLICE_BYTES if parallel else SERIAL_BYTES
    return max(1, min(SLICES, size // _slice_bytes(n_components, n_bands)))


def _slice_bytes(n_components: int, n_bands: int) -> int:
    return n_components * (4 * block_size(n_components) + 8 * n_moments(n_bands))


def n_moments(n_bands: int) -> int:
    """Length of (sum r, sum r d, lower triangle of sum r d d^T)."""
    return 1 + n_bands + n_bands * (n_bands + 1) // 2


def counter_dtype(n_pixels: int) -> type:
    """Type of the counters of so many pixels."""
    return np.uint32 if n_pixels < 2**32 else np.uint64


def counter_bytes(n_bands: int, n_pixels: int) -> int:
    """Bytes of the counters of all colours, for so many pixels."""
    return 256**n_bands * np.dtype(counter_dtype(n_pixels)).itemsize


def table_bytes(n_colours: int, n_bands: int) -> int:
    """Bytes of a table of so many colours with their counts, and with labels."""
    return n_colours * (n_bands + 8 + 1)


def label_dtype(n_components: int) -> np.dtype:
    """Type of the labels: uint8 for up to 256 components, uint16 above."""
    return np.dtype(np.uint8 if n_components <= SMALL_LABELS else np.uint16)
