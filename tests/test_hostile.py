"""Damaged and malicious files, each in a process whose memory and time are limited: a result, or one clear line."""

import io
import json
import signal
import struct
import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from .conftest import SHARED
from .hostile_runner import MEMORY, SECONDS

if sys.platform != "linux":
    pytest.skip("the address space is limited and measured as on Linux", allow_module_level=True)

ROOT = Path(__file__).parents[1]
HOSTILE = SHARED / "hostile"
CORPUS = sorted(path.name for path in HOSTILE.iterdir()) if HOSTILE.exists() else []
UNEXPECTED, INPUT, BUDGET = 1, 3, 5

SIDE = 64
PIXELS = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), np.uint8).tobytes()
# Where a file has its pixels, its first page behind 4096 bytes of them, and the second behind a page of ten tags.
DATA = 64
FIRST = DATA + SIDE * SIDE
SECOND = FIRST + 2 + 10 * 12 + 4
BEYOND = 1 << 30
# Types of tags, by NumPy's name.
TYPES = {"u1": 1, "u2": 3, "u4": 4, "f4": 11, "f8": 12, "u8": 16}
ASCII, SHORT, LONG, RATIONAL, UNDEFINED, LONG8 = 2, 3, 4, 5, 7, 16
DEFLATE, LZMA, JPEG, ZSTD = 8, 34925, 7, 50000


def tiff(*pages, data=PIXELS, big=False, after=0):
    """A little-endian TIFF whose pages are dictionaries of tags; ``after`` is the offset behind the last page."""
    header = (
        struct.pack("<2sHHHQ", b"II", 43, 8, 0, DATA + len(data)) if big else struct.pack("<2sHI", b"II", 42, DATA + len(data))
    )
    file = header.ljust(DATA, b"\0") + data
    parts, offset = [file], len(file)
    for index, page in enumerate(pages):
        parts.append(directory(page, offset, big, after if index == len(pages) - 1 else None))
        offset += len(parts[-1])
    return b"".join(parts)


def directory(page, offset, big, after):
    """An IFD that begins at an offset; a tag is a number, an array, text, or (type, count, bytes) taken as they are."""
    word, count = ("<Q", struct.pack("<Q", len(page))) if big else ("<I", struct.pack("<H", len(page)))
    size = struct.calcsize(word)
    behind = offset + len(count) + len(page) * (4 + 2 * size) + size
    entries, values = b"", b""
    for tag, value in sorted(((tifffile.TIFF.TAGS[name], value) for name, value in page.items()), key=lambda item: item[0]):
        kind, n, stored = value if isinstance(value, tuple) else packed(value)
        if len(stored) > size:
            stored, values = struct.pack(word, behind + len(values)), values + stored
        entries += struct.pack("<HH" + word[1], tag, kind, n) + stored.ljust(size, b"\0")
    return count + entries + struct.pack(word, behind + len(values) if after is None else after) + values


def packed(value):
    if isinstance(value, bytes):
        return ASCII, len(value) + 1, value + b"\0"
    array = np.atleast_1d(value)
    array = array.astype(np.uint32) if array.dtype == np.int64 else array
    return TYPES[array.dtype.str[1:]], array.size, array.tobytes()


GRAY = {
    "ImageWidth": SIDE,
    "ImageLength": SIDE,
    "BitsPerSample": 8,
    "Compression": 1,
    "PhotometricInterpretation": 1,
    "StripOffsets": DATA,
    "SamplesPerPixel": 1,
    "RowsPerStrip": SIDE,
    "StripByteCounts": SIDE * SIDE,
}
TILED = {name: value for name, value in GRAY.items() if "Strip" not in name} | {
    "TileWidth": SIDE,
    "TileLength": SIDE,
    "TileOffsets": DATA,
    "TileByteCounts": SIDE * SIDE,
}
PALETTE = GRAY | {"PhotometricInterpretation": 3}
MASK = GRAY | {"NewSubfileType": 4, "PhotometricInterpretation": 4, "BitsPerSample": 1, "StripByteCounts": SIDE * SIDE // 8}
REDUCED = GRAY | {"NewSubfileType": 1, "ImageWidth": 8, "ImageLength": 8, "RowsPerStrip": 8, "StripByteCounts": 64}
SMALL_MASK = MASK | {"ImageWidth": 8, "ImageLength": 8, "RowsPerStrip": 8, "StripByteCounts": 8}
LAUGHS = b"".join(b'<!ENTITY e%d "%s">' % (i, b"&e%d;" % (i - 1) * 10) for i in range(1, 12))
ENTITY_BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e0 "ha">%s]><GDALMetadata><Item name="x">&e11;</Item></GDALMetadata>' % LAUGHS
)


