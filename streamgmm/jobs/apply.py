"""Labelling every pixel of an image with a model, into a TIFF."""

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..errors import ModelError, OptionError
from ..image.atomic import check_output, output_errors
from ..image.source import Image, Source, open_image
from ..image.spool import Spool
from ..image.tiles import TileGrid, Window, writing_unit
from ..image.writer import COMPRESSIONS, Compression, Layout, encode_tile, write_tiff
from ..model import kernels
from ..model.mixture import Mixture
from ..model.palette import LookupTable, classify, has_table, label_dtype, palette_of
from ..model.parameters import as_pixels, scale_of
from ..model.warmup import compile_kernels
from .engine import LocalEngine
from .report import Clock, Progress, Report, psnr
from .resources import Resources

# Side of an output tile where the input has none of its own between these sides: GDAL's default.
TILE, SMALLEST_TILE, LARGEST_TILE = 256, 128, 2048
# Pixels from which it pays to label all 2^24 colours first, and then look them up.
LOOKUP_PIXELS = 1 << 24

Labeller = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class WriteOptions:
    """How an image is written; see :func:`apply`."""

    labels: bool = False
    compression: Compression = "deflate"
    tile_size: int | None = None
    overwrite: bool = False

    def __post_init__(self):
        if self.compression not in COMPRESSIONS:
            raise OptionError(f"compression is {self.compression!r}; choose {', '.join(COMPRESSIONS)}")
        if self.tile_size is not None and (self.tile_size < 16 or self.tile_size % 16):
            raise OptionError(f"tile size is {self.tile_size}; TIFF asks for a multiple of 16")

    def layout(self, image: Image, mixture: Mixture) -> Layout:
        """Return the layout of the output for an image and a model."""
        height, width, _ = image.shape
        side = self.tile_size or TILE
        tile = (side, side)
        longest = max(TILE, 2 * height, 2 * width)  # libvips refuses tiles far larger than the image
        if self.tile_size is None and image.tile and all(_usable(side) and side <= longest for side in image.tile):
            tile = image.tile
        palette = None if self.labels else palette_of(mixture)
        return Layout((height, width), tile, label_dtype(mixture.n_components), palette, self.compression)


