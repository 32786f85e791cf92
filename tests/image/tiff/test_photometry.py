"""The colors of a page are those its tags describe: palettes, inks, CIELAB, black and white the other way round."""

import io
from functools import partial

import imagecodecs
import numpy as np
import openslide
import pytest
import pyvips
import tifffile
from PIL import Image, ImageCms

import streamgmm
from streamgmm.errors import UnsupportedImageError
from streamgmm.image.open import open_image

from ...images import pixels_of, random_samples, read, read_checked, smooth, with_tags, write_tiff
from ..gdal import write_gdal
from ..test_samples import in_sixteenths, labels_and_palette, spread

HEIGHT, WIDTH = 37, 43
FULL = {1: 255, 2: 65535}

noise = partial(random_samples, HEIGHT, WIDTH)
write = partial(tifffile.imwrite, metadata=None)
quantize = partial(streamgmm.quantize, threads=1, n_components=4)


# --- Black and white


def miniswhite(pixels):
    return -pixels if pixels.dtype.kind == "f" else np.iinfo(spread(pixels).dtype).max - spread(pixels)


@pytest.mark.parametrize("codec", [{}, {"compression": "deflate"}])
@pytest.mark.parametrize("dtype", ["u1", "u2", "i1", "i2", "f4", "f8"])
def test_miniswhite_is_inverted(dtype, codec, tmp_path):
    pixels = noise(1, dtype)
    write(path := tmp_path / "in.tif", pixels[..., 0], photometric="miniswhite", **codec)
    np.testing.assert_array_equal(pixels_of(path), miniswhite(pixels))


@pytest.mark.parametrize("dtype", ["u4", "i8"])
def test_miniswhite_of_wide_integers_gives_the_colors_of_its_negative(dtype, tmp_path):
    pixels = in_sixteenths(1024, np.dtype(dtype).type)[..., :1]
    write(path := tmp_path / "in.tif", pixels[..., 0], photometric="miniswhite")
    quantize(path, tmp_path / "white.tif")
    quantize(-pixels.astype(np.float64), tmp_path / "black.tif")
    for white, black in zip(*(labels_and_palette(tmp_path / f"{name}.tif") for name in ("white", "black")), strict=True):
        np.testing.assert_array_equal(white, black)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_miniswhite_is_as_pillow_shows_it(bits, tmp_path):
    pixels = (noise(1, np.uint8) >> (8 - bits)) & ((1 << bits) - 1)
    path = write_gdal(tmp_path / "in.tif", pixels, photometric="miniswhite", nbits=bits)
    with Image.open(path) as image:
        expected = np.asarray(image.convert("L"))
    np.testing.assert_array_equal(pixels_of(path)[..., 0], expected)


# --- Palettes


def color_table(length, seed=0):
    table = np.random.default_rng([seed, length]).integers(0, 256, (length, 3))
    table[0], table[-1] = 0, 255
    return table


