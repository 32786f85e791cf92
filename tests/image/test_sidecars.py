"""What lies beside an image and belongs to it is read as GDAL reads it, or named."""

import os
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile
from PIL import Image

import streamgmm
from streamgmm.errors import ImageReadError
from streamgmm.image.open import open_image
from streamgmm.image.sidecars import mask_file, read_files, world_file
from streamgmm.jobs.fingerprint import content

from ..images import read, read_checked, smooth, write_tiff
from .gdal import open_gdal, quietly, read_gdal, write_gdal
from .pam import LIES, TRANSFORM, srs, write_pam

HEIGHT, WIDTH = 96, 128
NORTH_UP, TURNED = "0.2\n0\n0\n-0.2\n250000.1\n5886999.9\n", "0.2\n0.05\n-0.1\n-0.3\n250000.1\n5886999.9\n"
PLACE = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 4_000_000)}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def transform(path):
    with open_gdal(path) as file:
        return file.transform


def quantized(path, **options):
    report = streamgmm.quantize(path, "out.tif", n_components=4, threads=1, overwrite=True, **options)
    return transform("out.tif"), report


# --- Where it lies ---

NAMES = {
    "a.tif": ["a.tfw", "a.tifw", "a.wld", "a.TFW", "a.WLD"],
    "a.tiff": ["a.tfw", "a.tiffw", "a.wld"],
    "a.png": ["a.pgw", "a.pngw", "a.wld"],
    "a.jpg": ["a.jgw", "a.jpgw", "a.wld"],
    "a.jpeg": ["a.jgw", "a.jpegw"],
}


def picture(path):
    if ".tif" in path:
        write_tiff(path, smooth(HEIGHT, WIDTH))
    else:
        Image.fromarray(smooth(HEIGHT, WIDTH)).save(path)


TEXTS = [TURNED, NORTH_UP.replace("\n", "\r\n"), " ".join(NORTH_UP.split())]
WORLDS = [(image, world, NORTH_UP) for image, worlds in NAMES.items() for world in worlds]


@pytest.mark.parametrize(("image", "world", "text"), WORLDS + [("a.tif", "a.tfw", text) for text in TEXTS])
def test_a_world_file_says_where_an_image_lies(image, world, text):
    picture(image)
    Path(world).write_text(text, encoding="utf-8")
    found, report = quantized(image)
    a, d, b, e, x, y = map(float, text.split())  # steps of x and y by column and by row, and the center of the first pixel
    np.testing.assert_allclose(found[:6], (a, b, x - (a + b) / 2, d, e, y - (d + e) / 2), rtol=1e-12)
    read_by_gdal = world[-3:] in ("tfw", "pgw", "jgw") and "\n" in text
    if read_by_gdal or transform(image) != rasterio.Affine.identity():
        np.testing.assert_allclose(found[:6], transform(image)[:6], rtol=1e-12)
    assert report.dropped == []


def test_a_place_in_the_file_comes_before_one_beside_it():
    write_gdal("a.tif", smooth(HEIGHT, WIDTH), photometric="rgb", **PLACE)
    Path("a.tfw").write_text(NORTH_UP, encoding="utf-8")
    found, report = quantized("a.tif")
    assert found == transform("a.tif") == PLACE["transform"]
    assert report.dropped == ["a.tfw"]


@pytest.mark.parametrize("text", ["", "1 2 3", "one two three four five six", "nan 0 0 -1 0 0"])
def test_what_is_no_world_file_is_named(text):
    picture("a.tif")
    Path("a.tfw").write_text(text, encoding="utf-8")
    found, report = quantized("a.tif")
    assert (found, report.dropped) == (rasterio.Affine.identity(), ["a.tfw"])


def test_a_level_lies_where_the_image_does():
    write_gdal("a.tif", smooth(HEIGHT, WIDTH), photometric="rgb", factors=(2,), tiled=True, blockxsize=16, blockysize=16)
    Path("a.tfw").write_text(NORTH_UP, encoding="utf-8")
    whole, half = quantized("a.tif")[0], quantized("a.tif", level=1)[0]
    np.testing.assert_allclose(half[:6], (whole @ rasterio.Affine.scale(2))[:6], rtol=1e-12)


@pytest.mark.parametrize("image", ["a.tif", "a.png"])
def test_what_cannot_be_read_beside_it_is_named(image):
    picture(image)
    for name in (f"{image}.aux.xml", f"{image}.ovr", "b.tif.ovr", "a.txt", "a.aux.xml"):
        Path(name).touch()
    assert quantized(image)[1].dropped == [f"{image}.aux.xml", f"{image}.ovr"]


# --- What comes before what ---

OWN = {"ModelPixelScale", "ModelTiepoint"}
BESIDE, WORLD = "GeoTransform of {}.aux.xml", "a.wld"


