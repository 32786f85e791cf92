"""What the system allows: made-up control groups give what the kernel would, and real ones agree where they can be made."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from streamgmm.jobs.resources import Resources
from streamgmm.options import ResourceOptions
from streamgmm.system.limits import free_memory, processors

GIB = 1 << 30
MACHINE, PROCESSORS = 64 * GIB, 16
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """A machine of 16 processors, with 64 GiB free."""
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    memory = psutil.virtual_memory()._replace(available=MACHINE)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(PROCESSORS)), raising=False)


def system(root, places, **groups):
    """Write a tree of control groups: /proc/self/cgroup, and the files of each group."""
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc" / "self" / "cgroup").write_text(places, encoding="utf-8")
    for name, files in groups.items():
        folder = root / "sys/fs/cgroup" / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            (folder / file).write_text(text, encoding="utf-8")
    return root


def memory_v1(limit, usage=0, cached=0):
    """A memory group of version 1, whose statistics count its own pages and, as total, those of the groups in it too."""
    stat = f"cache 1\ninactive_file 1\nactive_file 777\ntotal_cache 2\ntotal_inactive_file {cached}\ntotal_active_file 888\n"
    return {"memory.limit_in_bytes": f"{limit}\n", "memory.usage_in_bytes": f"{usage}\n", "memory.stat": stat}


def memory_v2(limit, usage=0, cached=0):
    stat = f"anon 5\nfile 6\ninactive_anon 7\nactive_anon 8\ninactive_file {cached}\nactive_file 999\n"
    return {"memory.max": f"{limit}\n", "memory.current": f"{usage}\n", "memory.stat": stat}


def cpu_v1(quota, period=100_000):
    return {"cpu.cfs_quota_us": f"{quota}\n", "cpu.cfs_period_us": f"{period}\n"}


UNLIMITED_V1 = 9223372036854771712

TREES = {
    "version 1": ("4:memory:/job\n", {"memory": memory_v1(UNLIMITED_V1), "memory/job": memory_v1(2 * GIB)}, 2 * GIB),
    "version 1, its root": ("4:memory:/\n", {"memory": memory_v1(3 * GIB)}, 3 * GIB),
    "version 1, unlimited": (
        "4:memory:/job\n",
        {"memory": memory_v1(UNLIMITED_V1), "memory/job": memory_v1(UNLIMITED_V1)},
        MACHINE,
    ),
    "version 2": ("0::/job\n", {"job": memory_v2(2 * GIB)}, 2 * GIB),
    "version 2, unlimited": ("0::/job\n", {"job": memory_v2("max", GIB)}, MACHINE),
    "used in part": ("0::/job\n", {"job": memory_v2(2 * GIB, GIB)}, GIB),
    "used in part, version 1": ("4:memory:/job\n", {"memory/job": memory_v1(2 * GIB, GIB)}, GIB),
    "what is cached and idle is free": ("0::/job\n", {"job": memory_v2(2 * GIB, GIB, GIB // 4)}, GIB + GIB // 4),
    "what is cached and idle is free, version 1": (
        "4:memory:/job\n",
        {"memory/job": memory_v1(2 * GIB, GIB, GIB // 2)},
        3 * GIB // 2,
    ),
    "all used": ("0::/job\n", {"job": memory_v2(GIB, GIB)}, 0),
    "more used than allowed": ("0::/job\n", {"job": memory_v2(GIB, 2 * GIB)}, 0),
    "more than the machine has": ("0::/job\n", {"job": memory_v2(128 * GIB)}, MACHINE),
    "tightest at the leaf": ("0::/a/b/c\n", {"a": memory_v2(8 * GIB), "a/b": memory_v2(4 * GIB), "a/b/c": memory_v2(GIB)}, GIB),
    "tightest between": ("0::/a/b/c\n", {"a": memory_v2(8 * GIB), "a/b": memory_v2(GIB), "a/b/c": memory_v2("max")}, GIB),
    "tightest at the top": ("0::/a/b/c\n", {"a": memory_v2(GIB), "a/b": memory_v2("max"), "a/b/c": memory_v2(2 * GIB)}, GIB),
    "fullest above": ("0::/a/b\n", {"a": memory_v2(4 * GIB, 3 * GIB), "a/b": memory_v2(2 * GIB)}, GIB),
    "tightest above, version 1": (
        "4:memory:/a/b\n",
        {"memory/a": memory_v1(GIB), "memory/a/b": memory_v1(UNLIMITED_V1)},
        GIB,
    ),
    "another's group": ("0::/job\n", {"job": memory_v2("max"), "other": memory_v2(GIB)}, MACHINE),
    "several controllers": ("4:cpu,memory,pids:/job\n", {"memory/job": memory_v1(GIB)}, GIB),
    "a controller of a like name": ("4:memory2:/job\n", {"memory2/job": memory_v1(GIB), "memory/job": memory_v1(GIB)}, MACHINE),
    "a container that sees its group as the root": ("4:memory:/docker/0123\n", {"memory": memory_v1(GIB)}, GIB),
    "such a container, version 2": ("0::/docker/0123\n", {".": memory_v2(GIB)}, GIB),
    "a container whose group is outside": ("0::/../job\n", {".": memory_v2(GIB)}, GIB),
    "hybrid": ("4:memory:/job\n0::/job\n", {"memory/job": memory_v1(GIB), "job": {"cgroup.procs": "1\n"}}, GIB),
    "hybrid, limited in both": ("4:memory:/job\n0::/job\n", {"memory/job": memory_v1(2 * GIB), "job": memory_v2(GIB)}, GIB),
    "no limit in the folder": ("0::/job\n", {"job": {"memory.current": "5\n"}}, MACHINE),
    "no usage": ("0::/job\n", {"job": {"memory.max": f"{GIB}\n"}}, MACHINE),
    "garbage for a limit": ("0::/job\n", {"job": memory_v2("plenty")}, MACHINE),
    "an empty limit": ("0::/job\n", {"job": memory_v2("")}, MACHINE),
    "garbage for statistics": ("0::/job\n", {"job": memory_v2(GIB) | {"memory.stat": "one two three\n"}}, MACHINE),
    "garbage at one level": ("0::/a/b\n", {"a": memory_v2(GIB), "a/b": memory_v2("plenty")}, GIB),
    "no line for cached files": ("0::/job\n", {"job": memory_v2(GIB) | {"memory.stat": "anon 5\n"}}, GIB),
    "no groups": ("", {}, MACHINE),
    "a group that is not there": ("0::/job\n4:memory:/job\n", {}, MACHINE),
    "a name with colons and blanks": ("0::/a: b:c\n", {"a: b:c": memory_v2(GIB)}, GIB),
}


@pytest.mark.parametrize("name", TREES)
def test_free_memory_is_the_least_of_the_machine_and_all_groups(name, tmp_path):
    places, groups, expected = TREES[name]
    assert free_memory(system(tmp_path, places, **groups)) == expected


QUOTAS = {
    "none": ("0::/job\n", {"job": {"cpu.max": "max 100000\n"}}, PROCESSORS),
    "one and a half": ("0::/job\n", {"job": {"cpu.max": "150000 100000\n"}}, 2),
    "one and a half, version 1": ("2:cpu,cpuacct:/job\n", {"cpu/job": cpu_v1(150_000)}, 2),
    "a tenth": ("0::/job\n", {"job": {"cpu.max": "10000 100000\n"}}, 1),
    "three": ("0::/job\n", {"job": {"cpu.max": "150000 50000\n"}}, 3),
    "none, version 1": ("2:cpu:/job\n", {"cpu/job": cpu_v1(-1)}, PROCESSORS),
    "more than there are": ("0::/job\n", {"job": {"cpu.max": "9900000 100000\n"}}, PROCESSORS),
    "tightest above": ("0::/a/b\n", {"a": {"cpu.max": "200000 100000\n"}, "a/b": {"cpu.max": "400000 100000\n"}}, 2),
    "tightest at the leaf": ("2:cpu:/a/b\n", {"cpu/a": cpu_v1(400_000), "cpu/a/b": cpu_v1(300_000)}, 3),
    "another controller": ("4:memory:/job\n2:cpuset:/job\n", {"cpu/job": cpu_v1(100_000)}, PROCESSORS),
    "a container that sees its group as the root": ("2:cpu:/docker/0123\n", {"cpu": cpu_v1(200_000)}, 2),
    "a period of nothing": ("0::/job\n", {"job": {"cpu.max": "100000 0\n"}}, PROCESSORS),
    "garbage": ("0::/job\n", {"job": {"cpu.max": "lots\n"}}, PROCESSORS),
    "no period": ("2:cpu:/job\n", {"cpu/job": {"cpu.cfs_quota_us": "100000\n"}}, PROCESSORS),
    "no groups": ("", {}, PROCESSORS),
}


@pytest.mark.parametrize("name", QUOTAS)
def test_processors_are_the_least_of_the_affinity_and_all_quotas(name, tmp_path):
    places, groups, expected = QUOTAS[name]
    assert processors(system(tmp_path, places, **groups)) == expected


def test_the_affinity_may_be_less_than_the_quota(tmp_path, monkeypatch):
    root = system(tmp_path, "0::/job\n", job={"cpu.max": "300000 100000\n"})
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 5})
    assert processors(root) == 2
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 5, 6, 7})
    assert processors(root) == 3


def test_a_system_without_affinity_has_the_processors_it_counts(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert processors(tmp_path) == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert processors(tmp_path) == 1


def test_a_system_without_control_groups_allows_all(tmp_path):
    assert (free_memory(tmp_path), processors(tmp_path)) == (MACHINE, PROCESSORS)


@pytest.mark.parametrize("text", ["garbage\n", "0:\n", "a:b\n0::/job\n"])
def test_lines_that_name_no_group_are_passed_over(text, tmp_path):
    root = system(tmp_path, text, job=memory_v2(GIB))
    assert free_memory(root) == (GIB if "job" in text else MACHINE)
    assert processors(root) == PROCESSORS


def test_a_name_that_is_no_text_is_a_name(tmp_path):
    root = system(tmp_path, "", **{"\udcff": memory_v2(GIB) | {"cpu.max": "200000 100000\n"}})
    (root / "proc/self/cgroup").write_bytes(b"0::/\xff\n")
    assert (free_memory(root), processors(root)) == (GIB, 2)


def test_a_controller_is_found_by_its_link(tmp_path):
    root = system(tmp_path, "2:cpu,cpuacct:/job\n", **{"cpu,cpuacct/job": cpu_v1(200_000)})
    (root / "sys/fs/cgroup/cpu").symlink_to("cpu,cpuacct")
    assert processors(root) == 2


# --- A real group ---


def own(controller):
    """The folder of this process's group of version 1."""
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, place = line.split(":", 2)
        if controller in controllers.split(","):
            return Path("/sys/fs/cgroup", controller, place.lstrip("/"))
    pytest.skip(f"no {controller} controller of version 1")


