"""A folder a night: what fails does not stop the rest, what is done is not done again, and what is told is true."""

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import tifffile
from prometheus_client.parser import text_string_to_metric_families

import streamgmm
from streamgmm.cli import main
from streamgmm.errors import Interrupted
from streamgmm.jobs.batch.inputs import find
from streamgmm.jobs.batch.run import batch
from streamgmm.jobs.batch.run import run as module

from . import naive
from .images import colors_of, naive_model, posterized, smooth, write_tiff
from .processes import with_signals

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
COMMAND = [sys.executable, "-m", "streamgmm", "batch"]
FIELDS = ["input", "output", "status", "seconds", "peak_memory_bytes"]
FIELDS += ["iterations", "converged", "psnr_db", "fingerprint", "error", "exit_code"]
OUT = Path("out")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working folder with three small images."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for i in range(3):
        write_tiff(f"in/{i}.tif", smooth(40, 60, seed=i), compression="deflate")
    return tmp_path


@pytest.fixture
def here(monkeypatch):
    """Work is done in this process, which is faster; returns the names of the inputs worked on."""
    worked = []

    def in_processes(function, tasks, size):
        for task in tasks:
            worked.append(str(task.item.source) if hasattr(task, "item") else "all")
            yield task, function(task)

    monkeypatch.setattr(module, "in_processes", in_processes)
    return worked


def leave(*arguments):
    """Run the command in this process, and return its exit code."""
    with pytest.raises(SystemExit) as left:
        main(["batch", *map(str, arguments)])
    return left.value.code


