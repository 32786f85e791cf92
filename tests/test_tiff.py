"""The TIFF reader gives what tifffile gives, from any window, and names what it cannot read."""

import itertools
import struct
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import pytest
import rasterio
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from streamgmm.errors import ImageReadError, MemoryBudgetError, OptionError, UnsupportedImageError
from streamgmm.image.source import open_image
from streamgmm.image.tiles import Window

from .images import read, segments, smooth, whole, write_tiff

HEIGHT, WIDTH = 75, 90
WINDOW = Window(30, 11, 40, 60)
LAYOUTS = {"tiled": {"tile": (32, 16)}, "striped": {"rowsperstrip": 7}}
CODECS = {
    "none": {},
    "deflate": {"compression": "deflate"},
    "lzw": {"compression": "lzw"},
    "zstd": {"compression": "zstd"},
    "packbits": {"compression": "packbits"},
    "lzma": {"compression": "lzma"},
    "deflate, predictor": {"compression": "deflate", "predictor": 2},
    "lzw, predictor": {"compression": "lzw", "predictor": 2},
    "zstd, predictor": {"compression": "zstd", "predictor": 2},
}
PICTURE_CODECS = {
    "jpeg": {"compression": "jpeg"},
    "jpeg, all luma": {"compression": "jpeg", "subsampling": (1, 1)},
    "webp": {"compression": "webp", "compressionargs": {"lossless": True}},
    "jpeg2000": {"compression": "jpeg2000", "compressionargs": {"reversible": True}},
    "jpegxl": {"compression": "jpegxl", "compressionargs": {"lossless": True}},
    "png": {"compression": "png"},
}
windows = st.builds(
    lambda top, left, height, width: Window(top, left, min(height, HEIGHT - top), min(width, WIDTH - left)),
    st.integers(0, HEIGHT - 1),
    st.integers(0, WIDTH - 1),
    st.integers(1, HEIGHT),
    st.integers(1, WIDTH),
)


def reference(path):
    """Pixels of the first page, as tifffile reads them, shape (height, width, bands)."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        planes, _, height, width, samples = page.shaped
        pixels = page.asarray()
        return np.moveaxis(pixels, 0, -1) if planes > 1 else pixels.reshape(height, width, samples)


def info(path, **options):
    """What a file says of itself, where it can be opened."""
    with closing(open_image(path, **options)) as image:
        return image.info()


def check(path):
    """Compare an image, and one of its windows, with what tifffile reads."""
    expected = reference(path)
    with closing(open_image(path)) as image:
        assert image.shape == expected.shape
        assert image.dtype == expected.dtype.newbyteorder("=")
        assert not image.maskable
        pixels, valid = whole(image)
        assert pixels.dtype.isnative
        assert valid is None
        np.testing.assert_array_equal(pixels, expected)
    np.testing.assert_array_equal(read(path, WINDOW).pixels, expected[WINDOW.slices])


@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_codec_reads_as_tifffile_reads_it(layout, codec, dtype, planarconfig, tmp_path):
    pixels = smooth(HEIGHT, WIDTH, 3, dtype)
    path = write_tiff(tmp_path / "image.tif", pixels, planarconfig=planarconfig, **LAYOUTS[layout], **CODECS[codec])
    np.testing.assert_array_equal(reference(path), pixels)
    check(path)


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("bands", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("codec", ["none", "deflate, predictor"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_form_of_samples_reads_as_tifffile_reads_it(layout, codec, bands, dtype, byteorder, bigtiff, tmp_path):
    options = LAYOUTS[layout] | CODECS[codec] | {"byteorder": byteorder, "bigtiff": bigtiff}
    path = write_tiff(tmp_path / "image.tif", smooth(HEIGHT, WIDTH, bands, dtype), **options)
    assert path.read_bytes()[:4] == {"<": b"II", ">": b"MM"}[byteorder] + struct.pack(f"{byteorder}H", 43 if bigtiff else 42)
    check(path)


@pytest.mark.parametrize(
    ("codec", "bands"),
    [(codec, 3) for codec in PICTURE_CODECS] + [(codec, 1) for codec in ("jpeg", "jpeg2000", "jpegxl", "png")],
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_picture_codec_reads_as_tifffile_reads_it(layout, codec, bands, tmp_path):
    pixels = smooth(HEIGHT, WIDTH, bands)
    path = write_tiff(tmp_path / "image.tif", pixels, **LAYOUTS[layout], **PICTURE_CODECS[codec])
    if not codec.startswith("jpeg"):
        np.testing.assert_array_equal(reference(path), pixels)
    check(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Pixels, and files that hold them in every layout."""
    folder, pixels = tmp_path_factory.mktemp("tiff"), smooth(HEIGHT, WIDTH, 3, np.uint16)
    for (layout, codec), planes in itertools.product(itertools.product(LAYOUTS, ["none", "lzw"]), ["contig", "separate"]):
        options = LAYOUTS[layout] | CODECS[codec]
        write_tiff(folder / f"{layout}-{codec}-{planes}.tif", pixels, planarconfig=planes, **options)
    return pixels, sorted(folder.iterdir())


