"""The command: options in, one call, one line where something is wrong."""

import logging
import os
import sys

import click

from ..errors import Interrupted, StreamGMMError
from ..system.signals import stopping
from .commands import cli
from .options import suggested
from .terminal import best_effort, fail, log_to_stderr


def main(arguments: list[str] | None = None) -> None:
    """Run the command and leave with its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    # OpenMP's threads spin between the short launches of a fit: on a busy machine that made seeding 8 times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    log_to_stderr(logging.WARNING)
    with best_effort():
        _run(arguments)


def _run(arguments: list[str]) -> None:
    """Run the command, and say in a line what is wrong."""
    try:
        with stopping():
            cli.main(arguments, prog_name="streamgmm", standalone_mode=False)
    except click.ClickException as error:
        (suggested(error) if isinstance(error, click.NoSuchOption) else error).show()
        sys.exit(error.exit_code)
    except StreamGMMError as error:
        fail(str(error), error.exit_code, detailed=True)
    except Interrupted as error:
        where = "".join(f" {note}" for note in getattr(error, "__notes__", [])[:1])
        fail(f"interrupted{where}; the same command goes on from there", error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        fail("interrupted", 130)
    except Exception as error:
        fail(f"unexpected {type(error).__name__}: {error}; run again with -v for the details", 1, detailed=True)
