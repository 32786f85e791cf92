"""TIFFs that say something of themselves; what is carried over from them, written again; and what GDAL makes of it."""

import imagecodecs
import numpy as np
import tifffile
from PIL import ImageCms

from streamgmm.image.tiff.tags import carried_over

from .gdal import open_gdal

BYTE, ASCII, SHORT, LONG, UNDEFINED, DOUBLE = 1, 2, 3, 4, 7, 12
UTM_AREA = (34735, SHORT, 16, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32633))
UTM_POINT = (34735, SHORT, 16, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 2, 3072, 0, 1, 32633))
SCALE = (33550, DOUBLE, 3, (0.3, 0.7, 0.0))
TIEPOINT = (33922, DOUBLE, 6, (5.0, 3.0, 0.0, 500000.1, 4000000.2, 0.0))
SKEWED = (0.3, 0.01, 0, 500000.1, 0.02, -0.7, 0, 4000000.2, 0, 0, 0, 0, 0, 0, 0, 1.0)
TRANSFORMATION = (34264, DOUBLE, 16, SKEWED)
GCPS = (33922, DOUBLE, 24, sum(((i, j, 0.0, 500000.0 + 3 * i + j, 4e6 - 2 * j, 0.0) for i in (5, 50) for j in (7, 31)), ()))
RGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LAB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
GRAY_PROFILE = imagecodecs.cms_profile("gray", whitepoint=[0.3127, 0.3290, 1.0], gamma=2.2)
PACKET = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF/></x:xmpmeta>'


def write(path, *tags, shape=(40, 60, 3), **options):
    options = {"metadata": None, "photometric": "rgb"} | options
    tifffile.imwrite(path, np.zeros(shape, np.uint8), extratags=[(*tag, True) for tag in tags], **options)
    return path


def write_metadata(path, metadata, shape):
    """Write a palette TIFF without pixels that has what was carried over."""
    with tifffile.TiffWriter(path) as writer:
        writer.write(
            None,
            shape=shape,
            dtype=np.uint8,
            tile=(64, 64),
            photometric="palette",
            colormap=np.zeros((3, 256), np.uint16),
            metadata=None,
            extratags=[(*tag, True) for tag in metadata.tags],
            resolution=metadata.resolution,
            resolutionunit=metadata.resolution_unit,
            iccprofile=metadata.icc,
            description=metadata.description and metadata.description.encode(),
        )
    return path


def read(path, colors_converted=False):
    with tifffile.TiffFile(path) as tiff:
        return carried_over(tiff.pages.first, colors_converted=colors_converted)


def georeferencing(path):
    with open_gdal(path) as image:
        points, crs = image.gcps
        gcps = [(point.row, point.col, point.x, point.y, point.z) for point in points]
        rpcs = image.rpcs and image.rpcs.to_gdal()
        return image.crs, image.transform, image.bounds, gcps, crs, rpcs, image.tags().get("AREA_OR_POINT")
