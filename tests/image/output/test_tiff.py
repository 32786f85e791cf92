"""The output is a tiled TIFF of labels or colors, with its levels and pages, as readers that nobody here wrote see it."""

import struct
import warnings
from typing import get_args

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
from streamgmm.errors import OutputError
from streamgmm.image.metadata import Metadata
from streamgmm.image.output.pyramid import reduce_labels
from streamgmm.image.output.spec import ImageSpec, n_levels
from streamgmm.image.output.spool import Spool
from streamgmm.image.output.tiff import assemble_tiff, fingerprint_in
from streamgmm.options import Compression, Resampling, Structure
from streamgmm.system.files import replacing

from .examples import KINDS, colors_of, image_of, random_labels, spec_of, spooled

LIMIT = "streamgmm.image.output.tiff.CLASSIC_LIMIT"
TAGS = {"none": 1, "deflate": 8, "lzw": 5, "zstd": 50000, "packbits": 32773}


def write_tiff(path, *given, **options):
    """Assemble a file that takes its place when it is whole."""
    with replacing(path) as part:
        assemble_tiff(part, path, *given, **options)


def write(path, *images, backwards=False, **options):
    with spooled(path.parent, *images, backwards=backwards) as spool:
        write_tiff(path, spool, [spec for _, spec in images], **options)
    return path


def ifds(path):
    """Tags of every IFD, by code: page after page, each followed by its SubIFDs."""
    with tifffile.TiffFile(path) as tiff:
        pages = [ifd for page in tiff.pages for ifd in (page, *(page.pages or ()))]
        return [{tag.code: tag.value for tag in page.tags} for page in pages]


def tags(path):
    return ifds(path)[0]


@pytest.mark.parametrize("n_colors", [7, 300])
@pytest.mark.parametrize("compression", get_args(Compression))
@pytest.mark.parametrize("shape", [(32, 48), (100, 131), (1, 1), (1, 200), (65, 49)])
def test_what_is_written_is_read_back(shape, compression, n_colors, tmp_path):
    labels = random_labels(*shape, n_colors)
    path = write(tmp_path / "out.tif", (labels, spec_of(labels, n_colors, compression=compression)))
    np.testing.assert_array_equal(tifffile.imread(path), labels)
    assert tags(path)[259] == TAGS[compression]
    assert (tags(path)[323], tags(path)[322]) == (32, 48)


@pytest.mark.parametrize("compression", get_args(Compression))
@pytest.mark.parametrize("bigtiff", ["yes", "no"])
def test_tiles_that_grow_by_being_compressed_are_read_back(bigtiff, compression, tmp_path):
    labels = np.random.default_rng(0).integers(0, 256, (80, 96)).astype(np.uint8)
    spec = spec_of(labels, 256, tile=(16, 16), compression=compression)
    path = write(tmp_path / "out.tif", (labels, spec), bigtiff=bigtiff)
    np.testing.assert_array_equal(tifffile.imread(path), labels)
    assert compression == "none" or max(tags(path)[325]) > 256


@pytest.mark.parametrize(
    ("n_colors", "bits"), [(1, 8), (7, 8), (256, 8), (300, 16), (65_535, 16), (1, 1), (2, 1), (3, 2), (4, 2), (5, 4), (16, 4)]
)
def test_the_color_map_is_the_palette_in_16_bits(n_colors, bits, tmp_path):
    labels = random_labels(40, 40, n_colors)
    spec = spec_of(labels, n_colors, bits=bits)
    path = write(tmp_path / "out.tif", (labels, spec))
    color_map = np.array(tags(path)[320]).reshape(3, 2**bits)
    np.testing.assert_array_equal(color_map[:, :n_colors], spec.palette.T.astype(int) * 257)
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
    labels, spec = image_of(kind, n_levels=3)
    path = write(tmp_path / "out.tif", (labels, spec))
    if spec.form != "rgb":
        assert [found.get(42113) for found in ifds(path)] == [None if spec.nodata is None else str(spec.nodata)] * 3
    with opened(path) as image:
        masked = labels == spec.nodata if spec.nodata is not None else np.zeros(labels.shape, bool)
        np.testing.assert_array_equal(image.dataset_mask() == 0, masked)
        flags = {MaskFlags.nodata} if spec.form != "rgb" else {MaskFlags.per_dataset, MaskFlags.alpha}
        assert set(image.mask_flag_enums[0]) == (flags if spec.nodata is not None else {MaskFlags.all_valid})


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


def shown(labels, spec):
    """Colors in RGB: masked pixels are black, as are entries of a color map that are not used."""
    if spec.form == "labels":
        return labels[..., None].repeat(3, axis=2)
    return np.vstack([spec.palette, [[0, 0, 0]]]).astype(np.uint8)[labels]


