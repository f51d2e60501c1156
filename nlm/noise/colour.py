"""An orthonormal luma/chroma space: white noise stays white, with the same level everywhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["OPPONENT", "from_opponent", "to_opponent"]

OPPONENT: NDArray[np.float32] = np.array(
    [
        [3**-0.5, 3**-0.5, 3**-0.5],
        [2**-0.5, 0.0, -(2**-0.5)],
        [6**-0.5, -2 * 6**-0.5, 6**-0.5],
    ],
    np.float32,
)
"""Rows: luma (R+G+B)/sqrt 3, red-blue (R-B)/sqrt 2, magenta-green (R-2G+B)/sqrt 6."""
OPPONENT.flags.writeable = False


def to_opponent(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """RGB, shape (..., 3), to luma and two chroma channels."""
    return pixels @ OPPONENT.T


def from_opponent(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Inverse of :func:`to_opponent`."""
    return pixels @ OPPONENT
