"""How good a result is, with the clean picture and without."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from nlm import metrics
from nlm.boxes import box_sums

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

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
STILL = 0.5 / 255
"""Less change from a clean frame to the next is none."""
AROUND, LIKELY = 4, 2
"""Without clean frames: how far the neighbours reach whose mean and variance tell change, and by
how many standard errors these may differ where nothing changes."""


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
    noisy: Sequence[Float32],
    results: Sequence[Float32],
    sigma: float,
    denoise: Callable[[list[Float32]], list[Float32]],
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
    noisy, results : sequence of ndarray of float32, shape (Y, X, C)
        A picture, or the frames of a clip, which are disturbed together.
    sigma : float
        Of white Gaussian noise, fraction of full scale; for other noise it means little.
    denoise : callable
        What made `results` of `noisy`.
    rng : numpy.random.Generator
    bounded : bool
        The noisy picture was clipped to 0..1; the estimate is then over what is far enough from
        the ends.
    eight_bit : bool
        The filter rounds what it gets to 8 bits.

    Returns
    -------
    float or None
        dB, the mean over the frames for which there is an estimate; None where too much is
        clipped, or the result is so close to the noisy picture that the noise level cannot be
        right.
    """
    usable = [_unclipped(one, sigma) if bounded else np.ones(one.shape, np.bool_) for one in noisy]
    if all(one.mean() < LEAST_SHARE for one in usable):
        return None
    probes = [rng.choice(np.array([-1, 1], np.float32), one.shape) for one in noisy]
    step = math.ceil(EIGHT_BIT_PROBE * sigma * 255) / 255 if eight_bit else PROBE * sigma
    moved = denoise(
        [(one + step * probe).astype(np.float32) for one, probe in zip(noisy, probes, strict=True)]
    )
    levels = [
        _risk_in_db(*frame, step, sigma)
        for frame in zip(noisy, results, moved, probes, usable, strict=True)
        if frame[-1].mean() >= LEAST_SHARE
    ]
    known = [level for level in levels if level is not None]
    return fmean(known) if known else None


def _risk_in_db(
    noisy: Float32,
    result: Float32,
    moved: Float32,
    probe: Float32,
    usable: Mask,
    step: float,
    sigma: float,
) -> float | None:
    divergence = float((probe * (moved - result)).mean(dtype=np.float64, where=usable)) / step
    misfit = float(np.square(noisy - result).mean(dtype=np.float64, where=usable))
    error = misfit - sigma**2 + 2 * sigma**2 * divergence
    return float(-10 * np.log10(error)) if error > 0 else None


def _unclipped(noisy: Float32, sigma: float) -> Mask:
    """Where noise of level sigma stays within 0..1, by the mean of the neighbourhood."""
    means = _means(noisy, NEAR)
    return np.asarray(np.abs(means - 0.5) < 0.5 - CLEARANCE * sigma)


def _means(pixels: Float32, reach: int) -> NDArray[np.float64]:
    """Means over squares that reach so far on each side."""
    side = 2 * reach + 1
    padded = np.pad(pixels, [(reach, reach), (reach, reach), (0, 0)], "symmetric")
    return box_sums(padded, side, side) / side**2


def still(clean: Sequence[Float32]) -> list[Mask]:
    """Where a clean clip does not change from each frame to the next.

    Parameters
    ----------
    clean : sequence of ndarray of float32, any shape

    Returns
    -------
    list of ndarray of bool
        One less than there are frames.
    """
    return [np.abs(after - before) < STILL for before, after in pairwise(clean)]


def seemingly_still(noisy: Sequence[Float32], sigma: float) -> list[Mask]:
    """The same by noisy frames (Y, X, C): where what changes around a pixel may be noise."""
    variance, count = 2 * sigma**2, (2 * AROUND + 1) ** 2
    most = STILL + LIKELY * math.sqrt(variance / count)
    most_squared = STILL**2 + variance * (1 + LIKELY * math.sqrt(2 / count))
    changes = (after - before for before, after in pairwise(noisy))
    return [
        (np.abs(_means(one, AROUND)) < most) & (_means(np.square(one), AROUND) < most_squared)
        for one in changes
    ]


def flicker(frames: Sequence[Float32], still: Sequence[Mask]) -> float | None:
    """Change from frame to frame where nothing should change.

    Parameters
    ----------
    frames : sequence of ndarray of float32
    still : sequence of ndarray of bool
        Where each frame should equal the one before it, see :func:`still`.

    Returns
    -------
    float or None
        Mean absolute difference in 8-bit grey levels, over all that is still; None where nothing
        is, or for a single frame.
    """
    changes = [
        np.abs(after - before)[where]
        for (before, after), where in zip(pairwise(frames), still, strict=True)
    ]
    found = np.concatenate(changes) if changes else np.zeros(0)
    return 255 * float(found.mean(dtype=np.float64)) if found.size else None


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
