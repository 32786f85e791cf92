"""Tiles come back as they were put: from any thread, in another process, and in a run after a kill or a power cut."""

import os
import pickle
import threading

import numpy as np
import pytest

from streamgmm.image.output.spool import Spool

TILES = [bytes([index]) * (index + 1) for index in range(4)]


def filled(folder, name=None, order=(2, 0, 3, 1)):
    """A spool of four tiles, some of them put, in some order."""
    spool = Spool(folder, len(TILES), name)
    for index in order:
        spool.put(index, TILES[index])
    return spool


def test_tiles_come_back_in_their_order(tmp_path):
    with filled(tmp_path) as spool:
        assert spool.size == 10
        assert spool.sizes.tolist() == [1, 2, 3, 4]
        for _ in range(2):
            assert [spool.get(index) for index in range(4)] == TILES


def test_threads_get_tiles_while_others_are_put(tmp_path):
    tiles = [bytes([index % 251]) * (index % 97 + 1) for index in range(3000)]
    done, wrong = [0], []

    def compare(spool, seed):
        rng = np.random.default_rng(seed)
        while (there := done[0]) < len(tiles):
            if there and spool.get(index := int(rng.integers(there))) != tiles[index]:
                wrong.append(index)

    with Spool(tmp_path, len(tiles)) as spool:
        threads = [threading.Thread(target=compare, args=(spool, seed)) for seed in range(3)]
        for thread in threads:
            thread.start()
        for index, tile in enumerate(tiles):
            spool.put(index, tile)
            done[0] = index + 1
        for thread in threads:
            thread.join()
    assert not wrong


def test_a_spool_without_a_name_leaves_nothing(tmp_path):
    with Spool(tmp_path, 1) as spool:
        spool.put(0, b"x" * 100_000)
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) in (0, 100_000)  # nameless, where the system can
    assert not list(tmp_path.iterdir())


def test_a_system_that_takes_a_part_at_a_time_is_given_the_rest(tmp_path, monkeypatch):
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, offset: write(descriptor, data[:3], offset))
    with Spool(tmp_path, 2) as spool:
        for index, tile in enumerate((b"ten bytes.", b"and more")):
            spool.put(index, tile)
        assert (spool.get(0), spool.get(1)) == (b"ten bytes.", b"and more")


def test_some_tiles_are_read_where_they_are_needed(tmp_path):
    with filled(tmp_path) as spool:
        tiles = spool.tiles([3, 1])
        assert (len(tiles), tiles[0], list(tiles)) == (2, TILES[3], [TILES[3], TILES[1]])


def test_tiles_travel_as_bytes(tmp_path):
    with filled(tmp_path) as spool:
        data = pickle.dumps(spool.tiles([3, 1]))
    assert pickle.loads(data) == (TILES[3], TILES[1])


def test_another_run_goes_on_with_what_was_put(tmp_path):
    with filled(tmp_path, "spool", order=(2, 0)) as spool:
        state = {name: array.copy() for name, array in spool.state().items()}
        spool.put(3, b"after the state was saved")
    with Spool(tmp_path, 4, "spool") as again:
        assert again.restore(state)
        assert (again.size, again.sizes.tolist()) == (4, [1, 0, 3, 0])
        for index in (3, 1):
            again.put(index, TILES[index])
        assert [again.get(index) for index in range(4)] == TILES


@pytest.mark.parametrize("damage", ["empty", "cut", "zeros", "one bit"])
def test_what_a_power_cut_has_damaged_is_not_gone_on_with(damage, tmp_path):
    with filled(tmp_path, "spool") as spool:
        state = spool.state()
    data = (tmp_path / "spool").read_bytes()
    damaged = {"empty": b"", "cut": data[:-1], "zeros": bytes(len(data)), "one bit": data[:-1] + bytes([data[-1] ^ 1])}
    (tmp_path / "spool").write_bytes(damaged[damage])
    with Spool(tmp_path, 4, "spool") as again:
        assert not again.restore(state)
        assert (again.size, again.sizes.tolist()) == (0, [0] * 4)  # as if there had been no state
        for index in range(4):
            again.put(index, TILES[index])
        assert [again.get(index) for index in range(4)] == TILES


def test_a_state_before_the_first_tile_is_gone_on_with(tmp_path):
    with Spool(tmp_path, 4, "spool") as spool:
        state = spool.state()
    with Spool(tmp_path, 4, "spool") as again:
        assert again.restore(state)
        assert again.size == 0
