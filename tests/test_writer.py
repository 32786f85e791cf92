"""The output is a tiled TIFF with a colour map, small where it can be, and appears whole or not at all."""

import os
import stat
import struct

import imagecodecs
import numpy as np
import pytest
import tifffile

from streamgmm.errors import ImageReadError, OutputError
from streamgmm.image import writer
from streamgmm.image.atomic import check_output, replacing
from streamgmm.image.spool import Spool
from streamgmm.image.tiles import TileGrid, Window
from streamgmm.image.writer import COMPRESSIONS, Layout, encode_tile, needs_bigtiff, write_tiff

DECODERS = {
    "none": bytes,
    "deflate": imagecodecs.deflate_decode,
    "lzw": imagecodecs.lzw_decode,
    "zstd": imagecodecs.zstd_decode,
}
TAGS = {"none": 1, "deflate": 8, "lzw": 5, "zstd": 50000}


def layout_of(labels, tile=(32, 48), n_colours=7, compression="deflate"):
    """A layout for labels, with a palette of some random colours."""
    palette = np.random.default_rng(n_colours).integers(0, 256, (n_colours, 3)).astype(np.uint8) if n_colours else None
    return Layout(labels.shape, tile, labels.dtype, palette, compression)


def random_labels(height, width, n_colours=7):
    dtype = np.uint8 if n_colours <= 256 else np.uint16
    return np.random.default_rng(0).integers(0, n_colours, (height, width)).astype(dtype)


def write(path, labels, layout, backwards=False):
    """Encode labels tile by tile, and assemble a TIFF from them."""
    tiles = list(enumerate(TileGrid(Window(0, 0, *labels.shape), layout.tile)))
    with Spool(path.parent, len(tiles)) as spool:
        for index, window in reversed(tiles) if backwards else tiles:
            spool.put(index, encode_tile(labels[window.slices], layout))
        write_tiff(path, spool, layout)
    return path


def tags(path):
    with tifffile.TiffFile(path) as tiff:
        return {tag.code: tag.value for tag in tiff.pages.first.tags}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("shape", [(32, 48), (5, 48), (32, 7), (1, 1)])
def test_a_tile_is_encoded_at_its_full_size(shape, compression, dtype):
    labels = random_labels(*shape).astype(dtype)
    layout = layout_of(labels, compression=compression)
    data = DECODERS[compression](encode_tile(labels, layout))
    tile = np.frombuffer(data, dtype).reshape(layout.tile)
    np.testing.assert_array_equal(tile[: shape[0], : shape[1]], labels)
    assert tile.sum() == labels.sum()  # the rest is zeros


def test_a_tile_that_is_a_view_is_encoded_as_it_looks():
    labels = random_labels(64, 96)
    layout = layout_of(labels, compression="none")
    view = labels[::2, ::2]
    assert encode_tile(view, layout) == view.tobytes()


@pytest.mark.parametrize("n_colours", [7, 300])
@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("shape", [(32, 48), (100, 131), (1, 1), (1, 200), (65, 49)])
def test_what_is_written_is_read_back(shape, compression, n_colours, tmp_path):
    labels = random_labels(*shape, n_colours)
    path = write(tmp_path / "out.tif", labels, layout_of(labels, n_colours=n_colours, compression=compression))
    np.testing.assert_array_equal(tifffile.imread(path), labels)
    assert tags(path)[259] == TAGS[compression]
    assert (tags(path)[323], tags(path)[322]) == (32, 48)


@pytest.mark.parametrize("n_colours", [1, 7, 256, 300, 65_535])
def test_the_colour_map_is_the_palette_in_16_bits(n_colours, tmp_path):
    labels = random_labels(40, 40, n_colours)
    layout = layout_of(labels, n_colours=n_colours)
    path = write(tmp_path / "out.tif", labels, layout)
    size = 256 if n_colours <= 256 else 65_536
    colour_map = np.array(tags(path)[320]).reshape(3, size)
    np.testing.assert_array_equal(colour_map[:, :n_colours], layout.palette.T.astype(int) * 257)
    assert not colour_map[:, n_colours:].any()
    assert tags(path)[262] == tifffile.PHOTOMETRIC.PALETTE == 3
    assert tags(path)[258] == (8 if n_colours <= 256 else 16)


