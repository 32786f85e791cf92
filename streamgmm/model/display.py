"""How samples are shown in 8 bits: which bands, and which samples are black and white."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from .mixture import Mixture
from .space import PEAK, SampleSpace

# The most that is shown.
WHITE = 255.0
# Integers are shown by their type where they use this share of its range, as photos do: the palette of a photo in 16 bits is
# that in 8. Narrower ones would be nearly black, or four grays.
USED = 1 / 3
# How much longer the range may get, as a share of it, so that colors of rare pixels stay apart. Farther ones are clipped.
MORE = 1 / 2
# Ends of a scale of floats: what float32 can hold of it with room for its square, and float64 with room for its colors.
LEAST, MOST, HUGE = 1e-15, 1e15, 1e150


class Scale(NamedTuple):
    """How kernels bring samples to what is shown: of each channel, as constants to the compiler, three numbers of float32."""

    bands: tuple[int, ...]
    black: tuple[np.float32, ...]  # the sample that is shown as 0
    white: tuple[np.float32, ...]  # how far above it that is which is shown as 255
    gain: tuple[np.float32, ...]  # levels to a sample


@dataclass(frozen=True)
class Display:
    """One range of samples for all bands that are shown, so that their balance is kept.

    Attributes
    ----------
    space : SampleSpace
        Of the colors that are shown.
    bands : tuple of int
        The bands shown as red, green and blue, from 0: three, alike where one is shown as gray.
    low, high : float
        What is shown as 0 and as 255: 16-bit samples of integers, and floats as they are stored.
    units : (gain, zero)
        What stored samples of the image are among these: ``gain * stored + zero``.
    """

    space: SampleSpace
    bands: tuple[int, ...]
    low: float
    high: float
    units: tuple[float, float] = (1.0, 0.0)

    @classmethod
    def of(
        cls,
        mixture: Mixture,
        bands: tuple[int, ...] | None = None,
        shown: str | tuple[float, float] = "auto",
        units: tuple[float, float] | None = None,
    ) -> "Display":
        """Decide how the colors of a mixture are shown.

        Parameters
        ----------
        mixture : Mixture
        bands : tuple of int, optional
            Three, or one that is shown as gray; by default the first three, or the first of fewer.
        shown : {"auto", "type"} or (low, high)
            ``auto`` is by type where the ranges of the shown bands reach over much of it, and else from the lowest to the
            highest of them; ``type`` is for integers alone; or stored samples.
        units : (gain, zero), optional
            Those of the image; by default those of the mixture.
        """
        space = mixture.space
        bands = bands or ((0, 1, 2) if mixture.n_bands >= 3 else (0,))
        bands = bands if len(bands) == 3 else bands * 3
        gain, zero = (1.0, 0.0) if space.floating else units or space.units or (1.0, 0.0)
        if not isinstance(shown, str):
            low, high = (float(end) * gain + zero for end in shown)
            return cls(space, bands, low, high, (gain, zero))
        low, high = _ends(space, bands)
        by_type = shown == "type" or high == low or (high - low) / PEAK >= USED
        if by_type and not space.floating:
            return cls(space, bands, 0.0, float(PEAK), (gain, zero))
        return cls(space, bands, low, high, (gain, zero))._with_room(mixture.colors)

    def _with_room(self, colors: np.ndarray) -> "Display":
        """Return the range with room for those colors that lie outside of it, but not far off."""
        shown = self._shown(colors) / WHITE
        below, above = shown[(shown < 0) & (shown >= -MORE)], shown[(shown > 1) & (shown <= 1 + MORE)]
        half = self.high / 2 - self.low / 2
        with np.errstate(over="ignore"):  # a range may be all that floats hold
            low = self.low + half * (2 * below.min(initial=0.0))
            high = self.low + half * (2 * above.max()) if len(above) else self.high
        return replace(self, low=float(low), high=float(high)) if np.isfinite([low, high]).all() else self

    @property
    def by_type(self) -> bool:
        """Whether the range is that of the samples' type: nothing is stretched."""
        return not self.space.floating and (self.low, self.high) == (0, PEAK)

    @property
    def range(self) -> tuple[float, float]:
        """The range in stored samples."""
        gain, zero = self.units
        return float((self.low - zero) / gain), float((self.high - zero) / gain)

    @property
    def gray(self) -> bool:
        """Whether one band is shown as gray."""
        return len(set(self.bands)) == 1

    def shows_all(self, n_bands: int) -> bool:
        """Whether every band is shown."""
        return set(self.bands) == set(range(n_bands))

    def levels(self, colors: np.ndarray) -> np.ndarray:
        """Return colors (K, D) in [0, 1] as they are shown, in [0, 255], not rounded: shape (K, 3)."""
        return np.clip(self._shown(colors), 0, WHITE)

    def scale(self, dtype: np.dtype) -> Scale:
        """Return how samples, as kernels take them, are shown."""
        if self.space.floating:
            low, length, whole = self._halves()
            with np.errstate(over="ignore"):
                black, step = (self.low / 2 - low) / length, whole / length / WHITE
        else:
            peak = float(np.iinfo(dtype).max) if dtype.kind == "u" else 1.0  # 8-bit 255 is 16-bit 65,535
            black = np.full(len(self.bands), self.low * peak / PEAK)
            step = np.full(len(self.bands), (self.high - self.low or 1.0) * peak / PEAK / WHITE)
        black, step = black.clip(-MOST, MOST).astype(np.float32), step.clip(LEAST, MOST).astype(np.float32)
        return Scale(self.bands, tuple(black), tuple(np.float32(WHITE) * step), tuple(1 / step))

    def _shown(self, colors: np.ndarray) -> np.ndarray:
        """Return colors (K, D) in [0, 1] as they are shown, not clipped."""
        bands = list(self.bands)
        if self.space.floating:
            low, length, whole = self._halves()
            with np.errstate(over="ignore"):
                gain, offset = length / whole, (low - self.low / 2) / whole
            gain, offset = np.minimum(gain, HUGE), offset.clip(-HUGE, HUGE)
        else:
            scale, zero = (np.broadcast_to(ends(np.uint16), colors.shape[1]) for ends in (self.space.scale, self.space.zero))
            whole = self.high - self.low or 1.0
            gain, offset = scale[bands] / whole, (zero[bands] - self.low) / whole
        return WHITE * gain * colors[:, bands] + WHITE * offset

    def _halves(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Return half of what floats are 0, half of how far it is to 1, and of how far it is from black to white.

        They are halves because a range may be more than a float holds.
        """
        low, high = np.asarray(self.space.range)[list(self.bands)].T / 2
        return low, np.where(high > low, high - low, 1.0), self.high / 2 - self.low / 2 or 1.0


def _ends(space: SampleSpace, bands: tuple[int, ...]) -> tuple[float, float]:
    """Return the lowest and the highest end of the ranges of bands: 16-bit samples of integers, floats as they are stored."""
    if space.range is None:
        return 0.0, float(PEAK)
    gain, zero = (1.0, 0.0) if space.floating else space.units or (1.0, 0.0)
    low, high = np.asarray(space.range)[list(bands)].T
    return float(low.min()) * gain + zero, float(high.max()) * gain + zero
