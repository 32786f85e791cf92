"""The recipes of the README run: a crontab, a service of systemd, a container."""

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import tifffile

import streamgmm

ROOT = Path(__file__).parents[1]
PHOTO = ROOT / "tests" / "data" / "astronaut.tif"
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
NOBODY = 65534
IS_ROOT = os.geteuid() == 0
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]


def has_nobody():
    """Whether this interpreter runs as another user: it may be in the folder of its own."""
    if not IS_ROOT or shutil.which("setpriv") is None:
        return False
    through_shell = ["/bin/sh", "-c", 'exec "$0" -c ""', sys.executable]
    return subprocess.run([*AS_NOBODY, *through_shell], capture_output=True).returncode == 0


def blocks(language):
    return [text for kind, text in BLOCKS if kind == language]


@pytest.fixture
def data(tmp_path):
    """The folder the recipes call /data, which anybody may use."""
    folder = tmp_path / "data"
    for name in ("scans/a.tif", "scans/of the day/b.tif"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PHOTO, folder / name)
    (folder / "flat").mkdir()
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777)
    for parent in folder.parents:
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    return folder


@pytest.fixture
def program(tmp_path):
    """The folder of a `streamgmm` that runs this tree."""
    script = tmp_path / "bin" / "streamgmm"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m streamgmm "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    return script


def is_palette(path):
    with tifffile.TiffFile(path) as tiff:
        return tiff.pages.first.photometric == tifffile.PHOTOMETRIC.PALETTE and tiff.asarray().shape == (512, 512)


# --- The command, and its options in a file ---


def test_the_batches_run_as_printed(tmp_path, data, program):
    (data / "scans").rename(tmp_path / "scans")
    (tmp_path / "model.json").write_text(streamgmm.fit_image(PHOTO, n_components=5)[0].to_json(), encoding="utf-8")
    (tmp_path / "night.toml").write_text(blocks("toml")[0], encoding="utf-8")
    environment = {**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
    commands = next(text for text in blocks("sh") if "streamgmm batch" in text).strip().splitlines()
    for command in commands:
        done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), command
    for folder in ("flat", "map", "same", "few"):
        assert is_palette(tmp_path / folder / "a.tif")
    assert is_palette(tmp_path / "few" / "of the day" / "b.tif")
    assert len((tmp_path / "run.jsonl").read_text(encoding="utf-8").splitlines()) == 2
    assert 'files{status="done"} 2' in (tmp_path / "streamgmm.prom").read_text(encoding="utf-8")
    assert "done in" in (tmp_path / "night.log").read_text(encoding="utf-8")


# --- cron ---


def test_the_crontab_does_a_night_in_silence_and_the_next_one_too(data, program):
    *times, command = blocks("crontab")[0].strip().split(maxsplit=5)
    assert all(re.fullmatch(r"[\d*/,-]+", field) for field in times)
    command = command.replace("/data/", f"{data}/")
    environment = {"PATH": f"{program.parent}:/usr/bin:/bin", "SHELL": "/bin/sh", "LOGNAME": "somebody"}  # and no HOME
    written = []
    for _ in range(2):
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd="/",
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        outputs = [data / "flat" / "a.tif", data / "flat" / "of the day" / "b.tif"]
        assert all(map(is_palette, outputs))
        written.append([path.stat().st_mtime_ns for path in outputs])
    assert written[0] == written[1]
    log = (data / "night.log").read_text(encoding="utf-8")
    assert (log.count(": done in"), log.count(": skipped in")) == (2, 2)


# --- systemd ---


