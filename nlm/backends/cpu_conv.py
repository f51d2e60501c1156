"""Numba kernel of convolutions, for `nlnet`.

Feature maps are stored in blocks of `width` channels, as many as a vector has lanes:
``(block, y, x, channel in block)``, with a border of zeros for the taps that reach beyond the map.
A vector holds `width` output channels of one pixel. `PIXELS` x `VECTORS` of them are summed up in
registers over all taps and input channels: for each input channel, `VECTORS` vectors of weights
are multiplied by each pixel's number.
"""

from collections.abc import Callable

from numba import float32, int64, types, void

from nlm.backends.simd import simd


def build(name: str, **constants: int) -> tuple[Callable, types.Type]:
    assert name == "convolve"
    return convolve(**constants)


def convolve(width: int, pixels: int, vectors: int, step: int) -> tuple[Callable, types.Type]:
    """The kernel that reads every `step`-th pixel and gives `vectors` blocks of channels."""
    WIDTH, PIXELS, VECTORS, STEP = width, pixels, vectors, step
    SUMS = PIXELS * VECTORS
    ops = simd(width)
    load, store, splat, registers, maximum = (
        ops.load,
        ops.store,
        ops.splat,
        ops.registers,
        ops.maximum,
    )

    def kernel(
        source, source_block, source_row, weights, bias, residual,
        out, out_block, out_row, out_pixel,
        blocks, taps_y, taps_x, first_row, last_row, columns, slope, add_residual,
    ):  # fmt: skip
        for y in range(first_row, last_row):
            for x in range(0, columns, PIXELS):
                sums = registers(SUMS)
                for v in range(VECTORS):
                    b = load(bias, v)
                    for p in range(PIXELS):
                        sums[p * VECTORS + v] = b
                w = 0
                for ky in range(taps_y):
                    for kx in range(taps_x):
                        for block in range(blocks):
                            k = block * source_block + (y * STEP + ky) * source_row
                            k = k + (x * STEP + kx) * WIDTH
                            for c in range(WIDTH):
                                kernels = registers(VECTORS)
                                for v in range(VECTORS):
                                    kernels[v] = load(weights, w + v)
                                w += VECTORS
                                for p in range(PIXELS):
                                    number = splat(source[k + p * (STEP * WIDTH) + c])
                                    for v in range(VECTORS):
                                        n = p * VECTORS + v
                                        sums[n] = sums[n] + number * kernels[v]
                for p in range(PIXELS):
                    if x + p < columns:
                        for v in range(VECTORS):
                            s = sums[p * VECTORS + v]
                            k = v * out_block + y * out_row + (x + p) * out_pixel
                            s = maximum(s, s * splat(slope))
                            if add_residual != 0:
                                s = s + load(residual, k)
                            store(out, k, s)

    numbers = types.CPointer(float32)
    arguments = [numbers] + [int64] * 2 + [numbers] * 4 + [int64] * 9 + [float32, int64]
    return kernel, void(*arguments)
