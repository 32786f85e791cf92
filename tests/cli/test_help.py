"""Help has the options of each kind under a heading, in color where somebody looks on."""

import dataclasses
import os
import pty
import re
import subprocess

import click
import pytest

from streamgmm import options
from streamgmm.cli.commands import cli
from streamgmm.cli.help import HEADINGS, OTHER, WIDEST
from streamgmm.options.fields import Options, flag_of, spec_of

from .commands import COMMAND, ENVIRONMENT, leave
from .test_options import KINDS

SECTIONS = {
    "quantize": ["Input", "Fit", "Output", "Run", "Resources", OTHER],
    "fit": ["Input", "Fit", "Output", "Run", "Resources", OTHER],
    "apply": ["Input", "Output", "Run", "Resources", OTHER],
    "batch": ["Batch", "Input", "Fit", "Output", "Run", "Resources", OTHER],
    "compare": ["Input", "Resources", OTHER],
    "info": ["Input", OTHER],
    "warmup": [OTHER],
}


def sections(text):
    """The long names of options under each heading of a help."""
    parts = re.split(r"^(\S.*):\n", text.split("Exit codes")[0], flags=re.M)
    return dict(zip(parts[1::2], (re.findall(r"^  (?:-\w, )?(--[\w-]+)", part, re.M) for part in parts[2::2]), strict=True))


@pytest.mark.parametrize("command", cli.commands)
def test_options_stand_under_the_headings_of_their_kinds(command, capsys):
    assert leave(command, "--help") == 0
    found = sections(capsys.readouterr().out)
    assert list(found) == SECTIONS[command]
    for kind in KINDS[command]:
        flags = {flag_of(field) for field in dataclasses.fields(kind) if not spec_of(field).hidden}
        assert flags <= set(found[HEADINGS[kind]])
    assert found[OTHER][-1] == "--help"


def test_every_option_stands_once(capsys):
    for command in cli.commands.values():
        assert leave(command.name, "--help") == 0
        found = [flag for flags in sections(capsys.readouterr().out).values() for flag in flags]
        wanted = [
            next(name for name in option.opts if name.startswith("--"))
            for option in command.params
            if isinstance(option, click.Option)
        ]
        assert sorted(found) == sorted([*wanted, "--help"])


def test_the_model_of_a_fit_is_an_output(capsys):
    assert leave("fit", "--help") == 0
    assert sections(capsys.readouterr().out)["Output"] == ["--output"]


def test_every_kind_of_options_has_a_heading():
    kinds = {kind for kind in vars(options).values() if isinstance(kind, type) and issubclass(kind, Options)}
    assert kinds - {Options, options.JobOptions} <= HEADINGS.keys()  # one that is several of these


@pytest.mark.parametrize("columns", [80, WIDEST, 200])
def test_help_fits_a_terminal_and_takes_what_is_there(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert leave("quantize", "--help") == 0
    widths = [len(line) for line in capsys.readouterr().out.splitlines()]
    assert min(columns, WIDEST) - 20 < max(widths) <= min(columns, WIDEST)


def on_a_terminal(*arguments, **environment):
    """What a command writes where standard output is a terminal."""
    ours, theirs = pty.openpty()
    done = subprocess.Popen([*COMMAND, *arguments], env={**ENVIRONMENT, **environment}, stdout=theirs)
    os.close(theirs)
    text = b""
    try:
        while part := os.read(ours, 65_536):
            text += part
    except OSError:  # its end
        pass
    os.close(ours)
    assert done.wait(timeout=60) == 0
    return text.decode()


@pytest.mark.parametrize("arguments", [["quantize", "--help"], ["--help"]])
def test_headings_are_in_color_on_a_terminal_and_nowhere_else(arguments, capsys):
    colored = re.findall(r"\x1b\[[\d;m\x1b\[]*([\w ]+)\x1b\[0m:", on_a_terminal(*arguments))
    assert colored == (SECTIONS["quantize"] if "quantize" in arguments else ["Options", "Commands"])
    assert "\x1b" not in on_a_terminal(*arguments, NO_COLOR="1")
    assert leave(*arguments) == 0
    assert "\x1b" not in capsys.readouterr().out
