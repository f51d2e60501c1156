"""Numba kernel of the non-local operation: weighted sums over keys, never all weights at once.

Each lane of a vector is a query of its own; `GROUP` vectors of queries are taken together and meet
the keys in blocks of `BLOCK`. Both halves of the work are small matrix products whose sums stay in
registers: `score` (keys times queries, `KEYS` keys at a time) and `gather` (values times weights,
`KEYS` channels at a time).

- The softmax is an online one (Milakov & Gimelshein, arXiv:1805.02867): weights are taken relative
  to the largest score so far, and when that grows, what was summed is scaled down. Scores may be
  of any size, and are in units of log(2).
- With windows, a group of queries shares the smallest box of keys that holds all their windows.
  What a query does not see is taken out by its penalty: a sum of one table along the rows and one
  number for each row.
- The row of keys after the last is a filler that counts for nothing: blocks are filled up with it.
"""

from collections.abc import Callable

import numpy as np
from numba import float32, int64, types, void

from nlm.backends.simd import inlined, simd

SOFTMAX, LINEAR, RELU = range(3)
"""What becomes of scores: exp, normalised by its sum; nothing; cut off below zero."""
BLOCK = 64
HIDDEN = -1e30
"""Penalty of what is not to be seen."""
LOWEST = -64
"""Weights of 2^LOWEST of the largest and below are zero: denormal numbers are very slow."""
NOTHING = -1e25
"""The largest score before there was any; scores have to be above."""


def build(name: str, **constants: int) -> tuple[Callable, types.Type]:
    assert name == "attend"
    return attend(**constants)


