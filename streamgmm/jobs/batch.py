"""Many images, one after another or some at once, each with its own output: what fails does not stop the rest."""

import contextlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import psutil

from ..errors import ImageReadError, Interrupted, MemoryBudgetError, OptionError, StreamGMMError
from ..image.atomic import beside, output_errors
from ..image.source import ReadOptions
from ..image.tiff import fingerprint_in
from .fingerprint import content, fingerprint
from .inputs import Item
from .model_file import load_model
from .options import FitOptions, RunOptions, WriteOptions, options_from
from .resources import BASELINE, MARGIN, Resources, mebibytes
from .tasks import Entry, SharedFit, Task, failed, fit_shared, make
from .workers import in_processes

log = logging.getLogger(__name__)

SharedPalette = Literal["pixels", "files"]
SHARED: tuple[str, ...] = get_args(SharedPalette)
DIED = "the process that worked on it was killed (out of memory?) or crashed"
MODEL = "streamgmm-model.json"  # the shared model, in the folder of the outputs


@dataclass(frozen=True)
class BatchOptions:
    """What is made of many inputs; see ``streamgmm batch --help``."""

    out_dir: Path
    shared_palette: SharedPalette | None = None
    model: Path | None = None
    skip_existing: bool = False
    fail_fast: bool = False
    jobs: int = 1

    def __post_init__(self):
        if self.jobs < 1:
            raise OptionError(f"jobs is {self.jobs}; at least 1 is needed")
        if self.shared_palette is not None and self.shared_palette not in SHARED:
            raise OptionError(f"shared palette is {self.shared_palette!r}; choose {', '.join(SHARED)}")
        if self.shared_palette is not None and self.model is not None:
            raise OptionError("shared-palette and model exclude each other; choose one")


def batch(
    items: list[Item],
    *,
    chunk_size: str | int = "64MiB",
    threads: int | None = None,
    memory: str | int | None = None,
    **options: Any,
) -> Iterator[Entry]:
    """Check the options, and return an iterator that makes the outputs and tells of each as it ends.

    Parameters
    ----------
    items : list of Item
        What :func:`streamgmm.jobs.inputs.find` found.
    chunk_size, threads, memory
        As in :func:`streamgmm.fit_image`, for all files that are worked on at once.
    **options
        The fields of BatchOptions, FitOptions, ReadOptions, WriteOptions and RunOptions.

    Raises
    ------
    OptionError, ModelError, MemoryBudgetError
        Where nothing can be begun.
    """
    given, run = options_from(BatchOptions, options), options_from(RunOptions, options)
    fitting, reading = options_from(FitOptions, options), options_from(ReadOptions, options)
    writing = options_from(WriteOptions, options)
    if given.skip_existing and writing.overwrite:
        raise OptionError("skip-existing and overwrite exclude each other; choose one")
    if given.shared_palette == "files":
        fitting = replace(fitting, weight_by="images")
    resources = _share(Resources.of(chunk_size, threads, memory), given.jobs)
    contents = [_content(item) for item in items]
    facts: list[Any] = [reading, replace(writing, overwrite=False, min_psnr=None)]
    facts.append(fitting if given.model is None else load_model(given.model))
    if given.shared_palette is not None:
        facts.append(contents)
    writing = replace(writing, overwrite=writing.overwrite or given.skip_existing)
    pattern = Task(Item(Path(), Path()), fitting, reading, writing, run, resources, given.model)
    common = fingerprint(facts)
    marks = [fingerprint(content, common) for content in contents]
    return _entries(items, marks, pattern, given, common)


def _entries(items: list[Item], marks: list[str], pattern: Task, given: BatchOptions, common: str) -> Iterator[Entry]:
    """Pass over what is there, and do the rest."""
    with output_errors(given.out_dir):
        given.out_dir.mkdir(parents=True, exist_ok=True)
    with _resumable(given.out_dir, fingerprint(items, marks), pattern.run.resume) as resumed:
        tasks: list[Task] = []
        for item, mark in zip(items, marks, strict=True):
            if (given.skip_existing or resumed) and not item.complaint and _up_to_date(item, mark):
                yield Entry(str(item.source), str(item.target), "skipped", fingerprint=mark)
            else:
                tasks.append(replace(pattern, item=item, writing=replace(pattern.writing, fingerprint=mark)))
        if given.shared_palette is not None and tasks:
            model = _shared_model(pattern, items, given, common)
            tasks = [replace(task, model=model) for task in tasks]
        yield from _work(tasks, given)


def _work(tasks: list[Task], given: BatchOptions) -> Iterator[Entry]:
    """Do the tasks in processes, up to the first that fails where that is wanted."""
    with contextlib.closing(in_processes(make, tasks, given.jobs)) as results:
        for task, result in results:
            entry, messages = result or (failed(task.item, StreamGMMError(f"{task.item.source}: {DIED}")), [])
            for level, message in messages:
                log.log(level, "%s", message)
            yield entry
            if given.fail_fast and entry.status == "failed":
                return


def _shared_model(task: Task, items: list[Item], given: BatchOptions, mark: str) -> Path:
    """Return the model of all inputs together, fitted unless the one that is there is that.

    Raises
    ------
    StreamGMMError
        Where there is none.
    """
    path = given.out_dir / MODEL
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if json.loads(path.read_text()).get("fingerprint") == mark:
            return path
    resources = replace(task.resources, threads=task.resources.threads * given.jobs)
    sources = [item.source for item in items]
    shared = SharedFit(sources, path, task.fitting, task.reading, task.run, resources, mark)
    for _, result in in_processes(fit_shared, [shared], 1):
        error, messages = result or (StreamGMMError(f"{path}: {DIED}"), [])
        for level, message in messages:
            log.log(level, "%s", message)
        if error:
            raise error
    return path


def _content(item: Item) -> list | None:
    """Return what the input holds, or None where it cannot be read."""
    try:
        return content(item.source)
    except ImageReadError:
        return None


def _up_to_date(item: Item, mark: str) -> bool:
    """Whether the output was made from this input, with these options, after it was last changed."""
    try:
        newer = item.target.stat().st_mtime_ns >= item.source.stat().st_mtime_ns
    except OSError:
        return False
    return newer and fingerprint_in(item.target) == mark


def _share(resources: Resources, jobs: int) -> Resources:
    """Return what each of some processes may take, beside this one."""
    each = (resources.memory - psutil.Process().memory_info().rss) // jobs
    if each < BASELINE + MARGIN:
        raise MemoryBudgetError(
            f"{jobs} jobs have {mebibytes(each)} each, and need {mebibytes(BASELINE + MARGIN)}; raise --memory, or lower --jobs"
        )
    return replace(resources, threads=max(1, resources.threads // jobs), memory=each)


@contextlib.contextmanager
def _resumable(out_dir: Path, key: str, resume: bool) -> Iterator[bool]:
    """Tell whether the same batch was interrupted before: a mark in the folder stays where it is."""
    mark = beside(out_dir / "batch", "key")
    resumed = False
    with contextlib.suppress(OSError):
        resumed = resume and mark.read_bytes() == key.encode()
    with output_errors(mark):
        mark.write_text(key)
    try:
        yield resumed
    except (KeyboardInterrupt, Interrupted, GeneratorExit):
        raise
    except BaseException:
        mark.unlink(missing_ok=True)
        raise
    mark.unlink(missing_ok=True)
