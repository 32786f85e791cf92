"""Which files a batch reads, and which it writes."""

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...options import BatchOptions

# Files of a folder that are taken; a file that is named is taken whatever its suffix.
SUFFIXES = {".tif", ".tiff", ".btf", ".tf8", ".svs", ".ndpi", ".scn", ".qptiff", ".png", ".jpg", ".jpeg", ".webp"}


@dataclass(frozen=True)
class Pair:
    """One input and its output, or why there can be none."""

    source: Path
    target: Path
    complaint: str | None = None


def find(inputs: Sequence[str | os.PathLike], options: BatchOptions) -> list[Pair]:
    """Return the inputs, in the order they were named and those of a folder by name, with their outputs.

    What is an output of one of them is no input. Of two inputs that would have one output, the second has a complaint.

    Parameters
    ----------
    inputs : sequence of str or path
        Files, folders and patterns.
    options : BatchOptions
        Of which the folder of the outputs, the end of their names, and whether folders in folders count.
    """
    out_dir = options.out_dir
    found: dict[str, Pair] = {}
    for source, place in _sources(inputs, out_dir, options.recursive):
        found.setdefault(os.path.realpath(source), Pair(source, out_dir / place.with_name(place.stem + options.suffix)))
    makers: dict[str, list[Path]] = {}
    for pair in found.values():
        makers.setdefault(os.path.realpath(pair.target), []).append(pair.source)
    pairs: dict[str, Pair] = {}
    for path, pair in found.items():
        if any(source != pair.source for source in makers.get(path, ())):
            continue
        first = pairs.setdefault(os.path.realpath(pair.target), pair)
        if first is not pair:
            complaint = f"{pair.source}: its output {pair.target} is that of {first.source}; rename one of them"
            pairs[path] = replace(pair, complaint=complaint)
    return list(pairs.values())


def _sources(inputs: Sequence[str | os.PathLike], out_dir: Path, recursive: bool) -> Iterator[tuple[Path, Path]]:
    """Yield each input file with its place among the outputs."""
    for name in inputs:
        text = os.fspath(name)
        literal = os.path.lexists(text) or not glob.has_magic(text)
        for path in map(Path, [text] if literal else sorted(glob.glob(text, recursive=True))):  # noqa: PTH207
            if not path.is_dir():
                yield path, Path(path.name)
                continue
            apart = out_dir.resolve() != path.resolve()
            closed: list[OSError] = []
            for folder, subfolders, files in os.walk(path, onerror=closed.append):
                subfolders[:] = sorted(each for each in subfolders if recursive and not each.startswith("."))
                if apart and Path(folder).resolve() == out_dir.resolve():
                    subfolders.clear()
                    continue
                for file in sorted(files):
                    if Path(file).suffix.lower() in SUFFIXES and not file.startswith("."):
                        yield Path(folder, file), Path(folder, file).relative_to(path)
            for error in closed:
                yield Path(error.filename), Path(error.filename).relative_to(path.parent)
