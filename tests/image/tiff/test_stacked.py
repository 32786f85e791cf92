"""Pages as the bands of one image: the same as an image that has these bands in itself."""

from contextlib import closing

import numpy as np
import pytest
import tifffile

import streamgmm
from streamgmm.errors import ImageReadError, MemoryBudgetError, OptionError, UnsupportedImageError
from streamgmm.image.open import open_image
from streamgmm.image.tiles import Window

from ...images import n_open_files, read, smooth, whole, write_tiff

HEIGHT, WIDTH, CHANNELS = 96, 128, 4
TILED = {"tile": (32, 32), "compression": "deflate"}
NODATA = 42113


def channels(dtype=np.uint8, seed=0):
    """Pictures of one band each, on one of which are values that others do not have there."""
    return [smooth(HEIGHT, WIDTH, 1, dtype, seed=seed + i)[..., 0] for i in range(CHANNELS)]


def write_pages(path, pages, **options):
    with tifffile.TiffWriter(path) as writer:
        for page in pages:
            pixels, own = page if isinstance(page, tuple) else (page, {})
            colors = {"photometric": "rgb" if pixels.ndim == 3 else "minisblack", "metadata": None}
            writer.write(pixels, **colors | TILED | options | own)
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("layout", [TILED, {"tile": None, "rowsperstrip": 7}, {"tile": None, "compression": None}])
def test_bands_are_those_of_the_pages_in_the_order_that_is_asked_for(layout, dtype, tmp_path):
    pages = channels(dtype)
    path = write_pages(tmp_path / "in.tif", pages, **layout)
    for order in ((0, 1, 2, 3), (3, 1), (2,)):
        pixels, valid = read(path, pages_as_bands=order)
        assert valid is None
        np.testing.assert_array_equal(pixels, np.dstack([pages[i] for i in order]))
    np.testing.assert_array_equal(read(path, pages_as_bands="all").pixels, np.dstack(pages))
    window = Window(11, 30, 50, 41)
    np.testing.assert_array_equal(read(path, window, pages_as_bands="all").pixels, np.dstack(pages)[window.slices])


def test_bands_are_chosen_among_those_of_all_pages(tmp_path):
    pages = [smooth(HEIGHT, WIDTH, seed=1), *channels()]
    path, every = write_pages(tmp_path / "in.tif", pages), np.dstack(pages)
    for bands in ((7, 2, 4), (1, 4, 2), (5,), (5, 5)):
        pixels = read(path, pages_as_bands="all", bands=bands).pixels
        np.testing.assert_array_equal(pixels, every[..., [band - 1 for band in bands]])
    with pytest.raises(OptionError, match=r"in\.tif: bands are 8; choose from 1 to 7"):
        read(path, pages_as_bands="all", bands=(8,))


def test_each_page_has_its_own_level(tmp_path):
    pages = channels()
    path = write_pages(tmp_path / "in.tif", [*pages, *(page[::2, ::2] for page in pages)])
    np.testing.assert_array_equal(read(path, pages_as_bands=(3, 0), level=1).pixels, np.dstack([pages[3], pages[0]])[::2, ::2])


def test_ome_with_channels_as_pages(tmp_path):
    pages = channels(np.uint16)
    tifffile.imwrite(path := tmp_path / "in.ome.tif", np.stack(pages), metadata={"axes": "CYX"}, **TILED)
    np.testing.assert_array_equal(read(path, pages_as_bands="all").pixels, np.dstack(pages))


# --- What is masked


def test_a_pixel_is_masked_where_any_page_masks_it(tmp_path):
    mask, pages = np.ones((HEIGHT, WIDTH), bool), [page.astype(np.float32) for page in channels()]
    mask[5:20, 30:40], pages[3][50:60] = False, np.nan
    kind = {"photometric": "mask", "subfiletype": 4, "tile": None, "compression": None}
    path = write_pages(tmp_path / "in.tif", [pages[0], pages[1], (mask, kind), pages[2], pages[3]])
    pixels, valid = read(path, pages_as_bands="all")
    expected = mask & np.isfinite(pages[3])
    np.testing.assert_array_equal(valid, expected)
    np.testing.assert_array_equal(pixels[expected], np.dstack(pages)[expected])
    np.testing.assert_array_equal(read(path, pages_as_bands=(0, 1)).valid, mask)
    assert read(path, pages_as_bands=(0, 3)).valid is None


@pytest.mark.parametrize("tagged", [False, True])
@pytest.mark.parametrize("bands", [None, (1, 2), (3,)])
def test_nodata_masks_where_all_bands_have_it_as_in_an_image_of_these_bands(bands, tagged, tmp_path):
    pages = [np.maximum(page, 1) for page in channels()]
    for i, page in enumerate(pages):
        page[10 * i : 60] = 0
    tags = {"extratags": [(NODATA, 2, None, "0", True)]} if tagged else {}
    options = {"bands": bands} | ({} if tagged else {"nodata": 0})
    path = write_pages(tmp_path / "pages.tif", pages, **tags)
    alone = write_tiff(tmp_path / "bands.tif", np.dstack(pages), photometric="minisblack", extrasamples=[0] * 3, **tags)
    found, expected = read(path, pages_as_bands="all", **options), read(alone, **options)
    assert 0 < expected.valid.mean() < 1
    np.testing.assert_array_equal(found.valid, expected.valid)
    np.testing.assert_array_equal(found.pixels, expected.pixels)


