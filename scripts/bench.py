"""Measure what the README promises, as ratios within one run, and write the tables into it.

    python scripts/bench.py --work DIR           every row, at a gigapixel: half an hour and 6 GB of disk
    python scripts/bench.py --work DIR --smoke   the same rows at small sizes, to see that they run
    ... --readme                                 write the tables into README.md
    ... --photos DIR                             compare pictures of all photos in a folder, not of one alone

Every row is printed, also those that miss their bar. Programs that are not installed are skipped by name.
"""

import argparse
import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import imagecodecs
import numpy as np
import quality
import tifffile
from kinds import KINDS, decode_all, write_kind
from make_image import PHOTO, TILE, write_image

from streamgmm.image.output.codec import DEFLATE_LEVEL

ROOT = Path(__file__).parents[1]
THREADS = len(os.sched_getaffinity(0))
COMPONENTS = 16
# Phases that read the image, or write what was read; the others are the start: compiled code is loaded, a sample fitted.
PASSES = ("count", "sample", "fit", "label", "write")
BEGIN, END = "<!-- bench begins -->", "<!-- bench ends -->"


@dataclass(frozen=True)
class Sizes:
    """Sides in pixels of the images measured, and how many of other things."""

    small: int
    middle: int
    large: int
    sklearn_pixels: int
    rounds: int
    photos: int
    components: tuple[int, ...]
    cube: int
    cube_bands: int
    field: int


FULL = Sizes(
    small=8192,
    middle=16384,
    large=32768,
    sklearn_pixels=1 << 22,
    rounds=2,
    photos=50,
    components=(16, 64, 256),
    cube=200,
    cube_bands=224,
    field=256,
)
SMOKE = Sizes(
    small=1024,
    middle=1024,
    large=2048,
    sklearn_pixels=1 << 16,
    rounds=1,
    photos=2,
    components=(4,),
    cube=24,
    cube_bands=12,
    field=16,
)


@dataclass(frozen=True)
class Row:
    """One line of the table: what was measured, the figure, and whether it holds its bar."""

    what: str
    figure: str
    bar: str
    holds: bool | None

    def markdown(self) -> str:
        verdict = {True: "holds", False: "**misses**", None: ""}[self.holds]
        return f"| {self.what} | {self.figure} | {self.bar} | {verdict} |"


class Bench:
    """The images, and the runs of the command on them."""

    def __init__(self, work: Path, sizes: Sizes, photos: Path | None):
        self.work, self.sizes, self.photos = work, sizes, photos

    def image(self, size: int, period: int | None = None) -> Path:
        """Return an image of some size, made once."""
        path = self.work / f"image-{size}-{period or size}.tif"
        if not path.exists():
            part = path.with_suffix(".part")
            write_image(part, size, period)
            part.rename(path)
        return path

    def quantize(self, image: Path, *options: str, **environment: str) -> tuple[float, dict]:
        """Run the command as a whole process, by default without reduced levels; return its wall seconds and its report."""
        output, report = self.work / "quantized.tif", self.work / "report.json"
        given = [str(image), str(output), "--overwrite", "--report", str(report), *(options or ["--no-pyramid"])]
        return streamgmm("quantize", *given, **environment), json.loads(report.read_text(encoding="utf-8"))

    def floor(self, image: Path) -> float:
        """Return the seconds of decoding every tile twice and encoding the label tiles once, with bare imagecodecs."""
        self.quantize(image)
        labels = [np.frombuffer(data, np.uint8).reshape(TILE, TILE) for data in decoded(self.work / "quantized.tif", 256)]
        with tifffile.TiffFile(image) as tiff, open(image, "rb") as file, ThreadPoolExecutor(THREADS) as pool:
            places = list(zip(tiff.pages.first.dataoffsets, tiff.pages.first.databytecounts, strict=True))

            def decode(place: tuple[int, int]) -> None:
                tile = np.frombuffer(
                    imagecodecs.deflate_decode(os.pread(file.fileno(), place[1], place[0]), out=TILE * TILE * 3), np.uint8
                )
                imagecodecs.delta_decode(tile.reshape(TILE, TILE, 3), axis=-2)

            def encode(index: int) -> None:
                imagecodecs.deflate_encode(labels[index % len(labels)], level=DEFLATE_LEVEL)

            def work() -> None:
                for _ in range(2):
                    list(pool.map(decode, places))
                list(pool.map(encode, range(len(places))))

            return timed(work)


