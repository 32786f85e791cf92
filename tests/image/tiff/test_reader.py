"""The image of a TIFF: colors and mask of a page, what it tells of itself, and when its file is closed."""

import re
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import streamgmm
from streamgmm.errors import ImageReadError, OptionError, UnsupportedImageError
from streamgmm.image.open import open_image
from streamgmm.image.tiff.reader import open_file
from streamgmm.image.tiles import Window
from streamgmm.options import ReadOptions

from ...conftest import shared_file
from ...images import n_open_files, pixels_of, read, smooth, whole, write_tiff

HEIGHT, WIDTH = 75, 90

quantize = partial(streamgmm.quantize, threads=1, n_components=4)


def info(path, **options):
    """What a file says of itself, where it can be opened."""
    with closing(open_image(path, **options)) as image:
        return image.info()


def test_only_the_first_page_is_read(tmp_path):
    first, second = smooth(HEIGHT, WIDTH, seed=1), smooth(40, 40, seed=2)
    path = tmp_path / "image.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(first, photometric="rgb", metadata=None)
        writer.write(second, photometric="rgb", metadata=None)
    assert info(path)["pages"] == 2
    np.testing.assert_array_equal(read(path).pixels, first)
    np.testing.assert_array_equal(read(path, page=1).pixels, second)


