"""Real files of all kinds: each ends in a right result, or in one clear line."""

import csv
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile

from streamgmm.cli import main
from streamgmm.errors import StreamGMMError
from streamgmm.image.source import open_image
from streamgmm.image.tiles import Window

DATA = Path(__file__).parents[2] / "shared" / "data"
MANIFEST = DATA / "MANIFEST.tsv"
BUDGET = 256 << 20
# Pixels up to which a file is compared as a whole: tifffile takes half a minute for a sparse gigapixel.
COMPARED = 1 << 24


def files():
    """Return the names of the corpus with their number of pixels."""
    if not MANIFEST.exists():
        return {}
    with open(MANIFEST, newline="") as manifest:
        rows = list(csv.DictReader(manifest, delimiter="\t"))
    sizes = (re.fullmatch(r"(\d+)x(\d+)", row["width_x_height"]) for row in rows)
    return {row["file"]: int(size[1]) * int(size[2]) if size else 0 for row, size in zip(rows, sizes, strict=True)}


FILES = files()
needs_corpus = pytest.mark.skipif(not FILES, reason="the corpus is not beside the repository")


def exit_code(arguments):
    try:
        main(arguments)
    except SystemExit as left:
        return left.code
    return 0


def opened(name):
    """Open a file and read all of it, or return None where it is refused."""
    try:
        image = open_image(DATA / name, budget=BUDGET)
    except StreamGMMError:
        return None
    try:
        height, width, _ = image.shape
        return image.read(Window(0, 0, height, width)).copy()
    except StreamGMMError:
        return None
    finally:
        image.close()


def decoded_by_tifffile(name):
    """Decode the first page of a TIFF as a whole, bands last, or return None where tifffile does not."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with tifffile.TiffFile(DATA / name) as tiff:
                page = tiff.pages.first
                planes, _, height, width, samples = page.shaped
                pixels = page.asarray(squeeze=False).reshape(planes, height, width, samples)
    except Exception:
        return None
    return np.concatenate(list(pixels), axis=-1)


@needs_corpus
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name.startswith("variants") else ()) for name in FILES]
)
def test_a_file_is_quantized_or_refused_in_one_line(name, tmp_path, capfd):
    output = tmp_path / "out.tif"
    code = exit_code(["quantize", str(DATA / name), str(output), "-k", "4", "--max-iter", "5", "--tol", "0.01"])
    printed = capfd.readouterr()
    assert printed.out == ""
    if code == 0:
        assert tifffile.imread(output).max() < 4
    else:
        assert code in (3, 5)
        lines = [line for line in printed.err.splitlines() if line.startswith("streamgmm: ")]
        assert len(lines) == 1
        assert name in lines[0]
        assert "Traceback" not in printed.err
        assert list(tmp_path.iterdir()) == []


@needs_corpus
@pytest.mark.parametrize(
    "name", [name for name, pixels in FILES.items() if not name.startswith("hostile") and pixels <= COMPARED]
)
def test_what_is_read_is_what_tifffile_decodes(name):
    pixels, expected = opened(name), decoded_by_tifffile(name)
    if pixels is None or expected is None:
        assert pixels is None or expected is None
    else:
        np.testing.assert_array_equal(pixels, expected)
