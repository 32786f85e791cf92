"""The pages of a TIFF, also of stacks whose planes lie behind the first without a directory of their own."""

import struct
import time

import numpy as np
import pytest
import tifffile

import streamgmm
from streamgmm.errors import ImageReadError, OptionError
from streamgmm.image.open import open_image, open_images
from streamgmm.image.tiff.chain import Ahead, chain, n_pages
from streamgmm.options import ReadOptions

from ...images import read, smooth, whole

HEIGHT, WIDTH, PLANES = 40, 50, 6
STACK = np.stack([smooth(HEIGHT, WIDTH, 1, np.uint16, seed=i)[..., 0] for i in range(PLANES)])


def cut_chain(path):
    """Make the first directory of a classic TIFF the last, as ImageJ writes stacks above 4 GiB."""
    with tifffile.TiffFile(path) as tiff:
        order, offset, n_tags = tiff.byteorder, tiff.pages.first.offset, len(tiff.pages.first.tags)
    data = bytearray(path.read_bytes())
    (written,) = struct.unpack_from(f"{order}H", data, offset)
    assert written == n_tags
    struct.pack_into(f"{order}I", data, offset + 2 + 12 * n_tags, 0)
    path.write_bytes(data)
    return path


def imagej(path, stack=STACK, **options):
    """Write a stack that has a directory for its first plane alone."""
    tifffile.imwrite(path, stack, imagej=True, **{"metadata": {"axes": "ZYX"}} | options)
    return cut_chain(path)


def metamorph(path, planes=STACK, rowsperstrip=16):
    """Write a stack as MetaMorph does: a directory of the first plane, in strips, and all others behind it."""
    tags = [(33627, 4, 1, 8, True), (33629, 5, len(planes), [1, 1] * len(planes), True)]
    tags += [(33630, 5, len(planes), [1, 1] * len(planes), True)]
    tifffile.imwrite(path, planes[0], photometric="minisblack", rowsperstrip=rowsperstrip, metadata=None, extratags=tags)
    with tifffile.TiffFile(path) as tiff:
        entry = tiff.pages.first.tags[33627].offset
    data = bytearray(path.read_bytes() + planes[1:].tobytes())
    struct.pack_into("<H", data, entry, 33628)  # UIC1, which tifffile does not write
    path.write_bytes(data)
    return path


def all_pages(path):
    images = open_images(path, ReadOptions(all_pages=True), None)
    pixels = [whole(image).pixels for image in images]
    for image in images:
        image.close()
    return pixels


@pytest.mark.parametrize("write", [imagej, metamorph])
def test_planes_without_a_directory_are_pages(write, tmp_path):
    path = write(tmp_path / "stack.tif")
    with tifffile.TiffFile(path) as tiff:
        assert len(tiff.pages) == 1
        assert n_pages(tiff) == PLANES
        assert tiff.is_stk == (write is metamorph)
        if write is imagej:  # our MetaMorph file tells tifffile too little
            np.testing.assert_array_equal(tiff.series[0].asarray(), STACK)
    for plane, pixels in enumerate(all_pages(path)):
        np.testing.assert_array_equal(pixels[..., 0], STACK[plane])
        np.testing.assert_array_equal(read(path, page=plane).pixels[..., 0], STACK[plane])
    np.testing.assert_array_equal(read(path).pixels[..., 0], STACK[0])
    image = open_image(path, page=2)
    assert (image.info()["page"], image.info()["pages"]) == (2, PLANES)
    image.close()
    with pytest.raises(OptionError, match=rf"there is no page {PLANES}; pages are 0 to {PLANES - 1}"):
        open_image(path, page=PLANES)


def test_they_become_a_stack(tmp_path):
    report = streamgmm.quantize(imagej(tmp_path / "in.tif"), tmp_path / "out.tif", n_components=3, all_pages=True, threads=1)
    with tifffile.TiffFile(tmp_path / "out.tif") as tiff:
        assert [page.shape for page in tiff.pages] == PLANES * [(HEIGHT, WIDTH)]
    assert report.model["means"] == streamgmm.fit_image([*STACK[..., None]], n_components=3, threads=1)[0].means.tolist()


