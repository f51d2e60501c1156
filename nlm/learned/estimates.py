"""Classical non-local means of a noisy picture, which `nlnet` may take as further inputs."""

import numpy as np
from numpy.typing import NDArray

from nlm.backends.cpu import ForEach, nlm
from nlm.backends.threads import for_each

Picture = NDArray[np.float32]

PATCH, RADIUS = (5, 5), (6, 6)
LEAST_SIGMA = 1e-3
"""Noise below a quarter of a grey level of 8 bits is taken for that much."""


def reach() -> int:
    """How many pixels on each side decide on a pixel of an estimate."""
    return 2 * (RADIUS[0] + PATCH[0] // 2)


def estimates(
    noisy: Picture,
    sigma: float | Picture,
    strengths: tuple[float, ...],
    for_each: ForEach = for_each,
) -> Picture:
    """Denoise a picture with several strengths.

    Parameters
    ----------
    noisy : ndarray of float32, shape (Y, X, C)
        Full scale 1.0.
    sigma : float or ndarray, shape (Y, X)
        Noise level, fraction of full scale. Where it varies, patches are compared in units of it.
    strengths : tuple of float
        h / sigma of each estimate.
    for_each : callable
        Runs a function over jobs, in parallel.

    Returns
    -------
    ndarray of float32, shape (Y, X, C * len(strengths))
    """
    level = np.maximum(np.float32(sigma), np.float32(LEAST_SIGMA))
    features, one_level = noisy, float(level.flat[0])
    if np.any(level != level.flat[0]):
        features, one_level = noisy / level[..., None], 1.0
    results = [
        nlm(features, noisy, one_level, s, patch=PATCH, radius=RADIUS, aggregate=True,
            for_each=for_each)
        for s in strengths
    ]  # fmt: skip
    return np.concatenate(results, -1, dtype=np.float32)
