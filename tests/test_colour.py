"""Whatever samples a picture is stored in, its colors and its mask are those the tags describe."""

import io
import re
import warnings
import zlib
from contextlib import closing
from functools import partial

import numpy as np
import pytest
import pyvips
import rasterio
import tifffile
from PIL import Image, ImageCms

import streamgmm
from streamgmm.errors import OptionError, UnsupportedImageError
from streamgmm.image.open import open_image
from streamgmm.image.tiles import Window

from .conftest import shared_file
from .images import smooth, write_tiff

HEIGHT, WIDTH = 37, 43
INSIDE = Window(5, 9, 21, 30)
FULL = {1: 255, 2: 65535}

write = partial(tifffile.imwrite, metadata=None)
quantize = partial(streamgmm.quantize, threads=1, n_components=4)
fit_image = partial(streamgmm.fit_image, threads=1, n_components=4)


def read(source, **options):
    """Read a whole image, and see that a window is a part of it."""
    with closing(open_image(source, **options)) as image:
        pixels, valid = image.read(Window(0, 0, *image.shape[:2]))
        assert (pixels.shape, pixels.dtype) == (image.shape, image.dtype)
        assert valid is None or image.maskable
        if min(image.shape[:2]) >= HEIGHT:
            part, shown = image.read(INSIDE)
            np.testing.assert_array_equal(part, pixels[INSIDE.slices])
            expected = np.ones(pixels.shape[:2], bool) if valid is None else valid
            np.testing.assert_array_equal(np.ones(part.shape[:2], bool) if shown is None else shown, expected[INSIDE.slices])
        return Read(np.array(pixels), valid)


def pixels_of(source, **options):
    """Read a whole image, of which nothing is masked."""
    pixels, valid = read(source, **options)
    assert valid is None
    return pixels


def noise(bands, dtype, seed=0):
    """Samples over the whole range of a type, or floats about 0."""
    generator, dtype = np.random.default_rng([seed, bands]), np.dtype(dtype)
    if dtype.kind == "f":
        return generator.normal(0, 100, (HEIGHT, WIDTH, bands)).astype(dtype)
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    pixels = generator.integers(low, high, (HEIGHT, WIDTH, bands), dtype, endpoint=True)
    pixels[0, :2] = [[low], [high]]
    return pixels


def spread(pixels):
    """Integers as they are promised: shifted to unsigned up to 16 bits, float64 where they are wider."""
    if pixels.dtype.itemsize > 2:
        return pixels.astype(np.float64)
    bits = 8 * pixels.dtype.itemsize
    return (pixels.astype(np.int64) - np.iinfo(pixels.dtype).min).astype(f"u{bits // 8}")


def write_gdal(path, pixels, nodata=None, colormap=None, **options):
    """Write pixels (height, width, bands) with GDAL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        height, width, bands = pixels.shape
        profile = {"driver": "GTiff", "height": height, "width": width, "count": bands, "dtype": pixels.dtype, "nodata": nodata}
        with rasterio.open(path, "w", **profile | options) as file:
            if colormap:
                file.write_colormap(1, colormap)
            file.write(np.moveaxis(pixels, -1, 0))
    return path


def read_gdal(path):
    """Pixels (height, width, bands) as GDAL reads them, and its mask."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path) as file:
            return np.moveaxis(file.read(), 0, -1), file.dataset_mask() != 0


def with_tag(path, code, value):
    """Overwrite the value of a tag."""
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages.first.tags[code].overwrite(value)
    return path


# --- Samples

INTEGERS = [f"{sign}{size}" for sign in "ui" for size in (1, 2, 4, 8)]
LAYOUTS = {"tiled": {"tile": (16, 32)}, "striped": {"rowsperstrip": 7}}
PACKED = [*range(1, 8), *range(9, 16), *range(17, 32)]


@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("codec", [{}, {"compression": "deflate"}, {"compression": "lzw", "predictor": 2}])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_take_the_whole_range(dtype, layout, codec, byteorder, planarconfig, tmp_path):
    pixels = noise(3, dtype)
    path = write_tiff(
        tmp_path / "in.tif", pixels, byteorder=byteorder, planarconfig=planarconfig, bigtiff=True, **LAYOUTS[layout], **codec
    )
    np.testing.assert_array_equal(colors := pixels_of(path), spread(pixels))
    assert colors.dtype.isnative
    np.testing.assert_array_equal(pixels_of(pixels.astype(pixels.dtype.newbyteorder(byteorder))), colors)


@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("codec", [{}, {"compression": "deflate"}, {"compression": "zstd", "predictor": 3}])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("dtype", "becomes"), [("f2", "f4"), ("f4", "f4"), ("f8", "f8")])
def test_floats_are_as_stored(dtype, becomes, layout, codec, byteorder, planarconfig, tmp_path):
    pixels = noise(3, dtype)
    path = write_tiff(tmp_path / "in.tif", pixels, byteorder=byteorder, planarconfig=planarconfig, **LAYOUTS[layout], **codec)
    np.testing.assert_array_equal(colors := pixels_of(path), pixels)
    assert colors.dtype == becomes


def test_floats_of_24_bits_lose_nothing(tmp_path):
    codes = np.random.default_rng(0).integers(0, 1 << 24, (HEIGHT, WIDTH, 1), "u4")
    codes &= ~np.uint32(0x400000)  # not the exponent of infinity
    swapped = (codes & 0xFF) << 16 | codes & 0xFF00 | codes >> 16  # GDAL packs bits from the highest; floats have a byte order
    path = with_tag(write_gdal(tmp_path / "in.tif", swapped, nbits=24), 339, 3)
    sign, exponent, fraction = codes >> 23, (codes >> 16 & 127).astype(int), codes & 0xFFFF
    values = np.where(exponent > 0, 1 + fraction / 65536, fraction / 32768) * 2.0 ** (exponent - 63)
    colors = pixels_of(path)
    assert colors.dtype == np.float32
    np.testing.assert_array_equal(colors, np.where(sign, -values, values))
    np.testing.assert_array_equal(colors, read_gdal(path)[0])


