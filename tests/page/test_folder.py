"""The page of a folder has a picture of each output, which it takes from the page of that."""

import numpy as np
import pytest

from streamgmm import __version__
from streamgmm.page import folder as module
from streamgmm.page.document import Compared, Page
from streamgmm.page.folder import Made, folder_of, head_of
from streamgmm.page.pictures import exact, thumbnail

NOISE = np.random.default_rng(0).integers(0, 256, (400, 600, 3), dtype=np.uint8)
PICTURE = thumbnail(NOISE)


def write_page(path, summary="20 × 10 pixels in 3 colors", fingerprint="abc"):
    small = exact(NOISE[:2, :2])
    overview = Compared("x", small, small, "was", "is")
    page = Page("x & y.tif", summary, PICTURE, "Every pixel.", [], overview, "streamgmm", fingerprint)
    path.parent.mkdir(exist_ok=True)
    path.write_text(page.html(), encoding="utf-8")
    return path


def test_the_head_of_a_page_says_what_it_is(tmp_path):
    head = head_of(write_page(tmp_path / "a.html", "5 % & more"))
    assert head == ("abc", "5 % & more", PICTURE.uri)
    assert head_of(write_page(tmp_path / "b.html", fingerprint=None)).fingerprint is None


@pytest.mark.parametrize("text", [b"", b"<title>x</title>", b"\xff\xfe\x00", b'<meta name="generator" content="other 1">'])
def test_what_is_no_page_of_this_program_has_no_head(text, tmp_path):
    (tmp_path / "a.html").write_bytes(text)
    assert head_of(tmp_path / "a.html") is None
    assert head_of(tmp_path / "gone.html") is None
    assert head_of(tmp_path) is None


def test_cards_lead_to_pages_wherever_these_are(tmp_path):
    pages = [write_page(tmp_path / "out" / "a b#1.html"), write_page(tmp_path / "c.html")]
    made = [
        Made("a b#1.tif", pages[0], None),
        Made("c.tif", pages[1], None),
        Made("d.tif", tmp_path / "d.html", "d.tif: damaged"),
    ]
    found = folder_of(made, tmp_path / "pages" / "index.html", "3 images", "done")
    first, second, third = found.cards
    assert (first.name, first.href, first.picture) == ("a b#1.tif", "../out/a%20b%231.html", PICTURE.uri)
    assert (second.href, second.text, second.failed) == ("../c.html", "20 × 10 pixels in 3 colors", False)
    assert (third.href, third.picture, third.text, third.failed) == (None, None, "d.tif: damaged", True)
    assert __version__ in found.html()


@pytest.mark.parametrize(("most", "fits"), [(10**7, True), (len(PICTURE.uri) * 2, False), (len(PICTURE.uri) // 4, False)])
def test_pictures_of_many_are_smaller(most, fits, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST", most)
    pages = [write_page(tmp_path / f"{i}.html") for i in range(5)]
    found = folder_of([Made("a", page, None) for page in pages], tmp_path / "index.html", "5 images", "done")
    pictures = [card.picture for card in found.cards]
    assert (pictures == [PICTURE.uri] * 5) == fits
    assert 0 < sum(map(len, pictures)) <= most


def test_of_very_many_there_are_none(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST", 100)
    page = write_page(tmp_path / "a.html")
    (card,) = folder_of([Made("a", page, None)], tmp_path / "index.html", "1 image", "done").cards
    assert card.picture is None
    assert card.href == "a.html"
