"""Real files of all kinds: each ends in a right result, or in one clear line."""

import csv
import io
import re
import warnings
from contextlib import closing

import imagecodecs
import numpy as np
import pytest
import rasterio
import tifffile
from PIL import Image, ImageCms

from streamgmm.cli import main
from streamgmm.errors import StreamGMMError
from streamgmm.image.open import open_image

from .conftest import SHARED
from .images import read

MANIFEST = SHARED / "MANIFEST.tsv"
BUDGET = 256 << 20
# Pixels up to which a file is compared as a whole: tifffile takes half a minute for a sparse gigapixel.
COMPARED = 1 << 24


def files():
    """Return the names of the corpus with their number of pixels."""
    if not MANIFEST.exists():
        return {}
    with open(MANIFEST, newline="", encoding="utf-8") as manifest:
        rows = list(csv.DictReader(manifest, delimiter="\t"))
    sizes = (re.fullmatch(r"(\d+)x(\d+)", row["width_x_height"]) for row in rows)
    return {row["file"]: int(size[1]) * int(size[2]) if size else 0 for row, size in zip(rows, sizes, strict=True)}


FILES = files()
pytestmark = pytest.mark.collection


def exit_code(arguments):
    try:
        main(arguments)
    except SystemExit as left:
        return left.code
    return 0


# Sound files that are refused, and what for. All others that are not hostile are read.
REFUSED = {
    "scientific/gdal__cfloat32.tif": "samples are complex floats of 64 bits",
    "scientific/gdal__cfloat64.tif": "samples are complex floats of 128 bits",
    "scientific/gdal__cint16.tif": "samples are complex integers of 32 bits",
    "scientific/gdal__int24.tif": "samples are signed of 24 bits",
    "scientific/riocogeo__slc.tif": "samples are complex integers of 32 bits",
    "scientific/rioxarray__cint16.tif": "samples are complex integers of 32 bits",
    "variants/gdal__cint32_big_endian.tif": "samples are complex integers of 64 bits",
    "variants/gdal__next_literalrow.tif": "compression NEXT is not supported",
    "variants/gdal__thunder.tif": "compression THUNDERSCAN is not supported",
    "variants/libgd__logluv-3c-16b.tiff": "compression SGILOG is not supported",
    "variants/libgd__off_luv32.tif": "compression SGILOG is not supported",
    "variants/libgd__ojpeg_chewey_subsamp21_multi_strip.tiff": "old-style JPEG",
    "variants/libgd__ojpeg_zackthecat_subsamp22_single_strip.tiff": "old-style JPEG",
    "variants/libgd__smallliz.tif": "old-style JPEG",
    "variants/libgd__text.tif": "compression THUNDERSCAN is not supported",
    "variants/tifflibrary__NeXT.tif": "compression NEXT is not supported",
    "variants/tika__testDNG.dng": "colors are CFA",
    "variants/tika__testNEF.nef": "compression NIKON_NEF is not supported",
    "variants/twelvemonkeys__WangJPEG.tif": "old-style JPEG",
}
# These can be opened, and are refused when they are read.
REFUSED |= {
    f"variants/libtiffnet__tiger-rgb-float-{layout}-24.tif_converted_lzw_3.tif": "of a kind that is not supported "
    for layout in ("strip-contig", "strip-planar", "tile-contig", "tile-planar")
}
# Files in each folder of the collection, and how many of them can be opened.
COUNTS = {
    "photos": (19, 19),
    "geo": (34, 34),
    "wsi": (4, 4),
    "scientific": (38, 32),
    "variants": (414, 401),
    "hostile": (203, 76),
}


def is_hostile(name):
    return name.startswith("hostile/")


def is_opened(name):
    try:
        with closing(open_image(SHARED / name, budget=BUDGET)):
            return True
    except StreamGMMError:
        return False