@pytest.mark.parametrize("interleave", ["pixel", "band"])
@pytest.mark.parametrize("options", [{}, {"tiled": True, "blockxsize": 16, "blockysize": 32, "endianness": "big"}])
@pytest.mark.parametrize("bits", PACKED)
def test_packed_integers_are_spread_from_the_maximum_of_their_bits(bits, options, interleave, tmp_path):
    most = (1 << bits) - 1
    pixels = np.random.default_rng(bits).integers(0, most, (HEIGHT, WIDTH, 3), endpoint=True)
    pixels[0, :2] = [[0], [most]]
    pixels = pixels.astype("u1" if bits < 8 else "u2" if bits < 16 else "u4")
    if bits == 24 and options:  # of these GDAL swaps the bytes
        options = options | {"endianness": "little"}
    path = write_gdal(tmp_path / "in.tif", pixels, nbits=bits, photometric="rgb", interleave=interleave, **options)
    colors = pixels_of(path)
    if bits > 16:
        np.testing.assert_array_equal(colors, pixels.astype(np.float64))
    else:
        full = FULL[pixels.dtype.itemsize]
        np.testing.assert_array_equal(colors, np.rint(pixels * (full / most)))
        assert (colors[0, 0] == 0).all()
        assert (colors[0, 1] == full).all()


@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bands", [1, 2, 3, 4, 5, 8, 31, 32])
def test_all_bands_that_are_not_alpha_are_taken(bands, layout, planarconfig, tmp_path):
    pixels = noise(bands, np.uint16)
    kind = {"photometric": "minisblack", "extrasamples": ["unspecified"] * (bands - 1)}
    path = write_tiff(tmp_path / "in.tif", pixels, planarconfig=planarconfig, **kind, **LAYOUTS[layout])
    np.testing.assert_array_equal(pixels_of(path), pixels)
    np.testing.assert_array_equal(pixels_of(pixels), pixels)


@pytest.mark.parametrize("bands", [(1,), (3, 1), (5, 4, 3, 2, 1), (2, 2)])
def test_bands_are_taken_in_the_order_asked_for(bands, tmp_path):
    pixels = noise(5, np.uint8)
    path = write_tiff(tmp_path / "in.tif", pixels, extrasamples=["unspecified", "unspecified"], compression="deflate")
    for source in (path, pixels):
        np.testing.assert_array_equal(pixels_of(source, bands=bands), pixels[..., [band - 1 for band in bands]])


@pytest.mark.parametrize("bands", [(0,), (4,), (1, -1), ()])
def test_bands_that_are_not_there_are_refused(bands, tmp_path):
    path = write_tiff(tmp_path / "in.tif", noise(3, np.uint8))
    for source in (path, noise(3, np.uint8)):
        with pytest.raises(OptionError, match=r"bands are .*; choose from 1 to 3"):
            open_image(source, bands=bands)


# --- The range of floats and wide integers


def in_sixteenths(value, dtype):
    """A smooth image of a type, whose samples a power of two times ``value`` moves without rounding."""
    return (smooth(HEIGHT, WIDTH, dtype=np.uint16) // 16).astype(dtype) * dtype(value)


def labels_and_palette(path):
    with tifffile.TiffFile(path) as tiff:
        return tiff.pages.first.asarray(), tiff.pages.first.colormap


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [(np.float32, 2.0**-20), (np.float64, 2.0**90), (np.int32, -(2**10)), (np.uint32, 2**20), (np.int64, 2**50)],
)
def test_floats_and_wide_integers_are_scaled_by_their_range(dtype, scale, tmp_path):
    pixels = in_sixteenths(scale, dtype)
    quantize(in_sixteenths(1 if scale > 0 else -1, np.float32), tmp_path / "plain.tif")
    quantize(write_tiff(tmp_path / "in.tif", pixels), tmp_path / "scaled.tif")
    for scaled, plain in zip(*(labels_and_palette(tmp_path / f"{name}.tif") for name in ("scaled", "plain")), strict=True):
        np.testing.assert_array_equal(scaled, plain)
    mixture, _ = fit_image(pixels)
    assert mixture.space.range == (pixels.min(), pixels.max())


