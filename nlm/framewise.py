"""Filters that know gray and colour pictures only, applied to frames of any kind."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def framewise(
    apply: Callable[[NDArray[np.float64]], NDArray[Any]],
    frames: NDArray[np.float32],
    smallest: int = 1,
) -> NDArray[np.float32]:
    """Apply a filter picture by picture.

    Parameters
    ----------
    apply : callable
        float64 (Y, X, C) to the same shape, C being 1 or 3.
    frames : ndarray of float32, shape (T, Y, X, C)
        Three channels are a colour picture; any other number is so many gray ones.
    smallest : int
        Rows and columns that the filter needs; smaller pictures are continued by reflection.

    Returns
    -------
    ndarray of float32, shape (T, Y, X, C)
    """
    rows, columns, channels = frames.shape[1:]
    step = 3 if channels == 3 else 1
    margins = [(0, max(0, smallest - size)) for size in (rows, columns)]
    filtered = np.empty_like(frames)
    for frame, result in zip(frames, filtered, strict=True):
        for c in range(0, channels, step):
            part = frame[..., c : c + step].astype(np.float64, "C")
            padded = np.pad(part, [*margins, (0, 0)], "symmetric")
            result[..., c : c + step] = apply(padded)[:rows, :columns]
    return filtered
