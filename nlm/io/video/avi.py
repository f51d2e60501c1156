"""AVI by hand: the properties of a video stream, where the shape of its pixels is written."""

from __future__ import annotations

import struct
from fractions import Fraction

from nlm.io.video.shape import HOLD, IncompleteError

__all__ = ["shaped"]

_LONGEST = 0xFFFF
"""Of the sides of a picture's shape."""


def shaped(
    head: bytes, size: tuple[int, int], aspect: Fraction, fields: int = 1
) -> tuple[int, bytes]:
    """Where in the head of a file with a placeholder which bytes tell the shape of pixels.

    Parameters
    ----------
    head : bytes
    size : (int, int)
        Width and height in pixels.
    aspect : Fraction
        Width of a pixel over its height.
    fields : int
        Of a picture: 2 where it is interlaced.

    Raises
    ------
    IncompleteError
        If the placeholder is not in it.
    """
    end = head.find(HOLD.encode() + b"\0")
    start = head.rfind(b"strn", 0, end)
    if end < 0 or start < 0:
        raise IncompleteError
    room = 8 + struct.unpack_from("<I", head, start + 4)[0]
    room += room % 2
    title = head[start + 8 : end]
    body = _chunk(b"vprp", _properties(size, aspect, fields))
    if title:
        body += _chunk(b"strn", title + b"\0")
    return start, body + _chunk(b"JUNK", bytes(room - len(body) - 8))


def _properties(size: tuple[int, int], aspect: Fraction, fields: int) -> bytes:
    """Those of a video; its shape is given with the picture's height first."""
    width, height = size
    picture = width * aspect / height
    longest = _LONGEST if picture < 1 else int(_LONGEST / picture)
    picture = picture.limit_denominator(max(1, longest))
    whole = struct.pack("<5I", 0, 0, 0, width, height)
    shape = struct.pack("<2H3I", picture.denominator, picture.numerator, width, height, fields)
    rows = height // fields
    field = struct.pack("<8I", rows, width, rows, width, 0, 0, 0, 0)
    return whole + shape + field * fields


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
