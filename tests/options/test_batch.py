"""Options of many inputs are checked before any is looked for."""

from functools import partial
from pathlib import Path

import pytest

from streamgmm.errors import OptionError
from streamgmm.options.batch import BatchOptions

options = partial(BatchOptions, out_dir=Path("out"))


@pytest.mark.parametrize("suffix", [".tif", "-16.tif", ".btf", ".tmp"])
def test_a_suffix_is_the_end_of_a_name_of_a_tiff(suffix):
    assert options(suffix=suffix).suffix == suffix


@pytest.mark.parametrize("suffix", ["", "a/b.tif", "/", ".png", "-small.jpg"])
def test_other_suffixes_are_refused(suffix):
    with pytest.raises(OptionError, match=r"suffix is .*; write the end of a file name|images are written as TIFF"):
        options(suffix=suffix)


def test_a_model_is_given_or_shared():
    assert options(model="m.json").shared_palette is None
    assert options(shared_palette="files").model is None
    with pytest.raises(OptionError, match="shared-palette and model exclude each other; choose one"):
        options(shared_palette="files", model="m.json")
