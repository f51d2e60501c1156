"""Matroska by hand: its display size, which libav's muxer takes from a place PyAV cannot reach.

A track gets a placeholder as its name when it is written. Afterwards the name is put right and the
room that this frees is used for DisplayWidth and DisplayHeight, so that nothing else moves.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

__all__ = ["HOLD", "set_display_size"]

HOLD = " " * 40
"""Put behind a track's name to make room."""

_SEGMENT, _TRACKS, _ENTRY, _VIDEO = 0x18538067, 0x1654AE6B, 0xAE, 0xE0
_NAME, _WIDTH, _HEIGHT, _UNIT, _VOID, _CRC = 0x536E, 0x54B0, 0x54BA, 0x54B2, 0xEC, 0xBF
_CRC_LENGTH = 6

Element = tuple[int, bytes]


def set_display_size(path: Path, size: tuple[int, int], aspect: Fraction) -> None:
    """Give the video track of a finished file with a placeholder the shape of its pixels.

    Parameters
    ----------
    path : Path
    size : (int, int)
        Width and height in pixels.
    aspect : Fraction
        Width of a pixel over its height.
    """
    with open(path, "r+b") as file:
        head = file.read(1 << 16)
        place = _find(head, (_SEGMENT, _TRACKS))
        if place is None:
            return
        start, end = place
        parts = [
            (mark, _sized(data, size, aspect) if mark == _ENTRY and HOLD.encode() in data else data)
            for mark, data in _elements(head[start:end])
        ]
        body = b"".join(_packed(mark, data) for mark, data in parts if mark != _CRC)
        room = end - start - len(body) - _CRC_LENGTH
        body += _packed(_VOID, bytes(room - 2))
        file.seek(start)
        file.write(_packed(_CRC, zlib.crc32(body).to_bytes(4, "little")) + body)


def _sized(entry: bytes, size: tuple[int, int], aspect: Fraction) -> bytes:
    """A track entry with its name restored and a display size."""
    shape = zip((_WIDTH, _HEIGHT), _display_size(size, aspect), strict=True)
    added = b"".join(_packed(mark, value.to_bytes(4, "big")) for mark, value in shape)
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


def _display_size(size: tuple[int, int], aspect: Fraction) -> tuple[int, int]:
    """The size in square pixels, exact where stretching or squeezing one side gives whole ones."""
    width, height = size
    if (width * aspect).denominator > 1 and (height / aspect).denominator == 1:
        return width, int(height / aspect)
    return round(width * aspect), height


def _find(data: bytes, path: tuple[int, ...]) -> tuple[int, int] | None:
    """Where the content of a nested element begins and ends."""
    start, end = 0, len(data)
    for wanted in path:
        at = start
        while at < end:
            mark, at = _number(data, at, keep_length=True)
            length, at = _number(data, at, keep_length=False)
            if mark == wanted:
                start, end = at, min(at + length, len(data))
                break
            at += length
        else:
            return None
    return start, end


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
