"""The output is a tiled TIFF of labels or colors, with its levels and pages, and appears whole or not at all."""

import itertools
import os
import stat
import struct
import threading
import warnings
import zlib
from functools import partial

import imagecodecs
import numpy as np
import openslide
import pytest
import pyvips
import rasterio
import tifffile
from PIL import Image, ImageSequence
from rasterio.enums import ColorInterp, MaskFlags
from rio_cogeo.cogeo import cog_validate

from streamgmm import __version__
from streamgmm.errors import ImageReadError, OutputError
from streamgmm.image.metadata import Metadata
from streamgmm.image.output import tiff as writer
from streamgmm.image.output.codec import decode_tile, encode_tile
from streamgmm.image.output.pyramid import reduce_labels, reduced_tile
from streamgmm.image.output.spec import ImageSpec, n_levels
from streamgmm.image.output.spool import Spool
from streamgmm.image.output.tiff import assemble_tiff
from streamgmm.options import COMPRESSION_LEVELS, Compression, Structure
from streamgmm.system.files import check_output, replacing

from .images import file_name
from .processes import in_child

DECODERS = {
    "none": bytes,
    "deflate": zlib.decompress,
    "lzw": imagecodecs.lzw_decode,
    "zstd": imagecodecs.zstd_decode,
    "packbits": imagecodecs.packbits_decode,
}
TAGS = {"none": 1, "deflate": 8, "lzw": 5, "zstd": 50000, "packbits": 32773}


def write_tiff(path, *given, **options):
    """Assemble a file that takes its place when it is whole."""
    with replacing(path) as part:
        assemble_tiff(part, path, *given, **options)


def layout_of(labels, n_colors=7, **options):
    """A layout for labels, with a palette of some random colors."""
    palette = np.random.default_rng(n_colors).integers(0, 256, (n_colors, 3)).astype(np.uint8)
    return ImageSpec(labels.shape, **{"tile": (32, 48), "dtype": labels.dtype, "palette": palette} | options)


