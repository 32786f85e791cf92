"""What a page tells in words: the result, the settings, what ran, and how long."""

import dataclasses
import platform
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

from ..options.fields import Options, flag_of
from .command import chosen, words_of

Pairs = list[tuple[str, str]]

# What writes the outputs and the page.
PACKAGES = ("numpy", "numba", "tifffile", "imagecodecs", "pillow", "matplotlib", "jinja2")
METHODS = {
    "exact": "exact, from the table of colors",
    "stream": "stream, every pixel at each iteration",
    "minibatch": "minibatch",
    "lossless": "not fitted: no more colors than components, given back exactly",
    "classes": "not fitted: no more colors than components, with exact labels",
    "apply": "not fitted: a model was given",
    "palette": "not fitted: a palette was given",
    "none": "not fitted: every pixel is masked",
}


def summary_of(facts: dict[str, Any], shape: Sequence[int], n_colors: int) -> str:
    """Say in a line what was made."""
    height, width = shape[:2]
    parts = [f"{width:,} × {height:,} pixels in {n_colors:,} color{'' if n_colors == 1 else 's'}"]
    if facts["method"] == "lossless":
        parts.append("exact")
    elif facts["psnr_db"] is not None:
        parts.append(f"{facts['psnr_db']:.1f} dB")
    if facts.get("delta_e") is not None:
        parts.append(f"ΔE {facts['delta_e']:.2f}")
    if facts["method"] == "none":
        parts = [f"{width:,} × {height:,} pixels, all of them masked"]
    return ", ".join(parts)


def results(facts: dict[str, Any], shape: Sequence[int], kind: str, masked: float, bands: str | None) -> Pairs:
    """Tell of a report what is known: what was read, and what became of it.

    Parameters
    ----------
    facts : dict
        The report.
    shape : sequence of int
        Of the image: height, width, bands.
    kind : str
        Of its samples.
    masked : float
        Share of the pixels.
    bands : str or None
        What is shown of the bands, where that is a choice.
    """
    fitted = bool(facts["log_likelihood"])
    psnr, delta_e, ridge = facts["psnr_db"], facts.get("delta_e"), facts["ridge"]
    shown, label = facts["display_range"], facts["nodata"]
    ended = "converged" if facts["converged"] else "not converged"
    rows = [
        ("Input", str(facts["input"])),
        ("Output", str(facts["output"])),
        ("Size", f"{shape[1]:,} × {shape[0]:,} pixels, {shape[2]} band{'' if shape[2] == 1 else 's'} of {kind}"),
        ("Masked", f"{masked:.2%} of the pixels, label {label}" if masked else None),
        ("Shown", bands),
        ("Black and white", f"{shown[0]:g} and {shown[1]:g}, as stored" if shown else None),
        ("Colors used", f"{facts['colors_used']:,} of {facts['n_components']:,}"),
        ("Distinct colors", f"{facts['distinct_colors']:,}" if facts["distinct_colors"] else None),
        ("PSNR", f"{psnr:.2f} dB" if psnr is not None else None),
        ("CIE ΔE 2000, mean", f"{delta_e:.2f}" if delta_e is not None else None),
        ("Method", METHODS.get(facts["method"], facts["method"])),
        ("Preset", facts["preset"]),
        ("Added to variances", ", ".join(f"{value:.3g}" for value in sorted(set(ridge))) if ridge else None),
        ("Iterations", f"{facts['iterations']:,}, {ended}" if fitted else None),
        ("Log-likelihood", f"{facts['log_likelihood'][-1]:.4f} nats per pixel" if fitted else None),
        ("Read", f"{facts['fraction_read']:.0%} of the pixels" if facts["fraction_read"] is not None else None),
    ]  # fmt: skip
    return [(name, value) for name, value in rows if value is not None]


def settings(given: Options) -> Pairs:
    """Tell of the options that change a result: those that are not at their defaults, and the usual ones all the same."""
    fields = {field.name: field for field in dataclasses.fields(given)}
    usual = [name for name in ("n_components", "covariance_type", "seed", "output") if name in fields]
    found: dict[str, Any] = {name: getattr(given, name) for name in usual}
    found |= chosen(given)
    rows = [(flag_of(fields[name]), words_of(fields[name], value)) for name, value in found.items()]
    return [*rows, ("others", "as they are by default")]


@cache
def versions() -> Pairs:
    """Tell what ran."""
    return [("Python", platform.python_version()), *((name, version(name)) for name in PACKAGES)]


def timings(
    seconds: dict[str, float], pixels: dict[str, int], resumed: dict[str, int], peak: int
) -> list[tuple[str, str, str]]:
    """Tell how long each phase took so far, and the memory."""
    rows = []
    for phase, took in seconds.items():
        count = f"{pixels.get(phase, 0):,}" if pixels.get(phase) else ""
        if resumed.get(phase):
            count += f", {resumed[phase]:,} of them by an interrupted run"
        rows.append((phase, f"{took:.2f}", count))
    return [*rows, ("all", f"{sum(seconds.values()):.2f}", f"at most {peak / 2**20:,.0f} MiB")]
