"""A file is known by how it begins, whatever holds it; and one picture reads the same from every container."""

import sys
from contextlib import closing
from functools import partial
from types import ModuleType

import numpy as np
import pytest
import tifffile
from PIL import Image

import streamgmm
from streamgmm.errors import ImageReadError, OptionError
from streamgmm.image import open as module
from streamgmm.image.array import ArrayImage
from streamgmm.image.open import open_image, open_images
from streamgmm.options import ReadOptions

from ..conftest import random_mixture, shared_file
from ..images import pixels_of, read_checked, smooth, write_tiff
from .gdal import write_gdal

HEIGHT, WIDTH = 37, 43

quantize = partial(streamgmm.quantize, threads=1, n_components=4)


@pytest.mark.parametrize("source", [None, 5, [[1, 2], [3, 4]], b"a.tif"])
def test_a_source_is_a_path_or_an_array(source):
    message = f"an image is a path or an array, not {type(source).__name__}: "
    with pytest.raises(OptionError, match=message):
        open_image(source)
    for function in (streamgmm.fit_image, partial(streamgmm.quantize, dst="out.tif")):
        with pytest.raises(OptionError, match=message):
            function([source] if function is streamgmm.fit_image else source)
    with pytest.raises(OptionError, match=message):
        streamgmm.apply(random_mixture(3, 3), source, "out.tif")


@pytest.mark.parametrize("model", [None, 5, b"model.json", {}])
def test_a_model_is_a_mixture_or_a_path(model):
    with pytest.raises(OptionError, match=r"model is a .*; give a Mixture, or the path of a model file"):
        streamgmm.apply(model, smooth(20, 30), "out.tif")


@pytest.mark.parametrize("path", [None, 5, b"out.tif"])
def test_an_output_is_a_path(path):
    for function in (streamgmm.quantize, partial(streamgmm.apply, random_mixture(3, 3))):
        with pytest.raises(OptionError, match=r"dst is .*; write a path"):
            function(smooth(20, 30), path)


@pytest.mark.parametrize("format", ["png", "jpeg", "webp", "tiff"])
def test_a_file_is_known_by_its_content_not_by_its_name(format, tmp_path):
    Image.fromarray(smooth(23, 37)).save(path := tmp_path / "image.jpg", format)
    with closing(open_image(path)) as image:
        assert image.info()["format"] == format.upper()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"hello, world", r"not an image this program reads \(TIFF, PNG, JPEG or WebP\)"),
        (b"\x89PNG\r\n\x1a\n", "not an image|cannot be decoded"),
        (b"\xff\xd8\xff\xe0" + bytes(100), "not an image|cannot be decoded"),
        (b"GIF89a" + bytes(100), "not an image"),
        (b"II*\0", "not a sound TIFF"),
        (b"MM\0+" + bytes(3), "not a sound TIFF"),
        (b"II", "not an image"),
    ],
)
def test_a_file_that_is_no_image_is_refused(content, message, tmp_path):
    path = tmp_path / "image.tif"
    path.write_bytes(content)
    with pytest.raises(ImageReadError, match=f"{path}: ({message})"):
        open_image(path)


def test_a_file_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ImageReadError, match=r"absent\.tif: no such file or directory"):
        open_image(tmp_path / "absent.tif")


@pytest.mark.skipif(sys.platform == "win32", reason="folders cannot be opened there at all")
def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ImageReadError, match="is a directory"):
        open_image(tmp_path)


def test_errors_of_reading_are_os_errors_too(tmp_path):
    with pytest.raises(OSError, match="no such file"):
        open_image(tmp_path / "absent.tif")


@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_a_path_may_be_text(kind, tmp_path):
    Image.fromarray(smooth(23, 37)).save(path := tmp_path / "image.png")
    assert open_image(kind(path)).name == str(path)


