"""Compiling ahead: every kernel a job will need, called once on a pixel."""

import logging
import time

import numpy as np

from . import kernels
from .colours import ColourCounter, ColourTable
from .mixture import Mixture
from .palette import SMALL_LABELS, LookupTable, classify
from .parameters import as_pixels
from .statistics import accumulate

log = logging.getLogger(__name__)


def compile_kernels(dtype: np.dtype, n_bands: int, n_components: int, threads: int, *, table: bool) -> None:
    """Compile the kernels for images of some type, or load them from the cache: 9 seconds the first time, 0.2 after.

    Parameters
    ----------
    dtype : numpy.dtype
    n_bands : int
    n_components : int
        Above 256, labels are 16-bit.
    threads : int > 0
    table : bool
        Whether the job works on a colour table, with parallel kernels, or on tiles in threads, with their serial twins too.
    """
    start, misses = time.perf_counter(), _cache_misses()
    pixel = np.zeros((1, n_bands), dtype)
    n_alike = min(n_components, SMALL_LABELS + 1)
    mixture = Mixture(np.full(n_alike, 1 / n_alike), np.zeros((n_alike, n_bands)), np.ones((n_alike, n_bands)), "diag")
    for twin in {threads} if table else {1, threads}:
        accumulate(pixel, mixture, threads=twin)
        labels = classify(pixel, mixture, twin)
    kernels.tally(as_pixels(pixel), np.empty(0), labels, np.zeros((1, n_bands), np.float32), np.zeros(1))
    if table:
        ColourCounter(n_bands, 1, 1).add(pixel)
        LookupTable(ColourTable(pixel, np.ones(1)), labels)(pixel)
        kernels.compact(np.zeros(1, np.uint32), pixel.copy(), np.empty(1))
    if _cache_misses() > misses:
        log.info("compiled kernels in %.1f s; they are cached for later runs", time.perf_counter() - start)


def _cache_misses() -> int:
    twins = (kernels.accumulate.serial, kernels.accumulate.parallel, kernels.label.serial, kernels.label.parallel)
    return sum(sum(kernel.stats.cache_misses.values()) for kernel in twins if hasattr(kernel, "stats"))