def located(image, *, own, pam, world):
    """An image with its place in some of the three; where it lies, by this program and by GDAL; and what it has dropped."""
    if own:
        write_gdal(image, smooth(HEIGHT, WIDTH), photometric="rgb", **PLACE)
    else:
        picture(image)
    if pam:
        write_pam(image, LIES)
    if world:
        Path("a.wld").write_text(NORTH_UP, encoding="utf-8")
    found, report = quantized(image)
    return found, transform(image), set(report.dropped)


PRECEDENCE = [
    ("a.tif", {"own": True, "pam": True, "world": True}, TRANSFORM, OWN | {WORLD}),
    ("a.tif", {"own": True, "pam": True, "world": False}, TRANSFORM, OWN),
    ("a.tif", {"own": False, "pam": True, "world": True}, TRANSFORM, {WORLD}),
    ("a.tif", {"own": True, "pam": False, "world": True}, PLACE["transform"], {WORLD}),
    ("a.jpg", {"own": False, "pam": True, "world": True}, TRANSFORM, {WORLD}),
    ("a.webp", {"own": False, "pam": True, "world": True}, TRANSFORM, {WORLD}),
    ("a.png", {"own": False, "pam": True, "world": True}, rasterio.Affine(0.2, 0, 250_000, 0, -0.2, 5_887_000), {BESIDE}),
]


@pytest.mark.parametrize(("image", "places", "expected", "dropped"), PRECEDENCE)
def test_places_come_in_the_order_of_gdal(image, places, expected, dropped):
    found, by_gdal, lost = located(image, **places)
    np.testing.assert_allclose(found[:6], by_gdal[:6], rtol=1e-12)
    np.testing.assert_allclose(found[:6], expected[:6], rtol=1e-12)
    assert lost == {name.format(image) for name in dropped}


def systems(*paths):
    crs = []
    for path in paths:
        with open_gdal(path) as file:
            crs.append((file.crs, file.transform))
    return crs


@pytest.mark.parametrize("parts", [(srs(),), (srs(), LIES), (LIES,)])
@pytest.mark.parametrize("meaning", ["Area", "Point"])
def test_a_system_beside_an_image_comes_before_its_own(parts, meaning):
    write_gdal("a.tif", smooth(HEIGHT, WIDTH), photometric="rgb", **PLACE)
    with open_gdal("a.tif", "r+") as file:
        file.update_tags(AREA_OR_POINT=meaning)
    write_pam("a.tif", *parts)
    dropped = set(quantized("a.tif")[1].dropped)
    mine, by_gdal = systems("out.tif", "a.tif")
    assert mine == by_gdal
    assert ("GeoKeyDirectory" in dropped, dropped >= OWN) == (parts[0] != LIES, LIES in parts)


def test_a_system_without_a_code_leaves_the_image_its_own():
    write_gdal("a.tif", smooth(HEIGHT, WIDTH), photometric="rgb", **PLACE)
    write_pam("a.tif", srs('LOCAL_CS["site",UNIT["metre",1]]'))
    assert quantized("a.tif")[1].dropped == ["SRS of a.tif.aux.xml (no EPSG code of a projected or geographic system)"]
    assert systems("out.tif") == [(rasterio.CRS.from_epsg(32633), PLACE["transform"])]


def test_what_says_the_same_again_is_not_missed():
    write_gdal("a.tif", smooth(HEIGHT, WIDTH), photometric="rgb", transform=PLACE["transform"])
    write_pam("a.tif", "<GeoTransform>500000, 10, 0, 4000000, 0, -10</GeoTransform>")
    found, report = quantized("a.tif")
    assert (found, report.dropped) == (PLACE["transform"], [])


def test_a_world_file_is_of_corners_also_where_an_image_speaks_of_centers():
    write_gdal("a.tif", smooth(HEIGHT, WIDTH), photometric="rgb", crs="EPSG:32633")
    with open_gdal("a.tif", "r+") as file:
        file.update_tags(AREA_OR_POINT="Point")
    Path("a.tfw").write_text(NORTH_UP, encoding="utf-8")
    np.testing.assert_allclose(quantized("a.tif")[0][:6], transform("a.tif")[:6], rtol=1e-12)


def test_a_level_lies_where_the_file_beside_the_image_says():
    write_gdal("a.tif", smooth(HEIGHT, WIDTH), photometric="rgb", factors=(2,), tiled=True, blockxsize=16, blockysize=16)
    write_pam("a.tif", LIES, srs())
    found = quantized("a.tif", level=1)[0]
    np.testing.assert_allclose(found[:6], (TRANSFORM @ rasterio.Affine.scale(2))[:6], rtol=1e-12)


