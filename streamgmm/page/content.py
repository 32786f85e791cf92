"""What a page shows of an output: its pictures, its palette, its error and its facts, put together."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..image.image import Image
from ..image.tiles import Window
from ..model.display import Display
from ..options.fields import Options
from . import facts, pictures
from .command import command_of
from .document import Compared, Crop, Drawing, ErrorMap, Page, template
from .drawing import drawings_of_fit
from .figures import error_colors
from .overview import Overview
from .places import places_of
from .swatches import index_picture, swatches_of

# Pictures of small images are enlarged by whole pixels, up to so many.
SMALL = 480

# From a window of the image: its colors before and after, shape (h, w, 3), and which pixels are not masked.
Read = Callable[[Window], tuple[np.ndarray, np.ndarray, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Shown:
    """All that a page is made of.

    Attributes
    ----------
    report : dict
    options : Options
        What the job was given.
    verb : str
        The command.
    arguments : list
        What it is given besides options.
    images : sequence of Image
        Of which the first is shown.
    overview : Overview
    counts : ndarray of shape (L,)
        Pixels of each label.
    drawings : sequence of Drawing
        Of the components.
    fingerprint : str or None
    display : Display or None
        None where all pixels are masked.
    means : dict
        Of each label: that of its component.
    palette : ndarray of shape (L, 3), uint8
    measured : bool
        Whether it matters how near colors are to pixels.
    """

    report: dict[str, Any]
    options: Options
    verb: str
    arguments: list[Any]
    images: Sequence[Image]
    overview: Overview
    counts: np.ndarray
    drawings: Sequence[Drawing]
    fingerprint: str | None
    display: Display | None = None
    means: dict[int, np.ndarray] = field(default_factory=dict)
    palette: np.ndarray = field(default_factory=lambda: np.empty((0, 3), np.uint8))
    measured: bool = False

    @property
    def name(self) -> str:
        """The file name of the image."""
        return Path(str(self.report["input"])).name

    @property
    def n_colors(self) -> int:
        """Colors of the palette."""
        return len(self.means)


def prepare() -> None:
    """Do ahead what does not depend on a page."""
    template("page.html.j2")
    facts.versions()


def page_of(what: Shown, read: Read, threads: int) -> Page:
    """Put a page together, its pictures in some threads."""
    report, overview, image = what.report, what.overview, what.images[0]
    summary = facts.summary_of(report, image.shape, what.n_colors)
    swatches = swatches_of(what.palette, what.counts, what.means)
    with ThreadPoolExecutor(threads, thread_name_prefix="streamgmm-page") as pool:
        crops = pool.submit(_crops, what, read)
        compared = pool.submit(_compared, what, summary)
        errors = pool.submit(_errors, what)
        numbers = pool.submit(index_picture, swatches, overview) if swatches else None
        drawings = drawings_of_fit(report["log_likelihood"], report.get("curve"))
    picture, wide = numbers.result() if numbers else (None, False)
    n_pixels = sum(each.shape[0] * each.shape[1] for each in what.images)
    masked = 1 - float(what.counts.sum()) / n_pixels
    return Page(
        title=what.name,
        summary=summary,
        thumbnail=pictures.thumbnail(_checkered(overview, overview.means[1])),
        caption=_caption(overview),
        facts=facts.results(report, image.shape, str(image.dtype), masked, _bands(what)),
        overview=compared.result(),
        command=command_of(what.options, what.verb, what.arguments),
        fingerprint=what.fingerprint,
        notes=_notes(what),
        swatches=swatches,
        n_colors=what.n_colors,
        numbers=picture,
        wide=wide,
        crops=crops.result(),
        shape=image.shape[:2],
        errors=errors.result(),
        drawings=drawings,
        components=what.drawings,
        dropped=report["dropped"],
        settings=facts.settings(what.options),
        versions=facts.versions(),
        timings=facts.timings(report["seconds"], report["pixels"], report["resumed"], report["peak_memory_bytes"]),
    )


def _compared(what: Shown, summary: str) -> Compared:
    """Return the image before and after, or after alone where it does not matter how near colors are."""
    overview, whole = what.overview, what.overview.grid.step == 1
    before, after = (_checkered(overview, colors) for colors in overview.means)
    return Compared(
        what.name,
        pictures.fitting(before, whole) if what.measured else None,
        pictures.fitting(after, whole),
        f"{what.name} as it was: {summary}",
        f"{what.name} in the colors of its output",
        max(1, SMALL // max(overview.grid.cells)) if whole else 1,
    )


def _checkered(overview: Overview, colors: np.ndarray) -> np.ndarray:
    """Return the colors of cells with squares of gray where all of a cell is masked."""
    return pictures.checkered(colors, overview.n_valid > 0)


def _caption(overview: Overview) -> str:
    """Say what the picture has of the image."""
    step = overview.grid.step
    return "Every pixel." if step == 1 else f"Each {step} × {step} pixels are one, the mean of four of them."


def _notes(what: Shown) -> list[str]:
    """Say what a person might take for something else."""
    notes = []
    if what.display is None:
        notes.append("Every pixel is masked: there is nothing to fit, and the output is all nodata.")
    elif not what.overview.valid.all():
        notes.append("Squares of gray are masked pixels, which have no color.")
    if len(what.images) > 1:
        notes.append(f"The pictures are of the first of {len(what.images):,} images; the palette and the numbers are of all.")
    if what.measured and what.report["psnr_db"] is None and not what.overview.squared_error.any():
        notes.append("Every pixel has its own color: there is no error.")
    return notes


def _bands(what: Shown) -> str | None:
    """Say which bands are shown, where there are others, or it is one that is shown as gray."""
    display, n_bands = what.display, what.images[0].shape[2]
    if display is None or (not display.gray and display.bands == (0, 1, 2) and n_bands == 3):
        return None
    if display.gray:
        return f"band {display.bands[0] + 1} as gray"
    return "bands " + ", ".join(str(band + 1) for band in display.bands) + " as red, green and blue"


def _crops(what: Shown, read: Read) -> list[Crop]:
    """Return the places at 1:1, unless the only one is all of the image."""
    crops = []
    for place in places_of(what.overview) if what.measured else []:
        window = place.window
        if window[2:] == what.overview.grid.shape:
            continue
        before, after, valid = read(window)
        name = f"{place.name} error"
        was, became = (pictures.exact(pictures.checkered(colors, valid)) for colors in (before, after))
        alt = f"The place of the {name}"
        both = Compared(alt, was, became, f"{alt} as it was", f"{alt} in the colors of the output")
        apart = before[valid].astype(np.float64) - after[valid]
        crops.append(Crop(place, both, float(np.sqrt(np.mean(apart**2)))))
    return crops


def _errors(what: Shown) -> ErrorMap | None:
    """Return the error map with its scale, where there is an error."""
    if not what.measured or not what.overview.squared_error.any():
        return None
    colors, overview = error_colors(), what.overview
    errors, valid = overview.errors(), overview.n_valid > 0
    picture, most = pictures.error_map(errors, valid, colors)
    scale = pictures.exact(np.arange(256, dtype=np.uint8)[None], colors)
    mean = float(errors[valid].mean())
    alt = f"Map of the error: {mean:.1f} levels on average; what is brightest has {most:.1f} or more"
    return ErrorMap(picture, scale, most, alt)
