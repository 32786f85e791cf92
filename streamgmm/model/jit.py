"""The only place that touches Numba's decorators, threads and cache."""

import os
import threading
import types

import numba
import numpy as np
from numba.core import types as nb
from numba.extending import intrinsic

# Sums may be reordered and fused, so that LLVM keeps them in vector registers. NaN and infinity keep their meaning:
# `nnan` and `ninf` would let the compiler assume them away, differently on each processor.
FASTMATH = {"contract", "reassoc", "nsz", "arcp"}

# Numba's workqueue layer aborts the process when two threads launch parallel loops at once.
_launch = threading.Lock()
_forked = threading.Event()  # no parallel launch after a fork: the child has none of the parent's worker threads

os.register_at_fork(after_in_child=_forked.set)


def _compiled(function, **options):
    """Compile at the first call, without the GIL; keep the code for later runs where any folder can be written."""
    try:
        return numba.njit(function, nogil=True, cache=True, **options)
    except RuntimeError:  # no folder for the cache: read-only package, no home
        return numba.njit(function, nogil=True, **options)


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
