"""Which page of a TIFF is the image, which are its levels, and which mask it."""

import warnings
from contextlib import closing
from functools import partial

import numpy as np
import openslide
import pytest
import rasterio
import rasterio.shutil
import tifffile

import streamgmm
from streamgmm.errors import ImageReadError, OptionError
from streamgmm.image.open import open_image, open_images
from streamgmm.options import ReadOptions

from ...conftest import shared_file
from ...images import read, smooth, whole, with_tags
from ..gdal import read_gdal, write_gdal

HEIGHT, WIDTH = 96, 128
REDUCED, MASK, REDUCED_MASK = 1, 4, 5  # NewSubfileType, tag 254
TILED = {"tile": (16, 32), "compression": "deflate"}
GDAL_TILED = {"photometric": "rgb", "tiled": True, "blockxsize": 32, "blockysize": 16, "compress": "deflate"}

quantize = partial(streamgmm.quantize, threads=1, n_components=3)


def picture(number, height=HEIGHT, width=WIDTH):
    """A picture unlike those of other numbers."""
    return smooth(height, width, seed=number)


def pyramid(number, n_levels=3):
    """A picture and smaller ones: not averages of it, so that one is not taken for another."""
    return [picture(number + level, HEIGHT >> level, WIDTH >> level) for level in range(n_levels)]


def write_pages(path, pages, **options):
    """Write pages, each an array with what tifffile is told of it."""
    with tifffile.TiffWriter(path, **options) as tiff:
        for pixels, kind in pages:
            kind = {"photometric": "rgb" if pixels.ndim == 3 else "minisblack"} | kind
            tiff.write(pixels, metadata=None, **kind)
    return path


def check_read(expected, path, **options):
    """Compare what is read, where nothing is masked."""
    pixels, valid = read(path, **options)
    assert valid is None
    np.testing.assert_array_equal(pixels, expected)


def levels(path, **options):
    with closing(open_image(path, **options)) as image:
        return image.info()["levels"]


def sizes(pictures):
    return [f"{pixels.shape[1]} x {pixels.shape[0]}" for pixels in pictures]


def all_pages(path):
    images = open_images(path, ReadOptions(all_pages=True), None)
    pixels = [whole(image).pixels for image in images]
    for image in images:
        image.close()
    return pixels


# --- Which page


@pytest.mark.parametrize("form", [{}, {"byteorder": ">"}, {"bigtiff": True}])
@pytest.mark.parametrize("layout", [{}, TILED])
def test_the_first_page_is_read_unless_another_is_asked_for(layout, form, tmp_path):
    pictures = [picture(i) for i in range(3)]
    path = write_pages(tmp_path / "in.tif", [(pixels, layout) for pixels in pictures], **form)
    check_read(pictures[0], path)
    for i, pixels in enumerate(pictures):
        check_read(pixels, path, page=i)
        assert levels(path, page=i) == sizes([pixels])
    for pixels, expected in zip(all_pages(path), pictures, strict=True):
        np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("page", [-1, 3, 1000])
def test_a_page_that_is_not_there_is_refused(page, tmp_path):
    path = write_pages(tmp_path / "in.tif", [(picture(i), {}) for i in range(3)])
    with pytest.raises(OptionError, match=rf"in\.tif: there is no page {page}; pages are 0 to 2"):
        open_image(path, page=page)


@pytest.mark.parametrize("level", [-1, 3])
def test_a_level_that_is_not_there_is_refused_with_those_there_are(level, tmp_path):
    path = write_pages(tmp_path / "in.tif", [(pixels, TILED) for pixels in pyramid(0)])
    with pytest.raises(OptionError, match=rf"level is {level}; page 0 has 0 \(128 x 96\), 1 \(64 x 48\), 2 \(32 x 24\)"):
        open_image(path, level=level)


@pytest.mark.parametrize("kind", [REDUCED, MASK, REDUCED_MASK])
def test_a_page_that_is_no_image_may_be_asked_for_by_its_number(kind, tmp_path):
    pages = [(picture(0), {}), (picture(1, 48, 64), {"subfiletype": REDUCED}), (picture(2), {})]
    path = with_tags(write_pages(tmp_path / "in.tif", pages), {254: kind}, page=1)
    check_read(pages[1][0], path, page=1)
    check_read(pages[2][0], path, page=2)
    assert len(all_pages(path)) == 2


# --- Levels