def test_a_tiff_describes_itself(tmp_path):
    path = write_tiff(tmp_path / "image.tif", smooth(HEIGHT, WIDTH), tile=(32, 16), compression="lzw", bigtiff=True)
    assert info(path) == {
        "format": "BigTIFF",
        "width": WIDTH,
        "height": HEIGHT,
        "bands": 3,
        "dtype": "uint8",
        "stored": "3 samples of 8 bits, uint8",
        "photometric": "rgb",
        "compression": "lzw",
        "layout": "tiles of 16 x 32",
        "segments": 18,
        "in_one_piece": False,
        "masked_by": [],
        "page": 0,
        "pages": 1,
        "dropped": [],
        "levels": [f"{WIDTH} x {HEIGHT}"],
    }


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_carried_over_unapplied(orientation, tmp_path):
    pixels = smooth(HEIGHT, WIDTH)
    path = write_tiff(tmp_path / "in.tif", pixels, extratags=[(274, 3, 1, orientation)])
    np.testing.assert_array_equal(pixels_of(path), pixels)
    quantize(path, tmp_path / "out.tif")
    quantize(pixels, tmp_path / "plain.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as tiff, Image.open(path) as before, Image.open(tmp_path / "out.tif") as after:
        assert tiff.pages.first.tags.valueof(274, 1) == orientation
        np.testing.assert_array_equal(tiff.pages.first.asarray(), tifffile.imread(tmp_path / "plain.tif"))
        assert before.convert("RGB").size == after.convert("RGB").size


@pytest.mark.parametrize(
    ("options", "extra", "reasons"),
    [
        ({"extrasamples": ["unassalpha"]}, 1, ["alpha"]),
        ({"extratags": [(42113, 2, None, "7")]}, 0, ["nodata 7"]),
        ({"extratags": [(42113, 2, None, "700")]}, 0, []),
        ({"extrasamples": ["assocalpha"], "extratags": [(42113, 2, None, "0")]}, 1, ["alpha"]),  # which decides alone
    ],
)
def test_a_tiff_tells_what_masks_it(options, extra, reasons, tmp_path):
    path = write_tiff(tmp_path / "image.tif", smooth(HEIGHT, WIDTH, 3 + extra), **options)
    assert info(path)["masked_by"] == reasons


def test_a_pixel_is_masked_where_anything_masks_it(tmp_path):
    pixels, shown = smooth(HEIGHT, WIDTH, 4), np.ones((HEIGHT, WIDTH), bool)
    pixels[10:20, :, 3], pixels[:, 30:40, :3], shown[50:60] = 0, 7, False
    with tifffile.TiffWriter(path := tmp_path / "image.tif") as tiff:
        nodata = [(42113, 2, None, "7", True)]
        tiff.write(pixels, photometric="rgb", extrasamples=["unassalpha"], extratags=nodata, metadata=None)
        tiff.write(shown, photometric="mask", subfiletype=4, metadata=None)
    assert info(path)["masked_by"] == ["alpha", "mask page"]
    expected = shown & (pixels[..., 3] != 0)
    np.testing.assert_array_equal(read(path).valid, expected)
    expected &= (pixels[..., :3] != 7).any(axis=-1)  # where nodata is asked for
    np.testing.assert_array_equal(read(path, nodata=7).valid, expected)
    np.testing.assert_array_equal(read(path, nodata=7).pixels[expected], pixels[expected][:, :3])


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted as on Linux")
@pytest.mark.parametrize("options", [{}, {"page": 5}, {"level": 3}, {"bands": (9,)}, {"all_pages": True}])
def test_a_file_that_is_closed_or_refused_leaves_nothing_open(options, tmp_path):
    path, before = write_tiff(tmp_path / "image.tif", smooth(HEIGHT, WIDTH)), n_open_files()
    try:
        images = open_file(path, ReadOptions(**options), None)
    except OptionError:
        assert options
    else:
        assert n_open_files() > before
        for image in images:
            image.close()
    assert n_open_files() == before


def test_a_tiff_keeps_no_pixels_and_knows_its_file(tmp_path):
    path = write_tiff(tmp_path / "image.tif", smooth(HEIGHT, WIDTH), tile=(32, 16))
    with closing(open_image(path)) as image:
        assert image.held == 0
        image.check_unchanged()
        path.write_bytes(path.read_bytes() + b"more")
        with pytest.raises(ImageReadError, match=r"image\.tif: changed while it was read; run again when it is whole"):
            image.check_unchanged()


# --- Pages that are fitted together


def write_pages(path, pages):
    with tifffile.TiffWriter(path) as writer:
        for pixels, options in pages:
            colors = {"photometric": "rgb" if pixels.ndim == 3 else "minisblack", "metadata": None}
            writer.write(pixels, **colors | options)
    return path


def opened(path):
    images = open_file(path, ReadOptions(all_pages=True), None)
    for image in images:
        image.close()
    return images


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (1, 0, 3, 2), (2, 3, 0, 1)])
def test_gray_pages_beside_colors_are_colors(order, tmp_path):
    """As scans mix them: bilevel, gray, gray from white to black, RGB."""
    color, gray = smooth(HEIGHT, WIDTH, seed=1), smooth(50, 60, 1, seed=2)[..., 0]
    packed = {"compression": "packbits", "rowsperstrip": 10}
    pages = [(gray > 128, packed), (color, {}), (gray, {}), (255 - gray, {"photometric": "miniswhite"})]
    expected = [np.repeat(pixels[..., None], 3, axis=-1) for pixels in ((gray > 128) * np.uint8(255), gray, gray)]
    expected.insert(1, color)
    path = write_pages(tmp_path / "in.tif", [pages[i] for i in order])
    images = open_file(path, ReadOptions(all_pages=True), None)
    for image, i in zip(images, order, strict=True):
        assert (image.shape, image.units) == (expected[i].shape, (1.0, 0.0))
        np.testing.assert_array_equal(whole(image).pixels, expected[i])
        np.testing.assert_array_equal(image.read(Window(3, 5, 20, 30)).pixels, expected[i][3:23, 5:35])
    images[0].close()  # they share a file
    np.testing.assert_array_equal(read(path, page=order.index(2)).pixels, gray[..., None])  # by itself it has one band
    report = quantize(path, tmp_path / "out.tif", all_pages=True)
    assert len(report.model["means"][0]) == 3
    with tifffile.TiffFile(tmp_path / "out.tif") as tiff:
        assert [page.shape for page in tiff.pages] == [expected[i].shape[:2] for i in order]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ((smooth(40, 50, 1, np.uint16)[..., 0], {}), "bands are 1, those of page 0 are 3"),
        ((smooth(40, 50, 2), {"photometric": "minisblack", "planarconfig": "contig"}), "bands are 2, those of page 0 are 3"),
        ((smooth(40, 50).astype(np.float32), {}), "samples are float32, those of page 0 are uint8"),
    ],
)
def test_pages_of_other_kinds_are_named(other, said, tmp_path):
    path, before = write_pages(tmp_path / "mixed.tif", [(smooth(40, 50), {}), (smooth(40, 50), {}), other]), n_open_files()
    with pytest.raises(
        UnsupportedImageError, match=rf"mixed\.tif, page 2: {said}; take pages of one kind, one by one with --page"
    ):
        quantize(path, tmp_path / "out.tif", all_pages=True)
    assert n_open_files() == before
    assert not (tmp_path / "out.tif").exists()


