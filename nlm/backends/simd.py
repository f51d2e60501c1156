"""Explicit SIMD for Numba: a type ``lanes`` that is one machine vector of float32.

Numba leaves vectorising to LLVM, which gives up on recursive sums. Here the vector is a type of
its own: kernels are written as scalar code for one picture tile, and every variable of type
``lanes`` holds that scalar for ``width`` tiles at once. LLVM maps ``<width x float>`` to one
register where the machine has it and splits it where not.

Kernels take plain pointers: ``p[i]`` reads and writes one number, `load` and `store` a vector.
This module imports Numba; it is loaded only while a kernel is being compiled.
"""

import operator
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import cgutils, types
from numba.core.extending import intrinsic
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import models, register_model

INT32 = ir.IntType(32)
FLOAT = ir.FloatType()
FASTMATH = ("contract", "nsz", "arcp", "afn")

EXP2 = (1.0, 0.693147203, 0.24022648, 0.0555033242, 0.00961842850, 0.00133988989, 0.000153555586)
"""Coefficients of 2^x for -0.5 <= x <= 0.5, minimax: within 2e-9 of the value but for rounding."""
FRACTION_BASE = 128.0
"""A float whose unit in the last place is 2^-16."""
FIXED_EXP2 = (86.82419, -11029.642, -50482.066, 4745720.0)
"""a, b, c, d: where y = a (FRACTION_BASE + f) + b and 0 <= f <= 1, d - y (y^2 + c) is
2^23 (2 + f - 2^f). By that much less 2^23 the bits of a float are off where f stands in place of
its mantissa. With them a power is within 7.6e-5 of its value, by three multiply-adds."""
EXP2_OFFSET = 277
"""The bits of 1 and of 2^23 as a float, added and divided by 2^23."""
ROUNDER = 1.5 * 2**23
"""Added to a small number, it leaves that number, rounded, in the low bits of the sum."""


class Lanes(types.Type):
    """`width` float32 numbers that are computed together."""

    def __init__(self, width: int) -> None:
        self.width = width
        super().__init__(name=f"Lanes({width})")

    @property
    def llvm(self) -> ir.VectorType:
        return ir.VectorType(FLOAT, self.width)


class Registers(types.Type):
    """A short array of lanes that LLVM keeps in registers once loops over it are unrolled."""

    def __init__(self, count: int, lanes: Lanes) -> None:
        self.count = count
        self.lanes = lanes
        super().__init__(name=f"Registers({count}, {lanes.name})")

    @property
    def llvm(self) -> ir.ArrayType:
        return ir.ArrayType(self.lanes.llvm, self.count)


@register_model(Lanes)
class LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: Lanes) -> None:
        super().__init__(manager, fe_type, fe_type.llvm)


@register_model(Registers)
class RegistersModel(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: Registers) -> None:
        super().__init__(manager, fe_type, fe_type.llvm.as_pointer())


def _define_operator(function: Any, instruction: str) -> None:
    @infer_global(function)
    class Template(AbstractTemplate):
        def generic(self, args: tuple, kws: dict) -> Any:
            if len(args) == 2 and isinstance(args[0], Lanes) and args[0] == args[1]:
                return signature(args[0], *args)
            return None

    @lower_builtin(function, Lanes, Lanes)
    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return getattr(builder, instruction)(*args, flags=FASTMATH)


for _name, _instruction in (("add", "fadd"), ("sub", "fsub"), ("mul", "fmul"), ("truediv", "fdiv")):
    _define_operator(getattr(operator, _name), _instruction)
    _define_operator(getattr(operator, f"i{_name}"), _instruction)


def _element(builder: Any, registers: Any, index: Any) -> Any:
    return builder.gep(registers, [ir.Constant(INT32, 0), index])


@infer_global(operator.getitem)
class GetItem(AbstractTemplate):
    def generic(self, args: tuple, kws: dict) -> Any:
        if isinstance(args[0], Registers):
            return signature(args[0].lanes, args[0], types.intp)
        if isinstance(args[0], types.CPointer):
            return signature(args[0].dtype, args[0], types.intp)
        return None


