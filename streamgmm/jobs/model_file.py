"""Models as files."""

import os
from dataclasses import replace
from pathlib import Path

from ..errors import ImageReadError, ModelError
from ..model.mixture import Mixture
from ..system.files import read_text


def load_model(path: str | os.PathLike) -> Mixture:
    """Read a model file.

    Raises
    ------
    ModelError
        Where it cannot be read, or is no model.
    """
    try:
        return replace(Mixture.from_json(read_text(Path(path))), origin=os.fspath(path))
    except ImageReadError as error:
        raise ModelError(str(error)) from None
    except UnicodeDecodeError:
        raise ModelError(f"{path}: not a model file (it is not text)") from None
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
