"""A page that cannot be read says what it lacks, or what is not supported; damaged is what contradicts itself."""

import struct

import numpy as np
import pytest
import tifffile

from streamgmm.errors import ImageReadError, UnsupportedImageError
from streamgmm.image.tiff.checks import named

from ...images import read, smooth, with_tags, write_tiff

STRIPS = {"rowsperstrip": 8, "compression": "deflate"}
TILES = {"tile": (32, 32), "compression": "deflate"}


def without(path, code):
    """Remove a tag from the first directory of a TIFF."""
    data = bytearray(path.read_bytes())
    (offset,) = struct.unpack_from("<I", data, 4)
    (n,) = struct.unpack_from("<H", data, offset)
    entries = [data[offset + 2 + 12 * i : offset + 14 + 12 * i] for i in range(n)]
    kept = b"".join(entry for entry in entries if struct.unpack_from("<H", entry)[0] != code)
    assert len(kept) == 12 * (n - 1)
    struct.pack_into("<H", data, offset, n - 1)
    data[offset + 2 : offset + 6 + len(kept)] = kept + bytes(4)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("layout", "code"),
    [
        *((STRIPS, code) for code in (256, 257, 273, 279)),
        *((TILES, code) for code in (256, 257, 322, 323, 324, 325)),
        *(({"rowsperstrip": 8}, code) for code in (256, 257, 273, 279)),
        *(({"tile": (32, 32)}, code) for code in (256, 257, 322, 323, 324, 325)),
    ],
)
def test_a_tag_that_is_missing_is_named(layout, code, tmp_path):
    path = without(write_tiff(tmp_path / "in.tif", smooth(96, 64), **layout), code)
    with pytest.raises(ImageReadError, match=rf"in\.tif: .*{tifffile.TIFF.TAGS[code]} \(tag {code}\) is missing") as refused:
        read(path)
    assert "damaged" not in str(refused.value)


@pytest.mark.parametrize("code", [258, 277, 278])
def test_data_that_does_not_fit_what_is_taken_for_want_of_a_tag_is_not_said_to_be_damaged_alone(code, tmp_path):
    path = without(write_tiff(tmp_path / "in.tif", smooth(96, 64), predictor=2, **STRIPS), code)
    with pytest.raises(ImageReadError, match=rf"strip 0 is corrupt, or not what it is taken for without \w+ \(tag {code}\) \("):
        read(path)


def test_tags_that_nothing_is_wrong_with_are_not_named(tmp_path):
    path = write_tiff(tmp_path / "in.tif", smooth(96, 64), **STRIPS)
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages.first.dataoffsets[0]
    data = bytearray(path.read_bytes())
    data[offset + 5 : offset + 100] = bytes(95)
    path.write_bytes(data)
    with pytest.raises(ImageReadError, match=r"strip 0 is corrupt \("):
        read(path)


def test_byte_counts_that_are_too_few_are_counted(tmp_path):
    path = write_tiff(tmp_path / "in.tif", smooth(96, 64), **STRIPS)
    with_tags(path, {279: (100, 100, 100)})
    with pytest.raises(ImageReadError, match=r"StripByteCounts \(tag 279\) has 3 values, for 12 strips"):
        read(path)


@pytest.mark.parametrize(("predictor", "dtype"), [(99, np.uint8), (4, np.uint16), (3, np.uint8), (34894, np.uint16)])
def test_a_predictor_that_is_not_supported_is_named(predictor, dtype, tmp_path):
    path = write_tiff(tmp_path / "in.tif", smooth(96, 64, dtype=dtype), predictor=2, **TILES)
    with_tags(path, {317: predictor})
    kind = f"predictor {predictor} of {np.dtype(dtype)} samples is not supported"
    with pytest.raises(UnsupportedImageError, match=rf"in\.tif: {kind}; convert it first"):
        read(path)


@pytest.mark.parametrize("compression", [65000, 65001, 65002, 32809, 12345])
def test_a_codec_that_is_not_supported_is_named(compression, tmp_path):
    path = with_tags(write_tiff(tmp_path / "in.tif", smooth(96, 64), **TILES), {259: compression})
    with pytest.raises(UnsupportedImageError, match=r"in\.tif: compression \w+ is not supported"):
        read(path)


def test_a_tag_has_its_name():
    assert named(273) == "StripOffsets (tag 273)"
