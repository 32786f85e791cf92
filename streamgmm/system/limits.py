"""What the system allows this process, by its affinity, its control groups and what is free, and what the process takes."""

import contextlib
import logging
import math
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

ROOT = Path("/")
# Where control groups of version 1 name a limit, its use, and the part of that which is given back when it is wanted.
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
# Seconds that a fork comes after what was loaded before it, at the least.
FORK = 0.05
V2 = ("memory.max", "memory.current", "inactive_file")


def processors(root: Path = ROOT) -> int:
    """Return the number of processors this process may keep busy.

    By its affinity, by the quota of its control groups, and by what schedulers of clusters set for OpenMP, or users for Numba.
    """
    quotas = [_quota(folder) for folder in _groups("cpu", root)]
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min([affinity, *quotas, *_threads_allowed()])))


def _threads_allowed() -> Iterator[int]:
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        text = os.environ.get(name, "").split(",")[0].strip()  # of OpenMP's list, the first is for loops that are in no other
        if text.isdecimal() and int(text):
            yield int(text)


def free_memory(root: Path = ROOT) -> int:
    """Return the bytes this process may still take: of the machine, and of its control groups."""
    return int(max(0, min([psutil.virtual_memory().available, *(_room(folder) for folder in _groups("memory", root))])))


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """Yield the folders of the control groups this process is in, with all that these are in.

    Inside a container the file system often begins at the group itself: what is not there is passed over.
    """
    text = ""
    with contextlib.suppress(OSError):
        text = (root / "proc/self/cgroup").read_text(encoding="utf-8", errors="surrogateescape")  # names are bytes
    mount = root / "sys/fs/cgroup"
    for line in text.splitlines():
        number, controllers, place = (line.split(":", 2) + [""] * 2)[:3]
        if not number.isdecimal() or not place or (controllers and controller not in controllers.split(",")):
            continue
        top = mount / controller if controllers else mount
        folder = top / place.lstrip("/")
        yield from (level for level in (folder, *folder.parents) if level.is_relative_to(top) and level.is_dir())


def _quota(folder: Path) -> float:
    """Processors by the quota of a group: cpu.max (version 2), cpu.cfs_quota_us and cpu.cfs_period_us (version 1)."""
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
        else:
            quota, period = (_read(folder / name) for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
        if quota != "max" and int(quota) > 0:
            return int(quota) / int(period)
    return math.inf


def _room(folder: Path) -> float:
    """Bytes a group may still take: its limit without its working set, which leaves out cached files that are not in use."""
    limit, usage, cached = V2 if (folder / "memory.max").is_file() else V1
    with contextlib.suppress(OSError, ValueError):  # "max" is no number
        room = int(_read(folder / limit)) - int(_read(folder / usage))
        fields = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="utf-8").splitlines())
        return room + int(fields.get(cached, 0))
    return math.inf


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip()


def is_forked() -> bool:
    """Whether this process was forked by one that ran Python before, whose other threads are not here.

    It is younger than the module ``logging``, which was loaded before the fork then. Both ages are known to 10 ms, and Python
    takes longer to start threads than that after it has loaded the module.
    """
    since_loaded = logging.makeLogRecord({}).relativeCreated / 1000
    try:
        fields = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")  # starttime, of proc(5)
    except (OSError, AttributeError):  # on other systems
        age = time.time() - psutil.Process().create_time()
    return age < since_loaded - FORK


def peak_memory() -> int:
    """Peak resident memory of this process, in bytes."""
    if sys.platform == "linux":  # ru_maxrss counts what the parent held at the fork, too
        with open("/proc/self/status", encoding="utf-8") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def reset_peak_memory() -> None:
    """Let the peak of this process begin anew, where the system can do that (clear_refs of Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
