"""How good a result is, with the clean picture and without."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nlm import metrics
from nlm.compare.boxes import box_sums

Float32 = NDArray[np.float32]

PROBE, EIGHT_BIT_PROBE = 0.02, 0.1
"""Size of the disturbance that probes a filter, in units of sigma; whole levels for one of
8 bits."""
LAGS = 4
"""Neighbours, in pixels, whose correlation counts as structure."""
CLEARANCE, NEAR = 2.5, 3
"""Samples may be clipped where the mean of so many pixels around is within so many sigma of the
ends."""
LEAST_SHARE = 0.1
"""Of samples that are not clipped: with fewer, nothing is said."""
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
    bounded: bool = True,
    eight_bit: bool = False,
) -> float | None:
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
    bounded : bool
        The noisy picture was clipped to 0..1; the estimate is then over what is far enough from
        the ends.
    eight_bit : bool
        The filter rounds what it gets to 8 bits.

    Returns
    -------
    float or None
        dB; None where too much is clipped, or the result is so close to the noisy picture that
        the noise level cannot be right.
    """
    usable = _unclipped(noisy, sigma) if bounded else np.ones(noisy.shape, np.bool_)
    if usable.mean() < LEAST_SHARE:
        return None
    probe = rng.choice(np.array([-1, 1], np.float32), noisy.shape)
    step = math.ceil(EIGHT_BIT_PROBE * sigma * 255) / 255 if eight_bit else PROBE * sigma
    moved = denoise((noisy + step * probe).astype(np.float32))
    divergence = float((probe * (moved - result)).mean(dtype=np.float64, where=usable)) / step
    misfit = float(np.square(noisy - result).mean(dtype=np.float64, where=usable))
    error = misfit - sigma**2 + 2 * sigma**2 * divergence
    return float(-10 * np.log10(error)) if error > 0 else None


def _unclipped(noisy: Float32, sigma: float) -> NDArray[np.bool_]:
    """Where noise of level sigma stays within 0..1, by the mean of the neighbourhood."""
    side = 2 * NEAR + 1
    padded = np.pad(noisy, [(NEAR, NEAR), (NEAR, NEAR), (0, 0)], "symmetric")
    means = box_sums(padded, side, side) / side**2
    return np.asarray(np.abs(means - 0.5) < 0.5 - CLEARANCE * sigma)


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
