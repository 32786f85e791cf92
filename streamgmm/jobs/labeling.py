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
from ..image.output.tiff import assemble_tiff
from ..image.tiles import TileGrid, Window, writing_unit
from ..model.distortion import Distortion, distortion
from ..model.labels import confidence
from ..model.mixture import Mixture
from ..model.palette import palette_of
from ..model.space import BY_TYPE, SampleSpace
from ..options import OutputOptions, RunOptions
from ..system.files import output_errors, replacing
from .clock import Advance
from .palette_file import palette_text
from .passes.blocks import Block
from .passes.tasks import Part
from .session import Session
from .specs import confidence_spec, display_of, image_spec
from .tile_store import Finished, Labeler, Output, TileStore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelingOptions(OutputOptions, RunOptions):
    """What is asked of the output of an image, of what is written beside it, and of their quality."""

    def beside(self, dst: str | os.PathLike) -> list[Path]:
        """Return all files that are written, the output first."""
        return [Path(path) for path in (dst, self.palette_out, self.confidence) if path is not None]


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
    measured : Mixture or None
        From whose colors the distance of pixels is measured.
    """

    space: SampleSpace
    dtype: np.dtype
    layers: tuple[Layer, ...]
    measured: Mixture | None

    def __call__(self, block: Block) -> Part:
        """Return the tiles of a block, a multiple of tiles, and its distortion."""
        pixels, valid = block.image.read(block.window)
        stored = pixels.reshape(-1, pixels.shape[-1]) if valid is None else pixels[valid]
        samples = self.space.forward(stored, self.dtype)
        labels = [layer.label(samples) for layer in self.layers]
        part = distortion(samples, labels[0], self.measured) if self.measured else None
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
    known: Distortion | None = None,
    mark: str | None = None,
) -> tuple[int | None, Distortion | None]:
    """Write the images in the colors of a mixture, and what else was asked for.

    Parameters
    ----------
    session : Session
    dst : Path
    options : LabelingOptions
    mixture : Mixture or None
        None where all pixels are masked.
    label : function from pixels (n, D) to labels (n,)
    known : Distortion or None
        That of all pixels, where it is known already.
    mark : str or None
        The fingerprint of the job, for the output's Software (tag 305).

    Returns
    -------
    nodata : int or None
        The label of masked pixels, where there are any.
    distortion : Distortion or None
    """
    images, masked = session.images, session.masked()
    palette = np.empty((0, 3), np.uint8)
    if mixture:
        palette = palette_of(mixture, display_of(options, mixture.n_bands))
    outputs = [Output(dst, [image_spec(image, palette, masked, options) for image in images], label)]
    if options.confidence is not None:
        specs = [confidence_spec(image, masked, options) for image in images]
        sure: Labeler = partial(confidence, mixture=mixture) if mixture else label
        outputs.append(Output(Path(options.confidence), specs, sure))
    nodata = len(palette) if masked else None
    with ExitStack() as stack:
        for output in outputs:
            stack.enter_context(output_errors(output.path))
        store = stack.enter_context(TileStore(outputs, session.checkpoint))
        with session.clock.phase("label", sum(image.shape[0] * image.shape[1] for image in images)) as advance:
            for number in range(len(images)):
                _label(session, number, outputs, mixture, known is None, store, advance)
        for number, output in enumerate(outputs):
            _reduce(session, number, output, store)
        session.check_unchanged()
        measured = known if known is not None else store.distortion
        _check_psnr(session.name, measured, options)
        with session.clock.phase("write", 0):
            counts = measured.counts if measured else np.empty(0)
            text = (
                "" if options.palette_out is None else palette_text(Path(options.palette_out), palette, mixture, counts, nodata)
            )
            _assemble(outputs, store, options, text, mark)
    return nodata, measured


def _label(
    session: Session,
    number: int,
    outputs: Sequence[Output],
    mixture: Mixture | None,
    measure: bool,
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
        mixture if measure else None,
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


def _assemble(outputs: Sequence[Output], store: TileStore, options: LabelingOptions, palette: str, mark: str | None) -> None:
    """Write all files; they appear together, the first output first, when all are whole."""
    paths = [output.path for output in outputs]
    if options.palette_out is not None:
        paths.append(Path(options.palette_out))
    with ExitStack() as stack:
        parts = [stack.enter_context(replacing(path)) for path in reversed(paths)][::-1]
        for output, spool, part in zip(outputs, store.spools, parts, strict=False):
            with output_errors(output.path):
                assemble_tiff(part, output.path, spool, output.specs, options.layout, options.bigtiff, mark)
        for path, part in zip(paths[len(outputs) :], parts[len(outputs) :], strict=True):
            with output_errors(path):
                part.write_text(palette, encoding="utf-8")
