"""What a process of a batch makes of its job, and tells: no error leaves it, and every message comes back as it was."""

import contextlib
import logging
import os
import pickle
import signal
from dataclasses import replace
from pathlib import Path

import pytest

import streamgmm
from streamgmm.errors import Interrupted, MemoryBudgetError, OptionError, StreamGMMError
from streamgmm.jobs.batch.inputs import Pair
from streamgmm.jobs.batch.worker import EachOptions, FileJob, SharedFit, drained, failed, fit_shared, kept_messages, make
from streamgmm.system.processes import in_processes

from ...batches import OUT, corrupt, outputs, write_three

pytestmark = pytest.mark.usefixtures("folder")
OPTIONS = EachOptions(n_components=2, threads=1, memory="2GiB")
PAIR = Pair(Path("in/0.tif"), OUT / "deeper" / "0.tif")
JOB = FileJob(PAIR, OPTIONS, None, "mark")
# What a process may have to say: a level, a text, arguments; and how it reads.
MESSAGES = [
    ("info", ["50% off"], "50% off"),
    ("warning", ["%s of %d: %.1f %%", "part", 3, 0.5], "part of 3: 0.5 %"),
    ("error", ["%(name)s", {"name": "日本\n"}], "日本\n"),
    ("critical", ["%s", OSError("gone")], "gone"),
]


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    return write_three(tmp_path_factory.mktemp("batch"))


def test_an_output_is_that_of_quantize_with_a_mark():
    report, messages = make(JOB)
    expected = streamgmm.quantize("in/0.tif", "alone.tif", n_components=2, threads=1)
    assert (report.input, report.output, report.status, report.fingerprint) == ("in/0.tif", str(PAIR.target), "done", "mark")
    same = ("iterations", "converged", "psnr_db", "delta_e", "bytes_in")
    assert [getattr(report, name) for name in same] == [getattr(expected, name) for name in same]
    assert (report.bytes_out, report.error, report.exit_code) == (PAIR.target.stat().st_size, None, 0)
    assert messages == []
    assert PAIR.target.read_bytes().count(b"fingerprint mark\0") == 1


def test_an_output_in_the_colors_of_a_model_is_that_of_apply():
    mixture, _ = streamgmm.fit_image("in/1.tif", n_components=3, threads=1)
    Path("model.json").write_text(mixture.to_json(), encoding="utf-8")
    report, _ = make(replace(JOB, model="model.json"))
    expected = streamgmm.apply(mixture, "in/0.tif", "alone.tif", threads=1)
    assert (report.status, report.iterations, report.psnr_db) == ("done", 0, expected.psnr_db)


@pytest.mark.parametrize(
    ("change", "code", "complaint"),
    [
        ({"pair": Pair(Path("gone.tif"), OUT / "0.tif")}, 3, "gone.tif: no such file or directory"),
        ({"pair": replace(PAIR, complaint=OptionError("in/0.tif: rename it"))}, 2, "in/0.tif: rename it"),
        ({"pair": replace(PAIR, target=Path("in/1.tif/0.tif"))}, 4, "in/1.tif"),
        ({"pair": replace(PAIR, target=Path("in/0.tif"))}, 4, "is also the input"),
        ({"model": "gone.json"}, 3, "gone.json: no such file or directory"),
        ({"options": replace(OPTIONS, memory="100MiB")}, 5, "memory"),
        ({"options": replace(OPTIONS, max_iter=1, tol=0, method="stream", strict=True)}, 6, "not converged after 1 iterations"),
    ],
)
def test_an_error_is_a_report(change, code, complaint):
    report, _ = make(replace(JOB, **change))
    assert (report.status, report.exit_code) == ("failed", code)
    assert complaint in report.error
    assert not any(name.endswith(".tif") for name in outputs())


def test_an_error_that_nobody_foresaw_is_a_report_of_one_line(monkeypatch):
    monkeypatch.setattr("streamgmm.jobs.quantize.fit_pixels", lambda *_, **__: {}["a\nb"])
    report, _ = make(JOB)
    assert (report.status, report.exit_code) == ("failed", 1)
    assert report.error == r"in/0.tif: unexpected KeyError: 'a\nb'"
    assert failed(PAIR, ValueError("two\n  lines")).error == "in/0.tif: unexpected ValueError: two lines"
    assert failed(PAIR, MemoryBudgetError("too\nmuch")).error == "too much"


def test_what_does_not_end_by_an_error_but_by_a_signal_is_no_report(monkeypatch):
    monkeypatch.setattr("streamgmm.jobs.quantize.fit_pixels", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted) as interrupted:
        make(JOB)
    assert interrupted.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_signal_is_not_lost_on_what_swallows_exceptions(monkeypatch):
    def swallow(*_):
        with contextlib.suppress(Interrupted):  # as a callback from C does, when compiled code is loaded
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr("streamgmm.jobs.quantize.check_room", swallow)
        with pytest.raises(Interrupted) as interrupted:
            make(JOB)
    assert interrupted.value.exit_code == 143
    assert make(JOB)[0].status == "done"  # what is begun afterwards is not asked to stop


def test_a_shared_fit_is_that_of_fit_image_with_a_mark():
    sources = [Path(f"in/{i}.tif") for i in range(3)]
    corrupt("in/1.tif")
    error, messages = fit_shared(SharedFit(sources, Path("model.json"), False, OPTIONS, "mark"))
    mixture, _ = streamgmm.fit_image([sources[0], sources[2]], n_components=2, threads=1)
    assert (error, messages) == (None, [])
    assert Path("model.json").read_text(encoding="utf-8") == mixture.to_json(fingerprint="mark")


def test_a_shared_fit_of_nothing_gives_its_error_back():
    error, _ = fit_shared(SharedFit([Path("gone.tif")], Path("model.json"), False, OPTIONS, "mark"))
    assert isinstance(error, StreamGMMError)
    assert str(error) == "gone.tif: no such file or directory"


# --- Messages and signals ---


def say(task):
    """Say all messages in a process of a batch, where the signals of a terminal are sent to it."""
    for number in (signal.SIGINT, signal.SIGHUP):
        os.kill(os.getpid(), number)
    logger = logging.getLogger("streamgmm.jobs")
    with kept_messages() as messages:
        logger.debug("for nobody")
        for level, arguments, _ in MESSAGES:
            getattr(logger, level)(*arguments)
    logger.error("said when nobody listens any more")
    return os.getpid(), drained(messages)


def test_messages_come_back_from_a_process_as_they_were_said_and_signals_of_the_terminal_do_not_reach_it(capfd):
    [(_, (pid, records))] = in_processes(say, ["task"], 1)
    assert pid != os.getpid()
    assert [(record.levelname.lower(), record.getMessage()) for record in records] == [
        (level, text) for level, _, text in MESSAGES
    ]
    assert {record.name for record in records} == {"streamgmm.jobs"}
    assert capfd.readouterr() == ("", "")


def test_what_can_be_taken_to_another_process_is_a_job_and_its_report():
    for thing in (JOB, make(JOB), SharedFit([PAIR.source], OUT, True, OPTIONS, "mark")):
        assert pickle.loads(pickle.dumps(thing)) == thing
