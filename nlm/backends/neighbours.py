"""Which keys each query of the non-local operation sees, and which queries are taken together."""

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

Grid = tuple[int, int, int]
"""Sizes or positions in time, rows and columns."""


@dataclass(frozen=True)
class Neighbours:
    """The keys that queries on a grid see.

    Attributes
    ----------
    queries, keys : (int, int, int)
        How many there are along each axis.
    cell : (int, int, int)
        The positions along each axis that one key stands for.
    radius : (int, int, int) or None
        A query sees the keys that have a position within so many of its own, and the nearest key
        where there is none; None = it sees all keys.
    """

    queries: Grid
    keys: Grid
    cell: Grid = (1, 1, 1)
    radius: Grid | None = None

    def bounds(self, axis: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First and last key along an axis that each position sees."""
        here = np.arange(self.queries[axis], dtype=np.int64)
        reach = self.queries[axis] if self.radius is None else self.radius[axis]
        cell, last = self.cell[axis], self.keys[axis] - 1
        return np.clip((here - reach) // cell, 0, last), np.clip((here + reach) // cell, 0, last)

    def tables(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """What the kernel wants: the bounds of all axes, one after the other, and the sizes."""
        bounds = [bound for axis in range(3) for bound in self.bounds(axis)]
        return np.concatenate(bounds), np.array(self.queries + self.keys, np.int64)

    def seen(self) -> NDArray[np.float32]:
        """How many keys each query sees, shape (queries, 1)."""
        t, y, x = (high - low + 1 for low, high in map(self.bounds, range(3)))
        counts = t[:, None, None] * y[:, None] * x
        return np.asarray(counts.reshape(-1, 1), np.float32)

    def tile(self, size: int) -> Grid:
        """The shape of `size` queries that share their keys with least work."""
        if self.radius is None:
            return (1, 1, size)
        shapes = [
            (t, y, size // (t * y))
            for t in range(1, size + 1)
            for y in range(1, size // t + 1)
            if size % (t * y) == 0
        ]
        return min(shapes, key=lambda tile: self.groups(tile) * prod(self.box(tile)))

    def box(self, tile: Grid) -> Grid:
        """The keys along each axis that the queries of a tile see together, at most."""
        if self.radius is None:
            return self.keys
        t, y, x = (
            min((side + 2 * reach - 2) // cell + 2, keys)
            for side, reach, cell, keys in zip(tile, self.radius, self.cell, self.keys, strict=True)
        )
        return t, y, x

    def groups(self, tile: Grid) -> int:
        """How many tiles there are."""
        return prod(self._tiles(tile))

    def _tiles(self, tile: Grid) -> Grid:
        t, y, x = (-(-n // side) for n, side in zip(self._grid(), tile, strict=True))
        return t, y, x

    def _grid(self) -> Grid:
        """Without windows, neighbours need not be near: all queries are one line."""
        return (1, 1, prod(self.queries)) if self.radius is None else self.queries

    def order(self, tile: Grid, groups: range) -> NDArray[np.int64]:
        """Queries of these tiles, tile after tile; the last of an axis repeats where it ends."""
        corners = np.stack(np.unravel_index(np.array(groups), self._tiles(tile)), -1) * tile
        inside = np.stack(np.unravel_index(np.arange(prod(tile)), tile), -1)
        places = np.minimum(corners[:, None] + inside, np.array(self._grid()) - 1)
        flat = np.ravel_multi_index(tuple(np.moveaxis(places, -1, 0)), self._grid())
        return np.ascontiguousarray(flat, dtype=np.int64)
