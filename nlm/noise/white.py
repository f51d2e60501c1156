"""The level of white Gaussian noise: the finest scale of the flattest patches.

Which patches are flat is judged by their coarser coefficients, so that choosing them does not
bias the finest ones (Ponomarenko; see `patches.py`). How many are flat is judged by Lepski's rule:
as many as agree with the flattest within statistical error
(O. Lepski, Theory Probab. Appl. 1991, doi:10.1137/1135065).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from nlm.noise.patches import FINEST, PatchEnergies

__all__ = ["LEAST_PATCHES", "LEAST_RESPONSE", "clip_response", "white_level"]

FRACTIONS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Fractions of the patches that may count as flat."""
TOLERANCE = 3.0
"""Standard errors (of independent patches) within which larger fractions must agree."""
EXCESS = 1.004
"""What Lepski's rule lets through of texture, on average over BSDS500-train400."""
LEAST_PATCHES = 8
CLIPPED_SAMPLES = 2e-3
"""Fraction of samples at the ends of the range from which on noise counts as clipped there."""
LEAST_RESPONSE = 0.55
"""Patches that clipping leaves less variance are not used."""
DAMPING = 0.8
"""Exponent of the correction for clipping. The full correction overshoots, because texture and
the error of a patch's mean are amplified with it; chosen on BSDS500-train400."""
ROUNDS = 8
CONVERGED = 1e-3

Float32 = NDArray[np.float32]


def white_level(patches: PatchEnergies, channel: int = 0) -> float:
    """Standard deviation of white noise in one channel.

    Parameters
    ----------
    patches : PatchEnergies
    channel : int

    Returns
    -------
    float
        Fraction of full scale, corrected for clipping at the ends of the range.
    """
    structure, finest = patches.structure(channel), patches.bands[channel, FINEST]
    size = max(1, int(patches.sizes[FINEST]))
    sigma = _level_of_flattest(structure, finest, size)
    if patches.clipped < CLIPPED_SAMPLES:
        return sigma
    for _ in range(ROUNDS):
        response = clip_response(patches, sigma)
        usable = response > LEAST_RESPONSE
        if sigma == 0 or np.count_nonzero(usable) < LEAST_PATCHES:
            break
        response, before = response[usable], sigma
        sigma = _level_of_flattest(structure[usable] / response, finest[usable] / response, size)
        if abs(sigma - before) < CONVERGED * sigma:
            break
    return sigma


def clip_response(patches: PatchEnergies, sigma: float) -> Float32:
    """Variance left of white noise clipped to the range of the picture, over its own variance.

    Parameters
    ----------
    patches : PatchEnergies
    sigma : float
        Level before clipping.

    Returns
    -------
    ndarray, shape (N,)
        1 where nothing is clipped, damped as `DAMPING` says.
    """
    if sigma == 0 or patches.clipped < CLIPPED_SAMPLES:
        return np.ones(patches.count, np.float32)
    mean, variance = _clipped_moments(patches.low, patches.high, sigma)
    response = np.interp(patches.intensity, mean, variance / sigma**2)
    return np.power(np.maximum(response, 1e-6), DAMPING).astype(np.float32)


def _level_of_flattest(structure: Float32, finest: Float32, size: int) -> float:
    """Root mean of `finest` over the largest fraction that agrees with the flattest patches."""
    sums = np.cumsum(finest[np.argsort(structure, kind="stable")], dtype=np.float64)
    accepted: list[tuple[float, float]] = []
    for fraction in FRACTIONS:
        count = min(len(sums), max(LEAST_PATCHES, int(fraction * len(sums))))
        level = math.sqrt(sums[count - 1] / count)
        if any(abs(level - flatter) > TOLERANCE * error for flatter, error in accepted):
            break
        accepted.append((level, level / math.sqrt(2 * count * size)))
    return accepted[-1][0] / EXCESS


def _clipped_moments(
    low: float, high: float, sigma: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and variance of clip(x + sigma * normal, low, high) for a range of x."""
    x = np.linspace(low - 1.5 * sigma, high + 1.5 * sigma, 129)
    below, above = (low - x) / sigma, (high - x) / sigma
    under, until = _normal_cdf(below), _normal_cdf(above)
    density_low, density_high = _normal_density(below), _normal_density(above)
    inside = until - under
    mean = low * under + high * (1 - until) + x * inside + sigma * (density_low - density_high)
    square = low**2 * under + high**2 * (1 - until) + (x**2 + sigma**2) * inside
    square += sigma * ((x + low) * density_low - (x + high) * density_high)
    return mean, np.maximum(square - mean**2, 0)


def _normal_cdf(z: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in z.tolist()])


def _normal_density(z: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.exp(-np.square(z) / 2) / math.sqrt(2 * math.pi)
