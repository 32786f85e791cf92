"""What every job begins with: the lock and saved work of its output, its images, its engine, and its part of the machine."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import NoPixelsError, OptionError, OutputError
from ..image.image import Image, Source
from ..image.open import source_of
from ..image.output.sidecars import sidecars
from ..image.pool import ImagePool
from ..model.jit import stay_serial
from ..options import JobOptions, ReadOptions, RunOptions
from ..options.values import check_tiff_name
from ..system.files import beside, check_output, is_stream
from ..system.limits import is_forked
from ..system.lock import locked
from ..system.mark import is_own
from .clock import Advance, Clock, unseen
from .fingerprint import content, fingerprint
from .passes.blocks import Block, Blocks
from .passes.checkpoint import Checkpoint, resumable
from .passes.engine import LocalEngine
from .passes.sums import AnyMasked, Sum
from .passes.tasks import Look, Part
from .resources import Resources

if is_forked():  # by a program that has run parallel loops of its own before, maybe, whose threads are not here
    stay_serial()


@dataclass(frozen=True)
class Session:
    """Images that are open, and all it takes to run passes over them.

    Attributes
    ----------
    images : list of Image
    blocks : Blocks
        Their pixels.
    engine : LocalEngine
    resources : Resources
    checkpoint : Checkpoint
    clock : Clock
    lock : str or None
        What the names of files beside the outputs end in that nobody else writes meanwhile; None where there is no lock.
    n_valid : dict
        Pixels that are not masked, of the blocks that passes have read so far.
    """

    images: list[Image]
    blocks: Blocks
    engine: LocalEngine
    resources: Resources
    checkpoint: Checkpoint
    clock: Clock
    lock: str | None = None
    n_valid: dict[int, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What messages call the images: the first of them."""
        return self.images[0].name

    def part(self, path: Path) -> Path | None:
        """Return where an output is written before it appears; None where any name will do."""
        return beside(path, self.lock) if self.lock else None

    def reduce(self, task: Callable[[Block], Part], blocks: Sequence[Block], into: Sum, advance: Advance) -> None:
        """Add up what a task finds in some blocks: the next step of the job."""
        step = self.checkpoint.step(type(task).__name__)
        self.engine.reduce(task, blocks, into, self.blocks.block_bytes, step, advance)
        self.n_valid.update(into.n_valid)

    def masked(self) -> bool:
        """Whether any pixel is masked; reads the blocks that no pass has read yet, until it finds one."""
        if self.blocks.sparse or any(n_valid < self.blocks[index].n_pixels for index, n_valid in self.n_valid.items()):
            return True
        unread = [block for block in self.blocks if block.image.maskable and block.position not in self.n_valid]
        found = AnyMasked()
        self.engine.reduce(Look(), unread, found, self.blocks.block_bytes, Checkpoint(None).step("masked"), unseen)
        return found.complete

    def facts(self) -> dict[str, Any]:
        """Return what every report tells: how long it took, of how many pixels and bytes."""
        states, elapsed = [image.state for image in self.images], self.clock.elapsed
        sizes = {state[:2]: state.size for state in states if state is not None}  # pages are of one file
        return {
            "seconds": self.clock.seconds,
            "pixels": self.clock.pixels,
            "resumed": self.clock.resumed,
            "total_seconds": elapsed,
            "pixels_per_second": self.blocks.n_pixels / elapsed,
            "bytes_in": sum(sizes.values()) if all(states) else None,
        }

    def nothing(self) -> NoPixelsError:
        """Return the error that every pixel is masked."""
        return NoPixelsError(f"{self.name}: every pixel is masked (nodata, alpha 0, mask or NaN); there is nothing to fit")

    def check_unchanged(self) -> None:
        """Raise an ImageReadError where a file has changed since it was opened."""
        for image in self.images:
            image.check_unchanged()


@contextmanager
def open_session(
    sources: Sequence[Source],
    reading: ReadOptions,
    resources: Resources,
    clock: Clock,
    checkpoint: Checkpoint | None = None,
    lock: str | None = None,
) -> Iterator[Session]:
    """Open images, and give the session of those who only read them."""
    if not sources:
        raise OptionError("no image to fit; name at least one")
    with ImagePool() as pool:
        images = pool.open(sources, reading, resources.budget())
        blocks = Blocks(images)
        with LocalEngine(resources.threads, resources.chunk(blocks.pixel_bytes)) as engine:
            yield Session(images, blocks, engine, resources, checkpoint or Checkpoint(None), clock, lock)


@contextmanager
def open_job(
    sources: Sequence[Source],
    images: Sequence[Path],
    texts: Sequence[Path],
    options: JobOptions,
    *facts: Any,
    models: Sequence[Path] = (),
    held: int = 0,
) -> Iterator[Session]:
    """Hold the lock of an output, and give the session of the job that makes it, from where it was interrupted.

    Parameters
    ----------
    sources : sequence of path or ndarray
        Of arrays, nothing is saved.
    images, texts : sequence of Path
        What is written; the first is the output, and the others are written beside it.
    options : JobOptions
    *facts
        What else decides the result: options, models.
    models : sequence of Path
        Files that are not to be overwritten either.
    held : int
        Bytes for what is shown of the output.

    Raises
    ------
    OutputError
        Where an output cannot be written, exists, or is an input.
    LockedError
        Where another run is making it.
    """
    sources = [source_of(source) for source in sources]
    outputs, inputs = [*images, *texts], [Path(source) for source in sources if not isinstance(source, np.ndarray)]
    output, resources, reading = outputs[0], Resources.of(options), options.part(ReadOptions)
    resources = resources.without(held, str(output), "what a page shows, and its libraries,") if held else resources
    for path in outputs:
        check_output(path, [*models, *inputs], overwrite=True, stream=path in texts)
    for path in images:
        check_tiff_name(path)
    with ExitStack() as stack:
        lock = None
        if options.lock and not is_stream(output):
            lock = stack.enter_context(locked(output, options.wait, options.work_folder))
        checkpoint = stack.enter_context(_checkpoint(output, inputs, options, lock, reading, *facts, *([held] if held else [])))
        if len({os.path.realpath(path) for path in outputs}) < len(outputs):
            raise OptionError(f"{output}: two outputs have one name; give each its own")
        for path in outputs:
            mine = checkpoint.resumed and is_own(path if path in images else output)  # which appears before its texts
            check_output(path, [*models, *inputs], options.overwrite or mine, stream=path in texts)
            if path in images and not (options.overwrite or mine):
                _check_beside(path)
        yield stack.enter_context(open_session(sources, reading, resources, Clock(options.progress), checkpoint, lock))


def _check_beside(path: Path) -> None:
    """Refuse an output beside which something lies that would be taken for a part of it, as GDAL does."""
    if found := sidecars(path):
        raise OutputError(f"{path}: GDAL would take {found[0]} for a part of it; remove that, or use --overwrite to do so")


@contextmanager
def _checkpoint(output: Path, inputs: Sequence[Path], run: RunOptions, lock: str | None, *facts: Any) -> Iterator[Checkpoint]:
    """Give what was saved of a job, which its inputs and other facts decide; only one that has a lock has a folder."""
    if not inputs or not run.resume or lock is None:
        if lock is not None:
            shutil.rmtree(beside(output, "work", run.work_folder), ignore_errors=True)
        yield Checkpoint(None, output, work_dir=run.work_folder)
        return
    key = fingerprint([[*content(path), str(path.resolve())] for path in inputs], *facts)
    with resumable(output, run.work_folder, key) as checkpoint:
        yield checkpoint