def test_so_many_files_of_each_folder_are_opened():
    opened = {folder: [is_opened(name) for name in FILES if name.startswith(f"{folder}/")] for folder in COUNTS}
    assert {folder: (len(files), sum(files)) for folder, files in opened.items()} == COUNTS
    assert sum(map(len, opened.values())) == len(FILES)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name.startswith("variants") else ()) for name in FILES]
)
def test_a_file_is_quantized_or_refused_in_one_line(name, tmp_path, capfd):
    output = tmp_path / "out.tif"
    code = exit_code(["quantize", str(SHARED / name), str(output), "-k", "4", "--max-iter", "5", "--tol", "0.01"])
    printed = capfd.readouterr()
    assert printed.out == ""
    if not is_hostile(name):  # what becomes of those that are is in test_hostile.py
        assert code == (3 if name in REFUSED else 0), printed.err
    if code == 0:
        assert tifffile.imread(output).max() <= 4  # 4 where a pixel is masked
    else:
        assert code in (3, 5)
        lines = [line for line in printed.err.splitlines() if line.startswith("streamgmm: ")]
        assert len(lines) == 1
        assert f"{name}: {REFUSED.get(name, '')}" in lines[0]
        assert "Traceback" not in printed.err
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [name for name in FILES if not is_hostile(name)])
def test_a_file_describes_itself_or_is_refused(name):
    if name in REFUSED:
        with pytest.raises(StreamGMMError, match=REFUSED[name]):
            read(SHARED / name, budget=BUDGET)
        return
    with closing(open_image(SHARED / name, budget=BUDGET)) as image:
        height, width, bands = image.shape
        described = image.info()
    assert (described["height"], described["width"], described["bands"]) == (height, width, bands)
    assert described["dtype"] == image.dtype.name


MINISWHITE, PALETTE, SEPARATED, YCBCR, CIELAB = 0, 3, 5, 6, 8
PHOTOMETRIC, COLOR_MAP, PROFILE, NODATA = 262, 320, 34675, 42113
TIFF = (b"II", b"MM")
# Levels of 255 by which conversions of Pillow and of libtiff, which round to 8 bits before and between, may differ.
CLOSE, EXACT = 3, 1e-6
# What neither tifffile, Pillow nor rasterio decodes.
NO_ORACLE = {"variants/gdal__ycbcr_24_lzw.tif": "a chroma sample to 2 x 4 pixels"}
# libtiff does not decode the last block of a strip that is no whole number of blocks high.
LIBTIFF_LOSES_A_CORNER = "variants/libtiffnet__flower-ycbcr44-contig-08.tif"


def stored(page):
    """The samples of a page as they are stored, shape (height, width, samples); YCbCr in JPEG comes as RGB."""
    planes, _, height, width, samples = page.shaped
    pixels = page.asarray(squeeze=False).reshape(planes, height, width, samples)
    return np.concatenate(list(pixels), axis=-1)


def spread(samples, bits):
    """Samples over the whole range of uint8 or uint16, or as floats."""
    dtype = samples.dtype
    if dtype.kind == "f":
        return samples.astype(np.float64 if dtype.itemsize == 8 else np.float32)
    if dtype.kind != "b" and dtype.itemsize > 2:
        return samples.astype(np.float64)
    unsigned = np.uint8 if dtype.itemsize == 1 else np.uint16
    if dtype.kind == "i":
        return (samples.astype(int) - np.iinfo(dtype).min).astype(unsigned)
    return np.rint(samples / (2**bits - 1) * np.iinfo(unsigned).max).astype(unsigned)


def top_of(samples):
    """The sample value of full light, ink or opacity."""
    return 1 if samples.dtype.kind == "f" else np.iinfo(samples.dtype).max


def by_definition(page):
    """Colors of a page and how close they must be met, shape (height, width, bands), and alpha where there is one, or None."""
    samples = stored(page)
    full = spread(samples, page.bitspersample if isinstance(page.bitspersample, int) else 8)
    kinds = [int(kind) for kind in page.extrasamples]
    colors, extra = np.split(full, [full.shape[-1] - len(kinds)], axis=-1)
    top, close, alpha = top_of(full), EXACT, None
    number = next((i for i, kind in enumerate(kinds) if kind in (1, 2)), None)
    if number is not None:
        alpha, extra = extra[..., number], np.delete(extra, number, axis=-1)
        if kinds[number] == 1:  # associated: the samples are multiplied with it
            straight = np.minimum(colors.astype(float) * top / np.maximum(alpha, 1e-30)[..., None], top)
            colors, close = (np.rint(straight) if top > 1 else straight).astype(full.dtype), 1 + EXACT
    if PHOTOMETRIC not in page.tags:
        pass  # bands of no color
    elif page.photometric == MINISWHITE:
        colors = -colors if full.dtype.kind == "f" else top - colors
    elif page.photometric == PALETTE:
        table = page.colormap.T
        colors = (table if table.max() < 256 else table >> 8)[samples[..., 0].astype(int)].astype(np.uint8)
    elif page.photometric in (SEPARATED, CIELAB):
        eight_bits = np.rint(colors / top * 255).astype(np.uint8)
        mode = "CMYK" if page.photometric == SEPARATED else "LAB"
        image = Image.frombytes(mode, eight_bits.shape[1::-1], np.ascontiguousarray(eight_bits).tobytes())
        colors, close = in_srgb(image, page.tags.valueof(PROFILE)) / 255 * top, CLOSE * top / 255
        colors = colors.astype(full.dtype)
    return np.concatenate([colors, extra], axis=-1) if extra.shape[-1] else colors, close, alpha


