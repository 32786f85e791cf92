"""What fields of dataclasses say of options, how these are checked, and how functions show them as keywords.

A frozen dataclass holds the options of one concern. What a public function takes is a dataclass, too, which inherits the kinds
of options it has: :func:`flat` shows its fields as keywords.
"""

import dataclasses
import functools
import inspect
import math
import os
import reprlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from numbers import Integral, Real
from pathlib import Path
from types import UnionType
from typing import Any, Literal, ParamSpec, TypeVar, get_args, get_origin

from ..errors import OptionError

P = ParamSpec("P")
Given = TypeVar("Given")
Result = TypeVar("Result")
Kind = TypeVar("Kind", bound="Options")


@dataclass(frozen=True)
class Spec:
    """What a field says of its option, beside name, type and default.

    Attributes
    ----------
    help : str
        A line for the command.
    flags : tuple of str
        Its names in the command, where these are not that of the field.
    metavar : str or None
        What stands for its value there.
    least, most : float or None
        Its bounds.
    wanted : str or None
        What is said of a value of another type, where its type does not say enough.
    multiple : bool
        Whether the command takes it more than once, for several values.
    alone : str or None
        The value it has where it is named without one.
    values : dict
        Flags that stand for one of its values.
    hidden : bool
        Whether commands have no such option.
    """

    help: str = ""
    flags: tuple[str, ...] = ()
    metavar: str | None = None
    least: float | None = None
    most: float | None = None
    wanted: str | None = None
    multiple: bool = False
    alone: str | None = None
    values: dict[str, str] = dataclasses.field(default_factory=dict)
    hidden: bool = False


def option(default: Any, help: str = "", *flags: str, **more: Any) -> Any:
    """Return a field with a default (``...`` where there is none), its line of help, and what more a Spec has."""
    spec = {"spec": Spec(help, flags, **more)}
    return dataclasses.field(metadata=spec) if default is ... else dataclasses.field(default=default, metadata=spec)


def flag_of(field: dataclasses.Field) -> str:
    """Return the long name of an option in the command."""
    flags = [flag for flag in spec_of(field).flags if flag.startswith("--")]
    return flags[0] if flags else "--" + field.name.replace("_", "-")


def spec_of(field: dataclasses.Field) -> Spec:
    """Return what a field says of its option."""
    return field.metadata.get("spec", Spec(hidden=True))


def choices_of(field: dataclasses.Field) -> tuple[str, ...]:
    """Return the values an option may have, where its type names them."""
    for kind in (field.type, *get_args(field.type)):
        if get_origin(kind) is Literal:
            return get_args(kind)
    return ()


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options that are checked when they are given.

    Raises
    ------
    OptionError
        Where one has a value it cannot have, or two exclude each other.
    """

    def __post_init__(self):
        for field in fields(self):
            object.__setattr__(self, field.name, _checked(field, getattr(self, field.name)))

    def part(self, kind: type[Kind], *arguments: Any) -> Kind:
        """Return those of the options that are of a kind, which may have arguments of its own."""
        own = vars(self)
        return kind(*arguments, **{field.name: own[field.name] for field in fields(kind) if field.name in own})


# What is taken for each type of an option, what it becomes, and what is said of anything else.
KINDS: dict[Any, tuple[tuple[type, ...], Callable[[Any], Any], str]] = {
    bool: ((bool,), bool, "True or False"),
    int: ((Integral,), int, "a whole number"),
    float: ((Real,), float, "a number"),
    str: ((str,), str, "text"),
    tuple[int, ...]: ((tuple, list), tuple, "whole numbers in a list, such as (3, 2, 1)"),
    os.PathLike: ((str, os.PathLike), lambda path: path, "a path"),
    Path: ((str, os.PathLike), Path, "a path"),
    type(None): ((type(None),), lambda none: none, "None"),
}


def _checked(field: dataclasses.Field, value: Any) -> Any:
    """Return the value of a field as its type has it; refuse what is of another type, not a choice, or out of bounds.

    Fields of other types than options have are for those who know these types.
    """
    spec, allowed, name = spec_of(field), choices_of(field), flag_of(field).lstrip("-")
    kinds = set(get_args(field.type) if isinstance(field.type, UnionType) else (field.type,))
    if allowed and (value is not None or field.default is not None) and value not in allowed:
        raise OptionError(f"{name} is {shown(value)}; choose {', '.join(allowed)}")
    if allowed or not kinds <= KINDS.keys():
        return tuple(value) if isinstance(value, list) and "spec" in field.metadata else value
    kind = next((kind for kind in KINDS if kind in kinds and _is_of(value, kind)), None)
    if kind is None:
        named = kinds - {str} if os.PathLike in kinds else kinds
        wanted = spec.wanted or " or ".join(KINDS[each][2] for each in KINDS if each in named)
        raise OptionError(f"{name} is {shown(value)}; write {wanted}")
    value = KINDS[kind][1](value)
    if spec.least is None or value is None:
        return value
    if not spec.least <= value <= (math.inf if spec.most is None else spec.most):
        if spec.most is not None:
            raise OptionError(f"{name} is {value}; choose {spec.least:,} to {spec.most:,}")
        raise OptionError(f"{name} is {value}; " + ("it must be 0 or more" if spec.least == 0 else "at least 1 is needed"))
    return value


def _is_of(value: Any, kind: Any) -> bool:
    """Whether a value is taken for one of a kind: True is no number, and a list has whole numbers in it."""
    if not isinstance(value, KINDS[kind][0]) or (isinstance(value, bool) and kind is not bool):
        return False
    return not isinstance(value, tuple | list) or all(_is_of(each, int) for each in value)


def shown(value: Any) -> str:
    """Return a value as it may stand in a line."""
    return " ".join(reprlib.repr(value).split())


def flat(given: Callable[P, Given]) -> Callable[[Callable[[Given], Result]], Callable[P, Result]]:
    """Show the fields of a dataclass as the arguments of a function of one such value, to programs and to type checkers."""

    def decorate(function: Callable[[Given], Result]) -> Callable[P, Result]:
        @functools.wraps(function)
        def called(*arguments: P.args, **keywords: P.kwargs) -> Result:
            try:
                value = given(*arguments, **keywords)
            except TypeError as error:  # speaks of the dataclass, of which the caller knows nothing
                raise TypeError(str(error).replace(f"{given.__qualname__}.__init__", function.__name__)) from None
            return function(value)

        shown = inspect.signature(given).replace(return_annotation=inspect.signature(function).return_annotation)
        called.__signature__ = shown  # type: ignore[attr-defined]
        return called

    return decorate
