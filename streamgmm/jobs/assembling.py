"""Files that appear together, when all are whole."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from ..image.output.sidecars import remove_sidecars
from ..image.output.spool import Spool
from ..image.output.tiff import assemble_tiff
from ..options import OutputOptions
from ..system.files import appearing, output_errors, replacing
from .session import Session
from .tile_store import Output


def assemble(
    session: Session,
    outputs: Sequence[Output],
    spools: Sequence[Spool],
    options: OutputOptions,
    texts: Mapping[Path, str],
    mark: str | None,
) -> None:
    """Write all files; they appear together, the first output first and then texts, when all are whole."""
    with ExitStack() as stack:
        writing = {path: stack.enter_context(appearing(path, session.part(path))) for path in reversed(list(texts))}
        parts = [stack.enter_context(replacing(each.path, session.part(each.path))) for each in reversed(outputs)]
        for output, spool, part in zip(outputs, spools, reversed(parts), strict=True):
            with output_errors(output.path):
                assemble_tiff(part, output.path, spool, output.specs, options.layout, options.bigtiff, mark)
        for path, text in texts.items():
            writing[path](text)
    for output in outputs:
        with output_errors(output.path):
            remove_sidecars(output.path)