@given(window=windows, index=st.integers(0, 7))
def test_any_window_is_a_slice(files, window, index):
    pixels, paths = files
    np.testing.assert_array_equal(read(paths[index], window).pixels, pixels[window.slices])


def test_four_threads_read_the_same_as_one(files):
    pixels, paths = files
    generator = np.random.default_rng(0)
    corners = generator.integers(0, (HEIGHT - 20, WIDTH - 20), (200, 2)).tolist()
    for path in paths:
        with closing(open_image(path)) as image, ThreadPoolExecutor(4) as pool:
            parts = list(pool.map(image.read, [Window(*corner, 20, 20) for corner in corners]))
        for (top, left), (part, _) in zip(corners, parts, strict=True):
            np.testing.assert_array_equal(part, pixels[top : top + 20, left : left + 20])


@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
def test_uncompressed_pixels_in_one_piece_are_viewed_in_place(planarconfig, tmp_path):
    path = write_tiff(tmp_path / "image.tif", smooth(HEIGHT, WIDTH), rowsperstrip=7, planarconfig=planarconfig)
    with closing(open_image(path)) as image:
        assert image.info()["viewed_in_place"]
        assert image.segment == (1, 1)
        assert np.shares_memory(image.read(WINDOW).pixels, image.read(WINDOW).pixels)
        assert not image.read(WINDOW).pixels.flags.writeable


def test_an_uncompressed_tile_is_viewed_in_place(tmp_path):
    inside = Window(33, 17, 10, 10)
    with closing(open_image(write_tiff(tmp_path / "image.tif", smooth(HEIGHT, WIDTH), tile=(32, 16)))) as image:
        assert not image.info()["viewed_in_place"]
        assert np.shares_memory(image.read(inside).pixels, image.read(inside).pixels)
        assert not np.shares_memory(image.read(WINDOW).pixels, image.read(WINDOW).pixels)


def test_samples_of_the_other_byte_order_are_swapped_not_viewed(tmp_path):
    pixels = smooth(HEIGHT, WIDTH, 3, np.uint16)
    with closing(open_image(write_tiff(tmp_path / "image.tif", pixels, byteorder=">"))) as image:
        assert not np.shares_memory(whole(image).pixels, whole(image).pixels)
        np.testing.assert_array_equal(whole(image).pixels, pixels)


def test_a_view_outlives_the_image(tmp_path):
    pixels = smooth(HEIGHT, WIDTH)
    view = read(write_tiff(tmp_path / "image.tif", pixels), WINDOW).pixels
    np.testing.assert_array_equal(view, pixels[WINDOW.slices])


@pytest.mark.parametrize("options", [{}, {"tile": (32, 16)}, {"tile": (32, 16), "compression": "deflate"}])
def test_pages_given_back_to_the_system_are_read_again(options, tmp_path, monkeypatch):
    monkeypatch.setattr("streamgmm.image.segments.GIVE_BACK", 1000)
    pixels = smooth(HEIGHT, WIDTH)
    with closing(open_image(write_tiff(tmp_path / "image.tif", pixels, **options))) as image:
        view = image.read(Window(0, 0, 32, 16)).pixels
        for _ in range(3):
            np.testing.assert_array_equal(whole(image).pixels, pixels)
        np.testing.assert_array_equal(view, pixels[:32, :16])


