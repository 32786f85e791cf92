"""What a batch did, in the text format of Prometheus, for the textfile collector of its node exporter."""

from collections.abc import Sequence

from .worker import FileReport


def metrics(reports: Sequence[FileReport], exit_code: int, seconds: float, now: float) -> str:
    """Return the metrics of a run.

    Parameters
    ----------
    reports : sequence of FileReport
    exit_code : int
    seconds : float
        How long it took.
    now : float
        When it ended, in seconds since 1970.
    """
    statuses = [report.status for report in reports]
    peak = max((report.peak_memory_bytes or 0 for report in reports), default=0)
    unconverged = sum(report.converged is False for report in reports)
    families = (
        ("files", "Files of the last run.", [(f'{{status="{s}"}}', statuses.count(s)) for s in ("done", "skipped", "failed")]),
        ("files_not_converged", "Files of the last run whose fit has not converged.", [("", unconverged)]),
        ("exit_code", "Exit code of the last run.", [("", exit_code)]),
        ("duration_seconds", "Duration of the last run.", [("", round(seconds, 3))]),
        ("peak_memory_bytes", "Largest resident memory of a process in the last run.", [("", peak)]),
        ("end_timestamp_seconds", "End of the last run, since 1970.", [("", round(now, 3))]),
    )
    lines = []
    for name, description, samples in families:
        lines += [f"# HELP streamgmm_batch_{name} {description}", f"# TYPE streamgmm_batch_{name} gauge"]
        lines += [f"streamgmm_batch_{name}{labels} {value}" for labels, value in samples]
    return "\n".join(lines) + "\n"
