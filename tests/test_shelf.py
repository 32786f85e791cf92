"""Many files are read as if all were open, of which few are."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image as Pillow

import streamgmm
from streamgmm.errors import ImageReadError
from streamgmm.image import shelf as module
from streamgmm.image.pool import Shelf
from streamgmm.image.tiles import Window
from streamgmm.options import ReadOptions

from .images import smooth, write_tiff

WHOLE = Window(0, 0, 40, 50)
FILES = 12


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


def n_open(shelf):
    return sum(bool(file.images) for file in shelf._open.values())


@pytest.mark.parametrize(("most", "budget"), [(1, 1 << 20), (3, 1 << 20), (100, 1), (100, 2 * 40 * 50 * 3)])
def test_files_are_read_in_any_order_with_few_of_them_open(most, budget, paths, pixels, monkeypatch):
    monkeypatch.setattr(module, "OPEN", most)
    monkeypatch.setattr(module, "open_images", lambda source, options, _: opened(source, options, None))
    opened = streamgmm.image.open.open_images
    shelf = Shelf(paths, ReadOptions(), budget)
    for number in np.random.default_rng(0).integers(0, FILES, 60):
        assert np.array_equal(shelf.images[number].read(WHOLE).pixels, pixels[number])
        assert n_open(shelf) <= most
        held = [image.held for file in shelf._open.values() for image in file.images]
        assert sum(held) <= max(budget, max(held))
    shelf.close()
    assert n_open(shelf) == 0


def test_threads_read_many_files_at_once(paths, pixels, monkeypatch):
    monkeypatch.setattr(module, "OPEN", 2)
    shelf = Shelf(paths, ReadOptions(), 1 << 20)
    numbers = np.random.default_rng(1).integers(0, FILES, 200).tolist()
    with ThreadPoolExecutor(8) as pool:
        for number, read in zip(numbers, pool.map(lambda i: shelf.images[i].read(WHOLE), numbers), strict=True):
            assert np.array_equal(read.pixels, pixels[number])
    shelf.close()


def test_a_file_that_is_slow_to_open_does_not_stop_those_that_are_open(paths, monkeypatch):
    monkeypatch.setattr(module, "OPEN", 1)
    shelf = Shelf(paths[:3], ReadOptions(), 1 << 20)  # the last of which stays open
    opening, go_on = threading.Event(), threading.Event()
    opened = module.open_images

    def slowly(*arguments):
        opening.set()
        assert go_on.wait(10)
        return opened(*arguments)

    monkeypatch.setattr(module, "open_images", slowly)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(shelf.images[0].read, WHOLE)
        assert opening.wait(10)
        shelf.images[2].read(WHOLE)
        assert not slow.done()
        go_on.set()
        slow.result()
    shelf.close()


def test_a_fit_of_many_files_is_that_of_their_arrays(paths, pixels, monkeypatch):
    expected, _ = streamgmm.fit_image(pixels, n_components=4, method="stream")
    monkeypatch.setattr(module, "OPEN", 2)
    mixture, _ = streamgmm.fit_image(paths, n_components=4, method="stream")
    assert mixture.to_json() == expected.to_json()


def test_a_file_that_changed_while_it_was_closed(paths, monkeypatch):
    monkeypatch.setattr(module, "OPEN", 1)
    shelf = Shelf(paths[:3], ReadOptions(), 1 << 20)
    write_tiff(paths[0], smooth(40, 50, seed=99), compression="deflate")
    with pytest.raises(ImageReadError, match=r"0\.tif: changed while it was read"):
        shelf.images[0].read(WHOLE)
    assert shelf.images[1].read(WHOLE).pixels.shape == (40, 50, 3)
    shelf.close()


def test_a_file_that_cannot_be_opened_closes_all(paths, tmp_path):
    with pytest.raises(ImageReadError, match=r"absent\.tif: no such file"):
        Shelf([*paths, tmp_path / "absent.tif"], ReadOptions(), 1 << 20)
