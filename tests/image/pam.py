"""Files of PAM, as GDAL writes them beside an image."""

from pathlib import Path

import rasterio

UTM31 = rasterio.CRS.from_epsg(32631).to_wkt()
LIES = "<GeoTransform> 250000,  20,  5, 5887000,  2, -30</GeoTransform>"
TRANSFORM = rasterio.Affine.from_gdal(250_000, 20, 5, 5_887_000, 2, -30)


def escaped(wkt):
    return wkt.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


def srs(wkt=UTM31):
    return f'<SRS dataAxisToSRSAxisMapping="1,2">{escaped(wkt)}</SRS>'


def bands(*contents):
    return "".join(f'<PAMRasterBand band="{i}">{content}</PAMRasterBand>' for i, content in enumerate(contents, 1))


def nodata(*values):
    return bands(*(f"<NoDataValue>{value}</NoDataValue>" if value is not None else "" for value in values))


def write_pam(image, *parts):
    path = Path(f"{image}.aux.xml")
    path.write_text(f"<PAMDataset>{''.join(parts)}</PAMDataset>", encoding="utf-8")
    return path
