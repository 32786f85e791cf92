"""Pixels that are masked take no part: not in the fit, not in the labels, and every reader sees that they are none."""

import json
import warnings
from functools import partial

import numpy as np
import pytest
import rasterio
import tifffile
from PIL import Image

import streamgmm
from streamgmm.cli import main
from streamgmm.errors import NoPixelsError
from streamgmm.jobs.sampling import TAIL

from .conftest import random_mixture
from .image.gdal import read_gdal, write_gdal
from .images import palette_of, posterized, smooth, write_tiff

HEIGHT, WIDTH, K = 96, 128, 4
FULL = {"uint8": 255, "uint16": 65535, "float32": 1.0}
MASK = {"subfiletype": 4, "photometric": "mask", "metadata": None}

quantize = partial(streamgmm.quantize, threads=1, n_components=K)


def picture(dtype=np.uint8, height=HEIGHT, width=WIDTH):
    """A picture without a sample that is 0."""
    if np.dtype(dtype).kind == "f":
        return (picture(np.uint16, height, width) / 65535 * 40 - 7).astype(dtype)
    return np.maximum(smooth(height, width, dtype=dtype), 1)


def shown():
    """Which pixels count: tiles of 16 x 16 away from the corners, but for some in a row."""
    valid = np.ones((HEIGHT, WIDTH), bool)
    valid[16:48, 32:80] = valid[80:, :64] = valid[:16, 112:] = False
    return valid


def garbage(pixels, valid, seed=0):
    """The picture with something else where it is masked."""
    noise = np.random.default_rng(seed).integers(1, 200, pixels.shape)
    return np.where(valid[..., None], pixels, noise).astype(pixels.dtype)


def with_alpha(pixels, valid):
    full = np.array(FULL[pixels.dtype.name], pixels.dtype)
    return np.concatenate([pixels, np.where(valid, full, pixels.dtype.type(0))[..., None]], axis=-1)


def labels_of(path):
    with tifffile.TiffFile(path) as tiff:
        return tiff.pages.first.asarray()