@pytest.mark.parametrize("codec", ["none", "deflate", "deflate, predictor"])
def test_absent_tiles_of_a_sparse_file_are_masked(codec, tmp_path):
    pixels, there = smooth(HEIGHT, WIDTH), np.ones((HEIGHT, WIDTH), bool)
    there[32:64, 16:48] = False
    tiles = [pixels[top : top + 32, left : left + 16] for top in range(0, HEIGHT, 32) for left in range(0, WIDTH, 16)]
    present = [None if i in (7, 8) else tile for i, tile in enumerate(tiles)]
    options = {"shape": pixels.shape, "dtype": pixels.dtype, "tile": (32, 16), "photometric": "rgb"}
    tifffile.imwrite(path := tmp_path / "image.tif", iter(present), **options, **CODECS[codec])
    assert [size for _, size in segments(path)].count(0) == 2
    with closing(open_image(path)) as image:
        assert image.maskable
        for window in (Window(0, 0, HEIGHT, WIDTH), WINDOW, Window(40, 20, 3, 3), Window(64, 0, 11, 90)):
            part, valid = image.read(window)
            present = there[window.slices]
            np.testing.assert_array_equal(present if valid is None else valid, present)
            np.testing.assert_array_equal(part[present], pixels[window.slices][present])
            assert image.absent(window) == (not present.any())


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
        "viewed_in_place": False,
        "masked_by": [],
        "page": 0,
        "pages": 1,
        "levels": [f"{WIDTH} x {HEIGHT}"],
    }


