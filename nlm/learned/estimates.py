"""Classical non-local means of a noisy picture, which `nlnet` may take as further inputs."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nlm.backends.cpu import nlm
from nlm.backends.cpu_tiles import ForEach
from nlm.backends.threads import for_each
from nlm.learned.config import ModelConfig

Picture = NDArray[np.float32]

LEAST_SIGMA = 1e-3
"""Less noise than a quarter of a grey level of 8 bits is taken for that much."""


def estimates(
    noisy: Picture,
    sigma: float | Picture,
    config: ModelConfig,
    for_each: ForEach = for_each,
    kernel: Callable[..., Picture] = nlm,
) -> Picture:
    """Denoise a picture with the strengths that a network asks for.

    Parameters
    ----------
    noisy : ndarray of float32, shape (Y, X, C)
        Full scale 1.0.
    sigma : float or ndarray, shape (Y, X)
        Noise level, fraction of full scale. Where it varies, patches are compared in units of it.
    config : ModelConfig
        Of the network.
    for_each : callable
        Runs a function over jobs, in parallel.
    kernel : callable
        `nlm` of a backend's kernels.

    Returns
    -------
    ndarray of float32, shape (Y, X, C * len(config.estimates))
    """
    if not config.estimates:
        return noisy[..., :0]
    noisy = np.ascontiguousarray(noisy)
    level: Picture = np.maximum(np.asarray(sigma, np.float32), np.float32(LEAST_SIGMA))
    varies = (level != level.flat[0]).any()
    features: Picture = np.divide(noisy, level[..., None]) if varies else noisy
    unit = 1.0 if varies else float(level.flat[0])
    long = [size > 1 for size in noisy.shape[:2]]  # signals have one row
    patch = tuple(config.estimate_patch if one else 1 for one in long)
    radius = tuple(config.estimate_radius if one else 0 for one in long)
    results = [
        kernel(
            features, noisy, unit, strength,
            patch=patch, radius=radius, aggregate=True, for_each=for_each,
        )
        for strength in config.estimates
    ]  # fmt: skip
    return np.concatenate(results, -1)
