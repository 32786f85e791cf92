"""Bytes flipped in sound TIFFs of every kind: the reader gives pixels of the shape it promised, or a clear error."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from streamgmm.errors import StreamGMMError
from streamgmm.image.open import open_image
from streamgmm.image.tiles import Window

PHOTO = Path(__file__).parent / "data" / "astronaut.tif"
CODECS = (None, "adobe_deflate", "lzw", "zstd", "packbits", "jpeg", "webp", "jpeg2000", "lzma", "lerc")
CASES = 3000


def sound_files():
    """Yield small TIFFs, one of each kind."""
    pixels = tifffile.imread(PHOTO)[100:164, 100:180]
    kinds = [
        {"compression": codec, **layout, "data": pixels}
        for codec in CODECS
        for layout in ({"tile": (32, 32)}, {"rowsperstrip": 16})
    ]
    for more in ({"byteorder": ">"}, {"bigtiff": True}, {}):
        kinds.append({"compression": "lzw", "predictor": 2, "tile": (32, 32), "data": pixels, **more})
    kinds.append({"data": np.moveaxis(pixels, -1, 0), "planarconfig": "separate", "rowsperstrip": 16})
    kinds.append({"data": pixels.astype(np.uint16) * 257, "compression": "adobe_deflate", "tile": (32, 32)})
    gray = pixels[:, :, 0]
    nodata = (42113, "s", 0, "7", True)
    kinds += [
        {"data": np.dstack([pixels, gray]), "extrasamples": ["assocalpha"], "compression": "lzw", "tile": (32, 32)},
        {"data": gray, "photometric": "palette", "colormap": np.arange(768, dtype=np.uint16).reshape(3, 256) * 80},
        {"data": gray >> 4, "photometric": "miniswhite", "bitspersample": 4, "rowsperstrip": 16, "extratags": [nodata]},
        {"data": gray.astype(np.float32), "photometric": "minisblack", "compression": "adobe_deflate", "predictor": 3},
        {"data": gray.astype(np.int32), "photometric": "minisblack", "compression": "zstd", "predictor": 2},
        {"data": np.dstack([pixels, gray]), "photometric": "separated", "compression": "packbits"},
        {"data": pixels, "photometric": "cielab", "tile": (32, 32)},
        {"data": pixels, "photometric": "ycbcr"},
        {"data": pixels, "photometric": "ycbcr", "compression": "jpeg", "subsampling": (2, 2), "tile": (32, 32)},
    ]
    for kind in kinds:
        file = io.BytesIO()
        tifffile.imwrite(file, kind.pop("data"), metadata=None, **{"photometric": "rgb"} | kind)
        yield file.getvalue()
    for codec in ("adobe_deflate", "lzw"):
        yield with_coarse_chroma(codec)


def with_coarse_chroma(codec):
    """A TIFF of 64 x 64 pixels in YCbCr, a chroma sample to 2 x 2 of them."""
    file, units = io.BytesIO(), np.random.default_rng(0).integers(0, 256, 32 * 32 * 6).astype(np.uint8)
    strip = tifffile.TIFF.COMPRESSORS[tifffile.COMPRESSION[codec.upper()]](units.tobytes())
    options = {"photometric": "ycbcr", "compression": codec, "rowsperstrip": 64, "metadata": None}
    tifffile.imwrite(file, iter([strip]), shape=(64, 64, 3), dtype=np.uint8, **options)
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        tiff.pages.first.tags["YCbCrSubSampling"].overwrite((2, 2))
    return file.getvalue()


@pytest.mark.parametrize("codec", ["adobe_deflate", "lzw"])
def test_a_file_with_coarse_chroma_is_sound(codec, tmp_path):
    path = tmp_path / "image.tif"
    path.write_bytes(with_coarse_chroma(codec))
    check_read(path)


def damaged(data, generator):
    """Cut a file short, or change a few bytes: anywhere, in the header, or at the end."""
    where = generator.integers(4)
    if where == 0:
        return data[: generator.integers(len(data))]
    low, high = ((0, len(data)), (0, min(400, len(data))), (max(0, len(data) - 400), len(data)))[where - 1]
    data = bytearray(data)
    for _ in range(generator.integers(1, 8)):
        data[generator.integers(low, high)] = generator.integers(256)
    return bytes(data)


def check_read(path):
    """Read at most 2048 x 2048 pixels of a file."""
    image = open_image(path, budget=64 << 20)
    try:
        height, width, bands = image.shape
        window = Window(0, 0, min(height, 2048), min(width, 2048))
        pixels, valid = image.read(window)
        assert pixels.shape == (window.height, window.width, bands)
        assert pixels.dtype == image.dtype
        assert valid is None or (valid.shape, valid.dtype) == (pixels.shape[:2], bool)
    finally:
        image.close()


def flip(path, seed, cases):
    """Read damaged files, and count how many were read all the same and how many were refused."""
    generator = np.random.default_rng(seed)
    sound, outcomes = list(sound_files()), {"read": 0, "refused": 0}
    for case in range(cases):
        path.write_bytes(damaged(sound[case % len(sound)], generator))
        try:
            check_read(path)
            outcomes["read"] += 1
        except StreamGMMError:
            outcomes["refused"] += 1
    return outcomes


def flip_in_a_process(path, seed, cases):
    """Flip in a process of its own, because a codec that is misled takes its process down."""
    code = f"from tests.test_fuzz import flip, json, Path; print(json.dumps(flip(Path({str(path)!r}), {seed}, {cases})))"
    return subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], capture_output=True, encoding="utf-8")


@pytest.mark.parametrize("seed", range(2))
def test_damaged_files_are_read_or_refused(seed, tmp_path):
    done = flip_in_a_process(tmp_path / "damaged.tif", seed, CASES)
    assert done.returncode == 0, done.stderr[-2000:]
    outcomes = json.loads(done.stdout)
    assert sum(outcomes.values()) == CASES
    assert min(outcomes.values()) > CASES / 20


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 12))
def test_many_more_damaged_files_are_read_or_refused(seed, tmp_path):
    done = flip_in_a_process(tmp_path / "damaged.tif", seed, 5 * CASES)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_predictor_without_compression_is_undone_beside_the_map(tmp_path):
    path, pixels = tmp_path / "predicted.tif", tifffile.imread(PHOTO)[:64, :64]
    predicted = np.diff(pixels.reshape(2, 32, 2, 32, 3), axis=3, prepend=np.zeros((2, 32, 2, 1, 3), np.uint8))
    tiles = [predicted[row, :, column].astype(np.uint8).tobytes() for row in range(2) for column in range(2)]
    tifffile.imwrite(
        path,
        iter(tiles),
        shape=pixels.shape,
        dtype=np.uint8,
        tile=(32, 32),
        photometric="rgb",
        metadata=None,
        compression="adobe_deflate",
        predictor=2,
    )
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages.first.tags["Compression"].overwrite(1)
    image = open_image(path)
    np.testing.assert_array_equal(image.read(Window(0, 0, 64, 64)).pixels, pixels)
    image.close()


def test_offsets_that_are_text_are_damage(tmp_path):
    path = tmp_path / "text.tif"
    tifffile.imwrite(path, tifffile.imread(PHOTO)[:64, :64], tile=(32, 32), photometric="rgb", metadata=None)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages.first.tags["TileOffsets"].overwrite("offsets", dtype="s")
    with pytest.raises(StreamGMMError, match="damaged"):
        open_image(path)


def test_tags_of_the_wrong_kind_are_damage(tmp_path):
    path = tmp_path / "wrong.tif"
    tifffile.imwrite(path, tifffile.imread(PHOTO)[:64, :64], tile=(32, 32), photometric="rgb", metadata=None)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages.first.tags["TileWidth"].overwrite((32, 32, 32))
    with pytest.raises(StreamGMMError, match="not a sound TIFF"):
        open_image(path)
