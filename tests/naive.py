"""The slow, obvious twin of everything in streamgmm.model: the definitions in float64, with NumPy and nothing else.

A ``model`` is a tuple (weights, means, covariances, covariance_type) in scikit-learn's shapes; ``x`` are colors (n, D) and
``w`` how often each counts.
"""

import numpy as np


def matrices(model):
    _, means, covariances, covariance_type = model
    n_components, n_bands = means.shape
    if covariance_type == "full":
        return [covariances[k] for k in range(n_components)]
    if covariance_type == "tied":
        return [covariances for _ in range(n_components)]
    if covariance_type == "diag":
        return [np.diag(covariances[k]) for k in range(n_components)]
    return [np.broadcast_to(covariances, n_components)[k] * np.eye(n_bands) for k in range(n_components)]


def log_densities(x, model):
    """Logarithm of weight times density, shape (n, K)."""
    weights, means, _, _ = model
    logp = np.empty((len(x), len(weights)))
    for k, covariance in enumerate(matrices(model)):
        d = x - means[k]
        distance = (d * np.linalg.solve(covariance, d.T).T).sum(axis=1)
        _, log_det = np.linalg.slogdet(2 * np.pi * covariance)
        with np.errstate(divide="ignore"):
            logp[:, k] = np.log(weights[k]) - (log_det + distance) / 2
    return logp


def log_sum_exp(logp):
    top = logp.max(axis=1)
    return top + np.log(np.exp(logp - top[:, None]).sum(axis=1))


def responsibilities(x, model):
    logp = log_densities(x, model)
    return np.exp(logp - log_sum_exp(logp)[:, None])


def labels(x, model):
    return log_densities(x, model).argmax(axis=1)


def log_likelihood(x, model, w=None):
    return (ones_like(x, w) * log_sum_exp(log_densities(x, model))).sum()


def statistics(x, model, w=None, origin=None):
    """Sums of r, r d and r d d^T about an origin, the means by default, and the log-likelihood."""
    r = responsibilities(x, model) * ones_like(x, w)[:, None]
    n_components, n_bands = model[1].shape
    origin = model[1] if origin is None else origin
    first, second = np.empty((n_components, n_bands)), np.empty((n_components, n_bands, n_bands))
    for k in range(n_components):
        d = x - origin[k]
        first[k] = r[:, k] @ d
        second[k] = (r[:, k, None] * d).T @ d
    return r.sum(axis=0), first, second, log_likelihood(x, model, w)


def magnitudes(x, model, w=None, origin=None):
    """The sums of :func:`statistics` over absolute values: what their rounding errors are relative to."""
    r = responsibilities(x, model) * ones_like(x, w)[:, None]
    origin = model[1] if origin is None else origin
    d = [np.abs(x - mean) for mean in origin]
    first = np.array([r[:, k] @ d[k] for k in range(len(d))])
    second = np.array([(r[:, k, None] * d[k]).T @ d[k] for k in range(len(d))])
    return r.sum(axis=0), first, second


def maximization(x, r, covariance_type, reg_covar):
    """Means and covariances weighted by responsibilities (n, K), with a ridge."""
    n = r.sum(axis=0)
    means = r.T @ x / n[:, None]
    scatter = np.array([(r[:, k, None] * (x - means[k])).T @ (x - means[k]) for k in range(len(n))])
    ridge = reg_covar * np.eye(x.shape[1])
    covariances = {
        "full": scatter / n[:, None, None] + ridge,
        "tied": scatter.sum(axis=0) / n.sum() + ridge,
        "diag": np.array([np.diag(scatter[k] / n[k] + ridge) for k in range(len(n))]),
        "spherical": np.array([np.trace(scatter[k] / n[k] + ridge) / x.shape[1] for k in range(len(n))]),
        "isotropic": np.trace(scatter.sum(axis=0) / n.sum() + ridge) / x.shape[1],
    }[covariance_type]
    weights = np.full(len(n), 1 / len(n)) if covariance_type == "isotropic" else n / n.sum()
    return weights, means, covariances, covariance_type


def expectation_maximization(x, model, n_iter, reg_covar, w=None):
    """Mean log-likelihood at the start of each of some iterations, and the model after them."""
    w = ones_like(x, w)
    history = []
    for _ in range(n_iter):
        logp = log_densities(x, model)
        logs = log_sum_exp(logp)
        history.append((w * logs).sum() / w.sum())
        model = maximization(x, np.exp(logp - logs[:, None]) * w[:, None], model[3], reg_covar)
    return history, model


def ones_like(x, w):
    return np.ones(len(x)) if w is None else np.asarray(w, np.float64)


def count_colors(pixels, w=None):
    """How often each color occurs, as a dictionary from tuples."""
    counts = {}
    for color, weight in zip(pixels.reshape(-1, pixels.shape[-1]).tolist(), ones_like(pixels, w), strict=True):
        counts[tuple(color)] = counts.get(tuple(color), 0) + weight
    return counts


def lookup(pixels, table):
    """Label of each pixel, from a dictionary of labels."""
    return np.array([table[tuple(color)] for color in pixels.tolist()])


def tally(pixels, labels, palette, w=None):
    """Weighted sum of squared distances of pixels to the colors of their labels, and the weight of each label."""
    w = ones_like(pixels, w)
    used = np.zeros(len(palette))
    error = 0.0
    for pixel, label, weight in zip(pixels.astype(np.float64), labels, w, strict=True):
        error += weight * ((pixel - palette[label]) ** 2).sum()
        used[label] += weight
    return error, used


def shown(samples, low, high):
    """Samples as they are shown: from 0 at low to 255 at high, clipped, not rounded."""
    return np.clip((np.asarray(samples, np.float64) - low) / (high - low) * 255, 0, 255)