def test_a_class_map_has_no_colours(tmp_path):
    labels = random_labels(40, 40)
    path = write(tmp_path / "out.tif", labels, layout_of(labels, n_colours=0))
    assert 320 not in tags(path)
    assert tags(path)[262] == tifffile.PHOTOMETRIC.MINISBLACK == 1
    np.testing.assert_array_equal(tifffile.imread(path), labels)


def test_the_file_depends_on_the_labels_alone(tmp_path):
    labels = random_labels(100, 131)
    layout = layout_of(labels)
    first, second = write(tmp_path / "1.tif", labels, layout), write(tmp_path / "2.tif", labels, layout, backwards=True)
    assert first.read_bytes() == second.read_bytes()
    assert 306 not in tags(first)  # DateTime


def version(path):
    """42 for a classic TIFF, 43 for a BigTIFF."""
    return struct.unpack("<2sH", path.read_bytes()[:4])


@pytest.mark.parametrize("n_colours", [7, 300])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_file_beyond_the_limit_of_classic_tiff_is_a_bigtiff(compression, n_colours, tmp_path, monkeypatch):
    labels = random_labels(300, 300, n_colours)
    layout = layout_of(labels, n_colours=n_colours, compression=compression)
    classic = write(tmp_path / "classic.tif", labels, layout)
    monkeypatch.setattr(writer, "CLASSIC_LIMIT", classic.stat().st_size)
    big = write(tmp_path / "big.tif", labels, layout)
    assert (version(classic), version(big)) == ((b"II", 42), (b"II", 43))
    np.testing.assert_array_equal(tifffile.imread(big), tifffile.imread(classic))


class FakeSpool:
    """A spool of some tiles and bytes."""

    def __init__(self, n_tiles, size):
        self.n_tiles, self.size = n_tiles, size

    def __len__(self):
        return self.n_tiles


@pytest.mark.parametrize(
    ("n_tiles", "size", "expected"),
    [
        (1, 100, False),
        (16_384, 2**32 - 2_000_000, False),
        (16_384, 2**32 - 1_000_000, True),
        (1, 2**32, True),
        (1 << 24, 2**32 - 100_000_000, True),
        (1 << 20, 2**40, True),
    ],
)
def test_bigtiff_is_needed_where_tiles_index_and_tags_pass_4_gib(n_tiles, size, expected):
    assert needs_bigtiff(FakeSpool(n_tiles, size)) is expected


@pytest.mark.parametrize("n_colours", [0, 7, 65_535])
@pytest.mark.parametrize("tile", [(16, 16), (512, 512)])
def test_what_is_written_beside_the_tiles_is_within_what_was_reckoned(tile, n_colours, tmp_path):
    labels = random_labels(500, 700, n_colours or 7)
    layout = layout_of(labels, tile=tile, n_colours=n_colours, compression="none")
    size = write(tmp_path / "out.tif", labels, layout).stat().st_size
    n_tiles = len(TileGrid(Window(0, 0, 500, 700), tile))
    beside = size - n_tiles * tile[0] * tile[1] * labels.itemsize
    assert beside <= n_tiles * writer.BYTES_A_TILE + writer.TAG_BYTES


def test_a_spool_gives_tiles_back_in_their_order(tmp_path):
    with Spool(tmp_path, 4) as spool:
        for index in (2, 0, 3, 1):
            spool.put(index, bytes([index]) * (index + 1))
        assert (len(spool), spool.size) == (4, 10)
        assert list(spool) == list(spool) == [b"\0", b"\1\1", b"\2\2\2", b"\3\3\3\3"]


def test_a_spool_leaves_nothing(tmp_path):
    with Spool(tmp_path, 1) as spool:
        spool.put(0, b"x" * 100_000)
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) in (0, 100_000)  # nameless, where the system can
    assert not list(tmp_path.iterdir())


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "out.tif"
    with replacing(path) as part:
        part.write_bytes(b"new")
        assert not path.exists()
        assert part.parent == path.parent
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def replace_and_fail(path, error):
    with replacing(path) as part:
        part.write_bytes(b"half")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, MemoryError])
