"""Numba kernels of non-local means in space and time.

Patches that are averaged begin at every `CELL`-th row and column and are CELLS x CELLS cells of
CELL x CELL pixels; what they are compared with lies anywhere. All that is done for a patch but the
differences themselves is so done once per cell, and yet each pixel is averaged over CELLS^2
patches.

A frame is stored with a margin on each side, the columns of a row by their place in a cell: pixel
(y, x) of a channel at ``y * stride + x % CELL * span + x // CELL``. So a vector holds the same
pixel of neighbouring cells, and at another offset in x it is a vector that begins elsewhere.

- The picture is cut into tiles of whole cells. Each has a window of its own in each frame, which
  may lie elsewhere there: that is how the search follows what moves.
- `GROUP` neighbouring offsets in x are taken together and share what they load.
- First the weights of all patches that cover some of the tile are computed and kept, a row of
  patches at all offsets after the other. Then each is divided by the sum of its patch's and given
  to the pixels that the patch covers. A patch's own weight is the largest of its others'.
"""

from collections.abc import Callable

import numpy as np
from numba import float32, int64, types, void

from nlm.backends.simd import EXP2_OFFSET, inlined, simd

numbers, indices = types.CPointer(float32), types.CPointer(int64)


def build(name: str, **constants: int) -> tuple[Callable, types.Type]:
    return {"average": average, "arrange": arrange}[name](**constants)


def arrange(width: int) -> tuple[Callable, types.Type]:
    """The kernel that puts some rows of a picture's channel where `average` finds them."""

    def kernel(image, arranged, row_of, column_of, first, end, stride, step, factor):
        for y in range(first, end):
            for x in range(stride):
                arranged[y * stride + x] = image[row_of[y] + column_of[x] * step] * factor

    arguments = [numbers] * 2 + [indices] * 2 + [int64] * 4 + [float32]
    return kernel, void(*arguments)


