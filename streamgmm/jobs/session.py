"""What every job begins with: the lock and saved work of its output, its images, its engine, and its part of the machine."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import NoPixelsError, OptionError
from ..image.image import Image, Source
from ..image.pool import ImagePool
from ..options import JobOptions, ReadOptions, RunOptions
from ..system.files import beside, check_output
from ..system.lock import locked
from .clock import Advance, Clock, unseen
from .fingerprint import content, fingerprint
from .passes.blocks import Block, Blocks
from .passes.checkpoint import Checkpoint, resumable
from .passes.engine import LocalEngine
from .passes.sums import AnyMasked, Sum
from .passes.tasks import Look, Part
from .resources import Resources


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
    n_valid : dict
        Pixels that are not masked, of the blocks that passes have read so far.
    """

    images: list[Image]
    blocks: Blocks
    engine: LocalEngine
    resources: Resources
    checkpoint: Checkpoint
    clock: Clock
    n_valid: dict[int, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What messages call the images: the first of them."""
        return self.images[0].name

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
) -> Iterator[Session]:
    """Open images, and give the session of those who only read them."""
    if not sources:
        raise OptionError("no image to fit; name at least one")
    with ImagePool() as pool:
        images = pool.open(sources, reading, resources.budget())
        blocks = Blocks(images)
        with LocalEngine(resources.threads, resources.chunk(blocks.pixel_bytes)) as engine:
            yield Session(images, blocks, engine, resources, checkpoint or Checkpoint(None), clock)


@contextmanager
def open_job(
    sources: Sequence[Source],
    outputs: Sequence[Path],
    options: JobOptions,
    *facts: Any,
    models: Sequence[Path] = (),
) -> Iterator[Session]:
    """Hold the lock of an output, and give the session of the job that makes it, from where it was interrupted.

    Parameters
    ----------
    sources : sequence of path or ndarray
        Of arrays, nothing is saved.
    outputs : sequence of Path
        The output, and what is written beside it.
    options : JobOptions
    *facts
        What else decides the result: options, models.
    models : sequence of Path
        Files that are not to be overwritten either.

    Raises
    ------
    OutputError
        Where an output cannot be written, exists, or is an input.
    LockedError
        Where another run is making it.
    """
    output, inputs = outputs[0], [Path(source) for source in sources if not isinstance(source, np.ndarray)]
    resources, clock, reading = Resources.of(options), Clock(options.progress), options.part(ReadOptions)
    check_output(output, inputs, overwrite=True)
    with locked(output, options.wait), _checkpoint(output, inputs, options, reading, *facts) as checkpoint:
        if len({path.resolve() for path in outputs}) < len(outputs):
            raise OptionError(f"{output}: two outputs have one name; give each its own")
        for path in outputs:
            check_output(path, [*models, *inputs], options.overwrite or checkpoint.resumed)
        with open_session(sources, reading, resources, clock, checkpoint) as session:
            yield session


@contextmanager
def _checkpoint(output: Path, inputs: Sequence[Path], run: RunOptions, *facts: Any) -> Iterator[Checkpoint]:
    """Give what was saved of a job, which its inputs and other facts decide."""
    if not inputs or not run.resume:
        shutil.rmtree(beside(output, "work", run.work_folder), ignore_errors=True)
        yield Checkpoint(None, output, work_dir=run.work_folder)
        return
    key = fingerprint([[*content(path), path.stat().st_mtime_ns, str(path.resolve())] for path in inputs], *facts)
    with resumable(output, run.work_folder, key) as checkpoint:
        yield checkpoint
