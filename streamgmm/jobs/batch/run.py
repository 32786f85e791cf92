"""Many images, one after another or some at once, each with its own output: what fails does not stop the rest."""

import contextlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from ...errors import ImageReadError, Interrupted, MemoryBudgetError, OptionError, StreamGMMError
from ...image.output.tiff import fingerprint_in
from ...options import FitOptions, ReadOptions, WriteOptions
from ...options.batch import BatchOptions
from ...options.fields import flat
from ...options.page import PageOptions
from ...options.palette import PaletteOptions
from ...system.files import beside, output_errors, read_text
from ...system.processes import in_processes
from ..earlier import with_earlier
from ..fingerprint import content, fingerprint
from ..given_palette import GivenPalette
from ..model_file import load_model
from ..resources import BASELINE, MARGIN, Resources, mebibytes
from .inputs import Pair
from .pages import check_pages, has_page, page_of, write_folder
from .worker import EachOptions, FileJob, FileReport, Messages, SharedFit, failed, fit_shared, make

DIED = "the process that worked on it was killed (out of memory?) or crashed"
MODEL = "streamgmm-model.json"  # the shared model, in the folder of the outputs


@dataclass(frozen=True)
class Batch(EachOptions, PageOptions, BatchOptions):
    """What :func:`batch` is given: inputs with their outputs, as :func:`streamgmm.jobs.batch.inputs.find` found them."""

    pairs: list[Pair]

    def __post_init__(self):
        super().__post_init__()
        if self.keep_values and (self.shared_palette is not None or self.model is not None):
            raise OptionError("keep-values excludes shared-palette and model: values are not those of a model; choose one")
        if self.like is not None and self.model is not None:
            raise OptionError("like and model exclude each other: labels are those of the model; fit it with --like")
        if self.is_auto and self.model is not None:
            raise OptionError("components auto and model exclude each other: labels are those of the model; choose one")
        if self.sort != "weight" and self.model is not None:
            raise OptionError("sort and model exclude each other: labels are those of the model; fit it with --sort")
        if self.space != "rgb" and self.model is not None:
            raise OptionError("space and model exclude each other: a model has its own; fit it with --space")
        if self.palette != "means" and (self.shared_palette is not None or self.model is not None):
            raise OptionError("palette centroids excludes shared-palette and model: each file would have its own; choose one")
        if self.palette_in is not None and (self.shared_palette is not None or self.model is not None):
            raise OptionError("palette-in excludes shared-palette and model: it is one palette for all; choose one")


@flat(Batch)
def batch(given: Batch) -> Iterator[FileReport]:
    """Check the options, and return an iterator that makes the outputs and tells of each as it ends.

    Threads and memory are for all files that are worked on at once.

    Raises
    ------
    OptionError, ModelError, MemoryBudgetError
        Where nothing can be begun.
    """
    if given.skip_existing and given.overwrite:
        raise OptionError("skip-existing and overwrite exclude each other; choose one")
    if given.shared_palette == "files" and given.method not in ("auto", "stream"):
        raise OptionError(f"method {given.method} gives every pixel the same weight; use stream for files of equal weight")
    given, _ = with_earlier(given)
    check_pages(given.html, given.pairs, given.overwrite)
    each = _share(given)
    contents = [_content(pair) for pair in given.pairs]
    facts: list[Any] = [given.part(ReadOptions), replace(given.part(WriteOptions), min_psnr=None)]
    facts.append(given.part(FitOptions) if given.model is None else load_model(given.model))
    palette = GivenPalette.of(given.part(PaletteOptions))
    facts.append(palette and palette.colors)
    if given.shared_palette is not None:
        facts += [given.shared_palette, contents]
    common = fingerprint(facts)
    return _reports(given, each, [fingerprint(content, common) for content in contents], common)


