"""Palettes as files."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile

import streamgmm
from streamgmm.jobs.palette_file import palette_text
from streamgmm.model.display import Display
from streamgmm.model.space import SampleSpace

from ..conftest import PHOTO, random_mixture


@pytest.fixture(scope="module")
def quantized(tmp_path_factory):
    """A photograph with a place in the world and a masked corner, and every file that can be made of it."""
    folder = tmp_path_factory.mktemp("palettes")
    pixels = np.moveaxis(tifffile.imread(PHOTO)[:200, :300], -1, 0).copy()
    pixels[:, :20, :30] = 0
    transform = rasterio.Affine(2, 0, 5e5, 0, -2, 4e6)
    profile = {
        "width": 300,
        "height": 200,
        "count": 3,
        "dtype": "uint8",
        "crs": "EPSG:32633",
        "transform": transform,
        "nodata": 0,
    }
    with rasterio.open(folder / "in.tif", "w", driver="GTiff", **profile) as image:
        image.write(pixels)
    for suffix in ("gpl", "json", "txt"):
        options = {"n_components": 5, "overwrite": True, "palette_out": folder / f"palette.{suffix}"}
        report = streamgmm.quantize(folder / "in.tif", folder / "out.tif", **options)
    with rasterio.open(folder / "out.tif") as output:
        colors = [output.colormap(1)[label][:3] for label in range(5)]
        return folder, report, output.read(1), colors


def test_a_palette_for_gimp_has_its_header_and_a_line_for_each_color(quantized):
    folder, _, _, colors = quantized
    first, *_, hash_line, a, b, c, d, e = (folder / "palette.gpl").read_text(encoding="utf-8").splitlines()
    assert (first, hash_line) == ("GIMP Palette", "#")
    assert [tuple(map(int, line.split("\t")[0].split())) for line in (a, b, c, d, e)] == colors


def test_color_text_for_gdal_has_a_line_for_each_label_and_nodata(quantized):
    folder, _, _, colors = quantized
    lines = [line.split() for line in (folder / "palette.txt").read_text(encoding="utf-8").splitlines()]
    assert lines == [[str(label), *map(str, color), "255"] for label, color in enumerate(colors)] + [["nv", *"0000"]]


def test_a_palette_in_json_has_means_and_counts(quantized):
    folder, report, labels, colors = quantized
    palette = json.loads((folder / "palette.json").read_text(encoding="utf-8"))
    assert palette["nodata"] == report.nodata == 5
    assert (palette["range"], palette["display_bands"], palette["display_range"]) == (None, [1, 2, 3], [0, 255])
    assert [tuple(color["rgb"]) for color in palette["colors"]] == colors
    assert [color["mean"] for color in palette["colors"]] == report.model["means"]
    assert [color["pixels"] for color in palette["colors"]] == np.bincount(labels.reshape(-1), minlength=6)[:5].tolist()


# --- By themselves ---

PALETTE = np.array([[0, 10, 255], [7, 8, 9]], np.uint8)
COUNTS = np.array([5.0, 2.0**53])


@pytest.mark.parametrize(
    ("suffix", "expected"),
    [
        (".gpl", "GIMP Palette\nName: streamgmm\nColumns: 16\n#\n  0  10 255\t0\n  7   8   9\t1\n"),
        (".txt", "0 0 10 255 255\n1 7 8 9 255\n"),
    ],
)
@pytest.mark.parametrize("change", [str.lower, str.upper])
def test_a_suffix_chooses_the_text_to_the_letter(change, suffix, expected):
    path = Path("deep/palette" + change(suffix))
    assert palette_text(path, PALETTE, random_mixture(2, 3), Display.of(random_mixture(2, 3)), COUNTS, None) == expected


def test_json_tells_of_means_as_they_are_and_counts_as_whole_numbers():
    mixture = replace(random_mixture(2, 3), space=SampleSpace([(-5.0, 1e30), (0, 1), (-7, 7)]))
    found = json.loads(palette_text(Path("x.json"), PALETTE, mixture, Display.of(mixture, (2,)), COUNTS, 2))
    assert (found["nodata"], found["range"]) == (2, [[-5, 1e30], [0, 1], [-7, 7]])
    assert (found["display_bands"], found["display_range"]) == ([3], [-7, 7])
    for index, color in enumerate(found["colors"]):
        mean = mixture.means[index].tolist()
        assert color == {"index": index, "rgb": PALETTE[index].tolist(), "mean": mean, "pixels": int(COUNTS[index])}


@pytest.mark.parametrize("suffix", [".gpl", ".json", ".txt"])
def test_of_an_image_that_is_all_masked_there_is_a_palette_of_nothing(suffix, tmp_path):
    nothing = np.ma.masked_all((20, 30, 3), np.uint8)
    streamgmm.quantize(nothing, tmp_path / "out.tif", palette_out=(path := tmp_path / f"palette{suffix}"))
    text = path.read_text(encoding="utf-8")
    assert text == palette_text(path, np.empty((0, 3), np.uint8), None, None, np.empty(0), 0)
    if suffix == ".json":
        assert json.loads(text) == dict.fromkeys(("range", "display_bands", "display_range")) | {"nodata": 0, "colors": []}
