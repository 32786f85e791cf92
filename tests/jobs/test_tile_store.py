"""Finished tiles are kept for each output, with how far colors are from pixels, and all of it survives a kill."""

from pathlib import Path

import numpy as np
import pytest

from streamgmm.image.output.spec import ImageSpec
from streamgmm.jobs.passes.checkpoint import Checkpoint
from streamgmm.jobs.passes.tasks import Part
from streamgmm.jobs.tile_store import Finished, Output, TileStore
from streamgmm.model.distortion import Distortion


def spec(height, width, n_levels=1):
    return ImageSpec((height, width), (16, 16), np.dtype(np.uint8), form="labels", n_levels=n_levels)


def outputs(folder, n_outputs=2):
    """Files of two images: of 6 tiles, and of 4 with a reduced level of 1."""
    return [Output(folder / f"{i}.tif", [spec(32, 48), spec(32, 32, 2)], label=None) for i in range(n_outputs)]


def part(number, tiles, error=None):
    distortion = None if error is None else Distortion(np.array([error, 0, 0, 0]), np.array([1.0, error]))
    return Part(Finished({number: tiles}, distortion), 5)


def test_tiles_of_an_output_are_numbered_through_its_images_and_levels(tmp_path):
    (output,) = outputs(tmp_path, 1)
    assert output.firsts == [0, 6, 11]


def test_tiles_of_each_output_are_kept_by_their_number(tmp_path):
    with TileStore(outputs(tmp_path), Checkpoint(None)) as store:
        store.add(part(0, [(3, b"abc"), (10, b"de")]), None)
        store.add(part(1, [(3, b"fghi")]), None)
        assert [len(spool.sizes) for spool in store.spools] == [11, 11]
        assert (store.spools[0].get(3), store.spools[0].get(10), store.spools[1].get(3)) == (b"abc", b"de", b"fghi")
        assert store.spools[0].sizes.tolist() == [0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 2]


def test_distortion_is_that_of_all_parts(tmp_path):
    with TileStore(outputs(tmp_path), Checkpoint(None)) as store:
        store.add(part(0, []), None)
        assert store.distortion is None
        for error in (2, 3):
            store.add(part(0, [], error), None)
        store.add(part(0, []), None)
        assert store.distortion.squared_error == 5
        assert store.distortion.counts.tolist() == [2, 5]


def filled(folder, checkpoint, measured=True):
    """A store of some tiles, and its state as it is loaded."""
    with TileStore(outputs(folder), checkpoint) as store:
        for number, data in ((0, b"abc"), (1, b"de")):
            store.add(part(number, [(5, data), (2, data * 2)], 2 if measured else None), None)
        step = checkpoint.step("label")
        step.save({"done": 2, **store.state()})
        return step.load()


@pytest.mark.parametrize("measured", [False, True])
def test_another_run_goes_on_with_all_tiles(measured, tmp_path):
    checkpoint = Checkpoint(tmp_path)
    state = filled(tmp_path, checkpoint, measured)
    with TileStore(outputs(tmp_path), checkpoint) as store:
        assert store.restore(state)
        for spool, data in zip(store.spools, (b"abc", b"de"), strict=True):
            assert (spool.get(5), spool.get(2)) == (data, data * 2)
        assert (store.distortion.squared_error if measured else store.distortion) == (4 if measured else None)
        store.add(part(0, [(0, b"xyz")], 1), None)
        assert (store.spools[0].get(0), store.spools[0].get(5)) == (b"xyz", b"abc")
        assert store.distortion.squared_error == (5 if measured else 1)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("damage", ["empty", "cut off", "a byte"])
def test_with_a_damaged_tile_it_begins_again(damage, number, tmp_path):
    checkpoint = Checkpoint(tmp_path)
    state = filled(tmp_path, checkpoint)
    path = tmp_path / f"spool{number}"
    data = bytearray(path.read_bytes())
    if damage == "a byte":
        data[-1] ^= 1
    path.write_bytes({"empty": b"", "cut off": data[:-1], "a byte": data}[damage])
    with TileStore(outputs(tmp_path), checkpoint) as store:
        assert not store.restore(state)
        for spool in store.spools:  # and all can be put again
            spool.put(5, b"again")
            assert spool.get(5) == b"again"
        assert store.distortion is None


def test_what_nothing_can_go_on_with_leaves_nothing(tmp_path):
    with TileStore(outputs(tmp_path), Checkpoint(None)) as store:
        store.add(part(0, [(0, b"abc")]), None)
        assert list(tmp_path.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


def test_spools_are_beside_their_outputs_or_where_they_are_asked_for(tmp_path):
    (tmp_path / "work").mkdir()
    path = Path(tmp_path / "deep" / "out.tif")
    assert Checkpoint(None).spool(path, 3) == (tmp_path / "deep", None)
    assert Checkpoint(None, work_dir=tmp_path / "work").spool(path, 3) == (tmp_path / "work", None)
    assert Checkpoint(tmp_path, work_dir=tmp_path / "work").spool(path, 3) == (tmp_path, "spool3")
