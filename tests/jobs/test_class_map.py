"""Class maps keep their codes, their colors and what is masked; what is none is refused."""

import json
from contextlib import closing
from functools import partial

import numpy as np
import pytest
import rasterio
import tifffile

import streamgmm
from streamgmm.errors import OptionError
from streamgmm.image.open import open_image

from ..images import write_tiff

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

quantize = partial(streamgmm.quantize, threads=1, keep_values=True)

CODES = [11, 21, 30, 95, 100, 210]


def class_map(dtype=np.uint8, codes=CODES, seed=0):
    """Patches of classes, the last of which is rare."""
    rng = np.random.default_rng(seed)
    patches = np.array(codes)[rng.integers(0, len(codes) - 1, (12, 15))].astype(dtype)
    values = np.kron(patches, np.ones((10, 10), dtype))
    values[5, 7] = codes[-1]
    return values


def read_map(path):
    """What GDAL reads of a class map: its codes, where they are, and their colors."""
    with rasterio.open(path) as file:
        return file.read(1), file.dataset_mask() != 0, file.colormap(1), file.nodata


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f4"])
@pytest.mark.parametrize("of_file", [True, False])
def test_labels_are_the_values_whatever_their_type(dtype, of_file, tmp_path):
    codes = [0, 5, 11, 42, 100, 127]
    values = class_map(dtype, codes)
    source = values
    if of_file:
        tifffile.imwrite(source := tmp_path / "in.tif", values, photometric="minisblack", metadata=None)
    report = quantize(source, tmp_path / "out.tif")
    found, shown, _, nodata = read_map(tmp_path / "out.tif")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, values)
    assert shown.all()
    assert (nodata, report.nodata, report.method, report.n_components, report.psnr_db) == (None, None, "lossless", 6, None)


def test_codes_above_255_take_16_bits(tmp_path):
    values = class_map(np.int16, [111, 112, 311, 512, 523])
    quantize(values, tmp_path / "out.tif", pyramid=True)
    found, *_ = read_map(tmp_path / "out.tif")
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize(("value", "kept"), [(0, 0), (255, 255), (-9999, 0)])
def test_masked_pixels_keep_their_value_where_it_may_be_a_label(value, kept, tmp_path):
    values = class_map(np.int16)
    values[:30, :40] = value
    tags = [(42113, 2, None, str(value))]
    write_tiff(path := tmp_path / "in.tif", values[..., None], photometric="minisblack", extratags=tags)
    report = quantize(path, tmp_path / "out.tif")
    found, shown, _, nodata = read_map(tmp_path / "out.tif")
    assert (report.nodata, nodata) == (kept, kept)
    np.testing.assert_array_equal(shown, values != value)
    np.testing.assert_array_equal(found, np.where(values == value, kept, values))


def color_table(n=256, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (3, n)).astype(np.uint16) * 257


@pytest.mark.parametrize("photometric", ["palette", "minisblack"])
def test_a_map_with_colors_keeps_both(photometric, tmp_path):
    """GDAL shows the colors also of a map that says it is gray."""
    values, table = class_map(), color_table()
    table[:, CODES[1]] = table[:, CODES[0]]  # two classes of one color are two classes
    if photometric == "palette":
        tifffile.imwrite(path := tmp_path / "in.tif", values, photometric="palette", colormap=table, metadata=None)
    else:
        tags = [(320, 3, table.size, table.ravel().tolist())]
        tifffile.imwrite(path := tmp_path / "in.tif", values, photometric="minisblack", extratags=tags, metadata=None)
    report = quantize(path, tmp_path / "out.tif", palette_out=tmp_path / "palette.json")
    found, _, colors, _ = read_map(tmp_path / "out.tif")
    np.testing.assert_array_equal(found, values)
    assert {code: colors[code][:3] for code in CODES} == {code: tuple(table[:, code] // 257) for code in CODES}
    assert report.dropped == []
    told = json.loads((tmp_path / "palette.json").read_text(encoding="utf-8"))["colors"]
    assert {each["index"]: (each["rgb"], each["pixels"]) for each in told} == {
        code: ((table[:, code] // 257).tolist(), int((values == code).sum())) for code in CODES
    }


def test_a_packed_map_keeps_its_codes(tmp_path):
    values = class_map(np.uint8, [0, 3, 7, 12, 15])
    with rasterio.open(
        tmp_path / "in.tif", "w", driver="GTiff", width=150, height=120, count=1, dtype="uint8", nbits=4
    ) as file:
        file.write(values, 1)
    quantize(tmp_path / "in.tif", tmp_path / "out.tif", pack=True)
    found, *_ = read_map(tmp_path / "out.tif")
    np.testing.assert_array_equal(found, values)
    with tifffile.TiffFile(tmp_path / "out.tif") as tiff:
        assert tiff.pages.first.bitspersample == 4


def test_256_values_are_a_map_and_257_are_none(tmp_path):
    values = np.arange(256 * 4, dtype=np.uint16).reshape(32, 32) // 4 + 100
    quantize(values, tmp_path / "out.tif")
    np.testing.assert_array_equal(read_map(tmp_path / "out.tif")[0], values)
    values[0, 0] = 9999
    with pytest.raises(OptionError, match=r"^array: is no class map, of at most 256 values .* leave --keep-values out$"):
        quantize(values, tmp_path / "none.tif")
    assert not (tmp_path / "none.tif").exists()


@pytest.mark.parametrize(
    "values",
    [np.array([[0.5, 1]], np.float32), np.array([[-1, 1]], np.int16), np.array([[70_000, 1]], np.int32)],
    ids=["fraction", "negative", "too large"],
)
def test_values_that_no_label_can_be_are_refused(values, tmp_path):
    with pytest.raises(OptionError, match=r"is no class map, of at most 256 values that are whole numbers from 0 to 65,535"):
        quantize(values, tmp_path / "out.tif")


def test_of_several_bands_one_is_to_be_chosen(tmp_path):
    values = np.dstack([class_map(), class_map(seed=1)])
    with pytest.raises(OptionError, match=r"^array: 2 bands; --keep-values is for class maps, choose one with --bands$"):
        quantize(values, tmp_path / "out.tif")
    quantize(values, tmp_path / "out.tif", bands=(2,))
    np.testing.assert_array_equal(read_map(tmp_path / "out.tif")[0], values[..., 1])


def test_rgb_has_no_values():
    with pytest.raises(OptionError, match="keep-values is for palettes and labels"):
        quantize(class_map(), "out.tif", output="rgb")


@pytest.mark.parametrize("chunk_size", [1, "64MiB"])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_bytes_are_the_same_for_any_chunk_and_threads(chunk_size, threads, tmp_path):
    values = class_map(np.int16, [3, 500, 70])
    quantize(values, tmp_path / "expected.tif")
    quantize(values, tmp_path / "out.tif", chunk_size=chunk_size, threads=threads)
    assert (tmp_path / "out.tif").read_bytes() == (tmp_path / "expected.tif").read_bytes()


def test_a_palette_may_be_read_as_its_indices(tmp_path):
    tifffile.imwrite(path := tmp_path / "in.tif", class_map(), photometric="palette", colormap=color_table(), metadata=None)
    with closing(open_image(path, indices=True)) as image:
        assert image.shape == (120, 150, 1)
    with closing(open_image(path)) as image:
        assert image.shape == (120, 150, 3)