def damage(path, index, how):
    """Cut a file inside a tile or strip, or overwrite some of it."""
    offset, size = segments(path)[index]
    data = bytearray(path.read_bytes())
    if how == "truncated":
        data = data[: offset + size // 2]
    else:
        first, last = {"beginning": (0, 8), "middle": (size // 4, 3 * size // 4)}[how]
        data[offset + first : offset + last] = b"\xff" * (last - first)
    path.write_bytes(data)


@pytest.mark.parametrize("codec", ["none", "deflate", "lzw", "zstd", "packbits", "jpeg", "webp", "jpeg2000"])
@pytest.mark.parametrize(("layout", "kind"), [("tiled", "tile"), ("striped", "strip")])
def test_a_truncated_tile_or_strip_is_named(layout, kind, codec, tmp_path):
    options = LAYOUTS[layout] | (CODECS | PICTURE_CODECS)[codec]
    path = write_tiff(tmp_path / "image.tif", smooth(HEIGHT, WIDTH), **options)
    index = len(segments(path)) - 3
    size = segments(path)[index][1]
    damage(path, index, "truncated")
    message = rf"image\.tif: {kind} {index} is truncated \({size // 2:,} of {size:,} bytes\); the file may still be copying"
    with pytest.raises(ImageReadError, match=message):
        read(path)


# Where a codec notices damage: none has a checksum of its own in TIFF but these.
CHECKED = ["deflate", "lzw", "lzma", "packbits", "jpeg", "png", "jpegxl"]
DAMAGES = [("beginning", codec) for codec in [*CHECKED, "zstd", "webp", "jpeg2000"]] + [("middle", codec) for codec in CHECKED]


@pytest.mark.parametrize(("where", "codec"), DAMAGES)
@pytest.mark.parametrize(("layout", "kind"), [("tiled", "tile"), ("striped", "strip")])
def test_a_corrupt_tile_or_strip_is_named(layout, kind, where, codec, tmp_path):
    options = LAYOUTS[layout] | (CODECS | PICTURE_CODECS)[codec]
    path = write_tiff(tmp_path / "image.tif", smooth(HEIGHT, WIDTH), **options)
    damage(path, 4, where)
    with pytest.raises(ImageReadError, match=rf"image\.tif: {kind} 4 is corrupt \(.+\)"):
        read(path)


def test_what_is_sound_in_a_corrupt_file_is_read(tmp_path):
    pixels = smooth(HEIGHT, WIDTH)
    path = write_tiff(tmp_path / "image.tif", pixels, tile=(32, 16), compression="deflate")
    damage(path, 4, "middle")
    np.testing.assert_array_equal(read(path, Window(32, 0, 43, WIDTH)).pixels, pixels[32:])


def set_tag(path, code, value, index=0):
    """Overwrite a value of a tag in place."""
    with tifffile.TiffFile(path) as tiff:
        tag, order = tiff.pages.first.tags[code], tiff.byteorder
    form = {3: "H", 4: "I", 16: "Q"}[tag.dtype]
    with open(path, "r+b") as file:
        file.seek(tag.valueoffset + index * struct.calcsize(form))
        file.write(struct.pack(order + form, value))


def test_an_uncompressed_tile_of_too_few_bytes_is_named(tmp_path):
    path = write_tiff(tmp_path / "image.tif", smooth(HEIGHT, WIDTH), tile=(32, 16))
    set_tag(path, "TileByteCounts", 100, index=5)
    with pytest.raises(ImageReadError, match="tile 5 is corrupt"):
        read(path)


def test_a_tile_beyond_the_end_of_the_file_is_named(tmp_path):
    path = write_tiff(tmp_path / "image.tif", smooth(HEIGHT, WIDTH), tile=(32, 16), compression="deflate")
    set_tag(path, "TileOffsets", 2**31, index=5)
    with pytest.raises(ImageReadError, match=r"tile 5 is truncated \(0 of"):
        read(path)


@pytest.mark.parametrize("tag", ["TileWidth", "TileLength", "ImageWidth", "ImageLength"])
def test_a_size_of_nothing_is_refused(tag, tmp_path):
    path = write_tiff(tmp_path / "image.tif", smooth(HEIGHT, WIDTH), tile=(32, 16), compression="deflate")
    set_tag(path, tag, 0)
    with pytest.raises((ImageReadError, UnsupportedImageError), match=r"image\.tif: "):
        open_image(path)


def test_a_file_with_fewer_offsets_than_tiles_is_refused(tmp_path):
    path = write_tiff(tmp_path / "image.tif", smooth(HEIGHT, WIDTH), tile=(32, 16), compression="deflate")
    set_tag(path, "ImageLength", 1000)
    with pytest.raises(ImageReadError, match="18 offsets for 192 tiles; the file is damaged"):
        open_image(path)


def test_a_truncated_directory_is_refused(tmp_path):
    path = write_tiff(tmp_path / "image.tif", smooth(HEIGHT, WIDTH))
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises((ImageReadError, UnsupportedImageError), match=r"image\.tif: "):
        read(path)


# Samples of a type, and what they are read as.
SAMPLES = {
    "int8": (np.array([-128, -1, 0, 127], np.int8), np.array([0, 127, 128, 255], np.uint8)),
    "int16": (np.array([-32768, -1, 0, 32767], np.int16), np.array([0, 32767, 32768, 65535], np.uint16)),
    "int32": (np.array([-(2**31), 0, 5, 2**31 - 1], np.int32), np.array([-(2.0**31), 0, 5, 2.0**31 - 1])),
    "uint32": (np.array([0, 1, 7, 2**32 - 1], np.uint32), np.array([0, 1, 7, 2.0**32 - 1])),
    "uint64": (np.array([0, 1, 7, 2**53], np.uint64), np.array([0, 1, 7, 2.0**53])),
    "float16": (np.array([-1.5, 0, 1, 65504], np.float16), np.array([-1.5, 0, 1, 65504], np.float32)),
    "float32": (np.array([-1e38, 0, 1e-38, 3], np.float32), np.array([-1e38, 0, 1e-38, 3], np.float32)),
    "float64": (np.array([-1e300, 0, 1e-300, 3]), np.array([-1e300, 0, 1e-300, 3])),
}


@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("name", SAMPLES)
def test_samples_of_other_types_are_spread_over_a_type_that_is_fitted(name, byteorder, compression, tmp_path):
    samples, expected = SAMPLES[name]
    stored = samples[np.random.default_rng(0).integers(0, 4, (40, 50))]
    options = {"photometric": "minisblack", "compression": compression, "byteorder": byteorder}
    tifffile.imwrite(path := tmp_path / "image.tif", stored, **options)
    pixels, valid = read(path)
    assert pixels.dtype == expected.dtype
    assert valid is None
    for value, meant in zip(samples, expected, strict=True):
        assert (pixels[:, :, 0][stored == value] == meant).all()


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 7, 8, 9, 10, 12, 14, 16])
@pytest.mark.parametrize(("bands", "photometric"), [(1, "minisblack"), (1, "miniswhite"), (3, "rgb")])
def test_packed_bits_are_spread_over_the_whole_range(bands, photometric, bits, tmp_path):
    dtype = np.uint8 if bits <= 8 else np.uint16
    stored = smooth(HEIGHT, WIDTH, bands, dtype) >> (8 * np.dtype(dtype).itemsize - bits)
    tifffile.imwrite(
        path := tmp_path / "image.tif", stored.squeeze(), bitspersample=bits, photometric=photometric, rowsperstrip=7
    )
    full = np.iinfo(dtype).max
    expected = np.rint(stored / (2**bits - 1) * full).astype(dtype)
    pixels, valid = read(path)
    assert pixels.dtype == dtype
    assert valid is None
    np.testing.assert_array_equal(pixels, full - expected if photometric == "miniswhite" else expected)
    np.testing.assert_array_equal(read(path, WINDOW).pixels, pixels[WINDOW.slices])


def test_a_bilevel_image_is_black_and_white(tmp_path):
    stored = smooth(HEIGHT, WIDTH, 1)[:, :, 0] > 128
    tifffile.imwrite(path := tmp_path / "image.tif", stored, photometric="minisblack", rowsperstrip=7)
    np.testing.assert_array_equal(read(path).pixels[:, :, 0], np.where(stored, 255, 0))


@pytest.mark.parametrize("stored", [np.array([-128, 0, 127], np.int8), np.array([0.25, 0.5, 3], np.float32)])
def test_what_is_white_at_its_least_is_inverted(stored, tmp_path):
    tifffile.imwrite(path := tmp_path / "image.tif", stored[None, :], photometric="miniswhite")
    expected = -stored if stored.dtype.kind == "f" else [255, 127, 0]
    np.testing.assert_array_equal(read(path).pixels[0, :, 0], expected)


@pytest.mark.parametrize("scale", [257, 256, 1])
@pytest.mark.parametrize("bits", [1, 4, 8, 16])
def test_a_palette_is_looked_up(bits, scale, tmp_path):
    dtype = np.uint8 if bits <= 8 else np.uint16
    palette = np.random.default_rng(0).integers(0, 256, (2**bits, 3)).astype(np.uint16)
    palette[-1] = 255  # so that 8-bit values are told from 16-bit ones
    stored = np.random.default_rng(1).integers(0, 2**bits, (HEIGHT, WIDTH)).astype(dtype)
    colour_map = (320, "H", 3 * 2**bits, (palette * scale).T.reshape(-1), True)
    path = write_tiff(tmp_path / "image.tif", stored[:, :, None], rowsperstrip=7, bitspersample=bits, extratags=[colour_map])
    set_tag(path, "PhotometricInterpretation", 3)
    pixels, valid = read(path)
    assert (pixels.dtype, valid) == (np.uint8, None)
    np.testing.assert_array_equal(pixels, palette[stored])


ALPHAS = {"unassalpha": False, "assocalpha": True}


def rgba(dtype):
    """Colours not multiplied with alpha, shape (HEIGHT, WIDTH, 3), and alpha, which is 0 in a corner and full in another."""
    samples = smooth(HEIGHT, WIDTH, 4)
    samples[:10, :10, 3], samples[-10:, -10:, 3] = 0, 255
    full = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    scaled = (samples * (full / 255)).astype(dtype)
    return scaled[:, :, :3], scaled[:, :, 3], full


@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("kind", ALPHAS)
def test_alpha_masks_where_it_is_0_and_is_divided_out(kind, dtype, planarconfig, tmp_path):
    colours, alpha, full = rgba(dtype)
    stored = colours.astype(np.float64)
    if ALPHAS[kind]:
        stored = stored * alpha[:, :, None] / full
        stored = np.rint(stored) if full > 1 else stored
    samples = np.concatenate([stored, alpha[:, :, None]], axis=2).astype(dtype)
    path = write_tiff(tmp_path / "image.tif", samples, extrasamples=[kind], planarconfig=planarconfig, tile=(32, 16))
    with closing(open_image(path)) as image:
        assert image.shape == (HEIGHT, WIDTH, 3)
        assert image.maskable
        pixels, valid = whole(image)
    np.testing.assert_array_equal(valid, alpha != 0)
    expected = samples[valid][:, :3].astype(np.float64)
    if ALPHAS[kind]:
        expected = np.minimum(expected * full / alpha[valid][:, None], full)
    np.testing.assert_allclose(pixels[valid], expected, rtol=1e-6, atol=0.5 if full > 1 else 0)
    assert read(path, Window(20, 20, 30, 30)).valid is None


@pytest.mark.parametrize(("photometric", "bands"), [("miniswhite", 1), ("separated", 4)])
def test_alpha_is_divided_out_of_the_samples_before_they_are_made_colours(photometric, bands, tmp_path):
    inks, alpha = smooth(HEIGHT, WIDTH, bands), smooth(HEIGHT, WIDTH, 1, seed=1) | 128
    premultiplied = np.rint(inks * (alpha / 255)).astype(np.uint8)
    for name, samples, options in (
        ("straight.tif", inks, {}),
        ("multiplied.tif", np.concatenate([premultiplied, alpha], axis=2), {"extrasamples": ["assocalpha"]}),
    ):
        write_tiff(tmp_path / name, samples, photometric=photometric, **{"extrasamples": []} | options)
    straight, multiplied = (read(tmp_path / name).pixels.astype(int) for name in ("straight.tif", "multiplied.tif"))
    assert np.abs(straight - multiplied).max() <= 3  # what rounding of the products leaves


def test_more_colour_than_alpha_is_no_more_than_white(tmp_path):
    samples = np.array([[[200, 101, 20, 100]]], np.uint8)
    path = write_tiff(tmp_path / "image.tif", samples, extrasamples=["assocalpha"])
    np.testing.assert_array_equal(read(path).pixels, [[[255, 255, 51]]])


def test_alpha_may_be_taken_as_a_band(tmp_path):
    samples = smooth(HEIGHT, WIDTH, 5)
    path = write_tiff(tmp_path / "image.tif", samples, extrasamples=["unassalpha", "unspecified"])
    np.testing.assert_array_equal(read(path).pixels, samples[:, :, [0, 1, 2, 4]])
    np.testing.assert_array_equal(read(path, bands=(5, 4, 1)).pixels, samples[:, :, [4, 3, 0]])


@pytest.mark.parametrize("bands", [(0,), (4,), (1, 9)])
def test_bands_that_are_not_there_are_refused(bands, tmp_path):
    path = write_tiff(tmp_path / "image.tif", smooth(HEIGHT, WIDTH))
    with pytest.raises(OptionError, match=rf"image\.tif: bands are {','.join(map(str, bands))}; choose from 1 to 3"):
        open_image(path, bands=bands)


NODATA = (42113, "s", 0)
NUMBERS = [(np.uint8, "255", 255), (np.int16, "-9999", -9999), (np.float32, "-3.4028234663852886e+38", np.finfo("f4").min)]
NUMBERS += [(np.float64, "nan", np.nan), (np.uint16, " 7 ", 7), (np.uint32, "4294967295", 2**32 - 1)]


@pytest.mark.parametrize(("dtype", "text", "value"), NUMBERS)
@pytest.mark.parametrize("given", [False, True])
def test_pixels_whose_samples_are_all_nodata_are_masked(dtype, text, value, given, tmp_path):
    stored = np.random.default_rng(0).integers(10, 100, (HEIGHT, WIDTH, 3)).astype(dtype)
    stored[:, 3, 0], stored[5:9, 7:20] = value, value
    stored[:, 3, 0][:5] = 10
    tags = [(*NODATA, text if not given else "50", True)]
    path = write_tiff(tmp_path / "image.tif", stored, extratags=tags, photometric="rgb")
    is_nodata = np.isnan(stored) if np.isnan(value) else stored == value
    expected = ~is_nodata.all(axis=2)
    if np.isnan(value):  # which masks by itself
        expected &= ~is_nodata.any(axis=2)
    np.testing.assert_array_equal(read(path, nodata=value if given else None).valid, expected)
    assert read(path, Window(30, 30, 20, 20), nodata=value if given else None).valid is None


@pytest.mark.parametrize("text", ["none", "", "256", "-1", "7.5", "1e400"])
def test_a_nodata_that_no_sample_can_be_masks_nothing(text, tmp_path):
    path = write_tiff(tmp_path / "image.tif", smooth(HEIGHT, WIDTH), extratags=[(*NODATA, text, True)])
    with closing(open_image(path)) as image:
        assert not image.maskable
        assert whole(image).valid is None


def test_nodata_of_a_palette_is_the_label_not_the_colour(tmp_path):
    stored = np.random.default_rng(1).integers(0, 4, (HEIGHT, WIDTH)).astype(np.uint8)
    palette = np.zeros((3, 256), np.uint16)  # all labels are black
    options = {"photometric": "palette", "colormap": palette, "extratags": [(*NODATA, "3", True)]}
    tifffile.imwrite(path := tmp_path / "image.tif", stored, **options)
    np.testing.assert_array_equal(read(path).valid, stored != 3)


@pytest.mark.parametrize("internal", [True, False])
def test_a_mask_of_gdal_is_a_mask(internal, tmp_path):
    pixels, mask = smooth(HEIGHT, WIDTH), smooth(HEIGHT, WIDTH, 1, seed=4)[:, :, 0] > 100
    profile = {"driver": "GTiff", "width": WIDTH, "height": HEIGHT, "count": 3, "dtype": "uint8"}
    path = tmp_path / "image.tif"
    with (
        warnings.catch_warnings(action="ignore", category=rasterio.errors.NotGeoreferencedWarning),
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal),
        rasterio.open(path, "w", **profile, tiled=True, blockxsize=32, blockysize=16, compress="deflate") as file,
    ):
        file.write(np.moveaxis(pixels, -1, 0))
        file.write_mask(mask)
    read_pixels, valid = read(path)
    np.testing.assert_array_equal(read_pixels, pixels)
    if internal:
        np.testing.assert_array_equal(valid, mask)
        np.testing.assert_array_equal(read(path, WINDOW).valid, mask[WINDOW.slices])
    else:  # beside the file, in image.tif.msk, which is another
        assert valid is None


