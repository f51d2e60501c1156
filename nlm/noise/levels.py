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
from nlm.tiling import windows

Frames = NDArray[np.float32]
SigmaMap = NDArray[np.float32]

RATIO = 1.4
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
    tile, align : int
        As in `nlm.tiling.by_tiles`.

    Returns
    -------
    ndarray of float32, shape (T, Y, X, C)
    """
    size = frames.shape[:3]
    sigma = np.broadcast_to(sigma, size)
    levels = levels_of(sigma)
    reach, side = (size, max(size)) if halo is None else (halo, tile or TILE)
    depth = side if reach[0] else size[0]
    rows, columns, reach_y, reach_x = (
        -(-pixels // align) * align for pixels in (side, side, *reach[1:])
    )
    parts = windows(size, (depth, rows, columns), (reach[0], reach_y, reach_x))
    result: Frames | None = None
    for inner, outer, place in parts:
        position = np.interp(sigma[inner], levels, np.arange(len(levels)))
        for k in range(math.floor(position.min()), math.ceil(position.max()) + 1):
            share = np.maximum(1 - np.abs(position - k), 0)[..., None].astype(np.float32)
            if share.any():
                done = apply(frames[outer], float(levels[k]))[place]
                if result is None:
                    result = np.zeros((*size, done.shape[3]), np.float32)
                result[inner] += share * done
    return frames if result is None else result
