"""Whatever type samples are stored in, in files and arrays: their colors, bands, alpha and nodata are those promised."""

import pickle
from contextlib import closing
from functools import partial

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import streamgmm
from streamgmm.errors import OptionError
from streamgmm.image.image import MaskedPixels
from streamgmm.image.nodata import Nodata
from streamgmm.image.open import open_image
from streamgmm.image.samples import Interpretation, chosen_bands, expansion, full_value
from streamgmm.jobs.sampling import TAIL
from streamgmm.model.space import SampleSpace

from ..images import pixels_of, random_samples, read_checked, smooth, with_tags, write_tiff
from .gdal import read_gdal, write_gdal

HEIGHT, WIDTH = 37, 43
FULL = {1: 255, 2: 65535}

noise = partial(random_samples, HEIGHT, WIDTH)
write = partial(tifffile.imwrite, metadata=None)
quantize = partial(streamgmm.quantize, threads=1, n_components=4)
fit_image = partial(streamgmm.fit_image, threads=1, n_components=4)


def spread(pixels):
    """Integers as they are promised: shifted to unsigned up to 16 bits, float64 where they are wider."""
    if pixels.dtype.itemsize > 2:
        return pixels.astype(np.float64)
    bits = 8 * pixels.dtype.itemsize
    return (pixels.astype(np.int64) - np.iinfo(pixels.dtype).min).astype(f"u{bits // 8}")


# --- Types

INTEGERS = [f"{sign}{size}" for sign in "ui" for size in (1, 2, 4, 8)]
LAYOUTS = {"tiles": {"tile": (16, 32)}, "strips of planes": {"rowsperstrip": 7, "planarconfig": "separate"}}
PACKED = [*range(1, 8), *range(9, 16), *range(17, 32)]


@pytest.mark.parametrize("dtype", ["b1", *INTEGERS, "f2", "f4", "f8", ">i2", ">f4"])
def test_expansion_travels_and_gives_the_type_it_promises(dtype):
    samples = noise(2, "u1").astype(dtype)
    expand, becomes = pickle.loads(pickle.dumps(expansion(np.dtype(dtype))))
    assert becomes in (np.uint8, np.uint16, np.float32, np.float64)
    expanded = samples if expand is None else expand(samples)
    assert expanded.dtype == becomes
    here, _ = expansion(np.dtype(dtype))
    np.testing.assert_array_equal(expanded, samples if here is None else here(samples))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_samples_of_few_bits_are_spread_evenly_and_never_beyond(dtype):
    for bits in range(1, 8 * np.dtype(dtype).itemsize):
        expand, becomes = expansion(np.dtype(dtype), bits)
        most = (1 << bits) - 1
        samples = np.arange(most + 2, dtype=dtype)  # the last is more than the bits can hold
        expected = np.rint(np.minimum(samples, most) * (full_value(becomes) / most))
        np.testing.assert_array_equal(expand(samples), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_samples_of_a_type_that_passes_take_are_left_as_they_are(dtype):
    assert expansion(np.dtype(dtype)) == (None, np.dtype(dtype))


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("codec", [{}, {"compression": "deflate"}, {"compression": "lzw", "predictor": 2}])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_take_the_whole_range(dtype, layout, codec, byteorder, tmp_path):
    pixels = noise(3, dtype)
    path = write_tiff(tmp_path / "in.tif", pixels, byteorder=byteorder, bigtiff=True, **LAYOUTS[layout], **codec)
    np.testing.assert_array_equal(colors := pixels_of(path), spread(pixels))
    assert colors.dtype.isnative
    np.testing.assert_array_equal(pixels_of(pixels.astype(pixels.dtype.newbyteorder(byteorder))), colors)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("codec", [{}, {"compression": "deflate"}, {"compression": "zstd", "predictor": 3}])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("dtype", "becomes"), [("f2", "f4"), ("f4", "f4"), ("f8", "f8")])
def test_floats_are_as_stored(dtype, becomes, layout, codec, byteorder, tmp_path):
    pixels = noise(3, dtype)
    path = write_tiff(tmp_path / "in.tif", pixels, byteorder=byteorder, **LAYOUTS[layout], **codec)
    np.testing.assert_array_equal(colors := pixels_of(path), pixels)
    assert colors.dtype == becomes


