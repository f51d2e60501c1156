"""Numba kernel of the non-local operation in a sliding square window, for `nlnet`.

Maps are lines of channels, ``(y, channel, x)``, with a margin as wide as the window reaches: what
a window sees lies on few pages of memory. A vector holds
queries that stand side by side; the keys that all of them see at one offset are a vector, too, that
begins at that offset. `LINES` vectors of queries below each other are taken together, since nearly
all that one of them sees the others see too: first all their scores are computed, `TOGETHER`
offsets at a time, then the softmax, then the weighted sums, `TOGETHER` channels at a time.

Keys may come from several maps, those of neighbouring frames. The softmax streams over these: what
was summed of the earlier ones is scaled whenever a higher score turns up.

The bias of keys in the margin is so low that they weigh nothing. Scores are in units of log(2).
"""

from collections.abc import Callable

import numpy as np
from numba import float32, int64, types, void

from nlm.backends.simd import inlined, simd

LOWEST = -64
"""Weights of 2^LOWEST of the largest and below are zero: denormal numbers are very slow."""
START = -1e38
LOG2_E = float(np.log2(np.e))


def build(name: str, **constants: int) -> tuple[Callable, types.Type]:
    return {"spread": spread, "attend": attend}[name](**constants)


def spread(width: int, distance: int) -> tuple[Callable, types.Type]:
    """The kernel that writes maps of theta, phi and g from blocks of channels to lines.

    Scores become theta_i . phi_j + bias_j; with distance, they stand for -|theta_i - phi_j|^2
    (but for |theta_i|^2, which cancels).
    """
    WIDTH, DISTANCE = width, bool(distance)
    ZERO, ONE = np.float32(0), np.float32(1)
    UNIT = np.float32(LOG2_E)
    SCALE = np.float32(2 * LOG2_E) if DISTANCE else UNIT

    def kernel(
        source, queries, keys, biases,
        source_block, source_row, line, query_row, key_row, margin,
        first_row, last_row, columns, channels,
    ):  # fmt: skip
        for y in range(first_row, last_row):
            key_here = (y + margin) * key_row + margin
            query_here = (y + margin) * query_row + margin
            for x in range(columns):
                biases[key_here + x] = ZERO
            for c in range(3 * channels):
                is_query = c < channels
                scale = SCALE if is_query else ONE
                target = queries if is_query else keys
                k = c // WIDTH * source_block + y * source_row + c % WIDTH
                place = c * line + query_here
                if not is_query:
                    place = (c - channels) * line + key_here
                for x in range(columns):
                    target[place + x] = source[k + x * WIDTH] * scale
                if DISTANCE and channels <= c and c < 2 * channels:
                    for x in range(columns):
                        key = keys[place + x]
                        biases[key_here + x] = biases[key_here + x] - UNIT * key * key

    numbers = types.CPointer(float32)
    return kernel, void(*[numbers] * 4 + [int64] * 10)


