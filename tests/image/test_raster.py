"""PNG, JPEG and WebP are read as Pillow shows them, and what they say of themselves is kept or named."""

import io
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps
from PIL.PngImagePlugin import PngInfo

from streamgmm.errors import ImageReadError, MemoryBudgetError, OptionError
from streamgmm.image.metadata import Metadata
from streamgmm.image.open import open_image
from streamgmm.image.raster import _carried_over as carried_over

from ..images import posterized, read, read_checked, smooth, whole
from .tagged import GRAY_PROFILE, LAB_PROFILE, PACKET, RGB_PROFILE

# Mode of the file -> mode with the samples that are fitted, and alpha behind them.
MODES = {"L": "L", "LA": "LA", "RGB": "RGB", "RGBA": "RGBA", "P": "RGB", "1": "L", "I;16": "I;16"}


def picture(mode):
    """A Pillow image of some mode, 37 x 23; where it has alpha, a corner is clear."""
    pixels = smooth(23, 37, 4)
    pixels[:5, :7, 3] = 0
    if mode == "I;16":
        return Image.fromarray(smooth(23, 37, 1, np.uint16)[:, :, 0])
    return Image.fromarray(pixels).convert("RGB").convert(mode) if mode in ("P", "1") else Image.fromarray(pixels).convert(mode)


def check_read(path, expected, alpha=False):
    """Compare what is read with pixels that Pillow holds, whose last band may be alpha: it masks where it is 0."""
    image = open_image(path)
    pixels, valid = whole(image)
    expected = expected if expected.ndim == 3 else expected[:, :, None]
    assert image.maskable == alpha
    if alpha:
        expected, opaque = expected[:, :, :-1], expected[:, :, -1] != 0
        assert 0 < opaque.sum() < opaque.size
        np.testing.assert_array_equal(valid, opaque)
    else:
        assert valid is None
    assert image.shape == expected.shape
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("mode", MODES)
def test_a_png_is_read_as_pillow_reads_it(mode, tmp_path):
    picture(mode).save(path := tmp_path / "image.png")
    assert open_image(path).dtype == (np.uint16 if mode == "I;16" else np.uint8)
    check_read(path, np.asarray(Image.open(path).convert(MODES[mode])), alpha=mode in ("LA", "RGBA"))


def test_a_palette_with_transparency_masks_what_is_clear(tmp_path):
    picture("P").save(path := tmp_path / "image.png", transparency=int(np.asarray(picture("P"))[0, 0]))
    check_read(path, np.asarray(Image.open(path).convert("RGBA")), alpha=True)


@pytest.mark.parametrize("bands", [1, 3])
def test_a_color_that_is_named_clear_is_masked(bands, tmp_path):
    pixels = posterized(23, 37, 5, bands)
    clear = tuple(pixels[0, 0].tolist()) if bands == 3 else int(pixels[0, 0, 0])
    Image.fromarray(pixels.squeeze()).save(path := tmp_path / "image.png", transparency=clear)
    np.testing.assert_array_equal(read(path).valid, (pixels != pixels[0, 0]).any(axis=-1))


def test_an_alpha_that_is_nowhere_0_masks_nothing(tmp_path):
    pixels = smooth(23, 37, 4)
    assert pixels[:, :, 3].min() > 0
    Image.fromarray(pixels).save(path := tmp_path / "image.png")
    image = open_image(path)
    assert image.maskable
    assert whole(image).valid is None
    np.testing.assert_array_equal(whole(image).pixels, pixels[:, :, :3])


def test_alpha_may_be_taken_as_a_band(tmp_path):
    picture("RGBA").save(path := tmp_path / "image.png")
    pixels, valid = read(path, bands=(4, 1))
    expected = np.asarray(Image.open(path))
    np.testing.assert_array_equal(pixels, expected[:, :, [3, 0]])
    np.testing.assert_array_equal(valid, expected[:, :, 3] != 0)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_alpha_of_a_picture_masks_where_it_is_0(suffix, mode, tmp_path):
    samples = smooth(23, 37, len(mode))
    samples[..., -1] = np.random.default_rng(0).choice([0, 51, 128, 255], (23, 37))
    Image.fromarray(samples).save(path := tmp_path / f"in.{suffix}", lossless=True, exact=True)
    colors, valid = read(path)
    np.testing.assert_array_equal(valid, samples[..., -1] != 0)
    np.testing.assert_array_equal(colors, np.broadcast_to(samples[..., :-1], colors.shape))


