"""A page is a file of HTML, and what it is written with is there."""

from pathlib import Path

import pytest

from streamgmm.errors import OptionError
from streamgmm.options import page as module
from streamgmm.options.page import LIBRARIES, PageOptions


@pytest.mark.parametrize("name", ["a.html", "b.HTM", Path("c.html")])
def test_a_page_is_a_file_of_html(name):
    assert PageOptions(html=name).html == name


@pytest.mark.parametrize("missing", LIBRARIES)
def test_where_a_library_is_missing_it_says_what_to_install(missing, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == missing else object())
    with pytest.raises(OptionError) as refused:
        PageOptions(html="a.html")
    assert str(refused.value) == f"html needs {missing}; pip install 'streamgmm[html]'"
    assert PageOptions().html is None  # which needs nothing
