"""Numba kernel of non-local means: one visit to every pair of patches in a search window.

Each lane of a vector works on a picture tile of its own (`simd.py`), so this reads as code for one
tile. A tile is stored with a halo of `margin` pixels on each side at vector index
``(channel * tile_rows + y) * stride + x``.

The tiles of a block lie `across` side by side and `down` on top of each other. A lane goes through
as many i as its tile has pixels, from `dy` rows above it and up to `left` columns left of it on;
what it sums for pixels above its tile or left of it is handed on in the end (`join`). So only pairs
that reach into another block, or beyond the picture, are computed twice or for one pixel alone.

- Pairs are symmetric: the weight of (i, j = i + offset) is computed once, for half of the offsets,
  and used for both pixels.
- `GROUP` neighbouring offsets in x are taken together: what they give to a pixel as i, and what
  to one as j, is summed in registers before it is added to the pixel's sums.
- Patch distances are box sums of squared differences, kept up recursively in y (one sum per
  column) and in x. Pixels are scaled so that a sum is an exponent of 2.
- Squared differences are summed as integers: the bits by which `unit` grows when they are added.
  So every sum is exact, however much larger than the noise an edge is. Where sums of these bits
  might overflow, squares are capped: the weight is zero anyhow.
- `FACTORED`, for gray pictures that are not `capped`, is faster: as a column moves down, its sum
  changes by e^2 - l^2 = (e - l)(e + l), from the difference e of the pixels that enter and l of
  those that leave. Kept for each pixel are its difference to the one that leaves with it, and
  their sum, so that this is one product for a pair. These sums are floats: from 128 to 256, where
  the exponents are that count, in steps of 2^-16.
- `BESIDE` groups are gone through row by row, so that a row's pixels and sums are still in the
  cache for the next one; only one where a group needs more memory than sums of columns.
- A row of pairs is gone through in stretches of `STRETCH` columns, whose weights stay in the cache.
  Each takes two loops, for the exponents and for what is done with the weights, so that both find
  their variables in registers. What is used together lies side by side, for the fewer streams.
- Patchwise aggregation visits all pairs twice: first for each patch's sum of weights and its
  largest, which becomes its weight for itself; then every weight, divided by the roots of both
  patches' sums (Milanfar, doi:10.1137/120875843), is box-summed over the patch, since it counts
  for all pixels that the patch covers.
"""

from collections.abc import Callable

import numpy as np
from numba import float32, int64, types, void

from nlm.backends.simd import inlined, simd

PIXELWISE, PATCH_SUMS, PATCHWISE = range(3)
"""Forms of the kernel.

Pixelwise: the average itself. Patch sums: for each patch, one over the root of its sum of weights,
and the weight of the patch for itself as a share of that sum (two values). Patchwise: the average
over all patches that cover a pixel, from these.
"""


def build(name: str, **constants: int) -> tuple[Callable, types.Type]:
    assert name == "average"
    return average_kernel(**constants)