def apply(
    model: Mixture | str | os.PathLike,
    src: Source,
    dst: str | os.PathLike,
    *,
    labels: bool = False,
    compression: Compression = "deflate",
    tile_size: int | None = None,
    overwrite: bool = False,
    chunk_size: str | int = "64MiB",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Give every pixel of an image the colour of its most probable component, and write a palette TIFF.

    Parameters
    ----------
    model : Mixture, or path of a model file
    src : path, or ndarray of shape (height, width[, bands])
    dst : path
        The output, which appears whole or not at all.
    labels : bool
        Write a plain class map, without colours.
    compression : {"deflate", "none", "lzw", "zstd"}
    tile_size : int, optional
        Side of the output's tiles, a multiple of 16; by default the input's tiles, or 256.
    overwrite : bool
        Replace an output that exists.
    chunk_size, threads, progress
        As in :func:`streamgmm.fit_image`.

    Returns
    -------
    Report

    Raises
    ------
    OptionError, ModelError, ImageReadError, UnsupportedImageError, OutputError, MemoryBudgetError, Cancelled
    """
    options, dst = WriteOptions(labels, compression, tile_size, overwrite), Path(dst)
    resources, clock = Resources.of(chunk_size, threads), Clock(progress)
    inputs = [Path(item) for item in (model, src) if isinstance(item, str | os.PathLike)]
    mixture = model if isinstance(model, Mixture) else load_model(model)
    check_output(dst, inputs, overwrite)
    with ExitStack() as stack:
        image = open_image(src, budget=resources.budget())
        stack.callback(image.close)
        if image.shape[2] != mixture.n_bands:
            raise ModelError(
                f"{image.name}: {image.shape[2]} bands; the model is for {mixture.n_bands}, fit one to such images"
            )
        engine = stack.enter_context(LocalEngine(resources.threads))
        table = has_table(image.dtype, mixture.n_bands) and image.shape[0] * image.shape[1] >= LOOKUP_PIXELS
        with clock.phase("compile", 0):
            compile_kernels(image.dtype, mixture.n_bands, mixture.n_components, engine.threads, table=table)
        if table:
            labeller: Labeller = LookupTable.of_all_colours(mixture, engine.threads)
        else:
            labeller = partial(classify, mixture=mixture)
        tally = Tally(mixture, image)
        Painter(image, dst, options.layout(image, mixture), engine, resources, clock).paint(labeller, tally)
    return Report(
        input=image.name,
        output=str(dst),
        model=mixture.to_dict(),
        method="apply",
        n_components=mixture.n_components,
        iterations=0,
        converged=True,
        log_likelihood=[],
        seconds=clock.seconds,
        pixels=clock.pixels,
        distinct_colors=None,
        colors_used=tally.colors_used,
        psnr_db=tally.psnr_db,
    )


def _usable(side: int) -> bool:
    return SMALLEST_TILE <= side <= LARGEST_TILE and side % 16 == 0


def load_model(path: str | os.PathLike) -> Mixture:
    """Read a model file.

    Raises
    ------
    ModelError
        Where it cannot be read, or is no model.
    """
    try:
        return Mixture.from_json(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None
    except UnicodeDecodeError:
        raise ModelError(f"{path}: not a model file (it is not text)") from None
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None


class Tally:
    """Adds up how far palette colours are from the pixels, and how often each is used."""

    def __init__(self, mixture: Mixture, image: Image):
        self._scale = scale_of(image.dtype)
        colours = np.rint(np.clip(mixture.means, 0, 1) * 255) / 255
        self._palette = (colours * self._scale).astype(np.float32)
        self._used = np.zeros(mixture.n_components)
        self._error = 0.0
        self._samples = 0

    def of(self, pixels: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> tuple[float, np.ndarray]:
        """Return the sum of squared errors, and the pixels of each label. Safe to call from several threads."""
        used = np.zeros(len(self._used))
        weights = np.empty(0) if weights is None else weights
        error = kernels.tally(as_pixels(pixels), weights, labels.reshape(-1), self._palette, used)
        return error, used

    def add(self, part: tuple[float, np.ndarray]) -> None:
        """Add one part, in the order of the tiles."""
        self._error += part[0]
        self._used += part[1]

    @property
    def colors_used(self) -> int:
        """Number of labels that occur."""
        return int(np.count_nonzero(self._used))

    @property
    def psnr_db(self) -> float | None:
        """Peak signal-to-noise ratio over all samples, or None where there is no error."""
        return psnr(self._error / self._scale**2, self._used.sum() * self._palette.shape[1])


@dataclass(frozen=True)
class Painter:
    """Reads an image, labels it, and writes the tiles: through a spool, then as a TIFF that appears whole."""

    image: Image
    dst: Path
    layout: Layout
    engine: LocalEngine
    resources: Resources
    clock: Clock

    def paint(self, labeller: Labeller, tally: Tally | None = None) -> None:
        """Write the labels of all pixels; on the way add them up, where there is a tally."""
        image, layout = self.image, self.layout
        height, width, bands = image.shape
        tiles = TileGrid(Window(0, 0, height, width), layout.tile)
        windows = TileGrid(
            tiles.area, (writing_unit(layout.tile[0], image.segment[0]), writing_unit(layout.tile[1], image.segment[1]))
        )
        pixel_bytes = bands * image.dtype.itemsize
        in_flight = self.resources.chunk(pixel_bytes) // (windows[0].height * windows[0].width * pixel_bytes)

        def task(window: Window):
            pixels = image.read(window)
            labels = labeller(pixels)
            encoded = [
                (tiles.index_of(tile), encode_tile(labels[tile.within(window).slices], layout))
                for tile in TileGrid(window, layout.tile)
            ]
            return labels.size, encoded, tally.of(pixels, labels) if tally else None

        with output_errors(self.dst), Spool(self.dst.parent, len(tiles)) as spool:
            with self.clock.phase("label", height * width) as advance:
                for n_pixels, encoded, part in self.engine.stream(task, windows, in_flight):
                    for index, data in encoded:
                        spool.put(index, data)
                    if tally and part:
                        tally.add(part)
                    advance(n_pixels)
            with self.clock.phase("write", 0):
                write_tiff(self.dst, spool, layout)
