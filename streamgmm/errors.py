"""One error tree. Every class is also the builtin a caller would expect, and knows the exit code of the command."""


class StreamGMMError(Exception):
    """Base of everything streamgmm raises on purpose."""

    exit_code = 1


class OptionError(StreamGMMError, ValueError):
    """An option has a value that cannot be used."""

    exit_code = 2


class ImageReadError(StreamGMMError, OSError):
    """An input is missing, truncated, corrupt, or not an image."""

    exit_code = 3


class UnsupportedImageError(StreamGMMError, ValueError):
    """An input is a sound image of a kind that is not supported."""

    exit_code = 3


class NoPixelsError(UnsupportedImageError):
    """Every pixel of an input is masked."""


class ModelError(StreamGMMError, ValueError):
    """A model cannot be read, or does not fit the image."""

    exit_code = 3


class OutputError(StreamGMMError, OSError):
    """An output cannot be written."""

    exit_code = 4


class MemoryBudgetError(StreamGMMError, MemoryError):
    """An input cannot be read inside the memory budget."""

    exit_code = 5


class QualityError(StreamGMMError):
    """A strict run has not converged, or is not as good as was asked."""

    exit_code = 6


class LockedError(StreamGMMError, OSError):
    """Another run is writing the same output."""

    exit_code = 7


class Interrupted(BaseException):
    """A signal asked to stop: nothing that handles errors may stop it on its way."""

    def __init__(self, number: int):
        super().__init__(number)
        self.exit_code = 128 + number


class Cancelled(StreamGMMError):  # noqa: N818
    """The progress callback asked to stop."""

    exit_code = 130
