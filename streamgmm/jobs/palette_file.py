"""Palettes as files that other programs read."""

import json
from pathlib import Path

import numpy as np

from ..model.mixture import Mixture


def palette_text(path: Path, palette: np.ndarray, mixture: Mixture | None, counts: np.ndarray, nodata: int | None) -> str:
    """Return a palette as text; the suffix chooses a GIMP palette (.gpl), JSON (.json), or the color text of gdaldem (.txt).

    Parameters
    ----------
    path : Path
    palette : ndarray of shape (K, 3), uint8
    mixture : Mixture or None
        Whose means the JSON tells, colors in [0, 1].
    counts : ndarray of shape (K,)
        Pixels of each color.
    nodata : int or None
        The label of masked pixels.
    """
    return {".gpl": _gimp, ".json": _json, ".txt": _gdal}[path.suffix.lower()](palette, mixture, counts, nodata)


def _gimp(palette: np.ndarray, mixture: Mixture | None, counts: np.ndarray, nodata: int | None) -> str:
    rows = [f"{red:3d} {green:3d} {blue:3d}\t{index}" for index, (red, green, blue) in enumerate(palette)]
    return "\n".join(["GIMP Palette", "Name: streamgmm", "Columns: 16", "#", *rows]) + "\n"


def _gdal(palette: np.ndarray, mixture: Mixture | None, counts: np.ndarray, nodata: int | None) -> str:
    rows = [f"{index} {red} {green} {blue} 255" for index, (red, green, blue) in enumerate(palette)]
    return "\n".join([*rows, *(["nv 0 0 0 0"] if nodata is not None else [])]) + "\n"


def _json(palette: np.ndarray, mixture: Mixture | None, counts: np.ndarray, nodata: int | None) -> str:
    means = mixture.means.tolist() if mixture else []
    colors = [
        {"index": index, "rgb": rgb, "mean": mean, "pixels": int(count)}
        for index, (rgb, mean, count) in enumerate(zip(palette.tolist(), means, counts, strict=True))
    ]
    return json.dumps({"nodata": nodata, "range": mixture.space.range if mixture else None, "colors": colors}, indent=2) + "\n"
