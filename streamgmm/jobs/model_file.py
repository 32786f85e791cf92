"""Models as files."""

import os
from pathlib import Path

from ..errors import ModelError
from ..model.mixture import Mixture


def load_model(path: str | os.PathLike) -> Mixture:
    """Read a model file.

    Raises
    ------
    ModelError
        Where it cannot be read, or is no model.
    """
    try:
        return Mixture.from_json(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None
    except UnicodeDecodeError:
        raise ModelError(f"{path}: not a model file (it is not text)") from None
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