def test_cmyk_without_a_profile_is_converted_by_the_formula(tmp_path):
    inks = smooth(HEIGHT, WIDTH, 4)
    tifffile.imwrite(path := tmp_path / "image.tif", inks, photometric="separated", tile=(32, 16), compression="deflate")
    lights = 255 - inks.astype(float)
    expected = np.rint(lights[:, :, :3] * lights[:, :, 3:] / 255)
    np.testing.assert_array_equal(read(path).pixels, expected)
    with Image.open(path) as image:
        assert np.abs(np.asarray(image.convert("RGB")).astype(int) - expected).max() <= 1


def test_lab_is_converted_as_little_cms_does_for_pillow(tmp_path):
    tifffile.imwrite(path := tmp_path / "image.tif", smooth(HEIGHT, WIDTH), photometric="cielab")
    convert = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
    with Image.open(path) as image:
        expected = np.asarray(ImageCms.applyTransform(image, convert))
    assert np.abs(read(path).pixels.astype(int) - expected).max() <= 2


@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
def test_ycbcr_is_converted_as_pillow_does(planarconfig, tmp_path):
    ycbcr = np.asarray(Image.fromarray(smooth(HEIGHT, WIDTH)).convert("YCbCr"))
    stored = ycbcr if planarconfig == "contig" else np.moveaxis(ycbcr, -1, 0)
    options = {"photometric": "ycbcr", "planarconfig": planarconfig, "rowsperstrip": 7}
    tifffile.imwrite(path := tmp_path / "image.tif", stored, metadata=None, **options)
    expected = np.asarray(Image.fromarray(ycbcr, "YCbCr").convert("RGB")).astype(int)
    assert np.abs(read(path).pixels - expected).max() <= 1


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_samples_are_refused_by_name(dtype, tmp_path):
    tifffile.imwrite(path := tmp_path / "image.tif", np.zeros((32, 32), dtype), photometric="minisblack")
    bits = 8 * np.dtype(dtype).itemsize
    message = rf"image\.tif: samples are complex floats of {bits} bits, which are not supported; convert it first"
    with pytest.raises(UnsupportedImageError, match=message):
        open_image(path)


