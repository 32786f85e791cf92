"""What every pass needs to know of an image, each kind of image knows; and a file that changed is told from what it was."""

import os
import pickle
import shutil
from contextlib import closing

import numpy as np
import pytest

from streamgmm.image.image import FileState, Image, MaskedPixels
from streamgmm.image.open import open_image
from streamgmm.image.pool import ImagePool
from streamgmm.image.tiles import Window
from streamgmm.options import ReadOptions

from ..images import smooth, write_tiff

PROMISED = {name for name in vars(Image) if not name.startswith("_")} | Image.__annotations__.keys()


@pytest.fixture
def path(tmp_path):
    return write_tiff(tmp_path / "image.tif", smooth(40, 50), tile=(16, 16), compression="deflate")


def state(path):
    return FileState.of(path.stat())


def assert_keeps_its_promises(image):
    """It has all that is promised, of the types that are promised, and may be read."""
    assert {name for name in PROMISED if not hasattr(image, name)} == set()
    height, width, bands = image.shape
    assert image.dtype in (np.uint8, np.uint16, np.float32, np.float64)
    assert isinstance(image.maskable, bool)
    assert image.tile is None or len(image.tile) == len(image.segment) == 2
    assert image.held >= 0
    assert isinstance(image.state, FileState | None)
    assert isinstance(hash(image.metadata.dropped), int)
    assert (image.info()["height"], image.info()["width"], image.info()["bands"]) == image.shape
    image.check_unchanged()
    assert not image.absent(Window(0, 0, height, width))
    pixels, valid = image.read(Window(1, 2, 3, 4))
    assert (pixels.shape, pixels.dtype, valid) == ((3, 4, bands), image.dtype, None)


def test_the_promises_are_those_of_the_protocol():
    assert {"name", "shape", "dtype", "metadata", "read", "absent", "check_unchanged", "info", "close", "state"} <= PROMISED


@pytest.mark.parametrize("source", ["tiff", "array"])
def test_an_image_keeps_its_promises(source, path):
    with closing(open_image(path if source == "tiff" else smooth(40, 50))) as image:
        assert_keeps_its_promises(image)


def test_an_image_of_a_pool_keeps_its_promises(path):
    with ImagePool() as pool:
        for image in pool.open([path, smooth(40, 50)], ReadOptions(), 1 << 20):
            assert_keeps_its_promises(image)


def test_a_file_that_is_left_alone_has_the_same_state(path):
    before = state(path)
    path.read_bytes()
    assert state(path) == before
    assert pickle.loads(pickle.dumps(before)) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(path.read_bytes() + b"!"),
        lambda path: os.truncate(path, 100),
        lambda path: os.utime(path, ns=(0, 1)),
        lambda path: shutil.copy2(path, path.with_suffix(".new")) and path.with_suffix(".new").replace(path),
    ],
    ids=["longer", "cut", "written at another time", "another file of the same size and time"],
)
def test_a_file_that_changed_has_another_state(change, path):
    before = state(path)
    change(path)
    assert state(path) != before


def test_what_is_read_is_pixels_and_which_are_valid():
    pixels, valid = MaskedPixels(smooth(2, 3), None)
    assert pixels.shape == (2, 3, 3)
    assert valid is None
