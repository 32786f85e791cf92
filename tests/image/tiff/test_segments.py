"""Tiles and strips of every codec and layout are as tifffile decodes them, in any window; damage is named by its place."""

import itertools
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from streamgmm.errors import ImageReadError, MemoryBudgetError, UnsupportedImageError
from streamgmm.image.open import open_image
from streamgmm.image.tiff.file import SharedFile
from streamgmm.image.tiff.segments import Segments
from streamgmm.image.tiles import Window

from ...images import read, segments, smooth, whole, with_tags, write_tiff
from ..gdal import read_gdal

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


def check_read(path):
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
    check_read(path)


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("bands", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(("layout", "codec"), [("striped", "none"), ("tiled", "deflate, predictor")])
def test_every_form_of_samples_reads_as_tifffile_reads_it(layout, codec, bands, dtype, byteorder, bigtiff, tmp_path):
    options = LAYOUTS[layout] | CODECS[codec] | {"byteorder": byteorder, "bigtiff": bigtiff}
    path = write_tiff(tmp_path / "image.tif", smooth(HEIGHT, WIDTH, bands, dtype), **options)
    assert path.read_bytes()[:4] == {"<": b"II", ">": b"MM"}[byteorder] + struct.pack(f"{byteorder}H", 43 if bigtiff else 42)
    check_read(path)


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
    check_read(path)


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


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("photometric", ["palette", "miniswhite"])
def test_samples_are_as_stored_whatever_colors_they_stand_for(photometric, bits, tmp_path):
    labels = smooth(HEIGHT, WIDTH, 1)[..., 0] >> (8 - bits)
    colors = {"colormap": np.zeros((3, 256), np.uint16)} if photometric == "palette" else {"bitspersample": bits}
    stored = labels.astype(bool) if bits == 1 and photometric == "miniswhite" else labels
    tifffile.imwrite(path := tmp_path / "image.tif", stored, photometric=photometric, rowsperstrip=7, **colors)
    with closing(SharedFile(path)) as file:
        samples = Segments(file, file.tiff.pages.first, None)
        assert (samples.shape, samples.kind) == ((HEIGHT, WIDTH, 1), "strip")
        np.testing.assert_array_equal(samples.read(WINDOW).pixels[..., 0], stored[WINDOW.slices])


@pytest.mark.parametrize("window", [WINDOW, Window(3, 0, 20, WIDTH), Window(5, WIDTH - 1, 1, 1)])
@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
def test_any_window_of_uncompressed_pixels_in_one_piece_is_read_alone(planarconfig, window, tmp_path, monkeypatch):
    pixels, sizes = smooth(HEIGHT, WIDTH), []
    path = write_tiff(tmp_path / "image.tif", pixels, rowsperstrip=7, planarconfig=planarconfig)
    with closing(open_image(path)) as image:
        assert image.info()["in_one_piece"]
        assert image.segment == (1, 1)
        read_into = SharedFile.read_into
        monkeypatch.setattr(SharedFile, "read_into", lambda *given: sizes.append(read_into(*given)) or sizes[-1])
        np.testing.assert_array_equal(image.read(window).pixels, pixels[window.slices])
    assert sum(sizes) == window.height * window.width * 3


def test_what_cannot_be_read_whole_is_an_error(tmp_path, monkeypatch):
    with closing(open_image(write_tiff(tmp_path / "image.tif", smooth(HEIGHT, WIDTH)))) as image:
        monkeypatch.setattr(SharedFile, "read_into", lambda *_: 10)
        with pytest.raises(ImageReadError, match=r"image\.tif: 10 of [\d,]+ bytes at [\d,]+ could be read"):
            image.read(WINDOW)


def test_samples_of_the_other_byte_order_are_swapped(tmp_path):
    pixels = smooth(HEIGHT, WIDTH, 3, np.uint16)
    with closing(open_image(write_tiff(tmp_path / "image.tif", pixels, byteorder=">"))) as image:
        np.testing.assert_array_equal(whole(image).pixels, pixels)


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


# --- Damage


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


def test_an_uncompressed_tile_has_as_many_bytes_as_its_shape_says(tmp_path):
    path = write_tiff(tmp_path / "image.tif", smooth(HEIGHT, WIDTH), tile=(32, 16))
    set_tag(path, "TileByteCounts", 100, index=5)
    np.testing.assert_array_equal(read(path)[0], smooth(HEIGHT, WIDTH))


def test_a_tile_beyond_the_end_of_the_file_is_named(tmp_path):
    path = write_tiff(tmp_path / "image.tif", smooth(HEIGHT, WIDTH), tile=(32, 16), compression="deflate")
    set_tag(path, "TileOffsets", 2**31, index=5)
    with pytest.raises(ImageReadError, match=r"tile 5 is truncated \(0 of"):
        read(path)


@pytest.mark.parametrize("tag", ["TileWidth", "TileLength", "ImageWidth", "ImageLength"])
def test_a_size_of_nothing_is_refused(tag, tmp_path):
    path = write_tiff(tmp_path / "image.tif", smooth(HEIGHT, WIDTH), tile=(32, 16), compression="deflate")
    with_tags(path, {tag: 0})
    with pytest.raises((ImageReadError, UnsupportedImageError), match=r"image\.tif: "):
        open_image(path)


def test_a_file_with_fewer_offsets_than_tiles_is_refused(tmp_path):
    path = write_tiff(tmp_path / "image.tif", smooth(HEIGHT, WIDTH), tile=(32, 16), compression="deflate")
    with_tags(path, {"ImageLength": 1000})
    with pytest.raises(ImageReadError, match="18 offsets for 192 tiles; the file is damaged"):
        open_image(path)


# --- What is not supported


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_samples_are_refused_by_name(dtype, tmp_path):
    tifffile.imwrite(path := tmp_path / "image.tif", np.zeros((32, 32), dtype), photometric="minisblack")
    bits = 8 * np.dtype(dtype).itemsize
    message = rf"image\.tif: samples are complex floats of {bits} bits, which are not supported; convert it first"
    with pytest.raises(UnsupportedImageError, match=message):
        open_image(path)


def test_signed_samples_of_24_bits_are_refused_by_name(tmp_path):
    tifffile.imwrite(path := tmp_path / "image.tif", np.zeros((32, 32), np.int32), photometric="minisblack")
    with_tags(path, {"BitsPerSample": 24})
    with pytest.raises(UnsupportedImageError, match="samples are signed of 24 bits, which are not supported; convert it first"):
        open_image(path)


def test_volumes_are_refused(tmp_path):
    options = {"photometric": "minisblack", "volumetric": True, "tile": (16, 32, 32)}
    tifffile.imwrite(path := tmp_path / "image.tif", np.zeros((16, 32, 32), np.uint8), **options)
    with pytest.raises(UnsupportedImageError, match="expected a flat image"):
        open_image(path)


@pytest.mark.parametrize(("code", "name"), [(34676, "SGILOG"), (32766, "NEXT"), (40000, "40000")])
def test_other_codecs_are_refused_by_name(code, name, tmp_path):
    path = write_tiff(tmp_path / "image.tif", smooth(HEIGHT, WIDTH), compression="deflate")
    with_tags(path, {"Compression": code})
    with pytest.raises(UnsupportedImageError, match=f"compression {name} is not supported, convert it first"):
        open_image(path)


def test_old_style_jpeg_is_refused_by_name(tmp_path):
    path = write_tiff(tmp_path / "image.tif", smooth(HEIGHT, WIDTH), compression="deflate")
    with_tags(path, {"Compression": 6})
    with pytest.raises(UnsupportedImageError, match=r"old-style JPEG \(compression 6\) is not supported; convert it first"):
        open_image(path)


# --- The budget

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
        assert read(path, budget=budget).pixels.shape == (HEIGHT, WIDTH, 3)
    else:
        with pytest.raises(MemoryBudgetError, match="one compressed tile holds 16 x 32 pixels"):
            open_image(path, budget=budget)


# --- What tags say, and what follows from the shape ---

ENCODE = {
    "none": (1, lambda rows: rows.tobytes()),
    "deflate": (8, lambda rows: imagecodecs.zlib_encode(rows.tobytes())),
    "zstd": (50000, lambda rows: imagecodecs.zstd_encode(rows.tobytes())),
    "packbits": (32773, lambda rows: b"".join(imagecodecs.packbits_encode(row.tobytes()) for row in rows)),
    "lzw": (5, lambda rows: imagecodecs.lzw_encode(rows.tobytes())),
}


def write_strips(path, codec, pixels, rows, planar=False, absent=(), counts=None):
    """Write strips that are all of as many rows, the last one too, whatever the height; some are absent, and counts may lie."""
    height, width, bands = pixels.shape
    padded = np.zeros((-(-height // rows) * rows, width, bands), np.uint8)
    padded[:height] = pixels
    planes = np.split(padded, bands, axis=2) if planar else [padded]
    code, encode = ENCODE[codec]
    strips = [encode(np.ascontiguousarray(part)) for plane in planes for part in np.split(plane, len(padded) // rows)]
    strips = [b"" if i in absent else strip for i, strip in enumerate(strips)]
    tags = [(256, 4, [width]), (257, 4, [height]), (258, 3, [8] * bands), (259, 3, [code]), (262, 3, [2 if bands > 2 else 1])]
    tags += [(273, 4, None), (277, 3, [bands]), (278, 4, [rows]), (279, 4, counts or list(map(len, strips)))]
    tags += [(284, 3, [2 if planar else 1])]
    sizes = [len(strips if values is None else values) * (2 if kind == 3 else 4) for _, kind, values in tags]
    start = 14 + 12 * len(tags)
    ends = start + sum(size for size in sizes if size > 4) + np.cumsum([0, *map(len, strips)])
    offsets = [0 if i in absent else int(end) for i, end in enumerate(ends[:-1])]
    entries, more = b"", b""
    for (tag, kind, values), size in zip(tags, sizes, strict=True):
        packed = struct.pack(f"<{size // (2 if kind == 3 else 4)}{'H' if kind == 3 else 'I'}", *(values or offsets))
        entries += struct.pack("<HHI", tag, kind, len(values or offsets))
        entries += packed.ljust(4, b"\0") if size <= 4 else struct.pack("<I", start + len(more))
        more += packed if size > 4 else b""
    path.write_bytes(b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4) + more + b"".join(strips))
    return path


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("codec", ENCODE)
def test_the_last_strip_may_hold_as_many_rows_as_the_others(codec, planar, tmp_path):
    pixels = smooth(50, 40)
    path = write_strips(tmp_path / "image.tif", codec, pixels, 16, planar)
    np.testing.assert_array_equal(read(path)[0], pixels)
    np.testing.assert_array_equal(read_gdal(path)[0], pixels)


@pytest.mark.parametrize("codec", ["none", "deflate"])
def test_a_pixel_is_masked_where_all_of_its_planes_are_absent(codec, tmp_path):
    pixels = smooth(48, 40)
    path = write_strips(tmp_path / "image.tif", codec, pixels, 16, planar=True, absent=(0, 3, 4, 1, 7))
    expected, _ = read_gdal(path)  # absent are the first strips of red and green, and the second of red, green and blue
    pixels, valid = read(path)
    np.testing.assert_array_equal(pixels[valid], expected[valid])
    np.testing.assert_array_equal(np.flatnonzero(~valid.all(axis=1)), np.arange(16, 32))
    assert valid[:16].all()


def test_the_sample_of_a_plane_that_is_absent_is_nodata(tmp_path):
    path = write_strips(tmp_path / "image.tif", "deflate", smooth(48, 40), 16, planar=True, absent=(0,))
    pixels, valid = read(path, nodata=7)
    assert valid is None or valid.all()
    assert (pixels[:16, :, 0] == 7).all()


def test_bytes_of_0_at_an_offset_are_damage_and_no_absence(tmp_path):
    path = write_strips(tmp_path / "image.tif", "lzw", smooth(48, 40), 16, counts=[0, 0, 0])
    with pytest.raises(ImageReadError, match="strip 0 is corrupt"):
        read(path)


@pytest.mark.parametrize("rows", [48, 16])
@pytest.mark.parametrize("count", [0, 5])
def test_how_many_bytes_of_raw_samples_there_are_follows_from_the_shape(count, rows, tmp_path):
    pixels = smooth(48, 40)
    path = write_strips(tmp_path / "image.tif", "none", pixels, rows, counts=[count] * (48 // rows))
    np.testing.assert_array_equal(read(path)[0], pixels)


def test_a_raw_page_without_an_offset_is_absent(tmp_path):
    path = write_strips(tmp_path / "image.tif", "none", smooth(48, 40), 48, absent=(0,))
    assert not read(path)[1].any()
