"""One tree of errors: each is the builtin that a caller would expect, and leaves the command with a code."""

import pytest

from streamgmm import errors

TREE = {
    "OptionError": (ValueError, 2),
    "ImageReadError": (OSError, 3),
    "UnsupportedImageError": (ValueError, 3),
    "NoPixelsError": (ValueError, 3),
    "ModelError": (ValueError, 3),
    "OutputError": (OSError, 4),
    "MemoryBudgetError": (MemoryError, 5),
    "QualityError": (Exception, 6),
    "LockedError": (OSError, 7),
    "Cancelled": (Exception, 130),
}


def test_the_tree_has_no_other_errors():
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, errors.StreamGMMError)}
    assert kinds == {"StreamGMMError", *TREE}


@pytest.mark.parametrize("name", TREE)
def test_an_error_is_caught_as_what_it_is_and_has_its_code(name):
    builtin, code = TREE[name]
    for kind in (errors.StreamGMMError, builtin):
        with pytest.raises(kind, match="what was met") as caught:
            raise getattr(errors, name)("a.tif: what was met")
        assert caught.value.exit_code == code


def test_what_nobody_expected_has_a_code():
    assert errors.StreamGMMError.exit_code == 1


def test_a_signal_passes_what_handles_errors():
    assert not issubclass(errors.Interrupted, Exception)
    assert errors.Interrupted(15).exit_code == 143
