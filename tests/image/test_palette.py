"""Palettes of other programs are read as these read them; what is damaged is refused in a line."""

import json
import struct

import numpy as np
import pytest
import rasterio
import tifffile
from PIL import GimpPaletteFile, Image

from streamgmm.errors import OptionError
from streamgmm.image.palette import read_palette

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

COLORS = np.array([[0, 0, 0], [255, 128, 7], [1, 2, 3], [255, 128, 7], [9, 9, 9]], np.uint8)


def written(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def gimp(colors, name="x"):
    rows = [f"{red:3d} {green:3d} {blue:3d}\ta b" for red, green, blue in colors]
    return "\n".join(["GIMP Palette", f"Name: {name}", "Columns: 3", "# by hand", *rows])


def adobe(colors, tail=b""):
    return np.array(colors, np.uint8).tobytes().ljust(768, b"\0") + tail


JSON = [[0, 0, 0], "#ff8007", [1, 2, 3], {"rgb": [255, 128, 7], "index": 3}, "#090909"]
QGIS = [f"{i},{red},{green},{blue},255,{i}\n" for i, (red, green, blue) in enumerate(COLORS)]
GDAL = "# a\n0 0 0 0 255\n\n10.5,255,128,7\n3:1:2:3:128\n50%\t255\t128\t7\nnv 4 4 4 255\n7 5 5 5 0\n9,9,9,9,255,a label\n"
FILES = {
    "gimp": (".gpl", gimp(COLORS)),
    "gimp of Windows": (".GPL", b"\xef\xbb\xbf" + gimp(COLORS).replace("\n", "\r\n").encode() + b"\xe9\r\n\r\n"),
    "list": (".json", json.dumps(JSON)),
    "fields": (".json", json.dumps({"nodata": 5, "colors": JSON})),
    "gdal": (".txt", GDAL),
    "qgis": (".txt", "# QGIS Generated\nINTERPOLATION:INTERPOLATED\n" + "".join(QGIS)),
    "adobe": (".act", adobe(COLORS, struct.pack(">2H", 5, 0xFFFF))),
    "adobe with one that is transparent": (".act", adobe([*COLORS, (7, 7, 7)], struct.pack(">2H", 6, 5))),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_colors_are_in_the_order_of_the_file_also_those_that_are_equal(name, tmp_path):
    suffix, content = FILES[name]
    colors = read_palette(written(tmp_path / f"palette{suffix}", content))
    assert colors.dtype == np.uint8
    np.testing.assert_array_equal(colors, COLORS)


def test_a_gimp_palette_is_what_pillow_reads_of_it(tmp_path):
    path = written(tmp_path / "a.gpl", gimp(np.random.default_rng(0).integers(0, 256, (200, 3))))
    with open(path, "rb") as file:
        expected = GimpPaletteFile.GimpPaletteFile(file).palette
    assert read_palette(path).tobytes() == expected[:600]


def test_an_adobe_color_table_of_768_bytes_has_256_colors(tmp_path):
    colors = np.random.default_rng(0).integers(0, 256, (256, 3)).astype(np.uint8)
    np.testing.assert_array_equal(read_palette(written(tmp_path / "a.act", adobe(colors))), colors)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_the_palette_of_a_png_is_what_pillow_wrote(bits, tmp_path):
    image = Image.new("P", (5, 4))
    image.putpalette(COLORS[: 2**bits].tobytes())
    image.save(tmp_path / "a.png", bits=bits)
    np.testing.assert_array_equal(read_palette(tmp_path / "a.png")[:4], COLORS[:4])
    image.save(tmp_path / "b.png", bits=bits, transparency=bytes([255, 0, 128]))
    np.testing.assert_array_equal(read_palette(tmp_path / "b.png")[:3], COLORS[[0, 2, 3]])


def test_what_fills_up_the_color_map_of_a_tiff_is_none_of_its_colors(tmp_path):
    table = np.zeros((256, 3), np.uint16)
    table[:5] = COLORS
    for last, n_colors in ((3, 5), (7, 8)):
        labels = np.full((70, 2000), last, np.uint8)
        tifffile.imwrite(path := tmp_path / "a.tif", labels, photometric="palette", colormap=table.T * 257, metadata=None)
        np.testing.assert_array_equal(read_palette(path), table[:n_colors])


@pytest.mark.parametrize("nodata", [4, 5, 200])
def test_the_color_of_nodata_is_none(nodata, tmp_path):
    """Of a TIFF that GDAL wrote."""
    labels = np.array([[0, 1, 2, 3, nodata]], np.uint8)
    profile = {"driver": "GTiff", "width": 5, "height": 1, "count": 1, "dtype": "uint8", "nodata": nodata}
    with rasterio.open(tmp_path / "a.tif", "w", **profile) as file:
        file.write(labels, 1)
        file.write_colormap(1, {i: (*color, 255) for i, color in enumerate(COLORS.tolist())} | {nodata: (200, 0, 0, 255)})
    expected = [color for label, color in enumerate(COLORS.tolist()) if label != nodata]
    assert read_palette(tmp_path / "a.tif").tolist() == expected


def test_labels_of_four_bits_count_as_they_are(tmp_path):
    profile = {"driver": "GTiff", "width": 16, "height": 16, "count": 1, "dtype": "uint8", "nbits": 4}
    with rasterio.open(tmp_path / "a.tif", "w", **profile) as file:
        file.write(np.full((16, 16), 4, np.uint8), 1)
        file.write_colormap(1, {0: (*COLORS[1].tolist(), 255)})
    assert read_palette(tmp_path / "a.tif").tolist() == [COLORS[1].tolist()] + 4 * [[0, 0, 0]]


NO_COLOR = "is no color; write red, green and blue, from 0 to 255"
DAMAGED = {
    "no GIMP palette": (".gpl", "1 2 3\n", "is no GIMP palette"),
    "nothing": (".gpl", "", "is no GIMP palette"),
    "no color of GIMP": (".gpl", "GIMP Palette\n#\n", "has 0 colors; give a palette of 1 to 65,535"),
    "too much": (".gpl", "GIMP Palette\n1 2 3\n1 2 256\n", f"line 3 {NO_COLOR}"),
    "words": (".gpl", "GIMP Palette\n1 2 three\n", f"line 2 {NO_COLOR}"),
    "a name of a color": (".txt", "0 white\n", f"line 1 {NO_COLOR}"),
    "negative": (".txt", "0 1 2 3\n1 -1 2 3\n", f"line 2 {NO_COLOR}"),
    "all transparent": (".txt", "0 1 2 3 0\n", "has 0 colors"),
    "no JSON": (".json", "[1, 2", "is no JSON ("),
    "no text": (".json", b"\xff\xfe\0", "is no JSON ("),
    "deep": (".json", "[" * 100_000, ""),
    "a number": (".json", "7", "has no list of colors"),
    "a model": (".json", '{"means": []}', "has no list of colors"),
    "no color in JSON": (".json", "[]", "has 0 colors"),
    "a short color": (".json", '["#fff"]', f"color 1 {NO_COLOR}"),
    "halves": (".json", "[[0, 0, 0.5]]", f"color 1 {NO_COLOR}"),
    "truth": (".json", "[[1, 2, 3], [true, 0, 0]]", f"color 2 {NO_COLOR}"),
    "infinity": (".json", "[[Infinity, NaN, 0]]", f"color 1 {NO_COLOR}"),
    "four": (".json", "[[1, 2, 3, 4]]", f"color 1 {NO_COLOR}"),
    "too many": (".json", json.dumps([[0, 0, 0]] * 65_536), "has 65,536 colors; give a palette of 1 to 65,535"),
    "cut": (".act", bytes(767), "has 767 bytes; an Adobe color table has 768, or 772"),
    "more than there are": (".act", bytes(768) + struct.pack(">2H", 257, 0), "says that it has 257 colors"),
    "huge": (".txt", b"0 1 2 3\n" * (1 << 21) + b"0", "has more than 16 MiB"),
    "no image": (".png", "GIMP Palette", ""),
    "a cut PNG": (".png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0", "cannot be decoded"),
    "a cut TIFF": (".tif", b"II*\0\x08\0\0\0", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_damaged_is_refused_in_a_line(name, tmp_path):
    suffix, content, line = DAMAGED[name]
    path = written(tmp_path / f"palette{suffix}", content)
    with pytest.raises(OptionError) as refused:
        read_palette(path)
    assert str(refused.value).startswith(f"palette-in: {path}: {line}")
    assert "\n" not in str(refused.value)


def test_what_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "folder.gpl").mkdir()
    for name in ("gone.gpl", "gone.tif", "gone.png", "folder.gpl"):
        with pytest.raises(OptionError, match=rf"\Apalette-in: {tmp_path / name}: ") as refused:
            read_palette(tmp_path / name)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["a.tif", "a.png"])
def test_an_image_without_a_palette_is_refused(name, tmp_path):
    pixels = np.zeros((4, 5, 3), np.uint8)
    if name == "a.png":
        Image.fromarray(pixels).save(tmp_path / name)
    else:
        tifffile.imwrite(tmp_path / name, pixels, photometric="rgb")
    with pytest.raises(OptionError, match="is an image without a palette; name one that has a palette"):
        read_palette(tmp_path / name)
