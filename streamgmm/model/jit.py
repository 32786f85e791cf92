"""The only place that touches Numba's decorators, threads and settings."""

import functools
import logging
import os
import threading
import types
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numba
from numba import config

from .. import __version__
from .code_folder import digest_of_sources, empty, find_folder

log = logging.getLogger(__name__)

# Sums may be reordered and fused, so that LLVM keeps them in vector registers. NaN and infinity keep their meaning:
# `nnan` and `ninf` would let the compiler assume them away, differently on each processor.
FASTMATH = {"contract", "reassoc", "nsz", "arcp"}

# Where compiled code is kept, for each version apart; None where nothing can be.
FOLDER = find_folder(f"streamgmm-{__version__}-numba-{numba.__version__}-{digest_of_sources()}", config.CACHE_DIR)

# All functions that are compiled: kernels that call one another, and both forms of each parallel loop.
dispatchers: list = []

# Numba's workqueue layer aborts the process when two threads launch parallel loops at once.
_launch = threading.Lock()
_forked = threading.Event()  # no parallel launch after a fork: the child has none of the parent's worker threads

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked.set)


@functools.cache
def _say_that_nothing_is_kept():
    log.info("compiled code cannot be kept; set STREAMGMM_CACHE_DIR to a folder that can be written")


@contextmanager
def _keeping_code() -> Iterator[None]:
    """Have Numba keep code in our folder while it decorates a function, which is when it looks where to."""
    others, config.CACHE_DIR = config.CACHE_DIR, str(FOLDER)
    try:
        yield
    finally:
        config.CACHE_DIR = others  # kernels of other packages stay where they are


def _compiled(function, **options):
    """Compile at the first call, without the GIL; keep the code for later runs where there is a folder for it."""
    compiled = functools.partial(numba.njit, function, nogil=True, **options)
    dispatcher = None
    if FOLDER is not None:
        with suppress(RuntimeError), _keeping_code():  # Numba can keep no code there after all, or finds no source of it
            dispatcher = compiled(cache=True)
    if dispatcher is None:
        _say_that_nothing_is_kept()
        dispatcher = compiled()
    if not config.DISABLE_JIT:
        dispatchers.append(dispatcher)
    return dispatcher


def _call(dispatcher, *arguments):
    """Call what is compiled; a disk that takes no more of its code is no error.

    Numba raises that error when it has compiled a function, and before it runs anything, for each function anew: what is
    compiled by then serves the next call.
    """
    known = None
    while True:
        try:
            return dispatcher(*arguments)
        except OSError:
            n_compiled = sum(len(each.signatures) for each in dispatchers)
            if n_compiled == known:
                raise
            known = n_compiled
            _say_that_nothing_is_kept()


def stay_serial() -> None:
    """Launch nothing in parallel from now on, in a process that was forked before it came here."""
    _forked.set()


def forget() -> None:
    """Forget all code that is kept, so that it is compiled again."""
    if FOLDER is not None:
        empty(FOLDER)


def kernel(function):
    """Compile a serial loop into the kernels that call it.

    Called, instead, it would be there twice in a process that compiles, once for itself and once for its caller, and once in a
    process that loads what is kept: with sums in another order, for some numbers of bands.
    """
    return _compiled(function, fastmath=FASTMATH, error_model="numpy", forceinline=True)


def shared(function):
    """Compile a serial loop that both forms of a parallel kernel call, in any thread."""
    return _compiled(function, fastmath=FASTMATH, error_model="numpy")


def strict(function):
    """Compile a serial loop that rounds every operation as it is written: a pixel's place among others changes nothing."""
    return _compiled(function, error_model="numpy")


def entry(function):
    """Compile a serial loop that Python calls, in any thread."""
    return functools.partial(_call, shared(function))


def strict_kernel(function):
    """Compile a serial loop into the strict entries that call it."""
    return _compiled(function, error_model="numpy", forceinline=True)


def strict_entry(function):
    """Compile a loop as :func:`strict` does, that Python calls, in any thread.

    A pixel gets the same bits in a vector and in the rest of a loop, and so in any part of an image, and on any processor. For
    other kernels to do so, blocks are filled up.
    """
    return functools.partial(_call, strict(function))


class ParallelKernel:
    """A loop over ``prange`` that Python calls, compiled twice: in parallel, and serial for code already in a thread pool.

    The arithmetic stands in functions marked :func:`shared`, compiled once and called by both, which is what makes their
    results equal bit for bit: a loop compiled twice with reordered sums is vectorized in two ways.
    """

    def __init__(self, function):
        self.serial = _compiled(_renamed(function, "serial"))
        self.parallel = _compiled(_renamed(function, "parallel"), parallel=True)

    def __call__(self, threads, *arguments):
        """Run the loop on some threads, or the serial one on 1."""
        if threads == 1 or _forked.is_set():
            _call(self.serial, *arguments)
            return
        with _launch:
            before = numba.get_num_threads()
            numba.set_num_threads(min(threads, config.NUMBA_NUM_THREADS))
            try:
                _call(self.parallel, *arguments)
            finally:
                numba.set_num_threads(before)  # the caller's own kernels keep theirs


def _renamed(function, suffix):
    """Copy a function under another name: Numba's cache goes by name and line, not by compile options."""
    copy = types.FunctionType(function.__code__, function.__globals__, f"{function.__name__}_{suffix}")
    copy.__module__ = function.__module__
    copy.__qualname__ = copy.__name__
    copy.__doc__ = function.__doc__
    return copy
