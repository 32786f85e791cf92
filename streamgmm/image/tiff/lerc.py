"""Tiles compressed by LERC, whose blobs hold a mask where samples are NaN, or where alpha is 0."""

import imagecodecs
import numpy as np

from ..samples import full_value

LERC = 34887  # value of Compression (tag 259)
PARAMETERS = 50674  # LercParameters: the version, and what the blob is compressed by once more
AGAIN = {1: imagecodecs.zlib_decode, 2: imagecodecs.zstd_decode}


def decode_lerc(data: bytes | bytearray, parameters: tuple[int, ...] | None, n_samples: int) -> np.ndarray:
    """Return samples of shape (height, width, n_samples), as libtiff does: NaN where floats are masked, and alpha of its mask.

    Parameters
    ----------
    data : bytes
        The blob.
    parameters : tuple of int, or None
        LercParameters (tag 50674).
    n_samples : int
        Samples of a pixel, of which the blob leaves out an alpha that is nowhere but 0 and full.
    """
    if parameters and parameters[1]:
        data = AGAIN[parameters[1]](data)
    decoded = imagecodecs.lerc_decode(data, masks=True)
    samples, valid = decoded if isinstance(decoded, tuple) else (decoded, None)
    if valid is not None and valid.ndim == 3:  # a mask for each band: bands come first
        samples, valid = np.moveaxis(samples, 0, -1), np.moveaxis(valid, 0, -1)
    samples = np.array(samples if samples.ndim == 3 else samples[:, :, None])
    if valid is not None and samples.dtype.kind == "f":
        samples[~valid] = np.nan
    if samples.shape[2] == n_samples - 1:
        alpha = np.full(samples.shape[:2], full_value(samples.dtype), samples.dtype)
        if valid is not None:
            alpha[~valid] = 0
        samples = np.dstack([samples, alpha])
    return samples
