"""Options of runs: a folder for unfinished work is there, or refused at once."""

import pytest

from streamgmm.errors import OptionError
from streamgmm.options.run import RunOptions


def test_a_work_folder_is_one_that_exists(tmp_path):
    assert RunOptions().work_folder is None
    assert RunOptions(work_dir=str(tmp_path)).work_folder == tmp_path
    with pytest.raises(OptionError, match="there is no such folder"):
        RunOptions(work_dir=tmp_path / "gone")
