"""Every option once: its name, type, default, allowed values and a line of help; commands and functions are made from these."""

from .fit import MAX_COMPONENTS, PICTURE_BANDS, CovarianceType, FitOptions, Method, Preset, Sort, Space
from .image import ClassMapOptions, ImageOptions, ReadOptions
from .output import (
    COMPRESSION_LEVELS,
    PALETTE_SUFFIXES,
    BigTiff,
    Color,
    CompareOptions,
    Compression,
    Dither,
    Form,
    OutputOptions,
    Resampling,
    Structure,
    WriteOptions,
)
from .run import JobOptions, Progress, ResourceOptions, RunOptions
from .values import Init, Ranges, Start
