"""What a job tells while it runs and when it is done."""

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .. import __version__
from ..errors import Cancelled, Interrupted
from ..image.source import Image
from .resources import peak_memory

# progress(phase, done, total), in pixels; returning False cancels.
Progress = Callable[[str, int, int], object]


class Clock:
    """Times the phases of a job, counts their pixels, and passes both on to a progress callback."""

    def __init__(self, progress: Progress | None = None):
        self._progress = progress
        self.seconds: dict[str, float] = {}
        self.pixels: dict[str, int] = {}

    @contextlib.contextmanager
    def phase(self, name: str, total: int) -> Iterator[Callable[[int], None]]:
        """Time a phase; the function handed out is told of pixels done, and raises Cancelled where the callback says so."""
        done = 0

        def advance(pixels: int) -> None:
            nonlocal done
            done += pixels
            if self._progress and self._progress(name, done, max(done, total)) is False:
                raise Cancelled(f"cancelled while in phase {name}")

        start = time.perf_counter()
        advance(0)
        try:
            yield advance
        except (KeyboardInterrupt, Interrupted) as interrupt:
            interrupt.add_note(f"in phase {name}" + (f", {done / total:.0%} done" if total else ""))
            raise
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
            self.pixels[name] = self.pixels.get(name, 0) + done
        if self._progress and done < total:  # a fit converged before its last iteration
            self._progress(name, total, total)


@dataclass(frozen=True)
class Report:
    """The result of a job.

    Attributes
    ----------
    input : str or list of str
    output : str or None
    model : dict or None
        The mixture, as in a model file; None where every pixel is masked.
    method : {"exact", "stream", "minibatch", "lossless", "apply", "none"}
        How it was fitted: from the colour table, streaming pixels, or stepwise; or not at all, because the image has no
        more colours than components, the model was given, or every pixel is masked.
    n_components : int
        Components in the model; fewer than asked where colours were fewer, or components died.
    iterations : int
        Passes of EM over the image, or steps of minibatch EM.
    converged : bool
    log_likelihood : list of float
        Mean log-likelihood of a pixel in nats, colours in [0, 1], at each iteration (minibatch: of held-out pixels, at
        each score).
    seconds, pixels : dict
        Wall seconds and pixels worked on in each phase.
    peak_memory_bytes : int
        Peak resident memory of the process.
    distinct_colors : int or None
        Distinct colours of the image, where they were counted.
    colors_used : int or None
        Labels that occur in the output.
    psnr_db : float or None
        Peak signal-to-noise ratio of the palette's colours; None where they are exact, or nothing was written.
    nodata : int or None
        Label of masked pixels in the output, where there are any.
    dropped : list of str
        What the input has and the output does not get: names of tags.
    batch_pixels, fraction_read : int and float, or None
        Minibatch only: pixels a batch, and the share of the image that was read.
    """

    input: str | list[str]
    output: str | None
    model: dict[str, Any] | None
    method: str
    n_components: int
    iterations: int
    converged: bool
    log_likelihood: list[float]
    seconds: dict[str, float]
    pixels: dict[str, int]
    distinct_colors: int | None
    colors_used: int | None = None
    psnr_db: float | None = None
    nodata: int | None = None
    dropped: list[str] = field(default_factory=list)
    batch_pixels: int | None = None
    fraction_read: float | None = None
    peak_memory_bytes: int = field(default_factory=peak_memory)
    version: str = __version__

    def to_json(self) -> str:
        """Write as JSON."""
        return json.dumps(asdict(self), indent=2) + "\n"


def dropped(images: Sequence[Image]) -> list[str]:
    """Return the names of what the inputs have and the output does not get."""
    return sorted({name for image in images for name in image.metadata.dropped})


def psnr(squared_error: float, n_samples: float) -> float | None:
    """Return the peak signal-to-noise ratio in dB for samples in [0, 1], or None where there is no error."""
    return -10 * math.log10(squared_error / n_samples) if squared_error > 0 else None
