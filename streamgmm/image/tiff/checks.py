"""What is refused of a page before it is read: what it lacks, and kinds that are not supported."""

import numpy as np
import tifffile

from ...errors import ImageReadError, UnsupportedImageError

SAMPLE_FORMATS = {1: "unsigned", 2: "signed", 3: "floats", 4: "untyped", 5: "complex integers", 6: "complex floats"}
# Values of Compression (tag 259): CCITT's, and what tifffile decodes only in files of electron microscopes.
CCITT, EER = (2, 3, 4), (65000, 65001, 65002)
FLOATS_ONLY = (3, 34894, 34895)  # values of Predictor (tag 317)
WIDTH, LENGTH, TILE_WIDTH, TILE_LENGTH = 256, 257, 322, 323
# BitsPerSample, SamplesPerPixel, RowsPerStrip: by default those of a bilevel image in one strip.
BITS, SAMPLES, ROWS = 258, 277, 278


def check_kind(page: tifffile.TiffPage, name: str) -> None:
    """Refuse a page whose samples cannot be read.

    Raises
    ------
    ImageReadError
        Where it does not say how large it is.
    UnsupportedImageError
        Where its samples, codec or predictor are not supported.
    """
    if page.dtype is None or np.dtype(page.dtype).kind not in "buif":
        kind = SAMPLE_FORMATS.get(page.sampleformat, f"of format {page.sampleformat}")
        raise UnsupportedImageError(
            f"{name}: samples are {kind} of {page.bitspersample} bits, which are not supported; convert it first"
        )
    _check_sides(page, name)
    if page.shaped[1] != 1 or page.size == 0 or page.samplesperpixel < 1:
        raise UnsupportedImageError(f"{name}: page has shape {page.shape}; expected a flat image, not empty")
    if page.compression == tifffile.COMPRESSION.OJPEG:
        raise UnsupportedImageError(f"{name}: old-style JPEG (compression 6) is not supported; convert it first")
    known = page.compression == 1 or page.compression in tifffile.TIFF.DECOMPRESSORS
    if not known or (page.compression in EER and not page.parent.is_eer):
        codec = getattr(page.compression, "name", page.compression)
        raise UnsupportedImageError(f"{name}: compression {codec} is not supported, convert it first")
    if page.predictor != 1 and page.compression not in tifffile.TIFF.IMAGE_COMPRESSIONS:
        known = page.predictor in tifffile.TIFF.UNPREDICTORS
        if not known or (page.predictor in FLOATS_ONLY and np.dtype(page.dtype).kind != "f"):
            kind = f"predictor {int(page.predictor)} of {page.dtype} samples"
            raise UnsupportedImageError(f"{name}: {kind} is not supported; convert it first")


def _check_sides(page: tifffile.TiffPage, name: str) -> None:
    sides = {WIDTH: page.imagewidth, LENGTH: page.imagelength}
    if TILE_WIDTH in page.tags or TILE_LENGTH in page.tags:
        sides |= {TILE_WIDTH: page.tilewidth, TILE_LENGTH: page.tilelength}
    for code, side in sides.items():
        if not side and code not in page.tags:
            raise ImageReadError(f"{name}: {named(code)} is missing or cannot be read")


def lacks(page: tifffile.TiffPage) -> str:
    """Return what is said of data that cannot be decoded where its page lacks tags that nearly all have, else nothing."""
    missing = [code for code in (BITS, SAMPLES, ROWS) if code not in page.tags and not (code == ROWS and page.is_tiled)]
    if not missing or page.compression in CCITT:
        return ""
    return f", or not what it is taken for without {' and '.join(map(named, missing))}"


def named(code: int) -> str:
    """Return the name of a tag, and its number."""
    return f"{tifffile.TIFF.TAGS[code]} (tag {code})"
