"""What fails does not stop the rest, what is done is not done again, and what was interrupted goes on."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import tifffile

import streamgmm
from streamgmm.errors import Interrupted

from ... import naive
from ...batches import (
    HARD,
    OUT,
    SLOW,
    corrupt,
    deep,
    finish,
    in_work,
    leave,
    measured,
    outputs,
    pixels,
    report,
    run,
    start,
    statuses,
    until,
    work_here,
    workers,
    write_three,
)
from ...images import colors_of, naive_model, smooth, write_tiff
from ...processes import with_signals

pytestmark = pytest.mark.usefixtures("folder")


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    return write_three(tmp_path_factory.mktemp("batch"))


@pytest.fixture
def here(monkeypatch):
    """Work is done in this process; the names of the inputs worked on."""
    return work_here(monkeypatch)


# --- What fails does not stop the rest ---


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


def test_fail_fast_stops_the_other_workers():
    write_tiff("in/0.tif", smooth(1024, 1024, dtype=np.uint16), tile=(256, 256))
    corrupt("in/1.tif")
    begin = time.monotonic()
    slow = {"n_components": 32, "method": "stream", "tol": 0, "max_iter": 100_000}
    reports = run(jobs=2, fail_fast=True, threads=2, **slow)
    assert time.monotonic() - begin < 20
    assert [each.status for each in reports if each.input == "in/1.tif"] == ["failed"]
    assert not any(each.input == "in/0.tif" for each in reports)
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
    assert leftovers <= {".streamgmm.1.tif.work", ".streamgmm.1.tif.lock", ".streamgmm.1.tif.holder"}  # to go on with
    assert not psutil.pid_exists(worker.pid)


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
    for line, each in zip(report(), first, strict=True):
        with tifffile.TiffFile(line["output"]) as tiff:
            assert tiff.pages.first.software.endswith(f" fingerprint {line['fingerprint']}")
        assert (line["status"], line["fingerprint"]) == ("skipped", each.fingerprint)


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
    assert {each.status for each in run("moved", skip_existing=True)} == {"skipped"}
    assert {each.status for each in run(str(folder / "moved"), skip_existing=True)} == {"skipped"}
    assert {each.status for each in run("moved", skip_existing=True, out_dir=folder / "out")} == {"skipped"}
    monkeypatch.chdir("moved")
    assert {each.status for each in run(".", skip_existing=True, out_dir=Path("../out"))} == {"skipped"}


def test_an_input_whose_time_lies_in_the_future_is_made_once(here):
    newer(Path("in/1.tif"))
    run()
    here.clear()
    assert statuses(skip_existing=True) == ["skipped"] * 3
    assert here == []


# --- What this program has not made stays ---


@pytest.mark.parametrize("goes_on", ["--skip-existing", "an interrupted batch"])
@pytest.mark.parametrize("what", ["a text", "an image of another program", "a pipe", "a link to one of these"])
def test_what_is_not_of_this_program_is_not_replaced_unasked(what, goes_on, here):
    target = OUT / "1.tif"
    OUT.mkdir()
    if what == "a text":
        target.write_text("streamgmm 0.1.0 is to make this", encoding="utf-8")
    elif what == "a pipe":
        os.mkfifo(target)
    else:
        write_tiff("other.tif", smooth(10, 10))
        target.symlink_to("../other.tif") if "link" in what else shutil.move("other.tif", target)
    before = None if what == "a pipe" else target.read_bytes()
    reports = run(skip_existing=goes_on == "--skip-existing")
    assert [each.status for each in reports] == ["done", "failed", "done"]
    assert reports[1].exit_code == 4
    if goes_on == "--skip-existing" and what != "a pipe":
        assert reports[1].error == "out/1.tif: exists, and is not of this program; choose another --suffix or --out-dir"
    assert before is None or target.read_bytes() == before
    if what != "a pipe":
        assert [each.status for each in run(overwrite=True)] == ["done"] * 3
        assert target.read_bytes() != before
        assert target.is_symlink() == ("link" in what)


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

    monkeypatch.setattr("streamgmm.jobs.batch.run.in_processes", in_processes)
    run(jobs=jobs, threads=threads, memory="2GiB")
    *tasks, size = given
    assert (len(tasks), size) == (3, jobs)
    assert {task.options.threads for task in tasks} == {each}
    here = psutil.Process().memory_info().rss
    assert all(2**31 - here - (8 << 20) <= jobs * task.options.memory <= 2**31 - (50 << 20) for task in tasks)


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
        assert {each.status for each in run(model=Path("model.json"), skip_existing=True)} == {status}


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
    begin = streamgmm.fit_image("in/0.tif", n_components=2, preset="segment", max_iter=1, threads=1)[0]
    run(shared_palette="files", init=begin, max_iter=7, tol=0, reg_covar=1e-6)
    x = np.concatenate([colors_of(image) for image in images.values()])
    w = np.concatenate([np.full(image[..., 0].size, 1 / image[..., 0].size) for image in images.values()])
    _, expected = naive.expectation_maximization(x, naive_model(begin.to_dict()), 7, 1e-6, w)
    order = np.argsort(-expected[0])
    weights, means, covariances, _ = naive_model(model_of())
    np.testing.assert_allclose(weights, expected[0][order], rtol=1e-3)
    np.testing.assert_allclose(means, expected[1][order], rtol=1e-3)
    np.testing.assert_allclose(covariances, expected[2][order], atol=1e-5)
    _, equal = naive.expectation_maximization(x, naive_model(begin.to_dict()), 7, 1e-6)
    assert np.abs(np.sort(equal[0]) - np.sort(expected[0])).max() > 0.02  # pixels of equal weight give another model


@pytest.mark.parametrize("by", ["pixels", "files"])
def test_a_shared_palette_of_those_that_can_be_read(by, here):
    expected = [run(shared_palette=by), model_of()][1]
    shutil.rmtree(OUT)
    corrupt("in/a.tif")
    (data := Path("in/0.tif").read_bytes()) and Path("in/b.tif").write_bytes(data[: len(data) * 2 // 3])
    write_tiff("in/c.tif", smooth(40, 60, bands=1))
    Path("in/d.tif").symlink_to("gone")
    reports = run(shared_palette=by)
    assert [(each.input, each.exit_code) for each in reports] == [
        ("in/0.tif", 0),
        ("in/1.tif", 0),
        ("in/2.tif", 0),
        *((f"in/{name}.tif", 3) for name in "abcd"),
    ]
    model = model_of()
    del model["fingerprint"], expected["fingerprint"]
    assert model == expected


def test_a_shared_model_is_fitted_once(here):
    shared = {"shared_palette": "files", "skip_existing": True}
    run(**shared)
    assert here == ["all", "in/0.tif", "in/1.tif", "in/2.tif"]
    before, model = outputs(), (OUT / "streamgmm-model.json").stat()
    here.clear()
    assert {each.status for each in run(**shared)} == {"skipped"}
    (OUT / "1.tif").unlink()
    run(**shared)
    assert here == ["in/1.tif"]
    assert (OUT / "streamgmm-model.json").stat().st_mtime_ns == model.st_mtime_ns
    assert outputs() == before
    here.clear()
    write_tiff("in/3.tif", smooth(40, 60, seed=3))  # changes the model, and by it all outputs
    assert {each.status for each in run(**shared)} == {"done"}
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
    until(lambda: any(OUT.glob(".streamgmm.1.tif.work/*-Accumulate.npz")))  # it is fitted: all kernels are compiled
    children = workers(process)
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
    deep("in/0.tif", side=1536)  # the others end before it, also where kernels are compiled first
    terminal = {"start_new_session": True, "preexec_fn": with_signals(signal.SIG_DFL, signal.SIGINT)}
    process = start("in", "--out-dir", OUT, "--jobs", 2, *SLOW, **terminal)
    until(lambda: MOMENTS[moment](process))
    process.send_signal(signal.SIGSTOP)  # so that its workers get it first
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGCONT)
    code, output, error = finish(process)
    assert (code, output) == (130, "")
    *before, last = error.removesuffix("\n").split("\n")
    assert re.fullmatch(r"streamgmm: interrupted.*; the same command goes on from there", last)
    assert all(re.fullmatch(r"streamgmm: \d files: .*", line) for line in before), before


@pytest.fixture
def interrupted(here, monkeypatch):
    """A batch that was interrupted at its second file."""

    def in_processes(function, tasks, size):
        yield tasks[0], function(tasks[0])
        raise Interrupted(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr("streamgmm.jobs.batch.run.in_processes", in_processes)
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
