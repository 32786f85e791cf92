"""Images for tests, made from a seed; and what their quantization must be, in plain NumPy."""

import os
from contextlib import closing
from pathlib import Path

import numpy as np
import tifffile

from streamgmm.image.image import MaskedPixels
from streamgmm.image.open import open_image
from streamgmm.image.tiles import Window

from . import naive

PHOTO = Path(__file__).parent / "data" / "astronaut.tif"


def smooth(height, width, bands=3, dtype=np.uint8, seed=0):
    """Slow waves with a little noise, as in a photo, shape (height, width, bands)."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [
        np.sin(y / generator.uniform(9, 30) + generator.uniform(0, 6)) * np.cos(x / generator.uniform(9, 30))
        for _ in range(bands)
    ]
    values = 0.5 + 0.4 * np.stack(waves, axis=-1) + generator.normal(0, 0.02, (height, width, bands))
    return (values.clip(0, 1) * np.iinfo(dtype).max).astype(dtype)


def random_samples(height, width, bands, dtype, seed=0):
    """Samples over the whole range of a type, its ends among them, or floats about 0; shape (height, width, bands)."""
    generator, dtype = np.random.default_rng([seed, bands]), np.dtype(dtype)
    if dtype.kind == "f":
        return generator.normal(0, 100, (height, width, bands)).astype(dtype)
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    pixels = generator.integers(low, high, (height, width, bands), dtype, endpoint=True)
    pixels[0, :2] = [[low], [high]]
    return pixels


def posterized(height, width, n_colors, bands=3, dtype=np.uint8, seed=0):
    """An image of exactly some colors, each also an 8-bit color, shape (height, width, bands)."""
    generator = np.random.default_rng(seed)
    levels = generator.permutation(256)[:n_colors]
    colors = np.stack([levels, *(generator.integers(0, 256, n_colors) for _ in range(bands - 1))], axis=1)
    labels = generator.integers(0, n_colors, height * width)
    labels[:n_colors] = np.arange(n_colors)
    return (colors[labels] * (np.iinfo(dtype).max // 255)).astype(dtype).reshape(height, width, bands)


def file_name(text):
    """The name of a file whose bytes are some text in UTF-8, also where names are taken for ASCII."""
    return os.fsdecode(text.encode("utf-8", "surrogateescape"))


def write_tiff(path, pixels, **options):
    """Write pixels (height, width, bands) as a TIFF, gray or RGB with extra samples."""
    colors = {"photometric": "rgb" if pixels.shape[2] >= 3 else "minisblack"}
    if pixels.shape[2] in (2, 4):
        colors["extrasamples"] = ["unspecified"]  # a band like the others, no alpha
    if options.get("planarconfig") == "separate" and pixels.shape[2] > 1:
        pixels = np.moveaxis(pixels, -1, 0)
    elif pixels.shape[2] == 1:
        options.pop("planarconfig", None)
        pixels = pixels[:, :, 0]
    tifffile.imwrite(path, pixels, metadata=None, **colors | options)
    return path


def whole(image):
    """All of an open image: its pixels, and which are valid."""
    return image.read(Window(0, 0, *image.shape[:2]))


def read(source, window=None, **options):
    """The pixels of a file or an array, or of a window of it, and which are valid."""
    with closing(open_image(source, **options)) as image:
        return whole(image) if window is None else image.read(window)


def read_checked(source, **options):
    """All of a file or an array, of which a window must be a part."""
    with closing(open_image(source, **options)) as image:
        pixels, valid = whole(image)
        assert (pixels.shape, pixels.dtype) == (image.shape, image.dtype)
        assert valid is None or image.maskable
        height, width, _ = image.shape
        inside = Window(height // 4, width // 5, -(-height // 2), -(-width // 2))
        part, shown = image.read(inside)
        np.testing.assert_array_equal(part, pixels[inside.slices])
        expected = np.ones(pixels.shape[:2], bool) if valid is None else valid
        np.testing.assert_array_equal(np.ones(part.shape[:2], bool) if shown is None else shown, expected[inside.slices])
        return MaskedPixels(np.array(pixels), valid)


def pixels_of(source, **options):
    """All of a file or an array, of which nothing may be masked."""
    pixels, valid = read_checked(source, **options)
    assert valid is None
    return pixels


def with_tags(path, values, page=0):
    """Overwrite the values of tags of a page of a TIFF."""
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        for code, value in values.items():
            tiff.pages[page].tags[code].overwrite(value)
    return path


def n_open_files():
    """How many files this process has open, as Linux tells."""
    return len(list(Path("/proc/self/fd").iterdir()))


def segments(path):
    """Offsets and byte counts of the tiles or strips of a TIFF."""
    with tifffile.TiffFile(path) as tiff:
        return list(zip(tiff.pages.first.dataoffsets, tiff.pages.first.databytecounts, strict=True))


def palette_of(model, display=None):
    """What a palette of a model must be, shape (K, 3): its first three bands, or its first as gray, as they are shown."""
    means, display = np.array(model["means"]), display or display_of(model)
    bands = [0, 1, 2] if means.shape[1] >= 3 else [0, 0, 0]
    low, high = np.transpose(model["range"] or [display] * means.shape[1])
    levels = naive.shown((low + means * (high - low))[:, bands], *display)
    return naive.distinct(levels, model["weights"], bands[1] == 0)


def display_of(model):
    """The stored samples that are black and white in the palette of a model, where its colors are within its ranges."""
    if model["range"] is None:
        return 0.0, 1.0
    ranges = np.array(model["range"])[: 3 if model["n_bands"] >= 3 else 1]
    low, high = ranges[:, 0].min(), ranges[:, 1].max()
    gain, zero = model["units"] or (0.0, 0.0)
    by_type = gain and (low == high or (high - low) * gain >= 65_535 / 3)
    return (-zero / gain, (65_535 - zero) / gain) if by_type else (low, high)


def naive_model(model):
    """The model of a report or a model file, as tests/naive.py takes it."""
    return *(np.array(model[name]) for name in ("weights", "means", "covariances")), model["covariance_type"]


def colors_of(pixels, value_range=None):
    """Pixels as colors in [0, 1], shape (n, bands), of the range of their type or of one that is given, also for each band."""
    low, high = np.transpose((0, np.iinfo(pixels.dtype).max) if value_range is None else value_range)
    half = high / 2 - low / 2
    return (pixels.reshape(-1, pixels.shape[-1]).astype(np.float64) / 2 - low / 2) / np.where(half == 0, 1, half)


def range_of(pixels, tail=1e-3):
    """The range of each band of pixels (..., bands) but for what is rarer than 1 in 1,000; red, green and blue have one."""
    ends = np.quantile(pixels.reshape(-1, pixels.shape[-1]), [tail, 1 - tail], axis=0, method="inverted_cdf").astype(float)
    if ends.shape[1] == 3:
        ends[0], ends[1] = ends[0].min(), ends[1].max()
    return ends.T.tolist()


def psnr(pixels, colors):
    """Peak signal-to-noise ratio in dB of colors in [0, 1] against pixels."""
    return -10 * np.log10(np.mean((pixels / np.iinfo(pixels.dtype).max - colors) ** 2))
