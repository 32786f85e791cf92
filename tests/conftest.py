"""Images and mixtures that the tests share."""

import os
import shutil
import sys
from pathlib import Path

if "numba" not in sys.modules:  # four threads on any machine: Numba counts its processors once
    os.environ.setdefault("NUMBA_NUM_THREADS", "4")

import numpy as np
import pytest
import tifffile
from hypothesis import settings

from streamgmm.model.mixture import Mixture

# The same examples everywhere, however slow the machine is; nothing is kept, as the checkout may be read-only.
settings.register_profile("everywhere", database=None, derandomize=True, deadline=None)
settings.load_profile("everywhere")

PHOTO = Path(__file__).parent / "data" / "astronaut.tif"
SHARED = Path(__file__).parents[2] / "shared" / "data"


def shared_file(name: str) -> Path:
    """Path of a file in the collection beside the repository, for tests that are marked with ``collection``."""
    return SHARED / name


def pytest_collection_modifyitems(items):
    """Skip what needs the collection where there is none; what needs it and does not say so fails there."""
    if not SHARED.exists():
        for item in items:
            if item.get_closest_marker("collection"):
                item.add_marker(pytest.mark.skip(reason="the image collection is not beside the repository"))


def random_mixture(n_components, n_bands, covariance_type="full", seed=0):
    """Overlapping components, each wide in some directions and narrow in others."""
    rng = np.random.default_rng([seed, n_components, n_bands])
    factors = rng.normal(0, 0.12, (n_components, n_bands, 2 * n_bands)) / np.sqrt(2 * n_bands)
    full = factors @ factors.transpose(0, 2, 1) + 1e-3 * np.eye(n_bands)
    variances = np.diagonal(full, axis1=1, axis2=2)
    covariances = {
        "full": full,
        "tied": full.mean(axis=0),
        "diag": variances,
        "spherical": variances.mean(axis=1),
        "isotropic": variances.mean(),
    }
    weights = rng.dirichlet(np.full(n_components, 5.0))
    return Mixture(
        np.full(n_components, 1 / n_components) if covariance_type == "isotropic" else weights,
        rng.uniform(0.2, 0.8, (n_components, n_bands)),
        covariances[covariance_type],
        covariance_type,
    )


def random_pixels(mixture, n_pixels, dtype, seed=0):
    """Pixels drawn from a mixture, as samples of some type."""
    rng = np.random.default_rng([seed, n_pixels])
    of = rng.choice(mixture.n_components, n_pixels, p=mixture.weights)
    roots = np.linalg.cholesky(mixture.full_covariances)
    x = mixture.means[of] + (roots[of] @ rng.normal(size=(n_pixels, mixture.n_bands, 1)))[..., 0]
    return samples(np.clip(x, 0, 1), dtype)


def samples(x, dtype):
    """Colors in [0, 1] as samples of some type."""
    dtype = np.dtype(dtype)
    return np.rint(x * np.iinfo(dtype).max).astype(dtype) if dtype.kind == "u" else x.astype(dtype)


def colors(pixels):
    """Samples as colors in [0, 1], float64."""
    return pixels / (np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1)


def parts(mixture):
    """Return a mixture as tests/naive.py takes it."""
    return mixture.weights, mixture.means, mixture.covariances, mixture.covariance_type


@pytest.fixture
def folder(originals, tmp_path, monkeypatch):
    """A working folder with copies of what the module's ``originals`` holds."""
    shutil.copytree(originals, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def photo():
    """A photograph, shape (512, 512, 3), uint8."""
    return tifffile.imread(PHOTO)
