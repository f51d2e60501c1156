"""Numba kernel of non-local means: one visit to every pair of patches in a search window.

Each lane of a vector works on a picture tile of its own (`simd.py`), so this reads as code for one
tile. A tile is stored with a halo of `margin` pixels on each side at vector index
``(channel * tile_rows + y) * stride + x``.

- Pairs are symmetric: the weight of (i, j = i + offset) is computed once, for half of the offsets,
  and used for both pixels.
- `GROUP` neighbouring offsets in x are taken together. What they give to i is summed in registers,
  and so is what they give to j, in a chain of sums that moves along with x.
- Patch distances are box sums of squared differences, kept up recursively in y (one sum per
  column) and in x. Pixels are scaled so that a sum is an exponent of 2. Squared differences are
  capped where the weight is zero anyhow, and summed as integers of 23 bits: those that appear in
  the mantissa when `unit` is added. So every sum is exact: nothing drifts, and what a tile computes
  does not depend on where it begins.
- A row of pairs is gone through twice, for the exponents and for what is done with the weights, so
  that both loops find their variables in registers.
- Patchwise aggregation visits all pairs twice: first for each patch's sum of weights and its
  largest, which becomes its weight for itself; then every weight, divided by the roots of both
  patches' sums (Milanfar, doi:10.1137/120875843), is box-summed over the patch, since it counts
  for all pixels that the patch covers.
"""

from collections.abc import Callable

import numpy as np
from numba import float32, int64, njit, types, void