def test_gray_beside_three_bands_of_no_color_is_no_color(tmp_path):
    bands = (smooth(40, 50), {"photometric": "minisblack", "planarconfig": "contig"})
    path = write_pages(tmp_path / "in.tif", [bands, (smooth(40, 50, 1)[..., 0], {})])
    with pytest.raises(UnsupportedImageError, match="page 1: bands are 1, those of page 0 are 3"):
        opened(path)


def test_damage_in_one_of_all_pages_is_said_of_that_page(tmp_path):
    path = write_pages(tmp_path / "in.tif", [(smooth(40, 50, seed=i), {"compression": "deflate"}) for i in range(3)])
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[1].dataoffsets[0]
    data = bytearray(path.read_bytes())
    data[offset + 20 : offset + 60] = bytes(40)
    path.write_bytes(data)
    with pytest.raises(ImageReadError, match=r"in\.tif, page 1: strip 0 is corrupt"):
        quantize(path, tmp_path / "out.tif", all_pages=True)
    assert quantize(path, tmp_path / "out.tif").input == str(path)


# --- Of the collection

SEQUENCES = {
    "1c-6b-miniswhite-79cafbb6": 6,
    "1c-7b-9c61ba70": 7,
    "1c-7b-miniswhite-9c61ba70": 7,
    "1c-8b-bigendian-20f3db0c": 8,
    "1c-8b-bigtiff-20f3db0c": 8,
    "1c-8b-lzw-20f3db0c": 8,
    "1c-8b-multipage-adeefdcc": 8,
    "1c-8b-tiled-bigtiff-20f3db0c": 8,
    "1c-8b-tiled-deflate-20f3db0c": 8,
    "1c-8b-tiled-lzw-20f3db0c": 8,
    "1c-10b-miniswhite-6d739fa2": 10,
    "1c-16b-deflate-68f373a0": 16,
    "1c-24b-072a9dc9": 24,
    "3c-5b-contig-09f197f4": 5,
    "3c-8b-tiled-8743c999": 8,
    "3c-i8-d7550ce4": 8,
    "3c-10b-contig-d08d5dc0": 10,
    "3c-12b-contig-e6f40b4a": 12,
    "3c-14b-contig-f4dcc6cc": 14,
}


@pytest.mark.collection
@pytest.mark.parametrize("name", SEQUENCES)
def test_samples_that_count_up_are_read_so(name):
    bits, bands = SEQUENCES[name], int(re.match(r"\d", name)[0])
    pixels = pixels_of(shared_file(f"variants/imagetiff__seq-{name}.tiff"))
    counted = np.arange(16 * 16 * bands).reshape(16, 16, bands) % (1 << bits)
    if bits <= 16:
        full = np.iinfo(pixels.dtype).max
        counted = np.rint(counted * (full / ((1 << bits) - 1)))
    np.testing.assert_array_equal(pixels, counted)
