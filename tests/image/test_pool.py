"""Many files are read as if all were open, of which few are; and an image travels as little more than its file's name."""

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

import streamgmm
from streamgmm.errors import ImageReadError, MemoryBudgetError
from streamgmm.image import pool as module
from streamgmm.image.array import ArrayImage
from streamgmm.image.open import open_images
from streamgmm.image.pool import ImagePool, PooledImage, pool_of_this_process
from streamgmm.image.tiles import Window
from streamgmm.jobs.passes.blocks import Blocks
from streamgmm.options import ReadOptions

from ..images import smooth, whole, write_tiff
from ..processes import in_child

WHOLE = Window(0, 0, 40, 50)
FILES = 12
BUDGET = 1 << 20


@pytest.fixture
def pixels():
    return [smooth(40, 50, seed=seed) for seed in range(FILES)]


@pytest.fixture
def paths(tmp_path, pixels):
    """TIFF and PNG files by turns."""
    paths = [tmp_path / f"{i}.{'png' if i % 2 else 'tif'}" for i in range(FILES)]
    for path, array in zip(paths, pixels, strict=True):
        if path.suffix == ".png":
            Pillow.fromarray(array).save(path)
        else:
            write_tiff(path, array, compression="deflate")
    return paths


@pytest.fixture
def pool():
    with ImagePool() as pool:
        yield pool


@pytest.fixture(autouse=True)
def _leave_nothing_open():
    """Close what copies of images have opened."""
    with pool_of_this_process():
        yield


@pytest.fixture
def opened(monkeypatch):
    """The files that were opened, in order."""
    names = []

    def noted(source, options, budget):
        names.append(source.name)
        return open_images(source, options, budget)

    monkeypatch.setattr(module, "open_images", noted)
    return names


def open_in(pool):
    """The images that are open in a pool."""
    return [image for file in pool._open.values() for image in file.images]


# --- Few are open


@pytest.mark.parametrize(("most", "budget"), [(1, BUDGET), (3, BUDGET), (100, 1), (100, 2 * 40 * 50 * 3)])
def test_files_are_read_in_any_order_with_few_of_them_open(most, budget, paths, pixels, monkeypatch):
    monkeypatch.setattr(module, "OPEN", most)
    monkeypatch.setattr(module, "open_images", lambda source, options, _: open_images(source, options, None))
    with ImagePool() as pool:
        images = pool.open(paths, ReadOptions(), budget)
        for number in np.random.default_rng(0).integers(0, FILES, 60):
            np.testing.assert_array_equal(images[number].read(WHOLE).pixels, pixels[number])
            held = [image.held for image in open_in(pool)]
            assert len(held) <= most
            assert sum(held) <= max(budget, max(held))
    assert open_in(pool) == []


def test_those_read_last_stay_open(paths, pool, opened, monkeypatch):
    monkeypatch.setattr(module, "OPEN", 2)
    images = pool.open(paths[:3], ReadOptions(), BUDGET)
    del opened[:]
    for number in (1, 0, 1, 0, 2, 0):
        images[number].read(WHOLE)
    assert opened == ["0.tif", "2.tif"]


def test_threads_read_many_files_at_once(paths, pixels, pool, monkeypatch):
    monkeypatch.setattr(module, "OPEN", 2)
    images = pool.open(paths, ReadOptions(), BUDGET)
    numbers = np.random.default_rng(1).integers(0, FILES, 200).tolist()
    with ThreadPoolExecutor(8) as threads:
        for number, read in zip(numbers, threads.map(lambda i: images[i].read(WHOLE), numbers), strict=True):
            np.testing.assert_array_equal(read.pixels, pixels[number])
    images[0].read(WHOLE)
    assert len(pool._open) <= 2 + 8  # those that were being read could not be closed
    assert {file.readers for file in pool._open.values()} == {0}


def test_a_file_that_is_slow_to_open_does_not_stop_those_that_are_open(paths, pool, monkeypatch):
    monkeypatch.setattr(module, "OPEN", 1)
    images = pool.open(paths[:3], ReadOptions(), BUDGET)  # the last of which stays open
    opening, go_on = threading.Event(), threading.Event()

    def slowly(*arguments):
        opening.set()
        assert go_on.wait(10)
        return open_images(*arguments)

    monkeypatch.setattr(module, "open_images", slowly)
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(images[0].read, WHOLE)
        assert opening.wait(10)
        images[2].read(WHOLE)
        assert not slow.done()
        go_on.set()
        slow.result()