def test_a_new_reader_is_one_row(tmp_path, monkeypatch):
    """Of PGM, whose header is a line here."""

    def open_file(path, options, budget):
        kind, width, height, full = (data := path.read_bytes()).split(maxsplit=4)[:4]
        assert (kind, full) == (b"P5", b"255")
        pixels = np.frombuffer(data[-int(width) * int(height) :], np.uint8).reshape(int(height), int(width))
        return [ArrayImage(pixels, options, str(path), "PGM")]

    reader = ModuleType("streamgmm.image.pgm")
    reader.open_file = open_file
    monkeypatch.setitem(sys.modules, reader.__name__, reader)
    monkeypatch.setattr(module, "READERS", ((((b"P5",), "pgm")), *module.READERS))
    pixels = smooth(23, 37, 1)
    (path := tmp_path / "image.pgm").write_bytes(b"P5 37 23 255\n" + pixels.tobytes())
    np.testing.assert_array_equal(pixels_of(path), pixels)
    assert open_image(path).info()["format"] == "PGM"
    np.testing.assert_array_equal(pixels_of(write_tiff(tmp_path / "image.tif", pixels)), pixels)


def test_the_last_reader_takes_any_file():
    assert module.READERS[-1][0] == (b"",)


@pytest.mark.parametrize("source", [smooth(4, 4), "image.tif"])
def test_a_misspelled_keyword_is_refused_before_anything_is_opened(source):
    with pytest.raises(TypeError, match="pages"):
        open_image(source, pages=1)


def test_all_pages_of_what_has_none_is_the_image(tmp_path):
    Image.fromarray(smooth(23, 37)).save(path := tmp_path / "image.png")
    for source in (path, smooth(23, 37)):
        (image,) = open_images(source, ReadOptions(all_pages=True), None)
        assert image.shape == (23, 37, 3)


def test_a_page_and_all_pages_exclude_each_other():
    with pytest.raises(OptionError, match="page and all-pages exclude each other"):
        ReadOptions(page=0, all_pages=True)


# --- Families: one picture, in every container


def labels_and_palette(path):
    with tifffile.TiffFile(path) as tiff:
        return tiff.pages.first.asarray(), tiff.pages.first.colormap


TIFFFILE_CODECS = {
    "none": {},
    "packbits": {"compression": "packbits"},
    "lzw": {"compression": "lzw"},
    "lzw, predictor": {"compression": "lzw", "predictor": 2},
    "deflate, predictor": {"compression": "deflate", "predictor": 2},
    "zstd": {"compression": "zstd"},
    "lzma": {"compression": "lzma"},
    "webp": {"compression": "webp", "compressionargs": {"lossless": True}},
    "jpegxl": {"compression": "jpegxl", "compressionargs": {"lossless": True}},
    "lerc": {"compression": "lerc"},
}
CONTIGUOUS = ("webp", "jpegxl")
GDAL_CODECS = ["none", "lzw", "deflate", "zstd", "packbits", "lzma", "webp", "lerc"]
LAYOUTS = {"tiled": {"tile": (16, 32)}, "striped": {"rowsperstrip": 7}}


def members(folder, pixels):
    """Yield files of one 8-bit RGB picture, written every way that loses nothing."""
    for codec, options in TIFFFILE_CODECS.items():
        for layout, places in LAYOUTS.items():
            for planar in ["contig"] if codec in CONTIGUOUS else ["contig", "separate"]:
                for order in "<>":
                    name = f"{codec} {layout} {planar} {'big' if order == '>' else 'little'}.tif"
                    form = {"byteorder": order, "bigtiff": order == ">", "planarconfig": planar}
                    yield write_tiff(folder / name, pixels, **options, **places, **form)
    for codec in GDAL_CODECS:
        for tiled in [False, True]:
            options = {"photometric": "rgb", "compress": codec, "tiled": tiled, "blockysize": 16, "interleave": "pixel"}
            lossless = {"webp_lossless": True} if codec == "webp" else {}
            yield write_gdal(
                folder / f"gdal {codec} {tiled}.tif", pixels, **options, **lossless, **({"blockxsize": 16} if tiled else {})
            )
    opaque = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    for kind in ["unassalpha", "assocalpha"]:
        yield write_tiff(folder / f"{kind}.tif", opaque, extrasamples=[kind], compression="deflate")
    for suffix, image in [("png", pixels), ("webp", pixels), ("rgba.png", opaque)]:
        Image.fromarray(image).save(path := folder / f"picture.{suffix}", lossless=True)
        yield path
    colors, indices = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True)
    table = np.zeros((256, 3), np.uint16)
    table[: len(colors)] = colors
    indices = indices.reshape(pixels.shape[:2]).astype(np.uint8)
    palette = {"photometric": "palette", "colormap": table.T * 257}
    yield write_tiff(folder / "palette.tif", indices[..., None], **palette)


