"""The TIFF writer: finished tiles, and the file that is assembled from them."""
