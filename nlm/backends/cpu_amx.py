"""Numba kernel of 3 x 3 convolutions by AMX, for `nlnet` in half precision.

Processors with AMX multiply matrices of 16 x 32 and 32 x 16 numbers of 16 bits (bfloat16) at once
and sum up in float32. Rows of the first are pixels next to each other, rows of the second pairs of
input channels: for each tap and every 32 input channels, two matrices of 16 pixels are multiplied
by two of 16 output channels.

Feature maps are stored as `cpu_conv` tells, in blocks of 16 channels. The rows that a job sees are
rounded to bfloat16 first, to (32 channels' chunk, row, pixel, channel).
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import float32, int64, types, void
from numba.core.extending import intrinsic

from nlm.backends.simd import simd

BYTE, INT16, INT32, INT64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
NUMBERS = types.CPointer(float32)
LINE = 64
"""Bytes of a matrix's row."""
MATRIX = 256
"""Numbers of 4 bytes that a matrix takes."""


def build(name: str, **constants: int) -> tuple[Callable, types.Type]:
    assert name == "convolve"
    return convolve(**constants)


def convolve(width: int) -> tuple[Callable, types.Type]:
    """The kernel, for vectors of 16 numbers."""
    assert width == 16
    ops = simd(width)
    load, store, splat, maximum = ops.load_from, ops.store_from, ops.splat, ops.maximum
    zero_0, zero_1, zero_2, zero_3 = (zero(k) for k in range(4))
    left_0, left_1, right_0, right_1 = (loading(k) for k in range(4, 8))
    keep_0, keep_1, keep_2, keep_3 = (storing(k) for k in range(4))
    times_0, times_1, times_2, times_3 = (
        multiplying(2 * m + n, 4 + m, 6 + n) for m in range(2) for n in range(2)
    )

    def kernel(
        source, source_block, source_row, weights, bias, residual, out, out_block, out_row,
        packed, packed_row, packed_chunk, sums, configuration, chunks, groups,
        rows, columns, slope, add_residual,
    ):  # fmt: skip
        for chunk in range(chunks):
            for y in range(rows + 2):
                k = 2 * chunk * source_block + y * source_row
                p = chunk * packed_chunk + y * packed_row
                for x in range(columns + 2):
                    one, other = k + 16 * x, k + 16 * x + source_block
                    pack(packed, p + 16 * x, load(source, one), load(source, other))
        configure(configuration)
        for y in range(rows):
            for x in range(0, columns, 32):
                w = 0
                for group in range(0, groups, 2):
                    zero_0()
                    zero_1()
                    zero_2()
                    zero_3()
                    for chunk in range(chunks):
                        for ky in range(3):
                            for kx in range(3):
                                p = chunk * packed_chunk + (y + ky) * packed_row + 16 * (x + kx)
                                left_0(packed, p)
                                left_1(packed, p + MATRIX)
                                right_0(weights, w)
                                right_1(weights, w + MATRIX)
                                times_0()
                                times_1()
                                times_2()
                                times_3()
                                w += 2 * MATRIX
                    keep_0(sums, 0)
                    keep_1(sums, MATRIX)
                    keep_2(sums, 2 * MATRIX)
                    keep_3(sums, 3 * MATRIX)
                    for v in range(2):
                        b = load(bias, 16 * (group + v))
                        k = (group + v) * out_block + y * out_row + 16 * x
                        for p in range(min(32, columns - x)):
                            place = (p // 16 * 2 + v) * MATRIX + p % 16 * 16
                            s = load(sums, place) + b
                            s = maximum(s, s * splat(slope))
                            if add_residual != 0:
                                s = s + load(residual, k + 16 * p)
                            store(out, k + 16 * p, s)
        release()

    arguments = [NUMBERS, int64, int64] + [NUMBERS] * 4 + [int64] * 2
    arguments += [NUMBERS, int64, int64, NUMBERS, NUMBERS] + [int64] * 4 + [float32, int64]
    return kernel, void(*arguments)


def call(builder: Any, name: str, *arguments: Any) -> None:
    """Call one of LLVM's functions for AMX."""
    kind = ir.FunctionType(ir.VoidType(), [one.type for one in arguments])
    function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    builder.call(function, arguments)


def bytes_at(builder: Any, pointer: Any, index: Any) -> Any:
    """The address of a number."""
    return builder.bitcast(builder.gep(pointer, [index]), BYTE.as_pointer())


def zero(matrix: int) -> Any:
    """Make a matrix zero."""

    @intrinsic
    def done(typingctx: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            call(builder, "llvm.x86.tilezero", BYTE(matrix))
            return context.get_dummy_value()

        return types.none(), generate

    return done


def moving(name: str, matrix: int) -> Any:
    """Move a matrix from or to 16 lines that follow each other, from a number on."""

    @intrinsic
    def done(typingctx: Any, pointer: Any, index: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            call(builder, name, BYTE(matrix), bytes_at(builder, *args), INT64(LINE))
            return context.get_dummy_value()

        return types.none(pointer, types.int64), generate

    return done


def loading(matrix: int) -> Any:
    """Load a matrix."""
    return moving("llvm.x86.tileloadd64", matrix)


def storing(matrix: int) -> Any:
    """Store a matrix."""
    return moving("llvm.x86.tilestored64", matrix)


def multiplying(into: int, one: int, other: int) -> Any:
    """Add the product of two matrices to a third."""

    @intrinsic
    def done(typingctx: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            call(builder, "llvm.x86.tdpbf16ps", BYTE(into), BYTE(one), BYTE(other))
            return context.get_dummy_value()

        return types.none(), generate

    return done


@intrinsic
def configure(typingctx: Any, pointer: Any) -> Any:
    """Say what shapes matrices have."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        call(builder, "llvm.x86.ldtilecfg", builder.bitcast(args[0], BYTE.as_pointer()))
        return context.get_dummy_value()

    return types.none(pointer), generate


@intrinsic
def release(typingctx: Any) -> Any:
    """Say that no matrix is in use."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        call(builder, "llvm.x86.tilerelease")
        return context.get_dummy_value()

    return types.none(), generate


@intrinsic
def pack(typingctx: Any, pointer: Any, index: Any, one: Any, other: Any) -> Any:
    """Store two vectors, rounded to bfloat16, behind each other."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        for k, vector in enumerate(args[2:]):
            kind = ir.VectorType(INT32, 16)

            def every(number: int, kind: Any = kind) -> Any:
                return ir.Constant(kind, [number] * 16)

            bits = builder.bitcast(vector, kind)
            odd = builder.and_(builder.lshr(bits, every(16)), every(1))
            bits = builder.add(builder.add(bits, every(0x7FFF)), odd)
            short = builder.trunc(builder.lshr(bits, every(16)), ir.VectorType(INT16, 16))
            place = builder.gep(args[0], [builder.add(args[1], INT64(8 * k))])
            place = builder.bitcast(place, ir.VectorType(INT16, 16).as_pointer())
            builder.store(short, place, align=4)
        return context.get_dummy_value()

    return types.none(pointer, types.int64, one, other), generate
