"""After a warm-up nothing is compiled; and whatever is wrong with what is kept, a run compiles again and is right."""

import logging
import re
import shutil

import numpy as np
import pytest

import streamgmm
from streamgmm.model import warmup

from ..images import smooth, write_tiff
from .conftest import ARGUMENTS, PIXELS, compiled, printed, run

WARM = """
from dataclasses import replace

from streamgmm.model.colors import ColorCounter, ColorTable
from streamgmm.model.display import Display
from streamgmm.model.distortion import distortion
from streamgmm.model.jit import dispatchers
from streamgmm.model.labels import LookupTable, classify, confidence
from streamgmm.model.palette import palette_of
from streamgmm.model.space import SampleSpace
from streamgmm.model.warmup import compile_kernels

def compiled():
    return [len(dispatcher.signatures) for dispatcher in dispatchers]

mixture = replace(mixture, space=SampleSpace(distances="{space}"))
space = mixture.space
compile_kernels(pixels.dtype, 3, {n_components}, 2, table={table}, confident=True, space="{space}")
before = compiled()
if {table}:
    counter = ColorCounter(3, len(pixels), 2)
    counter.add(pixels)
    table = replace(counter.table(), space=space)
    table.converted().accumulate(mixture, threads=2)
    labels = LookupTable(table, classify(table.colors, mixture, 2))(pixels)
else:
    accumulate(space.coordinates(pixels), mixture)
    ColorTable.of(space.coordinates(pixels)).accumulate(mixture, threads=2)
    labels = classify(pixels, mixture)
distortion(pixels, labels, palette_of(mixture), Display.of(mixture))
confidence(pixels, mixture)
print(before == compiled())
"""


@pytest.mark.parametrize("table", [True, False], ids=["table", "stream"])
@pytest.mark.parametrize(("n_components", "space"), [(4, "rgb"), (300, "rgb"), (4, "oklab")])
def test_no_kernel_is_compiled_after_the_warm_up(n_components, space, table, tmp_path):
    program = (PIXELS + WARM).format(n_components=n_components, n_bands=3, n_pixels=300, table=table, space=space)
    assert printed(tmp_path, program) == "True\n"


DITHERED = """
from streamgmm.model.display import Display
from streamgmm.model.distortion import distortion
from streamgmm.model.dither import BlendTable, Dithering, halved
from streamgmm.model.jit import dispatchers
from streamgmm.model.warmup import compile_dithering

compile_dithering(pixels.dtype, 3, {n_components}, table={table})
before = [len(dispatcher.signatures) for dispatcher in dispatchers]
palette, display = np.arange(3 * {n_components}).reshape(-1, 3).astype(np.uint8), Display.of(mixture)
dithering = Dithering(palette, display, "blue-noise")
image, valid = pixels.reshape(15, 20, 3), np.arange(300).reshape(15, 20) > 5
find = BlendTable(dithering.blends, 3) if {table} else dithering.blends
labels = dithering.labels(find(image), 0, 0)
distortion(pixels, labels, palette, display)
dithering.labels(find(image[valid]), 3, 7, valid)
codes = np.zeros((15, 20), np.uint32)
for samples, colors in ((labels, palette), (labels.T, palette), (codes, None), (codes[3:, 5:], None)):
    means, _ = halved(samples, colors, 0)
    for find in (dithering.level_blends, BlendTable(dithering.level_blends, 3)):
        dithering.level_labels(find(means), 5, 6)
print(before == [len(dispatcher.signatures) for dispatcher in dispatchers])
"""


@pytest.mark.parametrize("table", [True, False], ids=["table", "each pixel"])
@pytest.mark.parametrize("n_components", [4, 300])
def test_no_kernel_is_compiled_after_the_warm_up_of_dithering(n_components, table, tmp_path):
    program = (PIXELS + DITHERED).format(n_components=n_components, n_bands=3, n_pixels=300, table=table)
    assert printed(tmp_path, program) == "True\n"


COMPARED = """
import numpy as np
from streamgmm.model.difference import difference
from streamgmm.model.jit import dispatchers
from streamgmm.model.warmup import compile_comparison

compile_comparison()
before = [len(dispatcher.signatures) for dispatcher in dispatchers]
planes = np.arange(3 * 30 * 40, dtype=np.uint16).reshape(3, 30, 40)
difference(planes, planes[::-1].copy(), (None, planes[0] > 5), (20, 30))
print(sum(before) > 0, before == [len(dispatcher.signatures) for dispatcher in dispatchers])
"""


def test_no_kernel_is_compiled_after_the_warm_up_of_a_comparison(tmp_path):
    assert printed(tmp_path, COMPARED) == "True True\n"


@pytest.fixture
def attempts(monkeypatch):
    """What compiling ahead comes to: how often all kernels were called, and whether kept code was forgotten in between."""
    seen = []
    monkeypatch.setattr(warmup, "forget", lambda: seen.append("forget"))

    def failing(times):
        def call_all(*_):
            seen.append("call")
            if seen.count("call") <= times:
                raise EOFError("Ran out of input")

        monkeypatch.setattr(warmup, "_call_all", call_all)
        return seen

    return failing


def test_code_that_cannot_be_read_is_compiled_again(attempts, caplog):
    seen = attempts(1)
    with caplog.at_level(logging.INFO, logger="streamgmm"):
        warmup.compile_kernels(np.uint8, 3, 4, 2, table=True)
    assert seen == ["call", "forget", "call"]
    assert "compiled code that was kept cannot be read (EOFError: Ran out of input); compiling again" in caplog.text