def test_threads_that_need_the_same_file_open_it_once(paths, pool, opened, monkeypatch):
    monkeypatch.setattr(module, "OPEN", 1)
    first, _ = pool.open(paths[:2], ReadOptions(), BUDGET)
    del opened[:]
    together = threading.Barrier(4)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: (together.wait(10), first.read(WHOLE)), range(4)))
    assert opened == ["0.tif"]


def test_a_fit_of_many_files_is_that_of_their_arrays(paths, pixels, monkeypatch):
    expected, _ = streamgmm.fit_image(pixels, n_components=4, method="stream", threads=1)
    monkeypatch.setattr(module, "OPEN", 2)
    mixture, _ = streamgmm.fit_image(paths, n_components=4, method="stream")
    assert mixture.to_json() == expected.to_json()


def test_an_array_is_none_of_the_pool(pool, pixels):
    (image,) = pool.open(pixels[:1], ReadOptions(), BUDGET)
    assert isinstance(image, ArrayImage)
    assert not pool._open


def test_all_pages_are_images_of_one_file(tmp_path, pixels, pool, opened):
    with tifffile.TiffWriter(path := tmp_path / "stack.tif") as tiff:
        for page in pixels[:3]:
            tiff.write(page, photometric="rgb", metadata=None)
    images = pool.open([path], ReadOptions(all_pages=True), BUDGET)
    for image, page in zip(images, pixels[:3], strict=True):
        np.testing.assert_array_equal(whole(image).pixels, page)
    assert opened == ["stack.tif"]


# --- Files that change


@pytest.mark.parametrize("number", [0, 1])
def test_a_file_that_changed_while_it_was_closed(number, paths, pool, monkeypatch):
    monkeypatch.setattr(module, "OPEN", 1)
    images = pool.open(paths[:3], ReadOptions(), BUDGET)
    write_tiff(paths[number], smooth(40, 50, seed=99), compression="deflate")
    for look in (lambda image: image.read(WHOLE), lambda image: image.metadata, lambda image: image.info()):
        with pytest.raises(ImageReadError, match=rf"{number}\.(tif|png): changed while it was read; run again"):
            look(images[number])
    assert images[2].read(WHOLE).pixels.shape == (40, 50, 3)


def test_a_file_that_changed_while_it_was_open_is_found_changed(paths, pool):
    (image,) = pool.open(paths[:1], ReadOptions(), BUDGET)
    image.check_unchanged()
    paths[0].write_bytes(paths[0].read_bytes() + b"more")
    with pytest.raises(ImageReadError, match=r"0\.tif: changed while it was read"):
        image.check_unchanged()


def test_a_file_that_has_fewer_pages_than_before(tmp_path, pixels, pool, paths, monkeypatch):
    monkeypatch.setattr(module, "OPEN", 1)
    with tifffile.TiffWriter(path := tmp_path / "stack.tif") as tiff:
        for page in pixels[:2]:
            tiff.write(page, photometric="rgb", metadata=None)
    _, second, _ = pool.open([path, paths[0]], ReadOptions(all_pages=True), BUDGET)
    write_tiff(path, pixels[0])
    with pytest.raises(ImageReadError, match=r"stack\.tif: changed while it was read"):
        second.read(WHOLE)


def test_a_file_that_cannot_be_opened_leaves_the_others_to_be_closed(paths, tmp_path):
    with ImagePool() as pool, pytest.raises(ImageReadError, match=r"absent\.tif: no such file"):
        pool.open([*paths[:3], tmp_path / "absent.tif"], ReadOptions(), BUDGET)
    assert not pool._open


def test_a_file_that_could_not_be_opened_may_be_later(paths, pool, pixels):
    hidden = paths[0].rename(paths[0].with_suffix(".hidden"))
    with pytest.raises(ImageReadError, match="no such file"):
        pool.open(paths[:1], ReadOptions(), BUDGET)
    hidden.rename(paths[0])
    (image,) = pool.open(paths[:1], ReadOptions(), BUDGET)
    np.testing.assert_array_equal(image.read(WHOLE).pixels, pixels[0])


# --- Images travel


def read_there(data):
    """Read all of an image that came as bytes, and tell by whose pool."""
    image = pickle.loads(data)
    pixels, valid = whole(image)
    return pixels, valid, isinstance(image, ArrayImage) or image._pool is pool_of_this_process()


