"""The generic non-local operation on the CPU: arrays in, arrays out."""

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlm.backends.compiled import kernel, simd_width
from nlm.backends.cpu_tiles import ForEach, aligned_areas
from nlm.backends.neighbours import Grid, Neighbours
from nlm.backends.threads import for_each

SOFTMAX, LINEAR, RELU = range(3)  # forms of the kernel, see cpu_attention.py
BLOCK = 64
"""Keys that the kernel takes at a time."""
GROUP = {False: 3, True: 1}
"""Vectors of queries that the kernel takes together: without windows, and with."""
CHANNELS = 8
"""Channels of values are filled up to a multiple of this."""
JOBS, LONGEST_JOB, LEAST_WORK = 64, 1024, 2**15
"""Pieces that queries are cut into for the threads, at most; groups of queries in a piece, at
most; and keys that a piece meets, at least."""
LOG2_E = float(np.log2(np.e))
HIDDEN = -1e30
"""Bias of the key that fills up a block and is not to be seen."""

Matrix = NDArray[np.float32]


def non_local(
    queries: Matrix,
    keys: Matrix,
    values: Matrix,
    *,
    pairwise: str,
    w_f: Matrix | None = None,
    scale: float = 1.0,
    radius: Grid | None = None,
    cell: Grid = (1, 1, 1),
    for_each: ForEach = for_each,
) -> Matrix:
    """Weighted means of values, the weights being a function of queries and keys.

    Parameters
    ----------
    queries, keys : ndarray of float32, shape (T, Y, X, d)
    values : ndarray of float32, shape (T, Y, X, C)
    pairwise : str
        As in `nlm.non_local`.
    w_f : ndarray of float32, shape (2 * d,), optional
        Of "concatenation".
    scale : float
        Multiplies the scores.
    radius : (int, int, int), optional
        Reach of the window in time, rows and columns; None = all keys.
    cell : (int, int, int)
        Keys and values are max-pooled over cells of so many positions.
    for_each : callable
        Runs a function over jobs, in parallel.

    Returns
    -------
    ndarray of float32, shape (T, Y, X, C)
    """
    return weighted_means(
        *(queries, keys, values, pairwise, w_f, scale, radius, cell),
        partial(attend, for_each=for_each),
    )


def weighted_means(
    queries: Matrix,
    keys: Matrix,
    values: Matrix,
    pairwise: str,
    w_f: Matrix | None,
    scale: float,
    radius: Grid | None,
    cell: Grid,
    attend: Callable[..., Matrix],
) -> Matrix:
    """Do what `non_local` does, with this module's `attend` or its twin for another machine."""
    keys, values = max_pool(keys, cell), max_pool(values, cell)
    near = Neighbours(shape_of(queries), shape_of(keys), cell, radius)
    q, k, v = (
        np.ascontiguousarray(one.reshape(-1, one.shape[-1])) for one in (queries, keys, values)
    )
    if pairwise == "dot_product":
        y = dot_product(q, k, v, near, attend) * (scale / near.seen())
    elif pairwise == "concatenation":
        assert w_f is not None
        own, other = q @ w_f[: q.shape[1], None], k @ w_f[q.shape[1] :]
        y = concatenation(own, other, v, near, attend) * (scale / near.seen())
    elif pairwise == "distance":
        y = attend(q, k, v, near, scale=-scale, distance=True)
    else:
        y = attend(q, k, v, near, scale=scale)
    return y.astype(np.float32, copy=False).reshape(*queries.shape[:3], -1)


def dot_product(
    queries: Matrix,
    keys: Matrix,
    values: Matrix,
    near: Neighbours,
    attend: Callable[..., Matrix],
) -> Matrix:
    """Sum of values times query . key; without windows re-associated, in linear time."""
    if near.radius is None:
        return np.asarray(queries @ (keys.T @ values))
    return attend(queries, keys, values, near, form=LINEAR)


def concatenation(
    own: Matrix,
    other: Matrix,
    values: Matrix,
    near: Neighbours,
    attend: Callable[..., Matrix],
) -> Matrix:
    """Sum of values times ReLU(own + other), `own` (N, 1) of the queries, `other` (M,) of the keys.

    Over all keys, each query sees those above -own: sums over sorted keys, up to there.
    """
    if near.radius is not None:
        ones = np.ones((len(values), 1), np.float32)
        return attend(own, ones, values, near, form=RELU, bias=other)
    order = np.argsort(-other)
    descending = other[order].astype(np.float64)
    sums = np.zeros((2, len(values) + 1, values.shape[1]))
    np.cumsum(values[order], axis=0, dtype=np.float64, out=sums[0, 1:])
    np.cumsum(values[order] * descending[:, None], axis=0, out=sums[1, 1:])
    seen = np.searchsorted(-descending, own[:, 0].astype(np.float64))
    return np.asarray(own * sums[0, seen] + sums[1, seen], np.float32)


