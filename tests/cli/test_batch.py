"""A folder a night, as a command: what it is told, also in a file, and what it tells in a report, a log, metrics, a code."""

import contextlib
import json
import os
import pty
import re
import shutil
import subprocess
import time
from pathlib import Path

import click
import numpy as np
import pytest
import tifffile

import streamgmm
from streamgmm.cli.commands import cli
from streamgmm.cli.summary import size

from ..batches import (
    COMMAND,
    ENVIRONMENT,
    OUT,
    ROOT,
    corrupt,
    leave,
    measured,
    outputs,
    pixels,
    report,
    run,
    work_here,
    write_three,
)
from ..images import posterized, smooth, write_tiff

FIELDS = ["input", "output", "status", "seconds", "peak_memory_bytes"]
FIELDS += ["iterations", "converged", "psnr_db", "delta_e", "bytes_in", "bytes_out", "dropped"]
FIELDS += ["fingerprint", "error", "exit_code"]

pytestmark = pytest.mark.usefixtures("folder")


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = write_three(tmp_path_factory.mktemp("batch"))
    (folder / "colors.json").write_text('["#102030", [250, 240, 230]]', encoding="utf-8")
    return folder


@pytest.fixture
def here(monkeypatch):
    """Work is done in this process; the names of the inputs worked on."""
    return work_here(monkeypatch)


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
    assert re.fullmatch(r"streamgmm: 5 files: 2 done, 0 skipped, 3 failed, \d+ kB to [\d.]+ kB in \d+\.\d s", summary)
    assert set(outputs()) == {"0.tif", "2.tif", "3.tif"}
    assert (OUT / "2.tif").read_text(encoding="utf-8") == "mine"


def test_fail_fast_stops_at_the_first_failure(here, capsys):
    corrupt("in/1.tif")
    assert leave("in", "--out-dir", OUT, "--fail-fast", "--report", "run.jsonl") == 1
    assert [line["status"] for line in report()] == ["done", "failed"]
    assert set(outputs()) == {"0.tif"}
    assert "2 files: 1 done, 0 skipped, 1 failed" in capsys.readouterr().err


def test_nothing_to_do_is_no_error(capsys):
    Path("none").mkdir()
    assert leave("none", "--out-dir", OUT) == 0
    assert capsys.readouterr() == ("", "")


def test_a_name_that_is_an_option_is_a_file_behind_two_dashes(here, capsys):
    for name in ("-v", "--overwrite.tif"):
        shutil.copy("in/0.tif", name)
    assert leave("--out-dir", OUT, "-k", 2, "--", "-v", "--overwrite.tif") == 0
    assert set(outputs()) == {"-v.tif", "--overwrite.tif"}
    assert capsys.readouterr() == ("", "")  # it was not asked to say more


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


# --- What is told ---


def test_the_report_tells_of_each_file_what_quantize_does():
    settings = {"n_components": 4, "max_iter": 1, "threads": 1}
    options = ["-k", 4, "--max-iter", 1, "--threads", 1]
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
        assert line["bytes_out"] == Path(line["output"]).stat().st_size
        for name in ("iterations", "converged", "psnr_db", "delta_e", "bytes_in"):
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

    monkeypatch.setattr("streamgmm.jobs.batch.run.in_processes", in_processes)
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


@pytest.mark.parametrize("option", ["--metrics-file", "--log-file"])
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
    read, written = (sum(path.stat().st_size for path in Path(folder).glob("*.tif")) for folder in ("in", OUT))
    corrupt("in/1.tif")
    assert leave("in", "--out-dir", OUT, "--log-file", "run.log", "-k", 2, "--skip-existing") == 1
    first, *lines = Path("run.log").read_text(encoding="utf-8").splitlines()
    assert first == "before"
    matches = [re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} (INFO|WARNING|ERROR) (.*)", line) for line in lines]
    told = [(match[1], re.sub(r"[\d.]+ s$", "_ s", match[2])) for match in matches]
    done = [("INFO", f"out/{i}.tif: done in _ s") for i in range(3)]
    assert [line for line in told if line in done] == done
    assert ("INFO", f"3 files: 3 done, 0 skipped, 0 failed, {size(read)} to {size(written)} in _ s") in told
    assert ("INFO", "out/0.tif: skipped in _ s") in told
    assert any(level == "ERROR" and text.startswith("in/1.tif: ") for level, text in told)
    assert ("WARNING", "3 files: 0 done, 2 skipped, 1 failed in _ s") in told
    assert "done" not in capsys.readouterr().err.splitlines()[0]


