"""A page shows the pixels of the image and of its output, the same for any chunks, threads and interruptions."""

import logging
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile

import streamgmm
from streamgmm.errors import OutputError
from streamgmm.image.output.codec import encode_tile
from streamgmm.image.output.spec import ImageSpec
from streamgmm.image.output.spool import Spool
from streamgmm.image.tiles import Window
from streamgmm.jobs.paging import colors_in
from streamgmm.page import overview

from ..conftest import random_mixture
from ..images import smooth, write_tiff
from ..page.reading import numbers, pictures, read, steady, swatches

quantize = partial(streamgmm.quantize, threads=1, n_components=4)
PIXELS = smooth(270, 400)
MASK = np.zeros((270, 400), bool)
MASK[20:90, 30:170] = True
MASKED = np.ma.array(PIXELS, mask=MASK[:, :, None].repeat(3, axis=2))
PAGE = Path("page.html")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def colors_of(path):
    """An output in its colors."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        samples = page.asarray()
        return (
            samples[..., :3] if page.photometric == 2 else (page.colormap[:, samples] >> 8).transpose(1, 2, 0).astype(np.uint8)
        )


@pytest.mark.parametrize("form", ["palette", "rgb"])
@pytest.mark.parametrize("source", [PIXELS, MASKED], ids=["whole", "masked"])
def test_it_shows_the_image_and_the_output(source, form):
    quantize(source, "out.tif", html=PAGE, output=form, tile_size=64)
    found = list(pictures(PAGE).items())
    (_, before), (_, after) = found[:2]
    valid = ~MASK if source is MASKED else np.ones(MASK.shape, bool)
    np.testing.assert_array_equal(before[valid], PIXELS[valid])
    np.testing.assert_array_equal(after[valid], colors_of("out.tif")[valid])
    assert ("Squares of gray are masked pixels" in read(PAGE)) == (source is MASKED)
    crops = [(alt, picture) for alt, picture in found if alt.startswith("The place of the")]
    assert len(crops) == 6
    for alt, picture in crops:
        whole = before if "as it was" in alt else after
        windows = np.lib.stride_tricks.sliding_window_view(whole[:, :, 0], picture.shape[:2])
        same = (windows[::135, ::200] == picture[:, :, 0]).mean(axis=(2, 3))  # where places begin
        assert same.max() > 0.9  # squares of gray begin at the corner of a picture


def test_labels_without_colors_are_shown_in_those_of_their_components():
    quantize(PIXELS, "out.tif", html=PAGE, output="labels")
    quantize(PIXELS, "colors.tif")
    np.testing.assert_array_equal(list(pictures(PAGE).values())[1], colors_of("colors.tif"))


def test_a_swatch_says_where_its_color_is():
    quantize(PIXELS, "out.tif", html=PAGE)
    assert ["#" + bytes(color).hex() for color in np.unique(colors_of("out.tif").reshape(-1, 3), axis=0)] == sorted(
        swatches(PAGE)
    )
    np.testing.assert_array_equal(numbers(PAGE), tifffile.imread("out.tif"))


@pytest.mark.parametrize("step", [1, 3])
def test_it_is_the_same_for_any_chunks_and_threads(step, monkeypatch):
    monkeypatch.setattr(overview, "SIDE", -(-400 // step))
    write_tiff("in.tif", PIXELS, tile=(32, 48))
    pages = []
    for i, (chunk_size, threads) in enumerate([("64MiB", 1), ("1kpx", 1), ("20kpx", 3)]):
        if i == 2:
            monkeypatch.setattr("streamgmm.jobs.labeling.writing_unit", lambda shape, tile, segment, pixels: (48, 96))
        quantize("in.tif", f"{i}.tif", html=PAGE, tile_size=48, chunk_size=chunk_size, threads=threads, overwrite=True)
        pages.append(steady(PAGE).replace(f"{i}.tif", "0.tif"))
    assert pages[0] == pages[1] == pages[2]


def test_without_a_table_of_colors_it_is_the_same_too():
    write_tiff("in.tif", smooth(200, 300, dtype=np.uint16), tile=(32, 48))
    pages = []
    for threads in (1, 3):
        quantize("in.tif", "out.tif", html=PAGE, threads=threads, chunk_size="10kpx", overwrite=True)
        pages.append(steady(PAGE))
    assert pages[0] == pages[1]


def test_a_page_changes_nothing_of_the_output():
    quantize(PIXELS, "with.tif", html=PAGE)
    quantize(PIXELS, "without.tif")
    assert Path("with.tif").read_bytes() == Path("without.tif").read_bytes()


def test_a_run_that_was_interrupted_has_the_same_page(monkeypatch):
    monkeypatch.setattr("streamgmm.jobs.labeling.writing_unit", lambda shape, tile, segment, pixels: (64, 64))
    write_tiff("in.tif", PIXELS, tile=(16, 16))
    quantize("in.tif", "out.tif", html=PAGE, tile_size=64)
    expected = steady(PAGE)
    for path in (Path("out.tif"), PAGE):
        path.unlink()
    monkeypatch.setattr("streamgmm.jobs.passes.checkpoint.INTERVAL", 0)
    monkeypatch.setattr("streamgmm.jobs.passes.checkpoint.SHARE", 0)

    def interrupt(phase, done, total):
        if phase == "label" and done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantize("in.tif", "out.tif", html=PAGE, tile_size=64, progress=interrupt)
    assert not PAGE.exists()
    report = quantize("in.tif", "out.tif", html=PAGE, tile_size=64)
    assert report.resumed["label"] > 0
    assert steady(PAGE) == expected
    assert "by an interrupted run" in read(PAGE)


def test_what_was_saved_without_a_page_is_not_gone_on_with(monkeypatch):
    monkeypatch.setattr("streamgmm.jobs.labeling.writing_unit", lambda shape, tile, segment, pixels: (64, 64))
    write_tiff("in.tif", PIXELS, tile=(16, 16))
    monkeypatch.setattr("streamgmm.jobs.passes.checkpoint.INTERVAL", 0)

    def interrupt(phase, done, total):
        if phase == "label" and done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantize("in.tif", "out.tif", tile_size=64, progress=interrupt)
    assert quantize("in.tif", "out.tif", html=PAGE, tile_size=64).resumed == {}
    np.testing.assert_array_equal(next(iter(pictures(PAGE).values())), PIXELS)


def test_an_image_that_is_all_masked_has_a_page(caplog):
    quantize(np.ma.masked_all((30, 40, 3), np.uint8), "out.tif", html=PAGE)
    text = read(PAGE)
    assert "Every pixel is masked" in text
    assert '<input type="range"' not in text
    assert swatches(PAGE) == []


@pytest.mark.parametrize(("n_colors", "pixels"), [(1, np.full((9, 7, 3), 50, np.uint8)), (2, np.eye(20, dtype=np.uint8))])
def test_an_image_of_few_colors_has_no_error(n_colors, pixels):
    assert quantize(pixels, "out.tif", html=PAGE).method == "lossless"
    assert "there is no error" in read(PAGE)
    assert "Where the error is" not in read(PAGE)
    assert len(swatches(PAGE)) == n_colors
    assert "Components" in read(PAGE)


def test_of_many_colors_the_heaviest_are_shown():
    quantize(smooth(80, 90), "out.tif", html=PAGE, n_components=300, max_iter=2)
    assert "The 256 heaviest of 300 colors." in read(PAGE)
    assert len(swatches(PAGE)) == 256
    assert numbers(PAGE).max() == 256


@pytest.mark.parametrize("kind", ["uint16", "float32"])
def test_other_samples_are_shown_as_the_palette_shows_them(kind):
    pixels = smooth(60, 50, dtype=np.uint16).astype(kind) / (1 if kind == "uint16" else 1000)
    pixels = (pixels / 50).astype(kind)  # little of the range
    report = quantize(pixels, "out.tif", html=PAGE)
    low, high = report.display_range
    before = next(iter(pictures(PAGE).values()))
    np.testing.assert_allclose(before, np.clip((pixels - low) / (high - low), 0, 1) * 255, atol=0.6)
    assert f"{low:g} and {high:g}, as stored" in read(PAGE)


def test_bands_are_those_that_are_shown():
    pixels = np.dstack([smooth(40, 50), smooth(40, 50, seed=1)[..., :2]])
    quantize(pixels, "out.tif", html=PAGE, display_bands=(5, 1, 3))
    np.testing.assert_array_equal(next(iter(pictures(PAGE).values())), pixels[..., [4, 0, 2]])
    assert "bands 5, 1, 3 as red, green and blue" in read(PAGE)


def test_of_a_class_map_the_classes_are_shown_alone():
    pixels = np.random.default_rng(0).integers(3, 7, (40, 50), dtype=np.uint8)
    quantize(pixels, "out.tif", html=PAGE, keep_values=True)
    assert "The output" in read(PAGE)
    assert '<input type="range"' not in read(PAGE)
    np.testing.assert_array_equal(numbers(PAGE), pixels - 3)


def test_of_several_pages_the_first_is_shown_and_it_is_said():
    with tifffile.TiffWriter("in.tif") as tiff:
        for seed in range(3):
            tiff.write(smooth(50, 60, seed=seed), photometric="rgb")
    quantize("in.tif", "out.tif", html=PAGE, all_pages=True)
    assert "The pictures are of the first of 3 images" in read(PAGE)
    np.testing.assert_array_equal(next(iter(pictures(PAGE).values())), smooth(50, 60, seed=0))


def test_apply_and_palettes_that_are_given_have_pages():
    streamgmm.apply(random_mixture(5, 3), PIXELS, "out.tif", html=PAGE, threads=1)
    assert len(swatches(PAGE)) == 5
    Path("colors.gpl").write_text("GIMP Palette\n255 0 0\n0 0 255\n", encoding="utf-8")
    quantize(PIXELS, "other.tif", html="other.html", palette_in="colors.gpl")
    assert swatches(Path("other.html")) == ["#ff0000", "#0000ff"]


def test_it_appears_with_the_output_or_not_at_all(monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("streamgmm.jobs.assembling.assemble_tiff", fail)
    with pytest.raises(OutputError):
        quantize(PIXELS, "out.tif", html=PAGE)
    assert list(Path().iterdir()) == []


def test_what_is_there_or_is_an_input_is_not_replaced():
    PAGE.write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match=r"^page.html: exists; use --overwrite to replace it$"):
        quantize(PIXELS, "out.tif", html=PAGE)
    write_tiff("in.html", PIXELS)
    with pytest.raises(OutputError, match=r"^in.html: is also the input"):
        quantize("in.html", "out.tif", html="in.html", overwrite=True)
    assert PAGE.read_text(encoding="utf-8") == "mine"


def test_a_window_of_an_output_is_that_of_its_tiles(tmp_path):
    palette = np.random.default_rng(0).integers(0, 256, (9, 3), dtype=np.uint8)
    labels = np.random.default_rng(1).integers(0, 9, (70, 90), dtype=np.uint8)
    for form in ("palette", "rgb", "labels"):
        spec = ImageSpec((70, 90), (32, 32), np.dtype(np.uint8), form, palette, compression="none")
        with Spool(tmp_path, spec.n_tiles) as spool:
            for number, place in enumerate(spec.grids[0]):
                spool.put(number, encode_tile(labels[place.slices], spec))
            window = Window(20, 31, 45, 59)
            np.testing.assert_array_equal(colors_in(window, spec, spool), palette[labels][window.slices])


SCRIPT = """
import sys, streamgmm, numpy
assert "matplotlib" not in sys.modules
streamgmm.quantize(numpy.eye(9), "out.tif", threads=1, html="page.html")
assert "matplotlib" in sys.modules and "matplotlib.pyplot" not in sys.modules
"""


def test_matplotlib_has_nothing_to_say(folder):
    environment = {
        "PYTHONPATH": str(Path(streamgmm.__file__).parents[1]),
        "MPLCONFIGDIR": "/proc/nowhere",
        "PATH": "/usr/bin:/bin",
    }
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, encoding="utf-8", env=environment, cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert logging.getLogger("matplotlib").level == logging.NOTSET
