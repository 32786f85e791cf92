"""Values of options that are more than a number or a word: how they are written, and read."""

import contextlib
import math
import mimetypes
import operator
import os
from collections.abc import Iterable
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from ..errors import OptionError
from .fields import shown

if TYPE_CHECKING:
    import numpy as np

Init = Literal["kmeans", "k-means++", "random"]
# What other programs take a name for; those that the system adds are left out, so that names mean the same everywhere.
NAMES = mimetypes.MimeTypes()


class Start(Protocol):
    """Components to start from: a mixture."""

    @property
    def n_components(self) -> int:
        """Number of components K."""

    @property
    def means(self) -> "np.ndarray":
        """Means, shape (K, D)."""


Ranges = tuple[tuple[float, float], ...]


def read_components(value: Any, most: int) -> int | str:
    """Read how many components are wanted: their number, or auto."""
    if isinstance(value, str) and value == "auto":
        return value
    told = shown(value)
    with contextlib.suppress(ValueError, TypeError):
        number = int(value) if isinstance(value, str) else operator.index(value)
        if 1 <= number <= most and not isinstance(value, bool):
            return number
        told = str(value) if isinstance(value, bool) else str(number)
    raise OptionError(f"components is {told}; choose 1 to {most:,}, or auto")


def read_like(value: Any) -> "str | os.PathLike | Start | None":
    """Read an earlier model: a mixture, or the path of its file."""
    if value is None or isinstance(value, str | os.PathLike) or (hasattr(value, "n_components") and hasattr(value, "means")):
        return value
    raise OptionError(f"like is {shown(value)}; write the path of a model file, or give a Mixture")


def read_ridge(value: Any) -> float | str:
    """Read what is added to variances."""
    if value == "auto":
        return value
    with contextlib.suppress(ValueError, TypeError):
        if 0 <= float(value) < math.inf:
            return float(value)
    raise OptionError(f"reg-covar is {value!r}; write auto, or a variance of colors in [0, 1], 0 or more")


def read_start(value: Any) -> "str | np.ndarray | Start":
    """Read what to start from: the name of a way, means, or a mixture."""
    if isinstance(value, str):
        if value in get_args(Init):
            return value
        raise OptionError(f"init is {value!r}; choose {', '.join(get_args(Init))}")
    if hasattr(value, "n_components") and hasattr(value, "means"):
        return value
    import numpy as np

    shape: tuple[int, ...] = ()
    with contextlib.suppress(ValueError, TypeError):
        means = np.asarray(value, np.float64)
        shape = means.shape
        if means.ndim == 2 and means.size and np.isfinite(means).all():
            return means
    what = f"an array of shape {shape}" if shape else shown(value)
    raise OptionError(
        f"init is {what}; write {', '.join(get_args(Init))}, or give a Mixture, or finite means in [0, 1], of shape (K, D)"
    )


def read_ranges(name: str, value: Any) -> str | Ranges:
    """Read ranges of samples: ``LOW,HIGH`` for all bands, or one for each, between semicolons; or pairs of numbers."""
    if isinstance(value, str) and value in ("auto", "type"):
        return value
    with contextlib.suppress(ValueError, TypeError):
        pairs = [part.split(",") for part in value.split(";")] if isinstance(value, str) else value
        if all(isinstance(end, Real) for end in pairs):
            pairs = [pairs]
        ranges = tuple((float(low), float(high)) for low, high in pairs)
        if ranges and all(math.isfinite(low) and math.isfinite(high) and low < high for low, high in ranges):
            return ranges
    raise OptionError(f"{name} is {value!r}; write auto, type, or LOW,HIGH, or LOW,HIGH;LOW,HIGH;... for each band")


def read_display_range(value: Any) -> str | tuple[float, float]:
    """Read a range of samples: one for all bands that are shown."""
    with contextlib.suppress(OptionError):
        ranges = read_ranges("display-range", value)
        if isinstance(ranges, str):
            return ranges
        if len(ranges) == 1:
            return ranges[0]
    raise OptionError(f"display-range is {value!r}; write auto, type, or LOW,HIGH for all bands that are shown")


def read_alpha(value: Any) -> int | str:
    """Read which sample is alpha: its number, from 1, or none."""
    if value == "none":
        return value
    with contextlib.suppress(ValueError, TypeError):
        number = int(value) if isinstance(value, str) else operator.index(value)
        if number >= 1 and not isinstance(value, bool):
            return number
    raise OptionError(f"alpha is {shown(value)}; write the number of a sample, from 1, or none")


