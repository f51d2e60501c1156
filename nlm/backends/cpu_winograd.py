"""Numba kernel of 3 x 3 convolutions by Winograd's minimal filtering, for `nlnet`.

A tile of 4 x 4 results of one input channel takes 36 multiplications in place of 144 [1]_: with
``V = B' d B`` of the 6 x 6 numbers d that a tile sees and ``U = G g G'`` of the taps g, the tile is
``A' (U * V) A``. Over channels each of the 36 numbers is a product of matrices, (tiles, inputs)
times (inputs, outputs). The matrices come from polynomials at 0, -a, a, -b, b and infinity; with
``a = 1 / sqrt(2)`` and ``b = sqrt(2)`` rounding errors are about twice those of the plain sum,
where the usual 1 and 2 make them four times as large and some of them ten times.

A batch of tiles goes through three steps: V of all its inputs, the products, the results. Feature
maps are stored as `cpu_conv` tells; V is (number, block, tile, lanes), the products are
(number, group, tile, vectors, lanes).

.. [1] Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016,
   arXiv:1509.09308
"""

from collections.abc import Callable
from math import sqrt

import numpy as np
from numba import float32, int64, njit, types, void

from nlm.backends.simd import inlined, simd

A, B = sqrt(0.5), sqrt(2)


def build(name: str, **constants: int) -> tuple[Callable, types.Type]:
    assert name == "winograd"
    return winograd(**constants)