def _reports(given: Batch, each: EachOptions, marks: list[str], common: str) -> Iterator[FileReport]:
    """Pass over what is there, and do the rest."""
    with output_errors(given.out_dir):
        given.out_dir.mkdir(parents=True, exist_ok=True)
    with _resumable(given.out_dir, fingerprint(given.pairs, marks), given.resume) as resumed:
        jobs: list[FileJob] = []
        reports: list[FileReport] = []
        for pair, mark in zip(given.pairs, marks, strict=True):
            goes_on = (given.skip_existing or resumed) and not pair.complaint
            page = None if given.html is None else page_of(pair)
            if goes_on and fingerprint_in(pair.target) == mark and has_page(page, mark):
                skipped = FileReport(str(pair.source), str(pair.target), "skipped", fingerprint=mark)
                reports.append(skipped)
                yield skipped
            else:
                jobs.append(FileJob(pair, each, given.model, mark, goes_on and not given.overwrite, page))
        if given.shared_palette is not None and jobs:
            model = _shared_model(given, each, common)
            jobs = [replace(job, model=model) for job in jobs]
        for report in _work(jobs, given):
            reports.append(report)
            yield report
        if given.html is not None:
            write_folder(Path(given.html), given.pairs, reports)


def _work(jobs: list[FileJob], given: Batch) -> Iterator[FileReport]:
    """Do the jobs in processes, up to the first that fails where that is wanted."""
    with contextlib.closing(in_processes(make, jobs, given.jobs)) as results:
        for job, result in results:
            report, messages = result or (failed(job.pair, StreamGMMError(f"{job.pair.source}: {DIED}")), [])
            _pass_on(messages)
            yield report
            if given.fail_fast and report.status == "failed":
                return


def _shared_model(given: Batch, each: EachOptions, mark: str) -> Path:
    """Return the model of all inputs together, fitted unless the one that is there is that.

    Raises
    ------
    StreamGMMError
        Where there is none.
    """
    path = given.out_dir / MODEL
    with contextlib.suppress(ImageReadError, ValueError, AttributeError):
        if json.loads(read_text(path)).get("fingerprint") == mark:
            return path
    assert each.threads is not None
    options = replace(each, overwrite=True, threads=each.threads * given.jobs)
    sources = [pair.source for pair in given.pairs]
    shared = SharedFit(sources, path, given.shared_palette == "files", options, mark)
    for _, result in in_processes(fit_shared, [shared], 1):
        error, messages = result or (StreamGMMError(f"{path}: {DIED}"), [])
        _pass_on(messages)
        if error:
            raise error
    return path


def _pass_on(messages: Messages) -> None:
    """Log what a process had to say."""
    for message in messages:
        logging.getLogger(message.name).handle(message)


def _content(pair: Pair) -> list | None:
    """Return what the input holds, or None where it cannot be read."""
    try:
        return content(pair.source)
    except ImageReadError:
        return None


def _share(given: Batch) -> EachOptions:
    """Return what is asked of each file, with what each of some processes may take, beside this one."""
    resources, jobs = Resources.of(given), given.jobs
    memory = (resources.memory - psutil.Process().memory_info().rss) // jobs
    if memory < BASELINE + MARGIN:
        raise MemoryBudgetError(
            f"{jobs} jobs have {mebibytes(memory)} each, and need {mebibytes(BASELINE + MARGIN)}; raise --memory, "
            "or lower --jobs"
        )
    options = given.part(EachOptions)
    overwrite = given.overwrite or given.skip_existing
    return replace(options, overwrite=overwrite, threads=max(1, resources.threads // jobs), memory=memory, progress=None)


@contextlib.contextmanager
def _resumable(out_dir: Path, key: str, resume: bool) -> Iterator[bool]:
    """Tell whether the same batch was interrupted before: a mark in the folder stays where it is."""
    mark = beside(out_dir / "batch", "key")
    resumed = False
    with contextlib.suppress(OSError):
        resumed = resume and mark.read_bytes() == key.encode()
    with output_errors(mark):
        mark.write_text(key, encoding="utf-8")
    try:
        yield resumed
    except (KeyboardInterrupt, Interrupted, GeneratorExit):
        raise
    except BaseException:
        mark.unlink(missing_ok=True)
        raise
    mark.unlink(missing_ok=True)
