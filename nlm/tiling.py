"""Large pictures and volumes by tiles: each tile is filtered with a halo of what surrounds it.

Computing by tiles equals computing the whole, for a filter whose reach is its halo and that
continues pictures by reflection.
"""

import logging
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray

from nlm.errors import FileError
from nlm.params import Halo

log = logging.getLogger(__name__)

SMALLEST = 64
"""Side in pixels below which tiles are not cut any smaller."""

Frames = NDArray[np.float32]
Windows = tuple[slice, ...]


def windows(
    shape: tuple[int, ...], tile: tuple[int, ...], halo: tuple[int, ...]
) -> Iterator[tuple[Windows, Windows, Windows]]:
    """The tiles of a picture or volume; sizes are along each axis.

    Yields
    ------
    inner : tuple of slice
        The part of the picture that this tile is responsible for.
    outer : tuple of slice
        The same with its halo, cut at the picture's edges.
    place : tuple of slice
        Where `inner` lies in `outer`.
    """
    starts = (range(0, size, side) for size, side in zip(shape, tile, strict=True))
    for corner in product(*starts):
        axes = [_axis(*one) for one in zip(corner, shape, tile, halo, strict=True)]
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
    tall: bool = False,
    begin: Callable[[int, int], None] | None = None,
) -> Frames:
    """Apply a filter tile by tile.

    Parameters
    ----------
    apply : callable
        Frames (T, Y, X, C) to frames with as many pixels.
    frames : ndarray of float32, shape (T, Y, X, C)
    halo : (frames, rows, columns) or None
        The filter's reach; None = it needs the whole picture. Without reach in time, tiles hold
        all frames.
    tile : int or None
        Side of a tile in pixels; None = the whole picture at once.
    align : int
        Tiles and their halos begin at multiples of this many pixels.
    tall : bool
        Tiles are as high as the picture.
    begin : callable, optional
        Told before each tile its number, from 0 on, and how many there are.
    """
    if tile is None or halo is None:
        return apply(frames)
    size = frames.shape[:3]
    depth = tile if halo[0] else max(size[0], 1)
    height = max(tile, size[1]) if tall else tile
    if size[1] <= height and size[2] <= tile and size[0] <= depth:
        return apply(frames)
    rows, columns, reach_y, reach_x = (
        -(-pixels // align) * align for pixels in (height, tile, *halo[1:])
    )
    result: Frames | None = None
    tiles = list(windows(size, (depth, rows, columns), (halo[0], reach_y, reach_x)))
    for number, (inner, outer, place) in enumerate(tiles):
        if begin is not None:
            begin(number, len(tiles))
        done = apply(frames[outer])
        if result is None:
            result = np.empty((*size, done.shape[3]), np.float32)
        result[inner] = done[place]
        del done  # before there is the next
    return frames if result is None else result


def as_memory_allows(
    run: Callable[[int | None], Frames],
    tile: int | None,
    longest: int,
    out_of_memory: tuple[type[Exception], ...],
    otherwise: Callable[[], Frames] | None = None,
) -> Frames:
    """Run something that takes the side of its tiles, halving that as often as memory ends.

    Parameters
    ----------
    run : callable
    tile : int or None
        The side to begin with; None = the whole picture at once.
    longest : int
        The picture's longest side.
    out_of_memory : tuple of types
        The errors that tell the end of memory.
    otherwise : callable, optional
        Does the same elsewhere, where there is not even memory for the smallest tile.

    Raises
    ------
    FileError
        If there is not, and nothing does.
    """
    while True:
        try:
            return run(tile)
        except out_of_memory as error:
            side = min(tile or longest, longest)
            tile = side // 2
            if tile < SMALLEST and otherwise is None:
                raise FileError(
                    f"the GPU's memory is too small for {side} x {side} pixels; free some of it "
                    "(see nvidia-smi), or use --backend cpu"
                ) from error
        if tile < SMALLEST and otherwise is not None:
            log.info(
                "the GPU's memory is too small for %d x %d pixels: the CPU does it", side, side
            )
            return otherwise()
        log.info("the GPU's memory is full: going on with tiles of %d pixels", tile)