@contextmanager
def real_group(controller, **settings):
    """A control group of version 1, in that of this process."""
    group = own(controller) / f"streamgmm-limits-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made: {error}")
    try:
        for name, value in settings.items():
            (group / f"{controller}.{name}").write_text(str(value), encoding="utf-8")
        yield group
    finally:
        group.rmdir()


def ask(group, function):
    """What a process in a group is allowed."""
    program = f"from streamgmm.system.limits import *; print({function}())"
    command = ["sh", "-c", 'echo $$ > "$0"/cgroup.procs && exec "$@"', group, sys.executable, "-c", program]
    return int(subprocess.run(command, env=ENVIRONMENT, capture_output=True, check=True, encoding="utf-8").stdout)


def test_a_process_in_a_group_has_the_memory_of_the_group():
    with real_group("memory", limit_in_bytes=GIB) as group:
        assert GIB - (200 << 20) < ask(group, "free_memory") < GIB


def test_a_process_in_a_group_has_the_processors_of_its_quota(monkeypatch):
    monkeypatch.undo()
    allowed = os.sched_getaffinity(0)
    with real_group("cpu", cfs_quota_us=50_000, cfs_period_us=100_000) as group:
        assert ask(group, "processors") == 1
        (group / "cpu.cfs_quota_us").write_text("150000", encoding="utf-8")
        assert ask(group, "processors") == min(2, len(allowed))


