"""What GDAL keeps of an image beside it is taken as GDAL takes it, and what of it is not is named."""

import math
import struct
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile
from PIL import Image

import streamgmm
from streamgmm.image.metadata import GEOGRAPHIC, LIMIT, PROJECTED
from streamgmm.image.open import open_image
from streamgmm.image.pam import Pam, read_pam

from ..images import read, read_checked, smooth, write_tiff
from .gdal import open_gdal, read_gdal, write_gdal
from .pam import LIES, TRANSFORM, UTM31, bands, nodata, srs, write_pam
from .test_sidecars import write_masked

HEIGHT, WIDTH = 96, 128


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(*parts, n_bands=3):
    return read_pam(write_pam("a.tif", *parts), n_bands)


# --- What it says ---


def test_it_says_where_an_image_lies():
    assert said(LIES) == Pam(transform=(250_000, 20, 5, 5_887_000, 2, -30))
    assert (said(), read_pam(None, 3)) == (Pam(), Pam())


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5,6,7", "1 2 3 4 5 6", "1,2,three,4,5,6", "1,2,nan,4,5,6"])
def test_what_is_no_transform_is_named(text):
    assert said(f"<GeoTransform>{text}</GeoTransform>") == Pam(dropped=("GeoTransform of a.tif.aux.xml",))


def wkts(code):
    """A system in all the ways that programs write it."""
    system = rasterio.CRS.from_epsg(code)
    return [system.to_wkt(version=version) for version in ("WKT1_GDAL", "WKT2_2015", "WKT2_2019")]


SYSTEMS = {32631: PROJECTED, 3857: PROJECTED, 2180: PROJECTED, 28992: PROJECTED, 4326: GEOGRAPHIC, 4258: GEOGRAPHIC}


@pytest.mark.parametrize("code", SYSTEMS)
def test_a_system_is_known_by_its_code(code):
    wkts_of_code = wkts(code)
    geodetic = [wkt for wkt in wkts_of_code if wkt.startswith("GEODCRS")]  # which may be geocentric
    known = {said(srs(wkt)).system for wkt in wkts_of_code if wkt not in geodetic}
    assert known == {(SYSTEMS[code], code)}
    assert said(srs(wkts_of_code[0].replace(",", ",\n   "))).system == (SYSTEMS[code], code)


WITHOUT = UTM31.replace(',AUTHORITY["EPSG","32631"]', "")
LOCAL = 'LOCAL_CS["site",UNIT["metre",1]]'


@pytest.mark.parametrize(
    "wkt",
    [
        WITHOUT,  # its datum and units have codes, still
        rasterio.CRS.from_epsg(32631).to_wkt(version="WKT1_ESRI"),
        UTM31.replace('"EPSG","32631"]]', '"EPSG","102100"]]'),
        UTM31.replace('"EPSG","32631"]]', '"ESRI","32631"]]'),
        UTM31.replace('"EPSG","32631"]]', f'"EPSG","{"9" * 5000}"]]'),
        f'COMPD_CS["both",{UTM31},VERT_CS["height",AUTHORITY["EPSG","5703"]],AUTHORITY["EPSG","9518"]]',
        LOCAL,
        "EPSG:32631",
        "",
    ],
)
def test_a_system_without_a_code_is_named(wkt):
    assert "4326" not in str(said(srs(wkt)).system)
    assert said(srs(wkt)) == Pam(dropped=("SRS of a.tif.aux.xml (no EPSG code of a projected or geographic system)",))


@pytest.mark.parametrize(
    ("values", "expected"), [((7, 7, 7), 7), ((0, 0, 0), 0), (("-9999.5",) * 3, -9999.5), (("1e3",) * 3, 1000)]
)
def test_it_says_what_is_nodata(values, expected):
    assert said(nodata(*values)) == Pam(nodata=expected)


def test_nodata_of_floats_has_all_its_digits():
    exact, wide = -3.4028234663852886e38, 2**63 - 1
    element = f'<NoDataValue le_hex_equiv="{struct.pack("<d", exact).hex()}">-3.4028e+38</NoDataValue>'
    assert said(bands(element), n_bands=1).nodata == exact
    assert said(bands(element.replace('equiv="', 'equiv="zz')), n_bands=1).nodata == -3.4028e38
    assert [said(nodata(value), n_bands=1).nodata for value in (wide, 2**64 - 1, 10**20 - 1)] == [wide, 2**64 - 1, 1e20]
    assert said(nodata("9" * 5000), n_bands=1).nodata == math.inf
    assert said(nodata("7.0"), n_bands=1).nodata == 7
    assert math.isnan(said(nodata("nan", "nan", "nan")).nodata)


def of_pixels(values):
    return f'<Metadata><MDI key="NODATA_VALUES">{values}</MDI></Metadata>'


