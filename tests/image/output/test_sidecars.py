"""What lies beside an output and describes another image goes with that, or is refused."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling

import streamgmm
from streamgmm.errors import OutputError
from streamgmm.image.output.sidecars import remove_sidecars, sidecars

from ...images import smooth
from ..gdal import open_gdal, quietly, read_gdal, write_gdal

HEIGHT, WIDTH = 96, 128
PLACE = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 4_000_000)}
ELSEWHERE = "<PAMDataset><SRS>EPSG:32631</SRS><GeoTransform> 100000, 10, 0, 200000, 0, -10</GeoTransform></PAMDataset>"
NAMES = ["map.tif.aux.xml", "map.tif.msk", "map.tif.msk.ovr", "map.tif.ovr"]


@quietly
def write_old(path):
    """A map as GDAL and QGIS leave it: with reduced levels, a mask and another place beside it, and a style."""
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False, TIFF_USE_OVR=True):
        with rasterio.open(path, "w", driver="GTiff", height=HEIGHT, width=WIDTH, count=1, dtype="uint8", **PLACE) as file:
            file.write(np.full((1, HEIGHT, WIDTH), 7, np.uint8))
            file.write_mask(np.arange(HEIGHT)[:, None] < np.full(WIDTH, HEIGHT // 2))
        with rasterio.open(path, "r+") as file:
            file.build_overviews([2], Resampling.nearest)
    Path(f"{path}.aux.xml").write_text(ELSEWHERE, encoding="utf-8")
    Path(path).with_suffix(".qml").write_text("<qgis/>", encoding="utf-8")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_gdal("scene.tif", smooth(HEIGHT, WIDTH), photometric="rgb", **PLACE)
    write_old("map.tif")
    assert sorted(map(str, sidecars(Path("map.tif")))) == NAMES
    return tmp_path


def quantize(**options):
    streamgmm.quantize("scene.tif", "map.tif", n_components=4, threads=1, **options)


def test_a_map_that_replaces_another_is_read_as_it_is(folder):
    quantize(overwrite=True)
    assert sidecars(Path("map.tif")) == []
    assert Path("map.qml").exists()
    with open_gdal("map.tif") as file:
        assert (file.crs, file.transform) == (PLACE["crs"], PLACE["transform"])
        assert file.overviews(1) == []
    assert read_gdal("map.tif")[1].all()


def test_what_lies_there_without_its_image_is_refused_with_the_remedy(folder):
    Path("map.tif").unlink()
    with pytest.raises(OutputError, match=r"map\.tif: GDAL would take map\.tif\.aux\.xml for a part of it; remove that"):
        quantize()
    assert all(Path(name).exists() for name in NAMES)
    quantize(overwrite=True)
    assert sidecars(Path("map.tif")) == []


def test_what_fails_takes_nothing_away(folder):
    with pytest.raises(OutputError, match="exists"):
        quantize()
    with pytest.raises(streamgmm.StreamGMMError, match="PSNR"):
        quantize(overwrite=True, min_psnr=90.0, strict=True)
    assert all(Path(name).exists() for name in NAMES)


def test_names_beside_one_are_no_others(tmp_path):
    for name in ("a.tif.aux.xml", "b.ovr", "a.msk", "aa.tif.msk"):
        (tmp_path / name).touch()
    assert sidecars(tmp_path / "a.tif") == [tmp_path / "a.tif.aux.xml"]
    remove_sidecars(tmp_path / "a.tif")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.msk", "aa.tif.msk", "b.ovr"]