def units():
    parsed = []
    for text in blocks("ini"):
        unit = configparser.ConfigParser(interpolation=None)
        unit.optionxform = str  # names of options have capitals
        unit.read_string(text)
        parsed.append(unit)
    service, timer = parsed
    return service["Service"], timer["Timer"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_finds_no_fault_with_the_units(tmp_path, program):
    service, timer = blocks("ini")
    (tmp_path / "streamgmm.service").write_text(service.replace("/usr/local/bin/streamgmm", str(program)), encoding="utf-8")
    (tmp_path / "streamgmm.timer").write_text(timer, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", "./streamgmm.service", "./streamgmm.timer"],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert subprocess.run(["systemd-analyze", "calendar", units()[1]["OnCalendar"]], capture_output=True).returncode == 0


@pytest.mark.slow
def test_the_service_does_its_work_as_another_user_with_a_cache_of_its_own(data, tmp_path, program):
    service, _ = units()
    name, cache = service["Environment"].split("=")
    assert cache == f"/var/cache/{service['CacheDirectory']}"
    folder = tmp_path / "cache"
    folder.mkdir()
    command = shlex.split(service["ExecStart"].replace("/usr/local/bin/streamgmm", str(program)).replace("/data/", f"{data}/"))
    assert str(data / "flat") == service["ReadWritePaths"].replace("/data/", f"{data}/")
    if has_nobody():  # DynamicUser
        os.chown(folder, NOBODY, NOBODY)
        command = [*AS_NOBODY, *command]
    environment = {name: str(folder), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd="/", env=environment, capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert is_palette(data / "flat" / "of the day" / "b.tif")
    assert list(folder.rglob("*.nbi"))


# --- A container ---


@pytest.fixture(scope="module")
def container(tmp_path_factory):
    """Do what the steps of the Dockerfile say in a folder: its environment, the program in it, and who runs it."""
    root = tmp_path_factory.mktemp("container")
    subprocess.run([sys.executable, "-m", "venv", root / "usr"], check=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(root / "usr")}))
    (site / "others.pth").write_text(
        sysconfig.get_path("purelib") + "\n", encoding="utf-8"
    )  # all that streamgmm depends on is here already
    environment = {"PATH": f"{root / 'usr/bin'}:/usr/bin:/bin", "HOME": os.environ.get("HOME", str(root))}
    environment |= {key: value for key, value in os.environ.items() if key.startswith("PIP_") or key.endswith("_PROXY")}
    user, entry = None, None
    for step, text in re.findall(r"^([A-Z]+) (.*)$", blocks("dockerfile")[0], re.M):
        text = re.sub(r"(?<=[\s=])/(wheels|source|var/cache)", rf"{root}/\1", text)
        if step == "COPY" and text.startswith(". "):
            shutil.copytree(ROOT / "streamgmm", root / "source" / "streamgmm", ignore=shutil.ignore_patterns("__pycache__"))
            for name in ("pyproject.toml", "README.md", "LICENSE"):
                shutil.copy(ROOT / name, root / "source" / name)
        elif step == "ENV":
            environment |= [text.split("=")]
        elif step == "RUN":
            alone = {"PIP_NO_DEPS": "1", "PIP_IGNORE_INSTALLED": "1"} if text.startswith("pip install") else {}
            subprocess.run(["/bin/sh", "-c", text], cwd=root, env={**environment, **alone}, check=True)
        elif step == "USER":
            user = tuple(map(int, text.split(":")))
        elif step == "ENTRYPOINT":
            (entry,) = re.findall(r'"(\w+)"', text)
    yield environment, root / "usr" / "bin" / entry, user
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o200)


# Shows a file system that can be read, and a folder that can be written, to the command that follows.
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,bind,ro / && mount -o remount,bind,ro /tmp 2>/dev/null; exec "$@"'


@pytest.mark.slow
def test_the_container_runs_as_nobody_on_a_read_only_file_system_and_compiles_nothing(container, data):
    environment, program, user = container
    assert user == (NOBODY, NOBODY)
    cache = Path(environment["STREAMGMM_CACHE_DIR"])
    kept = {path: path.stat().st_mtime_ns for path in cache.rglob("*.nb?")}
    assert len(kept) > 20
    for path in (program.parents[2], *program.parents[2].rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~0o222 | 0o055)
    (run,) = blocks("console")
    flags, arguments = re.fullmatch(r"docker run (.*) -v /data:/data streamgmm (.*)\n", run).groups()
    assert "--read-only" in flags.split()
    command = [program, *shlex.split(arguments.replace("/data/", f"{data}/")), "--log-file", data / "log"]
    if has_nobody():
        command = [*AS_NOBODY, *command]
    if IS_ROOT:
        command = ["unshare", "--mount", "/bin/sh", "-c", READ_ONLY, data, *command]
    inside = {"PATH": environment["PATH"], "STREAMGMM_CACHE_DIR": str(cache)}
    done = subprocess.run(command, cwd="/", env=inside, capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert is_palette(data / "flat" / "a.tif")
    assert not re.search("compil", (data / "log").read_text(encoding="utf-8"))
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*.nb?")} == kept
