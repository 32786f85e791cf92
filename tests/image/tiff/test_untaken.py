"""Pages that are not read are named: in the report, in the description, and in a line."""

from contextlib import closing

import numpy as np
import pytest
import tifffile

import streamgmm
from streamgmm.image.open import open_image
from streamgmm.image.tiff.untaken import LOOKED_AT

from ...images import smooth, write_tiff
from ..gdal import write_gdal


def write_pages(path, *pages):
    """A TIFF of pages: pixels, and what tifffile is to be told of them."""
    with tifffile.TiffWriter(path) as writer:
        for pixels, options in pages:
            writer.write(pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack", metadata=None, **options)
    return path


def dropped(path, **options):
    """What is named of an image."""
    with closing(open_image(path, **options)) as image:
        assert image.info()["dropped"] == list(image.metadata.dropped)
        return list(image.metadata.dropped)


@pytest.mark.parametrize(
    ("n_pages", "page", "expected"),
    [
        (1, None, []),
        (2, None, ["page 1"]),
        (2, 1, ["page 0"]),
        (5, 1, ["pages 0, 2, 3, 4"]),
        (6, None, ["5 other pages, from page 1 on"]),
        (LOOKED_AT + 9, None, [f"{LOOKED_AT} other pages or more, from page 1 on"]),
    ],
)
def test_pages_that_are_not_taken_are_named(n_pages, page, expected, tmp_path):
    path = write_pages(tmp_path / "in.tif", *[(smooth(8, 9, seed=i), {}) for i in range(n_pages)])
    assert dropped(path, page=page) == expected


def test_of_all_pages_none_is_left(tmp_path):
    path = write_pages(tmp_path / "in.tif", *[(smooth(20, 30, seed=i), {}) for i in range(3)])
    assert streamgmm.quantize(path, tmp_path / "out.tif", n_components=4, all_pages=True, threads=1).dropped == []
    with closing(open_image(path, pages_as_bands=(0, 2))) as image:
        assert list(image.metadata.dropped) == ["page 1"]


def test_levels_and_masks_are_no_pages_and_pictures_of_the_glass_are(tmp_path):
    tiled = {"tile": (16, 16)}
    whole, label = smooth(64, 80), smooth(30, 20, seed=3)
    path = write_pages(
        tmp_path / "in.tif",
        (whole, tiled),
        (whole[::2, ::2], {"subfiletype": 1, **tiled}),
        (label, {"subfiletype": 1}),
        (np.ones((64, 80), bool), {"subfiletype": 4}),
    )
    assert dropped(path) == ["1 smaller picture of pages"]


def test_a_mask_of_another_level_is_named(tmp_path):
    whole, mask = smooth(64, 80), np.ones((64, 80), bool)
    path = write_pages(tmp_path / "in.tif", (whole, {}), (mask, {"subfiletype": 4}), (whole[::2, ::2], {"subfiletype": 1}))
    assert dropped(path) == []
    assert dropped(path, level=1) == ["masks of other levels"]


def test_a_mask_beside_one_that_is_inside_is_named(tmp_path):
    whole, mask = smooth(64, 80), np.ones((64, 80), bool)
    path = write_pages(tmp_path / "in.tif", (whole, {}), (mask, {"subfiletype": 4}))
    write_pages(tmp_path / "in.tif.msk", (mask, {}))
    assert dropped(path) == ["in.tif.msk"]


@pytest.mark.parametrize(("text", "expected"), [("0", []), ("none of it", ["GDAL_NODATA"]), ("-9999", [])])
def test_nodata_that_says_nothing_is_named(text, expected, tmp_path):
    path = write_tiff(tmp_path / "in.tif", smooth(20, 30), extratags=[(42113, 2, None, text)])
    assert dropped(path) == expected
    assert dropped(path, nodata=3) == []


def test_nodata_is_named_where_alpha_decides(tmp_path):
    path = write_gdal(tmp_path / "in.tif", smooth(20, 30, 4), nodata=0, photometric="rgb", alpha="unspecified")
    assert dropped(path) == []
    path = write_gdal(tmp_path / "in.tif", smooth(20, 30, 4), nodata=0, photometric="rgb", alpha="yes")
    assert dropped(path) == ["GDAL_NODATA"]


def test_damage_behind_a_page_does_not_spoil_it(tmp_path):
    path = write_pages(tmp_path / "in.tif", *[(smooth(20, 30, seed=i), {}) for i in range(3)])
    with tifffile.TiffFile(path) as tiff:
        last = tiff.pages[2].offset
    with open(path, "r+b") as file:
        file.seek(last)
        file.write(b"\xff" * 40)
    assert dropped(path) in (["page 1"], ["pages 1, 2"])