def test_what_fails_leaves_nothing(error, tmp_path):
    with pytest.raises(error):
        replace_and_fail(tmp_path / "out.tif", error)
    assert not list(tmp_path.iterdir())


def test_what_fails_keeps_the_file_that_was_there(tmp_path):
    path = tmp_path / "out.tif"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="stop"):
        replace_and_fail(path, ValueError("stop"))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_succeeds_replaces_the_file_that_was_there(tmp_path):
    path = tmp_path / "out.tif"
    path.write_bytes(b"old")
    with replacing(path) as part:
        part.write_bytes(b"new")
    assert path.read_bytes() == b"new"


def test_what_the_system_says_names_the_output(tmp_path):
    message = r"out\.tif: cannot be written \(no space left on device\); nothing was left there"
    with pytest.raises(OutputError, match=message):
        replace_and_fail(tmp_path / "out.tif", OSError(28, "No space left on device"))
    assert not list(tmp_path.iterdir())


def test_errors_of_our_own_pass_through(tmp_path):
    with pytest.raises(ImageReadError, match="tile 3"):
        replace_and_fail(tmp_path / "out.tif", ImageReadError("tile 3"))


def test_a_missing_folder_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"), replacing(tmp_path / "absent" / "out.tif"):
        pass


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077, 0o002])
def test_the_mode_of_a_file_follows_the_umask(umask, tmp_path):
    old = os.umask(umask)
    try:
        with replacing(path := tmp_path / "out.tif") as part:
            part.write_bytes(b"new")
        assert os.umask(umask) == umask
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


# The longest names a file system takes are 255 bytes; what stands beside the output for a while must fit too.
@pytest.mark.parametrize(
    "name", ["x" * 251 + ".tif", "日" * 83 + ".tif", "é" * 120 + ".tif", "-out.tif", " .tif", "a b.tif", ".tif"]
)
def test_any_name_can_be_written(name, tmp_path):
    with replacing(tmp_path / name) as part:
        part.write_bytes(b"new")
    assert (tmp_path / name).read_bytes() == b"new"


def test_an_output_that_may_be_written_is_accepted(tmp_path):
    (tmp_path / "in.tif").write_bytes(b"in")
    (tmp_path / "old.tif").write_bytes(b"old")
    check_output(tmp_path / "new.tif", [tmp_path / "in.tif"], overwrite=False)
    check_output(tmp_path / "old.tif", [tmp_path / "in.tif", tmp_path / "absent.tif"], overwrite=True)
    assert (tmp_path / "old.tif").read_bytes() == b"old"


@pytest.mark.parametrize("link", ["none", "symlink", "hard link", "dots"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_output_that_is_the_input_is_refused(overwrite, link, tmp_path):
    source, output = tmp_path / "in.tif", tmp_path / "out.tif"
    source.write_bytes(b"in")
    if link == "symlink":
        output.symlink_to(source)
    elif link == "hard link":
        output.hardlink_to(source)
    else:
        output = source if link == "none" else tmp_path / ".." / tmp_path.name / "in.tif"
    with pytest.raises(OutputError, match="is also the input; choose another output"):
        check_output(output, [source], overwrite)


def test_an_output_that_exists_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "out.tif").write_bytes(b"old")
    with pytest.raises(OutputError, match=r"out\.tif: exists; use --overwrite to replace it"):
        check_output(tmp_path / "out.tif", [], overwrite=False)


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_output_that_is_a_folder_is_refused(overwrite, tmp_path):
    with pytest.raises(OutputError, match="is a folder; name a file in it"):
        check_output(tmp_path, [], overwrite)


@pytest.mark.parametrize("folder", ["absent", "absent/deeper", "file"])
def test_an_output_without_a_folder_is_refused(folder, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=r"out\.tif: there is no folder .*; create it first"):
        check_output(tmp_path / folder / "out.tif", [], overwrite=False)


def test_a_read_only_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(OutputError, match="is read-only; choose another or change its permissions"):
        check_output(tmp_path / "out.tif", [], overwrite=False)


def test_a_name_that_is_too_long_is_refused(tmp_path):
    with pytest.raises(OutputError, match=r"x\.tif: "):
        check_output(tmp_path / ("x" * 300 + ".tif"), [], overwrite=False)
