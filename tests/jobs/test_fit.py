"""One model for one image or several, and a progress callback that can stop it."""

from functools import partial

import numpy as np
import pytest
import tifffile

import streamgmm
from streamgmm.errors import ImageReadError, OptionError

from ..images import PHOTO, palette_of, smooth, write_tiff

fit_image, quantize = partial(streamgmm.fit_image, threads=1), partial(streamgmm.quantize, threads=1)

METHODS = ["exact", "stream"]
PARTS = [smooth(90, 110, seed=1), smooth(70, 110, seed=2), smooth(40, 110, seed=3)]


@pytest.mark.parametrize("method", METHODS)
def test_several_images_are_fitted_as_one(method):
    several, report = fit_image(PARTS, n_components=6, method=method)
    one, _ = fit_image(np.concatenate(PARTS), n_components=6, method=method)
    np.testing.assert_allclose(several.means, one.means, atol=1e-6)
    np.testing.assert_allclose(several.weights, one.weights, atol=1e-6)
    np.testing.assert_allclose(several.covariances, one.covariances, atol=1e-7)
    assert report.pixels["count" if method == "exact" else "sample"] == 200 * 110


def test_one_palette_serves_all_images(tmp_path):
    mixture, report = fit_image(PARTS, n_components=4)
    assert report.input == ["array"]
    for number, part in enumerate(PARTS):
        streamgmm.apply(mixture, part, path := tmp_path / f"{number}.tif")
        with tifffile.TiffFile(path) as tiff:
            palette = tiff.pages.first.colormap[:, :4].T // 257
        np.testing.assert_array_equal(palette, palette_of(report.model))


def test_a_list_of_one_is_one_image():
    several, of_several = fit_image([PHOTO], n_components=3)
    one, of_one = fit_image(PHOTO, n_components=3)
    assert several.to_json() == one.to_json()
    assert (of_several.input, of_one.input) == ([str(PHOTO)], str(PHOTO))


def test_paths_and_arrays_may_be_mixed(tmp_path):
    path = write_tiff(tmp_path / "in.tif", PARTS[0])
    mixed, report = fit_image([path, PARTS[1], str(path)], n_components=3)
    arrays, _ = fit_image([PARTS[0], PARTS[1], PARTS[0]], n_components=3)
    assert mixed.to_json() == arrays.to_json()
    assert report.input == [str(path), "array"]


def test_a_large_image_counts_more_than_a_small_one():
    dark, light = np.zeros((90, 100, 3), np.uint8), np.full((10, 100, 3), 255, np.uint8)
    mixture, _ = fit_image([light, dark], n_components=2)
    np.testing.assert_allclose(mixture.weights, [0.9, 0.1])
    np.testing.assert_array_equal(mixture.means, [[0, 0, 0], [1, 1, 1]])


def test_no_image_is_refused():
    with pytest.raises(OptionError, match="no image to fit; name at least one"):
        fit_image([])


def test_one_bad_image_of_several_is_named(tmp_path):
    with pytest.raises(ImageReadError, match=r"absent\.tif: no such file"):
        fit_image([PHOTO, tmp_path / "absent.tif"])


def test_a_fit_that_has_not_converged_says_so(caplog):
    _, report = fit_image(PHOTO, max_iter=1, init="random", tol=1e-9)
    assert not report.converged
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "not converged after 1 iterations" in caplog.text
    assert "raise --max-iter or --tol" in caplog.text


def test_a_fit_that_has_converged_says_nothing(caplog):
    _, report = fit_image(PHOTO, n_components=4, max_iter=200, tol=1e-3)
    assert report.converged
    assert not caplog.records
