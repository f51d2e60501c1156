"""A second look at a network's result, by groups of similar patches, where that is better.

Of structure that repeats, a weave or a wall of bricks, all its repetitions together tell more than
a network sees. A Wiener filter of groups of similar patches (`cpu_groups`), with the network's
result as their pilot, gives a second result. Photographs at large are better without it, so the two
are mixed, at every place in the share that would be best if the network's result were the truth:
noise is added to that, and both ways denoise it again. This is the parametric bootstrap (Efron,
Annals of Statistics 1979, doi:10.1214/aos/1176344552).
"""

from collections.abc import Callable

import numpy as np

from nlm.backends import Backend
from nlm.backends.cpu_tiles import Picture
from nlm.boxes import box_sums
from nlm.noise.colour import from_opponent, to_opponent

GROUPS = {"patch": 7, "members": 96, "step": 4, "radius": 18, "by_pixels": True}
SMALLEST = 16
"""Pictures with a shorter side than this have no groups of patches."""
ROUND = 48
"""How far round a pixel it is judged what is better there, in pixels."""
PATTERN = 64
"""Side of the square of noise that is repeated all over a picture, so that its parts get the same
if they begin at a multiple. Two patches of a group are hardly ever so far apart."""
REACH = ROUND + 2 * (GROUPS["radius"] + GROUPS["patch"])
"""How far results and shares reach beyond what the network, used twice, does."""


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
        Of 3 channels, RGB.
    sigma : float
        Noise level of every channel.
    by_network : callable
        Denoises such a picture, on a backend.
    place : Backend
        The CPU; it is told of the progress.

    Returns
    -------
    ndarray of float32, shape (Y, X, C)
    """
    parts = [place.part(number, 4) for number in range(4)]
    known = by_network(noisy, parts[0])
    if min(noisy.shape[:2]) < SMALLEST:
        return known
    change = by_groups(noisy, known, sigma, parts[1]) - known
    again = known + np.float32(sigma) * noise_like(known)
    once_more = by_network(again, parts[2])
    share = best_share(known, once_more, by_groups(again, once_more, sigma, parts[3]))
    mixed: Picture = known + share * change
    return mixed


def by_groups(noisy: Picture, pilot: Picture, sigma: float, place: Backend) -> Picture:
    """Groups of patches that the pilot finds alike, denoised by a Wiener filter that it tells."""
    channels = noisy.shape[2]
    if channels == 3:
        noisy, pilot = to_opponent(noisy), to_opponent(pilot)
    denoised: Picture = place.kernels.collaborate(
        noisy,
        pilot,
        sigma,
        place.kernels.Groups(**GROUPS),
        matched=1 if channels == 3 else channels,
        for_each=place.for_each,
    )
    return from_opponent(denoised) if channels == 3 else denoised


def noise_like(picture: Picture) -> Picture:
    """White noise of level 1, the same for all parts that begin at multiples of `PATTERN`."""
    rows, columns, channels = picture.shape
    square = np.random.default_rng(0).standard_normal((PATTERN, PATTERN, channels), np.float32)
    repeats = (-(-rows // PATTERN), -(-columns // PATTERN), 1)
    return np.tile(square, repeats)[:rows, :columns]


def best_share(truth: Picture, one: Picture, other: Picture) -> Picture:
    """How much of `other` and how little of `one` give the least error round every pixel.

    Returns
    -------
    ndarray of float32, shape (Y, X, 1)
        From 0 to 1.
    """
    change = other - one
    products = np.stack([((truth - one) * change).sum(2), (change**2).sum(2)], axis=2)
    margins = [(min(ROUND, size - 1),) * 2 for size in truth.shape[:2]]
    rows, columns = (2 * margin[0] + 1 for margin in margins)
    sums = box_sums(np.pad(products, [*margins, (0, 0)], mode="reflect"), rows, columns)
    shares = sums[..., 0] / np.maximum(sums[..., 1], np.finfo(np.float32).tiny)
    return shares.clip(0, 1).astype(np.float32)[..., None]
