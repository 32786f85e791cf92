"""TIFFs as GDAL writes and reads them."""

import warnings
from functools import wraps

import numpy as np
import rasterio
from rasterio.enums import Resampling


def quietly(function):
    """Call a function without being told that an image is not georeferenced."""

    @wraps(function)
    def called(*arguments, **keywords):
        with warnings.catch_warnings(action="ignore", category=rasterio.errors.NotGeoreferencedWarning):
            return function(*arguments, **keywords)

    return called


open_gdal = quietly(rasterio.open)


@quietly
def write_gdal(path, pixels, mask=None, factors=(), colormap=None, **options):
    """Write pixels (height, width, bands) with GDAL, with its mask and its reduced levels by some factors."""
    height, width, bands = pixels.shape
    profile = {"driver": "GTiff", "height": height, "width": width, "count": bands, "dtype": pixels.dtype}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        with rasterio.open(path, "w", **profile | options) as file:
            if colormap:
                file.write_colormap(1, colormap)
            file.write(np.moveaxis(pixels, -1, 0))
            if mask is not None:
                file.write_mask(mask)
        if factors:
            with rasterio.open(path, "r+") as file:
                file.build_overviews(factors, Resampling.nearest)
    return path


@quietly
def read_gdal(path, level=0):
    """Pixels (height, width, bands) of a reduced level, 0 being the image, as GDAL reads them; and its mask."""
    with rasterio.open(path, **({"overview_level": level - 1} if level else {})) as file:
        return np.moveaxis(file.read(), 0, -1), file.dataset_mask() != 0
