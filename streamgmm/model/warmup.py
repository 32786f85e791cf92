"""Compiling ahead: every kernel a job will need, called once on a pixel."""

import logging
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from ..options import Space
from . import kernels
from .buffers import SMALL_LABELS
from .centroids import color_sums
from .colors import ColorCounter, ColorTable, has_table
from .difference import difference
from .display import Display
from .distortion import distortion
from .dither import BlendTable, Dithering, halved
from .jit import dispatchers, forget
from .kmeans import plus_plus
from .labels import LookupTable, classify, confidence
from .mixture import Mixture
from .similarity import SIDE
from .space import SampleSpace
from .statistics import accumulate

log = logging.getLogger(__name__)


def compile_kernels(
    dtype: np.dtype,
    n_bands: int,
    n_components: int,
    threads: int,
    *,
    table: bool,
    confident: bool = False,
    space: Space = "rgb",
) -> None:
    """Compile the kernels for images of some type, or load them from where they are kept: 9 seconds the first time, 0.2 after.

    More than 8 bands take twice as long the first time, which is once for any number of them.

    Parameters
    ----------
    dtype : numpy.dtype
    n_bands : int
    n_components : int
        Above 256, labels are 16-bit.
    threads : int > 0
    table : bool
        Whether the job works on a color table, too.
    confident : bool
        Whether the confidence image is written, too.
    space : {"rgb", "linear", "lab", "oklab"}
        Where distances are taken.
    """
    _ahead(partial(_call_all, np.dtype(dtype), n_bands, n_components, threads, table, confident, space))


def compile_dithering(dtype: np.dtype, n_bands: int, n_colors: int, *, table: bool) -> None:
    """Compile the kernels that dither such images in so many colors, or load them: 5 seconds the first time.

    Parameters
    ----------
    dtype : numpy.dtype
    n_bands : int
    n_colors : int
        Above 256, labels are 16-bit.
    table : bool
        Whether what is found is kept for each color.
    """
    _ahead(partial(_dither_all, np.dtype(dtype), n_bands, n_colors, table))


def compile_comparison() -> None:
    """Compile the kernels that compare images, or load them: 4 seconds the first time."""
    pixel = np.zeros((3, SIDE, SIDE), np.uint16)
    _ahead(lambda: difference(pixel, pixel, (None, None), (1, 1)))


def _ahead(call_all: Callable[[], object]) -> None:
    """Call what compiles kernels, again where what is kept of them is damaged."""
    start, misses = time.perf_counter(), _cache_misses()
    try:
        call_all()
    except Exception as error:  # what is kept is damaged, which raises anything; if it is not that, it is raised again
        log.info("compiled code that was kept cannot be read (%s: %s); compiling again", type(error).__name__, error)
        forget()
        call_all()
    if _cache_misses() > misses:
        log.info("compiled kernels in %.1f s", time.perf_counter() - start)


def warm_up() -> None:
    """Compile the kernels of the usual jobs, for 8 and 16 bits and floats, of 1, 3 and 4 bands, and those that compare."""
    for n_bands in (3, 1, 4):
        for dtype in (np.uint8, np.uint16, np.float32):
            for table in {False, has_table(dtype, n_bands)}:
                compile_kernels(np.dtype(dtype), n_bands, 2, 2, table=table, confident=True)
                compile_dithering(np.dtype(dtype), n_bands, 2, table=table)
            compile_kernels(np.dtype(dtype), n_bands, 2, 2, table=False, space="linear")  # one kernel is for all spaces
    compile_comparison()


def _call_all(
    dtype: np.dtype, n_bands: int, n_components: int, threads: int, table: bool, confident: bool, distances: Space
) -> None:
    pixel, space = np.zeros((1, n_bands), dtype), SampleSpace(distances=distances)
    n_alike = min(n_components, SMALL_LABELS + 1)
    mixture = Mixture.alike(np.zeros((n_alike, n_bands)), np.eye(n_bands), "diag", space=space)
    plus_plus(ColorTable(pixel, np.ones(1)), np.zeros((1, n_bands)), 1, np.random.default_rng(0))
    for n_threads in {1, threads}:
        accumulate(space.coordinates(pixel), mixture, threads=n_threads)
        labels = classify(pixel, mixture, n_threads)
    distortion(pixel, labels, np.zeros((n_alike, 3), np.uint8), Display.of(mixture))
    color_sums(pixel, labels, n_alike, Display.of(mixture))
    if confident:
        confidence(pixel, mixture)
    if table:
        ColorCounter(n_bands, 1, 1).add(pixel)
        LookupTable(ColorTable(pixel, np.ones(1)), labels)(pixel)
        kernels.compact(np.zeros(1, np.uint32), pixel.copy(), np.empty(1))


def _dither_all(dtype: np.dtype, n_bands: int, n_colors: int, table: bool) -> None:
    pixel, palette = np.zeros((1, n_bands), dtype), np.zeros((n_colors, 3), np.uint8)
    display = Display.of(Mixture(np.ones(1), np.zeros((1, n_bands)), np.ones((1, n_bands)), "diag"))
    dithering = Dithering(palette, display, "ordered")
    blends = (BlendTable(dithering.blends, n_bands) if table else dithering.blends)(pixel)
    labels = dithering.labels(blends.reshape(1, 1), 0, 0)
    for samples, colors in ((labels, palette), (labels.astype(np.uint32), None)):
        means, _ = halved(samples, colors)
    dithering.level_labels(BlendTable(dithering.level_blends, 3)(means), 0, 0)
    distortion(pixel, labels, palette, display)


def _cache_misses() -> int:
    return sum(sum(function.stats.cache_misses.values()) for function in dispatchers)
