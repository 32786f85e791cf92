"""What --memory promises: it is read and checked before the work, decides how a fit is done but not its result, and is kept.

The slow tests measure the peak resident memory of the whole process (VmHWM: its own pages, and those of files it has mapped),
which is what it takes from others: of an address space, as RLIMIT_AS limits it, most is never touched. The limit is enforced,
too: the process runs inside a memory control group whose limit is --memory, and is killed if it needs more. The group counts
the page cache as well, which the system takes back by itself. Where no group can be made, RLIMIT_DATA limits private memory
that could be written, touched or not, beside what an idle process of the package has of it.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import rasterio
import tifffile
from PIL import Image

import streamgmm
from streamgmm.cli import main
from streamgmm.jobs import gathering, resources
from streamgmm.jobs.resources import BASELINE, MARGIN, Resources
from streamgmm.model.colors import ColorCounter
from streamgmm.model.footprint import COUNTERS, counter_bytes, table_bytes
from streamgmm.model.labels import LookupTable, classify
from streamgmm.model.space import BY_TYPE, SampleSpace

from .conftest import random_mixture, random_pixels
from .images import posterized, smooth, write_tiff

SCRIPT = Path(__file__).parents[1] / "scripts" / "make_image.py"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
USAGE, MEMORY = 2, 5
MIB = 1 << 20
NEEDED = BASELINE + MARGIN  # for any job
LIMITS = {"384MiB": 384 * MIB, "512MiB": 512 * MIB, "1GiB": 1024 * MIB}
TOO_LITTLE = "240MiB"  # for counters of all colors

SIDE, COMPONENTS = 512, 4


def mixture(threads):
    """What a fit of COMPONENTS to RGB takes of the memory before its color table."""
    whole = Resources(threads, 1, in_pixels=False, memory=1 << 40)
    return whole.memory - whole.without_mixture(COMPONENTS, 3, "in.tif").memory


MIXTURE = mixture(2)
COUNTERS_BYTES = counter_bytes(3, SIDE * SIDE)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with an image of noise, most of whose pixels have a color of their own."""
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    write_tiff(tmp_path / "in.tif", noise, compression="deflate", tile=(128, 128))
    return tmp_path


def quantize(name="in.tif", **options):
    """Quantize with few components: the report, and the bytes of the output."""
    given = {"n_components": COMPONENTS, "max_iter": 5, "tol": 0.0, "threads": 2, "overwrite": True}
    report = streamgmm.quantize(name, "out", **given | options)
    return report, Path("out").read_bytes()


def leave(capsys, *arguments):
    """Run the command: its exit code and what it said."""
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    return left.value.code, capsys.readouterr().err


# --- Checked before the work ---


@pytest.mark.parametrize("text", ["lots", "4Mpx", "-1GiB", "0"])
def test_memory_that_is_no_size_is_a_usage_error(text, folder, capsys):
    code, error = leave(capsys, "quantize", "in.tif", "out", "--memory", text)
    assert (code, error.count("\n")) == (USAGE, 1)
    assert "memory is" in error


@pytest.mark.parametrize("command", [["quantize", "in.tif", "out"], ["fit", "in.tif", "-o", "out"]])
def test_too_little_memory_for_any_job(command, folder, capsys):
    code, error = leave(capsys, *command, "--memory", "100MiB")
    assert (code, error.count("\n")) == (MEMORY, 1)
    for part in ("memory is 100 MiB", f"needs {NEEDED // MIB} MiB", "raise --memory"):
        assert part in error
    assert [path.name for path in folder.iterdir()] == ["in.tif"]


def test_too_little_free_memory_for_any_job(folder, capsys, monkeypatch):
    monkeypatch.setattr(resources, "free_memory", lambda: 200 * MIB)
    code, error = leave(capsys, "quantize", "in.tif", "out")
    assert (code, error.count("\n")) == (MEMORY, 1)
    for part in ("free memory are 150 MiB", f"needs {NEEDED // MIB} MiB", "raise --memory"):
        assert part in error


