"""A page as text: what is shown, in a template."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import jinja2

from .. import __version__
from .pictures import Picture
from .places import Place
from .swatches import Swatch

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Compared:
    """Two pictures of one size, one over the other under a slider, or only the second."""

    name: str
    before: Picture | None
    after: Picture
    alt_before: str
    alt_after: str
    zoom: int = 1


@dataclass(frozen=True)
class Crop:
    """A place at 1:1."""

    place: Place
    pictures: Compared
    error: float


@dataclass(frozen=True)
class ErrorMap:
    """How far colors are from the pixels, all over the image."""

    picture: Picture
    scale: Picture
    most: float
    alt: str


@dataclass(frozen=True)
class Drawing:
    """A figure with what is said of it."""

    title: str
    svg: str
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Page:
    """All that a page shows of one image; a section that has nothing is left out."""

    title: str
    summary: str
    thumbnail: Picture
    caption: str
    facts: Pairs
    overview: Compared
    command: str
    fingerprint: str | None = None
    notes: Sequence[str] = ()
    swatches: Sequence[Swatch] = ()
    n_colors: int = 0
    numbers: Picture | None = None
    wide: bool = False
    crops: Sequence[Crop] = ()
    shape: tuple[int, int] = (1, 1)
    errors: ErrorMap | None = None
    drawings: Sequence[Drawing] = ()
    components: Sequence[Drawing] = ()
    dropped: Sequence[str] = ()
    settings: Pairs = ()
    versions: Pairs = ()
    timings: Sequence[tuple[str, str, str]] = ()

    def html(self) -> str:
        """Return the page."""
        return template("page.html.j2").render(page=self, version=__version__)


@dataclass(frozen=True)
class Card:
    """What a page of many says of one of them."""

    name: str
    text: str
    href: str | None = None
    picture: str | None = None
    failed: bool = False


@dataclass(frozen=True)
class Folder:
    """All that a page of many images shows."""

    title: str
    summary: str
    cards: Sequence[Card]
    fingerprint: str | None = None

    def html(self) -> str:
        """Return the page."""
        return template("folder.html.j2").render(page=self, version=__version__)


@cache
def template(name: str) -> jinja2.Template:
    """Return a template, in which every text is escaped, and a name that is missing is an error."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("streamgmm.page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