def test_only_tiffs_have_pages_and_levels(tmp_path):
    picture("RGB").save(path := tmp_path / "image.png")
    assert open_image(path, page=0).shape == (23, 37, 3)
    for option in ({"page": 1}, {"level": 1}):
        with pytest.raises(OptionError, match=f"{path}: only TIFF files have pages and levels"):
            open_image(path, **option)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_jpeg_is_read_as_pillow_reads_it(mode, tmp_path):
    picture(mode).save(path := tmp_path / "image.jpg")
    check_read(path, np.asarray(Image.open(path)))


def test_a_cmyk_jpeg_is_read_as_rgb(tmp_path):
    picture("RGB").convert("CMYK").save(path := tmp_path / "image.jpg")
    check_read(path, np.asarray(Image.open(path).convert("RGB")))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["jpeg", "png", "webp"])
def test_an_image_is_turned_as_its_exif_orientation_says(format, orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture("RGB").save(path := tmp_path / "image", format, exif=exif)
    expected = ImageOps.exif_transpose(Image.open(path))
    assert expected.size == ((37, 23) if orientation <= 4 else (23, 37))
    check_read(path, np.asarray(expected))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("lossless", [True, False])
def test_a_webp_is_read_as_pillow_reads_it(mode, lossless, tmp_path):
    picture(mode).save(path := tmp_path / "image.webp", lossless=lossless)
    expected = np.asarray(Image.open(path))
    if lossless and mode == "RGB":
        np.testing.assert_array_equal(expected, np.asarray(picture(mode)))
    check_read(path, expected, alpha=mode == "RGBA")


def test_a_raster_describes_itself(tmp_path):
    picture("RGBA").save(path := tmp_path / "image.png")
    image = open_image(path)
    assert image.name == str(path)
    assert image.info() == {"format": "PNG", "width": 37, "height": 23, "bands": 3, "dtype": "uint8", "dropped": []}


def test_a_raster_that_fits_the_budget_exactly_is_read(tmp_path):
    picture("RGB").save(path := tmp_path / "image.png")
    assert read(path, budget=23 * 37 * 3).pixels.shape == (23, 37, 3)


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_a_raster_above_the_budget_is_refused_with_the_remedy(format, tmp_path):
    Image.new("RGB", (1500, 1000)).save(path := tmp_path / "image", format)
    with pytest.raises(
        MemoryBudgetError, match=rf"image: a {format.upper()} of 1500 x 1000 .* (4|9) MiB of 3; .*tiled TIFF.*--chunk-size"
    ):
        open_image(path, budget=3 << 20)


def test_a_large_png_inside_the_budget_is_not_taken_for_a_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)  # Pillow warns above this, and refuses above twice this
    picture("L").save(path := tmp_path / "image.png")  # 851 pixels
    assert open_image(path, budget=1000).shape == (23, 37, 1)


@pytest.fixture
def bomb(tmp_path, monkeypatch):
    """A PNG of 851 pixels, where Pillow refuses 200: the factor by which 250 Mpx are beyond its limit."""
    picture("L").save(path := tmp_path / "image.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    return path


def test_what_pillow_takes_for_a_bomb_is_read_inside_the_budget(bomb):
    assert open_image(bomb, budget=1000).shape == (23, 37, 1)


def test_what_pillow_takes_for_a_bomb_is_refused_above_the_budget_with_the_remedy(bomb):
    with pytest.raises(MemoryBudgetError, match=r"tiled TIFF.*--chunk-size"):
        open_image(bomb, budget=800)


def test_the_limit_of_pillow_is_as_before(bomb):
    open_image(bomb, budget=1000)
    with pytest.raises(MemoryBudgetError):
        open_image(bomb, budget=800)
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_a_truncated_raster_is_refused(format, tmp_path):
    picture("RGB").save(path := tmp_path / "image", format)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageReadError, match=f"{path}: .*"):
        open_image(path)


def test_a_corrupt_png_is_refused(tmp_path):
    picture("RGB").save(path := tmp_path / "image.png")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(ImageReadError, match="cannot be decoded"):
        open_image(path)


# --- What they say of themselves