@pytest.mark.parametrize("memory", ["256MiB", "64GiB"])
def test_covariances_that_do_not_fit(memory, folder, capsys):
    write_tiff(folder / "many.tif", smooth(16, 16, 150), compression="deflate", planarconfig="contig", extrasamples=[0] * 147)
    code, error = leave(
        capsys, "quantize", "many.tif", "out", "-k", {"256MiB": "40", "64GiB": "600"}[memory], "--memory", memory
    )
    assert (code, error.count("\n")) == (MEMORY, 1)
    for part in ("many.tif: ", "in 150 bands take", "MiB of", "--components", "--bands"):
        assert part in error


@pytest.mark.parametrize("name", ["in.tif", "in.png", "in.jpg"])
def test_what_cannot_be_read_in_parts_and_does_not_fit(name, folder, capsys):
    pixels = np.zeros((5000, 4000, 3), np.uint8)
    if name == "in.tif":
        tifffile.imwrite(name, pixels, compression="deflate", rowsperstrip=5000, photometric="rgb", metadata=None)
    else:
        Image.fromarray(pixels).save(name)
    code, error = leave(capsys, "quantize", name, "out", "--memory", "384MiB")
    assert (code, error.count("\n")) == (MEMORY, 1)
    assert f"{name}: " in error
    assert "57 MiB of 47" in error
    assert "--memory" in error  # a larger --chunk-size would not help


# --- Decides how, but not what ---


def test_as_many_threads_count_as_tables_fit(folder, monkeypatch):
    made = []

    class Counter(ColorCounter):
        def __init__(self, n_bands, n_pixels, copies):
            made.append(copies)
            super().__init__(n_bands, n_pixels, copies)

    monkeypatch.setattr(gathering, "ColorCounter", Counter)
    write_tiff(folder / "flat.tif", np.zeros((2048, 2048, 3), np.uint8), compression="deflate", tile=(512, 512))
    holding = range(1, COUNTERS + 2)
    for copies in holding:
        quantize("flat.tif", memory=NEEDED + mixture(8) + copies * COUNTERS_BYTES + MIB, threads=8)
    assert made == [min(copies, COUNTERS) for copies in holding]


def test_counters_that_do_not_fit(folder, caplog):
    expected = quantize(method="stream")[1]
    caplog.clear()
    report, output = quantize(memory=NEEDED + MIXTURE + COUNTERS_BYTES - 1)
    assert (report.method, report.distinct_colors) == ("stream", None)
    assert output == expected
    warnings = [record.message for record in caplog.records if "raise --memory" in record.message]
    assert len(warnings) == 1
    assert warnings[0].startswith("in.tif: counters for all colors do not fit into 277 MiB; reading every pixel")


@pytest.mark.parametrize("sample_blocks", [256, 4], ids=["all are sampled", "a few are sampled"])
def test_a_run_that_counted_with_much_memory_goes_on_with_too_little_for_the_counters(sample_blocks, folder, monkeypatch):
    """Of many blocks all are read where colors are counted, and a few where pixels are only sampled."""
    smaller = {"passes.blocks.BLOCK_PIXELS": 1 << 14, "sampling.SAMPLE_BLOCKS": sample_blocks}
    smaller |= {"passes.checkpoint.INTERVAL": 0, "passes.checkpoint.SHARE": 0}
    for name, value in smaller.items():
        monkeypatch.setattr(f"streamgmm.jobs.{name}", value)
    expected = quantize(method="stream")[1]
    with pytest.raises(KeyboardInterrupt):
        quantize(memory="2GiB", progress=interrupt_at("count", 0.7))
    (saved,) = folder.glob(".streamgmm.out.work/*.npz")
    assert saved.stat().st_size >= COUNTERS_BYTES
    report, output = quantize(memory=TOO_LITTLE)
    assert (report.method, output) == ("stream", expected)
    assert {path.name for path in folder.iterdir()} == {"in.tif", "out"}


