"""The README's pictures are those that their script makes, and the table of palettes has a row for each program there is."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .images import PHOTO

ROOT = Path(__file__).parents[1]
NAMED = re.findall(r"!\[[^\]]+\]\(docs/([^)]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))

sys.path.insert(0, str(ROOT / "scripts"))
import pictures  # noqa: E402 # a script


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    pictures.write_pictures(folder := tmp_path_factory.mktemp("docs"))
    return folder


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"), float)


@pytest.mark.parametrize("name", [name for name in NAMED if name != "page.png"])
def test_a_picture_of_the_readme_is_what_the_script_makes(made, name):
    there, again = pixels(ROOT / "docs" / name), pixels(made / name)
    assert there.shape == again.shape
    assert np.mean((there - again) ** 2) < 3  # on another processor, a few pixels may get another label


def test_the_readme_shows_all_of_them_and_a_page():
    kinds = {f"{photo}-{kind}.png" for photo in pictures.PHOTOS for kind in pictures.KINDS}
    assert set(NAMED) == kinds | {"page.png"}
    assert pixels(ROOT / "docs" / "page.png").shape[1] == pictures.VIEWPORT["width"]


def test_in_16_colors_they_have_16_and_fidelity_is_nearest(made):
    for photo in pictures.PHOTOS:
        original = pixels(made / f"{photo}-original.png")
        errors = {kind: np.mean((pixels(made / f"{photo}-{kind}.png") - original) ** 2) for kind in pictures.KINDS}
        assert sorted(errors, key=errors.get)[:2] == ["original", "fidelity"]
        for kind in pictures.KINDS:
            n_colors = len(np.unique(pixels(made / f"{photo}-{kind}.png").reshape(-1, 3), axis=0))
            assert n_colors == 16 or kind == "original"


@pytest.mark.slow
def test_the_table_of_palettes_has_a_row_for_each_program_that_is_there(tmp_path):
    (photos := tmp_path / "photos").mkdir()
    Image.open(PHOTO).resize((64, 64)).save(photos / "photo.png")
    command = [
        sys.executable,
        ROOT / "scripts" / "palettes.py",
        "--photos",
        photos,
        "--work",
        tmp_path / "work",
        "--components",
        "4",
    ]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300)
    assert done.returncode == 0, done.stderr
    for name in ("streamgmm --preset fidelity", "streamgmm --space oklab", "scikit-learn KMeans", "Pillow, median cut"):
        assert any(line.startswith("| ") and name in line for line in done.stdout.splitlines())
    assert "Of 1 pictures" in done.stdout