def winograd(width: int, tiles: int, vectors: int) -> tuple[Callable, types.Type]:
    """The kernel that sums up `tiles` x `vectors` products in registers."""
    WIDTH, TILES, VECTORS = width, tiles, vectors
    SUMS = TILES * VECTORS
    ops = simd(width)
    load, store, load_from, store_from, prefetch, splat, registers, maximum = (
        ops.load,
        ops.store,
        ops.load_from,
        ops.store_from,
        ops.prefetch,
        ops.splat,
        ops.registers,
        ops.maximum,
    )
    LINE = max(1, 16 // width)
    ZERO = np.float32(0)
    HALF, TWO, SQUARES = np.float32(0.5), np.float32(2), np.float32(2.5)  # a^2, b^2, a^2 + b^2
    A1, B1, A3, B3 = (np.float32(x) for x in (A, B, A**3, B**3))

    inline = inlined()

    @njit(inline="always")
    def seen(d0, d1, d2, d3, d4, d5):
        """B' d of six numbers."""
        even, odd = d4 - splat(TWO) * d2, d3 - splat(TWO) * d1
        far_even, far_odd = d4 - splat(HALF) * d2, d3 - splat(HALF) * d1
        return (
            (d0 - splat(SQUARES) * d2) + d4,
            even + splat(A1) * odd,
            even - splat(A1) * odd,
            far_even + splat(B1) * far_odd,
            far_even - splat(B1) * far_odd,
            (d1 - splat(SQUARES) * d3) + d5,
        )

    @njit(inline="always")
    def results(m0, m1, m2, m3, m4, m5):
        """A' m of six products."""
        even, odd, far_even, far_odd = m1 + m2, m1 - m2, m3 + m4, m3 - m4
        return (
            m0 + even + far_even,
            splat(A1) * odd + splat(B1) * far_odd,
            splat(HALF) * even + splat(TWO) * far_even,
            splat(A3) * odd + (splat(B3) * far_odd + m5),
        )

    @njit(inline="always")
    def tile_before(first, across):
        """Where the tile stands, in y and x, that `tile_after` makes the first of."""
        return first // across * 4, first % across * 4 - 4

    @njit(inline="always")
    def tile_after(y, x, columns):
        """Where the next tile stands."""
        x += 4
        if x >= columns:
            return y + 4, 0
        return y, x

    @inline
    def enter(
        source, source_block, source_row, edge, numbers, step, blocks, batch, first, count, across,
        rows, columns,
    ):  # fmt: skip
        """V of a batch of tiles; asks for what the next block or batch sees."""
        for block in range(blocks):
            y, x = tile_before(first, across)
            for t in range(count):
                y, x = tile_after(y, x, columns)
                area, row = source, source_row
                start = block * source_block + y * source_row + x * WIDTH
                ahead = start + source_block
                if block == blocks - 1:
                    ahead = ahead - blocks * source_block + batch * 4 * WIDTH
                for i in range(6):
                    for j in range(0, 4, LINE):
                        prefetch(source, ahead + i * source_row + (1 + j) * WIDTH)
                if y + 4 > rows or x + 4 > columns:
                    for i in range(6):
                        for j in range(6):
                            d = splat(ZERO)
                            if y + i < rows + 2 and x + j < columns + 2:
                                d = load_from(source, start + i * source_row + j * WIDTH)
                            store(edge, i * 6 + j, d)
                    area, row, start = edge, 6 * WIDTH, 0
                half = registers(36)
                for j in range(6):
                    k = start + j * WIDTH
                    column = seen(
                        load_from(area, k),
                        load_from(area, k + row),
                        load_from(area, k + 2 * row),
                        load_from(area, k + 3 * row),
                        load_from(area, k + 4 * row),
                        load_from(area, k + 5 * row),
                    )
                    for i in range(6):
                        half[i * 6 + j] = column[i]
                for i in range(6):
                    n = i * 6
                    line = seen(
                        half[n], half[n + 1], half[n + 2], half[n + 3], half[n + 4], half[n + 5]
                    )
                    k = n * step + (block * batch + t) * WIDTH
                    for j in range(6):
                        store_from(numbers, k + j * step, line[j])

    @inline
    def multiply(numbers, step, weights, products, products_step, blocks, groups, batch, count):
        """The products of a batch of tiles."""
        for f in range(36):
            for group in range(groups):
                for t in range(0, count, TILES):
                    sums = registers(SUMS)
                    w = (f * groups + group) * (blocks * WIDTH * VECTORS)
                    k = f * step + t * WIDTH
                    for _ in range(blocks):
                        for c in range(WIDTH):
                            kernels = registers(VECTORS)
                            for v in range(VECTORS):
                                kernels[v] = load(weights, w + v)
                            w += VECTORS
                            for p in range(TILES):
                                number = splat(numbers[k + p * WIDTH + c])
                                for v in range(VECTORS):
                                    n = p * VECTORS + v
                                    sums[n] = sums[n] + number * kernels[v]
                        k += batch * WIDTH
                    k = f * products_step + (group * batch + t) * VECTORS * WIDTH
                    for n in range(SUMS):
                        store_from(products, k + n * WIDTH, sums[n])

    @inline
    def leave(
        products, step, bias, residual, out, out_block, out_row, vectors, batch, first, count,
        across, rows, columns, slope, add_residual,
    ):  # fmt: skip
        """The results of a batch of tiles."""
        for v in range(vectors):
            b = load(bias, v)
            y, x = tile_before(first, across)
            for t in range(count):
                y, x = tile_after(y, x, columns)
                start = ((v // VECTORS * batch + t) * VECTORS + v % VECTORS) * WIDTH
                half = registers(24)
                for j in range(6):
                    k = start + j * step
                    column = results(
                        load_from(products, k),
                        load_from(products, k + 6 * step),
                        load_from(products, k + 12 * step),
                        load_from(products, k + 18 * step),
                        load_from(products, k + 24 * step),
                        load_from(products, k + 30 * step),
                    )
                    for i in range(4):
                        half[i * 6 + j] = column[i]
                for i in range(4):
                    n = i * 6
                    line = results(
                        half[n], half[n + 1], half[n + 2], half[n + 3], half[n + 4], half[n + 5]
                    )
                    for j in range(4):
                        if y + i < rows and x + j < columns:
                            s = line[j] + b
                            k = v * out_block + (y + i) * out_row + (x + j) * WIDTH
                            s = maximum(s, s * splat(slope))
                            if add_residual != 0:
                                s = s + load_from(residual, k)
                            store_from(out, k, s)

    def kernel(
        source, source_block, source_row, weights, bias, residual,
        out, out_block, out_row,
        edge, numbers, numbers_step, products, products_step,
        blocks, groups, batch, first_tile, last_tile, rows, columns, slope, add_residual,
    ):  # fmt: skip
        across = (columns + 3) // 4
        for first in range(first_tile, last_tile, batch):
            count = min(batch, last_tile - first)
            enter(
                source, source_block, source_row, edge, numbers, numbers_step, blocks, batch,
                first, count, across, rows, columns,
            )  # fmt: skip
            multiply(
                numbers, numbers_step, weights, products, products_step, blocks, groups, batch,
                count,
            )  # fmt: skip
            leave(
                products, products_step, bias, residual, out, out_block, out_row,
                groups * VECTORS, batch, first, count, across, rows, columns, slope, add_residual,
            )  # fmt: skip

    floats = types.CPointer(float32)
    arguments = [floats, int64, int64, floats, floats, floats, floats, int64, int64]
    arguments += [floats, floats, int64, floats, int64] + [int64] * 7 + [float32, int64]
    return kernel, void(*arguments)