def interrupt_at(wanted, part):
    """A callback of progress that interrupts a run in a phase, when some part of it is done."""

    def progress(phase, done, total):
        if phase == wanted and done >= part * total:
            raise KeyboardInterrupt

    return progress


@pytest.mark.slow
def test_a_table_that_does_not_fit(folder, caplog):
    expected = quantize(method="stream")[1]
    exact, _ = quantize(memory="2GiB")
    whole = NEEDED + MIXTURE + COUNTERS_BYTES + table_bytes(exact.distinct_colors, 3)
    assert (exact.method, quantize(memory=whole)[0].method) == ("exact", "exact")
    caplog.clear()
    for memory in (whole - 1, whole - 2 * MIB):
        report, output = quantize(memory=memory)
        assert (report.method, report.distinct_colors) == ("stream", None)
        assert output == expected
    warnings = [record.message for record in caplog.records if "raise --memory" in record.message]
    assert len(warnings) == 2
    assert f"in.tif: a table of {exact.distinct_colors:,} colors does not fit into" in warnings[0]


def test_a_command_that_streams_for_want_of_memory_says_so_in_a_line_and_succeeds(folder):
    more = ["-k", "4", "--method", "auto", "--memory", "240MiB", "--report", "report.json"]
    done = subprocess.run(
        [sys.executable, "-m", "streamgmm", "quantize", "in.tif", "out", "--tol", "1", *more],
        capture_output=True,
        env=ENVIRONMENT,
        encoding="utf-8",
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (0, "", 1)
    assert (
        "do not fit into 240 MiB; reading every pixel at each iteration instead, which is slower: raise --memory" in done.stderr
    )
    report = json.loads(Path("report.json").read_text(encoding="utf-8"))
    assert report["method"] == "stream"
    assert report["peak_memory_bytes"] <= 240 * MIB


@pytest.mark.parametrize("short", [COUNTERS_BYTES + 1, 2 * MIB], ids=["counters", "table"])
def test_a_table_that_was_asked_for_and_does_not_fit(short, folder, capsys):
    memory = NEEDED + MIXTURE + COUNTERS_BYTES + table_bytes(SIDE * SIDE, 3) - short
    arguments = [
        "quantize",
        "in.tif",
        "out",
        "-k",
        str(COMPONENTS),
        "--method",
        "exact",
        "--memory",
        str(memory),
        "--threads",
        "2",
    ]
    code, error = leave(capsys, *arguments)
    assert (code, error.count("\n")) == (MEMORY, 1)
    for part in ("in.tif: ", "fit into", "MiB", "raise --memory", "--method stream"):
        assert part in error
    assert [path.name for path in folder.iterdir()] == ["in.tif"]


@pytest.mark.parametrize("memory", [NEEDED + MIXTURE + COUNTERS_BYTES, "300MiB"])
def test_few_colors_are_lossless_with_any_memory(memory, folder):
    write_tiff(folder / "few.tif", posterized(200, 200, COMPONENTS), compression="deflate", tile=(128, 128))
    report, output = quantize("few.tif", memory=memory)
    assert report.method == "lossless"
    assert output == quantize("few.tif", method="stream")[1]


def test_the_bytes_are_the_same_for_any_memory_that_holds_the_table_and_any_threads(folder):
    write_tiff(folder / "photo.tif", smooth(700, 900), compression="deflate", tile=(256, 256))
    runs = [("300MiB", 1, "1GiB"), ("300MiB", 4, "1MiB"), ("384MiB", 2, "1GiB"), ("64GiB", 1, "1MiB"), ("64GiB", 4, "1GiB")]
    outputs = set()
    for memory, threads, chunk_size in runs:
        report, output = quantize("photo.tif", memory=memory, threads=threads, chunk_size=chunk_size)
        assert report.method == "exact"
        outputs.add(output)
    assert len(outputs) == 1


def test_the_bytes_are_the_same_for_any_memory_where_all_pixels_are_read_again(folder):
    runs = [(NEEDED + mixture(4), 4), ("300MiB", 2), ("64GiB", 1)]
    assert len({quantize(memory=memory, threads=threads, method="stream", max_iter=2)[1] for memory, threads in runs}) == 1


@pytest.mark.parametrize("n_components", [3, 300])
@pytest.mark.parametrize("n_bands", [1, 2])
def test_a_table_of_all_colors_holds_the_label_of_each(n_bands, n_components):
    mixture = random_mixture(n_components, n_bands)
    colors = np.stack(np.meshgrid(*[np.arange(256, dtype=np.uint8)] * n_bands), axis=-1)
    labels = LookupTable.of_all_colors(mixture, threads=2)(colors)
    np.testing.assert_array_equal(labels, classify(colors, mixture))
    assert len(np.unique(labels)) > 1


def test_a_table_of_all_colors_in_blocks_holds_the_label_of_each():
    mixture = random_mixture(3, 3)
    lookup, others = LookupTable.of_all_colors(mixture, threads=2), np.arange(256, dtype=np.uint8)
    for first in range(256):
        colors = np.stack(np.meshgrid(np.uint8(first), others, others), axis=-1)
        np.testing.assert_array_equal(lookup(colors), classify(colors, mixture))


def test_a_counter_tells_its_colors_before_there_is_a_table_and_keeps_one_table_of_counters():
    pixels = random_pixels(random_mixture(3, 3), 5000, np.uint8)
    counter = ColorCounter(3, len(pixels), COUNTERS)
    expected, asked = len(np.unique(pixels, axis=0)), []
    for part in np.split(pixels, 10):
        counter.add(part)
    for _ in range(2):
        assert counter.table(lambda n_colors: asked.append(n_colors)) == expected
    assert (asked, counter._free.qsize()) == ([expected] * 2, COUNTERS)
    table = counter.table()
    assert (len(table), table.n_pixels, counter._free.qsize()) == (expected, 5000, 0)


# --- Kept: slow, in processes ---


def own_group():
    """The folder of this process's memory group, and the file of its limit; version 2 or 1."""
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, place = line.split(":", 2)
        if "memory" in controllers.split(","):
            return Path("/sys/fs/cgroup/memory", place.lstrip("/")), "memory.limit_in_bytes"
        if not controllers and Path("/sys/fs/cgroup/cgroup.controllers").exists():
            return Path("/sys/fs/cgroup", place.lstrip("/")), "memory.max"
    return None


@contextmanager
def memory_group(limit: int) -> Iterator[Path | None]:
    """A memory control group with a limit, or None where none can be made."""
    group = None
    try:
        own, name = own_group()
        group = own / f"streamgmm-memory-{os.getpid()}"
        group.mkdir()
        (group / name).write_text(str(limit), encoding="utf-8")
    except (OSError, TypeError):
        if group and group.is_dir():
            group.rmdir()
        yield None
        return
    try:
        yield group
    finally:
        group.rmdir()


@pytest.fixture
def needs_group():
    """For limits that only a control group gives: the stacks of many threads are private memory that is hardly touched."""
    with memory_group(512 * MIB) as group:
        if group is None:
            pytest.skip("no memory control group can be made")


def idle_data() -> int:
    """Bytes of private memory an idle process of the package could write."""
    read = "print(open('/proc/self/status', encoding='utf-8').read())"
    program = f"import streamgmm.cli.commands, streamgmm.jobs.quantize; {read}"
    status = subprocess.run(
        [sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, check=True, encoding="utf-8"
    ).stdout
    return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmData"))


class Run(NamedTuple):
    """What came of a command."""

    code: int
    error: str
    report: dict


def run_inside(limit, *arguments, folder, env=ENVIRONMENT):
    """Run a command that cannot take more than a limit without being ended."""
    report = folder / "report.json"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "streamgmm", *map(str, arguments), "--report", str(report)]
    with memory_group(limit) as group:
        if group:
            enter = ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(group)]
        else:
            enter = ["sh", "-c", 'ulimit -d "$0" && exec "$@"', str((limit + idle_data()) >> 10)]
        done = subprocess.run([*enter, *command], env=env, capture_output=True, encoding="utf-8", cwd=folder)
    return Run(done.returncode, done.stderr, json.loads(report.read_text(encoding="utf-8")) if report.exists() else {})