@pytest.mark.parametrize("layout", [{}, TILED])
def test_reduced_pages_behind_an_image_are_its_levels(layout, tmp_path):
    """As GDAL and Cloud Optimized GeoTIFFs have them: NewSubfileType 1."""
    first, second = pyramid(0), pyramid(10, 2)
    pages = [
        (pixels, layout | {"subfiletype": REDUCED * bool(i)}) for group in (first, second) for i, pixels in enumerate(group)
    ]
    path = write_pages(tmp_path / "in.tif", pages)
    assert levels(path) == sizes(first)
    assert levels(path, page=3) == sizes(second)
    for level, pixels in enumerate(first):
        check_read(pixels, path, level=level)
    for level, pixels in enumerate(second):
        check_read(pixels, path, page=3, level=level)
    for pixels, expected in zip(all_pages(path), (first[0], second[0]), strict=True):
        np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("bigtiff", [False, True])
def test_subifds_are_levels(bigtiff, tmp_path):
    """As OME and libvips write them."""
    first, second = pyramid(0), pyramid(10)
    with tifffile.TiffWriter(path := tmp_path / "in.tif", bigtiff=bigtiff) as tiff:
        for image, *reduced in (first, second):
            tiff.write(image, photometric="rgb", subifds=len(reduced), metadata=None, **TILED)
            for pixels in reduced:
                tiff.write(pixels, photometric="rgb", subfiletype=REDUCED, metadata=None, **TILED)
    for page, group in enumerate((first, second)):
        assert levels(path, page=page) == sizes(group)
        for level, pixels in enumerate(group):
            check_read(pixels, path, page=page, level=level)
    assert len(all_pages(path)) == 2


def test_levels_are_found_largest_first_whatever_their_order(tmp_path):
    image, half, quarter = pyramid(0)
    pages = [(image, TILED), (quarter, TILED | {"subfiletype": REDUCED}), (half, TILED | {"subfiletype": REDUCED})]
    path = write_pages(tmp_path / "in.tif", pages)
    assert levels(path) == sizes([image, half, quarter])
    check_read(half, path, level=1)