def seen_by_gdal(path):
    """Labels, nodata and mask as GDAL reads them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path) as file:
            return file.read(), file.nodata, file.dataset_mask() != 0


# --- Ways to mask


def by_nodata(path, pixels, valid):
    return write_tiff(path, np.where(valid[..., None], pixels, 0), extratags=[(42113, 2, None, "0")], tile=(32, 32)), {}


def by_option(path, pixels, valid):
    return write_tiff(path, np.where(valid[..., None], pixels, 0), rowsperstrip=9, compression="lzw"), {"nodata": 0}


def by_alpha(path, pixels, valid):
    return write_tiff(path, with_alpha(garbage(pixels, valid), valid), extrasamples=["unassalpha"], compression="deflate"), {}


def by_associated_alpha(path, pixels, valid):
    samples = with_alpha(pixels, valid) * valid[..., None]
    return write_tiff(path, samples, extrasamples=["assocalpha"], planarconfig="separate"), {}


def by_mask_page(path, pixels, valid):
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(garbage(pixels, valid), photometric="rgb", tile=(16, 48), compression="deflate", metadata=None)
        tiff.write(valid, **MASK)
    return path, {}


def by_absent_tiles(path, pixels, valid):
    write_tiff(path, pixels, tile=(16, 16), compression="deflate")
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tags = tiff.pages.first.tags
        there = valid[::16, ::16].ravel()
        for code in (324, 325):
            tags[code].overwrite([value if kept else 0 for value, kept in zip(tags[code].value, there, strict=True)])
    return path, {}


def by_masked_array(path, pixels, valid):
    mask = np.zeros(pixels.shape, bool)
    mask[..., 1] = ~valid  # one band is enough
    return np.ma.array(garbage(pixels, valid), mask=mask), {}


def by_png(path, pixels, valid):
    Image.fromarray(with_alpha(garbage(pixels, valid), valid)).save(png := path.with_suffix(".png"))
    return png, {}


WAYS = [by_nodata, by_option, by_alpha, by_associated_alpha, by_mask_page, by_absent_tiles, by_masked_array, by_png]
LOW_WAYS = [way for way in WAYS if way is not by_png]


@pytest.fixture(scope="module")
def alone():
    """The model of the pixels that count, alone, for each type, and their labels."""
    models = {}
    for dtype in (np.uint8, np.uint16):
        pixels = picture(dtype)[shown()][None]
        models[np.dtype(dtype).name] = streamgmm.fit_image(pixels, n_components=K, threads=1)[0]
    return models


@pytest.mark.parametrize(("way", "dtype"), [(way, "uint8") for way in WAYS] + [(way, "uint16") for way in LOW_WAYS])
def test_masked_pixels_take_no_part(way, dtype, alone, tmp_path):
    source, options = way(tmp_path / "in.tif", picture(dtype), shown())
    report = quantize(source, path := tmp_path / "out.tif", **options)
    for name in ("weights", "means", "covariances"):
        np.testing.assert_allclose(report.model[name], getattr(alone[dtype], name), rtol=1e-6, atol=1e-9)
    streamgmm.apply(
        streamgmm.Mixture.from_json(json.dumps(report.model)),
        picture(dtype),
        unmasked := tmp_path / "unmasked.tif",
        threads=1,
    )
    expected = np.where(shown(), labels_of(unmasked), K)
    np.testing.assert_array_equal(labels_of(path), expected)
    assert report.nodata == K
    labels, nodata, mask = seen_by_gdal(path)
    assert nodata == K
    np.testing.assert_array_equal(labels[0], expected)
    np.testing.assert_array_equal(mask, shown())


@pytest.mark.parametrize("way", [by_nodata, by_alpha, by_mask_page])
def test_the_output_is_masked_as_gdal_sees_the_input(way, tmp_path):
    source, options = way(tmp_path / "in.tif", picture(), shown())
    quantize(source, tmp_path / "out.tif", **options)
    np.testing.assert_array_equal(seen_by_gdal(tmp_path / "out.tif")[2], seen_by_gdal(source)[2])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("form", ["palette", "labels", "rgb"])
def test_what_is_stored_under_a_mask_changes_no_byte(form, dtype, tmp_path):
    for seed in range(2):
        source = np.ma.array(garbage(picture(dtype), shown(), seed), mask=np.repeat(~shown()[..., None], 3, axis=2))
        quantize(source, tmp_path / f"{seed}.tif", output=form)
    assert (tmp_path / "0.tif").read_bytes() == (tmp_path / "1.tif").read_bytes()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_frame_of_nodata_is_as_if_it_were_cropped(dtype, tmp_path):
    inside = np.s_[13:70, 21:99]
    framed = np.zeros_like(picture(dtype))
    framed[inside] = picture(dtype)[inside]
    report = quantize(framed, tmp_path / "framed.tif", nodata=0)
    cropped = quantize(picture(dtype)[inside], tmp_path / "cropped.tif")
    for name in ("weights", "means", "covariances"):
        np.testing.assert_allclose(report.model[name], cropped.model[name], rtol=1e-6, atol=1e-9)
    labels = labels_of(tmp_path / "framed.tif")
    np.testing.assert_array_equal(labels[inside], labels_of(tmp_path / "cropped.tif"))
    labels[inside] = K
    assert (labels == K).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_floats_that_are_not_finite_are_nodata(bad, tmp_path):
    pixels = picture(np.float32)
    pixels[~shown(), 1] = bad
    path = write_tiff(tmp_path / "in.tif", pixels, compression="zstd", predictor=3)
    report = quantize(path, tmp_path / "out.tif")
    assert report.model == quantize(np.ma.masked_invalid(pixels), tmp_path / "masked.tif").model
    ends = np.quantile(pixels[shown()], [TAIL, 1 - TAIL], axis=0, method="inverted_cdf").astype(float)
    assert report.model["range"] == [[ends.min(), ends.max()]] * 3
    np.testing.assert_array_equal(seen_by_gdal(tmp_path / "out.tif")[2], shown())


def test_alpha_masks_whatever_bands_are_taken(tmp_path):
    source, _ = by_alpha(tmp_path / "in.tif", picture(), shown())
    report = quantize(source, tmp_path / "out.tif", bands=(3, 1))
    masked = np.ma.array(picture()[..., [2, 0]], mask=np.repeat(~shown()[..., None], 2, axis=2))
    assert report.model == quantize(masked, tmp_path / "array.tif").model
    np.testing.assert_array_equal(labels_of(tmp_path / "out.tif"), labels_of(tmp_path / "array.tif"))


# --- Nothing masked, and everything


LAYOUTS = {"tiled": {"tile": (32, 48)}, "striped": {"rowsperstrip": 7}, "one strip": {}}


@pytest.mark.parametrize("form", ["palette", "labels", "rgb"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_an_opaque_image_gives_the_bytes_of_one_without_alpha(dtype, layout, form, tmp_path):
    options = LAYOUTS[layout] | {"compression": "deflate"}
    opaque = with_alpha(picture(dtype), np.ones((HEIGHT, WIDTH), bool))
    quantize(write_tiff(tmp_path / "rgb.tif", picture(dtype), **options), tmp_path / "plain.tif", output=form, max_iter=5)
    rgba = write_tiff(tmp_path / "rgba.tif", opaque, extrasamples=["unassalpha"], **options)
    report = quantize(rgba, tmp_path / "opaque.tif", output=form, max_iter=5)
    assert report.nodata is None
    assert (tmp_path / "opaque.tif").read_bytes() == (tmp_path / "plain.tif").read_bytes()


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_an_opaque_picture_gives_the_bytes_of_one_without_alpha(suffix, tmp_path):
    for name, pixels in [("rgb", picture()), ("rgba", with_alpha(picture(), np.ones((HEIGHT, WIDTH), bool)))]:
        Image.fromarray(pixels).save(source := tmp_path / f"{name}.{suffix}", lossless=True)
        assert quantize(source, tmp_path / f"{name}.tif").nodata is None
    assert (tmp_path / "rgba.tif").read_bytes() == (tmp_path / "rgb.tif").read_bytes()


def test_nodata_that_does_not_occur_gives_the_bytes_of_none(tmp_path):
    quantize(picture(), tmp_path / "plain.tif")
    assert quantize(picture(), tmp_path / "nodata.tif", nodata=0).nodata is None
    assert (tmp_path / "nodata.tif").read_bytes() == (tmp_path / "plain.tif").read_bytes()


@pytest.mark.parametrize("form", ["palette", "labels", "rgb"])
@pytest.mark.parametrize("way", [by_nodata, by_alpha, by_mask_page])
def test_an_image_all_masked_gives_an_output_of_nodata(way, form, tmp_path, capfd):
    source, _ = way(tmp_path / "in.tif", picture(), np.zeros((HEIGHT, WIDTH), bool))
    main(["quantize", str(source), str(path := tmp_path / "out.tif"), "--output", form])
    (line,) = capfd.readouterr().err.splitlines()
    assert "in.tif" in line
    assert "every pixel is masked" in line
    assert "all nodata" in line
    assert not seen_by_gdal(path)[2].any()
    report = quantize(source, tmp_path / "again.tif", output=form)
    assert (report.model, report.colors_used) == (None, 0)
    assert (tmp_path / "again.tif").read_bytes() == path.read_bytes()


def test_floats_all_nan_give_an_output_of_nodata(tmp_path):
    report = quantize(np.full((40, 50), np.nan, np.float32), tmp_path / "out.tif")
    assert report.model is None
    assert not seen_by_gdal(tmp_path / "out.tif")[2].any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_fit_of_nothing_is_an_error(dtype):
    with pytest.raises(NoPixelsError, match="every pixel is masked"):
        streamgmm.fit_image(np.zeros((40, 50, 3), dtype), nodata=0)


def test_a_model_applied_to_nothing_gives_its_nodata(tmp_path):
    mixture, _ = streamgmm.fit_image(picture(), n_components=K, threads=1)
    report = streamgmm.apply(mixture, np.zeros((40, 50, 3), np.uint8), tmp_path / "out.tif", nodata=0, threads=1)
    assert (report.nodata, report.colors_used) == (K, 0)
    assert (labels_of(tmp_path / "out.tif") == K).all()


# --- Forms of the output


@pytest.mark.parametrize(("n_components", "dtype"), [(1, np.uint8), (255, np.uint8), (300, np.uint16)])
@pytest.mark.parametrize("form", ["palette", "labels"])
def test_nodata_is_one_label_more(form, n_components, dtype, tmp_path):
    n_colors = min(n_components, 256)
    pixels = posterized(64, 80, n_colors)
    if n_components > n_colors:
        pixels[40:, :, 1] ^= 255
        n_components = len(np.unique(pixels.reshape(-1, 3), axis=0))
    masked = np.zeros(pixels.shape, bool)
    masked[-8:, -8:] = True
    valid = ~masked[..., 0]
    n_components = len(np.unique(pixels[valid], axis=0))
    path = tmp_path / "out.tif"
    report = quantize(np.ma.array(pixels, mask=masked), path, n_components=n_components, output=form)
    labels, nodata, mask = seen_by_gdal(path)
    assert (nodata, report.nodata, labels.dtype) == (n_components, n_components, dtype)
    np.testing.assert_array_equal(mask, valid)
    np.testing.assert_array_equal(labels[0] == n_components, ~valid)
    np.testing.assert_array_equal(palette_of(report.model, report.display_range)[labels[0][valid]], pixels[valid])


@pytest.mark.parametrize(("n_components", "bits"), [(1, 1), (2, 2), (3, 2), (4, 4), (15, 4), (16, 8)])
def test_nodata_takes_its_part_of_the_bits(n_components, bits, tmp_path):
    source, options = by_option(tmp_path / "in.tif", picture(), shown())
    report = quantize(source, path := tmp_path / "out.tif", n_components=n_components, pack=True, **options)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.pages.first.bitspersample == bits
    labels, nodata, mask = seen_by_gdal(path)
    assert nodata == report.nodata == n_components
    np.testing.assert_array_equal(mask, shown())
    assert labels[0][shown()].max() < n_components


@pytest.mark.parametrize("way", [by_nodata, by_alpha, by_absent_tiles])
def test_rgb_gets_an_alpha_band(way, tmp_path):
    source, options = way(tmp_path / "in.tif", picture(), shown())
    report = quantize(source, tmp_path / "palette.tif", **options)
    quantize(source, path := tmp_path / "out.tif", output="rgb", **options)
    bands, nodata, mask = seen_by_gdal(path)
    assert nodata is None
    np.testing.assert_array_equal(mask, shown())
    np.testing.assert_array_equal(bands[3], np.where(shown(), 255, 0))
    colors = palette_of(report.model, report.display_range)[labels_of(tmp_path / "palette.tif")[shown()]]
    np.testing.assert_array_equal(np.moveaxis(bands[:3], 0, -1)[shown()], colors)
    with Image.open(path) as image:
        assert image.mode == "RGBA"


def test_confidence_of_masked_pixels_is_nodata_too(tmp_path):
    source, options = by_alpha(tmp_path / "in.tif", picture(), shown())
    quantize(source, tmp_path / "out.tif", confidence=tmp_path / "confidence.tif", **options)
    confidence, nodata, mask = seen_by_gdal(tmp_path / "confidence.tif")
    assert nodata == 0
    np.testing.assert_array_equal(mask, shown())
    assert confidence[0][shown()].min() >= 255 // K


def test_reduced_levels_are_masked(tmp_path):
    source, options = by_option(tmp_path / "in.tif", picture(), shown())
    quantize(source, path := tmp_path / "out.tif", pyramid=True, tile_size=32, **options)
    with tifffile.TiffFile(path) as tiff:
        full, half = (page.asarray() for page in tiff.pages[:2])
        assert len(tiff.pages) == 3
        assert {page.tags.valueof(42113) for page in tiff.pages} == {str(K)}
    np.testing.assert_array_equal(full == K, ~shown())
    np.testing.assert_array_equal(half == K, ~shown()[::2, ::2])  # the mask is of whole 16 x 16


def test_the_output_is_read_back_with_its_mask(tmp_path):
    source, options = by_option(tmp_path / "in.tif", picture(), shown())
    report = quantize(source, tmp_path / "out.tif", **options)
    again = quantize(tmp_path / "out.tif", tmp_path / "again.tif")
    assert again.nodata == K
    np.testing.assert_array_equal(seen_by_gdal(tmp_path / "again.tif")[2], shown())
    assert sorted(map(tuple, palette_of(again.model))) == sorted(map(tuple, palette_of(report.model)))


# --- Independence


@pytest.mark.parametrize(
    ("way", "dtype"),
    [
        (by_alpha, np.uint8),
        (by_alpha, np.float32),
        (by_mask_page, np.uint16),
        (by_absent_tiles, np.uint16),
        (by_masked_array, np.uint8),
    ],
)
def test_the_bytes_depend_neither_on_chunks_nor_on_threads(way, dtype, tmp_path, monkeypatch):
    monkeypatch.setattr("streamgmm.jobs.passes.blocks.BLOCK_PIXELS", 1024)  # so that there are many places
    source, options = way(tmp_path / "in.tif", picture(dtype), shown())
    outputs = set()
    for chunk_size, threads in [("64MiB", 1), ("64MiB", 3), ("4096px", 2)]:
        resources = {"chunk_size": chunk_size, "threads": threads}
        quantize(source, path := tmp_path / "out.tif", max_iter=5, overwrite=True, **options | resources)
        outputs.add(path.read_bytes())
    assert len(outputs) == 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("method", ["auto", "minibatch"])
def test_the_few_pixels_that_count_are_fitted(method, dtype, tmp_path):
    """Forty pixels in a corner of 2048 x 2048, where samples drawn over the whole image find none."""
    pixels, corner = np.zeros((2048, 2048), dtype), np.s_[2040:2048, 2043:2048]
    pixels[corner] = (np.linspace(0.1, 0.9, 40) * FULL[np.dtype(dtype).name]).astype(dtype).reshape(8, 5)
    report = quantize(pixels, path := tmp_path / "out.tif", nodata=0, method=method)
    labels = labels_of(path)
    assert (labels[corner] < K).all()
    assert np.count_nonzero(labels != K) == 40
    assert len(np.unique(labels[corner])) == K
    if method == "auto":
        expected = quantize(pixels[corner], tmp_path / "corner.tif")
        np.testing.assert_allclose(report.model["means"], expected.model["means"], atol=1e-6)
        np.testing.assert_array_equal(labels[corner], labels_of(tmp_path / "corner.tif"))


# --- A mask or alpha decides alone ---


@pytest.mark.parametrize("kind", ["mask", "alpha", "mask and alpha"])
def test_black_is_a_color_where_a_mask_or_alpha_says_what_is_none(kind, tmp_path):
    """And not nodata, whatever that is: GDAL and rasterio see it so."""
    pixels, valid = picture(), shown()
    pixels[~valid] = 0
    pixels[60:70, 10:40] = 0  # a black roof
    options = {"photometric": "rgb", "nodata": 0, "compress": "deflate"}
    if "alpha" in kind:
        pixels, options["alpha"] = with_alpha(pixels, valid), "yes"
    write_gdal(tmp_path / "in.tif", pixels, mask=valid if "mask" in kind else None, **options)
    if kind == "mask":  # rasterio warns where nodata stands beside alpha
        np.testing.assert_array_equal(read_gdal(tmp_path / "in.tif")[1], valid)
    quantize(tmp_path / "in.tif", tmp_path / "out.tif")
    np.testing.assert_array_equal(seen_by_gdal(tmp_path / "out.tif")[2], valid)
    quantize(tmp_path / "in.tif", tmp_path / "out.tif", nodata=0, overwrite=True)  # unless it is asked for
    np.testing.assert_array_equal(seen_by_gdal(tmp_path / "out.tif")[2], valid & pixels[..., :3].any(axis=2))


# --- What readers show where there is nothing


@pytest.mark.parametrize(
    ("color", "expected"), [(None, (0, 0, 0)), ("white", (255, 255, 255)), ("#0a7bff", (10, 123, 255)), ((1, 2, 3), (1, 2, 3))]
)
@pytest.mark.parametrize("pack", [False, True])
def test_masked_pixels_look_as_they_are_to(pack, color, expected, tmp_path):
    source, options = by_option(tmp_path / "in.tif", picture(), shown())
    options |= {} if color is None else {"nodata_color": color}
    report = quantize(source, tmp_path / "out.tif", pack=pack, **options)
    with tifffile.TiffFile(tmp_path / "out.tif") as tiff:
        assert tuple(tiff.pages.first.colormap[:, report.nodata] // 257) == expected
    np.testing.assert_array_equal(seen_by_gdal(tmp_path / "out.tif")[2], shown())
    if not pack:
        with Image.open(tmp_path / "out.tif") as image:
            assert image.convert("RGB").getpixel((40, 20)) == expected


@pytest.mark.parametrize("form", ["palette", "labels"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_masked_pixels_take_one_of_256_colors(dtype, form, tmp_path, caplog):
    """Pillow and OpenSlide open no palettes of more than 8 bits."""
    pixels = np.ma.array(picture(dtype), mask=~np.repeat(shown()[..., None], 3, axis=2))
    report = quantize(pixels, tmp_path / "out.tif", n_components=256, output=form)
    assert (report.nodata, report.n_components, labels_of(tmp_path / "out.tif").dtype) == (255, 255, np.uint8)
    assert caplog.messages == ["array: masked pixels take one of 256 colors; 16 bits a pixel would be needed for more"]
    with Image.open(tmp_path / "out.tif") as image:
        assert image.size == (WIDTH, HEIGHT)


def test_all_256_colors_are_there_where_nothing_is_masked_or_none_is_needed(tmp_path, caplog):
    assert quantize(picture(), tmp_path / "out.tif", n_components=256).n_components == 256
    pixels = np.ma.array(picture(), mask=~np.repeat(shown()[..., None], 3, axis=2))
    assert quantize(pixels, tmp_path / "rgb.tif", n_components=256, output="rgb").n_components == 256
    assert caplog.messages == []


WIDE = [("palette", 256, True), ("labels", 256, True), ("palette", 255, False), ("rgb", 256, False)]


@pytest.mark.parametrize(("form", "n_components", "told"), WIDE)
def test_labels_of_16_bits_are_told_of_where_8_are_usual(form, n_components, told, tmp_path, caplog):
    """A model of 256 components leaves no label for masked pixels: some programs open no such palette."""
    pixels = np.ma.array(picture(), mask=np.repeat(~shown()[..., None], 3, axis=-1))
    report = streamgmm.apply(random_mixture(n_components, 3), pixels, tmp_path / "out.tif", output=form, threads=1)
    line = "8 bits a pixel (256 colors and nodata take 16)"
    assert report.dropped == ([line] if told else [])
    assert (f"array: not in the output: {line}" in caplog.text) == told
    assert tifffile.imread(tmp_path / "out.tif").dtype == (np.uint16 if told else np.uint8)