def test_a_process_knows_the_machine_it_is_on(monkeypatch):
    monkeypatch.undo()
    assert 0 < free_memory() <= psutil.virtual_memory().total
    assert 1 <= processors() <= len(os.sched_getaffinity(0))


# --- What this process takes ---


def run_program(program):
    """What a program prints, a few numbers of bytes, in MiB."""
    command = [sys.executable, "-c", program]
    output = subprocess.run(command, env=ENVIRONMENT, capture_output=True, check=True, encoding="utf-8").stdout
    return [int(peak) / 2**20 for peak in output.split()]


def test_peak_memory_is_in_bytes_and_stays_when_memory_is_freed():
    before, during, after = run_program("""
import numpy as np
from streamgmm.system.limits import peak_memory
before = peak_memory()
held = np.ones(200 << 17)
during = peak_memory()
del held
print(before, during, peak_memory())
""")
    assert 10 < before < 300
    assert during - before == pytest.approx(200, abs=20)
    assert after == pytest.approx(during, abs=2)


def test_the_peak_of_a_process_can_begin_anew():
    before, after = run_program("""
import numpy as np
from streamgmm.system.limits import peak_memory, reset_peak_memory
held = np.ones(200 << 17)
before = peak_memory()
del held
reset_peak_memory()
print(before, peak_memory())
""")
    assert before - after == pytest.approx(200, abs=20) if sys.platform == "linux" else before == after


