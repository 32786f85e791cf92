"""The pages of a batch: one beside each output, and one that leads to them."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ...errors import OptionError
from ...system.files import check_output, output_errors, write_text
from ...system.mark import is_own
from .inputs import Pair
from .worker import FileReport


def page_of(pair: Pair) -> Path:
    """Return where the page of an output is: beside it."""
    return pair.target.with_suffix(".html")


def check_pages(html: str | os.PathLike | None, pairs: Sequence[Pair], overwrite: bool) -> None:
    """Refuse a page that cannot be written, or is something else; one of this program that is there is replaced.

    Raises
    ------
    OptionError, OutputError
    """
    if html is None:
        return
    path = Path(html)
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)  # as the folder of the outputs
    check_output(path, [pair.source for pair in pairs], overwrite or is_own(path))
    others = {os.path.realpath(each) for pair in pairs for each in (page_of(pair), pair.target)}
    if os.path.realpath(path) in others:
        raise OptionError(f"{path}: is something else as well, as each output has a page beside it; choose another name")


def has_page(page: Path | None, mark: str) -> bool:
    """Whether a page is there that was made with an output, if one is wanted."""
    from ...page.folder import head_of

    head = head_of(page) if page else None
    return page is None or (head is not None and head.fingerprint == mark)


def write_folder(path: Path, pairs: Sequence[Pair], reports: Sequence[FileReport]) -> None:
    """Write the page that leads to those of all outputs, in the order of the inputs."""
    from ...page.folder import Made, folder_of

    told = {report.input: report for report in reports}
    made = []
    for pair in pairs:
        report = told.get(str(pair.source))
        made.append(Made(pair.source.name, page_of(pair), report.error if report else "was not begun"))
    counts = Counter(report.status for report in reports)
    summary = ", ".join(f"{counts[status]:,} {status}" for status in ("done", "skipped", "failed") if counts[status])
    title = f"{len(pairs):,} image{'' if len(pairs) == 1 else 's'}"
    write_text(path, folder_of(made, path, title, summary or "nothing to do").html())