def blocks_there(data):
    """The pixels that are not masked, of the blocks that came as bytes."""
    return [block.valid_pixels() for block in pickle.loads(data)]


def holed():
    """Floats, of which some are NaN."""
    pixels = smooth(40, 50).astype(np.float32)
    pixels[5:9, 7:20] = np.nan
    return pixels


def written(path, pixels, **options):
    return write_tiff(path, pixels, compression="deflate", tile=(16, 16), **options)


@pytest.mark.parametrize("nodata", [None, 3, float("nan")], ids=str)
@pytest.mark.parametrize("kind", ["file", "array"])
def test_an_image_is_read_the_same_in_another_process(kind, nodata, tmp_path, pool):
    source = written(tmp_path / "image.tif", holed()) if kind == "file" else holed()
    (image,) = pool.open([source], ReadOptions(nodata=nodata, bands=(3, 1)), BUDGET)
    pixels, valid, of_this_process = in_child(partial(read_there, pickle.dumps(image)))
    assert of_this_process
    for found, expected in zip((pixels, valid), whole(image), strict=True):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(pixels, holed()[..., [2, 0]])
    np.testing.assert_array_equal(valid, ~np.isnan(holed()).any(axis=-1))


@pytest.mark.parametrize(("dtype", "units"), [(np.int16, (1, 32_768)), (np.uint16, (1, 0)), (np.float32, (1, 0))])
def test_an_image_of_a_pool_has_the_units_of_its_file(dtype, units, tmp_path, pool):
    source = written(tmp_path / "image.tif", smooth(40, 50).astype(dtype))
    for image in pool.open([source, smooth(40, 50).astype(dtype)], ReadOptions(), BUDGET):
        assert image.units == pickle.loads(pickle.dumps(image)).units == units


def test_an_image_is_little_more_than_the_name_of_its_file(tmp_path, pool):
    """However large it is, and whatever is known of it."""
    tags = [(700, 1, 30_000, b"<rdf:RDF>".ljust(30_000), True)]
    pixels = np.zeros((4096, 4096, 3), np.uint8)
    (image,) = pool.open([written(tmp_path / "image.tif", pixels, extratags=tags)], ReadOptions(), BUDGET)
    assert len(image.metadata.tags[0][3]) == 30_000
    assert len(pickle.dumps(image)) < 2000
    copy = pickle.loads(pickle.dumps(image))
    assert isinstance(copy, PooledImage)
    assert (copy.name, copy.shape, copy.dtype, copy.state) == (image.name, image.shape, image.dtype, image.state)
    assert copy.metadata == image.metadata


@pytest.mark.parametrize("nodata", [None, 3, float("nan")], ids=str)
def test_copies_of_an_image_share_its_file(nodata, paths, pool, opened):
    images = pool.open(paths[:2], ReadOptions(nodata=nodata), BUDGET)
    copies = [pickle.loads(pickle.dumps(image)) for image in 3 * images]
    del opened[:]
    for copy in copies:
        copy.read(WHOLE)
    assert opened == ["0.tif", "1.png"]


def test_blocks_are_read_the_same_in_another_process(tmp_path, pool, monkeypatch):
    monkeypatch.setattr("streamgmm.jobs.passes.blocks.BLOCK_PIXELS", 256)
    files = [written(tmp_path / f"{i}.tif", holed() + np.float32(i)) for i in range(2)]
    blocks = list(Blocks(pool.open([*files, holed()], ReadOptions(nodata=float("nan")), BUDGET)))
    assert len(blocks) > 20
    assert len(pickle.dumps(blocks[0])) < 2000
    there = in_child(partial(blocks_there, pickle.dumps(blocks)))
    for found, block in zip(there, blocks, strict=True):
        np.testing.assert_array_equal(found, block.valid_pixels())


def test_an_image_that_changed_on_its_way_is_refused(paths, pool):
    (image,) = pool.open(paths[:1], ReadOptions(), BUDGET)
    data = pickle.dumps(image)
    write_tiff(paths[0], smooth(40, 50, seed=99))
    with pytest.raises(ImageReadError, match=r"0\.tif: changed while it was read"):
        in_child(partial(read_there, data))


def test_a_budget_travels_with_its_image(paths):
    reference = module.Reference(paths[1], ReadOptions(), 100)
    with ImagePool() as pool, pytest.raises(MemoryBudgetError), pool.reading(pickle.loads(pickle.dumps(reference))):
        pass
