"""Pictures in tiles, one for each lane of a vector: what the kernels of `simd.py` are given."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlm.backends.compiled import simd_width

Picture = NDArray[np.float32]
ForEach = Callable[[Callable[[Any], None], Iterable[Any]], None]
Corners = list[tuple[int, int]]

STAGGER = 576
"""Bytes by which areas begin at different places of a memory page."""


def tile_jobs(height: int, width: int, rows: int, cols: int) -> list[Corners]:
    """Corners of all tiles, as many at a time as a vector has lanes; the last ones repeated."""
    corners = [(y, x) for y in range(0, height, rows) for x in range(0, width, cols)]
    lanes = simd_width()
    jobs = [corners[k : k + lanes] for k in range(0, len(corners), lanes)]
    jobs[-1] += jobs[-1][-1:] * (lanes - len(jobs[-1]))
    return jobs


def aligned_areas(sizes: list[int]) -> list[NDArray[np.float32]]:
    """Areas of so many vectors each, aligned to cache lines.

    Staggered, since processors take a load for one that depends on a store when their addresses
    differ by a multiple of 4096 bytes.
    """
    lanes = simd_width()
    areas = []
    for number, size in enumerate(sizes):
        area = np.empty(size * lanes + 1024, np.float32)
        start = (number * STAGGER - area.ctypes.data) % 4096 // 4
        areas.append(area[start : start + size * lanes])
    return areas


def reflected(size: int, tile: int, margin: int) -> NDArray[np.int64]:
    """Positions in a picture axis continued by reflection, from -margin on."""
    tiles = -(-size // tile)
    position = np.arange(-margin, tiles * tile + margin)
    if size == 1:
        return np.zeros_like(position)
    position = np.abs(position) % (2 * size - 2)
    return np.minimum(position, 2 * size - 2 - position)
