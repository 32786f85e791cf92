"""Every task is the same in another process: what it finds there is what it finds here, to the last bit."""

import inspect
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields, is_dataclass, replace
from functools import cache, partial

import numpy as np
import pytest

from streamgmm.image.output.spec import n_levels
from streamgmm.image.output.spool import Spool
from streamgmm.image.pool import ImagePool
from streamgmm.image.tiles import TileGrid, Window
from streamgmm.jobs import labeling, tile_tasks
from streamgmm.jobs.dithering import HalveDithered
from streamgmm.jobs.passes import tasks as module
from streamgmm.jobs.passes.blocks import Block, Blocks
from streamgmm.jobs.passes.tasks import Accumulate, Count, Draw, ListColors, Look, SumColors
from streamgmm.jobs.specs import confidence_spec, image_spec
from streamgmm.jobs.tile_tasks import LabelTiles, Layer, LevelTile, ReduceTiles
from streamgmm.model.colors import ColorCounter
from streamgmm.model.display import Display
from streamgmm.model.dither import BlendTable, Dithering
from streamgmm.model.labels import LookupTable, classify, confidence
from streamgmm.model.mixture import Mixture
from streamgmm.model.palette import palette_of
from streamgmm.model.space import BY_TYPE, SampleSpace
from streamgmm.options import OutputOptions, ReadOptions

from ... import naive
from ...conftest import parts, random_mixture
from ...images import posterized, smooth, write_tiff

BUDGET = 1 << 30
HEIGHT, WIDTH = 90, 110
TRAVELS = 2048  # bytes of a block at the most


def floats():
    """Of a range of their own, some masked."""
    pixels = smooth(HEIGHT, WIDTH).astype(np.float32) * 3 - 200
    pixels[30:60, 20:70] = np.nan
    return pixels


def sources(folder):
    """Images by how they are held and what is in them; of files, one is decoded tile by tile, one has masked pixels."""
    tiled = {"tile": (32, 32), "compression": "deflate"}
    masked = posterized(HEIGHT, WIDTH, 9)
    masked[10:50, 40:] = 7
    return {
        "file": write_tiff(folder / "file.tif", smooth(HEIGHT, WIDTH), **tiled),
        "masked file": write_tiff(folder / "masked.tif", masked, extratags=[(42113, "s", 0, "7", True)], **tiled),
        "deep file": write_tiff(folder / "deep.tif", smooth(HEIGHT, WIDTH, 4, np.uint16), **tiled),
        "float file": write_tiff(folder / "floats.tif", floats(), **tiled),
        "array": smooth(40, 50),
        "masked array": np.ma.masked_less(smooth(40, 50), 90),
        "float array": floats()[25:50, :40],
    }


IMAGES = ["file", "masked file", "deep file", "float file", "array", "masked array", "float array"]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    with ImagePool() as pool:
        held = sources(tmp_path_factory.mktemp("images"))
        assert list(held) == IMAGES
        yield {name: pool.open([source], ReadOptions(), BUDGET)[0] for name, source in held.items()}


