"""How the level depends on the intensity: a curve, and the line of Poisson-Gaussian noise in it.

After A. Foi et al., "Practical Poissonian-Gaussian noise modeling and fitting for single-image
raw-data", TIP 2008, doi:10.1109/TIP.2008.2001399: the variance is a line in the intensity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nlm.noise.correlated import Floors, unevenness
from nlm.noise.patches import FINEST, MIDDLE, PatchEnergies
from nlm.noise.white import LEAST_RESPONSE, clip_response

__all__ = ["VarianceLine", "fit_line", "noise_curve"]

LEAST_RANGES = 6
LEAST_PATCHES = 1600
MOST_UNEVEN = 0.04
"""Growth of the finest scale towards less flat patches, as log, beyond which it is texture."""
LEAST_CONTRAST = 2.0
"""Variance at the bright end over that at the dark end from which on noise counts as Poisson."""
LEAST_EXPLAINED = 0.85
"""Part of the variation between intensities that the line has to explain."""


@dataclass(frozen=True)
class VarianceLine:
    """Variance of the noise at intensity x: gain * x + offset**2, all as fractions of full scale.

    Noise made of Poisson(x / gain) * gain and a Gaussian part of level `offset`.
    """

    gain: float
    offset: float

    def variance(self, intensity: NDArray[np.floating]) -> NDArray[np.float64]:
        return self.gain * np.maximum(np.asarray(intensity, np.float64), 0) + self.offset**2


def noise_curve(floors: Floors, correlated: bool) -> tuple[tuple[float, float], ...]:
    """Level of the noise per range of intensity, at the scale where the noise lives.

    Parameters
    ----------
    floors : Floors
    correlated : bool
        Whether that is the middle scale rather than the finest.

    Returns
    -------
    tuple of (intensity, sigma)
        Rising in intensity; of the first channel (luma, in colour pictures).
    """
    sigma = np.sqrt(floors.flattest[:, 0, MIDDLE if correlated else FINEST])
    return tuple(zip(floors.intensity.tolist(), sigma.tolist(), strict=True))


def fit_line(patches: PatchEnergies, floors: Floors, sigma: float) -> VarianceLine | None:
    """Fit the line of Poisson-Gaussian noise to the finest scale.

    Parameters
    ----------
    patches : PatchEnergies
    floors : Floors
        Of the same patches.
    sigma : float
        The white level, which tells where clipping bends the curve.

    Returns
    -------
    VarianceLine or None
        None unless the variance clearly rises along a line: noise that is equal everywhere,
        texture and tone curves give none.
    """
    if patches.count < LEAST_PATCHES or unevenness(floors)[FINEST] > MOST_UNEVEN:
        return None
    intensity = floors.intensity
    response = np.interp(intensity, *_sorted(patches.intensity, clip_response(patches, sigma)))
    usable = response > LEAST_RESPONSE
    if np.count_nonzero(usable) < LEAST_RANGES:
        return None
    x, variance = intensity[usable], floors.flattest[usable, 0, FINEST] / response[usable]
    gain, constant = _weighted_line(x, variance)
    if gain <= 0 or np.ptp(x) == 0:
        return None
    line = VarianceLine(gain, math.sqrt(constant))
    fitted = line.variance(x)
    residual = np.sum(np.square((variance - fitted) / fitted))
    total = np.sum(np.square((variance - variance.mean()) / fitted))
    contrast = fitted[-1] / max(fitted[0], 1e-12)
    if contrast < LEAST_CONTRAST or residual > (1 - LEAST_EXPLAINED) * total:
        return None
    return line


def _weighted_line(x: NDArray[np.float64], variance: NDArray[np.float64]) -> tuple[float, float]:
    """Slope and intercept, errors being proportional to the variance itself."""
    weight = 1 / np.maximum(variance, 1e-12)
    matrix = np.stack([x, np.ones_like(x)], axis=1) * weight[:, None]
    (slope, intercept), *_ = np.linalg.lstsq(matrix, variance * weight, rcond=None)
    if intercept < 0:
        return float(np.mean(variance / x)), 0.0
    return float(slope), float(intercept)


def _sorted(
    x: NDArray[np.float32], y: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    order = np.argsort(x, kind="stable")
    return x[order], y[order]