@pytest.mark.parametrize("codec", [{}, {"compression": "lzw"}, {"compression": "deflate", "tile": (16, 16)}])
@pytest.mark.parametrize("times", [257, 256, 1])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_palette_is_expanded_whatever_its_scale(dtype, times, codec, tmp_path):
    indices, table = noise(1, dtype)[..., 0], color_table(np.iinfo(dtype).max + 1)
    write(path := tmp_path / "in.tif", indices, photometric="palette", colormap=(table.T * times).astype(np.uint16), **codec)
    np.testing.assert_array_equal(pixels_of(path), table[indices].astype(np.uint8))
    if times > 1 and dtype == np.uint8:
        with Image.open(path) as image:
            np.testing.assert_array_equal(pixels_of(path), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_packed_palette_is_expanded(bits, tmp_path):
    table = color_table(1 << bits)
    indices = noise(1, np.uint8) >> (8 - bits)
    path = write_gdal(
        tmp_path / "in.tif", indices, nbits=bits, photometric="palette", colormap=dict(enumerate(map(tuple, table.tolist())))
    )
    np.testing.assert_array_equal(pixels_of(path), table[indices[..., 0]].astype(np.uint8))


def test_a_palette_with_alpha_is_expanded_and_masked(tmp_path):
    samples, table = noise(2, np.uint8), color_table(256)
    samples[..., 1] = np.where(samples[..., 1] < 50, 0, samples[..., 1])
    colormap = dict(enumerate(map(tuple, table.tolist())))
    path = write_gdal(tmp_path / "in.tif", samples, photometric="palette", colormap=colormap, alpha="yes")
    colors, valid = read_checked(path)
    np.testing.assert_array_equal(colors, table[samples[..., 0]])
    np.testing.assert_array_equal(valid, samples[..., 1] != 0)


def test_a_palette_too_short_is_refused(tmp_path):
    colormap = (color_table(256).T * 257).astype(np.uint16)
    write(path := tmp_path / "in.tif", noise(1, np.uint8)[..., 0], photometric="palette", colormap=colormap)
    with_tags(path, {320: tuple(colormap[:, :16].ravel().tolist())})
    with pytest.raises(UnsupportedImageError, match=r"a whole color map: ColorMap \(tag 320\) has 48 of 768 values"):
        open_image(path)


def test_a_palette_without_its_colors_is_refused(tmp_path):
    path = write_tiff(tmp_path / "image.tif", smooth(32, 32, 1))
    with_tags(path, {"PhotometricInterpretation": 3})
    with pytest.raises(UnsupportedImageError, match=r"without a whole color map: ColorMap \(tag 320\) is missing"):
        open_image(path)


def test_nodata_of_a_palette_is_a_label(tmp_path):
    pixels, colormap = noise(1, np.uint8)[..., 0], (color_table(256).T * 257).astype(np.uint16)
    write(path := tmp_path / "palette.tif", pixels, photometric="palette", colormap=colormap)
    np.testing.assert_array_equal(read_checked(path, nodata=17).valid, pixels != 17)


# --- Inks


@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_cmyk_without_a_profile_is_light_that_inks_let_through(dtype, planarconfig, tmp_path):
    inks, full = noise(4, dtype), np.iinfo(dtype).max
    inks[0, :3] = [[0, 0, 0, 0], [0, 0, 0, full], [full, 0, 0, 0]]
    path = write_tiff(tmp_path / "in.tif", inks, photometric="separated", extrasamples=[], planarconfig=planarconfig)
    shares = inks / full
    np.testing.assert_allclose(pixels_of(path) / full, (1 - shares[..., :3]) * (1 - shares[..., 3:]), atol=0.51 / full)
    assert pixels_of(path)[0, :3].tolist() == [[full, full, full], [0, 0, 0], [0, full, full]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_cmyk_with_a_profile_is_as_little_cms_shows_it(dtype, tmp_path):
    inks, profile = noise(4, np.uint8), pyvips.Operation.call("profile_load", "cmyk")
    samples = inks.astype(dtype) * (np.iinfo(dtype).max // 255)
    path = write_tiff(tmp_path / "in.tif", samples, photometric="separated", extrasamples=[], iccprofile=profile)
    source, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
    expected = np.asarray(
        ImageCms.profileToProfile(Image.frombytes("CMYK", inks.shape[1::-1], inks.tobytes()), source, srgb, outputMode="RGB")
    )
    colors = pixels_of(path) / np.iinfo(dtype).max * 255
    np.testing.assert_allclose(colors, expected, atol=3)
    formula = (255.0 - inks[..., :3]) * (255.0 - inks[..., 3:]) / 255
    assert np.abs(colors - formula).mean() > 10  # the profile says something else


def test_cmyk_with_a_damaged_profile_is_converted_by_the_formula(tmp_path, caplog):
    inks = noise(4, np.uint8)
    plain = write_tiff(tmp_path / "plain.tif", inks, photometric="separated", extrasamples=[])
    path = write_tiff(tmp_path / "in.tif", inks, photometric="separated", extrasamples=[], iccprofile=b"no profile" * 20)
    np.testing.assert_array_equal(pixels_of(path), pixels_of(plain))
    assert "CMYK profile cannot be used" in caplog.text


def test_cmyk_with_alpha_is_masked(tmp_path):
    samples = noise(5, np.uint8)
    samples[..., 4] //= 64
    plain = write_tiff(tmp_path / "plain.tif", samples[..., :4], photometric="separated", extrasamples=[])
    path = write_tiff(tmp_path / "in.tif", samples, photometric="separated", extrasamples=["unassalpha"])
    colors, valid = read_checked(path)
    np.testing.assert_array_equal(colors, pixels_of(plain))
    np.testing.assert_array_equal(valid, samples[..., 4] != 0)


def test_inks_that_are_not_cmyk_are_refused(tmp_path):
    options = {"photometric": "separated", "extrasamples": [], "extratags": [(332, 3, 1, 2)]}
    path = write_tiff(tmp_path / "in.tif", noise(4, np.uint8), **options)
    with pytest.raises(UnsupportedImageError, match=r"SEPARATED in 4 samples of 8 bits, not supported"):
        open_image(path)


@pytest.mark.parametrize(("photometric", "bands"), [("miniswhite", 1), ("separated", 4)])
def test_alpha_is_divided_out_of_the_samples_before_they_are_made_colors(photometric, bands, tmp_path):
    inks, alpha = smooth(HEIGHT, WIDTH, bands), smooth(HEIGHT, WIDTH, 1, seed=1) | 128
    premultiplied = np.rint(inks * (alpha / 255)).astype(np.uint8)
    for name, samples, options in (
        ("straight.tif", inks, {}),
        ("multiplied.tif", np.concatenate([premultiplied, alpha], axis=2), {"extrasamples": ["assocalpha"]}),
    ):
        write_tiff(tmp_path / name, samples, photometric=photometric, **{"extrasamples": []} | options)
    straight, multiplied = (read(tmp_path / name).pixels.astype(int) for name in ("straight.tif", "multiplied.tif"))
    assert np.abs(straight - multiplied).max() <= 3  # what rounding of the products leaves


# --- CIE L*a*b*


def lab_codes(bits, photometric):
    """Codes of CIE L*a*b*, after TIFF 6.0, section 23; 16-bit a* and b* are in steps of 1/256."""
    lab = np.random.default_rng(0).uniform([40, -15, -15], [85, 15, 15], (HEIGHT, WIDTH, 3))
    lab[0] = np.linspace([5, 0, 0], [100, 0, 0], WIDTH)
    most, steps, shift = (1 << bits) - 1, 1 << (bits - 8), 1 << (bits - 1) if photometric == "icclab" else 0
    codes = np.rint(lab * [most / 100, steps, steps])
    return np.add(codes, [0, shift, shift]).astype(int).astype(f"u{bits // 8}"), codes / [most / 100, steps, steps]


def srgb_of(lab):
    """Formulas of CIE, with white D50, adapted to D65 after Bradford, and IEC 61966-2-1."""
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * [0.96422, 1, 0.82521]
    from_d50 = [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540], [0.0719453, -0.2289914, 1.4052427]]
    linear = np.clip(xyz @ np.array(from_d50).T, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
@pytest.mark.parametrize("photometric", ["cielab", "icclab"])
@pytest.mark.parametrize("bits", [8, 16])
def test_lab_is_as_the_formulas_say(bits, photometric, planarconfig, tmp_path):
    codes, lab = lab_codes(bits, photometric)
    path = write_tiff(tmp_path / "in.tif", codes, photometric=photometric, planarconfig=planarconfig)
    np.testing.assert_allclose(pixels_of(path) / FULL[bits // 8] * 255, srgb_of(lab) * 255, atol=3)


def test_lab_is_as_pillow_shows_it(tmp_path):
    path = write_tiff(tmp_path / "in.tif", lab_codes(8, "cielab")[0], photometric="cielab")
    with Image.open(path) as image:
        assert image.mode == "LAB"
        expected = ImageCms.profileToProfile(
            image, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    np.testing.assert_allclose(pixels_of(path).astype(int), np.asarray(expected).astype(int), atol=2)


# --- Others


@pytest.mark.parametrize("bands", [1, 3])
def test_bands_without_an_interpretation_are_taken_as_they_are(bands, tmp_path, caplog):
    pixels = noise(bands, np.uint8)
    path = write_tiff(tmp_path / "in.tif", pixels)
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages.first.tags[262].offset
    with open(path, "r+b") as file:
        file.seek(place)
        file.write((261).to_bytes(2, "little"))  # a tag nobody knows
    np.testing.assert_array_equal(pixels_of(path), pixels)
    assert ("has no PhotometricInterpretation" in caplog.text) == (bands > 1)


@pytest.mark.parametrize(
    ("code", "bands", "name"),
    [
        (32803, 1, "CFA"),
        (32845, 3, "LOGLUV"),
        (32844, 1, "LOGL"),
        (34892, 3, "LINEAR_RAW"),
        (10, 3, "ITULAB"),
        (4, 1, "MASK"),
        (777, 1, "777"),
        (8, 1, "CIELAB"),
        (5, 3, "SEPARATED"),
    ],
)
def test_other_colors_are_refused_by_name(code, bands, name, tmp_path):
    path = write_tiff(tmp_path / "image.tif", smooth(32, 32, bands))
    with_tags(path, {"PhotometricInterpretation": code})
    message = rf"image\.tif: colors are {name} in {bands} samples of 8 bits, not supported; convert it first"
    with pytest.raises(UnsupportedImageError, match=message):
        open_image(path)


# --- Slides in JPEG 2000 ---


@pytest.mark.parametrize("photometric", [2, 6])
@pytest.mark.parametrize("code", [33003, 33005])
def test_the_codec_of_a_slide_says_what_its_colors_are(code, photometric, tmp_path):
    """As OpenSlide reads it, whatever the photometric interpretation, and without YCbCrSubSampling (tag 530)."""
    rgb, path = smooth(256, 256), tmp_path / "slide.svs"
    stored = np.asarray(Image.fromarray(rgb).convert("YCbCr")) if code == 33003 else rgb
    tile = imagecodecs.jpeg2k_encode(stored, level=0, reversible=True, codecformat="j2k", mct=False)
    options = {"compression": "jpeg2000", "photometric": "rgb", "tile": (256, 256), "metadata": None}
    options["description"] = "Aperio Image Library v11.2.1\n256x256 |AppMag = 20|MPP = 0.5"
    tifffile.imwrite(path, data=iter([tile]), shape=rgb.shape, dtype=np.uint8, **options)
    with_tags(path, {259: code, 262: photometric})
    colors, _ = read(path)
    with openslide.OpenSlide(path) as slide:
        expected = np.asarray(slide.read_region((0, 0), 0, (256, 256)))[..., :3]
    np.testing.assert_allclose(colors, expected, atol=2 if code == 33003 else 0)
    np.testing.assert_allclose(colors, rgb, atol=4 if code == 33003 else 0)