def read_number(value: Any) -> float:
    """Read a number: a whole one where it is written as such, because 64 bits do not fit a float.

    Raises
    ------
    ValueError, TypeError
    """
    if isinstance(value, bool):
        raise TypeError("not a number")
    with contextlib.suppress(ValueError, TypeError):
        return int(value) if isinstance(value, str) else operator.index(value)
    return float(value)


def read_nodata(value: Any) -> str | tuple[Ranges, ...] | None:
    """Read what samples of masked pixels are: ``none``, or any of some values, each a range for all bands or one for each.

    A list of numbers is a value for each band, a list of others is a list of values.
    """
    if hasattr(value, "tolist"):  # of NumPy
        value = value.tolist()
    several = isinstance(value, tuple | list) and not any(isinstance(each, Real) for each in value)
    given = list(value) if several else [value]
    if given in ([], [None]):
        return None
    if given == ["none"]:
        return "none"
    with contextlib.suppress(ValueError, TypeError):
        boxes = tuple(_box(each) for each in given)
        if all(boxes) and all(low <= high or (math.isnan(low) and math.isnan(high)) for box in boxes for low, high in box):
            return boxes
    wrong = given[0] if isinstance(given[0], str) else value
    raise OptionError(
        f"nodata is {shown(wrong)}; write a value, a range LOW:HIGH, one of these for each band between commas, or none"
    )


def _box(value: Any) -> Ranges:
    """Read a value for all bands, or one for each."""
    parts = value.split(",") if isinstance(value, str) else [value] if isinstance(value, Real) else value
    return tuple(map(_ends, parts))


def _ends(part: Any) -> tuple[float, float]:
    """Read a value or a range of them."""
    low, high = part, part
    if isinstance(part, str):
        low, colon, high = part.partition(":")
        high = high if colon else low
    elif not isinstance(part, Real):
        low, high = part
    return read_number(low), read_number(high)


def read_pages(value: Any) -> tuple[int, ...] | str:
    """Read which pages are bands: their numbers, from 0, or all."""
    if isinstance(value, str) and value == "all":
        return value
    with contextlib.suppress(ValueError, TypeError):
        parts = [int(part) for part in value.split(",")] if isinstance(value, str) else list(value)
        if parts and all(operator.index(part) >= 0 and not isinstance(part, bool) for part in parts):
            return tuple(map(operator.index, parts))
    raise OptionError(f"pages-as-bands is {shown(value)}; write numbers of pages, from 0, such as 0,1,2, or all")


def read_colors(name: str, value: Any) -> tuple[tuple[int, int, int], ...]:
    """Read colors: text with commas between them, or a list of colors."""
    several = value.split(",") if isinstance(value, str) else value
    if not isinstance(several, Iterable) or ((colors := list(several)) and isinstance(colors[0], Integral)):
        colors = [value]
    if not colors:
        raise OptionError(f"{name} is {shown(value)}; write colors such as #ffffff,#000000")
    return tuple(dict.fromkeys(read_color(name, each.strip() if isinstance(each, str) else each) for each in colors))


def read_color(name: str, value: Any) -> tuple[int, int, int]:
    """Read a color: a name, ``#rrggbb``, or three numbers from 0 to 255."""
    from PIL import ImageColor

    with contextlib.suppress(ValueError, TypeError, AttributeError):
        red, green, blue, *_ = ImageColor.getrgb(value) if isinstance(value, str) else map(operator.index, value)
        if (isinstance(value, str) or len(value) == 3) and all(0 <= sample <= 255 for sample in (red, green, blue)):
            return red, green, blue
    raise OptionError(f"{name} is {shown(value)}; write a name such as white, #rrggbb, or three numbers from 0 to 255")


def check_tiff_name(path: str | os.PathLike) -> None:
    """Refuse the name of an image that other programs would take for something else than a TIFF.

    Raises
    ------
    OptionError
    """
    kind = NAMES.guess_type(Path(path).name, strict=False)[0]
    if kind not in (None, "image/tiff"):
        raise OptionError(f"{os.fspath(path)}: images are written as TIFF; choose a name that ends in .tif")
