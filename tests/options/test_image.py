"""Options of what is read: boxes of nodata are known before a file is opened."""

import pytest

from streamgmm.errors import OptionError
from streamgmm.options.image import ImageOptions, ReadOptions


def test_nodata_is_what_the_file_says_or_none_or_boxes():
    assert ImageOptions().boxes is None
    assert ImageOptions(nodata="none").boxes == ()
    assert ImageOptions(nodata=7).boxes == (((7, 7),),)


def test_a_nodata_for_each_band_is_not_for_pages():
    with pytest.raises(OptionError, match="with pages-as-bands write one for all"):
        ReadOptions(nodata=[1, 2, 3], pages_as_bands="all")
