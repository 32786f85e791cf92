"""Options of fits."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..errors import OptionError
from .fields import Options, option
from .values import Init, Start, read_colors, read_ranges, read_ridge, read_start

if TYPE_CHECKING:
    import numpy as np

CovarianceType = Literal["full", "tied", "diag", "spherical", "isotropic"]
Method = Literal["auto", "exact", "stream", "minibatch"]
Preset = Literal["picture", "segment", "fidelity"]
Sort = Literal["weight", "luminance", "hue"]
Space = Literal["rgb", "linear", "lab", "oklab"]

MAX_COMPONENTS = 65_535
PICTURE_BANDS = 3


@dataclass(frozen=True, kw_only=True)
class FitOptions(Options):
    """How a mixture is fitted."""

    n_components: int = option(16, "Components, and colors.", "-k", "--components", least=1, most=MAX_COMPONENTS)
    covariance_type: CovarianceType = option(
        "full", "full, tied, diag, spherical or isotropic.", "--covariance", metavar="TYPE"
    )
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
        None,
        "picture (colors to look at), segment (classes), or fidelity (the palette nearest to the pixels). [default: picture up "
        "to three bands]",
        metavar="PRESET",
    )
    range: "str | tuple[tuple[float, float], ...]" = option(
        "auto", "Samples that are 0 and 1: auto, type, or LOW,HIGH for all bands or for each.", metavar="LOW,HIGH[;...]"
    )
    space: Space = option("rgb", "Where distances are taken: rgb, linear (light), lab or oklab.", metavar="SPACE")
    max_iter: int = option(100, "Passes over the pixels at the most.", least=1)
    tol: float = option(1e-4, "Converged when an iteration gains less, in nats per pixel.", least=0)
    reg_covar: "float | str" = option("auto", "Added to variances of colors in [0, 1]: auto or a number.", metavar="VARIANCE")
    fix: "str | tuple | None" = option(
        None,
        "Colors that the palette has exactly, such as '#ffffff,#000000'; the rest is fitted around them.",
        metavar="COLOR,...",
    )
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
        if self.fix is not None:
            object.__setattr__(self, "fix", read_colors("fix", self.fix))
            self._check_fixed(len(self.fix))
        if self.preset == "fidelity":
            if self.covariance_type not in ("full", "isotropic"):
                raise OptionError("preset fidelity and covariance exclude each other: its components are isotropic; choose one")
            if self.reg_covar != "auto":
                raise OptionError(
                    "preset fidelity and reg-covar exclude each other: its variance is that of its error; choose one"
                )
            object.__setattr__(self, "covariance_type", "isotropic")

    def _check_fixed(self, n_fixed: int) -> None:
        """Refuse what leaves no room for colors that are fixed."""
        if not isinstance(self.init, str):
            raise OptionError("fix and init exclude each other: a start has all its means; choose one")
        if self.range not in ("auto", "type"):
            raise OptionError("fix and range exclude each other: colors are of the type of the samples; choose one")
        if n_fixed > self.n_components:
            raise OptionError(f"fix has {n_fixed} colors; components is {self.n_components}, ask for at least as many")

    def preset_for(self, n_bands: int) -> Preset:
        """Return what was asked for, or what is usual for so many bands."""
        return self.preset or ("picture" if n_bands <= PICTURE_BANDS else "segment")

    def is_matched(self, n_bands: int) -> bool:
        """Whether what is added to variances is what a color of a palette stands for."""
        return isinstance(self.reg_covar, str) and self.preset_for(n_bands) == "picture"

    def is_hard(self, n_bands: int) -> bool:
        """Whether pixels belong to the nearest mean alone: to the end, or in k-means from which EM hardly moves."""
        return self.preset == "fidelity" or (self.is_matched(n_bands) and isinstance(self.init, str))

    @property
    def wanted(self) -> int:
        """Components asked for: those of the start, where one is given."""
        if isinstance(self.init, str):
            return self.n_components
        return getattr(self.init, "n_components", None) or len(self.init)  # type: ignore[arg-type]
