"""Large pictures by tiles: each tile is filtered with a halo of what surrounds it.

Computing by tiles equals computing the whole, for a filter whose reach is its halo and that
continues pictures by reflection.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from nlm.params import Halo

Frames = NDArray[np.float32]
Windows = tuple[slice, slice]


def windows(
    shape: tuple[int, int], tile: int, halo: tuple[int, int]
) -> Iterator[tuple[Windows, Windows, Windows]]:
    """The tiles of a picture.

    Yields
    ------
    inner : (slice, slice)
        Rows and columns of the picture that this tile is responsible for.
    outer : (slice, slice)
        The same with its halo, cut at the picture's edges.
    place : (slice, slice)
        Where `inner` lies in `outer`.
    """
    for y in range(0, shape[0], tile):
        for x in range(0, shape[1], tile):
            axes = [
                _axis(start, size, tile, reach)
                for start, size, reach in zip((y, x), shape, halo, strict=True)
            ]
            inner, outer, place = zip(*axes, strict=True)
            yield inner, outer, place


def _axis(start: int, size: int, tile: int, halo: int) -> tuple[slice, slice, slice]:
    stop = min(start + tile, size)
    low, high = max(start - halo, 0), min(stop + halo, size)
    return slice(start, stop), slice(low, high), slice(start - low, stop - low)


def by_tiles(
    apply: Callable[[Frames], Frames],
    frames: Frames,
    halo: Halo | None,
    tile: int | None,
    align: int = 1,
) -> Frames:
    """Apply a filter tile by tile.

    Parameters
    ----------
    apply : callable
        Frames (T, Y, X, C) to frames of the same shape.
    frames : ndarray of float32, shape (T, Y, X, C)
    halo : (frames, rows, columns) or None
        The filter's reach; None = it needs the whole picture.
    tile : int or None
        Side of a tile in pixels; None = the whole picture at once.
    align : int
        Tiles and their halos begin at multiples of this many pixels.
    """
    size = frames.shape[1:3]
    if tile is None or halo is None or max(size) <= tile:
        return apply(frames)
    result = np.empty_like(frames)
    tile, *reach = (-(-pixels // align) * align for pixels in (tile, *halo[1:]))
    for inner, outer, place in windows((size[0], size[1]), tile, (reach[0], reach[1])):
        done = apply(frames[:, outer[0], outer[1]])
        result[:, inner[0], inner[1]] = done[:, place[0], place[1]]
    return result
