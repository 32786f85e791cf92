"""A page is text that escapes what it is given, and leaves out what there is not."""

import numpy as np
import pytest

from streamgmm import __version__
from streamgmm.page.document import Card, Compared, Drawing, Folder, Page, template
from streamgmm.page.pictures import exact
from streamgmm.page.swatches import Swatch

PICTURE = exact(np.zeros((4, 6, 3), np.uint8))
EVIL = "<script>alert('&\"')</script>"


def page(**more):
    overview = Compared("x", PICTURE, PICTURE, "was", "is")
    return Page("x.tif", "made", PICTURE, "Every pixel.", [("Input", "x.tif")], overview, "streamgmm x", **more)


def test_it_is_one_file_that_asks_for_nothing():
    text = page().html()
    assert text.startswith('<!doctype html>\n<html lang="en">')
    assert f'<meta name="generator" content="streamgmm {__version__}">' in text
    assert text.count("<script>") == text.count("<style>") == 1
    assert "default-src 'none'" in text
    assert "http://" not in text
    assert "https://" not in text
    assert " on" not in {attribute[:3] for attribute in text.split("<")}


def test_a_fingerprint_is_in_the_generator():
    assert f'content="streamgmm {__version__} fingerprint abc1"' in page(fingerprint="abc1").html()


@pytest.mark.parametrize(
    "more",
    [
        {"notes": [EVIL]},
        {"dropped": [EVIL]},
        {"settings": [(EVIL, EVIL)]},
        {"swatches": [Swatch(0, EVIL, EVIL, [EVIL])]},
        {"drawings": [Drawing(EVIL, "<svg></svg>", EVIL, EVIL)]},
        {"fingerprint": EVIL},
    ],
)
def test_texts_are_escaped(more):
    text = page(**more).html()
    assert EVIL not in text
    assert "alert(&#39;&amp;&#34;&#39;)" in text


def test_what_there_is_not_has_no_section():
    bare = page().html()
    assert [name for name in ("Palette", "1:1", "Error and fit", "canvas width") if name in bare] == []
    assert "Nothing: all that the input says is in the output." in bare
    full = page(swatches=[Swatch(0, "#000000", "1 %", ["0.5"])], n_colors=300, numbers=PICTURE, dropped=["GDAL_NODATA"]).html()
    assert "The 1 heaviest of 300 colors." in full
    assert "canvas width" in full
    assert "<li>GDAL_NODATA</li>" in full


def test_a_page_of_many_has_links_and_says_what_failed():
    cards = [Card("a.tif", "fine", "sub%20dir/a.html", PICTURE.uri), Card(EVIL, "is damaged", failed=True)]
    text = Folder("2 images", "1 done, 1 failed", cards).html()
    assert '<a class="card" href="sub%20dir/a.html"><img' in text
    assert "is damaged" in text
    assert EVIL not in text
    assert text.count("<a ") == 1


def test_a_name_that_a_template_does_not_know_is_an_error():
    with pytest.raises(Exception, match="has no attribute"):
        template("page.html.j2").render(page=object(), version="1")
