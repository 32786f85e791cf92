"""What the tests of metadata share."""

import pytest

from . import tagged


@pytest.fixture
def tiff(tmp_path):
    """Write a TIFF of some tags, and return what is carried over from it."""
    return lambda *tags, **options: tagged.read(tagged.write(tmp_path / "in.tif", *tags, **options))
