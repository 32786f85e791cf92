"""Runs the command on many files, each in a child forked from one warm process, under limits the operating system enforces.

Reads a JSON object from standard input, file -> folder to write into, and prints a JSON object for each file as it ends.
"""

import json
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

MEMORY = 1 << 30
SECONDS = 10
OPTIONS = ("-k", "4", "--max-iter", "5", "--tol", "0.01")


def confined(call: Callable[[], object], folder: Path, seconds: int = SECONDS) -> dict:
    """Call a function in a forked child, and tell how it ended.

    Parameters
    ----------
    call : callable
    folder : Path
        Made new; ``folder / "printed"`` takes what is printed, ``folder / "output"`` is left to the function.
    seconds : int
        After which the child is killed.

    Returns
    -------
    dict
        ``code``, the exit code or minus the signal; ``seconds``; ``peak``, the child's ru_maxrss in bytes, which begins at
        what the parent has resident, as the pages are inherited; ``printed``; ``left``, names in the output folder.
    """
    (folder / "output").mkdir(parents=True)
    start, child = time.perf_counter(), os.fork()
    if child == 0:
        _confine_and_leave(call, folder / "printed", seconds)
    _, status, usage = os.wait4(child, 0)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "seconds": time.perf_counter() - start,
        "peak": usage.ru_maxrss * 1024,
        "printed": (folder / "printed").read_text(errors="replace", encoding="utf-8"),
        "left": sorted(path.name for path in (folder / "output").iterdir()),
    }


def _confine_and_leave(call: Callable[[], object], printed: Path, seconds: int) -> None:
    code = 1
    try:
        descriptor = os.open(printed, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        limit = address_space() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CPU, (2 * seconds, 2 * seconds))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.alarm(seconds)  # nobody handles it, so it ends the process, whatever native code that is in
        call()
        code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def address_space() -> int:
    """Return the bytes of virtual memory of this process."""
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0]) * resource.getpagesize()


def warm_up() -> None:
    """Load what the command needs, kernels for every type of sample included, and leave no thread behind."""
    import numpy as np

    import streamgmm.image.raster
    import streamgmm.image.tiff.reader  # noqa: F401
    from streamgmm.jobs.quantize import quantize

    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for dtype in (np.uint8, np.uint16, np.float32, np.float64):
            for bands in (3, 4):
                pixels = (generator.random((32, 32, bands)) * 255).astype(dtype)
                quantize(pixels, Path(folder) / f"{dtype.__name__}-{bands}.tif", n_components=4, tol=0.01, threads=1)


def main() -> None:
    """Run the command on the files of standard input."""
    # No thread may run at a fork: BLAS keeps a pool from its import on, Numba's layer from the first parallel loop on.
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    from streamgmm import cli

    warm_up()
    if (threads := len(list(Path("/proc/self/task").iterdir()))) > 1:
        sys.exit(f"{threads} threads run, and would be missing in a child")
    for file, folder in json.load(sys.stdin).items():
        arguments = ["quantize", file, str(Path(folder) / "output" / "out.tif"), *OPTIONS]
        ended = confined(partial(cli.main, arguments), Path(folder))
        sys.stdout.write(json.dumps({"file": file, **ended}) + "\n")
        sys.stdout.flush()  # or each child would inherit it, and print it again


if __name__ == "__main__":
    main()
