"""What is said of an image stays true where its pixels become larger."""

import io
from datetime import datetime

import numpy as np
import pytest
import rasterio
import rasterio.transform
from PIL import Image, ImageCms

from streamgmm.image.metadata import Metadata, coordinate_zero, is_resolution, is_rgb_profile, parsed, srgb_profile

from ..conftest import shared_file
from .gdal import open_gdal
from .tagged import (
    GCPS,
    GRAY_PROFILE,
    LAB_PROFILE,
    RGB_PROFILE,
    SCALE,
    TIEPOINT,
    TRANSFORMATION,
    UTM_AREA,
    UTM_POINT,
    georeferencing,
    read,
    write_metadata,
)


def test_more_is_dropped_and_the_names_stay_in_order():
    assert Metadata(dropped=("b", "d")).without("c", "a", "b").dropped == ("a", "b", "c", "d")


def test_keys_say_whether_coordinates_are_of_corners_or_centers():
    assert [coordinate_zero(keys[3]) for keys in (UTM_AREA, UTM_POINT)] == [0, 0.5]
    assert coordinate_zero(()) == 0


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_xml_with_a_document_type_is_not_parsed(encoding):
    assert parsed("<a><b/></a>".encode(encoding))[0].tag == "b"
    with pytest.raises(ValueError, match="document type"):
        parsed('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'.encode(encoding))


@pytest.mark.parametrize("keys", [UTM_AREA, UTM_POINT], ids=["area", "point"])
@pytest.mark.parametrize("tags", [(SCALE, TIEPOINT), (TRANSFORMATION,)], ids=["scale", "transformation"])
def test_larger_pixels_cover_the_same_ground(keys, tags, tiff, tmp_path):
    metadata = tiff(keys, *tags)
    small = write_metadata(tmp_path / "small.tif", metadata.scaled(4, 2.5), (16, 15))
    with open_gdal(write_metadata(tmp_path / "same.tif", metadata, (40, 60))) as before, open_gdal(small) as after:
        assert after.crs == before.crs == rasterio.CRS.from_epsg(32633)
        for corner in ((0, 0), (0, 1), (1, 0), (1, 1)):
            there = before.xy(*np.multiply(corner, (40, 60)), offset="ul")
            np.testing.assert_allclose(after.xy(*np.multiply(corner, (16, 15)), offset="ul"), there, rtol=0, atol=1e-6)
        if len(tags) == 2:
            np.testing.assert_allclose(after.bounds, before.bounds, rtol=0, atol=1e-6)


@pytest.mark.parametrize("keys", [UTM_AREA, UTM_POINT], ids=["area", "point"])
def test_control_points_stay_where_they_are_in_larger_pixels(keys, tiff, tmp_path):
    metadata = tiff(keys, GCPS)
    small = write_metadata(tmp_path / "small.tif", metadata.scaled(4, 2.5), (16, 15))
    before = georeferencing(write_metadata(tmp_path / "same.tif", metadata, (40, 60)))[3]
    assert len(before) == 4
    np.testing.assert_allclose(georeferencing(small)[3], np.divide(before, (2.5, 4, 1, 1, 1)), rtol=1e-12)


@pytest.mark.collection
def test_rational_polynomials_point_to_the_same_place_in_larger_pixels(tmp_path):
    path = shared_file("variants/gdal__tif_webp.tif")
    with open_gdal(path) as image:
        shape, rpcs = image.shape, image.rpcs
    small = write_metadata(tmp_path / "small.tif", read(path).scaled(4, 2.5), (shape[0] // 2, shape[1] // 4))
    with open_gdal(small) as image:
        after = image.rpcs

    def places(rpcs):
        x = rpcs.long_off + rpcs.long_scale * np.array([-0.5, 0.0, 0.7])
        y = rpcs.lat_off + rpcs.lat_scale * np.array([0.3, 0.0, -0.6])
        with rasterio.transform.RPCTransformer(rpcs) as transformer:
            return transformer.rowcol(x, y, zs=[rpcs.height_off] * 3, op=float)

    np.testing.assert_allclose(np.transpose(places(after)), np.transpose(places(rpcs)) / (2.5, 4), rtol=1e-6)


def test_pixels_of_the_same_size_change_nothing(tiff):
    metadata = tiff(UTM_POINT, SCALE, GCPS, resolution=(300, 200))
    assert metadata.scaled(1, 1) == metadata


def test_resolution_follows_the_size_of_pixels(tiff):
    assert tiff(resolution=(300, 200), resolutionunit=2).scaled(2, 4).resolution == (150, 50)
    assert tiff().scaled(2, 4).resolution is None


def test_the_srgb_profile_is_one_and_always_the_same():
    profile = ImageCms.ImageCmsProfile(io.BytesIO(srgb_profile()))
    assert ImageCms.getProfileDescription(profile).startswith("sRGB")
    assert profile.profile.creation_date == datetime(2000, 1, 1)
    assert srgb_profile()[84:100] == bytes(16)
    assert int.from_bytes(srgb_profile()[:4], "big") == len(srgb_profile())
    colors = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))
    converted = ImageCms.profileToProfile(colors, profile, ImageCms.createProfile("sRGB"))
    np.testing.assert_allclose(np.asarray(converted, int), np.asarray(colors, int), atol=1)


def test_only_whole_profiles_of_rgb_are_of_rgb():
    assert is_rgb_profile(RGB_PROFILE)
    assert is_rgb_profile(srgb_profile())
    for profile in (LAB_PROFILE, GRAY_PROFILE, RGB_PROFILE[:-1], RGB_PROFILE[:128], b"", b"RGB " * 50):
        assert not is_rgb_profile(profile)


@pytest.mark.parametrize("value", [0, -1, 2.0**-32, 2.0**32, float("nan"), float("inf")])
def test_a_resolution_can_be_written_as_a_rational(value):
    assert is_resolution(300, 2**-31, 2**31)
    assert not is_resolution(300, value)


def test_what_is_not_of_places_and_sizes_is_not_scaled():
    metadata = Metadata(((274, 3, 1, (6,)), (700, 1, 3, b"RDF")), icc=RGB_PROFILE, description="text", dropped=("Exif",))
    assert metadata.scaled(3, 5) == metadata
