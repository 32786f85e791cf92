"""Which files a batch reads, and which it writes."""

import glob
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import OptionError, OutputError, StreamGMMError
from ...options.batch import BatchOptions
from ...system.mark import is_own

log = logging.getLogger(__name__)

# Files of a folder that are taken; a file that is named is taken whatever its suffix.
SUFFIXES = {".tif", ".tiff", ".btf", ".tf8", ".svs", ".ndpi", ".scn", ".bif", ".qptiff", ".png", ".jpg", ".jpeg", ".webp"}


@dataclass(frozen=True)
class Pair:
    """One input and its output, or why there can be none."""

    source: Path
    target: Path
    complaint: StreamGMMError | None = None


def find(inputs: Sequence[str | os.PathLike], options: BatchOptions) -> list[Pair]:
    """Return the inputs, in the order they were named and those of a folder by name, with their outputs.

    What this program has made of one of them is no input. What is an input is no output: the other has a complaint, as has the
    second of two that would have one output.

    Parameters
    ----------
    inputs : sequence of str or path
        Files, folders and patterns.
    options : BatchOptions
        Of which the folder of the outputs, the end of their names, and whether folders in folders count.

    Raises
    ------
    OptionError
        Where a pattern matches nothing, or there is no such folder.
    """
    out_dir = options.out_dir
    named: dict[str, Pair] = {}
    for source, place in _sources(inputs, out_dir, options.recursive):
        target = out_dir / place.with_name(place.stem + options.suffix)
        named.setdefault(os.path.abspath(source), Pair(source, target))  # noqa: PTH100 -- a link is not what it leads to
    makers: dict[str, set[Path]] = {}
    for pair in named.values():
        makers.setdefault(os.path.realpath(pair.target), set()).add(pair.source)
    pairs = [pair for pair in named.values() if not (_makers(pair, makers) - {pair.source} and is_own(pair.source))]
    sources = {os.path.realpath(pair.source): pair.source for pair in pairs}
    firsts: dict[str, Pair] = {}
    kept = []
    for pair in pairs:
        end = os.path.realpath(pair.target)
        first = firsts.setdefault(end, pair)
        if end in sources:
            which = "" if sources[end] == pair.source else f" {sources[end]}"
            complaint = f"{pair.target}: is also the input{which}; choose another --suffix or --out-dir"
            kept.append(replace(pair, complaint=OutputError(complaint)))
        elif first is pair:
            kept.append(pair)
        elif os.path.realpath(first.source) != os.path.realpath(pair.source):
            complaint = f"{pair.source}: its output {pair.target} is that of {first.source}; rename one of them"
            kept.append(replace(pair, complaint=OptionError(complaint)))
    return kept


def _makers(pair: Pair, makers: dict[str, set[Path]]) -> set[Path]:
    """Return the inputs whose output an input would be."""
    return makers.get(os.path.realpath(pair.source), set())


def _sources(inputs: Sequence[str | os.PathLike], out_dir: Path, recursive: bool) -> Iterator[tuple[Path, Path]]:
    """Yield each input file with its place among the outputs."""
    for path in _named(inputs):
        if not path.is_dir():
            yield path, Path(path.name)
            continue
        closed: list[OSError] = []
        n_taken, others, folders, links = 0, 0, 0, 0
        for folder, subfolders, files in os.walk(path, onerror=closed.append):
            shown = sorted(each for each in subfolders if not each.startswith("."))
            linked = [each for each in shown if Path(folder, each).is_symlink()]
            links += len(linked)
            inside = [each for each in shown if each not in linked and Path(folder, each).resolve() != out_dir.resolve()]
            folders += 0 if recursive else len(inside)
            subfolders[:] = inside if recursive else []
            for file in sorted(each for each in files if not each.startswith(".")):
                if Path(file).suffix.lower() in SUFFIXES:
                    n_taken += 1
                    yield Path(folder, file), Path(folder, file).relative_to(path)
                else:
                    others += 1
        for error in closed:
            yield Path(error.filename), Path(error.filename).relative_to(path.parent)
        _tell_what_is_passed_over(path, n_taken, others, folders, links)


def _named(inputs: Sequence[str | os.PathLike]) -> Iterator[Path]:
    """Yield the files and folders that are named, or match a pattern."""
    for name in inputs:
        text = os.fspath(name)
        if os.path.lexists(text):
            yield Path(text)
        elif glob.has_magic(text):
            matching = sorted(glob.glob(text, recursive=True))  # noqa: PTH207
            if not matching:
                raise OptionError(f"{text}: no file matches this pattern; name files or folders that are there")
            yield from map(Path, matching)
        elif Path(text).suffix.lower() in SUFFIXES and not text.endswith(os.sep):
            yield Path(text)  # a file that is missing costs only itself
        else:
            raise OptionError(f"{text}: there is no such file or folder; name what is there")


def _tell_what_is_passed_over(folder: Path, n_taken: int, others: int, folders: int, links: int) -> None:
    """Say that a folder holds something, and nothing to work on; what is passed over beside images stands in the log."""
    counts = [
        (others, "file of no known suffix", "files of no known suffix"),
        (folders, "folder", "folders"),
        (links, "link to a folder", "links to folders"),
    ]
    text = ", ".join(f"{n:,} {one if n == 1 else many}" for n, one, many in counts if n)
    if text and n_taken:
        log.info("%s: passed over %s", folder, text)
    elif text:
        known = f"known are {', '.join(sorted(SUFFIXES))}"
        remedy = "take folders with --recursive" if folders else "name what links lead to" if links else known
        log.warning("%s: no image in it; passed over %s; %s", folder, text, remedy)
