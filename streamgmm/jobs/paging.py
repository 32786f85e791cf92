"""The page of an output: what is kept for it while pixels are labeled, and what it shows of them in the end."""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import MISSING, asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from ..image.output.codec import decode_tile
from ..image.output.spec import ImageSpec
from ..image.output.spool import Spool
from ..image.tiles import Window
from ..model.display import Display
from ..model.mixture import Mixture
from ..options import OutputOptions
from ..page.components import distinct, joined, projections
from ..page.overview import Grid, Overview, Sampler, shown
from ..page.swatches import hex_colors
from .class_map import Legend
from .report import Report
from .session import Session
from .tile_store import Known, Output

if TYPE_CHECKING:
    from ..page.document import Drawing
    from ..page.drawing import Components

# What a page takes beside a job: its cells and pictures, and 40 MiB of Matplotlib; 98 MiB were measured of 256 Mpx.
PAGE_BYTES = 112 << 20


@dataclass(frozen=True, eq=False)
class Colors:
    """What the labels of an output are.

    Attributes
    ----------
    mixture : Mixture
    display : Display
    palette : ndarray of shape (L, 3), uint8
    legend : Legend or None
    """

    mixture: Mixture
    display: Display
    palette: np.ndarray
    legend: Legend | None

    @property
    def labels(self) -> np.ndarray:
        """The label of each component."""
        return self.legend.values if self.legend else np.arange(self.mixture.n_components)

    @property
    def measured(self) -> bool:
        """Whether it matters how near colors are to pixels."""
        return self.legend is None or self.legend.measured

    def components(self, dtype: np.dtype) -> "Components":
        """Return the components as they are drawn, of samples of a type that kernels take."""
        from ..page.drawing import Components

        step = float(np.max(self.mixture.space.step(dtype)))
        return Components(self.mixture, self.display, hex_colors(self.palette[self.labels]), step)


class Draft:
    """A page that is being made.

    What it is written with is loaded while pixels are labeled, in a thread, and the components are drawn where all colors are
    known.

    Parameters
    ----------
    session : Session
    colors : Colors or None
        None where all pixels are masked.
    known : Known or None

    Attributes
    ----------
    overview : Overview
        Of the first image.
    sampler : Sampler or None
        What is taken of its pixels.
    """

    def __init__(self, session: Session, colors: Colors | None, known: Known | None):
        self._session, self._colors, self.sampler = session, colors, None
        self.overview = Overview(Grid(session.images[0].shape[:2]), colors.palette if colors else np.empty((0, 3), np.uint8))
        if colors:
            mixture = colors.mixture
            axes = None if known else joined(projections(mixture, colors.display), mixture.n_bands)
            self.sampler = Sampler(self.overview.grid, mixture.space, session.blocks.dtype, colors.display, axes)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="streamgmm-page")
        self._drawn = self._pool.submit(_draw, colors, known)

    def __enter__(self) -> "Draft":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def text(
        self, report: Report, options: OutputOptions, output: Output, spool: Spool, counts: np.ndarray, mark: str | None
    ) -> str:
        """Return the page, when all pixels are labeled.

        Parameters
        ----------
        report : Report
            As far as it is known.
        options : OutputOptions
            What the job was given.
        output : Output
            The first, whose first image is shown.
        spool : Spool
            That of the output.
        counts : ndarray of shape (L,)
            Pixels of each label.
        mark : str or None
            The fingerprint of the job.
        """
        colors, drawings = self._colors, self._drawn.result()
        from ..page.content import Shown, page_of  # which the thread has loaded: never at once, in two threads

        if colors and not drawings:
            drawings = colors.components(self._session.blocks.dtype).over(distinct(self.overview.points))
        given = [getattr(options, field.name) for field in fields(options) if field.default is MISSING]
        of_colors: dict[str, Any] = {}
        if colors:
            of_colors = {
                "display": colors.display,
                "means": dict(zip(colors.labels.tolist(), colors.mixture.colors, strict=True)),
                "palette": colors.palette,
                "measured": colors.measured,
            }
        what = Shown(
            asdict(report),
            options,
            type(options).__name__.lower(),
            given,
            self._session.images,
            self.overview,
            counts,
            tuple(drawings),
            mark,
            **of_colors,
        )
        return page_of(what, lambda window: self._place(window, output.specs[0], spool), self._session.engine.threads).html()

    def _place(self, window: Window, spec: ImageSpec, spool: Spool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the pixels of a window as they are shown, as they are in the output, and which are not masked."""
        assert self._colors is not None
        pixels, valid = self._session.images[0].read(window)
        valid = np.ones(pixels.shape[:2], bool) if valid is None else valid
        stored = np.where(valid[..., None], pixels, pixels.dtype.type(0)).reshape(-1, pixels.shape[-1])
        samples = self._colors.mixture.space.forward(stored, self._session.blocks.dtype)
        before = shown(samples, self._colors.display).reshape(*valid.shape, 3)
        return before, colors_in(window, spec, spool), valid


def _draw(colors: Colors | None, known: Known | None) -> "list[Drawing]":
    """Load what a page is made with, and draw what is known."""
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)  # where it keeps its list of fonts is no matter of ours
    try:
        from ..page.content import prepare
    finally:
        logger.setLevel(level)
    prepare()
    return colors.components(known.table.colors.dtype).of_table(known.table.colors) if colors and known else []


def colors_in(window: Window, spec: ImageSpec, spool: Spool) -> np.ndarray:
    """Return the colors of a window of an output, shape (h, w, 3), from its finished tiles; those of masked pixels are any."""
    grid, found = spec.grids[0], np.zeros((window.height, window.width, 3), np.uint8)
    assert spec.palette is not None
    rows, columns = (
        range(start // side, -(-(start + length) // side))
        for start, length, side in zip(window[:2], window[2:], spec.tile, strict=True)
    )
    for number in (row * grid.columns + column for row in rows for column in columns):
        tile, part = grid[number], grid[number].overlap(window)
        samples = decode_tile(spool.get(number), spec)[part.within(tile).slices]
        if spec.form == "rgb":
            colors = np.ascontiguousarray(samples).view(np.uint8).reshape(*samples.shape, 4)[..., :3]
        else:
            colors = spec.palette[np.minimum(samples, len(spec.palette) - 1)]
        found[part.within(window).slices] = colors
    return found