@pytest.fixture(scope="module")
def elsewhere():
    """Another process, which shares nothing with this one but its files."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield lambda *arguments: pool.submit(*arguments).result(timeout=120)


def mixture_of(image):
    mixture = random_mixture(4, image.shape[2])
    return Mixture(*parts(mixture)[:3], space=space_of(image))


def space_of(image):
    """Also of integers with a range of their own."""
    ranges = tuple((-200.0 - 10 * band, 565.0 + 9 * band) for band in range(image.shape[2]))
    if image.dtype.kind == "f":
        return SampleSpace(ranges)
    return SampleSpace(tuple((low + 300, 60 * high) for low, high in ranges), (1, 0)) if image.dtype == np.uint16 else BY_TYPE


def labels_task(image, labelers, output="palette", **options):
    mixture, masked = mixture_of(image), image.maskable
    given, palette = OutputOptions(tile_size=32, output=output, **options), palette_of(mixture)
    specs = [image_spec(image, palette, len(palette) if masked else None, given), confidence_spec(image, masked, given)]
    layers = tuple(Layer(label, spec, 5) for label, spec in zip(labelers(mixture), specs, strict=False))
    return LabelTiles(mixture.space, Blocks([image]).dtype, layers, Display.of(mixture))


def classified(mixture):
    return (partial(classify, mixture=mixture),)


def measured(mixture):
    return partial(classify, mixture=mixture), partial(confidence, mixture=mixture)


@cache
def _lookup(n_bands):
    mixture = random_mixture(4, n_bands)
    return LookupTable.of_all_colors(mixture, 1)


def looked_up(mixture):
    return (_lookup(mixture.n_bands),)


def dithered_task(image, keep, output="palette"):
    """Label with what keeps blends of colors, or finds them for each pixel."""
    task = labels_task(image, classified, output)
    [layer], mixture = task.layers, mixture_of(image)
    dithering = Dithering(layer.spec.palette, Display.of(mixture), "blue-noise")
    label = BlendTable(dithering.blends, mixture.n_bands) if keep else dithering.blends
    return replace(task, layers=(replace(layer, label=label, dithering=dithering),))


def sum_task(image, dtype):
    mixture = mixture_of(image)
    return SumColors(*classified(mixture), mixture.n_components, mixture.space, dtype, Display.of(mixture))


# By its name, a task made for an image; of tasks of 8-bit colors, only for such.
TASKS = {
    "Look": lambda image, dtype: Look(),
    "Accumulate": lambda image, dtype: Accumulate(mixture_of(image), dtype),
    "ListColors": lambda image, dtype: ListColors(space_of(image), dtype),
    "Draw": lambda image, dtype: Draw(dtype, 3, 50),
    "Draw of all": lambda image, dtype: Draw(dtype, 3, 10**6),
    "SumColors": sum_task,
    "Count": lambda image, dtype: Count(ColorCounter(3, HEIGHT * WIDTH, 2)),
    "LabelTiles": lambda image, dtype: labels_task(image, classified),
    "LabelTiles with confidence": lambda image, dtype: labels_task(image, measured, "rgb"),
    "LabelTiles of a table": lambda image, dtype: labels_task(image, looked_up, compression="none", pack=True),
    "LabelTiles that dither": lambda image, dtype: dithered_task(image, False, "rgb"),
    "LabelTiles that dither by a table": lambda image, dtype: dithered_task(image, True),
}
OF_BYTES = {"Count", "LabelTiles of a table", "LabelTiles that dither by a table"}
CASES = [
    (task, image)
    for task in TASKS
    for image in IMAGES
    if task not in OF_BYTES or image in ("file", "masked file", "array", "masked array")
]


def assert_equal(found, expected):
    """Of the same types, with the same values to the last bit."""
    assert type(found) is type(expected)
    if isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(found, expected, strict=True)
    elif is_dataclass(expected):
        for field in fields(expected):
            assert_equal(getattr(found, field.name), getattr(expected, field.name))
    elif isinstance(expected, tuple | list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_equal(one, other)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_equal(found[key], value)
    else:
        assert found == expected


def blocks_of(image):
    """Two blocks: whole output tiles at the upper left, and what is beside them."""
    windows = TileGrid(Window(0, 0, *image.shape[:2]), (64, 64))
    return [Block(image, window, 0, number) for number, window in enumerate(list(windows)[:2])]


@pytest.mark.parametrize(("name", "held"), CASES)
def test_a_task_finds_the_same_in_another_process(name, held, images, elsewhere):
    image = images[held]
    task = TASKS[name](image, Blocks([image]).dtype)
    for block in blocks_of(image):
        found = elsewhere(task, block)
        assert_equal(found, task(block))
        assert found.n_valid == len(block.valid_pixels())


def counted_elsewhere(task, block):
    """What another process hands over of its counters."""
    part = task(block)
    return part, task.counter.total()


@pytest.mark.parametrize("held", ["file", "masked file", "array"])
def test_counters_travel_empty_and_come_back_as_what_was_counted(held, images, elsewhere):
    image = images[held]
    task = TASKS["Count"](image, np.dtype(np.uint8))
    first, *others = blocks_of(image)
    task(first)
    assert len(pickle.dumps(task)) < TRAVELS  # not the 64 MiB of its counters
    for block in others or [first]:
        part, counters = elsewhere(counted_elsewhere, task, block)
        expected = naive.count_colors(block.valid_pixels())
        assert counters.sum() == part.n_valid == sum(expected.values())
        here = ColorCounter(3, HEIGHT * WIDTH, 1)
        here.restore(counters)
        table = here.table()
        assert dict(zip(map(tuple, table.colors.tolist()), table.counts, strict=True)) == expected
    assert task.counter.total().sum() == len(first.valid_pixels())


@pytest.mark.parametrize("held", [held for held in IMAGES if held.endswith("file")])
def test_a_block_of_a_file_travels_as_a_name(held, images):
    for block in blocks_of(images[held]):
        data = pickle.dumps(block)
        assert len(data) < TRAVELS
        again = pickle.loads(data)
        assert again[1:] == block[1:]
        assert (again.image.name, again.image.shape, again.image.dtype) == (
            block.image.name,
            block.image.shape,
            block.image.dtype,
        )
        np.testing.assert_array_equal(again.valid_pixels(), block.valid_pixels(), strict=True)


# --- Reduced levels ---


@pytest.mark.parametrize("held", ["file", "masked file"])
@pytest.mark.parametrize("output", ["palette", "rgb"])
@pytest.mark.parametrize("dithered", [False, True])
def test_tiles_of_a_level_are_made_alike_in_another_process(dithered, output, held, images, tmp_path, elsewhere):
    image = images[held]
    task = labels_task(image, classified, output, pyramid=True)
    spec = task.layers[0].spec
    dithering = Dithering(spec.palette, Display.of(mixture_of(image)), "ordered")
    halve = HalveDithered(spec, dithering, BlendTable(dithering.level_blends, 3)) if dithered else None
    assert spec.n_levels == n_levels((HEIGHT, WIDTH), (32, 32)) == 3
    with Spool(tmp_path, 5 + spec.n_tiles) as spool:
        for index, data in task(Block(image, Window(0, 0, HEIGHT, WIDTH), 0, 0)).value.tiles[0]:
            spool.put(index, data)
        tiles = labeling._level_tiles(spool, spec, 1, 5)
        assert len(tiles) == 4
        reduce = ReduceTiles(spec, 1, 0, 5 + len(spec.grids[0]), halve)
        for tile in tiles:
            assert isinstance(tile, LevelTile)
            assert_equal(elsewhere(reduce, tile), reduce(tile))
            assert pickle.loads(pickle.dumps(tile)).tiles == tuple(tile.tiles)


# --- All of them ---


def classes_of(*modules):
    """The classes of tasks: values that can be called."""
    return {
        kind.__name__
        for module in modules
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if kind.__module__ == module.__name__ and is_dataclass(kind) and "__call__" in dir(kind)
    }


def test_no_task_is_forgotten():
    assert classes_of(module, tile_tasks) == {name.split()[0] for name in TASKS} | {"ReduceTiles"}


@pytest.mark.parametrize("name", TASKS)
def test_a_task_cannot_be_changed(name, images):
    task = TASKS[name](images["file"], np.dtype(np.uint8))
    with pytest.raises(AttributeError):
        task.seed = 5


# --- What they find ---


@pytest.mark.parametrize("held", IMAGES)
def test_statistics_are_those_of_the_pixels_of_the_block(held, images):
    image = images[held]
    mixture = mixture_of(image)
    block = blocks_of(image)[0]
    low, high = np.transpose(mixture.space.range or [(0, np.iinfo(image.dtype).max)])
    x = (block.valid_pixels().astype(np.float64) - low) / (high - low)
    n, *_, log_likelihood = naive.statistics(x, parts(mixture))
    found = Accumulate(mixture, Blocks([image]).dtype)(block).value
    np.testing.assert_allclose(found.responsibilities, n, rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(found.log_likelihood, log_likelihood, rtol=1e-4)
    assert found.weight == len(x)


def test_pixels_that_were_not_measured_add_nothing_to_statistics(images):
    image = images["float array"]
    mixture, block = mixture_of(image), blocks_of(image)[0]
    task, pixels = Accumulate(mixture, np.dtype(np.float32)), block.valid_pixels()
    odd = np.concatenate([np.full((5, 3), -3.4e38, np.float32), pixels, [[0, 1e10, 0]]]).astype(np.float32)
    found, expected = task.found(odd, block), task.found(pixels, block)
    assert found.weight == expected.weight == len(pixels)
    np.testing.assert_allclose(found.moments, expected.moments, rtol=1e-5, atol=1e-4)
    assert task.found(odd[:5], block).weight == 0


@pytest.mark.parametrize("held", ["file", "masked file", "float file", "float array"])
def test_statistics_in_another_space_are_those_of_converted_pixels_in_any_parts(held, images, monkeypatch):
    image = images[held]
    mixture, block = mixture_of(image), blocks_of(image)[0]
    mixture = replace(mixture, space=replace(mixture.space, distances="lab"))
    low, high = np.transpose(mixture.space.range or [(0, np.iinfo(image.dtype).max)])
    x = naive.lab(((block.valid_pixels().astype(np.float64) - low) / (high - low)).clip(0, 1)) / 100
    n, *_, log_likelihood = naive.statistics(x, parts(mixture))
    for converted in (module.CONVERTED, 100):
        monkeypatch.setattr(module, "CONVERTED", converted)
        found = Accumulate(mixture, Blocks([image]).dtype)(block).value
        np.testing.assert_allclose(found.responsibilities, n, rtol=1e-3, atol=1e-2)
        np.testing.assert_allclose(found.log_likelihood, log_likelihood, rtol=1e-4)
        assert found.weight == len(x)


@pytest.mark.parametrize("held", ["masked file", "masked array", "array"])
def test_colors_are_listed_with_their_counts(held, images):
    image = images[held]
    block = blocks_of(image)[0]
    table = ListColors(BY_TYPE, np.dtype(np.uint8))(block).value
    assert dict(zip(map(tuple, table.colors.tolist()), table.counts, strict=True)) == naive.count_colors(block.valid_pixels())


@pytest.mark.parametrize("held", IMAGES)
def test_what_is_drawn_is_of_the_block_and_as_much_as_asked_for(held, images):
    image = images[held]
    block, task = blocks_of(image)[0], partial(Draw, Blocks([image]).dtype)
    there = set(map(tuple, block.valid_pixels().tolist()))
    pixels, weights = task(seed=1, share=50)(block).value
    assert (pixels.shape, weights.shape, pixels.dtype) == ((50, image.shape[2]), (50,), image.dtype)
    assert set(map(tuple, pixels.tolist())) <= there
    assert weights.sum() == pytest.approx(len(block.valid_pixels()), rel=0.3)
    assert not np.array_equal(pixels, task(seed=2, share=50)(block).value[0])


def test_blocks_are_drawn_from_each_by_itself(images):
    """The one at another position has other places, though the pixels are the same."""
    block = blocks_of(images["array"])[0]
    task = Draw(np.dtype(np.uint8), 1, 50)
    assert not np.array_equal(task(block).value[0], task(block._replace(position=7)).value[0])


@pytest.mark.parametrize("held", IMAGES)
def test_where_there_is_no_more_than_the_share_all_is_drawn_once(held, images):
    image = images[held]
    block = blocks_of(image)[0]
    expected = block.valid_pixels()
    pixels, weights = Draw(Blocks([image]).dtype, 1, len(expected))(block).value
    np.testing.assert_array_equal(pixels, expected)
    assert weights.tolist() == [1] * len(expected)
    assert pixels.base is None  # it does not hold what was decoded


def test_8_bits_among_16_are_drawn_as_such(images):
    block = blocks_of(images["array"])[0]
    narrow, wide = (Draw(np.dtype(dtype), 1, 50)(block).value for dtype in (np.uint8, np.uint16))
    assert wide[0].dtype == np.uint16
    np.testing.assert_array_equal(wide[0], narrow[0].astype(np.uint16) * 257)
