"""Numba kernel of non-local means: one visit to every pair of patches in a search window.

Each lane of a vector works on a picture tile of its own (`simd.py`), so this reads as code for one
tile. A tile is stored with a halo of `margin` pixels on each side at vector index
``(channel * tile_rows + y) * stride + x``.

- Pairs are symmetric: the weight of (i, j = i + offset) is computed once, for half of the offsets,
  and used for both pixels.
- `GROUP` neighbouring offsets in x are taken together. What they give to i is summed in registers,
  and so is what they give to j, in a chain of sums that moves along with x.
- Patch distances are box sums of squared differences, kept up recursively in y (one sum per
  column) and in x. Squared differences are capped where the weight is zero anyhow, and summed as
  integers of 23 bits: those that appear in the mantissa when `unit` is added. So every sum is
  exact: nothing drifts, and what a tile computes does not depend on where it begins. Patchwise
  aggregation box-sums the weights in the same way.
"""

from collections.abc import Callable

import numpy as np
from numba import float32, int64, njit, types, void

from nlm.backends.simd import simd

EXP = (0.999952453, 0.499174978, 0.162138812, 0.031653756)
"""w = (1 + c1 u + c2 u^2 + c3 u^3 + c4 u^4)^16 with u = t / 16 is minimax for -28 <= t <= 0:
|w - exp(t)| < 1.5e-5 (exp(t) + 0.001)."""


def build(name: str, **constants: int) -> tuple[Callable, types.Type]:
    assert name == "denoise_tiles"
    return denoise_tiles(**constants)


