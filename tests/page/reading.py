"""What a page shows, read from its file."""

import base64
import html
import io
import re

import numpy as np
from PIL import Image


def read(path):
    """The text of a page."""
    return path.read_text(encoding="utf-8")


def pictures(path):
    """The pictures of a page, as arrays, by their alt text."""
    found = {}
    for tag in re.findall(r"<img [^>]*>", read(path)):
        uri, alt = (html.unescape(re.search(rf'{name}="([^"]*)"', tag)[1]) for name in ("src", "alt"))
        found[alt] = decoded(uri)
    return found


def decoded(uri):
    """A picture as colors."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB"))


def numbers(path):
    """The numbers of swatches at each cell of a page."""
    uri, wide = re.search(r'data-numbers="([^"]*)" data-wide="(\w+)"', read(path)).groups()
    samples = decoded(uri).astype(int)
    return samples[..., 0] + (256 * samples[..., 1] if wide == "yes" else 0)


def swatches(path):
    """The colors of a page."""
    return re.findall(r'data-color="(#\w+)"', read(path))


def steady(path):
    """A page without what differs from run to run: its timings and versions."""
    text = read(path)
    assert text.count('<section id="run"') == 1
    return re.sub(r'<section id="run".*?</section>', "", text, flags=re.S)