def average(
    width: int, cell: int, cells: int, group: int, features: int, values: int
) -> tuple[Callable, types.Type]:
    """The kernel for cells of so many pixels; of the features the last ones are the values."""
    WIDTH, CELL, CELLS, GROUP = width, cell, cells, group
    FEATURES, VALUES = features, values
    SEEN = CELL + GROUP - 1  # columns that a cell meets in a group of offsets
    FIRST_VALUE = FEATURES - VALUES
    PIXELS = VALUES * CELL * CELL  # of a cell
    ops = simd(width)
    load, store, splat = ops.load_from, ops.store_from, ops.splat
    registers, minimum, maximum = ops.registers, ops.minimum, ops.maximum
    to_bits, fixed_exp2 = ops.to_bits, ops.fixed_exp2
    fixed_exp2_constants = ops.fixed_exp2_constants
    ZERO, ONE = np.float32(0), np.float32(1)
    HIGHEST = np.float32(EXP2_OFFSET * 2**16)
    LOWEST = np.float32((EXP2_OFFSET - 40) * 2**16)  # a weight of 2^-40

    inline = inlined()

    @inline
    def weight(exponent, constants):
        exponent = maximum(minimum(exponent, splat(HIGHEST)), splat(LOWEST))
        return fixed_exp2(to_bits(exponent), constants)

    @inline
    def fill(array, count, value):
        for i in range(0, count, WIDTH):
            store(array, i, value)

    @inline
    def find_columns(seen, shift, groups, span):
        """Where the columns lie that a row's first cell meets, from that cell's own first on."""
        for group in range(groups):
            for u in range(SEEN):
                column = shift + group * GROUP + u
                seen[group * SEEN + u] = column % CELL * span + column // CELL

    @inline
    def compare(frames, i, j, seen, columns, differences, n, length, stride, span, plane):
        """Sums of squared differences over the cells of a row, for each offset of the group."""
        for x in range(0, length, WIDTH):
            totals = registers(GROUP)
            for c in range(FEATURES):
                for q in range(CELL):
                    row = c * plane + q * stride + x
                    others = registers(SEEN)
                    for u in range(SEEN):
                        others[u] = load(frames, j + row + seen[columns + u])
                    for k in range(CELL):
                        here = load(frames, i + row + k * span)
                        for g in range(GROUP):
                            d = here - others[k + g]
                            totals[g] = totals[g] + d * d
            for g in range(GROUP):
                store(differences, n + g * length + x, totals[g])

    @inline
    def sum_along(row, i):
        s = load(row, i)
        for a in range(1, CELLS):
            s = s + load(row, i + a)
        return s

    @inline
    def join(differences, n, ring, slot, length):
        """Sum the cells of a row over the width of a patch."""
        for x in range(0, length, WIDTH):
            for g in range(GROUP):
                s = sum_along(differences, n + g * length + x)
                store(ring, slot + g * length + x, s)

    @inline
    def weigh(
        ring, r, row_size, weights, i, mass, largest, patch, length, scale, starts, constants
    ):  # fmt: skip
        """Sum a row of patches over their height, as weights; keep each one's sum and largest."""
        for x in range(0, length, WIDTH):
            total, most = load(mass, patch + x), load(largest, patch + x)
            for g in range(GROUP):
                s = load(ring, r + g * length + x)
                for a in range(1, CELLS):
                    s = s + load(ring, r + a * row_size + g * length + x)
                w = weight(s * scale + load(starts, g * WIDTH), constants)
                total = total + w
                most = maximum(most, w)
                store(weights, i + g * length + x, w)
            store(mass, patch + x, total)
            store(largest, patch + x, most)

    @inline
    def cover(weights, i, row_size, shares, patch, rows, n, length):
        """Sum the shares of the patches that cover a row of cells, column by column."""
        for x in range(0, length, WIDTH):
            for g in range(GROUP):
                k = i + g * length + x
                s = load(weights, k) * load(shares, patch + x)
                for a in range(1, CELLS):
                    s = s + load(weights, k + a * row_size) * load(shares, patch + a * length + x)
                store(rows, n + g * length + x, s)

    @inline
    def spread(
        rows, n, frames, j, seen, columns, numerator, denominator, i, length, stride, plane
    ):  # fmt: skip
        """Give the pixels of a row of cells what the patches that cover them say."""
        for x in range(0, length, WIDTH):
            covering = registers(GROUP)
            total = load(denominator, i + x)
            for g in range(GROUP):
                w = sum_along(rows, n + g * length + x)
                covering[g] = w
                total = total + w
            store(denominator, i + x, total)
            for c in range(VALUES):
                for q in range(CELL):
                    others = registers(SEEN)
                    for u in range(SEEN):
                        k = j + (FIRST_VALUE + c) * plane + q * stride + seen[columns + u] + x
                        others[u] = load(frames, k)
                    for p in range(CELL):
                        k = i * PIXELS + ((c * CELL + q) * CELL + p) * length + x
                        s = load(numerator, k)
                        for g in range(GROUP):
                            s = s + covering[g] * others[p + g]
                        store(numerator, k, s)

    @inline
    def spread_own(own, shares, frames, origin, numerator, denominator,
                   core_rows, length, span, stride, plane):  # fmt: skip
        """Begin the sums with what the patches say by themselves."""
        for y in range(core_rows):
            for x in range(0, length, WIDTH):
                w = splat(ZERO)
                for a in range(CELLS):
                    for b in range(CELLS):
                        k = (y + a) * length + x + b
                        w = w + load(own, k) * load(shares, k)
                store(denominator, y * length + x, w)
                for c in range(VALUES):
                    for q in range(CELL):
                        k = origin + (FIRST_VALUE + c) * plane + (y * CELL + q) * stride + x
                        for p in range(CELL):
                            n = y * length * PIXELS + ((c * CELL + q) * CELL + p) * length + x
                            store(numerator, n, w * load(frames, k + p * span))

    @inline
    def unpack(numerator, denominator, factors, out, top, left, core_rows, core, length, height,
               picture):  # fmt: skip
        for y in range(min(core_rows * CELL, height - top)):
            cell_row = y // CELL * length
            for x in range(min(core * CELL, picture - left)):
                place = cell_row + x // CELL
                total = denominator[place]
                pixel = (top + y) * picture + left + x
                for c in range(VALUES):
                    phase = (c * CELL + y % CELL) * CELL + x % CELL
                    n = cell_row * PIXELS + phase * length + x // CELL
                    out[pixel * VALUES + c] = numerator[n] / total * factors[c]

    def kernel(
        frames, factors, out, corners, windows, seen,
        weights, mass, largest, rows, ring, numerator, denominator, starts,
        tiles, count, radius, core_rows, length, span, stride, plane, height, picture,
        margin, scale_, start_, self_floor,
    ):  # fmt: skip
        edge = CELLS - 1  # cells round the tile in which patches begin that cover some of it
        patch_rows, core = core_rows + edge, length - 2 * edge
        side = 2 * radius + 1
        groups = -(-side // GROUP)
        set_size = GROUP * length  # of the offsets of a group
        row_size = side * groups * set_size
        scale, start, zero, never = splat(scale_), splat(start_), splat(ZERO), splat(LOWEST)
        constants = fixed_exp2_constants(scale_ * ZERO)

        for tile in range(tiles):
            top, left = corners[2 * tile], corners[2 * tile + 1]
            own = windows[tile * count * 3]
            inner = own + (margin + top) * stride + (margin + left) // CELL
            outer = inner - edge * CELL * stride - edge

            fill(mass, patch_rows * length, zero)
            fill(largest, patch_rows * length, splat(self_floor))
            for frame in range(count):
                n = (tile * count + frame) * 3
                to_frame, move_y, move_x = windows[n] - own, windows[n + 1], windows[n + 2]
                find_columns(seen, move_x - radius, groups, span)
                for y in range(patch_rows + edge):
                    i = outer + y * CELL * stride
                    for dy in range(side):
                        j = i + to_frame + (move_y + dy - radius) * stride
                        for group in range(groups):
                            n = (dy * groups + group) * set_size
                            compare(
                                frames, i, j, seen, group * SEEN, rows, n, length, stride, span,
                                plane,
                            )  # fmt: skip
                    slot = y % CELLS * row_size
                    for k in range(0, row_size, set_size):
                        join(rows, k, ring, slot + k, length)
                    if y < edge:
                        continue
                    patch = y - edge
                    for dy in range(side):
                        for group in range(groups):
                            for g in range(GROUP):
                                dx = group * GROUP + g
                                itself = frame == 0 and dy == radius and dx == radius
                                store(starts, g * WIDTH, never if itself or dx >= side else start)
                            k = (dy * groups + group) * set_size
                            weigh(
                                ring, k, row_size, weights,
                                (frame * patch_rows + patch) * row_size + k,
                                mass, largest, patch * length, length, scale, starts, constants,
                            )  # fmt: skip

            for k in range(0, patch_rows * length, WIDTH):
                store(mass, k, splat(ONE) / (load(mass, k) + load(largest, k)))
            spread_own(
                largest, mass, frames, inner, numerator, denominator,
                core_rows, length, span, stride, plane,
            )  # fmt: skip
            for frame in range(count):
                n = (tile * count + frame) * 3
                to_frame, move_y, move_x = windows[n] - own, windows[n + 1], windows[n + 2]
                find_columns(seen, move_x - radius, groups, span)
                for y in range(core_rows):
                    for k in range(0, row_size, set_size):
                        i = (frame * patch_rows + y) * row_size + k
                        cover(weights, i, row_size, mass, y * length, rows, k, length)
                    i = inner + to_frame + y * CELL * stride
                    for dy in range(side):
                        j = i + (move_y + dy - radius) * stride
                        for group in range(groups):
                            n = (dy * groups + group) * set_size
                            spread(
                                rows, n, frames, j, seen, group * SEEN, numerator, denominator,
                                y * length, length, stride, plane,
                            )  # fmt: skip
            unpack(
                numerator, denominator, factors, out, top, left, core_rows, core, length, height,
                picture,
            )  # fmt: skip

    arguments = [numbers] * 3 + [indices] * 3 + [numbers] * 8 + [int64] * 11 + [float32] * 3
    return kernel, void(*arguments)