def distinct(levels, weights, gray):
    """Colors rounded; what a heavier one has already becomes the nearest that is free, in gray its neighbors in gray first."""
    order = sorted(range(len(levels)), key=lambda k: -weights[k])
    colors = [tuple(int(np.rint(level)) for level in color) for color in levels]
    sides = [tuple(1 if x >= c else -1 for x, c in zip(*pair, strict=True)) for pair in zip(levels, colors, strict=True)]
    taken, waiting = set(), []
    for k in order:
        (waiting if colors[k] in taken else taken.add(colors[k]) or []).append(k)
    while waiting:
        color, side = colors[waiting[0]], sides[waiting[0]]
        alike = [k for k in waiting if (colors[k], sides[k]) == (color, side)]
        waiting = [k for k in waiting if k not in alike]
        for k, step in zip(alike, steps_to_free(color, side, taken, gray), strict=False):
            colors[k] = tuple(c + s * x for c, s, x in zip(color, side, step, strict=True))
            taken.add(colors[k])
    return np.array(colors, np.uint8)


def steps_to_free(color, side, taken, gray, reach=8):
    """Steps to colors that are free, nearest first, then of the least change of light, then forward."""
    line = range(-reach, reach + 1)
    steps = [(r, g, b) for r in line for g in line for b in line]
    there = [tuple(c + s * x for c, s, x in zip(color, side, step, strict=True)) for step in steps]
    free = [s for s, c in zip(steps, there, strict=True) if c not in taken and min(c) >= 0 and max(c) <= 255]

    def key(step):
        r, g, b = step
        near = 0 if gray and step in ((1, 1, 1), (-1, -1, -1)) else r * r + g * g + b * b
        return near, round(abs(0.299 * r + 0.587 * g + 0.114 * b), 9), -(r + g + b)

    return sorted((step for step in free if key(step)[0] <= reach**2), key=key)


def nearest(colors, mean, distances):
    """The lesser of each color's distance and its squared distance from a mean."""
    squares = ((colors.astype(np.float64) - mean) ** 2).sum(axis=1)
    return np.minimum(distances, squares)


def interleaved(color):
    """The code of an 8-bit color: the bits of its bands in turn, the first band's in the lowest place."""
    code = ""
    for bit in reversed(range(8)):
        for value in reversed(color):
            code += str(value >> bit & 1)
    return int(code, 2)


def linear(levels):
    """Linear light of colors (n, D) in [0, 1], sRGB as in IEC 61966-2-1."""
    return np.array([[v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in color] for color in levels])


def oklab(levels):
    """Oklab of colors (n, 3) in [0, 1]: Ottosson 2020, from linear sRGB."""
    light = linear(levels)
    to_cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    to_oklab = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return np.cbrt(light @ to_cones.T) @ to_oklab.T


def lab(levels):
    """CIE Lab under D65 of colors (n, 3) in [0, 1], sRGB."""
    light = linear(levels)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    ratios = light @ to_xyz.T / to_xyz.sum(axis=1)
    x, y, z = np.array([[t ** (1 / 3) if t > 216 / 24389 else (24389 / 27 * t + 16) / 116 for t in row] for row in ratios]).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


def similarities(one, other, valid):
    """SSIM of each window of 11 x 11 pixels, of images (height, width) in [0, 1], that has no masked pixel."""
    distance = np.arange(-5, 6)
    weights = np.exp(-(distance[:, None] ** 2 + distance**2) / (2 * 1.5**2))
    weights /= weights.sum()
    found = []
    for i in range(one.shape[0] - 10):
        for j in range(one.shape[1] - 10):
            window = slice(i, i + 11), slice(j, j + 11)
            if not valid[window].all():
                continue
            x, y = one[window], other[window]
            mx, my = (weights * x).sum(), (weights * y).sum()
            vx, vy, xy = ((weights * p).sum() for p in ((x - mx) ** 2, (y - my) ** 2, (x - mx) * (y - my)))
            found.append((2 * mx * my + 1e-4) * (2 * xy + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4)))
    return np.array(found)


def blended(x, palette, part):
    """The mean of a blend of colors (K, 3) for x (3,), its cost, and the shares (K,): the best of all of up to four colors."""
    best = np.inf, None, None
    for chosen in sorted({tuple(sorted(set(some))) for some in np.ndindex(*[len(palette)] * 4)}):
        n, colors = len(chosen), palette[list(chosen)] - x
        squares = (colors**2).sum(axis=1)
        # (1 - part) |w c|^2 + part w |c|^2 is least, where sum w = 1: the derivatives are all alike
        equations = np.block([[2 * (1 - part) * colors @ colors.T, np.ones((n, 1))], [np.ones((1, n)), np.zeros((1, 1))]])
        w = np.linalg.lstsq(equations, np.append(-part * squares, 1), rcond=None)[0][:n]
        cost = (1 - part) * ((w @ colors) ** 2).sum() + part * (w @ squares)
        if abs(w.sum() - 1) < 1e-6 and w.min() > -1e-9 and cost < best[0] - 1e-9:
            shares = np.zeros(len(palette))
            shares[list(chosen)] = w
            best = cost, shares @ palette, shares
    return best[1], best[0], best[2]


def halved(colors, valid):
    """Means of every 2 x 2 pixels (two or one at an edge) that are valid, and whether these are half of them at least."""
    height, width = -(-colors.shape[0] // 2), -(-colors.shape[1] // 2)
    means, there = np.zeros((height, width, 3)), np.zeros((height, width), bool)
    for row in range(height):
        for column in range(width):
            part = np.s_[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            there[row, column] = 2 * valid[part].sum() >= valid[part].size
            if valid[part].any():
                means[row, column] = colors[part][valid[part]].mean(axis=0)
    return means, there
