"""Writing images in the colours of a model: tiles through a spool, reduced levels, then files that appear whole."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..image.atomic import output_errors
from ..image.pyramid import reduced_tile
from ..image.source import Image
from ..image.spool import Spool
from ..image.tiles import TileGrid, Window, writing_unit
from ..image.writer import Layout, encode_tile, write_tiff
from ..model import kernels
from ..model.colours import ColourTable
from ..model.mixture import Mixture
from ..model.palette import confidence, palette_of
from ..model.parameters import as_pixels, scale_of
from .engine import LocalEngine
from .options import WriteOptions
from .palette_file import write_palette
from .pixels import PixelStream, valid_pixels
from .report import Clock, psnr
from .resources import Resources

Labeller = Callable[[np.ndarray], np.ndarray]


class Tally:
    """Adds up how far palette colours are from the pixels, and how often each is used."""

    def __init__(self, mixture: Mixture, dtype: np.dtype):
        self._scale = scale_of(dtype)
        colours = np.rint(np.clip(mixture.means, 0, 1) * 255) / 255
        self._palette = (colours * self._scale).astype(np.float32)
        self.used = np.zeros(mixture.n_components)
        self.complete = False
        self._error = 0.0

    def of(self, pixels: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> tuple[float, np.ndarray]:
        """Return the sum of squared errors, and the pixels of each label. Safe to call from several threads."""
        used = np.zeros(len(self.used))
        weights = np.empty(0) if weights is None else weights
        error = kernels.tally(as_pixels(pixels), weights, labels.reshape(-1), self._palette, used)
        return error, used

    def add(self, part: tuple[float, np.ndarray]) -> None:
        """Add one part, in the order of the tiles."""
        self._error += part[0]
        self.used += part[1]

    def add_all(self, table: ColourTable, labels: np.ndarray) -> None:
        """Add all pixels at once, from their colours and the labels of these."""
        self.add(self.of(table.colours, labels, table.counts))
        self.complete = True

    @property
    def colors_used(self) -> int:
        """Number of labels that occur."""
        return int(np.count_nonzero(self.used))

    @property
    def psnr_db(self) -> float | None:
        """Peak signal-to-noise ratio over all samples, or None where there is no error."""
        return psnr(self._error / self._scale**2, self.used.sum() * self._palette.shape[1])


@dataclass(frozen=True)
class Plate:
    """One file to write of what is read: its layouts, one for each image, and what its pixels become."""

    path: Path
    layouts: Sequence[Layout]
    labeller: Labeller


@dataclass(frozen=True)
class Painter:
    """Reads the images of a stream once, and writes files of them."""

    stream: PixelStream
    engine: LocalEngine
    resources: Resources
    clock: Clock
    options: WriteOptions

    def paint(self, dst: Path, mixture: Mixture | None, labeller: Labeller, tally: Tally | None) -> int | None:
        """Write the images in the colours of a mixture, and what else was asked for.

        Parameters
        ----------
        dst : Path
        mixture : Mixture or None
            None where all pixels are masked, and there is no tally.
        labeller : function from pixels (n, D) to labels (n,)
        tally : Tally or None
            Adds up what is labelled, unless it is complete.

        Returns
        -------
        int or None
            The label of masked pixels, where there are any.
        """
        images, masked, options = self.stream.images, self.stream.masked(), self.options
        n_bands = mixture.n_bands if mixture else self.stream.n_bands
        palette = palette_of(mixture, options.display(n_bands)) if mixture else np.empty((0, 3), np.uint8)
        plates = [Plate(dst, [options.image_layout(image, palette, masked) for image in images], labeller)]
        if options.confidence is not None:
            layouts = [options.confidence_layout(image, masked) for image in images]
            of_pixels: Labeller = partial(confidence, mixture=mixture) if mixture else labeller
            plates.append(Plate(Path(options.confidence), layouts, of_pixels))
        nodata = len(palette) if masked else None
        self._write(plates, None if tally is None or tally.complete else tally)
        if options.palette_out is not None:
            write_palette(Path(options.palette_out), palette, mixture, tally.used if tally else np.empty(0), nodata)
        return nodata

    def _write(self, plates: Sequence[Plate], tally: Tally | None) -> None:
        with ExitStack() as stack:
            spools = []
            for plate in plates:
                stack.enter_context(output_errors(plate.path))
                spools.append(stack.enter_context(Spool(plate.path.parent, sum(layout.n_tiles for layout in plate.layouts))))
            firsts = [0] * len(plates)
            images = self.stream.images
            with self.clock.phase("label", sum(image.shape[0] * image.shape[1] for image in images)) as advance:
                for number, image in enumerate(images):
                    pages = [(plate.labeller, plate.layouts[number]) for plate in plates]
                    self._label(image, pages, spools, firsts, tally, advance)
                    firsts = [first + layout.n_tiles for first, (_, layout) in zip(firsts, pages, strict=True)]
            for plate, spool in zip(plates, spools, strict=True):
                self._reduce(plate.layouts, spool)
            for plate, spool in zip(plates, spools, strict=True):
                with self.clock.phase("write", 0):
                    write_tiff(plate.path, spool, plate.layouts, self.options.layout, self.options.bigtiff)

    def _label(
        self,
        image: Image,
        pages: Sequence[tuple[Labeller, Layout]],
        spools: Sequence[Spool],
        firsts: Sequence[int],
        tally: Tally | None,
        advance: Callable[[int], None],
    ) -> None:
        """Put the full-resolution tiles of an image into the spools."""
        (height, width, bands), tile = image.shape, pages[0][1].tile
        tiles = TileGrid(Window(0, 0, height, width), tile)
        windows = TileGrid(tiles.area, (writing_unit(tile[0], image.segment[0]), writing_unit(tile[1], image.segment[1])))
        pixel_bytes = bands * image.dtype.itemsize
        in_flight = self.resources.chunk(pixel_bytes) // (windows[0].height * windows[0].width * pixel_bytes)

        def task(window: Window):
            read, shape = image.read(window), (window.height, window.width)
            pixels = self.stream.samples(valid_pixels(read))
            drawn = [labeller(pixels) for labeller, _ in pages]
            part = tally.of(pixels, drawn[0]) if tally else None
            encoded = []
            for labels, (_, layout) in zip(drawn, pages, strict=True):
                labels = _spread(labels, read.valid, shape, layout)
                places = TileGrid(window, layout.tile)
                encoded.append([(tiles.index_of(t), encode_tile(labels[t.within(window).slices], layout)) for t in places])
            return window.height * window.width, encoded, part

        for n_pixels, encoded, part in self.engine.stream(task, windows, in_flight):
            for spool, first, page in zip(spools, firsts, encoded, strict=True):
                for index, data in page:
                    spool.put(first + index, data)
            if tally and part:
                tally.add(part)
            advance(n_pixels)

    def _reduce(self, layouts: Sequence[Layout], spool: Spool) -> None:
        """Put the tiles of all reduced levels into the spool, each level made from the one below."""
        total = sum(grid.area.height * grid.area.width for layout in layouts for grid in layout.grids[1:])
        if not total:
            return
        first = 0
        with self.clock.phase("reduce", total) as advance:
            for layout in layouts:
                start = first + len(layout.grids[0])
                for level, grid in enumerate(layout.grids[1:], 1):
                    task = partial(reduced_tile, spool, layout, level, first=first)
                    tile_bytes = 4 * layout.tile[0] * layout.tile[1] * layout.sample_dtype.itemsize
                    in_flight = self.resources.chunk(1) // tile_bytes
                    for index, data in enumerate(self.engine.stream(task, range(len(grid)), in_flight)):
                        spool.put(start + index, data)
                        advance(grid[index].height * grid[index].width)
                    start += len(grid)
                first += layout.n_tiles


def _spread(labels: np.ndarray, valid: np.ndarray | None, shape: tuple[int, int], layout: Layout) -> np.ndarray:
    """Return the labels of a window, shape (height, width), from those of its pixels that are not masked."""
    labels = labels.astype(layout.dtype, copy=False)
    if valid is None:
        return labels.reshape(shape)
    window = np.full(shape, layout.nodata, layout.dtype)
    window[valid] = labels
    return window