def test_what_a_worker_says_is_said_once(capsys):
    options = ["--method", "stream", "--tol", 0, "--max-iter", 1, "-k", 4]
    assert leave("in/0.tif", "--out-dir", OUT, "--log-file", "run.log", *options) == 0
    message = "in/0.tif: not converged after 1 iterations; raise --max-iter or --tol"
    assert capsys.readouterr().err == ""
    assert Path("run.log").read_text(encoding="utf-8").count(f"WARNING {message}\n") == 1
    assert leave("in/0.tif", "--out-dir", OUT, "-v", "--overwrite", *options) == 0
    assert capsys.readouterr().err.count(f"streamgmm: {message}\n") == 1
    assert leave("in/0.tif", "--out-dir", OUT, "--strict", "--overwrite", *options) == 1
    assert capsys.readouterr().err.count(f"streamgmm: {message}\n") == 1


def test_the_log_file_takes_any_name(here, capsys):
    write_tiff("in/\udcfe.tif", smooth(20, 30))
    write_tiff("in/new\nline.tif", smooth(20, 30))
    assert leave("in", "--out-dir", OUT, "--log-file", "run.log", "-k", 2) == 0
    assert capsys.readouterr().err == ""
    lines = Path("run.log").read_bytes().splitlines()
    assert sum(b": done in" in line for line in lines) == 5
    assert all(re.match(rb"\d{4}-", line) for line in lines)


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
    assert {path.name for path in Path().iterdir()} == {"in", "out", "metrics.prom", "start.json", "colors.json"}


@pytest.mark.parametrize(("option", "value", "code"), [("shared-palette", "weight", 2), ("tol", -1, 2), ("init", "a.json", 2)])
def test_metrics_of_a_run_that_cannot_begin(option, value, code, here):
    assert leave("in", "--out-dir", OUT, "--metrics-file", "metrics.prom", f"--{option}", value) == code
    assert measured()["exit_code"] == code


def test_cron_is_told_nothing():
    cron = {"PATH": "/usr/bin:/bin", "SHELL": "/bin/sh", "PYTHONPATH": str(ROOT)}
    cron |= {name: os.environ[name] for name in ("STREAMGMM_CACHE_DIR",) if name in os.environ}
    command = ["env", "-i", *(f"{name}={value}" for name, value in cron.items())]
    command += ["sh", "-c", 'exec "$@" <&-', "sh", *COMMAND, "in", "--out-dir", "out", "-k", "2"]
    ended = subprocess.run(command, capture_output=True, timeout=300, start_new_session=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
    assert set(outputs()) == {"0.tif", "1.tif", "2.tif"}


# --- Options ---


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
    memory = "8GiB"
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
        (["--shared-palette", "files", "--method", "exact"], "method exact gives every pixel the same weight; use stream"),
        (["--shared-palette", "files", "--method", "minibatch"], "method minibatch gives every pixel the same weight"),
        (["--skip-existing", "--overwrite"], "skip-existing and overwrite exclude each other"),
        (["--components", "0"], "components is 0"),
        (["-k", "auto", "--model", "model.json"], "components auto and model exclude each other"),
        (["-k", "auto", "--keep-values"], "keep-values and components auto exclude each other"),
        (["--target-psnr", "30"], "target-psnr is for components auto; components is 16"),
        (["--work-dir", "gone"], "work-dir is gone"),
    ],
)
def test_options_that_cannot_be_used(options, complaint, here, capsys):
    assert leave("in", "--out-dir", OUT, *options) == 2
    assert re.fullmatch(rf"streamgmm: .*{re.escape(complaint)}.*\n", capsys.readouterr().err.splitlines(True)[-1])
    assert here == []
    assert not OUT.exists()


