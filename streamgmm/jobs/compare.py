"""Comparing two images: how good one is as a picture of the other."""

import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from ..errors import NoPixelsError, OptionError
from ..image.image import Image, Source
from ..image.open import open_images
from ..image.tiles import TileGrid, Window, common_multiple, reading_unit
from ..model.difference import HALO, Difference, difference, planes_of
from ..model.warmup import compile_comparison
from ..options import CompareOptions, ImageOptions, ReadOptions, ResourceOptions
from ..options.fields import flat
from .clock import Clock
from .passes.blocks import BLOCK_PIXELS
from .passes.checkpoint import Checkpoint
from .passes.engine import LocalEngine
from .passes.sums import Sum
from .passes.tasks import Part
from .resources import Resources

Ends = tuple[float, float]


@dataclass(frozen=True)
class Compare(ResourceOptions, ImageOptions, CompareOptions):
    """What :func:`compare` is given."""

    a: Source
    b: Source


@dataclass(frozen=True)
class Comparison:
    """How far two images are apart.

    Attributes
    ----------
    a, b : str
        Their names.
    width, height : int
    compared_pixels : int
        Pixels that are masked in neither; only these count.
    masked_once : int
        Pixels that are masked in one of them alone.
    psnr_db : float or None
        Peak signal-to-noise ratio over red, green and blue; None where the images are equal.
    delta_e_2000 : float
        Mean CIE Delta E 2000.
    ssim : float or None
        Mean structural similarity over all windows of 11 x 11 pixels without a masked one, and over red, green and blue; None
        where there is no such window.
    """

    a: str
    b: str
    width: int
    height: int
    compared_pixels: int
    masked_once: int
    psnr_db: float | None
    delta_e_2000: float
    ssim: float | None

    def to_json(self) -> str:
        """Write as JSON."""
        return json.dumps(asdict(self), indent=2) + "\n"


@flat(Compare)
def compare(given: Compare) -> Comparison:
    """Tell how far two images of one size are apart: PSNR, mean CIE Delta E 2000, and SSIM.

    Gray is compared as red, green and blue that are equal, samples of 8 and 16 bits by their types, and floats as 16 bits of a
    range. Colors are taken for sRGB (IEC 61966-2-1), and its white for that of Lab. SSIM is that of Wang, Bovik, Sheikh and
    Simoncelli (2004), with a Gaussian window of 11 x 11 pixels (sigma 1.5), K1 = 0.01 and K2 = 0.03, the mean over red, green
    and blue; windows that reach over the border, or over a masked pixel, do not count. All depends on the images alone, to the
    last bit.

    Parameters
    ----------
    a, b : path, or ndarray of shape (height, width[, bands])
    display_range : "auto", "type" or (low, high)
        Stored samples of ``a`` that are black and white, and of ``b`` where it has more than 8 bits. "auto" and "type": those
        of the type, which integers of up to 16 bits have; others need a range.
    bands, nodata, alpha, page, level, indices, pages_as_bands
        As in :func:`streamgmm.open_image`, of ``a``; ``b`` is read as its file says. Where that is neither gray nor RGB,
        ``bands`` are those of both.
    chunk_size, threads, memory, progress
        As in :func:`streamgmm.fit_image`.

    Returns
    -------
    Comparison

    Raises
    ------
    OptionError, ImageReadError, UnsupportedImageError, NoPixelsError, MemoryBudgetError, Cancelled
    """
    return compare_images(given)


class Pair(NamedTuple):
    """A window of both images."""

    images: tuple[Image, Image]
    window: Window
    position: int

    @property
    def n_pixels(self) -> int:
        """Pixels in it, masked ones too."""
        return self.window.height * self.window.width


@dataclass(frozen=True)
class Differ:
    """Compare a window of both images.

    Attributes
    ----------
    ends : tuple
        Samples of each image that are black and white; None are those of its type.
    """

    ends: tuple[Ends | None, Ends | None]

    def __call__(self, pair: Pair) -> Part:
        """Return the difference there."""
        (height, width, _), window = pair.images[0].shape, pair.window
        more = Window(
            window.top,
            window.left,
            min(window.height + HALO, height - window.top),
            min(window.width + HALO, width - window.left),
        )
        read = [image.read(more) for image in pair.images]
        planes = [planes_of(pixels, ends) for (pixels, _), ends in zip(read, self.ends, strict=True)]
        found = difference(planes[0], planes[1], (read[0].valid, read[1].valid), (window.height, window.width))
        return Part(found, found.n_pixels)


