"""Compiled code is kept in the first folder that takes it, and used from where it cannot be written."""

import shutil
import tempfile
from pathlib import Path

import pytest

from streamgmm.model import code_folder

from .conftest import printed


@pytest.fixture
def places(tmp_path, monkeypatch):
    """The folders that may be chosen: the one Numba is told, the one beside the package, and the one of the user."""
    monkeypatch.delenv("STREAMGMM_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    monkeypatch.setattr(code_folder, "__file__", str(tmp_path / "package" / "code_folder.py"))
    return tmp_path / "numba", tmp_path / "package" / "__pycache__", tmp_path / "user" / "streamgmm"


def fill(folder):
    """Put what looks like compiled code in a folder of a version."""
    (folder / "version" / "model_of_some_path").mkdir(parents=True)
    (folder / "version" / "model_of_some_path" / "kernel.nbi").write_text("code", encoding="utf-8")


def block(folder):
    """Put a file where a folder is to be, which keeps out root, too."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.touch()


def test_the_first_folder_that_takes_code_is_chosen(places):
    told, beside, user = places
    assert code_folder.find_folder("version", str(told)) == told / "version"
    assert code_folder.find_folder("version", "") == beside / "version"
    shutil.rmtree(beside)
    block(beside)
    assert code_folder.find_folder("version", "") == user / "version"
    shutil.rmtree(user)
    block(user)
    assert code_folder.find_folder("version", "") is None


def test_the_folder_of_the_environment_is_the_only_one(places, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STREAMGMM_CACHE_DIR", "own")
    assert code_folder.find_folder("version", str(places[0])) == tmp_path / "own" / "version"
    shutil.rmtree(tmp_path / "own")
    block(tmp_path / "own")
    assert code_folder.find_folder("version", str(places[0])) is None
    assert sorted(tmp_path.iterdir()) == [tmp_path / "own"]


def test_a_user_may_have_no_home(places, monkeypatch):
    def no_home(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", no_home)
    block(places[1])
    assert code_folder.find_folder("version", "") is None


def test_a_folder_that_is_full_is_of_use_where_it_holds_code(places, monkeypatch):
    monkeypatch.setattr(code_folder, "ROOM", 1 << 62)
    assert code_folder.find_folder("version", "") is None
    fill(places[2])
    assert code_folder.find_folder("version", "") == places[2] / "version"


def test_code_that_cannot_be_written_is_linked_to_where_there_is_no_other_folder(places, monkeypatch):
    told, beside, user = places
    fill(beside)
    assert code_folder.find_folder("version", str(told)) == told / "version"
    monkeypatch.setattr(code_folder, "_takes_code", lambda folder: folder.parent == user)
    assert code_folder.find_folder("version", str(told)) == user / "version"
    monkeypatch.setattr(code_folder, "_takes_code", lambda folder: False)
    links = code_folder.find_folder("version", str(told))
    (code,) = links.rglob("*.nbi")
    assert code.relative_to(links) == Path("model_of_some_path/kernel.nbi")
    assert code.read_text(encoding="utf-8") == "code"
    code_folder.empty(links)
    assert not list(links.rglob("*.nbi"))
    assert (beside / "version" / code.relative_to(links)).read_text(encoding="utf-8") == "code"
    monkeypatch.setattr(tempfile, "mkdtemp", lambda **options: places[2].mkdir())
    assert code_folder.find_folder("version", str(told)) is None


LINKING = """
import os, sys
from streamgmm.model import code_folder
code_folder._takes_code = lambda folder: False
links = code_folder.find_folder("version", "")
if child := os.fork():
    os.waitpid(child, 0)
    assert list(links.rglob("*.nbi"))
    print(links)
sys.exit()
"""


def test_links_go_when_their_process_ends_and_not_with_a_fork_of_it(tmp_path):
    fill(tmp_path)
    links = Path(printed(tmp_path, LINKING, STREAMGMM_CACHE_DIR=str(tmp_path)).strip())
    assert links.name.startswith("streamgmm-")
    assert not links.exists()


def test_the_digest_is_of_every_source(tmp_path, monkeypatch):
    monkeypatch.setattr(code_folder, "__file__", str(tmp_path / "code_folder.py"))
    seen = {code_folder.digest_of_sources()}
    for name in ("kernels.py", "few_bands.py"):
        for text in ("one", "two"):
            (tmp_path / name).write_text(text, encoding="utf-8")
            seen.add(code_folder.digest_of_sources())
    assert len(seen) == 5
    assert {len(digest) for digest in seen} == {8}
