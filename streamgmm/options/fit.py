"""Options of fits."""

import math
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Self

from ..errors import OptionError
from .fields import Options, option
from .values import Init, Start, read_colors, read_components, read_like, read_ranges, read_ridge, read_start

if TYPE_CHECKING:
    import numpy as np

CovarianceType = Literal["full", "tied", "diag", "spherical", "isotropic"]
Method = Literal["auto", "exact", "stream", "minibatch"]
Preset = Literal["picture", "segment", "fidelity"]
Sort = Literal["weight", "luminance", "hue"]
Space = Literal["rgb", "linear", "lab", "oklab"]

MAX_COMPONENTS = 65_535
PICTURE_BANDS = 3
# The most components where their number is left open, which 8 bits hold; and the mean Delta E 2000 that is aimed at where no
# target is given: up to 2 only an experienced eye sees a difference (Mokrzycki and Tatol 2011, "Colour difference Delta E").
AUTO_COMPONENTS, AUTO_DELTA_E = 256, 2.0


@dataclass(frozen=True, kw_only=True)
class FitOptions(Options):
    """How a mixture is fitted."""

    n_components: 'int | Literal["auto"]' = option(
        16,
        "Components, and colors; auto: as few as meet the targets. BIC always wants more: likelihood grows with n pixels, its "
        "penalty with log n, and at 10^9 of them 10^-7 nats a pixel pay for one.",
        "-k",
        "--components",
        metavar="K",
        least=1,
        most=MAX_COMPONENTS,
    )
    target_psnr: float | None = option(None, "Of auto: the least peak signal-to-noise ratio.", metavar="DB")
    max_delta_e: float | None = option(
        None, "Of auto: the largest mean Delta E 2000. [default: 2, without a target]", metavar="X", least=0
    )
    max_components: int | None = option(
        None, "Of auto: the most components. [default: 256]", metavar="N", least=1, most=MAX_COMPONENTS
    )
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
    like: "str | os.PathLike | Start | None" = option(
        None, "Give components the numbers of those of an earlier model that they are most like.", metavar="MODEL.json"
    )

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "n_components", read_components(self.n_components, MAX_COMPONENTS))
        object.__setattr__(self, "init", read_start(self.init))
        object.__setattr__(self, "reg_covar", read_ridge(self.reg_covar))
        object.__setattr__(self, "range", read_ranges("range", self.range))
        object.__setattr__(self, "like", read_like(self.like))
        if self.like is not None and self.sort != "weight":
            raise OptionError("like and sort exclude each other: both give an order; choose one")
        self._check_targets()
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
        if n_fixed > self.wanted:
            raise OptionError(f"fix has {n_fixed} colors; components is {self.wanted}, ask for at least as many")

    def _check_targets(self) -> None:
        """Refuse targets that are no numbers, or of a number of components that is given."""
        if self.target_psnr is not None and not math.isfinite(self.target_psnr):
            raise OptionError(f"target-psnr is {self.target_psnr}; it must be a number of decibels")
        given = {"target-psnr": self.target_psnr, "max-delta-e": self.max_delta_e, "max-components": self.max_components}
        named = [name for name, value in given.items() if value is not None]
        if self.n_components != "auto" and named:
            raise OptionError(f"{named[0]} is for components auto; components is {self.n_components}")
        if self.n_components == "auto" and not isinstance(self.init, str):
            raise OptionError("components is auto; init has a number of them: choose one")

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
    def is_auto(self) -> bool:
        """Whether the number of components is to be found."""
        return self.n_components == "auto"

    def of(self, n_components: int) -> Self:
        """Return the same with a number of components that was found."""
        return replace(self, n_components=n_components, target_psnr=None, max_delta_e=None, max_components=None)

    @property
    def wanted(self) -> int:
        """Components asked for: those of the start, where one is given, and the most, where their number is to be found."""
        if isinstance(self.n_components, str):
            return self.max_components or AUTO_COMPONENTS
        if isinstance(self.init, str):
            return self.n_components
        return getattr(self.init, "n_components", None) or len(self.init)  # type: ignore[arg-type]
