"""Pages as a person meets them: in a browser, without a network, by keyboard, in light and dark, and for all."""

import base64
import io
import os
import re
import shutil
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

import streamgmm
from streamgmm.cli import main

from .conftest import PHOTO
from .images import smooth, write_tiff
from .page.reading import numbers, swatches

CHROMIUM = shutil.which("chromium")
# No part of it is to reach the network, or to need a sandbox, a graphics card or a home.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
SIZES = {"desk": (1280, 900), "phone": (400, 800)}

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium in which to look at pages")
quantize = partial(streamgmm.quantize, threads=1)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Pages of a photo, of masked 16-bit samples, of a single band, of an image without pixels, and of a batch of two."""
    folder = tmp_path_factory.mktemp("pages")
    quantize(PHOTO, folder / "photo.tif", html=folder / "photo.html", preset="segment", n_components=8)
    pixels = smooth(300, 410, dtype=np.uint16)
    mask = np.zeros(pixels.shape, bool)
    mask[:100, :150] = True
    quantize(np.ma.array(pixels, mask=mask), folder / "masked.tif", html=folder / "masked.html")
    quantize(smooth(40, 50)[..., :1], folder / "gray.tif", html=folder / "gray.html", n_components=300)
    quantize(np.ma.masked_all((60, 50, 3), np.uint8), folder / "none.tif", html=folder / "none.html")
    (folder / "in").mkdir()
    for i in range(2):
        write_tiff(folder / "in" / f"{i} #.tif", smooth(60, 80, seed=i))
    (folder / "in" / "2.tif").write_bytes(b"II*\0")
    with pytest.raises(SystemExit):
        main(["batch", str(folder / "in"), "--out-dir", str(folder / "out"), "--html", str(folder / "index.html"), "-k", "3"])
    return folder


NAMES = ["photo.html", "masked.html", "gray.html", "none.html", "index.html"]


@pytest.fixture(scope="module")
def playwright():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture
def look(playwright, pages, tmp_path):
    """A function that opens a page, in which nothing may be wrong until the test ends."""
    opened, wrong = [], []

    def look(name, scheme="light", size="desk"):
        width, height = SIZES[size]
        context = playwright.chromium.launch_persistent_context(
            tmp_path / f"profile{len(opened)}",
            executable_path=CHROMIUM,
            args=ARGUMENTS,
            color_scheme=scheme,
            viewport={"width": width, "height": height},
            env={**os.environ, "HOME": str(tmp_path)},
        )
        opened.append(context)
        page = context.pages[0]
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith(("data:", "file:")) else wrong.append(request.url))
        page.goto((pages / name).as_uri())
        return page

    yield look
    for context in opened:
        context.close()
    assert wrong == []


@pytest.mark.parametrize("name", NAMES)
def test_it_opens_from_disk_and_asks_for_nothing(name, look):
    page = look(name)
    requests = page.evaluate("performance.getEntriesByType('resource').map(each => each.name)")
    assert [url for url in requests if not url.startswith("data:")] == []
    assert page.evaluate("[...document.images].every(each => each.complete && each.naturalWidth > 0)")
    assert page.locator("h1").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_it_is_for_all(name, size, scheme, look):
    from axe_playwright_python.sync_playwright import Axe

    page = look(name, scheme, size)
    found = Axe().run(page)
    assert [(each["id"], [node["html"][:200] for node in each["nodes"]]) for each in found.response["violations"]] == []
    assert len(found.response["passes"]) > 10


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_wider_than_the_window(name, size, look):
    page = look(name, size=size)
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]


def test_it_is_dark_where_that_is_wanted(look):
    def paper(scheme):
        color = look("photo.html", scheme).evaluate("getComputedStyle(document.body).backgroundColor")
        return [int(each) for each in re.findall(r"\d+", color)]

    assert max(paper("dark")) < 60
    assert min(paper("light")) > 230


def clip(page, number=0):
    return page.locator("img.after").nth(number).evaluate("each => getComputedStyle(each).clipPath")


def test_the_slider_moves_what_is_seen(look):
    page = look("photo.html")
    slider = page.get_by_role("slider").first
    assert "50%" in clip(page)
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert "51%" in clip(page)
    page.keyboard.press("Home")
    assert "0%" in clip(page)
    box = slider.bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + box["height"] / 2)
    assert 70 < float(slider.input_value()) < 80
    assert "50%" in clip(page, 1)  # that of a place is its own
    assert page.get_by_role("slider").count() == 4


def test_before_is_to_the_left_and_after_to_the_right(look, pages):
    page = look("photo.html")
    pictures = page.locator(".compare").first.locator("img")
    assert [each.get_attribute("alt") for each in pictures.all()] == [
        "astronaut.tif as it was: 512 × 512 pixels in 8 colors, "
        + page.locator(".summary").inner_text().partition(" colors, ")[2],
        "astronaut.tif in the colors of its output",
    ]


def seen(page):
    """Which cells no veil lies over."""
    uri = page.locator("canvas").evaluate("each => each.toDataURL()")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))).reshape(-1, 4)[:, 3] == 0


@pytest.mark.parametrize("name", ["photo.html", "masked.html", "gray.html"])
def test_a_swatch_shows_where_its_color_is(name, look, pages):
    page = look(name)
    found = numbers(pages / name).reshape(-1)
    buttons = page.locator(".swatches button")
    assert buttons.count() == len(swatches(pages / name))
    assert page.locator("canvas").is_hidden()
    for number in (1, buttons.count() - 1):
        buttons.nth(number).click()
        page.wait_for_function(f"document.querySelector('canvas').dataset.found === '{(found == number).sum()}'")
        np.testing.assert_array_equal(seen(page), found == number)
        pressed = [each.get_attribute("aria-pressed") for each in buttons.all()]
        assert [number for number, each in enumerate(pressed) if each == "true"] == [number]
        assert page.locator("#told").inner_text().startswith(swatches(pages / name)[number])
    buttons.nth(number).click()
    assert page.locator("canvas").is_hidden()
    assert page.locator("#told").inner_text() == "Every pixel."


def test_a_swatch_is_chosen_by_keyboard_and_left_by_escape(look):
    page = look("photo.html")
    page.locator(".swatches button").nth(2).focus()
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('canvas').dataset.found > 0")
    assert page.locator("canvas").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("canvas").is_hidden()


def test_what_is_shown_is_all_that_was_asked_for(look):
    page = look("photo.html")
    assert page.locator("h2").all_inner_texts() == [
        "Before and after", "Palette", "Three places at 1:1", "Error and fit", "How it was made"
    ]  # fmt: skip
    titles = ["Where the error is", "Log-likelihood, nats per pixel", "Components, from one side", "Components, from another"]
    assert page.locator("figure h3").all_inner_texts() == titles
    assert [text.split(" error")[0] for text in page.locator(".places figcaption").all_inner_texts()] == [
        "1. Largest", "2. Median", "3. Smallest"
    ]  # fmt: skip
    for section in ("result", "settings", "timings", "again"):
        assert page.locator(f"#{section}").is_visible()
    swatch = page.locator(".swatches button").first.inner_text()
    assert re.search(r"#[0-9a-f]{6}\s+[\d.]+ %\s+mean\s+0\.\d{3} 0\.\d{3} 0\.\d{3}", swatch)


@pytest.mark.parametrize("name", ["photo.html", "masked.html"])
def test_places_are_at_one_to_one(name, look):
    page = look(name)
    for picture in page.locator(".places img").all():
        box = picture.bounding_box()
        shown = picture.evaluate("each => [each.naturalWidth, each.naturalHeight]")
        assert [box["width"], box["height"]] == pytest.approx(shown)


def test_pictures_of_a_folder_lead_to_each(look, pages):
    page = look("index.html")
    links = page.locator("a.card")
    assert links.count() == 2
    assert "2.tif" in page.locator("div.card.failed").inner_text()
    for i in range(2):
        assert unquote(links.nth(i).get_attribute("href")) == f"out/{i} #.html"
        links.nth(i).click()
        assert page.locator("h1").inner_text() == f"{i} #.tif"
        page.go_back()


@pytest.mark.parametrize("name", NAMES)
def test_pages_are_small(name, pages):
    assert Path(pages / name).stat().st_size < 5_000_000
