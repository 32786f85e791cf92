"""Palettes of photos against those of other programs: what they lose, and how long they take.

Each program gets the same pictures as PNG files, 8 bits of red, green and blue, and writes a picture; ``compare`` tells
how far that is from the original. Nothing dithers, but rgb2pct.py, which cannot be told not to.
"""

import argparse
import math
import shutil
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError, features

import streamgmm

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- palettes -->", "<!-- end of palettes -->"
COMPONENTS = (16, 64, 256)
# What ours lose to weighted k-means at the most, in decibels.
LOSS = 0.05

Program = Callable[[Path, int, Path], None]


def ours(**options) -> Program:
    def quantize(path: Path, n_components: int, out: Path) -> None:
        streamgmm.quantize(path, out, n_components=n_components, overwrite=True, **options)

    return quantize


def pillow(method: Image.Quantize, kmeans: int = 0) -> Program:
    def quantize(path: Path, n_components: int, out: Path) -> None:
        Image.open(path).quantize(n_components, method, kmeans).save(out.with_suffix(".png"))

    return quantize


def command(*parts: str) -> Program:
    def quantize(path: Path, n_components: int, out: Path) -> None:
        names = {"in": path, "n": n_components, "png": out.with_suffix(".png"), "tif": out}
        subprocess.run([part.format(**names) for part in parts], check=True, capture_output=True)

    return quantize


def k_means(path: Path, n_components: int, out: Path) -> None:
    """Weighted k-means on the distinct colors, to convergence, the best of three."""
    from sklearn.cluster import KMeans

    pixels = np.asarray(Image.open(path))
    colors, of, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True, return_counts=True)
    fit = KMeans(n_components, n_init=3, tol=0, max_iter=1000, random_state=0).fit(colors / 255, sample_weight=counts)
    palette = np.rint(fit.cluster_centers_ * 255).astype(np.uint8)
    Image.fromarray(palette[fit.labels_[of.reshape(-1)]].reshape(pixels.shape)).save(out.with_suffix(".png"))


def programs() -> dict[str, Program]:
    """Return the programs that are there."""
    found: dict[str, Program] = {
        "**streamgmm --preset fidelity**": ours(preset="fidelity"),
        "streamgmm": ours(),
        "streamgmm --preset segment": ours(preset="segment"),
        "streamgmm --space linear": ours(space="linear"),
        "streamgmm --space lab": ours(space="lab"),
        "streamgmm --space oklab": ours(space="oklab"),
        "scikit-learn KMeans on the distinct colors, best of 3": k_means,
        "Pillow, median cut": pillow(Image.Quantize.MEDIANCUT),
        "Pillow, median cut and k-means": pillow(Image.Quantize.MEDIANCUT, 1),
        "Pillow, maximum coverage and k-means": pillow(Image.Quantize.MAXCOVERAGE, 1),
        "Pillow, octree": pillow(Image.Quantize.FASTOCTREE),
    }
    if features.check("libimagequant"):
        found["Pillow, libimagequant"] = pillow(Image.Quantize.LIBIMAGEQUANT)
    commands = {
        "pngquant --nofs --speed 1": ("pngquant", "--nofs", "--speed", "1", "--force", "-o", "{png}", "{n}", "{in}"),
        "ImageMagick -dither None": ("convert", "{in}", "-dither", "None", "-colors", "{n}", "{png}"),
        "rgb2pct.py (dithers)": ("rgb2pct.py", "-n", "{n}", "{in}", "{tif}"),
    }
    return found | {name: command(*parts) for name, parts in commands.items() if shutil.which(parts[0])}


def pictures(folder: Path, work: Path) -> list[Path]:
    """Write what Pillow can read of a folder as PNG, 8 bits of red, green and blue."""
    paths = []
    for path in sorted(folder.iterdir()):
        try:
            picture = Image.open(path).convert("RGB")
        except UnidentifiedImageError:
            print(f"{path.name} is left out: Pillow does not read it", file=sys.stderr)
            continue
        picture.save(work / f"{path.stem}.png")
        paths.append(work / f"{path.stem}.png")
    return paths


def measured(program: Program, path: Path, n_components: int, out: Path) -> tuple[float, float, float]:
    """Return PSNR in dB, mean Delta E 2000, and seconds."""
    for suffix in (".tif", ".png"):
        out.with_suffix(suffix).unlink(missing_ok=True)
    start = time.perf_counter()
    program(path, n_components, out)
    seconds = time.perf_counter() - start
    written = out if out.exists() else out.with_suffix(".png")
    found = streamgmm.compare(path, written)
    return found.psnr_db or math.inf, found.delta_e_2000, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder of photos")
    parser.add_argument("--work", type=Path, required=True, help="folder for what is written")
    parser.add_argument("--components", type=int, nargs="+", default=COMPONENTS)
    parser.add_argument("--readme", action="store_true", help="write the table into README.md")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    paths, found, out = pictures(arguments.photos, arguments.work), programs(), arguments.work / "out.tif"
    heads = [f"K = {n} | |" for n in arguments.components]
    lines = [f"| decibels, Delta E, seconds a picture | {' | '.join(head.rstrip(' |') for head in heads)} |"]
    lines.append("|---" * (1 + len(heads)) + "|")
    figures = {}
    for name, program in found.items():
        program(paths[0], 2, out)  # what is compiled or imported is not timed
        cells = []
        for n in arguments.components:
            figures[name, n] = [measured(program, path, n, out) for path in paths]
            psnr, delta_e, seconds = map(statistics.mean, zip(*figures[name, n], strict=True))
            cells.append(f"{psnr:.2f}, {delta_e:.2f}, {seconds:.2f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    best, oracle = "**streamgmm --preset fidelity**", "scikit-learn KMeans on the distinct colors, best of 3"
    worst = {
        n: max(theirs[0] - mine[0] for mine, theirs in zip(figures[best, n], figures[oracle, n], strict=True))
        for n in arguments.components
    }
    losses = ", ".join(f"{loss:.3f} dB at {n} colors" for n, loss in worst.items())
    missed = "" if max(worst.values()) <= LOSS else f", which misses the bar of {LOSS} dB"
    lines += [
        "",
        f"Of {len(paths)} pictures, the one where fidelity is farthest below k-means loses {losses}{missed}.",
    ]
    print("\n".join(lines))
    if arguments.readme:
        readme = ROOT / "README.md"
        before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
        text = "\n".join(lines)
        readme.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