def opened(image_format, **options):
    file = io.BytesIO()
    Image.new("RGB", (8, 6)).save(file, image_format, **options)
    return Image.open(file)


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP"])
def test_a_raster_keeps_its_profile(image_format):
    assert carried_over(opened(image_format)) == Metadata()
    assert carried_over(opened(image_format, icc_profile=RGB_PROFILE)) == Metadata(icc=RGB_PROFILE)
    for profile in (GRAY_PROFILE, LAB_PROFILE, b"no profile"):
        metadata = carried_over(opened(image_format, icc_profile=profile))
        assert metadata == Metadata(dropped=("InterColorProfile",))


@pytest.mark.parametrize("image_format", ["PNG", "JPEG"])
def test_a_raster_keeps_its_dots_per_inch(image_format):
    metadata = carried_over(opened(image_format, dpi=(300, 200)))
    assert metadata.resolution == pytest.approx((300, 200), abs=0.01)
    assert metadata.resolution_unit == 2


@pytest.mark.parametrize(("orientation", "expected"), [(1, (300, 200)), (3, (300, 200)), (6, (200, 300)), (8, (200, 300))])
def test_dots_per_inch_are_of_the_turned_raster(orientation, expected):
    exif = Image.Exif()
    exif[274] = orientation
    metadata = carried_over(opened("JPEG", dpi=(300, 200), exif=exif))
    assert metadata == Metadata(resolution=expected, resolution_unit=2, dropped=("Exif",))


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP"])
def test_xmp_of_a_raster_is_kept_and_exif_named(image_format):
    exif = Image.Exif()
    exif[271] = "Maker"
    text = PngInfo()
    text.add_itxt("XML:com.adobe.xmp", PACKET.decode())
    xmp = {"pnginfo": text} if image_format == "PNG" else {"xmp": PACKET}
    metadata = carried_over(opened(image_format, exif=exif, **xmp))
    assert metadata.dropped == ("Exif",)
    assert metadata.tags == ((700, 1, len(PACKET), PACKET),)


def test_damaged_exif_raises_nothing():
    metadata = carried_over(opened("PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff", dpi=(300, 200)))
    assert metadata.dropped == ("Exif",)
    assert metadata.resolution == pytest.approx((300, 200), abs=0.01)


# --- A program around it ---


def test_nothing_of_pillow_is_changed_while_an_image_is_decoded(tmp_path, monkeypatch):
    picture("L").save(path := tmp_path / "image.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    seen, load = [], ImageFile.ImageFile.load

    def loading(image):
        seen.append(Image.MAX_IMAGE_PIXELS)
        with pytest.raises(Image.DecompressionBombError):
            Image.open(path)  # as another thread of a service might
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", loading)
    assert open_image(path).shape == (23, 37, 1)
    assert set(seen) == {100}


def test_two_images_are_decoded_at_once(tmp_path, monkeypatch):
    picture("L").save(path := tmp_path / "image.png")
    both, load = threading.Barrier(2, timeout=30), ImageFile.ImageFile.load

    def loading(image):
        both.wait()
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", loading)
    with ThreadPoolExecutor(2) as pool:
        assert [image.shape for image in pool.map(open_image, [path, path])] == [(23, 37, 1)] * 2


def read_in_a_fork(path):
    child = os.fork()
    if not child:
        os._exit(open_image(path).shape[0])
    for _ in range(600):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_child_that_is_forked_while_an_image_is_decoded_reads_others(tmp_path, monkeypatch):
    picture("L").save(path := tmp_path / "image.png")
    begun, forked, load = threading.Event(), threading.Event(), ImageFile.ImageFile.load

    def loading(image):
        if threading.current_thread() is not threading.main_thread():
            begun.set()
            forked.wait(30)
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", loading)
    with ThreadPoolExecutor(1) as pool:
        decoded = pool.submit(open_image, path)
        begun.wait(30)
        assert read_in_a_fork(path) == 23
        forked.set()
        assert decoded.result().shape == (23, 37, 1)


# --- Images of Pillow ---


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "1", "I;16", "CMYK"])
def test_an_image_of_pillow_is_read_as_its_file(mode, tmp_path):
    image = picture("RGB").convert("L").convert(mode) if mode in ("1", "P") else picture(mode)
    image.save(path := tmp_path / ("image.jpg" if mode == "CMYK" else "image.png"))
    with Image.open(path) as opened:
        expected, given = read_checked(path), read_checked(opened)
    np.testing.assert_array_equal(given.pixels, expected.pixels)
    assert (given.valid is None) == (expected.valid is None)
    if given.valid is not None:
        np.testing.assert_array_equal(given.valid, expected.valid)
