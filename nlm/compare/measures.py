"""How good a result is, with the clean picture and without."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nlm import metrics

Float32 = NDArray[np.float32]

PROBE = 0.02
"""Size of the disturbance that probes a filter, in units of sigma."""
LAGS = 4
"""Neighbours, in pixels, whose correlation counts as structure."""
SMALLEST = 11
"""Pixels a side that SSIM needs."""


def psnr(result: Float32, reference: Float32) -> float:
    """PSNR in dB; infinite where nothing differs."""
    return metrics.psnr(result, reference)


def ssim(result: Float32, reference: Float32) -> float | None:
    """SSIM, or None for pictures that are too small for it."""
    if min(reference.shape[:2]) < SMALLEST:
        return None
    if reference.shape[2] == 1:
        return metrics.ssim(result[..., 0], reference[..., 0])
    return metrics.ssim(result, reference, channel_axis=-1)


def blind_psnr(
    noisy: Float32,
    result: Float32,
    sigma: float,
    denoise: Callable[[Float32], Float32],
    rng: np.random.Generator,
) -> float:
    """The PSNR to be expected, without a clean picture: Stein's unbiased risk estimate.

    The mean squared error is |y - f(y)|^2 / N - sigma^2 + 2 sigma^2 div f(y) / N; the divergence
    is found by disturbing the picture a little. S. Ramani, T. Blu, M. Unser, "Monte-Carlo SURE",
    IEEE TIP 17, 2008, doi:10.1109/TIP.2008.2001404.

    Parameters
    ----------
    noisy, result : ndarray of float32, shape (Y, X, C)
    sigma : float
        Of white Gaussian noise, fraction of full scale; for other noise it means little.
    denoise : callable
        What made `result` of `noisy`.
    rng : numpy.random.Generator

    Returns
    -------
    float
        dB.
    """
    probe = rng.choice(np.array([-1, 1], np.float32), noisy.shape)
    step = PROBE * sigma
    moved = denoise((noisy + step * probe).astype(np.float32))
    divergence = float(np.mean(probe * (moved - result), dtype=np.float64)) / step
    misfit = float(np.mean(np.square(noisy - result), dtype=np.float64))
    error = misfit - sigma**2 + 2 * sigma**2 * divergence
    return float(-10 * np.log10(max(error, 1e-10)))


def whiteness(residual: Float32) -> float:
    """How much what was taken away looks like noise, from near 0 (structure) to 1 (white).

    Parameters
    ----------
    residual : ndarray of float32, shape (Y, X, C)

    Returns
    -------
    float
        1 / (1 + the sum of the squared correlations with all neighbours up to 4 pixels away),
        mean of the channels; 1 for a residual that is constant.
    """
    shape = tuple(size + LAGS for size in residual.shape[:2])  # no neighbour across the border
    found = []
    for channel in np.moveaxis(residual.astype(np.float64), -1, 0):
        power = np.abs(np.fft.rfft2(channel - channel.mean(), shape)) ** 2
        covariance = np.fft.irfft2(power, shape)
        if covariance[0, 0] < 1e-12 * residual.size:
            found.append(1.0)
            continue
        lags = np.arange(-LAGS, LAGS + 1)
        near = covariance[np.ix_(lags % shape[0], lags % shape[1])] / covariance[0, 0]
        found.append(1 / float(np.square(near).sum()))
    return float(np.mean(found))


def removed(residual: Float32, sigma: float) -> float:
    """Standard deviation of what was taken away over sigma; of a perfect filter it is 1."""
    return float(residual.std(dtype=np.float64)) / sigma if sigma else 0.0
