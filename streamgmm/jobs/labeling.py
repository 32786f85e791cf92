"""Labeling every pixel with a mixture: tiles, reduced levels, and files that appear together when all are whole."""

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..errors import QualityError
from ..image.image import Image
from ..image.output.pyramid import covered
from ..image.output.spec import ImageSpec
from ..image.output.spool import Spool
from ..image.tiles import TileGrid, Window, writing_unit
from ..model.display import Display
from ..model.distortion import Distortion, distortion
from ..model.footprint import LOOKUP_BYTES, table_bytes
from ..model.labels import confidence
from ..model.mixture import Mixture
from ..model.palette import palette_of
from ..model.space import BY_TYPE, SampleSpace
from ..options import FitOptions, OutputOptions, RunOptions
from ..options.page import PageOptions
from ..system.files import output_errors, size_of
from .assembling import assemble
from .centroids import centroid_palette
from .choosing import Targets, check_targets
from .class_map import Legend
from .dithering import dithered, halving
from .paging import PAGE_BYTES, Colors, Draft
from .palette_file import palette_text
from .passes.blocks import Block
from .report import Report, Written, told_dropped
from .resources import COPIES
from .session import Session
from .specs import confidence_spec, display_of, image_spec
from .tile_store import Known, Labeler, Output, TileStore
from .tile_tasks import LabelTiles, Layer, LevelTile, ReduceTiles, part_pixels

log = logging.getLogger(__name__)

# Labels of 8 bits.
BYTE = 256
# Pixels of a job up to which Delta E is taken of all of them, where they are labeled one by one: a quarter of a second.
SEEN_PIXELS = 1 << 20


@dataclass(frozen=True)
class LabelingOptions(OutputOptions, PageOptions, RunOptions):
    """What is asked of the output of an image, of what is written beside it, and of their quality."""

    def paths(self, dst: str | os.PathLike) -> tuple[list[Path], list[Path]]:
        """Return the images that are written, the output first, and the texts."""
        images = [Path(path) for path in (dst, self.confidence) if path is not None]
        return images, [Path(path) for path in (self.palette_out, self.html) if path is not None]

    @property
    def held(self) -> int:
        """Bytes that what is shown takes."""
        return PAGE_BYTES if self.html is not None else 0


def write_outputs(
    session: Session,
    dst: Path,
    options: LabelingOptions,
    mixture: Mixture | None,
    label: Labeler,
    told: Callable[[Written], Report],
    known: Known | None = None,
    mark: str | None = None,
    legend: Legend | None = None,
) -> Report:
    """Write the images in the colors of a mixture, and what else was asked for.

    Parameters
    ----------
    session : Session
    dst : Path
    options : LabelingOptions
    mixture : Mixture or None
        None where all pixels are masked.
    label : function from pixels (n, D) to labels (n,)
    told : function from Written to Report
        What is told of the job, so far.
    known : Known or None
    mark : str or None
        The fingerprint of the job, for the output's Software (tag 305).
    legend : Legend or None
        What the labels are; None where they are numbers of components, and the one behind them that of masked pixels.

    Returns
    -------
    Report
    """
    images, masked = session.images, session.masked()
    held = LOOKUP_BYTES + (table_bytes(*known.table.colors.shape) if known else 0)
    display = display_of(options, mixture, session.blocks) if mixture else None
    palette = _palette(session, options, mixture, display, label, known, legend)
    nodata = None if not masked else legend.nodata if legend else len(palette)
    measured, dithering = None, None
    if display and options.dither != "none":
        label, dithering, more = dithered(session, options, palette, display)
        held += more
    elif known and display:
        measured = distortion(known.table.colors, known.labels, palette, display, known.table.counts)
    outputs = [Output(dst, [image_spec(image, palette, nodata, options) for image in images], label, dithering)]
    outputs += _confidence(images, masked, mixture, label, options)
    with ExitStack() as stack:
        for output in outputs:
            stack.enter_context(output_errors(output.path))
        colors = Colors(mixture, display, palette, legend) if mixture and display else None
        page = stack.enter_context(Draft(session, colors, known)) if options.html is not None else None
        store = stack.enter_context(TileStore(outputs, session.checkpoint, page.overview if page else None))
        space = mixture.space if mixture else BY_TYPE
        _label(session, outputs, space, None if measured else display, page, store, held)
        for number, output in enumerate(outputs):
            _reduce(session, number, output, store)
        session.check_unchanged()
        measured = measured or store.distortion
        if legend is None or legend.measured:
            _check_quality(session.name, measured, options)
        exact, in_color = _is_exact(measured, display, session.blocks.n_bands, options), options.output != "labels"
        lost, counts = _lost(images, palette, nodata, options), measured.counts if measured else np.empty(0)
        written = Written(nodata, measured, display, exact, lost, None, in_color, options.dither)
        paths = [] if options.palette_out is None else [Path(options.palette_out)]
        texts = {path: palette_text(path, palette, mixture, display, counts, nodata, legend) for path in paths}
        if page and options.html is not None:
            with session.clock.phase("page", 0):
                texts[Path(options.html)] = page.text(told(written), options, outputs[0], store.spools[0], counts, mark)
        with session.clock.phase("write", 0):
            assemble(session, outputs, store.spools, options, texts, mark)
    return told(written._replace(bytes_out=size_of(dst)))


def _palette(
    session: Session,
    options: LabelingOptions,
    mixture: Mixture | None,
    display: Display | None,
    label: Labeler,
    known: Known | None,
    legend: Legend | None,
) -> np.ndarray:
    """Return the color of each label, shape (K, 3), uint8; none where all pixels are masked."""
    if mixture is None or display is None:
        return np.empty((0, 3), np.uint8)
    if options.palette == "means":
        palette = palette_of(mixture, display)
    else:
        palette = centroid_palette(session, mixture, display, label, known)
    return legend.palette(palette) if legend else palette


