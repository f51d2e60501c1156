"""Numba kernel of the least and the largest of many numbers, for the range of a picture."""

from collections.abc import Callable

from numba import float32, int64, types, void

from nlm.backends.simd import simd


def build(name: str, **constants: int) -> tuple[Callable, types.Type]:
    assert name == "extremes"
    return extremes(**constants)


def extremes(width: int, vectors: int) -> tuple[Callable, types.Type]:
    """The kernel that leaves so many vectors of least numbers in `found`, then of largest.

    They are independent, since each comparison waits for the one before. From `begin` to `end`
    there must be numbers for all.
    """
    ops, VECTORS, BLOCK = simd(width), vectors, vectors * width
    load_from, store, registers = ops.load_from, ops.store, ops.registers
    minimum, maximum = ops.minimum, ops.maximum

    def kernel(numbers, begin, end, found):
        least, largest = registers(VECTORS), registers(VECTORS)
        for v in range(VECTORS):
            least[v] = load_from(numbers, begin + v * width)
            largest[v] = least[v]
        for block in range(begin, end, BLOCK):
            k = min(block, end - BLOCK)
            for v in range(VECTORS):
                one = load_from(numbers, k + v * width)
                least[v] = minimum(least[v], one)
                largest[v] = maximum(largest[v], one)
        for v in range(VECTORS):
            store(found, v, least[v])
            store(found, v + VECTORS, largest[v])

    numbers = types.CPointer(float32)
    return kernel, void(numbers, int64, int64, numbers)