@infer_global(operator.setitem)
class SetItem(AbstractTemplate):
    def generic(self, args: tuple, kws: dict) -> Any:
        if isinstance(args[0], Registers):
            return signature(types.none, args[0], types.intp, args[0].lanes)
        if isinstance(args[0], types.CPointer):
            return signature(types.none, args[0], types.intp, args[0].dtype)
        return None


@lower_builtin(operator.getitem, Registers, types.intp)
def _get_register(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.load(_element(builder, *args))


@lower_builtin(operator.setitem, Registers, types.intp, Lanes)
def _set_register(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    builder.store(args[2], _element(builder, *args[:2]))
    return context.get_dummy_value()


@lower_builtin(operator.getitem, types.CPointer, types.intp)
def _get_number(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.load(builder.gep(args[0], [args[1]]))


@lower_builtin(operator.setitem, types.CPointer, types.intp, types.Any)
def _set_number(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    builder.store(args[2], builder.gep(args[0], [args[1]]))
    return context.get_dummy_value()


def inlined(forced: bool = False) -> Any:
    """`njit` for what kernels call and Python does not, which makes it quicker to compile."""
    return njit(
        error_model="numpy",
        forceinline=forced,
        no_cpython_wrapper=True,
        no_cfunc_wrapper=True,
    )


@cache
def simd(width: int) -> SimpleNamespace:
    """The operations on lanes of one width, to be bound to names that a kernel closes over.

    Beside the operators + - * / these are:

    - ``load(pointer, i)``, ``store(pointer, i, lanes)``: the i-th group of `width` numbers
    - ``load_from(pointer, k)``, ``store_from(pointer, k, lanes)``: `width` numbers from the k-th on
    - ``prefetch(pointer, k)``: asks for the cache line of the k-th number ahead of its use
    - ``splat(number)``: the number in every lane
    - ``minimum(a, b)``, ``maximum(a, b)``, ``sqrt(a)``
    - ``add_bits(a, b)``, ``sub_bits(a, b)``, ``minimum_bits(a, b)``, ``maximum_bits(a, b)``: of
      the bit patterns as int32, ``shift_bits(a, n)`` to the left, or to the right where n, a
      literal number, is below zero, ``splat_bits(integer)``, ``from_bits(a)``: that integer as a
      float, ``to_bits(a)`` the reverse, rounded towards zero. Numbers x in [0, u] with u a power
      of two have the bits of ``u`` plus x * 2^23 / u in ``u + x``, so their sums and differences
      can be taken exactly.
    - ``where_at_most(a, b, x, y)``: x where a <= b, otherwise y
    - ``exp2(a)``: 2^a for -126 <= a <= 127, within 1e-7 of its value
    - ``fixed_exp2(a, constants)``: 2^(n / 2^16 - EXP2_OFFSET), n the bits of a less a multiple of
      2^25, where that is a normal number; within 7.6e-5 of its value. The constants, from
      ``fixed_exp2_constants(zero)``, stay in registers if LLVM cannot know that zero is 0.
    - ``registers(n)``: `n` lanes (a literal number), zeroed; ``r[k]``, ``r[k] = lanes``
    - ``transpose(r)``: of as many registers as there are lanes, a square of numbers
    - ``shift(r)``: drops ``r[0]``, moves the others down by one, zeroes the last
    """
    lanes = Lanes(width)
    vector = lanes.llvm
    integers = ir.VectorType(INT32, width)

    def address(builder: Any, args: Any, unit: int) -> Any:
        first = builder.mul(args[1], ir.Constant(args[1].type, unit))
        return builder.bitcast(builder.gep(args[0], [first]), vector.as_pointer())

    def loading(unit: int) -> Any:
        @intrinsic
        def load(typingctx: Any, pointer: Any, index: Any) -> Any:
            def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
                return builder.load(address(builder, args, unit), align=4)

            return lanes(pointer, types.intp), codegen

        return load

    def storing(unit: int) -> Any:
        @intrinsic
        def store(typingctx: Any, pointer: Any, index: Any, value: Any) -> Any:
            def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
                builder.store(args[2], address(builder, args, unit), align=4)
                return context.get_dummy_value()

            return types.none(pointer, types.intp, lanes), codegen

        return store

    def in_every_lane(builder: Any, number: Any, kind: Any) -> Any:
        one = ir.Constant(kind, ir.Undefined)
        one = builder.insert_element(one, number, ir.Constant(INT32, 0))
        return builder.shuffle_vector(one, one, ir.Constant(integers, [0] * width))

    @intrinsic
    def prefetch(typingctx: Any, pointer: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            place = builder.bitcast(builder.gep(args[0], [args[1]]), cgutils.voidptr_t)
            function = cgutils.get_or_insert_function(
                builder.module,
                ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, INT32, INT32, INT32]),
                "llvm.prefetch.p0i8",
            )
            read, keep, data = (ir.Constant(INT32, number) for number in (0, 3, 1))
            builder.call(function, [place, read, keep, data])
            return context.get_dummy_value()

        return types.none(pointer, types.intp), codegen

    @intrinsic
    def splat(typingctx: Any, number: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return in_every_lane(builder, args[0], vector)

        return lanes(types.float32), codegen

    def binary(name: str) -> Any:
        @intrinsic
        def call(typingctx: Any, a: Any, b: Any) -> Any:
            def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
                function = cgutils.get_or_insert_function(
                    builder.module,
                    ir.FunctionType(vector, [vector, vector]),
                    f"llvm.{name}.v{width}f32",
                )
                return builder.call(function, args, fastmath=("nnan", "nsz"))

            return lanes(lanes, lanes), codegen

        return call

    @intrinsic
    def sqrt(typingctx: Any, a: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            function = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(vector, [vector]), f"llvm.sqrt.v{width}f32"
            )
            return builder.call(function, args)

        return lanes(lanes), codegen

    def on_bits(instruction: str) -> Any:
        @intrinsic
        def call(typingctx: Any, a: Any, b: Any) -> Any:
            def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
                a, b = (builder.bitcast(one, integers) for one in args)
                return builder.bitcast(getattr(builder, instruction)(a, b), vector)

            return lanes(lanes, lanes), codegen

        return call

    def comparing_bits(comparison: str) -> Any:
        @intrinsic
        def call(typingctx: Any, a: Any, b: Any) -> Any:
            def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
                a, b = (builder.bitcast(one, integers) for one in args)
                chosen = builder.select(builder.icmp_signed(comparison, a, b), a, b)
                return builder.bitcast(chosen, vector)

            return lanes(lanes, lanes), codegen

        return call

    @intrinsic
    def splat_bits(typingctx: Any, number: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            number = builder.trunc(args[0], INT32)
            return builder.bitcast(in_every_lane(builder, number, integers), vector)

        return lanes(types.int64), codegen

    @intrinsic(prefer_literal=True)
    def shift_bits(typingctx: Any, a: Any, count: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            counts = ir.Constant(integers, [abs(count.literal_value)] * width)
            turn = builder.shl if count.literal_value > 0 else builder.ashr
            return builder.bitcast(turn(builder.bitcast(args[0], integers), counts), vector)

        return lanes(lanes, count), codegen

    @intrinsic
    def from_bits(typingctx: Any, a: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.sitofp(builder.bitcast(args[0], integers), vector)

        return lanes(lanes), codegen

    @intrinsic
    def to_bits(typingctx: Any, a: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.bitcast(builder.fptosi(args[0], integers), vector)

        return lanes(lanes), codegen

    @intrinsic
    def where_at_most(typingctx: Any, a: Any, b: Any, x: Any, y: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.select(builder.fcmp_ordered("<=", *args[:2]), *args[2:])

        return lanes(lanes, lanes, lanes, lanes), codegen

    @intrinsic
    def exp2(typingctx: Any, a: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            def constant(number: float) -> Any:
                return ir.Constant(vector, [float(np.float32(number))] * width)

            rounded = builder.fadd(args[0], constant(ROUNDER))
            rest = builder.fsub(args[0], builder.fsub(rounded, constant(ROUNDER)))
            power = constant(EXP2[-1])
            for coefficient in EXP2[-2::-1]:
                product = builder.fmul(power, rest, flags=FASTMATH)
                power = builder.fadd(product, constant(coefficient), flags=FASTMATH)
            exponent = ir.Constant(integers, [23] * width)
            exponent = builder.shl(builder.bitcast(rounded, integers), exponent)
            scaled = builder.add(builder.bitcast(power, integers), exponent)
            return builder.bitcast(scaled, vector)

        return lanes(lanes), codegen

    @intrinsic
    def fixed_exp2_constants(typingctx: Any, zero: Any) -> Any:
        result = Registers(1 + len(FIXED_EXP2), lanes)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            place = cgutils.alloca_once(builder, result.llvm)
            for k, number in enumerate((FRACTION_BASE, *FIXED_EXP2)):
                number = builder.fadd(ir.Constant(FLOAT, float(np.float32(number))), args[0])
                register = _element(builder, place, ir.Constant(INT32, k))
                builder.store(in_every_lane(builder, number, vector), register)
            return place

        return result(types.float32), codegen

    @intrinsic
    def fixed_exp2(typingctx: Any, a: Any, constants: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            base, slope, shift, c, d = (
                builder.load(_element(builder, args[1], ir.Constant(INT32, k)))
                for k in range(constants.count)
            )
            halves = ir.VectorType(ir.IntType(16), 2 * width)
            low, high = (builder.bitcast(one, halves) for one in (args[0], base))
            order = [k + 2 * width * (k % 2) for k in range(2 * width)]
            places = ir.Constant(ir.VectorType(INT32, 2 * width), order)
            fraction = builder.bitcast(builder.shuffle_vector(low, high, places), vector)
            y = builder.fmul(fraction, slope, flags=FASTMATH)
            y = builder.fadd(y, shift, flags=FASTMATH)
            square = builder.fmul(y, y, flags=FASTMATH)
            cubic = builder.fmul(y, builder.fadd(square, c, flags=FASTMATH), flags=FASTMATH)
            off = builder.fsub(d, cubic, flags=FASTMATH)
            exponent = ir.Constant(integers, [7] * width)
            exponent = builder.shl(builder.bitcast(args[0], integers), exponent)
            return builder.bitcast(builder.sub(exponent, builder.bitcast(off, integers)), vector)

        return lanes(lanes, constants), codegen

    @intrinsic(prefer_literal=True)
    def registers(typingctx: Any, count: Any) -> Any:
        result = Registers(count.literal_value, lanes)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            place = cgutils.alloca_once(builder, result.llvm)
            for k in range(result.count):
                zero = ir.Constant(vector, [0.0] * width)
                builder.store(zero, _element(builder, place, ir.Constant(INT32, k)))
            return place

        return result(count), codegen

    @intrinsic
    def shift(typingctx: Any, array: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            places = [_element(builder, args[0], ir.Constant(INT32, k)) for k in range(array.count)]
            values = [builder.load(place) for place in places[1:]]
            values.append(ir.Constant(vector, [0.0] * width))
            for value, place in zip(values, places, strict=True):
                builder.store(value, place)
            return context.get_dummy_value()

        return types.none(array), codegen

    @intrinsic
    def transpose(typingctx: Any, array: Any) -> Any:
        halves = [
            ir.Constant(integers, [at + k // 2 + width * (k % 2) for k in range(width)])
            for at in (0, width // 2)
        ]

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            places = [_element(builder, args[0], ir.Constant(INT32, k)) for k in range(width)]
            values = [builder.load(place) for place in places]
            for _ in range(width.bit_length() - 1):  # each step interleaves halves
                pairs = zip(values[: width // 2], values[width // 2 :], strict=True)
                values = [builder.shuffle_vector(*pair, half) for pair in pairs for half in halves]
            for value, place in zip(values, places, strict=True):
                builder.store(value, place)
            return context.get_dummy_value()

        return types.none(array), codegen

    return SimpleNamespace(
        lanes=lanes,
        load=loading(width),
        store=storing(width),
        load_from=loading(1),
        store_from=storing(1),
        prefetch=prefetch,
        splat=splat,
        minimum=binary("minnum"),
        maximum=binary("maxnum"),
        registers=registers,
        sqrt=sqrt,
        exp2=exp2,
        fixed_exp2=fixed_exp2,
        fixed_exp2_constants=fixed_exp2_constants,
        where_at_most=where_at_most,
        shift=shift,
        transpose=transpose,
        add_bits=on_bits("add"),
        sub_bits=on_bits("sub"),
        minimum_bits=comparing_bits("<"),
        maximum_bits=comparing_bits(">"),
        splat_bits=splat_bits,
        shift_bits=shift_bits,
        from_bits=from_bits,
        to_bits=to_bits,
    )