def _confidence(
    images: list[Image], masked: bool, mixture: Mixture | None, label: Labeler, options: LabelingOptions
) -> list[Output]:
    """Return the output of how sure each pixel is, if it is asked for."""
    if options.confidence is None:
        return []
    specs = [confidence_spec(image, masked, options) for image in images]
    sure: Labeler = partial(confidence, mixture=mixture) if mixture else label
    return [Output(Path(options.confidence), specs, sure)]


def _lost(images: Sequence[Image], palette: np.ndarray, nodata: int | None, options: LabelingOptions) -> list[str]:
    """Return what the output does not get, and say so."""
    wide = nodata is not None and len(palette) <= BYTE < nodata + 1 and options.output != "rgb"
    return told_dropped(images, *(["8 bits a pixel (256 colors and nodata take 16)"] if wide else []))


def _is_exact(measured: Distortion | None, display: Display | None, n_bands: int, options: LabelingOptions) -> bool:
    """Whether the colors of an output are the samples, all of them: 16-bit ones divided by 257, without a remainder."""
    if measured is None or display is None or options.output == "labels":
        return False
    return measured.squared_error == 0 and display.by_type and display.shows_all(n_bands)


def _label(
    session: Session,
    outputs: Sequence[Output],
    space: SampleSpace,
    display: Display | None,
    page: Draft | None,
    store: TileStore,
    held: int,
) -> None:
    """Store the full-resolution tiles of all images, of which the first is shown in a page."""
    images, blocks = session.images, session.blocks
    with session.clock.phase("label", sum(image.shape[0] * image.shape[1] for image in images)) as advance:
        for number, image in enumerate(images):
            task = LabelTiles(
                space,
                blocks.dtype,
                tuple(Layer(each.label, each.specs[number], each.firsts[number], each.dithering) for each in outputs),
                display,
                blocks.n_pixels > SEEN_PIXELS,
                page.sampler if page and number == 0 else None,
            )
            unit, block_bytes = _unit(session, image, [output.specs[number] for output in outputs], held)
            windows = TileGrid(Window(0, 0, *image.shape[:2]), unit)
            parts = [Block(image, window, number, index) for index, window in enumerate(windows)]
            step = session.checkpoint.step(f"label-{unit[0]}x{unit[1]}")  # with other memory, other blocks may be done
            session.engine.reduce(task, parts, store, block_bytes, step, advance)


def _unit(session: Session, image: Image, specs: Sequence[ImageSpec], held: int) -> tuple[tuple[int, int], int]:
    """Return the size of the windows to label at once, and what one takes in bytes of a chunk."""
    shape, tile, segment = image.shape[:2], specs[0].tile, image.segment
    read = image.pixel_bytes * max(segment[0] * segment[1], min(part_pixels(image), shape[0] * shape[1]))
    pixel_bytes = sum(spec.dtype.itemsize + spec.samples_per_pixel * spec.bits_per_sample / 8 for spec in specs)
    most = session.resources.window(image.pixel_bytes, read, held)
    unit = writing_unit(shape, tile, segment, int(most / pixel_bytes))
    again = -(-segment[1] // unit[1])
    if again > 1:
        log.warning(
            "%s: segments %d pixels wide are decoded %d times, as no more of their labels fit, which is slower: raise "
            "--chunk-size and --memory",
            *(image.name, segment[1], again),
        )
    read = min(read, image.pixel_bytes * max(segment[0] * segment[1], unit[0] * unit[1]))
    return unit, read + int(unit[0] * unit[1] * pixel_bytes / COPIES)


def _reduce(session: Session, number: int, output: Output, store: TileStore) -> None:
    """Store the tiles of all reduced levels of an output, each level made from the one below."""
    total = sum(grid.area.height * grid.area.width for spec in output.specs for grid in spec.grids[1:])
    if not total:
        return
    with session.clock.phase("reduce", total) as advance:
        for spec, first in zip(output.specs, output.firsts, strict=False):
            halve = halving(session, spec, output.dithering) if output.dithering else None
            for level in range(1, spec.n_levels):
                below, first = first, first + len(spec.grids[level - 1])
                tiles = _level_tiles(store.spools[number], spec, level, below)
                task, step = ReduceTiles(spec, level, number, first, halve), session.checkpoint.step("reduce")
                tile_bytes = 4 * spec.tile[0] * spec.tile[1] * spec.sample_dtype.itemsize
                session.engine.reduce(task, tiles, store, tile_bytes, step, advance)


def _level_tiles(spool: Spool, spec: ImageSpec, level: int, below: int) -> list[LevelTile]:
    """Return the tiles of a reduced level, to be made from those whose numbers begin with ``below``."""
    return [
        LevelTile(number, window, spool.tiles([below + i for i in covered(spec, level, number)]))
        for number, window in enumerate(spec.grids[level])
    ]


def _check_quality(name: str, measured: Distortion | None, options: LabelingOptions) -> None:
    reached, least = measured.psnr_db if measured else None, options.min_psnr
    if least is not None and reached is not None and reached < least:
        complaint = f"{name}: PSNR is {reached:.2f} dB, less than {least:g}; ask for more components"
        if options.strict:
            raise QualityError(complaint)
        log.warning("%s", complaint)
    if isinstance(options, FitOptions) and options.is_auto:
        check_targets(name, Targets.of(options).missed(measured), options.wanted, options.strict)
