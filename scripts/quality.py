"""What comes out, against k-means and scikit-learn; and what the kernels take, against a matrix multiplication."""

import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import tifffile
from make_image import PHOTO
from threadpoolctl import threadpool_limits

import streamgmm
from streamgmm.image.tiles import Window
from streamgmm.model.mixture import Mixture
from streamgmm.model.statistics import accumulate

# Bars: decibels below k-means on average and at worst; nats below scikit-learn's best of three; the rate of the kernels as a
# share of that of a matrix multiplication, by bands.
MEAN_LOSS, WORST_LOSS, NATS = 1.3, 2.5, 0.001
RATES = {3: None, 4: None, 5: 0.5, 8: 0.5, 12: 0.5, 32: 0.6, 64: 0.6, 224: 0.6}


quantize = partial(streamgmm.quantize, overwrite=True)


def colors_of(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct colors of a picture as it is shown, in 0 to 255, and their counts."""
    image = streamgmm.open_image(path)
    height, width, _ = image.shape
    pixels = image.read(Window(0, 0, height, width)).pixels[..., :3].reshape(-1, 3)
    if pixels.dtype != np.uint8:
        low, high = np.quantile(pixels, [0.001, 0.999])
        pixels = ((pixels - low) / (high - low)).clip(0, 1) * 255
    return np.unique(pixels, axis=0, return_counts=True)


def k_means_psnr(colors: np.ndarray, counts: np.ndarray, n_components: int) -> float:
    """Return the decibels of weighted k-means on distinct colors, the better of two."""
    from sklearn.cluster import KMeans

    fit = KMeans(n_components, n_init=2, random_state=0).fit(colors.astype(np.float32), sample_weight=counts)
    return -10 * np.log10(fit.inertia_ / counts.sum() / 3 / 255**2)


def pictures(folder: Path | None, out: Path, components: tuple[int, ...]) -> Iterator[tuple[str, str, str, bool | None]]:
    """Compare the default with k-means on the colors of photos."""
    paths = sorted(folder.iterdir()) if folder else [PHOTO]
    tables = [colors_of(path) for path in paths]
    for n_components in components:
        losses, seconds = [], []
        for path, (colors, counts) in zip(paths, tables, strict=True):
            best = k_means_psnr(colors, counts, n_components)
            start = time.perf_counter()
            losses.append(best - quantize(path, out, n_components=n_components).psnr_db)
            seconds.append(time.perf_counter() - start)
        what = f"palettes of photos, K={n_components}, against weighted k-means on their colors"
        figure = f"{statistics.mean(losses):.2f} dB less on average, {max(losses):.2f} at worst, of {len(paths)}"
        figure += f"; {statistics.mean(seconds):.1f} s each"
        holds = statistics.mean(losses) <= MEAN_LOSS and max(losses) <= WORST_LOSS
        yield what, figure, f"at most {MEAN_LOSS} and {WORST_LOSS}", holds


def gained(pixels: np.ndarray, n_components: int, covariance_type: str) -> float:
    """Return the nats per pixel that a fit is above scikit-learn's best of three."""
    from sklearn.mixture import GaussianMixture

    given = {"n_components": n_components, "covariance_type": covariance_type}
    _, report = streamgmm.fit_image(pixels[None], preset="segment", **given)
    options = {"n_init": 3, "max_iter": 300, "tol": 1e-5, "random_state": 0, "reg_covar": report.ridge[0]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = GaussianMixture(**given, **options).fit(pixels / 255)
    return report.log_likelihood[-1] - theirs.score(pixels / 255)


def best_fit(n_components: int, most: int) -> Iterator[tuple[str, str, str, bool | None]]:
    """Compare the likelihood with that of scikit-learn's best of three, on a part of the photo."""
    pixels = tifffile.imread(PHOTO).reshape(-1, 3)
    pixels = np.ascontiguousarray(pixels[:: max(4, len(pixels) // most)])
    for covariance_type in ("full", "tied", "diag", "spherical"):
        gain = gained(pixels, n_components, covariance_type)
        what = f"log-likelihood, K={n_components}, {covariance_type}, against scikit-learn's best of three"
        yield what, f"{gain:+.4f} nats", f"at least -{NATS}", gain >= -NATS


def rates(n_components: int, rounds: int) -> Iterator[tuple[str, str, str, bool | None]]:
    """Measure the multiply-adds of EM on one core, as a share of those of single-precision matrix multiplication."""
    generator = np.random.default_rng(0)
    square = generator.random((1536, 1536), np.float32)
    with threadpool_limits(1):
        for n_bands, bar in RATES.items():
            n = max(1 << 12, (1 << 24) // (n_bands * n_bands))
            pixels = generator.integers(0, 65536, (n, n_bands), dtype=np.uint16)
            shape = generator.normal(0, 0.1, (n_bands, 2 * n_bands))
            means = generator.random((n_components, n_bands))
            mixture = Mixture.alike(means, shape @ shape.T + 0.1 * np.eye(n_bands), "full")
            work = {"ours": partial(accumulate, pixels, mixture), "theirs": partial(np.matmul, square, square)}
            seconds = fastest(work, rounds)
            ours = 4 * n * n_components * (n_bands * (n_bands + 1) // 2 + n_bands) / seconds["ours"]
            theirs = 2 * 1536**3 / seconds["theirs"]
            what = f"EM's multiply-adds on one core, K={n_components}, {n_bands} bands, against matrix multiplication"
            figure = f"{ours / theirs:.2f} times ({ours / 1e9:.0f} to {theirs / 1e9:.0f} GFlop/s)"
            yield (
                what,
                figure,
                "none asked" if bar is None else f"at least {bar}",
                None if bar is None else ours >= bar * theirs,
            )


def fastest(work: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the least seconds of each of some functions, run in turn, but for the first time."""
    seconds = dict.fromkeys(work, float("inf"))
    for call in work.values():
        call()
    for _ in range(rounds):
        for name, call in work.items():
            start = time.perf_counter()
            call()
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    return seconds


def many(side: int, n_bands: int, out: Path, threads: int) -> Iterator[tuple[str, str, str, bool | None]]:
    """Time a hyperspectral image against scikit-learn, and a photo in very many colors."""
    from sklearn.mixture import GaussianMixture

    generator = np.random.default_rng(0)
    materials, waves = generator.integers(0, 4, (side, side)), np.linspace(0, 6, n_bands)
    spectra = 0.5 + 0.3 * np.sin(waves + generator.uniform(0, 6, (4, 1)))
    cube = spectra[materials] + generator.normal(0, 0.02, (side, side, n_bands)) + generator.normal(0, 0.05, (side, side, 1))
    cube = (cube.clip(0, 1) * 20_000).astype(np.uint16)
    raw = cube.reshape(-1, n_bands) / 20_000
    seconds = fastest(
        {
            "ours": lambda: streamgmm.fit_image(cube, n_components=4, threads=threads),
            "theirs": lambda: GaussianMixture(4, random_state=0).fit(raw),
        },
        1,
    )
    ratio = seconds["ours"] / seconds["theirs"]
    what = f"fitting {side} x {side} pixels of {n_bands} bands, K=4, against scikit-learn"
    yield what, f"{ratio:.2f} times ({seconds['ours']:.1f} to {seconds['theirs']:.1f} s)", "at most 1", ratio <= 1
    spent = fastest({"": lambda: quantize(PHOTO, out, n_components=1024)}, 1)[""]
    yield "a 512 x 512 photo in 1,024 colors", f"{spent:.1f} s", "under 8 s", spent < 8


def minibatch(side: int, out: Path) -> Iterator[tuple[str, str, str, bool | None]]:
    """Compare minibatch EM with exact EM on a mosaic of 256 fields, each of another color."""
    generator = np.random.default_rng(4)
    fields = generator.integers(0, 250, (16, 16, 3), np.uint8).repeat(side, axis=0).repeat(side, axis=1)
    mosaic = fields + generator.integers(0, 4, fields.shape, np.uint8)
    exact, steps = (quantize(mosaic, out, n_components=64, method=method) for method in ("exact", "minibatch"))
    figure = f"{steps.psnr_db - exact.psnr_db:+.2f} dB, {steps.colors_used} of 64 colors, {steps.fraction_read:.0%} read"
    yield (
        "minibatch on a mosaic of 256 fields, K=64, against exact",
        figure,
        "at least -0.3 dB",
        steps.psnr_db > exact.psnr_db - 0.3,
    )