def test_planes_of_colors_are_pages(tmp_path):
    stack = np.stack([smooth(HEIGHT, WIDTH, seed=i) for i in range(3)])
    for pixels, expected in zip(all_pages(imagej(tmp_path / "in.tif", stack, metadata={"axes": "ZYXS"})), stack, strict=True):
        np.testing.assert_array_equal(pixels, expected)


def test_planes_with_directories_are_read_by_these(tmp_path):
    tifffile.imwrite(path := tmp_path / "whole.tif", STACK, imagej=True, metadata={"axes": "ZYX"})
    for pixels, expected in zip(all_pages(path), STACK, strict=True):
        np.testing.assert_array_equal(pixels[..., 0], expected)


@pytest.mark.parametrize("options", [{}, {"compression": "deflate"}])
def test_a_page_that_keeps_the_description_of_its_stack_is_one(options, tmp_path):
    description = "ImageJ=1.54f\nimages=12\nslices=12\n"
    tifffile.imwrite(path := tmp_path / "in.tif", STACK[0], description=description, metadata=None, **options)
    (pixels,) = all_pages(path)
    np.testing.assert_array_equal(pixels[..., 0], STACK[0])


def test_samples_that_are_described_as_channels_are_samples(tmp_path):
    """As Bio-Formats writes RGB."""
    pixels, description = smooth(HEIGHT, WIDTH), "ImageJ=\nimages=3\nchannels=3\n"
    tifffile.imwrite(path := tmp_path / "in.tif", pixels, photometric="rgb", description=description, metadata=None)
    path.write_bytes(path.read_bytes() + bytes(3 * pixels.nbytes))
    np.testing.assert_array_equal(all_pages(path), [pixels])


@pytest.mark.parametrize("write", [imagej, metamorph])
def test_a_stack_that_is_not_whole_is_named(write, tmp_path):
    path = write(tmp_path / "in.tif")
    with tifffile.TiffFile(path) as tiff:
        end = tiff.pages.first.dataoffsets[0] + 4 * STACK[0].nbytes + 3900
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(ImageReadError, match=r"in\.tif, page 4: strip \d is truncated"):
        all_pages(path)
    np.testing.assert_array_equal(read(path, page=1).pixels[..., 0], STACK[1])


def test_a_chain_in_a_circle_ends(tmp_path):
    tifffile.imwrite(path := tmp_path / "in.tif", STACK, photometric="minisblack", metadata=None)
    with tifffile.TiffFile(path) as tiff:
        offsets = [page.offset for page in tiff.pages]
        last = offsets[-1] + 2 + 12 * len(tiff.pages[PLANES - 1].tags)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, last, offsets[2])
    path.write_bytes(data)
    with tifffile.TiffFile(path) as tiff, pytest.raises(ImageReadError, match="its chain of pages runs in a circle"):
        list(chain(tiff))
    np.testing.assert_array_equal(read(path).pixels[..., 0], STACK[0])


def test_a_stack_of_many_pages_is_open_at_once(tmp_path):
    """Levels of channels are looked for among few pages."""
    with tifffile.TiffWriter(path := tmp_path / "in.tif") as writer:
        for i in range(3000):
            writer.write(np.full((16, 16), i % 256, np.uint8), photometric="minisblack", metadata=None, contiguous=False)
    started = time.process_time()
    open_image(path).close()
    opened = time.process_time() - started
    started = time.process_time()
    with tifffile.TiffFile(path) as tiff:
        assert sum(1 for _ in tiff.pages) == 3000
    assert opened < time.process_time() - started


# --- Looking ahead


def test_pages_that_were_looked_at_come_all_the_same():
    ahead = Ahead(iter("abcd"))
    assert [ahead.look(i) for i in (2, 0, 9)] == ["c", "a", None]
    assert [ahead.take() for _ in range(5)] == ["a", "b", "c", "d", None]


def test_damage_is_raised_when_it_is_its_turn():
    def pages():
        yield "a"
        raise ImageReadError("damaged")

    ahead = Ahead(pages())
    assert (ahead.look(1), ahead.take()) == (None, "a")
    with pytest.raises(ImageReadError, match="damaged"):
        ahead.take()
