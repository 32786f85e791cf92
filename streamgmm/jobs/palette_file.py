"""Palettes as files that other programs read."""

import json
from pathlib import Path

import numpy as np

from ..model.display import Display
from ..model.mixture import Mixture
from .class_map import Legend


def palette_text(
    path: Path,
    palette: np.ndarray,
    mixture: Mixture | None,
    display: Display | None,
    counts: np.ndarray,
    nodata: int | None,
    legend: Legend | None = None,
) -> str:
    """Return a palette as text; the suffix chooses a GIMP palette (.gpl), JSON (.json), or the color text of gdaldem (.txt).

    Parameters
    ----------
    path : Path
    palette : ndarray of shape (K, 3), uint8
    mixture : Mixture or None
        Whose means the JSON tells, as colors in [0, 1] of the range of each band.
    display : Display or None
        How these are shown, of which the JSON tells, too: bands from 1, and the stored samples that are black and white.
    counts : ndarray of shape (K,)
        Pixels of each color.
    nodata : int or None
        The label of masked pixels.
    legend : Legend or None
        What the labels are, where they are not numbers of components.
    """
    kind = path.suffix.lower()
    if kind == ".json":
        labels = legend.values if legend else np.arange(len(palette))
        return _json(palette, labels, mixture, display, counts, nodata)
    return _gimp(palette) if kind == ".gpl" else _gdal(palette, nodata)


def _gimp(palette: np.ndarray) -> str:
    rows = [f"{red:3d} {green:3d} {blue:3d}\t{index}" for index, (red, green, blue) in enumerate(palette)]
    return "\n".join(["GIMP Palette", "Name: streamgmm", "Columns: 16", "#", *rows]) + "\n"


def _gdal(palette: np.ndarray, nodata: int | None) -> str:
    rows = [f"{index} {red} {green} {blue} 255" for index, (red, green, blue) in enumerate(palette)]
    return "\n".join([*rows, *(["nv 0 0 0 0"] if nodata is not None else [])]) + "\n"


def _json(
    palette: np.ndarray,
    labels: np.ndarray,
    mixture: Mixture | None,
    display: Display | None,
    counts: np.ndarray,
    nodata: int | None,
) -> str:
    means = mixture.colors.tolist() if mixture else []
    colors = [
        {"index": label, "rgb": palette[label].tolist(), "mean": mean, "pixels": int(counts[label])}
        for label, mean in zip(labels.tolist(), means, strict=True)
    ]
    fields = {
        "nodata": nodata,
        "range": mixture.space.range if mixture else None,
        "display_bands": [band + 1 for band in display.bands[: 1 if display.gray else 3]] if display else None,
        "display_range": display.range if display else None,
        "colors": colors,
    }
    return json.dumps(fields, indent=2) + "\n"