@pytest.mark.parametrize("size", [(97, 129), (95, 127), (33, 200), (200, 3)])
def test_levels_of_odd_sizes_are_found(size, tmp_path):
    halves = [size]
    while max(halves[-1]) > 16:
        halves.append(tuple(-(-side // 2) for side in halves[-1]))
    group = [picture(i, *half) for i, half in enumerate(halves)]
    path = write_pages(
        tmp_path / "in.tif", [(pixels, TILED | {"subfiletype": REDUCED * bool(i)}) for i, pixels in enumerate(group)]
    )
    assert levels(path) == sizes(group)


def svs(path):
    """Write an Aperio slide: tiled levels with nothing said of them, a striped thumbnail between, then label and macro."""
    image, half, quarter = pyramid(0)
    strips = {"rowsperstrip": 16, "compression": "deflate"}
    pages = [
        (image, TILED | {"description": f"Aperio Image Library v11\n{WIDTH}x{HEIGHT}|AppMag = 20|MPP = 0.5"}),
        (picture(5, 24, 32), strips),
        (half, TILED),
        (quarter, TILED),
        (picture(6, 30, 20), strips | {"subfiletype": REDUCED, "description": "Aperio\nlabel 20x30"}),
        (picture(7, 20, 60), strips | {"subfiletype": 9, "description": "Aperio\nmacro 60x20"}),
    ]
    return write_pages(path, pages), [image, half, quarter]


def test_a_slide_has_its_levels_and_not_its_thumbnail_label_or_macro(tmp_path):
    path, group = svs(tmp_path / "in.svs")
    check_read(group[0], path)
    check_read(picture(5, 24, 32), path, page=1)
    check_read(picture(6, 30, 20), path, page=4)
    with openslide.OpenSlide(path) as slide:
        assert [f"{width} x {height}" for width, height in slide.level_dimensions] == sizes(group)
    assert levels(path) == sizes(group)
    for level, pixels in enumerate(group):
        check_read(pixels, path, level=level)


def test_all_pages_of_a_slide_are_its_image(tmp_path):
    path, group = svs(tmp_path / "in.svs")
    (pixels,) = all_pages(path)
    np.testing.assert_array_equal(pixels, group[0])


def dng(path, *, thumbnail_first=True):
    """Write what a DNG file is like: a thumbnail that says it is reduced, with the image and a preview as its SubIFDs."""
    image, preview, thumbnail = picture(1), picture(2, 48, 64), picture(3, 12, 16)
    children = [(image, 0), (preview, REDUCED)]
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(thumbnail, photometric="rgb", subfiletype=REDUCED, subifds=len(children), metadata=None)
        for pixels, kind in children if thumbnail_first else reversed(children):
            tiff.write(pixels, photometric="rgb", subfiletype=kind, metadata=None)
    return path, image, preview


@pytest.mark.parametrize("thumbnail_first", [True, False])
def test_a_thumbnail_gives_way_to_the_image_in_its_subifds(thumbnail_first, tmp_path):
    path, image, preview = dng(tmp_path / "in.dng", thumbnail_first=thumbnail_first)
    check_read(image, path)
    check_read(image, path, page=0)
    assert levels(path) == sizes([image, preview])
    check_read(preview, path, level=1)
    (pixels,) = all_pages(path)
    np.testing.assert_array_equal(pixels, image)


def test_a_thumbnail_alone_is_the_image(tmp_path):
    thumbnail = picture(3, 12, 16)
    check_read(thumbnail, write_pages(tmp_path / "in.tif", [(thumbnail, {"subfiletype": REDUCED})]))


def test_a_thumbnail_before_the_image_is_not_the_image(tmp_path):
    """The first image that is not reduced or a mask is read, where it stands in the chain itself."""
    image = picture(0)
    path = write_pages(tmp_path / "in.tif", [(picture(3, 12, 16), {"subfiletype": REDUCED}), (image, {})])
    check_read(image, path)


@pytest.mark.parametrize("other", [(48, 64, 1), (60, 60, 3), (HEIGHT, WIDTH, 3)])
def test_a_page_of_other_bands_or_shape_is_no_level(other, tmp_path):
    pixels = smooth(*other, seed=9)
    pages = [(picture(0), TILED), (pixels[..., 0] if other[2] == 1 else pixels, TILED)]
    path = write_pages(tmp_path / "in.tif", pages)
    assert levels(path) == sizes([picture(0)])
    check_read(pixels, path, page=1)
    assert len(all_pages(path)) == 2


# --- Channels that are pages, and their levels behind all of them


def gray(number, height=HEIGHT, width=WIDTH):
    return picture(number, height, width)[..., 0]


def rows_of(n_channels, *sizes):
    """Pictures of each channel, all of a size in a row, the rows by falling size."""
    return [[gray(10 * level + channel, *size) for channel in range(n_channels)] for level, size in enumerate(sizes)]


def said(kind):
    """What QPTIFF writes of a page."""
    xml = f"<PerkinElmer-QPI-ImageDescription><ImageType>{kind}</ImageType></PerkinElmer-QPI-ImageDescription>"
    return {"description": f"<?xml version='1.0'?>{xml}"}


def qptiff(path, rows, *, told=True, thumbnail=True, strips=0, **options):
    """Write a slide as PerkinElmer does: channels, a thumbnail in color, rows of levels, overview and label."""
    kinds = ["FullResolution", *["ReducedResolution"] * (len(rows) - 1)]
    pages = [[(page, TILED | said(kind) if told else TILED) for page in row] for row, kind in zip(rows, kinds, strict=True)]
    for row in pages[len(rows) - strips :]:
        row[:] = [(page, {"compression": "deflate"} | said("ReducedResolution")) for page, _ in row]
    small = [(picture(90, 24, 32), said("Thumbnail") if told else {})] if thumbnail else []
    glass = [(picture(91, 20, 60), said("Overview")), (picture(92, 30, 20), said("Label"))] if told else []
    return write_pages(path, [*pages[0], *small, *(page for row in pages[1:] for page in row), *glass], **options)


HALVES = [(HEIGHT, WIDTH), (HEIGHT // 2, WIDTH // 2), (HEIGHT // 4, WIDTH // 4)]


@pytest.mark.parametrize("how", [{}, {"told": False}, {"thumbnail": False}, {"told": False, "thumbnail": False}, {"strips": 1}])
@pytest.mark.parametrize("n_channels", [2, 5])
def test_each_channel_has_its_own_levels(n_channels, how, tmp_path):
    rows = rows_of(n_channels, *HALVES)
    path = qptiff(tmp_path / "in.qptiff", rows, bigtiff=True, **how)
    for channel in range(n_channels):
        assert levels(path, page=channel) == sizes([row[channel] for row in rows])
        for level, row in enumerate(rows):
            check_read(row[channel][..., None], path, page=channel, level=level)
    check_read(rows[0][0][..., None], path)
    with tifffile.TiffFile(path) as tiff:
        n_pages = len(tiff.pages)
    assert [len(pixels) for pixels in all_pages(path)] == n_channels * [HEIGHT]
    check_read(rows[1][1][..., None], path, page=n_channels + how.get("thumbnail", True) + 1)
    with pytest.raises(OptionError, match=f"there is no page {n_pages}"):
        open_image(path, page=n_pages)


def test_a_slide_in_color_has_levels_in_strips_and_no_thumbnail_among_them(tmp_path):
    group = pyramid(0)
    kinds = [TILED | said("FullResolution"), said("ReducedResolution"), said("ReducedResolution")]
    pages = list(zip(group, kinds, strict=True))
    path = write_pages(tmp_path / "in.qptiff", [pages[0], (picture(9, 24, 32), said("Thumbnail")), *pages[1:]])
    assert levels(path) == sizes(group)
    assert len(all_pages(path)) == 1


def test_reduced_rows_in_strips_are_levels_where_they_say_so(tmp_path):
    """NewSubfileType 1, as OME-TIFF and others have it."""
    rows = rows_of(3, *HALVES)
    reduced = [(page, {"subfiletype": REDUCED}) for row in rows[1:] for page in row]
    path = write_pages(tmp_path / "in.tif", [*((page, {}) for page in rows[0]), *reduced])
    for channel in range(3):
        check_read(rows[2][channel][..., None], path, page=channel, level=2)


def test_rows_that_say_nothing_and_are_in_strips_are_images(tmp_path):
    rows = rows_of(2, *HALVES)
    path = write_pages(tmp_path / "in.tif", [(page, {}) for row in rows for page in row])
    assert len(all_pages(path)) == 6


@pytest.mark.parametrize("n", [2, 3])
def test_levels_behind_the_last_of_several_images_are_its_own(n, tmp_path):
    images, (last, *reduced) = [picture(10 * i) for i in range(1, n)], pyramid(0)
    path = write_pages(tmp_path / "in.tif", [(pixels, TILED) for pixels in (*images, last, *reduced)])
    assert [levels(path, page=page) for page in range(n)] == [*(n - 1) * [sizes([last])], sizes([last, *reduced])]


def test_a_row_that_is_cut_off_gives_nobody_levels(tmp_path):
    rows = rows_of(3, *HALVES)
    rows[2].pop()
    path = qptiff(tmp_path / "in.qptiff", rows, thumbnail=False)
    assert [levels(path, page=page) for page in range(3)] == 3 * [sizes([row[0] for row in rows[:2]])]


def test_damage_behind_the_channels_does_not_spoil_them(tmp_path):
    rows = rows_of(3, *HALVES)
    path = break_page(qptiff(tmp_path / "in.qptiff", rows, thumbnail=False), 5)
    check_read(rows[0][1][..., None], path, page=1)
    with pytest.raises(OptionError, match=r"level is 1; page 1 has 0 \(128 x 96\)"):
        open_image(path, page=1, level=1)


# --- What GDAL writes


def hole():
    mask = np.ones((HEIGHT, WIDTH), bool)
    mask[10:40, 20:90] = mask[70:, 100:] = mask[50:60:2, 3:40:2] = False
    return mask


@pytest.mark.parametrize(
    "options", [{}, {"tiled": False, "blockysize": 8, "blockxsize": None}, {"bigtiff": "yes"}, {"endianness": "big"}]
)
def test_the_mask_is_that_of_the_level(options, tmp_path):
    options = {name: value for name, value in options.items() if value is not None}
    path = write_gdal(tmp_path / "in.tif", picture(0), hole(), (2, 4), **GDAL_TILED | options)
    assert levels(path) == ["128 x 96", "64 x 48", "32 x 24"]
    with tifffile.TiffFile(path) as tiff:
        assert sorted(page.subfiletype for page in tiff.pages) == [0, REDUCED, REDUCED, MASK, REDUCED_MASK, REDUCED_MASK]
    for level in range(3):
        expected, mask = read_gdal(path, level)
        pixels, valid = read(path, level=level)
        np.testing.assert_array_equal(valid, mask)
        np.testing.assert_array_equal(pixels[valid], expected[mask])
        assert 0 < mask.mean() < 1
    assert len(all_pages(path)) == 1


@pytest.mark.parametrize("bits", [1, 8])
@pytest.mark.parametrize("layout", [{}, {"tile": (32, 16), "compression": "deflate"}])
def test_a_mask_of_any_bits_and_layout_masks_where_it_is_0(layout, bits, tmp_path):
    mask = hole() if bits == 1 else np.where(hole(), 200, 0).astype(np.uint8)
    pages = [(picture(0), TILED), (mask, layout | {"subfiletype": REDUCED})]
    path = with_tags(write_pages(tmp_path / "in.tif", pages), {254: MASK, 262: 4}, page=1)
    pixels, valid = read(path)
    np.testing.assert_array_equal(pixels, picture(0))
    np.testing.assert_array_equal(valid, hole())


def test_each_page_has_its_own_mask(tmp_path):
    masks, kind = [hole(), ~hole()], {"subfiletype": MASK, "photometric": "mask"}
    pages = [page for i, mask in enumerate(masks) for page in ((picture(i), TILED), (mask, kind))]
    path = write_pages(tmp_path / "in.tif", [*pages, (picture(2), TILED)])
    for i, mask in enumerate(masks):
        pixels, valid = read(path, page=2 * i)
        np.testing.assert_array_equal(pixels, picture(i))
        np.testing.assert_array_equal(valid, mask)
    check_read(picture(2), path, page=4)


def test_a_mask_of_another_size_masks_nothing(tmp_path):
    small = hole()[::2, ::2]
    check_read(
        picture(0), write_pages(tmp_path / "in.tif", [(picture(0), {}), (small, {"subfiletype": MASK, "photometric": "mask"})])
    )


def test_a_mask_that_shows_all_masks_nothing(tmp_path):
    shown = np.ones((HEIGHT, WIDTH), bool)
    check_read(
        picture(0), write_pages(tmp_path / "in.tif", [(picture(0), {}), (shown, {"subfiletype": MASK, "photometric": "mask"})])
    )


def test_masks_among_subifds_are_taken(tmp_path):
    image, half, _ = pyramid(0)
    mask = {"photometric": "mask", "metadata": None}
    with tifffile.TiffWriter(path := tmp_path / "in.tif") as tiff:
        tiff.write(image, photometric="rgb", subifds=3, metadata=None, **TILED)
        tiff.write(half, photometric="rgb", subfiletype=REDUCED, metadata=None, **TILED)
        tiff.write(hole(), subfiletype=MASK, **mask)
        tiff.write(hole()[::2, ::2], subfiletype=REDUCED_MASK, **mask)
    for level, shown in enumerate([hole(), hole()[::2, ::2]]):
        pixels, valid = read(path, level=level)
        np.testing.assert_array_equal(pixels, [image, half][level])
        np.testing.assert_array_equal(valid, shown)


@pytest.mark.parametrize("mask", [False, True])
def test_a_cloud_optimized_geotiff_has_the_levels_that_gdal_sees(mask, tmp_path):
    source = write_gdal(tmp_path / "plain.tif", picture(0, 192, 256), np.pad(hole(), ((0, 96), (0, 128))) if mask else None)
    with warnings.catch_warnings(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        rasterio.shutil.copy(source, path := tmp_path / "in.tif", driver="COG", blocksize=128, compress="deflate")
    assert levels(path) == ["256 x 192", "128 x 96"]
    for level in range(2):
        expected, shown = read_gdal(path, level)
        pixels, valid = read(path, level=level)
        np.testing.assert_array_equal(np.ones(pixels.shape[:2], bool) if valid is None else valid, shown)
        np.testing.assert_array_equal(pixels[shown], expected[shown])


# --- Damage


def break_page(path, number):
    """Overwrite the number of entries and the entries of a page."""
    with tifffile.TiffFile(path) as tiff:
        offset = [page.offset for page in tiff.pages][number]
    data = bytearray(path.read_bytes())
    data[offset : offset + 40] = b"\xff" * 40
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("n_pages", [2, 3])
def test_a_damaged_later_page_does_not_spoil_the_first(n_pages, tmp_path):
    path = break_page(write_pages(tmp_path / "in.tif", [(picture(i), TILED) for i in range(n_pages)]), n_pages - 1)
    check_read(picture(0), path)
    quantize(path, tmp_path / "out.tif")
    for options in [{"page": n_pages - 1}, {"all_pages": True}]:
        with pytest.raises(ImageReadError, match=r"in\.tif: not a sound TIFF"):
            quantize(path, tmp_path / "none.tif", **options)
    assert not (tmp_path / "none.tif").exists()


def test_a_damaged_later_page_does_not_spoil_one_asked_for(tmp_path):
    path = break_page(write_pages(tmp_path / "in.tif", [(picture(i), TILED) for i in range(3)]), 2)
    check_read(picture(0), path, page=0)
    check_read(picture(1), path, page=1)


def test_a_damaged_first_page_is_named(tmp_path):
    path = break_page(write_pages(tmp_path / "in.tif", [(picture(i), TILED) for i in range(2)]), 0)
    with pytest.raises(ImageReadError, match=r"in\.tif: "):
        open_image(path)


# --- Through the jobs


def test_a_level_is_quantized_as_its_pixels_are(tmp_path):
    path, group = svs(tmp_path / "in.svs")
    for level, pixels in enumerate(group):
        report = quantize(path, tmp_path / f"level{level}.tif", level=level)
        assert report.model == quantize(pixels, tmp_path / f"array{level}.tif").model
        np.testing.assert_array_equal(
            tifffile.imread(tmp_path / f"level{level}.tif"), tifffile.imread(tmp_path / f"array{level}.tif")
        )


def test_all_pages_are_fitted_as_one_and_written_as_a_stack(tmp_path):
    pictures = [picture(0), picture(10), picture(20, 50, 70)]
    path = write_pages(tmp_path / "in.tif", [(pixels, {}) for pixels in pictures])
    report = quantize(path, tmp_path / "stack.tif", all_pages=True)
    mixture, _ = streamgmm.fit_image(pictures, n_components=3, threads=1)
    np.testing.assert_allclose(report.model["means"], mixture.means, atol=1e-9)
    with tifffile.TiffFile(tmp_path / "stack.tif") as tiff:
        assert len(tiff.pages) == 3
        for page, pixels in zip(tiff.pages, pictures, strict=True):
            streamgmm.apply(mixture, pixels, tmp_path / "one.tif", overwrite=True, threads=1)
            np.testing.assert_array_equal(page.asarray(), tifffile.imread(tmp_path / "one.tif"))
            np.testing.assert_array_equal(page.colormap, tiff.pages.first.colormap)


def test_one_masked_page_of_a_stack_gives_all_pages_nodata(tmp_path):
    mask = {"subfiletype": MASK, "photometric": "mask"}
    path = write_pages(tmp_path / "in.tif", [(picture(0), {}), (picture(10), {}), (hole(), mask)])
    assert quantize(path, tmp_path / "out.tif", all_pages=True).nodata == 3
    with tifffile.TiffFile(tmp_path / "out.tif") as tiff:
        assert [page.tags.valueof(42113) for page in tiff.pages] == ["3", "3"]
        assert (tiff.pages[0].asarray() < 3).all()
        np.testing.assert_array_equal(tiff.pages[1].asarray() != 3, hole())


# --- Of the collection


@pytest.mark.collection
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gdal__byte_with_ovr.tif", ["20 x 20", "10 x 10", "5 x 5"]),
        ("gdal__byte_ovr_jpeg_tablesmode2.tif", ["20 x 20", "10 x 10"]),
        ("pillow__tiff_strip_planar_raw_with_overviews.tif", ["278 x 374", "139 x 187", "70 x 94", "35 x 47"]),
    ],
)
def test_levels_of_the_collection_are_those_gdal_reads(name, expected):
    path = shared_file(f"variants/{name}")
    found = levels(path)
    assert found[: len(expected)] == expected
    for level in range(len(found)):
        pixels, _ = read_gdal(path, level)
        np.testing.assert_allclose(read(path, level=level)[0].astype(int), pixels.astype(int), atol=1)


@pytest.mark.collection
@pytest.mark.parametrize("bits", [1, 8])
def test_masks_of_the_collection_are_those_gdal_reads(bits):
    path = shared_file(f"variants/gdal__test3_with_mask_{bits}bit.tif")
    expected, mask = read_gdal(path)
    pixels, valid = read(path)
    np.testing.assert_array_equal(valid, mask)
    np.testing.assert_array_equal(pixels, expected)


def test_a_page_of_16_bits_that_is_called_a_mask_is_an_image(tmp_path):
    """Some scanners write infrared so."""
    pixels = picture(0)
    infrared = smooth(HEIGHT, WIDTH, 1, np.uint16)[:, :, 0]
    with tifffile.TiffWriter(tmp_path / "scan.tif") as writer:
        writer.write(pixels, photometric="rgb", metadata=None)
        writer.write(infrared, photometric="minisblack", subfiletype=1, metadata=None)
    with_tags(tmp_path / "scan.tif", {254: 4}, page=1)
    assert read(tmp_path / "scan.tif")[1] is None
    np.testing.assert_array_equal(read(tmp_path / "scan.tif", page=1)[0][:, :, 0], infrared)


def test_a_page_of_1_bit_that_fits_no_image_is_no_mask(tmp_path):
    with tifffile.TiffWriter(tmp_path / "scan.tif") as writer:
        writer.write(picture(0), photometric="rgb", metadata=None)
        writer.write(np.zeros((2 * HEIGHT, WIDTH), bool), photometric="minisblack", subfiletype=4, metadata=None)
        writer.write(picture(1), photometric="rgb", metadata=None)
    assert read(tmp_path / "scan.tif")[1] is None
    np.testing.assert_array_equal(read(tmp_path / "scan.tif", page=2)[0], picture(1))


# --- Slides behind photographs of the glass ---

SCN = """<?xml version="1.0"?>
<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01"><collection name="c" sizeX="26564529" sizeY="76734666">
<image name="macro"><pixels sizeX="101" sizeY="290"><dimension sizeX="101" sizeY="290" r="0" ifd="0"/></pixels>
<view sizeX="26564529" sizeY="76734666" offsetX="0" offsetY="0"/></image>
<image name="main"><pixels sizeX="700" sizeY="1100"><dimension sizeX="700" sizeY="1100" r="0" ifd="1"/>
<dimension sizeX="175" sizeY="275" r="1" ifd="2"/></pixels>
<view sizeX="1356000" sizeY="2111000" offsetX="100" offsetY="100"/></image></collection></scn>"""


def scn(path, slide):
    options = {"compression": "deflate", "photometric": "rgb", "tile": (256, 256), "metadata": None}
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        writer.write(smooth(290, 101, seed=1), description=SCN, **options)
        writer.write(slide, **options)
        writer.write(slide[::4, ::4], **options)


def bif(path, slide):
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        writer.write(smooth(290, 101, seed=1), photometric="rgb", description="Label_Image", metadata=None)
        writer.write(smooth(290, 101, 1)[..., 0], photometric="minisblack", description="Probability_Image", metadata=None)
        for level in range(2):
            options = {"compression": "deflate", "photometric": "rgb", "tile": (256, 256), "metadata": None}
            writer.write(
                slide[:: 4**level, :: 4**level], description=f"level={level} mag={20 / 4**level:g} quality=95", **options
            )


@pytest.mark.parametrize(("write_slide", "number"), [(scn, 1), (bif, 2)])
def test_the_slide_is_taken_and_not_the_photograph_before_it(write_slide, number, tmp_path, caplog):
    slide = smooth(1100, 700, seed=2)
    write_slide(path := tmp_path / "slide.tif", slide)
    with closing(open_image(path)) as image:
        assert (image.info()["page"], image.info()["levels"]) == (number, ["700 x 1100", "175 x 275"])
    np.testing.assert_array_equal(read(path)[0], slide)
    np.testing.assert_array_equal(read(path, level=1)[0], slide[::4, ::4])
    np.testing.assert_array_equal(read(path, page=0)[0], smooth(290, 101, seed=1))
    assert caplog.messages == []


@pytest.mark.parametrize("factor", [2, 3])
def test_a_page_that_is_far_larger_than_the_one_that_is_taken_is_told_of(factor, tmp_path, caplog):
    path = tmp_path / "pages.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(picture(0), photometric="rgb", metadata=None)
        writer.write(picture(1, factor * HEIGHT, factor * WIDTH), photometric="rgb", metadata=None)
    np.testing.assert_array_equal(read(path)[0], picture(0))
    told = f"{path}: page 0 is taken; page 1 has far more pixels: take it with --page 1"
    assert caplog.messages == ([told] if factor == 3 else [])
    caplog.clear()
    read(path, page=0)
    assert caplog.messages == []
