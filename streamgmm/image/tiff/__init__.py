"""The TIFF reader."""
