"""Labeling every pixel with a mixture: tiles, reduced levels, and files that appear together when all are whole."""

import logging
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import QualityError
from ..image.output.codec import encode_tile
from ..image.output.pyramid import covered, reduced_tile
from ..image.output.spec import ImageSpec
from ..image.output.spool import Spool
from ..image.tiles import TileGrid, Window, writing_unit
from ..model.display import Display
from ..model.distortion import Distortion, distortion
from ..model.labels import confidence
from ..model.mixture import Mixture
from ..model.palette import palette_of
from ..model.space import BY_TYPE, SampleSpace
from ..options import OutputOptions, RunOptions
from ..system.files import output_errors
from .assembling import assemble
from .centroids import centroid_palette
from .class_map import Legend
from .clock import Advance
from .palette_file import palette_text
from .passes.blocks import Block
from .passes.tasks import Part
from .report import Written
from .session import Session
from .specs import confidence_spec, display_of, image_spec
from .tile_store import Finished, Known, Labeler, Output, TileStore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelingOptions(OutputOptions, RunOptions):
    """What is asked of the output of an image, of what is written beside it, and of their quality."""

    def paths(self, dst: str | os.PathLike) -> tuple[list[Path], list[Path]]:
        """Return the images that are written, the output first, and the texts."""
        images = [Path(path) for path in (dst, self.confidence) if path is not None]
        return images, [] if self.palette_out is None else [Path(self.palette_out)]


@dataclass(frozen=True)
class Layer:
    """What the pixels of an image become in one output.

    Attributes
    ----------
    label : function from pixels to labels
    spec : ImageSpec
    first : int
        Where the tiles of the image begin among those of the output.
    """

    label: Labeler
    spec: ImageSpec
    first: int


@dataclass(frozen=True)
class LabelTiles:
    """Label the pixels of a block, and encode the tiles of each output.

    Attributes
    ----------
    space : SampleSpace
    dtype : numpy.dtype
    layers : tuple of Layer
    display : Display or None
        How pixels are shown, where their distance from the palette of the first output is measured.
    """

    space: SampleSpace
    dtype: np.dtype
    layers: tuple[Layer, ...]
    display: Display | None

    def __call__(self, block: Block) -> Part:
        """Return the tiles of a block, a multiple of tiles, and its distortion."""
        pixels, valid = block.image.read(block.window)
        stored = pixels.reshape(-1, pixels.shape[-1]) if valid is None else pixels[valid]
        samples = self.space.forward(stored, self.dtype)
        labels = [layer.label(samples) for layer in self.layers]
        palette = self.layers[0].spec.palette
        part = None
        if self.display and palette is not None:
            part = distortion(samples, labels[0], palette, self.display)
        tiles = {i: _encoded(labels[i], valid, block.window, layer) for i, layer in enumerate(self.layers)}
        return Part(Finished(tiles, part), len(stored))


def _encoded(labels: np.ndarray, valid: np.ndarray | None, window: Window, layer: Layer) -> list[tuple[int, bytes]]:
    """Return the tiles of a window, whose labels are those of its pixels that are not masked."""
    spec, whole = layer.spec, labels.astype(layer.spec.dtype, copy=False)
    if valid is not None:
        whole = np.full(valid.shape, spec.nodata, spec.dtype)
        whole[valid] = labels
    whole = whole.reshape(window.height, window.width)
    places = TileGrid(window, spec.tile)
    return [
        (layer.first + spec.grids[0].index_of(place), encode_tile(whole[place.within(window).slices], spec)) for place in places
    ]


class LevelTile(NamedTuple):
    """A tile of a reduced level, and the encoded tiles of the level below that it covers."""

    number: int
    window: Window
    tiles: Sequence[bytes]

    @property
    def n_pixels(self) -> int:
        """Pixels in it."""
        return self.window.height * self.window.width


@dataclass(frozen=True)
class ReduceTiles:
    """Make the tiles of a reduced level.

    Attributes
    ----------
    spec : ImageSpec
    level : int
    output : int
        Number of the output.
    first : int
        Where the tiles of the level begin among those of the output.
    """

    spec: ImageSpec
    level: int
    output: int
    first: int

    def __call__(self, tile: LevelTile) -> Part:
        """Return a tile."""
        data = reduced_tile(self.spec, self.level, tile.number, tile.tiles)
        return Part(Finished({self.output: [(self.first + tile.number, data)]}, None), tile.n_pixels)


