"""Noise that grows with the signal, made even: the generalised Anscombe transform.

Of a signal x with variance gain * x + offset^2 it makes one whose noise has the same level
everywhere; a filter for white noise can then work on it. What comes back is the mean of the
signal, not the inverse of the transformed mean, which would be biased in the dark.

M. Mäkitalo, A. Foi, "Optimal inversion of the generalized Anscombe transformation for
Poisson-Gaussian noise", TIP 2013, doi:10.1109/TIP.2012.2202675.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]
ROOT = np.sqrt(1.5)
PART = 1 << 18
"""Samples that are transformed at a time."""


@dataclass(frozen=True)
class Anscombe:
    """The transform for noise of variance gain * x + offset^2.

    Attributes
    ----------
    gain, offset : float
        Fractions of full scale; the gain is above 0.
    """

    gain: float
    offset: float

    @property
    def scale(self) -> float:
        """What brings the transformed picture of 0..1 back to about 0..1."""
        return 1 / float(self._root(np.ones(1))[0])

    @property
    def sigma(self) -> float:
        """Level of the noise in the transformed picture."""
        return self.scale

    def _root(self, x: NDArray[np.floating]) -> NDArray[np.floating]:
        """The transform in units of its own noise."""
        photons = np.maximum(x / self.gain + 3 / 8 + (self.offset / self.gain) ** 2, 0)
        return np.asarray(2 * np.sqrt(photons))

    def forward(self, x: Picture) -> Picture:
        """A picture with noise of level `sigma` everywhere."""
        return _by_parts(lambda part: self._root(part) * self.scale, x)

    def inverse(self, y: Picture) -> Picture:
        """The mean of the signal whose transform has the mean `y`."""
        return _by_parts(self._mean, y)

    def _mean(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        d = np.maximum(y / self.scale, 1e-3)
        photons = d**2 / 4 + ROOT / (4 * d) - 11 / (8 * d**2) + 5 * ROOT / (8 * d**3) - 1 / 8
        photons -= (self.offset / self.gain) ** 2
        lowest = -((self.offset / self.gain) ** 2) if self.offset > 0 else 0.0
        photons = np.where(d < 2 * np.sqrt(3 / 8), lowest, photons)
        return np.asarray(photons * self.gain)


def _by_parts(
    step: Callable[[NDArray[np.float64]], NDArray[np.floating]], picture: Picture
) -> Picture:
    """What a function of single samples makes of them, never many in float64 at once."""
    samples = picture.reshape(-1)
    done = np.empty(samples.shape, np.float32)
    for start in range(0, len(samples), PART):
        part = slice(start, start + PART)
        done[part] = step(samples[part].astype(np.float64))
    return done.reshape(picture.shape)