def denoise_tiles(
    width: int, group: int, feature_channels: int, value_channels: int, aggregate: int, guided: int
) -> tuple[Callable, types.Type]:
    WIDTH, GROUP, AGGREGATE, GUIDED = width, group, bool(aggregate), bool(guided)
    FEATURES, VALUES = feature_channels, value_channels
    ops = simd(width)
    load, store, splat, shift = ops.load, ops.store, ops.splat, ops.shift
    registers, minimum, maximum = ops.registers, ops.minimum, ops.maximum
    add_bits, sub_bits, from_bits = ops.add_bits, ops.sub_bits, ops.from_bits
    C1, C2, C3, C4 = (np.float32(c) for c in EXP)
    ZERO, ONE = np.float32(0), np.float32(1)
    LEAST = np.float32(-1.75)  # where the polynomial has its minimum, a weight of 7e-11
    NEVER = np.float32(-1e9)
    SUMS = GROUP * VALUES

    inline = njit(error_model="numpy")

    @inline
    def weight(u):
        """exp(16 u) for u <= 0."""
        u = maximum(u, splat(LEAST))
        p = (((splat(C4) * u + splat(C3)) * u + splat(C2)) * u + splat(C1)) * u + splat(ONE)
        p = p * p
        p = p * p
        p = p * p
        return p * p

    @inline
    def add(array, i, value):
        store(array, i, load(array, i) + value)

    @inline
    def raise_to(array, i, value):
        store(array, i, maximum(load(array, i), value))

    @inline
    def fill(array, count, value):
        for i in range(count):
            store(array, i, value)

    @inline
    def pack(image, packed, channels, row_of, column_of, corners, tile_rows, stride):
        for lane in range(WIDTH):
            for y in range(tile_rows):
                row = row_of[corners[2 * lane] + y]
                for x in range(stride):
                    pixel = (row + column_of[corners[2 * lane + 1] + x]) * channels
                    for c in range(channels):
                        packed[((c * tile_rows + y) * stride + x) * WIDTH + lane] = image[pixel + c]

    @inline
    def difference(features, plane, i, j, unit, cap):
        """Squared difference of two pixels over all channels, capped, plus `unit`."""
        d = load(features, i) - load(features, j)
        s = d * d + unit
        for c in range(1, FEATURES):
            d = load(features, i + c * plane) - load(features, j + c * plane)
            s = d * d + s
        return minimum(s, cap)

    @inline
    def start_columns(features, columns, plane, i, to_j, count, patch_y, stride, unit, cap):
        """Sum the differences over the patch rows that begin at `i`, for each column."""
        for x in range(count):
            for g in range(GROUP):
                s = splat(ZERO)
                for q in range(patch_y):
                    k = i + q * stride + x
                    d = difference(features, plane, k, k + to_j + g, unit, cap)
                    s = add_bits(s, sub_bits(d, unit))
                store(columns, x * GROUP + g, s)

    @inline
    def move_columns(features, columns, plane, leave, enter, to_j, count, unit, cap):
        """Move the column sums down by one row."""
        for x in range(count):
            for g in range(GROUP):
                k = x * GROUP + g
                s = difference(features, plane, enter + x, enter + x + to_j + g, unit, cap)
                gone = difference(features, plane, leave + x, leave + x + to_j + g, unit, cap)
                store(columns, k, add_bits(load(columns, k), sub_bits(s, gone)))

    @inline
    def weigh(columns, weights, count, patch_x, scale, biases):
        """Box sums of the columns over x, as weights."""
        box = registers(GROUP)
        for x in range(patch_x - 1):
            for g in range(GROUP):
                box[g] = add_bits(box[g], load(columns, x * GROUP + g))
        for x in range(count):
            for g in range(GROUP):
                s = add_bits(box[g], load(columns, (x + patch_x - 1) * GROUP + g))
                box[g] = sub_bits(s, load(columns, x * GROUP + g))
                w = weight(minimum(from_bits(s) * scale + load(biases, g), splat(ZERO)))
                store(weights, x * GROUP + g, w)

    @inline
    def tally(weights, mass, largest, i, to_j, count):
        """Keep each patch's sum of weights and its largest."""
        given = registers(GROUP)
        given_most = registers(GROUP)
        for x in range(count):
            total, most = splat(ZERO), splat(ZERO)
            for g in range(GROUP):
                w = load(weights, x * GROUP + g)
                total = total + w
                most = maximum(most, w)
                given[g] = given[g] + w
                given_most[g] = maximum(given_most[g], w)
            add(mass, i + x, total)
            raise_to(largest, i + x, most)
            add(mass, i + x + to_j, given[0])
            raise_to(largest, i + x + to_j, given_most[0])
            shift(given)
            shift(given_most)
        for g in range(GROUP - 1):
            add(mass, i + count + to_j + g, given[g])
            raise_to(largest, i + count + to_j + g, given_most[g])

    @inline
    def collect(
        weights, share, ring, slot, ring_columns, half_ring, half_columns, i, to_j, count, unit
    ):
        """Put a row of weights, as shares of patch i and of patch j, into two rings of rows.

        A ring holds as many rows as a patch; its sums over rows are kept in `ring_columns`.
        """
        for x in range(count):
            share_of_i = load(share, i + x)
            for g in range(GROUP):
                k = x * GROUP + g
                w = load(weights, k)
                bits = w * share_of_i + unit
                gained = sub_bits(bits, load(ring, slot + k))
                store(ring, slot + k, bits)
                store(ring_columns, k, add_bits(load(ring_columns, k), gained))
                bits = w * load(share, i + x + to_j + g) + unit
                gained = sub_bits(bits, load(ring, half_ring + slot + k))
                store(ring, half_ring + slot + k, bits)
                k = k + half_columns
                store(ring_columns, k, add_bits(load(ring_columns, k), gained))

    @inline
    def spread(weights, half, patch_x, values, plane, numerator, denominator, i, to_j, count):
        """Add the weighted values of j to i and of i to j.

        In the patchwise form the weights for j lie `half` vectors behind those for i, and both
        are box-summed over patch_x first.
        """
        box = registers(GROUP)
        box_j = registers(GROUP)
        given = registers(GROUP)
        given_values = registers(SUMS)
        for x in range(patch_x - 1):
            for g in range(GROUP):
                box[g] = add_bits(box[g], load(weights, x * GROUP + g))
                box_j[g] = add_bits(box_j[g], load(weights, half + x * GROUP + g))
        for x in range(count):
            total = splat(ZERO)
            totals = registers(VALUES)
            for g in range(GROUP):
                k = x * GROUP + g
                last = (x + patch_x - 1) * GROUP + g
                to_i = load(weights, last)
                to_other = to_i
                if AGGREGATE:
                    s = add_bits(box[g], to_i)
                    box[g] = sub_bits(s, load(weights, k))
                    to_i = from_bits(s)
                    s = add_bits(box_j[g], load(weights, half + last))
                    box_j[g] = sub_bits(s, load(weights, half + k))
                    to_other = from_bits(s)
                total = total + to_i
                given[g] = given[g] + to_other
                for c in range(VALUES):
                    k = i + x + c * plane
                    totals[c] = totals[c] + to_i * load(values, k + to_j + g)
                    n = g * VALUES + c
                    given_values[n] = given_values[n] + to_other * load(values, k)
            add(denominator, i + x, total)
            add(denominator, i + x + to_j, given[0])
            shift(given)
            for c in range(VALUES):
                add(numerator, i + x + c * plane, totals[c])
                add(numerator, i + x + to_j + c * plane, given_values[0])
                shift(given_values)
        for g in range(GROUP - 1):
            j = i + count + to_j + g
            add(denominator, j, given[g])
            for c in range(VALUES):
                add(numerator, j + c * plane, given_values[g * VALUES + c])

    @inline
    def box_sum(array, i, stride, half_y, half_x):
        s = splat(ZERO)
        for y in range(-half_y, half_y + 1):
            for x in range(-half_x, half_x + 1):
                s = s + load(array, i + y * stride + x)
        return s

    @inline
    def unpack(packed, out, corners, height, picture_width, rows, cols, origin, stride, plane):
        for lane in range(WIDTH):
            top, left = corners[2 * lane], corners[2 * lane + 1]
            for y in range(min(rows, height - top)):
                for x in range(min(cols, picture_width - left)):
                    pixel = (top + y) * picture_width + left + x
                    for c in range(VALUES):
                        k = (origin + y * stride + x + c * plane) * WIDTH + lane
                        out[pixel * VALUES + c] = packed[k]

    def kernel(
        feature_image, value_image, out, row_of, column_of, corners,
        features, values, numerator, denominator, share, largest,
        columns, weights, ring, ring_columns, biases,
        height, picture_width, rows, cols, radius_y, radius_x, half_y, half_x,
        scale_, bias_, unit_, cap_, weight_unit_, weight_scale, self_weight, self_floor,
    ):  # fmt: skip
        reach_y, reach_x = (half_y, half_x) if AGGREGATE else (0, 0)
        margin_y, margin_x = radius_y + half_y + reach_y, radius_x + half_x + reach_x
        patch_y, patch_x = 2 * half_y + 1, 2 * half_x + 1
        tile_rows, stride = rows + 2 * margin_y, cols + 2 * margin_x
        plane, origin = tile_rows * stride, margin_y * stride + margin_x
        half_ring, half_columns = patch_y * stride * GROUP, stride * GROUP
        scale, bias, unit, cap = splat(scale_), splat(bias_), splat(unit_), splat(cap_)
        weight_unit, zero = splat(weight_unit_), splat(ZERO)

        pack(feature_image, features, FEATURES, row_of, column_of, corners, tile_rows, stride)
        if GUIDED:
            pack(value_image, values, VALUES, row_of, column_of, corners, tile_rows, stride)
        fill(numerator, plane * VALUES, zero)
        fill(denominator, plane, zero)
        if AGGREGATE:
            fill(share, plane, zero)
            fill(largest, plane, splat(self_floor))

        for estimating in range(0 if AGGREGATE else 1, 2):
            for dy in range(radius_y + 1):
                for dx in range(1 if dy == 0 else -radius_x, radius_x + 1, GROUP):
                    for g in range(GROUP):
                        store(biases, g, bias if dx + g <= radius_x else splat(NEVER))
                    to_j = dy * stride + dx
                    left = min(0, -min(dx + GROUP - 1, radius_x))
                    count = cols + max(0, -dx) - left
                    patches = count + 2 * reach_x
                    first = -dy - reach_y
                    if AGGREGATE:
                        fill(ring, 2 * half_ring, weight_unit)
                        fill(ring_columns, 2 * half_columns, zero)
                    for y in range(first, rows + reach_y):
                        i = origin + y * stride + left - reach_x
                        corner = i - half_y * stride - half_x
                        if y == first:
                            start_columns(
                                features, columns, plane, corner, to_j, patches + patch_x - 1,
                                patch_y, stride, unit, cap,
                            )  # fmt: skip
                        else:
                            move_columns(
                                features, columns, plane, corner - stride,
                                corner + (patch_y - 1) * stride, to_j, patches + patch_x - 1,
                                unit, cap,
                            )  # fmt: skip
                        weigh(columns, weights, patches, patch_x, scale, biases)
                        if not AGGREGATE:
                            spread(
                                weights, 0, 1, values, plane, numerator, denominator, i, to_j,
                                count,
                            )  # fmt: skip
                        elif not estimating:
                            tally(weights, share, largest, i, to_j, patches)
                        else:
                            slot = ((y - first) % patch_y) * half_columns
                            collect(
                                weights, share, ring, slot, ring_columns, half_ring, half_columns,
                                i, to_j, patches, weight_unit,
                            )  # fmt: skip
                            if y - first >= patch_y - 1:
                                spread(
                                    ring_columns, half_columns, patch_x, values, plane, numerator,
                                    denominator, i + reach_x - half_y * stride, to_j, count,
                                )  # fmt: skip
            if not estimating:  # sums of weights become what one unit of weight is worth
                for k in range(plane):
                    worth = splat(ONE) / (load(share, k) + load(largest, k))
                    store(share, k, worth)
                    store(largest, k, load(largest, k) * worth)

        own = splat(self_weight)
        for y in range(rows):
            for x in range(cols):
                i = origin + y * stride + x
                if AGGREGATE:
                    own = box_sum(largest, i, stride, half_y, half_x) * splat(weight_scale)
                weight_sum = load(denominator, i) + own
                for c in range(VALUES):
                    k = i + c * plane
                    store(numerator, k, (load(numerator, k) + own * load(values, k)) / weight_sum)
        unpack(numerator, out, corners, height, picture_width, rows, cols, origin, stride, plane)

    numbers, indices = types.CPointer(float32), types.CPointer(int64)
    arguments = [numbers] * 3 + [indices] * 3 + [numbers] * 11 + [int64] * 8 + [float32] * 8
    return kernel, void(*arguments)
