"""Comparing two images: the same numbers for any container, chunk size and number of threads; masked pixels do not count."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

import streamgmm
from streamgmm.errors import (
    Cancelled,
    ImageReadError,
    MemoryBudgetError,
    NoPixelsError,
    OptionError,
    UnsupportedImageError,
)

from .. import naive
from ..images import PHOTO, smooth, write_tiff


def printed_by_process(program, *arguments):
    """What a program prints in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(Path(streamgmm.__file__).parents[1])}
    return subprocess.check_output([sys.executable, "-c", program, *arguments], env=environment, encoding="utf-8")


@pytest.fixture
def small_blocks(monkeypatch):
    """Cut small images into many blocks."""
    monkeypatch.setattr("streamgmm.jobs.compare.BLOCK_PIXELS", 1 << 10)


def altered(pixels, seed=1):
    """An image like another, with noise."""
    peak = np.iinfo(pixels.dtype).max
    noise = np.random.default_rng(seed).normal(0, peak / 20, pixels.shape)
    return (pixels + noise).clip(0, peak).astype(pixels.dtype)


def expected(a, b, valid=None):
    """What the definitions say of images (height, width, 3) in [0, 1]."""
    valid = np.ones(a.shape[:2], bool) if valid is None else valid
    lab = [naive.lab(np.rint(image[valid] * 65_535) / 65_535) for image in (a, b)]
    ssim = np.mean([naive.similarities(a[..., band], b[..., band], valid) for band in range(3)])
    return 10 * math.log10(1 / ((a - b)[valid] ** 2).mean()), lab, ssim


def agree(found, a, b, valid=None):
    """Whether a comparison is what the definitions say; Delta E by its bounds in Lab, its pairs are tested elsewhere."""
    psnr, lab, ssim = expected(a, b, valid)
    assert found.psnr_db == pytest.approx(psnr, abs=1e-6)
    assert found.ssim == pytest.approx(ssim, abs=1e-6)
    assert 0 < found.delta_e_2000 < 2 * np.linalg.norm(lab[0] - lab[1], axis=1).mean()


def test_a_comparison_is_what_the_definitions_say():
    a = smooth(40, 50)
    b = altered(a)
    found = streamgmm.compare(a, b)
    agree(found, a / 255, b / 255)
    assert (found.width, found.height, found.compared_pixels, found.masked_once) == (50, 40, 2000, 0)


def test_psnr_is_that_of_the_report_of_what_was_made(tmp_path):
    report = streamgmm.quantize(PHOTO, tmp_path / "out.tif", n_components=8)
    found = streamgmm.compare(PHOTO, tmp_path / "out.tif")
    assert found.psnr_db == pytest.approx(report.psnr_db, abs=1e-6)
    assert (found.a, found.b) == (str(PHOTO), str(tmp_path / "out.tif"))
    assert found.ssim < 0.9
    assert found.delta_e_2000 > 2