@pytest.mark.parametrize("shared", [[], ["--shared-palette"]], ids=["one each", "shared"])
def test_each_file_has_as_few_colors_as_it_needs(shared, here):
    options = ["--out-dir", OUT, "-k", "auto", "--max-delta-e", 8, "--report", "run.jsonl", "--threads", 1]
    assert leave("in", *options, *shared) == 0
    used = [len(np.unique(tifffile.imread(line["output"]))) for line in report()]
    assert all(1 < n < 60 for n in used), used
    if not shared:
        assert all(line["delta_e"] <= 8 for line in report())
        streamgmm.quantize("in/0.tif", "alone.tif", n_components="auto", max_delta_e=8, threads=1)
        np.testing.assert_array_equal(pixels("alone.tif"), pixels("out/0.tif"))


def test_more_jobs_than_the_memory_holds(here, capsys):
    assert leave("in", "--out-dir", OUT, "--jobs", 20, "--memory", "2GiB") == 5
    refusal = r"streamgmm: 20 jobs have \d+ MiB each, and need 212 MiB; .*--jobs"
    assert re.fullmatch(refusal, capsys.readouterr().err.splitlines()[-1])
    assert here == []
    assert leave("in", "--out-dir", OUT, "--jobs", 2, "--memory", "2GiB", "-k", 2) == 0


@pytest.mark.parametrize("content", [None, "{}", "no model"])
def test_a_model_that_cannot_be_used(content, here, capsys):
    if content is not None:
        Path("model.json").write_text(content, encoding="utf-8")
    assert leave("in", "--out-dir", OUT, "--model", "model.json") == 3
    assert capsys.readouterr().err.splitlines()[-1].startswith("streamgmm: model.json: ")
    assert here == []


def test_a_shared_palette_of_nothing(here, capsys):
    shutil.rmtree("in")
    Path("in").mkdir()
    corrupt("in/a.tif")
    assert leave("in", "--out-dir", OUT, "--shared-palette", "files", "--report", "run.jsonl") in (1, 3)
    assert "in/a.tif" in capsys.readouterr().err
    assert outputs() == {}


# --- What cannot be told costs nothing ---

BAD = ["in", "--out-dir", OUT, "-k", "2", "--report", "run.jsonl"]


def as_in_a_shell(redirection, *arguments):
    """Run a batch with redirections of a shell; return its exit code, and what it printed."""
    command = ["sh", "-c", f'"$@" {redirection}', "sh", *COMMAND, *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, encoding="utf-8", env=ENVIRONMENT, timeout=120)
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", "2>&- >&- <&-", "<&-"])
def test_messages_that_cannot_be_written_change_nothing(redirection):
    corrupt("in/1.tif")
    code, output, error = as_in_a_shell(redirection, *BAD, "-v")
    assert (code, output) == (1, "")
    assert ("in/1.tif" in error) == (redirection == "<&-")
    assert [line["status"] for line in report()] == ["done", "failed", "done"]
    assert set(outputs()) == {"0.tif", "2.tif"}


def test_messages_that_nobody_takes_any_more_change_nothing():
    corrupt("in/0.tif")
    code = as_in_a_shell("2>&1 >/dev/null | true; exit 0", *BAD)[0]
    assert code == 0
    assert set(outputs()) == {"1.tif", "2.tif"}


def test_a_log_that_cannot_be_written_is_told_of_once():
    code, output, error = as_in_a_shell("", *BAD, "--log-file", "/dev/full")
    assert (code, output) == (0, "")
    assert error == ("streamgmm: /dev/full: the log cannot be written (no space left on device); the work goes on without\n")
    assert [line["status"] for line in report()] == ["done"] * 3
    assert set(outputs()) == {"0.tif", "1.tif", "2.tif"}


@pytest.mark.parametrize("option", ["--report", "--metrics-file"])
def test_a_report_that_cannot_be_written_costs_no_output(option):
    code, output, error = as_in_a_shell("", "in", "--out-dir", OUT, "-k", "2", option, "/dev/full")
    assert (code, output) == (4, "")
    assert re.fullmatch(r"streamgmm: /dev/full: .*cannot be written \(no space left on device\); .*\n", error)
    assert set(outputs()) == {"0.tif", "1.tif", "2.tif"}


def test_a_report_on_a_standard_output_that_takes_no_more():
    code, _, error = as_in_a_shell(">/dev/full", "in", "--out-dir", OUT, "-k", "2", "--report", "-")
    assert (code, error.count("\n")) == (4, 1)
    assert set(outputs()) == {"0.tif", "1.tif", "2.tif"}
    code, _, error = as_in_a_shell(">&-", "in", "--out-dir", OUT, "-k", "2", "--report", "-", "--overwrite")
    assert (code, error) == (4, "streamgmm: standard output: is closed; name a file for the report\n")


