"""Outputs are dithered as their pixels are, each by its place, whoever works on them; the report tells what is there."""

import json
from functools import partial

import numpy as np
import pytest
import tifffile

import streamgmm
from streamgmm.cli import main
from streamgmm.errors import OptionError
from streamgmm.jobs.batch.run import batch
from streamgmm.jobs.resources import Resources
from streamgmm.model.display import Display
from streamgmm.model.dither import BlendTable, Dithering, halved
from streamgmm.model.mixture import Mixture

from .. import naive
from ..images import PHOTO, posterized, smooth, write_tiff

apply, quantize = partial(streamgmm.apply, threads=1), partial(streamgmm.quantize, threads=1)

KINDS = ["ordered", "blue-noise"]
MASKED = np.ma.masked_less(smooth(90, 110), 60)
SOURCES = {
    "photo": tifffile.imread(PHOTO)[100:300, 60:280],
    "gray": smooth(90, 110, 1),
    "16 bits": smooth(90, 110, 3, np.uint16),
    "narrow": (smooth(90, 110, dtype=np.uint16) // 40) + np.uint16(300),
    "floats": smooth(90, 110).astype(np.float32) / 7 - 3,
    "five bands": smooth(70, 80, 5),
    "masked": MASKED,
    "masked floats": np.where(smooth(90, 110, 1, seed=1) < 100, np.nan, smooth(90, 110) / 255).astype(np.float32),
}


def written(path, level=0):
    """Labels of a level, and the colors in 8 bits."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[level]
        return page.asarray(), (page.colormap.T // 257).astype(np.uint8)


def display_of(report):
    mixture = Mixture.from_json(json.dumps(report.model))
    return Display.of(mixture, None, report.display_range or "type")


def valid_of(pixels):
    return ~(np.ma.getmaskarray(pixels) | np.isnan(np.ma.getdata(pixels).astype(float))).any(axis=2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SOURCES)
def test_an_output_has_the_dithered_labels_of_its_pixels(name, kind, tmp_path):
    pixels = SOURCES[name]
    options = {"n_components": 7, "preset": "picture"}
    report = quantize(pixels, tmp_path / "out.tif", dither=kind, palette_out=tmp_path / "out.json", **options)
    (labels, colors), valid = written(tmp_path / "out.tif"), valid_of(pixels)
    display, data = display_of(report), np.ma.getdata(pixels)
    space, dtype = (
        Mixture.from_json(json.dumps(report.model)).space,
        np.dtype(np.float32) if data.dtype.kind == "f" else data.dtype,
    )
    dithering = Dithering(colors[: report.n_components], display, kind)
    expected = dithering.labels(dithering.blends(space.forward(data[valid], dtype)), 0, 0, valid)
    np.testing.assert_array_equal(labels[valid], expected)
    assert (labels[~valid] == 7).all()
    assert (report.dither, report.nodata) == (kind, None if valid.all() else 7)
    low, high = report.display_range or (0, np.iinfo(data.dtype).max)
    bands = [0, 1, 2] if data.shape[2] >= 3 else [0, 0, 0]
    error = np.mean((naive.shown(data[:, :, bands][valid], low, high) - colors[expected].astype(float)) ** 2)
    assert report.psnr_db == pytest.approx(10 * np.log10(255**2 / error), abs=1e-3)
    told = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["colors"]
    assert [color["pixels"] for color in told] == np.bincount(expected, minlength=7).tolist()
    plain = quantize(pixels, tmp_path / "plain.tif", **options)
    assert (plain.dither, plain.model) == ("none", report.model)


@pytest.mark.parametrize("name", ["photo", "16 bits", "masked", "masked floats"])
@pytest.mark.parametrize("options", [{}, {"method": "stream"}, {"output": "rgb", "palette": "centroids"}], ids=str)
def test_bytes_are_the_same_for_any_chunk_threads_memory_and_layout(options, name, tmp_path, monkeypatch):
    """Also where blends are not kept for each color, for want of memory."""
    monkeypatch.setattr("streamgmm.jobs.passes.blocks.BLOCK_PIXELS", 1 << 11)
    options = {"n_components": 6, "dither": "blue-noise", "tile_size": 32, "pyramid": True, "max_iter": 3, **options}
    quantize(SOURCES[name], tmp_path / "1.tif", **options)
    streamgmm.quantize(SOURCES[name], tmp_path / "2.tif", threads=3, chunk_size="100px", **options)
    with monkeypatch.context() as patch:
        patch.setattr("streamgmm.jobs.tile_tasks.PART_BYTES", 5000)
        patch.setattr(Resources, "holds_lookup", lambda self, size=0: False)
        streamgmm.quantize(SOURCES[name], tmp_path / "3.tif", threads=2, chunk_size="1MiB", **options)
    assert len({(tmp_path / f"{number}.tif").read_bytes() for number in (1, 2, 3)}) == 1


@pytest.mark.parametrize("layout", [{"rowsperstrip": 7}, {"tile": (48, 32)}, {}], ids=str)
def test_how_a_file_is_laid_out_never_shows(layout, tmp_path):
    options = {"n_components": 6, "dither": "ordered", "tile_size": 32}
    quantize(SOURCES["photo"], tmp_path / "1.tif", **options)
    quantize(write_tiff(tmp_path / "in.tif", SOURCES["photo"], **layout), tmp_path / "2.tif", **options)
    np.testing.assert_array_equal(written(tmp_path / "1.tif")[0], written(tmp_path / "2.tif")[0])


def longest_run(colors):
    """The most columns in which no row has more than one color."""
    changes = (np.diff(colors, axis=1) != 0).any(axis=(0, 2))
    return np.diff(np.flatnonzero(np.concatenate([[True], changes, [True]]))).max()


@pytest.mark.parametrize("kind", KINDS)
def test_a_ramp_has_no_bands_and_no_seams(kind, tmp_path):
    """Local means follow a ramp of two colors, no color has a place for itself, and at edges of tiles all is as elsewhere."""
    x, y = np.linspace(0, 255, 512), np.linspace(30, 220, 256)
    ramp = np.stack(np.broadcast_arrays(x, y[:, None], 255 - x), axis=-1).astype(np.uint8)
    for number, dither in enumerate(("none", kind)):
        quantize(ramp, tmp_path / f"{number}.tif", dither=dither, tile_size=64, method="exact")
    [plain, dithered] = [colors[labels].astype(float) for labels, colors in (written(tmp_path / f"{n}.tif") for n in (0, 1))]
    means, expected, before = (each.reshape(16, 16, 32, 16, 3).mean(axis=(1, 3)) for each in (dithered, ramp, plain))
    inside = np.s_[3:-3, 4:-4]  # colors beyond those of the palette are no means of these
    off, jumps = np.abs(means - expected)[inside], [np.abs(np.diff(each, axis=1))[inside] for each in (means, expected, before)]
    assert off.mean() < 0.25 * np.abs(before - expected)[inside].mean()
    assert jumps[0].max() < 2.5 * jumps[1].max() < 0.5 * jumps[2].max()
    errors = np.abs(dithered - ramp).mean(axis=(0, 2))
    edges = np.arange(64, 448, 64)
    beside = np.concatenate([errors[edges - 1], errors[edges]]).mean()
    assert beside == pytest.approx(errors[64:448].mean(), rel=0.1)
    runs, bands = (longest_run(each[120:136, 64:448]) for each in (dithered, plain))
    assert runs < 20 < bands


@pytest.mark.parametrize("kind", KINDS)
def test_paper_stays_flat(kind, tmp_path):
    """Areas of a color with a level of noise, beside those of a ramp that needs every color."""
    rng = np.random.default_rng(0)
    pixels = np.linspace(0, 240, 200).astype(np.uint8)[None, :, None].repeat(150, axis=0).repeat(3, axis=2)
    pixels[:70] = 240 + rng.integers(-1, 2, (70, 200, 1))
    quantize(pixels, tmp_path / "out.tif", n_components=8, dither=kind)
    labels, colors = written(tmp_path / "out.tif")
    assert len(np.unique(labels[:70])) == 1
    assert len(np.unique(colors[labels[70:]].reshape(-1, 3), axis=0)) == 8


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_few_colors_stay_what_they_are(dtype, tmp_path):
    pixels = posterized(60, 70, 12, dtype=dtype)
    report = quantize(pixels, tmp_path / "out.tif", dither="blue-noise", output="rgb")
    assert (report.method, report.psnr_db) == ("lossless", None)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif") * dtype(np.iinfo(dtype).max // 255), pixels)


@pytest.mark.parametrize("lookup_pixels", [1, 1 << 30])
@pytest.mark.parametrize("name", ["photo", "16 bits", "masked"])
def test_a_model_gives_the_bytes_of_quantize(name, lookup_pixels, tmp_path, monkeypatch):
    monkeypatch.setattr("streamgmm.jobs.apply.LOOKUP_PIXELS", lookup_pixels)
    pixels = SOURCES[name]
    mixture, _ = streamgmm.fit_image(pixels, n_components=6, threads=1)
    for palette in ("means", "centroids"):
        options = {"palette": palette, "dither": "blue-noise", "overwrite": True, "confidence": tmp_path / "sure.tif"}
        expected = quantize(pixels, tmp_path / "1.tif", n_components=6, **options)
        sure = (tmp_path / "sure.tif").read_bytes()
        report = apply(mixture, pixels, tmp_path / "2.tif", **options)
        assert (tmp_path / "1.tif").read_bytes() == (tmp_path / "2.tif").read_bytes()
        assert (report.psnr_db, report.colors_used) == (pytest.approx(expected.psnr_db, abs=1e-6), expected.colors_used)
        apply(mixture, pixels, tmp_path / "plain.tif", **{**options, "dither": "none"})
        assert (tmp_path / "sure.tif").read_bytes() == sure
        np.testing.assert_array_equal(written(tmp_path / "1.tif")[1], written(tmp_path / "plain.tif")[1])


@pytest.mark.parametrize("name", ["photo", "gray", "16 bits", "masked"])
def test_a_palette_that_is_given_is_dithered(name, tmp_path):
    """Also where it has one color twice, of which the first is taken, in the order of its file."""
    pixels, colors = SOURCES[name], np.array([[200] * 3, [20] * 3, [120] * 3, [20] * 3, [255] * 3], np.uint8)
    (tmp_path / "a.json").write_text(json.dumps(colors.tolist()), encoding="utf-8")
    report = quantize(pixels, tmp_path / "out.tif", palette_in=tmp_path / "a.json", dither="ordered")
    (labels, table), valid, data = written(tmp_path / "out.tif"), valid_of(pixels), np.ma.getdata(pixels)
    np.testing.assert_array_equal(table[:5], colors)
    dithering = Dithering(colors, display_of(report), "ordered")
    np.testing.assert_array_equal(labels[valid], dithering.labels(dithering.blends(data[valid]), 0, 0, valid))
    assert (labels[~valid] == 5).all()
    assert 3 not in labels
    assert report.colors_used == len(np.unique(labels[valid]))


@pytest.mark.parametrize("form", ["palette", "rgb"])
@pytest.mark.parametrize("name", ["photo", "masked"])
def test_levels_are_means_dithered_in_their_own_places(name, form, tmp_path):
    options = {"n_components": 6, "dither": "ordered", "pyramid": True, "tile_size": 16}
    report = quantize(SOURCES[name], tmp_path / "out.tif", **options)
    labels, table = written(tmp_path / "out.tif")
    dithering = Dithering(table[:6], display_of(report), "ordered")
    if form == "rgb":
        quantize(SOURCES[name], tmp_path / "rgb.tif", output="rgb", **options)
    for level in range(1, 4):
        means, there = halved(labels, table[:6], 6)
        expected = dithering.level_labels(dithering.level_blends(means), 0, 0)
        labels, _ = written(tmp_path / "out.tif", level)
        np.testing.assert_array_equal(labels, np.where(there, expected, 6))
        if form == "rgb":
            colors = tifffile.imread(tmp_path / "rgb.tif", key=level)
            alpha = 255 * there.astype(np.uint8)
            np.testing.assert_array_equal(colors[..., :3], np.where(there[..., None], table[labels], 0))
            assert name == "photo" or (colors[..., 3] == alpha).all()


def test_each_page_of_a_stack_has_its_own_places(tmp_path):
    with tifffile.TiffWriter(tmp_path / "in.tif") as writer:
        for _ in range(2):
            writer.write(smooth(60, 70), photometric="rgb", metadata=None)
    quantize(tmp_path / "in.tif", tmp_path / "out.tif", all_pages=True, dither="ordered", n_components=5)
    np.testing.assert_array_equal(*(written(tmp_path / "out.tif", page)[0] for page in range(2)))


def test_where_all_is_masked_nothing_is_dithered(tmp_path):
    report = quantize(np.ma.masked_all((20, 30, 3), np.uint8), tmp_path / "out.tif", dither="ordered")
    assert (report.dither, report.method) == ("none", "none")
    mixture, _ = streamgmm.fit_image(SOURCES["photo"], n_components=3, threads=1)
    apply(mixture, np.ma.masked_all((20, 30, 3), np.uint8), tmp_path / "2.tif", dither="ordered", pyramid=True, tile_size=16)
    assert (written(tmp_path / "2.tif")[0] == 3).all()


def test_blends_are_kept_for_each_color_where_they_fit(tmp_path, monkeypatch):
    asked, found = [], BlendTable.__call__
    monkeypatch.setattr(BlendTable, "__call__", lambda self, pixels: asked.append(len(pixels)) or found(self, pixels))
    quantize(SOURCES["photo"], tmp_path / "1.tif", dither="ordered", n_components=3)
    assert sum(asked) == 200 * 220 + 2  # to compile
    quantize(SOURCES["16 bits"], tmp_path / "2.tif", dither="ordered", n_components=3)
    monkeypatch.setattr(Resources, "holds_lookup", lambda self, size: size < 8 << 24)
    quantize(SOURCES["photo"], tmp_path / "3.tif", dither="ordered", n_components=3)
    assert sum(asked) == 200 * 220 + 4
    assert (tmp_path / "1.tif").read_bytes() == (tmp_path / "3.tif").read_bytes()


REFUSED = {
    "output labels": ({"output": "labels"}, "dither is for colors, and output labels has none: labels are classes; choose one"),
    "levels": ({"resampling": "nearest"}, "dither and resampling exclude each other: its levels are means, dithered again"),
    "values": ({"keep_values": True}, "keep-values and dither exclude each other: labels are the values; choose one"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_classes_are_not_dithered(name, tmp_path):
    options, message = REFUSED[name]
    with pytest.raises(OptionError, match=message):
        quantize(smooth(20, 30, 1), tmp_path / "out.tif", dither="ordered", **options)
    with pytest.raises(OptionError, match=message):
        batch([], out_dir=tmp_path / "out", dither="ordered", **options)
    assert not list(tmp_path.iterdir())


def test_too_many_colors_are_not_dithered(tmp_path, capsys):
    colors = np.stack(np.meshgrid(*[np.arange(0, 256, 15)] * 3), axis=-1).reshape(-1, 3)[:4097]
    (tmp_path / "a.json").write_text(json.dumps(colors.tolist()), encoding="utf-8")
    write_tiff(tmp_path / "in.tif", smooth(20, 30))
    arguments = ["--palette-in", str(tmp_path / "a.json"), "--dither", "ordered", "-q"]
    with pytest.raises(SystemExit) as left:
        main(["quantize", str(tmp_path / "in.tif"), str(tmp_path / "out.tif"), *arguments])
    assert (left.value.code, (tmp_path / "out.tif").exists()) == (2, False)
    assert "dither is ordered; 4,097 colors are too many for it, choose 4,096 or less" in capsys.readouterr().err
    with pytest.raises(OptionError, match="5,000 colors are too many"):
        quantize(tmp_path / "in.tif", tmp_path / "out.tif", n_components=5000, dither="ordered")