# --- Threads and forks ---


@pytest.mark.parametrize(
    ("omp", "numba", "expected"),
    [("1", None, 1), (None, "3", 3), ("2", "3", 2), ("5,2", None, 5), ("99", None, 8), ("0", "", 8), ("many", "-1", 8)],
)
def test_schedulers_and_users_say_how_many_threads_there_may_be(omp, numba, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    for name, value in (("OMP_NUM_THREADS", omp), ("NUMBA_NUM_THREADS", numba)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert processors(tmp_path) == expected
    assert Resources.of(ResourceOptions()).threads <= expected
    assert Resources.of(ResourceOptions(threads=7)).threads == 7  # what is asked for is done


FORKS = """
import os, sys
from streamgmm.system.limits import is_forked

for _ in range(2):
    print(is_forked(), flush=True)
    if child := os.fork():
        os.waitpid(child, 0)
        break
"""
SPAWNS = """
import logging, multiprocessing, time
from streamgmm.system.limits import is_forked

if __name__ == "__main__":
    time.sleep(0.2)
    for method in ("spawn", "fork"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            print(pool.apply(is_forked))
"""


def test_a_process_knows_whether_it_was_forked(tmp_path):
    (tmp_path / "spawns.py").write_text(SPAWNS, encoding="utf-8")
    for program, expected in (
        (["-c", "import logging, time; time.sleep(0.2)" + FORKS], "False True"),
        ([str(tmp_path / "spawns.py")], "False True"),
    ):
        output = subprocess.run(
            [sys.executable, *program], env=ENVIRONMENT, capture_output=True, check=True, encoding="utf-8"
        ).stdout
        assert output.split() == expected.split()
