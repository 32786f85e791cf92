"""Which figures a page has, and what is said of them. It loads Matplotlib, which takes 0.3 s."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..model.display import Display
from ..model.mixture import Mixture
from . import figures
from .components import joined, points_of, projections
from .document import Drawing


@dataclass(frozen=True, eq=False)
class Components:
    """A mixture as it is drawn.

    Attributes
    ----------
    mixture : Mixture
    display : Display
    colors : list of str
        Of its components, ``#rrggbb``.
    step : float
        How far apart neighboring colors are.
    """

    mixture: Mixture
    display: Display
    colors: list[str]
    step: float

    @property
    def axes(self) -> np.ndarray:
        """Two projections, shape (D, 4)."""
        return joined(projections(self.mixture, self.display), self.mixture.n_bands)

    def of_table(self, colors: np.ndarray) -> list[Drawing]:
        """Draw them over the colors (n, D) of a table."""
        return self.over(points_of(colors, self.axes, self.mixture))

    def over(self, points: np.ndarray) -> list[Drawing]:
        """Draw them over distinct colors where these are in the two projections, shape (n, 4)."""
        mixture, planes = self.mixture, projections(self.mixture, self.display)
        kept = np.sort(mixture.order()[: figures.ELLIPSES])
        colors = [self.colors[number] for number in kept]
        which = "all components"
        if len(kept) < mixture.n_components:
            which = f"the {len(kept)} heaviest of {mixture.n_components:,} components"
        where = {"rgb": "0 to 1 of the range", "linear": "linear light", "lab": "Lab", "oklab": "Oklab"}
        over = f"over the histogram of distinct colors, {where[mixture.space.distances]}"
        if not planes:
            known, variances = points[:, 0], mixture.full_covariances[kept, 0, 0]
            svg = figures.density(known, mixture.weights[kept], mixture.means[kept, 0], variances, colors, self.step)
            return [Drawing("Components", svg, f"Densities of {which}, {over}", f"The densities of {which}, {over}.")]
        drawings = []
        for number, plane in enumerate(planes):
            means, covariances = plane.plane(mixture)
            known = points[:, 2 * number : 2 * number + 2]
            svg = figures.plane(plane, known, means[kept], covariances[kept], colors, self.step, f"plane{number}")
            alt = f"Ellipses of {which}, {over}: {plane.x} across, {plane.y} up"
            caption = f"Two standard deviations of {which}, {over}."
            drawings.append(Drawing(f"Components, {'from one side' if number == 0 else 'from another'}", svg, alt, caption))
        return drawings


def drawings_of_fit(log_likelihood: Sequence[float], rows: Sequence[dict] | None) -> list[Drawing]:
    """Draw what is known of a fit: the log-likelihood by iteration, and the error over the number of components."""
    drawings = []
    if len(log_likelihood) > 1:
        first, last = log_likelihood[0], log_likelihood[-1]
        alt = f"Log-likelihood by iteration: from {first:.4f} to {last:.4f} nats per pixel in {len(log_likelihood):,}."
        drawings.append(Drawing("Log-likelihood, nats per pixel", figures.likelihood(log_likelihood), alt))
    if rows:
        told = "; ".join(f"{row['n_components']}: {row['psnr_db']:.1f} dB" for row in rows if row.get("psnr_db") is not None)
        drawings.append(
            Drawing("Error over the number of components", figures.curve(rows), f"PSNR by number of components: {told}.")
        )
    return drawings