def attend(
    queries: Matrix,
    keys: Matrix,
    values: Matrix,
    near: Neighbours,
    *,
    form: int = SOFTMAX,
    distance: bool = False,
    scale: float = 1.0,
    bias: Matrix | None = None,
    for_each: ForEach = for_each,
) -> Matrix:
    """Sum of values, weighted by a function of scores, over the keys near each query.

    Parameters
    ----------
    queries : ndarray of float32, shape (N, d)
    keys, values : ndarray of float32, shapes (M, d) and (M, C)
    near : Neighbours
    form : int
        What weights are: the softmax of the scores; the scores; the scores cut off below zero.
    distance : bool
        Scores are scale * |query - key|^2 + bias; otherwise scale * query . key + bias.
    scale : float
    bias : ndarray of float32, shape (M,), optional
    for_each : callable

    Returns
    -------
    ndarray of float32, shape (N, C)
    """
    windowed = near.radius is not None
    group, unit = GROUP[windowed], LOG2_E if form == SOFTMAX else 1.0
    run = _kernel(form, distance, windowed)
    last = [0.0 if form == LINEAR else HIDDEN]
    biases = np.append(np.zeros(len(keys)) if bias is None else bias * unit, last)
    out = np.empty((len(queries), values.shape[1]), np.float32)
    channels = -(-values.shape[1] // CHANNELS) * CHANNELS
    inputs = [
        np.ascontiguousarray(queries, np.float32),
        np.pad(keys, ((0, 1), (0, 0))),  # and the filler
        np.pad(values, ((0, 1), (0, channels - values.shape[1]))),
        biases.astype(np.float32),
    ]
    tile = near.tile(group * simd_width())
    box = near.box(tile)
    sizes = scratch(queries.shape[1], channels, box[2] if windowed else 0)
    tables = near.tables()
    counts = (queries.shape[1], channels, values.shape[1])

    def work(groups: range) -> None:
        areas = aligned_areas([group * size for size in sizes])
        order, rows, place = near.order(tile, groups), *(np.empty(n, np.int64) for n in (BLOCK, 9))
        arrays: tuple[NDArray[Any], ...] = (*inputs, out, *areas, order, rows, *tables, place)
        addresses = (array.ctypes.data for array in arrays)
        run(*addresses, 0, len(groups), len(keys), *counts, scale * unit)

    for_each(work, jobs(near.groups(tile), prod(box)))
    return out


def _kernel(form: int, distance: bool, windowed: bool) -> Callable[..., None]:
    return kernel(
        "cpu_attention",
        "attend",
        group=GROUP[windowed],
        form=form,
        distance=int(distance),
        windowed=int(windowed),
    )


def scratch(depth: int, channels: int, columns: int) -> list[int]:
    """Vectors for each of the kernel's areas, per vector of queries, in the order of arguments."""
    return [depth, BLOCK, channels, 1, 1, 1, 1, BLOCK, columns, 1, 6]


def jobs(groups: int, keys: int) -> list[range]:
    """All groups of queries, each of which meets so many keys, cut into pieces for the threads."""
    size = min(LONGEST_JOB, max(-(-groups // JOBS), LEAST_WORK // keys, 1))
    return [range(k, min(k + size, groups)) for k in range(0, groups, size)]


def max_pool(picture: Matrix, cell: Grid) -> Matrix:
    """The largest value of each channel in every whole cell of (T, Y, X, C)."""
    if cell == (1, 1, 1):
        return picture
    t, y, x = (n // size for n, size in zip(picture.shape, cell, strict=False))
    whole = picture[: t * cell[0], : y * cell[1], : x * cell[2]]
    parts = whole.reshape(t, cell[0], y, cell[1], x, cell[2], -1)
    return np.asarray(parts.max(axis=(1, 3, 5)))


def shape_of(picture: Matrix) -> Grid:
    """Sizes of (T, Y, X, C) without the channels."""
    t, y, x = picture.shape[:3]
    return t, y, x
