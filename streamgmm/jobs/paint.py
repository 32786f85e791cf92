"""Writing images in the colours of a model: tiles through a spool, reduced levels, then files that appear whole."""

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..errors import QualityError
from ..image.atomic import output_errors, replacing
from ..image.pyramid import reduced_tile
from ..image.spool import Spool
from ..image.tiles import TileGrid, Window, writing_unit
from ..image.writer import Layout, assemble_tiff, encode_tile
from ..model import kernels
from ..model.colours import ColourTable
from ..model.mixture import Mixture
from ..model.palette import confidence, palette_of
from ..model.parameters import as_pixels, scale_of
from .checkpoint import Checkpoint, State
from .engine import LocalEngine
from .options import RunOptions, WriteOptions
from .palette_file import palette_text
from .pixels import PixelStream, valid_pixels
from .report import Clock, psnr
from .resources import Resources

log = logging.getLogger(__name__)

Labeller = Callable[[np.ndarray], np.ndarray]
Tiles = list[tuple[int, bytes]]
TallyPart = tuple[float, np.ndarray]


class Tally:
    """Adds up how far palette colours are from the pixels, and how often each is used."""

    def __init__(self, mixture: Mixture, dtype: np.dtype):
        self._scale = scale_of(dtype)
        colours = np.rint(np.clip(mixture.means, 0, 1) * 255) / 255
        self._palette = (colours * self._scale).astype(np.float32)
        self.used = np.zeros(mixture.n_components)
        self.complete = False
        self.error = 0.0

    def of(self, pixels: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> TallyPart:
        """Return the sum of squared errors, and the pixels of each label. Safe to call from several threads."""
        used = np.zeros(len(self.used))
        weights = np.empty(0) if weights is None else weights
        error = kernels.tally(as_pixels(pixels), weights, labels.reshape(-1), self._palette, used)
        return error, used

    def add(self, part: TallyPart) -> None:
        """Add one part, in the order of the tiles."""
        self.error += part[0]
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
        return psnr(self.error / self._scale**2, self.used.sum() * self._palette.shape[1])


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
    run: RunOptions

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

        def text(path: Path) -> str:
            return palette_text(path, palette, mixture, tally.used if tally else np.empty(0), nodata)

        self._write(plates, tally, text)
        return nodata

    def _write(self, plates: Sequence[Plate], tally: Tally | None, text: Callable[[Path], str]) -> None:
        images = self.stream.images
        with ExitStack() as stack:
            for plate in plates:
                stack.enter_context(output_errors(plate.path))
            canvas = stack.enter_context(Canvas(plates, tally, self.stream.checkpoint))
            with self.clock.phase("label", sum(image.shape[0] * image.shape[1] for image in images)) as advance:
                for number in range(len(images)):
                    self._label(number, plates, canvas, advance)
            for number in range(len(plates)):
                self._reduce(number, plates[number].layouts, canvas)
            for image in images:
                image.check_unchanged()
            if tally:
                self._check_psnr(tally)
            with self.clock.phase("write", 0):
                self._assemble(plates, canvas, text)

    def _assemble(self, plates: Sequence[Plate], canvas: "Canvas", text: Callable[[Path], str]) -> None:
        """Write all files; they appear together, the first plate first, when all are whole."""
        options, paths = self.options, [plate.path for plate in plates]
        if options.palette_out is not None:
            paths.append(Path(options.palette_out))
        with ExitStack() as stack:
            parts = [stack.enter_context(replacing(path)) for path in reversed(paths)][::-1]
            for plate, spool, part in zip(plates, canvas.spools, parts, strict=False):
                with output_errors(plate.path):
                    assemble_tiff(part, plate.path, spool, plate.layouts, options.layout, options.bigtiff, options.fingerprint)
            for path, part in zip(paths[len(plates) :], parts[len(plates) :], strict=True):
                with output_errors(path):
                    part.write_text(text(path), encoding="utf-8")

    def _check_psnr(self, tally: Tally) -> None:
        reached, least = tally.psnr_db, self.options.min_psnr
        if least is not None and reached is not None and reached < least:
            complaint = f"{self.stream.images[0].name}: PSNR is {reached:.2f} dB, less than {least:g}; ask for more components"
            if self.run.strict:
                raise QualityError(complaint)
            log.warning("%s", complaint)

    def _label(self, number: int, plates: Sequence[Plate], canvas: "Canvas", advance: Callable[[int], None]) -> None:
        """Put the full-resolution tiles of an image on the canvas."""
        image, layouts = self.stream.images[number], [plate.layouts[number] for plate in plates]
        firsts = [sum(layout.n_tiles for layout in plate.layouts[:number]) for plate in plates]
        (height, width, bands), tile = image.shape, layouts[0].tile
        tiles = TileGrid(Window(0, 0, height, width), tile)
        windows = TileGrid(tiles.area, (writing_unit(tile[0], image.segment[0]), writing_unit(tile[1], image.segment[1])))
        pixel_bytes = bands * image.dtype.itemsize
        in_flight = self.resources.chunk(pixel_bytes) // (windows[0].height * windows[0].width * pixel_bytes)

        def task(window: Window) -> tuple[int, list[Tiles], TallyPart | None]:
            read, shape = image.read(window), (window.height, window.width)
            pixels = self.stream.samples(valid_pixels(read))
            drawn = [plate.labeller(pixels) for plate in plates]
            part = canvas.tally.of(pixels, drawn[0]) if canvas.tally else None
            encoded = []
            for labels, first, layout in zip(drawn, firsts, layouts, strict=True):
                labels = _spread(labels, read.valid, shape, layout)
                places = TileGrid(window, layout.tile)
                encoded.append(
                    [(first + tiles.index_of(t), encode_tile(labels[t.within(window).slices], layout)) for t in places]
                )
            return window.height * window.width, encoded, part

        done, rest = canvas.split(windows)
        advance(sum(window.height * window.width for window in done))
        for n_pixels, encoded, part in self.engine.stream(task, rest, in_flight):
            canvas.put(dict(enumerate(encoded)), part)
            advance(n_pixels)

    def _reduce(self, plate: int, layouts: Sequence[Layout], canvas: "Canvas") -> None:
        """Put the tiles of all reduced levels on the canvas, each level made from the one below."""
        total = sum(grid.area.height * grid.area.width for layout in layouts for grid in layout.grids[1:])
        if not total:
            return
        first, spool = 0, canvas.spools[plate]
        with self.clock.phase("reduce", total) as advance:
            for layout in layouts:
                start = first + len(layout.grids[0])
                for level, grid in enumerate(layout.grids[1:], 1):
                    task = partial(reduced_tile, spool, layout, level, first=first)
                    tile_bytes = 4 * layout.tile[0] * layout.tile[1] * layout.sample_dtype.itemsize
                    done, rest = canvas.split(range(len(grid)))
                    advance(sum(grid[index].height * grid[index].width for index in done))
                    reduced = self.engine.stream(task, rest, self.resources.chunk(1) // tile_bytes)
                    for index, data in zip(rest, reduced, strict=True):
                        canvas.put({plate: [(start + index, data)]}, None)
                        advance(grid[index].height * grid[index].width)
                    start += len(grid)
                first += layout.n_tiles


class Canvas:
    """The finished tiles of all plates, and the tally, as far as they are done: a step of the job that may be gone on with.

    Parameters
    ----------
    plates : sequence of Plate
    tally : Tally or None
    checkpoint : Checkpoint
    """

    def __init__(self, plates: Sequence[Plate], tally: Tally | None, checkpoint: Checkpoint):
        self.tally = None if tally is None or tally.complete else tally
        self._step, self._done, self._seen = checkpoint.step(), 0, 0
        self._stack = ExitStack()
        self.spools: list[Spool] = []
        for number, plate in enumerate(plates):
            folder, name = checkpoint.spool(plate.path, number)
            n_tiles = sum(layout.n_tiles for layout in plate.layouts)
            self.spools.append(self._stack.enter_context(Spool(folder, n_tiles, name)))
        if saved := self._step.load():
            self._restore(saved)

    def __enter__(self) -> "Canvas":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _restore(self, saved: State) -> None:
        try:
            for number, spool in enumerate(self.spools):
                spool.restore({name: saved[f"{name}{number}"] for name in spool.state()})
        except ValueError:  # damaged by a power cut: begin again
            for spool in self.spools:
                spool.restore({name: np.zeros_like(array) for name, array in spool.state().items()})
            return
        self._done = int(saved["done"])
        if self.tally:
            self.tally.add((float(saved["error"]), saved["used"]))

    def split(self, items: Sequence) -> tuple[list, list]:
        """Return those of the next items to do that are done already, and the rest."""
        n_done = min(len(items), max(0, self._done - self._seen))
        self._seen += len(items)
        return [items[i] for i in range(n_done)], [items[i] for i in range(n_done, len(items))]

    def put(self, tiles: dict[int, Tiles], part: TallyPart | None) -> None:
        """Put the tiles of an item into the spools of some plates, and add its part of the tally."""
        for number, encoded in tiles.items():
            for index, data in encoded:
                self.spools[number].put(index, data)
        if self.tally and part:
            self.tally.add(part)
        self._done += 1
        if self._step.due():
            state: State = {f"{name}{i}": array for i, spool in enumerate(self.spools) for name, array in spool.state().items()}
            if self.tally:
                state |= {"error": np.float64(self.tally.error), "used": self.tally.used}
            self._step.save({"done": np.int64(self._done), **state})


def _spread(labels: np.ndarray, valid: np.ndarray | None, shape: tuple[int, int], layout: Layout) -> np.ndarray:
    """Return the labels of a window, shape (height, width), from those of its pixels that are not masked."""
    labels = labels.astype(layout.dtype, copy=False)
    if valid is None:
        return labels.reshape(shape)
    window = np.full(shape, layout.nodata, layout.dtype)
    window[valid] = labels
    return window
