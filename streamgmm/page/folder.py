"""The page of many outputs: pictures that lead to the page of each, which it takes from there."""

import base64
import io
import os
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np
from PIL import Image

from ..errors import ImageReadError
from ..system.files import open_input
from .document import Card, Folder
from .pictures import THUMBNAIL, thumbnail

# Bytes of a page that are read: what stands in its head, of which a picture takes 30 KB.
HEAD = 1 << 18
# Characters that all pictures may take, so that the page is less than 5 MB, and what they are made smaller to.
MOST, SIDES = 3_500_000, (THUMBNAIL, 160, 96, 56)


class Head(NamedTuple):
    """What the page of an output says of itself."""

    fingerprint: str | None
    summary: str
    picture: str


class Made(NamedTuple):
    """What became of an input: its name, its page, and what is said where it has none."""

    name: str
    page: Path
    error: str | None


class _Reader(HTMLParser):
    """Finds what stands in the head of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what is of use."""
        given = {name: value or "" for name, value in attrs}
        if tag == "meta" and "name" in given:
            self.found[given["name"]] = given.get("content", "")
        elif tag == "link":
            self.found[given.get("rel", "")] = given.get("href", "")


def head_of(path: Path) -> Head | None:
    """Read the head of a page that this program has made; None where there is none."""
    try:
        with open_input(path) as file:
            text = file.read(HEAD).decode("utf-8", "replace")
    except (ImageReadError, OSError):
        return None
    reader = _Reader()
    reader.feed(text.partition("<style>")[0])
    generator = re.fullmatch(r"streamgmm \S+(?: fingerprint (\w+))?", reader.found.get("generator", ""))
    if not generator or "icon" not in reader.found:
        return None
    return Head(generator[1], reader.found.get("description", ""), reader.found["icon"])


def folder_of(made: Sequence[Made], path: Path, title: str, summary: str) -> Folder:
    """Return the page of many outputs, which is written to a path."""
    heads = [None if each.error else head_of(each.page) for each in made]
    pictures = iter(_fitting([head.picture for head in heads if head]))
    cards = []
    for each, head in zip(made, heads, strict=True):
        if head is None:
            cards.append(Card(each.name, each.error or "has no page", failed=True))
        else:
            href = quote(Path(os.path.relpath(each.page.resolve(), path.resolve().parent)).as_posix())
            cards.append(Card(each.name, head.summary, href, next(pictures)))
    return Folder(title, summary, cards)


def _fitting(pictures: list[str]) -> list[str | None]:
    """Return pictures of a size at which all fit a page, or none."""
    for side in SIDES:
        fitting = pictures if side == THUMBNAIL else [_smaller(each, side) for each in pictures]
        if sum(map(len, fitting)) <= MOST:
            return [*fitting]
    return [None] * len(pictures)


def _smaller(picture: str, side: int) -> str:
    """Return a picture at a smaller size."""
    with Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2]))) as image:
        return thumbnail(np.asarray(image.convert("RGB")), side).uri
