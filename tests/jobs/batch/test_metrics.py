"""Metrics of a batch are what a reader of Prometheus' text format finds in them."""

import pytest

from streamgmm.jobs.batch.metrics import metrics
from streamgmm.jobs.batch.worker import FileReport

from ...batches import measured

REPORTS = [
    FileReport("a", "out/a", "done", 1.5, 300, converged=True),
    FileReport("b", "out/b", "done", 2.5, 500, converged=False),
    FileReport("c", "out/c", "skipped"),
    FileReport("d", "out/d", "failed", 0.5, 400, error="d: damaged", exit_code=3),
    FileReport("e", "out/e", "failed", error="e: its process died", exit_code=1),
]


@pytest.mark.parametrize("n", range(len(REPORTS) + 1))
def test_metrics_count_what_the_reports_say(n, tmp_path):
    reports = REPORTS[:n]
    text = metrics(reports, exit_code=n, seconds=12.34567, now=1.7e9 + 1 / 3)
    (tmp_path / "metrics.prom").write_text(text, encoding="utf-8")
    assert measured(tmp_path / "metrics.prom") == {
        "files done": sum(report.status == "done" for report in reports),
        "files skipped": sum(report.status == "skipped" for report in reports),
        "files failed": sum(report.status == "failed" for report in reports),
        "files_not_converged": sum(report.converged is False for report in reports),
        "exit_code": n,
        "duration_seconds": 12.346,
        "peak_memory_bytes": [0, 300, 500, 500, 500, 500][n],
        "end_timestamp_seconds": 1_700_000_000.333,
    }
    assert text.endswith("\n")
