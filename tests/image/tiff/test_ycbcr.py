"""YCbCr gives back the RGB it was made from, however coarse its chroma, and as libtiff and JPEG show it."""

import zlib
from functools import partial

import numpy as np
import pytest
import tifffile

from streamgmm.errors import UnsupportedImageError
from streamgmm.image.open import open_image
from streamgmm.image.tiff.ycbcr import FromYCbCr

from ...images import pixels_of, random_samples, smooth, with_tags
from ..gdal import read_gdal, write_gdal

HEIGHT, WIDTH = 37, 43
LAYOUTS = {"tiled": {"tile": (16, 32)}, "striped": {"rowsperstrip": 16}}

write = partial(tifffile.imwrite, metadata=None)
BT601, BT709 = (0.299, 0.587, 0.114), (0.2126, 0.7152, 0.0722)
FULL_RANGE, VIDEO_RANGE = (0, 255, 128, 255, 128, 255), (16, 235, 128, 240, 128, 240)
SUBSAMPLINGS = [(1, 1), (2, 1), (1, 2), (2, 2), (2, 4), (4, 1), (4, 2), (4, 4)]


def blocks(across, down):
    """RGB, none of it far out, the same within each block that shares its chroma."""
    rows, columns = -(-HEIGHT // down), -(-WIDTH // across)
    colors = np.random.default_rng([across, down]).integers(0, 256, (rows, columns, 3))
    return colors.repeat(down, axis=0).repeat(across, axis=1)[:HEIGHT, :WIDTH]


def to_ycbcr(rgb, luma, reference):
    """RGB as codes of Y, Cb and Cr, after TIFF 6.0, section 21."""
    y = rgb @ np.array(luma)
    cb, cr = (rgb[..., 2] - y) / (2 - 2 * luma[2]), (rgb[..., 0] - y) / (2 - 2 * luma[0])
    codes = [
        plane / coding * (white - black) + black
        for plane, coding, black, white in zip((y, cb, cr), (255, 127, 127), reference[::2], reference[1::2], strict=True)
    ]
    return np.rint(np.clip(np.stack(codes, axis=-1), 0, 255)).astype(np.uint8)


def ycbcr_segment(codes, across, down, planar):
    """The bytes of a tile or strip: its planes, or its data units, row by row."""
    rows, columns, luma = -(-codes.shape[0] // down), -(-codes.shape[1] // across), codes[..., 0]
    codes = np.pad(codes, ((0, rows * down - len(codes)), (0, columns * across - codes.shape[1]), (0, 0)), "edge")
    chroma = codes[::down, ::across, 1:]
    if planar:
        return [luma.tobytes(), chroma[..., 0].tobytes(), chroma[..., 1].tobytes()]
    units = bytearray()
    for row in range(rows):
        for column in range(columns):
            corner = np.s_[row * down : (row + 1) * down, column * across : (column + 1) * across, 0]
            units += codes[corner].tobytes() + chroma[row, column].tobytes()
    return [bytes(units)]


def write_ycbcr(path, codes, subsampling, planar=False, tiled=False, luma=None, reference=None):
    """Write YCbCr with any subsampling; tifffile writes only (1, 1) where there is no JPEG."""
    across, down = subsampling
    if tiled:
        corners = [(y, x) for y in range(0, HEIGHT, 16) for x in range(0, WIDTH, 32)]
        padded = np.pad(codes, ((0, -HEIGHT % 16), (0, -WIDTH % 32), (0, 0)), "edge")
        parts, layout = [padded[y : y + 16, x : x + 32] for y, x in corners], {"tile": (16, 32)}
    else:
        parts, layout = [codes[y : y + 16] for y in range(0, HEIGHT, 16)], {"rowsperstrip": 16}
    by_part = [ycbcr_segment(part, across, down, planar) for part in parts]
    tags = [
        (code, 5, len(values), tuple(n for value in values for n in (round(value * 10_000), 10_000)))
        for code, values in ((529, luma), (532, reference))
        if values
    ]
    write(
        path,
        iter([zlib.compress(segment) for plane in zip(*by_part, strict=True) for segment in plane]),
        shape=(3, HEIGHT, WIDTH) if planar else (HEIGHT, WIDTH, 3),
        dtype=np.uint8,
        photometric="ycbcr",
        planarconfig="separate" if planar else "contig",
        compression="deflate",
        subsampling=(1, 1),
        extratags=tags,
        **layout,
    )
    return with_tags(path, {530: subsampling})


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize(("luma", "reference"), [(None, None), (BT709, None), (None, VIDEO_RANGE), (BT709, VIDEO_RANGE)])
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_ycbcr_gives_back_the_colors_it_was_made_from(subsampling, luma, reference, planar, tiled, tmp_path):
    rgb = blocks(*subsampling)
    codes = to_ycbcr(rgb, luma or BT601, reference or FULL_RANGE)
    path = write_ycbcr(tmp_path / "in.tif", codes, subsampling, planar, tiled, luma, reference)
    colors = pixels_of(path)
    assert colors.dtype == np.uint8
    np.testing.assert_allclose(colors.astype(int), rgb, atol=3)  # codes are rounded, and blue is 1.77 to 1.86 of Cb


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("reference", [FULL_RANGE, VIDEO_RANGE])
@pytest.mark.parametrize("subsampling", [known for known in SUBSAMPLINGS if known != (2, 4)])
def test_ycbcr_is_as_libtiff_shows_it(subsampling, reference, tiled, tmp_path):
    codes = to_ycbcr(blocks(2, 2), BT601, reference)
    path = write_ycbcr(tmp_path / "in.tif", codes, subsampling, False, tiled, BT601, reference)
    expected, _ = read_gdal(path)
    columns = slice(32 if tiled else WIDTH // subsampling[0] * subsampling[0])  # libtiff gets parts of blocks of 4 wrong
    np.testing.assert_allclose(pixels_of(path)[:, columns].astype(int), expected[:, columns, :3].astype(int), atol=3)


@pytest.mark.parametrize("tags", [{529: (0.299, 0.0, 0.114)}, {532: (0, 0, 128, 255, 128, 255)}, {529: None}])
def test_tags_that_make_no_sense_are_as_if_absent(tags, tmp_path):
    codes = to_ycbcr(blocks(2, 2), BT601, FULL_RANGE)
    luma, reference = tags.get(529, BT601), tags.get(532, FULL_RANGE)
    path = write_ycbcr(tmp_path / "in.tif", codes, (2, 2), luma=luma, reference=reference)
    np.testing.assert_array_equal(pixels_of(path), pixels_of(write_ycbcr(tmp_path / "plain.tif", codes, (2, 2))))


@pytest.mark.parametrize(("code", "value"), [(258, (16, 16, 16)), (317, 2)])
def test_coarse_chroma_of_a_rare_kind_is_refused(code, value, tmp_path):
    options = {"photometric": "ycbcr", "compression": "deflate", "subsampling": (1, 1), "predictor": code == 317}
    dtype = np.uint16 if code == 258 else np.uint8
    write(path := tmp_path / "in.tif", random_samples(HEIGHT, WIDTH, 3, dtype), **options)
    with_tags(path, {530: (2, 2)})
    with pytest.raises(UnsupportedImageError, match=r"in\.tif: of a kind that is not supported \(subsampled YCbCr with"):
        open_image(path)


def test_gray_stays_gray():
    codes = np.stack([np.arange(256), np.full(256, 128), np.full(256, 128)], axis=-1).astype(np.uint8)
    np.testing.assert_array_equal(FromYCbCr()(codes), np.arange(256)[:, None].repeat(3, axis=1))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (2, 2)])
def test_jpeg_of_ycbcr_is_as_tifffile_decodes_it(subsampling, layout, tmp_path):
    options = {"photometric": "rgb", "compression": "jpeg", "subsampling": subsampling}
    write(path := tmp_path / "in.tif", smooth(HEIGHT, WIDTH), **options, **LAYOUTS[layout])
    np.testing.assert_array_equal(colors := pixels_of(path), tifffile.imread(path))
    np.testing.assert_allclose(colors.astype(int), smooth(HEIGHT, WIDTH), atol=40)


@pytest.mark.parametrize("options", [{}, {"tiled": True, "blockxsize": 16, "blockysize": 32}])
@pytest.mark.parametrize(
    ("bands", "photometric", "interleave"),
    [(1, "minisblack", "pixel"), (3, "rgb", "band"), (3, "rgb", "pixel"), (3, "ycbcr", "pixel"), (2, "minisblack", "band")],
)
def test_jpeg_is_as_gdal_decodes_it(bands, photometric, interleave, options, tmp_path):
    path = write_gdal(
        tmp_path / "in.tif", smooth(48, 64, bands), compress="jpeg", photometric=photometric, interleave=interleave, **options
    )
    # GDAL and imagecodecs interpolate coarse chroma differently
    difference = np.abs(pixels_of(path).astype(int) - read_gdal(path)[0])
    assert difference.max() <= (10 if photometric == "ycbcr" else 1)
    assert difference.mean() < 1
