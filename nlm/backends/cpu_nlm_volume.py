"""Numba kernel of non-local means over many slices: volumes, clips, signals.

A slice's patches are compared with those of its neighbour slices, whichever those are: tables say
which slices make up the patches round a slice (`stack` of them, one above the other) and which
slices it is compared with. So volumes of any number of axes, and clips, are the same to it.

As in `cpu_nlm.py`, each lane works on a tile of its own, here of any slice, and patch distances are
exact integer sums kept up recursively in rows and columns. Unlike there, every pair is visited from
both sides, and channels are loops: one compiled kernel serves all shapes.
"""

from collections.abc import Callable

import numpy as np
from numba import float32, int64, types, void

from nlm.backends.simd import inlined, simd

PIXELWISE, PATCH_SUMS, PATCHWISE = range(3)
"""Forms of the kernel: what it tells of each pixel.

Pixelwise: weighted sums of the values, then the sum of the weights. Patch sums: of each patch one
over the root of its sum of weights, and its largest weight. Patchwise: like pixelwise, of all
patches in the plane that cover the pixel, for each slice of the stack.
"""


def build(name: str, **constants: int) -> tuple[Callable, types.Type]:
    assert name == "average"
    return average(**constants)


def average(width: int, group: int, form: int) -> tuple[Callable, types.Type]:
    """The kernel in one of its forms."""
    WIDTH, GROUP, FORM = width, group, form
    ops = simd(width)
    load, store, splat = ops.load, ops.store, ops.splat
    registers, minimum, maximum = ops.registers, ops.minimum, ops.maximum
    sqrt, exp2 = ops.sqrt, ops.exp2
    add_bits, sub_bits, from_bits = ops.add_bits, ops.sub_bits, ops.from_bits
    ZERO, ONE = np.float32(0), np.float32(1)
    LEAST = np.float32(-126)
    NEVER = np.float32(-1e9)

    inline = inlined()

    @inline
    def fill(array, count, value):
        for i in range(count):
            store(array, i, value)

    @inline
    def add(array, i, value):
        store(array, i, load(array, i) + value)

    @inline
    def pack(
        image, packed, channels, slices, first, count, table, row_of, column_of, corners, size,
        tile_rows, stride,
    ):  # fmt: skip
        """Tiles of `count` slices, named from `first` on in each lane's row of `slices`."""
        for lane in range(WIDTH):
            for k in range(count):
                base = slices[lane * table + first + k] * size
                for y in range(tile_rows):
                    row = base + row_of[corners[3 * lane + 1] + y]
                    for x in range(stride):
                        pixel = (row + column_of[corners[3 * lane + 2] + x]) * channels
                        for c in range(channels):
                            place = ((k * channels + c) * tile_rows + y) * stride + x
                            packed[place * WIDTH + lane] = image[pixel + c]

    @inline
    def difference(here, there, planes, plane, i, j, unit, cap):
        """Squared difference of two pixels over all channels, capped, plus `unit`."""
        d = load(here, i) - load(there, j)
        s = d * d + unit
        for c in range(1, planes):
            d = load(here, i + c * plane) - load(there, j + c * plane)
            s = d * d + s
        return minimum(s, cap)

    @inline
    def column_sums(
        here, there, columns, planes, plane, i, to_j, count, patch_y, stride, fresh, unit, cap
    ):
        """Sum differences over the patch rows that begin at `i`; if not fresh, from row to row."""
        below = i + (patch_y - 1) * stride
        for x in range(count):
            for g in range(GROUP):
                k, j = x * GROUP + g, x + to_j + g
                if fresh:
                    s = splat(ZERO)
                    for q in range(patch_y):
                        step = i + q * stride
                        d = difference(here, there, planes, plane, step + x, step + j, unit, cap)
                        s = add_bits(s, sub_bits(d, unit))
                else:
                    above = i - stride
                    d = difference(here, there, planes, plane, below + x, below + j, unit, cap)
                    gone = difference(here, there, planes, plane, above + x, above + j, unit, cap)
                    s = add_bits(load(columns, k), sub_bits(d, gone))
                store(columns, k, s)

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
                u = minimum(from_bits(s) * scale + load(biases, g), splat(ZERO))
                store(weights, x * GROUP + g, exp2(maximum(u, splat(LEAST))))

    @inline
    def tally(weights, mass, largest, i, count):
        """Keep each patch's sum of weights and its largest."""
        for x in range(count):
            for g in range(GROUP):
                w = load(weights, x * GROUP + g)
                add(mass, i + x, w)
                store(largest, i + x, maximum(load(largest, i + x), w))

    @inline
    def normalise(weights, worth, worth_there, i, to_j, count):
        """Divide weights by the roots of both patches' sums."""
        for x in range(count):
            worth_of_i = load(worth, i + x)
            for g in range(GROUP):
                k = x * GROUP + g
                w = load(weights, k) * worth_of_i
                store(weights, k, w * load(worth_there, i + x + to_j + g))

    @inline
    def collect(weights, ring, slot, ring_columns, count, unit):
        """Put a row of weights into the ring of a patch's rows, whose sums are `ring_columns`."""
        for k in range(count * GROUP):
            bits = load(weights, k) + unit
            gained = sub_bits(bits, load(ring, slot + k))
            store(ring, slot + k, bits)
            store(ring_columns, k, add_bits(load(ring_columns, k), gained))

    @inline
    def box_row(sums, weights, count, patch_x):
        """Box sums over x of a ring's columns, as numbers."""
        box = registers(GROUP)
        for x in range(patch_x - 1):
            for g in range(GROUP):
                box[g] = add_bits(box[g], load(sums, x * GROUP + g))
        for x in range(count):
            for g in range(GROUP):
                s = add_bits(box[g], load(sums, (x + patch_x - 1) * GROUP + g))
                box[g] = sub_bits(s, load(sums, x * GROUP + g))
                store(weights, x * GROUP + g, from_bits(s))

    @inline
    def gather(weights, values, planes, plane, numerator, denominator, i, to_j, count):
        """Add the weighted values of j to i."""
        for x in range(count):
            total = splat(ZERO)
            for g in range(GROUP):
                total = total + load(weights, x * GROUP + g)
            add(denominator, i + x, total)
        for c in range(planes):
            for x in range(count):
                total = splat(ZERO)
                k = i + x + c * plane
                for g in range(GROUP):
                    total = total + load(weights, x * GROUP + g) * load(values, k + to_j + g)
                add(numerator, k, total)

    @inline
    def unpack(
        packed, out, corners, height, picture_width, rows, cols, origin, stride, plane, planes, c
    ):
        """A packed plane becomes channel `c` of the tiles' places in `out`."""
        for lane in range(WIDTH):
            top, left = corners[3 * lane + 1], corners[3 * lane + 2]
            base = corners[3 * lane] * height
            for y in range(min(rows, height - top)):
                for x in range(min(cols, picture_width - left)):
                    pixel = (base + top + y) * picture_width + left + x
                    k = origin + y * stride + x
                    out[pixel * planes + c] = packed[k * WIDTH + lane]

    def kernel(
        feature_image, value_image, patch_image, out, row_of, column_of, corners, slices,
        here, there, values, numerator, denominator, patches, patches_there,
        columns, weights, ring, ring_columns, biases,
        stack, neighbours, itself, feature_channels, value_channels, value_stack,
        height, picture_width, rows, cols, radius_y, radius_x, half_y, half_x,
        scale_, bias_, unit_, cap_, weight_unit_, self_floor,
    ):  # fmt: skip
        reach_y, reach_x = (half_y, half_x) if FORM == PATCHWISE else (0, 0)
        margin_y, margin_x = radius_y + half_y + reach_y, radius_x + half_x + reach_x
        patch_y, patch_x = 2 * half_y + 1, 2 * half_x + 1
        tile_rows, stride = rows + 2 * margin_y, cols + 2 * margin_x
        plane, origin = tile_rows * stride, margin_y * stride + margin_x
        size, table = height * picture_width, (1 + neighbours) * stack
        feature_planes, value_planes = stack * feature_channels, value_stack * value_channels
        row_size, count = stride * GROUP, cols + 2 * reach_x
        scale, bias, unit, cap = splat(scale_), splat(bias_), splat(unit_), splat(cap_)
        weight_unit = splat(weight_unit_)

        pack(
            feature_image, here, feature_channels, slices, 0, stack, table,
            row_of, column_of, corners, size, tile_rows, stride,
        )  # fmt: skip
        if FORM == PATCHWISE:
            pack(
                patch_image, patches, 2, slices, stack // 2, 1, table,
                row_of, column_of, corners, size, tile_rows, stride,
            )  # fmt: skip
        if FORM == PATCH_SUMS:
            fill(numerator, plane, splat(self_floor))
        else:
            fill(numerator, plane * value_planes, splat(ZERO))
        fill(denominator, plane, splat(ZERO))

        for n in range(neighbours):
            first = (1 + n) * stack
            pack(
                feature_image, there, feature_channels, slices, first, stack, table,
                row_of, column_of, corners, size, tile_rows, stride,
            )  # fmt: skip
            if FORM != PATCH_SUMS:
                pack(
                    value_image, values, value_channels, slices,
                    first + (stack - value_stack) // 2, value_stack, table,
                    row_of, column_of, corners, size, tile_rows, stride,
                )  # fmt: skip
            if FORM == PATCHWISE:
                pack(
                    patch_image, patches_there, 2, slices, first + stack // 2, 1, table,
                    row_of, column_of, corners, size, tile_rows, stride,
                )  # fmt: skip
            for dy in range(-radius_y, radius_y + 1):
                for dx in range(-radius_x, radius_x + 1, GROUP):
                    own = -dx if n == itself and dy == 0 else -1  # which of the group is itself
                    for g in range(GROUP):
                        store(biases, g, bias if dx + g <= radius_x else splat(NEVER))
                        if FORM == PATCH_SUMS and g == own:
                            store(biases, g, splat(NEVER))
                    to_j = dy * stride + dx
                    if FORM == PATCHWISE:
                        fill(ring, patch_y * row_size, weight_unit)
                        fill(ring_columns, row_size, splat(ZERO))
                    for y in range(-reach_y, rows + reach_y):
                        i = origin + y * stride - reach_x
                        column_sums(
                            here, there, columns, feature_planes, plane,
                            i - half_y * stride - half_x, to_j, count + patch_x - 1,
                            patch_y, stride, y == -reach_y, unit, cap,
                        )  # fmt: skip
                        weigh(columns, weights, count, patch_x, scale, biases)
                        if FORM == PATCH_SUMS:
                            tally(weights, denominator, numerator, i, count)
                        elif FORM == PIXELWISE:
                            gather(
                                weights, values, value_planes, plane, numerator, denominator,
                                i, to_j, count,
                            )  # fmt: skip
                        else:
                            if 0 <= own < GROUP:
                                for x in range(count):
                                    largest = load(patches, plane + i + x)
                                    store(weights, x * GROUP + own, largest)
                            normalise(weights, patches, patches_there, i, to_j, count)
                            slot = ((y + reach_y) % patch_y) * row_size
                            collect(weights, ring, slot, ring_columns, count, weight_unit)
                            if y + reach_y >= patch_y - 1:
                                box_row(ring_columns, weights, cols, patch_x)
                                gather(
                                    weights, values, value_planes, plane, numerator, denominator,
                                    i + reach_x - half_y * stride, to_j, cols,
                                )  # fmt: skip

        if FORM == PATCH_SUMS:
            for y in range(rows):
                for x in range(cols):
                    i = origin + y * stride + x
                    mass = load(denominator, i) + load(numerator, i)
                    store(denominator, i, splat(ONE) / sqrt(mass))
        planes = (1 if FORM == PATCH_SUMS else value_planes) + 1
        for c in range(planes - 1):
            unpack(
                numerator, out, corners, height, picture_width, rows, cols,
                origin + c * plane, stride, plane, planes, c,
            )  # fmt: skip
        unpack(
            denominator, out, corners, height, picture_width, rows, cols,
            origin, stride, plane, planes, planes - 1,
        )  # fmt: skip

    numbers, indices = types.CPointer(float32), types.CPointer(int64)
    arguments = [numbers] * 4 + [indices] * 4 + [numbers] * 12 + [int64] * 14 + [float32] * 6
    return kernel, void(*arguments)
