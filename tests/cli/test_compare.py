"""The command tells a person, or a program, how far two images are apart."""

import json

import numpy as np
import pytest

import streamgmm
from streamgmm.cli import terminal

from ..images import smooth, write_tiff
from .commands import leave, run


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Two images that differ, the second with a pixel that is masked."""
    folder = tmp_path_factory.mktemp("compare")
    pixels = smooth(60, 70)
    alpha = np.full((60, 70, 1), 255, np.uint8)
    alpha[3, 4] = 0
    a = write_tiff(folder / "a.tif", pixels)
    return a, write_tiff(folder / "b.tif", np.concatenate([pixels // 16 * 16, alpha], axis=2), extrasamples=["unassalpha"])


def test_a_person_is_told_the_three_numbers_and_what_counted(images, capfd):
    found = streamgmm.compare(*images)
    assert leave("compare", *images) == 0
    output, error = capfd.readouterr()
    assert error == ""
    assert output.splitlines() == [
        f"PSNR           {found.psnr_db:.2f} dB",
        f"Delta E 2000   {found.delta_e_2000:.3f}",
        f"SSIM           {found.ssim:.4f}",
        "pixels         4,199 of 4,200",
        "masked in one  1",
    ]


def test_equal_images_are_told_in_words(images, tmp_path, capfd):
    assert leave("compare", images[0], images[0]) == 0
    assert capfd.readouterr().out.splitlines() == [
        "PSNR           none: the colors are equal",
        "Delta E 2000   0.000",
        "SSIM           1.0000",
        "pixels         4,200 of 4,200",
    ]
    small = write_tiff(tmp_path / "small.tif", smooth(5, 70))
    assert leave("compare", small, small) == 0
    assert "SSIM           none: no window of 11 x 11 pixels is free of masked ones\n" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "keywords"),
    [
        ([], {}),
        (["--threads", "1", "--chunk-size", "1px", "--memory", "400MiB"], {}),
        (["--display-range", "10,200"], {"display_range": (10, 200)}),
        (["--bands", "3,2,1"], {"bands": (3, 2, 1)}),
        (["--nodata", "100:120"], {"nodata": "100:120"}),
    ],
)
def test_json_is_that_of_the_library(arguments, keywords, images, capfd):
    assert leave("compare", *images, "--json", *arguments) == 0
    output, error = capfd.readouterr()
    assert (json.loads(output), error) == (vars(streamgmm.compare(*images, **keywords)), "")


def test_a_process_of_its_own_says_the_same(images):
    done = run("compare", *images, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == vars(streamgmm.compare(*images))


@pytest.mark.parametrize("arguments", [["a.tif", "wide.tif"], ["a.tif", "a.tif", "--display-range", "9"]])
def test_what_cannot_be_compared_is_a_usage_error_in_one_line(arguments, images, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    write_tiff(tmp_path / "a.tif", smooth(30, 40))
    write_tiff(tmp_path / "wide.tif", smooth(30, 41))
    assert leave("compare", *arguments) == 2
    output, error = capfd.readouterr()
    assert (output, error.count("\n")) == ("", 1)
    assert error.startswith("streamgmm: ")


def test_files_that_are_not_there_are_told(images, capfd):
    assert leave("compare", images[0], "gone.tif") == 3
    assert capfd.readouterr().err.startswith("streamgmm: gone.tif: ")


def test_the_bar_has_a_name():
    assert terminal.PHASES["compare"] == "comparing"
