"""The command that makes an output again."""

import dataclasses
import os
import shlex
from typing import Any

from ..options import ResourceOptions, RunOptions
from ..options.fields import Options, flag_of, spec_of

# What changes nothing of the result is no part of it: pages of the same image are then the same.
LEFT_OUT = {field.name for kind in (RunOptions, ResourceOptions) for field in dataclasses.fields(kind)}


def chosen(given: Options) -> dict[str, Any]:
    """Return the options that are not at their defaults, and change the result, by name."""
    found = {}
    for field in dataclasses.fields(given):
        value = getattr(given, field.name)
        if field.name not in LEFT_OUT and field.default is not dataclasses.MISSING and not _same(value, field.default):
            found[field.name] = value
    return found


def command_of(given: Options, verb: str, arguments: list[Any]) -> str:
    """Write the command of a job, with what it is given besides options; or the call, where that cannot be written.

    Parameters
    ----------
    given : Options
    verb : str
        The command, and the function.
    arguments : list
        Paths, or what is none.
    """
    fields = {field.name: field for field in dataclasses.fields(given)}
    options = {name: value for name, value in chosen(given).items() if not spec_of(fields[name]).hidden}
    if all(isinstance(each, str | os.PathLike) for each in arguments) and _is_text(options.get("init", "")):
        words = ["streamgmm", verb, *map(os.fspath, arguments)]
        for name, value in options.items():
            words += _words(flag_of(fields[name]), name, value)
        return shlex.join([*words, "--overwrite"])
    shown = [repr(os.fspath(each)) if isinstance(each, str | os.PathLike) else "..." for each in arguments]
    keywords = [f"{name}={_repr(value)}" for name, value in {**options, "overwrite": True}.items()]
    return f"streamgmm.{verb}({', '.join([*shown, *keywords])})"


def words_of(field: dataclasses.Field, value: Any) -> str:
    """Write the value of an option for a person."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not _is_text(value) and not isinstance(value, int | float | tuple | os.PathLike):
        return "given in Python"
    words = _words(flag_of(field), field.name, value)
    return " ".join(word.removeprefix(f"{flag_of(field)}=") for word in words if word != flag_of(field))


def _words(flag: str, name: str, value: Any) -> list[str]:
    """Write an option."""
    if value is True:
        return [flag]
    if value is False:
        return [flag.replace("--", "--no-", 1)]
    if name == "nodata" and not isinstance(value, str):
        return [f"{flag}={','.join(_ends(*ends) for ends in box)}" for box in value]
    text = _text(name, value)
    return [f"{flag}={text}"] if text.startswith("-") else [flag, text]


def _text(name: str, value: Any) -> str:
    """Write a value as it is read."""
    if isinstance(value, str | os.PathLike):
        return os.fspath(value)
    if name == "init":
        return str(value.origin)
    if name == "nodata_color":
        return "#" + bytes(value).hex()
    if name == "range":
        return ";".join(",".join(map(_number, ends)) for ends in value)
    return ",".join(map(_number, value)) if isinstance(value, tuple) else _number(value)


def _ends(low: float, high: float) -> str:
    same = low == high or (low != low and high != high)  # NaN
    return _number(low) if same else f"{_number(low)}:{_number(high)}"


def _number(value: float) -> str:
    """Write a number so that it is read as the same."""
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)


def _is_text(start: Any) -> bool:
    """Whether a command can have a start: a word, or a model that was read from a file."""
    return isinstance(start, str) or getattr(start, "origin", None) is not None


def _repr(value: Any) -> str:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    return repr(value) if isinstance(value, str | int | float | tuple) else "..."


def _same(value: Any, default: Any) -> bool:
    return type(value) is type(default) and value == default
