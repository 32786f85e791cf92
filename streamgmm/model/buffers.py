"""Pixels, mixtures and buffers in the form the kernels take."""

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from .mixture import Mixture

# Pixels a block: 256 float32 are 1 KiB a row, so 16 components stay in the first-level cache. Blocks of 128 and 512 pixels
# are within the noise of it.
BLOCK = 256
# Of the pixels of a block, a mask for those in whole vectors, which are all: it tells the compiler that there is no rest.
VECTORS = -16
# Pixels a slice, the unit of parallel work and of float64 sums: fixed, because results must not depend on threads.
SLICE = 64 * BLOCK
# Slices of one parallel launch and the bytes their buffers may take: bounds memory, changes no result.
SLICES, SLICE_BYTES = 64, 64 << 20
SERIAL_BYTES = 4 << 20  # of a serial launch, which is one of many, each in a thread
# Bands up to which the kernels keep their sums in registers, and are compiled for each number of bands: 9 to 12 would need
# more registers than there are, and their loops are too long for the compiler to unroll.
REGISTER_BANDS = 8
# Bands of a tile of the matrix products above that: the 16 sums of a tile leave registers for what is multiplied.
TILE = 4
# Bytes of a cache line, and of the longest vectors.
LINE = 64
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

    x: np.ndarray  # (S, D * BLOCK) float32
    rows: np.ndarray  # (S, 3, B) float32
    logp: np.ndarray  # (S, K, B) float32
    active: np.ndarray  # (S, max(K, B)) int32
    # Only for many bands, in T tiles, and zero to begin with: rows of two tiles, centered pixels, and a root.
    tile: np.ndarray | None  # (S, 2, TILE * BLOCK) float32
    centered: np.ndarray | None  # (S, T, TILE * BLOCK) float32
    root: np.ndarray | None  # (S, T, T, TILE * TILE) float32


def model_of(mixture: "Mixture", dtype: np.dtype) -> Model:
    """Round a mixture to the form the kernels take for samples of a type."""
    roots = mixture.whitening_roots()
    log_roots = np.log2(np.diagonal(roots, axis1=1, axis2=2)).sum(axis=1)
    with np.errstate(divide="ignore"):  # a dead component has weight 0 and log weight -inf
        log_weights = np.log2(mixture.weights)
    constants = log_weights + log_roots - mixture.n_bands / 2 * np.log2(2 * np.pi)
    return Model(
        means=mixture.space.inverse(mixture.means, dtype).astype(np.float32),
        roots=(roots / mixture.space.scale(dtype) * np.sqrt(np.log2(np.e) / 2)).astype(np.float32),
        constants=constants.astype(np.float32),
        diagonal=mixture.covariance_type in ("diag", "spherical", "isotropic"),
    )


def as_pixels(array: np.ndarray) -> np.ndarray:
    """View an array (..., D) as read-only, native, aligned, C-contiguous pixels (n, D): one Numba signature for each dtype."""
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    pixels = np.require(array, requirements=["C", "A"]).reshape(-1, array.shape[-1])
    pixels.flags.writeable = False
    return pixels


def bands_of(n_bands: int) -> tuple[int, ...] | None:
    """The number of bands as a constant for the compiler, or None where there are too many for registers."""
    return (0,) * n_bands if n_bands <= REGISTER_BANDS else None


def block_size(n_components: int) -> int:
    """Pixels a block: fewer for thousands of components, to keep the log densities of a block within 4 MiB, but 64 at least.

    With 65,535 components blocks of 64 pixels take 16 MiB, and less than half the time of blocks of 16.
    """
    return max(64, min(BLOCK, (1 << 20) // n_components // 16 * 16))


def scratch_for(n_slices: int, n_components: int, n_bands: int) -> Scratch:
    """Allocate the buffers of some slices."""
    size, n_tiles = block_size(n_components), tiles_of(n_bands)
    return Scratch(
        x=_aligned(n_slices, n_bands * BLOCK),
        rows=_aligned(n_slices, 3, size),
        logp=_aligned(n_slices, n_components, size),
        active=np.empty((n_slices, max(n_components, size)), np.int32),
        tile=_aligned(n_slices, 2, TILE * BLOCK) if n_tiles else None,
        centered=_aligned(n_slices, n_tiles, TILE * BLOCK) if n_tiles else None,
        root=_aligned(n_slices, n_tiles, n_tiles, TILE * TILE) if n_tiles else None,
    )


def _aligned(*shape: int) -> np.ndarray:
    """Return float32 zeros that begin at a cache line, as its rows do.

    Vectors that lie on two lines make a pass in one band 1.2 times as long.
    """
    size = math.prod(shape)
    buffer = np.zeros(size + LINE // 4, np.float32)
    first = -buffer.ctypes.data % LINE // 4
    return buffer[first : first + size].reshape(shape)


def launches(n_pixels: int, n_components: int, n_bands: int, parallel: bool = True):
    """Yield the slice bounds (S + 1,) of one launch after another: of a parallel kernel, or of a serial one."""
    n_slices = slices_of(n_components, n_bands, parallel)
    for first in range(0, n_pixels, n_slices * SLICE):
        last = min(n_pixels, first + n_slices * SLICE)
        yield np.append(np.arange(first, last, SLICE), last)


def slices_of(n_components: int, n_bands: int, parallel: bool) -> int:
    """Return the slices of one launch: of a parallel kernel, or of a serial one."""
    size = SLICE_BYTES if parallel else SERIAL_BYTES
    return max(1, min(SLICES, size // slice_bytes(n_components, n_bands)))


def slice_bytes(n_components: int, n_bands: int) -> int:
    """Return the bytes of the buffers of a slice, and of its sums."""
    n_tiles = tiles_of(n_bands)
    bands = 4 * (n_bands * BLOCK + (n_tiles and n_tiles + 2) * TILE * BLOCK + (n_tiles * TILE) ** 2)
    return bands + n_components * (4 * block_size(n_components) + 8 * n_moments(n_bands))


def tiles_of(n_bands: int) -> int:
    """Tiles of so many bands; none where the kernels need none."""
    return 0 if n_bands <= REGISTER_BANDS else -(-n_bands // TILE)


def n_moments(n_bands: int) -> int:
    """Length of (sum r, sum r d, lower triangle of sum r d d^T)."""
    return 1 + n_bands + n_bands * (n_bands + 1) // 2


def label_dtype(n_components: int) -> np.dtype:
    """Type of the labels: uint8 for up to 256 components, uint16 above."""
    return np.dtype(np.uint8 if n_components <= SMALL_LABELS else np.uint16)
