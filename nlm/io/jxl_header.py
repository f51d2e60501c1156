"""The header of a JPEG XL code stream: size, depth and colour, known before decoding."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

__all__ = ["LINEAR", "SRGB", "Header", "parse", "with_curve"]

LINEAR, SRGB = 8, 13  # curves from light to samples, by number

_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_GRAY, _XYB = 1, 2  # colour spaces
_D65, _SRGB, _CUSTOM = 1, 1, 2  # white points and primaries
_ALPHA, _SPOT, _CFA = 0, 2, 5  # kinds of extra channels


@dataclass
class Header:
    """What the header says; defaults are those of the format.

    Attributes
    ----------
    seconds_per_tick : Fraction or None
        Set for animations.
    standard_primaries : bool
        Those of sRGB.
    curve : int or None
        Number of the transfer curve; None = one that has no number.
    curve_bit : int or None
        Where it stands in the code stream; None = left out, being sRGB's.
    """

    width: int
    height: int
    orientation: int = 1
    bits: int = 8
    is_float: bool = False
    extra: tuple[int, ...] = ()
    lossy: bool = True
    gray: bool = False
    standard_primaries: bool = True
    curve: int | None = SRGB
    curve_bit: int | None = None
    loops: int = 0
    seconds_per_tick: Fraction | None = None


class _Bits:
    def __init__(self, data: bytes) -> None:
        self._bits = int.from_bytes(data, "little")
        self._left = 8 * len(data)
        self.at = 0

    def take(self, count: int) -> int:
        if count > self._left:
            raise ValueError("the header is cut short")
        value = self._bits & ((1 << count) - 1)
        self._bits >>= count
        self._left -= count
        self.at += count
        return value

    def choose(self, *choices: tuple[int, int]) -> int:
        """Two bits pick one of four (base, extra bits)."""
        base, count = choices[self.take(2)]
        return base + self.take(count)

    def enum(self) -> int:
        return self.choose((0, 0), (1, 0), (2, 4), (18, 6))


def parse(stream: bytes) -> Header:
    """Read the header of a bare code stream (its first few hundred bytes are enough).

    Raises
    ------
    ValueError
        If it is cut short or no JPEG XL.
    """
    if stream[:2] != b"\xff\x0a":
        raise ValueError("there is no picture in it")
    bits = _Bits(stream[2:4096])
    header = Header(*_size(bits))
    if bits.take(1):  # all as usual
        return header
    if bits.take(1):
        _extra_fields(bits, header)
    header.bits, header.is_float = _depth(bits)
    bits.take(1)
    extras = bits.choose((0, 0), (1, 0), (2, 4), (1, 12))
    header.extra = tuple(_extra_channel(bits) for _ in range(extras))
    header.lossy = bool(bits.take(1))
    _colour(bits, header)
    return header


def with_curve(stream: bytes, header: Header, curve: int) -> bytes:
    """The code stream of `header` with its samples declared to follow another curve (2..17)."""
    if header.curve_bit is None or header.curve is None or not 2 <= header.curve <= 17:
        raise ValueError("the encoder wrote an unexpected header")
    size = header.curve_bit // 8 + 2
    head = int.from_bytes(stream[:size], "little") & ~(15 << header.curve_bit)
    head |= (curve - 2) << header.curve_bit
    return head.to_bytes(size, "little") + stream[size:]


def _size(bits: _Bits) -> tuple[int, int]:
    small = bits.take(1)

    def side() -> int:
        if small:
            return 8 * (1 + bits.take(5))
        return bits.choose((1, 9), (1, 13), (1, 18), (1, 30))

    height = side()
    ratio = bits.take(3)
    if not ratio:
        return side(), height
    across, down = _RATIOS[ratio]
    return height * across // down, height


def _extra_fields(bits: _Bits, header: Header) -> None:
    header.orientation = 1 + bits.take(3)
    if bits.take(1):  # a size it is meant to be shown in
        _size(bits)
    if bits.take(1):
        _preview(bits)
    if bits.take(1):
        up = bits.choose((100, 0), (1000, 0), (1, 10), (1, 30))
        down = bits.choose((1, 0), (1001, 0), (1, 8), (1, 10))
        header.seconds_per_tick = Fraction(down, up)
        header.loops = bits.choose((0, 0), (0, 3), (0, 16), (0, 32))
        bits.take(1)


def _preview(bits: _Bits) -> None:
    small = bits.take(1)

    def side() -> int:
        if small:
            return bits.choose((16, 0), (32, 0), (1, 5), (33, 9))
        return bits.choose((1, 6), (65, 8), (321, 10), (1345, 12))

    side()
    if not bits.take(3):
        side()


def _depth(bits: _Bits) -> tuple[int, bool]:
    if not bits.take(1):
        return bits.choose((8, 0), (10, 0), (12, 0), (1, 6)), False
    size = bits.choose((32, 0), (16, 0), (24, 0), (1, 6))
    bits.take(4)
    return size, True


def _extra_channel(bits: _Bits) -> int:
    """Kind of an extra channel."""
    if bits.take(1):
        return _ALPHA
    kind = bits.enum()
    _depth(bits)
    bits.choose((0, 0), (3, 0), (4, 0), (1, 3))
    for _ in range(bits.choose((0, 0), (0, 4), (16, 5), (48, 10))):
        bits.take(8)
    if kind == _ALPHA:
        bits.take(1)
    elif kind == _SPOT:
        bits.take(64)
    elif kind == _CFA:
        bits.choose((1, 0), (0, 2), (3, 4), (19, 8))
    return kind


def _colour(bits: _Bits, header: Header) -> None:
    if bits.take(1):
        return
    profile = bits.take(1)
    space = bits.enum()
    header.gray = space == _GRAY
    header.standard_primaries = False
    header.curve = None
    if profile or space == _XYB:
        return
    white = bits.enum()
    if white == _CUSTOM:
        return
    primaries = _SRGB if header.gray else bits.enum()
    if primaries == _CUSTOM:
        return
    header.standard_primaries = (white, primaries) == (_D65, _SRGB)
    if not bits.take(1):
        header.curve = bits.enum()
        header.curve_bit = 16 + bits.at - 4