def average_kernel(
    width: int,
    group: int,
    beside: int,
    stretch: int,
    form: int,
    coarse: int,
    capped: int,
    features: int,
    values: int,
) -> tuple[Callable, types.Type]:
    """The kernel for so many channels of the compared picture and of the averaged one.

    The sums of a pixel are those of its weighted values and of the weights; of a patch, that of
    its weights and the largest.
    """
    WIDTH, GROUP, BESIDE, STRETCH = width, group, beside, stretch
    FORM, COARSE = form, coarse
    FEATURES, VALUES = features, values
    CAPPED = bool(capped)
    FACTORED = FEATURES == 1 and not CAPPED
    KEEP = FEATURES > 1  # squared differences, for when their row leaves the patch
    ops = simd(width)
    load, store, splat = ops.load, ops.store, ops.splat
    load_from, where_at_most = ops.load_from, ops.where_at_most
    registers, maximum, sqrt, fixed_exp2 = ops.registers, ops.maximum, ops.sqrt, ops.fixed_exp2
    fixed_exp2_constants = ops.fixed_exp2_constants
    add_bits, sub_bits, from_bits = ops.add_bits, ops.sub_bits, ops.from_bits
    minimum_bits, maximum_bits = ops.minimum_bits, ops.maximum_bits
    splat_bits, shift_bits = ops.splat_bits, ops.shift_bits
    ZERO, ONE = np.float32(0), np.float32(1)
    SUMS = 2 if FORM == PATCH_SUMS else VALUES + 1
    CARRY = (GROUP - 1) * GROUP

    inline = inlined(forced=True)

    @inline
    def plus(a, b):
        return a + b if FACTORED else add_bits(a, b)

    @inline
    def minus(a, b):
        return a - b if FACTORED else sub_bits(a, b)

    @inline
    def fill(array, count, value):
        for i in range(count):
            store(array, i, value)

    @inline
    def fetch(features, plane, i, pixel):
        for c in range(FEATURES):
            pixel[c] = load(features, i + c * plane)

    @inline
    def factor_rows(features, plane, apart):
        """Put each pixel's difference to the one `apart` before it, and their sum, behind all."""
        for k in range(apart, plane):
            here, before = load(features, k), load(features, k - apart)
            store(features, plane + 2 * k, here - before)
            store(features, plane + 2 * k + 1, here + before)

    @inline
    def fetch_moving(features, plane, leave, enter, leaving, entering):
        """The pixels that leave and enter a column's sum, or their difference and sum."""
        if FACTORED:
            leaving[0] = load(features, plane + 2 * enter)
            entering[0] = load(features, plane + 2 * enter + 1)
        else:
            fetch(features, plane, enter, entering)
            if not KEEP:
                fetch(features, plane, leave, leaving)

    @inline
    def difference(pixel, features, plane, j, unit, cap):
        """Squared difference of two pixels over all channels, plus `unit`."""
        d = pixel[0] - load(features, j)
        s = d * d + unit
        for c in range(1, FEATURES):
            d = pixel[c] - load(features, j + c * plane)
            s = d * d + s
        if CAPPED:
            s = minimum_bits(s, cap)
        return s

    @inline
    def start_columns(
        features, squares, columns, base, plane, i, to_j, count, patch_y, stride, row_size,
        unit, cap,
    ):  # fmt: skip
        """Sum the differences over the patch rows that begin at `i`, for each column."""
        pixel, totals = registers(FEATURES), registers(GROUP)
        for x in range(count):
            for g in range(GROUP):
                totals[g] = splat(ZERO)
            for q in range(patch_y):
                k = i + q * stride + x
                fetch(features, plane, k, pixel)
                for g in range(GROUP):
                    if FACTORED:
                        d = pixel[0] - load(features, k + to_j + g)
                        totals[g] = d * d + totals[g]
                    else:
                        d = difference(pixel, features, plane, k + to_j + g, unit, cap)
                        if KEEP:
                            store(squares, q * row_size + x * GROUP + g, d)
                        totals[g] = add_bits(totals[g], sub_bits(d, unit))
            for g in range(GROUP):
                store(columns, base + x * GROUP + g, totals[g])

    @inline
    def move_column(
        features, squares, slot, columns, base, plane, leaving, entering, leave, enter, x, g,
        unit, cap,
    ):  # fmt: skip
        """Move the sum of one column down by a row."""
        k = x * GROUP + g
        if FACTORED:
            pair = plane + 2 * (enter + g)
            by = leaving[0] - load(features, pair)
            s = by * (entering[0] - load(features, pair + 1)) + load(columns, base + k)
        else:
            d = difference(entering, features, plane, enter + g, unit, cap)
            if KEEP:
                gone = load(squares, slot + k)
                store(squares, slot + k, d)
            else:
                gone = difference(leaving, features, plane, leave + g, unit, cap)
            s = add_bits(load(columns, base + k), sub_bits(d, gone))
        store(columns, base + k, s)
        return s

    @inline
    def begin_row(
        features, squares, slot, columns, base, plane, leave, enter, to_j, patch_x, unit, cap,
        starts, box,
    ):  # fmt: skip
        """Move down the columns before a row's first sum is complete."""
        entering, leaving = registers(FEATURES), registers(FEATURES)
        for g in range(GROUP):
            box[g] = starts[g]
        for x in range(patch_x - 1):
            fetch_moving(features, plane, leave + x, enter + x, leaving, entering)
            for g in range(GROUP):
                s = move_column(
                    features, squares, slot, columns, base, plane, leaving, entering,
                    leave + x + to_j, enter + x + to_j, x, g, unit, cap,
                )  # fmt: skip
                box[g] = minus(box[g], s)

    @inline
    def compare(
        features, squares, slot, columns, base, plane, leave, enter, to_j, patch_x, unit, cap, box,
        lowest, highest, weights, begin, count,
    ):  # fmt: skip
        """Exponents of a stretch of weights."""
        entering, leaving = registers(FEATURES), registers(FEATURES)
        for x in range(count):
            first = begin + x
            last = first + patch_x - 1
            fetch_moving(features, plane, leave + last, enter + last, leaving, entering)
            for g in range(GROUP):
                s = move_column(
                    features, squares, slot, columns, base, plane, leaving, entering,
                    leave + last + to_j, enter + last + to_j, last, g, unit, cap,
                )  # fmt: skip
                s = minus(box[g], s)
                box[g] = plus(s, load(columns, base + first * GROUP + g))
                s = maximum_bits(minimum_bits(s, highest), lowest)
                store(weights, CARRY + x * GROUP + g, s)

    @inline
    def weight(weights, k, constants):
        s = load(weights, k)
        if COARSE != 0:
            s = shift_bits(s, COARSE)
        return fixed_exp2(s, constants)

    @inline
    def weigh(weights, k, constants):
        """Turn an exponent into a weight, and return it, too."""
        w = weight(weights, k, constants)
        store(weights, k, w)
        return w

    @inline
    def load_sums(sums, i, totals):
        for c in range(SUMS):
            totals[c] = load(sums, i * SUMS + c)

    @inline
    def store_sums(sums, i, totals):
        for c in range(SUMS):
            store(sums, i * SUMS + c, totals[c])

    @inline
    def add(totals, w, values, plane, k):
        """Add a weight, and the value at k with it; or the weight alone, and keep the largest."""
        if FORM == PATCH_SUMS:
            totals[0] = totals[0] + w
            totals[1] = maximum(totals[1], w)
        else:
            totals[VALUES] = totals[VALUES] + w
            for c in range(VALUES):
                totals[c] = totals[c] + w * load(values, k + c * plane)

    @inline
    def add_to_j(weights, k, plane, to_j, values, sums, i, nearest, totals):
        """Add what pixels up to `i` give to one as j, those at least `nearest` columns before i.

        The newest weight comes last: it has just been made.
        """
        load_sums(sums, i + to_j, totals)
        for g in range(GROUP - 1, nearest - 1, -1):
            add(totals, load(weights, k - g * GROUP + g), values, plane, i - g)
        store_sums(sums, i + to_j, totals)

    @inline
    def average(weights, constants, plane, to_j, values, sums, i, count):
        """Add the weighted values of j to i, and of i to j, along a stretch of pairs."""
        totals = registers(SUMS)
        for x in range(count):
            k = CARRY + x * GROUP
            load_sums(sums, i + x, totals)
            for g in range(GROUP):
                made = FORM == PATCHWISE
                w = load(weights, k + g) if made else weigh(weights, k + g, constants)
                add(totals, w, values, plane, i + x + to_j + g)
            store_sums(sums, i + x, totals)
            add_to_j(weights, k, plane, to_j, values, sums, i + x, 0, totals)

    @inline
    def end_stretch(weights, plane, to_j, values, sums, i, count, last, joined):
        """Carry the last weights on to the next stretch; after a row's `last`, clear them.

        If lanes are `joined` in x, these are still due to pixels as j. Otherwise the row was so
        long that such pixels lie beyond the tile.
        """
        if not last:
            for k in range(CARRY):
                store(weights, k, load(weights, k + count * GROUP))
            return
        if joined:
            totals = registers(SUMS)
            for x in range(GROUP - 1):
                k = CARRY + (count + x) * GROUP
                add_to_j(weights, k, plane, to_j, values, sums, i + count + x, x + 1, totals)
        fill(weights, CARRY, splat(ZERO))

    @inline
    def collect(
        weights, constants, to_j, worth, ring, ring_slot, ring_columns, i, begin, count, weight_unit
    ):
        """Put weights, normalised by both patches, into the ring of a patch's rows.

        The ring's sums over rows are kept in `ring_columns`.
        """
        for x in range(count):
            worth_of_i = load(worth, i + x)
            for g in range(GROUP):
                k = x * GROUP + g
                w = weight(weights, CARRY + k, constants)
                bits = w * worth_of_i * load(worth, i + x + to_j + g) + weight_unit
                k = k + begin * GROUP
                gained = sub_bits(bits, load(ring, ring_slot + k))
                store(ring, ring_slot + k, bits)
                store(ring_columns, k, add_bits(load(ring_columns, k), gained))

    @inline
    def begin_patches(ring_columns, patch_x, box):
        """Sum all but the last column of the first patches of a row."""
        for g in range(GROUP):
            box[g] = splat(ZERO)
        for x in range(patch_x - 1):
            for g in range(GROUP):
                box[g] = add_bits(box[g], load(ring_columns, x * GROUP + g))

    @inline
    def sum_patches(ring_columns, patch_x, box, weights, begin, count):
        """Weights of a stretch of pairs from all patches that cover them."""
        for x in range(count):
            for g in range(GROUP):
                k = (begin + x) * GROUP + g
                s = add_bits(box[g], load(ring_columns, k + (patch_x - 1) * GROUP))
                box[g] = sub_bits(s, load(ring_columns, k))
                store(weights, CARRY + x * GROUP + g, from_bits(s))

    @inline
    def box_sum(array, i, stride, half_y, half_x):
        s = splat(ZERO)
        for y in range(-half_y, half_y + 1):
            for x in range(-half_x, half_x + 1):
                s = s + load(array, i + y * stride + x)
        return s

    @inline
    def take_over(sums, i, from_, lanes_on, mask):
        """Add to a pixel what the lane that is `lanes_on` further has summed beside its tile.

        The mask tells which lanes have such a neighbour; others would read anything.
        """
        for c in range(SUMS):
            k = i * SUMS + c
            s = load_from(sums, (from_ * SUMS + c) * WIDTH + lanes_on)
            s = where_at_most(splat(ONE), mask, s, splat(ZERO))
            have = load(sums, k)
            store(sums, k, maximum(have, s) if FORM == PATCH_SUMS and c == 1 else have + s)

    @inline
    def join(sums, masks, origin, stride, rows, cols, radius_y, halo, across, down):
        """Hand on what lies left of tiles and above them to the lanes whose pixels these are."""
        for lane in range(WIDTH):
            masks[lane] = ONE if lane % across < across - 1 else ZERO
            masks[lane + WIDTH] = ONE if lane // across < down - 1 else ZERO
        if across > 1:
            mask = load(masks, 0)
            for y in range(-radius_y if down > 1 else 0, rows):
                for x in range(-halo, 0):
                    i = origin + y * stride + x
                    take_over(sums, i + cols, i, 1, mask)
        if down > 1:
            mask = load(masks, 1)
            for y in range(-radius_y, 0):
                for x in range(cols):
                    i = origin + y * stride + x
                    take_over(sums, i + rows * stride, i, across, mask)

    def kernel(
        features, values, sums, patches,
        squares, columns, weights, ring, ring_columns,
        rows, cols, across, down, radius_y, radius_x, half_y, half_x,
        start, lowest_, highest_,
        factor, unit_, cap_, weight_unit_, weight_scale, self_weight, self_floor,
    ):  # fmt: skip
        reach_y, reach_x = (half_y, half_x) if FORM == PATCHWISE else (0, 0)
        margin_y = radius_y + half_y + reach_y + 1
        margin_x = radius_x + GROUP - 1 + half_x + reach_x
        patch_y, patch_x = 2 * half_y + 1, 2 * half_x + 1
        tile_rows, stride = rows + 2 * margin_y, cols + 2 * margin_x
        plane, origin = tile_rows * stride, margin_y * stride + margin_x
        own, row_size = plane, stride * GROUP
        unit, cap, lowest, highest = (
            splat(unit_),
            splat(cap_),
            splat_bits(lowest_),
            splat_bits(highest_),
        )
        constants = fixed_exp2_constants(factor * ZERO)
        weight_unit, zero = splat(weight_unit_), splat(ZERO)
        starts, box = registers(GROUP), registers(GROUP)
        fill(weights, CARRY, zero)

        if FACTORED:
            factor_rows(features, plane, patch_y * stride)
        if FORM == PATCH_SUMS:
            for k in range(0, plane * SUMS, SUMS):
                store(sums, k, zero)
                store(sums, k + 1, splat(self_floor))
        else:
            fill(sums, plane * SUMS, zero)

        for dy in range(radius_y + 1):
            first = -dy - reach_y
            end = (rows - dy if down > 1 else rows) + reach_y
            for dx_first in range(1 if dy == 0 else -radius_x, radius_x + 1, GROUP * BESIDE):
                dx_end = min(radius_x + 1, dx_first + GROUP * BESIDE)
                for y in range(first, end):
                    for dx in range(dx_first, dx_end, GROUP):
                        for g in range(GROUP):
                            starts[g] = splat_bits(start if dx + g <= radius_x else lowest_)
                        base = (dx - dx_first) // GROUP * row_size
                        to_j = dy * stride + dx
                        left = max(-radius_x, min(0, -dx - GROUP + 1))
                        inner = cols if across > 1 else cols + max(0, -dx) - left
                        count = inner + 2 * reach_x
                        i = origin + y * stride + left - reach_x
                        enter = i + half_y * stride - half_x
                        leave = enter - patch_y * stride
                        slot = (y - first) % patch_y * row_size
                        if y == first:
                            if FORM == PATCHWISE:
                                fill(ring, patch_y * row_size, weight_unit)
                                fill(ring_columns, row_size, zero)
                            start_columns(
                                features, squares, columns, base, plane, leave, to_j,
                                count + patch_x - 1, patch_y, stride, row_size, unit, cap,
                            )  # fmt: skip
                        begin_row(
                            features, squares, slot, columns, base, plane, leave, enter, to_j,
                            patch_x, unit, cap, starts, box,
                        )  # fmt: skip
                        for begin in range(0, count, STRETCH):
                            length = min(STRETCH, count - begin)
                            compare(
                                features, squares, slot, columns, base, plane, leave, enter, to_j,
                                patch_x, unit, cap, box, lowest, highest, weights, begin, length,
                            )  # fmt: skip
                            if FORM == PATCHWISE:
                                collect(
                                    weights, constants, to_j, patches, ring, slot,
                                    ring_columns, i + begin, begin, length, weight_unit,
                                )  # fmt: skip
                            else:
                                average(
                                    weights, constants, plane, to_j, values, sums, i + begin, length
                                )
                                end_stretch(
                                    weights, plane, to_j, values, sums, i + begin, length,
                                    begin + length == count, across > 1,
                                )  # fmt: skip
                        if FORM == PATCHWISE and y - first >= patch_y - 1:
                            begin_patches(ring_columns, patch_x, box)
                            for begin in range(0, inner, STRETCH):
                                length = min(STRETCH, inner - begin)
                                sum_patches(ring_columns, patch_x, box, weights, begin, length)
                                k = i + reach_x - half_y * stride + begin
                                average(weights, constants, plane, to_j, values, sums, k, length)
                                end_stretch(
                                    weights, plane, to_j, values, sums, k, length,
                                    begin + length == inner, across > 1,
                                )  # fmt: skip

        halo = max(radius_x, GROUP - 1)  # Layout.rim
        join(sums, columns, origin, stride, rows, cols, radius_y, halo, across, down)
        scale = splat(ONE if FORM == PATCH_SUMS else ONE / factor)
        for y in range(rows):
            for x in range(cols):
                i = origin + y * stride + x
                if FORM == PATCH_SUMS:
                    largest = load(sums, i * SUMS + 1)
                    mass = load(sums, i * SUMS) + largest
                    store(sums, i * SUMS, splat(ONE) / sqrt(mass))
                    store(sums, i * SUMS + 1, largest / mass)
                else:
                    itself = splat(self_weight)
                    if FORM == PATCHWISE:
                        itself = box_sum(patches, own + i, stride, half_y, half_x)
                        itself = itself * splat(weight_scale)
                    share = scale / (load(sums, i * SUMS + VALUES) + itself)
                    for c in range(VALUES):
                        k = i * SUMS + c
                        total = load(sums, k) + itself * load(values, i + c * plane)
                        store(sums, k, total * share)

    return kernel, void(*[types.CPointer(float32)] * 9, *[int64] * 11, *[float32] * 7)