def check_stays_inside(memory, *arguments, folder, env=ENVIRONMENT, more=0):
    """Run a command with --memory inside that memory, and some more, and return its report."""
    most = (LIMITS | {TOO_LITTLE: 240 * MIB})[memory] + more
    run = run_inside(most, *arguments, "--memory", memory, folder=folder, env=env)
    assert run.code == 0, run.error
    assert run.report["peak_memory_bytes"] <= most, f"{run.report['peak_memory_bytes'] / MIB:.0f} MiB"
    return run.report


LARGE, TILE = 8192, 512
OPTIONS = {"tile": (TILE, TILE), "photometric": "rgb", "metadata": None, "dtype": "u1"}


def photo_tile(name="tile.tif"):
    """Write one tile of the photo-like image, and read it."""
    subprocess.run([sys.executable, SCRIPT, name, "--size", str(TILE)], check=True)
    return tifffile.imread(name)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder with images of 64 megapixels and one of 4 gigapixels, of which 1 in 521 tiles is there; and a model."""
    folder = tmp_path_factory.mktemp("images")
    for compression in ("deflate", "none"):
        command = [sys.executable, SCRIPT, folder / f"{compression}.tif", "--size", str(LARGE), "--compression", compression]
        subprocess.run(command, check=True)
    tile, generator, count = photo_tile(folder / "tile.tif"), np.random.default_rng(0), (LARGE // TILE) ** 2
    for compression in ("lzw", "zstd", "jpeg"):
        tiles = (np.roll(tile, 16 * i, axis=1) + np.uint8(i // 8) for i in range(count))
        more = OPTIONS | {"compression": compression, "predictor": compression != "jpeg"}
        tifffile.imwrite(folder / f"{compression}.tif", tiles, shape=(LARGE, LARGE, 3), **more)
    noise = (generator.integers(0, 256, (TILE, TILE, 3), np.uint8) for _ in range(count))
    tifffile.imwrite(folder / "noise.tif", noise, shape=(LARGE, LARGE, 3), **OPTIONS)
    sparse = (None if i % 521 else generator.integers(0, 256, (TILE, TILE, 3), np.uint8) for i in range((65_536 // TILE) ** 2))
    options = OPTIONS | {"compression": "deflate", "bigtiff": True}
    tifffile.imwrite(folder / "sparse.tif", sparse, shape=(65_536, 65_536, 3), **options)
    (folder / "model.json").write_text(random_mixture(16, 3).to_json(), encoding="utf-8")
    yield folder
    shutil.rmtree(folder)


COMMANDS = {
    "quantize": lambda image: ["quantize", image, "out", "--max-iter", "3", "--overwrite"],
    "apply": lambda image: ["apply", "model.json", image, "out", "--overwrite"],
    "fit": lambda image: ["fit", image, "-o", "fitted", "--max-iter", "3", "--overwrite"],
}


@pytest.mark.slow
@pytest.mark.parametrize("memory", LIMITS)
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("image", ["deflate.tif", "none.tif", "noise.tif"])
def test_64_megapixels_stay_inside_the_memory(image, command, memory, images):
    report = check_stays_inside(memory, *COMMANDS[command](image), folder=images)
    streams = image == "noise.tif" and memory == "384MiB"
    assert report["method"] == ("apply" if command == "apply" else "stream" if streams else "exact")


@pytest.mark.slow
@pytest.mark.parametrize("compression", ["lzw", "zstd", "jpeg"])
def test_any_compression_stays_inside_the_memory(compression, images):
    check_stays_inside("384MiB", *COMMANDS["quantize"](f"{compression}.tif"), folder=images)


@pytest.mark.slow
@pytest.mark.parametrize("memory", LIMITS)
@pytest.mark.parametrize("command", COMMANDS)
def test_4_gigapixels_stay_inside_the_memory(command, memory, images):
    levels = ["--no-pyramid"] if command == "apply" or (command == "quantize" and memory != "384MiB") else []  # to save time
    check_stays_inside(memory, *COMMANDS[command]("sparse.tif"), *levels, folder=images)


@pytest.mark.slow
@pytest.mark.parametrize("image", ["deflate.tif", "noise.tif"])
def test_many_threads_stay_inside_the_memory(image, images, needs_group):
    check_stays_inside("512MiB", *COMMANDS["quantize"](image), "--threads", "16", folder=images)


@pytest.mark.slow
@pytest.mark.parametrize("image", ["deflate.tif", "noise.tif"])
def test_by_default_a_run_stays_inside_its_control_group(image, images, needs_group):
    run = run_inside(512 * MIB, *COMMANDS["quantize"](image), folder=images)
    assert run.code == 0, run.error
    assert run.report["peak_memory_bytes"] <= 3 / 4 * 512 * MIB


@pytest.mark.slow
def test_a_run_that_compiles_takes_the_compiler_besides(images):
    cold = ENVIRONMENT | {"STREAMGMM_CACHE_DIR": str(images / "cold")}
    check_stays_inside("384MiB", *COMMANDS["quantize"]("noise.tif"), folder=images, env=cold, more=80 * MIB)


@pytest.mark.slow
@pytest.mark.parametrize(("memory", "method"), [("384MiB", "exact"), (TOO_LITTLE, "stream")])
def test_a_run_that_goes_on_from_saved_counters_stays_inside_the_memory(memory, method, images):
    """Also where it has less memory than before, in which the counters do not fit: then all is as if nothing had been saved."""
    command, saved = (
        [*COMMANDS["quantize"]("deflate.tif"), "--threads", "2"],
        images / ".streamgmm.out.work" / "000001-Count.npz",
    )
    check_stays_inside(memory, *command, folder=images)
    expected = (images / "out").read_bytes()
    start = [sys.executable, "-m", "streamgmm", *command, "--memory", "1GiB"]
    with subprocess.Popen(start, env=ENVIRONMENT, cwd=images) as process:
        while not saved.exists() and process.poll() is None:
            time.sleep(0.01)
        process.kill()
    assert saved.stat().st_size >= COUNTERS_BYTES
    assert check_stays_inside(memory, *command, folder=images)["method"] == method
    assert (images / "out").read_bytes() == expected


@pytest.mark.slow
def test_many_components_in_many_threads_stay_inside_the_memory(images, needs_group):
    write_tiff(images / "large.tif", smooth(1024, 2048), compression="deflate", tile=(512, 512))
    (images / "many.json").write_text(random_mixture(4000, 3, "diag").to_json(), encoding="utf-8")
    check_stays_inside("384MiB", "apply", "many.json", "large.tif", "out", "--overwrite", "--threads", "8", folder=images)


def write_raster(path, side):
    Image.fromarray(np.tile(photo_tile(path.with_name("tile.tif")), (8, 8, 1))[:side, :side]).save(path)


def write_strip(path, side):
    pixels = np.tile(photo_tile(path.with_name("tile.tif")), (8, 8, 1))[:side, :side]
    tifffile.imwrite(path, pixels, compression="deflate", rowsperstrip=side, photometric="rgb", metadata=None)


def write_floats(path, side):
    """Tiles of 2048 x 2048 x 8 floats, which are 128 MiB each."""
    part = np.random.default_rng(0).random((256, 256, 8), np.float32)
    tile = np.tile(part, (8, 8, 1))
    options = {"tile": tile.shape[:2], "compression": "zlib", "photometric": "minisblack", "planarconfig": "contig"}
    tiles = (tile for _ in range((side // 2048) ** 2))
    tifffile.imwrite(path, tiles, shape=(side, side, 8), dtype="f4", extrasamples=[0] * 7, metadata=None, **options)


WHOLE = {  # 46 MiB of 47 that may be decoded as a whole with 384 MiB, 58 of 79 with 512 MiB
    "photo.png": (write_raster, {384: 4000, 512: 4500}),
    "photo.jpg": (write_raster, {384: 4000, 512: 4500}),
    "photo.webp": (write_raster, {384: 4000, 512: 4500}),
    "strip.tif": (write_strip, {384: 4000, 512: 4500}),
    "floats.tif": (write_floats, {384: 4096, 768: 4096}),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "memory"), [(name, memory) for name, (_, sides) in WHOLE.items() for memory in sides])
def test_what_is_decoded_as_a_whole_stays_inside_the_memory_or_is_refused(name, memory, images):
    write, sides = WHOLE[name]
    write(images / name, sides[memory])
    command = [*COMMANDS["quantize"](name), "--threads", "2", "--memory", f"{memory}MiB"]
    run = run_inside(memory * MIB, *command, folder=images)
    assert run.code in (0, MEMORY), run.error
    if run.code == MEMORY:
        assert (run.error.count("\n"), f"{name}: " in run.error) == (1, True)
    else:
        assert run.report["peak_memory_bytes"] <= memory * MIB, f"{run.report['peak_memory_bytes'] / MIB:.0f} MiB"


# The memory, and an image in compressed strips: its shape, its type, and the rows of a strip.
WIDE = {
    "RGB, 400,000 wide": ("384MiB", (256, 400_000, 3), np.uint8, 1),
    "RGB, 1,200,000 wide, tall strips": ("512MiB", (256, 1_200_000, 3), np.uint8, 16),
    "32 bands, 12,000 wide": ("384MiB", (512, 12_000, 32), np.uint16, 1),
    "8 bands of floats, 60,000 wide": ("384MiB", (256, 60_000, 8), np.float32, 4),
}


def write_wide(path, shape, dtype, rows):
    """Write strips that differ from each other, but hold one row again and again."""
    height, width, n_bands = shape
    row = np.tile(smooth(1, 500, n_bands), (1, width // 500, 1))[0]
    row = row.astype(dtype) * dtype(257) if dtype == np.uint16 else (row / dtype(255) if dtype == np.float32 else row)
    strips = [zlib.compress(np.roll(row, 50 * i, axis=0).tobytes() * rows, 1) for i in range(2)]
    more = {"photometric": "rgb"} if n_bands == 3 else {"photometric": "minisblack", "extrasamples": [0] * (n_bands - 1)}
    more |= {"compression": "zlib", "rowsperstrip": rows, "planarconfig": "contig", "metadata": None, "bigtiff": True}
    tifffile.imwrite(path, (strips[i % 2] for i in range(height // rows)), shape=shape, dtype=dtype, **more)
    return [np.roll(row, 50 * i, axis=0) for i in range(2)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("name", WIDE)
def test_wide_strips_stay_inside_the_memory(name, tmp_path):
    """Of a row of tiles, only what fits is held; the labels are those of the pixels all the same."""
    memory, shape, dtype, rows = WIDE[name]
    pixels = write_wide(tmp_path / "wide.tif", shape, dtype, rows)
    space = SampleSpace(((0.0, 1.0),) * shape[2]) if dtype == np.float32 else BY_TYPE
    mixture = replace(random_mixture(8, shape[2]), space=space)
    (tmp_path / "model.json").write_text(mixture.to_json(), encoding="utf-8")
    command = ["apply", "model.json", "wide.tif", "out.tif", "--no-pyramid", "--threads", "2"]
    check_stays_inside(memory, *command, folder=tmp_path)
    labels = [classify(space.forward(row, np.dtype(dtype)), mixture) for row in pixels]
    with rasterio.open(tmp_path / "out.tif") as out:
        for first in (0, shape[1] // 2, shape[1] - 200):
            found = out.read(1, window=((0, 256), (first, first + 200)))
            for y in range(256):
                np.testing.assert_array_equal(found[y], labels[y // rows % 2][first : first + 200])