def random_labels(height, width, n_colors=7):
    """Labels in patches, so that reduced levels are not all chance."""
    dtype = np.uint8 if n_colors <= 256 else np.uint16
    patches = np.random.default_rng(0).integers(0, n_colors, (-(-height // 3), -(-width // 3))).astype(dtype)
    return patches.repeat(3, axis=0).repeat(3, axis=1)[:height, :width]


def spooled(folder, *images, backwards=False):
    """A spool with the tiles of all levels of images, each given as labels and layout."""
    spool = Spool(folder, sum(layout.n_tiles for _, layout in images))
    first = 0
    for labels, layout in images:
        tiles = list(enumerate(layout.grids[0]))
        for index, window in reversed(tiles) if backwards else tiles:
            spool.put(first + index, encode_tile(labels[window.slices], layout))
        place = first + len(tiles)
        for level, grid in enumerate(layout.grids[1:], 1):
            for index in range(len(grid)):
                spool.put(place + index, reduced_tile(spool, layout, level, index, first))
            place += len(grid)
        first = place
    return spool


def write(path, *images, backwards=False, **options):
    with spooled(path.parent, *images, backwards=backwards) as spool:
        write_tiff(path, spool, [layout for _, layout in images], **options)
    return path


def ifds(path):
    """Tags of every IFD, by code: page after page, each followed by its SubIFDs."""
    with tifffile.TiffFile(path) as tiff:
        pages = [ifd for page in tiff.pages for ifd in (page, *(page.pages or ()))]
        return [{tag.code: tag.value for tag in page.tags} for page in pages]


def tags(path):
    return ifds(path)[0]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("compression", get_args(Compression))
@pytest.mark.parametrize("shape", [(32, 48), (5, 48), (32, 7), (1, 1)])
@pytest.mark.parametrize("nodata", [None, 7])
def test_a_tile_is_encoded_at_its_full_size(nodata, shape, compression, dtype):
    labels = random_labels(*shape).astype(dtype)
    layout = layout_of(labels, compression=compression, nodata=nodata)
    data = DECODERS[compression](encode_tile(labels, layout))
    tile = np.frombuffer(data, dtype).reshape(layout.tile).astype(int)
    np.testing.assert_array_equal(tile[: shape[0], : shape[1]], labels)
    tile[: shape[0], : shape[1]] = nodata or 0
    assert (tile == (nodata or 0)).all()


def test_a_tile_that_is_a_view_is_encoded_as_it_looks():
    labels = random_labels(64, 96)
    layout = layout_of(labels, compression="none")
    view = labels[::2, ::2]
    assert encode_tile(view, layout) == view.tobytes()


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_labels_are_packed_from_the_highest_bits_of_a_byte(bits):
    labels = np.random.default_rng(0).integers(0, 2**bits, (32, 48)).astype(np.uint8)
    layout = layout_of(labels, n_colors=2**bits, bits=bits, compression="none")
    digits = "".join(f"{label:0{bits}b}" for label in labels.ravel())
    assert encode_tile(labels, layout) == int(digits, 2).to_bytes(len(digits) // 8, "big")


@pytest.mark.parametrize("nodata", [None, 2])
def test_a_tile_of_form_rgb_holds_the_colors(nodata):
    palette = np.array([[1, 2, 3], [0, 0, 0]], np.uint8)
    colors = {0: (1, 2, 3), 1: (0, 0, 0)} if nodata is None else {0: (1, 2, 3, 255), 1: (0, 0, 0, 255), 2: (0, 0, 0, 0)}
    labels = np.random.default_rng(0).choice(list(colors), (32, 48)).astype(np.uint8)
    layout = layout_of(labels, form="rgb", palette=palette, nodata=nodata, compression="none")
    data = encode_tile(labels, layout)
    assert data == bytes(itertools.chain.from_iterable(colors[label] for label in labels.ravel()))
    codes = {label: int.from_bytes(bytes(color), "little") for label, color in colors.items()}
    assert decode_tile(data, layout).tolist() == [[codes[label] for label in row] for row in labels]


def test_packbits_begins_anew_in_every_row():
    labels = np.zeros((32, 48), np.uint8)
    assert encode_tile(labels, layout_of(labels, compression="packbits")) == bytes([257 - 48, 0]) * 32


KINDS = {
    "1 bit": {"n_colors": 2, "bits": 1},
    "2 bits": {"n_colors": 4, "bits": 2},
    "4 bits": {"n_colors": 16, "bits": 4},
    "8 bits": {"n_colors": 200},
    "16 bits": {"n_colors": 300},
    "1 bit, masked": {"n_colors": 1, "bits": 1, "nodata": 1},
    "4 bits, masked": {"n_colors": 9, "bits": 4, "nodata": 9},
    "8 bits, masked": {"n_colors": 255, "nodata": 255},
    "16 bits, masked": {"n_colors": 65_535, "nodata": 65_535},
    "labels": {"n_colors": 200, "form": "labels", "palette": None},
    "labels, 2 bits, masked": {"n_colors": 3, "bits": 2, "form": "labels", "palette": None, "nodata": 3},
    "labels, 16 bits, masked": {"n_colors": 300, "form": "labels", "palette": None, "nodata": 300},
    "rgb": {"n_colors": 200, "form": "rgb"},
    "rgb of 16-bit labels": {"n_colors": 300, "form": "rgb"},
    "rgb, masked": {"n_colors": 200, "form": "rgb", "nodata": 200},
}


def image_of(kind, height=100, width=131, **options):
    """Labels of a kind, some masked where it says so, and their layout."""
    options = KINDS[kind] | options
    labels = random_labels(height, width, options["n_colors"])
    if "nodata" in options:
        labels[height // 5 : height // 2, width // 4 : width // 2] = options["nodata"]
    return labels, layout_of(labels, **options)


@pytest.mark.parametrize("compression", get_args(Compression))
@pytest.mark.parametrize("kind", KINDS)
def test_decoding_a_tile_undoes_encoding_it(kind, compression):
    labels, layout = image_of(kind, 30, 40, compression=compression)
    tile = decode_tile(encode_tile(labels, layout), layout)
    assert tile.shape == layout.tile
    if layout.form != "rgb":
        np.testing.assert_array_equal(tile[:30, :40], labels)
    else:
        colors = colors_of(labels, layout)
        assert tile.dtype == np.uint32
        np.testing.assert_array_equal(tile[:30, :40].copy().view(np.uint8).reshape(30, 40, 4)[..., : colors.shape[2]], colors)
    np.testing.assert_array_equal(tile[30:], layout.masked_sample or 0)


@pytest.mark.parametrize(
    ("compression", "level"), [(codec, level) for codec in COMPRESSION_LEVELS for level in COMPRESSION_LEVELS[codec]]
)
def test_every_level_of_a_codec_holds_the_same(compression, level):
    labels, layout = image_of("8 bits", 32, 48, compression=compression, level=level)
    assert DECODERS[compression](encode_tile(labels, layout)) == labels.tobytes()


@pytest.mark.parametrize(("compression", "level"), [("deflate", 4), ("zstd", 9)])
def test_the_level_of_a_codec_is_used_and_has_a_default(compression, level):
    data = {
        level: encode_tile(*image_of("8 bits", 512, 512, compression=compression, level=level, tile=(512, 512)))
        for level in (None, *COMPRESSION_LEVELS[compression])
    }
    assert data[None] == data[level]
    assert len(data[COMPRESSION_LEVELS[compression][-1]]) < len(data[level]) < len(data[COMPRESSION_LEVELS[compression][0]])


@pytest.mark.parametrize("n_colors", [7, 300])
@pytest.mark.parametrize("compression", get_args(Compression))
@pytest.mark.parametrize("shape", [(32, 48), (100, 131), (1, 1), (1, 200), (65, 49)])
def test_what_is_written_is_read_back(shape, compression, n_colors, tmp_path):
    labels = random_labels(*shape, n_colors)
    path = write(tmp_path / "out.tif", (labels, layout_of(labels, n_colors, compression=compression)))
    np.testing.assert_array_equal(tifffile.imread(path), labels)
    assert tags(path)[259] == TAGS[compression]
    assert (tags(path)[323], tags(path)[322]) == (32, 48)


@pytest.mark.parametrize("compression", get_args(Compression))
@pytest.mark.parametrize("bigtiff", ["yes", "no"])
def test_tiles_that_grow_by_being_compressed_are_read_back(bigtiff, compression, tmp_path):
    labels = np.random.default_rng(0).integers(0, 256, (80, 96)).astype(np.uint8)
    layout = layout_of(labels, 256, tile=(16, 16), compression=compression)
    path = write(tmp_path / "out.tif", (labels, layout), bigtiff=bigtiff)
    np.testing.assert_array_equal(tifffile.imread(path), labels)
    assert compression == "none" or max(tags(path)[325]) > 256


@pytest.mark.parametrize(
    ("n_colors", "bits"), [(1, 8), (7, 8), (256, 8), (300, 16), (65_535, 16), (1, 1), (2, 1), (3, 2), (4, 2), (5, 4), (16, 4)]
)
def test_the_color_map_is_the_palette_in_16_bits(n_colors, bits, tmp_path):
    labels = random_labels(40, 40, n_colors)
    layout = layout_of(labels, n_colors, bits=bits)
    path = write(tmp_path / "out.tif", (labels, layout))
    color_map = np.array(tags(path)[320]).reshape(3, 2**bits)
    np.testing.assert_array_equal(color_map[:, :n_colors], layout.palette.T.astype(int) * 257)
    assert not color_map[:, n_colors:].any()
    assert tags(path)[262] == tifffile.PHOTOMETRIC.PALETTE == 3
    assert tags(path)[258] == bits


def test_labels_alone_have_no_colors(tmp_path):
    path = write(tmp_path / "out.tif", image_of("labels"))
    assert 320 not in tags(path)
    assert tags(path)[262] == tifffile.PHOTOMETRIC.MINISBLACK == 1


@pytest.mark.parametrize(("kind", "bits", "extra"), [("rgb", (8, 8, 8), None), ("rgb, masked", (8, 8, 8, 8), (2,))])
def test_colors_have_alpha_where_a_pixel_may_be_masked(kind, bits, extra, tmp_path):
    found = tags(write(tmp_path / "out.tif", image_of(kind, n_levels=2)))
    assert (found[258], found.get(338)) == (bits, extra)
    assert found[262] == tifffile.PHOTOMETRIC.RGB == 2
    assert not {320, 42113} & set(found)


@pytest.mark.parametrize("kind", KINDS)
def test_the_label_of_masked_pixels_is_known_to_gdal(kind, tmp_path):
    labels, layout = image_of(kind, n_levels=3)
    path = write(tmp_path / "out.tif", (labels, layout))
    if layout.form != "rgb":
        assert [found.get(42113) for found in ifds(path)] == [None if layout.nodata is None else str(layout.nodata)] * 3
    with opened(path) as image:
        masked = labels == layout.nodata if layout.nodata is not None else np.zeros(labels.shape, bool)
        np.testing.assert_array_equal(image.dataset_mask() == 0, masked)
        flags = {MaskFlags.nodata} if layout.form != "rgb" else {MaskFlags.per_dataset, MaskFlags.alpha}
        assert set(image.mask_flag_enums[0]) == (flags if layout.nodata is not None else {MaskFlags.all_valid})


def colors_of(labels, layout):
    """What form "rgb" shows, pixel by pixel."""
    alpha = [] if layout.nodata is None else [255]
    table = [[*color, *alpha] for color in layout.palette.tolist()] + [[0, 0, 0, 0]] * bool(alpha)
    return np.array([[table[label] for label in row] for row in labels.tolist()], np.uint8)


def opened(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        return rasterio.open(path)


def with_pillow(path):
    with Image.open(path) as image:
        return np.asarray(image)


def with_rasterio(path):
    with opened(path) as image:
        return np.moveaxis(image.read(), 0, -1) if image.count > 1 else image.read(1)


def with_pyvips(path):
    return pyvips.Image.new_from_file(str(path)).numpy()


def with_openslide(path):
    with openslide.OpenSlide(path) as slide:
        return np.asarray(slide.read_region((0, 0), 0, slide.dimensions))[..., :3]


def shown(labels, layout):
    """Colors in RGB: masked pixels are black, as are entries of a color map that are not used."""
    if layout.form == "labels":
        return labels[..., None].repeat(3, axis=2)
    return np.vstack([layout.palette, [[0, 0, 0]]]).astype(np.uint8)[labels]


@pytest.mark.parametrize("structure", get_args(Structure))
@pytest.mark.parametrize("compression", get_args(Compression))
@pytest.mark.parametrize("kind", KINDS)
def test_readers_see_what_was_written(kind, compression, structure, tmp_path):
    # OpenSlide's libtiff refuses uncompressed tiles that do not fill whole KiB, whoever wrote them
    labels, layout = image_of(kind, compression=compression, n_levels=3, tile=(64, 128))
    path = write(tmp_path / "out.tif", (labels, layout), structure=structure)
    samples = colors_of(labels, layout) if layout.form == "rgb" else labels
    deep, packed = layout.bits_per_sample == 16, layout.bits_per_sample < 8
    np.testing.assert_array_equal(tifffile.imread(path), samples)
    np.testing.assert_array_equal(with_rasterio(path), samples)
    if not (deep and layout.form == "palette") and not (packed and layout.form == "labels"):
        # Pillow knows no palettes of 16 bits, and stretches labels of 2 or 4 bits over 8
        np.testing.assert_array_equal(with_pillow(path), samples)
    if not deep and not (packed and layout.form == "labels"):
        # OpenSlide shows 8-bit colors; it and libvips stretch labels of less than 8 bits
        np.testing.assert_array_equal(with_openslide(path), shown(labels, layout))
    if compression != "zstd" and not (packed and layout.form == "labels"):  # the wheel of libvips is built without zstd
        pixels = with_pyvips(path)
        if deep and layout.form == "palette":
            np.testing.assert_array_equal(pixels, shown(labels, layout).astype(np.uint16) * 257)
        else:
            np.testing.assert_array_equal(pixels, shown(labels, layout) if layout.form == "palette" else samples)


def expected_levels(labels, layout):
    levels = [labels]
    while len(levels) < layout.n_levels:
        levels.append(reduce_labels(levels[-1], layout.resampling, layout.nodata))
    return levels


@pytest.mark.parametrize("resampling", ["mode", "nearest"])
@pytest.mark.parametrize("structure", get_args(Structure))
@pytest.mark.parametrize("kind", [kind for kind in KINDS if "rgb" not in kind])
def test_readers_see_the_levels(kind, structure, resampling, tmp_path):
    labels, layout = image_of(kind, 300, 217, n_levels=4, resampling=resampling)
    path = write(tmp_path / "out.tif", (labels, layout), structure=structure)
    levels = expected_levels(labels, layout)
    with tifffile.TiffFile(path) as tiff:
        assert len(tiff.pages) == (1 if structure == "subifd" else 4)
        assert len(tiff.series) == 1
        for level, expected in zip(tiff.series[0].levels, levels, strict=True):
            np.testing.assert_array_equal(level.asarray(), expected)
    with opened(path) as image:
        assert image.overviews(1) == [2, 4, 8]
    for number, expected in enumerate(levels[1:]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(path, overview_level=number) as image:
                np.testing.assert_array_equal(image.read(1), expected)
    if not (layout.form == "palette" and layout.bits_per_sample == 16):
        with openslide.OpenSlide(path) as slide:  # which knows no SubIFDs in TIFF files at large
            sizes = [level.shape[::-1] for level in levels]
            assert list(slide.level_dimensions) == (sizes[:1] if structure == "subifd" else sizes)
    option = {"subifd": 2} if structure == "subifd" else {"page": 3}
    image = pyvips.Image.new_from_file(str(path), **option)
    assert (image.height, image.width) == levels[3].shape


@pytest.mark.parametrize("structure", get_args(Structure))
def test_where_the_reduced_levels_stand(structure, tmp_path):
    path = write(tmp_path / "out.tif", image_of("8 bits", 300, 217, n_levels=4), structure=structure)
    found = ifds(path)
    assert [level[254] for level in found] == [0, 1, 1, 1]
    assert [level.get(330) is not None for level in found] == [structure == "subifd", False, False, False]
    assert [(level[257], level[256]) for level in found] == [(300, 217), (150, 109), (75, 55), (38, 28)]


@pytest.mark.parametrize("structure", get_args(Structure))
def test_the_smallest_level_comes_first_and_the_image_last(structure, tmp_path):
    path = write(tmp_path / "out.tif", image_of("8 bits", 300, 217, n_levels=4, compression="lzw"), structure=structure)
    spans = [list(zip(level[324], level[325], strict=True)) for level in reversed(ifds(path))]
    spans = [span for level in spans for span in level]
    with tifffile.TiffFile(path) as tiff:
        end = max(ifd.tags[320].valueoffset + 2 * 768 for page in tiff.pages for ifd in (page, *(page.pages or ())))
    for offset, size in spans:
        assert offset % 2 == 0
        assert offset - end in (0, 1) or end < spans[0][0] == offset  # in one piece, but for alignment
        end = offset + size
    assert path.stat().st_size - end in (0, 1)


@pytest.mark.parametrize("bigtiff", ["auto", "yes"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_cloud_optimized_geotiff_is_valid(kind, bigtiff, tmp_path):
    geo = Metadata(tags=((33550, 12, 3, (0.5, 0.5, 0.0)), (33922, 12, 6, (0.0, 0.0, 0.0, 3e5, 5e6, 0.0))))
    labels, layout = image_of(kind, 1100, 1400, tile=(256, 256), n_levels=n_levels((1100, 1400), (256, 256)), metadata=geo)
    path = write(tmp_path / "out.tif", (labels, layout), structure="cog", bigtiff=bigtiff)
    assert cog_validate(path, strict=True, quiet=True) == (True, [], [])
    with tifffile.TiffFile(path) as tiff:
        assert tiff.pages.first.offset < 300
    with opened(path) as image:
        assert image.overviews(1) == [2, 4, 8]
        assert image.transform[:6] == (0.5, 0.0, 3e5, 0.0, -0.5, 5e6)


def test_a_reader_of_colors_is_told_of_them(tmp_path):
    kinds = {"8 bits": ["palette"], "labels": ["gray"], "rgb": ["red", "green", "blue"], "rgb, masked": [*"rgb", "alpha"]}
    kinds["rgb, masked"][:3] = kinds["rgb"]
    for kind, expected in kinds.items():
        with opened(write(tmp_path / "out.tif", image_of(kind))) as image:
            assert image.colorinterp == tuple(ColorInterp[name] for name in expected)


METADATA = Metadata(
    tags=((306, 2, 20, b"2020:01:02 03:04:05\0"), (33550, 12, 3, (0.5, 0.25, 0.0))),
    resolution=(400.0, 300.5),
    resolution_unit=3,
    icc=b"profile" * 30,
    description="Tür 日本",
)


@pytest.mark.parametrize("structure", get_args(Structure))
@pytest.mark.parametrize("kind", ["8 bits", "labels", "rgb, masked"])
def test_metadata_stand_where_they_belong(kind, structure, tmp_path):
    image = image_of(kind, n_levels=3, metadata=METADATA)
    image, *levels = ifds(write(tmp_path / "out.tif", image, structure=structure))
    assert (image[306], image[33550]) == ("2020:01:02 03:04:05", (0.5, 0.25, 0.0))
    assert image[270] in ("Tür 日本", "Tür 日本".encode())
    assert image[305] == f"streamgmm {__version__}"
    for level in levels:
        assert not {270, 305, 306, 33550} & set(level)
    for number, level in enumerate([image, *levels]):
        assert (level[34675], level[296]) == (METADATA.icc, 3)
        resolution = [level[code][0] / level[code][1] for code in (282, 283)]
        assert resolution == pytest.approx([400 / 2**number, 300.5 / 2**number], rel=1e-9)


def test_a_description_is_written_as_utf_8(tmp_path):
    path = write(tmp_path / "out.tif", image_of("8 bits", metadata=METADATA))
    assert "Tür 日本\0".encode() in path.read_bytes()
    with opened(path) as image:
        assert image.tags()["TIFFTAG_IMAGEDESCRIPTION"] == "Tür 日本"


def test_an_image_without_metadata_claims_none(tmp_path):
    found = tags(write(tmp_path / "out.tif", image_of("8 bits")))
    assert (found[282], found[283], found[296]) == ((1, 1), (1, 1), 1)  # pixels that are square, of no known size
    assert not {270, 306, 34675} & set(found)


@pytest.mark.parametrize("structure", get_args(Structure))
def test_images_of_a_stack_are_pages(structure, tmp_path):
    images = [
        image_of("8 bits", 100, 131, n_levels=2),
        image_of("labels, 16 bits, masked", 40, 50),
        image_of("4 bits", 210, 300, n_levels=3, compression="lzw", metadata=METADATA),
    ]
    path = write(tmp_path / "out.tif", *images, structure=structure)
    found = ifds(path)
    assert [level[254] for level in found] == [0, 1, 0, 0, 1, 1]
    assert [305 in level for level in found] == [True, False, True, True, False, False]
    with tifffile.TiffFile(path) as tiff:
        pages = [page for page in tiff.pages if page.subfiletype == 0]
        for page, (labels, _) in zip(pages, images, strict=True):
            np.testing.assert_array_equal(page.asarray(), labels)
        reduced = [page for page in tiff.pages if page.subfiletype == 1] + [
            level for page in pages for level in page.pages or ()
        ]
        expected = [level for image in images for level in expected_levels(*image)[1:]]
        for page, level in zip(reduced, expected, strict=True):
            np.testing.assert_array_equal(page.asarray(), level)


@pytest.mark.parametrize("structure", get_args(Structure))
def test_readers_see_the_pages_of_a_stack(structure, tmp_path):
    images = [image_of("8 bits", 60 + place, 131) for place in range(4)]
    path = write(tmp_path / "out.tif", *images, structure=structure)
    with Image.open(path) as image:
        assert image.n_frames == 4
        for page, (labels, _) in zip(ImageSequence.Iterator(image), images, strict=True):
            np.testing.assert_array_equal(np.asarray(page), labels)
    for place, (labels, layout) in enumerate(images):
        np.testing.assert_array_equal(with_rasterio(f"GTIFF_DIR:{place + 1}:{path}"), labels)
        pixels = pyvips.Image.new_from_file(str(path), page=place).numpy()
        np.testing.assert_array_equal(pixels, shown(labels, layout))


@pytest.mark.parametrize("structure", get_args(Structure))
def test_the_file_depends_on_the_labels_alone(structure, tmp_path):
    image = image_of("8 bits", n_levels=3)
    paths = [tmp_path / f"{backwards}.tif" for backwards in (False, True)]
    first, second = (write(path, image, structure=structure, backwards=path.stem == "True") for path in paths)
    assert first.read_bytes() == second.read_bytes()
    assert 306 not in tags(first)  # DateTime


def version(path):
    """42 for a classic TIFF, 43 for a BigTIFF."""
    return struct.unpack("<2sH", path.read_bytes()[:4])


@pytest.mark.parametrize("structure", get_args(Structure))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compression", ["none", "lzw"])
def test_a_file_beyond_the_limit_of_classic_tiff_is_a_bigtiff(compression, kind, structure, tmp_path, monkeypatch):
    image = image_of(kind, n_levels=3, compression=compression)
    size = write(tmp_path / "classic.tif", image, structure=structure, bigtiff="no").stat().st_size
    monkeypatch.setattr(writer, "CLASSIC_LIMIT", size)
    classic = write(tmp_path / "classic.tif", image, structure=structure)
    monkeypatch.setattr(writer, "CLASSIC_LIMIT", size - 1)
    big = write(tmp_path / "big.tif", image, structure=structure)
    assert (version(classic), version(big)) == ((b"II", 42), (b"II", 43))
    np.testing.assert_array_equal(tifffile.imread(big), tifffile.imread(classic))
    np.testing.assert_array_equal(with_rasterio(big), with_rasterio(classic))
    big.rename(tmp_path / "auto.tif")
    asked = write(tmp_path / "big.tif", image, structure=structure, bigtiff="yes")
    assert asked.read_bytes() == (tmp_path / "auto.tif").read_bytes()


def test_a_small_file_is_a_bigtiff_where_asked(tmp_path):
    assert version(write(tmp_path / "out.tif", image_of("8 bits"), bigtiff="yes")) == (b"II", 43)


def test_a_file_that_must_be_classic_and_cannot_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "CLASSIC_LIMIT", 1_000)
    with pytest.raises(OutputError, match=r"out\.tif: a classic TIFF cannot hold its [\d,]+ bytes; use --bigtiff auto"):
        write(tmp_path / "out.tif", image_of("8 bits"), bigtiff="no")
    assert not list(tmp_path.iterdir())


class HollowSpool:
    """A spool of tiles that say they are large, and hold nothing."""

    def __init__(self, sizes):
        self.sizes = np.array(sizes, np.int64)

    def get(self, index):
        return b""


def test_tiles_beyond_4_gib_are_found(tmp_path):
    layout = ImageSpec((1 << 16, 1 << 16), (1 << 15, 1 << 15), np.dtype(np.uint8), "labels", compression="lzw", n_levels=2)
    sizes = [2**30 - 1, 2**30 + 8, 2**30, 2**30 + 3, 77]  # four of the image, and the reduced one
    with pytest.raises(OutputError, match="cannot hold its 4,294,96"):
        write_tiff(tmp_path / "out.tif", HollowSpool(sizes), [layout], bigtiff="no")
    write_tiff(tmp_path / "out.tif", HollowSpool(sizes), [layout])
    assert version(tmp_path / "out.tif") == (b"II", 43)
    image, reduced = ifds(tmp_path / "out.tif")
    first = reduced[324][0] + 78
    assert image[324] == (first, first + 2**30, first + 2**31 + 8, first + 3 * 2**30 + 8)
    assert (image[325], reduced[325]) == (tuple(sizes[:4]), (77,))


@pytest.mark.parametrize(("total", "expected"), [(2**32 - 4096, 42), (2**32 - 16, 43), (2**32 + 100, 43)])
def test_the_choice_of_bigtiff_counts_the_ifds(total, expected, tmp_path):
    layout = ImageSpec((1 << 16, 1 << 16), (1 << 15, 1 << 15), np.dtype(np.uint8), "labels", compression="lzw")
    write_tiff(tmp_path / "out.tif", HollowSpool([2**30, 2**30, 2**30, total - 3 * 2**30]), [layout])
    assert version(tmp_path / "out.tif") == (b"II", expected)


def test_a_spool_that_breaks_off_leaves_nothing(tmp_path, monkeypatch):
    def get(self, index):
        raise OSError(5, "Input/output error")

    (tmp_path / "out.tif").write_bytes(b"old")
    with spooled(tmp_path, image := image_of("8 bits")) as spool, monkeypatch.context() as patch:
        patch.setattr(Spool, "get", get)
        with pytest.raises(OutputError, match=r"out\.tif: cannot be written \(input/output error\)"):
            write_tiff(tmp_path / "out.tif", spool, [image[1]])
    assert [path.name for path in tmp_path.iterdir()] == ["out.tif"]
    assert (tmp_path / "out.tif").read_bytes() == b"old"


def test_a_spool_gives_tiles_back_in_their_order(tmp_path):
    with Spool(tmp_path, 4) as spool:
        for index in (2, 0, 3, 1):
            spool.put(index, bytes([index]) * (index + 1))
        assert spool.size == 10
        assert spool.sizes.tolist() == [1, 2, 3, 4]
        for _ in range(2):
            assert [spool.get(index) for index in range(4)] == [b"\0", b"\1\1", b"\2\2\2", b"\3\3\3\3"]


def test_a_spool_gives_tiles_to_threads_while_others_are_put(tmp_path):
    tiles = [bytes([index % 251]) * (index % 97 + 1) for index in range(3000)]
    wrong = []

    def check(spool, seed):
        rng = np.random.default_rng(seed)
        while (there := done[0]) < len(tiles):
            if there and spool.get(index := int(rng.integers(there))) != tiles[index]:
                wrong.append(index)

    done = [0]
    with Spool(tmp_path, len(tiles)) as spool:
        threads = [threading.Thread(target=check, args=(spool, seed)) for seed in range(3)]
        for thread in threads:
            thread.start()
        for index, tile in enumerate(tiles):
            spool.put(index, tile)
            done[0] = index + 1
        for thread in threads:
            thread.join()
    assert not wrong


def test_a_spool_leaves_nothing(tmp_path):
    with Spool(tmp_path, 1) as spool:
        spool.put(0, b"x" * 100_000)
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) in (0, 100_000)  # nameless, where the system can
    assert not list(tmp_path.iterdir())


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "out.tif"
    with replacing(path) as part:
        part.write_bytes(b"new")
        assert not path.exists()
        assert part.parent == path.parent
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def replace_and_fail(path, error):
    with replacing(path) as part:
        part.write_bytes(b"half")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, MemoryError])
def test_what_fails_leaves_nothing(error, tmp_path):
    with pytest.raises(error):
        replace_and_fail(tmp_path / "out.tif", error)
    assert not list(tmp_path.iterdir())


def test_what_fails_keeps_the_file_that_was_there(tmp_path):
    path = tmp_path / "out.tif"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="stop"):
        replace_and_fail(path, ValueError("stop"))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_succeeds_replaces_the_file_that_was_there(tmp_path):
    path = tmp_path / "out.tif"
    path.write_bytes(b"old")
    with replacing(path) as part:
        part.write_bytes(b"new")
    assert path.read_bytes() == b"new"


def test_what_the_system_says_names_the_output(tmp_path):
    message = r"out\.tif: cannot be written \(no space left on device\); nothing was left there"
    with pytest.raises(OutputError, match=message):
        replace_and_fail(tmp_path / "out.tif", OSError(28, "No space left on device"))
    assert not list(tmp_path.iterdir())


def test_errors_of_our_own_pass_through(tmp_path):
    with pytest.raises(ImageReadError, match="tile 3"):
        replace_and_fail(tmp_path / "out.tif", ImageReadError("tile 3"))


def test_a_missing_folder_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"), replacing(tmp_path / "absent" / "out.tif"):
        pass


def write_new(path):
    with replacing(path) as part:
        part.write_bytes(b"new")


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077, 0o002])
def test_the_mode_of_a_file_follows_the_umask(umask, tmp_path):
    path = tmp_path / "out.tif"
    assert in_child(partial(os.umask, umask), partial(write_new, path), partial(os.umask, 0)) == umask
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


# The longest names a file system takes are 255 bytes; what stands beside the output for a while must fit too.
@pytest.mark.parametrize(
    "name",
    ["x" * 251 + ".tif", file_name("日" * 83 + ".tif"), file_name("é" * 120 + ".tif"), "-out.tif", " .tif", "a b.tif", ".tif"],
)
def test_any_name_can_be_written(name, tmp_path):
    with replacing(tmp_path / name) as part:
        part.write_bytes(b"new")
    assert (tmp_path / name).read_bytes() == b"new"


def test_an_output_that_may_be_written_is_accepted(tmp_path):
    (tmp_path / "in.tif").write_bytes(b"in")
    (tmp_path / "old.tif").write_bytes(b"old")
    check_output(tmp_path / "new.tif", [tmp_path / "in.tif"], overwrite=False)
    check_output(tmp_path / "old.tif", [tmp_path / "in.tif", tmp_path / "absent.tif"], overwrite=True)
    assert (tmp_path / "old.tif").read_bytes() == b"old"


@pytest.mark.parametrize("link", ["none", "symlink", "hard link", "dots"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_output_that_is_the_input_is_refused(overwrite, link, tmp_path):
    source, output = tmp_path / "in.tif", tmp_path / "out.tif"
    source.write_bytes(b"in")
    if link == "symlink":
        output.symlink_to(source)
    elif link == "hard link":
        output.hardlink_to(source)
    else:
        output = source if link == "none" else tmp_path / ".." / tmp_path.name / "in.tif"
    with pytest.raises(OutputError, match="is also the input; choose another output"):
        check_output(output, [source], overwrite)


def test_an_output_that_exists_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "out.tif").write_bytes(b"old")
    with pytest.raises(OutputError, match=r"out\.tif: exists; use --overwrite to replace it"):
        check_output(tmp_path / "out.tif", [], overwrite=False)


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_output_that_is_a_folder_is_refused(overwrite, tmp_path):
    with pytest.raises(OutputError, match="is a folder; name a file in it"):
        check_output(tmp_path, [], overwrite)


@pytest.mark.parametrize("folder", ["absent", "absent/deeper", "file"])
def test_an_output_without_a_folder_is_refused(folder, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=r"out\.tif: there is no folder .*; create it first"):
        check_output(tmp_path / folder / "out.tif", [], overwrite=False)


def test_a_read_only_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(OutputError, match="is read-only; choose another or change its permissions"):
        check_output(tmp_path / "out.tif", [], overwrite=False)


def test_a_name_that_is_too_long_is_refused(tmp_path):
    with pytest.raises(OutputError, match=r"x\.tif: "):
        check_output(tmp_path / ("x" * 300 + ".tif"), [], overwrite=False)
