"""Classical non-local means of a noisy picture, which `nlnet` may take as further inputs."""

import numpy as np
from numpy.typing import NDArray

from nlm.backends.cpu import nlm
from nlm.backends.cpu_tiles import ForEach
from nlm.backends.threads import for_each
from nlm.learned.config import ESTIMATE_PATCH, ESTIMATE_RADIUS

Picture = NDArray[np.float32]

LEAST_SIGMA = 1e-3
"""Less noise than a quarter of a grey level of 8 bits is taken for that much."""


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
    level: Picture = np.maximum(np.asarray(sigma, np.float32), np.float32(LEAST_SIGMA))
    varies = (level != level.flat[0]).any()
    features: Picture = np.divide(noisy, level[..., None]) if varies else noisy
    unit = 1.0 if varies else float(level.flat[0])
    long = [size > 1 for size in noisy.shape[:2]]  # signals have one row
    patch = (ESTIMATE_PATCH if long[0] else 1, ESTIMATE_PATCH if long[1] else 1)
    radius = (ESTIMATE_RADIUS if long[0] else 0, ESTIMATE_RADIUS if long[1] else 0)
    results = [
        nlm(
            features, noisy, unit, strength,
            patch=patch, radius=radius, aggregate=True, for_each=for_each,
        )
        for strength in strengths
    ]  # fmt: skip
    return np.concatenate([noisy[..., :0], *results], -1)
