"""Real files of all kinds: each ends in a right result, or in one clear line."""

import csv
import io
import re
import warnings
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile
from PIL import Image, ImageCms

from streamgmm.cli import main
from streamgmm.errors import StreamGMMError
from streamgmm.image.source import open_image

from .images import whole

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
        with closing(open_image(DATA / name, budget=BUDGET)) as image:
            return whole(image)
    except StreamGMMError:
        return None


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
        assert tifffile.imread(output).max() <= 4  # 4 where a pixel is masked
    else:
        assert code in (3, 5)
        lines = [line for line in printed.err.splitlines() if line.startswith("streamgmm: ")]
        assert len(lines) == 1
        assert name in lines[0]
        assert "Traceback" not in printed.err
        assert list(tmp_path.iterdir()) == []


@needs_corpus
@pytest.mark.parametrize("name", FILES)
def test_a_file_describes_itself_or_is_refused(name):
    try:
        with closing(open_image(DATA / name, budget=BUDGET)) as image:
            height, width, bands = image.shape
            described = image.info()
    except StreamGMMError:
        return
    assert (described["height"], described["width"], described["bands"]) == (height, width, bands)
    assert described["dtype"] == image.dtype.name


MINISWHITE, MINISBLACK, RGB, PALETTE, SEPARATED, YCBCR, CIELAB = 0, 1, 2, 3, 5, 6, 8


def stored(page):
    """The samples of a page as they are stored, shape (height, width, samples); YCbCr in JPEG comes as RGB."""
    planes, _, height, width, samples = page.shaped
    pixels = page.asarray(squeeze=False).reshape(planes, height, width, samples)
    return np.concatenate(list(pixels), axis=-1)


def spread(samples, bits):
    """Samples over the whole range of uint8 or uint16, or as floats."""
    dtype = samples.dtype
    if dtype.kind == "f":
        return samples.astype(np.float64 if dtype.itemsize == 8 else np.float32)
    if dtype.itemsize > 2:
        return samples.astype(np.float64)
    unsigned = np.uint8 if dtype.itemsize == 1 else np.uint16
    if dtype.kind == "i":
        return (samples.astype(int) - np.iinfo(dtype).min).astype(unsigned)
    return np.rint(samples / (2**bits - 1) * np.iinfo(unsigned).max).astype(unsigned)


def expected_of(page, samples):
    """Colours and mask that samples stand for, by the TIFF specification: shapes (height, width, bands) and (height, width)."""
    full = spread(samples, page.bitspersample if isinstance(page.bitspersample, int) else 8)
    extras = [int(kind) for kind in page.extrasamples]
    colours, extra = full[..., : full.shape[-1] - len(extras)], full[..., full.shape[-1] - len(extras) :]
    top = 1 if full.dtype.kind == "f" else np.iinfo(full.dtype).max
    if 262 not in page.tags:
        pass
    elif page.photometric == MINISWHITE:
        colours = -colours if full.dtype.kind == "f" else top - colours
    elif page.photometric == PALETTE:
        table = page.colormap.T
        table = table if table.max() < 256 else table >> 8
        colours = table[samples[..., 0].astype(int)].astype(np.uint8)
    valid = np.ones(full.shape[:2], bool)
    for i, kind in enumerate(extras):
        if kind in (1, 2):
            alpha = extra[..., i]
            valid = alpha != 0
            if kind == 1:
                straight = np.minimum(colours.astype(float) * top / np.maximum(alpha, 1e-30)[..., None], top)
                colours = (np.rint(straight) if top > 1 else straight).astype(full.dtype)
            extra = np.delete(extra, i, axis=-1)
            break
    if extra.shape[-1]:
        colours = np.concatenate([colours, extra], axis=-1)
    if 42113 in page.tags:
        nodata = float(page.tags[42113].value)
        same = np.isnan(samples) if np.isnan(nodata) else samples.astype(float) == np.float64(samples.dtype.type(nodata))
        valid &= ~same.all(axis=-1)
    if colours.dtype.kind == "f":
        valid &= np.isfinite(colours).all(axis=-1)
    return colours, valid


def by_pillow(name):
    """A file as Pillow shows it, shape (height, width, 3), not turned by its orientation."""
    with Image.open(DATA / name) as image:
        profile = image.info.get("icc_profile")
        image.load()
        if profile and image.mode == "CMYK":
            srgb = ImageCms.createProfile("sRGB")
            image = ImageCms.profileToProfile(image, ImageCms.ImageCmsProfile(io.BytesIO(profile)), srgb, outputMode="RGB")
        return np.asarray(image.convert("RGB"))