def test_psnr_of_what_was_stretched_is_that_of_the_report_in_its_range(tmp_path):
    a = (smooth(80, 90, 1, np.uint16) // 100 + 300).astype(np.uint16)
    report = streamgmm.quantize(a, tmp_path / "out.tif", n_components=8)
    found = streamgmm.compare(a, tmp_path / "out.tif", display_range=report.display_range)
    assert found.psnr_db == pytest.approx(report.psnr_db, abs=0.01)  # the ends have decimals, and shown samples 16 bits
    assert streamgmm.compare(a, tmp_path / "out.tif").psnr_db < 20


def test_equal_images_are_equal():
    a = smooth(40, 50)
    found = streamgmm.compare(a, a.copy())
    assert (found.psnr_db, found.delta_e_2000, found.ssim) == (None, 0, 1)


def test_a_comparison_is_written_as_json():
    found = streamgmm.compare(smooth(40, 50), smooth(40, 50, seed=1))
    written = json.loads(found.to_json())
    assert written == vars(found)
    assert {"psnr_db", "delta_e_2000", "ssim", "compared_pixels", "masked_once"} < written.keys()


# --- Whatever the machine ---


LAYOUTS = {
    "tiles and strips": ({"tile": (32, 48)}, {"rowsperstrip": 7, "compression": "lzw"}),
    "tiles of two sizes": ({"tile": (64, 64), "compression": "deflate"}, {"tile": (48, 80)}),
    "strips": ({"rowsperstrip": 5}, {"rowsperstrip": 200}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_numbers_do_not_depend_on_chunks_and_threads(layout, small_blocks, tmp_path):
    a = smooth(150, 170)
    names = [tmp_path / "a.tif", tmp_path / "b.tif"]
    for path, pixels, options in zip(names, (a, altered(a)), LAYOUTS[layout], strict=True):
        write_tiff(path, pixels, **options)
    first = streamgmm.compare(*names, threads=1)
    for more in ({"chunk_size": "1px"}, {"threads": 2}, {"threads": 5, "chunk_size": "4000px"}, {"memory": "400MiB"}):
        assert streamgmm.compare(*names, **more) == first  # to the last bit
    whole = streamgmm.compare(a, altered(a))
    for name in ("psnr_db", "delta_e_2000", "ssim"):
        assert getattr(first, name) == pytest.approx(getattr(whole, name), rel=1e-12)


def test_windows_reach_over_the_borders_of_blocks(small_blocks):
    a = smooth(60, 70)
    agree(streamgmm.compare(a, altered(a)), a / 255, altered(a) / 255)


def test_progress_is_told_and_cancels():
    a, told = smooth(60, 70), []
    streamgmm.compare(a, a, progress=lambda *now: told.append(now))
    assert told[-1] == ("compare", 4200, 4200)
    with pytest.raises(Cancelled):
        streamgmm.compare(a, a, progress=lambda *_: False)


@pytest.mark.slow
def test_memory_does_not_depend_on_the_size(tmp_path):
    tile, peaks = altered(smooth(512, 512)), []
    program = "import sys, streamgmm; streamgmm.compare(*sys.argv[1:]); print(open('/proc/self/status').read())"
    for side in (2048, 8192):
        for name, pixels in (("a", tile), ("b", altered(tile))):
            tiles = (pixels for _ in range((side // 512) ** 2))
            options = {"tile": (512, 512), "photometric": "rgb", "compression": "deflate", "metadata": None}
            tifffile.imwrite(tmp_path / name, tiles, shape=(side, side, 3), dtype=np.uint8, **options)
        printed = printed_by_process(program, tmp_path / "a", tmp_path / "b")
        peaks.append(int(re.search(r"VmHWM:\s+(\d+)", printed)[1]))
    assert peaks[1] < 1.1 * peaks[0]
    assert peaks[1] < 320 << 10


# --- Masks ---


def test_pixels_that_are_masked_in_either_do_not_count(small_blocks):
    a = smooth(60, 70)
    b = altered(a)
    masks = np.zeros((2, 60, 70), bool)
    masks[0, 20:25, 30:33] = masks[1, 24:28, 30:33] = True
    one, other = a.copy(), b.copy()
    one[masks[0]], other[masks[1]] = 0, 255  # what is there is nothing
    arrays = [np.ma.array(p, mask=m[..., None].repeat(3, axis=2)) for p, m in zip((one, other), masks, strict=True)]
    found = streamgmm.compare(*arrays)
    agree(found, a / 255, b / 255, ~masks.any(axis=0))
    assert (found.compared_pixels, found.masked_once) == (60 * 70 - 24, 21)
    assert streamgmm.compare(arrays[0], arrays[0]).masked_once == 0


def test_masks_of_an_image_are_those_of_what_was_made_of_it(tmp_path):
    a = smooth(60, 70)
    a[5:9, 7:10] = 0
    streamgmm.quantize(a, tmp_path / "out.tif", n_components=4, nodata=0)
    found = streamgmm.compare(a, tmp_path / "out.tif", nodata=0)
    assert (found.compared_pixels, found.masked_once) == (4200 - 12, 0)
    assert streamgmm.compare(a, tmp_path / "out.tif").masked_once == 12


def test_nothing_to_compare_is_told():
    a = smooth(20, 20)
    with pytest.raises(NoPixelsError, match="array: each pixel is masked there or in array; there is nothing to compare"):
        streamgmm.compare(np.ma.array(a, mask=True), a)


def test_an_image_without_a_whole_window_has_no_ssim():
    a = smooth(10, 300)
    found = streamgmm.compare(a, altered(a))
    assert found.ssim is None
    assert found.psnr_db > 20


# --- Kinds of samples ---


def test_a_gray_is_compared_as_rgb():
    gray = smooth(40, 50, 1)
    rgb = altered(gray.repeat(3, axis=2))
    found = streamgmm.compare(gray, rgb)
    agree(found, gray.repeat(3, axis=2) / 255, rgb / 255)
    assert streamgmm.compare(gray[..., 0], gray.repeat(3, axis=2)).psnr_db is None


def test_8_bits_are_compared_with_16_by_their_types():
    a = smooth(40, 50)
    assert streamgmm.compare(a, a.astype(np.uint16) * 257).psnr_db is None
    signed = (a.astype(np.int16) - 128).astype(np.int8)
    assert streamgmm.compare(a, signed).psnr_db is None


def test_the_colors_of_a_palette_are_compared(tmp_path):
    labels = np.random.default_rng(0).integers(0, 4, (40, 50), np.uint8)
    table = np.zeros((3, 256), np.uint16)
    table[:, :4] = np.array([[255, 0, 9, 80], [0, 255, 7, 80], [30, 60, 255, 80]]) * 257
    tifffile.imwrite(tmp_path / "palette.tif", labels, photometric="palette", colormap=table)
    assert streamgmm.compare(tmp_path / "palette.tif", (table >> 8).astype(np.uint8).T[labels]).psnr_db is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_samples_without_a_range_need_one(dtype):
    a = smooth(40, 50).astype(dtype) * 3
    b = altered(smooth(40, 50))
    for pair in ((a, b), (b, a), (a, a)):
        with pytest.raises(OptionError, match=r"array: samples are floats, or wider than 16 bits.* --display-range LOW,HIGH"):
            streamgmm.compare(*pair)
    agree(streamgmm.compare(a, b, display_range=(0, 765)), a / 765, b / 255)
    agree(streamgmm.compare(a, b.astype(dtype) * 3, display_range="0,765"), a / 765, b / 255)


def test_a_range_is_of_stored_samples_and_not_of_8_bits_of_b():
    a = smooth(40, 50, 3, np.uint16) // 64
    shown = a / a.max()
    b = np.rint(shown * 255).astype(np.uint8)
    given = {"display_range": (0, int(a.max()))}
    assert streamgmm.compare(a, b, **given).psnr_db > 55
    assert streamgmm.compare(a, a, **given).psnr_db is None
    signed = (a.astype(np.int32) - 500).astype(np.int16)
    assert streamgmm.compare(signed, b, display_range=(-500, int(a.max()) - 500)).psnr_db > 55
    assert streamgmm.compare(b, b, display_range=(0, 80)).psnr_db < 55  # of A alone


def test_a_range_that_is_none_is_refused():
    with pytest.raises(OptionError, match="display-range is 'none'; write auto, type, or LOW,HIGH"):
        streamgmm.compare(smooth(20, 20), smooth(20, 20), display_range="none")


# --- What cannot be compared ---


def test_images_of_two_sizes_are_refused_by_name(tmp_path):
    a, b = write_tiff(tmp_path / "a.tif", smooth(40, 50)), write_tiff(tmp_path / "b.tif", smooth(40, 51))
    with pytest.raises(OptionError) as caught:
        streamgmm.compare(a, b)
    assert str(caught.value) == f"{a} has 50 x 40 pixels, {b} 51 x 40; compare images of one size"


@pytest.mark.parametrize("n_bands", [2, 4, 7])
def test_other_bands_than_gray_and_rgb_are_to_be_chosen(n_bands):
    a, rgb = smooth(40, 50, n_bands), smooth(40, 50)
    for pair in ((a, rgb), (rgb, a), (a, a)):
        with pytest.raises(OptionError, match=f"array: {n_bands} bands; choose one or three with --bands, such as 1,2,3"):
            streamgmm.compare(*pair)
    chosen = a[..., [1, 0, n_bands - 1]]
    bands = (2, 1, n_bands)
    assert streamgmm.compare(a, chosen, bands=bands).psnr_db is None
    assert streamgmm.compare(a, a, bands=bands).psnr_db is None


def test_errors_of_reading_are_those_of_the_images(tmp_path):
    with pytest.raises(ImageReadError, match="gone"):
        streamgmm.compare(smooth(20, 20), tmp_path / "gone.tif")
    with pytest.raises(UnsupportedImageError, match="samples are complex64"):
        streamgmm.compare(np.zeros((20, 20), np.complex64), smooth(20, 20))
    with pytest.raises(OptionError, match="bands are 4"):
        streamgmm.compare(smooth(20, 20), smooth(20, 20), bands=(4,))
    with pytest.raises(MemoryBudgetError, match="raise --memory"):
        streamgmm.compare(smooth(20, 20), smooth(20, 20), memory="100MiB")


def test_a_level_of_a_is_compared_with_an_image_of_its_size(tmp_path):
    pixels = smooth(200, 240)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(pixels, tile=(64, 64), photometric="rgb", metadata=None)
        writer.write(pixels[::2, ::2], tile=(64, 64), photometric="rgb", subfiletype=1, metadata=None)
    assert streamgmm.compare(tmp_path / "a.tif", pixels[::2, ::2], level=1).psnr_db is None
