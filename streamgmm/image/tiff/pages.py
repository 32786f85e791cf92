"""Which pages of a TIFF are images, which are their reduced levels, and which their masks."""

import contextlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import tifffile

from ...errors import ImageReadError, OptionError

# Reduced levels are as wide for their height as the image, to this share: each halving rounds to a pixel.
ASPECT = 0.02
# What Ventana's scanners say of pages that are photographs of the whole glass, and of the slide itself.
PHOTOGRAPHS = ("Label_Image", "Label Image", "Probability_Image", "Thumbnail")
BASE = re.compile(r"level=0\b")
# An image of so many times the pixels is told of, if it is among so many images: a stack may have thousands.
FAR_LARGER, LOOKED_AT = 4, 64


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
    """

    index: int
    image: tifffile.TiffPage
    reduced: list[tifffile.TiffPage] = field(default_factory=list)
    masks: list[tifffile.TiffPage] = field(default_factory=list)

    def take(self, page: tifffile.TiffPage) -> bool:
        """Take a page in as a level or mask; return whether it belongs here."""
        image = self.image
        alike = self._is_smaller(page) and (page.samplesperpixel, page.bitspersample) == (
            image.samplesperpixel,
            image.bitspersample,
        )
        if is_mask(page):
            size = page.imagewidth, page.imagelength
            if size != (image.imagewidth, image.imagelength) and not self._is_smaller(page):
                return False
            self.masks.append(page)
        elif alike and (page.is_reduced or (page.is_tiled and image.is_tiled)):
            self.reduced.append(page)
            self.reduced.sort(key=lambda level: -level.imagewidth)
        else:
            # a label or macro photograph; or the striped thumbnail between the tiled levels of a slide
            return bool(page.is_reduced) or (alike and image.is_tiled)
        return True

    def _is_smaller(self, page: tifffile.TiffPage) -> bool:
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


def _area(group: Group) -> int:
    return group.image.imagewidth * group.image.imagelength


def far_larger(tiff: tifffile.TiffFile, group: Group) -> Group | None:
    """Return an image behind the one that is taken, among the first pages, that has far more pixels; None where none has."""
    chosen = _area(group)
    behind = itertools.islice((other for other in groups(tiff) if other.index > group.index), LOOKED_AT)
    return next((other for other in behind if _is_full(other) and _area(other) > FAR_LARGER * chosen), None)


def groups(tiff: tifffile.TiffFile) -> Iterator[Group]:
    """Yield the images of a TIFF, each with its levels and masks: its SubIFDs, and the pages that follow it in the chain.

    A page that is reduced (NewSubfileType, tag 254) although no image stands before it, as the thumbnail of a DNG file, gives
    way to the full image in its SubIFDs.
    """
    group, pages, seen = None, iter(tiff.pages), set()
    for index in itertools.count():
        try:
            page = next(pages, None)
            if page is not None and page.offset in seen:
                raise ImageReadError(f"{tiff.filename}: its chain of pages runs in a circle; the file is damaged")
        except Exception:
            if group:  # the image before the damage is whole
                yield group
            raise
        if page is not None:
            seen.add(page.offset)
            if group and group.take(page):
                continue
        if group:
            yield group
        if page is None:
            return
        group = _group(index, page)


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


def _is_full(group: Group) -> bool:
    """Whether an image is no thumbnail or mask."""
    return not group.image.is_reduced and not is_mask(group.image)


def full_images(tiff: tifffile.TiffFile) -> list[Group]:
    """Return the images that are no thumbnails or masks, or all where there are only such."""
    found = list(groups(tiff))
    return [group for group in found if _is_full(group)] or found


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
        return next((group for group in found if BASE.match(group.image.description)), max(found, key=_area))
    if page is None:
        return full_images(tiff)[0] if first.is_reduced or is_mask(first) else next(groups(tiff))
    for group in groups(tiff):
        if group.index == page:
            return group
        if group.index > page:
            break
    try:
        if page >= 0:
            return _group(page, tiff.pages[page])  # a level, mask or thumbnail, asked for by its number
    except IndexError:
        pass
    raise OptionError(f"{name}: there is no page {page}; pages are 0 to {len(tiff.pages) - 1}")
