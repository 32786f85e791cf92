"""What a job tells when it is done."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .. import __version__
from ..image.image import Image
from ..system.limits import peak_memory


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
        How it was fitted: from the color table, streaming pixels, or stepwise; or not at all, because the image has no
        more colors than components, the model was given, or every pixel is masked.
    n_components : int
        Components in the model; fewer than asked where colors were fewer, or components died.
    iterations : int
        Passes of EM over the image, or steps of minibatch EM.
    converged : bool
    log_likelihood : list of float
        Mean log-likelihood of a pixel in nats, colors in [0, 1], at each iteration (minibatch: of held-out pixels, at
        each score).
    seconds, pixels : dict
        Wall seconds and pixels worked on in each phase.
    resumed : dict
        Of the pixels of each phase, those that an interrupted run had worked on already.
    peak_memory_bytes : int
        Peak resident memory of the process.
    distinct_colors : int or None
        Distinct colors of the image, where they were counted.
    colors_used : int or None
        Labels that occur in the output.
    psnr_db : float or None
        Peak signal-to-noise ratio of the palette's colors; None where they are exact, or nothing was written.
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
    resumed: dict[str, int] = field(default_factory=dict)
    peak_memory_bytes: int = field(default_factory=peak_memory)
    version: str = __version__

    def to_json(self) -> str:
        """Write as JSON."""
        return json.dumps(asdict(self), indent=2) + "\n"


def dropped(images: Sequence[Image]) -> list[str]:
    """Return the names of what the inputs have and the output does not get."""
    return sorted({name for image in images for name in image.metadata.dropped})