def test_floats_of_24_bits_lose_nothing(tmp_path):
    codes = np.random.default_rng(0).integers(0, 1 << 24, (HEIGHT, WIDTH, 1), "u4")
    codes &= ~np.uint32(0x400000)  # not the exponent of infinity
    swapped = (codes & 0xFF) << 16 | codes & 0xFF00 | codes >> 16  # GDAL packs bits from the highest; floats have a byte order
    path = with_tags(write_gdal(tmp_path / "in.tif", swapped, nbits=24), {339: 3})
    sign, exponent, fraction = codes >> 23, (codes >> 16 & 127).astype(int), codes & 0xFFFF
    values = np.where(exponent > 0, 1 + fraction / 65536, fraction / 32768) * 2.0 ** (exponent - 63)
    colors = pixels_of(path)
    assert colors.dtype == np.float32
    np.testing.assert_array_equal(colors, np.where(sign, -values, values))
    np.testing.assert_array_equal(colors, read_gdal(path)[0])


BIG_TILES = {"tiled": True, "blockxsize": 16, "blockysize": 32, "endianness": "big"}


@pytest.mark.parametrize("options", [{"interleave": "pixel"}, {"interleave": "band"} | BIG_TILES], ids=["strips", "tiles"])
@pytest.mark.parametrize("bits", PACKED)
def test_packed_integers_are_spread_from_the_maximum_of_their_bits(bits, options, tmp_path):
    most = (1 << bits) - 1
    pixels = np.random.default_rng(bits).integers(0, most, (HEIGHT, WIDTH, 3), endpoint=True)
    pixels[0, :2] = [[0], [most]]
    pixels = pixels.astype("u1" if bits < 8 else "u2" if bits < 16 else "u4")
    if bits == 24 and "endianness" in options:  # of these GDAL swaps the bytes
        options = options | {"endianness": "little"}
    path = write_gdal(tmp_path / "in.tif", pixels, nbits=bits, photometric="rgb", **options)
    colors = pixels_of(path)
    if bits > 16:
        np.testing.assert_array_equal(colors, pixels.astype(np.float64))
    else:
        full = FULL[pixels.dtype.itemsize]
        np.testing.assert_array_equal(colors, np.rint(pixels * (full / most)))
        assert (colors[0, 0] == 0).all()
        assert (colors[0, 1] == full).all()


# --- Units


def units_of(source, **options):
    with closing(open_image(source, **options)) as image:
        return image.units


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("b1", (255, 0)), ("u1", (1, 0)), ("i1", (1, 128)), ("u2", (1, 0)), ("i2", (1, 32_768)), (">i2", (1, 32_768))]
    + [(dtype, (1, 0)) for dtype in ("u4", "i4", "u8", "i8", "f2", "f4", "f8")],
)
def test_units_are_what_1_and_0_become(dtype, expected, tmp_path):
    stored = noise(2, "u1").astype(dtype)
    path = write_tiff(tmp_path / "in.tif", stored, byteorder=">" if dtype[0] == ">" else "<")
    for source in [stored] if dtype == "b1" else [stored, path]:  # in files, booleans are bits
        assert units_of(source) == expected
        gain, zero = expected
        np.testing.assert_array_equal(pixels_of(source).astype(float), stored.astype(float) * gain + zero)