def in_srgb(image, profile):
    """A Pillow image in sRGB, by its profile where it has one."""
    if image.mode == "LAB":
        source = ImageCms.createProfile("LAB")
    elif profile is not None:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    else:
        return np.asarray(image.convert("RGB"))
    return np.asarray(ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"))


def valid_by_definition(tiff, page, alpha):
    """Where a pixel is not masked, shape (height, width)."""
    height, width = page.imagelength, page.imagewidth
    valid = np.ones((height, width), bool) if alpha is None else alpha != 0
    for other in tiff.pages[1:]:
        if other.is_mask and (other.imagelength, other.imagewidth) == (height, width):
            shown = other.asarray().reshape(height, width, -1) != 0
            valid &= shown.any(axis=-1)  # GDAL may write a mask for each band
    if page.is_tiled:
        for index in np.flatnonzero(np.array(page.databytecounts) == 0):  # absent
            row, column = divmod(int(index), -(-width // page.tilewidth))
            top, left = row * page.tilelength, column * page.tilewidth
            valid[top : top + page.tilelength, left : left + page.tilewidth] = False
    return valid


def not_nodata(page, samples):
    """Where some sample of a pixel is not what GDAL_NODATA says, shape (height, width)."""
    value = float(page.tags[NODATA].value)
    with np.errstate(over="ignore"):  # to float32
        nodata = np.array(value).astype(samples.dtype if samples.dtype.kind == "f" else float)
    return ~(np.isnan(samples) if np.isnan(value) else samples == nodata).all(axis=-1)


def by_libtiff(name):
    """YCbCr as libtiff makes it RGB for rasterio, shape (height, width, 3)."""
    with warnings.catch_warnings(action="ignore"), rasterio.open(SHARED / name) as image:
        return np.moveaxis(image.read(), 0, -1)


def by_planes(page):
    """YCbCr of three planes of one strip each, chroma repeated, as Pillow makes it RGB, shape (height, width, 3)."""
    across, down = page.tags.valueof(530)
    low_high = np.reshape(page.tags.valueof(532)[::2], (3, 2))  # over 1 in all of these files
    assert set(page.tags.valueof(532)[1::2]) == {1}
    planes = []
    for i, (offset, size) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        page.parent.filehandle.seek(offset)
        data = page.parent.filehandle.read(size)
        data = data if page.compression == 1 else imagecodecs.lzw_decode(data)
        shape = (page.imagelength // down, page.imagewidth // across) if i else (page.imagelength, page.imagewidth)
        plane = np.frombuffer(data, np.uint8)[: shape[0] * shape[1]].reshape(shape)
        plane = plane if page.predictor == 1 else np.cumsum(plane, axis=1, dtype=np.uint8)
        (low, high), span, middle = low_high[i], (127 if i else 255), (128 if i else 0)
        plane = np.rint((plane - float(low)) * span / (high - low) + middle).clip(0, 255).astype(np.uint8)
        planes.append(plane.repeat(down, axis=0).repeat(across, axis=1) if i else plane)
    image = Image.frombytes("YCbCr", planes[0].shape[::-1], np.stack(planes, axis=-1).tobytes())
    return np.asarray(image.convert("RGB"))


def expected(name, bands):
    """Colors a file must be read as, how close they must be met, and where they are valid; colors None without an oracle."""
    with open(SHARED / name, "rb") as file:
        if file.read(2) not in TIFF:
            return by_pillow(name, bands), EXACT, None
    with tifffile.TiffFile(SHARED / name) as tiff, warnings.catch_warnings(action="ignore"):
        page, alpha = tiff.pages.first, None
        decoded = page.compression in tifffile.TIFF.IMAGE_COMPRESSIONS or page.compression == 7
        if name in NO_ORACLE:
            colors, close = None, EXACT
        elif page.photometric == YCBCR and not decoded:
            subsampled = page.planarconfig == 2 and page.tags.valueof(530) != (1, 1)
            colors, close = by_planes(page) if subsampled else by_libtiff(name), CLOSE
        elif page.planarconfig == 2 and page.compression == 7:  # tifffile takes a plane for a whole picture
            colors, close = by_libtiff(name), EXACT
        else:
            colors, close, alpha = by_definition(page)
        valid = valid_by_definition(tiff, page, alpha)
        if NODATA in page.tags and colors is not None:
            valid &= not_nodata(page, stored(page))
    if colors is not None and colors.dtype.kind == "f":
        valid &= np.isfinite(colors).all(axis=-1)
    return colors, close, valid


def by_pillow(name, bands):
    """A PNG or JPEG as Pillow reads it, without alpha, shape (height, width, bands)."""
    with Image.open(SHARED / name) as image:
        mode = "I;16" if image.mode == "I;16" else {1: "L", 3: "RGB"}[bands]
        return np.asarray(image.convert(mode)).reshape(image.height, image.width, bands)


@pytest.mark.parametrize(
    "name",
    [name for name, pixels in FILES.items() if not is_hostile(name) and name not in REFUSED and pixels <= COMPARED],
)
def test_what_is_read_is_what_the_samples_stand_for(name):
    pixels, valid = read(SHARED / name, budget=BUDGET)
    colors, close, expected_valid = expected(name, pixels.shape[-1])
    if expected_valid is not None:
        np.testing.assert_array_equal(np.ones(pixels.shape[:2], bool) if valid is None else valid, expected_valid)
    if colors is None:
        return
    if name == LIBTIFF_LOSES_A_CORNER:
        pixels, colors = pixels[:40], colors[:40]
    assert (pixels.shape, pixels.dtype) == (colors.shape, colors.dtype)
    shown = np.ones(pixels.shape[:2], bool) if valid is None else valid[: len(pixels)]
    np.testing.assert_allclose(pixels[shown].astype(float), colors[shown].astype(float), rtol=1e-6, atol=close)


# Where GDAL's mask is another.
GDAL_SEES_OTHERWISE = {
    "wsi/algart__jpeg_rgb_tiled_sparse_philips_like.tiff": "absent tiles are black to it",
    "scientific/gdal__nan32.tif": "NaN that no nodata declares is a value to it",
    "scientific/gdal__nan64.tif": "NaN that no nodata declares is a value to it",
    "variants/gdal__stefan_full_greyalpha_uint64_LZW_predictor_2.tif": "alpha of 64 bits is no alpha to it",
    "variants/libgd__cmyk-4c-8b.tiff": "it drops the alpha of CMYK",
    "variants/libtiffnet__cmyka-tile.tif": "it drops the alpha of CMYK",
}


def masked_files():
    """Names of the geographic files, and of others of which samples may mask pixels."""
    for name, pixels in FILES.items():
        if pixels <= COMPARED and not is_hostile(name) and name not in REFUSED:
            with closing(open_image(SHARED / name, budget=BUDGET)) as image:
                if name.startswith("geo") or image.maskable:
                    yield name


@pytest.mark.parametrize("name", sorted(masked_files() if FILES else ()))
def test_what_is_masked_is_what_gdal_masks(name):
    try:
        with warnings.catch_warnings(action="ignore"), rasterio.open(SHARED / name) as image:
            mask = image.dataset_mask() != 0
    except rasterio.errors.RasterioIOError:
        pytest.skip("GDAL does not read it")
    valid = read(SHARED / name, budget=BUDGET).valid
    valid = np.ones(mask.shape, bool) if valid is None else valid
    assert np.array_equal(valid, mask) == (name not in GDAL_SEES_OTHERWISE)
