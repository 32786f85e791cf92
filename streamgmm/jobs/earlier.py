"""An earlier model, whose components give those of a new one their order."""

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from ..errors import ModelError
from ..model.display import Display
from ..model.matching import ordered_like
from ..model.mixture import Mixture
from ..model.palette import sorted_by
from ..options import FitOptions
from .model_file import load_model
from .sampling import check_range
from .session import Session

Given = TypeVar("Given", bound=FitOptions)


def with_earlier(given: Given) -> tuple[Given, list[Path]]:
    """Return options whose earlier model is read, so that its content counts and not its name; and its file, if it is one.

    Raises
    ------
    ModelError
    """
    if given.like is None or isinstance(given.like, Mixture):
        return given, []
    path = Path(given.like)  # type: ignore[arg-type] # as it was read
    return replace(given, like=load_model(path)), [path]


def check_earlier(session: Session, options: FitOptions) -> None:
    """Refuse an earlier model that is not of such images.

    Raises
    ------
    ModelError
    """
    if not isinstance(options.like, Mixture):
        return
    n_bands = session.blocks.n_bands
    if options.like.n_bands != n_bands:
        raise ModelError(
            f"{session.name}: {n_bands} bands; the model of --like has {options.like.n_bands}, name one of such images"
        )
    check_range(session, options.like)


def in_order(mixture: Mixture, options: FitOptions, display: Display | None = None) -> Mixture:
    """Return the components in the order that is asked for.

    Parameters
    ----------
    mixture : Mixture
    options : FitOptions
        With a model that is read, where one is to be like.
    display : Display, optional
        How it is shown.
    """
    if isinstance(options.like, Mixture):
        return ordered_like(mixture, options.like)
    return sorted_by(mixture, options.sort, display)