def test_a_model_of_floats_keeps_its_range_for_other_images(tmp_path):
    pixels = smooth(HEIGHT, WIDTH, dtype=np.uint16).astype(np.float32)
    corner = pixels[10:30, 5:25]
    assert (corner.min(), corner.max()) != (pixels.min(), pixels.max())
    mixture, _ = fit_image(pixels)
    (model := tmp_path / "model.json").write_text(mixture.to_json(), encoding="utf-8")
    streamgmm.apply(model, pixels, tmp_path / "whole.tif", threads=1)
    streamgmm.apply(model, corner, tmp_path / "corner.tif", threads=1)
    np.testing.assert_array_equal(
        tifffile.imread(tmp_path / "corner.tif"), tifffile.imread(tmp_path / "whole.tif")[10:30, 5:25]
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_what_is_not_finite_is_masked(dtype, bad, tmp_path):
    pixels = noise(3, dtype)
    pixels[3, 4, 1] = pixels[20, 20, 0] = pixels[20, 20, 2] = bad
    path = write_tiff(tmp_path / "in.tif", pixels, compression="deflate")
    for source in (path, pixels):
        colors, valid = read(source)
        np.testing.assert_array_equal(colors, pixels)
        np.testing.assert_array_equal(np.argwhere(~valid), [[3, 4], [20, 20]])
        assert (read(source, bands=(2,)).valid == np.isfinite(pixels[..., 1])).all()


# --- Photometric interpretations


def miniswhite(pixels):
    return -pixels if pixels.dtype.kind == "f" else np.iinfo(spread(pixels).dtype).max - spread(pixels)


@pytest.mark.parametrize("codec", [{}, {"compression": "deflate"}])
@pytest.mark.parametrize("dtype", ["u1", "u2", "i1", "i2", "f4", "f8"])
def test_miniswhite_is_inverted(dtype, codec, tmp_path):
    pixels = noise(1, dtype)
    write(path := tmp_path / "in.tif", pixels[..., 0], photometric="miniswhite", **codec)
    np.testing.assert_array_equal(pixels_of(path), miniswhite(pixels))


@pytest.mark.parametrize("dtype", ["u4", "i8"])
def test_miniswhite_of_wide_integers_gives_the_colors_of_its_negative(dtype, tmp_path):
    pixels = in_sixteenths(1024, np.dtype(dtype).type)[..., :1]
    write(path := tmp_path / "in.tif", pixels[..., 0], photometric="miniswhite")
    quantize(path, tmp_path / "white.tif")
    quantize(-pixels.astype(np.float64), tmp_path / "black.tif")
    for white, black in zip(*(labels_and_palette(tmp_path / f"{name}.tif") for name in ("white", "black")), strict=True):
        np.testing.assert_array_equal(white, black)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_miniswhite_is_as_pillow_shows_it(bits, tmp_path):
    pixels = (noise(1, np.uint8) >> (8 - bits)) & ((1 << bits) - 1)
    path = write_gdal(tmp_path / "in.tif", pixels, photometric="miniswhite", nbits=bits)
    with Image.open(path) as image:
        expected = np.asarray(image.convert("L"))
    np.testing.assert_array_equal(pixels_of(path)[..., 0], expected)


def color_table(length, seed=0):
    table = np.random.default_rng([seed, length]).integers(0, 256, (length, 3))
    table[0], table[-1] = 0, 255
    return table


@pytest.mark.parametrize("codec", [{}, {"compression": "lzw"}, {"compression": "deflate", "tile": (16, 16)}])
@pytest.mark.parametrize("times", [257, 256, 1])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_palette_is_expanded_whatever_its_scale(dtype, times, codec, tmp_path):
    indices, table = noise(1, dtype)[..., 0], color_table(np.iinfo(dtype).max + 1)
    write(path := tmp_path / "in.tif", indices, photometric="palette", colormap=(table.T * times).astype(np.uint16), **codec)
    np.testing.assert_array_equal(pixels_of(path), table[indices].astype(np.uint8))
    if times > 1 and dtype == np.uint8:
        with Image.open(path) as image:
            np.testing.assert_array_equal(pixels_of(path), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_packed_palette_is_expanded(bits, tmp_path):
    table = color_table(1 << bits)
    indices = noise(1, np.uint8) >> (8 - bits)
    path = write_gdal(
        tmp_path / "in.tif", indices, nbits=bits, photometric="palette", colormap=dict(enumerate(map(tuple, table.tolist())))
    )
    np.testing.assert_array_equal(pixels_of(path), table[indices[..., 0]].astype(np.uint8))


def test_a_palette_with_alpha_is_expanded_and_masked(tmp_path):
    samples, table = noise(2, np.uint8), color_table(256)
    samples[..., 1] = np.where(samples[..., 1] < 50, 0, samples[..., 1])
    colormap = dict(enumerate(map(tuple, table.tolist())))
    path = write_gdal(tmp_path / "in.tif", samples, photometric="palette", colormap=colormap, alpha="yes")
    colors, valid = read(path)
    np.testing.assert_array_equal(colors, table[samples[..., 0]])
    np.testing.assert_array_equal(valid, samples[..., 1] != 0)


def test_a_palette_too_short_is_refused(tmp_path):
    colormap = (color_table(256).T * 257).astype(np.uint16)
    write(path := tmp_path / "in.tif", noise(1, np.uint8)[..., 0], photometric="palette", colormap=colormap)
    with_tag(path, 320, tuple(colormap[:, :16].ravel().tolist()))
    with pytest.raises(UnsupportedImageError, match=r"in\.tif: .*color map"):
        open_image(path)


BT601, BT709 = (0.299, 0.587, 0.114), (0.2126, 0.7152, 0.0722)
FULL_RANGE, VIDEO_RANGE = (0, 255, 128, 255, 128, 255), (16, 235, 128, 240, 128, 240)
SUBSAMPLINGS = [(1, 1), (2, 1), (1, 2), (2, 2), (2, 4), (4, 1), (4, 2), (4, 4)]


def blocks(across, down):
    """RGB, none of it far out, the same within each block that shares its chroma."""
    rows, columns = -(-HEIGHT // down), -(-WIDTH // across)
    colors = np.random.default_rng([across, down]).integers(0, 256, (rows, columns, 3))
    return colors.repeat(down, axis=0).repeat(across, axis=1)[:HEIGHT, :WIDTH]


def to_ycbcr(rgb, luma, reference):
    """RGB as codes of Y, Cb and Cr, after TIFF 6.0, section 21."""
    y = rgb @ np.array(luma)
    cb, cr = (rgb[..., 2] - y) / (2 - 2 * luma[2]), (rgb[..., 0] - y) / (2 - 2 * luma[0])
    codes = [
        plane / coding * (white - black) + black
        for plane, coding, black, white in zip((y, cb, cr), (255, 127, 127), reference[::2], reference[1::2], strict=True)
    ]
    return np.rint(np.clip(np.stack(codes, axis=-1), 0, 255)).astype(np.uint8)


def ycbcr_segment(codes, across, down, planar):
    """The bytes of a tile or strip: its planes, or its data units, row by row."""
    rows, columns, luma = -(-codes.shape[0] // down), -(-codes.shape[1] // across), codes[..., 0]
    codes = np.pad(codes, ((0, rows * down - len(codes)), (0, columns * across - codes.shape[1]), (0, 0)), "edge")
    chroma = codes[::down, ::across, 1:]
    if planar:
        return [luma.tobytes(), chroma[..., 0].tobytes(), chroma[..., 1].tobytes()]
    units = bytearray()
    for row in range(rows):
        for column in range(columns):
            corner = np.s_[row * down : (row + 1) * down, column * across : (column + 1) * across, 0]
            units += codes[corner].tobytes() + chroma[row, column].tobytes()
    return [bytes(units)]


def write_ycbcr(path, codes, subsampling, planar=False, tiled=False, luma=None, reference=None):
    """Write YCbCr with any subsampling; tifffile writes only (1, 1) where there is no JPEG."""
    across, down = subsampling
    if tiled:
        corners = [(y, x) for y in range(0, HEIGHT, 16) for x in range(0, WIDTH, 32)]
        padded = np.pad(codes, ((0, -HEIGHT % 16), (0, -WIDTH % 32), (0, 0)), "edge")
        parts, layout = [padded[y : y + 16, x : x + 32] for y, x in corners], {"tile": (16, 32)}
    else:
        parts, layout = [codes[y : y + 16] for y in range(0, HEIGHT, 16)], {"rowsperstrip": 16}
    by_part = [ycbcr_segment(part, across, down, planar) for part in parts]
    tags = [
        (code, 5, len(values), tuple(n for value in values for n in (round(value * 10_000), 10_000)))
        for code, values in ((529, luma), (532, reference))
        if values
    ]
    write(
        path,
        iter([zlib.compress(segment) for plane in zip(*by_part, strict=True) for segment in plane]),
        shape=(3, HEIGHT, WIDTH) if planar else (HEIGHT, WIDTH, 3),
        dtype=np.uint8,
        photometric="ycbcr",
        planarconfig="separate" if planar else "contig",
        compression="deflate",
        subsampling=(1, 1),
        extratags=tags,
        **layout,
    )
    return with_tag(path, 530, subsampling)


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize(("luma", "reference"), [(None, None), (BT709, None), (None, VIDEO_RANGE), (BT709, VIDEO_RANGE)])
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_ycbcr_gives_back_the_colors_it_was_made_from(subsampling, luma, reference, planar, tiled, tmp_path):
    rgb = blocks(*subsampling)
    codes = to_ycbcr(rgb, luma or BT601, reference or FULL_RANGE)
    path = write_ycbcr(tmp_path / "in.tif", codes, subsampling, planar, tiled, luma, reference)
    colors = pixels_of(path)
    assert colors.dtype == np.uint8
    np.testing.assert_allclose(colors.astype(int), rgb, atol=3)  # codes are rounded, and blue is 1.77 to 1.86 of Cb


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("reference", [FULL_RANGE, VIDEO_RANGE])
@pytest.mark.parametrize("subsampling", [known for known in SUBSAMPLINGS if known != (2, 4)])
def test_ycbcr_is_as_libtiff_shows_it(subsampling, reference, tiled, tmp_path):
    codes = to_ycbcr(blocks(2, 2), BT601, reference)
    path = write_ycbcr(tmp_path / "in.tif", codes, subsampling, False, tiled, BT601, reference)
    expected, _ = read_gdal(path)
    columns = slice(32 if tiled else WIDTH // subsampling[0] * subsampling[0])  # libtiff gets parts of blocks of 4 wrong
    np.testing.assert_allclose(pixels_of(path)[:, columns].astype(int), expected[:, columns, :3].astype(int), atol=3)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (2, 2)])
def test_jpeg_of_ycbcr_is_as_tifffile_decodes_it(subsampling, layout, tmp_path):
    write(
        path := tmp_path / "in.tif",
        smooth(HEIGHT, WIDTH),
        photometric="rgb",
        compression="jpeg",
        subsampling=subsampling,
        **(LAYOUTS[layout] | {"rowsperstrip": 16} if layout == "striped" else LAYOUTS[layout]),
    )
    np.testing.assert_array_equal(colors := pixels_of(path), tifffile.imread(path))
    np.testing.assert_allclose(colors.astype(int), smooth(HEIGHT, WIDTH), atol=40)


@pytest.mark.parametrize("options", [{}, {"tiled": True, "blockxsize": 16, "blockysize": 32}])
@pytest.mark.parametrize(
    ("bands", "photometric", "interleave"),
    [(1, "minisblack", "pixel"), (3, "rgb", "band"), (3, "rgb", "pixel"), (3, "ycbcr", "pixel"), (2, "minisblack", "band")],
)
def test_jpeg_is_as_gdal_decodes_it(bands, photometric, interleave, options, tmp_path):
    path = write_gdal(
        tmp_path / "in.tif", smooth(48, 64, bands), compress="jpeg", photometric=photometric, interleave=interleave, **options
    )
    # GDAL and imagecodecs interpolate coarse chroma differently
    difference = np.abs(pixels_of(path).astype(int) - read_gdal(path)[0])
    assert difference.max() <= (10 if photometric == "ycbcr" else 1)
    assert difference.mean() < 1


@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_cmyk_without_a_profile_is_light_that_inks_let_through(dtype, planarconfig, tmp_path):
    inks, full = noise(4, dtype), np.iinfo(dtype).max
    inks[0, :3] = [[0, 0, 0, 0], [0, 0, 0, full], [full, 0, 0, 0]]
    path = write_tiff(tmp_path / "in.tif", inks, photometric="separated", extrasamples=[], planarconfig=planarconfig)
    shares = inks / full
    np.testing.assert_allclose(pixels_of(path) / full, (1 - shares[..., :3]) * (1 - shares[..., 3:]), atol=0.51 / full)
    assert pixels_of(path)[0, :3].tolist() == [[full, full, full], [0, 0, 0], [0, full, full]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_cmyk_with_a_profile_is_as_little_cms_shows_it(dtype, tmp_path):
    inks, profile = noise(4, np.uint8), pyvips.Operation.call("profile_load", "cmyk")
    samples = inks.astype(dtype) * (np.iinfo(dtype).max // 255)
    path = write_tiff(tmp_path / "in.tif", samples, photometric="separated", extrasamples=[], iccprofile=profile)
    source, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
    expected = np.asarray(ImageCms.profileToProfile(Image.fromarray(inks, "CMYK"), source, srgb, outputMode="RGB"))
    colors = pixels_of(path) / np.iinfo(dtype).max * 255
    np.testing.assert_allclose(colors, expected, atol=3)
    formula = (255.0 - inks[..., :3]) * (255.0 - inks[..., 3:]) / 255
    assert np.abs(colors - formula).mean() > 10  # the profile says something else


def test_cmyk_with_a_damaged_profile_is_converted_by_the_formula(tmp_path, caplog):
    inks = noise(4, np.uint8)
    plain = write_tiff(tmp_path / "plain.tif", inks, photometric="separated", extrasamples=[])
    path = write_tiff(tmp_path / "in.tif", inks, photometric="separated", extrasamples=[], iccprofile=b"no profile" * 20)
    np.testing.assert_array_equal(pixels_of(path), pixels_of(plain))
    assert "CMYK profile cannot be used" in caplog.text


def test_cmyk_with_alpha_is_masked(tmp_path):
    samples = noise(5, np.uint8)
    samples[..., 4] //= 64
    plain = write_tiff(tmp_path / "plain.tif", samples[..., :4], photometric="separated", extrasamples=[])
    path = write_tiff(tmp_path / "in.tif", samples, photometric="separated", extrasamples=["unassalpha"])
    colors, valid = read(path)
    np.testing.assert_array_equal(colors, pixels_of(plain))
    np.testing.assert_array_equal(valid, samples[..., 4] != 0)


def test_inks_that_are_not_cmyk_are_refused(tmp_path):
    options = {"photometric": "separated", "extrasamples": [], "extratags": [(332, 3, 1, 2)]}
    path = write_tiff(tmp_path / "in.tif", noise(4, np.uint8), **options)
    with pytest.raises(UnsupportedImageError, match=r"SEPARATED in 4 samples of 8 bits, not supported"):
        open_image(path)


def lab_codes(bits, photometric):
    """Codes of CIE L*a*b*, after TIFF 6.0, section 23; 16-bit a* and b* are in steps of 1/256."""
    lab = np.random.default_rng(0).uniform([40, -15, -15], [85, 15, 15], (HEIGHT, WIDTH, 3))
    lab[0] = np.linspace([5, 0, 0], [100, 0, 0], WIDTH)
    most, steps, shift = (1 << bits) - 1, 1 << (bits - 8), 1 << (bits - 1) if photometric == "icclab" else 0
    codes = np.rint(lab * [most / 100, steps, steps])
    return np.add(codes, [0, shift, shift]).astype(int).astype(f"u{bits // 8}"), codes / [most / 100, steps, steps]


def srgb_of(lab):
    """Formulas of CIE, with white D50, adapted to D65 after Bradford, and IEC 61966-2-1."""
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * [0.96422, 1, 0.82521]
    from_d50 = [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540], [0.0719453, -0.2289914, 1.4052427]]
    linear = np.clip(xyz @ np.array(from_d50).T, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
@pytest.mark.parametrize("photometric", ["cielab", "icclab"])
@pytest.mark.parametrize("bits", [8, 16])
def test_lab_is_as_the_formulas_say(bits, photometric, planarconfig, tmp_path):
    codes, lab = lab_codes(bits, photometric)
    path = write_tiff(tmp_path / "in.tif", codes, photometric=photometric, planarconfig=planarconfig)
    np.testing.assert_allclose(pixels_of(path) / FULL[bits // 8] * 255, srgb_of(lab) * 255, atol=3)


def test_lab_is_as_pillow_shows_it(tmp_path):
    path = write_tiff(tmp_path / "in.tif", lab_codes(8, "cielab")[0], photometric="cielab")
    with Image.open(path) as image:
        assert image.mode == "LAB"
        expected = ImageCms.profileToProfile(
            image, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    np.testing.assert_allclose(pixels_of(path).astype(int), np.asarray(expected).astype(int), atol=2)


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


# --- Alpha

ALPHAS = {"u1": 255, "u2": 65535, "f4": 1.0}


def with_alpha(dtype, bands=3, seed=0):
    """Colors below their full value, and an alpha of 0, a little, and full."""
    generator, full = np.random.default_rng(seed), ALPHAS[dtype]
    shares = generator.uniform(0, 1, (HEIGHT, WIDTH, bands))
    alpha = generator.choice([0, 0.2, 0.5, 1], (HEIGHT, WIDTH, 1))
    return (np.concatenate([shares, alpha], axis=-1) * full).astype(dtype)


@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("dtype", ALPHAS)
def test_straight_alpha_masks_where_it_is_0(dtype, bands, planarconfig, tmp_path):
    samples = with_alpha(dtype, bands)
    path = write_tiff(
        tmp_path / "in.tif", samples, planarconfig=planarconfig, extrasamples=["unassalpha"], compression="deflate"
    )
    colors, valid = read(path)
    np.testing.assert_array_equal(colors, samples[..., :-1])
    np.testing.assert_array_equal(valid, samples[..., -1] != 0)
    np.testing.assert_array_equal(read(path, bands=(bands + 1,)).pixels, samples[..., -1:])


@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("dtype", ALPHAS)
def test_associated_alpha_is_divided_out(dtype, bands, planarconfig, tmp_path):
    samples, full = with_alpha(dtype, bands), ALPHAS[dtype]
    colors, alpha = samples[..., :-1].astype(float), samples[..., -1:].astype(float)
    stored = np.concatenate([colors * alpha / full, alpha], axis=-1).astype(dtype)
    path = write_tiff(tmp_path / "in.tif", stored, planarconfig=planarconfig, extrasamples=["assocalpha"])
    found, valid = read(path)
    np.testing.assert_array_equal(valid, samples[..., -1] != 0)
    expected = stored[valid][:, :-1] * (full / alpha[valid])
    np.testing.assert_allclose(found[valid].astype(float), expected, atol=0.51 if full > 1 else 1e-6)
    np.testing.assert_allclose(found[valid] / full, colors[valid] / full, atol=6 / 255 if full > 1 else 1e-6)


def test_associated_alpha_is_as_pillow_shows_it(tmp_path):
    samples = with_alpha("u1")
    samples[..., :3] = samples[..., :3] * (samples[..., 3:] / 255)
    path = write_tiff(tmp_path / "in.tif", samples, extrasamples=["assocalpha"])
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGBA"))
    colors, valid = read(path)
    np.testing.assert_array_equal(valid, expected[..., 3] != 0)
    np.testing.assert_allclose(colors[valid].astype(int), expected[valid][:, :3].astype(int), atol=1)


def test_colors_brighter_than_their_alpha_are_full(tmp_path):
    samples = np.full((2, 2, 4), 200, np.uint8)
    samples[..., 3] = 100
    np.testing.assert_array_equal(pixels_of(write_tiff(tmp_path / "in.tif", samples, extrasamples=["assocalpha"])), 255)


def test_alpha_is_found_among_other_extra_samples(tmp_path):
    samples = noise(6, np.uint8)
    samples[..., 4] //= 64
    path = write_tiff(tmp_path / "in.tif", samples, extrasamples=["unspecified", "unassalpha", "unspecified"])
    colors, valid = read(path)
    np.testing.assert_array_equal(colors, samples[..., [0, 1, 2, 3, 5]])
    np.testing.assert_array_equal(valid, samples[..., 4] != 0)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_alpha_of_a_picture_masks_where_it_is_0(suffix, mode, tmp_path):
    samples = with_alpha("u1", len(mode) - 1)
    Image.fromarray(samples).save(path := tmp_path / f"in.{suffix}", lossless=True, exact=True)
    colors, valid = read(path)
    np.testing.assert_array_equal(valid, samples[..., -1] != 0)
    np.testing.assert_array_equal(colors, np.broadcast_to(samples[..., :-1], colors.shape))


# --- Nodata


def with_nodata(dtype, value, bands=3):
    """Samples of which some pixels are nodata in all bands, and others in one."""
    pixels = noise(bands, dtype)
    pixels[4:9, 10:30] = value
    pixels[20, 20, 0] = value
    return pixels


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("u1", 0),
        ("u1", 255),
        ("i1", -128),
        ("u2", 65535),
        ("i2", -9999),
        ("u4", 4294967295),
        ("i4", -2147483648),
        ("f4", -9999),
        ("f4", np.nan),
        ("f4", float(np.finfo(np.float32).min)),
        ("f8", -1.7976931348623157e308),
    ],
)
def test_pixels_of_nodata_are_masked_as_gdal_masks_them(dtype, value, tmp_path):
    pixels = with_nodata(dtype, value)
    path = write_gdal(tmp_path / "in.tif", pixels, nodata=value)
    _, mask = read_gdal(path)
    expected = (~np.isnan(pixels) if value != value else pixels != pixels.dtype.type(value)).any(axis=-1)
    np.testing.assert_array_equal(mask, expected)
    finite = np.isfinite(pixels).all(axis=-1)
    np.testing.assert_array_equal(read(path).valid, expected & finite)
    np.testing.assert_array_equal(read(pixels, nodata=value).valid, expected & finite)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("i8", -(1 << 63)), ("i8", (1 << 63) - 1), ("u8", (1 << 64) - 1), ("i8", (1 << 53) + 1)],
)
def test_nodata_of_64_bits_is_exact(dtype, value, tmp_path):
    pixels = with_nodata(dtype, value)
    pixels[10] = value - 1 if value > 0 else value + 1
    path = write_tiff(tmp_path / "in.tif", pixels, extratags=[(42113, 2, None, str(value))])
    np.testing.assert_array_equal(read(path).valid, (pixels != value).any(axis=-1))


def test_nodata_asked_for_goes_before_that_of_the_file(tmp_path):
    pixels = noise(1, np.uint8)
    path = write_gdal(tmp_path / "in.tif", pixels, nodata=7)
    np.testing.assert_array_equal(read(path).valid, pixels[..., 0] != 7)
    np.testing.assert_array_equal(read(path, nodata=9).valid, pixels[..., 0] != 9)


def test_nodata_is_looked_for_in_the_bands_that_are_taken(tmp_path):
    pixels = with_nodata(np.uint8, 0, bands=5)
    path = write_gdal(tmp_path / "in.tif", pixels, nodata=0, photometric="minisblack", alpha="unspecified")
    for bands in [(1,), (2, 4), (5, 4, 3)]:
        expected = (pixels[..., [band - 1 for band in bands]] != 0).any(axis=-1)
        np.testing.assert_array_equal(read(path, bands=bands).valid, expected)
        np.testing.assert_array_equal(read(pixels, bands=bands, nodata=0).valid, expected)


def test_nodata_is_looked_for_in_colors_not_in_alpha(tmp_path):
    samples = with_alpha("u1")
    samples[samples[..., 3] == 0, 3] = 1
    samples[4:9, 10:30] = [0, 0, 0, 255]
    path = write_tiff(tmp_path / "in.tif", samples, extrasamples=["unassalpha"])
    np.testing.assert_array_equal(read(path, nodata=0).valid, (samples[..., :3] != 0).any(axis=-1))


def test_nodata_is_compared_as_stored(tmp_path):
    pixels = noise(1, np.uint8)
    write(white := tmp_path / "white.tif", pixels[..., 0], photometric="miniswhite")
    np.testing.assert_array_equal(read(white, nodata=255).valid, pixels[..., 0] != 255)
    packed = write_gdal(tmp_path / "packed.tif", pixels.astype(np.uint16) * 16, nbits=12)
    np.testing.assert_array_equal(read(packed, nodata=4080).valid, pixels[..., 0] != 255)
    colormap = (color_table(256).T * 257).astype(np.uint16)
    write(palette := tmp_path / "palette.tif", pixels[..., 0], photometric="palette", colormap=colormap)
    np.testing.assert_array_equal(read(palette, nodata=17).valid, pixels[..., 0] != 17)


@pytest.mark.parametrize("value", ["256", "-1", "1.5", "nan", "none", ""])
def test_nodata_that_no_sample_can_have_masks_nothing(value, tmp_path):
    pixels = noise(3, np.uint8)
    path = write_tiff(tmp_path / "in.tif", pixels, extratags=[(42113, 2, None, value)])
    np.testing.assert_array_equal(pixels_of(path), pixels)


# --- Families: one picture, in every container

TIFFFILE_CODECS = {
    "none": {},
    "packbits": {"compression": "packbits"},
    "lzw": {"compression": "lzw"},
    "lzw, predictor": {"compression": "lzw", "predictor": 2},
    "deflate, predictor": {"compression": "deflate", "predictor": 2},
    "zstd": {"compression": "zstd"},
    "lzma": {"compression": "lzma"},
    "webp": {"compression": "webp", "compressionargs": {"lossless": True}},
    "jpegxl": {"compression": "jpegxl", "compressionargs": {"lossless": True}},
    "lerc": {"compression": "lerc"},
}
CONTIGUOUS = ("webp", "jpegxl")
GDAL_CODECS = ["none", "lzw", "deflate", "zstd", "packbits", "lzma", "webp", "lerc"]


def members(folder, pixels):
    """Yield files of one 8-bit RGB picture, written every way that loses nothing."""
    for codec, options in TIFFFILE_CODECS.items():
        for layout, places in LAYOUTS.items():
            for planar in ["contig"] if codec in CONTIGUOUS else ["contig", "separate"]:
                for order in "<>":
                    name = f"{codec} {layout} {planar} {'big' if order == '>' else 'little'}.tif"
                    form = {"byteorder": order, "bigtiff": order == ">", "planarconfig": planar}
                    yield write_tiff(folder / name, pixels, **options, **places, **form)
    for codec in GDAL_CODECS:
        for tiled in [False, True]:
            options = {"photometric": "rgb", "compress": codec, "tiled": tiled, "blockysize": 16, "interleave": "pixel"}
            lossless = {"webp_lossless": True} if codec == "webp" else {}
            yield write_gdal(
                folder / f"gdal {codec} {tiled}.tif", pixels, **options, **lossless, **({"blockxsize": 16} if tiled else {})
            )
    opaque = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    for kind in ["unassalpha", "assocalpha"]:
        yield write_tiff(folder / f"{kind}.tif", opaque, extrasamples=[kind], compression="deflate")
    for suffix, image in [("png", pixels), ("webp", pixels), ("rgba.png", opaque)]:
        Image.fromarray(image).save(path := folder / f"picture.{suffix}", lossless=True)
        yield path
    colors, indices = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True)
    table = np.zeros((256, 3), np.uint16)
    table[: len(colors)] = colors
    indices = indices.reshape(pixels.shape[:2]).astype(np.uint8)
    write(path := folder / "palette.tif", indices, photometric="palette", colormap=table.T * 257)
    yield path


def few_colors():
    """A smooth picture of at most 256 colors."""
    return (smooth(HEIGHT, WIDTH) // 40 * 40).astype(np.uint8)


def test_one_picture_reads_the_same_from_every_container(tmp_path):
    pixels = few_colors()
    briefly = {"init": "random", "max_iter": 2}
    quantize(pixels, tmp_path / "array.tif", **briefly)
    labels, palette = labels_and_palette(tmp_path / "array.tif")
    (tmp_path / "files").mkdir()
    for path in members(tmp_path / "files", pixels):
        np.testing.assert_array_equal(pixels_of(path), pixels, err_msg=path.name)
        quantize(path, tmp_path / "out.tif", overwrite=True, **briefly)
        found, colormap = labels_and_palette(tmp_path / "out.tif")
        np.testing.assert_array_equal(found, labels, err_msg=path.name)
        np.testing.assert_array_equal(colormap, palette, err_msg=path.name)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "deflate", "predictor": 2, "byteorder": ">"},
        {"compression": "jpegxl", "compressionargs": {"lossless": True}},
    ],
)
def test_a_picture_of_16_bits_gets_the_colors_of_its_8_bits(options, tmp_path):
    pixels = few_colors()
    wide = pixels.astype(np.uint16) * 257
    path = write_tiff(tmp_path / "wide.tif", wide, **options)
    np.testing.assert_array_equal(pixels_of(path), wide)
    n_colors = len(np.unique(pixels.reshape(-1, 3), axis=0))
    for source, name in [(pixels, "narrow"), (path, "fitted")]:
        quantize(source, tmp_path / f"{name}.tif", n_components=n_colors)
    colors = [
        palette.T[labels] for labels, palette in (labels_and_palette(tmp_path / f"{n}.tif") for n in ("narrow", "fitted"))
    ]
    np.testing.assert_array_equal(*colors)


# Files of the collection that hold one picture, without loss.
FAMILIES = {
    "shapes": ["exampletiffs__shapes_deflate.tif", *(f"tiffvis__shapes_{form}.tif" for form in (
        "lzw_planar", "lzw_tiled", "lzw_tiled_planar", "tiled_multi"))],
    "gradient, gray": ["jai__lsb_gradiente_gray.tiff", "jai__msb_gradiente_gray.tiff"],
    "gradient, RGB": ["jai__lsb_gradiente_rgb.tiff", "jai__msb_gradiente_rgb.tiff"],
    "orientations": [f"largeimage__test_orient{i}.tif" for i in (0, 1, 2, 4, 5, 8)],
    "byte": [f"gdal__byte_{form}.tif" for form in (
        "NONE", "JXL_tiled", "LERC", "LERC_DEFLATE", "LERC_DEFLATE_tiled", "LERC_ZSTD", "LERC_ZSTD_tiled", "LZMA",
        "LZW_predictor_2", "ZSTD", "ZSTD_tiled", "with_ovr")],
    "rgbsmall": [f"gdal__rgbsmall_{form}.tif" for form in (
        "DEFLATE", "DEFLATE_tiled", "LERC", "LERC_ZSTD", "LERC_separate", "LERC_tiled", "LERC_tiled_separate",
        "LERC_DEFLATE_tiled_separate", "LZMA_separate", "LZMA_tiled_separate", "ZSTD", "byte_LZW_predictor_2")],
    "Go video": [f"goimage__video-001-{form}.tiff" for form in ("uncompressed", "strip-64", "tile-64x64")],
    "Go bilevel": [f"goimage__bw-{form}.tiff" for form in ("deflate", "packbits", "gopher_ccittGroup4")],
    "fax": [f"tiffvis__ccitt_{form}.tif" for form in ("none", "g3", "g4")],
    "fax, small": [f"twelvemonkeys__group3_{form}.tif" for form in ("1d", "1d_fill", "2d", "2d_fill", "2d_lsb2msb")],
    "BigTIFF": [f"twelvemonkeys__{form}.tif" for form in (
        "Classic", "BigTIFFLong8", "BigTIFFMotorolaLongStrips", "BigTIFFSubIFD4", "BigTIFFSubIFD8")],
    "hopper": [f"pillow__hopper{form}.tif" for form in ("", ".iccprofile", "_lzma", "_float_dpi_3", "_float_dpi_None")],
    "hopper, 2 bits": [f"pillow__hopper{form}.tif" for form in ("2", "2I", "2IR")],
    "hopper, 4 bits": [f"pillow__hopper{form}.tif" for form in ("4", "4IR")],
    "16-bit gray": [f"pillow__16bit{form}.tif" for form in (".cropped", ".deflate", ".MM.cropped", ".MM.deflate")],
    "16-bit RGB": [f"pillow__tiff_{form}_16bit_RGB.tiff" for form in ("strip_planar", "tiled_planar")],
    "flower, 8 bits": ["libgd__flower-rgb-planar-08.tif", "twelvemonkeys__flower-rgb-contig-08.tif"],
    "flower, 12 bits": ["libgd__flower-rgb-planar-12.tif", "libgd__flower-rgb-contig-12.tif"],
    "flower, 24 bits": ["libgd__flower-rgb-planar-24.tif", "libgd__flower-rgb-contig-24.tif"],
    "flower, 32 bits": ["libgd__flower-rgb-planar-32.tif", "libgd__flower-rgb-contig-32.tif"],
    "flower, CMYK": ["libgd__flower-separated-contig-08.tif", "libgd__flower-separated-planar-08.tif"],
    "flower, CMYK, 16 bits": ["libgd__flower-separated-contig-16.tif", "libgd__flower-separated-planar-16.tif"],
    "tiger, 3 bits": [f"libtiffnet__tiger-rgb-{form}-03.tif" for form in ("strip-contig", "strip-planar", "tile-contig")],
    "tiger, palette": [f"libtiffnet__tiger-palette-{form}-02.tif" for form in ("strip", "tile")],
    "rgb8": [f"libtiffnet__rgb8-{form}.tif" for form in ("separate", "zip-mac", "zip-pc", "lsb2msb")],
    "quad": ["libgd__quad-lzw-compat.tiff", "libgd__quad-tile.tif"],
    "float16": ["libgd__random-fp16.tiff", "libgd__random-fp16-pred2.tiff"],
    "palette or white": ["libgd__miniswhite-1c-1b.tiff", "libgd__palette-1c-1b.tiff"],
    "masks": [f"gdal__test3_with_mask_{bits}bit.tif" for bits in (1, 8)],
}  # fmt: skip


@pytest.mark.collection
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_of_the_collection_holds_one_picture(family):
    first, *others = [read(shared_file(f"variants/{name}")) for name in FAMILIES[family]]
    for name, other in zip(FAMILIES[family][1:], others, strict=True):
        pixels = other.pixels[..., :1] if first.pixels.shape[2] == 1 else other.pixels
        np.testing.assert_array_equal(pixels, first.pixels, err_msg=name)
        np.testing.assert_array_equal(other.valid, first.valid, err_msg=name)


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
        full = FULL[pixels.dtype.itemsize]
        counted = np.rint(counted * (full / ((1 << bits) - 1)))
    np.testing.assert_array_equal(pixels, counted)