def few_colors():
    """A smooth picture of at most 256 colors."""
    return (smooth(HEIGHT, WIDTH) // 40 * 40).astype(np.uint8)


def test_one_picture_reads_the_same_from_every_container(tmp_path):
    pixels = few_colors()
    briefly = {"init": "random", "max_iter": 2}
    quantize(pixels, tmp_path / "array.tif", **briefly)
    labels, palette = labels_and_palette(tmp_path / "array.tif")
    (tmp_path / "files").mkdir()
    for number, path in enumerate(members(tmp_path / "files", pixels)):
        np.testing.assert_array_equal(pixels_of(path), pixels, err_msg=path.name)
        if number % 8:  # what is read the same is quantized the same: some show it
            continue
        quantize(path, tmp_path / "out.tif", overwrite=True, **briefly)
        found, colormap = labels_and_palette(tmp_path / "out.tif")
        np.testing.assert_array_equal(found, labels, err_msg=path.name)
        np.testing.assert_array_equal(colormap, palette, err_msg=path.name)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "deflate", "predictor": 2, "byteorder": ">"},
        {"compression": "jpegxl", "compressionargs": {"lossless": True}},
    ],
)
def test_a_picture_of_16_bits_gets_the_colors_of_its_8_bits(options, tmp_path):
    pixels = few_colors()
    wide = pixels.astype(np.uint16) * 257
    path = write_tiff(tmp_path / "wide.tif", wide, **options)
    np.testing.assert_array_equal(pixels_of(path), wide)
    n_colors = len(np.unique(pixels.reshape(-1, 3), axis=0))
    for source, name in [(pixels, "narrow"), (path, "fitted")]:
        quantize(source, tmp_path / f"{name}.tif", n_components=n_colors, range="type")
    colors = [
        palette.T[labels] for labels, palette in (labels_and_palette(tmp_path / f"{n}.tif") for n in ("narrow", "fitted"))
    ]
    np.testing.assert_array_equal(*colors)


