"""The command that tells how far two images are apart."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..options import CompareOptions, ImageOptions, ResourceOptions
from .help import Command
from .options import FILE, options_of
from .terminal import progress_bars, quiet_option, say, verbose_option

if TYPE_CHECKING:
    from ..jobs.compare import Comparison


@click.command(cls=Command)
@click.argument("a", metavar="A", type=FILE)
@click.argument("b", metavar="B", type=FILE)
@options_of(CompareOptions, ImageOptions, ResourceOptions)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@quiet_option("No progress bars.")
@verbose_option("Say what is done, and show where errors come from.")
def compare(a: Path, b: Path, as_json: bool, quiet: bool, **options: Any) -> None:
    """Tell how far B is from A: PSNR, Delta E and SSIM.

    Delta E is the mean of CIE Delta E 2000. Masked pixels do not count. The options of what is read and shown are those of A,
    as they were given when B was made of it. B is read as its file says, and shown by the same range where it has more than 8
    bits; auto is the range of the type.
    """
    from ..jobs.compare import Compare, compare_images

    with progress_bars(quiet) as progress:
        found = compare_images(Compare(a, b, progress=progress, **options))
    say(found.to_json() if as_json else _told(found))


def _told(found: "Comparison") -> str:
    """Return what a person is told."""
    rows = {
        "PSNR": "none: the colors are equal" if found.psnr_db is None else f"{found.psnr_db:.2f} dB",
        "Delta E 2000": f"{found.delta_e_2000:.3f}",
        "SSIM": "none: no window of 11 x 11 pixels is free of masked ones" if found.ssim is None else f"{found.ssim:.4f}",
        "pixels": f"{found.compared_pixels:,} of {found.width * found.height:,}",
    }
    if found.masked_once:
        rows["masked in one"] = f"{found.masked_once:,}"
    return "".join(f"{name:<13}  {text}\n" for name, text in rows.items())
