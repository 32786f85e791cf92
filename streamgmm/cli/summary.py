"""The last line on a terminal: what was achieved, in what size and time, and what more there is to get."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..jobs.report import Report

# What is said of another preset: no less than this is seen.
WORTH_DB = 0.1
THOUSAND, MINUTE, HOUR = 1000, 60, 3600


def summary(report: "Report", form: str = "palette", values: bool = False) -> str:
    """Return a line on an output: its colors, how near they are, sizes, time, and what another preset would give.

    Parameters
    ----------
    report : Report
    form : {"palette", "labels", "rgb"}
    values : bool
        Whether the labels are the values of a class map.
    """
    said = [_labels(report, form, values)]
    if form != "labels" and not values and report.model is not None:
        said += _quality(report)
    line = f"{', '.join(said)}, {_effort(report)}"
    return line + (_more(report) if form != "labels" else "")


def summary_of_fit(report: "Report") -> str:
    """Return a line on a model that was fitted to images."""
    n_images = len(report.input) if isinstance(report.input, list) else 1
    said = [_number(report.n_components, "component"), *([_number(n_images, "image")] if n_images > 1 else [])]
    if report.method == "lossless":
        said.append("one for each color")
    return f"{', '.join(said)}, {_effort(report)}"


def _labels(report: "Report", form: str, values: bool) -> str:
    """Return how many colors there are, or classes; and how many of them are used, where some are not."""
    if report.model is None:
        return "all nodata"
    what = "value" if values else "class" if form == "labels" else "color"
    used, there = report.colors_used, report.n_components
    if used is None or used >= there:
        return _number(there, what)
    return f"{used:,} of {_number(there, what)}"


def _quality(report: "Report") -> list[str]:
    if report.psnr_db is None:
        return ["exact labels" if report.method == "classes" else "exact"]
    return [f"{report.psnr_db:.1f} dB", *([] if report.delta_e is None else [f"Delta E {_fine(report.delta_e)}"])]


def _fine(delta_e: float) -> str:
    return f"{delta_e:.1f}" if delta_e >= 0.95 else f"{delta_e:.2f}"


def _effort(report: "Report") -> str:
    """Return sizes, the time, and the pixels in it."""
    sizes = [size(n) for n in (report.bytes_in, report.bytes_out) if n is not None]
    took = f"in {duration(report.total_seconds)}, {_scaled(report.pixels_per_second, 'px/s')}"
    return f"{' to '.join(sizes)} {took}" if sizes else took


def _more(report: "Report") -> str:
    reached, nearest = report.psnr_db, report.psnr_db_nearest
    if reached is None or nearest is None or nearest - reached < WORTH_DB:
        return ""
    return f" (--preset fidelity would give {nearest:.1f} dB)"


def _number(n: int, what: str) -> str:
    plural = f"{what}es" if what.endswith("s") else f"{what}s"
    return f"{n:,} {what if n == 1 else plural}"


def size(n_bytes: float) -> str:
    """Return a size as a person says it: 3.1 GB."""
    return _scaled(n_bytes, "B")


def _scaled(number: float, unit: str) -> str:
    for prefix in ("", "k", "M", "G", "T"):
        text = f"{number:.0f}" if number >= 9.95 or not prefix else f"{number:.1f}"
        if float(text) < THOUSAND or prefix == "T":
            break
        number /= THOUSAND
    return f"{text} {prefix}{unit}"


def duration(seconds: float) -> str:
    """Return a time as a person says it: 0.8 s, 18 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE} s"
    return f"{whole // HOUR:,} h {whole % HOUR // MINUTE} min"