def test_signed_samples_of_24_bits_are_refused_by_name(tmp_path):
    tifffile.imwrite(path := tmp_path / "image.tif", np.zeros((32, 32), np.int32), photometric="minisblack")
    set_tag(path, "BitsPerSample", 24)
    with pytest.raises(UnsupportedImageError, match="samples are signed of 24 bits, which are not supported; convert it first"):
        open_image(path)


@pytest.mark.parametrize(
    ("code", "bands", "name"),
    [
        (32803, 1, "CFA"),
        (32845, 3, "LOGLUV"),
        (32844, 1, "LOGL"),
        (34892, 3, "LINEAR_RAW"),
        (10, 3, "ITULAB"),
        (4, 1, "MASK"),
        (777, 1, "777"),
        (8, 1, "CIELAB"),
        (5, 3, "SEPARATED"),
    ],
)
def test_other_colours_are_refused_by_name(code, bands, name, tmp_path):
    path = write_tiff(tmp_path / "image.tif", smooth(32, 32, bands))
    set_tag(path, "PhotometricInterpretation", code)
    message = rf"image\.tif: colours are {name} in {bands} samples of 8 bits, not supported; convert it first"
    with pytest.raises(UnsupportedImageError, match=message):
        open_image(path)


@pytest.mark.parametrize("fault", ["missing", "short"])
def test_a_palette_without_its_colours_is_refused(fault, tmp_path):
    options = {"photometric": "palette", "colormap": np.zeros((3, 256), np.uint16)}
    tifffile.imwrite(path := tmp_path / "image.tif", np.zeros((32, 32), np.uint8), **options)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tag = tiff.pages.first.tags["ColorMap"]
        if fault == "missing":
            with open(path, "r+b") as file:
                file.seek(tag.offset)
                file.write(struct.pack("<H", 60_000))
        else:
            tag.overwrite(np.zeros(3 * 16, np.uint16).tobytes(), dtype="H")
    with pytest.raises(UnsupportedImageError, match=r"image\.tif: a palette image without a whole colour map; .* damaged"):
        open_image(path)