def test_of_an_image_that_is_turned_a_place_is_named():
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(smooth(HEIGHT, WIDTH)).save("a.jpg", exif=exif)
    write_pam("a.jpg", LIES)
    Path("a.jgw").write_text(NORTH_UP, encoding="utf-8")
    found, report = quantized("a.jpg")
    assert (found, report.dropped) == (rasterio.Affine.identity(), ["Exif", "a.jgw", "a.jpg.aux.xml"])


# --- What is masked ---


@quietly
def write_masked(path, pixels, valid, driver="GTiff", **options):
    """An image with its mask in a file beside it."""
    height, width, bands = pixels.shape
    profile = {"driver": driver, "height": height, "width": width, "count": bands, "dtype": pixels.dtype}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "w", **profile | options) as file:
        file.write(np.moveaxis(pixels, -1, 0))
        file.write_mask(valid)
    assert Path(f"{path}.msk").exists()


def shown():
    valid = np.ones((HEIGHT, WIDTH), bool)
    valid[:30, 40:] = valid[80:] = False
    return valid


TILES = {"tiled": True, "blockxsize": 32, "blockysize": 32, "compress": "deflate"}


@pytest.mark.parametrize("options", [{}, TILES, {"nodata": 0}])
def test_a_mask_beside_an_image_masks(options):
    pixels, valid = smooth(HEIGHT, WIDTH), shown()
    pixels[40:50, :20] = 0  # black, and no nodata: the mask decides alone
    write_masked("a.tif", pixels, valid, photometric="rgb", **options)
    np.testing.assert_array_equal(read_gdal("a.tif")[1], valid)
    colors, found = read_checked("a.tif")
    np.testing.assert_array_equal(found, valid)
    np.testing.assert_array_equal(colors[valid], pixels[valid])
    with closing(open_image("a.tif")) as image:
        assert image.info()["masked_by"] == ["mask file"]
    quantized("a.tif")
    np.testing.assert_array_equal(read_gdal("out.tif")[1], valid)


def test_a_mask_beside_a_png_masks():
    pixels, valid = smooth(HEIGHT, WIDTH), shown()
    Image.fromarray(pixels).save("a.png")
    write_masked("b.tif", pixels, valid)
    Path("b.tif.msk").rename("a.png.msk")
    np.testing.assert_array_equal(read_gdal("a.png")[1], valid)
    colors, found = read("a.png")
    np.testing.assert_array_equal(found, valid)
    np.testing.assert_array_equal(colors[valid], pixels[valid])


def test_a_mask_beside_a_stack_is_that_of_its_first_page():
    write_masked("a.tif", smooth(HEIGHT, WIDTH), shown())
    with tifffile.TiffWriter("b.tif") as writer:
        for page in (smooth(HEIGHT, WIDTH), smooth(HEIGHT + 5, WIDTH)):
            writer.write(page, photometric="rgb", metadata=None)
    Path("a.tif.msk").rename("b.tif.msk")
    np.testing.assert_array_equal(read("b.tif")[1], shown())
    assert read("b.tif", page=1)[1] is None


def test_a_mask_of_another_size_is_refused():
    write_masked("a.tif", smooth(HEIGHT, WIDTH), shown())
    write_tiff("c.tif", smooth(HEIGHT + 1, WIDTH))
    Path("a.tif.msk").rename("c.tif.msk")
    with pytest.raises(ImageReadError, match=rf"c\.tif\.msk: has no mask of {WIDTH} x {HEIGHT + 1} pixels for c\.tif"):
        open_image("c.tif")


# --- What of it is known ---


def test_what_is_read_is_known_by_its_name():
    beside = ["a.tfw", "a.tif.aux.xml", "a.tif.msk", "a.tif.ovr", "a.tif.msk.ovr"]
    for name in ("a.tif", *beside, "b.tif", "b.tif.msk.ovr"):
        Path(name).touch()
    assert read_files(Path("a.tif")) == [*map(Path, beside)]
    assert read_files(Path("b.tif")) == []
    assert (world_file(Path("a")), mask_file(Path("a"))) == (None, None)
    os.mkfifo("c.tif.msk")
    assert mask_file(Path("c.tif")) is None


@pytest.mark.parametrize("name", ["a.tfw", "a.tif.msk", "a.tif.aux.xml", "a.tif.ovr"])
def test_an_image_is_another_with_other_files_beside_it(name):
    picture("a.tif")
    before = content(Path("a.tif"))
    Path(name).write_text("1", encoding="utf-8")
    first = content(Path("a.tif"))
    Path(name).write_text("22", encoding="utf-8")
    assert len({str(each) for each in (before, first, content(Path("a.tif")))}) == 3


def test_a_mask_that_changes_while_it_is_read_is_noticed():
    write_masked("a.tif", smooth(HEIGHT, WIDTH), shown())
    with closing(open_image("a.tif")) as image:
        os.utime("a.tif.msk", ns=(1, 1))
        with pytest.raises(ImageReadError, match=r"a\.tif\.msk: changed while it was read"):
            image.check_unchanged()
