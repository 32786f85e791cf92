"""Which pages of a TIFF are images, which are their reduced levels, and which their masks."""

import contextlib
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import tifffile

from ...errors import OptionError
from .chain import Ahead, chain, n_pages, page_of

# Reduced levels are as wide for their height as the image, to this share: each halving rounds to a pixel.
ASPECT = 0.02
# What Ventana's scanners say of pages that are photographs of the whole glass, and of the slide itself.
PHOTOGRAPHS = ("Label_Image", "Label Image", "Probability_Image", "Thumbnail")
BASE = re.compile(r"level=0\b")
# What QPTIFF says of a page: FullResolution, ReducedResolution, Thumbnail, Overview, Label.
IMAGE_TYPE = re.compile(r"<ImageType>\s*(\w+)")
OF_THE_GLASS = ("Thumbnail", "Overview", "Label")
# So many pages of one kind in a row may be channels whose levels follow; more are a stack. A page is read in 0.1 ms.
CHANNELS = 256


@dataclass
class Group:
    """An image and what belongs to it.

    Attributes
    ----------
    index : int
        Its number in the chain of pages, from 0.
    image : tifffile.TiffPage
    reduced : list of tifffile.TiffPage
        The same image with fewer pixels, the largest first.
    masks : list of tifffile.TiffPage
        Transparency masks, of the image or its levels.
    pictures : int
        Others that belong to it: of a slide its label and the whole glass; thumbnails.
    complete : bool
        Whether all its levels are known, so that what follows is none.
    """

    index: int
    image: tifffile.TiffPage
    reduced: list[tifffile.TiffPage] = field(default_factory=list)
    masks: list[tifffile.TiffPage] = field(default_factory=list)
    pictures: int = 0
    complete: bool = False

    def take(self, page: tifffile.TiffPage) -> bool:
        """Take a page in as a level or mask; return whether it belongs here."""
        image = self.image
        if is_mask(page):
            size = page.imagewidth, page.imagelength
            if size != (image.imagewidth, image.imagelength) and not self.is_smaller(page):
                return False
            self.masks.append(page)
        elif self.is_level(page):
            if not self.complete:
                self.reduced.append(page)
                self.reduced.sort(key=lambda level: -level.imagewidth)
        else:
            picture = bool(page.is_reduced) or _image_type(page) in OF_THE_GLASS
            self.pictures += picture
            return picture or (self._is_alike(page) and image.is_tiled)  # the striped thumbnail between the levels of a slide
        return True

    def is_level(self, page: tifffile.TiffPage) -> bool:
        """Whether a page is the image with fewer pixels, by what it says, or because both are tiled."""
        said = page.is_reduced or _image_type(page) == "ReducedResolution"
        return self._is_alike(page) and bool(said or (page.is_tiled and self.image.is_tiled))

    def _is_alike(self, page: tifffile.TiffPage) -> bool:
        image = self.image
        return self.is_smaller(page) and (page.samplesperpixel, page.bitspersample) == (
            image.samplesperpixel,
            image.bitspersample,
        )

    def is_smaller(self, page: tifffile.TiffPage) -> bool:
        """Whether a page has the proportions of the image, and fewer pixels."""
        image = self.image
        wide, high = page.imagewidth / image.imagewidth, page.imagelength / image.imagelength
        rounding = max(ASPECT * max(wide, high), 1 / image.imagewidth, 1 / image.imagelength)
        return wide < 1 and abs(wide - high) <= rounding

    def level(self, level: int, name: str) -> tuple[tifffile.TiffPage, tifffile.TiffPage | None]:
        """Return the page of a level, 0 being the image, and its mask.

        Raises
        ------
        OptionError
            Where there is no such level.
        """
        levels = [self.image, *self.reduced]
        if not 0 <= level < len(levels):
            sizes = ", ".join(f"{i} ({page.imagewidth} x {page.imagelength})" for i, page in enumerate(levels))
            raise OptionError(f"{name}: level is {level}; page {self.index} has {sizes}")
        page = levels[level]
        size = page.imagewidth, page.imagelength
        return page, next((mask for mask in self.masks if (mask.imagewidth, mask.imagelength) == size), None)


def is_mask(page: tifffile.TiffPage) -> bool:
    """Whether a page is a transparency mask (NewSubfileType, tag 254): some scanners say so of infrared in 16 bits."""
    return bool(page.is_mask) and page.bitspersample in (1, 8)


def is_photograph(page: tifffile.TiffPage) -> bool:
    """Whether a page is the label or the overview that stands before the slide in files of Leica (SCN) and Ventana (BIF)."""
    return page.parent.is_scn or page.parent.is_bif or page.description.startswith(PHOTOGRAPHS)


def area(group: Group) -> int:
    """Return how many pixels an image has."""
    return group.image.imagewidth * group.image.imagelength


