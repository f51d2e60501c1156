"""Sums over boxes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def box_sums(samples: NDArray[Any], rows: int, columns: int) -> NDArray[np.float64]:
    """Sums over all boxes inside a picture.

    Parameters
    ----------
    samples : ndarray, shape (Y, X) or (Y, X, C)
    rows, columns : int
        Size of the boxes, at most the picture's.

    Returns
    -------
    ndarray of float64, shape (Y - rows + 1, X - columns + 1) or (..., C)
        By the box's first row and column.
    """
    margins = [(1, 0), (1, 0)] + [(0, 0)] * (samples.ndim - 2)
    sums = np.pad(samples.astype(np.float64), margins).cumsum(0).cumsum(1)
    bands = sums[rows:] - sums[:-rows]
    return np.asarray(bands[:, columns:] - bands[:, :-columns])
