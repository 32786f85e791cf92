"""The pictures of the README: two photos in 16 colors, as each preset and dithering gives them, and a page in a browser."""

import argparse
import shutil
import tempfile
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
# Of the page.
VIEWPORT = {"width": 1240, "height": 860}
QUIET = ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


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


def write_screenshot(folder: Path) -> None:
    """Write what a page looks like in Chromium, which is asked for nothing else."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as work, sync_playwright() as playwright:
        page_file = Path(work) / "flower.html"
        streamgmm.quantize(PHOTOS["flower"], Path(work) / "flower.tif", html=page_file, **KINDS["fidelity"])
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=QUIET, chromium_sandbox=False)
        page = browser.new_page(viewport=VIEWPORT)
        page.goto(page_file.as_uri())
        page.screenshot(path=folder / "page.png")
        browser.close()
    Image.open(folder / "page.png").quantize(256).save(folder / "page.png", optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder for the pictures")
    arguments = parser.parse_args()
    arguments.out.mkdir(exist_ok=True)
    write_pictures(arguments.out)
    write_screenshot(arguments.out)
