"""The options of commands, made from the fields of :mod:`streamgmm.options`."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import click

from ..errors import ModelError, OptionError
from ..options.fields import Options, flag_of, spec_of
from .help import HEADINGS, Option

FILE = click.Path(path_type=Path, readable=False)  # who reads it says better what is wrong


class Numbers(click.ParamType):
    """Whole numbers, separated by commas."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Read what was written."""
        try:
            return tuple(int(number) for number in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not numbers separated by commas, such as 4,3,2", param, ctx)


# Of a field, by a type that its annotation is or names; the first that fits.
TYPES = {bool: click.BOOL, int: click.INT, float: click.FLOAT, tuple[int, ...]: Numbers(), os.PathLike: FILE, Path: FILE}


# What options of this program are called by others, and from Python.
ELSEWHERE = {
    "--overwrite": {"--force", "-f", "--yes", "-y", "--clobber"},
    "--components": {"--colors", "--n-colors", "--ncolors", "--clusters", "--n-components", "-n"},
    "--covariance": {"--covariance-type"},
    "--out-dir": {"--output-dir", "--outdir", "--output-folder"},
    "--jobs": {"-j", "--workers", "--processes"},
    "--recursive": {"-r", "-R"},
    "--seed": {"--random-state"},
}


def suggested(error: click.NoSuchOption) -> click.UsageError:
    """Return an error that names the option that is meant, where that is known; the most alike is often another."""
    command = error.ctx and error.ctx.command
    known = {name for option in command.params for name in option.opts} if command else set()
    meant = [name for name, others in ELSEWHERE.items() if error.option_name in others and name in known]
    return click.UsageError(f"{error.message} Did you mean {meant[0]!r}?", error.ctx) if meant else error


def options_of(*kinds: type[Options]) -> Callable:
    """Return the decorator that gives a command the options of some kinds."""
    decorators = [
        each
        for kind in kinds
        for field in dataclasses.fields(kind)
        if not spec_of(field).hidden
        for each in _options(field, HEADINGS[kind])
    ]

    def decorate(command: Callable) -> Callable:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


def _options(field: dataclasses.Field, heading: str) -> list[Callable]:
    """Return the option of a field, and flags that stand for one of its values."""
    spec, flag = spec_of(field), flag_of(field)
    more: dict[str, Any] = {"cls": Option, "heading": heading, "help": spec.help, "metavar": spec.metavar}
    if field.default is dataclasses.MISSING:
        more["required"] = True
    else:
        more["default"] = field.default
        more["show_default"] = field.default is not None and not isinstance(field.default, bool)
    names = [*(name for name in spec.flags if name != flag), flag]
    if (kind := _type(field)) is click.BOOL:
        del more["metavar"], more["show_default"]
        if field.default is False:
            more["is_flag"] = True
        else:
            names = [f"{flag}/--no-{flag.removeprefix('--')}"]
    else:
        more["type"] = kind
    if spec.multiple:
        more["multiple"] = True
    if spec.alone is not None:
        more |= {"is_flag": False, "flag_value": spec.alone}
    values = [
        click.option(name, field.name, cls=Option, heading=heading, flag_value=value, help=f"The same as {flag} {value}.")
        for name, value in spec.values.items()
    ]
    return [click.option(*names, field.name, **more), *values]


def _type(field: dataclasses.Field) -> click.ParamType:
    """Return the type of an option on the command line: text, unless that of the field is or names another."""
    named: Sequence[Any] = (field.type, *get_args(field.type))
    if str in named and os.PathLike not in named:
        return click.STRING
    return next((kind for python, kind in TYPES.items() if python in named), click.STRING)


def named_in(init: str) -> list[Path]:
    """Return the model file that a start names, if it names one."""
    return [Path(init)] if Path(init).suffix else []


def start_of(init: str) -> Any:
    """Return the mixture of a model file, or the name of a way to start."""
    if not named_in(init):
        return init
    from ..jobs.model_file import load_model

    try:
        return load_model(init)
    except ModelError as error:
        raise OptionError(f"init: {error}") from None