def test_the_report_has_a_folder_as_the_outputs_have(here):
    assert leave("in", "--out-dir", "new/out", "-k", 2, "--report", "r1/deep/x.jsonl") == 0
    assert len(report("r1/deep/x.jsonl")) == len(outputs(Path("new/out"))) == 3


def test_what_is_told_goes_into_pipes_and_devices(here):
    ours, theirs = os.openpty()
    os.mkfifo("pipe")
    reader = subprocess.Popen(["cat", "pipe"], stdout=subprocess.PIPE, encoding="utf-8")
    assert leave("in", "--out-dir", OUT, "-k", 2, "--report", "pipe", "--metrics-file", os.ttyname(theirs)) == 0
    assert len(reader.communicate(timeout=60)[0].splitlines()) == 3
    assert b"streamgmm_batch_files" in os.read(ours, 100)
    assert leave("in", "--out-dir", OUT, "-k", 2, "--overwrite", "--log-file", os.ttyname(theirs)) == 0
    assert Path("pipe").is_fifo()
    assert Path(os.ttyname(theirs)).is_char_device()
    os.close(ours)
    os.close(theirs)


def test_a_log_and_a_report_may_share_a_descriptor():
    code, output, error = as_in_a_shell(
        ">both; cat both", "in", "--out-dir", OUT, "-k", 2, "--log-file", "/dev/stdout", "--report", "-"
    )
    lines = output.splitlines()
    assert (code, error) == (0, "")
    assert sum(line.startswith("{") for line in lines) == 3
    assert sum(": done in" in line for line in lines) == 3


@pytest.mark.parametrize("option", ["--log-file", "--metrics-file"])
def test_only_a_report_is_printed(option, here, capsys):
    assert leave("in", "--out-dir", OUT, option, "-") == 4
    assert capsys.readouterr().err == "streamgmm: -: standard output cannot be had here; name a file\n"
    assert here == []


def test_nothing_is_told_into_what_is_read(here, capsys):
    Path("night.toml").write_text("components = 2\n", encoding="utf-8")
    before = Path("night.toml").read_bytes(), Path("start.json").read_bytes()
    OUT.mkdir()
    options = ["in", "--out-dir", OUT, "--config", "night.toml"]
    for read in (["--init", "start.json"], ["--model", "start.json"], []):
        path = read[1] if read else "night.toml"
        for told in ("--report", "--metrics-file", "--log-file"):
            assert leave(*options, *read, told, path) == 2
            assert "is something else as well; choose a file of its own" in capsys.readouterr().err
    shutil.copy("start.json", OUT / "streamgmm-model.json")
    assert leave(*options, "--init", OUT / "streamgmm-model.json", "--shared-palette") == 2
    assert "is something else as well; choose another --suffix or --out-dir" in capsys.readouterr().err
    assert (Path("night.toml").read_bytes(), Path("start.json").read_bytes()) == before
    assert here == []


def test_files_that_have_not_converged_are_counted_on_a_terminal():
    ours, theirs = pty.openpty()
    options = ["in/0.tif", "in/1.tif", "--out-dir", OUT, "-k", "4", "--method", "stream", "--tol", "0", "--max-iter", "1"]
    process = subprocess.Popen([*COMMAND, *map(str, options)], stderr=theirs, env=ENVIRONMENT)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # how a terminal ends on Linux
        while part := os.read(ours, 65536):
            shown += part
    os.close(ours)
    assert process.wait(timeout=60) == 0
    last = shown.decode().strip().splitlines()[-1]
    assert re.search(
        r"streamgmm: 2 files: 2 done, 0 skipped, 0 failed, 2 not converged, \d+ kB to [\d.]+ kB in \d+\.\d s$", last
    )


# --- Files of options ---


def test_a_file_of_options_may_begin_with_a_byte_order_mark(here):
    Path("night.toml").write_text('out-dir = "out"\ncomponents = 2\n', encoding="utf-8-sig")
    assert leave("in", "--config", "night.toml") == 0
    assert len(outputs()) == 3


