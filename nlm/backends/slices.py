"""Which slices of a volume or frames of a clip are compared with which."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Neighbourhood:
    """Which slices are compared with which.

    Attributes
    ----------
    slices : ndarray of int64, shape (jobs, 1 + neighbours, stack)
        For each slice to work on the stack of slices round it, then those round its neighbours.
    itself : int
        Which neighbour is the slice itself.
    """

    slices: Indices
    itself: int

    @classmethod
    def of(cls, shape: tuple[int, ...], radius: int, half: int, reach: int = 0) -> "Neighbourhood":
        """Of slices on a grid that is continued by reflection.

        Slices up to `reach` beyond the grid's ends are worked on, too.
        """
        long = [size > 1 for size in shape]
        places = grid(
            tuple((-reach * far, n + reach * far) for far, n in zip(long, shape, strict=True))
        )
        offsets = grid(tuple((-radius * far, radius * far + 1) for far in long))
        stack = grid(tuple((-half * far, half * far + 1) for far in long))
        centres = np.concatenate([np.zeros_like(offsets[:1]), offsets])
        at = places[:, None, None] + centres[:, None] + stack  # (jobs, 1 + neighbours, stack, axes)
        for axis, size in enumerate(shape):
            at[..., axis] = reflect(at[..., axis], size)
        slices = np.ravel_multi_index(tuple(np.moveaxis(at, -1, 0)), shape)
        return cls(np.ascontiguousarray(slices, np.int64), len(offsets) // 2)


def grid(ranges: tuple[tuple[int, int], ...]) -> Indices:
    """All positions of a grid, shape (positions, axes)."""
    positions = list(product(*(range(*one) for one in ranges)))
    return np.array(positions, np.int64).reshape(len(positions), len(ranges))


def reflect(position: Indices, size: int) -> Indices:
    """Positions beyond an axis, continued by reflection."""
    if size == 1:
        return np.zeros_like(position)
    position = np.abs(position) % (2 * size - 2)
    return np.minimum(position, 2 * size - 2 - position)
