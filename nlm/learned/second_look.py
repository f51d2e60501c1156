"""A second look at a network's result, by groups of similar patches, where that is better.

Of structure that repeats, a weave or a wall of bricks, all its repetitions together tell more than
a network sees. A Wiener filter of groups of similar patches (`cpu_groups`), with the network's
result as their pilot, gives a second result. Photographs at large are better without it, so the two
are mixed, at every place in the share that would be best if the network's result were the truth:
noise is added to that, and both ways denoise it again. This is the parametric bootstrap (Efron,
Annals of Statistics 1979, doi:10.1214/aos/1176344552).

Which patches are alike may hang on a last bit of the network's result. That is the same in tiles
and in the whole for the usual networks; the small ones' differs, and a few pixels then do, by less
than 1e-3.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nlm import groups
from nlm.backends import Backend
from nlm.backends.cpu_tiles import Picture
from nlm.boxes import box_sums

ROUND = 48
"""How far round a pixel it is judged what is better there, in pixels."""
PATTERN = 64
"""Side of the square of noise that is repeated all over a picture, so that its parts get the same
if they begin at a multiple. Two patches of a group are never so far apart."""
REACH = ROUND + 2 * (groups.LARGE["radius"] + groups.LARGE["patch"])
"""How far results and shares reach beyond what the network, used twice, does."""
LARGE = 10
"""Differences that count no more than this in a share, in noise levels: lights beyond all range."""


def denoise(
    noisy: Picture,
    sigma: float,
    by_network: Callable[[Picture, Backend], Picture],
    place: Backend,
) -> Picture:
    """A network's result, mixed with that of groups of patches where these are better.

    Parameters
    ----------
    noisy : ndarray of float32, shape (Y, X, C)
        3 channels are RGB.
    sigma : float
        Noise level of every channel.
    by_network : callable
        Denoises such a picture, on a backend.
    place : Backend
        With the CPU's kernels; it is told of the progress.

    Returns
    -------
    ndarray of float32, shape (Y, X, C)
    """
    if min(noisy.shape[:2]) < groups.SMALLEST:
        return by_network(noisy, place)
    parts = [place.part(number, 4) for number in range(4)]
    known = by_network(noisy, parts[0])
    change = by_groups(noisy, known, sigma, parts[1]) - known
    again = known + np.float32(sigma) * noise_like(known)
    once_more = by_network(again, parts[2])
    share = best_share(known, once_more, by_groups(again, once_more, sigma, parts[3]), sigma)
    mixed: Picture = known + share * change
    return mixed


def by_groups(noisy: Picture, pilot: Picture, sigma: float, place: Backend) -> Picture:
    """Groups of patches that the pilot finds alike, denoised by a Wiener filter that it tells."""
    return groups.refine(noisy, pilot, sigma, [(groups.LARGE, True, place)])


def noise_like(picture: Picture) -> Picture:
    """White noise of level 1, the same for all parts that begin at multiples of `PATTERN`."""
    rows, columns, channels = picture.shape
    square = np.random.default_rng(0).standard_normal((PATTERN, PATTERN, channels), np.float32)
    repeats = (-(-rows // PATTERN), -(-columns // PATTERN), 1)
    return np.tile(square, repeats)[:rows, :columns]


def best_share(truth: Picture, one: Picture, other: Picture, sigma: float) -> Picture:
    """How much of `other` and how little of `one` give the least error round every pixel.

    Returns
    -------
    ndarray of float32, shape (Y, X, 1)
        From 0 to 1.
    """
    limit = LARGE * float(sigma)
    change, error = ((x - one).clip(-limit, limit) for x in (other, truth))
    useful = sums_round((error * change).sum(2))
    useful /= np.maximum(sums_round((change**2).sum(2)), np.finfo(np.float32).tiny)
    return useful.clip(0, 1).astype(np.float32)[..., None]


def sums_round(plane: NDArray[np.float32]) -> NDArray[np.float64]:
    """Sums over the squares round every pixel of a plane (Y, X), continued by reflection."""
    margins = [min(ROUND, size - 1) for size in plane.shape]
    continued = np.pad(plane, [(margin, margin) for margin in margins], mode="reflect")
    return box_sums(continued, *(2 * margin + 1 for margin in margins))
