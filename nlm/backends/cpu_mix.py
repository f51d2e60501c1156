"""Numba kernel of linear combinations: colours to luma and chroma, and back."""

from collections.abc import Callable

from numba import float32, int64, types, void


def build(name: str, **constants: int) -> tuple[Callable, types.Type]:
    assert name == "mix"
    return mix(**constants)


def mix(width: int, inputs: int, own: int, outputs: int) -> tuple[Callable, types.Type]:
    """The kernel that mixes the channels of one or two pictures, `own` of them the first one's.

    The compiler makes vectors of it by itself, whatever their `width`.
    """
    OTHER = inputs - own

    def kernel(first, second, matrix, out, begin, end):
        for pixel in range(begin, end):
            for c in range(outputs):
                total = float32(0)
                for k in range(own):
                    total += matrix[c * inputs + k] * first[pixel * own + k]
                for k in range(OTHER):
                    total += matrix[c * inputs + own + k] * second[pixel * OTHER + k]
                out[pixel * outputs + c] = total

    numbers = types.CPointer(float32)
    return kernel, void(*[numbers] * 4, int64, int64)
