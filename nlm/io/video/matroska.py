"""Matroska by hand: the display size of a video track."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from fractions import Fraction

from nlm.io.video.shape import HOLD, IncompleteError

__all__ = ["shaped"]

_SEGMENT, _TRACKS, _ENTRY, _VIDEO = 0x18538067, 0x1654AE6B, 0xAE, 0xE0
_NAME, _WIDTH, _HEIGHT, _UNIT, _VOID, _CRC = 0x536E, 0x54B0, 0x54BA, 0x54B2, 0xEC, 0xBF
_CRC_LENGTH = 6

_STEREO = 0x53B8
_SIDE_BY_SIDE, _ONE_ABOVE_OTHER = {1, 8, 9, 11}, {2, 3, 6, 7}
"""Kinds of stereo whose display size is that of one of the two views."""

_LONGEST_START = 12
"""Bytes of an element before its content, at most."""

Element = tuple[int, bytes]


def shaped(head: bytes, size: tuple[int, int], aspect: Fraction) -> tuple[int, bytes]:
    """Where in the head of a file with a placeholder which bytes tell the shape of pixels.

    Parameters
    ----------
    head : bytes
    size : (int, int)
        Width and height in pixels.
    aspect : Fraction
        Width of a pixel over its height.

    Raises
    ------
    IncompleteError
        If its tracks are not all in it.
    """
    start, end = _find(head, (_SEGMENT, _TRACKS))
    parts = [
        (mark, _sized(data, size, aspect) if mark == _ENTRY and HOLD.encode() in data else data)
        for mark, data in _elements(head[start:end])
    ]
    body = b"".join(_packed(mark, data) for mark, data in parts if mark != _CRC)
    room = end - start - len(body) - _CRC_LENGTH
    body += _void(room)
    return start, _packed(_CRC, zlib.crc32(body).to_bytes(4, "little")) + body


def _sized(entry: bytes, size: tuple[int, int], aspect: Fraction) -> bytes:
    """A track entry with its name restored and a display size."""
    sides = zip((_WIDTH, _HEIGHT), _display_size(size, aspect * _views(entry)), strict=True)
    added = b"".join(_packed(mark, _whole(value)) for mark, value in sides)
    parts: list[Element] = []
    for mark, data in _elements(entry):
        if mark == _VIDEO:
            kept = (_packed(*one) for one in _elements(data) if one[0] != _UNIT)
            parts.append((mark, b"".join(kept) + added))
        elif mark != _NAME:
            parts.append((mark, data))
        elif name := data.removesuffix(HOLD.encode()):
            parts.append((mark, name))
    return b"".join(_packed(mark, data) for mark, data in parts)


def _views(entry: bytes) -> Fraction:
    """The shape of one view of a track, of the whole picture's."""
    for mark, data in _elements(entry):
        if mark == _VIDEO:
            stereo = int.from_bytes(dict(_elements(data)).get(_STEREO, b""), "big")
            if stereo in _SIDE_BY_SIDE:
                return Fraction(1, 2)
            if stereo in _ONE_ABOVE_OTHER:
                return Fraction(2)
    return Fraction(1)


def _display_size(size: tuple[int, int], aspect: Fraction) -> tuple[int, int]:
    """A size in square pixels of exactly the picture's shape, about as high as it is."""
    shape = Fraction(size[0], size[1]) * aspect
    scale = max(1, round(size[1] / shape.denominator))
    return scale * shape.numerator, scale * shape.denominator


def _find(data: bytes, path: tuple[int, ...]) -> tuple[int, int]:
    """Where the content of a nested element begins and ends."""
    at = end = 0
    for wanted in path:
        at, end = _next(data, at, wanted)
    if end > len(data):
        raise IncompleteError
    return at, end


def _next(data: bytes, at: int, wanted: int) -> tuple[int, int]:
    """Where the content of the next element of a kind begins and ends."""
    while at + _LONGEST_START <= len(data):
        mark, at = _number(data, at, keep_length=True)
        length, at = _number(data, at, keep_length=False)
        if mark == wanted:
            return at, at + length
        at += length
    raise IncompleteError


def _elements(data: bytes) -> Iterator[Element]:
    at = 0
    while at < len(data):
        mark, at = _number(data, at, keep_length=True)
        length, at = _number(data, at, keep_length=False)
        yield mark, data[at : at + length]
        at += length


def _number(data: bytes, at: int, keep_length: bool) -> tuple[int, int]:
    count = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + count], "big")
    return (value if keep_length else value & ((1 << 7 * count) - 1)), at + count


def _packed(mark: int, data: bytes) -> bytes:
    """An element with a length field as short as possible."""
    count = next(count for count in range(1, 9) if len(data) < (1 << 7 * count) - 1)
    length = (len(data) | 1 << 7 * count).to_bytes(count, "big")
    return mark.to_bytes((mark.bit_length() + 7) // 8, "big") + length + data


def _void(room: int) -> bytes:
    """An element without meaning that takes so many bytes, 9 at least."""
    content = room - 9
    return bytes([_VOID]) + (content | 1 << 56).to_bytes(8, "big") + bytes(content)


def _whole(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "big")
