"""Every pixel gets its label in every output, at every level, and all files appear together."""

from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile

import streamgmm
from streamgmm.errors import QualityError
from streamgmm.image.array import ArrayImage
from streamgmm.image.output.codec import decode_tile
from streamgmm.image.output.pyramid import reduce_labels
from streamgmm.image.tiles import TileGrid, Window
from streamgmm.jobs.labeling import LabelingOptions, LabelTiles, Layer
from streamgmm.jobs.passes.blocks import Block
from streamgmm.jobs.specs import confidence_spec, image_spec
from streamgmm.model.display import Display
from streamgmm.model.labels import classify, confidence
from streamgmm.model.palette import palette_of
from streamgmm.model.space import BY_TYPE
from streamgmm.options import OutputOptions

from .. import naive
from ..conftest import parts, random_mixture
from ..images import PHOTO, colors_of, psnr, smooth

apply, quantize = partial(streamgmm.apply, threads=1), partial(streamgmm.quantize, threads=1)

MIXTURE = random_mixture(5, 3)
PIXELS = smooth(90, 110)
MASK = np.zeros((90, 110), bool)
MASK[20:70, 30:100] = True
MASKED = np.ma.array(PIXELS, mask=MASK[:, :, None].repeat(3, axis=2))


def test_files_beside_an_output_are_named_after_it():
    assert LabelingOptions().paths("out.tif") == ([Path("out.tif")], [])
    options = LabelingOptions(confidence="sure.tif", palette_out=Path("x.gpl"))
    assert options.paths(Path("out.tif")) == ([Path("out.tif"), Path("sure.tif")], [Path("x.gpl")])


# --- Tiles ---


@pytest.mark.parametrize("masked", [False, True])
def test_tiles_of_blocks_are_the_labels_of_their_pixels(masked):
    """Decoded and put together, they are the image of labels, and that of how sure these are."""
    image, options = ArrayImage(MASKED if masked else PIXELS), OutputOptions(tile_size=32)
    specs = (
        image_spec(image, palette_of(MIXTURE), len(MIXTURE.means) if masked else None, options),
        confidence_spec(image, masked, options),
    )
    labelers = partial(classify, mixture=MIXTURE), partial(confidence, mixture=MIXTURE)
    layers = tuple(Layer(label, spec, 100) for label, spec in zip(labelers, specs, strict=True))
    task = LabelTiles(BY_TYPE, np.dtype(np.uint8), layers, Display.of(MIXTURE))
    found, error = np.full((2, 90, 110), 99, np.uint8), 0
    for number, window in enumerate(TileGrid(Window(0, 0, 90, 110), (64, 64))):
        part = task(Block(image, window, 0, number))
        assert part.n_valid == window.height * window.width - (MASK[window.slices].sum() if masked else 0)
        error += part.value.distortion.squared_error
        for output, tiles in part.value.tiles.items():
            for index, data in tiles:
                place = specs[output].grids[0][index - 100]
                found[output][place.slices] = decode_tile(data, specs[output])[: place.height, : place.width]
    valid = ~MASK if masked else np.ones((90, 110), bool)
    x, model = colors_of(PIXELS[valid]), parts(MIXTURE)
    labels, sure = (layer[valid] for layer in found)
    assert (labels != naive.labels(x, model)).mean() < 1e-3
    np.testing.assert_allclose(sure, 255 * naive.responsibilities(x, model).max(axis=1), atol=1.01)
    assert (found[0][~valid] == 5).all()
    assert (found[1][~valid] == 0).all()
    expected, _ = naive.tally(PIXELS[valid], labels, palette_of(MIXTURE).astype(float))
    assert error == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("resampling", ["mode", "nearest"])