def test_a_file_of_options_that_is_a_pipe(here, capsys):
    os.mkfifo("night.toml")
    assert leave("in", "--out-dir", OUT, "--config", "night.toml") == 3
    assert capsys.readouterr().err.startswith("streamgmm: night.toml: not a regular file")


# A value of each option, as a file of options has it.
VALUES = {
    "components": "3",
    "target-psnr": "20",
    "max-delta-e": "9.5",
    "max-components": "4",
    "covariance": '"diag"',
    "method": '"stream"',
    "init": '"random"',
    "preset": '"segment"',
    "range": '"auto"',  # others are for other samples
    "space": '"oklab"',
    "max-iter": "20",
    "tol": "1e-3",
    "reg-covar": "1e-4",
    "fix": '"white"',
    "rare-weight": "1.0",
    "seed": "2",
    "sort": '"hue"',
    "like": '"start.json"',
    "palette-in": '"colors.json"',
    "keep-values": "false",  # these are no class maps
    "bands": "[3, 2, 1]",
    "nodata": "300.5",
    "alpha": '"none"',
    "page": "0",
    "level": "0",
    "all-pages": "false",
    "pages-as-bands": "[0]",
    "output": '"rgb"',
    "labels": "true",
    "palette": '"centroids"',
    "dither": '"blue-noise"',
    "compression": '"zstd"',
    "compression-level": "3",
    "tile-size": "32",
    "layout": '"cog"',
    "pyramid": "true",
    "no-pyramid": "true",
    "resampling": '"nearest"',
    "pack": "true",
    "bigtiff": '"yes"',
    "display-bands": "[1]",
    "display-range": "[0, 80]",
    "nodata-color": '"#ffffff"',
    "min-psnr": "3",
    "html": '"night.html"',
    "overwrite": "true",
    "work-dir": '"in"',
    "resume": "false",
    "no-resume": "true",
    "lock": "false",
    "no-lock": "true",
    "wait": "2.5",
    "strict": "false",
    "chunk-size": '"1MiB"',
    "threads": "1",
    "memory": "8589934592",
    "out-dir": '"elsewhere"',
    "suffix": '"-2.tif"',
    "recursive": "true",
    "model": '"start.json"',
    "shared-palette": '"pixels"',
    "skip-existing": "true",
    "fail-fast": "true",
    "jobs": "2",
    "report": '"run.jsonl"',
    "log-file": '"run.log"',
    "metrics-file": '"metrics.prom"',
    "quiet": "true",
    "verbose": "true",
}


def long_names():
    """The options of a batch that may stand in a file, with and without no-."""
    options = [each for each in cli.commands["batch"].params if isinstance(each, click.Option)]
    names = {name for each in options for name in (*each.opts, *each.secondary_opts)}
    return {name.removeprefix("--") for name in names if name.startswith("--")} - {"config", "help"}


def test_every_option_has_a_value_here():
    assert VALUES.keys() == long_names()


@pytest.mark.parametrize("name", VALUES)
def test_every_option_may_stand_in_a_file(name, here):
    text = f"{name} = {VALUES[name]}\n" + ("threads = 1\n" if name != "threads" else "")
    n_components = '"auto"' if name in ("target-psnr", "max-delta-e", "max-components") else 2
    text += f"components = {n_components}\n" if name != "components" else ""
    Path("night.toml").write_text(text, encoding="utf-8")
    given = [] if name == "out-dir" else ["--out-dir", OUT]
    assert leave("in/0.tif", *given, "--config", "night.toml") == 0
    assert len(list(Path("elsewhere" if name == "out-dir" else OUT).glob("*.tif"))) == 1


def test_ranges_may_be_lists(here):
    write_tiff("in/0.tif", smooth(40, 60).astype(np.uint16) * 3)
    for text, value in (("[5, 700]", "5,700"), ("[[5, 700], [0, 9], [1, 2]]", "5,700;0,9;1,2"), ('"5,700"', "5,700")):
        Path("night.toml").write_text(f"range = {text}\n", encoding="utf-8")
        assert leave("in/0.tif", "--out-dir", OUT, "--config", "night.toml", "--overwrite", "--report", "run.jsonl") == 0
        there = report()[0]["fingerprint"]
        assert leave("in/0.tif", "--out-dir", OUT, "--range", value, "--overwrite", "--report", "run.jsonl") == 0
        assert report()[0]["fingerprint"] == there
