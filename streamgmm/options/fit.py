"""Options of fits."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .fields import Options, option
from .values import Init, Start, read_ranges, read_ridge, read_start

if TYPE_CHECKING:
    import numpy as np

CovarianceType = Literal["full", "tied", "diag", "spherical"]
Method = Literal["auto", "exact", "stream", "minibatch"]
Preset = Literal["picture", "segment"]
Sort = Literal["weight", "luminance", "hue"]
Space = Literal["rgb", "linear", "lab", "oklab"]

MAX_COMPONENTS = 65_535
PICTURE_BANDS = 3


@dataclass(frozen=True, kw_only=True)
class FitOptions(Options):
    """How a mixture is fitted."""

    n_components: int = option(16, "Components, and colors.", "-k", "--components", least=1, most=MAX_COMPONENTS)
    covariance_type: CovarianceType = option("full", "full, tied, diag or spherical.", "--covariance", metavar="TYPE")
    method: Method = option(
        "auto",
        "exact (table of distinct colors: uint8, up to 3 bands), stream (read every pixel at each iteration), minibatch "
        "(random tiles; may stop early), or auto: the first that is possible.",
        metavar="METHOD",
    )
    init: "Init | np.ndarray | Start" = option(
        "kmeans", "kmeans, k-means++ or random; or a model file to start from.", metavar="INIT"
    )
    preset: Preset | None = option(
        None, "picture (colors to look at) or segment (classes). [default: picture up to three bands]", metavar="PRESET"
    )
    range: "str | tuple[tuple[float, float], ...]" = option(
        "auto", "Samples that are 0 and 1: auto, type, or LOW,HIGH for all bands or for each.", metavar="LOW,HIGH[;...]"
    )
    space: Space = option("rgb", "Where distances are taken: rgb, linear (light), lab or oklab.", metavar="SPACE")
    max_iter: int = option(100, "Passes over the pixels at the most.", least=1)
    tol: float = option(1e-4, "Converged when an iteration gains less, in nats per pixel.", least=0)
    reg_covar: "float | str" = option("auto", "Added to variances of colors in [0, 1]: auto or a number.", metavar="VARIANCE")
    rare_weight: float = option(
        1.0, "Colors count to this power: less than 1 where rare colors matter.", metavar="POWER", least=0, most=1
    )
    seed: int = option(0, "Seeds everything that is drawn.", least=0)
    sort: Sort = option("weight", "Order of components and colors: weight, luminance or hue.", metavar="ORDER")

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "init", read_start(self.init))
        object.__setattr__(self, "reg_covar", read_ridge(self.reg_covar))
        object.__setattr__(self, "range", read_ranges("range", self.range))

    def preset_for(self, n_bands: int) -> Preset:
        """Return what was asked for, or what is usual for so many bands."""
        return self.preset or ("picture" if n_bands <= PICTURE_BANDS else "segment")

    def is_matched(self, n_bands: int) -> bool:
        """Whether what is added to variances is what a color of a palette stands for."""
        return isinstance(self.reg_covar, str) and self.preset_for(n_bands) == "picture"

    @property
    def wanted(self) -> int:
        """Components asked for: those of the start, where one is given."""
        if isinstance(self.init, str):
            return self.n_components
        return getattr(self.init, "n_components", None) or len(self.init)  # type: ignore[arg-type]
