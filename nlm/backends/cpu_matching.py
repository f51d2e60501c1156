"""Numba kernel of block matching."""

from collections.abc import Callable

from numba import float32, int64, types, void

from nlm.backends.simd import simd

TOGETHER = 8
"""Rows of displacements whose sums are computed together, each in a register of its own."""


def build(name: str, **constants: int) -> tuple[Callable, types.Type]:
    assert name == "mismatch"
    return mismatch(**constants)


def mismatch(width: int) -> tuple[Callable, types.Type]:
    """The kernel that compares blocks of a picture with displaced ones of another.

    For each block (first row and column, rows, columns, and the first row and column of what it is
    compared with) it gives the sums of squared differences for so many rows further down, and for
    as many columns further right as `vectors` vectors hold.
    """
    ops = simd(width)
    load_from, store_from, splat, registers = (
        ops.load_from,
        ops.store_from,
        ops.splat,
        ops.registers,
    )

    def kernel(here, there, blocks, sums, count, rows, vectors, stride):
        for block in range(count):
            n = 6 * block
            i = blocks[n] * stride + blocks[n + 1]
            j = blocks[n + 4] * stride + blocks[n + 5]
            for first in range(0, rows, TOGETHER):
                for v in range(vectors):
                    totals = registers(TOGETHER)
                    for y in range(blocks[n + 2]):
                        for x in range(blocks[n + 3]):
                            own = splat(here[i + y * stride + x])
                            for r in range(TOGETHER):
                                row = min(first + r, rows - 1) + y
                                d = own - load_from(there, j + row * stride + v * width + x)
                                totals[r] = totals[r] + d * d
                    for r in range(TOGETHER):
                        k = block * rows + min(first + r, rows - 1)
                        store_from(sums, (k * vectors + v) * width, totals[r])

    numbers, indices = types.CPointer(float32), types.CPointer(int64)
    return kernel, void(numbers, numbers, indices, numbers, *[int64] * 4)
