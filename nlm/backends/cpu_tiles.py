"""Pictures in tiles, one for each lane of a vector: what the kernels of `simd.py` are given."""

import threading
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlm.backends.compiled import simd_width

Picture = NDArray[np.float32]
ForEach = Callable[[Callable[[Any], None], Iterable[Any]], None]
Corners = list[tuple[int, ...]]

FEWEST = 4
"""Jobs that a map of features makes at least, where it can."""
STAGGER = 576
"""Bytes by which areas begin at different places of a memory page."""
PAGE = 4096
KEPT = 2**24
"""Bytes of memory that a thread keeps at most."""

_local = threading.local()


def tile_jobs(height: int, width: int, rows: int, cols: int) -> list[Corners]:
    """Corners of all tiles, as many at a time as a vector has lanes; the last ones repeated."""
    return filled([(y, x) for y in range(0, height, rows) for x in range(0, width, cols)])


def filled(corners: Corners) -> list[Corners]:
    """As many at a time as a vector has lanes, the last one repeated."""
    lanes = simd_width()
    jobs = [corners[k : k + lanes] for k in range(0, len(corners), lanes)]
    jobs[-1] += jobs[-1][-1:] * (lanes - len(jobs[-1]))
    return jobs


def aligned_areas(sizes: list[int]) -> list[NDArray[np.float32]]:
    """Areas of so many vectors each, aligned to cache lines.

    Staggered, since processors take a load for one that depends on a store when their addresses
    differ by a multiple of the size of a page.
    """
    return _areas(np.empty(_bytes(sizes), np.uint8), sizes)


def kept_areas(sizes: list[int]) -> list[NDArray[np.float32]]:
    """Such areas, up to `KEPT` in memory that the thread has used before: new memory is slow.

    They hold anything, and are the caller's until this thread asks again.
    """
    needed = _bytes(sizes)
    if needed > KEPT:
        return aligned_areas(sizes)
    if getattr(_local, "sizes", None) != sizes:
        memory: NDArray[np.uint8] | None = getattr(_local, "memory", None)
        if memory is None or memory.size < needed:
            memory = _local.memory = np.empty(needed, np.uint8)
        _local.sizes, _local.areas = sizes, _areas(memory, sizes)
    areas: list[NDArray[np.float32]] = _local.areas
    return areas


def _bytes(sizes: list[int]) -> int:
    return 4 * simd_width() * sum(sizes) + PAGE * len(sizes)


def _areas(memory: NDArray[np.uint8], sizes: list[int]) -> list[NDArray[np.float32]]:
    address, begin, areas = memory.ctypes.data, 0, []
    for number, size in enumerate(sizes):
        begin += (number * STAGGER - address - begin) % PAGE
        end = begin + 4 * simd_width() * size
        areas.append(memory[begin:end].view(np.float32))
        begin = end
    return areas


@lru_cache(maxsize=64)
def reflected(size: int, tile: int, margin: int) -> NDArray[np.int64]:
    """Positions in a picture axis continued by reflection, from -margin on; to be read only."""
    tiles = -(-size // tile)
    position = np.arange(-margin, tiles * tile + margin) % max(1, 2 * size - 2)
    position = np.minimum(position, 2 * size - 2 - position)
    position.flags.writeable = False
    return position
