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
  exact: nothing drifts, and what a tile computes does not depend on where it begins.
- Patchwise aggregation visits all pairs twice: first for each patch's sum of weights and its
  largest, which becomes its weight for itself; then every weight, divided by the roots of both
  patches' sums (Milanfar, doi:10.1137/120875843), is box-summed over the patch, since it counts
  for all pixels that the patch covers.
"""

from collections.abc import Callable

import numpy as np
from numba import float32, int64, njit, types, void

from nlm.backends.simd import simd

EXP = (0.999952453, 0.499174978, 0.162138812, 0.031653756)
"""w = (1 + c1 u + c2 u^2 + c3 u^3 + c4 u^4)^16 with u = t / 16 is minimax for -28 <= t <= 0:
|w - exp(t)| < 1.5e-5 (exp(t) + 0.001)."""


PIXELWISE, PATCH_SUMS, PATCHWISE = range(3)
"""Forms of the kernel.

Pixelwise: the average itself. Patch sums: for each patch, one over the root of its sum of weights,
and the weight of the patch for itself as a share of that sum (two values). Patchwise: the average
over all patches that cover a pixel, from these.
"""


def build(name: str, **constants: int) -> tuple[Callable, types.Type]:
    assert name == "average"
    return average(**constants)


def average(
    width: int, group: int, form: int, features: int, values: int, guided: int
) -> tuple[Callable, types.Type]:
    """The kernel for pictures with so many channels; guided: the values are another picture."""
    WIDTH, GROUP, FORM, FEATURES, VALUES = width, group, form, features, values
    GUIDED = bool(guided)
    ops = simd(width)
    load, store, splat, shift = ops.load, ops.store, ops.splat, ops.shift
    registers, minimum, maximum, sqrt = ops.registers, ops.minimum, ops.maximum, ops.sqrt
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
    def collect(weights, worth, ring, slot, ring_columns, i, to_j, count, unit):
        """Put a row of weights, normalised by both patches, into the ring of a patch's rows.

        The ring's sums over rows are kept in `ring_columns`.
        """
        for x in range(count):
            worth_of_i = load(worth, i + x)
            for g in range(GROUP):
                k = x * GROUP + g
                w = load(weights, k) * worth_of_i
                bits = w * load(worth, i + x + to_j + g) + unit
                gained = sub_bits(bits, load(ring, slot + k))
                store(ring, slot + k, bits)
                store(ring_columns, k, add_bits(load(ring_columns, k), gained))

    @inline
    def spread(weights, patch_x, values, plane, numerator, denominator, i, to_j, count):
        """Add the weighted values of j to i and of i to j; weights are box-summed over patch_x."""
        box = registers(GROUP)
        given = registers(GROUP)
        given_values = registers(SUMS)
        for x in range(patch_x - 1):
            for g in range(GROUP):
                box[g] = add_bits(box[g], load(weights, x * GROUP + g))
        for x in range(count):
            total = splat(ZERO)
            totals = registers(VALUES)
            for g in range(GROUP):
                w = load(weights, (x + patch_x - 1) * GROUP + g)
                if FORM == PATCHWISE:
                    s = add_bits(box[g], w)
                    box[g] = sub_bits(s, load(weights, x * GROUP + g))
                    w = from_bits(s)
                total = total + w
                given[g] = given[g] + w
                for c in range(VALUES):
                    k = i + x + c * plane
                    totals[c] = totals[c] + w * load(values, k + to_j + g)
                    n = g * VALUES + c
                    given_values[n] = given_values[n] + w * load(values, k)
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
        feature_image, value_image, patch_image, out, row_of, column_of, corners,
        features, values, numerator, denominator, patches,
        columns, weights, ring, ring_columns, biases,
        height, picture_width, rows, cols, radius_y, radius_x, half_y, half_x,
        scale_, bias_, unit_, cap_, weight_unit_, weight_scale, self_weight, self_floor,
    ):  # fmt: skip
        reach_y, reach_x = (half_y, half_x) if FORM == PATCHWISE else (0, 0)
        margin_y, margin_x = radius_y + half_y + reach_y, radius_x + half_x + reach_x
        patch_y, patch_x = 2 * half_y + 1, 2 * half_x + 1
        tile_rows, stride = rows + 2 * margin_y, cols + 2 * margin_x
        plane, origin = tile_rows * stride, margin_y * stride + margin_x
        worth, own, row_size = 0, plane, stride * GROUP
        scale, bias, unit, cap = splat(scale_), splat(bias_), splat(unit_), splat(cap_)
        weight_unit, zero = splat(weight_unit_), splat(ZERO)

        pack(feature_image, features, FEATURES, row_of, column_of, corners, tile_rows, stride)
        if GUIDED:
            pack(value_image, values, VALUES, row_of, column_of, corners, tile_rows, stride)
        if FORM == PATCHWISE:
            pack(patch_image, patches, 2, row_of, column_of, corners, tile_rows, stride)
        if FORM == PATCH_SUMS:
            fill(patches, plane, zero)
            fill(numerator, plane, splat(self_floor))
        else:
            fill(numerator, plane * VALUES, zero)
            fill(denominator, plane, zero)

        for dy in range(radius_y + 1):
            for dx in range(1 if dy == 0 else -radius_x, radius_x + 1, GROUP):
                for g in range(GROUP):
                    store(biases, g, bias if dx + g <= radius_x else splat(NEVER))
                to_j = dy * stride + dx
                left = min(0, -min(dx + GROUP - 1, radius_x))
                inner = cols + max(0, -dx) - left
                count = inner + 2 * reach_x
                first = -dy - reach_y
                if FORM == PATCHWISE:
                    fill(ring, patch_y * row_size, weight_unit)
                    fill(ring_columns, row_size, zero)
                for y in range(first, rows + reach_y):
                    i = origin + y * stride + left - reach_x
                    corner = i - half_y * stride - half_x
                    if y == first:
                        start_columns(
                            features, columns, plane, corner, to_j, count + patch_x - 1, patch_y,
                            stride, unit, cap,
                        )  # fmt: skip
                    else:
                        move_columns(
                            features, columns, plane, corner - stride,
                            corner + (patch_y - 1) * stride, to_j, count + patch_x - 1, unit, cap,
                        )  # fmt: skip
                    weigh(columns, weights, count, patch_x, scale, biases)
                    if FORM == PIXELWISE:
                        spread(weights, 1, values, plane, numerator, denominator, i, to_j, count)
                    elif FORM == PATCH_SUMS:
                        tally(weights, patches, numerator, i, to_j, count)
                    else:
                        slot = ((y - first) % patch_y) * row_size
                        collect(
                            weights, patches, ring, slot, ring_columns, i, to_j, count, weight_unit
                        )
                        if y - first >= patch_y - 1:
                            spread(
                                ring_columns, patch_x, values, plane, numerator, denominator,
                                i + reach_x - half_y * stride, to_j, inner,
                            )  # fmt: skip

        for y in range(rows):
            for x in range(cols):
                i = origin + y * stride + x
                if FORM == PATCH_SUMS:
                    largest = load(numerator, i)
                    mass = load(patches, i) + largest
                    store(numerator, worth + i, splat(ONE) / sqrt(mass))
                    store(numerator, own + i, largest / mass)
                else:
                    itself = splat(self_weight)
                    if FORM == PATCHWISE:
                        itself = box_sum(patches, own + i, stride, half_y, half_x)
                        itself = itself * splat(weight_scale)
                    weight_sum = load(denominator, i) + itself
                    for c in range(VALUES):
                        k = i + c * plane
                        total = load(numerator, k) + itself * load(values, k)
                        store(numerator, k, total / weight_sum)
        unpack(numerator, out, corners, height, picture_width, rows, cols, origin, stride, plane)

    numbers, indices = types.CPointer(float32), types.CPointer(int64)
    arguments = [numbers] * 4 + [indices] * 3 + [numbers] * 10 + [int64] * 8 + [float32] * 8
    return kernel, void(*arguments)