def compressed(codec, data, page=TILED, **tags):
    counts = "TileByteCounts" if "TileWidth" in page else "StripByteCounts"
    return tiff(page | {"Compression": codec, counts: len(data)} | tags, data=data)


def deflate_bomb(mib=1024):
    """A stream of a thousandth of the MiB of zeros it inflates to: one flushed block, again and again."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = compressor.compress(bytes(1 << 20)) + compressor.flush(zlib.Z_FULL_FLUSH)
    return b"\x78\xda" + block * mib + b"\x03\0" + struct.pack(">I", (mib << 20) % 65521 << 16 | 1)


def zstd_bomb():
    """A frame that says it holds 1 GiB, and does: blocks of one byte, repeated 128 KiB times."""
    last, repeated, size = 1, 1 << 1, (128 << 10) << 3
    blocks = struct.pack("<I", size | repeated)[:3] + b"\0"
    return (
        struct.pack("<IBQ", 0xFD2FB528, 0xE0, 1 << 30) + blocks * 8191 + struct.pack("<I", size | repeated | last)[:3] + b"\0"
    )


def jpeg(width, height):
    """A JPEG of 64 x 64 pixels whose header says it has others."""
    file = io.BytesIO()
    Image.frombytes("L", (SIDE, SIDE), PIXELS).save(file, "jpeg")
    start = file.getvalue().index(b"\xff\xc0") + 5
    return file.getvalue()[:start] + struct.pack(">HH", height, width) + file.getvalue()[start + 4 :]


def png(width, height, *chunks):
    """A PNG of some size, with a little data."""
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    parts = (header, *chunks, (b"IDAT", zlib.compress(bytes(1 << 16))), (b"IEND", b""))
    framed = (struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


TALL = deflate_bomb(16)
SOUND = {
    "strips": tiff(GRAY),
    "tiles": tiff(TILED),
    "BigTIFF": tiff(GRAY, big=True),
    "compressed": compressed(DEFLATE, zlib.compress(PIXELS)),
    "pages": tiff(GRAY, GRAY),
}
CRAFTED = {
    "IFDs in a loop": tiff(GRAY, GRAY, after=FIRST),
    "an IFD behind itself": tiff(GRAY, after=FIRST),
    "5000 IFDs": tiff(*[GRAY] * 5000),
    "no IFD": tiff(),
    "next IFD beyond the file": tiff(GRAY, after=BEYOND),
    "SubIFD that is its parent": tiff(GRAY | {"SubIFDs": FIRST}),
    "SubIFD that is its own": tiff(GRAY | {"SubIFDs": SECOND}, GRAY | {"SubIFDs": SECOND}),
    "SubIFDs that are each other's": tiff(GRAY | {"SubIFDs": SECOND}, GRAY | {"SubIFDs": FIRST}),
    "SubIFD beyond the file": tiff(GRAY | {"SubIFDs": BEYOND}),
    "SubIFD in the pixels": tiff(GRAY | {"SubIFDs": DATA}),
    "4 billion SubIFDs": tiff(GRAY | {"SubIFDs": (LONG, 2**32 - 1, struct.pack("<I", FIRST))}),
    "strip beyond the file": tiff(GRAY | {"StripOffsets": BEYOND}),
    "tile beyond the file": tiff(TILED | {"TileOffsets": BEYOND}),
    "tile longer than the file": tiff(TILED | {"TileByteCounts": BEYOND}),
    "strip longer than the file": tiff(GRAY | {"StripByteCounts": 2**32 - 1}),
    "compressed tile longer than the file": compressed(DEFLATE, zlib.compress(PIXELS), TileByteCounts=BEYOND),
    "tile of no bytes": tiff(TILED | {"TileByteCounts": 0}),
    "offsets that end beyond 2^64": tiff(GRAY | {"StripOffsets": np.uint64(2**64 - 1)}, big=True),
    "strips that overlap the header": tiff(GRAY | {"StripOffsets": 0}),
    "width and height of 2^31": tiff(GRAY | {"ImageWidth": 2**31, "ImageLength": 2**31}),
    "tiles of 2^31 x 2^31": tiff(TILED | {"ImageWidth": 2**31, "ImageLength": 2**31}),
    "width and height of 2^32 - 1, deflate": compressed(
        DEFLATE, zlib.compress(PIXELS), GRAY, ImageWidth=2**32 - 1, ImageLength=2**32 - 1, RowsPerStrip=2**32 - 1
    ),
    "width of 0": tiff(GRAY | {"ImageWidth": 0}),
    "height of 0": tiff(GRAY | {"ImageLength": 0}),
    **{f"{bits} bits per sample": tiff(GRAY | {"BitsPerSample": bits}) for bits in (0, 7, 3000, 65535)},
    "other bits in each sample": tiff(GRAY | {"BitsPerSample": np.array([8, 16, 3], np.uint16), "SamplesPerPixel": 3}),
    **{f"{samples} samples": tiff(GRAY | {"SamplesPerPixel": samples}) for samples in (0, 65535)},
    "65535 samples, deflate": compressed(DEFLATE, zlib.compress(PIXELS), SamplesPerPixel=65535),
    "20000 samples, deflate": compressed(DEFLATE, zlib.compress(bytes(SIDE * SIDE * 20000)), SamplesPerPixel=20000),
    "65535 planes": tiff(GRAY | {"SamplesPerPixel": 65535, "PlanarConfiguration": 2}),
    **{f"{rows} rows per strip": tiff(GRAY | {"RowsPerStrip": rows}) for rows in (0, 2**32 - 1)},
    **{
        f"tiles of {width} x {height}": tiff(TILED | {"TileWidth": width, "TileLength": height})
        for width, height in ((0, 0), (0, SIDE), (16, 1 << 20), (1 << 20, 1 << 20), (2**32 - 1, 2**32 - 1))
    },
    "tiles of 16 x 2^20, deflate": compressed(
        DEFLATE, TALL, TileWidth=16, TileLength=1 << 20, TileOffsets=np.full(4, DATA), TileByteCounts=np.full(4, len(TALL))
    ),
    "60000 x 60000 in a deflate strip": compressed(
        DEFLATE, zlib.compress(PIXELS), GRAY, ImageWidth=60000, ImageLength=60000, RowsPerStrip=60000
    ),
    "no color map": tiff(PALETTE),
    "color map of 3": tiff(PALETTE | {"ColorMap": np.arange(3, dtype=np.uint16)}),
    "color map of 767": tiff(PALETTE | {"ColorMap": np.arange(767, dtype=np.uint16)}),
    "color map of text": tiff(PALETTE | {"ColorMap": b"red, green, blue" * 48}),
    "color map beyond the file": tiff(PALETTE | {"ColorMap": (SHORT, 768, struct.pack("<I", BEYOND))}),
    "palette of 65535 bits": tiff(PALETTE | {"BitsPerSample": 65535, "ColorMap": np.arange(768, dtype=np.uint16)}),
    "extra samples where there are none": tiff(GRAY | {"ExtraSamples": np.zeros(9, np.uint16)}),
    "extra sample of a kind unknown": tiff(GRAY | {"ExtraSamples": np.uint16(999)}),
    "65535 extra samples": tiff(GRAY | {"ExtraSamples": np.ones(65535, np.uint16)}),
    "RGB of one sample": tiff(GRAY | {"PhotometricInterpretation": 2}),
    "deflate bomb": compressed(DEFLATE, deflate_bomb()),
    "deflate bomb of 256 x 256": compressed(
        DEFLATE, deflate_bomb(), ImageWidth=256, ImageLength=256, TileWidth=256, TileLength=256
    ),
    "tile of the whole budget": compressed(
        DEFLATE, deflate_bomb(256), ImageWidth=1 << 14, ImageLength=1 << 14, TileWidth=1 << 14, TileLength=1 << 14
    ),
    "Zstandard bomb": compressed(ZSTD, zstd_bomb()),
    "JPEG of other dimensions": compressed(JPEG, jpeg(65500, 65500)),
    "JPEG of 25000 x 25000 in a tile of 64 x 64": compressed(JPEG, jpeg(25000, 25000)),
    "JPEG strip of other dimensions": compressed(JPEG, jpeg(65500, 65500), GRAY),
    "JPEG without tables": compressed(JPEG, jpeg(SIDE, SIDE), JPEGTables=(UNDEFINED, 4, b"\xff\xd8\xff\xd9")),
    "JPEG tables of rubbish": compressed(JPEG, jpeg(SIDE, SIDE), JPEGTables=(UNDEFINED, 4096, PIXELS)),
    "LZMA of rubbish": compressed(LZMA, PIXELS),
    **{
        f"codec {codec} of rubbish": compressed(codec, PIXELS) for codec in (5, 32773, 34712, 34887, 34933, 50001, 50002, 34892)
    },
    "width of text": tiff(GRAY | {"ImageWidth": b"64"}),
    "width of a float": tiff(GRAY | {"ImageWidth": np.float64(64)}),
    "width of NaN": tiff(GRAY | {"ImageWidth": np.float32("nan")}),
    "offsets of floats": tiff(GRAY | {"StripOffsets": np.float32(DATA)}),
    "byte counts of text": tiff(TILED | {"TileByteCounts": b"4096"}),
    "compression of text": tiff(GRAY | {"Compression": b"lzw"}),
    "two widths": tiff(GRAY | {"ImageWidth": np.array([SIDE, SIDE])}),
    "type unknown": tiff(GRAY | {"ImageWidth": (99, 1, b"@")}),
    "4 billion offsets": tiff(GRAY | {"StripOffsets": (LONG, 2**32 - 1, struct.pack("<I", DATA))}),
    "2^63 offsets": tiff(GRAY | {"StripOffsets": (LONG8, 2**63, struct.pack("<Q", DATA))}, big=True),
    "2^64 - 1 widths": tiff(GRAY | {"ImageWidth": (LONG8, 2**64 - 1, struct.pack("<Q", DATA))}, big=True),
    "2^63 tags": tiff(GRAY, big=True)[:FIRST] + struct.pack("<Q", 2**63) + tiff(GRAY, big=True)[FIRST + 8 :],
    "65535 tags": tiff(GRAY)[:FIRST] + b"\xff\xff" + tiff(GRAY)[FIRST + 2 :],
    **{
        f"nodata of {text.decode()[:9]}": tiff(GRAY | {"GDAL_NODATA": text})
        for text in (b"nothing", b"nan", b"1e999", b"-1", b"9" * 5000, b"")
    },
    "nodata of bytes": tiff(GRAY | {"GDAL_NODATA": np.arange(9, dtype=np.uint8)}),
    "nodata for a tile of no bytes": tiff(TILED | {"GDAL_NODATA": b"what", "TileByteCounts": 0}),
    "entity bomb": tiff(GRAY | {"GDAL_METADATA": ENTITY_BOMB}),
    "entity bomb as a description": tiff(GRAY | {"ImageDescription": ENTITY_BOMB}),
    "metadata that is no XML": tiff(GRAY | {"GDAL_METADATA": b"<GDALMetadata><Item"}),
    "profile of rubbish": tiff(GRAY | {"InterColorProfile": (UNDEFINED, 4096, PIXELS)}),
    "profile beyond the file": tiff(GRAY | {"InterColorProfile": (UNDEFINED, BEYOND, struct.pack("<I", DATA))}),
    "georeferencing of rubbish": tiff(
        GRAY
        | {
            "GeoKeyDirectoryTag": np.full(8, 65535, np.uint16),
            "ModelPixelScaleTag": np.float64("nan"),
            "ModelTiepointTag": b"?",
        }
    ),
    "resolution of nothing by nothing": tiff(GRAY | {"XResolution": (RATIONAL, 1, bytes(8)), "ResolutionUnit": 77}),
    "orientation of 77": tiff(GRAY | {"Orientation": np.uint16(77)}),
    "mask": tiff(GRAY, MASK),
    "mask of another size": tiff(GRAY, SMALL_MASK),
    "mask beyond the file": tiff(GRAY, MASK | {"StripOffsets": BEYOND}),
    "mask of 2^31 x 2^31": tiff(GRAY, MASK | {"ImageWidth": 2**31, "ImageLength": 2**31}),
    "two masks": tiff(GRAY, MASK, SMALL_MASK),
    "mask that is its own": tiff(MASK, after=FIRST),
    "masks in a loop": tiff(GRAY | {"Software": b"one"}, MASK, after=SECOND),
    "levels in a loop": tiff(GRAY | {"Software": b"one"}, REDUCED, after=SECOND),
    "mask in a SubIFD": tiff(GRAY | {"SubIFDs": SECOND}, MASK),
    "mask of another size in a SubIFD": tiff(GRAY | {"SubIFDs": SECOND}, SMALL_MASK),
    "levels larger than the image": tiff(GRAY, GRAY | {"NewSubfileType": 1, "ImageWidth": 2**31, "ImageLength": 2**31}),
    "PNG of 60000 x 60000": png(60000, 60000),
    "PNG whose text is a bomb": png(SIDE, SIDE, (b"zTXt", b"x\0\0" + deflate_bomb())),
    "PNG whose profile is a bomb": png(SIDE, SIDE, (b"iCCP", b"x\0\0" + deflate_bomb())),
    "JPEG of 65500 x 65500": jpeg(65500, 65500),
}


# What is refused, by a piece of the line that says so; all else is quantized.
REFUSED = {
    "not a sound TIFF": [
        "no IFD",
        "0 rows per strip",
        "tiles of 0 x 0",
        "tiles of 0 x 64",
        "color map of text",
        "width of NaN",
        "two widths",
        "2^63 tags",
        "65535 tags",
    ],
    "strip 0 is truncated": [
        "strip beyond the file",
        "strip longer than the file",
        "offsets that end beyond 2^64",
        "65535 samples",
        "mask beyond the file",
    ],
    "tile 0 is truncated": ["tile beyond the file", "tile longer than the file", "compressed tile longer than the file"],
    "1 offsets for 33554432 strips": ["width and height of 2^31"],
    "1 offsets for 1125899906842624 tiles": ["tiles of 2^31 x 2^31"],
    "expected a flat image, not empty": ["width of 0", "height of 0", "0 samples"],
    "ImageWidth (tag 256) is missing or cannot be read": ["type unknown", "2^64 - 1 widths"],
    "samples are unsigned of 0 bits": ["0 bits per sample"],
    "samples are unsigned of 3000 bits": ["3000 bits per sample"],
    "samples are unsigned of 65535 bits": ["65535 bits per sample", "palette of 65535 bits"],
    "samples are unsigned of (8, 16, 3) bits": ["other bits in each sample"],
    "1 offsets for 65535 strips": ["65535 planes"],
    "1 offsets for 4 tiles": ["tiles of 16 x 1048576"],
    "a palette image without a whole color map": [
        "no color map",
        "color map of 3",
        "color map of 767",
        "color map beyond the file",
    ],
    "tile 0 is corrupt": [
        "deflate bomb",
        "deflate bomb of 256 x 256",
        "Zstandard bomb",
        "JPEG tables of rubbish",
        "LZMA of rubbish",
        "codec 5 of rubbish",
        "codec 32773 of rubbish",
        "codec 34712 of rubbish",
        "codec 34887 of rubbish",
        "codec 34933 of rubbish",
        "codec 50001 of rubbish",
        "codec 50002 of rubbish",
        "codec 34892 of rubbish",
    ],
    "tile 0 is corrupt (its data says 65500 x 65500 pixels)": ["JPEG of other dimensions"],
    "tile 0 is corrupt (its data says 25000 x 25000 pixels)": ["JPEG of 25000 x 25000 in a tile of 64 x 64"],
    "strip 0 is corrupt (its data says 65500 x 65500 pixels)": ["JPEG strip of other dimensions"],
    "strip offsets or byte counts are no numbers": ["offsets of floats"],
    "tile offsets or byte counts are no numbers": ["byte counts of text"],
    "compression lzw is not supported": ["compression of text"],
    "0 offsets for 1 strips": ["4 billion offsets", "2^63 offsets"],
    "its chain of pages runs in a circle": ["mask that is its own"],
    "cannot be decoded (Decompressed data too large": ["PNG whose text is a bomb", "PNG whose profile is a bomb"],
}
# What is too large for the budget, likewise.
TOO_LARGE = {
    "one compressed strip holds 4294967295 x 4294967295 pixels": ["width and height of 2^32 - 1, deflate"],
    "4 components in 65,535 bands take": ["65535 samples, deflate"],
    "4 components in 20,000 bands take": ["20000 samples, deflate"],
    "one compressed tile holds 1048576 x 1048576 pixels": ["tiles of 1048576 x 1048576"],
    "one compressed tile holds 4294967295 x 4294967295 pixels": ["tiles of 4294967295 x 4294967295"],
    "one compressed strip holds 60000 x 60000 pixels": ["60000 x 60000 in a deflate strip"],
    "a PNG of 60000 x 60000 pixels is decoded as a whole": ["PNG of 60000 x 60000"],
    "a JPEG of 65500 x 65500 pixels is decoded as a whole": ["JPEG of 65500 x 65500"],
}
# What of them does not reach their output, which is said.
LOST = {
    "GDAL_NODATA": ["nodata of nothing", "nodata of ", "nodata of bytes", "nodata for a tile of no bytes"],
    "GDAL_METADATA": ["entity bomb", "metadata that is no XML"],
    "ImageDescription (XML)": ["entity bomb as a description"],
    "InterColorProfile": ["profile of rubbish"],
    "ModelPixelScaleTag, ModelTiepointTag": ["georeferencing of rubbish"],
    "Orientation": ["orientation of 77"],
    "masks of other levels": ["mask of another size", "mask of another size in a SubIFD"],
    "page 1": ["mask of 2^31 x 2^31", "IFDs in a loop", "SubIFD that is its own", "SubIFDs that are each other's"],
    "1 smaller picture of pages": ["levels larger than the image"],
    "64 other pages or more, from page 1 on": ["5000 IFDs"],
}
# How each ends: its exit code, and what is in the line it prints.
ENDS = dict.fromkeys(CRAFTED, (0, ""))
ENDS |= {name: (0, f"not in the output: {lost}\n") for lost, names in LOST.items() for name in names}
ENDS |= {
    name: (code, line) for code, lines in ((INPUT, REFUSED), (BUDGET, TOO_LARGE)) for line in lines for name in lines[line]
}


def python(*arguments, **options):
    """Run Python in a process of its own, and return what it prints, a JSON object a line."""
    ran = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, encoding="utf-8", timeout=300, **options)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return [json.loads(line) for line in ran.stdout.splitlines()]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """How each file ended, by its name; and the files themselves."""
    folder = tmp_path_factory.mktemp("hostile")
    files = {name: HOSTILE / name for name in CORPUS}
    for name, data in (SOUND | CRAFTED).items():
        files[name] = folder / f"{name}.tif"
        files[name].write_bytes(data)
    jobs = {str(file): str(folder / str(index)) for index, file in enumerate(files.values())}
    ended = {row["file"]: row for row in python("-m", "tests.hostile_runner", input=json.dumps(jobs))}
    return {name: ended[str(file)] | {"output": Path(jobs[str(file)], "output", "out.tif")} for name, file in files.items()}


def assert_quantized(outcome):
    """The output is the only file, has the pixels of the first page, and no labels but the components' and nodata's."""
    assert outcome["left"] == ["out.tif"]
    with tifffile.TiffFile(outcome["file"]) as source:
        page = source.pages.first
        size = int(page.imagelength) * int(page.imagewidth)
    labels = tifffile.imread(outcome["output"])
    assert labels.size == size
    assert labels.max() <= 4


def assert_refused(outcome):
    """One line that names the file, and nothing else anywhere."""
    assert outcome["left"] == []
    line = outcome["printed"]
    assert line.startswith("streamgmm: ")
    assert line.count("\n") == 1
    assert Path(outcome["file"]).name in line
    assert "Traceback" not in line


def assert_survived(outcome):
    assert outcome["code"] in (0, INPUT, BUDGET), outcome["printed"]
    assert outcome["seconds"] < SECONDS
    assert outcome["peak"] < MEMORY
    (assert_refused if outcome["code"] else assert_quantized)(outcome)


@pytest.mark.collection
@pytest.mark.parametrize("name", CORPUS)
def test_a_damaged_file_from_the_wild_does_no_harm(name, outcomes):
    assert_survived(outcomes[name])


@pytest.mark.collection
def test_so_many_of_the_files_from_the_wild_are_quantized(outcomes):
    assert Counter(outcomes[name]["code"] for name in CORPUS) == {0: 37, INPUT: 160, BUDGET: 6}


def test_every_end_is_of_a_file():
    assert ENDS.keys() == CRAFTED.keys()


@pytest.mark.parametrize("name", CRAFTED)
def test_a_malicious_file_does_no_harm(name, outcomes):
    code, line = ENDS[name]
    outcome = outcomes[name]
    assert_survived(outcome)
    assert outcome["code"] == code
    assert line in outcome["printed"]
    assert bool(line) == bool(outcome["printed"])


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_file_made_the_same_way_is_quantized(name, outcomes):
    assert outcomes[name]["code"] == 0
    assert_survived(outcomes[name])


@pytest.mark.parametrize("name", [name for names in TOO_LARGE.values() for name in names if "samples" not in name])
def test_what_is_declared_too_large_for_the_budget_is_not_allocated(name, outcomes):
    assert outcomes[name]["peak"] < outcomes["strips"]["peak"] + MEMORY / 8


@pytest.mark.parametrize("name", [name for name in CRAFTED if "bomb" in name])
def test_a_bomb_does_not_go_off(name, outcomes):
    assert outcomes[name]["peak"] < outcomes["strips"]["peak"] + MEMORY / 8


def confined(call, folder, seconds=SECONDS):
    """Run an expression under the limits."""
    code = "import json, sys, time; from pathlib import Path; from tests.hostile_runner import confined; "
    return python("-c", f"{code}print(json.dumps(confined(lambda: {call}, Path({str(folder)!r}), {seconds})))")[0]


def test_the_limit_of_memory_holds(tmp_path):
    ended = confined("b'x' * (2 << 30)", tmp_path / "large")
    assert ended["code"] == UNEXPECTED
    assert ended["printed"].endswith("MemoryError\n")
    assert ended["peak"] < MEMORY
    ended = confined("b'x' * (1 << 29)", tmp_path / "small")
    assert ended["code"] == 0
    assert 1 << 29 < ended["peak"] < MEMORY


@pytest.mark.parametrize("call", ["time.sleep(60)", "sum(range(10**12))"])
def test_the_limit_of_time_holds(call, tmp_path):
    ended = confined(call, tmp_path / "long", seconds=1)
    assert ended["code"] == -signal.SIGALRM
    assert 1 <= ended["seconds"] < 5


def test_what_is_printed_and_left_is_seen(tmp_path):
    folder = tmp_path / "seen"
    ended = confined(f"(print('out'), Path({str(folder)!r}, 'output', 'litter').touch(), sys.exit('in err'))", folder)
    assert (ended["code"], ended["left"], ended["printed"]) == (1, ["litter"], "out\n")
