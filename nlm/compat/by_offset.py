"""Non-local means offset by offset, in NumPy: any patch weights, any distance, any axes.

What the kernels leave out for their speed: patches whose pixels count differently, and distances
that are not squared.
"""

from collections.abc import Callable
from itertools import product

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


def by_offset(
    image: Array,
    radius: int,
    taps: Array,
    compare: Callable[[Array], Array],
    weigh: Callable[[Array], Array],
) -> Array:
    """Pixelwise non-local means; candidates lie inside the image, patches go on by reflection.

    Parameters
    ----------
    image : ndarray, shape (..., C)
    radius : int
        Reach of the search window along every axis, in pixels.
    taps : ndarray, shape (patch side,)
        Weights of a patch's pixels along each axis; their sum is 1.
    compare : callable
        Makes differences of channels the distance of two pixels: (..., C) to (...).
    weigh : callable
        Makes distances of patches weights.

    Returns
    -------
    ndarray, shape and dtype of `image`
    """
    shape, half = image.shape[:-1], len(taps) // 2
    padded = np.pad(image, [*((half, half) for _ in shape), (0, 0)], "reflect")
    total = np.array(image, np.float64)
    mass = np.ones(shape)
    reach = [min(radius, size - 1) for size in shape]
    for offset in product(*(range(-r, r + 1) for r in reach)):
        if offset <= (0,) * len(shape):  # each pair once
            continue
        here, there = (
            tuple(
                slice(max(0, -sign * step), size - max(0, sign * step))
                for step, size in zip(offset, shape, strict=True)
            )
            for sign in (1, -1)
        )
        wide = [
            tuple(slice(part.start, part.stop + 2 * half) for part in parts)
            for parts in (here, there)
        ]
        distance = compare(padded[wide[0]] - padded[wide[1]])
        w = weigh(_filtered(distance, taps))
        total[here] += w[..., None] * image[there]
        total[there] += w[..., None] * image[here]
        mass[here] += w
        mass[there] += w
    return (total / mass[..., None]).astype(image.dtype)


def _filtered(x: Array, taps: Array) -> Array:
    """Weighted means over patches that lie in the array, along all its axes."""
    for axis in range(x.ndim):
        size = x.shape[axis] - len(taps) + 1
        parts = (np.take(x, range(k, k + size), axis) for k in range(len(taps)))
        x = np.sum([tap * part for tap, part in zip(taps, parts, strict=True)], axis=0)
    return x