def groups(tiff: tifffile.TiffFile) -> Iterator[Group]:
    """Yield the images of a TIFF, each with its levels and masks: its SubIFDs, and the pages that follow it in the chain.

    A page that is reduced (NewSubfileType, tag 254) although no image stands before it, as the thumbnail of a DNG file, gives
    way to the full image in its SubIFDs. Of pages of one kind in a row, such as the channels of QPTIFF, the levels may follow
    in rows, too.
    """
    group, ahead, index, plain = None, Ahead(chain(tiff)), 0, 0
    while True:
        try:
            page = ahead.take()
        except Exception:
            if group:  # the image before the damage is whole
                yield group
            raise
        if group and (page is None or not group.take(page)):
            yield group
            group = None
        if page is None:
            return
        index += 1
        if group is None:
            group = _group(index - 1, page)
            n_channels, rows = _rows_of_levels(ahead, group) if index > plain and group.image is page else (1, [])
            plain = index + n_channels - 1
            if rows:
                *channels, group = _with_levels(ahead, group, n_channels, rows)
                yield from channels
                index = plain + rows[-1] + 1


def _rows_of_levels(ahead: Ahead, group: Group) -> tuple[int, list[int]]:
    """Return how many pages in a row are of the kind of an image, and how far behind it rows of their levels begin.

    A row has a level of each. Before the first there may be a thumbnail.
    """
    image, rows = group.image, []
    n_channels = 1 + _n_of_kind(image, ahead, 0, CHANNELS)
    at = n_channels - 1
    if group.reduced or image.is_reduced or not 1 < n_channels <= CHANNELS:
        return n_channels, []
    while (page := ahead.look(at)) is not None and not group.is_level(page) and not is_mask(page) and group.is_smaller(page):
        at += 1
    while (page := ahead.look(at)) is not None and group.is_level(page) and page.imagewidth < image.imagewidth:
        if _n_of_kind(page, ahead, at, n_channels + 1) != n_channels:
            break
        rows.append(at)
        at, image = at + n_channels, page
    return n_channels, rows


def _n_of_kind(page: tifffile.TiffPage, ahead: Ahead, at: int, most: int) -> int:
    """Return how many pages from some place on are of the kind of a page, one after the other."""
    wanted = _kind(page)
    there = itertools.takewhile(lambda i: (other := ahead.look(at + i)) is not None and _kind(other) == wanted, range(most))
    return sum(1 for _ in there)


def _kind(page: tifffile.TiffPage) -> tuple:
    size, samples = (page.imagewidth, page.imagelength), (page.samplesperpixel, page.bitspersample, page.sampleformat)
    return *size, *samples, page.photometric, page.subfiletype


def _with_levels(ahead: Ahead, group: Group, n_channels: int, rows: list[int]) -> list[Group]:
    """Take images of one kind, and the rows of their levels."""
    pages = [page for _ in range(rows[-1] + n_channels) if (page := ahead.take()) is not None]
    channels = [group, *(_group(group.index + 1 + i, page) for i, page in enumerate(pages[: n_channels - 1]))]
    for i, channel in enumerate(channels):
        channel.reduced, channel.complete = [pages[row + i] for row in rows], True
    return channels


def _group(index: int, page: tifffile.TiffPage) -> Group:
    children = []
    if page.subifds:
        with contextlib.suppress(Exception):  # a damaged child does not spoil its parent
            children = [child for child in page.pages if isinstance(child, tifffile.TiffPage)]
    full = next((child for child in children if not child.is_reduced and not is_mask(child)), None)
    group = Group(index, full if full is not None and (page.is_reduced or is_mask(page)) else page)
    for child in children:
        if child is not group.image:
            group.take(child)
    return group


def _image_type(page: tifffile.TiffPage) -> str | None:
    """Return what QPTIFF says that a page is."""
    found = IMAGE_TYPE.search(page.description)
    return found[1] if found else None


def is_full(group: Group) -> bool:
    """Whether an image is no thumbnail or mask."""
    return not group.image.is_reduced and not is_mask(group.image)


def full_images(tiff: tifffile.TiffFile) -> list[Group]:
    """Return the images that are no thumbnails or masks, or all where there are only such."""
    found = list(groups(tiff))
    return [group for group in found if is_full(group)] or found


def image_group(tiff: tifffile.TiffFile, page: int | None, name: str) -> Group:
    """Return the image that is page number ``page`` of the chain, or the slide, or the first image of the file.

    Raises
    ------
    OptionError
        Where there is no such page.
    """
    first = tiff.pages.first
    if page is None and is_photograph(first):
        found = full_images(tiff)
        return next((group for group in found if BASE.match(group.image.description)), max(found, key=area))
    if page is None:
        return full_images(tiff)[0] if first.is_reduced or is_mask(first) else next(groups(tiff))
    return numbered_groups(tiff, [page], name)[0]


def numbered_groups(tiff: tifffile.TiffFile, numbers: Sequence[int], name: str) -> list[Group]:
    """Return the images that are pages of some numbers in the chain; also levels, masks and thumbnails, each by itself.

    Raises
    ------
    OptionError
        Where there is no such page.
    """
    found: dict[int, Group] = {}
    for group in groups(tiff) if numbers else ():
        if group.index in numbers:
            found[group.index] = group
        if group.index >= max(numbers):
            break
    for number in {*numbers} - found.keys():
        try:
            found[number] = _group(number, page_of(tiff, number))
        except IndexError:
            raise OptionError(f"{name}: there is no page {number}; pages are 0 to {n_pages(tiff) - 1}") from None
    return [found[number] for number in numbers]
