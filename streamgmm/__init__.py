"""Fit a Gaussian mixture to every pixel of an image too large for memory, and write it back as a palette TIFF."""

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# Imported on first use: `import streamgmm` must not pay for Numba (0.45 s) or tifffile (0.17 s).
_HOMES = {
    "Mixture": "streamgmm.model.mixture",
    "apply": "streamgmm.jobs.apply",
    "compare": "streamgmm.jobs.compare",
    "fit_image": "streamgmm.jobs.fit",
    "open_image": "streamgmm.image.open",
    "quantize": "streamgmm.jobs.quantize",
    "StreamGMMError": "streamgmm.errors",
}

__all__ = ["Mixture", "StreamGMMError", "apply", "compare", "fit_image", "open_image", "quantize"]

if TYPE_CHECKING:
    from .errors import StreamGMMError
    from .image.open import open_image
    from .jobs.apply import apply
    from .jobs.compare import compare
    from .jobs.fit import fit_image
    from .jobs.quantize import quantize
    from .model.mixture import Mixture


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