from nlm.backends.simd import simd

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
    width: int,
    group: int,
    form: int,
    coarse: int,
    features: int,
    values: int,
    guided: int,
) -> tuple[Callable, types.Type]:
    """The kernel for pictures with so many channels; guided: the values are another picture."""
    WIDTH, GROUP, FORM, COARSE = width, group, form, coarse
    FEATURES, VALUES = features, values
    GUIDED = bool(guided)
    KEEP = FEATURES > 1  # squared differences, for when their row leaves the patch
    ops = simd(width)
    load, store, splat, shift = ops.load, ops.store, ops.splat, ops.shift
    registers, maximum, sqrt, fixed_exp2 = ops.registers, ops.maximum, ops.sqrt, ops.fixed_exp2
    add_bits, sub_bits, from_bits = ops.add_bits, ops.sub_bits, ops.from_bits
    minimum_bits, maximum_bits = ops.minimum_bits, ops.maximum_bits
    splat_bits, shift_bits = ops.splat_bits, ops.shift_bits
    ZERO, ONE = np.float32(0), np.float32(1)
    SUMS = GROUP * VALUES

    inline = njit(error_model="numpy")

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
    def pack(image, packed, channels, row_of, column_of, corners, tile_rows, stride, factor):
        for y in range(tile_rows):
            for lane in range(WIDTH):
                row = row_of[corners[2 * lane] + y]
                for x in range(stride):
                    pixel = (row + column_of[corners[2 * lane + 1] + x]) * channels
                    for c in range(channels):
                        k = ((c * tile_rows + y) * stride + x) * WIDTH + lane
                        packed[k] = image[pixel + c] * factor

    @inline
    def difference(features, plane, i, j, unit, cap):
        """Squared difference of two pixels over all channels, capped, plus `unit`."""
        d = load(features, i) - load(features, j)
        s = d * d + unit
        for c in range(1, FEATURES):
            d = load(features, i + c * plane) - load(features, j + c * plane)
            s = d * d + s
        return minimum_bits(s, cap)

    @inline
    def start_columns(
        features, squares, columns, plane, i, to_j, count, patch_y, stride, row_size, unit, cap,
    ):  # fmt: skip
        """Sum the differences over the patch rows that begin at `i`, for each column."""
        for x in range(count):
            for g in range(GROUP):
                s = splat(ZERO)
                for q in range(patch_y):
                    k = i + q * stride + x
                    d = difference(features, plane, k, k + to_j + g, unit, cap)
                    if KEEP:
                        store(squares, q * row_size + x * GROUP + g, d)
                    s = add_bits(s, sub_bits(d, unit))
                store(columns, x * GROUP + g, s)

    @inline
    def move_column(features, squares, slot, columns, plane, leave, enter, x, g, to_j, unit, cap):
        """Move the sum of one column down by a row."""
        d = difference(features, plane, enter + x, enter + x + to_j + g, unit, cap)
        k = x * GROUP + g
        if KEEP:
            gone = load(squares, slot + k)
            store(squares, slot + k, d)
        else:
            gone = difference(features, plane, leave + x, leave + x + to_j + g, unit, cap)
        s = add_bits(load(columns, k), sub_bits(d, gone))
        store(columns, k, s)
        return s

    @inline
    def compare_row(
        features, squares, slot, columns, plane, leave, enter, to_j, patch_x, unit, cap, starts,
        exponents, count,
    ):  # fmt: skip
        """Exponents of a row of weights."""
        box = registers(GROUP)
        for g in range(GROUP):
            box[g] = starts[g]
        for x in range(patch_x - 1):
            for g in range(GROUP):
                s = move_column(
                    features, squares, slot, columns, plane, leave, enter, x, g, to_j, unit, cap
                )
                box[g] = sub_bits(box[g], s)
        for x in range(count):
            for g in range(GROUP):
                last = x + patch_x - 1
                s = move_column(
                    features, squares, slot, columns, plane, leave, enter, last, g, to_j, unit, cap
                )
                s = sub_bits(box[g], s)
                store(exponents, x * GROUP + g, s)
                box[g] = add_bits(s, load(columns, x * GROUP + g))

    @inline
    def weight(exponents, k, lowest, highest):
        s = maximum_bits(minimum_bits(load(exponents, k), highest), lowest)
        if COARSE > 0:
            s = shift_bits(s, COARSE)
        return fixed_exp2(s)

    @inline
    def spread(w, g, values, plane, i, to_j, totals, given, given_values):
        """Weigh the value of j for i, and that of i for j."""
        given[g] = given[g] + w
        for c in range(VALUES):
            k, n = i + c * plane, g * VALUES + c
            totals[c] = totals[c] + w * load(values, k + to_j + g)
            given_values[n] = given_values[n] + w * load(values, k)

    @inline
    def add_spread(numerator, denominator, plane, i, to_j, total, totals, given, given_values):
        """Add what i got, and what the first of its group's j got, which is complete."""
        add(denominator, i, total)
        add(denominator, i + to_j, given[0])
        shift(given)
        for c in range(VALUES):
            add(numerator, i + c * plane, totals[c])
            add(numerator, i + to_j + c * plane, given_values[0])
            shift(given_values)

    @inline
    def finish_spread(numerator, denominator, plane, j, given, given_values):
        for g in range(GROUP - 1):
            add(denominator, j + g, given[g])
            for c in range(VALUES):
                add(numerator, j + g + c * plane, given_values[g * VALUES + c])

    @inline
    def average_row(
        exponents, lowest, highest, plane, to_j,
        values, numerator, denominator, i, count,
    ):  # fmt: skip
        """Add the weighted values of j to i and of i to j, along a row of pairs."""
        given, given_values = registers(GROUP), registers(SUMS)
        for x in range(count):
            total, totals = splat(ZERO), registers(VALUES)
            for g in range(GROUP):
                w = weight(exponents, x * GROUP + g, lowest, highest)
                total = total + w
                spread(w, g, values, plane, i + x, to_j, totals, given, given_values)
            add_spread(
                numerator, denominator, plane, i + x, to_j, total, totals, given, given_values
            )
        finish_spread(numerator, denominator, plane, i + count + to_j, given, given_values)

    @inline
    def tally_row(
        exponents, lowest, highest, plane, to_j,
        mass, largest, i, count,
    ):  # fmt: skip
        """Keep each patch's sum of weights and its largest."""
        given, given_most = registers(GROUP), registers(GROUP)
        for x in range(count):
            total, most = splat(ZERO), splat(ZERO)
            for g in range(GROUP):
                w = weight(exponents, x * GROUP + g, lowest, highest)
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
    def collect_row(
        exponents, lowest, highest, plane, to_j,
        worth, ring, ring_slot, ring_columns, i, count, weight_unit,
    ):  # fmt: skip
        """Put a row of weights, normalised by both patches, into the ring of a patch's rows.

        The ring's sums over rows are kept in `ring_columns`.
        """
        for x in range(count):
            worth_of_i = load(worth, i + x)
            for g in range(GROUP):
                w = weight(exponents, x * GROUP + g, lowest, highest)
                k = x * GROUP + g
                bits = w * worth_of_i * load(worth, i + x + to_j + g) + weight_unit
                gained = sub_bits(bits, load(ring, ring_slot + k))
                store(ring, ring_slot + k, bits)
                store(ring_columns, k, add_bits(load(ring_columns, k), gained))

    @inline
    def average_patches(
        ring_columns, patch_x, values, plane, numerator, denominator, i, to_j, count
    ):  # fmt: skip
        """The same with the weights of all patches that cover a pair."""
        box, given, given_values = registers(GROUP), registers(GROUP), registers(SUMS)
        for x in range(patch_x - 1):
            for g in range(GROUP):
                box[g] = add_bits(box[g], load(ring_columns, x * GROUP + g))
        for x in range(count):
            total, totals = splat(ZERO), registers(VALUES)
            for g in range(GROUP):
                s = add_bits(box[g], load(ring_columns, (x + patch_x - 1) * GROUP + g))
                box[g] = sub_bits(s, load(ring_columns, x * GROUP + g))
                w = from_bits(s)
                total = total + w
                spread(w, g, values, plane, i + x, to_j, totals, given, given_values)
            add_spread(
                numerator, denominator, plane, i + x, to_j, total, totals, given, given_values
            )
        finish_spread(numerator, denominator, plane, i + count + to_j, given, given_values)

    @inline
    def box_sum(array, i, stride, half_y, half_x):
        s = splat(ZERO)
        for y in range(-half_y, half_y + 1):
            for x in range(-half_x, half_x + 1):
                s = s + load(array, i + y * stride + x)
        return s

    @inline
    def unpack(packed, out, corners, height, picture_width, rows, cols, origin, stride, plane):
        for y in range(rows):
            for lane in range(WIDTH):
                top, left = corners[2 * lane] + y, corners[2 * lane + 1]
                if top < height:
                    for x in range(min(cols, picture_width - left)):
                        pixel = top * picture_width + left + x
                        for c in range(VALUES):
                            k = (origin + y * stride + x + c * plane) * WIDTH + lane
                            out[pixel * VALUES + c] = packed[k]

    def kernel(
        feature_image, value_image, patch_image, out, row_of, column_of, corners,
        features, values, numerator, denominator, patches,
        squares, columns, exponents, ring, ring_columns,
        height, picture_width, rows, cols, radius_y, radius_x, half_y, half_x,
        start, lowest_, highest_,
        factor, unit_, cap_, weight_unit_, weight_scale, self_weight, self_floor,
    ):  # fmt: skip
        reach_y, reach_x = (half_y, half_x) if FORM == PATCHWISE else (0, 0)
        margin_y, margin_x = radius_y + half_y + reach_y + 1, radius_x + half_x + reach_x
        patch_y, patch_x = 2 * half_y + 1, 2 * half_x + 1
        tile_rows, stride = rows + 2 * margin_y, cols + 2 * margin_x
        plane, origin = tile_rows * stride, margin_y * stride + margin_x
        worth, own, row_size = 0, plane, stride * GROUP
        unit, cap, lowest, highest = (
            splat(unit_),
            splat(cap_),
            splat_bits(lowest_),
            splat_bits(highest_),
        )
        weight_unit, zero = splat(weight_unit_), splat(ZERO)
        starts = registers(GROUP)

        pack(
            feature_image, features, FEATURES, row_of, column_of, corners, tile_rows, stride, factor
        )
        if GUIDED:
            pack(value_image, values, VALUES, row_of, column_of, corners, tile_rows, stride, factor)
        if FORM == PATCHWISE:
            pack(patch_image, patches, 2, row_of, column_of, corners, tile_rows, stride, ONE)
        if FORM == PATCH_SUMS:
            fill(patches, plane, zero)
            fill(numerator, plane, splat(self_floor))
        else:
            fill(numerator, plane * VALUES, zero)
            fill(denominator, plane, zero)

        for dy in range(radius_y + 1):
            first = -dy - reach_y
            for dx in range(1 if dy == 0 else -radius_x, radius_x + 1, GROUP):
                for g in range(GROUP):
                    starts[g] = splat_bits(start if dx + g <= radius_x else lowest_)
                to_j = dy * stride + dx
                left = min(0, -min(dx + GROUP - 1, radius_x))
                inner = cols + max(0, -dx) - left
                count = inner + 2 * reach_x
                begin = origin + first * stride + left - reach_x
                if FORM == PATCHWISE:
                    fill(ring, patch_y * row_size, weight_unit)
                    fill(ring_columns, row_size, zero)
                start_columns(
                    features, squares, columns, plane, begin - (half_y + 1) * stride - half_x,
                    to_j, count + patch_x - 1, patch_y, stride, row_size, unit, cap,
                )  # fmt: skip
                for y in range(first, rows + reach_y):
                    i = begin + (y - first) * stride
                    enter = i + half_y * stride - half_x
                    leave = enter - patch_y * stride
                    slot = (y - first) % patch_y * row_size
                    compare_row(
                        features, squares, slot, columns, plane, leave, enter, to_j, patch_x,
                        unit, cap, starts, exponents, count,
                    )  # fmt: skip
                    if FORM == PIXELWISE:
                        average_row(
                            exponents, lowest, highest, plane, to_j,
                            values, numerator, denominator, i, count,
                        )  # fmt: skip
                    elif FORM == PATCH_SUMS:
                        tally_row(
                            exponents, lowest, highest, plane, to_j, patches, numerator, i, count
                        )
                    else:
                        collect_row(
                            exponents, lowest, highest, plane, to_j,
                            patches, ring, slot, ring_columns, i, count, weight_unit,
                        )  # fmt: skip
                        if y - first >= patch_y - 1:
                            average_patches(
                                ring_columns, patch_x, values, plane, numerator, denominator,
                                i + reach_x - half_y * stride, to_j, inner,
                            )  # fmt: skip

        scale = splat(ONE if FORM == PATCH_SUMS else ONE / factor)
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
                    share = scale / (load(denominator, i) + itself)
                    for c in range(VALUES):
                        k = i + c * plane
                        total = load(numerator, k) + itself * load(values, k)
                        store(numerator, k, total * share)
        unpack(numerator, out, corners, height, picture_width, rows, cols, origin, stride, plane)

    numbers, indices = types.CPointer(float32), types.CPointer(int64)
    arguments = [numbers] * 4 + [indices] * 3 + [numbers] * 10 + [int64] * 11 + [float32] * 7
    return kernel, void(*arguments)
