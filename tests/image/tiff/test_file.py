"""A file is read by offset, from any thread, as far as it goes; whatever goes wrong in it is one error that names it."""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from streamgmm.errors import ImageReadError, OptionError, UnsupportedImageError
from streamgmm.image.image import FileState
from streamgmm.image.tiff.file import SharedFile, damage

from ...images import n_open_files, read, smooth, write_tiff

SIZE = 75 * 90 * 3


@pytest.fixture
def path(tmp_path):
    return write_tiff(tmp_path / "image.tif", smooth(75, 90))


@pytest.fixture
def file(path):
    with closing(SharedFile(path)) as file:
        yield file


def test_bytes_are_read_from_any_offset(file, path):
    data = path.read_bytes()
    assert file.size == len(data)
    for offset, size in [(0, 4), (100, 1), (1000, 5000), (0, len(data)), (17, 0)]:
        assert file.read(offset, size) == data[offset : offset + size]


def test_threads_read_what_one_reads(file, path):
    data, offsets = path.read_bytes(), np.random.default_rng(0).integers(0, SIZE, 300).tolist()
    with ThreadPoolExecutor(4) as pool:
        for offset, found in zip(offsets, pool.map(lambda offset: bytes(file.read(offset, 500)), offsets), strict=True):
            assert found == data[offset : offset + 500]


@pytest.mark.parametrize("rest", [10, 1, 0])
def test_what_is_beyond_the_end_is_not_there(rest, file):
    assert len(file.read(file.size - rest, 100)) == rest
    assert len(file.read(file.size + 1000, 100)) == 0


def test_a_file_that_is_cut_while_open_is_read_as_far_as_it_goes(file, path):
    data = path.read_bytes()
    os.truncate(path, 1000)
    assert file.read(900, 500) == data[900:1000]
    buffer = memoryview(bytearray(500))
    assert file.read_into(buffer, 900) == 100
    assert buffer[:100] == data[900:1000]
    assert buffer[100:] == bytes(400)


def test_short_reads_are_put_together(file, path, monkeypatch):
    """As on network drives, which may give less than was asked for."""
    preadv = os.preadv
    monkeypatch.setattr(os, "preadv", lambda number, buffers, offset: preadv(number, [buffers[0][:7]], offset))
    assert file.read(50, 300) == path.read_bytes()[50:350]


def test_a_file_that_stays_as_it_is_is_unchanged(file, path):
    file.check_unchanged()
    assert file.state == FileState.of(path.stat())


@pytest.mark.parametrize(
    "change",
    [
        lambda path: os.truncate(path, 1000),
        lambda path: os.utime(path, ns=(0, 1)),
        lambda path: path.rename(path.with_suffix(".old")),
        lambda path: (path.with_suffix(".new").write_bytes(path.read_bytes()), path.with_suffix(".new").replace(path)),
    ],
    ids=["cut", "touched", "gone", "another"],
)
def test_a_file_that_changed_is_refused(change, file, path):
    change(path)
    with pytest.raises(ImageReadError, match=r"image\.tif: changed while it was read; run again when it is whole"):
        file.check_unchanged()


def test_a_closed_file_is_closed(path):
    file = SharedFile(path)
    file.close()
    with pytest.raises(ValueError, match="closed"):
        file.read(0, 4)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted as on Linux")
@pytest.mark.parametrize("data", [b"", b"II*\0", b"MM\0+" + bytes(12), b"hello, world"])
def test_what_is_no_tiff_is_refused_and_closed(data, tmp_path):
    (path := tmp_path / "image.tif").write_bytes(data)
    before = n_open_files()
    with pytest.raises(ImageReadError, match=r"image\.tif: not a sound TIFF \(.+\)"):
        SharedFile(path)
    assert n_open_files() == before


def test_a_truncated_directory_is_refused(path):
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises((ImageReadError, UnsupportedImageError), match=r"image\.tif: "):
        read(path)


@pytest.mark.parametrize(
    ("raised", "becomes", "message"),
    [
        (ValueError("odd\nand more"), ImageReadError, r"a\.tif: strip 3 is corrupt \(odd\)"),
        (ZeroDivisionError(), ImageReadError, r"a\.tif: strip 3 is corrupt \(ZeroDivisionError\)"),
        (KeyError("x" * 1000), ImageReadError, r"a\.tif: strip 3 is corrupt \('x{199}\)"),
        (
            NotImplementedError("rare"),
            UnsupportedImageError,
            r"a\.tif: of a kind that is not supported \(rare\); convert it",
        ),
        (
            ImportError("no codec of this name"),
            UnsupportedImageError,
            r"a\.tif: of a kind that is not supported \(no codec of this name\); convert it",
        ),
        (RuntimeError("Unsupported JPEG process"), UnsupportedImageError, r"a\.tif: of a kind that is not supported \(Unsup"),
        (ValueError("arithmetic coding is not implemented"), UnsupportedImageError, r"a\.tif: of a kind that is not supported"),
        (RuntimeError("Unsupported marker type 0x05"), ImageReadError, r"a\.tif: strip 3 is corrupt \(Unsupported marker"),
        (TypeError("'>' not supported between these"), ImageReadError, r"a\.tif: strip 3 is corrupt \('>' not"),
        (OptionError("as it is"), OptionError, r"^as it is$"),
    ],
)
def test_whatever_is_raised_is_an_error_in_one_line(raised, becomes, message):
    with pytest.raises(becomes, match=message) as caught, damage("a.tif", "strip 3 is corrupt"):
        raise raised
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("left", [KeyboardInterrupt, SystemExit])
def test_what_is_no_error_goes_through(left):
    with pytest.raises(left), damage("a.tif", "strip 3 is corrupt"):
        raise left


def test_files_that_belong_together_are_checked_and_closed_together(path, tmp_path):
    other = write_tiff(tmp_path / "other.tif", smooth(20, 30))
    before = n_open_files()
    with closing(SharedFile(path)) as file:
        beside = file.also(other)
        assert file.holding(beside.tiff.pages.first) is beside
        assert file.holding(file.tiff.pages.first) is file
        file.check_unchanged()
        os.utime(other, ns=(1, 1))
        with pytest.raises(ImageReadError, match=r"other\.tif: changed while it was read"):
            file.check_unchanged()
    assert n_open_files() == before
