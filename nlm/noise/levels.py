"""Noise whose level differs from place to place: a sigma map, worked off level by level.

A filter for one noise level is run at a few of them, and each pixel is interpolated between the
results for the levels next to its own. So every filter can follow a map, where the map is constant
the result is that of the constant, and edges of the map do not bleed.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nlm.params import Halo
from nlm.tiling import Windows, windows

Frames = NDArray[np.float32]
SigmaMap = NDArray[np.float32]

RATIO = 1.25
"""Largest step from one level to the next."""
FEW = 4
"""So many different levels are all taken as they are."""
TILE = 256
FAINTEST = 1 / 64
"""Levels below this share of the largest are interpolated with no noise at all."""


def levels_of(sigma: SigmaMap) -> NDArray[np.float64]:
    """The levels to run a filter at, rising; 0 = no noise."""
    found = np.unique(sigma).astype(np.float64)
    if len(found) <= FEW:
        return found
    low, high = found[0], found[-1]
    start = max(low, high * FAINTEST)
    steps = max(1, math.ceil(math.log(high / start) / math.log(RATIO)))
    levels = np.geomspace(start, high, steps + 1)
    levels[0], levels[-1] = start, high
    return np.concatenate([[0.0], levels]) if low < start else levels


def by_levels(
    apply: Callable[[Frames, float], Frames],
    frames: Frames,
    sigma: SigmaMap,
    halo: Halo | None,
    tile: int | None = None,
    align: int = 1,
    begin: Callable[[int, int], None] | None = None,
) -> Frames:
    """Apply a filter at the noise level of each place.

    Parameters
    ----------
    apply : callable
        Frames (T, Y, X, C) and their noise level, which may be 0, to as many pixels.
    frames : ndarray of float32, shape (T, Y, X, C)
    sigma : ndarray of float32, shape (T or 1, Y, X)
        Noise level, fraction of full scale.
    halo : (frames, rows, columns) or None
        The filter's reach; None = it needs the whole picture.
    tile : int, optional
        Side of the parts that are worked on by themselves, pixels.
    align : int
        What the filter is given begins at multiples of this many pixels.
    begin : callable, optional
        Told before each call of the filter how many are done, and how many there are, about.

    Returns
    -------
    ndarray of float32, shape (T, Y, X, C)
    """
    size = frames.shape[:3]
    sigma = np.broadcast_to(sigma, size)
    levels = levels_of(sigma)
    reach, side = (size, max(size)) if halo is None else (halo, tile or TILE)
    depth = side if reach[0] else size[0]
    nowhere = (0, 0, 0)
    result: Frames | None = None
    parts = [inner for inner, _, _ in windows(size, (depth, side, side), nowhere)]
    for number, inner in enumerate(parts):
        position = np.interp(sigma[inner], levels, np.arange(len(levels)))
        its = range(math.floor(position.min()), math.ceil(position.max()) + 1)
        for k in its:
            if begin is not None:
                begin(number * len(its) + k - its.start, len(parts) * len(its))
            share = np.maximum(1 - np.abs(position - k), 0).astype(np.float32)
            if not share.any():
                continue
            part = _box_of(share > 0)
            wanted = _shifted(part, inner)
            outer, place = _with_halo(wanted, size, reach, align)
            done = apply(frames[outer], float(levels[k]))[place]
            if result is None:
                result = np.zeros((*size, done.shape[3]), np.float32)
            result[wanted] += share[part][..., None] * done
    return frames if result is None else result


def _box_of(wanted: NDArray[np.bool_]) -> Windows:
    """The smallest box that holds all that is wanted."""
    box = []
    for axis in range(wanted.ndim):
        others = tuple(other for other in range(wanted.ndim) if other != axis)
        found = np.flatnonzero(wanted.any(others))
        box.append(slice(int(found[0]), int(found[-1]) + 1))
    return tuple(box)


def _shifted(box: Windows, into: Windows) -> Windows:
    return tuple(
        slice(part.start + base.start, part.stop + base.start)
        for part, base in zip(box, into, strict=True)
    )


def _with_halo(
    box: Windows, size: tuple[int, ...], reach: tuple[int, ...], align: int
) -> tuple[Windows, Windows]:
    """The box with its halo, from a multiple of `align` on, and where it lies in that."""
    outer, place = [], []
    for part, length, far in zip(box, size, reach, strict=True):
        start = max(part.start - far, 0) // align * align
        outer.append(slice(start, min(part.stop + far, length)))
        place.append(slice(part.start - start, part.stop - start))
    return tuple(outer), tuple(place)