def attend(width: int, lines: int, together: int) -> tuple[Callable, types.Type]:
    """The kernel for so many lines of queries, and offsets or channels, taken together."""
    WIDTH, LINES, TOGETHER = width, lines, together
    SUMS = LINES * TOGETHER
    ops = simd(width)
    load, store, splat, registers = ops.load, ops.store, ops.splat, ops.registers
    load_from, store_from, maximum, exp2 = ops.load_from, ops.store_from, ops.maximum, ops.exp2
    ZERO, LEAST, LOW = np.float32(0), np.float32(LOWEST), np.float32(START)

    inline = inlined()

    @inline
    def score(
        queries, keys, biases, offsets, scores, query_here, here, map, plane, query_row, channels,
        count,
    ):  # fmt: skip
        """Scores of all keys of a map, those of each line one after another."""
        for k in range(0, count, TOGETHER):
            sums = registers(SUMS)
            for a in range(TOGETHER):
                bias = load_from(biases, map + here + offsets[k + a])
                for q in range(LINES):
                    sums[a * LINES + q] = bias
            for c in range(channels):
                first = c * plane + here
                line = registers(LINES)
                for q in range(LINES):
                    line[q] = load_from(queries, c * plane + query_here + q * query_row)
                for a in range(TOGETHER):
                    key = load_from(keys, map + first + offsets[k + a])
                    for q in range(LINES):
                        sums[a * LINES + q] = sums[a * LINES + q] + line[q] * key
            for a in range(TOGETHER):
                for q in range(LINES):
                    store(scores, (k + a) * LINES + q, sums[a * LINES + q])

    @inline
    def softmax(scores, state, count, first, seen):
        """Turn each line's scores into weights, which are zero for keys that it does not see.

        `state` holds each line's sum of weights, what earlier sums are to be scaled by, and the
        highest score so far.
        """
        for q in range(LINES):
            low = q * first
            before = load(state, 2 * LINES + q)
            top = before
            for k in range(low, low + seen):
                top = maximum(top, load(scores, k * LINES + q))
            earlier = exp2(maximum(before - top, splat(LEAST))) - exp2(splat(LEAST))
            mass = load(state, q) * earlier
            for k in range(low, low + seen):
                s = maximum(load(scores, k * LINES + q) - top, splat(LEAST))
                weight = exp2(s) - exp2(splat(LEAST))
                store(scores, k * LINES + q, weight)
                mass = mass + weight
            store(state, q, mass)
            store(state, LINES + q, earlier)
            store(state, 2 * LINES + q, top)
            for k in range(low):
                store(scores, k * LINES + q, splat(ZERO))
            for k in range(low + seen, count):
                store(scores, k * LINES + q, splat(ZERO))

    @inline
    def average(
        values, scores, state, offsets, out, here, map, place, plane, row, out_plane, channels,
        count, is_first, is_last,
    ):  # fmt: skip
        """Add a map's values by their weights; of the last map, divide by the sum of all."""
        for c in range(0, channels, TOGETHER):
            sums = registers(SUMS)
            if not is_first:
                for a in range(TOGETHER):
                    for q in range(LINES):
                        earlier = load_from(out, place + (c + a) * out_plane + q * row)
                        sums[a * LINES + q] = earlier * load(state, LINES + q)
            for k in range(count):
                first = map + c * plane + here + offsets[k]
                line = registers(LINES)
                for q in range(LINES):
                    line[q] = load(scores, k * LINES + q)
                for a in range(TOGETHER):
                    value = load_from(values, a * plane + first)
                    for q in range(LINES):
                        sums[a * LINES + q] = sums[a * LINES + q] + line[q] * value
            if is_last:
                for a in range(TOGETHER):
                    for q in range(LINES):
                        sums[a * LINES + q] = sums[a * LINES + q] / load(state, q)
            for a in range(TOGETHER):
                for q in range(LINES):
                    store_from(out, place + (c + a) * out_plane + q * row, sums[a * LINES + q])

    def kernel(
        queries, keys, values, biases, out, scores, state, offsets, maps,
        plane, query_row, key_row, out_plane, out_row, margin,
        last_row, columns, channels, count, side, map_count,
    ):  # fmt: skip
        for y in range(0, last_row, LINES):
            for x in range(0, columns, WIDTH):
                query_here = (y + margin) * query_row + margin + x
                here = (y + margin) * key_row + margin + x
                for q in range(LINES):
                    store(state, q, splat(ZERO))
                    store(state, 2 * LINES + q, splat(LOW))
                for m in range(map_count):
                    score(
                        queries, keys, biases, offsets, scores, query_here, here, maps[m], plane,
                        query_row, channels, count,
                    )  # fmt: skip
                    softmax(scores, state, count, side, side * side)
                    average(
                        values, scores, state, offsets, out, here, maps[m], y * out_row + x,
                        plane, out_row, out_plane, channels, count, m == 0, m == map_count - 1,
                    )  # fmt: skip

    numbers, indices = types.CPointer(float32), types.CPointer(int64)
    arguments = [numbers] * 7 + [indices] * 2 + [int64] * 12
    return kernel, void(*arguments)
