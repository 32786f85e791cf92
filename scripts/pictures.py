"""The pictures of the README: two photos in 16 colors, as each preset and dithering gives them."""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

import streamgmm

ROOT = Path(__file__).parents[1]
PHOTOS = {name: ROOT / "tests" / "data" / f"{name}.tif" for name in ("astronaut", "flower")}
KINDS = {
    "original": None,
    "default": {},
    "segment": {"preset": "segment"},
    "fidelity": {"preset": "fidelity"},
    "dithered": {"preset": "fidelity", "dither": "blue-noise"},
}
SIDE = 200


def write_pictures(folder: Path) -> None:
    """Write a PNG for each photo and kind, SIDE pixels wide: the photos are made smaller first."""
    for name, path in PHOTOS.items():
        photo = Image.open(path)
        photo = photo.resize((SIDE, round(SIDE * photo.height / photo.width)), Image.Resampling.LANCZOS)
        for kind, options in KINDS.items():
            picture, out = photo, folder / f"{name}-{kind}.png"
            if options is not None:
                streamgmm.quantize(np.asarray(photo), tiff := out.with_suffix(".tif"), n_components=16, **options)
                picture = Image.open(tiff)
                picture.load()
                tiff.unlink()
            picture.save(out, optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder for the pictures")
    arguments = parser.parse_args()
    arguments.out.mkdir(exist_ok=True)
    write_pictures(arguments.out)
