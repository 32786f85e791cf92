"""YCbCr without JPEG: luma, and chroma that may be stored more coarsely (TIFF 6.0, section 21)."""

from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
import tifffile

COEFFICIENTS, SUBSAMPLING, REFERENCE = 529, 530, 532  # tags
# Compression (tag 259) of Aperio's slides in JPEG 2000, which says what colors are, whatever the photometric interpretation.
APERIO_YCBCR, APERIO_RGB = 33003, 33005
# ITU-R BT.601, and the range of 8-bit codes, where the file says nothing.
BT601 = (0.299, 0.587, 0.114)
FULL_RANGE = (0.0, 255.0, 128.0, 255.0, 128.0, 255.0)


def decodes_colors(page: tifffile.TiffPage) -> bool:
    """Whether the codec of a page turns YCbCr into RGB itself, as JPEG does."""
    return page.compression in tifffile.TIFF.IMAGE_COMPRESSIONS or page.compression == tifffile.COMPRESSION.JPEG


@dataclass(frozen=True)
class Subsampling:
    """How the chroma of a page is stored, where that is not one sample for each pixel.

    Attributes
    ----------
    across, down : int
        Pixels to a chroma sample (YCbCrSubSampling, tag 530).
    decompress : function from bytes and the size expected to bytes, or None
    planar, predicted : bool
        Whether the planes are stored apart, and as differences.
    """

    across: int
    down: int
    decompress: Any
    planar: bool
    predicted: bool

    @classmethod
    def of(cls, page: tifffile.TiffPage) -> "Subsampling | None":
        """Return the subsampling of a page, or None where there is none, or JPEG takes care of it.

        Raises
        ------
        NotImplementedError
            Where it is of a rare kind.
        """
        if page.photometric != tifffile.PHOTOMETRIC.YCBCR or decodes_colors(page):
            return None
        across, down = page.tags.valueof(SUBSAMPLING, (2, 2))
        if (across, down) == (1, 1):
            return None
        planar, predicted = page.planarconfig == tifffile.PLANARCONFIG.SEPARATE, page.predictor == tifffile.PREDICTOR.HORIZONTAL
        if page.bitspersample != 8 or page.samplesperpixel != 3 or (predicted and not planar) or page.fillorder != 1:
            raise NotImplementedError("subsampled YCbCr with a predictor, reversed bits, or not of 3 samples of 8 bits")
        decompress = None if page.compression == 1 else tifffile.TIFF.DECOMPRESSORS[page.compression]
        return cls(int(across), int(down), decompress, planar, predicted)

    def decode(self, planes: list, shape: tuple[int, int]) -> np.ndarray:
        """Return the YCbCr samples of a segment, shape (height, width, 3), chroma repeated.

        Parameters
        ----------
        planes : list of bytes
            Encoded: one for each plane, or one with all.
        shape : tuple of int
            Height and width of the segment.
        """
        height, width = shape
        rows, columns = -(-height // self.down), -(-width // self.across)
        if self.planar:
            sizes = (shape, (rows, columns), (rows, columns))
            luma, *chroma = [self._plane(data, size) for data, size in zip(planes, sizes, strict=True)]
        else:
            n_luma = self.across * self.down
            units = self._plane(planes[0], (rows, columns, n_luma + 2))
            luma = units[..., :n_luma].reshape(rows, columns, self.down, self.across).swapaxes(1, 2)
            luma = luma.reshape(rows * self.down, columns * self.across)[:height, :width]
            chroma = [units[..., n_luma], units[..., n_luma + 1]]
        chroma = [plane.repeat(self.down, axis=0).repeat(self.across, axis=1)[:height, :width] for plane in chroma]
        return np.stack([luma, *chroma], axis=2)

    def _plane(self, data: Any, shape: tuple[int, ...]) -> np.ndarray:
        size = int(np.prod(shape))
        if self.decompress:
            data = self.decompress(data, out=size)
        plane = np.frombuffer(data, np.uint8)[:size].reshape(shape)
        return imagecodecs.delta_decode(plane, axis=-1) if self.predicted else plane


@dataclass(frozen=True)
class FromYCbCr:
    """Turns 8-bit YCbCr into RGB.

    Attributes
    ----------
    luma : tuple of float
        Shares of red, green and blue in luma (YCbCrCoefficients, tag 529).
    reference : tuple of float
        Codes of black and white in Y, Cb and Cr (ReferenceBlackWhite, tag 532).
    """

    luma: tuple[float, ...] = BT601
    reference: tuple[float, ...] = FULL_RANGE

    @classmethod
    def of(cls, page: tifffile.TiffPage) -> "FromYCbCr":
        """Read the tags of a page."""
        return cls(_rationals(page, COEFFICIENTS, BT601), _rationals(page, REFERENCE, FULL_RANGE))

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Return the RGB colors of samples (..., 3), uint8."""
        (red, green, blue), code = self.luma, self.reference
        y, cb, cr = (
            (samples[..., i].astype(np.float32) - code[2 * i]) * ((255.0, 127.0, 127.0)[i] / (code[2 * i + 1] - code[2 * i]))
            for i in range(3)
        )
        r, b = y + cr * (2 - 2 * red), y + cb * (2 - 2 * blue)
        g = (y - blue * b - red * r) / green
        return np.rint(np.clip(np.stack([r, g, b], axis=-1), 0, 255)).astype(np.uint8)


def _rationals(page: tifffile.TiffPage, code: int, default: tuple[float, ...]) -> tuple[float, ...]:
    """Return the values of a tag of rationals, or the default where it is absent or makes no sense."""
    value = page.tags.valueof(code)
    if not isinstance(value, tuple) or len(value) != 2 * len(default) or not all(value[1::2]):
        return default
    values = tuple(n / d for n, d in zip(value[::2], value[1::2], strict=True))
    sound = values[1] > 0 if code == COEFFICIENTS else all(values[i] != values[i + 1] for i in (0, 2, 4))
    return values if sound else default