# Files of the collection that hold one picture, without loss.
FAMILIES = {
    "shapes": ["exampletiffs__shapes_deflate.tif", *(f"tiffvis__shapes_{form}.tif" for form in (
        "lzw_planar", "lzw_tiled", "lzw_tiled_planar", "tiled_multi"))],
    "gradient, gray": ["jai__lsb_gradiente_gray.tiff", "jai__msb_gradiente_gray.tiff"],
    "gradient, RGB": ["jai__lsb_gradiente_rgb.tiff", "jai__msb_gradiente_rgb.tiff"],
    "orientations": [f"largeimage__test_orient{i}.tif" for i in (0, 1, 2, 4, 5, 8)],
    "byte": [f"gdal__byte_{form}.tif" for form in (
        "NONE", "JXL_tiled", "LERC", "LERC_DEFLATE", "LERC_DEFLATE_tiled", "LERC_ZSTD", "LERC_ZSTD_tiled", "LZMA",
        "LZW_predictor_2", "ZSTD", "ZSTD_tiled", "with_ovr")],
    "rgbsmall": [f"gdal__rgbsmall_{form}.tif" for form in (
        "DEFLATE", "DEFLATE_tiled", "LERC", "LERC_ZSTD", "LERC_separate", "LERC_tiled", "LERC_tiled_separate",
        "LERC_DEFLATE_tiled_separate", "LZMA_separate", "LZMA_tiled_separate", "ZSTD", "byte_LZW_predictor_2")],
    "Go video": [f"goimage__video-001-{form}.tiff" for form in ("uncompressed", "strip-64", "tile-64x64")],
    "Go bilevel": [f"goimage__bw-{form}.tiff" for form in ("deflate", "packbits", "gopher_ccittGroup4")],
    "fax": [f"tiffvis__ccitt_{form}.tif" for form in ("none", "g3", "g4")],
    "fax, small": [f"twelvemonkeys__group3_{form}.tif" for form in ("1d", "1d_fill", "2d", "2d_fill", "2d_lsb2msb")],
    "BigTIFF": [f"twelvemonkeys__{form}.tif" for form in (
        "Classic", "BigTIFFLong8", "BigTIFFMotorolaLongStrips", "BigTIFFSubIFD4", "BigTIFFSubIFD8")],
    "hopper": [f"pillow__hopper{form}.tif" for form in ("", ".iccprofile", "_lzma", "_float_dpi_3", "_float_dpi_None")],
    "hopper, 2 bits": [f"pillow__hopper{form}.tif" for form in ("2", "2I", "2IR")],
    "hopper, 4 bits": [f"pillow__hopper{form}.tif" for form in ("4", "4IR")],
    "16-bit gray": [f"pillow__16bit{form}.tif" for form in (".cropped", ".deflate", ".MM.cropped", ".MM.deflate")],
    "16-bit RGB": [f"pillow__tiff_{form}_16bit_RGB.tiff" for form in ("strip_planar", "tiled_planar")],
    "flower, 8 bits": ["libgd__flower-rgb-planar-08.tif", "twelvemonkeys__flower-rgb-contig-08.tif"],
    "flower, 12 bits": ["libgd__flower-rgb-planar-12.tif", "libgd__flower-rgb-contig-12.tif"],
    "flower, 24 bits": ["libgd__flower-rgb-planar-24.tif", "libgd__flower-rgb-contig-24.tif"],
    "flower, 32 bits": ["libgd__flower-rgb-planar-32.tif", "libgd__flower-rgb-contig-32.tif"],
    "flower, CMYK": ["libgd__flower-separated-contig-08.tif", "libgd__flower-separated-planar-08.tif"],
    "flower, CMYK, 16 bits": ["libgd__flower-separated-contig-16.tif", "libgd__flower-separated-planar-16.tif"],
    "tiger, 3 bits": [f"libtiffnet__tiger-rgb-{form}-03.tif" for form in ("strip-contig", "strip-planar", "tile-contig")],
    "tiger, palette": [f"libtiffnet__tiger-palette-{form}-02.tif" for form in ("strip", "tile")],
    "rgb8": [f"libtiffnet__rgb8-{form}.tif" for form in ("separate", "zip-mac", "zip-pc", "lsb2msb")],
    "quad": ["libgd__quad-lzw-compat.tiff", "libgd__quad-tile.tif"],
    "float16": ["libgd__random-fp16.tiff", "libgd__random-fp16-pred2.tiff"],
    "palette or white": ["libgd__miniswhite-1c-1b.tiff", "libgd__palette-1c-1b.tiff"],
    "masks": [f"gdal__test3_with_mask_{bits}bit.tif" for bits in (1, 8)],
}  # fmt: skip


@pytest.mark.collection
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_of_the_collection_holds_one_picture(family):
    first, *others = [read_checked(shared_file(f"variants/{name}")) for name in FAMILIES[family]]
    for name, other in zip(FAMILIES[family][1:], others, strict=True):
        pixels = other.pixels[..., :1] if first.pixels.shape[2] == 1 else other.pixels
        np.testing.assert_array_equal(pixels, first.pixels, err_msg=name)
        np.testing.assert_array_equal(other.valid, first.valid, err_msg=name)