def test_nodata_of_pixels_comes_before_that_of_bands():
    assert said(of_pixels("7 7 7")) == said(of_pixels("7 7 7"), nodata(8, 8, 8)) == Pam(nodata=7)
    assert {said(of_pixels(values)).dropped for values in ("7 8 7", "7 7", "7 7 7 7", "")} == {
        ("NoDataValue of a.tif.aux.xml",)
    }


@pytest.mark.parametrize("values", [(7, 8, 7), (7, None, 7), (None, 7, 7), (7, 7), ("seven",) * 3])
def test_nodata_that_bands_do_not_share_is_named(values):
    assert said(nodata(*values)) == Pam(dropped=("NoDataValue of a.tif.aux.xml",))


STATISTICS = '<Metadata><MDI key="STATISTICS_MEAN">12.5</MDI><MDI key="STATISTICS_MAXIMUM">255</MDI></Metadata>'
SAYS_NOTHING = [
    bands(STATISTICS, STATISTICS),
    bands("<Histograms><HistItem><HistMin>0</HistMin></HistItem></Histograms>"),
    '<Metadata><MDI key="AREA_OR_POINT">Area</MDI></Metadata>',
    '<Metadata domain="IMAGE_STRUCTURE"><MDI key="INTERLEAVE">PIXEL</MDI></Metadata>',
]
NAMED = {
    '<Metadata><MDI key="AREA_OR_POINT">Point</MDI></Metadata>': "Metadata",
    '<Metadata domain="xml:ESRI" format="xml"><GeodataXform/></Metadata>': "Metadata",
    bands("<Metadata><MDI key='STATISTICS_MEAN'>1</MDI><MDI key='sensor'>MSI</MDI></Metadata>"): "Metadata",
    bands("<ColorTable><Entry c1='1' c2='2' c3='3' c4='255'/></ColorTable>"): "ColorTable",
    bands("", "<CategoryNames><Category>sea</Category></CategoryNames>"): "CategoryNames",
    bands("<Offset>3</Offset>"): "Offset",
    '<GCPList Projection=""><GCP Id="1" Pixel="0" Line="0" X="1" Y="2"/></GCPList>': "GCPList",
}


@pytest.mark.parametrize("part", SAYS_NOTHING)
def test_what_was_computed_of_the_pixels_is_not_missed(part):
    assert said(part) == Pam()


@pytest.mark.parametrize("part", NAMED)
def test_what_is_not_used_is_named(part):
    assert said(part) == Pam(dropped=(f"{NAMED[part]} of a.tif.aux.xml",))


TYPE = '<!DOCTYPE x [<!ENTITY a "b">]><PAMDataset/>'