@pytest.mark.parametrize("bits", [*range(1, 8), *range(9, 16)])
def test_samples_of_few_bits_are_in_units_that_hold_for_all_of_them(bits, tmp_path):
    """Up to the rounding of each: neighbors of 12 bits are 16 or 17 apart among 16."""
    dtype = np.uint8 if bits < 8 else np.uint16
    stored = np.arange(1 << bits, dtype=dtype).reshape(1 << bits // 2, -1)
    path = tmp_path / "in.tif"
    write(path, stored, bitspersample=bits, photometric="minisblack")
    gain, zero = units_of(path)
    assert (gain, zero) == (FULL[stored.itemsize] / ((1 << bits) - 1), 0)
    np.testing.assert_allclose(pixels_of(path)[..., 0], stored * gain, atol=0.501)


def test_colors_that_are_converted_have_units_of_their_own(tmp_path):
    levels = np.arange(16, dtype=np.uint8).reshape(4, 4)
    write(tmp_path / "white.tif", levels, photometric="miniswhite", bitspersample=4)
    colormap = np.arange(3 * 256, dtype=np.uint16).reshape(3, 256) * 80
    write(tmp_path / "palette.tif", levels, photometric="palette", colormap=colormap)
    assert [units_of(tmp_path / f"{name}.tif") for name in ("white", "palette")] == [(1, 0), (1, 0)]


def test_the_units_of_pictures_are_their_samples(tmp_path):
    for mode, pixels in {"L": noise(1, "u1")[..., 0], "RGB": noise(3, "u1"), "I;16": noise(1, "u2")[..., 0]}.items():
        Image.fromarray(pixels).save(path := tmp_path / f"{mode[0]}.png")
        assert units_of(path) == (1, 0)
        np.testing.assert_array_equal(pixels_of(path).squeeze(), pixels)


# --- Bands


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bands", [1, 2, 3, 4, 5, 8, 31, 32])
def test_all_bands_that_are_not_alpha_are_taken(bands, layout, tmp_path):
    pixels = noise(bands, np.uint16)
    kind = {"photometric": "minisblack", "extrasamples": ["unspecified"] * (bands - 1)}
    path = write_tiff(tmp_path / "in.tif", pixels, **kind, **LAYOUTS[layout])
    np.testing.assert_array_equal(pixels_of(path), pixels)
    np.testing.assert_array_equal(pixels_of(pixels), pixels)


@pytest.mark.parametrize("bands", [(1,), (3, 1), (5, 4, 3, 2, 1), (2, 2)])
def test_bands_are_taken_in_the_order_asked_for(bands, tmp_path):
    pixels = noise(5, np.uint8)
    path = write_tiff(tmp_path / "in.tif", pixels, extrasamples=["unspecified", "unspecified"], compression="deflate")
    for source in (path, pixels):
        np.testing.assert_array_equal(pixels_of(source, bands=bands), pixels[..., [band - 1 for band in bands]])


@pytest.mark.parametrize("bands", [(0,), (4,), (1, -1), ()])
def test_bands_that_are_not_there_are_refused(bands, tmp_path):
    path = write_tiff(tmp_path / "in.tif", noise(3, np.uint8))
    for source in (path, noise(3, np.uint8)):
        with pytest.raises(OptionError, match=r"bands are .*; choose from 1 to 3"):
            open_image(source, bands=bands)


def test_bands_are_counted_from_one_and_alpha_is_none_of_them():
    assert chosen_bands(4, 3, None, "x") == (0, 1, 2)
    assert chosen_bands(4, None, None, "x") == (0, 1, 2, 3)
    assert chosen_bands(4, 3, (4, 1), "x") == (3, 0)


# --- The range of floats and wide integers


def in_sixteenths(value, dtype):
    """A smooth image of a type, whose samples a power of two times ``value`` moves without rounding."""
    return (smooth(HEIGHT, WIDTH, dtype=np.uint16) // 16).astype(dtype) * dtype(value)


def labels_and_palette(path):
    with tifffile.TiffFile(path) as tiff:
        return tiff.pages.first.asarray(), tiff.pages.first.colormap


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [(np.float32, 2.0**-20), (np.float64, 2.0**90), (np.int32, -(2**10)), (np.uint32, 2**20), (np.int64, 2**50)],
)
def test_floats_and_wide_integers_are_scaled_by_their_range(dtype, scale, tmp_path):
    pixels = in_sixteenths(scale, dtype)
    quantize(in_sixteenths(1 if scale > 0 else -1, np.float32), tmp_path / "plain.tif")
    quantize(write_tiff(tmp_path / "in.tif", pixels), tmp_path / "scaled.tif")
    for scaled, plain in zip(*(labels_and_palette(tmp_path / f"{name}.tif") for name in ("scaled", "plain")), strict=True):
        np.testing.assert_array_equal(scaled, plain)
    mixture, _ = fit_image(pixels)
    ends = np.quantile(pixels.reshape(-1, 3), [TAIL, 1 - TAIL], axis=0, method="inverted_cdf").astype(float)
    assert mixture.space == SampleSpace(((ends.min(), ends.max()),) * 3)


def test_a_model_of_floats_keeps_its_range_for_other_images(tmp_path):
    pixels = smooth(HEIGHT, WIDTH, dtype=np.uint16).astype(np.float32)
    corner = pixels[10:30, 5:25]
    assert (corner.min(), corner.max()) != (pixels.min(), pixels.max())
    mixture, _ = fit_image(pixels)
    (model := tmp_path / "model.json").write_text(mixture.to_json(), encoding="utf-8")
    streamgmm.apply(model, pixels, tmp_path / "whole.tif", threads=1)
    streamgmm.apply(model, corner, tmp_path / "corner.tif", threads=1)
    np.testing.assert_array_equal(
        tifffile.imread(tmp_path / "corner.tif"), tifffile.imread(tmp_path / "whole.tif")[10:30, 5:25]
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_what_is_not_finite_is_masked(dtype, bad, tmp_path):
    pixels = noise(3, dtype)
    pixels[3, 4, 1] = pixels[20, 20, 0] = pixels[20, 20, 2] = bad
    path = write_tiff(tmp_path / "in.tif", pixels, compression="deflate")
    for source in (path, pixels):
        colors, valid = read_checked(source)
        np.testing.assert_array_equal(colors, pixels)
        np.testing.assert_array_equal(np.argwhere(~valid), [[3, 4], [20, 20]])
        assert (read_checked(source, bands=(2,)).valid == np.isfinite(pixels[..., 1])).all()


# --- Alpha

ALPHAS = {"u1": 255, "u2": 65535, "f4": 1.0}


def with_alpha(dtype, bands=3, seed=0):
    """Colors below their full value, and an alpha of 0, a little, and full."""
    generator, full = np.random.default_rng(seed), ALPHAS[dtype]
    shares = generator.uniform(0, 1, (HEIGHT, WIDTH, bands))
    alpha = generator.choice([0, 0.2, 0.5, 1], (HEIGHT, WIDTH, 1))
    return (np.concatenate([shares, alpha], axis=-1) * full).astype(dtype)


@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("dtype", ALPHAS)
def test_straight_alpha_masks_where_it_is_0(dtype, bands, planarconfig, tmp_path):
    samples = with_alpha(dtype, bands)
    path = write_tiff(
        tmp_path / "in.tif", samples, planarconfig=planarconfig, extrasamples=["unassalpha"], compression="deflate"
    )
    colors, valid = read_checked(path)
    np.testing.assert_array_equal(colors, samples[..., :-1])
    np.testing.assert_array_equal(valid, samples[..., -1] != 0)
    np.testing.assert_array_equal(read_checked(path, bands=(bands + 1,)).pixels, samples[..., -1:])


@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("dtype", ALPHAS)
def test_associated_alpha_is_divided_out(dtype, bands, planarconfig, tmp_path):
    samples, full = with_alpha(dtype, bands), ALPHAS[dtype]
    colors, alpha = samples[..., :-1].astype(float), samples[..., -1:].astype(float)
    stored = np.concatenate([colors * alpha / full, alpha], axis=-1).astype(dtype)
    path = write_tiff(tmp_path / "in.tif", stored, planarconfig=planarconfig, extrasamples=["assocalpha"])
    found, valid = read_checked(path)
    np.testing.assert_array_equal(valid, samples[..., -1] != 0)
    expected = stored[valid][:, :-1] * (full / alpha[valid])
    np.testing.assert_allclose(found[valid].astype(float), expected, atol=0.51 if full > 1 else 1e-6)
    np.testing.assert_allclose(found[valid] / full, colors[valid] / full, atol=6 / 255 if full > 1 else 1e-6)


def test_associated_alpha_is_as_pillow_shows_it(tmp_path):
    samples = with_alpha("u1")
    samples[..., :3] = samples[..., :3] * (samples[..., 3:] / 255)
    path = write_tiff(tmp_path / "in.tif", samples, extrasamples=["assocalpha"])
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGBA"))
    colors, valid = read_checked(path)
    np.testing.assert_array_equal(valid, expected[..., 3] != 0)
    np.testing.assert_allclose(colors[valid].astype(int), expected[valid][:, :3].astype(int), atol=1)


def test_colors_brighter_than_their_alpha_are_full(tmp_path):
    samples = np.full((2, 2, 4), 200, np.uint8)
    samples[..., 3] = 100
    np.testing.assert_array_equal(pixels_of(write_tiff(tmp_path / "in.tif", samples, extrasamples=["assocalpha"])), 255)


def test_alpha_is_found_among_other_extra_samples(tmp_path):
    samples = noise(6, np.uint8)
    samples[..., 4] //= 64
    path = write_tiff(tmp_path / "in.tif", samples, extrasamples=["unspecified", "unassalpha", "unspecified"])
    colors, valid = read_checked(path)
    np.testing.assert_array_equal(colors, samples[..., [0, 1, 2, 3, 5]])
    np.testing.assert_array_equal(valid, samples[..., 4] != 0)


# --- All of it, pixel by pixel


def by_pixel(samples, how):
    """The slow twin of an Interpretation that converts nothing: of one pixel, its colors and whether it is valid."""
    bands = [samples[band] for band in how.bands]
    told = [samples[band] for band in how.bands if band != how.alpha]
    valid = how.nodata is None or all(any(sample != low for sample in told) for ((low, _),) in how.nodata.boxes)
    if how.alpha is None:
        return bands, valid
    alpha = samples[how.alpha]
    if how.associated and alpha:
        straight = [round(min(int(sample) * 255 / int(alpha), 255)) for sample in samples[: how.n_samples]]
        bands = [straight[band] if band < how.n_samples else samples[band] for band in how.bands]
    return bands, valid and alpha != 0


@given(
    bands=st.sampled_from([(0, 1), (1,), (1, 0), (0, 1, 2), (2, 0), (0, 0)]),
    alpha=st.sampled_from([None, 2]),
    associated=st.booleans(),
    values=st.lists(st.sampled_from([0, 3]), max_size=2),
    seed=st.integers(0, 99),
)
def test_pixels_are_interpreted_one_by_one(bands, alpha, associated, values, seed):
    boxes = tuple(((value, value),) for value in values)
    how = Interpretation(
        n_samples=2,
        expand=None,
        convert=None,
        stored=np.dtype(np.uint8),
        dtype=np.dtype(np.uint8),
        bands=bands,
        alpha=alpha,
        associated=associated and alpha is not None,
        nodata=Nodata.of(boxes, tuple(band for band in bands if band != alpha), np.dtype(np.uint8), "image"),
        floats=False,
        converted=False,
    )
    samples = np.random.default_rng(seed).integers(0, 5, (6, 7, 3), np.uint8)
    pixels, valid = how(MaskedPixels(samples, None))
    assert valid is None or how.maskable
    for place in np.ndindex(6, 7):
        colors, shown = by_pixel(samples[place], how)
        assert shown == (True if valid is None else valid[place])
        if shown:
            np.testing.assert_array_equal(pixels[place], colors)


# --- Which sample is alpha ---


def test_a_sample_is_alpha_where_that_is_said(tmp_path):
    """Some programs write RGBA whose ExtraSamples (tag 338) say nothing."""
    pixels = smooth(40, 60, 4)
    pixels[:10, :, 3] = 0
    write_tiff(path := tmp_path / "image.tif", pixels, photometric="rgb", extrasamples=["unspecified"])
    for source in (path, pixels):
        shown, valid = read_checked(source, alpha=4)
        np.testing.assert_array_equal(shown, pixels[..., :3])
        np.testing.assert_array_equal(valid, pixels[..., 3] != 0)
        assert pixels_of(source).shape == pixels.shape
    first, valid = read_checked(pixels, alpha=1)
    np.testing.assert_array_equal(first, pixels[..., 1:])
    np.testing.assert_array_equal(np.ones_like(pixels[..., 0], bool) if valid is None else valid, pixels[..., 0] != 0)


def test_no_sample_is_alpha_where_that_is_said(tmp_path):
    pixels = smooth(40, 60, 4)
    pixels[:10, :, 3] = 0
    write_tiff(path := tmp_path / "image.tif", pixels, photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(pixels_of(path, alpha="none"), pixels)
    Image.fromarray(pixels).save(path := tmp_path / "image.png")
    np.testing.assert_array_equal(pixels_of(path, alpha="none"), pixels)


@pytest.mark.parametrize("alpha", [5, 9])
def test_an_alpha_that_is_not_there_is_refused(alpha, tmp_path):
    write_tiff(path := tmp_path / "image.tif", smooth(40, 60, 4), photometric="rgb", extrasamples=["unspecified"])
    for source in (path, smooth(40, 60, 4)):
        with pytest.raises(OptionError, match=f"alpha is {alpha}; pixels have 4 samples"):
            open_image(source, alpha=alpha)
    with pytest.raises(OptionError, match="alpha is 1; pixels have 1 samples"):
        open_image(smooth(40, 60, 1), alpha=1)


@pytest.mark.parametrize("alpha", ["", "last", 0, -1, 1.5, True, [4]])
def test_an_alpha_that_makes_no_sense_is_refused(alpha):
    with pytest.raises(OptionError, match=r"alpha is .*; write the number of a sample, from 1, or none"):
        open_image(smooth(40, 60, 4), alpha=alpha)