def test_what_fails_again_is_raised(attempts):
    seen = attempts(2)
    with pytest.raises(EOFError):
        warmup.compile_kernels(np.uint8, 3, 4, 2, table=True)
    assert seen == ["call", "forget", "call"]


def test_what_is_kept_is_left_alone_where_it_can_be_read(attempts):
    seen = attempts(0)
    warmup.compile_kernels(np.uint8, 3, 4, 2, table=True)
    assert seen == ["call"]


def test_a_warm_up_is_for_the_usual_images(monkeypatch):
    warmed, dithered = set(), set()
    monkeypatch.setattr(
        warmup, "compile_kernels", lambda dtype, n_bands, *_, table, **__: warmed.add((str(dtype), n_bands, table))
    )
    monkeypatch.setattr(
        warmup, "compile_dithering", lambda dtype, n_bands, *_, table: dithered.add((str(dtype), n_bands, table))
    )
    monkeypatch.setattr(warmup, "compile_comparison", lambda: warmed.add("comparison"))
    warmup.warm_up()
    on_tiles = {(dtype, n_bands, False) for dtype in ("uint8", "uint16", "float32") for n_bands in (1, 3, 4)}
    assert warmed == on_tiles | {("uint8", 1, True), ("uint8", 3, True), "comparison"}
    assert dithered == warmed - {"comparison"}


DAMAGES = {
    "empty": lambda data: b"",
    "cut off": lambda data: data[: len(data) // 2],
    "garbage": lambda data: bytes(range(256)) * (len(data) // 256),
    "of another": lambda data: b"\x80\x04K\x07." + data[:100],
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_a_damaged_cache_is_compiled_again(suffix, damage, filled, folder, expected):
    shutil.copytree(filled, folder / "cache")
    files = list((folder / "cache").rglob(f"*.{suffix}"))
    assert len(files) > 4
    for path in files:
        path.write_bytes(DAMAGES[damage](path.read_bytes()))
    _, error = run(folder, [*ARGUMENTS, "-v"], STREAMGMM_CACHE_DIR=str(folder / "cache"))
    assert (folder / "out.tif").read_bytes() == expected
    assert "Traceback" not in error
    assert re.search(r"compiled kernels in [\d.]+ s", error)
    assert compiled(folder, ARGUMENTS, folder / "cache")[0] == 0  # and kept anew


@pytest.mark.slow
def test_one_damaged_file_is_enough(filled, folder, expected):
    rng = np.random.default_rng(0)
    names = sorted(path.relative_to(filled) for path in filled.rglob("*.nb[ic]"))
    for name in rng.choice(names, 4, replace=False):
        shutil.copytree(filled, folder / "cache", dirs_exist_ok=True)
        data = (folder / "cache" / name).read_bytes()
        (folder / "cache" / name).write_bytes(data[: rng.integers(len(data))])
        assert run(folder, ARGUMENTS, STREAMGMM_CACHE_DIR=str(folder / "cache")) == ("", ""), name
        assert (folder / "out.tif").read_bytes() == expected, name


LATER = {
    "uint8": ({}, ARGUMENTS),
    "gray": ({"bands": 1}, ARGUMENTS),
    "uint8 of four bands": ({"bands": 4}, ARGUMENTS),
    "uint8 streaming": ({}, [*ARGUMENTS, "--method", "stream"]),
    "minibatch": ({}, [*ARGUMENTS, "--method", "minibatch"]),
    "uint16": ({"dtype": np.uint16}, ARGUMENTS),
    "uint16, one thread": ({"dtype": np.uint16}, [*ARGUMENTS, "--threads", "1"]),
    "one thread": ({}, [*ARGUMENTS, "--threads", "1"]),
    "confidence, levels and RGB": ({}, [*ARGUMENTS, "--confidence", "sure.tif", "--pyramid", "--output", "rgb"]),
    "diag": ({}, [*ARGUMENTS, "--covariance", "diag"]),
    "another space": ({}, [*ARGUMENTS, "--space", "lab"]),
    "another space, 16 bits": ({"dtype": np.uint16}, [*ARGUMENTS, "--space", "oklab"]),
    "apply": ({}, ["apply", "model.json", "in.tif", "out.tif", "--confidence", "sure.tif", "--overwrite"]),
    "fit": ({}, ["fit", "in.tif", "-o", "fitted.json", "--overwrite"]),
    "compare": ({}, ["compare", "in.tif", "in.tif"]),
}


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """A cache that was filled by a warm-up."""
    cache = tmp_path_factory.mktemp("warm")
    assert run(cache, ["warmup"], STREAMGMM_CACHE_DIR=str(cache)) == ("", "")
    return cache


@pytest.mark.slow
@pytest.mark.parametrize("later", LATER)
def test_after_a_warm_up_nothing_is_compiled(later, warm, folder):
    image, arguments = LATER[later]
    write_tiff(folder / "in.tif", smooth(300, 310, **image), tile=(64, 64))
    if later == "apply":
        (folder / "model.json").write_text(
            streamgmm.fit_image(folder / "in.tif", n_components=3)[0].to_json(), encoding="utf-8"
        )
    misses, hits = compiled(folder, arguments, warm)
    assert misses == 0
    assert hits >= (2 if later == "compare" else 3)  # which has two kernels


@pytest.mark.slow
def test_after_a_warm_up_floats_are_not_compiled(warm, folder):
    pixels = smooth(300, 310, 3, np.uint16).astype(np.float32)
    pixels[:9] = np.nan
    write_tiff(folder / "in.tif", pixels, tile=(64, 64))
    assert compiled(folder, ARGUMENTS, warm)[0] == 0