def write_outputs(
    session: Session,
    dst: Path,
    options: LabelingOptions,
    mixture: Mixture | None,
    label: Labeler,
    known: Known | None = None,
    mark: str | None = None,
    legend: Legend | None = None,
) -> Written:
    """Write the images in the colors of a mixture, and what else was asked for.

    Parameters
    ----------
    session : Session
    dst : Path
    options : LabelingOptions
    mixture : Mixture or None
        None where all pixels are masked.
    label : function from pixels (n, D) to labels (n,)
    known : Known or None
    mark : str or None
        The fingerprint of the job, for the output's Software (tag 305).
    legend : Legend or None
        What the labels are; None where they are numbers of components, and the one behind them that of masked pixels.

    Returns
    -------
    Written
    """
    images, masked = session.images, session.masked()
    palette, display = np.empty((0, 3), np.uint8), None
    if mixture:
        display = display_of(options, mixture, session.blocks)
        means = options.palette == "means"
        palette = palette_of(mixture, display) if means else centroid_palette(session, mixture, display, label, known)
        palette = legend.palette(palette) if legend else palette
    nodata = None if not masked else legend.nodata if legend else len(palette)
    measured = distortion(known.table.colors, known.labels, palette, display, known.table.counts) if known and display else None
    outputs = [Output(dst, [image_spec(image, palette, nodata, options) for image in images], label)]
    if options.confidence is not None:
        specs = [confidence_spec(image, masked, options) for image in images]
        sure: Labeler = partial(confidence, mixture=mixture) if mixture else label
        outputs.append(Output(Path(options.confidence), specs, sure))
    with ExitStack() as stack:
        for output in outputs:
            stack.enter_context(output_errors(output.path))
        store = stack.enter_context(TileStore(outputs, session.checkpoint))
        with session.clock.phase("label", sum(image.shape[0] * image.shape[1] for image in images)) as advance:
            for number in range(len(images)):
                _label(session, number, outputs, mixture, display if measured is None else None, store, advance)
        for number, output in enumerate(outputs):
            _reduce(session, number, output, store)
        session.check_unchanged()
        measured = measured or store.distortion
        if legend is None or legend.measured:
            _check_psnr(session.name, measured, options)
        with session.clock.phase("write", 0):
            text, counts = "", measured.counts if measured else np.empty(0)
            if options.palette_out is not None:
                text = palette_text(Path(options.palette_out), palette, mixture, display, counts, nodata, legend)
            assemble(session, outputs, store.spools, options, text, mark)
    return Written(nodata, measured, display, _is_exact(measured, display, session.blocks.n_bands, options))


def _is_exact(measured: Distortion | None, display: Display | None, n_bands: int, options: LabelingOptions) -> bool:
    """Whether the colors of an output are the samples, all of them: 16-bit ones divided by 257, without a remainder."""
    if measured is None or display is None or options.output == "labels":
        return False
    return measured.squared_error == 0 and display.by_type and display.shows_all(n_bands)


def _label(
    session: Session,
    number: int,
    outputs: Sequence[Output],
    mixture: Mixture | None,
    display: Display | None,
    store: TileStore,
    advance: Advance,
) -> None:
    """Store the full-resolution tiles of an image."""
    image, (height, width, bands) = session.images[number], session.images[number].shape
    tile = outputs[0].specs[number].tile
    unit = writing_unit(tile[0], image.segment[0]), writing_unit(tile[1], image.segment[1])
    windows = TileGrid(Window(0, 0, height, width), unit)
    task = LabelTiles(
        mixture.space if mixture else BY_TYPE,
        session.blocks.dtype,
        tuple(Layer(output.label, output.specs[number], output.firsts[number]) for output in outputs),
        display,
    )
    blocks = [Block(image, window, number, index) for index, window in enumerate(windows)]
    block_bytes = blocks[0].n_pixels * bands * image.dtype.itemsize
    session.engine.reduce(task, blocks, store, block_bytes, session.checkpoint.step("label"), advance)


def _reduce(session: Session, number: int, output: Output, store: TileStore) -> None:
    """Store the tiles of all reduced levels of an output, each level made from the one below."""
    total = sum(grid.area.height * grid.area.width for spec in output.specs for grid in spec.grids[1:])
    if not total:
        return
    with session.clock.phase("reduce", total) as advance:
        for spec, first in zip(output.specs, output.firsts, strict=False):
            for level in range(1, spec.n_levels):
                below, first = first, first + len(spec.grids[level - 1])
                tiles = _level_tiles(store.spools[number], spec, level, below)
                task, step = ReduceTiles(spec, level, number, first), session.checkpoint.step("reduce")
                tile_bytes = 4 * spec.tile[0] * spec.tile[1] * spec.sample_dtype.itemsize
                session.engine.reduce(task, tiles, store, tile_bytes, step, advance)


def _level_tiles(spool: Spool, spec: ImageSpec, level: int, below: int) -> list[LevelTile]:
    """Return the tiles of a reduced level, to be made from those whose numbers begin with ``below``."""
    return [
        LevelTile(number, window, spool.tiles([below + i for i in covered(spec, level, number)]))
        for number, window in enumerate(spec.grids[level])
    ]


def _check_psnr(name: str, measured: Distortion | None, options: LabelingOptions) -> None:
    reached, least = measured.psnr_db if measured else None, options.min_psnr
    if least is not None and reached is not None and reached < least:
        complaint = f"{name}: PSNR is {reached:.2f} dB, less than {least:g}; ask for more components"
        if options.strict:
            raise QualityError(complaint)
        log.warning("%s", complaint)