def streamgmm(*arguments: str, **environment: str) -> float:
    """Run the command as a whole process; return its wall seconds."""
    command = [sys.executable, "-m", "streamgmm", *arguments]
    return timed(lambda: subprocess.run(command, check=True, env={**os.environ, **environment}))


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def decoded(path: Path, most: int) -> list[bytes]:
    """Decode the first tiles of a Deflate TIFF."""
    with tifffile.TiffFile(path) as tiff, open(path, "rb") as file:
        page = tiff.pages.first
        places = list(zip(page.dataoffsets, page.databytecounts, strict=True))[:most]
        return [imagecodecs.deflate_decode(os.pread(file.fileno(), size, offset)) for offset, size in places]


def em_against_sklearn(bench: Bench) -> list[Row]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    from streamgmm.model.mixture import Mixture
    from streamgmm.model.statistics import accumulate

    pixels = tifffile.imread(PHOTO).reshape(-1, 3)
    pixels = np.resize(pixels, (bench.sizes.sklearn_pixels, 3))
    scaled = pixels / 255
    means = scaled[np.random.default_rng(0).choice(len(scaled), COMPONENTS, replace=False)]

    def iterate(iterations: int) -> GaussianMixture:
        model = GaussianMixture(
            COMPONENTS, max_iter=iterations, tol=0, means_init=means, init_params="random_from_data", random_state=0
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return model.fit(scaled)

    theirs = (timed(lambda: iterate(3)) - timed(lambda: iterate(1))) / 2
    model = iterate(1)
    mixture = Mixture(model.weights_, model.means_, model.covariances_)
    accumulate(pixels, mixture, threads=THREADS)
    ours = statistics.median(timed(lambda: accumulate(pixels, mixture, threads=THREADS)) for _ in range(9))
    ratio = theirs / ours
    what = f"one EM pass streaming {len(pixels) / 1e6:.1f} Mpx, K=16, 3 bands, full, against scikit-learn in float64"
    figure = f"{ratio:.0f} times faster ({len(pixels) / ours / 1e6:.0f} against {len(pixels) / theirs / 1e6:.2f} Mpx/s)"
    return [Row(what, figure, "at least 150", ratio >= 150)]


def main_job(bench: Bench) -> list[Row]:
    """The gigapixel against the floor, its EM passes, its memory, and how both grow."""
    sizes, rows = bench.sizes, []
    large, small = bench.image(sizes.large), bench.image(sizes.small)
    pairs = [(bench.quantize(large), bench.floor(large)) for _ in range(sizes.rounds)]
    ratio = statistics.median(run[0] / floor for run, floor in pairs)
    seconds = statistics.median(run[0] for run, _ in pairs)
    report = pairs[-1][0][1]
    figure = f"{ratio:.2f} times ({seconds:.1f} s; {report['iterations']} iterations, converged: {report['converged']})"
    rows.append(Row(f"quantize {mpx(sizes.large)}, whole process, against the floor", figure, "at most 2.0", ratio <= 2))
    em = statistics.median(run[1]["seconds"]["fit"] / run[1]["iterations"] for run, _ in pairs)
    colors = report["distinct_colors"]
    rows.append(Row(f"one EM pass over its {colors / 1e6:.1f} million distinct colors", f"{em:.3f} s", "under 0.5 s", em < 0.5))
    runs = [bench.quantize(small) for _ in range(max(3, sizes.rounds))]
    peaks = [max(run[1]["peak_memory_bytes"] for run in runs), max(run[0][1]["peak_memory_bytes"] for run in pairs)]
    figure = " to ".join(f"{peak / 2**20:.0f}" for peak in peaks) + " MiB"
    rows.append(
        Row(f"peak memory, {mpx(sizes.small)} to {mpx(sizes.large)}", figure, "at most 700 MiB", max(peaks) <= 700 * 2**20)
    )
    same = bench.image(sizes.middle if sizes.middle > sizes.small else 2 * sizes.small, period=sizes.small)
    grown = bench.quantize(same)[1]["peak_memory_bytes"] / statistics.median(run[1]["peak_memory_bytes"] for run in runs)
    rows.append(
        Row(
            "peak memory at four times the pixels of the same colors",
            f"{grown:.3f} times",
            "within 2 %",
            abs(grown - 1) <= 0.02,
        )
    )
    levels = statistics.median(bench.quantize(large, "--pyramid")[0] for _ in range(sizes.rounds)) / seconds
    rows.append(Row("the gigapixel with its reduced levels", f"{levels:.2f} times the time without", "none asked", None))
    growth = seconds / statistics.median(run[0] for run in runs)
    pixels = (sizes.large / sizes.small) ** 2
    what = f"time at {pixels:.0f} times the pixels ({mpx(sizes.small)} to {mpx(sizes.large)})"
    rows.append(Row(what, f"{growth:.1f} times", f"at most {pixels:.0f}", growth <= pixels))
    return rows


def peers(bench: Bench) -> list[Row]:
    """Other programs, at a small size and at the largest each manages in minutes, in turn with ours."""
    pillow = "import sys; from PIL import Image; Image.MAX_IMAGE_PIXELS = None; "
    pillow += "Image.open(sys.argv[1]).quantize(16, method=0).save(sys.argv[2], compression='tiff_adobe_deflate')"
    sizes, out = bench.sizes, bench.work / "peer.tif"
    programs = {
        "vips copy": (sizes.large, ["vips", "copy", "{}", f"{out}[tile,compression=deflate,bigtiff]"]),
        "rgb2pct.py -n 16": (sizes.large, ["rgb2pct.py", "-n", "16", "{}", str(out)]),
        "Pillow median cut": (sizes.middle, [sys.executable, "-c", pillow, "{}", str(out)]),
    }
    rows = []
    for name, (largest, command) in programs.items():
        if shutil.which(command[0]) is None:
            rows.append(Row(f"quantize against {name}", "skipped: not installed", "", None))
            continue
        for size in sorted({sizes.small, largest}):
            image = bench.image(size)
            filled = [argument.format(image) for argument in command]
            pairs = [
                (bench.quantize(image)[0], timed(lambda filled=filled: subprocess.run(filled, check=True, capture_output=True)))
                for _ in range(bench.sizes.rounds)
            ]
            out.unlink(missing_ok=True)
            ratio = statistics.median(ours / theirs for ours, theirs in pairs)
            ours, theirs = pairs[-1]
            figure = f"{ratio:.2f} times ({ours:.1f} to {theirs:.1f} s)"
            bar = "at most 0.5" if size == largest else "0.5 is asked at the largest size"
            rows.append(Row(f"quantize {mpx(size)} against {name}", figure, bar, ratio <= 0.5))
    return rows


def kinds(bench: Bench) -> list[Row]:
    """Every kind of file, against decoding all of it twice with bare imagecodecs."""
    size, rows = bench.sizes.small, []
    for name, kind in KINDS.items():
        path = bench.work / f"kind-{size}-{name.replace(' ', '-').replace(',', '')}.tif"
        if not path.exists():
            part = path.with_suffix(".part")
            write_kind(part, kind, bench.image(size))
            part.rename(path)
        pairs = []
        for _ in range(bench.sizes.rounds):
            run = bench.quantize(path, "--max-iter", "20")
            pairs.append((run, 2 * timed(lambda path=path, kind=kind: decode_all(path, kind))))
        ratio = statistics.median(run[0] / floor for run, floor in pairs)
        alone = statistics.median(sum(run[1]["seconds"].get(name, 0) for name in PASSES) / floor for run, floor in pairs)
        (seconds, report), floor = pairs[-1]
        n_passes = 2 if report["method"] == "exact" else report["iterations"] + 2
        figure = f"{ratio:.2f} times ({seconds:.1f} to {floor:.1f} s); its {n_passes} passes alone {alone:.2f} times"
        bar = "none asked" if kind.bar is None else f"at most {kind.bar}"
        rows.append(Row(f"{mpx(size)}, {name}", figure, bar, None if kind.bar is None else ratio <= kind.bar))
    return rows


def photo(bench: Bench) -> list[Row]:
    """A small photo, where imports and compiling are what takes the time."""
    cache = bench.work / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    empty = bench.quantize(PHOTO, STREAMGMM_CACHE_DIR=str(cache))[0]
    cached = statistics.median(bench.quantize(PHOTO, STREAMGMM_CACHE_DIR=str(cache))[0] for _ in range(5))
    return [
        Row("a 512 x 512 photo, whole process, kernels cached", f"{cached:.2f} s", "under 1.5 s", cached < 1.5),
        Row("the same with an empty cache", f"{empty:.1f} s", "under 20 s", empty < 20),
    ]


def what_comes_out(bench: Bench) -> list[Row]:
    """Pictures, likelihoods and minibatch EM against others, and the rates of the kernels."""
    sizes, out = bench.sizes, bench.work / "picture.tif"
    rows = [
        *quality.pictures(bench.photos, out, sizes.components),
        *quality.best_fit(sizes.components[0], sizes.sklearn_pixels),
        *quality.minibatch(sizes.field, out),
        *quality.rates(COMPONENTS, sizes.rounds),
        *quality.many(sizes.cube, sizes.cube_bands, out, THREADS),
    ]
    return [Row(*row) for row in rows]


def unattended(bench: Bench) -> list[Row]:
    """What it costs to be able to go on, and a folder of photos, also when there is nothing to do."""
    image = bench.image(bench.sizes.middle)
    able, unable = ["--no-pyramid"], ["--no-pyramid", "--no-resume"]
    pairs = [(bench.quantize(image, *able)[0], bench.quantize(image, *unable)[0]) for _ in range(bench.sizes.rounds)]
    cost = statistics.median(first / second for first, second in pairs)
    photos, flat = bench.work / "photos", bench.work / "flat"
    for folder in (photos, flat):
        shutil.rmtree(folder, ignore_errors=True)
    photos.mkdir()
    for i in range(bench.sizes.photos):
        shutil.copy(PHOTO, photos / f"{i}.tif")
    night, again = (streamgmm("batch", str(photos), "--out-dir", str(flat), "--skip-existing") for _ in range(2))
    what = f"quantize {mpx(bench.sizes.middle)} with checkpoints, against --no-resume"
    batch = f"a batch of {bench.sizes.photos} photos of 512 x 512"
    return [
        Row(what, f"{cost:.2f} times", "none asked", None),
        Row(batch, f"{night:.1f} s, {night / bench.sizes.photos:.2f} s each", "none asked", None),
        Row("the same batch again, where there is nothing to do", f"{again:.2f} s", "none asked", None),
    ]


def mpx(size: int) -> str:
    return f"{size * size / 2**20:,.0f} Mpx"


def machine() -> str:
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    names = ("streamgmm", "numba", "numpy", "tifffile", "imagecodecs", "scikit-learn", "pillow")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    return f"{THREADS} cores ({model}), Python {platform.python_version()}, {versions}."


def table(rows: list[Row]) -> str:
    return "\n".join(["| what | measured | bar | |", "|---|---|---|---|", *(row.markdown() for row in rows)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the images")
    parser.add_argument("--smoke", action="store_true", help="small sizes")
    parser.add_argument("--photos", type=Path, help="folder of photos")
    parser.add_argument("--readme", action="store_true", help="write the tables into README.md")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(arguments.work, SMOKE if arguments.smoke else FULL, arguments.photos)
    print(machine())
    rows = []
    for measure in (photo, what_comes_out, em_against_sklearn, main_job, kinds, unattended, peers):
        for row in measure(bench):
            print(row.markdown(), flush=True)
            rows.append(row)
    if arguments.readme:
        readme = ROOT / "README.md"
        before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        readme.write_text(f"{before}{BEGIN}\n{machine()}\n\n{table(rows)}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