def test_volumes_are_refused(tmp_path):
    options = {"photometric": "minisblack", "volumetric": True, "tile": (16, 32, 32)}
    tifffile.imwrite(path := tmp_path / "image.tif", np.zeros((16, 32, 32), np.uint8), **options)
    with pytest.raises(UnsupportedImageError, match="expected a flat image"):
        open_image(path)


@pytest.mark.parametrize(("code", "name"), [(34676, "SGILOG"), (32766, "NEXT"), (40000, "40000")])
def test_other_codecs_are_refused_by_name(code, name, tmp_path):
    path = write_tiff(tmp_path / "image.tif", smooth(HEIGHT, WIDTH), compression="deflate")
    set_tag(path, "Compression", code)
    with pytest.raises(UnsupportedImageError, match=f"compression {name} is not supported, convert it first"):
        open_image(path)


def test_old_style_jpeg_is_refused_by_name(tmp_path):
    path = write_tiff(tmp_path / "image.tif", smooth(HEIGHT, WIDTH), compression="deflate")
    set_tag(path, "Compression", 6)
    with pytest.raises(UnsupportedImageError, match=r"old-style JPEG \(compression 6\) is not supported; convert it first"):
        open_image(path)


BUDGET = 1 << 20


@pytest.mark.parametrize("codec", ["deflate", "lzw", "jpeg"])
def test_a_giant_compressed_strip_is_refused_with_the_remedy(codec, tmp_path):
    options = (CODECS | PICTURE_CODECS)[codec]
    path = write_tiff(tmp_path / "image.tif", np.zeros((1000, 1500, 3), np.uint8), rowsperstrip=1000, **options)
    message = (
        r"image\.tif: one compressed strip holds 1500 x 1000 pixels, which take 4 MiB of 1 once decoded; "
        r"write it with small tiles \(vips tiffsave IN OUT --tile --compression deflate\), or raise --chunk-size"
    )
    with pytest.raises(MemoryBudgetError, match=message):
        open_image(path, budget=BUDGET)


@pytest.mark.parametrize("options", [{}, {"planarconfig": "separate"}, {"compression": "deflate", "rowsperstrip": 100}])
def test_what_is_read_in_parts_needs_no_budget(options, tmp_path):
    pixels = np.zeros((1000, 1500, 3), np.uint8)
    pixels[500, 700] = 1, 2, 3
    with closing(open_image(write_tiff(tmp_path / "image.tif", pixels, **options), budget=BUDGET)) as image:
        np.testing.assert_array_equal(image.read(Window(500, 700, 1, 1)).pixels, [[[1, 2, 3]]])


@pytest.mark.parametrize(("budget", "fits"), [(32 * 16 * 3, True), (32 * 16 * 3 - 1, False)])
def test_a_tile_must_fit_the_budget(budget, fits, tmp_path):
    path = write_tiff(tmp_path / "image.tif", smooth(HEIGHT, WIDTH), tile=(32, 16), compression="lzw")
    if fits:
        assert info(path, budget=budget)["height"] == HEIGHT
    else:
        with pytest.raises(MemoryBudgetError, match="one compressed tile holds 16 x 32 pixels"):
            open_image(path, budget=budget)
