"""The only place that touches Numba's decorators, threads and cache."""

import functools
import logging
import os
import threading
import types

import numba
import numpy as np
from numba.core import caching
from numba.core import types as nb
from numba.extending import intrinsic

from .. import __version__

log = logging.getLogger(__name__)

# Sums may be reordered and fused, so that LLVM keeps them in vector registers. NaN and infinity keep their meaning:
# `nnan` and `ninf` would let the compiler assume them away, differently on each processor.
FASTMATH = {"contract", "reassoc", "nsz", "arcp"}

# Where compiled code is kept, instead of beside this file or in the user's folder: for each version apart.
if _folder := os.environ.get("STREAMGMM_CACHE_DIR"):
    numba.config.CACHE_DIR = f"{_folder}{os.sep}streamgmm-{__version__}-numba-{numba.__version__}"

# Numba's workqueue layer aborts the process when two threads launch parallel loops at once.
_launch = threading.Lock()
_forked = threading.Event()  # no parallel launch after a fork: the child has none of the parent's worker threads

os.register_at_fork(after_in_child=_forked.set)


@functools.cache
def _say_that_nothing_is_kept():
    log.info("compiled code cannot be kept; set STREAMGMM_CACHE_DIR to a folder that can be written")


class _Readable(caching._CacheLocator):
    """A folder of compiled code that cannot be written serves, too, where there is some in it: that of a container's image."""

    def ensure_cache_path(self):
        try:
            super().ensure_cache_path()
        except OSError:
            if not any(name.endswith(".nbi") for name in os.listdir(self.get_cache_path())):  # noqa: PTH208
                raise


class _Provided(_Readable, caching.UserProvidedCacheLocator):
    """The folder that was set."""


class _InTree(_Readable, caching.InTreeCacheLocator):
    """The folder beside the source."""


class _UserWide(_Readable, caching.UserWideCacheLocator):
    """The folder of the user."""


class _Folders(caching.CompileResultCacheImpl):
    _locator_classes = [_Provided, _InTree, _UserWide]  # noqa: RUF012


class _Kept(caching.FunctionCache):
    """Compiled code of a function on disk; a disk that takes no more of it is no error."""

    _impl_class = _Folders

    def save_overload(self, *arguments):
        try:
            super().save_overload(*arguments)
        except OSError:
            _say_that_nothing_is_kept()


def _compiled(function, **options):
    """Compile at the first call, without the GIL; keep the code for later runs where any folder can be written."""
    dispatcher = numba.njit(function, nogil=True, **options)
    if not numba.config.DISABLE_JIT:
        try:
            dispatcher._cache = _Kept(function)
        except RuntimeError:  # no folder: read-only package, no home
            _say_that_nothing_is_kept()
    return dispatcher


def forget(dispatchers) -> None:
    """Forget what is kept of some compiled functions, so that they are compiled again."""
    for dispatcher in dispatchers:
        dispatcher._cache.flush()


def kernel(function):
    """Compile a serial loop that may be called from any thread or from another kernel."""
    return _compiled(function, fastmath=FASTMATH, error_model="numpy")


class Twins:
    """One loop over ``prange``, compiled twice: parallel for one machine, serial for code already in a thread pool.

    The arithmetic stands in functions marked :func:`kernel`, compiled once and called by both twins, which is what makes
    their results equal bit for bit: a loop compiled twice with reordered sums is vectorised in two ways.
    """

    def __init__(self, function):
        self.serial = _compiled(_renamed(function, "serial"))
        self.parallel = _compiled(_renamed(function, "parallel"), parallel=True)

    def __call__(self, threads, *arguments):
        """Run the parallel twin on some threads, or the serial one on 1."""
        if threads == 1 or _forked.is_set():
            self.serial(*arguments)
            return
        with _launch:
            before = numba.get_num_threads()
            numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
            try:
                self.parallel(*arguments)
            finally:
                numba.set_num_threads(before)  # the caller's own kernels keep theirs


def _renamed(function, suffix):
    """Copy a function under another name: Numba's cache goes by name and line, not by compile options."""
    twin = types.FunctionType(function.__code__, function.__globals__, f"{function.__name__}_{suffix}")
    twin.__module__ = function.__module__
    twin.__qualname__ = twin.__name__
    twin.__doc__ = function.__doc__
    return twin


def _bitcast(target, array_dtype):
    """Reinterpret the 32 bits of a scalar, which is what the exponent of a float is read and written with."""
    if numba.config.DISABLE_JIT:
        return lambda value: value.view(array_dtype)

    @intrinsic
    def cast(typing_context, value):
        def codegen(context, builder, signature, arguments):
            return builder.bitcast(arguments[0], context.get_value_type(target))

        return target(value), codegen

    return cast


as_float32 = _bitcast(nb.float32, np.float32)
as_int32 = _bitcast(nb.int32, np.int32)