class Differences(Sum):
    """The difference of two images, window after window."""

    def __init__(self) -> None:
        super().__init__()
        self.total = Difference()

    def take(self, value: Difference, block: Any) -> None:
        """Add that of a window."""
        self.total += value


def compare_images(given: Compare) -> Comparison:
    """Do the job of :func:`compare`."""
    resources, clock = Resources.of(given), Clock(given.progress)
    with _opened(given, resources) as images:
        a, b = images
        height, width, _ = a.shape
        task = Differ((_ends(a, given, always=True), _ends(b, given, always=False)))
        pairs = [Pair(images, window, index) for index, window in enumerate(_windows(images))]
        pixel_bytes = sum(image.shape[2] * image.dtype.itemsize for image in images)
        rest = resources.without(a.held + b.held, a.name, "images that are decoded as a whole")
        found = Differences()
        with clock.phase("compile", 0):
            compile_comparison()
        with LocalEngine(rest.threads, rest.chunk(pixel_bytes)) as engine, clock.phase("compare", height * width) as advance:
            step = Checkpoint(None).step("compare")
            engine.reduce(task, pairs, found, pixel_bytes * pairs[0].n_pixels, step, advance)
        for image in images:
            image.check_unchanged()
        total = found.total
        if not total.n_pixels:
            raise NoPixelsError(f"{a.name}: each pixel is masked there or in {b.name}; there is nothing to compare")
        sums = total.n_pixels, total.n_masked_once, total.psnr_db, total.mean_delta_e, total.ssim
        return Comparison(a.name, b.name, width, height, *sums)


@contextmanager
def _opened(given: Compare, resources: Resources) -> Iterator[tuple[Image, Image]]:
    """Give the images, which can be compared."""
    reading, plain = given.part(ReadOptions), ReadOptions()
    with closing(_open(given.a, reading, resources)) as a:
        left = resources.without(a.held, a.name, "images that are decoded as a whole")
        with closing(_open(given.b, plain, left)) as b:
            if _is_picture(b) or given.bands is None:
                yield _comparable(a, b)
                return
        with closing(_open(given.b, replace(plain, bands=given.bands), left)) as b:
            yield _comparable(a, b)


def _open(source: Source, reading: ReadOptions, resources: Resources) -> Image:
    return open_images(source, reading, resources.budget())[0]


def _is_picture(image: Image) -> bool:
    return image.shape[2] in (1, 3)


def _comparable(a: Image, b: Image) -> tuple[Image, Image]:
    """Refuse images of different sizes, and what is neither gray nor RGB."""
    (height, width, _), (other_height, other_width, _) = a.shape, b.shape
    if (height, width) != (other_height, other_width):
        raise OptionError(
            f"{a.name} has {width} x {height} pixels, {b.name} {other_width} x {other_height}; compare images of one size"
        )
    for image in (a, b):
        if not _is_picture(image):
            raise OptionError(f"{image.name}: {image.shape[2]} bands; choose one or three with --bands, such as 1,2,3")
    return a, b


def _ends(image: Image, given: Compare, always: bool) -> Ends | None:
    """Return the samples that are black and white, as they are read; None are those of the type."""
    floating = image.dtype.kind == "f"
    if isinstance(given.display_range, str):
        if floating:
            raise OptionError(
                f"{image.name}: samples are floats, or wider than 16 bits, and have no range; say with --display-range "
                "LOW,HIGH which are black and white"
            )
        return None
    if not always and image.dtype == np.uint8:
        return None
    gain, zero = (1.0, 0.0) if floating else image.units
    low, high = (gain * end + zero for end in given.display_range)
    return low, high


def _windows(images: Sequence[Image]) -> TileGrid:
    """Return the windows to read at once: they depend on the images alone, and so does the order of all sums."""
    (height, width, _), segments = images[0].shape, [image.segment for image in images]
    tall, wide = (common_multiple(max(lengths), min(lengths)) for lengths in zip(*segments, strict=True))
    return TileGrid(Window(0, 0, height, width), reading_unit((height, width), (tall, wide), BLOCK_PIXELS))
