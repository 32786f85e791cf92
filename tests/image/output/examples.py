"""Images of labels of every kind that is written, with their specs, and spools that hold them."""

import numpy as np

from streamgmm.image.output.codec import encode_tile
from streamgmm.image.output.pyramid import covered, reduced_tile
from streamgmm.image.output.spec import ImageSpec
from streamgmm.image.output.spool import Spool

KINDS = {
    "1 bit": {"n_colors": 2, "bits": 1},
    "2 bits": {"n_colors": 4, "bits": 2},
    "4 bits": {"n_colors": 16, "bits": 4},
    "8 bits": {"n_colors": 200},
    "16 bits": {"n_colors": 300},
    "1 bit, masked": {"n_colors": 1, "bits": 1, "nodata": 1},
    "4 bits, masked": {"n_colors": 9, "bits": 4, "nodata": 9},
    "8 bits, masked": {"n_colors": 255, "nodata": 255},
    "16 bits, masked": {"n_colors": 65_535, "nodata": 65_535},
    "labels": {"n_colors": 200, "form": "labels", "palette": None},
    "labels, 2 bits, masked": {"n_colors": 3, "bits": 2, "form": "labels", "palette": None, "nodata": 3},
    "labels, 16 bits, masked": {"n_colors": 300, "form": "labels", "palette": None, "nodata": 300},
    "rgb": {"n_colors": 200, "form": "rgb"},
    "rgb of 16-bit labels": {"n_colors": 300, "form": "rgb"},
    "rgb, masked": {"n_colors": 200, "form": "rgb", "nodata": 200},
}


def spec_of(labels, n_colors=7, **options):
    """A spec for labels, with a palette of some random colors."""
    palette = np.random.default_rng(n_colors).integers(0, 256, (n_colors, 3)).astype(np.uint8)
    return ImageSpec(labels.shape, **{"tile": (32, 48), "dtype": labels.dtype, "palette": palette} | options)


def random_labels(height, width, n_colors=7):
    """Labels in patches, so that reduced levels are not all chance."""
    dtype = np.uint8 if n_colors <= 256 else np.uint16
    patches = np.random.default_rng(0).integers(0, n_colors, (-(-height // 3), -(-width // 3))).astype(dtype)
    return patches.repeat(3, axis=0).repeat(3, axis=1)[:height, :width]


def image_of(kind, height=100, width=131, **options):
    """Labels of a kind, some masked where it says so, and their spec."""
    options = KINDS[kind] | options
    labels = random_labels(height, width, options["n_colors"])
    if "nodata" in options:
        labels[height // 5 : height // 2, width // 4 : width // 2] = options["nodata"]
    return labels, spec_of(labels, **options)


def colors_of(labels, spec):
    """What form "rgb" shows, pixel by pixel."""
    alpha = [] if spec.nodata is None else [255]
    table = [[*color, *alpha] for color in spec.palette.tolist()] + [[0, 0, 0, 0]] * bool(alpha)
    return np.array([[table[label] for label in row] for row in labels.tolist()], np.uint8)


def spooled(folder, *images, backwards=False):
    """A spool with the tiles of all levels of images, each given as labels and spec."""
    spool = Spool(folder, sum(spec.n_tiles for _, spec in images))
    first = 0
    for labels, spec in images:
        tiles = list(enumerate(spec.grids[0]))
        for index, window in reversed(tiles) if backwards else tiles:
            spool.put(first + index, encode_tile(labels[window.slices], spec))
        for level in range(1, spec.n_levels):
            below, first = first, first + len(spec.grids[level - 1])
            for index in range(len(spec.grids[level])):
                tiles = spool.tiles([below + number for number in covered(spec, level, index)])
                spool.put(first + index, reduced_tile(spec, level, index, tiles))
        first += len(spec.grids[-1])
    return spool