def start(*arguments, **options):
    """Start the command in a process of its own."""
    command = [*COMMAND, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8", "env": ENVIRONMENT}
    return subprocess.Popen(command, **pipes | options)


def finish(process):
    """Wait for the end of a process: its exit code, and what it said."""
    output, error = process.communicate(timeout=120)
    return process.returncode, output, error


def run(*arguments, **options):
    """Quantize in/ to out/ as a library, and return what became of each input."""
    given = {"out_dir": OUT, "n_components": 2, "threads": 1} | options
    items = find(arguments or ["in"], given["out_dir"], given.pop("suffix", ".tif"), given.pop("recursive", False))
    return list(batch(items, **given))


def statuses(*inputs, **options):
    """What became of the inputs, in their order."""
    return [entry.status for entry in sorted(run(*inputs, **options), key=lambda entry: entry.input)]


def report(path="run.jsonl"):
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def outputs(path=OUT):
    """All files in the folder of the outputs, hidden ones too."""
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def pixels(path):
    """The image in its colors."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        return (page.colormap[:, page.asarray()] >> 8).transpose(1, 2, 0)


def workers(process):
    """The processes that do the work of a batch."""
    children = psutil.Process(process.pid).children() if process.poll() is None else []
    found = []
    for child in children:
        try:
            found += [child] if any("spawn_main" in word for word in child.cmdline()) else []
        except psutil.Error:  # gone meanwhile
            continue
    return found


def until(condition, seconds=60):
    """Wait until something is so, and return it."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


def in_work(name):
    """Whether a file is being worked on."""
    return (OUT / f".streamgmm.{name}.work" / "job").exists()


def corrupt(path):
    Path(path).write_bytes(b"II*\0" + bytes(40))


# --- What fails does not stop the rest ---


def test_a_bad_file_does_not_stop_the_rest(capsys):
    corrupt("in/1.tif")
    OUT.mkdir()
    (OUT / "2.tif").write_text("mine", encoding="utf-8")
    write_tiff("in/3.tif", smooth(40, 60, bands=2))
    assert leave("in", "gone.tif", "in/0.tif", "--out-dir", OUT, "--report", "run.jsonl", "-k", 2) == 1
    lines = report()
    assert [(line["input"], line["status"], line["exit_code"]) for line in lines] == [
        ("in/0.tif", "done", 0),
        ("in/1.tif", "failed", 3),
        ("in/2.tif", "failed", 4),
        ("in/3.tif", "done", 0),
        ("gone.tif", "failed", 3),
    ]
    said = capsys.readouterr()
    *complaints, summary = said.err.splitlines()
    assert said.out == ""
    assert complaints == [f"streamgmm: {line['error']}" for line in lines if line["error"]]
    assert [complaint.split(":")[1].strip() for complaint in complaints] == ["in/1.tif", "out/2.tif", "gone.tif"]
    assert "exists; use --overwrite to replace it" in complaints[1]
    assert re.fullmatch(r"streamgmm: 5 files: 2 done, 0 skipped, 3 failed in \d+\.\d s", summary)
    assert set(outputs()) == {"0.tif", "2.tif", "3.tif"}
    assert (OUT / "2.tif").read_text(encoding="utf-8") == "mine"


def test_existing_outputs_are_replaced_where_that_is_wanted(here):
    OUT.mkdir()
    (OUT / "2.tif").write_text("mine", encoding="utf-8")
    assert leave("in", "--out-dir", OUT, "--overwrite", "-k", 2) == 0
    before = outputs()
    os.utime(OUT / "0.tif", ns=(10**18, 10**18))
    assert leave("in", "--out-dir", OUT, "--overwrite", "-k", 2) == 0
    assert len(here) == 6
    assert outputs() == before
    assert (OUT / "0.tif").stat().st_mtime_ns != 10**18


def test_fail_fast_stops_at_the_first_failure(here, capsys):
    corrupt("in/1.tif")
    assert leave("in", "--out-dir", OUT, "--fail-fast", "--report", "run.jsonl") == 1
    assert [line["status"] for line in report()] == ["done", "failed"]
    assert set(outputs()) == {"0.tif"}
    assert "2 files: 1 done, 0 skipped, 1 failed" in capsys.readouterr().err


def test_fail_fast_stops_the_other_workers():
    write_tiff("in/0.tif", smooth(1024, 1024, dtype=np.uint16), tile=(256, 256))
    corrupt("in/1.tif")
    begin = time.monotonic()
    slow = {"n_components": 32, "method": "stream", "tol": 0, "max_iter": 100_000}
    entries = run(jobs=2, fail_fast=True, threads=2, **slow)
    assert time.monotonic() - begin < 20
    assert [entry.status for entry in entries if entry.input == "in/1.tif"] == ["failed"]
    assert not any(entry.input == "in/0.tif" for entry in entries)
    assert {name.split("/")[0] for name in outputs()} <= {"2.tif", ".streamgmm.0.tif.work"}  # to go on with


def test_a_worker_that_dies_costs_one_file():
    deep("in/1.tif")
    process = start("in", "--out-dir", OUT, "--report", "run.jsonl", *SLOW)
    until(lambda: in_work("1.tif"))
    [worker] = workers(process)
    worker.kill()
    code, output, error = finish(process)
    lines = report()
    assert (code, output) == (1, "")
    assert [(line["status"], line["exit_code"]) for line in lines] == [("done", 0), ("failed", 1), ("done", 0)]
    assert lines[1]["error"] == "in/1.tif: the process that worked on it was killed (out of memory?) or crashed"
    assert f"streamgmm: {lines[1]['error']}\n" in error
    assert {name for name in outputs() if not name.startswith(".")} == {"0.tif", "2.tif"}
    leftovers = {name.split("/")[0] for name in outputs() if name.startswith(".")}
    assert leftovers <= {".streamgmm.1.tif.work", ".streamgmm.1.tif.lock"}  # to go on with
    assert not psutil.pid_exists(worker.pid)


# --- What is told ---


def test_the_report_tells_of_each_file_what_quantize_does():
    settings = {"n_components": 4, "tol": 0, "max_iter": 3, "threads": 1}
    options = ["-k", 4, "--tol", 0, "--max-iter", 3, "--threads", 1]
    write_tiff("in/2.tif", posterized(40, 60, 3))
    begin = time.monotonic()
    assert leave("in", "--out-dir", OUT, "--report", "run.jsonl", *options) == 0
    elapsed = time.monotonic() - begin
    lines = report()
    assert [list(line) for line in lines] == [FIELDS] * 3
    for i, line in enumerate(lines):
        expected = streamgmm.quantize(f"in/{i}.tif", "alone.tif", overwrite=True, **settings)
        assert (line["input"], line["output"], line["status"]) == (f"in/{i}.tif", f"out/{i}.tif", "done")
        assert (line["error"], line["exit_code"]) == (None, 0)
        for name in ("iterations", "converged", "psnr_db"):
            assert line[name] == getattr(expected, name)
        with tifffile.TiffFile(line["output"]) as tiff:
            assert tiff.pages.first.tags[305].value == f"streamgmm {streamgmm.__version__} fingerprint {line['fingerprint']}"
        np.testing.assert_array_equal(pixels(line["output"]), pixels("alone.tif"))
        assert 50 << 20 < line["peak_memory_bytes"] < 1 << 30
        assert line["seconds"] > 0
    assert {line["converged"] for line in lines} == {True, False}
    assert lines[2]["psnr_db"] is None
    assert sum(line["seconds"] for line in lines) < elapsed
    assert len({line["fingerprint"] for line in lines}) == 3


def test_a_line_of_a_file_that_failed():
    corrupt("in/1.tif")
    assert leave("in/1.tif", "--out-dir", OUT, "--report", "run.jsonl") == 1
    [line] = report()
    assert list(line) == FIELDS
    assert line["seconds"] > 0
    assert line["peak_memory_bytes"] > 50 << 20
    assert [line[name] for name in ("iterations", "converged", "psnr_db", "fingerprint")] == [None] * 4
    assert line["error"].startswith("in/1.tif: ")


def test_the_report_on_standard_output(here, capsys):
    assert leave("in", "--out-dir", OUT, "--report", "-", "-k", 2) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert [json.loads(line)["input"] for line in said.out.splitlines()] == ["in/0.tif", "in/1.tif", "in/2.tif"]


def test_a_line_of_the_report_is_there_as_soon_as_its_file_ends(here, monkeypatch):
    seen = []

    def in_processes(function, tasks, size):
        for task in tasks:
            seen.append(len(report()))
            yield task, function(task)

    monkeypatch.setattr(module, "in_processes", in_processes)
    assert leave("in", "--out-dir", OUT, "--report", "run.jsonl", "-k", 2) == 0
    assert seen == [0, 1, 2]


@pytest.mark.parametrize("option", ["--report", "--metrics-file", "--log-file"])
@pytest.mark.parametrize("path", ["in/1.tif", "out/1.tif"])
def test_what_is_told_never_takes_the_place_of_an_image(option, path, here):
    OUT.mkdir()
    before = outputs(Path("in"))
    assert leave("in", "--out-dir", OUT, option, path, "-k", 2) == 2
    assert outputs(Path("in")) == before
    assert outputs() == {}


@pytest.mark.parametrize("option", ["--report", "--metrics-file", "--log-file"])
def test_what_is_told_must_have_a_place(option, here, capsys):
    assert leave("in", "--out-dir", OUT, option, "gone/file") == 4
    assert re.fullmatch(r"streamgmm: gone/file: there is no folder gone; .*\n", capsys.readouterr().err)
    assert here == []
    assert not OUT.exists()


def test_silent_when_all_is_well_and_verbose_when_wanted(here, capsys):
    assert leave("in", "--out-dir", OUT, "-k", 2) == 0
    assert capsys.readouterr() == ("", "")
    assert leave("in", "--out-dir", OUT, "-k", 2, "--skip-existing", "-v") == 0
    assert "streamgmm: out/1.tif: skipped in 0.0 s\n" in (error := capsys.readouterr().err)
    assert "streamgmm: 3 files: 0 done, 3 skipped, 0 failed in " in error


@pytest.mark.parametrize(("quiet", "said"), [([], True), (["--quiet"], False)])
def test_a_terminal_is_told_at_the_end(quiet, said, here):
    run("in/0.tif")
    primary, secondary = pty.openpty()
    command = [*COMMAND, "in/0.tif", "--out-dir", OUT, "--skip-existing", "-k", "2", *quiet]
    assert subprocess.run(command, stderr=secondary, env=ENVIRONMENT, timeout=60).returncode == 0
    os.close(secondary)
    shown = b""
    try:
        while more := os.read(primary, 4096):
            shown += more
    except OSError:  # all that held the other end have closed it
        pass
    os.close(primary)
    assert (b"1 file: 0 done, 1 skipped, 0 failed" in shown) == said
    assert said or shown == b""


def test_the_log_file_is_appended_to(here, capsys):
    Path("run.log").write_text("before\n", encoding="utf-8")
    assert leave("in", "--out-dir", OUT, "--log-file", "run.log", "-k", 2) == 0
    corrupt("in/1.tif")
    assert leave("in", "--out-dir", OUT, "--log-file", "run.log", "-k", 2, "--skip-existing") == 1
    first, *lines = Path("run.log").read_text(encoding="utf-8").splitlines()
    assert first == "before"
    matches = [re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} (INFO|WARNING|ERROR) (.*)", line) for line in lines]
    told = [(match[1], re.sub(r"[\d.]+ s$", "_ s", match[2])) for match in matches]
    done = [("INFO", f"out/{i}.tif: done in _ s") for i in range(3)]
    assert [line for line in told if line in done] == done
    assert ("INFO", "3 files: 3 done, 0 skipped, 0 failed in _ s") in told
    assert ("INFO", "out/0.tif: skipped in _ s") in told
    assert any(level == "ERROR" and text.startswith("in/1.tif: ") for level, text in told)
    assert ("WARNING", "3 files: 0 done, 2 skipped, 1 failed in _ s") in told
    assert "done" not in capsys.readouterr().err.splitlines()[0]


def test_what_a_worker_says_is_said_once(capsys):
    options = ["--method", "stream", "--tol", 0, "--max-iter", 1, "-k", 4]
    assert leave("in/0.tif", "--out-dir", OUT, "--log-file", "run.log", *options) == 0
    warning = "in/0.tif: not converged after 1 iterations; raise --max-iter or --tol"
    assert capsys.readouterr().err == f"streamgmm: {warning}\n"
    assert Path("run.log").read_text(encoding="utf-8").count(f"WARNING {warning}\n") == 1


def test_the_log_file_takes_any_name(here, capsys):
    write_tiff("in/\udcfe.tif", smooth(20, 30))
    write_tiff("in/new\nline.tif", smooth(20, 30))
    assert leave("in", "--out-dir", OUT, "--log-file", "run.log", "-k", 2) == 0
    assert capsys.readouterr().err == ""
    lines = Path("run.log").read_bytes().splitlines()
    assert sum(b": done in" in line for line in lines) == 5
    assert all(re.match(rb"\d{4}-", line) for line in lines)


def measured(path="metrics.prom"):
    """The metrics in a file, as Prometheus reads them."""
    families = list(text_string_to_metric_families(Path(path).read_text(encoding="utf-8")))
    assert all(family.type == "gauge" and family.documentation for family in families)
    samples = [sample for family in families for sample in family.samples]
    assert all(sample.name.startswith("streamgmm_batch_") for sample in samples)
    return {
        " ".join([sample.name.removeprefix("streamgmm_batch_"), *sample.labels.values()]): sample.value for sample in samples
    }


def test_metrics_are_what_prometheus_reads(here):
    corrupt("in/1.tif")
    begin = time.time()
    options = ["--metrics-file", "metrics.prom", "--report", "run.jsonl", "-k", 4, "--max-iter", 1, "--tol", 0]
    assert leave("in", "--out-dir", OUT, *options, "--method", "stream") == 1
    values, lines = measured(), report()
    assert begin < values.pop("end_timestamp_seconds") <= time.time() + 0.001
    assert sum(line["seconds"] for line in lines) <= values.pop("duration_seconds") + 0.002 < time.time() - begin + 1
    assert values == {
        "files done": 2,
        "files skipped": 0,
        "files failed": 1,
        "files_not_converged": 2,
        "exit_code": 1,
        "peak_memory_bytes": max(line["peak_memory_bytes"] for line in lines),
    }


def test_metrics_appear_whole(here):
    assert leave("in/0.tif", "--out-dir", OUT, "--metrics-file", "metrics.prom", "-k", 2) == 0
    with open("metrics.prom", encoding="utf-8") as before:  # as the node exporter reads them meanwhile
        assert leave("in", "--out-dir", OUT, "--metrics-file", "metrics.prom", "-k", 2, "--skip-existing") == 0
        old = before.read()
    assert 'files{status="done"} 1\n' in old
    assert {name: value for name, value in measured().items() if name.startswith("files ")} == {
        "files done": 2,
        "files skipped": 1,
        "files failed": 0,
    }
    assert {path.name for path in Path().iterdir()} == {"in", "out", "metrics.prom"}


def test_metrics_of_a_run_that_cannot_begin(here):
    assert leave("in", "--out-dir", OUT, "--metrics-file", "metrics.prom", "--shared-palette", "weight") == 2
    assert measured()["exit_code"] == 2


# --- Options from a file ---


def test_options_from_a_file(here):
    options = """
    out-dir = "out"
    components = 3
    compression = "lzw"
    pyramid = true
    tile-size = 16
    resume = false
    tol = 1e-3
    min-psnr = 3
    memory = "1GiB"
    report = "run.jsonl"
    """
    Path("night.toml").write_text(options, encoding="utf-8")
    assert leave("in", "--config", "night.toml") == 0
    expected = {"n_components": 3, "compression": "lzw", "pyramid": True, "tile_size": 16, "tol": 1e-3, "min_psnr": 3.0}
    assert report()[0]["fingerprint"] == run(overwrite=True, **expected)[0].fingerprint
    assert len(report()) == 3


def test_the_command_line_wins(here):
    Path("night.toml").write_text(
        'components = 3\noverwrite = true\nout-dir = "elsewhere"\npyramid = true\nseed = 4\n', encoding="utf-8"
    )
    given = ["--out-dir", OUT, "--components", 2, "--no-pyramid", "--report", "run.jsonl"]
    assert leave("in", *given, "--config", "night.toml") == 0  # wherever it stands
    assert leave("--config", "night.toml", *given, "in") == 0  # and overwrites
    assert report()[0]["fingerprint"] == run(n_components=2, pyramid=False, seed=4, overwrite=True)[0].fingerprint
    assert not Path("elsewhere").exists()


def test_all_options_may_stand_in_a_file(here, capsys):
    Path("night.toml").write_text(
        'out-dir = "out"\nverbose = true\nquiet = true\nbands = [2, 1, 3]\njobs = 2\n', encoding="utf-8"
    )
    assert leave("in", "--config", "night.toml", "-k", 2, "--report", "run.jsonl") == 0
    assert "3 files: 3 done" in capsys.readouterr().err
    assert report()[0]["fingerprint"] == run(bands=(2, 1, 3), overwrite=True)[0].fingerprint


WRONG = {
    "no option": ("colors = 3", "there is no option 'colors'; choose from all-pages, "),
    "a table": ("[fit]\ncomponents = 3", "there is no option 'fit'"),
    "the name in Python": ("n_components = 3", "there is no option 'n_components'"),
    "another file": ('config = "other.toml"', "there is no option 'config'"),
    "not TOML": ("components: 3", "not TOML"),
    "not text": ("\0", "not TOML"),
    "a word for a number": ('components = "many"', "components"),
    "a part of a number": ("components = 2.5", "components"),
    "a list for a number": ("components = [1, 2]", "components"),
    "a number for a list": ("bands = 1.5", "bands"),
    "a list of words": ('bands = ["red"]', "bands"),
    "a number for a switch": ("overwrite = 3", "overwrite"),
    "a word for a switch": ('overwrite = "perhaps"', "overwrite"),
    "a switch for a number": ("components = true", "components"),
    "a switch for a word": ("method = true", "method"),
    "a number for a path": ("report = 3", "report"),
    "a date for a path": ("log-file = 2026-01-01", "log-file"),
    "a list for a word": ('method = ["exact"]', "method"),
    "a value that is none of it": ('method = "fast"', "method is 'fast'"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_file_of_options_that_cannot_be_used(what, here, capsys):
    text, complaint = WRONG[what]
    Path("night.toml").write_text(text, encoding="utf-8")
    assert leave("in", "--out-dir", OUT, "--config", "night.toml") == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert "Traceback" not in error
    assert (error.count("\n"), here) == (1, []) or error.startswith("Usage: ")


def test_a_file_of_options_that_is_not_there(here, capsys):
    for path in ("gone.toml", "in"):
        assert leave("in", "--out-dir", OUT, "--config", path) == 2
        assert re.fullmatch(rf"streamgmm: {path}: (no such file|is a) .*\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--jobs", "0"], "jobs is 0"),
        (["--suffix", ""], "suffix is ''"),
        (["--suffix", "/../x.tif"], "suffix is "),
        (["--shared-palette", "weight"], "choose pixels, files"),
        (["--shared-palette", "files", "--model", "model.json"], "shared-palette and model exclude each other"),
        (["--shared-palette", "files", "--method", "exact"], "use stream"),
        (["--skip-existing", "--overwrite"], "skip-existing and overwrite exclude each other"),
        (["--components", "0"], "components is 0"),
        (["--work-dir", "gone"], "work-dir is gone"),
    ],
)
def test_options_that_cannot_be_used(options, complaint, here, capsys):
    assert leave("in", "--out-dir", OUT, *options) == 2
    assert re.fullmatch(rf"streamgmm: .*{re.escape(complaint)}.*\n", capsys.readouterr().err.splitlines(True)[-1])
    assert here == []
    assert not OUT.exists()


