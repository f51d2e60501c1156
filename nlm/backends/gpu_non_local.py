"""The generic non-local operation on the GPU: arrays in, arrays out, as in `cpu_non_local.py`."""

import logging
from functools import partial
from typing import Any

import numpy as np

from nlm.backends import cpu_non_local, gpu_device, gpu_softmax
from nlm.backends.cpu_non_local import HIDDEN, LINEAR, LOG2_E, SOFTMAX, Matrix
from nlm.backends.cpu_tiles import ForEach
from nlm.backends.neighbours import Grid, Neighbours
from nlm.backends.threads import for_each

log = logging.getLogger(__name__)

QUERIES, KEYS, CHANNELS, SLICE, THREADS = 128, 64, 64, 16, 256
"""What a block takes together and how many threads it has; see cuda/attention.cu."""
SHARED = 4 * (KEYS * (QUERIES + 4) + KEYS * (CHANNELS + 4) + 5 * KEYS + 6 * QUERIES)
"""Bytes of shared memory of a block."""


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
    """Weighted means of values; see `cpu_non_local.non_local`.

    What takes time linear in the number of positions gains nothing from a card and is the CPU's:
    "dot_product" and "concatenation" over all keys.
    """
    how = (pairwise, w_f, scale, radius, cell)
    try:
        means = cpu_non_local.weighted_means(queries, keys, values, *how, attend)
    except gpu_device.device().out_of_memory:
        log.info("the GPU's memory is too small for these positions: they go to the CPU")
        on_cpu = partial(cpu_non_local.attend, for_each=for_each)
        means = cpu_non_local.weighted_means(queries, keys, values, *how, on_cpu)
    return means


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
) -> Matrix:
    """Sum of values, weighted by a function of scores; see `cpu_non_local.attend`."""
    device = gpu_device.device()
    q, k, v = map(device.put, (queries, keys, values))
    b = None if bias is None else device.put(bias)
    sums = attend_on_card(q, k, v, near, form=form, distance=distance, scale=scale, bias=b)
    return np.asarray(device.get(sums))


def attend_on_card(
    queries: Any,
    keys: Any,
    values: Any,
    near: Neighbours,
    *,
    form: int = SOFTMAX,
    distance: bool = False,
    scale: float = 1.0,
    bias: Any = None,
) -> Any:
    """Do what `attend` does, with arrays that lie on the card."""
    device = gpu_device.device()
    plain = form == SOFTMAX and not distance and near.radius is None and bias is None
    if plain and device.tensor_cores and queries.shape[1] <= gpu_softmax.MOST_DEPTH:
        return gpu_softmax.attend(queries, keys, values, scale)
    zeros, put = device.xp.zeros, device.put
    unit = LOG2_E if form == SOFTMAX else 1.0
    tile = near.tile(QUERIES)
    order = put(near.order(tile, range(near.groups(tile))).ravel().astype(np.int32))
    count, depth, channels = len(keys), queries.shape[1], values.shape[1]
    query_planes = zeros((rounded_up(depth, SLICE), len(order)), np.float32)
    query_planes[:depth] = queries[order].T
    key_planes = zeros((rounded_up(depth, SLICE), count + 1), np.float32)
    key_planes[:depth, :-1] = keys.T
    value_rows = zeros((count + 1, rounded_up(channels, CHANNELS)), np.float32)
    value_rows[:-1, :channels] = values
    biases = zeros(count + 1, np.float32)
    biases[-1] = 0.0 if form == LINEAR else HIDDEN
    if bias is not None:
        biases[:-1] = bias * unit
    out = device.xp.empty((len(queries), channels), np.float32)
    device.launch(
        "attention.cu",
        "attend",
        (
            ("FORM", form),
            ("DISTANCE", int(distance)),
            ("WINDOWED", int(near.radius is not None)),
        ),
        (len(order) // QUERIES, value_rows.shape[1] // CHANNELS),
        THREADS,
        (
            *(query_planes, key_planes, value_rows, biases, out, order),
            *(put(near.tables()[0].astype(np.int32)), *near.queries, *near.keys),
            *(len(query_planes), value_rows.shape[1], channels, float(scale * unit)),
        ),
        SHARED,
    )
    return out


def rounded_up(size: int, unit: int) -> int:
    """The next multiple of `unit`."""
    return -(-size // unit) * unit
