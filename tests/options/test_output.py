"""Options of outputs: what is shown is a pair, and levels are those that a codec has."""

import pytest

from streamgmm.errors import OptionError
from streamgmm.options.output import COMPRESSION_LEVELS, WriteOptions


@pytest.mark.parametrize("value", ["-400,2900.5", (-400, 2900.5), [-400, 2900.5], ((-400, 2900.5),)])
def test_a_range_to_show_is_a_pair_however_it_is_written(value):
    assert WriteOptions(display_range=value).display_range == (-400, 2900.5)


@pytest.mark.parametrize("codec", COMPRESSION_LEVELS)
def test_a_codec_has_levels_of_its_own(codec):
    levels = COMPRESSION_LEVELS[codec]
    for level in (levels[0], levels[-1]):
        assert WriteOptions(compression=codec, compression_level=level).compression_level == level
    with pytest.raises(OptionError, match=f"choose {levels[0]} to {levels[-1]}"):
        WriteOptions(compression=codec, compression_level=levels[-1] + 1)
