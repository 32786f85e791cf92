"""The pages of a TIFF in their order, those that have no directory of their own among them."""

import copy
import re
from collections import deque
from collections.abc import Iterator

import tifffile

from ...errors import ImageReadError

# Tags of MetaMorph, each of which has a value, or some, for each plane of a stack.
PLANES = (33629, 33630, 33631)


def chain(tiff: tifffile.TiffFile) -> Iterator[tifffile.TiffPage]:
    """Yield the pages of a TIFF.

    Raises
    ------
    ImageReadError
        Where they run in a circle; damage in the file may raise anything.
    """
    if (planes := _planes(tiff)) > 1:
        yield from (_plane(tiff.pages.first, plane) for plane in range(planes))
        return
    seen = set()
    for page in tiff.pages:
        if page.offset in seen:
            raise ImageReadError(f"{tiff.filename}: its chain of pages runs in a circle; the file is damaged")
        seen.add(page.offset)
        yield page


def n_pages(tiff: tifffile.TiffFile) -> int:
    """Return how many pages a TIFF has."""
    planes = _planes(tiff)
    return planes if planes > 1 else len(tiff.pages)


def page_of(tiff: tifffile.TiffFile, number: int) -> tifffile.TiffPage:
    """Return the page of some number, from 0; raise an IndexError where there is none."""
    planes = _planes(tiff)
    if number < 0 or 1 < planes <= number:
        raise IndexError(number)
    return _plane(tiff.pages.first, number) if planes > 1 else tiff.pages[number]


def _planes(tiff: tifffile.TiffFile) -> int:
    """Return how many pages stand behind the directory of the first, in stacks that have no other: 1 where only that one does.

    ImageJ writes such stacks above 4 GiB, and MetaMorph all of its stacks (STK). Their pixels are not compressed.
    """
    page = tiff.pages.first
    if not (page.is_imagej or PLANES[0] in page.tags) or not page.is_final or tiff.pages.is_multipage:
        return 1
    planes = _said_by_imagej(page) if page.is_imagej else min(page.tags[tag].count for tag in PLANES if tag in page.tags)
    # Some programs keep the description of a stack when they save one page of it: then nothing lies behind that.
    return planes if page.dataoffsets[0] + 2 * page.nbytes <= tiff.filehandle.size else 1


def _said_by_imagej(page: tifffile.TiffPage) -> int:
    """Return how many images the description of ImageJ counts; Bio-Formats counts the samples of pixels, too."""
    counts = {name: int(count) for name, count in re.findall(r"^(images|channels)=(\d+)\s*$", page.imagej_description, re.M)}
    images, channels = counts.get("images", 1), counts.get("channels", 1)
    return images // channels if channels == page.samplesperpixel else images


def _plane(first: tifffile.TiffPage, plane: int) -> tifffile.TiffPage:
    """Return the page whose pixels lie so many pages behind those of the first."""
    page = copy.copy(first)
    page.dataoffsets = tuple(offset + plane * first.nbytes for offset in first.dataoffsets)
    return page


class Ahead:
    """The pages of a chain, which may be looked at before it is their turn.

    Damage behind some pages is raised when these were taken.
    """

    def __init__(self, pages: Iterator[tifffile.TiffPage]):
        self._pages, self._seen = pages, deque[tifffile.TiffPage]()
        self._damage: Exception | None = None

    def look(self, at: int) -> tifffile.TiffPage | None:
        """Return the page that is so many behind the next; None where there is none that can be read."""
        while len(self._seen) <= at and self._damage is None:
            try:
                self._seen.append(next(self._pages))
            except StopIteration:
                break
            except Exception as error:  # tifffile raises anything
                self._damage = error
        return self._seen[at] if at < len(self._seen) else None

    def take(self) -> tifffile.TiffPage | None:
        """Return the next page, or None where there is none; raise what is damaged there."""
        if self.look(0) is not None:
            return self._seen.popleft()
        if self._damage is not None:
            raise self._damage
        return None