@pytest.mark.parametrize("structure", get_args(Structure))
@pytest.mark.parametrize("compression", get_args(Compression))
@pytest.mark.parametrize("kind", KINDS)
def test_readers_see_what_was_written(kind, compression, structure, tmp_path):
    # OpenSlide's libtiff refuses uncompressed tiles that do not fill whole KiB, whoever wrote them
    labels, spec = image_of(kind, compression=compression, n_levels=3, tile=(64, 128))
    path = write(tmp_path / "out.tif", (labels, spec), structure=structure)
    samples = colors_of(labels, spec) if spec.form == "rgb" else labels
    deep, packed = spec.bits_per_sample == 16, spec.bits_per_sample < 8
    np.testing.assert_array_equal(tifffile.imread(path), samples)
    np.testing.assert_array_equal(with_rasterio(path), samples)
    if not (deep and spec.form == "palette") and not (packed and spec.form == "labels"):
        # Pillow knows no palettes of 16 bits, and stretches labels of 2 or 4 bits over 8
        np.testing.assert_array_equal(with_pillow(path), samples)
    if not deep and not (packed and spec.form == "labels"):
        # OpenSlide shows 8-bit colors; it and libvips stretch labels of less than 8 bits
        np.testing.assert_array_equal(with_openslide(path), shown(labels, spec))
    if compression != "zstd" and not (packed and spec.form == "labels"):  # the wheel of libvips is built without zstd
        pixels = with_pyvips(path)
        if deep and spec.form == "palette":
            np.testing.assert_array_equal(pixels, shown(labels, spec).astype(np.uint16) * 257)
        else:
            np.testing.assert_array_equal(pixels, shown(labels, spec) if spec.form == "palette" else samples)


def expected_levels(labels, spec):
    levels = [labels]
    while len(levels) < spec.n_levels:
        levels.append(reduce_labels(levels[-1], spec.resampling, spec.nodata))
    return levels


@pytest.mark.parametrize("resampling", get_args(Resampling))
@pytest.mark.parametrize("structure", get_args(Structure))
@pytest.mark.parametrize("kind", [kind for kind in KINDS if "rgb" not in kind])
def test_readers_see_the_levels(kind, structure, resampling, tmp_path):
    labels, spec = image_of(kind, 300, 217, n_levels=4, resampling=resampling)
    path = write(tmp_path / "out.tif", (labels, spec), structure=structure)
    levels = expected_levels(labels, spec)
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
    if not (spec.form == "palette" and spec.bits_per_sample == 16):
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
    labels, spec = image_of(kind, 1100, 1400, tile=(256, 256), n_levels=n_levels((1100, 1400), (256, 256)), metadata=geo)
    path = write(tmp_path / "out.tif", (labels, spec), structure="cog", bigtiff=bigtiff)
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
    for place, (labels, spec) in enumerate(images):
        np.testing.assert_array_equal(with_rasterio(f"GTIFF_DIR:{place + 1}:{path}"), labels)
        pixels = pyvips.Image.new_from_file(str(path), page=place).numpy()
        np.testing.assert_array_equal(pixels, shown(labels, spec))


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
    monkeypatch.setattr(LIMIT, size)
    classic = write(tmp_path / "classic.tif", image, structure=structure)
    monkeypatch.setattr(LIMIT, size - 1)
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
    monkeypatch.setattr(LIMIT, 1_000)
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
    spec = ImageSpec((1 << 16, 1 << 16), (1 << 15, 1 << 15), np.dtype(np.uint8), "labels", compression="lzw", n_levels=2)
    sizes = [2**30 - 1, 2**30 + 8, 2**30, 2**30 + 3, 77]  # four of the image, and the reduced one
    with pytest.raises(OutputError, match="cannot hold its 4,294,96"):
        write_tiff(tmp_path / "out.tif", HollowSpool(sizes), [spec], bigtiff="no")
    write_tiff(tmp_path / "out.tif", HollowSpool(sizes), [spec])
    assert version(tmp_path / "out.tif") == (b"II", 43)
    image, reduced = ifds(tmp_path / "out.tif")
    first = reduced[324][0] + 78
    assert image[324] == (first, first + 2**30, first + 2**31 + 8, first + 3 * 2**30 + 8)
    assert (image[325], reduced[325]) == (tuple(sizes[:4]), (77,))


@pytest.mark.parametrize(("total", "expected"), [(2**32 - 4096, 42), (2**32 - 16, 43), (2**32 + 100, 43)])
def test_the_choice_of_bigtiff_counts_the_ifds(total, expected, tmp_path):
    spec = ImageSpec((1 << 16, 1 << 16), (1 << 15, 1 << 15), np.dtype(np.uint8), "labels", compression="lzw")
    write_tiff(tmp_path / "out.tif", HollowSpool([2**30, 2**30, 2**30, total - 3 * 2**30]), [spec])
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


# --- The fingerprint in a file ---


@pytest.mark.parametrize("structure", get_args(Structure))
@pytest.mark.parametrize("fingerprint", ["0123abcd", None])
def test_the_fingerprint_of_a_file_stands_in_its_software(fingerprint, structure, tmp_path):
    images = [image_of("8 bits", n_levels=3), image_of("labels", n_levels=2)]
    path = write(tmp_path / "out.tif", *images, structure=structure, fingerprint=fingerprint)
    assert tags(path)[305] == f"streamgmm {__version__}" + (" fingerprint 0123abcd" if fingerprint else "")
    assert fingerprint_in(path) == fingerprint


@pytest.mark.parametrize("structure", get_args(Structure))
def test_a_file_that_is_not_whole_has_no_fingerprint(structure, tmp_path):
    path = write(tmp_path / "out.tif", image_of("8 bits", n_levels=3), structure=structure, fingerprint="0123abcd")
    data = path.read_bytes()
    for size in (len(data) - 2, len(data) // 2, 8, 0):
        path.write_bytes(data[:size])
        assert fingerprint_in(path) is None


def test_what_this_program_has_not_made_has_no_fingerprint(tmp_path):
    tifffile.imwrite(tmp_path / "other.tif", np.zeros((9, 9), np.uint8))
    (tmp_path / "text.tif").write_text("streamgmm 1.0 fingerprint 0123abcd", encoding="utf-8")
    for name in ("other.tif", "text.tif", "absent.tif", "."):
        assert fingerprint_in(tmp_path / name) is None