def attend(
    width: int, group: int, form: int, distance: int, windowed: int
) -> tuple[Callable, types.Type]:
    """The kernel of one form; distance: scores are squared distances; windowed: within boxes."""
    WIDTH, GROUP, FORM = width, group, form
    DISTANCE, WINDOWED = bool(distance), bool(windowed)
    KEYS = 4 if width == 8 else 8  # so that sums, queries and a key fit the registers
    SUMS = KEYS * GROUP
    ops = simd(width)
    load, store, splat, registers = ops.load, ops.store, ops.splat, ops.registers
    minimum, maximum, exp2 = ops.minimum, ops.maximum, ops.exp2
    ZERO, ONE, LEAST = np.float32(0), np.float32(1), np.float32(LOWEST)
    FAR, START = np.float32(-HIDDEN), np.float32(NOTHING)

    inline = inlined()

    @inline
    def take(queries, packed, order, first, depth):
        """Interleave the queries of one group."""
        for lane in range(GROUP * WIDTH):
            row = order[first + lane] * depth
            for c in range(depth):
                packed[c * GROUP * WIDTH + lane] = queries[row + c]

    @inline
    def score(packed, keys, biases, rows, penalties, scores, top, count, depth, scale):
        """Scores of a block of keys; `top` rises to the largest."""
        for k in range(0, count, KEYS):
            sums = registers(SUMS)
            for c in range(depth):
                for a in range(KEYS):
                    key = splat(keys[rows[k + a] * depth + c])
                    for q in range(GROUP):
                        query = load(packed, c * GROUP + q)
                        if DISTANCE:
                            query = query - key
                            sums[a * GROUP + q] = sums[a * GROUP + q] + query * query
                        else:
                            sums[a * GROUP + q] = sums[a * GROUP + q] + query * key
            for a in range(KEYS):
                bias = splat(biases[rows[k + a]])
                for q in range(GROUP):
                    s = sums[a * GROUP + q] * scale + bias
                    if WINDOWED:
                        penalty = load(penalties, (k + a) * GROUP + q)
                        if FORM == LINEAR:
                            s = s * maximum(penalty + splat(ONE), splat(ZERO))
                        else:
                            s = s + penalty
                    if FORM == SOFTMAX:
                        store(top, q, maximum(load(top, q), s))
                    if FORM == RELU:
                        s = maximum(s, splat(ZERO))
                    store(scores, (k + a) * GROUP + q, s)

    @inline
    def power(a):
        """2^a for a <= 0, or zero."""
        return exp2(maximum(a, splat(LEAST))) - exp2(splat(LEAST))

    @inline
    def weigh(scores, top, before, factors, masses, count):
        """Turn scores into weights relative to the largest score, and sum them."""
        for q in range(GROUP):
            largest = load(top, q)
            factor = power(load(before, q) - largest)
            mass = load(masses, q) * factor
            for k in range(count):
                weight = power(load(scores, k * GROUP + q) - largest)
                store(scores, k * GROUP + q, weight)
                mass = mass + weight
            store(masses, q, mass)
            store(factors, q, factor)
            store(before, q, largest)

    @inline
    def gather(weights, values, rows, factors, sums, count, channels):
        """Add a block's values times their weights."""
        for first in range(0, channels, KEYS):
            totals = registers(SUMS)
            for c in range(KEYS):
                for q in range(GROUP):
                    total = load(sums, (first + c) * GROUP + q)
                    if FORM == SOFTMAX:
                        total = total * load(factors, q)
                    totals[c * GROUP + q] = total
            for k in range(count):
                row = rows[k] * channels + first
                for c in range(KEYS):
                    value = splat(values[row + c])
                    for q in range(GROUP):
                        product = load(weights, k * GROUP + q) * value
                        totals[c * GROUP + q] = totals[c * GROUP + q] + product
            for c in range(KEYS):
                for q in range(GROUP):
                    store(sums, (first + c) * GROUP + q, totals[c * GROUP + q])

    @inline
    def give(sums, masses, out, order, first, out_channels):
        """Hand out the sums, normalised where that is the kernel's part."""
        for c in range(out_channels):
            for q in range(GROUP):
                k = c * GROUP + q
                if FORM == SOFTMAX:
                    store(sums, k, load(sums, k) / load(masses, q))
        for lane in range(GROUP * WIDTH):
            row = order[first + lane] * out_channels
            for c in range(out_channels):
                out[row + c] = sums[c * GROUP * WIDTH + lane]

    @inline
    def find_box(order, first, bounds, sizes, place, edges):
        """The box of all windows of a group and, relative to its corner, each window's edges.

        `bounds` holds low and high for every position of the first axis, then of the others.
        `place` becomes the next key to list (t, y, x in the box), the box's corner and its sides.
        """
        stride, table = sizes[0] * sizes[1] * sizes[2], 0
        for axis in range(3):
            size = sizes[axis]
            block, stride = stride, stride // size
            low, high = sizes[3 + axis], -1
            for lane in range(GROUP * WIDTH):
                i = table + order[first + lane] % block // stride
                low, high = min(low, bounds[i]), max(high, bounds[i + size])
            for lane in range(GROUP * WIDTH):
                i = table + order[first + lane] % block // stride
                edges[2 * axis * GROUP * WIDTH + lane] = np.float32(bounds[i] - low)
                edges[(2 * axis + 1) * GROUP * WIDTH + lane] = np.float32(bounds[i + size] - low)
            place[axis], place[3 + axis], place[6 + axis] = 0, low, high - low + 1
            table += 2 * size

    @inline
    def penalty_of(edges, axis, q, position):
        """Zero within the window of the lane's query, very negative beyond."""
        here = splat(np.float32(position))
        inside = here - load(edges, 2 * axis * GROUP + q)
        inside = minimum(inside, load(edges, (2 * axis + 1) * GROUP + q) - here)
        return minimum(inside, splat(ZERO)) * splat(FAR)

    @inline
    def list_keys(rows, penalties, columns, line, edges, sizes, place, count):
        """List the next keys of the box, with their penalties."""
        for k in range(count):
            t, y, x = place[0], place[1], place[2]
            if x == 0:
                for q in range(GROUP):
                    store(line, q, penalty_of(edges, 0, q, t) + penalty_of(edges, 1, q, y))
            rows[k] = ((place[3] + t) * sizes[4] + place[4] + y) * sizes[5] + place[5] + x
            for q in range(GROUP):
                store(penalties, k * GROUP + q, load(columns, x * GROUP + q) + load(line, q))
            place[2] = x + 1
            if place[2] == place[8]:
                place[2], place[1] = 0, y + 1
            if place[1] == place[7]:
                place[1], place[0] = 0, t + 1

    def kernel(
        queries, keys, values, biases, out,
        packed, scores, sums, top, before, factors, masses, penalties, columns, line, edges,
        order, rows, bounds, sizes, place,
        first_group, end_group, key_count, depth, channels, out_channels, scale_,
    ):  # fmt: skip
        scale = splat(scale_)
        for group_index in range(first_group, end_group):
            first = group_index * GROUP * WIDTH
            take(queries, packed, order, first, depth)
            for q in range(GROUP):
                store(top, q, splat(START))
                store(before, q, splat(START))
                store(masses, q, splat(ZERO))
            for k in range(channels * GROUP):
                store(sums, k, splat(ZERO))
            seen = key_count
            if WINDOWED:
                find_box(order, first, bounds, sizes, place, edges)
                seen = place[6] * place[7] * place[8]
                for x in range(place[8]):
                    for q in range(GROUP):
                        store(columns, x * GROUP + q, penalty_of(edges, 2, q, x))
            for start in range(0, seen, BLOCK):
                count = min(BLOCK, seen - start)
                filled = (count + KEYS - 1) // KEYS * KEYS
                if WINDOWED:
                    list_keys(rows, penalties, columns, line, edges, sizes, place, count)
                else:
                    for k in range(count):
                        rows[k] = start + k
                for k in range(count, filled):
                    rows[k] = key_count
                    for q in range(GROUP):
                        store(penalties, k * GROUP + q, splat(ZERO))
                score(packed, keys, biases, rows, penalties, scores, top, filled, depth, scale)
                if FORM == SOFTMAX:
                    weigh(scores, top, before, factors, masses, filled)
                gather(scores, values, rows, factors, sums, filled, channels)
            give(sums, masses, out, order, first, out_channels)

    numbers, integers = types.CPointer(float32), types.CPointer(int64)
    arguments = [numbers] * 16 + [integers] * 5 + [int64] * 6 + [float32]
    return kernel, void(*arguments)
