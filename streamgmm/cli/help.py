"""What a command tells of itself: its options under headings, which a terminal shows in color."""

import os
from typing import Any

import click

from ..options import (
    ClassMapOptions,
    CompareOptions,
    FitOptions,
    ImageOptions,
    OutputOptions,
    ReadOptions,
    ResourceOptions,
    RunOptions,
    WriteOptions,
)
from ..options.batch import BatchOptions
from ..options.fields import Options
from ..options.page import PageOptions
from ..options.palette import PaletteOptions

# What the options of each kind stand under, in this order.
HEADINGS: dict[type[Options], str] = {
    BatchOptions: "Batch",
    ImageOptions: "Input",
    ReadOptions: "Input",
    CompareOptions: "Input",
    FitOptions: "Fit",
    PaletteOptions: "Fit",
    ClassMapOptions: "Fit",
    WriteOptions: "Output",
    OutputOptions: "Output",
    PageOptions: "Output",
    RunOptions: "Run",
    ResourceOptions: "Resources",
}
OTHER = "Other options"
# Columns that help takes of a wide terminal; click takes 80.
WIDEST = 120


class Option(click.Option):
    """An option that stands under a heading."""

    def __init__(self, *names: Any, heading: str, **more: Any):
        super().__init__(*names, **more)
        self.heading = heading


class Formatter(click.HelpFormatter):
    """Writes headings in color; click takes the color out again where there is no terminal."""

    def write_heading(self, heading: str) -> None:
        """Write a heading."""
        super().write_heading(heading if os.environ.get("NO_COLOR") else click.style(heading, fg="cyan", bold=True))


class Context(click.Context):
    """Has help written by our formatter."""

    formatter_class = Formatter


class Command(click.Command):
    """A command whose options stand under headings."""

    context_class = Context

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section for each heading that has options."""
        sections: dict[str, list[tuple[str, str]]] = {heading: [] for heading in (*HEADINGS.values(), OTHER)}
        for option in self.get_params(ctx):
            if isinstance(option, click.Option) and (record := option.get_help_record(ctx)):
                sections[getattr(option, "heading", OTHER)].append(record)
        for heading, records in sections.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


class Group(click.Group):
    """The command that has all others."""

    context_class = Context
    command_class = Command