@pytest.mark.parametrize(
    "text",
    ["", "<PAMDataset>", "<Other/>", "not XML", "<PAMDataset>\1</PAMDataset>", TYPE, f"<PAMDataset>{' ' * LIMIT}</PAMDataset>"],
    ids=range(7),
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_damaged_file_is_named(text, encoding):
    (path := Path("a.tif.aux.xml")).write_text(text, encoding=encoding)
    assert read_pam(path, 3) == Pam(dropped=("a.tif.aux.xml",))


# --- What GDAL makes of it ---


def quantized(path, **options):
    report = streamgmm.quantize(path, "out.tif", n_components=4, threads=1, overwrite=True, **options)
    with open_gdal("out.tif") as file:
        return file.crs, file.transform, report


def by_gdal(path):
    with open_gdal(path) as file:
        return file.crs, file.transform


def picture(path, **options):
    pixels = smooth(HEIGHT, WIDTH)
    pixels[:20, :30] = 7
    if path.endswith(".tif"):
        write_gdal(path, pixels, photometric="rgb", **options)
    else:
        Image.fromarray(pixels).save(path, **({"quality": 100, "subsampling": 0} if path.endswith(".jpg") else {}))
    return pixels


@pytest.mark.parametrize("path", ["a.tif", "a.png", "a.jpg", "a.webp"])
@pytest.mark.parametrize("code", [32631, 4326])
def test_the_output_lies_where_gdal_says_the_image_does(path, code):
    picture(path)
    write_pam(path, srs(rasterio.CRS.from_epsg(code).to_wkt()), LIES)
    crs, transform, report = quantized(path)
    assert (crs, transform) == by_gdal(path) == (rasterio.CRS.from_epsg(code), TRANSFORM)
    assert report.dropped == []


def test_a_file_that_gdal_writes_is_read():
    place = {"crs": "EPSG:25832", "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 4_000_000)}
    write_gdal("a.png", smooth(HEIGHT, WIDTH), driver="PNG", nodata=0, **place)
    crs, transform, report = quantized("a.png")
    assert (crs, transform) == by_gdal("a.png") == (rasterio.CRS.from_epsg(25832), place["transform"])
    assert report.dropped == []
    with closing(open_image("a.png")) as image:
        assert image.maskable


@pytest.mark.parametrize("options", [{}, {"nodata": 200}])
@pytest.mark.parametrize("part", [nodata(7, 7, 7), of_pixels("7 7 7")], ids=["bands", "pixels"])
def test_nodata_beside_an_image_masks(part, options):
    picture("a.tif", **options)
    write_pam("a.tif", part)
    valid = read_gdal("a.tif")[1]
    np.testing.assert_array_equal(read_checked("a.tif").valid, valid)
    assert not valid[:20, :30].any()
    with closing(open_image("a.tif")) as image:
        assert image.info()["masked_by"] == ["nodata 7"]
    assert streamgmm.quantize("a.tif", "out.tif", n_components=4, threads=1).dropped == []
    np.testing.assert_array_equal(read_gdal("out.tif")[1], valid)


@pytest.mark.parametrize("mode", ["L", "RGB", "1"])
def test_nodata_beside_a_png_masks(mode):
    image = Image.fromarray(picture("b.png")).convert(mode)
    image.save("a.png")
    write_pam("a.png", nodata(*(1 if mode == "1" else 7 for _ in image.getbands())))
    valid = read_gdal("a.png")[1]
    assert 0 < valid.sum() < valid.size
    np.testing.assert_array_equal(read("a.png").valid, valid)


@pytest.mark.parametrize("mode", ["P", "CMYK"])
def test_nodata_of_colors_that_are_converted_is_named(mode):
    path = {"P": "a.png", "CMYK": "a.jpg"}[mode]
    Image.fromarray(picture("b.png")).convert(mode).save(path)
    write_pam(path, nodata(*[7] * len(mode)))
    with closing(open_image(path)) as image:
        assert not image.maskable
        assert image.metadata.dropped == (f"NoDataValue of {path}.aux.xml",)


def test_what_a_user_says_comes_before_it():
    pixels = picture("a.tif")
    write_pam("a.tif", nodata(200, 200, 200))
    np.testing.assert_array_equal(read("a.tif", nodata=7).valid, (pixels != 7).any(axis=2))


def test_a_mask_or_alpha_decides_alone():
    pixels, valid = picture("b.tif"), np.ones((HEIGHT, WIDTH), bool)
    valid[:, 100:] = False
    write_masked("a.tif", pixels, valid, photometric="rgb")
    alpha = np.dstack([pixels, np.where(valid, 255, 0).astype(np.uint8)])
    write_gdal("c.tif", alpha, photometric="rgb", alpha="yes")
    Image.fromarray(alpha).save("d.png")
    Image.fromarray(pixels).save("e.png")
    Path("a.tif.msk").rename("e.png.msk")
    write_masked("a.tif", pixels, valid, photometric="rgb")
    for path, n_bands in {"a.tif": 3, "c.tif": 4, "d.png": 4, "e.png": 3}.items():
        write_pam(path, nodata(*[7] * n_bands))
        np.testing.assert_array_equal(read(path).valid, valid)
        if n_bands == 3:  # of alpha, rasterio warns that nodata is before it
            np.testing.assert_array_equal(read_gdal(path)[1], valid)


@pytest.mark.parametrize("dtype", ["u1", "i2", "u8", "f4", "f8"])
def test_nodata_that_no_sample_can_have_masks_none(dtype):
    tifffile.imwrite("a.tif", np.arange(600, dtype=dtype).reshape(20, 30) % 100, photometric="minisblack", metadata=None)
    for value in (10**20 - 1, -(10**20) + 1, "1e999", "nan", 7.5):
        write_pam("a.tif", nodata(value))
        assert read("a.tif").valid is None


def test_it_is_of_the_first_page():
    write_tiff("a.tif", smooth(HEIGHT, WIDTH))
    write_tiff("a.tif", smooth(HEIGHT, WIDTH, seed=1), append=True)
    write_pam("a.tif", nodata(7, 7, 7), LIES, "<GCPList/>")
    with closing(open_image("a.tif")) as first, closing(open_image("a.tif", page=1)) as second:
        assert (first.maskable, second.maskable) == (True, False)
        assert first.metadata.tags
        assert not second.metadata.tags
        assert first.metadata.dropped == ("GCPList of a.tif.aux.xml", "page 1")
        assert second.metadata.dropped == ("a.tif.aux.xml", "page 0")


def test_nodata_that_changes_while_it_is_read_is_noticed_but_statistics_are_not():
    picture("a.tif")
    write_pam("a.tif", nodata("nan", "nan", "nan"))
    with closing(open_image("a.tif")) as image:
        write_pam("a.tif", bands(*[f"<NoDataValue>nan</NoDataValue>{STATISTICS}"] * 3))
        image.check_unchanged()
        write_pam("a.tif", nodata(7, 7, 7))
        with pytest.raises(streamgmm.errors.ImageReadError, match=r"a\.tif\.aux\.xml: changed while it was read"):
            image.check_unchanged()
