"""Each pixel gets the nearest color of a palette that is given, whatever wrote it; the palette is written as it is."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile
from PIL import GimpPaletteFile, Image

import streamgmm
from streamgmm.cli import main
from streamgmm.errors import OptionError, OutputError

from ..images import PHOTO, posterized, smooth, write_tiff

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

quantize = partial(streamgmm.quantize, threads=1)


def colors_of(n, seed=0):
    """Colors of which two are equal, and some are next to each other."""
    colors = np.random.default_rng(seed).integers(0, 256, (n, 3))
    colors[n // 2], colors[-1] = colors[1], (colors[0] + 1) % 256
    return colors


@pytest.fixture
def palette(tmp_path):
    """Colors, and a file of them."""
    (path := tmp_path / "colors.json").write_text(json.dumps(colors_of(40).tolist()), encoding="utf-8")
    return colors_of(40), path


def nearest(pixels, colors):
    """The first of the nearest colors, in whole numbers."""
    flat, best = pixels.reshape(-1, pixels.shape[-1]).astype(np.int64), []
    for some in np.array_split(flat, max(1, len(flat) * len(colors) // 2_000_000)):
        best.append(((some[:, None] - colors) ** 2).sum(axis=-1).argmin(axis=1))
    return np.concatenate(best).reshape(pixels.shape[:-1])


def written(path):
    """Labels, and the whole color map in 8 bits."""
    with tifffile.TiffFile(path) as tiff:
        return tiff.pages.first.asarray(), (tiff.pages.first.colormap.T // 257).astype(np.uint8)


def test_each_pixel_of_a_photo_gets_the_nearest_color(photo, palette, tmp_path):
    colors, path = palette
    report = quantize(PHOTO, tmp_path / "out.tif", palette_in=path)
    labels, table = written(tmp_path / "out.tif")
    np.testing.assert_array_equal(labels, nearest(photo, colors))
    np.testing.assert_array_equal(table[:40], colors)
    error = np.mean((photo - colors[labels].astype(float)) ** 2)
    assert report.psnr_db == pytest.approx(10 * np.log10(255**2 / error), abs=1e-4)
    assert (report.method, report.n_components, report.iterations, report.preset) == ("palette", 40, 0, None)
    assert report.colors_used == len(np.unique(labels)) < 40


@pytest.mark.parametrize("n_colors", [1, 2, 256, 257, 1000])
def test_ties_go_to_the_first_however_many_colors_there_are(n_colors, tmp_path):
    """Every color of a coarse grid, where half of the pixels lie between two."""
    colors = np.random.default_rng(1).permutation(np.stack(np.meshgrid(*[np.arange(0, 100, 10)] * 3), -1).reshape(-1, 3))[
        :n_colors
    ]
    pixels = np.random.default_rng(2).integers(0, 20, (60, 70, 3)).astype(np.uint8) * 5
    (tmp_path / "a.json").write_text(json.dumps(colors.tolist()), encoding="utf-8")
    quantize(pixels, tmp_path / "out.tif", palette_in=tmp_path / "a.json")
    labels, table = written(tmp_path / "out.tif")
    np.testing.assert_array_equal(labels, nearest(pixels, colors))
    np.testing.assert_array_equal(table[:n_colors], colors)
    assert labels.dtype == (np.uint8 if n_colors <= 256 else np.uint16)


def test_a_photo_in_16_bits_has_the_labels_of_that_in_8(photo, palette, tmp_path):
    quantize(photo.astype(np.uint16) * 257, tmp_path / "out.tif", palette_in=palette[1])
    np.testing.assert_array_equal(written(tmp_path / "out.tif")[0], nearest(photo, palette[0]))


def test_samples_of_16_bits_are_compared_as_they_are(palette, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 65_536, (90, 110, 3)).astype(np.uint16)
    quantize(pixels, tmp_path / "out.tif", palette_in=palette[1])
    np.testing.assert_array_equal(written(tmp_path / "out.tif")[0], nearest(pixels, palette[0] * 257))


def test_narrow_samples_of_16_bits_are_not_stretched(tmp_path):
    (tmp_path / "a.json").write_text("[[200, 200, 200], [0, 0, 0], [9, 0, 0]]", encoding="utf-8")
    report = quantize(smooth(20, 30, dtype=np.uint16) // 100, tmp_path / "out.tif", palette_in=tmp_path / "a.json")
    labels, table = written(tmp_path / "out.tif")
    assert (set(np.unique(labels)), report.display_range) == ({1}, None)
    np.testing.assert_array_equal(table[:3], [[200, 200, 200], [0, 0, 0], [9, 0, 0]])


def test_a_gray_image_takes_a_palette_of_grays(palette, tmp_path):
    grays = np.random.default_rng(0).integers(0, 256, (9, 1)).repeat(3, axis=1)
    (tmp_path / "a.json").write_text(json.dumps(grays.tolist()), encoding="utf-8")
    pixels = smooth(40, 50, 1)
    quantize(pixels, tmp_path / "out.tif", palette_in=tmp_path / "a.json")
    np.testing.assert_array_equal(written(tmp_path / "out.tif")[0], nearest(pixels, grays[:, :1]))
    refusal = r"is gray, and .*colors\.json is not; .* --bands 1,1,1"
    with pytest.raises(OptionError, match=refusal):
        quantize(pixels, tmp_path / "b.tif", palette_in=palette[1])
    quantize(pixels, tmp_path / "b.tif", palette_in=palette[1], bands=(1, 1, 1))
    np.testing.assert_array_equal(written(tmp_path / "b.tif")[0], nearest(pixels.repeat(3, axis=2), palette[0]))


@pytest.mark.parametrize(
    ("pixels", "line"),
    [
        (smooth(20, 30, 4), "4 bands; .* choose three with --bands"),
        (smooth(20, 30, 2), "2 bands; .* choose three with --bands"),
        (smooth(20, 30).astype(np.float32), "samples are floats, or wider than 16 bits; .*leave --palette-in out"),
        (smooth(20, 30).astype(np.int32), "samples are floats, or wider than 16 bits"),
    ],
)
def test_what_has_no_colors_of_8_or_16_bits_is_refused(pixels, line, palette, tmp_path):
    with pytest.raises(OptionError, match=line):
        quantize(pixels, tmp_path / "out.tif", palette_in=palette[1])
    assert not (tmp_path / "out.tif").exists()


def test_masked_pixels_get_the_label_behind_the_palette(photo, palette, tmp_path):
    masked = np.ma.array(photo.copy(), mask=np.zeros(photo.shape, bool))
    masked[:30, :40] = np.ma.masked
    report = quantize(masked, tmp_path / "out.tif", palette_in=palette[1])
    labels, _ = written(tmp_path / "out.tif")
    expected = nearest(photo, palette[0])
    expected[:30, :40] = 40
    np.testing.assert_array_equal(labels, expected)
    assert report.nodata == 40
    masked[:] = np.ma.masked
    report = quantize(masked, tmp_path / "all.tif", palette_in=palette[1])
    assert (written(tmp_path / "all.tif")[0] == 40).all()
    assert (report.colors_used, report.psnr_db) == (0, None)


@pytest.mark.parametrize("suffix", [".gpl", ".json", ".txt", ".tif"])
@pytest.mark.parametrize("masked", [False, True])
def test_what_is_written_is_read_again_with_the_same_labels(suffix, masked, photo, tmp_path):
    pixels = np.ma.array(photo[:100, :120].copy(), mask=np.zeros((100, 120, 3), bool))
    pixels[:5, :5] = np.ma.masked if masked else 0
    beside = {} if suffix == ".tif" else {"palette_out": tmp_path / f"out{suffix}"}
    quantize(pixels, tmp_path / "out.tif", n_components=20, **beside)
    colors = written(tmp_path / "out.tif")[1][:20]
    given = tmp_path / f"out{suffix}"
    again = {} if suffix == ".tif" else {"palette_out": tmp_path / f"again{suffix}"}
    quantize(pixels, tmp_path / "again.tif", palette_in=given, **again)
    labels, table = written(tmp_path / "again.tif")
    np.testing.assert_array_equal(table[:20], colors)
    valid = ~np.ma.getmaskarray(pixels)[:, :, 0]
    np.testing.assert_array_equal(labels[valid], nearest(pixels.data[valid], colors))
    quantize(pixels, tmp_path / "third.tif", palette_in=tmp_path / f"again{suffix}")
    assert (tmp_path / "third.tif").read_bytes() == (tmp_path / "again.tif").read_bytes()


def test_readers_show_the_palette_that_was_given(palette, tmp_path):
    quantize(PHOTO, tmp_path / "out.tif", palette_in=palette[1], palette_out=tmp_path / "out.gpl")
    with rasterio.open(tmp_path / "out.tif") as file:
        assert [file.colormap(1)[label][:3] for label in range(40)] == [tuple(color) for color in palette[0].tolist()]
    with Image.open(tmp_path / "out.tif") as image:
        assert image.getpalette()[:120] == palette[0].reshape(-1).tolist()
    with open(tmp_path / "out.gpl", "rb") as file:
        assert list(GimpPaletteFile.GimpPaletteFile(file).palette[:120]) == palette[0].reshape(-1).tolist()


@pytest.mark.parametrize("options", [{"chunk_size": "64KiB"}, {"threads": 3}, {"chunk_size": "1MiB", "threads": 2}])
def test_the_bytes_are_the_same_for_any_chunk_and_threads(options, palette, tmp_path):
    given = {"palette_in": palette[1], "pyramid": True, "layout": "cog"}
    quantize(PHOTO, tmp_path / "1.tif", **given)
    streamgmm.quantize(PHOTO, tmp_path / "2.tif", **given, **options)
    assert (tmp_path / "1.tif").read_bytes() == (tmp_path / "2.tif").read_bytes()


def test_a_lookup_table_gives_the_same_labels(palette, tmp_path, monkeypatch):
    quantize(PHOTO, tmp_path / "1.tif", palette_in=palette[1], output="rgb")
    monkeypatch.setattr("streamgmm.jobs.apply.LOOKUP_PIXELS", 1)
    quantize(PHOTO, tmp_path / "2.tif", palette_in=palette[1], output="rgb")
    assert (tmp_path / "1.tif").read_bytes() == (tmp_path / "2.tif").read_bytes()


def test_colors_are_written_as_they_are_too(photo, palette, tmp_path):
    quantize(PHOTO, tmp_path / "out.tif", palette_in=palette[1], output="rgb")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), palette[0][nearest(photo, palette[0])])
    with pytest.raises(OptionError, match="palette-in and confidence exclude each other"):
        quantize(PHOTO, tmp_path / "2.tif", palette_in=palette[1], confidence=tmp_path / "sure.tif")


def test_an_image_of_these_colors_comes_back(tmp_path):
    pixels = posterized(40, 50, 12)
    (tmp_path / "a.json").write_text(json.dumps(np.unique(pixels.reshape(-1, 3), axis=0).tolist()), encoding="utf-8")
    report = quantize(pixels, tmp_path / "out.tif", palette_in=tmp_path / "a.json")
    labels, table = written(tmp_path / "out.tif")
    np.testing.assert_array_equal(table[labels], pixels)
    assert report.psnr_db is None


def test_a_psnr_that_is_missed_is_told_of(palette, tmp_path, caplog):
    quantize(PHOTO, tmp_path / "out.tif", palette_in=palette[1], min_psnr=60)
    assert "less than 60" in caplog.text


# --- As commands ---


def leave(*arguments):
    with pytest.raises(SystemExit) as left:
        main(list(map(str, arguments)))
    return left.value.code


def test_the_command_takes_a_palette_and_never_writes_to_it(palette, tmp_path, capsys):
    before = palette[1].read_bytes()
    main(["quantize", str(PHOTO), str(tmp_path / "out.tif"), "--palette-in", str(palette[1])])
    quantize(PHOTO, tmp_path / "2.tif", palette_in=palette[1])
    assert (tmp_path / "out.tif").read_bytes() == (tmp_path / "2.tif").read_bytes()
    for more in (["--palette-out", palette[1]], ["--report", palette[1]]):
        assert leave("quantize", PHOTO, tmp_path / "3.tif", "--palette-in", palette[1], "--overwrite", *more) == 4
    assert palette[1].read_bytes() == before
    with pytest.raises(OutputError, match="is also the input"):
        quantize(PHOTO, palette[1].rename(tmp_path / "colors.tif"), palette_in=written_tiff(tmp_path), overwrite=True)


def written_tiff(folder):
    """A palette that is a TIFF, in the place of the output."""
    quantize(PHOTO, folder / "colors.tif", n_components=3, overwrite=True)
    return folder / "colors.tif"


@pytest.mark.parametrize("content", [None, "", "GIMP Palette\nred\n"])
def test_a_file_that_is_no_palette_is_a_wrong_option(content, tmp_path, capsys):
    path = tmp_path / "a.gpl"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    for command in (["quantize", PHOTO, tmp_path / "out.tif"], ["batch", PHOTO, "--out-dir", tmp_path / "out"]):
        assert leave(*command, "--palette-in", path) == 2
        assert capsys.readouterr().err.startswith(f"streamgmm: palette-in: {path}: ")
    assert not (tmp_path / "out.tif").exists()
    assert not (tmp_path / "out").exists()


def test_a_batch_gives_all_the_same_palette(palette, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i in range(2):
        write_tiff(tmp_path / f"{i}.tif", smooth(30, 40, seed=i))
    options = ["0.tif", "1.tif", "--out-dir", "out", "--palette-in", "colors.json", "--threads", 1]
    assert leave("batch", *options) == 0
    for i in range(2):
        labels, table = written(Path("out", f"{i}.tif"))
        np.testing.assert_array_equal(labels, nearest(smooth(30, 40, seed=i), palette[0]))
        np.testing.assert_array_equal(table[:40], palette[0])
    before = Path("out/0.tif").stat().st_mtime_ns
    assert leave("batch", *options, "--skip-existing") == 0
    assert Path("out/0.tif").stat().st_mtime_ns == before
    palette[1].write_text("[[0, 0, 0], [255, 255, 255]]", encoding="utf-8")
    assert leave("batch", *options, "--skip-existing") == 0
    assert written("out/0.tif")[0].max() == 1
    for more in (["--model", "model.json"], ["--shared-palette"]):
        assert leave("batch", *options, *more) == 2
        assert "palette-in excludes shared-palette and model" in capsys.readouterr().err
    assert leave("batch", *options[:-4], "--sort", "hue", "--model", "model.json") == 2
    assert "sort and model exclude each other" in capsys.readouterr().err
    assert leave("batch", *options[:-4], "--space", "lab", "--model", "model.json") == 2
    assert "space and model exclude each other" in capsys.readouterr().err
