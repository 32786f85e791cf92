"""Children of the tests, for what would change the tests' own process: its user, its limits, its signals, its umask."""

import io
import multiprocessing
import os
import resource
import signal
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path

from streamgmm.cli import main

NOBODY = 65534


def in_child(*steps):
    """Call functions in turn in a new process, in this folder; return what the last returned, or raise what one raised.

    Parameters
    ----------
    *steps : callable
        Functions of modules, or partial calls of them. What they need is imported as they need it: to be without the right to
        read it, a process must have done the same thing before.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as child:
        return child.submit(_call, Path.cwd(), steps).result()


def _call(folder, steps):
    os.chdir(folder)
    returned = None
    for step in steps:
        returned = step()
    return returned


def become_nobody():
    """Be one who owns nothing here for the rest of the process, but may be root again; or, without root, be who one is."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, 0)
        os.setresuid(NOBODY, NOBODY, 0)


def limit_files(size):
    """Let no file grow beyond a size, for the rest of the process."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def with_signals(handler, *numbers):
    """What a child does before it starts, so that it ignores signals, or does not: a shell's background jobs ignore SIGINT."""
    return partial(_set_signals, handler, numbers)


def _set_signals(handler, numbers):
    for number in numbers:
        signal.signal(number, handler)


def printed_by(function):
    """Call what may leave the process; return its exit code, and what it printed."""
    output, error, code = io.StringIO(), io.StringIO(), 0
    with redirect_stdout(output), redirect_stderr(error):
        try:
            function()
        except SystemExit as left:
            code = left.code
    return code, output.getvalue(), error.getvalue()


def run_here(arguments):
    """Run the command in this process; return its exit code, and what it printed."""
    return printed_by(partial(main, [str(argument) for argument in arguments]))
