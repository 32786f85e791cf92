"""All files appear together, the output first, or none does; what described the one before goes."""

import errno
import os
from functools import partial
from pathlib import Path

import pytest

import streamgmm
from streamgmm.errors import OutputError
from streamgmm.jobs import assembling as module

from ..conftest import random_mixture
from ..images import smooth

apply = partial(streamgmm.apply, threads=1)

MIXTURE = random_mixture(5, 3)
PIXELS = smooth(90, 110)
OUTPUTS = {"confidence": "sure.tif", "palette_out": "palette.gpl"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_files_appear_together_the_output_first(folder, monkeypatch):
    seen, replace = [], os.replace

    def replaced(source, target):
        if Path(target).parent in (Path(), folder):  # and not of compiled code
            seen.append((Path(target).name, names(folder) & {"out.tif", "sure.tif", "palette.gpl"}))
        replace(source, target)

    monkeypatch.setattr(os, "replace", replaced)
    apply(MIXTURE, PIXELS, "out.tif", **OUTPUTS)
    assert [name for name, _ in seen] == ["out.tif", "sure.tif", "palette.gpl"]
    assert seen[0][1] == set()
    assert names(folder) == {"out.tif", "sure.tif", "palette.gpl"}


@pytest.mark.parametrize("failing", ["out.tif", "sure.tif", "palette.gpl"])
def test_where_one_cannot_be_written_none_appears_and_it_is_named(failing, folder, monkeypatch):
    def fail(path):
        if Path(path).name == failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assemble, write_text = module.assemble_tiff, Path.write_text
    monkeypatch.setattr(module, "assemble_tiff", lambda part, path, *more: fail(path) or assemble(part, path, *more))
    monkeypatch.setattr(
        Path,
        "write_text",
        lambda self, *more, **options: (
            fail(self.name.split(".part")[0].removeprefix(".streamgmm.")) or write_text(self, *more, **options)
        ),
    )
    with pytest.raises(OutputError, match=f"^{failing}: cannot be written .no space left on device"):
        apply(MIXTURE, PIXELS, "out.tif", **OUTPUTS)
    assert names(folder) == set()


def test_what_lies_beside_any_of_them_goes_with_what_is_replaced(folder):
    apply(MIXTURE, PIXELS, "out.tif", **OUTPUTS)
    before = names(folder)
    for name in ("out.tif.aux.xml", "sure.tif.ovr", "palette.gpl.msk"):
        Path(name).touch()
    apply(MIXTURE, PIXELS, "out.tif", overwrite=True, **OUTPUTS)
    assert names(folder) == before | {"palette.gpl.msk"}  # which is no image
