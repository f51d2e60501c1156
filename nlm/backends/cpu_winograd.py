"""Numba kernel of 3 x 3 convolutions by Winograd's minimal filtering, for `nlnet`.

A tile of 4 x 4 results of one input channel takes 36 multiplications in place of 144 [1]_: with
``V = B' d B`` of the 6 x 6 numbers d that a tile sees and ``U = G g G'`` of the taps g, the tile is
``A' (U * V) A``. Over channels each of the 36 numbers is a product of matrices, (tiles, inputs)
times (inputs, outputs). The matrices come from polynomials at 0, -a, a, -b, b and infinity; with
``a = 1 / sqrt(2)`` and ``b = sqrt(2)`` rounding errors are about twice those of the plain sum,
where the usual 1 and 2 make them four times as large and some of them ten times.

A batch of tiles goes through three steps: V of all its inputs, the products, the results. Feature
maps are stored as `cpu_conv` tells; V and the products are (number, block, tile, lanes).

.. [1] Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016,
   arXiv:1509.09308
"""

from collections.abc import Callable
from math import sqrt

import numpy as np
from numba import float32, int64, types, void

from nlm.backends.simd import simd

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

    def kernel(
        source, source_block, source_row, weights, bias, residual,
        out, out_block, out_row,
        edge, numbers, numbers_step, products, products_step,
        blocks, groups, batch, first_tile, last_tile, rows, columns, rectify, add_residual,
    ):  # fmt: skip
        across = (columns + 3) // 4
        for first in range(first_tile, last_tile, batch):
            count = min(batch, last_tile - first)

            for block in range(blocks):
                y = first // across * 4
                x = first % across * 4 - 4
                for t in range(count):
                    x += 4
                    if x >= columns:
                        x = 0
                        y += 4
                    seen = source
                    start = block * source_block + y * source_row + x * WIDTH
                    row = source_row
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
                        seen = edge
                        start = 0
                        row = 6 * WIDTH
                    half = registers(36)
                    for j in range(6):
                        k = start + j * WIDTH
                        d0 = load_from(seen, k)
                        d1 = load_from(seen, k + row)
                        d2 = load_from(seen, k + 2 * row)
                        d3 = load_from(seen, k + 3 * row)
                        d4 = load_from(seen, k + 4 * row)
                        d5 = load_from(seen, k + 5 * row)
                        even = d4 - splat(TWO) * d2
                        odd = d3 - splat(TWO) * d1
                        far_even = d4 - splat(HALF) * d2
                        far_odd = d3 - splat(HALF) * d1
                        half[j] = (d0 - splat(SQUARES) * d2) + d4
                        half[6 + j] = even + splat(A1) * odd
                        half[12 + j] = even - splat(A1) * odd
                        half[18 + j] = far_even + splat(B1) * far_odd
                        half[24 + j] = far_even - splat(B1) * far_odd
                        half[30 + j] = (d1 - splat(SQUARES) * d3) + d5
                    for i in range(6):
                        d0 = half[i * 6]
                        d1 = half[i * 6 + 1]
                        d2 = half[i * 6 + 2]
                        d3 = half[i * 6 + 3]
                        d4 = half[i * 6 + 4]
                        d5 = half[i * 6 + 5]
                        even = d4 - splat(TWO) * d2
                        odd = d3 - splat(TWO) * d1
                        far_even = d4 - splat(HALF) * d2
                        far_odd = d3 - splat(HALF) * d1
                        k = i * 6 * numbers_step + (block * batch + t) * WIDTH
                        store_from(numbers, k, (d0 - splat(SQUARES) * d2) + d4)
                        k += numbers_step
                        store_from(numbers, k, even + splat(A1) * odd)
                        k += numbers_step
                        store_from(numbers, k, even - splat(A1) * odd)
                        k += numbers_step
                        store_from(numbers, k, far_even + splat(B1) * far_odd)
                        k += numbers_step
                        store_from(numbers, k, far_even - splat(B1) * far_odd)
                        k += numbers_step
                        store_from(numbers, k, (d1 - splat(SQUARES) * d3) + d5)

            for f in range(36):
                for group in range(groups):
                    for t in range(0, count, TILES):
                        sums = registers(SUMS)
                        w = (f * groups + group) * (blocks * WIDTH * VECTORS)
                        k = f * numbers_step + t * WIDTH
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

            for v in range(groups * VECTORS):
                b = load(bias, v)
                y = first // across * 4
                x = first % across * 4 - 4
                for t in range(count):
                    x += 4
                    if x >= columns:
                        x = 0
                        y += 4
                    start = ((v // VECTORS * batch + t) * VECTORS + v % VECTORS) * WIDTH
                    half = registers(24)
                    for j in range(6):
                        k = start + j * products_step
                        m0 = load_from(products, k)
                        k += 6 * products_step
                        m1 = load_from(products, k)
                        k += 6 * products_step
                        m2 = load_from(products, k)
                        k += 6 * products_step
                        m3 = load_from(products, k)
                        k += 6 * products_step
                        m4 = load_from(products, k)
                        k += 6 * products_step
                        m5 = load_from(products, k)
                        even = m1 + m2
                        odd = m1 - m2
                        far_even = m3 + m4
                        far_odd = m3 - m4
                        half[j] = m0 + even + far_even
                        half[6 + j] = splat(A1) * odd + splat(B1) * far_odd
                        half[12 + j] = splat(HALF) * even + splat(TWO) * far_even
                        half[18 + j] = splat(A3) * odd + (splat(B3) * far_odd + m5)
                    for i in range(4):
                        m0 = half[i * 6]
                        m1 = half[i * 6 + 1]
                        m2 = half[i * 6 + 2]
                        m3 = half[i * 6 + 3]
                        m4 = half[i * 6 + 4]
                        m5 = half[i * 6 + 5]
                        even = m1 + m2
                        odd = m1 - m2
                        far_even = m3 + m4
                        far_odd = m3 - m4
                        done = registers(4)
                        done[0] = m0 + even + far_even
                        done[1] = splat(A1) * odd + splat(B1) * far_odd
                        done[2] = splat(HALF) * even + splat(TWO) * far_even
                        done[3] = splat(A3) * odd + (splat(B3) * far_odd + m5)
                        for j in range(4):
                            if y + i < rows and x + j < columns:
                                s = done[j] + b
                                k = v * out_block + (y + i) * out_row + (x + j) * WIDTH
                                if rectify != 0:
                                    s = maximum(s, splat(ZERO))
                                if add_residual != 0:
                                    s = s + load_from(residual, k)
                                store_from(out, k, s)

    floats = types.CPointer(float32)
    arguments = [floats, int64, int64, floats, floats, floats, floats, int64, int64]
    arguments += [floats, floats, int64, floats, int64] + [int64] * 9
    return kernel, void(*arguments)