# --- What is done is not done again ---


def test_a_second_run_does_nothing_quickly(here):
    first = run()
    before = {name: (OUT / name).stat().st_mtime_ns for name in outputs()}
    here.clear()
    assert statuses(skip_existing=True) == ["skipped"] * 3
    assert here == []
    begin = time.monotonic()
    process = start("in", "--out-dir", OUT, "--skip-existing", "-k", 2, "--report", "run.jsonl")
    assert finish(process) == (0, "", "")
    assert time.monotonic() - begin < 1.5  # half of it is loading the program: no worker is started
    assert {name: (OUT / name).stat().st_mtime_ns for name in outputs()} == before
    for line, entry in zip(report(), first, strict=True):
        with tifffile.TiffFile(line["output"]) as tiff:
            assert tiff.pages.first.software.endswith(f" fingerprint {line['fingerprint']}")
        assert (line["status"], line["fingerprint"]) == ("skipped", entry.fingerprint)


def rewrite(path):
    write_tiff(path, smooth(40, 60, seed=9), compression="deflate")


def one_pixel(path):
    changed = tifffile.imread(path)
    changed[7, 7] ^= 1
    before = path.stat()
    write_tiff(path, changed, compression="deflate")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as rsync -t and tar write it


def newer(path):
    os.utime(path, ns=(10**18 * 4, 10**18 * 4))


