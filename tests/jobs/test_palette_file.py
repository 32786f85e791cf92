"""Palettes as files, and the TIFF of how sure each pixel is."""

import json

import numpy as np
import pytest
import rasterio
import tifffile

import streamgmm

from ..conftest import PHOTO


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
        report = streamgmm.quantize(folder / "in.tif", folder / "out.tif", confidence=folder / "sure.tif", **options)
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
    assert [tuple(color["rgb"]) for color in palette["colors"]] == colors
    assert [color["mean"] for color in palette["colors"]] == report.model["means"]
    assert [color["pixels"] for color in palette["colors"]] == np.bincount(labels.reshape(-1), minlength=6)[:5].tolist()