@pytest.mark.parametrize("pixels", [PIXELS, MASKED], ids=["whole", "masked"])
@pytest.mark.parametrize("tile_size", [16, 32])
def test_each_level_is_made_of_the_one_below(tile_size, pixels, resampling, tmp_path):
    report = apply(MIXTURE, pixels, path := tmp_path / "out.tif", tile_size=tile_size, pyramid=True, resampling=resampling)
    with tifffile.TiffFile(path) as tiff:
        levels = [level.asarray() for level in tiff.series[0].levels]
    assert len(levels) == {16: 4, 32: 3}[tile_size]
    for below, level in pairwise(levels):
        np.testing.assert_array_equal(level, reduce_labels(below, resampling, report.nodata))


@pytest.fixture(scope="module")
def placed(tmp_path_factory):
    """A photograph with a place in the world and a masked corner, and how sure its labels are."""
    folder = tmp_path_factory.mktemp("placed")
    pixels = np.moveaxis(tifffile.imread(PHOTO)[:200, :300], -1, 0).copy()
    pixels[:, :20, :30] = 0
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(2, 0, 5e5, 0, -2, 4e6), "nodata": 0}
    profile = {"width": 300, "height": 200, "count": 3, "dtype": "uint8", **place}
    with rasterio.open(folder / "in.tif", "w", driver="GTiff", **profile) as image:
        image.write(pixels)
    return folder, quantize(folder / "in.tif", folder / "out.tif", n_components=5, confidence=folder / "sure.tif")


def test_the_confidence_is_the_largest_responsibility_at_the_same_place(placed):
    folder, report = placed
    weights, means, covariances = (np.array(report.model[name]) for name in ("weights", "means", "covariances"))
    with rasterio.open(folder / "in.tif") as source, rasterio.open(folder / "sure.tif") as sure:
        assert (sure.crs, sure.transform, sure.bounds) == (source.crs, source.transform, source.bounds)
        assert (sure.dtypes, sure.nodata, sure.profile["tiled"]) == (("uint8",), 0, True)
        shown = source.dataset_mask() > 0
        np.testing.assert_array_equal(sure.dataset_mask() > 0, shown)
        colors, confidence = source.read()[:, shown].T / 255, sure.read(1)[shown]
    densities = []
    for weight, mean, covariance in zip(weights, means, covariances, strict=True):
        d = colors - mean
        distance = np.einsum("ni,ij,nj->n", d, np.linalg.inv(covariance), d)
        densities.append(weight * np.exp(-distance / 2) / np.sqrt(np.linalg.det(2 * np.pi * covariance)))
    expected = 255 * np.max(densities, axis=0) / np.sum(densities, axis=0)
    np.testing.assert_allclose(confidence, expected, atol=0.51)


# --- Files ---


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("strict", [False, True])
def test_colors_that_are_not_as_near_as_asked_are_said_to_be(strict, folder, caplog):
    reached = apply(MIXTURE, PIXELS, "out.tif").psnr_db
    job = partial(apply, MIXTURE, PIXELS, "out.tif", overwrite=True, strict=strict)
    job(min_psnr=reached - 0.01)
    assert caplog.messages == []
    before, complaint = Path("out.tif").read_bytes(), f"array: PSNR is {reached:.2f} dB, less than 99; ask for more components"
    if strict:
        with pytest.raises(QualityError, match=complaint):
            job(min_psnr=99, output="labels")
        assert Path("out.tif").read_bytes() == before
    else:
        job(min_psnr=99, output="labels")
        assert caplog.messages == [complaint]
        assert Path("out.tif").read_bytes() != before


@pytest.mark.parametrize("pixels", [PIXELS, MASKED], ids=["whole", "masked"])
def test_the_psnr_is_that_of_the_colors_that_are_written(pixels, folder):
    report = apply(MIXTURE, pixels, "out.tif", output="rgb")
    valid = ~np.ma.getmaskarray(pixels).any(axis=2)
    shown = tifffile.imread("out.tif")[valid][:, :3]
    assert report.psnr_db == pytest.approx(psnr(PIXELS[valid], shown / 255), abs=1e-4)
    assert report.colors_used == len(np.unique(shown, axis=0))
