"""A batch has a page beside each output, and one that leads to them, in the order of the inputs."""

import re
from pathlib import Path

import pytest

from streamgmm.errors import OptionError, OutputError
from streamgmm.page.folder import head_of

from ...batches import OUT, corrupt, run, statuses, work_here, write_three

pytestmark = pytest.mark.usefixtures("folder")
INDEX = OUT / "index.html"


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    return write_three(tmp_path_factory.mktemp("batch"))


@pytest.fixture(autouse=True)
def here(monkeypatch):
    """Work is done in this process; the names of the inputs worked on."""
    return work_here(monkeypatch)


def links():
    return re.findall(r'href="([^"]+)"', INDEX.read_text(encoding="utf-8"))


def test_pictures_lead_to_the_page_of_each():
    run(html=INDEX)
    assert links() == ["0.html", "1.html", "2.html"]
    assert all((OUT / link).is_file() for link in links())
    assert INDEX.read_text(encoding="utf-8").count("data:image/jpeg") == 3


def test_outputs_are_the_same_with_pages_and_without():
    run(html=INDEX)
    run(out_dir=Path("other"))
    assert [(OUT / f"{i}.tif").read_bytes() for i in range(3)] == [Path(f"other/{i}.tif").read_bytes() for i in range(3)]


def test_what_fails_is_said_and_leads_nowhere():
    corrupt("in/1.tif")
    run(html=INDEX)
    assert links() == ["0.html", "2.html"]
    text = INDEX.read_text(encoding="utf-8")
    assert "2 done, 1 failed" in text
    assert "in/1.tif: " in text


def test_what_was_not_begun_is_said():
    corrupt("in/0.tif")
    run(html=INDEX, fail_fast=True)
    assert INDEX.read_text(encoding="utf-8").count("was not begun") == 2


def test_what_is_there_is_not_made_again_but_where_its_page_is_missing(here):
    run()
    here.clear()
    run(html=INDEX, skip_existing=True)
    assert here == ["in/0.tif", "in/1.tif", "in/2.tif"]
    (OUT / "1.html").unlink()
    here.clear()
    assert statuses(html=INDEX, skip_existing=True) == ["skipped", "done", "skipped"]
    assert here == ["in/1.tif"]
    assert links() == ["0.html", "1.html", "2.html"]


def test_a_page_of_other_options_is_made_again(here):
    run(html=INDEX)
    mark = head_of(OUT / "0.html").fingerprint
    here.clear()
    run(html=INDEX, skip_existing=True, n_components=3)
    assert len(here) == 3
    assert head_of(OUT / "0.html").fingerprint != mark


def test_nothing_is_replaced_that_is_not_of_this_program():
    INDEX.parent.mkdir()
    INDEX.write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match=r"index.html: exists; use --overwrite"):
        run(html=INDEX)
    assert INDEX.read_text(encoding="utf-8") == "mine"
    run(html=INDEX, overwrite=True)
    assert len(links()) == 3
    (OUT / "1.html").write_text("mine", encoding="utf-8")
    assert statuses(html=INDEX, skip_existing=True) == ["skipped", "failed", "skipped"]
    assert (OUT / "1.html").read_text(encoding="utf-8") == "mine"


def test_a_page_that_is_that_of_an_output_is_refused():
    with pytest.raises(OptionError, match=r"0.html: is something else as well, as each output has a page beside it"):
        run(html=OUT / "0.html")


def test_a_batch_with_a_model_has_pages_too():
    run(html=INDEX, model="start.json")
    assert len(links()) == 3
    text = (OUT / "0.html").read_text(encoding="utf-8")
    assert "streamgmm apply start.json in/0.tif out/0.tif --html out/0.html --overwrite" in text