def older(path):
    image = smooth(40, 60, seed=9)
    write_tiff(path, image, compression="deflate")
    os.utime(path, ns=(0, 0))


@pytest.mark.parametrize("change", [rewrite, one_pixel, newer, older])
def test_an_output_is_made_again_where_its_input_changed(change, here):
    run()
    here.clear()
    change(Path("in/1.tif"))
    assert statuses(skip_existing=True) == ["skipped", "done", "skipped"]
    assert here == ["in/1.tif"]
    made = outputs()
    shutil.rmtree(OUT)
    run()
    assert outputs() == made


def truncated(path):
    os.truncate(path, path.stat().st_size * 2 // 3)


def empty(path):
    os.truncate(path, 0)


def without_header(path):
    path.write_bytes(bytes(8) + path.read_bytes()[8:])


def by_quantize(path):
    streamgmm.quantize(Path("in", path.name), path, n_components=2, threads=1, overwrite=True)


def of_another(path):
    shutil.copy(OUT / "0.tif", path)


@pytest.mark.parametrize("damage", [truncated, empty, without_header, Path.unlink, by_quantize, of_another])
def test_an_output_is_made_again_where_it_is_not_what_it_was(damage, here):
    run()
    before = outputs()
    damage(OUT / "1.tif")
    here.clear()
    assert statuses(skip_existing=True) == ["skipped", "done", "skipped"]
    assert outputs() == before


CHANGING = {
    "components": {"n_components": 3},
    "seed": {"seed": 1},
    "covariance": {"covariance_type": "diag"},
    "start": {"init": "random"},
    "bands": {"bands": (1,)},
    "nodata": {"nodata": 0.0},
    "form": {"output": "rgb"},
    "compression": {"compression": "lzw"},
    "tiles": {"tile_size": 16},
    "packing": {"pack": True},
}


@pytest.mark.parametrize("option", CHANGING)
def test_an_output_is_made_again_with_other_options(option, here):
    run("in/0.tif")
    before = outputs()
    assert statuses("in/0.tif", skip_existing=True, **CHANGING[option]) == ["done"]
    assert outputs() != before
    assert statuses("in/0.tif", skip_existing=True, **CHANGING[option]) == ["skipped"]


KEEPING = {
    "threads": {"threads": 2},
    "chunks": {"chunk_size": "1MiB"},
    "memory": {"memory": "8GiB"},
    "jobs": {"jobs": 2},
    "patience": {"wait": 3.0},
    "resuming": {"resume": False},
    "strictness": {"strict": True},
    "stopping": {"fail_fast": True},
    "folders in folders": {"recursive": True},
}


@pytest.mark.parametrize("option", KEEPING)
def test_an_output_stays_where_only_the_run_is_another(option, here):
    run("in/0.tif")
    assert statuses("in/0.tif", skip_existing=True, **KEEPING[option]) == ["skipped"]


def test_an_output_stays_wherever_the_files_are(here, folder, monkeypatch):
    run()
    Path("in").rename("moved")
    assert {entry.status for entry in run("moved", skip_existing=True)} == {"skipped"}
    assert {entry.status for entry in run(str(folder / "moved"), skip_existing=True)} == {"skipped"}
    assert {entry.status for entry in run("moved", skip_existing=True, out_dir=folder / "out")} == {"skipped"}
    monkeypatch.chdir("moved")
    assert {entry.status for entry in run(".", skip_existing=True, out_dir=Path("../out"))} == {"skipped"}


# --- Many at once ---


@pytest.mark.parametrize("jobs", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_any_number_of_jobs_gives_the_same_bytes(jobs, here):
    run(jobs=1)
    assert set(expected := outputs()) == {"0.tif", "1.tif", "2.tif"}
    shutil.rmtree(OUT)
    command = ["in", "--out-dir", OUT, "-k", 2, "--jobs", jobs, "--threads", 3, "--report", "run.jsonl"]
    assert finish(start(*command)) == (0, "", "")
    assert sorted(line["input"] for line in report()) == ["in/0.tif", "in/1.tif", "in/2.tif"]
    assert outputs() == expected


@pytest.mark.parametrize(("threads", "jobs", "each"), [(8, 1, 8), (8, 2, 4), (8, 3, 2), (2, 3, 1)])
def test_threads_and_memory_are_divided(threads, jobs, each, monkeypatch):
    given = []

    def in_processes(function, tasks, size):
        given.extend([*tasks, size])
        yield from ()

    monkeypatch.setattr(module, "in_processes", in_processes)
    run(jobs=jobs, threads=threads, memory="2GiB")
    *tasks, size = given
    assert (len(tasks), size) == (3, jobs)
    assert {task.resources.threads for task in tasks} == {each}
    here = psutil.Process().memory_info().rss
    assert all(2**31 - here - (8 << 20) <= jobs * task.resources.memory <= 2**31 - (50 << 20) for task in tasks)


def test_more_jobs_than_the_memory_holds(here, capsys):
    assert leave("in", "--out-dir", OUT, "--jobs", 20, "--memory", "2GiB") == 5
    refusal = r"streamgmm: 20 jobs have \d+ MiB each, and need 212 MiB; .*--jobs"
    assert re.fullmatch(refusal, capsys.readouterr().err.splitlines()[-1])
    assert here == []
    assert leave("in", "--out-dir", OUT, "--jobs", 2, "--memory", "2GiB", "-k", 2) == 0


# --- One model for all ---


def model_of(path=OUT / "streamgmm-model.json"):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def test_the_colors_of_a_model():
    model = streamgmm.fit_image("in/0.tif", n_components=4, threads=1)[0]
    Path("model.json").write_text(model.to_json(), encoding="utf-8")
    assert leave("in", "--out-dir", OUT, "--model", "model.json", "--report", "run.jsonl") == 0
    for i, line in enumerate(report()):
        expected = streamgmm.apply(model, f"in/{i}.tif", "alone.tif", threads=1, overwrite=True)
        np.testing.assert_array_equal(pixels(OUT / f"{i}.tif"), pixels("alone.tif"))
        assert (line["psnr_db"], line["iterations"], line["converged"]) == (expected.psnr_db, 0, True)
    assert set(outputs()) == {"0.tif", "1.tif", "2.tif"}


def test_another_model_makes_other_outputs(here):
    for n_components, status in ((4, "done"), (4, "skipped"), (3, "done")):
        model = streamgmm.fit_image("in/0.tif", n_components=n_components, threads=1)[0]
        Path("model.json").write_text(model.to_json(), encoding="utf-8")
        assert {entry.status for entry in run(model=Path("model.json"), skip_existing=True)} == {status}


@pytest.mark.parametrize("content", [None, "{}", "no model"])
def test_a_model_that_cannot_be_used(content, here, capsys):
    if content is not None:
        Path("model.json").write_text(content, encoding="utf-8")
    assert leave("in", "--out-dir", OUT, "--model", "model.json") == 3
    assert capsys.readouterr().err.splitlines()[-1].startswith("streamgmm: model.json: ")
    assert here == []


@pytest.mark.parametrize("given", [["--shared-palette", "pixels"], ["--shared-palette"], ["--config", "night.toml"]], ids=str)
def test_a_shared_palette_is_that_of_all_pixels(given):
    write_tiff("in/0.tif", smooth(90, 80, seed=5))
    Path("night.toml").write_text("shared-palette = true\n", encoding="utf-8")
    assert leave("in", "--out-dir", OUT, *given, "-k", 3, "--threads", 1) == 0
    images = [f"in/{i}.tif" for i in range(3)]
    expected = streamgmm.fit_image(images, n_components=3, threads=1)[0]
    model = model_of()
    assert re.fullmatch("[0-9a-f]{32}", model.pop("fingerprint"))
    assert model == json.loads(expected.to_json())
    for i, path in enumerate(images):
        streamgmm.apply(expected, path, "alone.tif", threads=1, overwrite=True)
        np.testing.assert_array_equal(pixels(OUT / f"{i}.tif"), pixels("alone.tif"))
    assert set(outputs()) == {"0.tif", "1.tif", "2.tif", "streamgmm-model.json"}


def flat(height, width, value, noise=0, seed=0):
    """Pixels about one value."""
    drawn = np.random.default_rng(seed).normal(value, noise, (height, width, 3))
    return drawn.round().clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("noise", [0, 4], ids=["of two colors", "of two clouds"])
@pytest.mark.parametrize(("by", "share"), [("files", 1 / 2), ("pixels", 100 * 90 / (100 * 90 + 5 * 20))])
def test_files_of_equal_weight(by, share, noise, here):
    shutil.rmtree("in")
    Path("in").mkdir()
    write_tiff("in/large.tif", flat(100, 90, 60, noise))
    write_tiff("in/small.tif", flat(5, 20, 200, noise, seed=1))
    run(shared_palette=by)
    model = model_of()
    dark = int(np.argmin(np.mean(model["means"], axis=1)))
    assert model["weights"][dark] == pytest.approx(share, abs=1e-6)
    assert model["means"][dark] == pytest.approx([60 / 255] * 3, abs=2e-3)


def test_files_of_equal_weight_that_overlap(here):
    shapes = {"0": (60, 70), "1": (9, 11), "2": (30, 7)}
    images = {name: flat(*shape, 90 + 30 * int(name), 25, seed=int(name)) for name, shape in shapes.items()}
    for name, image in images.items():
        write_tiff(f"in/{name}.tif", image)
    begin = streamgmm.fit_image("in/0.tif", n_components=2, max_iter=1, threads=1)[0]
    run(shared_palette="files", init=begin, max_iter=7, tol=0)
    x = np.concatenate([colors_of(image) for image in images.values()])
    w = np.concatenate([np.full(image[..., 0].size, 1 / image[..., 0].size) for image in images.values()])
    _, expected = naive.expectation_maximization(x, naive_model(begin.to_dict()), 7, 1e-6, w)
    order = np.argsort(-expected[0])
    weights, means, covariances, _ = naive_model(model_of())
    np.testing.assert_allclose(weights, expected[0][order], rtol=1e-3)
    np.testing.assert_allclose(means, expected[1][order], rtol=1e-3)
    np.testing.assert_allclose(covariances, expected[2][order], atol=1e-5)
    _, equal = naive.expectation_maximization(x, naive_model(begin.to_dict()), 7, 1e-6)
    assert np.abs(np.sort(equal[0]) - np.sort(expected[0])).max() > 0.05  # pixels of equal weight give another model


@pytest.mark.parametrize("by", ["pixels", "files"])
def test_a_shared_palette_of_those_that_can_be_read(by, here):
    expected = [run(shared_palette=by), model_of()][1]
    shutil.rmtree(OUT)
    corrupt("in/a.tif")
    (data := Path("in/0.tif").read_bytes()) and Path("in/b.tif").write_bytes(data[: len(data) * 2 // 3])
    write_tiff("in/c.tif", smooth(40, 60, bands=1))
    Path("in/d.tif").symlink_to("gone")
    entries = run(shared_palette=by)
    assert [(entry.input, entry.exit_code) for entry in entries] == [
        ("in/0.tif", 0),
        ("in/1.tif", 0),
        ("in/2.tif", 0),
        *((f"in/{name}.tif", 3) for name in "abcd"),
    ]
    model = model_of()
    del model["fingerprint"], expected["fingerprint"]
    assert model == expected


def test_a_shared_palette_of_nothing(here, capsys):
    shutil.rmtree("in")
    Path("in").mkdir()
    corrupt("in/a.tif")
    assert leave("in", "--out-dir", OUT, "--shared-palette", "files", "--report", "run.jsonl") in (1, 3)
    assert "in/a.tif" in capsys.readouterr().err
    assert outputs() == {}


def test_a_shared_model_is_fitted_once(here):
    shared = {"shared_palette": "files", "skip_existing": True}
    run(**shared)
    assert here == ["all", "in/0.tif", "in/1.tif", "in/2.tif"]
    before, model = outputs(), (OUT / "streamgmm-model.json").stat()
    here.clear()
    assert {entry.status for entry in run(**shared)} == {"skipped"}
    (OUT / "1.tif").unlink()
    run(**shared)
    assert here == ["in/1.tif"]
    assert (OUT / "streamgmm-model.json").stat().st_mtime_ns == model.st_mtime_ns
    assert outputs() == before
    here.clear()
    write_tiff("in/3.tif", smooth(40, 60, seed=3))  # changes the model, and by it all outputs
    assert {entry.status for entry in run(**shared)} == {"done"}
    assert here[0] == "all"


def test_a_shared_model_that_is_damaged_is_fitted_again(here):
    run(shared_palette="pixels")
    before = outputs()
    for damage in ("", "[]", '"text"', "\udcfe"):
        (OUT / "streamgmm-model.json").write_text(damage, errors="surrogateescape", encoding="utf-8")
        (OUT / "1.tif").unlink()
        run(shared_palette="pixels", skip_existing=True)
        assert outputs() == before


# --- Signals, kills, and others ---

SLOW = ["--method", "stream", "--tol", "0", "--max-iter", "300", "-k", "16"]
HARD = ["--method", "stream", "--tol", "1e-3", "-k", "8", "--pyramid", "--compression-level", "9"]


def deep(name, side=512, seed=0):
    """Write an image that takes a second or two."""
    image = np.tile(smooth(256, 256, dtype=np.uint16, seed=seed), (side // 256, side // 256, 1))
    write_tiff(name, image, tile=(256, 256), compression="deflate")


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGTERM, 143),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in ((signal.SIGHUP, 129), (signal.SIGINT, 130))),
    ],
)
def test_a_batch_that_is_asked_to_stop_goes_on_later(number, code, here):
    deep("in/1.tif")
    options = ["in", "--out-dir", OUT, "--report", "run.jsonl", "--metrics-file", "metrics.prom", *SLOW]
    process = start(*options, preexec_fn=with_signals(signal.SIG_DFL, number))
    until(lambda: in_work("1.tif"))
    children = workers(process)
    time.sleep(0.3)
    begin = time.monotonic()
    process.send_signal(number)
    left, output, error = finish(process)
    assert time.monotonic() - begin < 3
    assert (left, output) == (code, "")
    assert re.search(r"streamgmm: interrupted.*; the same command goes on from there\n\Z", error)
    assert "Traceback" not in error
    assert "3 files" not in error
    assert children != []
    assert not any(child.is_running() for child in children)
    assert [line["status"] for line in report()] == ["done"]
    assert measured()["exit_code"] == code
    assert measured()["files done"] == 1
    made = (OUT / "0.tif").stat().st_mtime_ns
    assert leave(*options) == 0
    assert [line["status"] for line in report()] == ["skipped", "done", "done"]
    assert (OUT / "0.tif").stat().st_mtime_ns == made
    assert set(outputs()) == {"0.tif", "1.tif", "2.tif"}


MOMENTS = {
    "starting": workers,
    "loading": lambda process: workers(process) and not time.sleep(0.1),
    "working": lambda process: in_work("0.tif"),
    "one has no more to do": lambda process: (OUT / "1.tif").exists() and (OUT / "2.tif").exists() and in_work("0.tif"),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_signal_to_all_processes_is_told_once(moment):
    deep("in/0.tif")
    terminal = {"start_new_session": True, "preexec_fn": with_signals(signal.SIG_DFL, signal.SIGINT)}
    process = start("in", "--out-dir", OUT, "--jobs", 2, *SLOW, **terminal)
    until(lambda: MOMENTS[moment](process))
    process.send_signal(signal.SIGSTOP)  # so that its workers get it first
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGCONT)
    code, output, error = finish(process)
    assert (code, output) == (130, "")
    assert re.fullmatch(r"(streamgmm: \d files: .*\n)?streamgmm: interrupted.*; the same command goes on from there\n", error)


@pytest.fixture
def interrupted(here, monkeypatch):
    """A batch that was interrupted at its second file."""

    def in_processes(function, tasks, size):
        yield tasks[0], function(tasks[0])
        raise Interrupted(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(module, "in_processes", in_processes)
        with pytest.raises(Interrupted):
            run()
    assert (OUT / "0.tif").exists()


def test_a_batch_goes_on_once(interrupted, here):
    assert statuses() == ["skipped", "done", "done"]
    assert set(outputs()) == {"0.tif", "1.tif", "2.tif"}
    assert statuses() == ["failed"] * 3


def test_a_batch_that_goes_on_takes_nothing_that_is_not_its_own(interrupted, here):
    (OUT / "2.tif").write_text("mine", encoding="utf-8")
    assert statuses() == ["skipped", "done", "failed"]
    assert (OUT / "2.tif").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("options", [{"resume": False}, {"seed": 1}, {"out_dir": OUT, "suffix": ".tiff"}])
def test_another_batch_does_not_go_on(options, interrupted, here):
    made = outputs()["0.tif"]
    assert statuses(**options)[0] == ("done" if "suffix" in options else "failed")
    assert outputs()["0.tif"] == made
    assert not any(name.startswith(".streamgmm") for name in outputs())


def test_a_batch_goes_on_with_other_resources(interrupted, here):
    assert statuses(jobs=2, threads=2, chunk_size="1MiB") == ["skipped", "done", "done"]


def finish_whole(options):
    """Let a batch run to its end, and return what it made."""
    assert finish(start("in", "--out-dir", OUT, *options)) == (0, "", "")
    made = outputs()
    shutil.rmtree(OUT)
    return made


def check_kills(options, n_kills, seed):
    """Kill a batch at random moments until it has been killed so often, then let it end."""
    begin = time.monotonic()
    expected = finish_whole(options)
    seconds, rng, n_done = time.monotonic() - begin, np.random.default_rng(seed), 0
    while n_done < n_kills:
        process = start("in", "--out-dir", OUT, "--jobs", 2, *options)
        try:
            process.wait(timeout=rng.uniform(0.3, 0.8 * seconds))
        except subprocess.TimeoutExpired:
            children = workers(process)
            process.kill()
            assert psutil.wait_procs(children, timeout=5)[1] == []  # no worker outlives it
            n_done += 1
        code, output, error = finish(process)
        assert output == ""
        assert error == "" if code == 0 else "streamgmm:" not in error  # Python tells of a parent and semaphores that are gone
        whole = {name: data for name, data in outputs().items() if not name.startswith((".streamgmm", "1/.streamgmm"))}
        assert whole.items() <= expected.items()
        assert code != 0 or outputs() == expected
        if outputs() == expected:  # also where it was killed when all was done: there is nothing to go on with
            shutil.rmtree(OUT)
    assert finish_whole(options) == expected


def test_a_batch_that_is_killed_goes_on():
    for i in range(2):
        deep(f"in/{i}.tif", seed=i)
    check_kills(HARD, 2, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("shared", [[], ["--shared-palette", "files"]], ids=["a model for each", "one for all"])
def test_a_batch_that_is_killed_many_times_goes_on(shared):
    for i in range(4):
        deep(f"in/{i}.tif", seed=i, side=1536)
    Path("in/1").mkdir()
    deep("in/1/x.tif", seed=7)
    check_kills(["--recursive", *shared, *HARD], 20, seed=2)


def test_two_batches_at_once(here):
    for i in range(3):
        deep(f"in/{i}.tif", seed=i)
    assert leave("in", "--out-dir", OUT, *HARD) == 0
    expected = outputs()
    shutil.rmtree(OUT)
    runs = [start("in", "--out-dir", OUT, *HARD, "--skip-existing", "--report", f"{n}.jsonl") for n in (0, 1)]
    codes = [finish(each)[0] for each in runs]
    assert outputs() == expected
    for code, lines in zip(codes, (report("0.jsonl"), report("1.jsonl")), strict=True):
        assert len(lines) == 3
        assert {line["exit_code"] for line in lines} <= {0, 7}
        assert code == any(line["exit_code"] for line in lines)
    assert all(0 in (a["exit_code"], b["exit_code"]) for a, b in zip(report("0.jsonl"), report("1.jsonl"), strict=True))


@pytest.mark.slow
def test_two_batches_at_once_may_wait():
    runs = [start("in", "--out-dir", OUT, *HARD, "--skip-existing", "--wait", "60") for _ in range(2)]
    assert [finish(each) for each in runs] == [(0, "", "")] * 2
    assert set(outputs()) == {"0.tif", "1.tif", "2.tif"}


# --- A folder a night ---


def many(n_files, n_corrupt, n_unreadable):
    """Write a folder of small images, some of which cannot be read; returns the names of the sound ones."""
    shutil.rmtree("in")
    Path("in").mkdir()
    names = [f"{i:03d}.tif" for i in range(n_files)]
    rng = np.random.default_rng(0)
    bad = rng.permutation(names)[: n_corrupt + n_unreadable].tolist()
    for i, name in enumerate(names):
        path = Path("in", name)
        write_tiff(path, smooth(24, 30, seed=i), compression="deflate")
        if name in bad[:n_corrupt]:
            data = path.read_bytes()
            cut = [b"", data[:100], bytes(len(data)), data[: len(data) // 2], b"\x89PNG\r\n\x1a\n" + data][bad.index(name) % 5]
            path.write_bytes(cut)
        elif name in bad:
            path.unlink()
            path.symlink_to(f"gone-{name}")
    return sorted(set(names) - set(bad)), sorted(bad)


@pytest.mark.parametrize(
    ("n_files", "n_corrupt", "n_unreadable"), [(20, 5, 2), pytest.param(200, 20, 5, marks=pytest.mark.slow)]
)
def test_a_folder_of_which_some_are_bad(n_files, n_corrupt, n_unreadable):
    sound, bad = many(n_files, n_corrupt, n_unreadable)
    options = ["in", "--out-dir", OUT, "--report", "run.jsonl", "-k", 2, "--skip-existing", "--jobs", 1 + n_files // 100]
    assert leave(*options) == 1
    assert sorted(line["input"] for line in report()) == sorted(f"in/{name}" for name in [*sound, *bad])
    assert sorted(line["input"] for line in report() if line["error"]) == [f"in/{name}" for name in bad]
    assert {line["exit_code"] for line in report() if line["error"]} == {3}
    assert sorted(outputs()) == sound
    before = {name: (OUT / name).stat().st_mtime_ns for name in sound}
    assert leave(*options) == 1
    assert {name: (OUT / name).stat().st_mtime_ns for name in outputs()} == before
    assert {line["input"]: line["status"] for line in report()} == {
        **{f"in/{name}": "skipped" for name in sound},
        **{f"in/{name}": "failed" for name in bad},
    }


def test_cron_is_told_nothing():
    cron = {"PATH": "/usr/bin:/bin", "SHELL": "/bin/sh", "PYTHONPATH": str(ROOT)}
    cron |= {name: os.environ[name] for name in ("STREAMGMM_CACHE_DIR",) if name in os.environ}
    command = ["env", "-i", *(f"{name}={value}" for name, value in cron.items())]
    command += ["sh", "-c", 'exec "$@" <&-', "sh", *COMMAND, "in", "--out-dir", "out", "-k", "2"]
    ended = subprocess.run(command, capture_output=True, timeout=300, start_new_session=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
    assert set(outputs()) == {"0.tif", "1.tif", "2.tif"}