def test_absent_tiles_of_any_page_mask(tmp_path):
    def tiles(pixels, absent):
        for top in range(0, HEIGHT, 32):
            for left in range(0, WIDTH, 32):
                yield None if (top, left) == absent else np.ascontiguousarray(pixels[top : top + 32, left : left + 32])

    pages = channels()
    with tifffile.TiffWriter(path := tmp_path / "in.tif") as writer:
        for page, absent in zip(pages, ((0, 32), None, (32, 64), None), strict=True):
            options = {"shape": page.shape, "dtype": page.dtype, "photometric": "minisblack", "metadata": None}
            writer.write(tiles(page, absent), **options | TILED)
    expected = np.ones((HEIGHT, WIDTH), bool)
    expected[:32, 32:64] = expected[32:64, 64:96] = False
    with closing(open_image(path, pages_as_bands="all")) as image:
        np.testing.assert_array_equal(whole(image).valid, expected)
        assert image.absent(Window(0, 32, 32, 32))
        assert not image.absent(Window(0, 0, 32, 32))


# --- What is refused


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (smooth(HEIGHT, WIDTH // 2, 1)[..., 0], r"64 x 96 pixels of 8 bits \(uint8\)"),
        (smooth(HEIGHT, WIDTH, 1, np.uint16)[..., 0], r"128 x 96 pixels of 16 bits \(uint16\)"),
        (np.zeros((HEIGHT, WIDTH), np.int8), r"128 x 96 pixels of 8 bits \(int8\)"),
        (np.zeros((HEIGHT, WIDTH), bool), r"128 x 96 pixels of 1 bits \(bool\)"),
    ],
)
def test_pages_of_other_sizes_or_types_are_named(odd, said, tmp_path):
    first, second, *_ = channels()
    path = write_pages(tmp_path / "in.tif", [first, second, (odd, {"tile": None, "compression": None})])
    before = n_open_files()
    message = rf"in\.tif, page 2: {said}, but page 0 has 128 x 96 pixels of 8 bits \(uint8\); name pages of one size and type"
    with pytest.raises(UnsupportedImageError, match=message):
        open_image(path, pages_as_bands=(0, 1, 2))
    assert n_open_files() == before
    np.testing.assert_array_equal(read(path, pages_as_bands=(0, 1)).pixels, np.dstack([first, second]))


def test_a_page_that_is_not_there_is_refused(tmp_path):
    path = write_pages(tmp_path / "in.tif", channels())
    with pytest.raises(OptionError, match=r"in\.tif: there is no page 4; pages are 0 to 3"):
        open_image(path, pages_as_bands=(0, 4))


def test_files_that_have_no_pages_have_but_the_first(tmp_path):
    from PIL import Image

    Image.fromarray(smooth(20, 30)).save(path := tmp_path / "in.png")
    for pages in ("all", (0,)):
        np.testing.assert_array_equal(read(path, pages_as_bands=pages).pixels, smooth(20, 30))
    with pytest.raises(OptionError, match="only TIFF files have pages and levels"):
        open_image(path, pages_as_bands=(0, 1))


def test_strips_of_all_pages_together_are_held_to_the_budget(tmp_path):
    path = write_pages(tmp_path / "in.tif", channels(), tile=None, rowsperstrip=HEIGHT)
    size = HEIGHT * WIDTH
    open_image(path, pages_as_bands="all", budget=CHANNELS * size).close()
    with pytest.raises(MemoryBudgetError, match="one compressed strip holds 128 x 96 pixels"):
        open_image(path, pages_as_bands="all", budget=CHANNELS * size - 1)
    open_image(path, pages_as_bands="all", bands=(1, 3), budget=2 * size).close()
    open_image(path, budget=size).close()


def test_a_file_that_changes_is_seen(tmp_path):
    path = write_pages(tmp_path / "in.tif", channels())
    with closing(open_image(path, pages_as_bands="all")) as image:
        image.check_unchanged()
        path.write_bytes(path.read_bytes() + b"more")
        with pytest.raises(ImageReadError, match="changed while it was read"):
            image.check_unchanged()


# --- What it says of itself, and through the jobs


def test_it_describes_itself_and_says_what_of_other_pages_is_dropped(tmp_path):
    names = [{"description": name, "extratags": [(285, 2, None, name, True)]} for name in ("DAPI", "CD3", "CD8", "CK")]
    path = write_pages(tmp_path / "in.tif", list(zip(channels(), names, strict=True)), resolution=(3e4, 3e4))
    with closing(open_image(path, pages_as_bands=(1, 0, 3))) as image:
        info, metadata = image.info(), image.metadata
    assert (info["bands"], info["pages_as_bands"], info["segments"], info["pages"]) == (3, [1, 0, 3], 36, 4)
    assert metadata.description == "CD3"
    assert metadata.dropped == ("ImageDescription of other pages", "PageName of other pages", "page 2")
    with closing(open_image(path, pages_as_bands=(1,))) as image:
        assert image.metadata.dropped == ("pages 0, 2, 3",)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_it_is_quantized_as_an_image_of_these_bands(dtype, tmp_path):
    path = write_pages(tmp_path / "pages.tif", channels(dtype))
    alone = write_tiff(
        tmp_path / "bands.tif", np.dstack(channels(dtype)), photometric="minisblack", extrasamples=[0] * 3, **TILED
    )
    options = {"n_components": 5, "threads": 2}
    found = streamgmm.quantize(path, tmp_path / "found.tif", pages_as_bands=(0, 1, 2, 3), chunk_size="32KiB", **options)
    expected = streamgmm.quantize(alone, tmp_path / "expected.tif", **options)
    assert found.model == expected.model
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "found.tif"), tifffile.imread(tmp_path / "expected.tif"))
    mixture, _ = streamgmm.fit_image([path, path], pages_as_bands="all", **options)
    assert mixture.n_bands == CHANNELS
    streamgmm.apply(mixture, path, tmp_path / "applied.tif", pages_as_bands="all")
    assert tifffile.imread(tmp_path / "applied.tif").shape == (HEIGHT, WIDTH)
